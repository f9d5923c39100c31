/* For libraries that are preloaded into a program under test and stand before the C library: the
 * calls' types, the names behind ours, and which of the program's files are meant. */
#ifndef ZKFS_TESTS_LIB_PRELOAD_H
#define ZKFS_TESTS_LIB_PRELOAD_H

/* With it open and open64, for one, would stand for each other. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef int open_fn(const char *, int, ...);
typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
typedef int fd_fn(int);
typedef int truncate_fn(int, off_t);
typedef int rename_fn(const char *, const char *);

/* The name that the next library in line has. Pointers to functions and to data have one size here.
 */
#define NEXT(name, type)                                                                           \
    static type *next;                                                                             \
    if (next == NULL)                                                                              \
    *(void **)&next = dlsym(RTLD_NEXT, name)

#define MAX_FDS 4096

/* Descriptors of files that were opened below the directory. */
static atomic_bool ours[MAX_FDS];

/* Whether a path lies below the directory that the environment's `variable` names. */
static inline bool is_below(const char *path, const char *variable) {
    const char *dir = getenv(variable);
    return dir != NULL && path != NULL && strncmp(path, dir, strlen(dir)) == 0;
}

static inline bool is_ours(int fd) { return fd >= 0 && fd < MAX_FDS && ours[fd]; }

#endif
