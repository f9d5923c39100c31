#include "replica/store/store_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int store_lock(const struct store_dir *d, int *ret_fd, struct buf *ret_why) {
    int fd = store_file_open(d, "lock", O_RDWR | O_CREAT);
    int err = fd < 0 ? fd : d->files->lock(d->files->ctx, fd);
    if (err == -EAGAIN)
        buf_printf(ret_why, "%s/lock: the log is in use by another process", d->path);
    else if (err < 0)
        buf_printf(ret_why, "%s/lock: cannot be locked: %s", d->path, strerror(-err));
    if (err < 0 && fd >= 0)
        d->files->close(d->files->ctx, fd);
    if (err == 0)
        *ret_fd = fd;
    return err < 0 ? err : 0;
}
