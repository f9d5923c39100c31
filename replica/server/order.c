#include "replica/server/order.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/connect.h"
#include "replica/server/list.h"
#include "replica/server/prep.h"
#include "replica/server/read.h"
#include "replica/server/reply.h"

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
    return !c->first && r->out.bytes.len < STEP_OUT_BYTES_MAX;
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

static struct request *order_unlink_first(struct replica *r, struct conn *c) {
    struct request *q = c->first;
    CHECK(q);
    c->first = q->next;
    if (!c->first)
        c->last = NULL;
    q->next = NULL;
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

bool order_await(struct replica *r, struct request *q, zab_marker marker) {
    q->marker = marker;
    if (zab_sync_passed(r->zab, q->marker))
        return true;
    DL_APPEND2(r->markers, q, held_prev, held_next);
    return false;
}

static void order_leave_markers(struct replica *r, struct request *q) {
    if (q->held_prev)
        DL_DELETE2(r->markers, q, held_prev, held_next);
    q->held_prev = q->held_next = NULL;
}

void order_markers(struct replica *r) {
    while (r->markers && zab_sync_passed(r->zab, r->markers->marker)) {
        struct request *q = r->markers;
        order_leave_markers(r, q);
        if (q->conn->first == q)
            order_drain(r, q->conn);
    }
}

void order_hold(struct replica *r, struct request *q) {
    q->state = REQUEST_HELD;
    DL_APPEND2(r->held, q, held_prev, held_next);
}

void order_release(struct replica *r) {
    while (r->held && zab_ready(r->zab)) {
        struct request *q = r->held;
        DL_DELETE2(r->held, q, held_prev, held_next);
        q->held_prev = q->held_next = NULL;
        prep_request(r, q, (struct slice){q->body, (int32_t)q->body_len});
    }
}

/* Answers the first request if its time has come. */
static bool order_answer(struct replica *r, struct conn *c, struct request *q) {
    switch (q->kind) {
    case REQUEST_READ:
        read_request(r, c, q->xid, q->opcode, q->auth_count, q->arrived_ms,
                     (struct slice){q->body, (int32_t)q->body_len});
        return true;
    case REQUEST_SYNC:
    case REQUEST_RECONNECT:
        /* held_prev is set while it stands in the list of markers. */
        if (q->held_prev)
            return false;
        if (q->kind == REQUEST_RECONNECT)
            connect_reconnected(r, c, q);
        else
            read_request(r, c, q->xid, q->opcode, q->auth_count, q->arrived_ms,
                         (struct slice){q->body, (int32_t)q->body_len});
        return true;
    case REQUEST_WRITE:
    case REQUEST_CONNECT:
        if (q->state != REQUEST_DONE)
            return false;
        reply_send_rendered(r, c, q);
        return true;
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
        struct request *q = order_unlink_first(r, c);
        if (q->state == REQUEST_PROPOSED) {
            q->conn = NULL; /* the inflight list frees it at its commit */
            continue;
        }
        if (q->state == REQUEST_HELD)
            DL_DELETE2(r->held, q, held_prev, held_next);
        else
            order_leave_markers(r, q);
        request_free(q);
    }
    if (r->paused && !order_loaded(r, RESUME_NUMERATOR, RESUME_DENOMINATOR))
        order_resume(r, r->paused);
}
