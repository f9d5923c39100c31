#include "replica/server/sync.h"

#include "common/mem.h"
#include "common/mutant.h"
#include "replica/proto/peer_codec.h"
#include "replica/server/forward.h"
#include "replica/server/list.h"
#include "replica/server/order.h"

/* What a learner asked, waiting at the leader. */
struct remote_marker {
    struct remote_marker *next;
    zab_marker marker;
    uint8_t peer;
    bool refusal;
    uint64_t tag;
};

static void sync_list(struct replica *r, struct request *q) {
    q->list = &r->markers;
    DL_APPEND2(r->markers, q, list_prev, list_next);
}

static bool sync_ask(struct replica *r, uint64_t *ret_tag) {
    uint64_t tag = r->last_tag + 1;
    struct app_msg m = {.type = APP_SYNC, .tag = tag, .body = SLICE_NULL};
    if (!zab_send_app(r->zab, r->leader, app_encode(&m)))
        return false;
    r->last_tag = tag;
    *ret_tag = tag;
    return true;
}

bool sync_begin(struct replica *r, struct request *q) {
    if (!r->leading && MUTANT(SYNC_BY_LEARNER)) {
        q->state = REQUEST_DONE;
        order_passed(q);
        return true;
    }
    if (!r->leading) {
        if (!sync_ask(r, &q->ticket))
            return false;
    } else {
        q->ticket = zab_sync(r->zab);
        if (zab_sync_passed(r->zab, q->ticket)) {
            q->state = REQUEST_DONE;
            order_passed(q);
            return true;
        }
    }
    q->state = REQUEST_SENT;
    q->was_sent = true;
    sync_list(r, q);
    return true;
}

void sync_refuse(struct replica *r, struct request *q) {
    q->ticket = zab_sync(r->zab);
    q->state = REQUEST_SENT;
    sync_list(r, q);
}

void sync_remote(struct replica *r, uint8_t peer, uint64_t tag, bool refusal) {
    struct remote_marker *m = mem_alloc(sizeof *m);
    *m = (struct remote_marker){
        .marker = zab_sync(r->zab), .peer = peer, .refusal = refusal, .tag = tag};
    if (r->remote_last)
        r->remote_last->next = m;
    else
        r->remote_first = m;
    r->remote_last = m;
}

static void remote_pop(struct replica *r) {
    struct remote_marker *m = r->remote_first;
    r->remote_first = m->next;
    if (!m->next)
        r->remote_last = NULL;
    mem_free(m);
}

void sync_forget_remote(struct replica *r, uint8_t peer) {
    struct remote_marker **at = &r->remote_first;
    r->remote_last = NULL;
    while (*at) {
        struct remote_marker *m = *at;
        if (m->peer == peer) {
            *at = m->next;
            mem_free(m);
            continue;
        }
        r->remote_last = m;
        at = &m->next;
    }
}

void sync_forget_all(struct replica *r) {
    while (r->remote_first)
        remote_pop(r);
}

/* The answer is for q's connection alone. */
static void sync_done(struct replica *r, struct request *q) {
    struct conn *c = q->conn;
    conn_id_t id = c->id;
    order_unlist(q);
    order_passed(q);
    q->state = REQUEST_DONE;
    q->refused = q->kind == REQUEST_RECONNECT;
    if (c->first == q)
        order_drain(r, c);
    /* The answers may have ended the connection. */
    if (conn_find(&r->conns, id) != c || c->syncs > 0 || !c->behind_sync)
        return;
    order_unblock(r, c);
    order_drain(r, c); /* a write that was sent again may have its answer at once */
}

static void remote_answer(struct replica *r, const struct remote_marker *m) {
    struct app_msg msg = {.type = m->refusal ? APP_REVALIDATED : APP_SYNCED,
                          .tag = m->tag,
                          .ok = false,
                          .body = SLICE_NULL};
    /* A learner that is gone meanwhile asks again. */
    (void)zab_send_app(r->zab, m->peer, app_encode(&msg));
}

void sync_run(struct replica *r) {
    if (!r->leading)
        return;
    while (r->markers && zab_sync_passed(r->zab, r->markers->ticket))
        sync_done(r, r->markers);
    while (r->remote_first && zab_sync_passed(r->zab, r->remote_first->marker)) {
        remote_answer(r, r->remote_first);
        remote_pop(r);
    }
}

bool sync_begin_barrier(struct replica *r) { return sync_ask(r, &r->barrier); }

void sync_answered(struct replica *r, uint64_t tag) {
    if (tag == r->barrier) {
        r->barrier = 0;
        forward_release(r);
        return;
    }
    struct request *q;
    DL_FOREACH2(r->markers, q, list_next) {
        if (q->ticket == tag) {
            sync_done(r, q);
            return;
        }
    }
}
