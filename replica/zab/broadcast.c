/* Broadcast, phase 3 of Zab (DSN'11, section V-C), the leader's side: propose in order, commit in
 * order with a quorum of acknowledgements; heartbeats, and what they prove. */
#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

#include <string.h>

/* ---- The role ---- */

void broadcast_begin(struct zab *z) {
    memset(z->acked, 0, sizeof z->acked);
    memset(z->heard, 0, sizeof z->heard);
    memset(z->pongs, 0, sizeof z->pongs);
    z->acked[z->config.self] = z->history.durable;
    z->heard[z->config.self] = INT64_MAX;
    z->pongs[z->config.self] = INT64_MAX;
    z->heard_due_ms = z->peer_due_ms = z->now_ms + z->config.silence_ms;
    z->ping_ms = z->now_ms;
    z->ping_all_round = z->ping_round;
    z->serve_due = false;
    z->commit_dirty = z->snap_waits = false;
    z->marker_floor = z->marker_passed = z->marker_last;
}

/* Markers of this leadership never pass from here on. */
void broadcast_leave(struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++)
        sync_detach(z, &z->peers[i]);
    z->marker_first = z->marker_count = 0;
    z->commit_dirty = z->snap_waits = z->serve_due = false;
}

/* ---- Proposals and commits ---- */

bool zab_ready(const struct zab *z) {
    return z->role == ZAB_LEADING && z->serving && z->lead_phase == LEAD_BROADCAST &&
           !z->serve_due && !z->dead && !handover_waits(z) &&
           zxid_counter(z->history.last) < z->config.counter_limit &&
           history_held(&z->history) < z->config.inflight_max &&
           z->history.held_bytes < z->config.inflight_bytes_max;
}

zxid_t zab_next_zxid(const struct zab *z) { return z->history.last + 1; }

/* l.3.1: to the own log and, R9, to every learner whose synchronisation has come that far. */
zxid_t zab_propose(struct zab *z, struct blob *take_payload) {
    CHECK(zab_ready(z));
    zxid_t zxid = z->history.last + 1;
    zab_append(z, zxid, take_payload);
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (!z->peers[i].observer)
            sync_pump(z, &z->peers[i]);
    return zxid;
}

/* It serves when it has (e,0), so the whole history before it as well; and from then on it hears
 * all commits. */
static void check_uptodate(struct zab *z, struct learner *l) {
    if (z->lead_phase != LEAD_BROADCAST || l->uptodate || l->state != LEARNER_STREAM ||
        l->acked < z->epoch_start)
        return;
    l->uptodate = true;
    out_send(z, l->id, ZM_UPTODATE)->zxid = z->history.committed;
    l->commit_sent = zab_max(l->commit_sent, z->history.committed);
}

/* l.2.2, R10, Z4: a quorum has acknowledged NEWLEADER. */
static void establish(struct zab *z) {
    z->lead_phase = LEAD_BROADCAST;
    z->serve_due = true;
    z->progress_ms = z->now_ms;
    for (uint32_t i = 0; i < z->peer_count; i++)
        check_uptodate(z, &z->peers[i]);
}

/* l.3.2, Z3: committed is what a quorum has made durable. Records of earlier epochs never by
 * themselves, only together with this epoch's first (their leader's quorum is not this one's). */
void broadcast_acked(struct zab *z) {
    if (!z->observer)
        z->acked[z->config.self] =
            MUTANT(LEADER_ACKS_UNDURABLE) ? z->history.last : z->history.durable;
    zxid_t acked = z->alone ? z->history.durable : quorum_acked(&z->config.quorum, z->acked);
    if (MUTANT(COMMIT_WITH_MINORITY))
        acked = z->history.durable;
    if (MUTANT(SERVE_BEFORE_QUORUM) && z->lead_phase == LEAD_SYNC)
        establish(z);
    if (z->epoch_start == 0 || acked < z->epoch_start)
        return;
    if (acked > z->history.committed) {
        z->history.committed = acked;
        z->commit_dirty = true;
    }
    if (z->lead_phase == LEAD_SYNC)
        establish(z);
    lossy_settle(z);
}

/* All up to zxid is durable at the learner. */
void broadcast_durable(struct zab *z, struct learner *l, zxid_t zxid) {
    l->acked = zxid;
    z->progress_ms = z->now_ms;
    learner_window_acked(&l->window, zxid);
    if (!l->observer) {
        z->acked[l->id] = zxid;
        broadcast_acked(z);
    }
    check_uptodate(z, l);
    sync_pump(z, l);
}

/* Cumulative. What was not sent cannot be acknowledged. */
void broadcast_ack(struct zab *z, struct learner *l, zxid_t zxid) {
    if (zxid > l->sent)
        zab_drop(z, l, "an acknowledgement of what was not sent");
    else if (zxid > l->acked)
        broadcast_durable(z, l, zxid);
}

/* l.3.2, f.3.2: one COMMIT says all that came together; none says more than its learner has got.
 * Observers get the records themselves. */
void broadcast_flush_commits(struct zab *z) {
    z->commit_dirty = false;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        if (l->state != LEARNER_STREAM)
            continue;
        if (l->observer) {
            sync_pump(z, l);
            continue;
        }
        zxid_t zxid = zab_min(z->history.committed, l->sent);
        if (zxid <= l->commit_sent)
            continue;
        out_send(z, l->id, ZM_COMMIT)->zxid = zxid;
        l->commit_sent = zxid;
    }
}

/* ---- Heartbeats ---- */

static void send_ping(struct zab *z, struct learner *l) {
    struct zab_out *o = out_send(z, l->id, ZM_PING);
    o->round = z->ping_round;
    if (l->state == LEARNER_STREAM)
        o->zxid = zab_min(z->history.committed, l->sent);
    if (l->snap_streaming && l->snap_ping_round == 0) {
        l->snap_ping_round = z->ping_round;
        l->snap_ping_sent = l->snap_sent;
    }
}

void broadcast_ping(struct zab *z) {
    z->ping_round++;
    z->ping_all_round = z->ping_round;
    z->ping_ms = z->now_ms;
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (z->peers[i].state != LEARNER_NONE)
            send_ping(z, &z->peers[i]);
}

void broadcast_ping_one(struct zab *z, struct learner *l) {
    z->ping_round++;
    send_ping(z, l);
}

void broadcast_heard(struct zab *z, struct learner *l) {
    z->heard[l->id] = z->now_ms - z->role_ms + 1;
}

static bool any_attached(const struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (z->peers[i].state != LEARNER_NONE)
            return true;
    return false;
}

/* The first one starts the clocks, which stood still. */
void broadcast_attach(struct zab *z, struct learner *l) {
    if (!any_attached(z)) {
        z->ping_ms = z->now_ms;
        z->peer_due_ms = z->now_ms + z->config.silence_ms;
    }
    l->state = LEARNER_INFO;
    broadcast_heard(z, l);
}

/* When a quorum was heard last: each of it not before then. */
static int64_t quorum_heard(const struct zab *z) {
    int64_t heard = z->alone ? INT64_MAX : quorum_acked(&z->config.quorum, z->heard);
    if (heard == INT64_MAX)
        return z->now_ms;
    return heard == 0 ? z->role_ms : z->role_ms + heard - 1;
}

static int64_t peer_silent_at(const struct zab *z, const struct learner *l) {
    return zab_max(l->heard_ms, z->role_ms) + z->config.silence_ms;
}

static void drop_silent(struct zab *z) {
    z->peer_due_ms = z->now_ms + z->config.silence_ms;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        if (l->state == LEARNER_NONE)
            continue;
        if (z->now_ms >= peer_silent_at(z, l))
            zab_drop(z, l, "a learner has said nothing for too long");
        else
            z->peer_due_ms = zab_min(z->peer_due_ms, peer_silent_at(z, l));
    }
}

/* Z6, R10. First of all: one that was frozen finds out here that it has not heard a quorum, before
 * it takes a message that lay waiting for its word of now. */
void broadcast_clock(struct zab *z) {
    if (!z->alone && z->now_ms >= z->heard_due_ms) {
        z->heard_due_ms = quorum_heard(z) + z->config.silence_ms;
        if (z->now_ms >= z->heard_due_ms) {
            zab_look(z, "no quorum has been heard for too long");
            return;
        }
    }
    if (!z->alone && z->lead_phase != LEAD_BROADCAST &&
        z->now_ms - z->progress_ms >= z->config.init_ms) {
        zab_look(z, "no quorum could be brought to this leader's history in time");
        return;
    }
    if (z->now_ms >= z->peer_due_ms)
        drop_silent(z);
    if (z->now_ms - z->ping_ms >= z->config.heartbeat_ms && any_attached(z))
        broadcast_ping(z);
}

int64_t broadcast_deadline(const struct zab *z) {
    int64_t due = INT64_MAX;
    if (!z->alone) {
        due = z->heard_due_ms;
        if (z->lead_phase != LEAD_BROADCAST)
            due = zab_min(due, z->progress_ms + z->config.init_ms);
    }
    if (any_attached(z)) {
        due = zab_min(due, z->ping_ms + z->config.heartbeat_ms);
        due = zab_min(due, z->peer_due_ms);
    }
    return due;
}

/* ---- Sync markers ---- */

static struct zab_marker_wait *marker_at(const struct zab *z, uint32_t index) {
    return &z->markers[(z->marker_first + index) & (z->marker_cap - 1)];
}

static void marker_push(struct zab *z, zxid_t zxid, uint64_t round) {
    if (z->marker_count == z->marker_cap) {
        uint32_t cap = z->marker_cap ? z->marker_cap * 2 : 16;
        struct zab_marker_wait *ring = mem_alloc(cap * sizeof *ring);
        for (uint32_t i = 0; i < z->marker_count; i++)
            ring[i] = *marker_at(z, i);
        mem_free(z->markers);
        z->markers = ring;
        z->marker_first = 0;
        z->marker_cap = cap;
    }
    *marker_at(z, z->marker_count++) = (struct zab_marker_wait){++z->marker_last, zxid, round};
}

/* Rounds confirmed by a quorum. Each PONG was sent by one that had promised this epoch and followed
 * this server then: so nobody led a later epoch when the round began (Z6, S28). */
static uint64_t confirmed_round(const struct zab *z) {
    return z->alone ? UINT64_MAX : (uint64_t)quorum_acked(&z->config.quorum, z->pongs);
}

static void markers_pass(struct zab *z) {
    if (z->marker_count == 0)
        return;
    uint64_t confirmed = confirmed_round(z);
    while (z->marker_count > 0) {
        const struct zab_marker_wait *m = marker_at(z, 0);
        if (MUTANT(SYNC_WITHOUT_ROUND))
            confirmed = UINT64_MAX;
        if (m->zxid > z->history.applied || m->round > confirmed)
            break;
        z->marker_passed = m->marker;
        z->marker_first = (z->marker_first + 1) & (z->marker_cap - 1);
        z->marker_count--;
    }
}

zab_marker zab_sync(struct zab *z) {
    if (z->role != ZAB_LEADING || !z->serving || z->dead)
        return 0;
    const struct zab_marker_wait *last =
        z->marker_count > 0 ? marker_at(z, z->marker_count - 1) : NULL;
    uint64_t round = z->ping_round + 1;
    if (!last || last->zxid != z->history.last || last->round != round)
        marker_push(z, z->history.last, round);
    zab_marker marker = z->marker_last;
    markers_pass(z);
    return marker;
}

bool zab_sync_passed(const struct zab *z, zab_marker marker) {
    return z->role == ZAB_LEADING && marker > z->marker_floor && marker <= z->marker_passed;
}

void broadcast_pong(struct zab *z, struct learner *l, uint64_t round) {
    if (round > z->ping_round) {
        zab_drop(z, l, "an answer to a heartbeat that was not sent");
        return;
    }
    sync_snap_pong(z, l, round);
    if (l->observer || l->state < LEARNER_PROMISED || (zxid_t)round <= z->pongs[l->id])
        return;
    z->pongs[l->id] = (zxid_t)round;
    markers_pass(z);
}

void broadcast_pulled(struct zab *z) { markers_pass(z); }

/* A round for the markers that wait, unless one is still out: who asks meanwhile shares the next.
 */
static bool ping_for_markers(struct zab *z) {
    if (z->marker_count == 0 || marker_at(z, z->marker_count - 1)->round <= z->ping_all_round ||
        confirmed_round(z) < z->ping_all_round)
        return false;
    broadcast_ping(z);
    return z->out.count > 0;
}

static bool retry_snapshots(struct zab *z) {
    if (!z->snap_waits)
        return false;
    z->snap_waits = false;
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (z->peers[i].state == LEARNER_PROMISED && z->lead_phase >= LEAD_SYNC)
            sync_learner(z, &z->peers[i]);
    return z->out.count > 0;
}

bool broadcast_settle(struct zab *z) {
    bool early = MUTANT(SERVE_BEFORE_QUORUM) && z->lead_phase == LEAD_BROADCAST;
    if (z->serve_due && (early || z->history.applied >= z->epoch_start)) {
        z->serve_due = false;
        z->serving = true;
        out_push(z, ZAB_SERVE)->epoch = z->lead_epoch;
        return true;
    }
    bool used_up = zxid_counter(z->history.last) >= z->config.counter_limit;
    if (used_up && z->serving && z->lead_phase == LEAD_BROADCAST && !z->serve_due &&
        history_held(&z->history) == 0) {
        discovery_roll(z);
        return true;
    }
    if (handover_settle(z))
        return true;
    return retry_snapshots(z) || ping_for_markers(z);
}

/* ---- The server room's messages ---- */

/* Behind the commits: a learner gives it to its server room when it has applied as far as this
 * server knows to be committed now. */
bool zab_send_app(struct zab *z, uint8_t peer, struct blob *take_payload) {
    const struct learner *l = zab_peer(z, peer);
    bool to_learner = z->role == ZAB_LEADING && l && l->uptodate;
    bool to_leader = z->role != ZAB_LEADING && z->serving && l && z->leader == peer;
    if (z->dead || !take_payload || (!to_learner && !to_leader)) {
        blob_unref(take_payload);
        return false;
    }
    struct zab_out *o = out_send(z, peer, ZM_APP);
    o->payload = take_payload;
    o->zxid = to_learner ? z->history.committed : 0;
    return true;
}
