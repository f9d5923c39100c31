/* Synchronisation, phase 2 of Zab (DSN'11, section V-B), the leader's side: each learner by itself
 * is brought to the leader's history, and from there it is sent what follows. That is one path for
 * history on disk, in memory and new proposals (R8, R9, S21). */
#include "common/check.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

static void send_sync(struct zab *z, struct learner *l, enum zab_sync_mode mode, zxid_t zxid) {
    struct zab_out *o = out_send(z, l->id, ZM_SYNC);
    o->mode = mode;
    o->zxid = zxid;
    o->committed = z->history.committed;
    o->ended = z->history.last;
    l->commit_sent = z->history.committed;
    l->sent = zxid;
    l->state = LEARNER_SYNC;
    z->progress_ms = z->now_ms;
}

/* A snapshot is of what was applied here. It must reach as far as the histories are the same, or it
 * would take away what the learner has acknowledged. */
static void begin_snapshot(struct zab *z, struct learner *l) {
    if (z->history.applied < l->snap_needed) {
        z->snap_waits = true;
        return;
    }
    send_sync(z, l, ZAB_SYNC_SNAP, 0);
    l->state = LEARNER_SNAP;
    l->snap_streaming = true;
    out_push(z, ZAB_SNAP_SEND)->peer = l->id;
}

/* Z12: a blank voter may have acknowledged anything that this leader has, and lost it. With its
 * first record it counts again, so it gets none before one snapshot brings everything that was here
 * when it came. Only where the promises of the others were no quorum, it is needed for that to be
 * committed at all: every voter takes part, or nobody had a history. One that knows of its loss
 * does not count by a record, so it gets what there is, too. */
static void sync_blank(struct zab *z, struct learner *l) {
    bool needed = z->needs_blanks && z->lead_phase != LEAD_BROADCAST;
    if (!needed && !l->observer && !l->lossy && l->snap_needed == 0)
        l->snap_needed = z->history.last;
    if (l->snap_needed == 0 && z->history.applied == 0)
        send_sync(z, l, ZAB_SYNC_DIFF, 0);
    else
        begin_snapshot(z, l);
}

/* Z2, R6: DIFF where the learner's history is a part of this one, TRUNC where it has more than the
 * common part, SNAP where it is blank (S23), foreign, or the log does not reach back that far.
 * Where nothing was applied there is nothing to snapshot, and the log begins at the beginning. */
void sync_learner(struct zab *z, struct learner *l) {
    bool lacks = l->foreign || l->common < zab_max(z->history.base, z->floor);
    if (l->blank)
        sync_blank(z, l);
    else if (lacks && z->history.applied > 0)
        begin_snapshot(z, l);
    else if (l->common == l->last || MUTANT(SKIP_TRUNC))
        send_sync(z, l, ZAB_SYNC_DIFF, l->last);
    else
        send_sync(z, l, ZAB_SYNC_TRUNC, l->common);
}

/* The learner's history ends where this one said, durably: that is an acknowledgement like any
 * other (one that comes back may have (e,0) already). From there the records. */
void sync_ready(struct zab *z, struct learner *l, zxid_t zxid) {
    if (zxid != l->sent) {
        zab_drop(z, l, "its history does not end where it was told to");
        return;
    }
    l->state = LEARNER_STREAM;
    z->progress_ms = z->now_ms;
    /* It is durable there, so it is an acknowledgement; of (e,0), too, where there is nothing more
     * to send to one that had it before or has it in a snapshot. */
    broadcast_ack(z, l, zxid);
    sync_pump(z, l);
}

static void send_record(struct zab *z, struct learner *l, zxid_t zxid, struct blob *take_payload) {
    struct zab_out *o = out_send(z, l->id, l->observer ? ZM_INFORM : ZM_PROPOSAL);
    o->zxid = zxid;
    o->payload = take_payload;
    learner_window_add(&l->window, zxid, history_cost(take_payload), z->config.window_bytes);
    l->sent = zxid;
    if (!l->observer && l->commit_sent < z->history.committed)
        z->commit_dirty = true;
}

/* An observer gets what is committed, and nothing else. In a rollover one may be late with its
 * promise: it gets the new epoch's records behind that (R7). */
static zxid_t send_limit(const struct zab *z, const struct learner *l) {
    bool committed = l->observer && !MUTANT(OBSERVER_UNCOMMITTED);
    zxid_t limit = committed ? z->history.committed : z->history.last;
    if (l->promised < zxid_epoch(limit))
        limit = zab_min(limit, history_before_epoch(&z->history, l->promised + 1));
    return limit;
}

static bool window_is_open(const struct zab *z, const struct learner *l) {
    return l->window.bytes < z->config.window_bytes;
}

/* Reading only pays when much of it can be sent. */
static void read_log(struct zab *z, struct learner *l) {
    if (l->reading || l->window.bytes > z->config.window_bytes / 2)
        return;
    l->reading = true;
    l->read_after = l->sent;
    struct zab_out *o = out_push(z, ZAB_LOG_READ);
    o->peer = l->id;
    o->zxid = l->sent;
}

void sync_pump(struct zab *z, struct learner *l) {
    zxid_t limit = send_limit(z, l);
    if (l->state != LEARNER_STREAM || l->sent >= limit || !window_is_open(z, l))
        return;
    uint32_t index;
    if (!history_after(&z->history, l->sent, &index)) {
        read_log(z, l);
        return;
    }
    for (; index < z->history.count && window_is_open(z, l); index++) {
        const struct history_record *r = history_at(&z->history, index);
        if (MUTANT(NEWLEADER_BEFORE_HISTORY) && r->zxid < z->epoch_start)
            continue;
        if (r->zxid > limit)
            break;
        send_record(z, l, r->zxid, blob_ref(r->payload));
    }
}

static bool is_next(zxid_t a, const struct zab_record *r) {
    if (r->kind == ZAB_EPOCH)
        return zxid_counter(r->zxid) == 0 && zxid_epoch(r->zxid) > zxid_epoch(a);
    return zxid_counter(r->zxid) != 0 && r->zxid == a + 1;
}

/* The own log does not give what stands behind zxid: who ends there needs a snapshot. */
static void log_lacks(struct zab *z, struct learner *l) {
    z->floor = zab_max(z->floor, l->sent + 1);
    zab_drop(z, l, "the log does not reach back to where it is: it will be sent a snapshot");
}

void zab_log_range(struct zab *z, uint8_t peer, zxid_t after, const struct zab_record *records,
                   size_t count) {
    struct learner *l = zab_peer(z, peer);
    if (z->dead || !l || !l->reading || after != l->read_after)
        return;
    l->reading = false;
    if (z->role != ZAB_LEADING || l->state != LEARNER_STREAM)
        return;
    /* It may have begun anew meanwhile, from somewhere else. */
    if (after == l->sent && count == 0)
        log_lacks(z, l);
    for (size_t i = 0; after == l->read_after && i < count; i++) {
        const struct zab_record *r = &records[i];
        if (l->state != LEARNER_STREAM || l->sent != after || r->zxid > send_limit(z, l) ||
            !window_is_open(z, l))
            break;
        if (!is_next(after, r) || !history_has(&z->history, r->zxid)) {
            log_lacks(z, l);
            break;
        }
        send_record(z, l, r->zxid, blob_from_slice(r->payload));
        after = r->zxid;
        l->read_after = after;
    }
    if (MUTANT(SKIP_BEHIND_DISK) && count > 0 && l->sent + 1 < z->history.last)
        l->sent++;
    sync_pump(z, l);
    zab_advance(z);
}

void sync_detach(struct zab *z, struct learner *l) {
    if (l->snap_streaming)
        out_push(z, ZAB_SNAP_STOP)->peer = l->id;
    learner_reset(l);
    z->acked[l->id] = 0;
    z->pongs[l->id] = 0;
}

bool zab_snap_room(const struct zab *z, uint8_t peer) {
    const struct learner *l = zab_peer(z, peer);
    return l && l->snap_streaming && l->snap_sent - l->snap_passed < z->config.window_bytes;
}

/* Pieces have no acknowledgement of their own: the answer to a PING behind them says that they were
 * taken. */
static void measure_snapshot(struct zab *z, struct learner *l) {
    uint64_t under_way = l->snap_sent - l->snap_passed;
    if (l->snap_ping_round == 0 && under_way >= z->config.window_bytes / 2)
        broadcast_ping_one(z, l);
}

void zab_snap_send(struct zab *z, uint8_t peer, struct blob *take_piece) {
    struct learner *l = zab_peer(z, peer);
    if (z->dead || !l || !l->snap_streaming) {
        blob_unref(take_piece);
        return;
    }
    out_send(z, peer, ZM_SNAPCHUNK)->payload = take_piece;
    l->snap_sent += history_cost(take_piece);
    z->progress_ms = z->now_ms;
    measure_snapshot(z, l);
}

void sync_snap_pong(struct zab *z, struct learner *l, uint64_t round) {
    if (l->snap_ping_round == 0 || round < l->snap_ping_round)
        return;
    l->snap_passed = l->snap_ping_sent;
    l->snap_ping_round = 0;
    z->progress_ms = z->now_ms;
    if (l->snap_streaming)
        measure_snapshot(z, l);
}

void zab_snap_sent(struct zab *z, uint8_t peer, zxid_t begun, zxid_t ended) {
    struct learner *l = zab_peer(z, peer);
    if (z->dead || !l || !l->snap_streaming)
        return;
    CHECK(begun <= ended);
    CHECK(begun >= l->snap_needed);
    CHECK(ended <= z->history.applied);
    struct zab_out *o = out_send(z, peer, ZM_SNAPEND);
    o->zxid = begun;
    o->ended = ended;
    l->snap_streaming = false;
    l->sent = begun;
    zab_advance(z);
}
