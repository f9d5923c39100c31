#include "replica/server/connect.h"

#include "common/check.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/reply.h"

static int32_t clamp_timeout(const struct replica *r, int32_t timeout_ms) {
    if (timeout_ms < r->config.min_session_timeout_ms)
        return r->config.min_session_timeout_ms;
    if (timeout_ms > r->config.max_session_timeout_ms)
        return r->config.max_session_timeout_ms;
    return timeout_ms;
}

void connect_write(struct replica *r, struct conn *c, int32_t timeout_ms, session_id_t id) {
    uint8_t passwd[PASSWD_BYTES] = {0};
    if (id != 0)
        session_password(&r->sessions, id, passwd);
    struct proto_connect_response resp = {.protocol_version = 0,
                                          .timeout_ms = timeout_ms,
                                          .session_id = id,
                                          .passwd = {passwd, PASSWD_BYTES},
                                          .read_only = false,
                                          .has_read_only = !c->no_read_only};
    proto_encode(out_frame(&r->out, c->id), PROTO_connect_response, &resp);
}

/* Session 0, timeout 0, a password of zeros: the client takes that as expired
 * (ZooKeeperServer.finishSessionInit). */
static void connect_refuse(struct replica *r, struct conn *c, session_id_t id, const char *why) {
    connect_write(r, c, 0, 0);
    reply_end(r, c);
    core_close_conn(r, c, "%s session=0x%llx", why, (unsigned long long)id);
}

static void connect_new(struct replica *r, struct conn *c, int32_t timeout_ms) {
    struct request *q =
        order_push(r, c, REQUEST_CONNECT, 0, OP_CREATE_SESSION, (struct slice){NULL, 0});
    q->timeout_ms = timeout_ms;
    prep_or_hold(r, q, (struct slice){NULL, 0});
}

static void connect_again(struct replica *r, struct conn *c, session_id_t id, int32_t timeout_ms,
                          struct slice passwd) {
    struct session *s = session_find(&r->sessions, id);
    if (!s || s->closing || !s->committed) {
        connect_refuse(r, c, id, "the session has expired");
        return;
    }
    if (!session_password_ok(&r->sessions, id, passwd)) {
        connect_refuse(r, c, id, "wrong password for the session");
        return;
    }
    /* One session, one connection: the newer one wins. */
    if (s->conn)
        core_close_conn(r, s->conn, "the session moved to another connection session=0x%llx",
                        (unsigned long long)id);
    s->conn = c;
    c->session = s;
    s->timeout_ms = timeout_ms;
    expiry_touch(&r->sessions, s);
    struct request *q =
        order_push(r, c, REQUEST_RECONNECT, 0, OP_CREATE_SESSION, (struct slice){NULL, 0});
    q->timeout_ms = timeout_ms;
    q->session_id = id;
    if (order_await(r, q, zab_sync(r->zab)))
        order_drain(r, c);
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
    zxid_t last = core_last_zxid(r);
    if (req.last_zxid_seen > last) {
        core_close_conn(r, c,
                        "the client has seen more than this replica: it has to try another one "
                        "seen=0x%llx last=0x%llx",
                        (unsigned long long)req.last_zxid_seen, (unsigned long long)last);
        return;
    }
    c->state = CONN_CONNECTING;
    int32_t timeout_ms = clamp_timeout(r, req.timeout_ms);
    if (req.session_id == 0)
        connect_new(r, c, timeout_ms);
    else
        connect_again(r, c, req.session_id, timeout_ms, req.passwd);
}

void connect_created(struct replica *r, struct session *s) {
    s->committed = true;
    if (s->conn)
        conn_established(&r->conns, s->conn);
}

void connect_reconnected(struct replica *r, struct conn *c, struct request *q) {
    struct session *s = c->session;
    if (!s || s->closing) {
        connect_refuse(r, c, q->session_id, "the session has expired");
        return;
    }
    conn_established(&r->conns, c);
    connect_write(r, c, q->timeout_ms, s->id);
    reply_end(r, c);
}

void connect_expire(struct replica *r) {
    for (struct session *s; zab_ready(r->zab) && (s = expiry_next(&r->sessions));) {
        if (s->closing)
            continue;
        out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
                 "a session has expired session=0x%llx timeout_ms=%d", (unsigned long long)s->id,
                 s->timeout_ms);
        prep_close_session(r, s, 0, NULL);
    }
}
