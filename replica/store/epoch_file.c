#include "replica/store/epoch_file.h"

#include <errno.h>
#include <string.h>

#define MAGIC "zkfs-epo"

static const char *const names[EPOCH_COPIES] = {"epoch.1", "epoch.2"};

void epoch_file_names(const struct store_dir *d, struct buf *out) {
    buf_printf(out, "%s/%s and %s", d->path, names[0], names[1]);
}

static int read_copy(struct epoch_file *e, const struct store_dir *d, size_t i,
                     struct buf *ret_why) {
    struct store_file file;
    int err = store_file_read(d, names[i], MAGIC, &file);
    if (err == 0 && file.words[0] > 0 && file.words[0] <= UINT32_MAX) {
        e->copies[i] = EPOCH_COPY_WHOLE;
        e->said[i] = (uint32_t)file.words[0];
        e->epoch = e->said[i] > e->epoch ? e->said[i] : e->epoch;
        e->said_flags[i] = (uint32_t)file.words[1] & (EPOCH_LOSSY | EPOCH_LOG);
        e->flags |= e->said_flags[i];
        return 0;
    }
    if (err == -ENOENT) {
        e->copies[i] = EPOCH_COPY_ABSENT;
        return 0;
    }
    if (err == 0 || err == -EBADMSG) {
        e->copies[i] = EPOCH_COPY_DAMAGED;
        return 0;
    }
    buf_printf(ret_why, "%s/%s: ", d->path, names[i]);
    if (err == -EPROTONOSUPPORT)
        buf_printf(ret_why, "this file has a newer format than this program knows; start it with "
                            "the version that wrote it");
    else
        buf_printf(ret_why, "cannot be read: %s", strerror(-err));
    return err;
}

int epoch_file_read(const struct store_dir *d, struct epoch_file *ret_file, struct buf *ret_why) {
    struct epoch_file e = {0};
    for (size_t i = 0; i < EPOCH_COPIES; i++) {
        int err = read_copy(&e, d, i, ret_why);
        if (err < 0)
            return err;
    }
    bool damaged = e.copies[0] == EPOCH_COPY_DAMAGED || e.copies[1] == EPOCH_COPY_DAMAGED;
    /* A name is given to what is whole, and one copy is written at a time: no crash does this. */
    if (damaged && e.epoch == 0) {
        epoch_file_names(d, ret_why);
        buf_printf(ret_why,
                   ": no whole copy of the epoch that this replica has promised, and it may not be "
                   "forgotten");
        return -EBADMSG;
    }
    *ret_file = e;
    return 0;
}

static int put_copy(struct epoch_file *e, const struct store_dir *d, size_t i, uint32_t epoch,
                    uint32_t flags) {
    struct store_file file = {.words = {epoch, flags}};
    /* What is damaged may have any length: it gets a new file as well. */
    int err = e->copies[i] == EPOCH_COPY_WHOLE ? store_file_write(d, names[i], MAGIC, &file)
                                               : store_file_create(d, names[i], MAGIC, &file);
    if (err < 0)
        return err;
    e->copies[i] = EPOCH_COPY_WHOLE;
    e->said[i] = epoch;
    e->said_flags[i] = flags;
    return 0;
}

/* Brings the copies that do not say it to `epoch` and `flags`. */
static int put_copies(struct epoch_file *e, const struct store_dir *d, uint32_t epoch,
                      uint32_t flags) {
    for (size_t i = 0; i < EPOCH_COPIES; i++) {
        if (e->copies[i] == EPOCH_COPY_WHOLE && e->said[i] == epoch && e->said_flags[i] == flags)
            continue;
        int err = put_copy(e, d, i, epoch, flags);
        if (err < 0)
            return err;
    }
    e->epoch = epoch;
    e->flags = flags;
    return 0;
}

int epoch_file_repair(struct epoch_file *e, const struct store_dir *d, struct buf *ret_why) {
    if (e->epoch == 0)
        return 0;
    for (size_t i = 0; i < EPOCH_COPIES; i++)
        if (e->copies[i] == EPOCH_COPY_DAMAGED)
            buf_printf(ret_why, "%s%s/%s: was damaged, and is written anew from the other copy",
                       ret_why->len > 0 ? "; " : "", d->path, names[i]);
    return put_copies(e, d, e->epoch, e->flags);
}

int epoch_file_save(struct epoch_file *e, const struct store_dir *d, uint32_t epoch) {
    return epoch <= e->epoch ? 0 : put_copies(e, d, epoch, e->flags);
}

int epoch_file_set(struct epoch_file *e, const struct store_dir *d, uint32_t flags) {
    return e->epoch == 0 ? 0 : put_copies(e, d, e->epoch, e->flags | flags);
}

int epoch_file_clear(struct epoch_file *e, const struct store_dir *d, uint32_t flags) {
    return e->epoch == 0 ? 0 : put_copies(e, d, e->epoch, e->flags & ~flags);
}

static int remove_copies(const struct store_dir *d) {
    int err = 0;
    for (size_t i = 0; err == 0 && i < EPOCH_COPIES; i++)
        err = store_file_remove(d, names[i]);
    return err < 0 ? err : store_file_sync_dir(d);
}

int epoch_file_restore(const struct store_dir *d, uint32_t epoch, uint32_t set, uint32_t clear) {
    struct epoch_file e = {0};
    struct buf why = BUF_INIT;
    int err = epoch_file_read(d, &e, &why);
    buf_close(&why);
    if (err < 0 && err != -EBADMSG)
        return err;
    if (err == -EBADMSG)
        for (size_t i = 0; i < EPOCH_COPIES; i++)
            e.copies[i] = EPOCH_COPY_DAMAGED;
    epoch = epoch > e.epoch ? epoch : e.epoch;
    return epoch > 0 ? put_copies(&e, d, epoch, (e.flags | set) & ~clear) : remove_copies(d);
}
