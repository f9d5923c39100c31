#include "replica/server/role.h"
#include "common/mutant.h"

#include "replica/proto/peer_codec.h"
#include "replica/server/connect.h"
#include "replica/server/container.h"
#include "replica/server/digest.h"
#include "replica/server/forward.h"
#include "replica/server/learners.h"
#include "replica/server/order.h"
#include "replica/server/peer.h"
#include "replica/server/read_only.h"
#include "replica/server/snap_flow.h"
#include "replica/server/sync.h"
#include "replica/server/touch.h"

/* A read between two writes of its session is answered between them, and so also while this server
 * applies what is left of a history before it serves again. */
bool role_reads(const struct replica *r, const struct conn *c) {
    return r->serving || r->answering || c->read_only;
}

/* A quarter of the shortest timeout that a session may have: who waits longer loses too much of it,
 * and may find a better server. */
int64_t role_hold_ms(const struct replica *r) { return r->config.min_session_timeout_ms / 4; }

bool role_holds(const struct replica *r) {
    return r->hold_until_ms > 0 && r->mono_ms < r->hold_until_ms;
}

static void close_clients(struct replica *r, const char *why) {
    while (r->conns.all)
        core_close_conn(r, r->conns.all, "%s", why);
}

/* What only a serving leader knows is forgotten: the overlay of what is in flight, who is connected
 * where, and when a session expires. */
static void lead_end(struct replica *r) {
    core_forget_inflight(r);
    learners_forget_all(r);
    snap_flow_stop_all(r);
    pending_free(r->pending);
    r->pending = pending_new(r->tree);
    for (struct session *s = r->sessions.all, *next; s; s = next) {
        next = s->next;
        expiry_forget(&r->sessions, s);
        s->proposed = s->closing = s->has_owner = false;
        if (!s->committed && !s->conn)
            session_remove(&r->sessions, s);
    }
    r->leading = false;
}

static void role_down(struct replica *r) {
    bool served = r->serving || r->leading;
    r->up = false;
    r->serving = false;
    r->down_ms = r->mono_ms;
    r->hold_until_ms = r->mono_ms + role_hold_ms(r);
    r->barrier = 0;
    r->touch_ms = INT64_MAX;
    lead_end(r);
    order_hold_all(r);
    if (served)
        out_text(&r->out, UPD_NOTE, 0, LOG_WARN,
                 "this replica does not serve any more, until it has a leader clients=%llu",
                 (unsigned long long)r->conns.count);
}

void role_changed(struct replica *r, enum zab_role role, uint8_t leader, uint32_t epoch) {
    (void)epoch; /* ZAB_SERVE's counts */
    if (r->up)
        role_down(r);
    else
        learners_forget_all(r);
    r->role = role;
    r->leader = leader;
}

/* Every session gets its whole timeout again, for nobody could tell this server of it before. */
static void lead_begin(struct replica *r) {
    r->leading = true;
    r->led_ms = r->mono_ms;
    container_begin(r);
    for (struct session *s = r->sessions.all; s; s = s->next) {
        pending_load_owner(r->pending, s->id);
        int32_t timeout_ms = s->timeout_ms;
        if (MUTANT(NEW_LEADER_EXPIRES))
            s->timeout_ms = 1;
        if (s->committed)
            expiry_touch(&r->sessions, s);
        s->timeout_ms = timeout_ms;
        s->has_owner = s->conn != NULL && s->conn->state == CONN_LIVE;
        s->owner = r->config.server_id;
    }
}

/* What was sent to a leader that was lost and found again may be in flight there, in its epoch or
 * in one that it began in place meanwhile: behind its answer to a sync everything that it knows of
 * is applied here, and has answered its request. */
static void learn_begin(struct replica *r) {
    if (r->held && !MUTANT(RESEND_WITHOUT_ASKING))
        (void)sync_begin_barrier(r);
    touch_begin(r);
}

static const char *role_text(const struct replica *r) {
    switch (r->role) {
    case ZAB_LEADING:
        return "leads";
    case ZAB_FOLLOWING:
        return "follows";
    case ZAB_OBSERVING:
        return "observes";
    case ZAB_LOOKING:
        break;
    }
    return "looks for a leader";
}

/* From here on clients are served. */
static void begin_serving(struct replica *r, uint32_t epoch) {
    bool leads = r->role == ZAB_LEADING;
    r->hold_until_ms = 0;
    sessions_begin_ids(&r->sessions, r->wall_ms);
    read_only_end(r);
    if (leads)
        lead_begin(r);
    r->serving = !leads || r->config.leader_serves || r->config.ensemble.count == 1;
    if (!r->serving)
        close_clients(r, "this replica leads, and leaderServes=no: another one has to be tried");
    if (!leads)
        learn_begin(r);
    out_text(&r->out, UPD_NOTE, 0, LOG_INFO,
             "this replica %s leader=%u epoch=%u sessions=%llu znodes=%llu", role_text(r),
             r->leader, epoch, (unsigned long long)r->sessions.count,
             (unsigned long long)tree_znode_count(r->tree));
    forward_release(r);
    connect_waiting(r);
    order_run_all(r);
}

static void propose_secret(struct replica *r) {
    struct txn *t = txn_new(TXN_ENSEMBLE, 0);
    t->secret = blob_new(r->random, SESSION_SECRET_BYTES);
    core_propose(r, t);
}

void role_serve(struct replica *r, uint32_t epoch) {
    r->up_epoch = epoch;
    if (r->leading || r->serving) {
        /* The leader has begun its next epoch in place: everything under way goes on. */
        forward_release(r);
        return;
    }
    if (r->sessions.has_secret) {
        r->up = true;
        begin_serving(r, epoch);
    } else if (!r->up) {
        r->up = true;
        if (r->role == ZAB_LEADING)
            propose_secret(r);
    }
}

void role_secret_known(struct replica *r) {
    if (r->up && !r->leading && !r->serving)
        begin_serving(r, r->up_epoch);
}

void role_replaced(struct replica *r) {
    close_clients(r, "this replica was brought up to date by a snapshot: watches may have missed "
                     "events");
}

/* The leader knows nothing of the session that c came back with. */
static void session_refused(struct replica *r, conn_id_t conn) {
    struct conn *c = conn_find(&r->conns, conn);
    struct request *q = c ? c->first : NULL;
    if (q && q->kind == REQUEST_RECONNECT && q->state == REQUEST_SENT)
        connect_refuse(r, c, "the session has expired");
}

static void leader_message(struct replica *r, uint8_t peer, struct blob *payload) {
    struct app_msg m;
    struct app_memory *memory;
    if (!app_decode(blob_slice(payload), &m, &memory)) {
        peer_cut(r, peer, "a message of the servers that is malformed");
        return;
    }
    if (m.type == APP_SYNCED)
        sync_answered(r, m.tag);
    else if (m.type == APP_REVALIDATED && !m.ok)
        session_refused(r, m.tag);
    else if (!digest_message(r, &m))
        peer_cut(r, peer, "a message that a leader does not send");
    app_close(memory);
}

void role_app(struct replica *r, uint8_t peer, struct blob *payload) {
    if (!payload)
        return;
    (void)blob_ref(payload);
    /* A learner may be up before its leader, whose own disk is slow: what it asks for waits. Else
     * what comes for a role that is over is of no use any more. */
    if (r->role == ZAB_LEADING)
        learners_message(r, peer, payload);
    else if (r->up && peer == r->leader)
        leader_message(r, peer, payload);
    blob_unref(payload);
}

void role_timers(struct replica *r) {
    if (r->up || r->hold_until_ms == 0 || role_holds(r))
        return;
    r->hold_until_ms = 0;
    connect_waiting(r); /* some may take a read-only replica */
    for (struct conn *c = r->conns.all, *next; c; c = next) {
        next = c->next;
        if (!c->read_only)
            core_close_conn(r, c, "there is no leader: another replica has to be tried");
    }
}

int64_t role_deadline(const struct replica *r) {
    return !r->up && r->hold_until_ms > 0 ? r->hold_until_ms : INT64_MAX;
}
