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
    mem_free(h->found.log);
}

zxid_t check_host_last(const struct check_host *h) {
    return h->count > 0 ? h->log[h->count - 1].zxid : h->base;
}

bool check_follows(zxid_t zxid, zxid_t last) {
    return zxid_epoch(zxid) == zxid_epoch(last) ? zxid == last + 1
                                                : zxid > last && zxid_counter(zxid) == 0;
}

size_t check_host_until(const struct check_host *h, zxid_t zxid) {
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
    size_t n = check_host_until(h, r->zxid);
    return n > 0 && n <= h->durable && h->log[n - 1].zxid == r->zxid &&
           h->log[n - 1].hash == r->hash;
}

bool check_host_blank(const struct check_host *h) { return h->base == 0 && h->durable == 0; }

static void push(struct check_host *h, zxid_t zxid, uint64_t hash, int32_t bytes) {
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 256;
        h->log = mem_realloc(h->log, h->cap * sizeof *h->log);
    }
    h->log[h->count++] = (struct check_record){zxid, hash, bytes};
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
    check_disk_starts(m);
    check_repair_starts(m);
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
    h->found.epoch = epoch;
    if (h->damaged)
        return;
    if (epoch != h->epoch && epoch != h->epoch_asked)
        world_fail(m->w, "server %u finds the promise %u on its disk; it had made %u", m->id, epoch,
                   h->epoch);
    h->epoch = h->epoch_asked = epoch;
}

static void found_base(struct sim_host *m, zxid_t begun, zxid_t ended) {
    struct check_host *h = &m->check;
    h->base_seen = true;
    h->exact_from = ended;
    h->next = check_next_of(m->w->check, begun);
    h->applied = begun;
    if (h->damaged) {
        check_repair_base(m, begun);
        check_disk_found(m, begun, ended);
        return;
    }
    if (h->installing && begun == h->install_base && begun != h->base) {
        h->count = h->durable = 0;
        h->base = begun;
        h->disk = (struct check_disk){.largest = h->disk.largest};
    }
    if (!check_disk_found(m, begun, ended) && begun != h->base)
        world_fail(m->w, "server %u finds a snapshot of " ZXID_FMT "; its log begins at " ZXID_FMT,
                   m->id, ZXID_ARGS(begun), ZXID_ARGS(h->base));
    h->recovered = check_host_until(h, begun);
}

/* As if it had not been there. */
static void found_damage(struct sim_host *m) {
    struct check_host *h = &m->check;
    h->base_seen = false;
    h->found.count = 0;
    h->found.base = 0;
    h->recovered = h->next = 0;
    h->applied = h->exact_from = 0;
}

static void found_record(struct sim_host *m, const struct log_record *r) {
    struct check_host *h = &m->check;
    if (h->damaged) {
        check_repair_record(m, r);
        return;
    }
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

static void found_whole(struct sim_host *m) {
    struct check_host *h = &m->check;
    size_t owed = h->durable;
    if (h->truncating && check_host_until(h, h->truncate_to) < owed)
        owed = check_host_until(h, h->truncate_to);
    if (h->base != 0 && !h->base_seen)
        world_fail(m->w, "server %u does not find the snapshot that its log begins behind", m->id);
    else if (h->recovered < owed)
        world_fail(m->w, "server %u finds %zu records on its disk; %zu had become durable", m->id,
                   h->recovered, owed);
    h->count = h->durable = h->recovered;
}

static void found_all(struct sim_host *m) {
    struct check_host *h = &m->check;
    if (!h->epoch_seen)
        found_epoch(m, 0);
    if (h->damaged)
        check_repair_found_all(m);
    else
        found_whole(m);
    check_disk_found_all(m);
    if (m->mended)
        disk_repaired(m);
    h->damaged = h->truncating = h->installing = h->recovering = false;
    check_deferred_apply(m);
    forget_deferred(h);
}

void check_host_started(struct sim_host *m) {
    if (m->check.recovering)
        world_fail(m->w, "server %u has started and was not told so", m->id);
}

void check_host_failed(struct sim_host *m) {
    struct check_host *h = &m->check;
    if (!h->recovering)
        return;
    h->recovering = h->damaged = false;
    h->durable = h->durable_before;
    h->epoch = h->epoch_before;
    h->epoch_asked = h->asked_before;
    forget_deferred(h);
}

void check_host_dies(struct sim_host *m) { check_host_failed(m); }

/* ---- while it runs ---- */

static void truncated(struct sim_host *m) {
    struct check_host *h = &m->check;
    if (!h->truncating) {
        world_fail(m->w, "server %u is told of a truncation that nobody asked for", m->id);
        return;
    }
    h->truncating = false;
    h->count = check_host_until(h, h->truncate_to);
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
    h->disk.saved = h->disk.purged = h->base;
}

void check_event(struct sim_host *m, const struct event *ev) {
    struct check_host *h = &m->check;
    check_disk_event(m, ev);
    switch (ev->type) {
    case EV_SNAP_RESET:
        found_damage(m);
        break;
    case EV_EPOCH:
        found_epoch(m, ev->epoch);
        break;
    case EV_LOSSY:
        h->lossy = true;
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
    zxid_t last = check_host_last(h);
    if (!check_follows(r->zxid, last))
        world_fail(m->w, "server %u appends " ZXID_FMT " behind " ZXID_FMT, m->id,
                   ZXID_ARGS(r->zxid), ZXID_ARGS(last));
    if (h->truncating || h->installing)
        world_fail(m->w, "server %u appends while its log is being changed", m->id);
    push(h, r->zxid, check_hash(r->zxid, r->payload), r->payload.len > 0 ? r->payload.len : 0);
    if (r->kind == LOG_EPOCH)
        fault_trigger(m, MOMENT_APPEND_EPOCH);
}

/* What is committed anywhere is never taken away again. */
static void truncates(struct sim_host *m, zxid_t zxid) {
    struct check_host *h = &m->check;
    size_t keep = check_host_until(h, zxid);
    if (zxid < h->base || zxid < h->disk.saved)
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
        check_disk_update(m, x);
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
        case UPD_START_OVER:
            world_fail(m->w, "server %u starts over: %.*s", m->id, x->bytes.len,
                       (const char *)x->bytes.p);
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
