#include "replica/server/request.h"

#include "replica/server/connect.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/read.h"
#include "replica/server/reply.h"

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

static void request_write(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                          struct slice body) {
    struct slice keep = zab_ready(r->zab) ? (struct slice){NULL, 0} : body;
    if (opcode == OP_CLOSE_SESSION)
        c->ending = true; /* what the client sends after it has no session any more */
    struct request *q = order_push(r, c, REQUEST_WRITE, xid, opcode, keep);
    prep_or_hold(r, q, body);
}

static void request_sync(struct replica *r, struct conn *c, int32_t xid, struct slice body) {
    zab_marker marker = zab_sync(r->zab);
    if (order_is_clear(r, c) && zab_sync_passed(r->zab, marker)) {
        read_request(r, c, xid, OP_SYNC, c->ids.count, r->mono_ms, body);
        return;
    }
    struct request *q = order_push(r, c, REQUEST_SYNC, xid, OP_SYNC, body);
    if (order_await(r, q, marker) && c->first == q)
        order_drain(r, c);
}

static void request_read(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                         struct slice body) {
    if (order_is_clear(r, c)) {
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
    if (info && (info->flags & OPF_WRITE) && !(info->flags & OPF_INTERNAL))
        request_write(r, c, xid, opcode, body);
    else if (opcode == OP_SYNC)
        request_sync(r, c, xid, body);
    else
        request_read(r, c, xid, opcode, body); /* the unknown as well: refused in its turn */
}

/* Whether the connection's requests still have a session to belong to. */
static bool request_has_session(const struct conn *c) {
    if (c->ending)
        return false;
    if (!c->session)
        return c->state == CONN_CONNECTING;
    return !c->session->closing;
}

void request_frame(struct replica *r, struct conn *c, struct slice frame) {
    c->stats.received++;
    r->stats.received++;
    if (!r->serving) {
        core_close_conn(r, c, "this replica does not serve yet");
        return;
    }
    if (c->state == CONN_NEW) {
        connect_request(r, c, frame);
        return;
    }
    /* A session that is ending takes nothing more; ZooKeeper drops such requests, too. */
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
        expiry_touch(&r->sessions, c->session);
    if (h.type == OP_AUTH) {
        request_auth(r, c, h.xid, &cur);
        return;
    }
    conn_id_t id = c->id;
    request_dispatch(r, c, h.xid, h.type, (struct slice){cur.p, (int32_t)cursor_left(&cur)});
    if (conn_find(&r->conns, id) == c)
        order_throttle(r, c);
}
