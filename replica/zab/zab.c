/* One server of an ensemble: its inputs, and the changes of its role. What each phase does is in
 * the files named after them. */
#include "replica/zab/zab.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

#include <string.h>

void zab_config_defaults(struct zab_config *config) {
    config->counter_limit = ZAB_COUNTER_LIMIT;
    config->heartbeat_ms = 100;
    config->silence_ms = 1400;
    config->finalize_ms = 100;
    config->init_ms = 10000;
    config->window_bytes = 4u << 20;
    config->recent_bytes = 16u << 20;
    config->inflight_max = 10000;
    config->inflight_bytes_max = 64u << 20;
}

static void check_config(const struct zab_config *c) {
    CHECK(quorum_invalid_reason(&c->quorum) == NULL);
    CHECK(quorum_find(&c->quorum, c->self) != NULL);
    CHECK(c->counter_limit > 1);
    CHECK(c->heartbeat_ms > 0);
    CHECK(c->silence_ms > c->heartbeat_ms);
    CHECK(c->finalize_ms >= 0);
    CHECK(c->init_ms > 0);
    CHECK(c->window_bytes > 0);
    CHECK(c->inflight_max > 0);
    CHECK(c->inflight_bytes_max > 0);
}

struct zab *zab_new(const struct zab_config *config) {
    check_config(config);
    struct zab *z = mem_zalloc(sizeof *z);
    z->config = *config;
    size_t size = config->quorum.count * sizeof *z->servers;
    z->servers = mem_dup(config->quorum.servers, size);
    z->config.quorum.servers = z->servers;
    z->peers = mem_zalloc(config->quorum.count * sizeof *z->peers);
    memset(z->peer_index, NO_PEER, sizeof z->peer_index);
    for (uint32_t i = 0; i < config->quorum.count; i++) {
        if (z->servers[i].id == config->self)
            continue;
        z->peer_index[z->servers[i].id] = (uint8_t)z->peer_count;
        z->peers[z->peer_count++] =
            (struct learner){.id = z->servers[i].id, .observer = !z->servers[i].voter};
    }
    struct quorum_set self = {{0}};
    quorum_add(&self, config->self);
    z->alone = quorum_holds(&z->config.quorum, &self);
    z->observer = !quorum_find(&z->config.quorum, config->self)->voter;
    z->may_lead = quorum_may_lead(&z->config.quorum, config->self);
    z->no_candidate = true;
    z->apps_end = &z->apps;
    history_init(&z->history, config->recent_bytes);
    return z;
}

void zab_free(struct zab *z) {
    if (!z)
        return;
    sync_follow_leave(z);
    out_free_all(z);
    history_close(&z->history);
    mem_free(z->markers);
    mem_free(z->peers);
    mem_free(z->servers);
    mem_free(z);
}

struct learner *zab_peer(const struct zab *z, uint8_t id) {
    return z->peer_index[id] == NO_PEER ? NULL : &z->peers[z->peer_index[id]];
}

void zab_recover_epoch(struct zab *z, uint32_t accepted_epoch) {
    CHECK(!z->started);
    if (accepted_epoch > z->accepted)
        z->accepted = accepted_epoch;
}

/* R7: acceptedEpoch is never below what the history has. Where the file is not there (a log of
 * before there was one), the history tells. */
static void accept_history(struct zab *z) {
    if (zxid_epoch(z->history.last) > z->accepted)
        z->accepted = zxid_epoch(z->history.last);
}

void zab_recover_base(struct zab *z, zxid_t begun, zxid_t ended) {
    CHECK(!z->started);
    CHECK(z->history.last == 0);
    CHECK(begun <= ended);
    history_reset(&z->history, begun);
    z->history.committed = zab_max(z->history.committed, ended);
    accept_history(z);
}

/* What cannot be is not taken: then learners that end there are sent snapshots. */
void zab_recover_older(struct zab *z, zxid_t base, const zxid_t *ends, size_t count) {
    CHECK(!z->started);
    if (!history_reach_back(&z->history, base, ends, count))
        out_note(z, "the log before the snapshot does not lead up to it", 0, base);
}

/* A learner that is being sent what is not there any more finds out with the next read, which gives
 * nothing: log_lacks. */
void zab_purged(struct zab *z, zxid_t base) {
    history_purge(&z->history, base);
    zab_check(z);
}

bool zab_recover(struct zab *z, enum zab_record_kind kind, zxid_t zxid, zxid_t committed,
                 struct slice payload) {
    CHECK(!z->started);
    if (!history_follows(&z->history, kind, zxid) || zxid_epoch(zxid) > EPOCH_MAX)
        return false;
    history_append(&z->history, zxid, blob_from_slice(payload));
    z->history.durable = zxid;
    /* Nobody else could have refused it. */
    bool only_server = z->config.quorum.count == 1;
    z->history.committed = zab_max(z->history.committed, only_server ? zxid : committed);
    accept_history(z);
    return true;
}

void zab_start(struct zab *z) {
    CHECK(!z->started);
    z->started = true;
    z->looking_ms = z->now_ms;
    zab_advance(z);
}

/* S22: what was applied is never taken away; so when it would have to be, this is not the history
 * that it was. */
void zab_fatal(struct zab *z, const char *why) {
    out_push(z, ZAB_FATAL)->text = why;
    z->dead = true;
}

void zab_save_epoch(struct zab *z, uint32_t epoch) {
    CHECK(z->saving == 0);
    CHECK(epoch > z->accepted);
    z->saving = epoch;
    out_push(z, ZAB_SAVE_EPOCH)->epoch = epoch;
}

void zab_append(struct zab *z, zxid_t zxid, struct blob *take_payload) {
    CHECK(!z->truncating);
    CHECK(!z->installing);
    CHECK(zxid_epoch(zxid) <= z->accepted);
    history_append(&z->history, zxid, take_payload);
    struct zab_out *o = out_push(z, ZAB_LOG_APPEND);
    o->zxid = zxid;
    o->committed = MUTANT(HINT_TOO_FAR) ? zxid : z->history.committed;
    o->payload = blob_ref(take_payload);
}

void zab_enter(struct zab *z, enum zab_role role, uint8_t leader) {
    if (z->role == ZAB_LEADING)
        broadcast_leave(z);
    else if (z->role == ZAB_LOOKING)
        election_leave(z);
    else
        sync_follow_leave(z);
    z->role = role;
    z->leader = leader;
    z->serving = false;
    z->lead_epoch = 0;
    z->epoch_start = 0;
    if (role != ZAB_LOOKING)
        lossy_forget(z);
    if (role == ZAB_FOLLOWING)
        z->handovers = 0;
    z->role_ms = z->progress_ms = z->now_ms;
    struct zab_out *o = out_push(z, ZAB_ROLE);
    o->role = role;
    o->peer = leader;
    o->epoch = zxid_epoch(z->history.last);
    if (role == ZAB_LEADING) {
        broadcast_begin(z);
        discovery_lead(z);
    } else if (role != ZAB_LOOKING) {
        discovery_follow(z);
    } else {
        z->looking_ms = z->now_ms;
    }
}

void zab_look(struct zab *z, const char *why) {
    out_note(z, why, z->leader, z->history.last);
    zab_enter(z, ZAB_LOOKING, 0);
}

/* A learner is gone, and with it, perhaps, the promise that was hoped for. */
static void leave_learner(struct zab *z, struct learner *l) {
    sync_detach(z, l);
    discovery_left(z);
}

/* What this server has to do when a peer's link is no more. */
static void lost_link(struct zab *z, struct learner *l, const char *why) {
    l->up = false;
    l->spoken = l->looked = false;
    if (z->role == ZAB_LEADING)
        leave_learner(z, l);
    else if (z->role == ZAB_LOOKING)
        election_peer_lost(z, l);
    else if (z->leader == l->id)
        zab_look(z, why);
}

void zab_drop(struct zab *z, struct learner *l, const char *why) {
    struct zab_out *o = out_push(z, ZAB_DROP);
    o->peer = l->id;
    o->text = why;
    lost_link(z, l, why);
}

void zab_advance(struct zab *z) {
    if (z->started && !z->dead && z->role == ZAB_LOOKING)
        election_advance(z);
    zab_check(z);
}

/* Times that were taken before there was a clock begin with it. */
static void clock_first(struct zab *z, int64_t mono_ms) {
    z->clocked = true;
    z->now_ms = mono_ms;
    z->role_ms = z->progress_ms = z->ping_ms = z->full_ms = mono_ms;
    z->looking_ms = z->round_ms = z->vote_ms = z->agreed_ms = mono_ms;
    z->heard_due_ms = z->peer_due_ms = mono_ms + z->config.silence_ms;
    for (uint32_t i = 0; i < z->peer_count; i++)
        z->peers[i].heard_ms = mono_ms;
}

static int64_t leader_heard(const struct zab *z) {
    return zab_max(zab_peer(z, z->leader)->heard_ms, z->role_ms);
}

static void follow_clock(struct zab *z) {
    if (z->now_ms - leader_heard(z) >= z->config.silence_ms)
        zab_drop(z, zab_peer(z, z->leader), "the leader has said nothing for too long");
    else if (!z->serving && z->now_ms - z->progress_ms >= z->config.init_ms)
        zab_look(z, "the leader did not bring this server up to date in time");
}

void zab_clock(struct zab *z, int64_t mono_ms) {
    if (!z->clocked)
        clock_first(z, mono_ms);
    if (mono_ms > z->now_ms)
        z->now_ms = mono_ms;
    if (!z->started || z->dead)
        return;
    if (z->role == ZAB_LEADING)
        broadcast_clock(z);
    else if (z->role == ZAB_LOOKING)
        election_clock(z);
    else
        follow_clock(z);
    zab_advance(z);
}

int64_t zab_deadline(const struct zab *z) {
    if (!z->started || z->dead)
        return INT64_MAX;
    if (z->role == ZAB_LEADING)
        return broadcast_deadline(z);
    if (z->role == ZAB_LOOKING)
        return election_deadline(z);
    int64_t silence = leader_heard(z) + z->config.silence_ms;
    return z->serving ? silence : zab_min(silence, z->progress_ms + z->config.init_ms);
}

void zab_peer_up(struct zab *z, uint8_t peer) {
    struct learner *l = zab_peer(z, peer);
    if (z->dead)
        return;
    if (!l) {
        struct zab_out *o = out_push(z, ZAB_DROP);
        o->peer = peer;
        o->text = "no server of the ensemble has this id";
        return;
    }
    zab_peer_down(z, peer);
    l->up = true;
    l->heard_ms = z->now_ms;
    if (z->started && z->role == ZAB_LOOKING)
        election_peer_up(z, l);
    zab_advance(z);
}

void zab_peer_down(struct zab *z, uint8_t peer) {
    struct learner *l = zab_peer(z, peer);
    if (z->dead || !l)
        return;
    out_forget_peer(z, peer);
    if (l->up)
        lost_link(z, l, "the leader's link is gone");
    zab_advance(z);
}

/* A learner that votes again, or that follows another, has left; it need not have closed the link.
 */
static void vote_at_leader(struct zab *z, struct learner *l, const struct zab_vote *v) {
    bool ours =
        (v->role == ZAB_FOLLOWING || v->role == ZAB_OBSERVING) && v->leader == z->config.self;
    if (l->state != LEARNER_NONE && !ours)
        leave_learner(z, l);
}

static void receive_vote(struct zab *z, struct learner *l, const struct zab_vote *v) {
    if (v->role > ZAB_LEADING || v->round >= UINT64_MAX / 2) {
        zab_drop(z, l, "a vote that makes no sense");
        return;
    }
    if (z->role == ZAB_LEADING)
        vote_at_leader(z, l, v);
    bool following = z->role == ZAB_FOLLOWING || z->role == ZAB_OBSERVING;
    bool left = following && z->leader == l->id && v->role != ZAB_LEADING;
    if (left)
        zab_look(z, "the leader does not lead any more");
    election_vote(z, l, v);
}

/* What comes from one that has not (or no longer) asked to follow is old, or of the time when it
 * led: harmless. Else what does not belong into its state breaks the protocol. */
static void receive_leading(struct zab *z, struct learner *l, const struct zab_msg *m) {
    if (m->type == ZM_FOLLOWERINFO) {
        discovery_info(z, l, m);
        return;
    }
    if (l->state == LEARNER_NONE)
        return;
    broadcast_heard(z, l);
    bool synced = l->state == LEARNER_SYNC || (l->state == LEARNER_SNAP && !l->snap_streaming);
    if (m->type == ZM_ACKEPOCH && l->state >= LEARNER_PROMISE) {
        discovery_promised(z, l, m);
    } else if (m->type == ZM_SYNCREADY && synced) {
        sync_ready(z, l, m->zxid);
    } else if (m->type == ZM_ACK && l->state == LEARNER_STREAM) {
        broadcast_ack(z, l, m->zxid);
    } else if (m->type == ZM_PONG) {
        l->room = !m->full;
        l->full = m->full;
        broadcast_pong(z, l, m->round);
    } else if (m->type == ZM_APP && l->uptodate && m->payload) {
        struct zab_out *o = out_push(z, ZAB_APP);
        o->peer = l->id;
        o->payload = blob_ref(m->payload);
    } else {
        zab_drop(z, l, "a message that a learner does not send here");
    }
}

/* From the leader. Until its LEADERINFO answers this attachment's FOLLOWERINFO, all is of earlier
 * times: PING is answered all the same, for it is the leader's. */
static void receive_following(struct zab *z, const struct zab_msg *m) {
    if (m->type == ZM_PING) {
        struct zab_out *o = out_send(z, z->leader, ZM_PONG);
        o->round = m->round;
        o->full = z->full;
        if (z->follow_phase == FOLLOW_STREAMING)
            sync_follow_commit(z, m);
        return;
    }
    if (m->type == ZM_LEADERINFO) {
        discovery_leader_info(z, m);
        return;
    }
    if (z->follow_phase == FOLLOW_JOINING)
        return;
    bool streaming = z->follow_phase == FOLLOW_STREAMING;
    if (m->type == ZM_SYNC && z->follow_phase == FOLLOW_PROMISED)
        sync_follow(z, m);
    else if (m->type == ZM_SNAPCHUNK && z->follow_phase == FOLLOW_SNAPSHOT)
        sync_follow_chunk(z, m);
    else if (m->type == ZM_SNAPEND && z->follow_phase == FOLLOW_SNAPSHOT)
        sync_follow_end(z, m);
    else if (m->type == (z->observer ? ZM_INFORM : ZM_PROPOSAL) && streaming)
        sync_follow_record(z, m);
    else if (m->type == ZM_COMMIT && streaming)
        sync_follow_commit(z, m);
    else if (m->type == ZM_UPTODATE && streaming)
        sync_follow_uptodate(z, m);
    else if (m->type == ZM_APP && z->uptodate)
        sync_follow_app(z, m);
    else
        sync_follow_broken(z, "a message that a leader does not send here");
}

void zab_receive(struct zab *z, uint8_t peer, const struct zab_msg *msg) {
    struct learner *l = zab_peer(z, peer);
    /* Before the start nothing can be answered; votes are repeated. */
    if (z->dead || !z->started || !l || !l->up)
        return;
    l->heard_ms = z->now_ms;
    if (msg->type == ZM_VOTE)
        receive_vote(z, l, &msg->vote);
    else if (z->role == ZAB_LEADING)
        receive_leading(z, l, msg);
    else if (z->role != ZAB_LOOKING && z->leader == peer)
        receive_following(z, msg);
    else if (msg->type == ZM_FOLLOWERINFO && (z->role != ZAB_LOOKING || z->voting))
        election_tell(z, l, true); /* it has to know that nobody leads here */
    zab_advance(z);
}

void zab_log_synced(struct zab *z, zxid_t zxid) {
    /* While a snapshot takes the log's place, this is still about the old one. */
    if (z->dead || z->installing || zxid <= z->history.durable)
        return;
    CHECK(zxid <= z->history.last);
    z->history.durable = zxid;
    if (z->role == ZAB_LEADING) {
        broadcast_acked(z);
    } else if (z->role != ZAB_LOOKING && z->follow_phase == FOLLOW_STREAMING) {
        /* f.3.1 and ACK-LD: what is acknowledged is durable here. */
        out_send(z, z->leader, ZM_ACK)->zxid = zxid;
    }
    lossy_settle(z);
    zab_advance(z);
}

void zab_epoch_saved(struct zab *z, uint32_t epoch) {
    if (z->dead)
        return;
    CHECK(z->saving == epoch);
    z->saving = 0;
    z->accepted = epoch;
    if (z->role == ZAB_LEADING)
        discovery_saved(z);
    else if (z->role != ZAB_LOOKING)
        discovery_promise(z);
    zab_advance(z);
}

enum zab_role zab_role(const struct zab *z) { return z->role; }

bool zab_serving(const struct zab *z) { return z->serving; }

uint8_t zab_leader(const struct zab *z) { return z->leader; }

uint32_t zab_epoch(const struct zab *z) { return zxid_epoch(z->history.last); }

uint32_t zab_accepted_epoch(const struct zab *z) { return z->accepted; }

zxid_t zab_last_zxid(const struct zab *z) { return z->history.last; }

zxid_t zab_durable_zxid(const struct zab *z) { return z->history.durable; }

zxid_t zab_committed_zxid(const struct zab *z) { return z->history.committed; }

uint32_t zab_in_flight(const struct zab *z) {
    return z->role == ZAB_LEADING ? history_held(&z->history) : 0;
}

bool zab_blank(const struct zab *z) { return z->history.last == 0; }

bool zab_lossy(const struct zab *z) { return z->lossy; }
bool zab_has(const struct zab *z, zxid_t zxid) { return history_has(&z->history, zxid); }

zxid_t zab_base(const struct zab *z) { return z->history.base; }

bool zab_learner_info(const struct zab *z, size_t i, struct zab_learner_info *ret_info) {
    if (i >= z->peer_count)
        return false;
    const struct learner *l = &z->peers[i];
    *ret_info = (struct zab_learner_info){.id = l->id,
                                          .connected = l->up,
                                          .observer = l->observer,
                                          .serving = l->uptodate,
                                          .acked = l->acked,
                                          .heard_ms = l->heard_ms};
    return true;
}
