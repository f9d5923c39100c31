/* Outputs wait in one queue; commits are made when they are pulled, so that a thousand of them need
 * no room. */
#include "common/check.h"
#include "common/mem.h"
#include "replica/zab/zab_state.h"

#include <string.h>

#define OUT_CAP_MIN 64u

static struct zab_out *out_at(const struct zab_out_queue *q, uint32_t index) {
    return &q->ring[(q->first + index) & (q->cap - 1)];
}

static void out_grow(struct zab_out_queue *q) {
    uint32_t cap = q->cap ? q->cap * 2 : OUT_CAP_MIN;
    struct zab_out *ring = mem_alloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < q->count; i++)
        ring[i] = *out_at(q, i);
    mem_free(q->ring);
    q->ring = ring;
    q->first = 0;
    q->cap = cap;
}

struct zab_out *out_push(struct zab *z, enum zab_output_type type) {
    struct zab_out_queue *q = &z->out;
    if (q->count == q->cap)
        out_grow(q);
    struct zab_out *o = out_at(q, q->count++);
    *o = (struct zab_out){.type = type};
    return o;
}

struct zab_out *out_send(struct zab *z, uint8_t peer, enum zab_msg_type type) {
    struct zab_out *o = out_push(z, ZAB_SEND);
    o->peer = peer;
    o->msg = type;
    return o;
}

void out_note(struct zab *z, const char *text, uint8_t peer, zxid_t zxid) {
    struct zab_out *o = out_push(z, ZAB_NOTE);
    o->text = text;
    o->peer = peer;
    o->zxid = zxid;
}

void out_forget_peer(struct zab *z, uint8_t peer) {
    struct zab_out_queue *q = &z->out;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        struct zab_out *o = out_at(q, i);
        bool old = o->peer == peer && (o->type == ZAB_SEND || o->type == ZAB_DROP);
        if (old)
            blob_unref(o->payload);
        else
            *out_at(q, kept++) = *o;
    }
    q->count = kept;
}

void out_free_all(struct zab *z) {
    for (uint32_t i = 0; i < z->out.count; i++)
        blob_unref(out_at(&z->out, i)->payload);
    mem_free(z->out.ring);
    blob_unref(z->spent);
}

static void fill_vote(struct zab *z, const struct zab_out *o) {
    z->msg.vote = (struct zab_vote){.role = o->role,
                                    .round = o->round,
                                    .leader = o->leader,
                                    .leader_zxid = o->zxid,
                                    .epoch = o->epoch,
                                    .blank = o->blank,
                                    .leader_blank = o->leader_blank,
                                    .answer = o->answer,
                                    .lossy = o->lossy,
                                    .leader_full = o->full};
}

static void fill_message(struct zab *z, const struct zab_out *o) {
    struct zab_msg *m = &z->msg;
    memset(m, 0, offsetof(struct zab_msg, epochs)); /* the list counts for ACKEPOCH only */
    m->epoch_count = 0;
    m->base = 0;
    m->payload = o->payload;
    m->type = o->msg;
    if (o->msg == ZM_VOTE) {
        fill_vote(z, o);
        return;
    }
    m->epoch = o->epoch;
    m->zxid = o->zxid;
    m->committed = o->committed;
    m->ended = o->ended;
    m->round = o->round;
    m->counted = o->counted;
    m->blank = o->blank;
    m->lossy = o->lossy;
    m->full = o->full;
    m->mode = o->mode;
    if (o->msg == ZM_FOLLOWERINFO)
        m->observer = z->observer;
    if (o->msg == ZM_PROPOSAL || o->msg == ZM_INFORM)
        m->kind = history_kind(o->zxid);
    if (o->msg == ZM_ACKEPOCH) {
        m->epoch_count = history_epochs(&z->history, m->epochs);
        m->base = z->history.base;
    }
}

static void out_pop(struct zab *z, struct zab_output *ret_output) {
    struct zab_out o = *out_at(&z->out, 0);
    z->out.first = (z->out.first + 1) & (z->out.cap - 1);
    z->out.count--;
    z->spent = o.payload;
    *ret_output = (struct zab_output){.type = o.type,
                                      .peer = o.peer,
                                      .epoch = o.epoch,
                                      .role = o.role,
                                      .zxid = o.zxid,
                                      .committed = o.committed,
                                      .ended = o.ended,
                                      .payload = o.payload,
                                      .text = o.text};
    if (o.type == ZAB_LOG_APPEND)
        ret_output->kind = history_kind(o.zxid);
    if (o.type == ZAB_SEND) {
        fill_message(z, &o);
        ret_output->msg = &z->msg;
    }
}

/* Applied is what is committed and durable here, in order: by the next commit pulled. While a
 * snapshot replaces everything, nothing of the old history is. */
static bool pull_commit(struct zab *z, struct zab_output *ret_output) {
    struct history_record r;
    if (z->installing || !history_apply(&z->history, &r))
        return false;
    z->spent = r.payload;
    *ret_output = (struct zab_output){
        .type = ZAB_COMMIT, .kind = history_kind(r.zxid), .zxid = r.zxid, .payload = r.payload};
    if (z->role == ZAB_LEADING)
        broadcast_pulled(z);
    return true;
}

/* Nothing waits any more: what had to come behind it. */
static bool settle(struct zab *z) {
    switch (z->role) {
    case ZAB_LEADING:
        return broadcast_settle(z);
    case ZAB_FOLLOWING:
    case ZAB_OBSERVING:
        return sync_follow_settle(z);
    default:
        return false;
    }
}

bool zab_next(struct zab *z, struct zab_output *ret_output) {
    blob_unref(z->spent);
    z->spent = NULL;
    for (;;) {
        if (z->out.count == 0 && z->commit_dirty)
            broadcast_flush_commits(z);
        if (z->out.count > 0) {
            out_pop(z, ret_output);
            return true;
        }
        if (z->dead)
            return false;
        if (pull_commit(z, ret_output))
            return true;
        if (!settle(z)) {
            zab_check(z);
            return false;
        }
    }
}
