/* Proposing and committing: the way from a prepared transaction through zab into the tree, and what
 * follows from it: watch events, then the answer, then what waited behind it. */
#include "replica/server/core.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/connect.h"
#include "replica/server/limits.h"
#include "replica/server/order.h"
#include "replica/server/prep.h"
#include "replica/server/reply.h"

zxid_t core_last_zxid(const struct replica *r) { return tree_last_zxid(r->tree); }

/* Encodes t; what could not be read back from a log is refused instead (DESIGN 4, bounds at
 * admission). */
static struct blob *encode_or_refuse(struct replica *r, struct txn **t) {
    struct blob *payload = txn_encode(*t);
    if (payload->len <= TXN_BYTES_MAX)
        return payload;
    CHECK((*t)->type == TXN_OPS);
    blob_unref(payload);
    pending_rollback(r->pending);
    struct txn *refused = prep_error(ZK_MARSHALLINGERROR);
    refused->session_id = (*t)->session_id;
    refused->cxid = (*t)->cxid;
    refused->time_ms = (*t)->time_ms;
    txn_free(*t);
    *t = refused;
    return txn_encode(refused);
}

void core_propose(struct replica *r, struct txn *take_txn, struct request *request) {
    struct txn *t = take_txn;
    t->time_ms = r->wall_ms;
    struct blob *payload = encode_or_refuse(r, &t);
    t->zxid = zab_propose(r->zab, payload);
    struct inflight *f = mem_alloc(sizeof *f);
    *f = (struct inflight){.txn = t, .request = request};
    if (r->inflight_last)
        r->inflight_last->next = f;
    else
        r->inflight_first = f;
    r->inflight_last = f;
    r->inflight_count++;
    if (request)
        request->state = REQUEST_PROPOSED;
}

static void apply_create_session(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (!s)
        s = session_add(&r->sessions, txn->session_id, txn->timeout_ms);
    connect_created(r, s);
}

static void apply_close_session(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (!s)
        return;
    if (s->conn)
        s->conn->session = NULL;
    session_remove(&r->sessions, s);
}

bool core_apply(struct replica *r, const struct txn *txn, struct tree_changes *ret_changes) {
    switch (txn->type) {
    case TXN_CREATE_SESSION:
        apply_create_session(r, txn);
        break;
    case TXN_CLOSE_SESSION:
        apply_close_session(r, txn);
        break;
    case TXN_ENSEMBLE:
        sessions_set_secret(&r->sessions, txn->secret);
        break;
    case TXN_OPS:
    case TXN_ERROR:
        break;
    }
    tree_apply(r->tree, txn, ret_changes);
    const char *why = tree_broken(r->tree);
    if (why)
        core_stop(r, "a transaction does not fit the tree, its history is damaged: %s zxid=0x%llx",
                  why, (unsigned long long)txn->zxid);
    return !why;
}

static void fire_event(void *ctx, conn_id_t watcher, enum zk_event event, struct slice path) {
    reply_event(ctx, watcher, event, path);
}

static void fire_watches(struct replica *r) {
    if (watch_count(r->watches) == 0)
        return;
    for (size_t i = 0; i < r->changes.event_count; i++) {
        const struct tree_event *e = &r->changes.events[i];
        watch_fire(r->watches, e->type, blob_slice(e->path), fire_event, r);
    }
}

/* From here on clients are served: every session gets its whole timeout again, for nobody could
 * touch it while this server did not serve. */
static void begin_serving(struct replica *r) {
    r->serving = true;
    sessions_begin_ids(&r->sessions, r->wall_ms);
    for (struct session *s = r->sessions.all; s; s = s->next) {
        expiry_touch(&r->sessions, s);
        pending_load_owner(r->pending, s->id);
    }
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "this replica leads epoch=%u sessions=%llu znodes=%llu",
             zxid_epoch(zab_last_zxid(r->zab)), (unsigned long long)r->sessions.count,
             (unsigned long long)tree_znode_count(r->tree));
}

static void propose_secret(struct replica *r) {
    struct txn *t = txn_new(TXN_ENSEMBLE, 0);
    t->secret = blob_new(r->random, SESSION_SECRET_BYTES);
    core_propose(r, t, NULL);
}

static void core_established(struct replica *r) {
    if (!r->sessions.has_secret)
        propose_secret(r);
    else if (!r->serving)
        begin_serving(r);
    order_release(r);
}

static struct inflight *inflight_pop(struct replica *r, zxid_t zxid) {
    struct inflight *f = r->inflight_first;
    CHECK(f);
    CHECK(f->txn->zxid == zxid);
    r->inflight_first = f->next;
    if (!f->next)
        r->inflight_last = NULL;
    r->inflight_count--;
    return f;
}

static void core_commit(struct replica *r, zxid_t zxid) {
    struct inflight *f = inflight_pop(r, zxid);
    const struct txn *txn = f->txn;
    struct session *s =
        txn->type == TXN_CLOSE_SESSION ? session_find(&r->sessions, txn->session_id) : NULL;
    conn_id_t closed = s && s->conn ? s->conn->id : 0;
    bool applied = core_apply(r, txn, &r->changes);
    struct request *q = f->request;
    if (q && !q->conn) {
        request_free(q);
        q = NULL;
    }
    if (!applied) {
        if (q)
            q->state = REQUEST_WAITING; /* its queue owns it again, and frees it */
        txn_free(f->txn);
        mem_free(f);
        return;
    }
    pending_release(r->pending, txn);
    fire_watches(r);
    if (q)
        reply_committed(r, q, txn, &r->changes);
    /* A session that ended without its client's asking takes its connection along. */
    struct conn *c = closed && !q ? conn_find(&r->conns, closed) : NULL;
    if (c)
        core_close_conn(r, c, "its session has expired session=0x%llx",
                        (unsigned long long)txn->session_id);
    if (txn->type == TXN_ENSEMBLE && !r->serving)
        begin_serving(r);
    txn_free(f->txn);
    mem_free(f);
    order_markers(r);
}

static void core_append(struct replica *r, enum log_kind kind, zxid_t zxid, struct slice payload) {
    out_log_append(&r->out, &(struct log_record){kind, zxid, payload});
}

void core_pump(struct replica *r) {
    struct zab_output o;
    while (!r->stopped && zab_next(r->zab, &o)) {
        switch (o.type) {
        case ZAB_LOG_EPOCH:
            core_append(r, LOG_EPOCH, o.zxid, SLICE_NULL);
            break;
        case ZAB_LOG_PROPOSAL:
            core_append(r, LOG_TXN, o.zxid, blob_slice(o.payload));
            break;
        case ZAB_ESTABLISHED:
            core_established(r);
            break;
        case ZAB_COMMIT:
            core_commit(r, o.zxid);
            break;
        }
    }
    if (!r->stopped)
        order_markers(r);
}
