#include "replica/server/prep.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/server/order.h"

struct txn *prep_error(enum zk_err err) {
    struct txn *t = txn_new(TXN_ERROR, 0);
    t->err = err;
    return t;
}

static struct txn *prep_single(struct prep *p, const struct request *q, struct slice body) {
    union prep_record rec;
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    if (!prep_decode(&c, q->opcode, &rec))
        return prep_error(ZK_MARSHALLINGERROR);
    struct txn *t = txn_new(TXN_OPS, 1);
    enum zk_err err = prep_op(p, q->opcode, &rec, &t->ops[0]);
    if (err == ZK_OK)
        return t;
    txn_free(t);
    return prep_error(err);
}

/* ReconfigRequest is three strings and a number. This version's ensemble does not change, as
 * ZooKeeper's with reconfigEnabled=false. */
static struct txn *prep_reconfig(struct slice body) {
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    for (int i = 0; i < 3; i++)
        (void)jute_read_slice(&c);
    (void)jute_read_long(&c);
    return prep_error(c.bad ? ZK_MARSHALLINGERROR : ZK_RECONFIGDISABLED);
}

/* A new session is known from here on, so that what its connection sends next can be prepared. */
static struct txn *prep_create_session(struct replica *r, struct request *q) {
    struct session *s = session_add(&r->sessions, session_next_id(&r->sessions), q->timeout_ms);
    s->conn = q->conn;
    q->conn->session = s;
    expiry_touch(&r->sessions, s);
    struct txn *t = txn_new(TXN_CREATE_SESSION, 0);
    t->timeout_ms = q->timeout_ms;
    return t;
}

static struct txn *prep_txn(struct replica *r, struct request *q, struct slice body) {
    if (q->kind == REQUEST_CONNECT)
        return prep_create_session(r, q);
    struct prep p = {.r = r,
                     .conn = q->conn,
                     .session = q->conn->session,
                     .auth_count = q->auth_count,
                     .zxid = zab_next_zxid(r->zab)};
    if (!p.session || p.session->closing)
        return prep_error(ZK_SESSIONEXPIRED);
    if (q->opcode == OP_MULTI)
        return prep_multi(&p, q, body);
    if (q->opcode == OP_RECONFIG)
        return prep_reconfig(body);
    return prep_single(&p, q, body);
}

void prep_request(struct replica *r, struct request *q, struct slice body) {
    CHECK(zab_ready(r->zab));
    struct session *s = q->conn->session;
    if (q->opcode == OP_CLOSE_SESSION && s && !s->closing) {
        prep_close_session(r, s, q->xid, q);
        return;
    }
    pending_begin(r->pending);
    struct txn *t = prep_txn(r, q, body);
    s = q->conn->session;
    t->session_id = s ? s->id : 0;
    t->cxid = q->xid;
    core_propose(r, t, q);
}

void prep_or_hold(struct replica *r, struct request *q, struct slice body) {
    if (zab_ready(r->zab)) {
        CHECK(!r->held); /* released before anything new comes */
        prep_request(r, q, body);
        return;
    }
    CHECK(q->body_len == (body.len > 0 ? (uint32_t)body.len : 0));
    order_hold(r, q);
}

struct path_list {
    struct blob **paths;
    uint32_t count, cap;
};

static void path_list_add(void *ctx, struct slice path) {
    struct path_list *l = ctx;
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->paths = mem_realloc(l->paths, l->cap * sizeof *l->paths);
    }
    l->paths[l->count++] = blob_from_slice(path);
}

/* The overlay's view of a deletion: the znode goes, its parent has a child less. */
static void close_delete(struct replica *r, struct blob *path, zxid_t zxid) {
    struct pending_state parent;
    struct slice parent_path = path_parent(blob_slice(path));
    pending_get(r->pending, parent_path, &parent);
    CHECK(parent.exists);
    CHECK(parent.children > 0);
    parent.children--;
    parent.zxid = zxid;
    pending_put(r->pending, parent_path, &parent);
    pending_put(r->pending, blob_slice(path), &(struct pending_state){.zxid = zxid});
}

void prep_close_session(struct replica *r, struct session *s, int32_t cxid, struct request *q) {
    CHECK(!s->closing);
    struct path_list l = {0};
    pending_owned(r->pending, s->id, path_list_add, &l);
    zxid_t zxid = zab_next_zxid(r->zab);
    struct txn *t = txn_new(TXN_CLOSE_SESSION, l.count);
    t->session_id = s->id;
    t->cxid = cxid;
    pending_begin(r->pending);
    for (uint32_t i = 0; i < l.count; i++) {
        t->ops[i].type = TXN_OP_DELETE;
        t->ops[i].path = l.paths[i];
        close_delete(r, l.paths[i], zxid);
    }
    mem_free(l.paths);
    s->closing = true;
    expiry_forget(&r->sessions, s);
    core_propose(r, t, q);
}
