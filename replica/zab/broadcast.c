/* The leader's side of broadcast, phase 3 of Zab (DSN'11, section V-C): propose in order, commit in
 * order with a quorum of acknowledgements. */
#include "replica/zab/zab.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/zab/quorum.h"

struct proposal {
    zxid_t zxid;
    struct blob *payload;
};

/* Proposals in flight are a ring: [first, first + count). Of them `logged` were handed out for
 * logging, and as many as `quorum` covers may be handed out as committed. */
struct zab {
    enum zab_state state;
    uint8_t self;
    uint32_t voter_count;
    uint8_t *voters;
    zxid_t *acked; /* per voter: its last acknowledged zxid */
    uint32_t counter_limit;
    zxid_t last;        /* last record of the log or proposed */
    zxid_t epoch_start; /* of the epoch that this server leads */
    zxid_t quorum;      /* what a quorum has on disk */
    zxid_t committed;   /* last commit pulled */
    bool log_epoch;     /* the epoch's start waits to be pulled */
    bool established;   /* ZAB_ESTABLISHED waits to be pulled */
    struct proposal *ring;
    uint32_t cap, first, count, logged;
    uint64_t proposed_count, committed_count; /* since start: sync markers */
    struct blob *spent; /* the last committed payload, kept for as long as zab_output promises */
};

#define RING_CAP_MIN 64u

struct zab *zab_new(const struct zab_config *config) {
    CHECK(config->voter_count > 0);
    CHECK(config->counter_limit > 1);
    struct zab *z = mem_zalloc(sizeof *z);
    z->self = config->self;
    z->voter_count = config->voter_count;
    z->voters = mem_dup(config->voters, config->voter_count);
    z->acked = mem_zalloc(config->voter_count * sizeof *z->acked);
    z->counter_limit = config->counter_limit;
    z->cap = RING_CAP_MIN;
    z->ring = mem_alloc(z->cap * sizeof *z->ring);
    return z;
}

static struct proposal *ring_at(const struct zab *z, uint32_t i) {
    return &z->ring[(z->first + i) & (z->cap - 1)];
}

void zab_free(struct zab *z) {
    if (!z)
        return;
    for (uint32_t i = 0; i < z->count; i++)
        blob_unref(ring_at(z, i)->payload);
    blob_unref(z->spent);
    mem_free(z->ring);
    mem_free(z->acked);
    mem_free(z->voters);
    mem_free(z);
}

bool zab_recover(struct zab *z, zxid_t zxid) {
    CHECK(z->state == ZAB_RECOVERING);
    bool next_epoch = zxid_counter(zxid) == 0 && zxid_epoch(zxid) > zxid_epoch(z->last);
    bool next_counter = z->last != 0 && zxid_counter(zxid) != 0 && zxid == z->last + 1;
    if (!next_epoch && !next_counter)
        return false;
    z->last = zxid;
    return true;
}

void zab_lead(struct zab *z) {
    CHECK(z->count == 0);
    z->state = ZAB_ESTABLISHING;
    z->epoch_start = zxid_make(zxid_epoch(z->last) + 1, 0);
    z->last = z->epoch_start;
    z->log_epoch = true;
}

enum zab_state zab_state(const struct zab *z) { return z->state; }

bool zab_ready(const struct zab *z) {
    return z->state == ZAB_LEADING && !z->established && zxid_counter(z->last) < z->counter_limit;
}

zxid_t zab_next_zxid(const struct zab *z) { return z->last + 1; }

static void ring_grow(struct zab *z) {
    struct proposal *ring = mem_alloc((size_t)z->cap * 2 * sizeof *ring);
    for (uint32_t i = 0; i < z->count; i++)
        ring[i] = *ring_at(z, i);
    mem_free(z->ring);
    z->ring = ring;
    z->first = 0;
    z->cap *= 2;
}

zxid_t zab_propose(struct zab *z, struct blob *take_payload) {
    CHECK(zab_ready(z));
    if (z->count == z->cap)
        ring_grow(z);
    z->last++;
    *ring_at(z, z->count++) = (struct proposal){z->last, take_payload};
    z->proposed_count++;
    return z->last;
}

/* A leader whose quorum has the start of its epoch is established; one whose counter is used up
 * begins the next epoch when nothing of the old one is in flight, so that every commit keeps its
 * order. */
static void zab_turn(struct zab *z) {
    if (z->state == ZAB_ESTABLISHING && z->quorum >= z->epoch_start) {
        z->state = ZAB_LEADING;
        z->established = true;
    }
    if (z->state == ZAB_LEADING && !z->established && z->count == 0 &&
        zxid_counter(z->last) >= z->counter_limit)
        zab_lead(z);
}

void zab_acked(struct zab *z, uint8_t server, zxid_t zxid) {
    for (uint32_t i = 0; i < z->voter_count; i++) {
        if (z->voters[i] != server || zxid <= z->acked[i])
            continue;
        CHECK(zxid <= z->last);
        z->acked[i] = zxid;
    }
    zxid_t quorum = quorum_acked(z->acked, z->voter_count);
    if (quorum > z->quorum)
        z->quorum = quorum;
    zab_turn(z);
}

bool zab_next(struct zab *z, struct zab_output *ret_output) {
    if (z->log_epoch) {
        z->log_epoch = false;
        *ret_output = (struct zab_output){ZAB_LOG_EPOCH, z->epoch_start, NULL};
        return true;
    }
    if (z->established) {
        z->established = false;
        *ret_output = (struct zab_output){ZAB_ESTABLISHED, z->epoch_start, NULL};
        return true;
    }
    /* Commits before new log records: what they free makes room for what follows. */
    if (z->logged > 0 && ring_at(z, 0)->zxid <= z->quorum) {
        struct proposal p = *ring_at(z, 0);
        z->first = (z->first + 1) & (z->cap - 1);
        z->count--;
        z->logged--;
        z->committed = p.zxid;
        z->committed_count++;
        blob_unref(z->spent);
        z->spent = p.payload;
        *ret_output = (struct zab_output){ZAB_COMMIT, p.zxid, p.payload};
        zab_turn(z);
        return true;
    }
    if (z->logged < z->count) {
        struct proposal *p = ring_at(z, z->logged++);
        *ret_output = (struct zab_output){ZAB_LOG_PROPOSAL, p->zxid, p->payload};
        return true;
    }
    return false;
}

zab_marker zab_sync(struct zab *z) { return z->proposed_count; }

bool zab_sync_passed(const struct zab *z, zab_marker marker) {
    return z->committed_count >= marker;
}

zxid_t zab_last_zxid(const struct zab *z) { return z->last; }

zxid_t zab_committed_zxid(const struct zab *z) { return z->committed; }

uint32_t zab_in_flight(const struct zab *z) { return z->count; }
