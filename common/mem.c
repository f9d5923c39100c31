#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ends the process (docs/decisions/0001). Nothing here may allocate. */
static _Noreturn void mem_exhausted(size_t size_bytes) {
    char text[128];
    int n = snprintf(text, sizeof text, "zkfs: out of memory: cannot allocate %zu bytes, ending\n",
                     size_bytes);
    ssize_t written = write(STDERR_FILENO, text, (size_t)n);
    (void)written;
    abort();
}

/* malloc(0) may return NULL, which would look like exhaustion. */
static size_t at_least_one(size_t size_bytes) { return size_bytes > 0 ? size_bytes : 1; }

void *mem_alloc(size_t size_bytes) {
    void *p = malloc(at_least_one(size_bytes));
    if (!p)
        mem_exhausted(size_bytes);
    return p;
}

void *mem_zalloc(size_t size_bytes) {
    void *p = calloc(1, at_least_one(size_bytes));
    if (!p)
        mem_exhausted(size_bytes);
    return p;
}

void *mem_realloc(void *p, size_t size_bytes) {
    void *q = realloc(p, at_least_one(size_bytes));
    if (!q)
        mem_exhausted(size_bytes);
    return q;
}

void *mem_dup(const void *p, size_t size_bytes) {
    void *q = mem_alloc(size_bytes);
    if (size_bytes > 0)
        memcpy(q, p, size_bytes);
    return q;
}

char *mem_strndup(const char *s, size_t len) {
    char *q = mem_alloc(len + 1);
    if (len > 0)
        memcpy(q, s, len);
    q[len] = '\0';
    return q;
}

char *mem_strdup(const char *s) { return mem_strndup(s, strlen(s)); }

void mem_free(void *p) { free(p); }
