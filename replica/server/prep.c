#include "replica/server/prep.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"

struct txn *prep_error(enum zk_err err) {
    struct txn *t = txn_new(TXN_ERROR, 0);
    t->err = err;
    return t;
}

static struct txn *prep_single(struct prep *p, int32_t opcode, struct slice body) {
    union prep_record rec;
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    if (!prep_decode(&c, opcode, &rec))
        return prep_error(ZK_MARSHALLINGERROR);
    struct txn *t = txn_new(TXN_OPS, 1);
    enum zk_err err = prep_op(p, opcode, &rec, &t->ops[0]);
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

static void prep_own(struct session *s, uint8_t owner) {
    s->has_owner = true;
    s->owner = owner;
}

/* A new session is known from here on, so that what its client sends next can be prepared. */
static void prep_create_session(struct replica *r, const struct demand *d) {
    struct session *s = session_find(&r->sessions, d->session_id);
    if (!s)
        s = session_add(&r->sessions, d->session_id, d->timeout_ms);
    if (s->proposed || s->committed)
        return; /* the number is taken: whoever asks knows no password of it */
    s->proposed = true;
    prep_own(s, d->from);
    expiry_touch(&r->sessions, s);
    struct txn *t = txn_new(TXN_CREATE_SESSION, 0);
    t->session_id = s->id;
    t->timeout_ms = d->timeout_ms;
    t->retries = d->retries;
    pending_begin(r->pending);
    core_propose(r, t);
}

/* A session that is there, or will be when all that is proposed is. */
static bool session_lives(const struct session *s) {
    return s && (s->proposed || s->committed) && !s->closing;
}

bool prep_reconnect(struct replica *r, const struct demand *d) {
    CHECK(zab_ready(r->zab));
    struct session *s = session_find(&r->sessions, d->session_id);
    if (!session_lives(s))
        return false;
    prep_own(s, d->from);
    expiry_touch(&r->sessions, s);
    struct txn *t = txn_new(TXN_CREATE_SESSION, 0);
    t->session_id = s->id;
    t->cxid = d->cxid;
    t->timeout_ms = d->timeout_ms;
    t->retries = s->retries;
    pending_begin(r->pending);
    core_propose(r, t);
    return true;
}

static struct txn *prep_txn(struct replica *r, const struct demand *d, struct session *s) {
    struct prep p = {.r = r,
                     .ids = d->ids,
                     .auth_count = d->auth_count,
                     .session = s,
                     .zxid = zab_next_zxid(r->zab)};
    if (!session_lives(s))
        return prep_error(ZK_SESSIONEXPIRED);
    if (d->opcode == OP_MULTI)
        return prep_multi(&p, d->body);
    if (d->opcode == OP_RECONFIG)
        return prep_reconfig(d->body);
    return prep_single(&p, d->opcode, d->body);
}

void prep_demand(struct replica *r, const struct demand *d) {
    CHECK(zab_ready(r->zab));
    if (d->opcode == OP_CREATE_SESSION) {
        if (d->session_id != 0)
            prep_create_session(r, d);
        return;
    }
    struct session *s = session_find(&r->sessions, d->session_id);
    if (s && s->has_owner && s->owner != d->from && !MUTANT(MOVED_NOT_REFUSED))
        return;
    if (session_lives(s) && !s->has_owner)
        prep_own(s, d->from);
    if (d->opcode == OP_CLOSE_SESSION && session_lives(s)) {
        prep_close_session(r, s, d->cxid);
        return;
    }
    pending_begin(r->pending);
    struct txn *t = prep_txn(r, d, s);
    t->session_id = d->session_id;
    t->cxid = d->cxid;
    core_propose(r, t);
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

void prep_close_session(struct replica *r, struct session *s, int32_t cxid) {
    CHECK(!s->closing);
    struct path_list l = {0};
    pending_owned(r->pending, s->id, path_list_add, &l);
    if (MUTANT(EPHEMERALS_STAY) && l.count > 0)
        blob_unref(l.paths[--l.count]);
    zxid_t zxid = zab_next_zxid(r->zab);
    struct txn *t = txn_new(TXN_CLOSE_SESSION, l.count);
    t->session_id = s->id;
    t->cxid = cxid;
    pending_begin(r->pending);
    for (uint32_t i = 0; i < l.count; i++) {
        t->ops[i].type = TXN_OP_DELETE;
        t->ops[i].path = l.paths[i];
        pending_delete(r->pending, blob_slice(l.paths[i]), zxid);
    }
    mem_free(l.paths);
    s->closing = true;
    expiry_forget(&r->sessions, s);
    core_propose(r, t);
}
