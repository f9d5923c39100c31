#include "tests/bench/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t sample_number(const char *text) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < 0) {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return v;
}

int64_t sample_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void sample_add(struct sample *s, int64_t ns) {
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 1 << 16 : s->cap * 2;
        s->us10 = realloc(s->us10, s->cap * sizeof *s->us10);
        if (s->us10 == NULL)
            abort();
    }
    int64_t v = ns / 100;
    s->us10[s->count++] = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The smallest value that at least that share of all values does not exceed. */
static double percentile(const struct sample *s, size_t percent) {
    if (s->count == 0)
        return 0;
    size_t rank = (s->count * percent + 99) / 100;
    return s->us10[rank == 0 ? 0 : rank - 1] / 10.0;
}

void sample_print(struct sample *s, int64_t ns, uint64_t errors) {
    if (s->count > 0)
        qsort(s->us10, s->count, sizeof *s->us10, by_value);
    double seconds = (double)ns / 1e9;
    printf("ops=%zu seconds=%.3f rate=%.0f p50=%.1f p99=%.1f errors=%llu\n", s->count, seconds,
           seconds > 0 ? (double)s->count / seconds : 0, percentile(s, 50), percentile(s, 99),
           (unsigned long long)errors);
    free(s->us10);
    *s = (struct sample){0};
}
