/* Open files. OPEN takes the value, READ hands out of it, WRITE commits before it is answered, but
 * for pieces whose size is a multiple of 4,096: they wait for the rest of the value, because that
 * is how tools write a value in pieces, and each commit is seen by others (FUSE.md, rule 9). */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/mem.h"
#include "fs/commit.h"
#include "fs/lock.h"
#include "fs/ops.h"
#include "fs/recall.h"
#include "fs/refresh.h"
#include "fs/resume.h"
#include "fs/view.h"
#include "fs/view_stream.h"

#define PIECE_BYTES 4096
/* A write(2) that is longer than a request, 1 MiB, comes in several, and the first of them ends
 * where a page of the writer's memory does (FUSE.md, section 6): a WRITE longer than this may have
 * more behind it. */
#define WHOLE_WRITE_MAX ((1u << 20) - PIECE_BYTES)

struct handle *op_file_handle(struct fs *fs, struct inode *inode, struct fuse_file_info *fi) {
    struct handle *h = handle_new(fs, inode);
    h->writable = (fi->flags & O_ACCMODE) != O_RDONLY;
    h->replace = h->writable && (fi->flags & O_TRUNC) != 0;
    fi->fh = h->id;
    fi->direct_io = 1;
    return h;
}

struct open_op {
    struct call call;
    struct fuse_file_info fi;
};

static void open_read(struct call *c);

static void on_value(void *ctx, const struct zk_result *res) {
    struct open_op *op = ctx;
    struct call *c = &op->call;
    struct inode *inode = c->inode;
    if (res->err == ZK_NONODE && call_moved(c)) {
        open_read(c);
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    if (res->stat.czxid != inode->czxid && inode->czxid != 0) {
        call_err(c, ESTALE); /* another znode has the name: the kernel looks it up again */
        return;
    }
    if (view_is_stale(inode, res->stat.version)) {
        call_err(c, ESTALE);
        return;
    }
    inode_see(inode, &res->stat, res->data.len < 0 ? DATA_NULL : DATA_THERE);
    struct handle *h = op_file_handle(c->fs, inode, &op->fi);
    handle_set_value(h, blob_from_slice(res->data), res->stat.version);
    h->truncate = h->replace; /* through a view on condition of a version */
    call_open(c, h, &op->fi);
}

static void open_read(struct call *c) {
    call_track(c, zk_get(c->fs->zk, inode_path(c->inode), on_value, c));
}

/* With O_TRUNC nothing has to be read: the first write replaces whatever is there, and a truncation
 * without one is committed at RELEASE. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY;
    if (inode->kind == INODE_VIEW_FILE) {
        stream_open(req, inode, fi);
        return;
    }
    if (writes && view_refuses(req, inode, CHANGE_WRITE))
        return;
    if (writes && (fi->flags & O_TRUNC) != 0 && view_version(inode) == -1) {
        struct handle *h = op_file_handle(op_fs(req), inode, fi);
        h->truncate = true;
        call_reply_open(op_fs(req), req, h, fi);
        return;
    }
    struct open_op *op = call_new(op_fs(req), req, "open", inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->fi = *fi;
    view_fresh(&op->call, open_read);
}

/* Of a descriptor that has to get its value first: behind a lock (refresh.h), or after a restart
 * (recall.h). */
struct read_op {
    struct call call;
    struct refresh refresh;
    struct recall recall;
    struct handle *handle;
    size_t size;
    off_t off;
};

static struct slice part_of(const struct handle *h, off_t off, size_t size) {
    struct slice view = handle_view(h);
    if (off < 0 || off >= view.len)
        return (struct slice){NULL, 0};
    size_t left = (size_t)(view.len - off);
    return (struct slice){view.p + off, (int32_t)(size < left ? size : left)};
}

static void read_recalled(struct call *c) {
    struct read_op *op = (struct read_op *)c;
    struct slice bytes = part_of(op->handle, op->off, op->size);
    call_buf(c, bytes.p, (size_t)bytes.len);
}

static void read_refreshed(struct call *c) {
    struct read_op *op = (struct read_op *)c;
    recall_start(&op->recall, c, op->handle, EIO, false, read_recalled);
}

static void read_locked(struct call *c) {
    struct read_op *op = (struct read_op *)c;
    if (op->handle->lost != 0)
        call_err(c, op->handle->lost);
    else
        refresh_start(&op->refresh, c, op->handle, read_refreshed);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    if (h->stream != NULL) {
        stream_read(req, h, size, off, fi);
        return;
    }
    if (h->lost != 0) {
        fuse_reply_err(req, h->lost);
        return;
    }
    if ((!h->refresh || h->held) && !recall_is_due(h)) {
        struct slice bytes = part_of(h, off, size);
        fuse_reply_buf(req, (const char *)bytes.p, (size_t)bytes.len);
        return;
    }
    struct read_op *op = call_new(op_fs(req), req, "read", h->inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->handle = h;
    op->size = size;
    op->off = off;
    handle_lock(&op->call, h, read_locked);
}

struct seek_op {
    struct call call;
    struct recall recall;
    off_t off;
    int whence;
};

/* The value is one piece of data, with the hole behind it. */
static void seek_recalled(struct call *c) {
    struct seek_op *op = (struct seek_op *)c;
    off_t size = handle_view(op->recall.handle).len;
    if (op->off < 0 || op->off >= size) {
        call_err(c, ENXIO);
        return;
    }
    fuse_req_interrupt_func(c->req, NULL, NULL);
    fuse_reply_lseek(c->req, op->whence == SEEK_DATA ? op->off : size);
    c->req = NULL;
    call_err(c, 0);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi) {
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    /* A stream has neither data nor holes before they come. */
    if (h->stream != NULL || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct seek_op *op = call_new(op_fs(req), req, "lseek", h->inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->off = off;
    op->whence = whence;
    recall_start(&op->recall, &op->call, h, EIO, false, seek_recalled);
}

/* Ends the call with the failure of a commit that no request waited for, if there was one. */
static bool tell_errnum(struct call *c, struct handle *h, int errnum) {
    struct fs *fs = c->fs;
    struct journal_answer answer = {.unique = c->unique, .told = h->id};
    if (h->errnum == 0)
        return false;
    h->errnum = 0;
    h->cut = false;
    handle_drop_held(h);
    journal_answering(fs->journal, &answer);
    handle_note(h);
    call_err(c, errnum);
    journal_answered(fs->journal);
    return true;
}

struct write_op {
    struct call call;
    struct commit commit;
    struct refresh refresh;
    struct recall recall;
    struct handle *handle;
    struct blob *piece;
    off_t off;
    bool append;
    bool hold;
    bool cut; /* handle.h */
};

static void write_end(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    commit_close(&op->commit);
    blob_unref(op->piece);
}

static void write_done(struct call *c) { call_write(c, ((struct write_op *)c)->piece->len); }

static void write_recalled(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    struct handle *h = op->handle;
    if (tell_errnum(c, h, h->errnum))
        return;
    int errnum = commit_put(h, op->piece->bytes, op->piece->len, op->off, op->append);
    if (errnum == EFBIG && h->cut) {
        h->errnum = EFBIG; /* the kernel tells of the first part only: a short write */
        handle_note(h);
    }
    h->cut = op->cut && errnum == 0;
    if (errnum != 0) {
        call_err(c, errnum);
    } else if (op->hold) {
        commits_arm(c->fs);
        handle_told_held(h);
        write_done(c);
    } else {
        commit_start(&op->commit, c, h, write_done);
    }
}

static void write_refreshed(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    recall_start(&op->recall, c, op->handle, ESTALE, op->append, write_recalled);
}

static void write_locked(struct call *c) {
    struct write_op *op = (struct write_op *)c;
    struct handle *h = op->handle;
    if (commit_resume(c, h, op->append ? op->piece->len : 0))
        commit_start(&op->commit, c, h, write_done);
    else if (h->lost != 0)
        call_err(c, ESTALE);
    else
        refresh_start(&op->refresh, c, h, write_refreshed);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off,
              struct fuse_file_info *fi) {
    (void)ino;
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    if (h->stream != NULL) {
        fuse_reply_err(req, EBADF);
        return;
    }
    struct write_op *op = call_new(op_fs(req), req, "write", h->inode, sizeof *op, write_end);
    if (op == NULL)
        return;
    op->handle = h;
    op->piece = blob_new(p, size);
    op->off = off;
    op->append = (fi->flags & O_APPEND) != 0;
    /* What the kernel writes back of a shared mapping comes in whole pages whatever is in them. */
    op->cut = size > WHOLE_WRITE_MAX && fi->writepage == 0;
    op->hold = op->cut || (size % PIECE_BYTES == 0 && fi->writepage == 0);
    handle_lock(&op->call, op->handle, write_locked);
}

/* FLUSH, FSYNC and RELEASE: commit what is held, then what each does besides. */
struct settle_op {
    struct call call;
    struct commit commit;
    struct handle *handle;
    bool truncation; /* commit a truncation that nothing was written after, too */
    bool sync;
    fuse_req_t close; /* the RELEASE: answered when the handle is closed; else NULL */
    bool unlock;      /* the POSIX locks of owner, which has closed a descriptor of the file */
    uint64_t owner;
    struct lock_done unlocked;
};

static void settle_end(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    commit_close(&op->commit);
    lock_leave(&op->unlocked);
    if (op->unlock)
        lock_release(op->handle, LOCK_RANGE, op->owner, 0, INT64_MAX, NULL);
    if (op->close != NULL) {
        handle_unlock(c);
        handle_close(op->handle);
        fuse_reply_err(op->close, 0);
    }
}

static void on_unlocked(struct lock_done *done, int errnum) {
    struct settle_op *op =
        (struct settle_op *)((char *)done - offsetof(struct settle_op, unlocked));
    call_err(&op->call, errnum);
}

static void settle_rest(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    if (op->unlock) {
        op->unlock = false;
        lock_release(op->handle, LOCK_RANGE, op->owner, 0, INT64_MAX, &op->unlocked);
    } else if (op->sync)
        call_track(c, zk_sync(c->fs->zk, inode_path(c->inode), call_zk_done, op));
    else
        call_err(c, 0);
}

static void settle_locked(struct call *c) {
    struct settle_op *op = (struct settle_op *)c;
    struct handle *h = op->handle;
    if (commit_resume(c, h, 0)) {
        commit_start(&op->commit, c, h, settle_rest);
        return;
    }
    if (tell_errnum(c, h, h->lost != 0 ? ESTALE : h->errnum))
        return;
    if (h->lost != 0 && op->sync)
        call_err(c, ESTALE);
    else if (h->held || (h->truncate && op->truncation))
        commit_start(&op->commit, c, h, settle_rest);
    else
        settle_rest(c);
}

static struct settle_op *settle_new(fuse_req_t req, struct handle *h, const char *what) {
    struct settle_op *op = call_new(op_fs(req), req, what, h->inode, sizeof *op, settle_end);
    if (op != NULL)
        op->handle = h;
    return op;
}

/* It had a commit at the server when the worker before crashed. */
static bool was_sent(fuse_req_t req) {
    struct fs *fs = op_fs(req);
    return resume_has(fs, fs->request_unique);
}

/* Any close(2) of the descriptor, bash's dup2 before `echo` writes included: so this is not yet the
 * end, and a truncation goes on waiting for its write. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    bool stream = h->stream != NULL;
    bool unlock = !stream && lock_owner_has(h, fi->lock_owner);
    bool nothing = !h->held && h->errnum == 0 && h->owner == NULL && !was_sent(req);
    if (stream || (nothing && !unlock)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct settle_op *op = settle_new(req, h, "flush");
    if (op == NULL)
        return;
    op->unlock = unlock;
    op->owner = fi->lock_owner;
    op->unlocked.fn = on_unlocked;
    handle_lock(&op->call, h, settle_locked);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    (void)datasync;
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    if (h->stream != NULL) {
        fuse_reply_err(req, 0);
        return;
    }
    struct settle_op *op = settle_new(req, h, "fsync");
    if (op == NULL)
        return;
    op->truncation = true;
    op->sync = true;
    handle_lock(&op->call, op->handle, settle_locked);
}

/* One that is not there was closed by an earlier worker, which could not say so any more. */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void)ino;
    struct handle *h = handle_find(op_fs(req), fi);
    if (h == NULL) {
        fuse_reply_err(req, 0);
        return;
    }
    if (!h->held && !h->truncate && h->owner == NULL && !was_sent(req)) {
        handle_close(h);
        fuse_reply_err(req, 0);
        return;
    }
    struct settle_op *op = settle_new(req, h, "close");
    if (op == NULL)
        return;
    op->truncation = true;
    fuse_req_interrupt_func(req, NULL, NULL);
    op->close = req;
    op->call.req = NULL;
    handle_lock(&op->call, h, settle_locked);
}

/* A file is always ready, a stream when it has text. */
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
             struct fuse_pollhandle *ph) {
    struct handle *h = op_handle(req, fi);
    if (h == NULL) {
        if (ph != NULL)
            fuse_pollhandle_destroy(ph);
        return;
    }
    if (h->stream != NULL) {
        stream_poll(req, h, ph);
        return;
    }
    if (ph != NULL)
        fuse_pollhandle_destroy(ph);
    fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}
