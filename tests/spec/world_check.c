/* What must hold of an ensemble at any moment: the invariants of the multi-grained specifications
 * (EuroSys'25; ZAB-BUGS.md) and the rules R1 to R11, checked where they could first be broken. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* --- what was ever written under a zxid --- */

static struct world_identity *identity_slot(const struct zab_world *w, zxid_t zxid) {
    uint64_t hash = (uint64_t)zxid * 0x9e3779b97f4a7c15u;
    for (size_t i = hash >> 32;; i++) {
        struct world_identity *slot = &w->known[i & (w->known_cap - 1)];
        if (slot->zxid == zxid || slot->zxid == 0)
            return slot;
    }
}

static void identities_grow(struct zab_world *w) {
    struct world_identity *old = w->known;
    size_t cap = w->known_cap;
    w->known_cap = cap ? cap * 2 : 256;
    w->known = mem_zalloc(w->known_cap * sizeof *w->known);
    for (size_t i = 0; i < cap; i++)
        if (old[i].zxid != 0)
            *identity_slot(w, old[i].zxid) = old[i];
    mem_free(old);
}

void world_check_proposed(struct zab_world *w, uint8_t id, const struct world_record *r,
                          zxid_t previous) {
    if (w->known_count * 2 >= w->known_cap)
        identities_grow(w);
    struct world_identity *slot = identity_slot(w, r->zxid);
    if (slot->zxid != 0 && (slot->kind != r->kind || slot->value != r->value ||
                            slot->previous != previous || r->kind == ZAB_TXN)) {
        world_break(w, "%u gives 0x%llx, which was given before (R7, S19)", id, ULL(r->zxid));
        return;
    }
    bool next = r->kind == ZAB_TXN && r->zxid == previous + 1 && zxid_counter(r->zxid) > 0;
    bool epoch = r->kind == ZAB_EPOCH && zxid_counter(r->zxid) == 0 &&
                 zxid_epoch(r->zxid) > zxid_epoch(previous);
    if (!next && !epoch) {
        world_break(w, "%u proposes 0x%llx behind 0x%llx (R5)", id, ULL(r->zxid), ULL(previous));
        return;
    }
    w->known_count += slot->zxid == 0;
    *slot = (struct world_identity){r->zxid, previous, r->kind, r->value};
}

/* Two histories that share a record are equal up to it: a record is the same everywhere, and what
 * stands before it, too. Integrity follows: nothing is written that nobody proposed. */
void world_check_append(struct zab_world *w, uint8_t id, const struct world_record *r) {
    struct world_server *s = &w->servers[id];
    zxid_t previous = world_written(w, id);
    if (r->kind == ZAB_EPOCH && s->role == ZAB_LEADING) {
        uint32_t epoch = zxid_epoch(r->zxid);
        if (epoch < sizeof w->epoch_leader && w->epoch_leader[epoch] != 0)
            world_break(w, "%u begins epoch %u, which %u began (R7, S19)", id, epoch,
                        w->epoch_leader[epoch]);
        if (epoch < sizeof w->epoch_leader)
            w->epoch_leader[epoch] = id;
        world_check_proposed(w, id, r, previous);
        if (!w->hide_events)
            world_say(w, "%u begins epoch %u", id, epoch);
        return;
    }
    struct world_identity none = {0};
    const struct world_identity *slot = w->known_cap ? identity_slot(w, r->zxid) : &none;
    if (slot->zxid == 0)
        world_break(w, "%u appends 0x%llx, which nobody proposed", id, ULL(r->zxid));
    else if (slot->kind != r->kind || slot->value != r->value)
        world_break(w, "%u appends another 0x%llx", id, ULL(r->zxid));
    else if (slot->previous != previous)
        world_break(w, "%u appends 0x%llx behind 0x%llx instead of 0x%llx (R5, R6)", id,
                    ULL(r->zxid), ULL(previous), ULL(slot->previous));
}

/* --- what was committed --- */

zxid_t world_committed(const struct zab_world *w) {
    return w->truth_count ? w->truth[w->truth_count - 1].record.zxid : 0;
}

void world_truth_push(struct zab_world *w, const struct world_record *r) {
    if (w->truth_count == w->truth_cap) {
        w->truth_cap = w->truth_cap ? w->truth_cap * 2 : 64;
        w->truth = mem_realloc(w->truth, w->truth_cap * sizeof *w->truth);
    }
    struct world_truth *t = &w->truth[w->truth_count];
    t->record = *r;
    t->after = w->truth_count ? t[-1].after : (struct world_state){0};
    w->truth_count++;
}

static void commit_one(struct zab_world *w, const struct world_record *r, zxid_t upto) {
    if (r->zxid > world_committed(w) && r->zxid <= upto)
        world_check_committed(w, w->truth_count, r);
}

/* A leader that says "committed" has decided: nobody may ever contradict it, though none applied.
 */
static void check_leader_commits(struct zab_world *w, uint8_t id) {
    const struct world_server *s = &w->servers[id];
    zxid_t upto = zab_committed_zxid(s->z);
    if (s->role != ZAB_LEADING || upto <= world_committed(w))
        return;
    const struct world_disk *d = &s->disk;
    for (size_t i = 0; i < d->log.count; i++)
        commit_one(w, &d->log.list[i], upto);
    for (size_t i = 0; i < d->job_count; i++)
        if (d->jobs[i].type == JOB_APPEND)
            commit_one(w, &d->jobs[i].record, upto);
}

/* --- outputs --- */

static bool written_has(const struct zab_world *w, uint8_t id, zxid_t zxid) {
    if (zxid == 0 || world_has(w, id, zxid))
        return true;
    const struct world_disk *d = &w->servers[id].disk;
    for (size_t i = 0; i < d->job_count; i++)
        if (d->jobs[i].type == JOB_APPEND && d->jobs[i].record.zxid == zxid)
            return true;
    return false;
}

/* The last record of earlier epochs that was committed. */
static zxid_t committed_before(const struct zab_world *w, uint32_t epoch) {
    size_t i = w->truth_count;
    while (i > 0 && zxid_epoch(w->truth[i - 1].record.zxid) >= epoch)
        i--;
    return i > 0 ? w->truth[i - 1].record.zxid : 0;
}

static void check_serve(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    if (s->applied < zxid_make(o->epoch, 0))
        world_break(w, "%u serves in epoch %u before it applied its beginning (S6)", id, o->epoch);
    if (s->applied < s->exact_from)
        world_break(w, "%u serves from a snapshot that is not exact yet", id);
    if (s->applied < s->uptodate)
        world_break(w, "%u serves before it applied what UPTODATE covers (S6)", id);
    if (s->role == ZAB_LOOKING)
        world_break(w, "%u serves while it looks", id);
    if (s->role != ZAB_LEADING)
        return;
    if (o->epoch < sizeof w->epoch_established) {
        uint8_t other = w->epoch_established[o->epoch];
        if (other != 0 && other != id)
            world_break(w, "%u and %u are both established in epoch %u", other, id, o->epoch);
        w->epoch_established[o->epoch] = id;
    }
    /* An old leader may hear of its quorum when a later one is at work; that harms nobody. */
    zxid_t before = committed_before(w, o->epoch);
    if (!written_has(w, id, before))
        world_break(w, "%u leads epoch %u without the committed 0x%llx", id, o->epoch, ULL(before));
}

void world_check_output(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    switch (o->type) {
    case ZAB_COMMIT:
        if (!world_has(w, id, o->zxid))
            world_break(w, "%u applies 0x%llx, which is not durable there", id, ULL(o->zxid));
        if (s->loading)
            world_break(w, "%u applies while a snapshot is being installed", id);
        break;
    case ZAB_LOG_TRUNCATE:
        if (s->applied > o->zxid)
            world_break(w, "%u truncates to 0x%llx below the applied 0x%llx (P5)", id, ULL(o->zxid),
                        ULL(s->applied));
        if (zxid_counter(world_written(w, id)) == 0 && o->zxid > world_written(w, id))
            world_break(w, "%u truncates beyond its end", id);
        break;
    case ZAB_SAVE_EPOCH:
        if (o->epoch < s->disk.accepted_epoch)
            world_break(w, "%u takes its promise of epoch %u back", id, s->disk.accepted_epoch);
        break;
    case ZAB_SERVE:
        check_serve(w, id, o);
        break;
    default:
        break;
    }
}

/* --- messages --- */

static void check_vote(struct zab_world *w, uint8_t id, const struct zab_vote *v) {
    if (v->role != ZAB_LOOKING || v->leader != id)
        return;
    if (v->leader_zxid != world_durable(w, id) || v->leader_zxid != world_written(w, id))
        world_break(w, "%u votes with 0x%llx, its disk has 0x%llx (R3, S7)", id,
                    ULL(v->leader_zxid), ULL(world_durable(w, id)));
    if (v->blank != (world_durable(w, id) == 0))
        world_break(w, "%u votes as blank or not against its disk (Z12)", id);
    if (v->lossy != w->servers[id].disk.lossy)
        world_break(w, "%u votes as lossy or not against its disk", id);
}

static void check_promise(struct zab_world *w, uint8_t id, const struct zab_msg *m) {
    struct world_server *s = &w->servers[id];
    if (s->disk.accepted_epoch < m->epoch)
        world_break(w, "%u speaks of epoch %u before that is durable (R7)", id, m->epoch);
    if (m->type == ZM_ACKEPOCH && m->lossy != s->disk.lossy)
        world_break(w, "%u promises as lossy or not against its disk", id);
    if (m->type == ZM_ACKEPOCH && !m->counted)
        return;
    if (m->type == ZM_LEADERINFO && s->claimed_epoch == m->epoch)
        return;
    if (w->promised[id] >= m->epoch)
        world_break(w, "%u gives its promise for epoch %u twice (R7)", id, m->epoch);
    w->promised[id] = m->epoch;
    if (m->type == ZM_LEADERINFO)
        s->claimed_epoch = m->epoch;
}

static void check_durable(struct zab_world *w, uint8_t id, const struct zab_msg *m) {
    if (m->zxid != 0 && !world_has(w, id, m->zxid))
        world_break(w, "%u acknowledges 0x%llx, which is not durable there (R1, S2)", id,
                    ULL(m->zxid));
    if (m->type == ZM_SYNCREADY && m->zxid != world_written(w, id))
        world_break(w, "%u is ready at 0x%llx, its history ends elsewhere", id, ULL(m->zxid));
}

void world_check_message(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *m) {
    const struct world_server *s = &w->servers[from];
    (void)to;
    switch (m->type) {
    case ZM_VOTE:
        check_vote(w, from, &m->vote);
        break;
    case ZM_ACKEPOCH:
    case ZM_LEADERINFO:
        check_promise(w, from, m);
        break;
    case ZM_ACK:
    case ZM_SYNCREADY:
        check_durable(w, from, m);
        break;
    case ZM_COMMIT:
    case ZM_UPTODATE:
    case ZM_PING:
    case ZM_INFORM:
        if (m->zxid > zab_committed_zxid(s->z))
            world_break(w, "%u calls 0x%llx committed before it is", from, ULL(m->zxid));
        break;
    default:
        break;
    }
    if (s->role == ZAB_LOOKING && m->type != ZM_VOTE)
        world_break(w, "%u sends more than votes while it looks", from);
}

/* --- servers --- */

void world_check_disk(struct zab_world *w, uint8_t id) {
    const struct world_disk *d = &w->servers[id].disk;
    if (zxid_epoch(world_durable(w, id)) > d->accepted_epoch)
        world_break(w, "%u has epoch %u on disk and has promised %u only (R7)", id,
                    zxid_epoch(world_durable(w, id)), d->accepted_epoch);
}

void world_check_server(struct zab_world *w, uint8_t id) {
    const struct world_server *s = &w->servers[id];
    check_leader_commits(w, id);
    if (zab_durable_zxid(s->z) > world_durable(w, id))
        world_break(w, "%u takes 0x%llx for durable", id, ULL(zab_durable_zxid(s->z)));
    if (zab_committed_zxid(s->z) > world_committed(w))
        world_break(w, "%u takes 0x%llx for committed, which it is not", id,
                    ULL(zab_committed_zxid(s->z)));
    if (s->serving != zab_serving(s->z))
        world_break(w, "%u does not know whether it serves", id);
    if (s->role != zab_role(s->z))
        world_break(w, "%u has another role than it said", id);
}

void world_expect_agreement(struct zab_world *w) {
    uint8_t leader = world_leader(w);
    if (!leader) {
        world_break(w, "nobody leads");
        return;
    }
    for (uint8_t id = 1; id < WORLD_IDS && !w->broken[0]; id++) {
        const struct world_server *s = &w->servers[id];
        if (!s->z || w->severed[leader][id])
            continue;
        if (!s->serving || (id != leader && s->leader != leader))
            world_break(w, "%u does not serve behind %u", id, leader);
        if (s->applied != world_committed(w))
            world_break(w, "%u has applied 0x%llx of 0x%llx", id, ULL(s->applied),
                        ULL(world_committed(w)));
        if (world_durable(w, id) != world_durable(w, leader))
            world_break(w, "%u ends at 0x%llx, its leader at 0x%llx", id, ULL(world_durable(w, id)),
                        ULL(world_durable(w, leader)));
    }
}
