#include "replica/server/request.h"

#include "replica/server/connect.h"
#include "replica/server/full.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/read.h"
#include "replica/server/read_only.h"
#include "replica/server/role.h"
#include "replica/server/touch.h"

/* addauth is answered at once, before what is queued, and counts for every request after it. A
 * failure is answered and ends the connection (ZooKeeperServer.processPacket). */
static void request_auth(struct replica *r, struct conn *c, int32_t xid, struct cursor *cur) {
    struct proto_auth_packet req;
    if (!proto_decode(cur, PROTO_auth_packet, &req)) {
        core_close_conn(r, c, "an addauth that is malformed");
        return;
    }
    uint8_t ok = auth_add(&c->ids, &r->auth, req.scheme, req.auth);
    if (c->state == CONN_LIVE) {
        read_auth(r, c, xid, ok);
        return;
    }
    /* The Java client sends it right behind its ConnectRequest, and wants that answered first. */
    c->ending = !ok;
    (void)order_push(r, c, REQUEST_READ, xid, OP_AUTH, (struct slice){&ok, 1});
}

/* What goes to the leader: a write or a sync. */
static void request_submit(struct replica *r, struct conn *c, enum request_kind kind, int32_t xid,
                           int32_t opcode, struct slice body) {
    bool keep = kind == REQUEST_SYNC || order_keeps_body(r, c);
    if (opcode == OP_CLOSE_SESSION)
        c->ending = true; /* what the client sends after it has no session any more */
    struct request *q = order_push(r, c, kind, xid, opcode, keep ? body : (struct slice){NULL, 0});
    if (opcode == OP_MULTI)
        prep_multi_types(body, &q->multi_types, &q->multi_count);
    order_submit(r, q, body);
    if (c->first == q && q->state == REQUEST_DONE)
        order_drain(r, c);
}

/* A ping behind a write that waits for room: a client that hears nothing for long gives up its
 * connection, and clients take answers to pings in any order. */
static bool request_overtakes(const struct replica *r, const struct conn *c, int32_t opcode) {
    return opcode == OP_PING && (r->full || full_holds(r)) && c->state == CONN_LIVE &&
           role_reads(r, c);
}

static void request_read(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                         struct slice body) {
    if (order_is_clear(r, c) || request_overtakes(r, c, opcode)) {
        read_request(r, c, xid, opcode, c->ids.count, r->mono_ms, body);
        return;
    }
    struct request *q = order_push(r, c, REQUEST_READ, xid, opcode, body);
    /* Alone in the queue it waits for nothing but the next step. */
    if (c->first == q)
        order_drain(r, c);
}

static void request_dispatch(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                             struct slice body) {
    const struct opcode_info *info = opcode_find(opcode);
    bool write = info && (info->flags & OPF_WRITE) && !(info->flags & OPF_INTERNAL);
    if (!c->read_only && (write || opcode == OP_SYNC))
        request_submit(r, c, write ? REQUEST_WRITE : REQUEST_SYNC, xid, opcode, body);
    else
        request_read(r, c, xid, opcode, body); /* the unknown as well: refused in its turn */
}

/* Whether the connection's requests still have a session to belong to. */
static bool request_has_session(const struct conn *c) {
    return !c->ending && (c->session || c->state == CONN_CONNECTING || c->read_only);
}

/* Whether frames of c are taken now; those of clients that are held wait. */
static bool request_is_taken(const struct replica *r, const struct conn *c) {
    return r->serving || c->read_only || role_holds(r) ||
           (c->state == CONN_NEW && read_only_active(r));
}

void request_frame(struct replica *r, struct conn *c, struct slice frame) {
    c->stats.received++;
    r->stats.received++;
    if (!request_is_taken(r, c)) {
        core_close_conn(r, c,
                        r->leading ? "this replica leads, and leaderServes=no"
                                   : "this replica does not serve: it has no leader yet");
        return;
    }
    if (c->state == CONN_NEW) {
        connect_request(r, c, frame);
        return;
    }
    /* A client that has closed its session gets nothing more. One whose session is about to expire
     * does: the leader that decided so may be gone before it is committed. */
    if (!request_has_session(c))
        return;
    struct cursor cur;
    struct proto_request_header h;
    cursor_init(&cur, frame.p, frame.len > 0 ? (size_t)frame.len : 0);
    if (!proto_decode(&cur, PROTO_request_header, &h)) {
        core_close_conn(r, c, "a frame without a request header length=%d", frame.len);
        return;
    }
    if (c->session)
        touch_heard(r, c->session);
    if (h.type == OP_AUTH) {
        request_auth(r, c, h.xid, &cur);
        return;
    }
    conn_id_t id = c->id;
    request_dispatch(r, c, h.xid, h.type, (struct slice){cur.p, (int32_t)cursor_left(&cur)});
    if (conn_find(&r->conns, id) == c)
        order_throttle(r, c);
}
