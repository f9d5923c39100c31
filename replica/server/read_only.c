#include "replica/server/read_only.h"

#include "replica/server/connect.h"
#include "replica/server/order.h"
#include "replica/server/reply.h"
#include "replica/server/role.h"

bool read_only_active(const struct replica *r) {
    return r->config.read_only_mode && r->started && !r->up && r->sessions.has_secret &&
           tree_exact(r->tree) && r->mono_ms >= r->down_ms + role_hold_ms(r);
}

/* The session that the client is told, 0 for none. One that it had is left alone: it lives or
 * expires as the ensemble decides, and its client gets it back there. A new one is this client's
 * own affair (ReadOnlyZooKeeperServer numbers it like any other). */
static session_id_t choose_session(struct replica *r, struct conn *c,
                                   const struct proto_connect_request *req) {
    if (req->session_id == 0) {
        c->read_only_own = true;
        return session_next_id(&r->sessions);
    }
    return session_password_ok(&r->sessions, req->session_id, req->passwd) ? req->session_id : 0;
}

void read_only_connect(struct replica *r, struct request *q,
                       const struct proto_connect_request *req) {
    struct conn *c = q->conn;
    zxid_t last = core_last_zxid(r);
    c->asked_session = req->session_id;
    if (!req->has_read_only || !req->read_only) {
        core_close_conn(r, c, "there is no quorum, and the client takes no read-only replica");
        return;
    }
    if (req->last_zxid_seen > last) {
        core_close_conn(r, c,
                        "the client has seen more than this read-only replica seen=0x%llx "
                        "last=0x%llx",
                        (unsigned long long)req->last_zxid_seen, (unsigned long long)last);
        return;
    }
    session_id_t id = choose_session(r, c, req);
    if (id == 0) {
        connect_refuse(r, c, "wrong password for the session");
        return;
    }
    c->read_only = true;
    c->read_only_session = id;
    conn_established(&r->conns, c);
    connect_write(r, c, q->timeout_ms, id);
    reply_end(r, c);
    order_pop(r, c);
    order_drain(r, c);
}

static bool is_refused(int32_t opcode) {
    const struct opcode_info *info = opcode_find(opcode);
    return opcode == OP_SYNC || (info && (info->flags & OPF_WRITE));
}

bool read_only_answer(struct replica *r, struct conn *c, int32_t xid, int32_t opcode) {
    if (opcode == OP_CLOSE_SESSION) {
        /* Only a session of this connection's own ends with it. */
        reply_header(r, c, xid, core_last_zxid(r), c->read_only_own ? ZK_OK : ZK_NOTREADONLY);
        core_hang_up(r, c);
        return true;
    }
    if (!is_refused(opcode))
        return false;
    reply_header(r, c, xid, core_last_zxid(r), ZK_NOTREADONLY);
    return true;
}

void read_only_end(struct replica *r) {
    for (struct conn *c = r->conns.all, *next; c; c = next) {
        next = c->next;
        if (c->read_only)
            core_close_conn(r, c, "a quorum is back: this read-only session is over");
    }
}
