#include "replica/server/forward.h"

#include "common/check.h"
#include "common/mutant.h"
#include "common/path.h"
#include "replica/proto/peer_codec.h"
#include "replica/server/full.h"
#include "replica/server/learners.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/reply.h"
#include "replica/server/sync.h"

int32_t forward_token(uint8_t server, uint64_t conn) {
    uint32_t end = (uint32_t)(conn & ((1u << FORWARD_TOKEN_SERVER_SHIFT) - 1));
    return (int32_t)((uint32_t)server << FORWARD_TOKEN_SERVER_SHIFT | end);
}

bool forward_ready(const struct replica *r) {
    if (r->leading)
        return zab_ready(r->zab) && !full_holds(r);
    return r->serving && !r->barrier;
}

static struct demand demand_of(const struct replica *r, const struct request *q,
                               struct slice body) {
    const struct conn *c = q->conn;
    return (struct demand){.session_id = c->session ? c->session->id : 0,
                           .cxid = q->kind == REQUEST_CONNECT ? 0 : q->xid,
                           .opcode = q->opcode,
                           .timeout_ms = q->timeout_ms,
                           .retries = q->retries,
                           .body = body,
                           .ids = &c->ids,
                           .auth_count = q->auth_count,
                           .from = r->config.server_id};
}

/* Prepared here: the answer comes with the commit. */
static void send_here(struct replica *r, struct request *q, struct slice body) {
    struct demand d = demand_of(r, q, body);
    if (q->kind == REQUEST_RECONNECT && !prep_reconnect(r, &d)) {
        sync_refuse(r, q);
        return;
    }
    if (q->kind != REQUEST_RECONNECT)
        prep_demand(r, &d);
    q->state = REQUEST_SENT;
    q->was_sent = true;
    if (MUTANT(REPLY_BEFORE_COMMIT) && r->inflight_last && q->conn->first == q &&
        r->inflight_last->txn->type == TXN_ERROR)
        reply_committed(r, q, r->inflight_last->txn, &r->changes);
}

static bool send_message(struct replica *r, const struct request *q, struct slice body) {
    const struct conn *c = q->conn;
    struct app_auth_id ids[AUTH_IDS_MAX + 2];
    struct app_msg m = {.type = q->kind == REQUEST_RECONNECT ? APP_REVALIDATE : APP_REQUEST,
                        .tag = c->id,
                        .session_id = c->session ? c->session->id : 0,
                        .timeout_ms = q->timeout_ms,
                        .body = SLICE_NULL};
    if (q->kind != REQUEST_RECONNECT) {
        m.cxid = q->kind == REQUEST_CONNECT ? 0 : q->xid;
        m.opcode = q->opcode;
        m.retries = q->retries;
    }
    if (q->kind == REQUEST_WRITE) {
        CHECK(q->auth_count <= sizeof ids / sizeof ids[0]);
        for (uint32_t i = 0; i < q->auth_count; i++)
            ids[i] = (struct app_auth_id){slice_from_str(c->ids.list[i].scheme),
                                          blob_slice(c->ids.list[i].id)};
        m.auth_ids = ids;
        m.auth_count = q->auth_count;
        m.body = body;
    }
    struct blob *payload = app_encode(&m);
    if (payload->len > FORWARD_BYTES_MAX) {
        /* No transaction of that size is taken anywhere: without its body the leader refuses it as
         * it would with it, and in its turn. */
        blob_unref(payload);
        m.body = SLICE_NULL;
        payload = app_encode(&m);
    }
    return zab_send_app(r->zab, r->leader, payload);
}

bool forward_send(struct replica *r, struct request *q, struct slice body) {
    if (q->kind == REQUEST_SYNC)
        return sync_begin(r, q);
    if (r->leading) {
        send_here(r, q, body);
        return true;
    }
    if (!send_message(r, q, body))
        return false;
    q->state = REQUEST_SENT;
    q->was_sent = true;
    return true;
}

/* The first of what is held here. False when it cannot go now. */
static bool release_held(struct replica *r) {
    struct request *q = r->held;
    order_unlist(q);
    if (forward_send(r, q, (struct slice){q->body, (int32_t)q->body_len})) {
        if (q->state == REQUEST_DONE && q->conn->first == q)
            order_drain(r, q->conn);
        return true;
    }
    order_hold_first(r, q);
    return false;
}

void forward_release(struct replica *r) {
    if (full_holds(r)) {
        full_release(r);
        learners_release_small(r);
    }
    while (!r->stopped && forward_ready(r)) {
        uint64_t remote = learners_backlog_arrival(r);
        if (r->held && r->held->arrival < remote) {
            if (!release_held(r))
                return;
        } else if (remote != UINT64_MAX) {
            learners_release(r);
        } else {
            return;
        }
    }
}
