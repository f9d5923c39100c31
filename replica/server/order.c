#include "replica/server/order.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/server/connect.h"
#include "replica/server/forward.h"
#include "replica/server/full.h"
#include "replica/server/list.h"
#include "replica/server/read.h"
#include "replica/server/reply.h"
#include "replica/server/role.h"

#include <string.h>

void request_free(struct request *q) {
    if (!q)
        return;
    blob_unref(q->reply);
    mem_free(q->multi_types);
    mem_free(q);
}

struct request *order_push(struct replica *r, struct conn *c, enum request_kind kind, int32_t xid,
                           int32_t opcode, struct slice body) {
    uint32_t len = body.len > 0 ? (uint32_t)body.len : 0;
    struct request *q = mem_alloc(sizeof *q + len);
    *q = (struct request){.conn = c,
                          .kind = kind,
                          .xid = xid,
                          .opcode = opcode,
                          .arrived_ms = r->mono_ms,
                          .auth_count = c->ids.count,
                          .cost_bytes = (uint32_t)sizeof *q + len,
                          .body_len = len};
    if (len > 0)
        memcpy(q->body, body.p, len);
    if (c->last)
        c->last->next = q;
    else
        c->first = q;
    c->last = q;
    c->queued++;
    c->queued_bytes += q->cost_bytes;
    r->queued++;
    r->queued_bytes += q->cost_bytes;
    return q;
}

bool order_is_clear(const struct replica *r, const struct conn *c) {
    return !c->first && role_reads(r, c) && r->out.bytes.len < STEP_OUT_BYTES_MAX;
}

/* The load is above `numerator / denominator` of the limits. */
static bool order_loaded(const struct replica *r, uint64_t numerator, uint64_t denominator) {
    uint64_t most = (uint64_t)r->config.max_outstanding;
    return r->queued * denominator > most * numerator ||
           r->queued_bytes * denominator > (uint64_t)QUEUED_BYTES_MAX * numerator;
}

void order_throttle(struct replica *r, struct conn *c) {
    /* Only who has something queued is paused, so each paused connection is resumed by its own
     * answers at the latest, and nobody waits for ever. */
    if (c->paused || !c->first || !order_loaded(r, 1, 1))
        return;
    c->paused = true;
    DL_APPEND2(r->paused, c, paused_prev, paused_next);
    out_pause(&r->out, c->id, true);
}

static void order_resume(struct replica *r, struct conn *c) {
    c->paused = false;
    DL_DELETE2(r->paused, c, paused_prev, paused_next);
    out_pause(&r->out, c->id, false);
}

/* After an answer: who has nothing queued reads on; when there is room again, so does who has
 * waited longest. */
static void order_relax(struct replica *r, struct conn *c) {
    if (c->paused && !c->first)
        order_resume(r, c);
    if (r->paused && !order_loaded(r, RESUME_NUMERATOR, RESUME_DENOMINATOR))
        order_resume(r, r->paused);
}

void order_passed(struct request *q) {
    if (!q->is_barrier)
        return;
    q->is_barrier = false;
    q->conn->syncs--;
}

static struct request *order_unlink_first(struct replica *r, struct conn *c) {
    struct request *q = c->first;
    CHECK(q);
    c->first = q->next;
    if (!c->first)
        c->last = NULL;
    q->next = NULL;
    order_unlist(q);
    order_passed(q);
    c->queued--;
    c->queued_bytes -= q->cost_bytes;
    r->queued--;
    r->queued_bytes -= q->cost_bytes;
    return q;
}

void order_pop(struct replica *r, struct conn *c) {
    request_free(order_unlink_first(r, c));
    order_relax(r, c);
}

/* What comes behind a handshake waits for it: a session that comes back may be gone, or have
 * results to give. Behind a new session's it need not: everything goes the same way, in order. */
static bool order_blocked(const struct conn *c) {
    return c->first && (c->first->kind == REQUEST_HANDSHAKE || c->first->kind == REQUEST_RECONNECT);
}

/* A write waits until the syncs before it have passed: else it could be applied before the reads
 * between them are answered, and they would show what their session asked for only later. */
static bool order_behind_sync(const struct request *q) {
    const struct conn *c = q->conn;
    if (MUTANT(READ_BEHIND_LATER_WRITE))
        return false;
    return (q->kind == REQUEST_WRITE && c->syncs > 0) || c->behind_sync;
}

bool order_keeps_body(const struct replica *r, const struct conn *c) {
    return r->config.ensemble.count > 1 || r->held || order_blocked(c) || c->syncs > 0 ||
           !forward_ready(r);
}

static struct slice order_body(const struct request *q) {
    return (struct slice){q->body, (int32_t)q->body_len};
}

static bool order_may_go(struct replica *r, const struct request *q) {
    return full_holds(r) ? full_admit(r, q) : !r->held && forward_ready(r);
}

void order_submit(struct replica *r, struct request *q, struct slice body) {
    struct conn *c = q->conn;
    if (order_blocked(c) && c->first != q)
        return;
    if (order_behind_sync(q)) {
        c->behind_sync = true;
        return;
    }
    if (q->kind == REQUEST_SYNC) {
        q->is_barrier = true;
        c->syncs++;
    }
    if (q->kind == REQUEST_WRITE && c->session && c->session->retries && reply_from_results(r, q))
        return;
    if (!order_may_go(r, q) || !forward_send(r, q, body))
        order_hold(r, q);
}

void order_unblock(struct replica *r, struct conn *c) {
    c->behind_sync = false;
    for (struct request *q = c->first; q; q = q->next) {
        if (q->state == REQUEST_WAITING && (q->kind == REQUEST_WRITE || q->kind == REQUEST_SYNC))
            order_submit(r, q, order_body(q));
    }
}

void order_hold(struct replica *r, struct request *q) {
    q->state = REQUEST_HELD;
    q->arrival = ++r->arrivals;
    q->list = &r->held;
    DL_APPEND2(r->held, q, list_prev, list_next);
}

void order_hold_first(struct replica *r, struct request *q) {
    q->state = REQUEST_HELD;
    q->list = &r->held;
    DL_PREPEND2(r->held, q, list_prev, list_next);
}

void order_unlist(struct request *q) {
    if (!q->list)
        return;
    DL_DELETE2(*q->list, q, list_prev, list_next);
    q->list = NULL;
    q->list_prev = q->list_next = NULL;
}

void order_hold_all(struct replica *r) {
    for (struct conn *c = r->conns.all; c; c = c->next) {
        for (struct request *q = c->first; q; q = q->next) {
            if (q->state != REQUEST_HELD && q->state != REQUEST_SENT)
                continue;
            order_unlist(q);
            order_hold(r, q);
        }
    }
}

static bool answers(const struct request *q, const struct txn *txn, bool moves) {
    switch (txn->type) {
    case TXN_CREATE_SESSION:
        return moves ? q->kind == REQUEST_RECONNECT && q->xid == txn->cxid
                     : q->kind == REQUEST_CONNECT;
    case TXN_CLOSE_SESSION: /* whoever asked for it: it is closed */
        return q->opcode == OP_CLOSE_SESSION;
    case TXN_OPS:
    case TXN_ERROR:
        return q->kind == REQUEST_WRITE && q->xid == txn->cxid;
    case TXN_ENSEMBLE:
        break;
    }
    return false;
}

struct request *order_match(struct conn *c, const struct txn *txn, bool moves) {
    struct request *q = c->first;
    while (q && (q->state == REQUEST_DONE || q->kind == REQUEST_READ || q->kind == REQUEST_SYNC))
        q = q->next;
    return q && q->was_sent && answers(q, txn, moves) ? q : NULL;
}

/* Answers the first request if its time has come. */
static bool order_answer(struct replica *r, struct conn *c, struct request *q) {
    switch (q->kind) {
    case REQUEST_SYNC:
        if (q->state != REQUEST_DONE)
            return false;
        __attribute__((fallthrough));
    case REQUEST_READ:
        if (!role_reads(r, c))
            return false;
        read_request(r, c, q->xid, q->opcode, q->auth_count, q->arrived_ms, order_body(q));
        return true;
    case REQUEST_RECONNECT:
        if (q->refused)
            connect_refuse(r, c, "the session has expired");
        return false;
    case REQUEST_WRITE:
    case REQUEST_CONNECT:
        if (q->state != REQUEST_DONE)
            return false;
        reply_send_rendered(r, c, q);
        return true;
    case REQUEST_HANDSHAKE:
        break;
    }
    return false;
}

static void order_run_later(struct replica *r, struct conn *c) {
    if (c->in_run_list)
        return;
    c->in_run_list = true;
    DL_APPEND2(r->run_list, c, run_prev, run_next);
}

void order_drain(struct replica *r, struct conn *c) {
    conn_id_t id = c->id;
    while (c->first) {
        if (r->out.bytes.len >= STEP_OUT_BYTES_MAX) {
            order_run_later(r, c);
            return;
        }
        if (!order_answer(r, c, c->first))
            return;
        /* An answer may have ended the connection, and its queue with it. */
        if (conn_find(&r->conns, id) != c)
            return;
        order_pop(r, c);
    }
}

void order_run_all(struct replica *r) {
    for (struct conn *c = r->conns.all; c; c = c->next) {
        if (c->first)
            order_run_later(r, c);
    }
}

void order_run(struct replica *r) {
    while (r->run_list && r->out.bytes.len < STEP_OUT_BYTES_MAX) {
        struct conn *c = r->run_list;
        DL_DELETE2(r->run_list, c, run_prev, run_next);
        c->in_run_list = false;
        order_drain(r, c);
    }
}

void order_drop(struct replica *r, struct conn *c) {
    if (c->in_run_list) {
        DL_DELETE2(r->run_list, c, run_prev, run_next);
        c->in_run_list = false;
    }
    if (c->paused) {
        c->paused = false;
        DL_DELETE2(r->paused, c, paused_prev, paused_next);
    }
    while (c->first) {
        request_free(order_unlink_first(r, c));
    }
    if (r->paused && !order_loaded(r, RESUME_NUMERATOR, RESUME_DENOMINATOR))
        order_resume(r, r->paused);
}
