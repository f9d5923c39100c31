/* flock(2) and fcntl(2) locks. Before a lock is asked for or let go, what the descriptor holds back
 * is committed: whoever has the lock next shall see it. */
#include <errno.h>
#include <sys/file.h>

#include "fs/commit.h"
#include "fs/lock.h"
#include "fs/ops.h"

struct lock_op {
    struct call call;
    struct commit commit;
    struct lock_done done;
    struct handle *open;
    enum lock_class class;
    uint64_t owner;
    struct lock_want want;
    bool release;
    bool begun;
};

static struct lock_op *op_of(struct lock_done *done) {
    return (struct lock_op *)((char *)done - offsetof(struct lock_op, done));
}

/* A lock is let go also when its caller does not wait for it, or a commit has failed. */
static void op_end(struct call *c) {
    struct lock_op *op = (struct lock_op *)c;
    commit_close(&op->commit);
    lock_leave(&op->done);
    if (op->release && !op->begun)
        lock_release(op->open, op->class, op->owner, op->want.start, op->want.end, NULL);
}

static void on_done(struct lock_done *done, int errnum) {
    struct lock_op *op = op_of(done);
    if (errnum == 0 && !op->release) {
        op->open->refresh = true;
        handle_note(op->open);
    }
    call_err(&op->call, errnum);
}

static void on_queued(struct lock_done *done) { call_park(&op_of(done)->call); }

static void begin(struct call *c) {
    struct lock_op *op = (struct lock_op *)c;
    if (c->sent == NULL)
        journal_drop(c->fs->journal, &c->kept_write); /* the handle knows of the commit */
    handle_unlock(c); /* others go on with the descriptor while this waits */
    op->begun = true;
    if (op->release)
        lock_release(op->open, op->class, op->owner, op->want.start, op->want.end, &op->done);
    else
        lock_acquire(op->open, op->class, op->owner, &op->want, &op->done);
}

static void handle_locked(struct call *c) {
    struct lock_op *op = (struct lock_op *)c;
    bool again = commit_resume(c, op->open, 0); /* then it is held */
    if (op->open->lost != 0 && !again)
        call_err(c, ESTALE);
    else if (op->open->held || op->open->truncate)
        commit_start(&op->commit, c, op->open, begin);
    else
        begin(c);
}

/* Locks are of znodes. */
static bool refuses_stream(fuse_req_t req, const struct inode *inode) {
    if (inode->kind != INODE_VIEW_FILE)
        return false;
    fuse_reply_err(req, ENOLCK);
    return true;
}

static void start(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, enum lock_class class,
                  const struct lock_want *want, bool release) {
    struct inode *inode = op_inode(req, ino);
    struct handle *h = inode != NULL ? op_handle(req, fi) : NULL;
    if (h == NULL || refuses_stream(req, inode))
        return;
    struct lock_op *op = call_new(op_fs(req), req, "lock", inode, sizeof *op, op_end);
    if (op == NULL)
        return;
    op->open = h;
    op->class = class;
    op->owner = fi->lock_owner;
    op->want = *want;
    op->want.pid = call_pid(&op->call);
    op->release = release;
    op->done.fn = on_done;
    op->done.on_queued = on_queued;
    handle_lock(&op->call, op->open, handle_locked);
}

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int operation) {
    struct lock_want want = {.wait = (operation & LOCK_NB) == 0, .end = INT64_MAX};
    switch (operation & ~LOCK_NB) {
    case LOCK_SH:
    case LOCK_EX:
        want.write = (operation & LOCK_EX) != 0;
        start(req, ino, fi, LOCK_FLOCK, &want, false);
        break;
    case LOCK_UN:
        start(req, ino, fi, LOCK_FLOCK, &want, true);
        break;
    default:
        fuse_reply_err(req, EINVAL);
    }
}

static struct lock_want range_of(const struct flock *lock) {
    return (struct lock_want){
        .write = lock->l_type == F_WRLCK,
        .start = lock->l_start,
        .end = lock->l_len == 0 ? INT64_MAX : lock->l_start + lock->l_len - 1,
    };
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
              int sleep) {
    struct lock_want want = range_of(lock);
    want.wait = sleep != 0;
    start(req, ino, fi, LOCK_RANGE, &want, lock->l_type == F_UNLCK);
}

struct getlk_op {
    struct call call;
    struct handle *open;
    uint64_t owner;
    struct lock_want want;
};

static void on_list(void *ctx, const struct zk_result *res) {
    struct getlk_op *op = ctx;
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        call_zk_err(&op->call, res->err);
        return;
    }
    if (res->err == ZK_OK)
        lock_list_conflict(op->open, op->owner, &op->want, &res->children, &lock);
    call_lock(&op->call, &lock);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock) {
    struct inode *inode = op_inode(req, ino);
    struct handle *h = inode != NULL ? op_handle(req, fi) : NULL;
    if (h == NULL || refuses_stream(req, inode))
        return;
    struct buf dir = BUF_INIT;
    struct getlk_op *op = NULL;
    if (h->lost != 0)
        fuse_reply_err(req, ESTALE);
    else if (!lock_list_path(h, &dir))
        fuse_reply_err(req, ENOLCK);
    else
        op = call_new(op_fs(req), req, "lock", inode, sizeof *op, NULL);
    if (op != NULL) {
        op->open = h;
        op->owner = fi->lock_owner;
        op->want = range_of(lock);
        call_track(&op->call, zk_children(op_fs(req)->zk, op_slice(&dir), on_list, op));
    }
    buf_close(&dir);
}
