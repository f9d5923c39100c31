/* An owner's fcntl(2) locks replaced by others: what is left of them when a range in their middle
 * is unlocked, say. It is one transaction, so that nobody ever sees less locked than is. What is
 * made takes over the place in the queue (ORDER in its name) of what it is made from: a new place
 * would be behind those who wait, and they would take it for free. */
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "fs/errmap.h"
#include "fs/lock_state.h"
#include "fs/lost.h"
#include "fs/ops.h"

struct lock_change {
    struct lock_owner *owner; /* referenced */
    struct lock_turn turn;
    struct lock_retry retry;
    bool is_looking; /* else it is being sent */
    bool downgrade;
    int64_t start, end;
    struct lock_done *done;
    uint64_t session;
    struct lock_child **gone; /* HELD until it is done */
    size_t gone_count;
    struct lock_child **fresh; /* PLANNED until it is done */
    size_t fresh_count;
    bool is_unsent; /* an earlier worker's, which had not sent it yet, or had it done */
    struct lock_change *prev, *next; /* owner->changes */
};

static struct locks *locks_of(const struct lock_change *ch) { return ch->owner->file->locks; }

static void send_multi(struct lock_change *ch);
static void look(struct lock_change *ch);
static void on_retry(struct lock_retry *retry);

static struct lock_change *change_new(struct lock_owner *owner) {
    struct lock_change *ch = mem_zalloc(sizeof *ch);
    ch->owner = lock_owner_ref(owner);
    ch->session = owner->file->locks->session;
    ch->retry.fn = on_retry;
    DL_APPEND(owner->changes, ch);
    return ch;
}

static void change_free(struct lock_change *ch) {
    DL_DELETE(ch->owner->changes, ch);
    lock_retry_drop(locks_of(ch), &ch->retry);
    if (ch->done != NULL)
        ch->done->change = NULL;
    mem_free(ch->gone);
    mem_free(ch->fresh);
    mem_free(ch);
}

static void finish(struct lock_change *ch, int errnum) {
    struct lock_owner *owner = ch->owner;
    struct lock_done *done = ch->done;
    lock_turn_leave(owner, &ch->turn);
    change_free(ch);
    lock_owner_unref(owner);
    if (done != NULL)
        done->fn(done, errnum);
}

static void add_gone(struct lock_change *ch, struct lock_child *child) {
    ch->gone = mem_realloc(ch->gone, (ch->gone_count + 1) * sizeof(struct lock_child *));
    ch->gone[ch->gone_count++] = child;
}

/* A part of `from`, or all of it, in the place `order`. */
static void add_fresh(struct lock_change *ch, const struct lock_child *from, bool write,
                      int64_t start, int64_t end, int32_t order) {
    struct lock_entry like = {.write = write,
                              .range = true,
                              .has_order = true,
                              .start = start,
                              .end = end,
                              .order = order};
    struct lock_child *child = lock_child_new(ch->owner, &like);
    child->handle = from->handle;
    child->pid = from->pid;
    child->fence = from->fence;
    ch->fresh = mem_realloc(ch->fresh, (ch->fresh_count + 1) * sizeof(struct lock_child *));
    ch->fresh[ch->fresh_count++] = child;
}

/* Takes child out, but for what of it is outside of the range. */
static void cut(struct lock_change *ch, struct lock_child *child, int64_t start, int64_t end) {
    const struct lock_entry *e = &child->entry;
    add_gone(ch, child);
    if (e->start < start)
        add_fresh(ch, child, e->write, e->start, start - 1, e->order);
    if (e->end > end)
        add_fresh(ch, child, e->write, end + 1, e->end, e->order);
}

static bool overlaps(const struct lock_child *child, int64_t start, int64_t end) {
    return child->state == LOCK_HELD && child->entry.start <= end && child->entry.end >= start;
}

static void plan(struct lock_change *ch, const struct lock_child *but) {
    struct lock_child *child, *next;
    DL_FOREACH_SAFE(ch->owner->children, child, next) {
        const struct lock_entry *e = &child->entry;
        if (child == but || !overlaps(child, ch->start, ch->end))
            continue;
        if (ch->downgrade && !e->write)
            continue;
        cut(ch, child, ch->start, ch->end);
        if (ch->downgrade)
            add_fresh(ch, child, false, e->start > ch->start ? e->start : ch->start,
                      e->end < ch->end ? e->end : ch->end, e->order);
    }
}

/* The locks are gone, or were never made. */
static void forget(struct lock_child **children, size_t count) {
    for (size_t i = 0; i < count; i++)
        lock_child_free(children[i]);
}

static void succeed(struct lock_change *ch) {
    forget(ch->gone, ch->gone_count);
    for (size_t i = 0; i < ch->fresh_count; i++) {
        ch->fresh[i]->state = LOCK_HELD;
        lock_child_keep(ch->fresh[i]);
    }
    finish(ch, 0);
}

/* Everything stays as it is. */
static void give_up(struct lock_change *ch, int errnum) {
    forget(ch->fresh, ch->fresh_count);
    for (size_t i = 0; i < ch->gone_count; i++) {
        ch->gone[i]->going = 0;
        lock_child_set(ch->gone[i], LOCK_HELD);
    }
    finish(ch, errnum);
}

/* Somebody removed what we had: that cannot be had back. */
static void lose(struct lock_change *ch) {
    struct fs *fs = locks_of(ch)->fs;
    lock_owner_lost(ch->owner);
    for (size_t i = 0; i < ch->gone_count; i++)
        lock_child_drop(ch->gone[i]);
    forget(ch->fresh, ch->fresh_count);
    finish(ch, ESTALE);
    lost_end_calls(fs);
}

/* What was to go went with the session. */
static bool has_expired(struct lock_change *ch) {
    if (ch->session == locks_of(ch)->session)
        return false;
    forget(ch->fresh, ch->fresh_count);
    finish(ch, ESTALE);
    return true;
}

static void postpone(struct lock_change *ch) { lock_retry_later(locks_of(ch), &ch->retry); }

static void tell(struct lock_change *ch, int errnum) {
    struct lock_done *done = ch->done;
    if (done == NULL)
        return;
    lock_change_leave(ch);
    done->fn(done, errnum);
}

static void on_multi(void *ctx, const struct zk_result *res) {
    struct lock_change *ch = ctx;
    if (locks_of(ch)->stopped || has_expired(ch))
        return;
    if (res->err == ZK_OK) {
        for (size_t i = 0; i < ch->fresh_count; i++)
            lock_child_named(ch->fresh[i], res->ops[ch->gone_count + i].path);
        succeed(ch);
    } else if (lock_is_undone(res->err)) {
        postpone(ch);
        if (res->err == ZK_NOTREADONLY) /* as every change: who waits is told at once */
            tell(ch, EROFS);
    } else if (zkerr_is_passing(res->err)) {
        look(ch);
    } else if (res->err == ZK_NONODE) {
        lose(ch);
    } else {
        struct slice dir = op_slice(&ch->owner->file->dir);
        log_warn("a lock cannot be changed, and stays as it is path=%.*s err=%d", (int)dir.len,
                 (const char *)dir.p, res->err);
        give_up(ch, errmap_errno(res->err));
    }
}

static void send_multi(struct lock_change *ch) {
    ch->is_looking = false;
    size_t count = ch->gone_count + ch->fresh_count;
    struct zk_op *ops = mem_zalloc(count * sizeof *ops);
    for (size_t i = 0; i < ch->gone_count; i++)
        ops[i] = (struct zk_op){
            .type = ZK_OP_DELETE, .path = op_slice(&ch->gone[i]->path), .version = -1};
    for (size_t i = 0; i < ch->fresh_count; i++)
        ops[ch->gone_count + i] = (struct zk_op){.type = ZK_OP_CREATE,
                                                 .path = op_slice(&ch->fresh[i]->path),
                                                 .data = {NULL, 0},
                                                 .mode = CREATE_EPHEMERAL_SEQUENTIAL};
    zk_multi(locks_of(ch)->fs->zk, ops, count, on_multi, ch);
    mem_free(ops);
}

/* Whether child is in the list; then it learns its name. */
static bool is_in(struct lock_child *child, const struct lock_entry *list, size_t count) {
    size_t at = lock_child_place(child, list, count);
    if (at >= count)
        return false;
    struct buf path = BUF_INIT;
    lock_path(&path, child->owner->file, list[at].name);
    lock_child_named(child, op_slice(&path));
    buf_close(&path);
    return true;
}

static void on_look(void *ctx, const struct zk_result *res) {
    struct lock_change *ch = ctx;
    if (locks_of(ch)->stopped || has_expired(ch))
        return;
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        postpone(ch);
        return;
    }
    struct lock_entry *list = NULL;
    size_t count = 0, there = 0;
    if (res->err == ZK_OK)
        count = lock_read_list(ch->owner, &res->children, &list);
    for (size_t i = 0; i < ch->fresh_count; i++)
        there += is_in(ch->fresh[i], list, count) ? 1 : 0;
    bool was_done = ch->fresh_count > 0 ? there > 0 : !is_in(ch->gone[0], list, count);
    mem_free(list);
    if (was_done)
        succeed(ch);
    else if (ch->is_unsent)
        give_up(ch, 0);
    else
        send_multi(ch);
}

static void on_look_sync(void *ctx, const struct zk_result *res) {
    struct lock_change *ch = ctx;
    if (locks_of(ch)->stopped || has_expired(ch))
        return;
    if (res->err != ZK_OK)
        postpone(ch);
    else
        zk_children(locks_of(ch)->fs->zk, op_slice(&ch->owner->file->dir), on_look, ch);
}

/* The answer was lost: the tree tells. Behind a sync nothing can come any more. */
static void look(struct lock_change *ch) {
    ch->is_looking = true;
    zk_sync(locks_of(ch)->fs->zk, op_slice(&ch->owner->file->dir), on_look_sync, ch);
}

/* The next worker has to know of it (lock_change_resume). */
static void keep(struct lock_change *ch) {
    for (size_t i = 0; i < ch->fresh_count; i++)
        lock_child_keep(ch->fresh[i]);
    for (size_t i = 0; i < ch->gone_count; i++) {
        ch->gone[i]->going = (uint32_t)ch->gone_count;
        lock_child_set(ch->gone[i], LOCK_HELD);
    }
}

static void on_retry(struct lock_retry *retry) {
    struct lock_change *ch =
        (struct lock_change *)((char *)retry - offsetof(struct lock_change, retry));
    if (has_expired(ch))
        return;
    if (ch->is_looking)
        look(ch);
    else
        send_multi(ch);
}

static void begin(struct lock_change *ch) {
    keep(ch);
    if (ch->gone_count > 0)
        send_multi(ch);
    else
        finish(ch, ch->session == locks_of(ch)->session ? 0 : ESTALE);
}

static void on_turn(struct lock_turn *turn) {
    struct lock_change *ch =
        (struct lock_change *)((char *)turn - offsetof(struct lock_change, turn));
    plan(ch, NULL);
    begin(ch);
}

void lock_change_granted(struct lock_child *child, int32_t order) {
    struct lock_owner *owner = child->owner;
    struct lock_change *ch = change_new(owner);
    ch->start = child->entry.start;
    ch->end = child->entry.end;
    lock_turn_pass(owner, &child->turn, &ch->turn);
    plan(ch, child);
    if (order != child->entry.order) {
        struct lock_child *other;
        DL_FOREACH(owner->children, other)
        if (other->state == LOCK_HELD && other->entry.order == order && other->fence < child->fence)
            child->fence = other->fence; /* later holders have greater ones */
        lock_child_keep(child);
        add_gone(ch, child);
        add_fresh(ch, child, child->entry.write, ch->start, ch->end, order);
    }
    begin(ch);
}

void lock_change_start(struct lock_owner *owner, bool downgrade, int64_t start, int64_t end,
                       struct lock_done *done) {
    struct lock_change *ch = change_new(owner);
    ch->turn.fn = on_turn;
    ch->downgrade = downgrade;
    ch->start = start;
    ch->end = end;
    ch->done = done;
    if (done != NULL)
        done->change = ch;
    lock_turn_take(owner, &ch->turn);
}

static void on_resumed_turn(struct lock_turn *turn) {
    look((struct lock_change *)((char *)turn - offsetof(struct lock_change, turn)));
}

void lock_change_resume(struct lock_owner *owner) {
    struct lock_change *ch = change_new(owner);
    struct lock_child *child;
    ch->turn.fn = on_resumed_turn;
    DL_FOREACH(owner->children, child) {
        if (child->state == LOCK_HELD && child->going != 0)
            add_gone(ch, child);
        if (child->state != LOCK_PLANNED)
            continue;
        ch->fresh = mem_realloc(ch->fresh, (ch->fresh_count + 1) * sizeof(struct lock_child *));
        ch->fresh[ch->fresh_count++] = child;
    }
    ch->is_unsent = ch->gone_count == 0 || ch->gone[0]->going != ch->gone_count;
    lock_turn_take(owner, &ch->turn);
}

void lock_changes_free(struct lock_owner *owner) {
    while (owner->changes != NULL)
        change_free(owner->changes);
}

void lock_change_leave(struct lock_change *ch) {
    if (ch->done != NULL)
        ch->done->change = NULL;
    ch->done = NULL;
}
