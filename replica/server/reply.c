#include "replica/server/reply.h"

#include "common/check.h"
#include "replica/server/connect.h"
#include "replica/server/order.h"
#include "replica/server/touch.h"

struct buf *reply_begin(struct replica *r, struct conn *c, int32_t xid, zxid_t zxid,
                        enum zk_err err) {
    struct buf *b = out_frame(&r->out, c->id);
    jute_write_int(b, xid);
    jute_write_long(b, zxid);
    jute_write_int(b, err);
    return b;
}

static void reply_note_size(struct replica *r, int64_t bytes) {
    struct server_stats *s = &r->stats;
    s->last_reply_bytes = bytes;
    if (s->min_reply_bytes < 0 || bytes < s->min_reply_bytes)
        s->min_reply_bytes = bytes;
    if (bytes > s->max_reply_bytes)
        s->max_reply_bytes = bytes;
}

static void reply_sent(struct replica *r, struct conn *c) {
    r->stats.sent++;
    c->stats.sent++;
}

void reply_end(struct replica *r, struct conn *c) {
    reply_note_size(r, (int64_t)(r->out.bytes.len - r->out.frame_at - 4));
    out_frame_end(&r->out);
    reply_sent(r, c);
}

void reply_drop(struct replica *r) { out_frame_drop(&r->out); }

void reply_header(struct replica *r, struct conn *c, int32_t xid, zxid_t zxid, enum zk_err err) {
    (void)reply_begin(r, c, xid, zxid, err);
    reply_end(r, c);
}

/* The words that ZooKeeper's `cons` has for the last operation. */
static const char *op_word(int32_t opcode) {
    static const struct {
        int32_t opcode;
        const char *word;
    } words[] = {
        {OP_PING, "PING"},          {OP_CREATE_SESSION, "SESS"},
        {OP_MULTI, "MULT"},         {OP_MULTI_READ, "MLTR"},
        {OP_CREATE, "CREA"},        {OP_CREATE2, "CREA"},
        {OP_CREATE_TTL, "CREA"},    {OP_CREATE_CONTAINER, "CREA"},
        {OP_DELETE, "DELE"},        {OP_SET_DATA, "SETD"},
        {OP_RECONFIG, "RECO"},      {OP_SET_ACL, "SETA"},
        {OP_CLOSE_SESSION, "CLOS"}, {OP_SYNC, "SYNC"},
        {OP_CHECK, "CHEC"},         {OP_EXISTS, "EXIS"},
        {OP_GET_DATA, "GETD"},      {OP_SET_WATCHES, "SETW"},
        {OP_SET_WATCHES2, "STW2"},  {OP_ADD_WATCH, "ADDW"},
        {OP_GET_ACL, "GETA"},       {OP_GET_CHILDREN, "GETC"},
        {OP_GET_CHILDREN2, "GETC"}, {OP_GET_ALL_CHILDREN_NUMBER, "GETACN"},
        {OP_CHECK_WATCHES, "CHKW"}, {OP_REMOVE_WATCHES, "REMW"},
        {OP_WHO_AM_I, "HOMI"},      {OP_GET_EPHEMERALS, "GETE"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].opcode == opcode)
            return words[i].word;
    }
    return "NA";
}

void reply_count(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                 int64_t arrived_ms) {
    int64_t latency = r->mono_ms > arrived_ms ? r->mono_ms - arrived_ms : 0;
    struct server_stats *s = &r->stats;
    s->total_latency_ms += latency;
    s->latency_count++;
    if (latency < s->min_latency_ms)
        s->min_latency_ms = latency;
    if (latency > s->max_latency_ms)
        s->max_latency_ms = latency;
    struct conn_stats *cs = &c->stats;
    if (xid >= 0)
        cs->last_cxid = xid;
    cs->last_zxid = core_last_zxid(r);
    cs->last_op = op_word(opcode);
    cs->last_response_ms = r->mono_ms;
    cs->last_latency_ms = latency;
    cs->total_latency_ms += latency;
    cs->count++;
    if (latency < cs->min_latency_ms)
        cs->min_latency_ms = latency;
    if (latency > cs->max_latency_ms)
        cs->max_latency_ms = latency;
}

static void write_path(struct buf *b, const struct blob *path) {
    jute_write_slice(b, blob_slice(path));
}

/* The record that answers one operation; `opcode` is the client's. */
static void write_result(struct buf *b, int32_t opcode, const struct txn_op *op,
                         const struct zstat *stat) {
    switch (opcode) {
    case OP_CREATE:
        write_path(b, op->path);
        break;
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        write_path(b, op->path);
        jute_write_stat(b, stat);
        break;
    case OP_SET_DATA:
    case OP_SET_ACL:
        jute_write_stat(b, stat);
        break;
    default: /* delete and check say only that they went well */
        break;
    }
}

static void write_multi_header(struct buf *b, int32_t type, bool done, int32_t err) {
    struct proto_multi_header h = {.type = type, .done = done, .err = err};
    proto_encode(b, PROTO_multi_header, &h);
}

/* Every operation has its result, or every operation has an error: what went well before the
 * failing one shows OK, what comes after it RUNTIMEINCONSISTENCY. */
static void write_multi(struct buf *b, const struct request *q, const struct txn *txn,
                        const struct tree_changes *changes) {
    for (uint32_t i = 0; i < q->multi_count; i++) {
        if (txn->type == TXN_OPS) {
            write_multi_header(b, q->multi_types[i], false, 0);
            write_result(b, q->multi_types[i], &txn->ops[i], &changes->stats[i]);
            continue;
        }
        int32_t err = i < txn->error_index ? ZK_OK : ZK_RUNTIMEINCONSISTENCY;
        if (i == txn->error_index)
            err = txn->err;
        write_multi_header(b, OP_ERROR, false, err);
        jute_write_int(b, err);
    }
    write_multi_header(b, -1, true, -1);
}

static void write_committed(struct replica *r, struct request *q, const struct txn *txn,
                            const struct tree_changes *changes) {
    bool whole_multi = q->opcode == OP_MULTI && txn->multi;
    enum zk_err err = txn->type == TXN_ERROR && !whole_multi ? (enum zk_err)txn->err : ZK_OK;
    struct buf *b = reply_begin(r, q->conn, q->xid, txn->zxid, err);
    if (err != ZK_OK)
        return;
    if (whole_multi)
        write_multi(b, q, txn, changes);
    else if (txn->type == TXN_OPS)
        write_result(b, q->opcode, &txn->ops[0], &changes->stats[0]);
}

/* Whether a result that was kept is one of such a request. */
static bool result_fits(const struct request *q, const struct txn *txn) {
    if (txn->type == TXN_ERROR)
        return !txn->multi || q->opcode == OP_MULTI;
    if (q->opcode == OP_MULTI)
        return txn->multi && txn->op_count == q->multi_count;
    if (txn->multi || txn->op_count != 1)
        return false;
    bool creates = q->opcode == OP_CREATE || q->opcode == OP_CREATE2 ||
                   q->opcode == OP_CREATE_CONTAINER || q->opcode == OP_CREATE_TTL;
    return creates == (txn->ops[0].type == TXN_OP_CREATE);
}

/* After the answer to closeSession the server hangs up. */
static void reply_after(struct replica *r, struct conn *c, struct request *q) {
    int32_t opcode = q->opcode, xid = q->xid;
    reply_count(r, c, xid, opcode, q->arrived_ms);
    if (opcode == OP_CLOSE_SESSION)
        core_hang_up(r, c);
}

/* Keeps the frame that was begun until it is q's turn. */
static void reply_keep(struct replica *r, struct request *q) {
    out_frame_seal(&r->out);
    q->reply = blob_new(r->out.bytes.data + r->out.frame_at, r->out.bytes.len - r->out.frame_at);
    out_frame_drop(&r->out);
    order_unlist(q);
    q->state = REQUEST_DONE;
}

void reply_render_error(struct replica *r, struct request *q, enum zk_err err) {
    (void)reply_begin(r, q->conn, q->xid, core_last_zxid(r), err);
    reply_keep(r, q);
}

bool reply_from_results(struct replica *r, struct request *q) {
    const struct retry_result *result;
    switch (retry_find(&q->conn->session->results, q->xid, &result)) {
    case RETRY_NEW:
        return false;
    case RETRY_FORGOTTEN:
        reply_render_error(r, q, ZK_RESULTFORGOTTEN);
        return true;
    case RETRY_KNOWN:
        break;
    }
    struct tree_changes changes;
    struct txn *txn = retry_decode(result, &changes);
    /* The same xid with another request is not what it was the result of. */
    if (!txn || !result_fits(q, txn)) {
        reply_render_error(r, q, ZK_RESULTFORGOTTEN);
    } else {
        write_committed(r, q, txn, &changes);
        reply_keep(r, q);
    }
    if (txn)
        tree_changes_close(&changes);
    txn_free(txn);
    return true;
}

/* Its client has a session here from now on. */
static void reply_established(struct replica *r, struct conn *c) {
    conn_established(&r->conns, c);
    touch_connected(r, c->session);
}

void reply_committed(struct replica *r, struct request *q, const struct txn *txn,
                     const struct tree_changes *changes) {
    struct conn *c = q->conn;
    bool connects = q->kind != REQUEST_WRITE;
    if (connects) {
        CHECK(c->first == q);
        reply_established(r, c);
        connect_write(r, c, q->timeout_ms, txn->session_id);
    } else {
        write_committed(r, q, txn, changes);
    }
    if (c->first != q) {
        reply_keep(r, q);
        return;
    }
    q->state = REQUEST_DONE;
    reply_end(r, c);
    conn_id_t id = c->id;
    reply_after(r, c, q);
    if (conn_find(&r->conns, id) != c)
        return;
    order_pop(r, c);
    if (connects)
        order_unblock(r, c);
    order_drain(r, c);
}

void reply_send_rendered(struct replica *r, struct conn *c, struct request *q) {
    CHECK(q->reply);
    out_bytes(&r->out, c->id, q->reply->bytes, q->reply->len);
    reply_note_size(r, (int64_t)q->reply->len - 4);
    reply_sent(r, c);
    reply_after(r, c, q);
}

void reply_event(struct replica *r, conn_id_t conn, zxid_t zxid, enum zk_event event,
                 struct slice path) {
    struct conn *c = conn_find(&r->conns, conn);
    if (!c)
        return;
    /* The zxid is -1 in 3.8; later servers show the event's. */
    struct buf *b = reply_begin(r, c, XID_NOTIFICATION, c->ours ? zxid : -1, ZK_OK);
    struct proto_watcher_event e = {.type = event, .state = STATE_SYNC_CONNECTED, .path = path};
    proto_encode(b, PROTO_watcher_event, &e);
    reply_end(r, c);
}
