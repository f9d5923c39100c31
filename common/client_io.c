/* Frames out, frames in. */
#include "common/client_impl.h"
#include "common/mutant.h"

#include <string.h>

#define FRAME_HEADER_BYTES 4

size_t client_frame_begin(struct client *c, int32_t xid, int32_t opcode) {
    size_t at = c->tx.len;
    buf_put_u32be(&c->tx, 0);
    struct proto_request_header h = {.xid = xid, .type = opcode};
    proto_encode(&c->tx, PROTO_request_header, &h);
    return at;
}

void client_frame_end(struct client *c, size_t at) {
    buf_patch_u32be(&c->tx, at, (uint32_t)(c->tx.len - at - FRAME_HEADER_BYTES));
}

void client_send_connect(struct client *c) {
    struct proto_connect_request req = {
        .protocol_version = c->config.retries ? PROTOCOL_VERSION_RETRIES : 0,
        .last_zxid_seen = c->seen_zxid,
        .timeout_ms = c->config.timeout_ms,
        .session_id = c->session_id,
        .passwd = {.p = c->passwd, .len = PASSWD_BYTES},
        .read_only = c->config.read_only_ok,
        .has_read_only = true,
    };
    buf_put_u32be(&c->tx, 0);
    proto_encode(&c->tx, PROTO_connect_request, &req);
    buf_patch_u32be(&c->tx, 0, (uint32_t)(c->tx.len - FRAME_HEADER_BYTES));
}

void client_send_ping(struct client *c) {
    client_frame_end(c, client_frame_begin(c, XID_PING, OP_PING));
}

/* Positive and rising; after the greatest it begins again, for negative numbers have meanings. */
int32_t client_take_xid(struct client *c) {
    int32_t xid = c->next_xid;
    c->next_xid = xid == INT32_MAX ? 1 : xid + 1;
    return xid;
}

void client_send_close(struct client *c) {
    c->close_sent = true;
    c->close_xid = client_take_xid(c);
    client_frame_end(c, client_frame_begin(c, c->close_xid, OP_CLOSE_SESSION));
}

void client_send_auths(struct client *c) {
    for (const struct cauth *a = c->auths; a; a = a->next) {
        struct proto_auth_packet p = {
            .scheme = {.p = (const uint8_t *)a->scheme, .len = (int32_t)strlen(a->scheme)},
            .auth = {.p = a->auth, .len = a->auth_len},
        };
        size_t at = client_frame_begin(c, XID_AUTH, OP_AUTH);
        proto_encode(&c->tx, PROTO_auth_packet, &p);
        client_frame_end(c, at);
    }
    c->auth_is_new = false;
}

void client_send_request(struct client *c, struct creq *r, struct slice record) {
    if (r->xid == 0)
        r->xid = client_take_xid(c);
    if (r->sends < UINT8_MAX)
        r->sends++;
    size_t at = client_frame_begin(c, r->xid, r->opcode);
    if (record.len > 0)
        buf_put(&c->tx, record.p, (size_t)record.len);
    client_frame_end(c, at);
}

static void note_reply_zxid(struct client *c, zxid_t zxid) {
    if (zxid > c->reply_zxid)
        c->reply_zxid = zxid;
    if (zxid > c->seen_zxid)
        c->seen_zxid = zxid;
}

/* Events raise only what servers are measured by. setWatches goes by the replies: of several events
 * of one transaction some may be lost with the connection. */
static bool on_notification(struct client *c, const struct proto_reply_header *h,
                            struct cursor *in) {
    struct proto_watcher_event e;
    if (!proto_decode(in, PROTO_watcher_event, &e))
        return false;
    if (h->zxid > c->seen_zxid)
        c->seen_zxid = h->zxid;
    bool used = client_watch_fired(c, e.type, e.path);
    if (client_watch_repeated(c, h->zxid, e.type, e.path) && !used && !MUTANT(WATCH_HEARD_AGAIN))
        return true;
    struct client_update *u = client_emit(c, CU_WATCH);
    u->err = e.type;
    u->zxid = h->zxid;
    u->bytes = e.path;
    return true;
}

/* Of several frames each makes up for its own watches only: what the last reply showed counts from
 * the last one on. */
static bool on_watches_set(struct client *c, const struct proto_reply_header *h) {
    client_watches_set(c, h->err);
    if (c->again_frames == 0)
        note_reply_zxid(c, h->zxid);
    else if (h->zxid > c->seen_zxid)
        c->seen_zxid = h->zxid;
    return true;
}

/* A refused credential makes every connection end this way: callers hear why, instead of waiting.
 */
static bool on_auth_reply(struct client *c, const struct proto_reply_header *h) {
    if (h->err == 0)
        return true;
    client_fail_all(c, ZK_AUTHFAILED, ZK_AUTHFAILED);
    return false;
}

/* The server refused the request for the session's sake, without doing it. This connection has no
 * future: the next handshake tells whether the session has. */
static bool refuses_session(int32_t err) {
    return err == ZK_SESSIONEXPIRED || err == ZK_SESSIONMOVED;
}

static bool on_reply(struct client *c, const struct proto_reply_header *h, struct cursor *in) {
    struct creq *r = c->sent.head;
    if (c->close_sent && h->xid == c->close_xid) {
        client_finish_close(c);
        return true;
    }
    if (!r || r->xid != h->xid)
        return false;
    note_reply_zxid(c, h->zxid);
    /* Of a write that is sent again only this repetition was refused. */
    if (refuses_session(h->err) && (!r->is_write || r->sends > 1))
        return false; /* It stays in the list, and is sent again. */
    c->has_answered = true;
    creq_list_pop(&c->sent);
    client_watch_answered(c, r, h->err);
    struct slice record = SLICE_NULL;
    if (h->err == 0)
        record = (struct slice){.p = in->p, .len = (int32_t)cursor_left(in)};
    int32_t err = h->err == ZK_RESULTFORGOTTEN ? ZK_CONNECTIONLOSS : h->err;
    client_answer(c, r, err, h->zxid, record);
    client_free_request(r);
    return !refuses_session(h->err);
}

/* False when the connection cannot go on: the frame is malformed or answers nothing that was asked.
 */
static bool on_frame(struct client *c, struct slice frame) {
    if (c->state == CLIENT_HANDSHAKE)
        return client_on_connect_response(c, frame);
    struct cursor in;
    cursor_init(&in, frame.p, (size_t)frame.len);
    struct proto_reply_header h;
    if (!proto_decode(&in, PROTO_reply_header, &h))
        return false;
    switch (h.xid) {
    case XID_NOTIFICATION:
        return on_notification(c, &h, &in);
    case XID_AUTH:
        return on_auth_reply(c, &h);
    case XID_SET_WATCHES:
        return on_watches_set(c, &h);
    case XID_PING:
        note_reply_zxid(c, h.zxid);
        return true;
    default:
        return on_reply(c, &h, &in);
    }
}

/* A reply longer than we take: what asked for it would only make it come again. */
static void refuse_reply(struct client *c) {
    struct creq *r = c->sent.head;
    if (!r || r->is_write)
        return;
    creq_list_pop(&c->sent);
    client_answer(c, r, ZK_MARSHALLINGERROR, 0, SLICE_NULL);
    client_free_request(r);
}

/* Takes whole frames off the front; returns the bytes used. *ret_ok is false when the connection
 * has to go, and true with fewer bytes used when a frame is not whole yet. */
static size_t take_frames(struct client *c, const uint8_t *p, size_t n, bool *ret_ok) {
    size_t used = 0;
    *ret_ok = true;
    while (n - used >= FRAME_HEADER_BYTES && c->has_socket) {
        struct cursor in;
        cursor_init(&in, p + used, n - used);
        uint32_t len = cursor_u32be(&in);
        if (len > (uint32_t)c->config.max_frame_bytes) {
            if (len <= INT32_MAX && c->state == CLIENT_CONNECTED)
                refuse_reply(c);
            *ret_ok = false;
            return used;
        }
        if (cursor_left(&in) < len)
            return used;
        struct slice frame = {.p = in.p, .len = (int32_t)len};
        used += FRAME_HEADER_BYTES + len;
        if (!on_frame(c, frame)) {
            *ret_ok = false;
            return used;
        }
    }
    return used;
}

void client_on_bytes(struct client *c, struct slice bytes) {
    if (bytes.len <= 0)
        return;
    c->last_recv_ms = c->now_ms;
    bool ok;
    if (c->rx.len == 0) { /* The common case: whole frames, used where they are. */
        size_t n = (size_t)bytes.len;
        size_t used = take_frames(c, bytes.p, n, &ok);
        if (ok && c->has_socket && used < n)
            buf_put(&c->rx, bytes.p + used, n - used);
    } else {
        buf_put(&c->rx, bytes.p, (size_t)bytes.len);
        c->rx_used = take_frames(c, c->rx.data, c->rx.len, &ok);
    }
    if (!ok && c->has_socket)
        client_lose(c, true);
}
