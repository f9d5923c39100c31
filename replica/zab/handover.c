/* A disk without room (Z10). Votes prefer those with room (election.c); a leader without leaves its
 * place to a follower that could lead at once. */
#include "replica/zab/zab_state.h"

/* Leaving in vain, a server waits twice as long before it does it again, up to 64 times. */
#define HANDOVERS_DOUBLE 6u

/* An answer to no heartbeat: the leader knows it before it proposes what there is no room for. */
void handover_tell(struct zab *z) { out_send(z, z->leader, ZM_PONG)->full = z->full; }

void zab_full(struct zab *z, bool full) {
    if (z->dead || full == z->full)
        return;
    z->full = full;
    z->full_ms = z->now_ms;
    if (!full)
        z->handovers = 0;
    if (z->started && z->role == ZAB_LOOKING)
        election_full(z);
    else if (z->role == ZAB_FOLLOWING)
        handover_tell(z);
    zab_advance(z);
}

/* From when on this leader may leave: not as soon as it leads, so that a few full disks do not
 * pass the lead around among them. */
static int64_t handover_ms(const struct zab *z) {
    uint32_t doubled = z->handovers < HANDOVERS_DOUBLE ? z->handovers : HANDOVERS_DOUBLE;
    int64_t led = z->role_ms + ((int64_t)z->config.silence_ms << doubled);
    return zab_max(led, z->full_ms);
}

static bool may_leave(const struct zab *z) {
    return z->full && z->role == ZAB_LEADING && z->serving && z->lead_phase == LEAD_BROADCAST &&
           !z->serve_due && z->now_ms >= handover_ms(z);
}

/* Whether there is a voter with room that serves, and has acknowledged everything up to zxid. */
static bool has_successor(const struct zab *z, zxid_t zxid) {
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->room && l->uptodate && l->acked >= zxid && quorum_may_lead(&z->config.quorum, l->id))
            return true;
    }
    return false;
}

/* For a moment nothing new begins, so that the one with room has everything and comes first in the
 * election. No longer than silence_ms: it may be slow. */
bool handover_waits(const struct zab *z) {
    return may_leave(z) && z->now_ms < handover_ms(z) + z->config.silence_ms && has_successor(z, 0);
}

bool handover_settle(struct zab *z) {
    if (!may_leave(z) || z->history.committed < z->history.last ||
        !has_successor(z, z->history.last))
        return false;
    z->handovers++;
    zab_look(z, "the disk is full, and another server has room");
    zab_advance(z);
    return true;
}

bool zab_lacks_room(const struct zab *z) {
    bool any = z->full;
    struct quorum_set room = {{0}};
    if (!z->full)
        quorum_add(&room, z->config.self);
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->observer)
            continue;
        any |= l->full;
        if (l->uptodate && !l->full)
            quorum_add(&room, l->id);
    }
    return any && !quorum_holds(&z->config.quorum, &room);
}
