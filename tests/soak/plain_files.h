/* env_files in memory, as quick as it gets: a disk that never fails, for runs of millions of
 * writes. tests/lib/mem_files is the one that loses and tears. What files hold is mapped, not
 * allocated, so that the heap is the program's own. */
#ifndef ZKFS_TESTS_SOAK_PLAIN_FILES_H
#define ZKFS_TESTS_SOAK_PLAIN_FILES_H

#include "replica/env.h"

struct plain_files;

/* Hears when a file is made anew (`from` NULL), or gets another name; paths as they were given. */
typedef void plain_files_fn(void *ctx, const char *from, const char *path, uint64_t size_bytes);

struct plain_files *plain_files_new(plain_files_fn *fn, void *ctx);
void plain_files_free(struct plain_files *f);
/* Borrowed for f's life. */
const struct env_files *plain_files_env(struct plain_files *f);
/* What all files with a name hold. */
uint64_t plain_files_bytes(const struct plain_files *f);
/* Calls fn for each name. */
void plain_files_each(const struct plain_files *f,
                      void (*fn)(void *ctx, const char *path, uint64_t size_bytes), void *ctx);

#endif
