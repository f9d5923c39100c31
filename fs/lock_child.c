/* One lock's znode. */
#include <errno.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "fs/errmap.h"
#include "fs/lock_state.h"
#include "fs/ops.h"

/* Its directory can be removed as often as it is made: the server does so with an empty one. */
#define ROUNDS_MAX 32

static struct locks *locks_of(const struct lock_child *child) { return child->owner->file->locks; }

static struct zk *zk_of(const struct lock_child *child) { return locks_of(child)->fs->zk; }

static struct slice dir_of(const struct lock_child *child) {
    return op_slice(&child->owner->file->dir);
}

static void on_turn(struct lock_turn *turn);
static void on_retry(struct lock_retry *retry);
static void on_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid);

static void number(struct lock_child *child) {
    child->entry.child = ++locks_of(child)->last_child;
    journal_set_counter(locks_of(child)->fs->journal, JOURNAL_LAST_LOCK, child->entry.child);
    child->session = locks_of(child)->session;
    lock_path(&child->path, child->owner->file, slice_from_str(""));
    lock_name_print(&child->path, &child->entry);
}

struct lock_child *lock_child_bare(struct lock_owner *owner, const struct lock_entry *like) {
    struct lock_child *child = mem_zalloc(sizeof *child);
    child->owner = lock_owner_ref(owner);
    child->entry = *like;
    child->entry.mount = locks_of(child)->mount;
    child->entry.owner = owner->number;
    child->entry.name = SLICE_NULL;
    child->turn.fn = on_turn;
    child->retry.fn = on_retry;
    child->watcher.fn = on_event;
    DL_APPEND(owner->children, child);
    return child;
}

struct lock_child *lock_child_new(struct lock_owner *owner, const struct lock_entry *like) {
    struct lock_child *child = lock_child_bare(owner, like);
    number(child);
    return child;
}

static void stop_waiting(struct lock_child *child) {
    if (child->token != 0)
        zk_cancel(zk_of(child), child->token);
    child->token = 0;
    zk_unwatch(zk_of(child), &child->watcher);
    lock_retry_drop(locks_of(child), &child->retry);
}

/* What its state is about is tried again in a moment. */
static void postpone(struct lock_child *child) { lock_retry_later(locks_of(child), &child->retry); }

/* The owner lives on until the next one of its turn is done. */
static void leave_turn(struct lock_child *child) { lock_turn_leave(child->owner, &child->turn); }

void lock_child_free(struct lock_child *child) {
    struct lock_owner *owner = child->owner;
    if (child->done != NULL)
        child->done->child = NULL;
    journal_drop(owner->file->locks->fs->journal, &child->kept);
    DL_DELETE(owner->children, child);
    lock_retry_drop(owner->file->locks, &child->retry);
    if (!owner->file->locks->stopped)
        leave_turn(child);
    buf_close(&child->path);
    mem_free(child);
    lock_owner_unref(owner);
}

static void tell(struct lock_child *child, int errnum) {
    struct lock_done *done = child->done;
    if (done == NULL)
        return;
    child->done = NULL;
    done->child = NULL;
    done->fn(done, errnum);
}

/* There is no znode of it. */
static void end(struct lock_child *child, int errnum) {
    child->errnum = errnum;
    struct lock_done *done = child->done;
    lock_child_free(child);
    if (done != NULL)
        done->fn(done, errnum);
}

/* --- making it --- */

static void make_dir(struct lock_child *child, bool with_parents);
static void find(struct lock_child *child);
static void on_made(void *ctx, const struct zk_result *res);

static void send_create(struct lock_child *child) {
    struct zk_op op = {.type = ZK_OP_CREATE,
                       .path = op_slice(&child->path),
                       .data = {NULL, 0},
                       .mode = CREATE_EPHEMERAL_SEQUENTIAL};
    child->state = LOCK_MAKING;
    lock_child_keep(child);
    zk_create(zk_of(child), &op, on_made, child);
}

void lock_child_make(struct lock_child *child) {
    if (child->rounds++ > 0)
        number(child); /* what was sent before may come yet */
    if (child->rounds > ROUNDS_MAX && !child->was_queued)
        end(child, EIO);
    else
        send_create(child);
}

void lock_child_named(struct lock_child *child, struct slice path) {
    struct lock_entry e;
    buf_reset(&child->path);
    buf_put(&child->path, path.p, (size_t)path.len);
    if (lock_name_parse(path_name(path), &e)) /* its own name: the server only added digits */
        child->entry.order = e.order;
}

static void queued(struct lock_child *child) {
    lock_child_set(child, LOCK_QUEUED);
    if (child->owner->class == LOCK_RANGE)
        lock_turn_take(child->owner, &child->turn);
    else
        on_turn(&child->turn);
}

static void on_there(struct lock_child *child, struct slice path, const struct zstat *stat) {
    if (stat->ephemeral_owner != zk_session_id(zk_of(child))) {
        if (child->done == NULL)
            lock_child_free(child); /* the session took it along */
        else
            lock_child_make(child);
        return;
    }
    lock_child_named(child, path);
    child->fence = stat->czxid;
    child->session = locks_of(child)->session;
    lock_child_keep(child);
    bool is_lost = child->handle != NULL && child->handle->lost != 0;
    if (is_lost || child->done == NULL) {
        child->errnum = ESTALE; /* another lock of the descriptor went with a session meanwhile */
        lock_child_drop(child);
        return;
    }
    bool is_news = !child->was_queued;
    child->was_queued = true;
    lock_child_set(child, LOCK_QUEUED);
    if (child->wait && is_news && child->done->on_queued != NULL)
        child->done->on_queued(child->done); /* may leave: then it is being dropped */
    if (child->done != NULL)
        queued(child);
}

void lock_child_adopt(struct lock_child *child) {
    child->is_left = false;
    if (child->state != LOCK_QUEUED)
        return; /* FINDING: and it goes on with what that finds */
    child->was_queued = true;
    if (child->wait && child->done->on_queued != NULL)
        child->done->on_queued(child->done);
    if (child->done != NULL)
        queued(child);
}

static void on_not_made(struct lock_child *child, int err) {
    bool is_undone = lock_is_undone(err);
    if (err == ZK_NONODE)
        make_dir(child, false);
    else if (is_undone && child->was_queued && child->done != NULL)
        postpone(child);
    else if (!is_undone && zkerr_is_passing(err))
        find(child);
    else
        end(child, errmap_errno(err));
}

static void on_made(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    if (locks_of(child)->stopped)
        return;
    if (res->err != ZK_OK)
        on_not_made(child, res->err);
    else
        on_there(child, res->path, &res->stat);
}

static void on_dir(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    struct locks *locks = locks_of(child);
    bool again =
        (res->err == ZK_NONODE || res->err == ZK_UNIMPLEMENTED) && child->rounds <= ROUNDS_MAX;
    if (locks->stopped)
        return;
    if (res->err == ZK_UNIMPLEMENTED) {
        locks->no_containers = true;
        journal_set_counter(locks->fs->journal, JOURNAL_PLAIN_LOCK_DIRS, 1);
    }
    if (again)
        make_dir(child, res->err == ZK_NONODE);
    else if (res->err == ZK_OK || res->err == ZK_NODEEXISTS)
        lock_child_make(child);
    else if (zkerr_is_passing(res->err) && child->was_queued)
        postpone(child);
    else
        end(child, errmap_errno(res->err));
}

static void on_parent(void *ctx, const struct zk_result *res) { (void)ctx, (void)res; }

/* The parents, where they are not there, are made in the same breath. */
static void make_dir(struct lock_child *child, bool with_parents) {
    struct locks *locks = locks_of(child);
    struct zk_op op = {.type = ZK_OP_CREATE, .data = SLICE_NULL, .mode = CREATE_PERSISTENT};
    child->rounds++;
    if (with_parents) {
        op.path = slice_from_str(NAME_KEPT);
        zk_create(locks->fs->zk, &op, on_parent, NULL);
        op.path = slice_from_str(LOCKS_DIR);
        zk_create(locks->fs->zk, &op, on_parent, NULL);
    }
    op.path = dir_of(child);
    op.mode = locks->no_containers ? CREATE_PERSISTENT : CREATE_CONTAINER;
    zk_create(locks->fs->zk, &op, on_dir, child);
}

/* --- was it made? --- */

static void on_found_stat(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    if (locks_of(child)->stopped)
        return;
    if (zkerr_is_passing(res->err)) {
        postpone(child);
    } else if (res->err == ZK_OK) {
        struct buf path = child->path; /* on_there writes it anew */
        buf_init(&child->path, 0);
        on_there(child, op_slice(&path), &res->stat);
        buf_close(&path);
    } else if (child->done == NULL) {
        lock_child_free(child);
    } else {
        lock_child_make(child);
    }
}

size_t lock_child_place(const struct lock_child *child, const struct lock_entry *list,
                        size_t count) {
    size_t at = 0;
    while (at < count &&
           (list[at].mount != child->entry.mount || list[at].child != child->entry.child))
        at++;
    return at;
}

/* The listing of its directory, empty where there is none, which the caller frees; and where in it
 * the child stands: *ret_count when it does not. */
static size_t own_place(const struct lock_child *child, const struct zk_result *res,
                        struct lock_entry **ret_list, size_t *ret_count) {
    *ret_list = NULL;
    *ret_count = res->err == ZK_OK ? lock_read_list(child->owner, &res->children, ret_list) : 0;
    return lock_child_place(child, *ret_list, *ret_count);
}

static void on_found_list(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    if (locks_of(child)->stopped)
        return;
    if (zkerr_is_passing(res->err)) {
        postpone(child);
        return;
    }
    struct lock_entry *list;
    size_t count, at = own_place(child, res, &list, &count);
    if (at < count) {
        lock_path(&child->path, child->owner->file, list[at].name);
        zk_exists(zk_of(child), op_slice(&child->path), on_found_stat, child);
    } else if (child->done == NULL) {
        lock_child_free(child);
    } else {
        lock_child_make(child);
    }
    mem_free(list);
}

static void on_found_sync(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    if (locks_of(child)->stopped)
        return;
    if (res->err != ZK_OK)
        postpone(child);
    else
        zk_children(zk_of(child), dir_of(child), on_found_list, child);
}

/* Behind a sync nothing of the lost request can come any more. */
static void find(struct lock_child *child) {
    lock_child_set(child, LOCK_FINDING);
    zk_sync(zk_of(child), dir_of(child), on_found_sync, child);
    if (child->wait && !child->was_queued && child->done != NULL &&
        child->done->on_queued != NULL) {
        child->was_queued = true; /* it may be there */
        child->done->on_queued(child->done);
    }
}

void lock_child_find(struct lock_child *child) { find(child); }

/* --- is it our turn? --- */

size_t lock_read_list(struct lock_owner *owner, const struct jvec *names,
                      struct lock_entry **ret_list) {
    size_t count = 0, max = names->count > 0 ? (size_t)names->count : 0;
    struct lock_entry *list = mem_alloc((max + 1) * sizeof *list);
    int32_t at = 0;
    struct slice name;
    while (count < max && jvec_next_string(names, &at, &name)) {
        struct lock_entry *e = &list[count];
        if (!lock_name_parse(name, e))
            continue;
        e->held =
            owner == NULL || e->mount != owner->file->locks->mount || e->owner != owner->number;
        struct lock_child *child;
        DL_FOREACH(owner != NULL ? owner->children : NULL, child)
        if (!e->held && child->entry.child == e->child && child->state == LOCK_HELD)
            e->held = true;
        count++;
    }
    *ret_list = list;
    return count;
}

static void ask(struct lock_child *child);

static void refuse(struct lock_child *child, int errnum) {
    child->errnum = errnum;
    leave_turn(child);
    lock_child_drop(child);
}

static void granted(struct lock_child *child, int32_t order) {
    struct lock_owner *owner = lock_owner_ref(child->owner);
    lock_child_set(child, LOCK_HELD);
    if (child->handle != NULL && lock_owner_add_handle(owner, child->handle))
        lock_owner_keep(owner);
    if (owner->class == LOCK_FLOCK) {
        struct lock_child *other, *next;
        DL_FOREACH_SAFE(owner->children, other, next)
        if (other != child && other->state == LOCK_HELD)
            lock_child_drop(other); /* of another thread, through the same open file */
        tell(child, 0);
    } else {
        /* What it overlaps goes by itself: until then both are there, and keep others out. */
        struct lock_done *done = child->done;
        child->done = NULL;
        done->child = NULL;
        lock_change_granted(child, order);
        done->fn(done, 0);
    }
    lock_owner_unref(owner);
}

static void on_watched(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    child->token = 0;
    if (res->err == ZK_OK)
        return;
    if (locks_of(child)->stopped)
        return;
    stop_waiting(child);
    if (res->err == ZK_NONODE)
        queued(child);
    else if (zkerr_is_passing(res->err))
        postpone(child);
    else
        refuse(child, errmap_errno(res->err));
}

static void on_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    (void)event, (void)zxid;
    struct lock_child *child =
        (struct lock_child *)((char *)w - offsetof(struct lock_child, watcher));
    stop_waiting(child);
    queued(child);
}

static void watch(struct lock_child *child, struct slice name) {
    struct buf path = BUF_INIT;
    lock_path(&path, child->owner->file, name);
    lock_child_set(child, LOCK_WAITING);
    child->token = zk_watch_get(zk_of(child), op_slice(&path), &child->watcher, on_watched, child);
    buf_close(&path);
}

static void decide(struct lock_child *child, const struct lock_entry *list, size_t count,
                   size_t mine) {
    struct lock_decision d = lock_queue_decide(list, count, mine);
    if (d.verdict == LOCK_GRANTED) {
        granted(child, d.order);
    } else if (!child->wait) {
        refuse(child, EAGAIN);
    } else if (d.verdict == LOCK_DEADLOCK) {
        refuse(child, EDEADLK);
    } else {
        watch(child, list[d.blocker].name);
        leave_turn(child);
    }
}

static void on_list(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    child->token = 0;
    if (locks_of(child)->stopped)
        return;
    if (zkerr_is_passing(res->err)) {
        postpone(child);
        return;
    }
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        refuse(child, errmap_errno(res->err));
        return;
    }
    struct lock_entry *list;
    size_t count, at = own_place(child, res, &list, &count);
    if (at < count) {
        decide(child, list, count, at);
    } else { /* somebody has removed it by hand */
        leave_turn(child);
        lock_child_make(child);
    }
    mem_free(list);
}

static void ask(struct lock_child *child) {
    lock_child_set(child, LOCK_ASKING);
    child->token = zk_children(zk_of(child), dir_of(child), on_list, child);
}

static void on_turn(struct lock_turn *turn) {
    ask((struct lock_child *)((char *)turn - offsetof(struct lock_child, turn)));
}

/* --- its end --- */

static void on_dropped(void *ctx, const struct zk_result *res) {
    struct lock_child *child = ctx;
    struct locks *locks = locks_of(child);
    bool is_passing = zkerr_is_passing(res->err);
    if (locks->stopped)
        return;
    if (is_passing && child->session == locks->session) {
        postpone(child);
        if (res->err == ZK_NOTREADONLY) /* as every change: who waits is told at once */
            tell(child, child->errnum != 0 ? child->errnum : EROFS);
        return;
    }
    if (res->err != ZK_OK && res->err != ZK_NONODE && !is_passing)
        log_warn("a lock's znode cannot be removed, and stays until the mount ends path=%.*s "
                 "err=%d",
                 (int)child->path.len, (const char *)child->path.data, res->err);
    end(child, child->errnum);
}

void lock_child_drop(struct lock_child *child) {
    lock_child_set(child, LOCK_DROPPING);
    zk_delete(zk_of(child), op_slice(&child->path), -1, on_dropped, child);
}

static void on_retry(struct lock_retry *retry) {
    struct lock_child *child =
        (struct lock_child *)((char *)retry - offsetof(struct lock_child, retry));
    if (child->state == LOCK_MAKING && child->done == NULL)
        lock_child_free(child);
    else if (child->state == LOCK_MAKING)
        lock_child_make(child);
    else if (child->state == LOCK_FINDING)
        find(child);
    else if (child->state == LOCK_ASKING)
        ask(child); /* it has the turn still */
    else if (child->state == LOCK_WAITING)
        queued(child);
    else
        lock_child_drop(child);
}

void lock_child_leave(struct lock_child *child) {
    if (child->done != NULL)
        child->done->child = NULL;
    child->done = NULL;
    if (locks_of(child)->stopped)
        return;
    if (child->state == LOCK_QUEUED || child->state == LOCK_ASKING ||
        child->state == LOCK_WAITING) {
        stop_waiting(child);
        leave_turn(child);
        lock_child_drop(child);
    }
}

void lock_child_expired(struct lock_child *child) {
    stop_waiting(child);
    if (child->state == LOCK_HELD)
        lock_owner_lost(child->owner);
    if (child->state == LOCK_HELD || child->handle == NULL || child->handle->lost != 0) {
        end(child, ESTALE);
        return;
    }
    child->session = locks_of(child)->session;
    child->was_queued = true;
    leave_turn(child);
    lock_child_make(child);
}
