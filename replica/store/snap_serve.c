#include "replica/store/snap_serve.h"

#include <errno.h>
#include <fcntl.h>

#include "replica/store/store_state.h"

/* 1, 0 when it is not there or is not the one that is asked for, or negative errno. */
static int serve(const struct store_dir *d, const char *name, zxid_t begun, uint64_t offset,
                 size_t max_bytes, struct snap_base *ret_base, struct buf *out) {
    struct snap_base base = {0};
    const struct env_files *files = d->files;
    int fd = store_file_open(d, name, O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int err = snap_file_peek(d, fd, &base);
    bool found = err == 0 && (begun == 0 || begun == base.begun) && offset < base.size_bytes;
    if (found) {
        uint64_t left = base.size_bytes - offset;
        size_t n = left < max_bytes ? (size_t)left : max_bytes;
        size_t at = out->len;
        uint8_t *p = buf_extend(out, n);
        int64_t got = p == NULL ? -ENOMEM : files->pread(files->ctx, fd, p, n, (int64_t)offset);
        err = got < 0 ? (int)got : 0;
        out->len = at + (got > 0 ? (size_t)got : 0);
        found = got > 0;
    }
    files->close(files->ctx, fd);
    if (found)
        *ret_base = base;
    return err < 0 && err != -EBADMSG ? err : found;
}

int snap_serve(const struct store_dir *d, zxid_t begun, uint64_t offset, size_t max_bytes,
               struct snap_base *ret_base, struct buf *out) {
    struct snap_list all = {0};
    char name[SNAP_NAME_BYTES];
    int found = snap_list_read(&all, d);
    /* One whose head or end is damaged is passed over, as a start would. */
    for (size_t i = all.count; i > 0 && found == 0; i--) {
        zxid_t named = all.list[i - 1].begun;
        if (begun != 0 && named != 0 && named != begun)
            continue;
        snap_name(named, name);
        found = serve(d, name, begun, offset, max_bytes, ret_base, out);
    }
    snap_list_close(&all);
    return found;
}

int store_snapshot_read(struct store *s, zxid_t begun, uint64_t offset, size_t max_bytes,
                        struct snap_base *ret_base, struct buf *out) {
    int found = snap_serve(&s->dir, begun, offset, max_bytes, ret_base, out);
    if (found > 0)
        snap_list_mark(&s->snaps, ret_base->begun);
    return found;
}
