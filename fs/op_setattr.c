/* truncate(2) and fallocate(2), committed at once; chmod, chown and utimens, which change nothing.
 */
#include <errno.h>

#include "common/mem.h"
#include "fs/commit.h"
#include "fs/ops.h"
#include "fs/recall.h"
#include "fs/refresh.h"
#include "fs/view.h"

/* What strict_modes refuses. */
#define SET_MODES                                                                                  \
    (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_ATIME |            \
     FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)

/* A change of size through a descriptor. */
struct resize_op {
    struct call call;
    struct handle *handle;
    struct commit commit;
    struct recall recall;
    struct refresh refresh;
    off_t size;
    bool grow_only; /* fallocate: and the answer has no attributes */
};

static void resize_end(struct call *c) { commit_close(&((struct resize_op *)c)->commit); }

/* The answer of SETATTR has the attributes. The request goes over to a call of its own, and what
 * was written for it stays known until that is answered. */
static void answer_attr(struct call *c) {
    fuse_req_t req = c->req;
    fuse_req_interrupt_func(req, NULL, NULL);
    c->req = NULL;
    struct call *attr = op_reply_attr(req, c->inode);
    if (attr != NULL)
        call_hand_over(c, attr);
    call_err(c, 0);
}

static void resize_done(struct call *c) {
    struct resize_op *op = (struct resize_op *)c;
    if (op->grow_only)
        call_err(c, 0);
    else
        answer_attr(c);
}

static void resize_recalled(struct call *c) {
    struct resize_op *op = (struct resize_op *)c;
    struct handle *h = op->handle;
    off_t have = handle_view(h).len;
    if (op->grow_only && op->size <= have) {
        call_err(c, 0);
        return;
    }
    int errnum = commit_resize(h, op->size);
    if (errnum != 0) {
        call_err(c, errnum);
        return;
    }
    if (op->size == 0)
        h->replace = true; /* nothing of the old value is kept, so none can be overwritten unseen */
    commit_start(&op->commit, c, h, resize_done);
}

static void resize_refreshed(struct call *c) {
    struct resize_op *op = (struct resize_op *)c;
    recall_start(&op->recall, c, op->handle, ESTALE, op->size == 0, resize_recalled);
}

static void resize_locked(struct call *c) {
    struct resize_op *op = (struct resize_op *)c;
    if (commit_resume(c, op->handle, 0))
        commit_start(&op->commit, c, op->handle, resize_done);
    else if (op->handle->lost != 0)
        call_err(c, ESTALE);
    else
        refresh_start(&op->refresh, c, op->handle, resize_refreshed);
}

static void resize_start(fuse_req_t req, struct inode *inode, struct handle *h, off_t size,
                         bool grow_only) {
    struct resize_op *op = call_new(op_fs(req), req, "truncate", inode, sizeof *op, resize_end);
    if (op == NULL)
        return;
    op->handle = h;
    op->size = size;
    op->grow_only = grow_only;
    handle_lock(&op->call, h, resize_locked);
}

/* A change of size by name: read, cut, write on condition of the version, again when somebody was
 * faster. */
struct cut_op {
    struct call call;
    off_t size;
};

static void cut_got(void *ctx, const struct zk_result *res);

static void cut_set(void *ctx, const struct zk_result *res) {
    struct cut_op *op = ctx;
    struct call *c = &op->call;
    if (res->err == ZK_BADVERSION && view_version(c->inode) == -1)
        call_track(c, zk_get(c->fs->zk, inode_path(c->inode), cut_got, op));
    else if (res->err != ZK_OK)
        call_zk_err(c, res->err);
    else
        answer_attr(c);
}

static void cut_got(void *ctx, const struct zk_result *res) {
    struct cut_op *op = ctx;
    struct call *c = &op->call;
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    if (view_is_stale(c->inode, res->stat.version)) {
        call_err(c, ESTALE);
        return;
    }
    size_t have = res->data.len > 0 ? (size_t)res->data.len : 0;
    size_t size = (size_t)op->size;
    if (size == have) {
        answer_attr(c);
        return;
    }
    uint8_t *value = mem_zalloc(size + 1);
    if (have > 0)
        __builtin_memcpy(value, res->data.p, have < size ? have : size);
    call_track(c, zk_set(c->fs->zk, inode_path(c->inode), (struct slice){value, (int32_t)size},
                         res->stat.version, cut_set, op));
    mem_free(value);
}

static void cut_start(fuse_req_t req, struct inode *inode, off_t size) {
    struct fs *fs = op_fs(req);
    struct slice path = inode_path(inode);
    if (size < 0 || size > (off_t)fs_value_max(fs, (size_t)path.len)) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    struct cut_op *op = call_new(fs, req, "truncate", inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->size = size;
    if (size == 0)
        call_track(&op->call,
                   zk_set(fs->zk, path, (struct slice){NULL, 0}, view_version(inode), cut_set, op));
    else
        call_track(&op->call, zk_get(fs->zk, path, cut_got, op));
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    bool size = (to_set & FUSE_SET_ATTR_SIZE) != 0;
    if (inode == NULL || view_refuses(req, inode, size ? CHANGE_WRITE : CHANGE_MODE))
        return;
    if (size) {
        struct handle *h = fi != NULL && fi->fh != 0 ? handle_find(op_fs(req), fi) : NULL;
        if (inode->kind == INODE_DIR)
            fuse_reply_err(req, EISDIR);
        else if (h != NULL && h->writable)
            resize_start(req, inode, h, attr->st_size, false);
        else
            cut_start(req, inode, attr->st_size);
        return;
    }
    if (op_fs(req)->opt->strict_modes && (to_set & SET_MODES) != 0)
        fuse_reply_err(req, EPERM);
    else
        op_reply_attr(req, inode);
}

/* Mode 0 makes sure of the size; KEEP_SIZE (1) asks for room, of which there is no notion here. */
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    if (inode_is_view(inode)) {
        fuse_reply_err(req, EBADF); /* cannot be open for writing */
        return;
    }
    off_t max = (off_t)fs_value_max(op_fs(req), (size_t)inode_path(inode).len);
    if ((mode & ~1) != 0)
        fuse_reply_err(req, EOPNOTSUPP);
    else if (off > max || len > max - off)
        fuse_reply_err(req, EFBIG);
    else if (mode == 1)
        fuse_reply_err(req, 0);
    else
        resize_start(req, inode, h, off + len, true);
}
