/* Looking for a leader: Zab's phase 0 (DSN'11 leaves it open; docs/zab.md, "Looking"). It need not
 * be right, only quick: discovery makes sure that nothing is lost. */
#include "common/check.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

/* One who could lead. */
struct standing {
    uint8_t id;
    zxid_t zxid;
    bool blank, full;
};

static struct standing self_stands(const struct zab *z) {
    return (struct standing){z->config.self, z->history.last, zab_blank(z), z->full};
}

/* Z1: (currentEpoch, last zxid, server id); the epoch is in the zxid. Of those with the same
 * history one with room on its disk comes first (Z10). */
static bool better(const struct zab *z, const struct standing *s) {
    if (MUTANT(OLDER_LEADER))
        return s->id > z->candidate;
    if (s->zxid != z->candidate_zxid)
        return s->zxid > z->candidate_zxid;
    return s->full != z->candidate_full ? z->candidate_full : s->id > z->candidate;
}

/* R3, S7: a vote says what is on disk, so nothing may be on its way there. */
static bool drained(const struct zab *z) {
    if (MUTANT(VOTE_UNDURABLE))
        return !z->truncating && !z->installing && z->saving == 0;
    return z->history.durable == z->history.last && !z->truncating && !z->installing &&
           z->saving == 0;
}

static void fill_looking(const struct zab *z, struct zab_out *o) {
    o->leader = z->no_candidate ? 0 : z->candidate;
    o->zxid = z->no_candidate ? 0 : z->candidate_zxid;
    o->leader_blank = !z->no_candidate && z->candidate_blank;
    o->full = !z->no_candidate && z->candidate_full;
}

/* One that does not look says whom it follows, and in which epoch. */
void election_tell(struct zab *z, struct learner *l, bool answer) {
    if (!l->up)
        return;
    struct zab_out *o = out_send(z, l->id, ZM_VOTE);
    o->role = z->role;
    o->round = z->round;
    o->blank = zab_blank(z);
    o->lossy = z->lossy;
    o->answer = answer;
    if (z->role == ZAB_LOOKING) {
        fill_looking(z, o);
        return;
    }
    o->leader = z->leader;
    o->epoch = z->lead_epoch;
    o->zxid = z->role == ZAB_LEADING ? z->history.durable : 0; /* R3 */
    o->full = z->role == ZAB_LEADING && z->full;
}

static void tell_all(struct zab *z) {
    z->vote_ms = z->now_ms;
    for (uint32_t i = 0; i < z->peer_count; i++)
        election_tell(z, &z->peers[i], false);
}

/* Only one whom this server could follow: what others say of a server that it cannot reach would
 * lead to a leader without followers. */
static bool is_candidate(const struct zab *z, uint8_t id) {
    const struct learner *l = zab_peer(z, id);
    return l && l->up && quorum_may_lead(&z->config.quorum, id);
}

/* Whether those who are connected could elect this server. One that they cannot does not stand: it
 * would only take votes from one that can lead. So the best of those that can has the votes of all
 * its neighbours, and they are a quorum. Who
 * has not voted since this server looks is taken to be as blank as this one is (Z12), and to have
 * lost nothing. */
static bool is_electable(const struct zab *z) {
    struct quorum_voters voters = {0};
    if (!z->may_lead)
        return false;
    quorum_voters_add(&voters, z->config.self, zab_blank(z), z->lossy);
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (!l->up || l->observer)
            continue;
        bool blank = l->looked ? l->vote.blank : zab_blank(z);
        quorum_voters_add(&voters, l->id, blank, l->looked && l->vote.lossy);
    }
    return quorum_elects(&z->config.quorum, &voters);
}

static bool consider(struct zab *z, const struct standing *s) {
    bool stands = s->id == z->config.self ? z->electable : is_candidate(z, s->id);
    if (!stands || (!z->no_candidate && !better(z, s)))
        return false;
    z->candidate = s->id;
    z->candidate_zxid = s->zxid;
    z->candidate_blank = s->blank;
    z->candidate_full = s->full;
    z->no_candidate = false;
    return true;
}

static bool consider_self(struct zab *z) {
    struct standing self = self_stands(z);
    return consider(z, &self);
}

/* A vote of the same round, or the word of one that leads already. */
static bool consider_vote(struct zab *z, const struct learner *l) {
    const struct zab_vote *v = &l->vote;
    if (!l->up || !l->spoken || l->observer)
        return false;
    struct standing s = {l->id, v->leader_zxid, v->blank, v->leader_full};
    if (v->role == ZAB_LEADING)
        return consider(z, &s);
    if (v->role != ZAB_LOOKING || v->round != z->round || v->leader == 0)
        return false;
    /* What others believe of this server may be older than a crash that it had since (R3). */
    if (v->leader == z->config.self)
        return consider_self(z);
    s.id = v->leader;
    s.blank = v->leader_blank;
    return consider(z, &s);
}

static void vote_afresh(struct zab *z) {
    z->no_candidate = true;
    z->electable = is_electable(z);
    (void)consider_self(z);
    z->agreed = false;
    z->round_ms = z->now_ms;
    for (uint32_t i = 0; i < z->peer_count; i++)
        (void)consider_vote(z, &z->peers[i]);
    tell_all(z);
}

/* The next round, but not before the one that others are in already. */
static void next_round(struct zab *z) {
    z->round++;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->up && l->spoken && l->vote.role == ZAB_LOOKING && l->vote.round > z->round)
            z->round = l->vote.round;
    }
    vote_afresh(z);
}

void election_leave(struct zab *z) {
    z->voting = z->agreed = false;
    for (uint32_t i = 0; i < z->peer_count; i++)
        z->peers[i].looked = false;
}

/* Who is connected, and what is known of them, has changed. */
static bool stand_or_withdraw(struct zab *z) {
    bool before = z->electable;
    z->electable = is_electable(z);
    if (z->electable && !before)
        return consider_self(z);
    if (!z->electable && before && !z->no_candidate && z->candidate == z->config.self)
        next_round(z);
    return false;
}

/* The others may have believed of this server what is not so any more: they hear it in a new round.
 */
void election_full(struct zab *z) {
    if (z->voting)
        next_round(z);
}

static bool votes_for(const struct zab *z, const struct learner *l, uint8_t id) {
    return l->up && l->spoken && !l->observer && l->vote.role == ZAB_LOOKING &&
           l->vote.round == z->round && l->vote.leader == id;
}

static bool follows(const struct learner *l, uint8_t leader) {
    return l->up && l->spoken && !l->observer && l->vote.leader == leader &&
           (l->vote.role == ZAB_FOLLOWING || l->vote.role == ZAB_LEADING);
}

/* Whether a quorum wants `id`: with its votes, or because it follows already (who says so of this
 * server, which looks, has not heard yet that it does not lead any more). Z12: those of servers
 * that may have lost something count only when everyone votes, or when nobody has a history. */
static bool is_elected(const struct zab *z, uint8_t id) {
    struct quorum_voters voters = {0};
    if (!z->observer && !z->no_candidate && z->candidate == id)
        quorum_voters_add(&voters, z->config.self, zab_blank(z), z->lossy);
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (votes_for(z, l, id) || (id != z->config.self && follows(l, id)))
            quorum_voters_add(&voters, l->id, l->vote.blank, l->vote.lossy);
    }
    return quorum_elects(&z->config.quorum, &voters);
}

/* Whether a quorum, the leader included, says that it is there already in the leader's epoch. */
static bool is_followed(const struct zab *z, const struct learner *leader) {
    struct quorum_set set = {{0}};
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (follows(l, leader->id) && l->vote.epoch == leader->vote.epoch)
            quorum_add(&set, l->id);
    }
    return quorum_holds(&z->config.quorum, &set);
}

static bool says_it_leads(const struct zab *z, const struct learner *l) {
    return l->up && l->spoken && l->vote.role == ZAB_LEADING &&
           quorum_may_lead(&z->config.quorum, l->id);
}

/* Whom to follow; of several (one may not know yet that it is replaced) the newest epoch's. An
 * observer, and one that has looked in vain (`any`), takes the leader's own word. */
static const struct learner *leader_to_join(const struct zab *z, bool any) {
    const struct learner *best = NULL;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (!says_it_leads(z, l) || (best && l->vote.epoch <= best->vote.epoch))
            continue;
        if (z->observer && l->vote.epoch < zab_observed_epoch(z))
            continue;
        bool mine = !z->no_candidate && z->candidate == l->id && is_elected(z, l->id);
        bool word = (any || z->observer) && l->vote.epoch != 0;
        if (word || (!z->observer && (mine || is_followed(z, l))))
            best = l;
    }
    return best;
}

static void join(struct zab *z, const struct learner *l) {
    zab_enter(z, z->observer ? ZAB_OBSERVING : ZAB_FOLLOWING, l->id);
}

static bool has_spoken(const struct zab *z, const struct learner *l) {
    return l->spoken && (l->vote.role != ZAB_LOOKING || l->vote.round == z->round);
}

/* Whether each connected server whose vote counts has spoken. */
static bool all_spoken(const struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->up && quorum_may_lead(&z->config.quorum, l->id) && !has_spoken(z, l))
            return false;
    }
    return true;
}

/* Elected is who has the votes of a quorum, with every connected voter heard, or finalize_ms after
 * the quorum agreed. */
static void decide(struct zab *z) {
    const struct learner *l = leader_to_join(z, false);
    if (l) {
        join(z, l);
        return;
    }
    bool agree = !z->observer && !z->no_candidate && is_elected(z, z->candidate);
    if (agree && !z->agreed)
        z->agreed_ms = z->now_ms;
    z->agreed = agree;
    if (!agree || z->candidate != z->config.self)
        return;
    if (all_spoken(z) || z->now_ms - z->agreed_ms >= z->config.finalize_ms)
        zab_enter(z, ZAB_LEADING, z->config.self);
}

/* What was said of following is old: nobody tells that it has ended but by a vote. And who still
 * looks has voted again not long ago; who has not, has found a leader. */
static void forget_old_votes(struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        bool looks = l->vote.role == ZAB_LOOKING &&
                     z->now_ms - l->vote_ms < 2 * (int64_t)z->config.heartbeat_ms;
        if (!looks && l->vote.role != ZAB_LEADING)
            l->spoken = false;
    }
}

void election_advance(struct zab *z) {
    if (!z->voting) {
        if (!drained(z))
            return;
        z->voting = true;
        z->looking_ms = z->now_ms;
        forget_old_votes(z);
        next_round(z);
    }
    decide(z);
}

static void vote_while_looking(struct zab *z, struct learner *l) {
    const struct zab_vote *v = &l->vote;
    bool changed = stand_or_withdraw(z);
    if (v->role == ZAB_LOOKING && !l->observer && v->round > z->round) {
        z->round = v->round;
        vote_afresh(z);
    } else if (v->role == ZAB_LOOKING && !l->observer && v->round < z->round) {
        if (!v->answer)
            election_tell(z, l, true);
    } else {
        changed |= consider_vote(z, l);
    }
    if (changed)
        tell_all(z);
}

void election_vote(struct zab *z, struct learner *l, const struct zab_vote *v) {
    l->vote = *v;
    l->vote_ms = z->now_ms;
    l->spoken = true;
    l->looked |= z->role == ZAB_LOOKING && v->role == ZAB_LOOKING;
    if (z->role == ZAB_LOOKING) {
        if (z->voting)
            vote_while_looking(z, l);
    } else if (v->role == ZAB_LOOKING && !v->answer) {
        election_tell(z, l, true);
    }
}

void election_peer_up(struct zab *z, struct learner *l) {
    if (!z->voting)
        return;
    bool changed = stand_or_withdraw(z);
    for (uint32_t i = 0; i < z->peer_count; i++)
        changed |= consider_vote(z, &z->peers[i]);
    if (changed)
        tell_all(z);
    else
        election_tell(z, l, false);
}

void election_peer_lost(struct zab *z, struct learner *l) {
    if (!z->voting)
        return;
    if (!z->no_candidate && z->candidate == l->id)
        next_round(z);
    else if (stand_or_withdraw(z)) /* a blank one that is gone may be what hindered */
        tell_all(z);
}

static int64_t peer_silent_at(const struct zab *z, const struct learner *l) {
    return zab_max(l->heard_ms, z->looking_ms) + z->config.silence_ms;
}

/* Everybody talks to one who looks at each heartbeat: who does not is frozen, or cut off. */
static void drop_silent(struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        if (l->up && z->now_ms >= peer_silent_at(z, l))
            zab_drop(z, l, "said nothing for too long");
    }
}

static bool quorum_has_spoken(const struct zab *z) {
    struct quorum_set set = {{0}};
    if (!z->observer)
        quorum_add(&set, z->config.self);
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (z->peers[i].up && has_spoken(z, &z->peers[i]))
            quorum_add(&set, z->peers[i].id);
    return quorum_holds(&z->config.quorum, &set);
}

/* A quorum is there, and yet nobody came to lead: what was heard may be old. Or there is a leader,
 * and it is only its followers that this server does not reach. */
static void look_again(struct zab *z) {
    z->round_ms = z->now_ms;
    const struct learner *l = leader_to_join(z, true);
    if (l)
        join(z, l);
    else if (quorum_has_spoken(z))
        next_round(z);
}

void election_clock(struct zab *z) {
    if (!z->voting)
        return;
    drop_silent(z);
    if (z->now_ms - z->round_ms >= z->config.silence_ms)
        look_again(z);
    if (z->role == ZAB_LOOKING && z->now_ms - z->vote_ms >= z->config.heartbeat_ms)
        tell_all(z);
}

int64_t election_deadline(const struct zab *z) {
    if (!z->voting || z->peer_count == 0)
        return INT64_MAX;
    int64_t due = zab_min(z->vote_ms + z->config.heartbeat_ms, z->round_ms + z->config.silence_ms);
    bool mine = !z->no_candidate && z->candidate == z->config.self;
    if (z->agreed && mine)
        due = zab_min(due, z->agreed_ms + z->config.finalize_ms);
    for (uint32_t i = 0; i < z->peer_count; i++)
        if (z->peers[i].up)
            due = zab_min(due, peer_silent_at(z, &z->peers[i]));
    return due;
}
