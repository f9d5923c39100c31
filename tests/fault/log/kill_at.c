/* Preloaded into zkreplica: counts the calls that it makes to its log's files and ends the process
 * with SIGKILL before the ZKFS_KILL_AT-th of them, so that a test can kill it between any two.
 *   ZKFS_KILL_DIR   calls on paths below this directory, and on files opened there, are counted
 *   ZKFS_KILL_AT    the call before which the process dies
 *   ZKFS_KILL_HALF  set: a write at that place is half done first */
#include "tests/lib/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int calls;

typedef int unlink_fn(const char *);
typedef int mkdir_fn(const char *, mode_t);

static bool below(const char *path) { return is_below(path, "ZKFS_KILL_DIR"); }

static bool due(void) {
    const char *at = getenv("ZKFS_KILL_AT");
    return atomic_fetch_add(&calls, 1) + 1 == (at != NULL ? atoi(at) : 0);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void count_fd(int fd) {
    if (is_ours(fd) && due())
        die();
}

static int opened(const char *path, int fd) {
    if (fd >= 0 && fd < MAX_FDS)
        ours[fd] = below(path);
    return fd;
}

static int open_as(open_fn *next, const char *path, int flags, mode_t mode) {
    if (below(path) && due())
        die();
    return opened(path, next(path, flags, mode));
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

static ssize_t pwrite_as(pwrite_fn *next, int fd, const void *p, size_t n, off_t offset) {
    if (is_ours(fd) && due()) {
        if (getenv("ZKFS_KILL_HALF") != NULL)
            (void)!next(fd, p, n / 2, offset);
        die();
    }
    return next(fd, p, n, offset);
}

#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *p, size_t n, off_t offset);                                   \
    ssize_t name(int fd, const void *p, size_t n, off_t offset) {                                  \
        NEXT(#name, pwrite_fn);                                                                    \
        return pwrite_as(next, fd, p, n, offset);                                                  \
    }

#define SYNC(name)                                                                                 \
    int name(int fd);                                                                              \
    int name(int fd) {                                                                             \
        NEXT(#name, fd_fn);                                                                        \
        count_fd(fd);                                                                              \
        return next(fd);                                                                           \
    }

#define TRUNCATE(name)                                                                             \
    int name(int fd, off_t size);                                                                  \
    int name(int fd, off_t size) {                                                                 \
        NEXT(#name, truncate_fn);                                                                  \
        count_fd(fd);                                                                              \
        return next(fd, size);                                                                     \
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
    count_fd(fd);
    if (fd >= 0 && fd < MAX_FDS)
        ours[fd] = false;
    return next(fd);
}

int unlink(const char *path) {
    NEXT("unlink", unlink_fn);
    if (below(path) && due())
        die();
    return next(path);
}

int rename(const char *from, const char *to);
int rename(const char *from, const char *to) {
    NEXT("rename", rename_fn);
    if (below(to) && due())
        die();
    return next(from, to);
}

int mkdir(const char *path, mode_t mode) {
    NEXT("mkdir", mkdir_fn);
    if (below(path) && due())
        die();
    return next(path, mode);
}
