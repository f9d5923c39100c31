#include "replica/store/reserve.h"

#include <errno.h>
#include <fcntl.h>

#include "common/mem.h"

bool reserve_lacks_room(int err) { return err == -ENOSPC || err == -EDQUOT; }

int reserve_find(struct reserve *r, const struct store_dir *d) {
    r->held = false;
    int fd = store_file_open(d, RESERVE_NAME, O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int64_t size = d->files->size(d->files->ctx, fd);
    d->files->close(d->files->ctx, fd);
    r->held = size == (int64_t)r->size_bytes;
    return size < 0 ? (int)size : 0;
}

/* Written, not only allocated: on some file systems that alone makes sure of the room. */
static int fill(const struct reserve *r, const struct store_dir *d, int fd) {
    void *zeros = mem_zalloc(r->size_bytes);
    int err = d->files->pwrite(d->files->ctx, fd, zeros, r->size_bytes, 0);
    mem_free(zeros);
    return err < 0 ? err : store_file_sync(d, fd);
}

/* Cut first: whoever has the file open, a backup, would keep the room of a name that is gone. */
static int take_away(const struct store_dir *d) {
    int fd = store_file_open(d, RESERVE_NAME, O_RDWR);
    if (fd == -ENOENT)
        return 0;
    int err = fd < 0 ? fd : d->files->truncate(d->files->ctx, fd, 0);
    if (fd >= 0)
        d->files->close(d->files->ctx, fd);
    return err < 0 ? err : store_file_remove(d, RESERVE_NAME);
}

int reserve_make(struct reserve *r, const struct store_dir *d) {
    if (r->held || r->size_bytes == 0)
        return 0;
    int fd = store_file_open(d, RESERVE_NAME, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return fd;
    int err = fill(r, d, fd);
    int close_err = store_file_close(d, fd);
    if (err == 0)
        err = close_err;
    if (err == 0)
        err = store_file_sync_dir(d);
    if (reserve_lacks_room(err)) {
        int gone = take_away(d);
        return gone < 0 ? gone : err;
    }
    r->held = err == 0;
    return err;
}

int reserve_give_up(struct reserve *r, const struct store_dir *d) {
    r->held = false;
    return take_away(d);
}
