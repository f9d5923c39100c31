/* Snapshots and purges: a start finds the newest checkpoint that was said to be there, which is the
 * tree of its zxid; what is purged is never needed; and what is superfluous goes. */
#include "tests/sim/sim.h"

#include "replica/server/checkpoint.h"
#include "replica/server/core.h"

#include <stdio.h>
#include <string.h>

#define ZXID_FMT "%u.%u"
#define ZXID_ARGS(z) zxid_epoch(z), zxid_counter(z)
/* What stands around a payload on the disk, with the mark of a batch of its own. */
#define AROUND_RECORD_BYTES 160u

/* ---- a start ---- */

void check_disk_starts(struct sim_host *m) {
    struct check_disk *d = &m->check.disk;
    d->found = d->digest_of = 0;
    d->since = 0;
    d->checking = 0;
    d->not_due = d->was_full = m->full;
    d->older_told = d->gave = false;
}

static bool is_durable(const struct check_host *h, zxid_t zxid) {
    size_t n = check_host_until(h, zxid);
    return n > 0 && n <= h->durable && h->log[n - 1].zxid == zxid;
}

bool check_disk_found(struct sim_host *m, zxid_t begun, zxid_t ended) {
    struct check_host *h = &m->check;
    h->disk.found = begun;
    h->disk.digest_of = begun == ended ? begun : 0;
    return begun == ended && is_durable(h, begun);
}

void check_disk_found_all(struct sim_host *m) {
    struct check_host *h = &m->check;
    struct check_disk *d = &h->disk;
    if (d->found < d->saved && !m->rotten && !disk_snapshots_rotten(m))
        world_fail(m->w,
                   "server %u finds a snapshot of " ZXID_FMT "; one of " ZXID_FMT " was saved",
                   m->id, ZXID_ARGS(d->found), ZXID_ARGS(d->saved));
    d->saved = d->found;
    if (!d->older_told)
        d->purged = d->found;
}

static void passed_over(struct sim_host *m) {
    /* What cannot be read is not passed over either: the start ends. */
    bool failed = mem_files_fault_happened(m->disk);
    if (!m->rotten && !disk_snapshots_rotten(m) && !failed)
        world_fail(m->w, "server %u passes over a snapshot, and nothing is wrong with its disk",
                   m->id);
    m->check.disk.found = m->check.disk.digest_of = 0;
}

/* The log reaches back to before the snapshot: the ends of epochs in between are those that this
 * server has had. */
static void older(struct sim_host *m, const struct event *ev) {
    struct check_host *h = &m->check;
    size_t at = check_host_until(h, ev->zxid), end = check_host_until(h, h->disk.found);
    size_t told = 0;
    bool right = ev->zxid < h->disk.found && ev->zxid >= h->base;
    if (ev->zxid > h->base)
        right = right && at > 0 && h->log[at - 1].zxid == ev->zxid;
    for (; right && at < end; at++) {
        bool ends = at + 1 < end && zxid_epoch(h->log[at].zxid) != zxid_epoch(h->log[at + 1].zxid);
        if (ends)
            right = told < ev->epoch_end_count && ev->epoch_ends[told++] == h->log[at].zxid;
    }
    if (!right || told != ev->epoch_end_count)
        world_fail(m->w, "server %u is told of an older log behind " ZXID_FMT " that it never had",
                   m->id, ZXID_ARGS(ev->zxid));
    h->disk.purged = ev->zxid;
    h->disk.older_told = true;
}

/* ---- purges ---- */

/* As many snapshots as are to be kept can be read with the log that is left, and no segment is left
 * that none of these needs. */
static void purged(struct sim_host *m, zxid_t base) {
    struct check_disk *d = &m->check.disk;
    uint32_t retain = (uint32_t)m->w->plan.snap_retain;
    uint32_t staying = retain + d->gave; /* one that others ask for */
    struct disk_files f;
    disk_list(m, &f);
    uint32_t needing = 0;
    for (uint32_t i = 0; i < f.snap_count; i++)
        needing += f.snaps[i].zxid >= base;
    /* What a replaced history has left goes, and nothing of the log with it. */
    if (base > d->purged && needing < retain)
        world_fail(m->w, "server %u purges its log up to " ZXID_FMT "; %u snapshots need no more",
                   m->id, ZXID_ARGS(base), needing);
    if (base < d->purged)
        world_fail(m->w, "server %u's log begins at " ZXID_FMT " and then at " ZXID_FMT, m->id,
                   ZXID_ARGS(d->purged), ZXID_ARGS(base));
    /* While one is written, or when one was whole and the full disk let nobody know, the store may
     * count fewer than there are. */
    if (base > d->purged && !m->checkpointing && !d->was_full)
        for (uint32_t i = 0; i + 1 < f.segment_count; i++)
            if (f.segments[i].behind >= base && f.snap_count >= staying &&
                f.segments[i + 1].behind < f.snaps[f.snap_count - staying].zxid &&
                f.segments[i + 1].behind >= 0)
                world_fail(m->w, "server %u keeps segment " ZXID_FMT ", which nobody needs", m->id,
                           ZXID_ARGS(f.segments[i].zxid));
    d->purged = base;
    fault_trigger(m, MOMENT_PURGE);
}

/* The bound of docs/recovery.md, as far as it is a matter of bytes: when nothing is under way. */
void check_disk_ran(struct sim_host *m) {
    struct check_host *h = &m->check;
    struct world *w = m->w;
    uint32_t retain = (uint32_t)w->plan.snap_retain;
    bool may_have_more = h->disk.not_due || h->disk.was_full;
    if (!m->member || m->dying || m->checkpointing || h->installing || may_have_more)
        return;
    struct disk_files f;
    disk_list(m, &f);
    for (uint32_t i = 0; i < f.snap_count; i++)
        if (f.snaps[i].size > h->disk.largest)
            h->disk.largest = f.snaps[i].size;
    /* More than stay where the purge waits for the log, and the next one comes before it. */
    bool quiet = !m->syncing && !store_checkpoint_pending(member_store(m->member));
    if (f.snap_count > retain + h->disk.gave + (quiet ? 0 : 2))
        world_fail(w, "server %u has %u snapshots", m->id, f.snap_count);
    if (f.snap_count < retain || !quiet)
        return;
    zxid_t oldest = f.snaps[0].zxid;
    size_t bound = 0, longest = 0;
    for (size_t i = h->count; i > 0; i--) {
        size_t bytes = (size_t)h->log[i - 1].bytes + AROUND_RECORD_BYTES;
        bound += h->log[i - 1].zxid > oldest ? bytes : 0;
        longest = bytes > longest ? bytes : longest;
    }
    /* The segment that the oldest one is in, and the one that is written to, with what is allocated
     * ahead; any may have grown by one batch, whose length only the work bounds. */
    bound += 2 * (2 * (size_t)w->plan.segment_bytes + (64u << 10) + 40 * longest);
    if (f.log_bytes > bound)
        world_fail(w, "server %u's log has %zu bytes; no more than %zu are needed", m->id,
                   f.log_bytes, bound);
}

/* ---- while it runs ---- */

static void saved(struct sim_host *m, zxid_t zxid) {
    struct check_host *h = &m->check;
    if (!is_durable(h, zxid) && zxid != h->base)
        world_fail(m->w, "server %u saves a snapshot of " ZXID_FMT ", which it does not have",
                   m->id, ZXID_ARGS(zxid));
    if (zxid < h->disk.saved)
        world_fail(m->w, "server %u saves a snapshot of " ZXID_FMT " behind that of " ZXID_FMT,
                   m->id, ZXID_ARGS(zxid), ZXID_ARGS(h->disk.saved));
    h->disk.saved = zxid;
    h->disk.checking = false;
    disk_snapshot_anew(m, zxid);
    SAY(m->w, "%u has saved a snapshot of " ZXID_FMT, m->id, ZXID_ARGS(zxid));
}

void check_disk_event(struct sim_host *m, const struct event *ev) {
    struct check_disk *d = &m->check.disk;
    switch (ev->type) {
    case EV_SNAP_RESET:
        passed_over(m);
        break;
    case EV_LOG_OLDER:
        older(m, ev);
        break;
    case EV_CHECKPOINT_SAVED:
        saved(m, ev->zxid);
        break;
    case EV_CHECKPOINT_FAILED:
        d->checking = false;
        d->not_due = true;
        SAY(m->w, "%u's checkpoint fails", m->id);
        break;
    case EV_SNAP_INSTALLED:
        d->since = 0; /* the log begins behind it */
        disk_snapshot_anew(m, 0);
        break;
    case EV_SNAP_RANGE:
        d->gave = d->gave || ev->bytes.len > 0;
        break;
    case EV_LOG_PURGED:
        purged(m, ev->zxid);
        break;
    default:
        break;
    }
}

/* What was applied behind the end of a walk counts for the next checkpoint: at least so much. */
static uint64_t records_behind(const struct sim_host *m, zxid_t ended) {
    zxid_t last = tree_last_zxid(m->core->tree);
    return zxid_counter(last) - (zxid_epoch(last) == zxid_epoch(ended) ? zxid_counter(ended) : 0);
}

void check_disk_update(struct sim_host *m, const struct update *u) {
    struct check_disk *d = &m->check.disk;
    switch (u->type) {
    case UPD_CHECKPOINT_BEGIN:
        d->checking = true;
        d->since = 0;
        SAY(m->w, "%u begins a checkpoint", m->id);
        fault_trigger(m, MOMENT_CHECKPOINT_BEGIN);
        break;
    case UPD_CHECKPOINT_END:
        d->since = records_behind(m, u->zxid);
        fault_trigger(m, MOMENT_CHECKPOINT_END);
        break;
    case UPD_CHECKPOINT_ABANDON:
        d->checking = false;
        d->not_due = true;
        break;
    default:
        break;
    }
}

/* The bound, as far as it is a matter of when. */
void check_disk_stepped(struct sim_host *m) {
    struct check_disk *d = &m->check.disk;
    int64_t count = m->w->plan.snap_count;
    if (d->digest_of != 0) {
        check_loaded(m, d->digest_of);
        d->digest_of = 0;
    }
    if (!m->core || !m->core->started || m->core->stopped || d->checking || d->not_due ||
        count == 0 || !tree_exact(m->core->tree)) {
        d->late = false;
        return;
    }
    /* What came last in a step brings the next one about. */
    bool late = d->late;
    d->late = d->since > (uint64_t)count;
    if (d->late && late)
        world_fail(m->w, "server %u has applied %llu records and begins no checkpoint", m->id,
                   (unsigned long long)d->since);
}

/* The word is answered when a snapshot is there that has all that was applied when it came. */
void check_snap_answer(struct sim_host *m, struct sim_wire *wire, struct slice bytes) {
    char text[256];
    unsigned long long zxid = 0;
    snprintf(text, sizeof text, "%.*s", bytes.len > 0 ? bytes.len : 0, (const char *)bytes.p);
    const char *at = strstr(text, "zxid: 0x");
    SAY(m->w, "%u answers: %s", m->id, text);
    bool repairing = m->core == NULL;
    if (strncmp(text, "no snapshot: ", 13) == 0 || repairing)
        return;
    if (!at || sscanf(at, "zxid: 0x%llx", &zxid) != 1 || (zxid_t)zxid < wire->asked_zxid ||
        (zxid_t)zxid > m->check.disk.saved)
        world_fail(m->w, "server %u answers the word snap, asked at " ZXID_FMT ", with: %s", m->id,
                   ZXID_ARGS(wire->asked_zxid), text);
}
