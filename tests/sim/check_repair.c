/* Starts on disks that were damaged: what is found is the server's own history, as far as it goes,
 * or begins with a snapshot of what is committed; and who lacks something that it had durably knows
 * that. Whether the ensemble bears it is for the other oracles: nobody leads without all that is
 * committed. */
#include "tests/sim/sim.h"

#include "common/mem.h"

#define ZXID_FMT "%u.%u"
#define ZXID_ARGS(z) zxid_epoch(z), zxid_counter(z)

void check_repair_starts(struct sim_host *m) {
    struct check_host *h = &m->check;
    h->damaged = m->rotten || disk_snapshots_rotten(m);
    h->found.count = 0;
    h->found.base = 0;
    h->found.epoch = 0;
    h->lossy = false;
}

static void push(struct check_found *f, const struct check_record *r) {
    if (f->count == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 256;
        f->log = mem_realloc(f->log, f->cap * sizeof *f->log);
    }
    f->log[f->count++] = *r;
}

static zxid_t last_of(const struct check_found *f) {
    return f->count > 0 ? f->log[f->count - 1].zxid : f->base;
}

/* What the log has up to there needs nobody to read it. */
void check_repair_base(struct sim_host *m, zxid_t begun) {
    struct check_host *h = &m->check;
    struct check_found *f = &h->found;
    size_t n = check_host_until(h, begun);
    bool in_log = n > 0 && h->log[n - 1].zxid == begun;
    bool own = in_log || begun == h->base || (h->installing && begun == h->install_base);
    bool within_log = begun > h->base && begun <= check_host_last(h);
    if (!own && (within_log || !check_entry_at(m->w->check, begun)))
        world_fail(m->w, "server %u finds a snapshot of " ZXID_FMT ", that is none of its history",
                   m->id, ZXID_ARGS(begun));
    f->count = 0;
    f->base = in_log ? h->base : begun;
    for (size_t i = 0; in_log && i < n; i++)
        push(f, &h->log[i]);
}

void check_repair_record(struct sim_host *m, const struct log_record *r) {
    struct check_host *h = &m->check;
    struct check_found *f = &h->found;
    struct check_record found = {r->zxid, check_hash(r->zxid, r->payload),
                                 r->payload.len > 0 ? r->payload.len : 0};
    if (!check_follows(r->zxid, last_of(f)))
        world_fail(m->w, "server %u finds a record " ZXID_FMT " behind " ZXID_FMT, m->id,
                   ZXID_ARGS(r->zxid), ZXID_ARGS(last_of(f)));
    size_t n = check_host_until(h, r->zxid);
    /* What its snapshot stood for may be there again, record for record. */
    const struct check_record *own = r->zxid <= h->base ? check_entry_at(m->w->check, r->zxid)
                                     : n > 0            ? &h->log[n - 1]
                                                        : NULL;
    if (!own || own->zxid != r->zxid || own->hash != found.hash)
        world_fail(m->w, "server %u finds a record " ZXID_FMT " that it had not appended", m->id,
                   ZXID_ARGS(r->zxid));
    push(f, &found);
    if (h->durable < n)
        h->durable = n;
}

/* The last that it had durably, and may not have given away since. */
static zxid_t owed(const struct check_host *h) {
    zxid_t last = h->durable_before > 0 ? h->log[h->durable_before - 1].zxid : h->base;
    if (h->truncating && h->truncate_to < last)
        last = h->truncate_to;
    return h->installing && h->found.base == h->install_base ? h->install_base : last;
}

/* It knows that it may have had more: who has nothing at all does (Z12). */
static bool knows(const struct check_host *h) {
    return h->lossy || (h->found.count == 0 && h->found.base == 0);
}

static void found_promise(struct sim_host *m, bool knows) {
    struct check_host *h = &m->check;
    uint32_t epoch = h->found.epoch;
    bool known = epoch == h->epoch || epoch == h->epoch_asked;
    /* Who has a snapshot of a later epoch keeps out of the ones before. */
    bool of_base = h->count == 0 && epoch > h->epoch && epoch == zxid_epoch(h->base);
    if (!known && !of_base && (epoch > h->epoch || !knows))
        world_fail(m->w, "server %u finds the promise %u on its disk; it had made %u%s", m->id,
                   epoch, h->epoch, knows ? "" : ", and does not know that it has lost it");
    h->epoch = h->epoch_asked = epoch;
}

void check_repair_found_all(struct sim_host *m) {
    struct check_host *h = &m->check;
    struct check_found *f = &h->found;
    zxid_t had = owed(h);
    bool does_know = knows(h);
    if (last_of(f) < had && !does_know)
        world_fail(m->w, "server %u had " ZXID_FMT " and finds " ZXID_FMT ", and does not know it",
                   m->id, ZXID_ARGS(had), ZXID_ARGS(last_of(f)));
    if (last_of(f) < had && h->lost < had)
        h->lost = had;
    struct check_record *log = h->log;
    size_t cap = h->cap;
    h->log = f->log;
    h->count = h->durable = f->count;
    h->cap = f->cap;
    h->base = f->base;
    *f = (struct check_found){.log = log, .cap = cap, .epoch = f->epoch};
    found_promise(m, does_know);
}
