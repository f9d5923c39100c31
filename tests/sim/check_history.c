/* The one history: what anybody applies first defines it, everybody else has to apply the same. */
#include "tests/sim/check_state.h"

#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "replica/server/core.h"
#include "replica/tree/tree_digest.h"
#include "tests/sim/sim_client.h"

#include <string.h>

struct check *check_new(struct world *w) {
    struct check *k = mem_zalloc(sizeof *k);
    k->w = w;
    k->model = model_new();
    return k;
}

void check_free(struct check *k) {
    if (!k)
        return;
    model_free(k->model);
    mem_free(k->history);
    mem_free(k->leaders);
    mem_free(k->sessions);
    mem_free(k);
}

size_t check_next_of(const struct check *k, zxid_t zxid) {
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (k->history[mid].record.zxid <= zxid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct check_entry *entry_at(const struct check *k, zxid_t zxid) {
    size_t n = check_next_of(k, zxid);
    return n > 0 && k->history[n - 1].record.zxid == zxid ? &k->history[n - 1] : NULL;
}

const struct check_record *check_entry_at(const struct check *k, zxid_t zxid) {
    const struct check_entry *e = entry_at(k, zxid);
    return e ? &e->record : NULL;
}

struct sim_op *check_entry_op(const struct check *k, zxid_t zxid, int32_t *ret_err) {
    const struct check_entry *e = entry_at(k, zxid);
    if (!e)
        return NULL;
    *ret_err = e->err;
    return e->op;
}

zxid_t check_committed(const struct check *k) {
    return k->count > 0 ? k->history[k->count - 1].record.zxid : 0;
}

uint64_t check_commits(const struct check *k) { return k->count; }

/* ---- the model goes on with each transaction ---- */

static bool same_result(struct world *w, const struct sim_op *op, const struct txn *t) {
    if (t->op_count != op->result_count)
        return false;
    for (uint32_t i = 0; i < t->op_count; i++) {
        const struct check_result *r = &op->results[i];
        const struct model_path *p = model_path(w->check->model, r->path);
        if (!slice_equal_str(blob_slice(t->ops[i].path), p->name))
            return false;
        const struct model_version *v = p->count > r->version ? &p->versions[r->version] : NULL;
        if (t->ops[i].type == TXN_OP_CREATE && (!v || v->owner != t->ops[i].owner))
            return false;
        if (t->ops[i].type == TXN_OP_SET_DATA && (!v || v->version != t->ops[i].version))
            return false;
        if (t->ops[i].type == TXN_OP_SET_ACL && (!v || v->aversion != t->ops[i].version))
            return false;
    }
    return true;
}

static void compare(struct world *w, const struct txn *t, const struct sim_op *op, int32_t err,
                    uint32_t failed) {
    bool refused = t->type == TXN_ERROR;
    if (err == ZK_OK && !refused && same_result(w, op, t))
        return;
    if (err != ZK_OK && refused && t->err == err && (!t->multi || t->error_index == failed))
        return;
    world_fail(w,
               "transaction %u.%u (client's operation %llu, %s) has another result than the model: "
               "type %d error %d at %u, expected error %d at %u",
               zxid_epoch(t->zxid), zxid_counter(t->zxid), (unsigned long long)op->token,
               opcode_find(op->opcode)->name, t->type, t->err, t->error_index, err, failed);
}

/* A client's write: once only, in the order in which it was sent, with the model's result. */
static void model_write(struct world *w, struct check_entry *e, const struct txn *t) {
    struct sim_client *c = check_session_client(w, t->session_id);
    struct sim_op *op = c ? client_op_of_cxid(c, t->session_id, t->cxid) : NULL;
    bool expired = t->type == TXN_ERROR && t->err == ZK_SESSIONEXPIRED;
    if (expired && !check_session_alive(w->check, t->session_id))
        return; /* late: not done, and not counted */
    if (!op || (opcode_find(op->opcode)->flags & OPF_WRITE) == 0) {
        world_fail(w, "transaction %u.%u comes from nobody: session %llx cxid %d",
                   zxid_epoch(t->zxid), zxid_counter(t->zxid), (unsigned long long)t->session_id,
                   t->cxid);
        return;
    }
    if (op->committed != 0)
        world_fail(w, "operation %llu of client %u is done twice, by %u.%u and %u.%u",
                   (unsigned long long)op->token, c->index, zxid_epoch(op->committed),
                   zxid_counter(op->committed), zxid_epoch(t->zxid), zxid_counter(t->zxid));
    op->committed = t->zxid;
    e->op = op;
    e->err = t->type == TXN_ERROR ? t->err : ZK_OK;
    if (op->floor > t->zxid)
        world_fail(w, "operation %llu of client %u stands before what was acknowledged before it",
                   (unsigned long long)op->token, c->index);
    if (t->type == TXN_ERROR && t->err == ZK_SESSIONMOVED)
        return;
    if (!check_session_alive(w->check, t->session_id)) {
        if (!expired)
            world_fail(w, "transaction %u.%u is of a session that is closed", zxid_epoch(t->zxid),
                       zxid_counter(t->zxid));
        return;
    }
    check_session_order(w, t);
    uint32_t failed = 0;
    struct model_change_of by = {t->zxid, t->session_id, t->time_ms};
    int32_t err = model_do(w->check->model, op, &by, &failed);
    compare(w, t, op, err, failed);
}

/* The service's own. */
static void model_own_write(struct world *w, const struct txn *t) {
    if (!w->plan.extended ||
        !model_delete_extended(w->check->model, t, w->plan.container_never_used_ms))
        world_fail(w, "transaction %u.%u deletes no container or TTL znode that is due",
                   zxid_epoch(t->zxid), zxid_counter(t->zxid));
}

static void model_txn(struct world *w, struct check_entry *e, struct slice payload) {
    struct txn *t = txn_decode(payload, e->record.zxid);
    if (!t) {
        world_fail(w, "what was committed as %u.%u is no transaction", zxid_epoch(e->record.zxid),
                   zxid_counter(e->record.zxid));
        return;
    }
    switch (t->type) {
    case TXN_OPS:
    case TXN_ERROR:
        if (t->session_id == 0)
            model_own_write(w, t);
        else
            model_write(w, e, t);
        break;
    case TXN_CLOSE_SESSION:
        if (check_session_alive(w->check, t->session_id) &&
            !model_close_session(w->check->model, t))
            world_fail(w, "the end of session %llx leaves other ephemerals than its own",
                       (unsigned long long)t->session_id);
        check_session_txn(w, t);
        break;
    case TXN_CREATE_SESSION:
    case TXN_ENSEMBLE:
        check_session_txn(w, t);
        break;
    }
    txn_free(t);
}

/* ---- commits ---- */

static bool durable_on_quorum(struct world *w, const struct check_record *r) {
    struct quorum_set have = {{0}};
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct check_host *h = &w->hosts[i].check;
        if (!w->hosts[i].voter || (!check_host_has(h, r) && r->zxid > h->lost))
            continue;
        quorum_add(&have, w->hosts[i].id);
        count++;
    }
    struct quorum_config all = {w->servers, w->host_count};
    return w->plan.uneven ? quorum_holds(&all, &have) : count > w->plan.voters / 2;
}

static struct check_entry *extend(struct sim_host *m, const struct check_record *r) {
    struct world *w = m->w;
    struct check *k = w->check;
    zxid_t last = check_committed(k);
    if (!check_follows(r->zxid, last))
        world_fail(w, "server %u applies %u.%u behind %u.%u", m->id, zxid_epoch(r->zxid),
                   zxid_counter(r->zxid), zxid_epoch(last), zxid_counter(last));
    if (!durable_on_quorum(w, r))
        world_fail(w, "server %u applies %u.%u, which is durable on no quorum", m->id,
                   zxid_epoch(r->zxid), zxid_counter(r->zxid));
    if (k->count == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 256;
        k->history = mem_realloc(k->history, k->cap * sizeof *k->history);
    }
    struct check_entry *e = &k->history[k->count++];
    *e = (struct check_entry){.record = *r};
    return e;
}

static void defer(struct check_host *h, const struct zab_output *o, const struct check_record *r) {
    if (h->deferred_count == h->deferred_cap) {
        h->deferred_cap = h->deferred_cap ? 2 * h->deferred_cap : 16;
        h->deferred = mem_realloc(h->deferred, h->deferred_cap * sizeof *h->deferred);
    }
    h->deferred[h->deferred_count++] = (struct check_deferred){o->kind, *r, blob_ref(o->payload)};
}

void check_deferred_apply(struct sim_host *m) {
    struct world *w = m->w;
    const struct check_host *h = &m->check;
    for (size_t i = 0; i < h->deferred_count && !w->failed; i++) {
        const struct check_deferred *d = &h->deferred[i];
        struct check_entry *e = extend(m, &d->record);
        if (d->kind == ZAB_TXN && !w->failed)
            model_txn(w, e, blob_slice(d->payload));
    }
}

static void commits(struct sim_host *m, const struct zab_output *o) {
    struct world *w = m->w;
    struct check *k = w->check;
    struct check_host *h = &m->check;
    struct slice payload = o->payload ? blob_slice(o->payload) : (struct slice){NULL, 0};
    struct check_record r = {o->zxid, check_hash(o->zxid, payload), payload.len};
    world_trace(w, m->id, r.hash);
    if (!check_host_has(h, &r))
        world_fail(w, "server %u applies %u.%u, which its own disk does not have", m->id,
                   zxid_epoch(r.zxid), zxid_counter(r.zxid));
    if (h->next < k->count) {
        const struct check_record *have = &k->history[h->next].record;
        if (have->zxid != r.zxid || have->hash != r.hash)
            world_fail(w, "server %u applies %u.%u where the history has %u.%u%s", m->id,
                       zxid_epoch(r.zxid), zxid_counter(r.zxid), zxid_epoch(have->zxid),
                       zxid_counter(have->zxid), have->zxid == r.zxid ? ", with other bytes" : "");
    } else if (h->recovering) {
        defer(h, o, &r);
    } else {
        struct check_entry *e = extend(m, &r);
        if (o->kind == ZAB_TXN && !w->failed)
            model_txn(w, e, payload);
    }
    h->next++;
    h->disk.since++;
    h->applied = r.zxid;
    h->digest_due = o->kind == ZAB_TXN ? r.zxid : 0;
}

void check_applied(struct sim_host *m) {
    struct world *w = m->w;
    struct check_host *h = &m->check;
    zxid_t due = h->digest_due;
    if (due == 0 || !m->core || w->failed)
        return;
    h->digest_due = 0;
    if (m->core->stopped)
        return;
    zxid_t last = tree_last_zxid(m->core->tree);
    if (last != due) {
        world_fail(w, "server %u was given %u.%u and its tree is at %u.%u", m->id, zxid_epoch(due),
                   zxid_counter(due), zxid_epoch(last), zxid_counter(last));
        return;
    }
    if (due < h->exact_from)
        return;
    struct check_entry *e = entry_at(w->check, due);
    if (!e)
        return; /* deferred */
    uint64_t digest = tree_digest(m->core->tree);
    if (!e->has_digest) {
        e->has_digest = true;
        e->digest = digest;
    } else if (e->digest != digest) {
        world_fail(w, "server %u has another tree at %u.%u", m->id, zxid_epoch(due),
                   zxid_counter(due));
    }
}

void check_loaded(struct sim_host *m, zxid_t zxid) {
    struct world *w = m->w;
    size_t n = check_next_of(w->check, zxid);
    if (n == 0 || w->check->history[n - 1].record.zxid != zxid) {
        world_fail(w, "server %u finds a snapshot of %u.%u, which nobody has committed", m->id,
                   zxid_epoch(zxid), zxid_counter(zxid));
        return;
    }
    /* The beginning of an epoch changes nothing. */
    while (n > 1 && zxid_counter(w->check->history[n - 1].record.zxid) == 0)
        n--;
    const struct check_entry *e = &w->check->history[n - 1];
    if (m->core->stopped || tree_last_zxid(m->core->tree) != zxid)
        return; /* it has refused it */
    if (e->has_digest && e->digest != tree_digest(m->core->tree))
        world_fail(w, "server %u finds another tree in its snapshot of %u.%u", m->id,
                   zxid_epoch(zxid), zxid_counter(zxid));
}

/* ---- leaders ---- */

static void leads(struct sim_host *m, uint32_t epoch) {
    struct world *w = m->w;
    struct check *k = w->check;
    if (epoch >= k->leader_cap) {
        uint32_t cap = 2 * epoch + 16;
        k->leaders = mem_realloc(k->leaders, cap);
        memset(k->leaders + k->leader_cap, 0, cap - k->leader_cap);
        k->leader_cap = cap;
    }
    if (k->leaders[epoch] != 0 && k->leaders[epoch] != m->id)
        world_fail(w, "servers %u and %u both lead epoch %u", k->leaders[epoch], m->id, epoch);
    k->leaders[epoch] = m->id;
    /* Its quorum's word may come late, when a later leader has committed more: it can commit
     * nothing any more. */
    size_t n = check_next_of(k, zxid_make(epoch + 1, 0) - 1);
    const struct check_record *last = n > 0 ? &k->history[n - 1].record : NULL;
    if (last && !check_host_has(&m->check, last))
        world_fail(w, "server %u leads epoch %u and lacks %u.%u, which is committed", m->id, epoch,
                   zxid_epoch(last->zxid), zxid_counter(last->zxid));
}

static void serves(struct sim_host *m, uint32_t epoch) {
    SAY(m->w, "%u serves in epoch %u, as %s", m->id, epoch,
        m->role == ZAB_LEADING     ? "leader"
        : m->role == ZAB_FOLLOWING ? "follower"
                                   : "observer");
    if (m->check.applied < zxid_make(epoch, 0))
        world_fail(m->w, "server %u serves in epoch %u and has applied only %u.%u", m->id, epoch,
                   zxid_epoch(m->check.applied), zxid_counter(m->check.applied));
    else if (m->role == ZAB_LEADING)
        leads(m, epoch);
    else if (m->check.applied < m->check.uptodate)
        world_fail(m->w, "server %u serves and has applied %u.%u; it was told of %u.%u", m->id,
                   zxid_epoch(m->check.applied), zxid_counter(m->check.applied),
                   zxid_epoch(m->check.uptodate), zxid_counter(m->check.uptodate));
    if (!m->serving) /* else an epoch that began in place */
        m->check.serving_us = m->w->now_us;
    m->serving = true;
    m->check.serving_epoch = epoch;
    fault_trigger(m, MOMENT_SERVE);
}

void check_output(struct sim_host *m, const struct zab_output *o) {
    switch (o->type) {
    case ZAB_COMMIT:
        commits(m, o);
        break;
    case ZAB_ROLE:
        SAY(m->w, "%u is %s, leader %u, epoch %u", m->id,
            o->role == ZAB_LOOKING     ? "looking"
            : o->role == ZAB_LEADING   ? "leading"
            : o->role == ZAB_FOLLOWING ? "following"
                                       : "observing",
            o->peer, o->epoch);
        m->role = o->role;
        m->serving = false;
        if (o->role == ZAB_LEADING)
            fault_trigger(m, MOMENT_LEADING);
        break;
    case ZAB_SERVE:
        serves(m, o->epoch);
        break;
    case ZAB_SEND:
        if (o->msg->type == ZM_SYNC)
            fault_trigger(m, MOMENT_SYNC);
        if (o->msg->type == ZM_UPTODATE && host_by_id(m->w, o->peer))
            host_by_id(m->w, o->peer)->check.uptodate = o->msg->zxid;
        break;
    default:
        break;
    }
}
