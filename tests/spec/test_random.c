/* Short random schedules over the world: what arrives, what reaches the disk, who crashes between
 * two writes, which links break while somebody is being synchronised. The world checks after each
 * event; at the end all faults end, and one leader and new commits are demanded. Each schedule is a
 * seed: ZKFS_SEED=n runs that one only, with its trace; ZKFS_SEEDS of them from ZKFS_SEEDS_FROM on,
 * as many as one likes (CK_RUN_CASE names the kind, CK_DEFAULT_TIMEOUT gives it time). */
#include "tests/spec/spec.h"

#include "common/prng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What disks do besides losing what is not durable. */
enum disks {
    DISKS_SOUND = 0,
    DISKS_VANISH = 1, /* one at a time loses everything */
    DISKS_LOSE = 2,   /* logs lose their ends, which their servers know */
    DISKS_CHECK = 4,  /* checkpoints are made, and the log before them is purged */
    DISKS_FILL = 8,   /* disks are full for a while */
};

struct schedule {
    uint64_t seed;
    const char *kind;
    uint32_t step;
    struct prng random;
    struct zab_world *w;
    uint8_t count;
    uint8_t wiped; /* lost its disk and has no record yet; one at a time */
    unsigned disks;
};

static void schedule_broken(struct zab_world *w, const char *why) {
    const struct schedule *s = w->on_broken_ctx;
    fprintf(stderr, "%.*s", (int)w->trace.len, w->trace.data ? (const char *)w->trace.data : "");
    ck_abort_msg("%s, seed %" PRIu64 ", step %u: %s", s->kind, s->seed, s->step, why);
}

static uint8_t some_server(struct schedule *s) {
    return (uint8_t)(1 + prng_below(&s->random, s->count));
}

/* One that says yes, from a random place on; 0: none. */
static uint8_t find_server(struct schedule *s, bool (*is)(const struct world_server *)) {
    uint8_t from = some_server(s);
    for (uint8_t i = 0; i < s->count; i++) {
        uint8_t id = (uint8_t)((from - 1 + i) % s->count + 1);
        if (is(&s->w->servers[id]))
            return id;
    }
    return 0;
}

static bool is_down(const struct world_server *s) { return !s->z; }
static bool is_up(const struct world_server *s) { return s->z && !s->frozen; }
static bool is_writing(const struct world_server *s) { return is_up(s) && s->disk.job_count > 0; }
static bool is_ready(const struct world_server *s) { return is_up(s) && zab_ready(s->z); }
static bool is_syncing(const struct world_server *s) {
    return is_up(s) && !s->serving && s->role != ZAB_LOOKING;
}

static void step_deliver(struct schedule *s) {
    uint8_t from = some_server(s), to = some_server(s);
    for (uint32_t i = 0; i < (uint32_t)s->count * s->count; i++) {
        if (from != to && world_deliver(s->w, from, to))
            return;
        to = (uint8_t)(to % s->count + 1);
        if (to == 1)
            from = (uint8_t)(from % s->count + 1);
    }
}

static void step_disk(struct schedule *s) {
    uint8_t id = find_server(s, is_writing);
    if (id)
        world_disk_some(s->w, id, 1 + prng_below(&s->random, s->w->servers[id].disk.job_count));
}

static void step_reads(struct schedule *s) {
    uint8_t id = find_server(s, is_up);
    for (uint8_t peer = 1; id && peer <= s->count; peer++)
        if (!world_disk_read(s->w, id, peer) && prng_chance(&s->random, 1, 2))
            world_app_send_piece(s->w, id, peer);
}

static void step_propose(struct schedule *s) {
    uint8_t id = find_server(s, is_ready);
    if (!id)
        return;
    world_clock(s->w, id); /* it may find out that it leads no longer */
    world_pump(s->w, id);
    if (is_ready(&s->w->servers[id]))
        world_propose_sized(s->w, id, (uint32_t)prng_range(&s->random, 8, 60));
}

/* One disk at a time, in an ensemble that was new once: two servers that know nothing cannot tell
 * that one of them was there before (docs/zab.md, blank servers). */
static bool may_be_wiped(const struct schedule *s, uint8_t id) {
    for (uint8_t other = 1; other <= s->count; other++)
        if (other != id && world_durable(s->w, other) == 0)
            return false;
    if (!world_may_lose_all(s->w, id))
        return false;
    return s->wiped == 0 || s->wiped == id;
}

/* What a quorum has acknowledged stays as long as any voter has it. */
static void lose_end(struct schedule *s, uint8_t id) {
    size_t records = prng_below(&s->random, prng_chance(&s->random, 1, 8) ? 1000 : 5);
    if (world_may_lose_end(s->w, id, records))
        world_lose_end(s->w, id, records);
}

/* Power goes: of what was asked of the disk some is there, and the epoch's file is another file. */
static void step_crash(struct schedule *s, uint8_t id) {
    if (!id)
        return;
    size_t jobs = s->w->servers[id].disk.job_count;
    world_crash_torn(s->w, id, prng_below(&s->random, jobs + 1), prng_below(&s->random, 2));
    for (uint8_t peer = 1; peer <= s->count; peer++)
        if (peer != id && prng_chance(&s->random, 1, 2))
            world_lose(s->w, id, peer);
    if (s->disks & DISKS_LOSE && prng_chance(&s->random, 1, 2))
        lose_end(s, id);
    bool wipes = s->disks & DISKS_VANISH && may_be_wiped(s, id);
    if (wipes && prng_chance(&s->random, 1, 3)) {
        world_wipe(s->w, id);
        s->wiped = id;
    }
}

static void step_checkpoint(struct schedule *s) {
    uint8_t id = find_server(s, is_up);
    if (!id || !world_checkpoint(s->w, id) || prng_chance(&s->random, 1, 3))
        return;
    const struct world_disk *d = &s->w->servers[id].disk;
    size_t n = 0;
    while (n < d->log.count && d->log.list[n].zxid <= d->base.begun)
        n++;
    if (n > 0)
        world_purge(s->w, id, d->log.list[prng_below(&s->random, n)].zxid);
}

static void step_full(struct schedule *s) {
    uint8_t id = some_server(s);
    world_full(s->w, id, !s->w->servers[id].full);
}

static void step_sever(struct schedule *s, uint8_t id) {
    uint8_t peer = id && s->w->servers[id].leader ? s->w->servers[id].leader : some_server(s);
    if (!id || id == peer)
        return;
    if (prng_chance(&s->random, 1, 3))
        world_cut(s->w, prng_chance(&s->random, 1, 2) ? id : peer, id);
    else if (prng_chance(&s->random, 1, 2))
        world_sever(s->w, id, peer);
    else
        world_disconnect(s->w, id, peer);
}

static void step_mend(struct schedule *s) {
    uint8_t a = some_server(s), b = some_server(s);
    if (a == b)
        return;
    world_uncut(s->w, a, b);
    world_uncut(s->w, b, a);
    world_mend(s->w, a, b);
}

static void step_fault(struct schedule *s) {
    uint64_t dice = prng_below(&s->random, 100);
    if (dice < 25)
        step_crash(s, find_server(s, is_writing));
    else if (dice < 30)
        step_crash(s, find_server(s, is_up));
    else if (dice < 45)
        step_sever(s, find_server(s, is_syncing));
    else if (dice < 52)
        step_sever(s, some_server(s));
    else if (dice < 80)
        step_mend(s);
    else if (dice < 84)
        s->w->servers[some_server(s)].frozen ^= true;
    else {
        uint8_t id = find_server(s, is_down);
        if (id)
            world_start(s->w, id);
    }
}

static void step(struct schedule *s) {
    uint64_t dice = prng_below(&s->random, 100);
    if (dice < 52)
        step_deliver(s);
    else if (dice < 72)
        step_disk(s);
    else if (dice < 77)
        step_reads(s);
    else if (dice < 86)
        step_propose(s);
    else if (dice < 94)
        world_tick(s->w, prng_range(&s->random, 0, prng_chance(&s->random, 1, 6) ? 400 : 20));
    else if (s->disks & DISKS_CHECK && prng_chance(&s->random, 1, 3))
        step_checkpoint(s);
    else if (s->disks & DISKS_FILL && prng_chance(&s->random, 1, 4))
        step_full(s);
    else
        step_fault(s);
    if (s->wiped && world_durable(s->w, s->wiped) != 0)
        s->wiped = 0;
}

/* Of the voters a minority may stay away for ever; not where a disk was lost, for then all the
 * others may be needed. */
static uint8_t someone_to_miss(struct schedule *s) {
    if (s->disks & (DISKS_VANISH | DISKS_LOSE) || s->w->config.voters < 3 ||
        prng_chance(&s->random, 1, 2))
        return 0;
    uint8_t id = (uint8_t)(1 + prng_below(&s->random, s->w->config.voters));
    for (uint8_t other = 1; other <= (uint8_t)s->w->config.voters; other++)
        if (other != id && world_durable(s->w, other) == 0)
            return 0; /* a blank one counts only when everybody is there */
    return id;
}

/* All faults end: within bounded time there is a leader, and it commits. */
static void recover(struct schedule *s) {
    world_heal(s->w);
    uint8_t missing = someone_to_miss(s);
    if (missing && s->w->servers[missing].z)
        world_crash(s->w, missing, WORLD_LOSE_ALL);
    for (uint8_t id = 1; id <= s->count; id++)
        if (!s->w->servers[id].z && id != missing)
            world_start(s->w, id);
    world_advance(s->w, 3000);
    world_await_leader(s->w, 15000);
    world_advance(s->w, 2500);
    /* A rollover whose promises went with a link ends with init_ms. */
    if (!zab_ready(s->w->servers[world_await_leader(s->w, 1000)].z))
        world_advance(s->w, 11000);
    world_commit(s->w, world_await_leader(s->w, 1000), 3);
    world_advance(s->w, 500);
    world_expect_agreement(s->w);
}

static void schedule_run(const char *kind, uint64_t seed, const struct world_config *config,
                         unsigned disks) {
    struct schedule s = {.seed = seed, .kind = kind, .disks = disks};
    prng_init(&s.random, seed);
    struct world_config c = *config;
    c.quiet = getenv("ZKFS_SEED") == NULL;
    s.count = (uint8_t)(c.voters + c.observers);
    s.w = world_new(&c);
    s.w->on_broken = schedule_broken;
    s.w->on_broken_ctx = &s;
    world_start_all(s.w);
    uint32_t steps = (uint32_t)prng_range(&s.random, 100, 700);
    if (prng_chance(&s.random, 3, 4))
        world_settle(s.w); /* most begin with an ensemble that runs */
    for (s.step = 0; s.step < steps; s.step++)
        step(&s);
    recover(&s);
    ck_assert_str_eq(s.w->broken, "");
    world_free(s.w);
}

static void schedules_run(const char *kind, uint64_t count, const struct world_config *config,
                          unsigned disks) {
    const char *one = getenv("ZKFS_SEED"), *many = getenv("ZKFS_SEEDS");
    const char *from = getenv("ZKFS_SEEDS_FROM");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    if (one) {
        schedule_run(kind, strtoull(one, NULL, 10), config, disks);
        return;
    }
    if (many)
        count = strtoull(many, NULL, 10);
    for (uint64_t seed = first; seed < first + count; seed++)
        schedule_run(kind, seed, config, disks);
}

START_TEST(three_servers_agree_under_random_faults) {
    struct world_config config = {.voters = 3};
    schedules_run("three servers", 600, &config, DISKS_SOUND);
}
END_TEST

START_TEST(five_servers_agree_under_random_faults) {
    struct world_config config = {.voters = 5};
    schedules_run("five servers", 300, &config, DISKS_SOUND);
}
END_TEST

START_TEST(servers_with_narrow_windows_and_observers_agree_under_random_faults) {
    struct world_config config = {
        .voters = 3, .observers = 2, .window_bytes = 80, .recent_bytes = 100, .inflight_max = 12};
    schedules_run("narrow windows", 300, &config, DISKS_SOUND);
}
END_TEST

START_TEST(servers_whose_epochs_end_in_place_agree_under_random_faults) {
    struct world_config config = {.voters = 3, .counter_limit = 4};
    schedules_run("short epochs", 400, &config, DISKS_SOUND);
}
END_TEST

/* Two of three groups have to agree, each by its own majority. */
START_TEST(servers_in_groups_agree_under_random_faults) {
    struct world_config config = {.voters = 7, .weight = {[7] = 2}};
    for (uint8_t id = 1; id <= 7; id++)
        config.group[id] = id <= 3 ? 1 : id <= 6 ? 2 : 3;
    schedules_run("groups", 150, &config, DISKS_SOUND);
}
END_TEST

START_TEST(servers_that_lose_their_disks_one_at_a_time_agree) {
    struct world_config config = {.voters = 3, .recent_bytes = 100};
    schedules_run("wiped disks", 400, &config, DISKS_VANISH);
}
END_TEST

START_TEST(servers_that_lose_the_ends_of_their_logs_agree) {
    struct world_config config = {.voters = 3};
    schedules_run("lost ends", 600, &config, DISKS_LOSE);
}
END_TEST

START_TEST(five_servers_that_lose_ends_and_whole_disks_agree) {
    struct world_config config = {.voters = 5, .observers = 1, .recent_bytes = 100};
    unsigned disks = DISKS_LOSE | DISKS_VANISH | DISKS_CHECK;
    schedules_run("lost ends of five", 300, &config, disks);
}
END_TEST

START_TEST(servers_with_checkpoints_and_purged_logs_agree) {
    struct world_config config = {
        .voters = 3, .observers = 1, .recent_bytes = 100, .window_bytes = 80, .counter_limit = 6};
    schedules_run("checkpoints", 500, &config, DISKS_CHECK);
}
END_TEST

START_TEST(servers_whose_disks_are_full_lose_their_ends_and_are_purged_agree) {
    struct world_config config = {.voters = 3, .observers = 1, .recent_bytes = 100};
    schedules_run("all of it", 500, &config, DISKS_CHECK | DISKS_FILL | DISKS_LOSE);
}
END_TEST

SPEC_SUITE("random", three_servers_agree_under_random_faults,
           five_servers_agree_under_random_faults,
           servers_with_narrow_windows_and_observers_agree_under_random_faults,
           servers_whose_epochs_end_in_place_agree_under_random_faults,
           servers_in_groups_agree_under_random_faults,
           servers_that_lose_their_disks_one_at_a_time_agree,
           servers_that_lose_the_ends_of_their_logs_agree,
           five_servers_that_lose_ends_and_whole_disks_agree,
           servers_with_checkpoints_and_purged_logs_agree,
           servers_whose_disks_are_full_lose_their_ends_and_are_purged_agree)
