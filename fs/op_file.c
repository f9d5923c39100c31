/* Open files. OPEN takes the value, READ hands out of it, WRITE commits before it is answered, but
 * for pieces whose size is a multiple of 4,096: they wait for the rest of the value, because that
 * is how tools write a value in pieces, and each commit is seen by others (FUSE.md, rule 9). */
#include <errno.h>
#include <unistd.h>

#include "common/mem.h"
#include "fs/commit.h"
#include "fs/ops.h"

#define PIECE_BYTES 4096

struct handle *op_file_handle(struct fs *fs, struct inode *inode, struct fuse_file_info *fi) {
    struct handle *h = handle_new(fs, inode);
    h->writable = (fi->flags & O_ACCMODE) != O_RDONLY;
    h->replace = h->writable && (fi->flags & O_TRUNC) != 0;
    fi->fh = (uintptr_t)h;
    fi->direct_io = 1;
    fi->noflush = !h->writable;
    return h;
}

struct open_op {
    struct call call;
    struct fuse_file_info fi;
};

static void on_value(void *ctx, const struct zk_result *res) {
    struct open_op *op = ctx;
    struct call *c = &op->call;
    struct inode *inode = c->inode;
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    if (res->stat.czxid != inode->czxid && inode->czxid != 0) {
        call_err(c, ESTALE); /* another znode has the name: the kernel looks it up again */
        return;
    }
    inode_see(inode, &res->stat, res->data.len < 0 ? DATA_NULL : DATA_THERE);
    struct handle *h = op_file_handle(c->fs, inode, &op->fi);
    handle_set_value(h, blob_from_slice(res->data), res->stat.version);
    call_open(c, h, &op->fi);
}

/* With O_TRUNC nothing has to be read: the first write replaces whatever is there, and a truncation
 * without one is committed at RELEASE. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    if ((fi->flags & O_ACCMODE) != O_RDONLY && (fi->flags & O_TRUNC) != 0) {
        struct handle *h = op_file_handle(op_fs(req), inode, fi);
        h->truncate = true;
        if (fuse_reply_open(req, fi) != 0)
            handle_close(h);
        return;
    }
    struct open_op *op = call_new(op_fs(req), req, "open", inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->fi = *fi;
    call_track(&op->call, zk_get(op_fs(req)->zk, inode_path(inode), on_value, op));
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    (void)ino;
    struct slice view = handle_view(handle_of(fi));
    if (off < 0 || off >= view.len) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    size_t left = (size_t)(view.len - off);
    fuse_reply_buf(req, (const char *)view.p + off, size < left ? size : left);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi) {
    (void)ino;
    off_t size = handle_view(handle_of(fi)).len;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        fuse_reply_err(req, EINVAL);
    else if (off < 0 || off >= size)
        fuse_reply_err(req, ENXIO);
    else
        fuse_reply_lseek(req, whence == SEEK_DATA ? off : size);
}

/* The failure of a commit that no request waited for. */
static int take_errnum(struct handle *h) {
    int errnum = h->errnum;
    h->errnum = 0;
    return errnum;
}

struct write_op {
    struct call call;
    struct commit commit;
    struct handle *handle;
    struct blob *piece;
    off_t off;
    bool append;
    bool hold;
};

static void write_end(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    commit_close(&op->commit);
    blob_unref(op->piece);
}

static void write_done(struct call *c) { call_write(c, ((struct write_op *)c)->piece->len); }

static void write_locked(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    struct handle *h = op->handle;
    int errnum = take_errnum(h);
    if (errnum == 0)
        errnum = commit_put(h, op->piece->bytes, op->piece->len, op->off, op->append);
    if (errnum != 0) {
        call_err(c, errnum);
    } else if (op->hold) {
        commits_arm(c->fs);
        write_done(c);
    } else {
        commit_start(&op->commit, c, h, write_done);
    }
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off,
              struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    struct write_op *op = call_new(op_fs(req), req, "write", inode, sizeof *op, write_end);
    if (op == NULL)
        return;
    op->handle = handle_of(fi);
    op->piece = blob_new(p, size);
    op->off = off;
    op->append = (fi->flags & O_APPEND) != 0;
    /* What the kernel writes back of a shared mapping comes in whole pages whatever is in them. */
    op->hold = size % PIECE_BYTES == 0 && fi->writepage == 0;
    handle_lock(&op->call, op->handle, write_locked);
}

/* FLUSH, FSYNC and RELEASE: commit what is held, then what each does besides. */
struct settle_op {
    struct call call;
    struct commit commit;
    struct handle *handle;
    bool truncation; /* commit a truncation that nothing was written after, too */
    bool sync;
    bool close;
};

static void settle_end(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    commit_close(&op->commit);
    if (op->close) {
        handle_unlock(c);
        handle_close(op->handle);
    }
}

static void on_sync(void *ctx, const struct zk_result *res) {
    if (res->err != ZK_OK)
        call_zk_err(ctx, res->err);
    else
        call_err(ctx, 0);
}

static void settle_rest(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    if (op->sync)
        call_track(c, zk_sync(c->fs->zk, inode_path(c->inode), on_sync, op));
    else
        call_err(c, 0);
}

static void settle_locked(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    struct handle *h = op->handle;
    int errnum = take_errnum(h);
    if (errnum != 0)
        call_err(c, errnum);
    else if (h->held || (h->truncate && op->truncation))
        commit_start(&op->commit, c, h, settle_rest);
    else
        settle_rest(c);
}

static struct settle_op *settle_new(fuse_req_t req, fuse_ino_t ino, const char *what,
                                    struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return NULL;
    struct settle_op *op = call_new(op_fs(req), req, what, inode, sizeof *op, settle_end);
    if (op != NULL)
        op->handle = handle_of(fi);
    return op;
}

/* Any close(2) of the descriptor, bash's dup2 before `echo` writes included: so this is not yet the
 * end, and a truncation goes on waiting for its write. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct handle *h = handle_of(fi);
    if (!h->held && h->errnum == 0 && h->owner == NULL) {
        fuse_reply_err(req, 0);
        return;
    }
    struct settle_op *op = settle_new(req, ino, "flush", fi);
    if (op != NULL)
        handle_lock(&op->call, h, settle_locked);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    (void)datasync;
    struct settle_op *op = settle_new(req, ino, "fsync", fi);
    if (op == NULL)
        return;
    op->truncation = true;
    op->sync = true;
    handle_lock(&op->call, op->handle, settle_locked);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct handle *h = handle_of(fi);
    if (!h->held && !h->truncate && h->owner == NULL) {
        handle_close(h);
        fuse_reply_err(req, 0);
        return;
    }
    struct settle_op *op = settle_new(req, ino, "close", fi);
    if (op == NULL)
        return;
    op->truncation = true;
    op->close = true;
    handle_lock(&op->call, h, settle_locked);
}
