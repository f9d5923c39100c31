/* A host's disk: its checkpoints' writes, which go beside the log's, how much room it has, and what
 * becomes of its files while the process is down. */
#include "tests/sim/sim.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/snap_list.h"
#include "replica/store/wal_format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- checkpoints ---- */

/* They have a thread of their own: a run of theirs may end before or behind any of the log's. */
void disk_want_checkpoint(struct sim_host *m) {
    struct world *w = m->w;
    CHECK(!m->checkpointing);
    m->checkpointing = true;
    int64_t us = prng_range(&w->snap, 20, w->plan.disk_max_us);
    if (prng_chance(&w->snap, 1, 20))
        us += prng_range(&w->snap, 5 * MS, 60 * MS);
    world_push(w, w->now_us + us + w->slow_disk_us[m->index], SE_CHECKPOINT_RUN, m->index, m->life);
}

enum sim_crash disk_cut_how(struct sim_host *m) {
    struct world *w = m->w;
    if (!w->plan.plain && prng_chance(&w->snap, 1, 3))
        return CRASH_KILL;
    return prng_chance(&w->disk, 1, 2) ? CRASH_TEAR : CRASH_LOSE;
}

/* Arms what waits for one of the calls of this run. */
static void arm(struct sim_host *m) {
    enum mem_fault cut =
        prng_chance(&m->w->snap, 1, 2) ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER;
    if (m->cut_in_checkpoint > 0)
        mem_files_fault(m->disk, m->cut_in_checkpoint, cut, 0);
    else if (m->full_in_checkpoint > 0)
        mem_files_fault(m->disk, m->full_in_checkpoint, MEM_FAULT_ERROR, -ENOSPC);
}

/* False when the power went. What did not strike waits for a later call. */
static bool disarm(struct sim_host *m, uint64_t calls) {
    uint32_t *armed = m->cut_in_checkpoint > 0 ? &m->cut_in_checkpoint : &m->full_in_checkpoint;
    bool cut = armed == &m->cut_in_checkpoint;
    if (*armed == 0)
        return true;
    bool struck = *armed <= calls;
    *armed = struck ? 0 : *armed - (uint32_t)calls;
    mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    if (!struck || !cut)
        return true;
    host_crash(m, disk_cut_how(m));
    return false;
}

void disk_checkpoint_run(struct sim_host *m) {
    struct world *w = m->w;
    uint64_t calls = mem_files_calls(m->disk);
    arm(m);
    store_checkpoint_run(member_store(m->member));
    m->check.disk.was_full = m->check.disk.was_full || mem_files_fault_happened(m->disk);
    /* A sync that says so is final, whatever it was of (Z7). */
    m->excused = m->excused || mem_files_fault_happened(m->disk);
    if (disarm(m, mem_files_calls(m->disk) - calls))
        world_push(w, w->now_us + prng_range(&w->snap, 0, 80), SE_CHECKPOINT_DONE, m->index,
                   m->life);
}

void disk_checkpoint_done(struct sim_host *m) {
    m->checkpointing = false;
    host_enter(m);
    member_checkpoint_ran(m->member);
    host_leave(m);
    check_disk_ran(m);
    host_wake(m);
}

/* ---- repairs, and no room ---- */

void disk_repair_begins(struct sim_host *m) {
    SAY(m->w, "%u looks at what is left of its disk", m->id);
    if (m->cut_in_repair > 0)
        mem_files_fault(m->disk, m->cut_in_repair,
                        prng_chance(&m->w->snap, 1, 2) ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER,
                        0);
    m->cut_in_repair = 0;
    fault_trigger(m, MOMENT_REPAIR);
}

/* All that is left was written anew. */
void disk_repaired(struct sim_host *m) {
    zxid_t last = check_host_last(&m->check);
    m->mended = m->rotten = false;
    m->rotten_segment_count = 0;
    disk_snapshot_anew(m, 0);
    SAY(m->w, "%u is repaired, up to %u.%u%s", m->id, zxid_epoch(last), zxid_counter(last),
        m->check.lossy ? ", and may have had more" : "");
}

bool disk_fault_happened(const struct sim_host *m) {
    return mem_files_fault_happened(m->disk) || mem_files_room(m->disk)->refused;
}

void disk_fault_forget(struct sim_host *m) {
    if (mem_files_fault_happened(m->disk))
        mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    mem_files_room(m->disk)->refused = false;
}

void disk_fill(struct sim_host *m, uint64_t room_bytes) {
    struct mem_room *r = mem_files_room(m->disk);
    m->full = room_bytes > 0;
    *r = (struct mem_room){.capacity = m->full ? mem_files_used(m->disk) + room_bytes : 0,
                           .half = prng_chance(&m->w->snap, 1, 2)};
    m->check.disk.was_full = m->check.disk.not_due = true;
}

/* ---- what is there ---- */

static void add_file(struct disk_file *files, uint32_t *count, const struct disk_file *file) {
    CHECK(*count < DISK_FILES_MAX);
    uint32_t at = (*count)++;
    for (; at > 0 && files[at - 1].zxid > file->zxid; at--)
        files[at] = files[at - 1];
    files[at] = *file;
}

struct listing {
    const struct sim_host *m;
    struct disk_files *files;
};

static zxid_t behind_of(const struct sim_host *m, const char *name) {
    char path[64];
    size_t size = 0;
    struct wal_header header;
    uint64_t identity;
    snprintf(path, sizeof path, SIM_DIR "/%s", name);
    const uint8_t *bytes = mem_files_bytes(m->disk, path, &size);
    if (size < WAL_HEADER_BYTES || wal_header_decode(bytes, &header, &identity) < 0)
        return -1;
    return header.prev_zxid;
}

static bool snapshot_of(const char *name, zxid_t *ret_zxid) {
    static const char prefix[] = SNAP_FILE_NAME ".";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 &&
           wal_zxid_parse(name + sizeof prefix - 1, ret_zxid);
}

static void take(void *arg, const char *name, size_t size) {
    struct listing *l = arg;
    struct disk_files *f = l->files;
    struct disk_file file = {.size = size};
    if (snapshot_of(name, &file.zxid)) {
        add_file(f->snaps, &f->snap_count, &file);
        f->snap_bytes += size;
    } else if (wal_segment_parse(name, &file.zxid)) {
        file.behind = behind_of(l->m, name);
        add_file(f->segments, &f->segment_count, &file);
        f->log_bytes += size;
    }
}

void disk_list(const struct sim_host *m, struct disk_files *ret_files) {
    *ret_files = (struct disk_files){0};
    mem_files_each(m->disk, SIM_DIR, take, &(struct listing){m, ret_files});
}

/* ---- rot ---- */

struct file_names {
    char names[32][64];
    uint32_t count;
    bool snapshots; /* and nothing else */
};

static void take_name(void *arg, const char *name, size_t size) {
    struct file_names *l = arg;
    zxid_t zxid;
    if (l->count < 32 && (!l->snapshots || snapshot_of(name, &zxid)))
        snprintf(l->names[l->count++], sizeof l->names[0], SIM_DIR "/%s", name);
}

static void list_files(struct sim_host *m, bool snapshots, struct file_names *ret_names) {
    ret_names->count = 0;
    ret_names->snapshots = snapshots;
    mem_files_each(m->disk, SIM_DIR, take_name, ret_names);
}

bool disk_is_whole(const struct sim_host *m) {
    return !check_host_blank(&m->check) && !m->check.lossy && !m->rotten &&
           m->rotten_snap_count == 0;
}

bool disk_snapshots_rotten(const struct sim_host *m) { return m->rotten_snap_count > 0; }

static bool is_rotten(const struct sim_host *m, zxid_t snapshot) {
    for (uint32_t i = 0; i < m->rotten_snap_count; i++)
        if (m->rotten_snaps[i] == snapshot)
            return true;
    return false;
}

void disk_snapshot_anew(struct sim_host *m, zxid_t zxid) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->rotten_snap_count; i++)
        if (zxid != 0 && m->rotten_snaps[i] != zxid)
            m->rotten_snaps[left++] = m->rotten_snaps[i];
    m->rotten_snap_count = left;
}

/* What becomes of a damaged snapshot is known. Of anything else, a start may refuse it. */
static void note_rot(struct sim_host *m, const char *name) {
    zxid_t zxid = 0;
    if (!snapshot_of(name, &zxid) || m->rotten_snap_count == ROTTEN_SNAPS_MAX)
        m->rotten = true;
    else if (!is_rotten(m, zxid))
        m->rotten_snaps[m->rotten_snap_count++] = zxid;
    if (wal_segment_parse(name, &zxid) && m->rotten_segment_count < ROTTEN_SEGMENTS_MAX)
        m->rotten_segments[m->rotten_segment_count++] = zxid;
}

/* A segment whose last record and the mark behind it are both broken looks like one that a power
 * cut has torn: one bit of each, and no more. */
static bool may_flip(const struct sim_host *m, const char *name) {
    zxid_t zxid = 0;
    if (!wal_segment_parse(name, &zxid))
        return true;
    bool struck = m->rotten_segment_count == ROTTEN_SEGMENTS_MAX;
    for (uint32_t i = 0; i < m->rotten_segment_count; i++)
        struck = struck || m->rotten_segments[i] == zxid;
    return !struck;
}

static void flip(struct sim_host *m, struct prng *p, bool snapshots) {
    struct file_names l;
    list_files(m, snapshots, &l);
    for (uint32_t tries = 0; l.count > 0 && tries < 8; tries++) {
        const char *path = l.names[prng_below(p, l.count)];
        size_t size = 0;
        const uint8_t *bytes = mem_files_bytes(m->disk, path, &size);
        if (!bytes || size == 0 || !may_flip(m, path + sizeof SIM_DIR))
            continue;
        uint64_t bit = prng_below(p, size * 8);
        mem_files_flip_bit(m->disk, path, bit);
        note_rot(m, path + sizeof SIM_DIR);
        SAY(m->w, "bit %llu of %u's %s flips", (unsigned long long)bit, m->id, path);
        return;
    }
}

void disk_rot(struct sim_host *m) {
    mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    flip(m, &m->w->chaos, false);
}

void disk_rot_snapshot(struct sim_host *m) { flip(m, &m->w->snap, true); }

static void lose(struct sim_host *m, const char *path, bool zeros) {
    size_t size = 0;
    if (!mem_files_bytes(m->disk, path, &size))
        return;
    SAY(m->w, "%u's %s is %s", m->id, path, zeros ? "zeros" : "lost");
    note_rot(m, path + sizeof SIM_DIR);
    if (!zeros) {
        mem_files_remove(m->disk, path);
        return;
    }
    void *nothing = mem_zalloc(size + 1);
    mem_files_put(m->disk, path, 0, nothing, size);
    mem_free(nothing);
}

void disk_damage(struct sim_host *m, enum sim_damage what) {
    struct prng *p = &m->w->snap;
    struct file_names l;
    mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    if (what == DAMAGE_NEWEST) {
        char *path = mem_files_last(m->disk, SIM_DIR, "log.", 0);
        if (path != NULL)
            lose(m, path, false);
        mem_free(path);
        return;
    }
    list_files(m, false, &l);
    if (l.count == 0 || prng_chance(p, 1, 2)) {
        for (int64_t flips = prng_range(p, 1, 6); flips > 0; flips--)
            flip(m, p, false);
        return;
    }
    lose(m, l.names[prng_below(p, l.count)], prng_chance(p, 1, 2));
}

void disk_wipe(struct sim_host *m) {
    struct file_names l;
    mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    for (list_files(m, false, &l); l.count > 0; list_files(m, false, &l))
        for (uint32_t i = 0; i < l.count; i++)
            mem_files_remove(m->disk, l.names[i]);
    check_host_wiped(m);
    disk_snapshot_anew(m, 0);
    m->wiped = true;
    m->rotten = false;
    m->rotten_segment_count = 0;
    m->refused = false;
    SAY(m->w, "%u has lost its disk", m->id);
}
