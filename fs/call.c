#include "fs/call.h"

#include <errno.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "fs/errmap.h"
#include "fs/handle.h"
#include "fs/owner.h"
#include "fs/resume.h"

/* Beyond timeo, so that the operation's own answer comes first, which says more. */
#define DEADLINE_SLACK_MS 250
#define EIO_LOG_EVERY_MS 1000
/* Many times what a connected server takes, and not felt by who presses Ctrl-C. */
#define INTERRUPT_GRACE_MS 50

static void call_end(struct call *c) {
    struct fs *fs = c->fs;
    for (unsigned i = 0; i < CALL_TOKENS; i++)
        if (c->tokens[i] != 0)
            zk_cancel(fs->zk, c->tokens[i]);
    if (c->parked)
        DL_DELETE(fs->parked, c);
    else
        DL_DELETE(fs->calls, c);
    fs->call_count--;
    if (c->interrupted_ms != 0)
        DL_DELETE2(fs->interrupted, c, intr_prev, intr_next);
    if (c->on_end != NULL)
        c->on_end(c);
    owners_call_ended(fs->owners, call_unique(c), c->sent, &c->kept_write);
    journal_drop(fs->journal, &c->kept_write);
    resume_free(fs, c->sent);
    handle_unlock(c);
    inode_unref(&fs->inodes, c->inode);
    mem_free(c);
    if (fs->call_count == 0 && fs->on_idle != NULL)
        fs->on_idle(fs);
}

static void arm_timer(struct fs *fs);

static void on_timer(uv_timer_t *timer) {
    struct fs *fs = timer->data;
    int64_t now = (int64_t)uv_now(fs->loop);
    while (fs->calls != NULL && fs->calls->deadline_ms != 0 && fs->calls->deadline_ms <= now)
        call_zk_err(fs->calls, ZK_OPERATIONTIMEOUT);
    arm_timer(fs);
}

static void arm_timer(struct fs *fs) {
    if (fs->calls == NULL || fs->calls->deadline_ms == 0)
        return;
    int64_t wait = fs->calls->deadline_ms - (int64_t)uv_now(fs->loop);
    uv_timer_start(&fs->call_timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

void calls_init(struct fs *fs) {
    uv_timer_init(fs->loop, &fs->call_timer);
    fs->call_timer.data = fs;
    uv_timer_init(fs->loop, &fs->interrupt_timer);
    fs->interrupt_timer.data = fs;
}

void calls_close(struct fs *fs) {
    while (fs->calls != NULL)
        call_err(fs->calls, EIO);
    while (fs->parked != NULL)
        call_err(fs->parked, EIO);
}

static void on_interrupt_timer(uv_timer_t *timer) {
    struct fs *fs = timer->data;
    int64_t now = (int64_t)uv_now(fs->loop);
    while (fs->interrupted != NULL && fs->interrupted->interrupted_ms + INTERRUPT_GRACE_MS <= now)
        call_err(fs->interrupted, EINTR);
    if (fs->interrupted != NULL)
        uv_timer_start(timer, on_interrupt_timer,
                       (uint64_t)(fs->interrupted->interrupted_ms + INTERRUPT_GRACE_MS - now), 0);
}

static void on_interrupt(fuse_req_t req, void *data) {
    (void)req;
    struct call *c = data;
    struct fs *fs = c->fs;
    if (c->interrupted_ms != 0)
        return;
    if (c->parked || zk_state(fs->zk) != CLIENT_CONNECTED) {
        call_err(c, EINTR);
        return;
    }
    c->interrupted_ms = (int64_t)uv_now(fs->loop);
    DL_APPEND2(fs->interrupted, c, intr_prev, intr_next);
    if (!uv_is_active((uv_handle_t *)&fs->interrupt_timer))
        uv_timer_start(&fs->interrupt_timer, on_interrupt_timer, INTERRUPT_GRACE_MS, 0);
}

void *call_new(struct fs *fs, fuse_req_t req, const char *what, struct inode *inode, size_t size,
               void (*on_end)(struct call *c)) {
    CHECK(size >= sizeof(struct call));
    /* libfuse calls on_interrupt from within fuse_req_interrupt_func then, where no answer may be
     * given: it would free the request under libfuse's feet. */
    if (req != NULL && fuse_req_interrupted(req) && zk_state(fs->zk) != CLIENT_CONNECTED) {
        fuse_reply_err(req, EINTR);
        return NULL;
    }
    struct call *c = mem_zalloc(size);
    c->fs = fs;
    c->req = req;
    c->what = what;
    c->on_end = on_end;
    if (req != NULL) {
        c->unique = fs->request_unique;
        fs->request_unique = 0; /* a call that takes over another one's request is not it */
        c->sent = resume_take(fs, c->unique);
        c->kept_write = c->sent != NULL ? c->sent->ref : 0;
    }
    c->inode = inode != NULL ? inode_ref(inode) : NULL;
    c->moves = inode != NULL ? inode->moves : 0;
    if (!fs->opt->hard)
        c->deadline_ms = (int64_t)uv_now(fs->loop) + fs->opt->timeo_ms + DEADLINE_SLACK_MS;
    DL_APPEND(fs->calls, c);
    fs->call_count++;
    if (!uv_is_active((uv_handle_t *)&fs->call_timer))
        arm_timer(fs);
    if (req != NULL)
        fuse_req_interrupt_func(req, on_interrupt, c);
    return c;
}

void call_park(struct call *c) {
    if (c->parked)
        return;
    if (c->interrupted_ms != 0) {
        call_err(c, EINTR);
        return;
    }
    DL_DELETE(c->fs->calls, c);
    c->deadline_ms = 0;
    c->parked = true;
    DL_APPEND(c->fs->parked, c);
}

void call_track(struct call *c, uint64_t token) {
    c->tokens[c->next_token] = token;
    c->next_token = (c->next_token + 1) % CALL_TOKENS;
    call_keep(c, token);
}

void call_keep(struct call *c, uint64_t token) {
    struct zk *zk = c->fs->zk;
    if (c->sent != NULL && zk_repeat(zk, token, c->sent)) {
        resume_free(c->fs, c->sent);
        c->sent = NULL;
    } else if (c->unique != 0) {
        zk_keep(zk, token, call_unique(c), &c->kept_write);
    }
}

void call_again(struct call *c, bool exclusive, zk_cb *cb, void *ctx) {
    call_track(c, zk_again(c->fs->zk, c->sent, exclusive, cb, ctx));
}

void call_hand_over(struct call *c, struct call *to) {
    to->unique = c->unique;
    to->kept_write = c->kept_write;
    c->unique = 0;
    c->kept_write = 0;
}

uint64_t call_unique(const struct call *c) { return c->unique & ~UNIQUE_RESENT; }

bool call_was_sent(const struct call *c, int32_t opcode) {
    return c->sent != NULL && c->sent->opcode == opcode;
}

bool call_moved(struct call *c) {
    bool moved = c->moves != c->inode->moves;
    c->moves = c->inode->moves;
    return moved;
}

pid_t call_pid(const struct call *c) { return c->req != NULL ? fuse_req_ctx(c->req)->pid : 0; }

void call_err(struct call *c, int errnum) {
    if (c->req != NULL)
        fuse_reply_err(c->req, errnum);
    call_end(c);
}

/* One line a second at most: a server that is away would fill the log otherwise. */
static void log_eio(struct call *c, int zk_err) {
    struct fs *fs = c->fs;
    int64_t now = (int64_t)uv_now(fs->loop);
    if (fs->eio_logged_ms != 0 && now - fs->eio_logged_ms < EIO_LOG_EVERY_MS) {
        fs->eio_unlogged++;
        return;
    }
    struct slice path = c->inode != NULL ? inode_path(c->inode) : SLICE_NULL;
    log_warn("an operation failed with EIO: %s; check the server and the network op=%s path=%.*s "
             "err=%d not_logged=%llu",
             zkerr_text(zk_err), c->what, path.len > 0 ? (int)path.len : 0,
             path.len > 0 ? (const char *)path.p : "", zk_err,
             (unsigned long long)fs->eio_unlogged);
    fs->eio_logged_ms = now;
    fs->eio_unlogged = 0;
}

void call_zk_err(struct call *c, int zk_err) {
    int errnum = errmap_errno(zk_err);
    if (errnum == EIO)
        log_eio(c, zk_err);
    call_err(c, errnum);
}

void call_zk_done(void *ctx, const struct zk_result *res) {
    if (res->err != ZK_OK)
        call_zk_err(ctx, res->err);
    else
        call_err(ctx, 0);
}

static struct fuse_entry_param entry_of(const struct inode *inode, const struct stat *attr) {
    return (struct fuse_entry_param){.ino = inode->nodeid, .attr = *attr};
}

/* The journal knows of what an answer gives before it is written, and that it may not have been. */
static void giving(struct fs *fs, uint64_t unique, const struct inode *inode, struct handle *h) {
    struct journal_answer answer = {.unique = unique, .fh = h != NULL ? h->id : 0};
    if (inode != NULL) {
        answer.nodeid = inode->nodeid;
        answer.lookups = inode->lookups;
    }
    journal_answering(fs->journal, &answer);
    if (h != NULL)
        handle_keep(h);
}

/* The kernel counts a lookup for each entry it is given; one that it refuses (its caller is gone)
 * does not count. */
static void reply_entry(struct fs *fs, fuse_req_t req, uint64_t unique, struct inode *inode,
                        const struct stat *attr) {
    struct fuse_entry_param e = entry_of(inode, attr);
    giving(fs, unique, inode, NULL);
    inode_looked_up(&fs->inodes, inode);
    if (fuse_reply_entry(req, &e) != 0)
        inode_forget(&fs->inodes, inode, 1);
    journal_answered(fs->journal);
}

void call_reply_entry(struct fs *fs, fuse_req_t req, struct inode *inode, const struct stat *attr) {
    reply_entry(fs, req, fs->request_unique, inode, attr);
}

void call_entry(struct call *c, struct inode *inode, const struct stat *attr) {
    reply_entry(c->fs, c->req, c->unique, inode, attr);
    call_end(c);
}

void call_created(struct call *c, struct inode *inode, const struct stat *attr, struct handle *h,
                  struct fuse_file_info *fi) {
    struct fuse_entry_param e = entry_of(inode, attr);
    giving(c->fs, c->unique, inode, h);
    inode_looked_up(&c->fs->inodes, inode);
    if (fuse_reply_create(c->req, &e, fi) != 0) {
        handle_close(h);
        inode_forget(&c->fs->inodes, inode, 1);
    }
    journal_answered(c->fs->journal);
    call_end(c);
}

void call_attr(struct call *c, const struct stat *attr) {
    fuse_reply_attr(c->req, attr, 0);
    call_end(c);
}

static void reply_open(struct fs *fs, fuse_req_t req, uint64_t unique, struct handle *h,
                       struct fuse_file_info *fi) {
    giving(fs, unique, NULL, h);
    if (fuse_reply_open(req, fi) != 0)
        handle_close(h);
    journal_answered(fs->journal);
}

void call_reply_open(struct fs *fs, fuse_req_t req, struct handle *h, struct fuse_file_info *fi) {
    reply_open(fs, req, fs->request_unique, h, fi);
}

void call_open(struct call *c, struct handle *h, struct fuse_file_info *fi) {
    reply_open(c->fs, c->req, c->unique, h, fi);
    call_end(c);
}

void call_write(struct call *c, size_t size) {
    fuse_reply_write(c->req, size);
    call_end(c);
}

void call_lock(struct call *c, const struct flock *lock) {
    fuse_reply_lock(c->req, lock);
    call_end(c);
}

void call_buf(struct call *c, const void *p, size_t n) {
    fuse_reply_buf(c->req, p, n);
    call_end(c);
}

void call_xattr(struct call *c, const void *p, size_t n, size_t size) {
    if (size == 0)
        fuse_reply_xattr(c->req, n);
    else if (n > size)
        fuse_reply_err(c->req, ERANGE);
    else
        fuse_reply_buf(c->req, p, n);
    call_end(c);
}
