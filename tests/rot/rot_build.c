/* The bases: ensembles that wrote for a while, with leaders that changed, a server that came blank,
 * a tail that was cut off, checkpoints under load; and were stopped, in rest or in the middle of
 * something. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/digest.h"
#include "replica/tree/tree_digest.h"
#include "tests/rot/rot.h"

struct building {
    struct rot_set *set;
    struct members ms;
    struct rot_client client;
    struct rot_history history;
    struct mem_files *older[ROT_HOSTS][ROT_OLDER_MAX];
    size_t older_count[ROT_HOSTS];
};

void rot_members(struct members *ms, size_t count) {
    members_init(ms, count);
    ms->segment_bytes = 8192;
    ms->snap_count = 130;
    ms->reserve_bytes = 2048;
}

/* ---- what is true ---- */

int rot_history_find(const struct rot_history *h, uint64_t digest) {
    for (size_t i = h->count; i > 0; i--)
        if (h->digests[i - 1] == digest)
            return (int)i - 1;
    return -1;
}

static void add_digest(struct rot_history *h, uint64_t digest) {
    if (h->count > 0 && h->digests[h->count - 1] == digest)
        return;
    CHECK(h->count < ROT_KNOWN_MAX);
    h->digests[h->count++] = digest;
}

static void note_acked(struct building *b, size_t i) {
    const struct replica *r = members_core(&b->ms, i);
    uint64_t digest = 0;
    zxid_t z = b->history.last_zxid + 1;
    if (zxid_epoch(z) < zxid_epoch(core_last_zxid(r)))
        z = zxid_make(zxid_epoch(core_last_zxid(r)), 1);
    /* Those that were answered together. */
    for (; z < core_last_zxid(r); z++)
        if (digest_find(r, z, &digest))
            add_digest(&b->history, digest);
    add_digest(&b->history, tree_digest(r->tree));
    b->history.acked = b->history.count - 1;
    b->history.last_zxid = core_last_zxid(r);
}

static int compare_ids(const void *a, const void *b) {
    session_id_t x = *(const session_id_t *)a;
    session_id_t y = *(const session_id_t *)b;
    return (x > y) - (x < y);
}

size_t rot_sessions(const struct replica *r, session_id_t out[ROT_SESSIONS_MAX]) {
    size_t n = 0;
    for (const struct session *s = r->sessions.all; s != NULL; s = s->next) {
        CHECK(n < ROT_SESSIONS_MAX);
        if (s->committed)
            out[n++] = s->id;
    }
    qsort(out, n, sizeof *out, compare_ids);
    return n;
}

/* ---- writing ---- */

/* As much as it takes, through whoever serves. */
static void write_many(struct building *b, size_t count) {
    struct prng *p = &b->client.prng;
    for (size_t done = 0; done < count;) {
        size_t i = (size_t)prng_below(p, b->ms.count);
        if (members_serves(&b->ms, i)) {
            CHECK(rot_write(&b->ms, i, &b->client));
            note_acked(b, i);
            done++;
        }
        if (prng_chance(p, 1, 4))
            members_run(&b->ms, 1);
    }
    members_run(&b->ms, 20);
}

/* A disk as it is now. */
static struct mem_files *keep_disk(struct building *b, size_t i) {
    struct rot_set *set = b->set;
    struct mem_files *f = mem_files_clone(b->ms.hosts[i].files);
    mem_files_power_cut(f, MEM_CUT_KEEP, 0);
    CHECK(set->disk_count < ROT_DISKS_MAX);
    return set->disks[set->disk_count++] = f;
}

static void add_moment(struct building *b, size_t i, struct mem_files *f) {
    CHECK(b->older_count[i] < ROT_OLDER_MAX);
    b->older[i][b->older_count[i]++] = f;
}

/* Files may be again as they are here. */
static void keep_moment(struct building *b) {
    for (size_t i = 0; i < b->ms.count; i++)
        add_moment(b, i, keep_disk(b, i));
}

static void start_all(struct building *b) {
    members_start_all(&b->ms);
    members_run_until_serving(&b->ms, b->ms.count);
    members_run(&b->ms, 200);
}

/* Another one leads, and the one before comes back behind its history. */
static void change_leader(struct building *b) {
    members_kill(&b->ms, members_leader(&b->ms));
    if (b->ms.count > 1) {
        members_run_until_serving(&b->ms, b->ms.count - 1);
        write_many(b, 15);
    }
    keep_moment(b);
    start_all(b);
}

/* The leader alone has a few records more, when it is cut off and stopped. */
static size_t leave_tail(struct building *b) {
    struct members *ms = &b->ms;
    size_t leader = members_leader(ms);
    struct members_host *l = &ms->hosts[leader];
    CHECK(members_open(ms, leader));
    l->cut = true;
    for (size_t k = 0; k < ms->count; k++)
        l->linked[k + 1] = ms->hosts[k].linked[leader + 1] = false;
    for (int k = 0; k < 5; k++)
        members_ask_write(ms, leader);
    members_kill(ms, leader);
    l->cut = false;
    members_run_until_serving(ms, ms->count - 1);
    write_many(b, 10);
    return leader;
}

static void write_ensemble(struct building *b) {
    struct members *ms = &b->ms;
    CHECK(members_start(ms, 0) == 0);
    CHECK(members_start(ms, 1) == 0);
    members_run_until_serving(ms, 2);
    write_many(b, 90);
    keep_moment(b);
    start_all(b); /* the third comes blank, and gets a snapshot */
    write_many(b, 50);
    for (int round = 0; round < 3; round++) {
        keep_moment(b);
        change_leader(b);
        write_many(b, 55);
    }
    (void)leave_tail(b);
    keep_moment(b);
    start_all(b);
    write_many(b, 60);
    keep_moment(b);
    change_leader(b);
    write_many(b, 20);
    keep_moment(b);
    write_many(b, 9);
    keep_moment(b);
    write_many(b, 3);
    members_run(ms, 500);
}

static void write_alone(struct building *b) {
    start_all(b);
    for (int round = 0; round < 6; round++) {
        write_many(b, 60);
        keep_moment(b);
        change_leader(b);
    }
    write_many(b, 45);
    keep_moment(b);
    write_many(b, 9);
    keep_moment(b);
    write_many(b, 3);
}

/* ---- bases ---- */

static struct building *building_new(struct rot_set *set, size_t count, uint64_t seed) {
    struct building *b = mem_zalloc(sizeof *b);
    b->set = set;
    rot_members(&b->ms, count);
    prng_init(&b->client.prng, seed);
    return b;
}

static void building_free(struct building *b) {
    members_close(&b->ms);
    mem_free(b);
}

/* An ensemble that goes on from a base, with a life of its own. */
static struct building *go_on(struct rot_set *set, const struct rot_base *base, uint64_t number) {
    struct building *b = building_new(set, base->count, number);
    b->client.made = 100000 * (size_t)number;
    b->history = base->history;
    b->ms.now_ms = base->now_ms;
    for (size_t i = 0; i < base->count; i++) {
        members_take_disk(&b->ms, i, mem_files_clone(base->disks[i]));
        b->ms.hosts[i].randoms = number << 20;
        b->older_count[i] = base->older_count[i];
        memcpy(b->older[i], base->older[i], sizeof base->older[i]);
        add_moment(b, i, base->disks[i]);
    }
    return b;
}

/* What an undamaged ensemble makes of it: which writes that were under way it has at the most, and
 * its sessions; and where each log ends. */
static void find_truth(struct rot_set *set, struct rot_base *base) {
    struct building *b = go_on(set, base, 1);
    struct members *ms = &b->ms;
    for (size_t i = 0; i < base->count; i++) {
        CHECK(members_start(ms, i) == 0);
        CHECK(!members_repairing(ms, i));
        base->last[i] = zab_last_zxid(members_core(ms, i)->zab);
        base->has_all[i] = base->last[i] >= base->history.last_zxid;
        base->torn[i] = members_noted(ms, i, "of an unfinished write");
    }
    members_run_until_serving(ms, base->count);
    members_run(ms, 1000);
    const struct replica *r = members_core(ms, members_leader(ms));
    uint64_t digest = 0;
    for (zxid_t z = base->history.last_zxid + 1; digest_find(r, z, &digest); z++)
        add_digest(&base->history, digest);
    for (size_t i = 0; i < base->count; i++)
        CHECK(tree_digest(members_core(ms, i)->tree) == tree_digest(r->tree));
    int at = rot_history_find(&base->history, tree_digest(r->tree));
    CHECK(at >= (int)base->history.acked);
    base->session_count = rot_sessions(r, base->sessions);
    building_free(b);
}

/* Everything is stopped, and this is how it stays. */
static void stop_as(struct building *b, struct rot_base *base, const char *name) {
    *base = (struct rot_base){.count = b->ms.count, .history = b->history};
    (void)snprintf(base->name, sizeof base->name, "%s", name);
    members_kill_all(&b->ms);
    for (size_t i = 0; i < base->count; i++) {
        base->disks[i] = keep_disk(b, i);
        base->older_count[i] = b->older_count[i];
        memcpy(base->older[i], b->older[i], sizeof b->older[i]);
    }
    base->now_ms = b->ms.now_ms + 1000;
    find_truth(b->set, base);
    building_free(b);
}

static struct rot_base *take_base(struct building *b, const char *name) {
    struct rot_set *set = b->set;
    CHECK(set->count < ROT_BASES_MAX);
    struct rot_base *base = &set->bases[set->count++];
    stop_as(b, base, name);
    return base;
}

void rot_set_close(struct rot_set *set) {
    for (size_t i = 0; i < set->disk_count; i++)
        mem_files_free(set->disks[i]);
    set->disk_count = set->count = 0;
}

/* The power goes while writes are under way: what was not synced is torn. */
static void take_power_cut(struct rot_set *set, const struct rot_base *from, uint64_t number,
                           const char *name) {
    struct building *b = go_on(set, from, number);
    struct members *ms = &b->ms;
    start_all(b);
    write_many(b, 12);
    size_t leader = members_leader(ms);
    CHECK(members_open(ms, leader));
    for (size_t i = 0; i < ms->count; i++)
        mem_files_fault(ms->hosts[i].files, 12 + number % 7 + 5 * i, MEM_FAULT_CUT_BEFORE, 0);
    while (!ms->hosts[leader].stopped && rot_write_burst(ms, leader, &b->client, 3) == 3)
        note_acked(b, leader);
    for (size_t i = 0; i < ms->count; i++) {
        members_kill(ms, i);
        mem_files_power_cut(ms->hosts[i].files, MEM_CUT_TEAR, number + i);
    }
    (void)take_base(b, name);
}

/* One was away for the last writes. */
static void take_behind(struct rot_set *set, const struct rot_base *from) {
    struct building *b = go_on(set, from, 12);
    start_all(b);
    members_kill(&b->ms, (members_leader(&b->ms) + 1) % b->ms.count);
    members_run_until_serving(&b->ms, 2);
    write_many(b, 15);
    (void)take_base(b, "one is behind");
}

/* ---- bases in the middle of something ---- */

/* The last start of `host` ends, by a power cut behind some call, when its disk is as wanted. */
static struct rot_base *take_middle(struct rot_set *set, const struct rot_base *from, size_t host,
                                    bool (*wanted)(const struct mem_files *f), const char *name) {
    for (uint64_t nth = 8; nth < 600; nth++) {
        struct building *b = go_on(set, from, 13);
        struct members *ms = &b->ms;
        mem_files_fault(ms->hosts[host].files, nth, MEM_FAULT_CUT_AFTER, 0);
        for (size_t i = 0; i < ms->count; i++)
            (void)members_start(ms, i);
        for (int k = 0; k < 60 && !mem_files_fault_happened(ms->hosts[host].files); k++)
            members_run(ms, 50);
        CHECK(mem_files_fault_happened(ms->hosts[host].files));
        members_kill_all(ms);
        mem_files_power_cut(ms->hosts[host].files, MEM_CUT_KEEP, 0);
        if (wanted(ms->hosts[host].files))
            return take_base(b, name);
        building_free(b);
    }
    CHECK(false); /* there is such a moment */
}

static bool has_file(const struct mem_files *f, const char *path) {
    size_t size = 0;
    return mem_files_bytes(f, path, &size) != NULL;
}

static bool in_a_cut(const struct mem_files *f) { return has_file(f, MEMBERS_DIR "/cut"); }

static bool in_an_installation(const struct mem_files *f) {
    return has_file(f, MEMBERS_DIR "/snapshot.next");
}

static bool half_installed(const struct mem_files *f) {
    char *first = mem_files_last(f, MEMBERS_DIR, "log.", 0);
    char *third = mem_files_last(f, MEMBERS_DIR, "log.", 2);
    bool half = in_an_installation(f) && first != NULL && third == NULL;
    mem_free(first);
    mem_free(third);
    return half;
}

/* What the file says of how far it is. */
static bool rebuild_phase(const struct mem_files *f, uint8_t phase) {
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(f, MEMBERS_DIR "/rebuild", &size);
    return p != NULL && size == 64 && p[23] == phase;
}

static bool before_a_swap(const struct mem_files *f) { return rebuild_phase(f, 1); }
static bool within_a_swap(const struct mem_files *f) { return rebuild_phase(f, 2); }

static const struct rot_base *take_cut(struct rot_set *set, const struct rot_base *from) {
    struct building *b = go_on(set, from, 14);
    struct rot_base prepared;
    start_all(b);
    size_t host = leave_tail(b);
    stop_as(b, &prepared, "a tail to be cut");
    return take_middle(set, &prepared, host, in_a_cut, "in the middle of a cut");
}

/* The last one was away for so long that nobody's log reaches back. */
static const struct rot_base *take_installation(struct rot_set *set, const struct rot_base *from) {
    struct building *b = go_on(set, from, 15);
    struct rot_base prepared;
    size_t host = 2;
    start_all(b);
    write_many(b, 30); /* what was cut comes back to nobody */
    members_kill(&b->ms, host);
    members_run_until_serving(&b->ms, 2);
    write_many(b, 480);
    stop_as(b, &prepared, "far behind");
    (void)take_middle(set, &prepared, host, half_installed, "an installation, half done");
    return take_middle(set, &prepared, host, in_an_installation, "an installation, begun");
}

/* One was repaired from the others. */
static const struct rot_base *take_swap(struct rot_set *set, const struct rot_base *from) {
    struct building *b = go_on(set, from, 16);
    struct rot_base prepared;
    size_t host = 1;
    start_all(b);
    write_many(b, 80);
    stop_as(b, &prepared, "to be damaged");
    struct rot_base damaged = prepared;
    damaged.disks[host] = mem_files_clone(prepared.disks[host]);
    set->disks[set->disk_count++] = damaged.disks[host];
    char *path = mem_files_last(damaged.disks[host], MEMBERS_DIR, "log.", 1);
    mem_files_flip_bit(damaged.disks[host], path, 8 * 700 + 3);
    mem_free(path);
    (void)take_middle(set, &damaged, host, before_a_swap, "rebuilt, before the swap");
    return take_middle(set, &damaged, host, within_a_swap, "rebuilt, within the swap");
}

/* Whatever was there for a moment may come back. */
static void take_after_all(struct rot_set *set, const struct rot_base *from) {
    struct building *b = go_on(set, from, 17);
    start_all(b);
    write_many(b, 25);
    (void)take_base(b, "after all of that");
}

void rot_build(uint64_t seed, struct rot_set *set) {
    struct building *b = building_new(set, ROT_HOSTS, seed);
    write_ensemble(b);
    const struct rot_base *rest = take_base(b, "at rest");
    take_power_cut(set, rest, 10, "power cut under load");
    take_behind(set, rest);
    take_after_all(set, take_swap(set, take_installation(set, take_cut(set, rest))));
    b = building_new(set, 1, seed + 1);
    write_alone(b);
    take_power_cut(set, take_base(b, "alone, at rest"), 11, "alone, power cut");
}
