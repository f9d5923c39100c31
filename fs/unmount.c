#include "fs/unmount.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

bool unmount_is_gone(int device_fd) {
    struct pollfd p = {.fd = device_fd};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

static bool by_fusermount(const char *mountpoint) {
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", mountpoint, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool unmount_lazily(const char *mountpoint) {
    if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        return true;
    int err = errno;
    if (err == EINVAL) /* nothing is mounted there */
        return true;
    if (err == EPERM && by_fusermount(mountpoint))
        return true;
    log_error("the mountpoint cannot be unmounted, use fusermount3 -uz mountpoint=%s err=\"%s\"",
              mountpoint, strerror(err));
    return false;
}

void unmount_dead(const char *mountpoint) {
    struct stat st;
    if (stat(mountpoint, &st) != 0 && errno == ENOTCONN)
        unmount_lazily(mountpoint);
}
