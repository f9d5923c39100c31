/* Discovery, phase 1 of Zab (DSN'11, section V-A): a quorum promises a new epoch to the prospective
 * leader, which learns that none of it has a more recent history. */
#include "common/check.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

/* ---- The leader ---- */

/* This server and the voters that are at least in `state` (and have promised, where `counted`). */
static struct quorum_voters gather(const struct zab *z, enum learner_state state, bool counted) {
    struct quorum_voters voters = {0};
    quorum_voters_add(&voters, z->config.self, zab_blank(z), z->lossy);
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (!l->observer && l->state >= state && (!counted || l->counted))
            quorum_voters_add(&voters, l->id, l->blank, l->lossy);
    }
    return voters;
}

static bool holds(const struct zab *z, const struct quorum_voters *voters) {
    return quorum_elects(&z->config.quorum, voters);
}

/* Whether those of `set` that are not in `without` are a quorum, whatever was lost. */
static bool holds_without(const struct zab *z, const struct quorum_set *set,
                          const struct quorum_set *without) {
    struct quorum_set rest = *set;
    for (size_t i = 0; i < 4; i++)
        rest.bits[i] &= ~without->bits[i];
    return quorum_holds(&z->config.quorum, &rest);
}

/* l.1.1: an epoch later than all that the quorum has promised. It becomes the leader's own promise
 * first (R7, S19: durable, so that no epoch is ever used twice). */
static void choose_epoch(struct zab *z) {
    uint32_t greatest = z->accepted > z->lead_epoch ? z->accepted : z->lead_epoch;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->state >= LEARNER_INFO && !l->observer && l->accepted > greatest)
            greatest = l->accepted;
    }
    if (MUTANT(EPOCH_NOT_LATER))
        greatest = zxid_epoch(z->history.last);
    if (greatest >= EPOCH_MAX) {
        zab_fatal(z, "the epochs are used up");
        return;
    }
    z->lead_epoch = greatest + 1;
    z->lead_phase = LEAD_SAVING;
    zab_save_epoch(z, z->lead_epoch);
}

static void check_infos(struct zab *z) {
    struct quorum_voters voters = gather(z, LEARNER_INFO, false);
    if (holds(z, &voters))
        choose_epoch(z);
}

void discovery_lead(struct zab *z) {
    z->lead_phase = LEAD_DISCOVERY;
    z->rolling = false;
    for (uint32_t i = 0; i < z->peer_count; i++)
        election_tell(z, &z->peers[i], true); /* those who voted so wait for this word */
    check_infos(z);
}

static void send_leader_info(struct zab *z, struct learner *l) {
    struct zab_out *o = out_send(z, l->id, ZM_LEADERINFO);
    o->epoch = z->lead_epoch;
    o->round = l->attachment;
    if (l->state == LEARNER_INFO)
        l->state = LEARNER_PROMISE;
}

/* On the same link once more: the learner has begun anew, and what it was sent so far is void. */
void discovery_info(struct zab *z, struct learner *l, const struct zab_msg *m) {
    sync_detach(z, l);
    if (m->epoch >= EPOCH_MAX || m->observer != l->observer) {
        zab_drop(z, l,
                 m->observer != l->observer
                     ? "the configurations do not agree on whether it is an observer"
                     : "an epoch that leaves none for others");
        return;
    }
    broadcast_attach(z, l);
    /* It does not look any more. Its last vote may be of a later round than this server's, and
     * would count again when this server looks: it would elect itself with nobody there to follow.
     */
    l->spoken = false; /* its vote has come to its end */
    l->attachment = m->round;
    l->accepted = m->epoch;
    l->blank = m->blank;
    l->lossy = m->lossy;
    l->last = m->zxid;
    bool epoch_chosen = z->lead_phase != LEAD_DISCOVERY;
    if (epoch_chosen && !l->observer && l->accepted > z->lead_epoch)
        zab_look(z, "a follower has promised a later epoch");
    else if (!epoch_chosen)
        check_infos(z);
    else if (z->lead_phase != LEAD_SAVING)
        send_leader_info(z, l);
}

/* Z2: (e,0) ends the history that the leader begins with; it is NEWLEADER, and from here on every
 * learner that promised is brought to this history. */
static void append_epoch(struct zab *z, bool needs_blanks) {
    if (z->history.committed > z->history.last) {
        /* A quorum that has lost what it had made durable: nobody may lead over that. */
        zab_fatal(z, "committed history is missing on a quorum of the servers");
        return;
    }
    z->rolling = false;
    z->needs_blanks = needs_blanks;
    z->lead_phase = LEAD_SYNC;
    z->progress_ms = z->now_ms;
    z->epoch_start = zxid_make(z->lead_epoch, 0);
    zab_append(z, z->epoch_start, NULL);
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        if (l->state == LEARNER_PROMISED)
            sync_learner(z, l);
        else if (l->state == LEARNER_STREAM)
            sync_pump(z, l);
        else if (l->state == LEARNER_NONE)
            election_tell(z, l, true); /* who is looking need not ask first */
    }
}

/* What a lossy one has beyond the leader's history was not committed where those that have lost
 * nothing are a quorum of promises by themselves. Else everyone is there, and nothing that is left
 * anywhere may be overlooked. */
static bool overlooks_lossy(const struct zab *z, const struct quorum_voters *voters) {
    struct quorum_set lost = voters->lossy;
    for (size_t i = 0; i < 4; i++)
        lost.bits[i] |= voters->blank.bits[i];
    if (holds_without(z, &voters->all, &lost))
        return false;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->counted && l->lossy && !l->observer && l->last > z->history.last)
            return true;
    }
    return false;
}

/* With a quorum of new promises the epoch begins. When the promises that are still out cannot make
 * one, because some had been given already (to this server before, or to another that failed), it
 * takes a later epoch, that nobody has promised. */
static void check_promises(struct zab *z) {
    struct quorum_voters voters = gather(z, LEARNER_PROMISED, true);
    if (holds(z, &voters)) {
        if (overlooks_lossy(z, &voters))
            zab_look(z, "a follower has a more recent history");
        else
            append_epoch(z, !holds_without(z, &voters.all, &voters.blank));
        return;
    }
    struct quorum_voters all = gather(z, LEARNER_PROMISE, false), hope = all;
    hope.all = voters.all;
    bool refused = false;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        bool out = l->state == LEARNER_PROMISE || (z->rolling && !l->refused);
        if (l->state >= LEARNER_PROMISE && !l->observer && !l->counted && out)
            quorum_add(&hope.all, l->id);
        refused |= l->state >= LEARNER_PROMISED && l->refused;
    }
    if (refused && holds(z, &all) && !holds(z, &hope))
        choose_epoch(z);
}

/* Nobody waits for the promise of one that is gone. */
void discovery_left(struct zab *z) {
    if (z->lead_phase == LEAD_PROMISES)
        check_promises(z);
}

/* The leader's own promise is durable: LEADERINFO to all that came. In a rollover they stay where
 * they are; else they all begin at this promise. */
void discovery_saved(struct zab *z) {
    CHECK(z->lead_phase == LEAD_SAVING);
    z->lead_phase = LEAD_PROMISES;
    z->progress_ms = z->now_ms;
    for (uint32_t i = 0; i < z->peer_count; i++) {
        struct learner *l = &z->peers[i];
        if (l->state == LEARNER_NONE)
            continue;
        l->counted = l->refused = false;
        if (!z->rolling)
            l->state = LEARNER_INFO;
        send_leader_info(z, l);
    }
    check_promises(z);
}

/* The newest epochs of a history, newest first, each with its last record. */
static bool epochs_make_sense(const struct zab_msg *m) {
    if (m->epoch_count > ZAB_EPOCHS_MAX || m->blank != (m->epoch_count == 0))
        return false;
    for (uint32_t i = 0; i < m->epoch_count; i++)
        if (m->epochs[i] <= 0 ||
            (i > 0 && zxid_epoch(m->epochs[i]) >= zxid_epoch(m->epochs[i - 1])))
            return false;
    return true;
}

/* R6: where the two histories part. They are compared by membership of epochs. */
static void compare(struct zab *z, struct learner *l, const struct zab_msg *m) {
    l->last = m->epoch_count > 0 ? m->epochs[0] : 0;
    l->common = history_common(&z->history, m->epochs, m->epoch_count);
    if (MUTANT(DIFF_BY_RANGE) && l->common != 0)
        l->common = zab_min(l->last, z->history.last);
    l->foreign = l->common == 0;
    l->snap_needed = l->common;
    /* The list was too long for the message: what they share may lie before it. */
    if (l->foreign && m->epoch_count == ZAB_EPOCHS_MAX)
        l->snap_needed =
            history_before_epoch(&z->history, zxid_epoch(m->epochs[ZAB_EPOCHS_MAX - 1]));
}

/* ACK-E. One for an epoch that was given up is old. */
void discovery_promised(struct zab *z, struct learner *l, const struct zab_msg *m) {
    if (m->epoch != z->lead_epoch || z->lead_phase < LEAD_PROMISES)
        return;
    if (!epochs_make_sense(m)) {
        zab_drop(z, l, "a list of epochs that makes no sense");
        return;
    }
    bool first = l->state == LEARNER_PROMISE;
    l->promised = m->epoch;
    l->counted = m->counted;
    l->refused = !m->counted;
    l->blank = m->blank; /* in a rollover it may have become an ordinary voter since it came */
    l->lossy = m->lossy;
    z->progress_ms = z->now_ms;
    if (first) {
        compare(z, l, m);
        l->state = LEARNER_PROMISED;
    }
    if (z->lead_phase != LEAD_PROMISES) {
        if (first)
            sync_learner(z, l);
        else
            sync_pump(z, l); /* it was not sent the new epoch's records before */
        return;
    }
    /* l.1.2: the leader's history is the most recent of the quorum's, or another has to lead. */
    bool ahead = l->last > z->history.last && !l->lossy; /* see overlooks_lossy */
    if (l->counted && !l->observer && first && ahead && !MUTANT(OLDER_LEADER)) {
        zab_look(z, "a follower has a more recent history");
        return;
    }
    check_promises(z);
}

/* S27: the counter is used up and nothing is in flight. Everybody stays where he is. */
void discovery_roll(struct zab *z) {
    z->rolling = true;
    z->progress_ms = z->now_ms;
    choose_epoch(z);
}

/* ---- The follower ---- */

/* f.1.1: its promise and its last zxid. The round tells this attachment from earlier ones of the
 * same link. */
void discovery_follow(struct zab *z) {
    z->follow_phase = FOLLOW_JOINING;
    z->uptodate = false;
    z->promise = 0;
    z->promise_is_new = false;
    struct zab_out *o = out_send(z, z->leader, ZM_FOLLOWERINFO);
    o->epoch = z->accepted;
    o->zxid = z->history.last;
    o->blank = zab_blank(z);
    o->lossy = z->lossy;
    o->round = ++z->attachment;
    if (z->full)
        handover_tell(z);
}

/* f.1.2, R7: no promise for an epoch before the one promised; and what was promised before counts
 * for nobody else. An observer's promise counts nowhere, so it has none to keep. */
void discovery_promise(struct zab *z) {
    if (z->promise == 0)
        return;
    if (MUTANT(PROMISE_NOT_DURABLE) && z->promise > z->accepted) {
        z->accepted = z->promise;
        z->promise_is_new = true;
    }
    if (z->promise > z->accepted) {
        z->promise_is_new = true;
        if (z->saving == 0)
            zab_save_epoch(z, z->promise);
        return;
    }
    struct zab_out *o = out_send(z, z->leader, ZM_ACKEPOCH);
    o->epoch = z->promise;
    o->counted = z->promise_is_new;
    o->blank = zab_blank(z);
    o->lossy = z->lossy;
    z->lead_epoch = z->promise;
    z->promise = 0;
    z->promise_is_new = false;
}

void discovery_leader_info(struct zab *z, const struct zab_msg *m) {
    if (m->round != z->attachment)
        return; /* in answer to an earlier FOLLOWERINFO */
    if (m->epoch == 0 || m->epoch > EPOCH_MAX) {
        sync_follow_broken(z, "an epoch that cannot be led");
        return;
    }
    if (m->epoch < (z->observer ? zab_observed_epoch(z) : z->accepted)) {
        zab_look(z, "the leader's epoch is before the one promised");
        return;
    }
    if (z->follow_phase == FOLLOW_JOINING)
        z->follow_phase = FOLLOW_PROMISED;
    z->progress_ms = z->now_ms;
    z->promise = m->epoch;
    z->promise_is_new = false;
    discovery_promise(z);
}
