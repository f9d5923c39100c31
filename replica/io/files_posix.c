#include "replica/io/files_posix.h"

#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How deep files_tree_bytes looks: the replica's own folders are two levels deep. */
#define TREE_DEPTH_MAX 4

static int result(int rc) { return rc < 0 ? -errno : rc; }

/* A line that names call and file, for who asked knows of neither: what a broken disk breaks, ends
 * the process. Not of what is in order (a file that is not there, a full disk). Returns err. */
static int failed(const char *call, const char *path, int err) {
    bool ordinary =
        err >= 0 || err == -ENOENT || err == -EEXIST || err == -ENOSPC || err == -EDQUOT;
    if (!ordinary)
        log_error("%s has failed file=%s error=%s", call, path, strerror(-err));
    return err;
}

static void path_of(int fd, char ret_path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, ret_path, PATH_MAX - 1);
    ret_path[n > 0 ? n : 0] = '\0';
}

static int failed_on(const char *call, int fd, int err) {
    char path[PATH_MAX] = "";
    if (err < 0)
        path_of(fd, path);
    return failed(call, path, err);
}

/* A sync that finds no room has lost what was written before. */
static int sync_failed_on(const char *call, int fd, int err) {
    return err == -ENOSPC || err == -EDQUOT ? (failed_on(call, fd, -EIO), err)
                                            : failed_on(call, fd, err);
}

static int posix_open(void *ctx, const char *path, int flags, int mode) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return failed("open", path, result(fd));
}

/* close(2) is not repeated after EINTR: on Linux the descriptor is gone all the same. And so is its
 * path, when it has failed. One that finds no room has lost what was written before. */
static int posix_close(void *ctx, int fd) {
    char path[PATH_MAX];
    path_of(fd, path);
    int rc = close(fd) < 0 && errno != EINTR ? -errno : 0;
    (void)failed("close", path, rc == -ENOSPC || rc == -EDQUOT ? -EIO : rc);
    return rc;
}

static int64_t posix_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)p + done, n - done, offset + (int64_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed_on("pread", fd, -errno);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int posix_pwrite(void *ctx, int fd, const void *p, size_t n, int64_t offset) {
    size_t done = 0;
    while (done < n) {
        ssize_t put = pwrite(fd, (const char *)p + done, n - done, offset + (int64_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        /* A regular file takes at least one byte or says why not; a zero would loop for ever. */
        if (put <= 0)
            return failed_on("pwrite", fd, put < 0 ? -errno : -EIO);
        done += (size_t)put;
    }
    return 0;
}

/* A sync that a signal interrupted may be asked for again: it has not failed. Any other error is
 * never retried (Z7). */
static int posix_datasync(void *ctx, int fd) {
    int rc;
    do
        rc = fdatasync(fd);
    while (rc < 0 && errno == EINTR);
    return sync_failed_on("fdatasync", fd, result(rc));
}

static int posix_sync(void *ctx, int fd) {
    int rc;
    do
        rc = fsync(fd);
    while (rc < 0 && errno == EINTR);
    return sync_failed_on("fsync", fd, result(rc));
}

/* The range was written a moment ago, by this thread alone: waiting for it bounds what is dirty. A
 * file system that has no such call is none the worse. */
static int posix_write_back(void *ctx, int fd, int64_t offset, int64_t n) {
    unsigned int flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int rc;
    do
        rc = sync_file_range(fd, offset, n, flags);
    while (rc < 0 && errno == EINTR);
    bool unknown = rc < 0 && (errno == ENOSYS || errno == ESPIPE || errno == EINVAL);
    return unknown ? 0 : failed_on("sync_file_range", fd, result(rc));
}

static int posix_truncate(void *ctx, int fd, int64_t size) {
    int rc;
    do
        rc = ftruncate(fd, size);
    while (rc < 0 && errno == EINTR);
    return failed_on("ftruncate", fd, result(rc));
}

static int64_t posix_size(void *ctx, int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? failed_on("fstat", fd, -errno) : st.st_size;
}

static int64_t posix_links(void *ctx, int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? failed_on("fstat", fd, -errno) : (int64_t)st.st_nlink;
}

static int posix_rename(void *ctx, const char *from, const char *to) {
    return failed("rename", to, result(rename(from, to)));
}

static int posix_unlink(void *ctx, const char *path) {
    return failed("unlink", path, result(unlink(path)));
}

static int posix_mkdir(void *ctx, const char *path, int mode) {
    return failed("mkdir", path, result(mkdir(path, (mode_t)mode)));
}

static int posix_sync_dir(void *ctx, const char *path) {
    int fd = posix_open(ctx, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int rc = posix_sync(ctx, fd);
    close(fd);
    return rc;
}

static int posix_list(void *ctx, const char *path, void (*fn)(void *arg, const char *name),
                      void *arg) {
    DIR *dir = opendir(path);
    if (!dir)
        return failed("opendir", path, -errno);
    struct dirent *entry;
    int rc = 0;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fn(arg, entry->d_name);
    }
    if (errno != 0)
        rc = failed("readdir", path, -errno);
    closedir(dir);
    return rc;
}

/* flock(2), not fcntl(2): its lock belongs to the open file, so that closing another descriptor of
 * the same file does not let it go. */
static int posix_lock(void *ctx, int fd) {
    int rc;
    do
        rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return rc < 0 && errno == EWOULDBLOCK ? -EAGAIN : failed_on("flock", fd, result(rc));
}

const struct env_files files_posix = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .datasync = posix_datasync,
    .sync = posix_sync,
    .write_back = posix_write_back,
    .truncate = posix_truncate,
    .size = posix_size,
    .links = posix_links,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .lock = posix_lock,
};

static int64_t tree_bytes(int dir_fd, int depth) {
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        close(dir_fd);
        return 0;
    }
    int64_t bytes = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            bytes += st.st_size;
        if (S_ISDIR(st.st_mode) && depth > 1) {
            int fd =
                openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (fd >= 0)
                bytes += tree_bytes(fd, depth - 1);
        }
    }
    closedir(dir);
    return bytes;
}

int64_t files_tree_bytes(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? 0 : tree_bytes(fd, TREE_DEPTH_MAX);
}
