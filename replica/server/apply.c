/* Proposing and committing: the way from a prepared transaction through zab into the tree, and what
 * follows from it: watch events, then the answer, then what waited behind it. The same on every
 * server of the ensemble; only the leader has the transaction in memory still. */
#include "replica/server/core.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/server/checkpoint.h"
#include "replica/server/connect.h"
#include "replica/server/digest.h"
#include "replica/server/learners.h"
#include "replica/server/limits.h"
#include "replica/server/order.h"
#include "replica/server/peer.h"
#include "replica/server/prep.h"
#include "replica/server/reply.h"
#include "replica/server/role.h"
#include "replica/server/snap_flow.h"
#include "replica/server/sync.h"

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

static void note_size(struct server_stats *s, int64_t bytes) {
    s->last_proposal_bytes = bytes;
    if (s->min_proposal_bytes < 0 || bytes < s->min_proposal_bytes)
        s->min_proposal_bytes = bytes;
    if (bytes > s->max_proposal_bytes)
        s->max_proposal_bytes = bytes;
}

void core_propose(struct replica *r, struct txn *take_txn) {
    struct txn *t = take_txn;
    t->time_ms = r->wall_ms;
    struct blob *payload = encode_or_refuse(r, &t);
    note_size(&r->stats, payload->len);
    t->zxid = zab_propose(r->zab, payload);
    struct inflight *f = mem_alloc(sizeof *f);
    *f = (struct inflight){.txn = t};
    if (r->inflight_last)
        r->inflight_last->next = f;
    else
        r->inflight_first = f;
    r->inflight_last = f;
}

static struct txn *inflight_pop(struct replica *r) {
    struct inflight *f = r->inflight_first;
    struct txn *t = f->txn;
    r->inflight_first = f->next;
    if (!f->next)
        r->inflight_last = NULL;
    mem_free(f);
    return t;
}

void core_forget_inflight(struct replica *r) {
    while (r->inflight_first)
        txn_free(inflight_pop(r));
}

/* A session that is there already has moved: to the server that asked, with a timeout of its own
 * (connect.h). */
static void apply_create_session(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (!s)
        s = session_add(&r->sessions, txn->session_id, txn->timeout_ms);
    if (!s->committed)
        s->retries = txn->retries;
    s->committed = true;
    s->proposed = false;
    s->timeout_ms = txn->timeout_ms;
    if (r->leading && !s->closing)
        expiry_touch(&r->sessions, s);
}

static void apply_close_session(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (!s)
        return;
    if (s->conn)
        s->conn->session = NULL;
    session_remove(&r->sessions, s);
}

/* A committed transaction goes into the tree and the sessions. False when it does not fit the tree
 * (tree_broken), or proves that tree to be altered: then the core stops, and nobody may be
 * answered.
 */
static bool apply(struct replica *r, const struct txn *txn, struct tree_changes *ret_changes) {
    switch (txn->type) {
    case TXN_CREATE_SESSION:
        apply_create_session(r, txn);
        break;
    case TXN_CLOSE_SESSION:
        apply_close_session(r, txn);
        break;
    case TXN_ENSEMBLE:
        sessions_set_secret(&r->sessions, txn->secret);
        peer_secret_known(r);
        break;
    case TXN_OPS:
    case TXN_ERROR:
        break;
    }
    tree_apply(r->tree, txn, ret_changes);
    const char *why = tree_broken(r->tree);
    if (why && !r->replaying)
        core_stop(r, "a transaction does not fit the tree, its history is damaged: %s zxid=0x%llx",
                  why, (unsigned long long)txn->zxid);
    if (!why)
        recent_note(&r->recent, txn);
    return !why && digest_applied(r);
}

static void fire_event(void *ctx, conn_id_t watcher, enum zk_event event, struct slice path) {
    struct replica *r = ctx;
    reply_event(r, watcher, core_last_zxid(r), event, path);
}

static void fire_watches(struct replica *r) {
    if (watch_count(r->watches) == 0)
        return;
    for (size_t i = 0; i < r->changes.event_count; i++) {
        const struct tree_event *e = &r->changes.events[i];
        watch_fire(r->watches, e->type, blob_slice(e->path), fire_event, r);
    }
}

/* What the session of a transaction has to do with this server, before it is applied. */
struct concern {
    struct conn *conn; /* its client's, or NULL */
    conn_id_t conn_id;
    struct request *request; /* that it answers, or NULL */
    bool moves;              /* the session is there already */
    bool keeps_results;
};

static struct concern find_concern(struct replica *r, const struct txn *txn) {
    struct concern found = {0};
    struct session *s = txn->session_id ? session_find(&r->sessions, txn->session_id) : NULL;
    if (!s)
        return found;
    found.moves = txn->type == TXN_CREATE_SESSION && s->committed;
    found.keeps_results = s->retries;
    found.conn = s->conn;
    found.conn_id = s->conn ? s->conn->id : 0;
    if (s->conn)
        found.request = order_match(s->conn, txn, found.moves);
    return found;
}

static void keep_result(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (s)
        retry_record(&s->results, txn, &r->changes);
}

/* The answer; or the end of a connection whose session has ended or moved without its asking. */
static void answer(struct replica *r, const struct concern *about, const struct txn *txn) {
    if (about->request) {
        reply_committed(r, about->request, txn, &r->changes);
        return;
    }
    struct conn *c = about->conn_id ? conn_find(&r->conns, about->conn_id) : NULL;
    if (!c)
        return;
    if (txn->type == TXN_CLOSE_SESSION)
        connect_ended(r, c, txn->session_id);
    else if (about->moves)
        connect_moved(r, c, txn);
}

static void commit_txn(struct replica *r, const struct txn *txn) {
    struct concern about = find_concern(r, txn);
    bool wanted = about.request || about.keeps_results || watch_count(r->watches) > 0;
    if (!apply(r, txn, wanted ? &r->changes : NULL))
        return;
    if (r->leading)
        pending_release(r->pending, txn);
    if (wanted && !MUTANT(WATCH_AFTER_REPLY))
        fire_watches(r);
    if (about.keeps_results)
        keep_result(r, txn);
    r->answering = true;
    answer(r, &about, txn);
    r->answering = false;
    if (wanted && MUTANT(WATCH_AFTER_REPLY))
        fire_watches(r);
    if (txn->type == TXN_ENSEMBLE)
        role_secret_known(r);
}

/* NULL when the record is none that a committed history may have. */
static struct txn *decode(struct slice payload, zxid_t zxid) {
    struct txn *txn = txn_decode(payload, zxid);
    if (!txn || txn->type != TXN_ENSEMBLE || txn->secret->len <= SESSION_SECRET_MAX)
        return txn;
    txn_free(txn);
    return NULL;
}

static void core_commit(struct replica *r, const struct zab_output *o) {
    checkpoint_count(r, o->payload ? o->payload->len : 0);
    if (o->kind == ZAB_EPOCH) {
        tree_pass_epoch(r->tree, o->zxid);
        if (digest_applied(r))
            snap_flow_applied(r, o->zxid);
        return;
    }
    struct txn *txn;
    if (r->inflight_first && r->inflight_first->txn->zxid == o->zxid)
        txn = inflight_pop(r);
    else
        txn = decode(blob_slice(o->payload), o->zxid);
    if (!txn) {
        core_stop(r, "the log has a record that is no transaction zxid=0x%llx",
                  (unsigned long long)o->zxid);
        return;
    }
    commit_txn(r, txn);
    txn_free(txn);
    if (r->stopped)
        return;
    snap_flow_applied(r, o->zxid);
    if (r->waiting)
        connect_waiting(r);
    sync_run(r);
}

const char *core_replay(struct replica *r, const struct log_record *record) {
    if (record->kind == LOG_EPOCH) {
        tree_pass_epoch(r->tree, record->zxid);
        return NULL;
    }
    struct txn *txn = decode(record->payload, record->zxid);
    if (!txn)
        return "a record that is no transaction";
    r->replaying = true;
    commit_txn(r, txn);
    r->replaying = false;
    txn_free(txn);
    return tree_broken(r->tree);
}

static void core_append(struct replica *r, const struct zab_output *o) {
    struct log_record rec = {.kind = o->kind == ZAB_EPOCH ? LOG_EPOCH : LOG_TXN,
                             .zxid = o->zxid,
                             .committed = o->committed,
                             .payload = o->payload ? blob_slice(o->payload) : SLICE_NULL};
    out_log_append(&r->out, &rec);
}

static void core_note(struct replica *r, const struct zab_output *o) {
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO, "%s peer=%u zxid=0x%llx", o->text, o->peer,
             (unsigned long long)o->zxid);
}

static void carry_out(struct replica *r, const struct zab_output *o) {
    switch (o->type) {
    case ZAB_SEND:
        peer_send(r, o->peer, o->msg);
        break;
    case ZAB_DROP:
        peer_drop(r, o->peer, o->text);
        break;
    case ZAB_SAVE_EPOCH:
        out_job(&r->out, (struct update){.type = UPD_SAVE_EPOCH, .epoch = o->epoch});
        break;
    case ZAB_LOG_APPEND:
        core_append(r, o);
        break;
    case ZAB_LOG_TRUNCATE:
        out_job(&r->out, (struct update){.type = UPD_LOG_TRUNCATE, .zxid = o->zxid});
        break;
    case ZAB_LOG_READ:
        out_job(&r->out, (struct update){.type = UPD_LOG_READ, .peer = o->peer, .zxid = o->zxid});
        break;
    case ZAB_COMMIT:
        core_commit(r, o);
        break;
    case ZAB_ROLE:
        role_changed(r, o->role, o->peer, o->epoch);
        break;
    case ZAB_SERVE:
        role_serve(r, o->epoch);
        break;
    case ZAB_SNAP_SEND:
    case ZAB_SNAP_STOP:
    case ZAB_SNAP_BEGIN:
    case ZAB_SNAP_CHUNK:
    case ZAB_SNAP_END:
    case ZAB_SNAP_ABANDON:
        snap_flow_output(r, o);
        break;
    case ZAB_APP:
        role_app(r, o->peer, o->payload);
        break;
    case ZAB_NOTE:
        core_note(r, o);
        break;
    case ZAB_WHOLE:
        r->lossy = false;
        out_job(&r->out, (struct update){.type = UPD_SAVE_WHOLE});
        break;
    case ZAB_FATAL:
        core_stop(r, "%s zxid=0x%llx", o->text, (unsigned long long)o->zxid);
        break;
    }
}

void core_pump(struct replica *r) {
    struct zab_output o;
    while (!r->stopped && zab_next(r->zab, &o))
        carry_out(r, &o);
    if (!r->stopped)
        sync_run(r);
}
