#include "replica/offline/fresh_store.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/snap_codec.h"
#include "replica/store/epoch_file.h"
#include "replica/store/snap_file.h"
#include "replica/store/snap_list.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"

#include <errno.h>
#include <string.h>

#define UNFINISHED ".unfinished"

static void count_name(void *arg, const char *name) { ++*(size_t *)arg; }

int fresh_store_check(const struct env_files *files, const char *log_dir, struct buf *ret_why) {
    size_t count = 0;
    int err = files->list(files->ctx, log_dir, count_name, &count);
    if (err == -ENOENT || (err == 0 && count == 0))
        return 0;
    if (err < 0) {
        buf_printf(ret_why, "%s: cannot be listed: %s", log_dir, strerror(-err));
        return err;
    }
    buf_printf(ret_why,
               "%s is not empty: a replica's data is there. Nothing was touched; give a "
               "configuration with an empty dataDir (and dataLogDir), or move this directory away",
               log_dir);
    return -ENOTEMPTY;
}

/* ---- what is in it ---- */

struct emptying {
    const struct store_dir *d;
    int err;
};

static void remove_name(void *arg, const char *name) {
    struct emptying *e = arg;
    int err = store_file_remove(e->d, name);
    e->err = e->err < 0 ? e->err : err;
}

/* What an earlier run left, that did not come to its end. */
static int empty_dir(const struct store_dir *d) {
    struct emptying e = {.d = d};
    int err = d->files->list(d->files->ctx, d->path, remove_name, &e);
    return err < 0 ? err : e.err;
}

static int put_piece(struct snap_writer *w, const struct store_dir *d, struct buf *piece) {
    int err = snap_writer_chunk(w, d, (struct slice){piece->data, (int32_t)piece->len});
    buf_reset(piece);
    return err;
}

static int put_tree(struct snap_writer *w, const struct store_dir *d, struct tree *t) {
    struct buf piece = BUF_INIT;
    struct tree_walk *walk = tree_walk_new(t);
    struct znode_image image;
    int err = 0;
    /* Without a secret: the new ensemble makes one of its own, and so is another one than before.
     */
    snap_put_head(&piece, &(struct snap_head){.secret = SLICE_NULL});
    while (err == 0 && tree_walk_next(walk, &image)) {
        size_t before = piece.len;
        snap_put_znode(&piece, &image);
        if (piece.len <= SNAP_PIECE_BYTES)
            continue;
        /* As the core does: a large one has a piece of its own. */
        if (before == 0) {
            err = put_piece(w, d, &piece);
            continue;
        }
        struct buf rest = BUF_INIT;
        buf_put(&rest, piece.data + before, piece.len - before);
        piece.len = before;
        err = put_piece(w, d, &piece);
        buf_put(&piece, rest.data, rest.len);
        buf_close(&rest);
    }
    snap_put_digest(&piece, &(struct snap_digest){tree_last_zxid(t), tree_digest(t)});
    if (err == 0)
        err = put_piece(w, d, &piece);
    tree_walk_free(walk);
    buf_close(&piece);
    return err;
}

static int put_snapshot(const struct store_dir *d, struct tree *t, uint64_t salt) {
    struct snap_writer w = {.fd = -1};
    struct snap_base base;
    char name[SNAP_NAME_BYTES];
    zxid_t zxid = tree_last_zxid(t);
    snap_name(zxid, name);
    int err = snap_writer_begin(&w, d, SNAP_FILE_TMP, salt, SNAP_REPLACES);
    if (err == 0)
        err = put_tree(&w, d, t);
    if (err == 0)
        err = snap_writer_end(&w, d, name, zxid, zxid, &base);
    snap_writer_close(&w, d);
    return err;
}

/* An Apache server that stands alone counts in epoch 0; a promise begins at 1. */
static int put_epoch(const struct store_dir *d, zxid_t zxid) {
    struct epoch_file e = {0};
    uint32_t epoch = zxid_epoch(zxid);
    return epoch_file_save(&e, d, epoch > 0 ? epoch : 1);
}

static int fill(const struct store_dir *d, struct tree *t, uint64_t salt) {
    int err = store_file_make_dirs(d->files, d->path);
    if (err == 0)
        err = empty_dir(d);
    if (err == 0)
        err = put_epoch(d, tree_last_zxid(t));
    if (err == 0)
        err = put_snapshot(d, t, salt);
    return err < 0 ? err : store_file_sync_dir(d);
}

int fresh_store_write(const struct env_files *files, const char *log_dir, struct tree *t,
                      uint64_t salt, struct buf *ret_why) {
    CHECK(tree_exact(t));
    CHECK(tree_ephemeral_count(t) == 0);
    CHECK(tree_last_zxid(t) > 0);
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s" UNFINISHED, log_dir);
    buf_put_u8(&path, 0);
    struct store_dir d = {.files = files, .path = (char *)path.data};
    int err = fill(&d, t, salt);
    if (err < 0)
        buf_printf(ret_why, "%s: cannot be written: %s", d.path, strerror(-err));
    if (err == 0) {
        /* Takes the place of an empty directory, and of no other. */
        err = files->rename(files->ctx, d.path, log_dir);
        if (err == 0)
            err = store_file_sync_parent(files, log_dir);
        if (err < 0)
            buf_printf(ret_why, "%s: cannot be given its name: %s", log_dir, strerror(-err));
    }
    buf_close(&path);
    return err;
}
