/* Preloaded into zkreplica: lets one of the calls that change its log's files fail, once, or makes
 * its syncs slow.
 *   ZKFS_FAIL_DIR    calls on paths below this directory, and on files opened there, are counted
 *   ZKFS_FAIL_CALLS  which: `all` of pwrite, fsync, fdatasync, ftruncate, rename and opening for
 *                    writing; `room`: those that need room (pwrite, making a file, rename); `sync`
 *   ZKFS_FAIL_AT     the number of the call that fails
 *   ZKFS_FAIL_ERRNO  with what
 *   ZKFS_SLOW_MS     how much longer every sync takes
 * A line on standard error says when it happens. */
#include "tests/lib/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum call { CALL_WRITE, CALL_MAKE, CALL_RENAME, CALL_SYNC, CALL_OTHER };

static atomic_int calls;

static bool below(const char *path) { return is_below(path, "ZKFS_FAIL_DIR"); }

static bool counts(enum call call) {
    const char *which = getenv("ZKFS_FAIL_CALLS");
    if (which != NULL && strcmp(which, "room") == 0)
        return call <= CALL_RENAME;
    if (which != NULL && strcmp(which, "sync") == 0)
        return call == CALL_SYNC;
    return true;
}

/* Whether this call is the one: then errno is set. */
static bool fails(enum call call, const char *name) {
    const char *at = getenv("ZKFS_FAIL_AT");
    const char *err = getenv("ZKFS_FAIL_ERRNO");
    if (!counts(call) || atomic_fetch_add(&calls, 1) + 1 != (at != NULL ? atoi(at) : 0))
        return false;
    char line[64];
    int n = snprintf(line, sizeof line, "fail_at: %s\n", name);
    (void)!write(STDERR_FILENO, line, (size_t)n);
    errno = err != NULL ? atoi(err) : EIO;
    return true;
}

static void be_slow(void) {
    const char *ms = getenv("ZKFS_SLOW_MS");
    if (ms != NULL)
        usleep((useconds_t)atoi(ms) * 1000);
}

static int open_as(open_fn *next, const char *path, int flags, mode_t mode) {
    bool mine = below(path);
    bool makes = (flags & O_CREAT) != 0 && mine && access(path, F_OK) != 0;
    bool writes = (flags & (O_WRONLY | O_RDWR)) != 0;
    if (mine && (makes || writes) && fails(makes ? CALL_MAKE : CALL_OTHER, "open"))
        return -1;
    int fd = next(path, flags, mode);
    if (fd >= 0 && fd < MAX_FDS)
        ours[fd] = mine;
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...);                                                    \
    int name(const char *path, int flags, ...) {                                                   \
        NEXT(#name, open_fn);                                                                      \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(ap, int) : 0;                        \
        va_end(ap);                                                                                \
        return open_as(next, path, flags, mode);                                                   \
    }

#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *p, size_t n, off_t offset);                                   \
    ssize_t name(int fd, const void *p, size_t n, off_t offset) {                                  \
        NEXT(#name, pwrite_fn);                                                                    \
        return is_ours(fd) && fails(CALL_WRITE, "pwrite") ? -1 : next(fd, p, n, offset);           \
    }

#define SYNC(name)                                                                                 \
    int name(int fd);                                                                              \
    int name(int fd) {                                                                             \
        NEXT(#name, fd_fn);                                                                        \
        if (is_ours(fd))                                                                           \
            be_slow();                                                                             \
        return is_ours(fd) && fails(CALL_SYNC, #name) ? -1 : next(fd);                             \
    }

#define TRUNCATE(name)                                                                             \
    int name(int fd, off_t size);                                                                  \
    int name(int fd, off_t size) {                                                                 \
        NEXT(#name, truncate_fn);                                                                  \
        return is_ours(fd) && fails(CALL_OTHER, "ftruncate") ? -1 : next(fd, size);                \
    }

OPEN(open)
OPEN(open64)
PWRITE(pwrite)
PWRITE(pwrite64)
SYNC(fsync)
SYNC(fdatasync)
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int close(int fd) {
    NEXT("close", fd_fn);
    if (fd >= 0 && fd < MAX_FDS)
        ours[fd] = false;
    return next(fd);
}

int rename(const char *from, const char *to) {
    NEXT("rename", rename_fn);
    return below(to) && fails(CALL_RENAME, "rename") ? -1 : next(from, to);
}
