#include "fs/commit.h"

#include <errno.h>
#include <string.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "fs/errmap.h"
#include "fs/view.h"

/* How long pieces are held when neither a write nor a close follows: long enough for a tool that
 * writes a value in several pieces, short enough for a write(2) that returned 0 and was the last
 * one. */
#define HOLD_MS 1000

/* Opened through a view that wants a version: no write may do without, not even the first. */
static bool conditional(const struct handle *h) { return view_version(h->inode) != -1; }

static void quiet_done(struct call *c);

/* Forgets what was to be written, and the truncation that it was behind. */
static void drop_change(struct handle *h) {
    h->truncate = false;
    handle_drop_held(h);
    handle_note(h);
}

/* What no request is waiting for is told by a later one: the journal knows so in the same step in
 * which it forgets what was written. */
static void give_up(struct commit *commit, int errnum) {
    struct handle *h = commit->handle;
    commit->handle = NULL;
    commit->errnum = errnum;
    if (commit->done == quiet_done)
        h->errnum = errnum;
    drop_change(h);
}

static void commit_fail(struct commit *commit, int errnum) {
    give_up(commit, errnum);
    call_err(commit->call, errnum);
}

static void commit_fail_zk(struct commit *commit, int zk_err) {
    give_up(commit, errmap_errno(zk_err));
    call_zk_err(commit->call, zk_err);
}

static void send_set(struct commit *commit);

/* Others wrote since: what was appended goes behind their value. */
static void on_newer(void *ctx, const struct zk_result *res) {
    struct commit *commit = ctx;
    struct handle *h = commit->handle;
    if (res->err != ZK_OK) {
        commit_fail_zk(commit, res->err);
        return;
    }
    if (h->inode->czxid != 0 && res->stat.czxid != h->inode->czxid) {
        commit_fail(commit, ESTALE); /* another znode has the name now */
        return;
    }
    size_t base = res->data.len > 0 ? (size_t)res->data.len : 0;
    if (base + h->held_bytes > fs_value_max(h->fs, (size_t)inode_path(h->inode).len)) {
        commit_fail(commit, EFBIG);
        return;
    }
    struct buf image;
    buf_init(&image, 0);
    buf_put(&image, res->data.p, base);
    buf_put(&image, h->image.data + h->image.len - h->held_bytes, h->held_bytes);
    buf_close(&h->image);
    h->image = image;
    handle_set_value(h, blob_from_slice(res->data), res->stat.version);
    send_set(commit);
}

static void note_written(struct handle *h, const struct zstat *stat) {
    struct inode *inode = h->inode;
    if (inode->czxid == stat->czxid)
        inode_see(inode, stat, DATA_THERE);
    /* The directory of this `.data` would be a file from now on, for the tools that go on to fill
     * it (mark.h). */
    if (inode->kind == INODE_DATA && stat->num_children == 0)
        mark_set(&h->fs->marks, MARK_FILLED, inode_path(inode), 0, (int64_t)uv_now(h->fs->loop));
}

static void on_set(void *ctx, const struct zk_result *res) {
    struct commit *commit = ctx;
    struct handle *h = commit->handle;
    if (res->err == ZK_BADVERSION && h->held_append && !h->replace && !conditional(h)) {
        call_track(commit->call, zk_get(h->fs->zk, inode_path(h->inode), on_newer, commit));
        return;
    }
    if (res->err == ZK_NONODE && call_moved(commit->call)) {
        send_set(commit);
        return;
    }
    if (res->err != ZK_OK) {
        commit_fail_zk(commit, res->err);
        return;
    }
    commit->handle = NULL;
    /* Kept in one step, for the worker may be killed at any time. */
    struct blob *value = blob_new(h->image.data, h->image.len);
    h->replace = false;
    h->truncate = false;
    handle_drop_held(h);
    handle_set_value(h, value, res->stat.version);
    note_written(h, &res->stat);
    commit->done(commit->call);
}

static void send_set(struct commit *commit) {
    struct handle *h = commit->handle;
    struct slice data = {h->image.data, (int32_t)h->image.len};
    bool any_version = h->replace && !conditional(h);
    uint64_t token = zk_set(h->fs->zk, inode_path(h->inode), data, any_version ? -1 : h->version,
                            on_set, commit);
    if (conditional(h) || (h->held_append && !any_version))
        zk_exclusive(h->fs->zk, token); /* a counter, a line: another's is not ours */
    call_track(commit->call, token);
}

void commit_start(struct commit *commit, struct call *c, struct handle *h,
                  void (*done)(struct call *c)) {
    CHECK(h->owner == c);
    *commit = (struct commit){.call = c, .handle = h, .done = done};
    send_set(commit);
}

/* What a FLUSH or RELEASE had to commit is in the request that was sent, and nowhere else any more.
 * Only a piece that stood alone can be told from the bytes before it. */
bool commit_resume(struct call *c, struct handle *h, size_t appended) {
    if (!call_was_sent(c, OP_SET_DATA))
        return false;
    struct proto_set_data_request r;
    struct cursor in;
    cursor_init(&in, c->sent->request.data, c->sent->request.len);
    if (!proto_decode(&in, PROTO_set_data_request, &r) || r.data.len < 0)
        return false;
    bool told = h->held_told;
    bool alone = !told && r.version != -1;
    h->errnum = 0;
    handle_drop_held(h);
    h->held_told = told; /* until it is known what became of it: this worker may crash, too */
    handle_note(h);
    buf_init(&h->image, 0);
    buf_put(&h->image, r.data.p, (size_t)r.data.len);
    handle_hold(h);
    h->held_bytes = alone ? appended : 0;
    h->held_append = h->held_bytes > 0;
    h->replace = r.version == -1;
    if (r.version != -1)
        h->version = r.version;
    return true;
}

void commit_close(struct commit *commit) {
    if (commit->handle != NULL)
        give_up(commit, EIO);
}

static int too_big(struct handle *h) {
    drop_change(h);
    return EFBIG;
}

/* The image starts as a copy of what the descriptor sees. */
static void begin_image(struct handle *h, bool append) {
    if (h->held) {
        h->held_append = h->held_append && append;
        return;
    }
    struct slice view = handle_view(h);
    buf_init(&h->image, 0);
    buf_put(&h->image, view.p, (size_t)view.len);
    h->held_append = append && !h->replace;
    h->held_bytes = 0;
    handle_hold(h);
}

static void resize_image(struct buf *image, size_t size) {
    if (size > image->len) {
        size_t more = size - image->len;
        memset(buf_extend(image, more), 0, more);
    }
    image->len = size;
}

int commit_put(struct handle *h, const void *p, size_t size, off_t off, bool append) {
    size_t max = fs_value_max(h->fs, (size_t)inode_path(h->inode).len);
    size_t at = append ? (size_t)handle_view(h).len : (size_t)off;
    if ((!append && (off < 0 || off > (off_t)max)) || at + size > max)
        return too_big(h);
    begin_image(h, append);
    if (at + size > h->image.len)
        resize_image(&h->image, at + size);
    memcpy(h->image.data + at, p, size);
    h->held_bytes += size;
    return 0;
}

int commit_resize(struct handle *h, off_t size) {
    if (size < 0 || size > (off_t)fs_value_max(h->fs, (size_t)inode_path(h->inode).len))
        return too_big(h);
    begin_image(h, false);
    resize_image(&h->image, (size_t)size);
    return 0;
}

/* A commit that no request waits for; its failure is told to the descriptor's next operation. */
struct quiet_op {
    struct call call;
    struct handle *handle;
    struct commit commit;
};

static void quiet_end(struct call *c) {
    struct quiet_op *op = (struct quiet_op *)c;
    commit_close(&op->commit);
    if (op->commit.errnum != 0) {
        struct slice path = inode_path(op->handle->inode);
        log_warn(
            "what a descriptor wrote could not be committed; its next write, fsync or close says "
            "so path=%.*s errno=%d",
            (int)path.len, (const char *)path.p, op->commit.errnum);
    }
}

static void quiet_done(struct call *c) { call_err(c, 0); }

static void quiet_locked(struct call *c) {
    struct quiet_op *op = (struct quiet_op *)c;
    if (op->handle->held || op->handle->truncate)
        commit_start(&op->commit, c, op->handle, quiet_done);
    else
        call_err(c, 0);
}

static void commit_quietly(struct handle *h) {
    struct quiet_op *op = call_new(h->fs, NULL, "write", h->inode, sizeof *op, quiet_end);
    op->handle = h;
    handle_lock(&op->call, h, quiet_locked);
}

static void on_timer(uv_timer_t *timer) {
    struct fs *fs = timer->data;
    int64_t now = (int64_t)uv_now(fs->loop);
    for (struct handle *h = fs->dirty, *next; h != NULL; h = next) {
        next = h->dirty_next;
        if (h->held_since_ms + HOLD_MS <= now && h->owner == NULL)
            commit_quietly(h);
    }
    commits_arm(fs);
}

void commits_init(struct fs *fs) {
    uv_timer_init(fs->loop, &fs->hold_timer);
    fs->hold_timer.data = fs;
}

void commits_arm(struct fs *fs) {
    if (fs->dirty != NULL && !uv_is_active((uv_handle_t *)&fs->hold_timer))
        uv_timer_start(&fs->hold_timer, on_timer, HOLD_MS / 4, 0);
}

void commits_flush(struct fs *fs) {
    struct inode *inode, *next;
    HASH_ITER(by_id, fs->inodes.by_id, inode, next) {
        for (struct handle *h = inode->handles; h != NULL; h = h->next)
            if ((h->held || h->truncate) && h->owner == NULL)
                commit_quietly(h);
    }
}
