/* The only allocator. Running out of memory ends the process with a message (recovery is a restart,
 * which loses nothing acknowledged), so no function here returns NULL for a non-zero size. Sizes
 * that come from a peer are bounded before they get here. */
#ifndef ZKFS_COMMON_MEM_H
#define ZKFS_COMMON_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t size_bytes) __attribute__((returns_nonnull));
void *mem_dup(const void *p, size_t size_bytes) __attribute__((malloc, returns_nonnull));
/* Copies len bytes and terminates them with a NUL. */
char *mem_strndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
void mem_free(void *p);

#endif
