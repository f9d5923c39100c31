/* What each disk owes: a start must find everything that was said to be durable, nothing that was
 * never appended, and the promise that was made. */
#include "tests/sim/sim.h"

#include "common/mem.h"

#include <xxhash.h>

#define ZXID_FMT "%u.%u"
#define ZXID_ARGS(z) zxid_epoch(z), zxid_counter(z)

uint64_t check_hash(zxid_t zxid, struct slice payload) {
    return XXH3_64bits_withSeed(payload.len > 0 ? (const void *)payload.p : "",
                                payload.len > 0 ? (size_t)payload.len : 0, (uint64_t)zxid);
}

void check_host_init(struct check_host *h) { *h = (struct check_host){0}; }

static void forget_deferred(struct check_host *h) {
    while (h->deferred_count > 0)
        blob_unref(h->deferred[--h->deferred_count].payload);
}

void check_host_close(struct check_host *h) {
    forget_deferred(h);
    mem_free(h->deferred);
    mem_free(h->log);
}

static zxid_t last_of(const struct check_host *h) {
    return h->count > 0 ? h->log[h->count - 1].zxid : h->base;
}

/* How many records are not behind zxid. */
static size_t until(const struct check_host *h, zxid_t zxid) {
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (h->log[mid].zxid <= zxid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool check_host_has(const struct check_host *h, const struct check_record *r) {
    if (r->zxid <= h->base)
        return true;
    size_t n = until(h, r->zxid);
    return n > 0 && n <= h->durable && h->log[n - 1].zxid == r->zxid &&
           h->log[n - 1].hash == r->hash;
}

bool check_host_blank(const struct check_host *h) { return h->base == 0 && h->durable == 0; }

static void push(struct check_host *h, zxid_t zxid, uint64_t hash) {
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 256;
        h->log = mem_realloc(h->log, h->cap * sizeof *h->log);
    }
    h->log[h->count++] = (struct check_record){zxid, hash};
}

void check_host_wiped(struct sim_host *m) {
    struct check_host *h = &m->check;
    zxid_t lost = h->durable > 0 ? h->log[h->durable - 1].zxid : h->base;
    check_host_close(h);
    *h = (struct check_host){.lost = lost};
}

/* ---- a start ---- */

void check_host_starts(struct sim_host *m) {
    struct check_host *h = &m->check;
    h->recovering = true;
    h->epoch_seen = h->base_seen = false;
    h->recovered = 0;
    h->durable_before = h->durable;
    h->epoch_before = h->epoch;
    h->asked_before = h->epoch_asked;
    forget_deferred(h);
    h->next = 0;
    h->applied = h->exact_from = h->digest_due = h->uptodate = 0;
    h->asked_base = h->asked_ended = 0;
    h->serving_us = INT64_MAX;
    h->serving_epoch = 0;
    for (size_t i = 0; i < SIM_HOSTS_MAX; i++)
        h->heard_us[i] = INT64_MIN;
}

static void found_epoch(struct sim_host *m, uint32_t epoch) {
    struct check_host *h = &m->check;
    h->epoch_seen = true;
    if (epoch != h->epoch && epoch != h->epoch_asked)
        world_fail(m->w, "server %u finds the promise %u on its disk; it had made %u", m->id, epoch,
                   h->epoch);
    h->epoch = h->epoch_asked = epoch;
}

static void found_base(struct sim_host *m, zxid_t begun, zxid_t ended) {
    struct check_host *h = &m->check;
    h->base_seen = true;
    if (h->installing && begun == h->install_base && begun != h->base) {
        h->count = h->durable = 0;
        h->base = begun;
    }
    if (begun != h->base)
        world_fail(m->w, "server %u finds a snapshot of " ZXID_FMT "; its log begins at " ZXID_FMT,
                   m->id, ZXID_ARGS(begun), ZXID_ARGS(h->base));
    h->next = check_next_of(m->w->check, begun);
    h->applied = begun;
    h->exact_from = ended;
}

static void found_record(struct sim_host *m, const struct log_record *r) {
    struct check_host *h = &m->check;
    if (h->base != 0 && !h->base_seen) {
        world_fail(m->w, "server %u does not find the snapshot that its log begins behind", m->id);
        return;
    }
    size_t at = h->recovered++;
    if (at >= h->count || h->log[at].zxid != r->zxid ||
        h->log[at].hash != check_hash(r->zxid, r->payload)) {
        world_fail(m->w, "server %u finds a record " ZXID_FMT " that it had not appended there",
                   m->id, ZXID_ARGS(r->zxid));
        return;
    }
    if (h->durable < h->recovered)
        h->durable = h->recovered;
}

static void found_all(struct sim_host *m) {
    struct check_host *h = &m->check;
    size_t owed = h->durable;
    if (h->truncating && until(h, h->truncate_to) < owed)
        owed = until(h, h->truncate_to);
    if (h->base != 0 && !h->base_seen)
        world_fail(m->w, "server %u does not find the snapshot that its log begins behind", m->id);
    else if (h->recovered < owed)
        world_fail(m->w, "server %u finds %zu records on its disk; %zu had become durable", m->id,
                   h->recovered, owed);
    if (!h->epoch_seen)
        found_epoch(m, 0);
    h->count = h->durable = h->recovered;
    h->truncating = h->installing = h->recovering = false;
    check_deferred_apply(m);
    forget_deferred(h);
}

void check_host_started(struct sim_host *m) {
    if (m->check.recovering)
        world_fail(m->w, "server %u has started and was not told so", m->id);
}

void check_host_failed(struct sim_host *m) {
    struct check_host *h = &m->check;
    h->recovering = false;
    h->durable = h->durable_before;
    h->epoch = h->epoch_before;
    h->epoch_asked = h->asked_before;
    forget_deferred(h);
}

void check_host_dies(struct sim_host *m) { m->check.recovering = false; }

/* ---- while it runs ---- */

static void truncated(struct sim_host *m) {
    struct check_host *h = &m->check;
    if (!h->truncating) {
        world_fail(m->w, "server %u is told of a truncation that nobody asked for", m->id);
        return;
    }
    h->truncating = false;
    h->count = until(h, h->truncate_to);
    if (h->durable > h->count)
        h->durable = h->count;
}

static void installed(struct sim_host *m) {
    struct check_host *h = &m->check;
    if (!h->installing) {
        world_fail(m->w, "server %u is told of a snapshot that nobody asked for", m->id);
        return;
    }
    h->installing = false;
    h->count = h->durable = 0;
    h->base = h->install_base;
    h->next = check_next_of(m->w->check, h->base);
    h->applied = h->base;
    h->digest_due = 0;
    h->exact_from = h->asked_ended;
}

void check_event(struct sim_host *m, const struct event *ev) {
    struct check_host *h = &m->check;
    switch (ev->type) {
    case EV_EPOCH:
        found_epoch(m, ev->epoch);
        break;
    case EV_SNAP_END:
        found_base(m, ev->zxid, ev->ended);
        break;
    case EV_LOG_RECORD:
        found_record(m, ev->record);
        break;
    case EV_START:
        found_all(m);
        break;
    case EV_LOG_SYNCED:
        while (h->durable < h->count && h->log[h->durable].zxid <= ev->zxid)
            h->durable++;
        break;
    case EV_LOG_TRUNCATED:
        truncated(m);
        break;
    case EV_SNAP_INSTALLED:
        installed(m);
        break;
    case EV_EPOCH_SAVED:
        h->epoch = ev->epoch;
        break;
    default:
        break;
    }
}

static void appended(struct sim_host *m, const struct log_record *r) {
    struct check_host *h = &m->check;
    zxid_t last = last_of(h);
    bool follows = zxid_epoch(r->zxid) == zxid_epoch(last)
                       ? r->zxid == last + 1
                       : r->zxid > last && zxid_counter(r->zxid) == 0;
    if (!follows)
        world_fail(m->w, "server %u appends " ZXID_FMT " behind " ZXID_FMT, m->id,
                   ZXID_ARGS(r->zxid), ZXID_ARGS(last));
    if (h->truncating || h->installing)
        world_fail(m->w, "server %u appends while its log is being changed", m->id);
    push(h, r->zxid, check_hash(r->zxid, r->payload));
    if (r->kind == LOG_EPOCH)
        fault_trigger(m, MOMENT_APPEND_EPOCH);
}

/* What is committed anywhere is never taken away again. */
static void truncates(struct sim_host *m, zxid_t zxid) {
    struct check_host *h = &m->check;
    size_t keep = until(h, zxid);
    if (zxid < h->base)
        world_fail(m->w, "server %u truncates to " ZXID_FMT ", before its snapshot", m->id,
                   ZXID_ARGS(zxid));
    if (keep < h->count) {
        const struct check_record *r = check_entry_at(m->w->check, h->log[keep].zxid);
        if (r && r->hash == h->log[keep].hash)
            world_fail(m->w, "server %u truncates " ZXID_FMT ", which is committed", m->id,
                       ZXID_ARGS(r->zxid));
    }
    h->truncating = true;
    h->truncate_to = zxid;
    SAY(m->w, "%u truncates its log behind " ZXID_FMT, m->id, ZXID_ARGS(zxid));
    fault_trigger(m, MOMENT_TRUNCATE);
}

void check_updates(struct sim_host *m, const struct updates *u) {
    struct check_host *h = &m->check;
    for (size_t i = 0; i < u->count; i++) {
        const struct update *x = &u->list[i];
        switch (x->type) {
        case UPD_LOG_APPEND:
            appended(m, &x->record);
            break;
        case UPD_LOG_TRUNCATE:
            truncates(m, x->zxid);
            break;
        case UPD_SAVE_EPOCH:
            h->epoch_asked = x->epoch;
            if (x->epoch < h->epoch)
                world_fail(m->w, "server %u takes its promise %u back for %u", m->id, h->epoch,
                           x->epoch);
            fault_trigger(m, MOMENT_SAVE_EPOCH);
            break;
        case UPD_SNAP_BEGIN:
            fault_trigger(m, MOMENT_SNAP_BEGIN);
            break;
        case UPD_SNAP_END:
            h->installing = true;
            h->install_base = h->asked_base = x->zxid;
            h->asked_ended = x->ended;
            fault_trigger(m, MOMENT_SNAP_END);
            break;
        default:
            break;
        }
    }
}
