#include "replica/server/connect.h"

#include "common/check.h"
#include "common/mutant.h"
#include "replica/server/forward.h"
#include "replica/server/list.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/read_only.h"
#include "replica/server/reply.h"
#include "replica/server/role.h"
#include "replica/server/touch.h"

static int32_t clamp_timeout(const struct replica *r, int32_t timeout_ms) {
    if (timeout_ms < r->config.min_session_timeout_ms)
        return r->config.min_session_timeout_ms;
    if (timeout_ms > r->config.max_session_timeout_ms)
        return r->config.max_session_timeout_ms;
    return timeout_ms;
}

void connect_write(struct replica *r, struct conn *c, int32_t timeout_ms, session_id_t id) {
    uint8_t passwd[PASSWD_BYTES] = {0};
    const struct session *s = id != 0 ? session_find(&r->sessions, id) : NULL;
    bool retries = s && s->retries && !c->read_only;
    if (id != 0)
        session_password(&r->sessions, id, passwd);
    struct proto_connect_response resp = {.protocol_version =
                                              retries ? PROTOCOL_VERSION_RETRIES : 0,
                                          .timeout_ms = timeout_ms,
                                          .session_id = id,
                                          .passwd = {passwd, PASSWD_BYTES},
                                          .read_only = c->read_only,
                                          .has_read_only = !c->no_read_only};
    proto_encode(out_frame(&r->out, c->id), PROTO_connect_response, &resp);
}

/* Session 0, timeout 0, a password of zeros: the client takes that as expired
 * (ZooKeeperServer.finishSessionInit). */
void connect_refuse(struct replica *r, struct conn *c, const char *why) {
    connect_write(r, c, 0, 0);
    reply_end(r, c);
    core_close_conn(r, c, "%s session=0x%llx", why, (unsigned long long)c->asked_session);
}

/* The session is this server's own to name; it is one when its transaction is applied. */
static void connect_new(struct replica *r, struct request *q) {
    struct conn *c = q->conn;
    struct session *s = session_add(&r->sessions, session_next_id(&r->sessions), q->timeout_ms);
    s->conn = c;
    c->session = s;
    q->kind = REQUEST_CONNECT;
    q->opcode = OP_CREATE_SESSION;
    order_submit(r, q, SLICE_NULL);
}

/* One session, one connection: the newer one wins. */
static void connect_take_over(struct replica *r, struct conn *c, session_id_t id,
                              int32_t timeout_ms) {
    struct session *s = session_find(&r->sessions, id);
    if (s && s->conn)
        core_close_conn(r, s->conn, "the session moved to another connection session=0x%llx",
                        (unsigned long long)id);
    /* Not known here is not gone: this server may be behind. The leader knows. */
    s = session_find(&r->sessions, id);
    if (!s)
        s = session_add(&r->sessions, id, timeout_ms);
    s->conn = c;
    c->session = s;
}

static void connect_again(struct replica *r, struct request *q, session_id_t id,
                          struct slice passwd) {
    struct conn *c = q->conn;
    if (!session_password_ok(&r->sessions, id, passwd) && !MUTANT(PASSWORD_NOT_CHECKED)) {
        connect_refuse(r, c, "wrong password for the session");
        return;
    }
    connect_take_over(r, c, id, q->timeout_ms);
    q->kind = REQUEST_RECONNECT;
    q->opcode = OP_CREATE_SESSION;
    q->xid = forward_token(r->config.server_id, c->id);
    conn_id_t conn = c->id;
    order_submit(r, q, SLICE_NULL);
    if (conn_find(&r->conns, conn) == c && c->first == q && q->state == REQUEST_DONE)
        order_drain(r, c);
}

static void connect_wait(struct replica *r, struct request *q) {
    if (q->list)
        return;
    q->list = &r->waiting;
    DL_APPEND2(r->waiting, q, list_prev, list_next);
}

/* Whether the handshake cannot go on now: it waits, or its connection is closed. A learner often is
 * behind by a few milliseconds only, and a leader never. */
static bool connect_holds(struct replica *r, struct request *q, zxid_t seen) {
    if (!r->serving) {
        connect_wait(r, q);
        return true;
    }
    zxid_t last = core_last_zxid(r);
    if (seen <= last)
        return false;
    if (!r->leading && r->mono_ms < q->arrived_ms + r->config.tick_ms) {
        connect_wait(r, q);
        return true;
    }
    core_close_conn(r, q->conn,
                    "the client has seen more than this replica: it has to try another one "
                    "seen=0x%llx last=0x%llx",
                    (unsigned long long)seen, (unsigned long long)last);
    return true;
}

/* Goes on with a handshake as far as it can. */
static void connect_proceed(struct replica *r, struct request *q) {
    struct conn *c = q->conn;
    struct cursor cur;
    struct proto_connect_request req;
    cursor_init(&cur, q->body, q->body_len);
    CHECK(proto_decode(&cur, PROTO_connect_request, &req));
    q->timeout_ms = clamp_timeout(r, req.timeout_ms);
    c->ours = req.protocol_version == PROTOCOL_VERSION_RETRIES;
    if (read_only_active(r)) {
        order_unlist(q);
        read_only_connect(r, q, &req);
        return;
    }
    if (connect_holds(r, q, req.last_zxid_seen))
        return;
    order_unlist(q);
    c->asked_session = req.session_id;
    q->retries = c->ours;
    if (req.session_id != 0) {
        connect_again(r, q, req.session_id, req.passwd);
        return;
    }
    connect_new(r, q);
    order_unblock(r, c);
}

void connect_request(struct replica *r, struct conn *c, struct slice frame) {
    struct cursor cur;
    struct proto_connect_request req;
    cursor_init(&cur, frame.p, (size_t)frame.len);
    if (!proto_decode(&cur, PROTO_connect_request, &req)) {
        core_close_conn(r, c, "the first frame is no ConnectRequest length=%d", frame.len);
        return;
    }
    c->no_read_only = !req.has_read_only;
    c->state = CONN_CONNECTING;
    connect_proceed(r, order_push(r, c, REQUEST_HANDSHAKE, 0, OP_CREATE_SESSION, frame));
}

void connect_waiting(struct replica *r) {
    if (!r->serving && !read_only_active(r))
        return;
    /* Looking at one may close its connection, and others: the list is gone through anew then. */
    for (struct request *q = r->waiting, *next; q; q = next) {
        next = q->list_next;
        uint64_t conns = r->conns.count;
        connect_proceed(r, q);
        if (r->conns.count != conns)
            next = r->waiting;
    }
}

int64_t connect_deadline(const struct replica *r) {
    if (!r->waiting || !r->serving)
        return INT64_MAX;
    return r->waiting->arrived_ms + r->config.tick_ms;
}

void connect_ended(struct replica *r, struct conn *c, session_id_t id) {
    if (c->state == CONN_CONNECTING) {
        c->asked_session = id;
        connect_refuse(r, c, "the session has expired");
        return;
    }
    core_close_conn(r, c, "its session has expired session=0x%llx", (unsigned long long)id);
}

/* Everything that c still has to get, in order; writes were not done, and never will be. */
static void moved_answers(struct replica *r, struct conn *c) {
    conn_id_t id = c->id;
    for (struct request *q = c->first; q; q = q->next) {
        if (q->kind != REQUEST_WRITE || q->state == REQUEST_DONE)
            continue;
        reply_render_error(r, q, ZK_SESSIONMOVED);
    }
    order_drain(r, c);
    if (conn_find(&r->conns, id) == c)
        core_close_conn(r, c, "the session moved to another server session=0x%llx",
                        (unsigned long long)(c->session ? c->session->id : 0));
}

void connect_moved(struct replica *r, struct conn *c, const struct txn *txn) {
    /* A connection that waits for its own transaction is newer than this one, or will be heard of
     * by the other server; one of this server's own that is gone was an earlier one. */
    if (c->state != CONN_LIVE ||
        (uint32_t)txn->cxid >> FORWARD_TOKEN_SERVER_SHIFT == r->config.server_id)
        return;
    moved_answers(r, c);
}

void connect_left(struct replica *r, struct conn *c) {
    struct session *s = c->session;
    c->session = NULL;
    if (!s || s->conn != c)
        return;
    s->conn = NULL;
    touch_left(r, s);
    if (!s->committed && !s->proposed)
        session_remove(&r->sessions, s);
}

void connect_expire(struct replica *r) {
    for (struct session *s; zab_ready(r->zab) && (s = expiry_next(&r->sessions));) {
        if (s->closing)
            continue;
        out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
                 "a session has expired session=0x%llx timeout_ms=%d", (unsigned long long)s->id,
                 s->timeout_ms);
        prep_close_session(r, s, 0);
    }
}
