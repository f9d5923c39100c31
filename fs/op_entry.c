/* Making things: directories (null data), files (empty data), and what cannot be made here. */
#include <errno.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/ops.h"
#include "fs/probe.h"

struct make_op {
    struct call call;
    struct probe probe;
    struct buf path;
    enum inode_kind kind;
    bool open; /* CREATE: with a handle */
    struct fuse_file_info fi;
};

static void make_end(struct call *c) {
    struct make_op *op = (struct make_op *)c;
    probe_close(&op->probe);
    buf_close(&op->path);
}

static void reply_made(struct make_op *op, enum inode_kind kind, const struct zstat *stat,
                       enum nullness data, struct blob *take_value) {
    struct call *c = &op->call;
    struct slice path = op_slice(&op->path);
    struct stat attr;
    struct inode *inode = inode_get(&c->fs->inodes, path, kind, stat, data);
    inode_attr(c->fs, path, kind, stat, &attr);
    if (!op->open) {
        inode->maker = kind == INODE_DIR ? call_pid(c) : 0;
        blob_unref(take_value);
        call_entry(c, inode, &attr);
        return;
    }
    struct handle *h = op_file_handle(c->fs, inode, &op->fi);
    handle_set_value(h, take_value, stat->version);
    call_created(c, inode, &attr, h, &op->fi);
}

/* Somebody made it since the kernel looked: open(2) without O_EXCL opens that. */
static void on_there(void *ctx, const struct zk_result *res) {
    struct make_op *op = ctx;
    struct call *c = &op->call;
    enum nullness data = res->data.len < 0 ? DATA_NULL : DATA_THERE;
    if (res->err != ZK_OK)
        call_zk_err(c, res->err);
    else if (op_shape(c, op_slice(&op->path), &res->stat, data) == INODE_DIR)
        call_err(c, EISDIR);
    else
        reply_made(op, INODE_FILE, &res->stat, data, blob_from_slice(res->data));
}

static void on_created(void *ctx, const struct zk_result *res) {
    struct make_op *op = ctx;
    struct call *c = &op->call;
    if (res->err == ZK_NODEEXISTS && op->open && (op->fi.flags & O_EXCL) == 0) {
        call_track(c, zk_get(c->fs->zk, op_slice(&op->path), on_there, op));
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    bool dir = op->kind == INODE_DIR;
    if (op->open)
        op->fi.flags |= O_TRUNC; /* the first write replaces the emptiness, whatever came between */
    reply_made(op, op->kind, &res->stat, dir ? DATA_NULL : DATA_THERE,
               dir ? NULL : blob_new(NULL, 0));
}

/* `.data`: with O_EXCL it is made only where there is no data, and the first write is on condition
 * that there still is none. */
static void data_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct make_op *op = (struct make_op *)c;
    if (err != ZK_OK) {
        call_zk_err(c, err);
        return;
    }
    bool exclusive = !op->open || (op->fi.flags & O_EXCL) != 0;
    if (exclusive && stat->data_length > 0) {
        call_err(c, EEXIST);
        return;
    }
    mark_clear(&c->fs->marks, MARK_UNLINKED, op_slice(&op->path), call_pid(c));
    c->inode->maker = 0;
    if (exclusive)
        op->fi.flags &= ~O_TRUNC;
    else
        op->fi.flags |= O_TRUNC;
    reply_made(op, INODE_DATA, stat, data, NULL);
}

static void make_start(fuse_req_t req, fuse_ino_t parent, const char *name, const char *what,
                       enum inode_kind kind, const struct fuse_file_info *fi) {
    struct inode *dir = op_inode(req, parent);
    if (dir == NULL)
        return;
    struct fs *fs = op_fs(req);
    struct buf path = BUF_INIT;
    enum op_child child = op_child(fs, dir, name, &path);
    int errnum = op_child_errno(child);
    if (child == CHILD_DATA && kind == INODE_DIR)
        errnum = EEXIST;
    struct make_op *op = NULL;
    if (errnum != 0)
        fuse_reply_err(req, errnum);
    else
        op = call_new(fs, req, what, dir, sizeof *op, make_end);
    if (op == NULL) {
        buf_close(&path);
        return;
    }
    op->path = path;
    op->kind = kind;
    op->open = fi != NULL;
    if (fi != NULL)
        op->fi = *fi;
    if (child == CHILD_DATA) {
        probe_start(&op->probe, &op->call, op_slice(&op->path), data_probed);
        return;
    }
    struct zk_op create = {.type = ZK_OP_CREATE,
                           .path = op_slice(&op->path),
                           .data = kind == INODE_DIR ? SLICE_NULL : (struct slice){NULL, 0},
                           .mode = CREATE_PERSISTENT,
                           .acl = fs->opt->acl,
                           .exclusive = fi == NULL || (fi->flags & O_EXCL) != 0};
    call_track(&op->call, zk_create(fs->zk, &create, on_created, op));
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    (void)mode;
    make_start(req, parent, name, "mkdir", INODE_DIR, NULL);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev) {
    (void)rdev;
    if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0)
        fuse_reply_err(req, EPERM);
    else
        make_start(req, parent, name, "mknod", INODE_FILE, NULL);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi) {
    (void)mode;
    make_start(req, parent, name, "create", INODE_FILE, fi);
}
