/* unlink(2) and rmdir(2). */
#include <errno.h>

#include "common/path.h"
#include "fs/flags.h"
#include "fs/ops.h"
#include "fs/probe.h"
#include "fs/view.h"

struct remove_op {
    struct call call; /* its inode is the parent */
    struct probe probe;
    struct buf path;
    pid_t pid;
    zxid_t czxid; /* rmdir: of what is removed, or not below it */
};

static void remove_end(struct call *c) {
    struct remove_op *op = (struct remove_op *)c;
    probe_close(&op->probe);
    buf_close(&op->path);
}

/* The parent may have lost its last child: `rm -r` goes on as with a directory (mark.h). */
static void note_removed(struct remove_op *op) {
    struct fs *fs = op->call.fs;
    mark_set(&fs->marks, MARK_EMPTIED, inode_path(op->call.inode), op->pid,
             (int64_t)uv_now(fs->loop));
}

static void on_unlinked(void *ctx, const struct zk_result *res) {
    struct remove_op *op = ctx;
    struct call *c = &op->call;
    if (res->err == ZK_NONODE && op_child_moved(c, &op->path)) {
        call_track(c, zk_delete(c->fs->zk, op_slice(&op->path), -1, on_unlinked, op));
    } else if (res->err == ZK_NOTEMPTY) {
        call_err(c, EISDIR); /* it got a child since the kernel looked */
    } else if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
    } else {
        note_removed(op);
        call_err(c, 0);
    }
}

static void on_data_nulled(void *ctx, const struct zk_result *res) {
    struct remove_op *op = ctx;
    struct fs *fs = op->call.fs;
    if (res->err != ZK_OK) {
        call_zk_err(&op->call, res->err);
        return;
    }
    mark_set(&fs->marks, MARK_UNLINKED, op_slice(&op->path), op->pid, (int64_t)uv_now(fs->loop));
    call_err(&op->call, 0);
}

/* rmdir with a look before: data is content of the directory too, and is not deleted unseen. The
 * version makes look and deletion one. */
static void rmdir_probed(struct call *c, int err, const struct zstat *stat, enum nullness data);

static void on_rmdir(void *ctx, const struct zk_result *res) {
    struct remove_op *op = ctx;
    struct call *c = &op->call;
    if (res->err == ZK_BADVERSION || (res->err == ZK_NONODE && op_child_moved(c, &op->path))) {
        probe_start(&op->probe, c, op_slice(&op->path), rmdir_probed);
    } else if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
    } else {
        flags_gone(c->fs->flags, op_slice(&op->path), op->czxid);
        note_removed(op);
        call_err(c, 0);
    }
}

static void rmdir_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct remove_op *op = (struct remove_op *)c;
    (void)data;
    op->czxid = stat->czxid;
    if (err == ZK_NONODE && op_child_moved(c, &op->path)) {
        probe_start(&op->probe, c, op_slice(&op->path), rmdir_probed);
    } else if (err != ZK_OK) {
        call_zk_err(c, err);
    } else if (view_is_stale(c->inode, stat->version)) {
        call_err(c, ESTALE);
    } else if (stat->num_children > 0 || stat->data_length > 0) {
        call_err(c, ENOTEMPTY);
    } else {
        call_track(c, zk_delete(c->fs->zk, op_slice(&op->path), stat->version, on_rmdir, op));
    }
}

/* The worker before had sent the deletion. */
static void on_rmdir_again(void *ctx, const struct zk_result *res) {
    struct remove_op *op = ctx;
    struct call *c = &op->call;
    if (zkerr_is_passing(res->err)) {
        call_zk_err(c, res->err);
    } else if (res->err != ZK_OK) {
        probe_start(&op->probe, c, op_slice(&op->path), rmdir_probed); /* it was refused */
    } else {
        flags_gone(c->fs->flags, op_slice(&op->path), op->czxid);
        note_removed(op);
        call_err(c, 0);
    }
}

static struct remove_op *remove_start(fuse_req_t req, fuse_ino_t parent, const char *name,
                                      const char *what, enum op_child *ret_child) {
    struct inode *dir = op_inode(req, parent);
    if (dir == NULL || view_refuses(req, dir, CHANGE_REMOVE))
        return NULL;
    struct buf path = BUF_INIT;
    *ret_child = op_child(op_fs(req), dir, name, &path);
    int errnum = op_child_errno(*ret_child);
    struct remove_op *op = NULL;
    if (errnum != 0)
        fuse_reply_err(req, errnum == EINVAL ? ENOENT : errnum);
    else
        op = call_new(op_fs(req), req, what, dir, sizeof *op, remove_end);
    if (op == NULL) {
        buf_close(&path);
        return NULL;
    }
    op->path = path;
    op->pid = call_pid(&op->call);
    return op;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
    enum op_child child;
    struct remove_op *op = remove_start(req, parent, name, "unlink", &child);
    if (op == NULL)
        return;
    struct zk *zk = op->call.fs->zk;
    int32_t version = view_version(op->call.inode);
    struct slice path = op_slice(&op->path);
    if (child == CHILD_DATA)
        call_track(&op->call, zk_set(zk, path, SLICE_NULL, version, on_data_nulled, op));
    else
        call_track(&op->call, zk_delete(zk, path, version, on_unlinked, op));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
    enum op_child child;
    struct remove_op *op = remove_start(req, parent, name, "rmdir", &child);
    if (op == NULL)
        return;
    if (child == CHILD_DATA) {
        call_err(&op->call, ENOTDIR);
    } else if (call_was_sent(&op->call, OP_DELETE)) {
        op->czxid = op->call.sent->before; /* it had been seen by then */
        call_again(&op->call, false, on_rmdir_again, op);
    } else {
        probe_start(&op->probe, &op->call, op_slice(&op->path), rmdir_probed);
    }
}
