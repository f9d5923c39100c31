#include "tests/sim/sim_plan.h"

#include "common/prng.h"
#include "tests/sim/sim.h"

typedef void draw_fn(struct sim_plan *plan, struct prng *p);

static struct sim_fault *add(struct sim_plan *plan, struct prng *p, enum sim_fault_type type) {
    static struct sim_fault spare;
    struct sim_fault *f =
        plan->fault_count < SIM_FAULTS_MAX ? &plan->faults[plan->fault_count++] : &spare;
    *f = (struct sim_fault){.type = type, .at_us = prng_range(p, 100 * MS, plan->faults_us)};
    f->until_us = f->at_us + prng_range(p, 10 * MS, 900 * MS);
    uint32_t hosts = plan->voters + plan->observers;
    uint64_t who = prng_below(p, 4);
    f->host = who == 0 ? HOST_LEADER : who == 1 ? HOST_FOLLOWER : (uint32_t)prng_below(p, hosts);
    return f;
}

/* It strikes when something particular goes on, whoever is doing that. */
static void at_moment(struct sim_fault *f, struct prng *p, enum sim_moment moment) {
    f->moment = moment;
    f->until_us -= f->at_us;
    if (prng_chance(p, 3, 4))
        f->host = HOST_OF_MOMENT;
}

static enum sim_moment draw_moment(struct prng *p) {
    return (enum sim_moment)prng_range(p, MOMENT_SYNC, MOMENT_PROPOSE);
}

static void add_crash(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_CRASH);
    f->arg = (uint32_t)prng_range(p, CRASH_KILL, CRASH_TEAR);
    if (prng_chance(p, 1, 2))
        at_moment(f, p, draw_moment(p));
}

static void add_cut_in_sync(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_CUT_IN_SYNC);
    f->arg = (uint32_t)prng_range(p, 1, 12);
    if (prng_chance(p, 2, 3))
        at_moment(f, p, (enum sim_moment)prng_range(p, MOMENT_SYNC, MOMENT_SNAP_END));
}

static void add_partition(struct sim_plan *plan, struct prng *p) {
    static const enum sim_fault_type types[] = {FAULT_PARTITION, FAULT_PARTITION, FAULT_ONE_WAY,
                                                FAULT_DEAF, FAULT_LINK_BREAK};
    struct sim_fault *f = add(plan, p, types[prng_below(p, 5)]);
    f->arg = (uint32_t)prng_next(p);
    if (prng_chance(p, 1, 3))
        at_moment(f, p, draw_moment(p));
}

static void add_slow(struct sim_plan *plan, struct prng *p) {
    static const enum sim_fault_type types[] = {FAULT_SLOW_LINKS, FAULT_SLOW_DISK, FAULT_FREEZE};
    struct sim_fault *f = add(plan, p, types[prng_below(p, 3)]);
    f->arg = (uint32_t)prng_range(p, 5 * MS, 200 * MS);
}

static void add_client_fault(struct sim_plan *plan, struct prng *p) {
    static const enum sim_fault_type types[] = {FAULT_CLIENT_CUT, FAULT_CONN_BREAK,
                                                FAULT_CONN_BREAK, FAULT_INTRUDER};
    struct sim_fault *f = add(plan, p, types[prng_below(p, 4)]);
    f->arg = (uint32_t)prng_below(p, plan->clients);
}

static void add_disk(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_DISK_ERROR);
    f->arg = (uint32_t)prng_range(p, 1, 40);
}

static void many(struct sim_plan *plan, struct prng *p, draw_fn *fn, int low, int high) {
    for (int64_t n = prng_range(p, low, high); n > 0; n--)
        fn(plan, p);
}

static void add_sever(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_SEVER);
    f->host = HOST_LEADER;
    if (prng_chance(p, 1, 3))
        at_moment(f, p, draw_moment(p));
}

static void add_move(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_MOVE);
    f->arg = (uint32_t)prng_below(p, plan->clients);
}

/* Its link breaks while its disk is behind. */
static void add_lag(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *slow = add(plan, p, FAULT_SLOW_DISK);
    slow->arg = (uint32_t)prng_range(p, 40 * MS, 200 * MS);
    slow->host = (uint32_t)prng_below(p, plan->voters);
    struct sim_fault *broken = add(plan, p, FAULT_LINK_BREAK);
    broken->host = slow->host;
    broken->at_us = prng_range(p, slow->at_us, slow->until_us);
    struct sim_fault *crash = add(plan, p, FAULT_CRASH);
    crash->host = slow->host;
    crash->arg = CRASH_LOSE;
    crash->at_us = prng_range(p, broken->at_us, slow->until_us);
    crash->until_us = crash->at_us + 50 * MS;
}

/* One is behind, one loses its disk, or what it wrote last, and one that has all is away: nobody
 * may lead. */
static void add_loss(struct sim_plan *plan, struct prng *p, enum sim_fault_type type) {
    uint32_t first = (uint32_t)prng_below(p, 3);
    struct sim_fault *behind = add(plan, p, FAULT_PARTITION);
    behind->arg = 1u << first;
    behind->at_us = prng_range(p, 200 * MS, plan->faults_us / 2);
    behind->until_us = behind->at_us + 320 * MS;
    struct sim_fault *loses = add(plan, p, type);
    loses->arg = DAMAGE_NEWEST;
    loses->host = (first + 1) % 3;
    loses->at_us = behind->at_us + 300 * MS;
    loses->until_us = loses->at_us + 10 * MS;
    struct sim_fault *away = add(plan, p, FAULT_CRASH);
    away->host = (first + 2) % 3;
    away->at_us = loses->at_us - prng_range(p, 0, 5 * MS);
    away->until_us = away->at_us + 800 * MS;
}

/* ---- checkpoints ---- */

static void add_checkpoint_crash(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_CRASH);
    f->arg = (uint32_t)prng_range(p, CRASH_KILL, CRASH_TEAR);
    at_moment(f, p, (enum sim_moment)prng_range(p, MOMENT_CHECKPOINT_BEGIN, MOMENT_PURGE));
}

static void add_cut_in_checkpoint(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_CUT_IN_CHECKPOINT);
    f->arg = (uint32_t)prng_range(p, 1, 16);
}

static void add_full(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_CHECKPOINT_FULL);
    f->arg = (uint32_t)prng_range(p, 1, 16);
    struct sim_fault *again = add(plan, p, FAULT_SNAP_WORD);
    again->host = f->host;
    again->at_us = f->until_us;
}

static void add_snap_word(struct sim_plan *plan, struct prng *p) {
    (void)add(plan, p, FAULT_SNAP_WORD);
}

static void add_rot_snapshot(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_ROT_SNAPSHOT);
    f->at_us = prng_range(p, plan->faults_us / 3, plan->faults_us); /* when there are some */
    f->until_us = f->at_us + prng_range(p, 5 * MS, 300 * MS);
}

/* Away while the others purge what it lacks. */
static void add_absentee(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, prng_chance(p, 1, 3) ? FAULT_PARTITION : FAULT_CRASH);
    f->host = (uint32_t)prng_below(p, plan->voters + plan->observers);
    f->arg = f->type == FAULT_CRASH ? (uint32_t)CRASH_KILL : 1u << f->host;
    f->at_us = prng_range(p, 200 * MS, plan->faults_us / 2);
    f->until_us = f->at_us + prng_range(p, 400 * MS, plan->faults_us / 2);
}

/* Drawn behind everything else, so that a seed's other draws are those of before. */
static void draw_snapshots(struct sim_plan *plan, struct prng *p, bool calm, bool many_of_them) {
    if (!many_of_them && prng_chance(p, 1, 5))
        return;
    plan->snap_count = prng_range(p, 20, many_of_them || prng_chance(p, 1, 2) ? 50 : 200);
    plan->snap_retain = (int32_t)prng_range(p, 1, 3);
    if (many_of_them || prng_chance(p, 1, 2))
        plan->segment_bytes = prng_range(p, 300, 4000);
    if (prng_chance(p, 1, 4))
        plan->snap_size_bytes = prng_range(p, 2000, 60000);
    many(plan, p, add_snap_word, 0, 2);
    if (calm || prng_chance(p, 1, 3))
        return;
    many(plan, p, add_checkpoint_crash, 0, 2);
    many(plan, p, add_cut_in_checkpoint, 0, 2);
    many(plan, p, add_full, 0, 1);
    if (plan->voters >= 3 && prng_chance(p, 1, 4))
        add_rot_snapshot(plan, p);
}

/* ---- profiles ---- */

static void draw_calm(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_client_fault, 0, 3);
}

static void draw_crashes(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_crash, 2, 10);
    many(plan, p, add_client_fault, 0, 3);
}

static void draw_writes(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_cut_in_sync, 2, 8);
    many(plan, p, add_crash, 1, 4);
}

static void draw_partitions(struct sim_plan *plan, struct prng *p) {
    if (prng_chance(p, 1, 3)) { /* leaders that do not know that they are replaced, and no more */
        plan->clients = 4;
        plan->sync_often = true;
        many(plan, p, add_sever, 2, 5);
        return;
    }
    many(plan, p, add_partition, 2, 8);
    many(plan, p, add_sever, 0, 3);
    many(plan, p, add_client_fault, 0, 3);
}

static void draw_sync(struct sim_plan *plan, struct prng *p) {
    for (int64_t n = prng_range(p, 2, 5); n > 0; n--) {
        struct sim_fault *f = add(plan, p, prng_chance(p, 1, 2) ? FAULT_CRASH : FAULT_PARTITION);
        f->arg = f->type == FAULT_CRASH ? (uint32_t)prng_range(p, CRASH_KILL, CRASH_TEAR)
                                        : (uint32_t)prng_next(p);
        at_moment(f, p, (enum sim_moment)prng_range(p, MOMENT_SYNC, MOMENT_SNAP_END));
    }
    many(plan, p, add_crash, 1, 4);
    many(plan, p, add_cut_in_sync, 0, 2);
}

static void draw_disk(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_disk, 1, 5);
    many(plan, p, add_crash, 0, 3);
    if (plan->voters >= 3 && prng_chance(p, 1, 2))
        (void)add(plan, p, FAULT_ROT);
}

static void draw_absence(struct sim_plan *plan, struct prng *p) {
    if (prng_chance(p, 1, 2)) {
        plan->late_host = (uint32_t)prng_below(p, plan->voters + plan->observers);
        plan->late_us = prng_range(p, plan->faults_us / 4, plan->faults_us);
    }
    bool wiped = plan->voters >= 3 && prng_chance(p, 2, 3);
    if (wiped)
        (void)add(plan, p, FAULT_WIPE);
    if (prng_chance(p, 1, 2)) {
        plan->value_bytes = 280000; /* more than one piece of a snapshot */
        plan->window_bytes = 1;     /* and one at a time, while writes go on */
        plan->paths = 12;
        plan->faults_us = 2000 * MS;
        many(plan, p, add_slow, 1, 3);
        /* Late, when there is much to be sent. */
        if (plan->late_host != SIM_HOSTS_MAX)
            plan->late_us = prng_range(p, plan->faults_us / 2, plan->faults_us);
        for (uint32_t i = 0; i < plan->fault_count; i++)
            if (plan->faults[i].type == FAULT_WIPE && plan->faults[i].at_us < plan->faults_us / 2)
                plan->faults[i].at_us += plan->faults_us / 2;
    }
    if (plan->voters == 3 && plan->late_host == SIM_HOSTS_MAX && !wiped && prng_chance(p, 1, 2)) {
        add_loss(plan, p, FAULT_WIPE);
        return;
    }
    many(plan, p, add_crash, 1, 5);
    many(plan, p, add_partition, 0, 3);
    many(plan, p, add_cut_in_sync, 0, 2);
}

static void draw_rolling(struct sim_plan *plan, struct prng *p) {
    uint32_t hosts = plan->voters + plan->observers;
    int64_t each_us = plan->faults_us / (hosts + 1);
    for (uint32_t i = 0; i < hosts; i++) {
        struct sim_fault *f = add(plan, p, FAULT_CRASH);
        f->host = i;
        f->at_us = each_us * (i + 1) / 2 + 200 * MS;
        f->until_us = f->at_us + each_us / 3;
        f->arg = CRASH_KILL;
    }
}

static void draw_rollover(struct sim_plan *plan, struct prng *p) {
    plan->counter_limit = (uint32_t)prng_range(p, 2, 40);
    many(plan, p, add_crash, 0, 4);
    many(plan, p, add_partition, 0, 4);
    many(plan, p, add_cut_in_sync, 0, 2);
}

static void draw_windows(struct sim_plan *plan, struct prng *p) {
    plan->window_bytes = (uint32_t)prng_range(p, 1, 800);
    plan->recent_bytes = (uint32_t)prng_range(p, 0, 600);
    plan->inflight_max = (uint32_t)prng_range(p, 1, 6);
    plan->inflight_bytes_max = (uint32_t)prng_range(p, 300, 4000);
    plan->think_us /= 3;
    plan->pipeline = 6;
    many(plan, p, add_slow, 1, 5);
    many(plan, p, add_crash, 0, 4);
    many(plan, p, add_partition, 0, 3);
}

static void draw_slow(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_slow, 2, 7);
    many(plan, p, add_lag, 0, 3);
    many(plan, p, add_crash, 0, 2);
}

static void draw_sessions(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_client_fault, 3, 12);
    many(plan, p, add_move, 0, 5);
    many(plan, p, add_crash, 0, 3);
    many(plan, p, add_slow, 0, 2);
    plan->session_timeout_ms = (int32_t)prng_range(p, 250, 600);
}

static void draw_chaos(struct sim_plan *plan, struct prng *p) {
    many(plan, p, add_crash, 0, 8);
    many(plan, p, add_partition, 0, 6);
    many(plan, p, add_slow, 0, 4);
    many(plan, p, add_cut_in_sync, 0, 3);
    many(plan, p, add_client_fault, 0, 6);
    many(plan, p, add_disk, 0, 2);
    many(plan, p, add_sever, 0, 2);
    many(plan, p, add_move, 0, 2);
    if (prng_chance(p, 1, 2))
        (void)add(plan, p, FAULT_WALL_JUMP);
    if (prng_chance(p, 1, 4))
        plan->counter_limit = (uint32_t)prng_range(p, 3, 60);
    if (prng_chance(p, 1, 4))
        plan->window_bytes = (uint32_t)prng_range(p, 1, 3000);
    if (plan->voters >= 3 && prng_chance(p, 1, 6))
        (void)add(plan, p, prng_chance(p, 1, 2) ? FAULT_WIPE : FAULT_ROT);
}

static void draw_checkpoints(struct sim_plan *plan, struct prng *p) {
    plan->think_us /= 3;
    plan->clients = 4;
    many(plan, p, add_absentee, 0, 2);
    many(plan, p, add_checkpoint_crash, 0, 4);
    many(plan, p, add_cut_in_checkpoint, 0, 4);
    many(plan, p, add_full, 0, 2);
    many(plan, p, add_slow, 0, 2);
    many(plan, p, add_crash, 0, 2);
    if (plan->voters >= 3)
        many(plan, p, add_rot_snapshot, 0, 2);
    if (plan->voters >= 3 && prng_chance(p, 1, 6))
        (void)add(plan, p, FAULT_WIPE);
}

static void add_damage(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_DAMAGE);
    f->arg = DAMAGE_ANY;
    f->until_us = f->at_us + prng_range(p, 5 * MS, 400 * MS);
    if (prng_chance(p, 1, 4))
        at_moment(f, p, MOMENT_REPAIR);
}

/* What is wrong with its disk is found when it starts, and that is when it dies again. */
static void add_death_in_repair(struct sim_plan *plan, struct prng *p) {
    if (prng_chance(p, 1, 2)) {
        add(plan, p, FAULT_CUT_IN_REPAIR)->arg = (uint32_t)prng_range(p, 1, 60);
        return;
    }
    struct sim_fault *f = add(plan, p, FAULT_CRASH);
    f->arg = (uint32_t)prng_range(p, CRASH_KILL, CRASH_TEAR);
    f->until_us = f->at_us + prng_range(p, 5 * MS, 100 * MS);
    at_moment(f, p, MOMENT_REPAIR);
}

static void add_full_disk(struct sim_plan *plan, struct prng *p) {
    struct sim_fault *f = add(plan, p, FAULT_FULL);
    f->arg = (uint32_t)prng_range(p, 1, 30000);
}

static void draw_damage(struct sim_plan *plan, struct prng *p) {
    if (plan->voters < 3)
        plan->voters = 3;
    plan->think_us /= 2;
    if (plan->voters == 3 && prng_chance(p, 1, 4)) {
        plan->segment_bytes = prng_range(p, 300, 2000);
        add_loss(plan, p, FAULT_DAMAGE);
        return;
    }
    many(plan, p, add_damage, 1, 4);
    many(plan, p, add_death_in_repair, 0, 3);
    many(plan, p, add_full_disk, 0, 2);
    many(plan, p, add_crash, 0, 3);
    many(plan, p, add_partition, 0, 2);
    many(plan, p, add_rot_snapshot, 0, 1);
    many(plan, p, add_cut_in_sync, 0, 2);
}

const char *const sim_profiles[] = {"calm", "crashes",  "writes",  "partitions",  "sync",
                                    "disk", "absence",  "rolling", "rollover",    "windows",
                                    "slow", "sessions", "chaos",   "checkpoints", "damage"};
static draw_fn *const draw_fns[] = {draw_calm,     draw_crashes,     draw_writes,  draw_partitions,
                                    draw_sync,     draw_disk,        draw_absence, draw_rolling,
                                    draw_rollover, draw_windows,     draw_slow,    draw_sessions,
                                    draw_chaos,    draw_checkpoints, draw_damage};

#define PROFILES ((uint32_t)(sizeof draw_fns / sizeof draw_fns[0]))

uint32_t sim_profile_count(void) { return PROFILES; }

/* Three of ten ensembles are not of three. */
static void draw_ensemble(struct sim_plan *plan, struct prng *p) {
    static const uint32_t sizes[] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 1, 2, 4};
    plan->voters = sizes[prng_below(p, 20)];
    if (prng_chance(p, 1, 60))
        plan->voters = (uint32_t)prng_range(p, 6, 7);
    plan->observers = prng_chance(p, 1, 6) ? (uint32_t)prng_range(p, 1, 2) : 0;
    if (plan->voters == 1 && plan->observers == 0 && prng_chance(p, 1, 2))
        plan->observers = 1;
    for (uint32_t i = 0; i < SIM_HOSTS_MAX; i++)
        plan->weights[i] = 1;
    if (plan->voters >= 6 && prng_chance(p, 1, 2))
        for (uint32_t i = 0; i < plan->voters; i++)
            plan->groups[i] = (uint8_t)(i % 3 + 1);
    plan->uneven = plan->groups[0] != 0 || (plan->voters >= 3 && prng_chance(p, 1, 15));
    for (uint32_t i = 0; plan->uneven && i < plan->voters; i++)
        plan->weights[i] = (uint32_t)prng_range(p, 1, 3);
    plan->late_host = SIM_HOSTS_MAX;
}

static void draw_world(struct sim_plan *plan, struct prng *p) {
    plan->clients = (uint32_t)prng_range(p, 1, 4);
    plan->counter_limit = ZAB_COUNTER_LIMIT;
    plan->window_bytes = 1u << 20;
    plan->recent_bytes = 1u << 20;
    plan->inflight_max = 1000;
    plan->inflight_bytes_max = 16u << 20;
    plan->segment_bytes = prng_range(p, 1, 32) << 10;
    plan->heartbeat_ms = (int32_t)prng_range(p, 30, 100);
    plan->silence_ms = 4 * plan->heartbeat_ms;
    plan->init_ms = (int32_t)prng_range(p, 500, 1500);
    plan->session_timeout_ms = (int32_t)prng_range(p, 600, 1500);
    plan->net_min_us = prng_range(p, 20, 200);
    plan->net_max_us = plan->net_min_us + prng_range(p, 20, 3000);
    plan->disk_min_us = prng_range(p, 20, 500);
    plan->disk_max_us = plan->disk_min_us + prng_range(p, 20, 5000);
    plan->drift_ppm = (int32_t)prng_below(p, 500);
    plan->think_us = prng_range(p, 3 * MS, 25 * MS);
    plan->pipeline = (uint32_t)prng_range(p, 1, 4);
    plan->value_bytes = (uint32_t)prng_range(p, 8, 600);
    plan->paths = (uint32_t)prng_range(p, 3, 12);
    plan->faults_us = prng_range(p, 1500 * MS, 4000 * MS);
    plan->max_steps = 6000;
}

void sim_plan_draw(struct sim_plan *plan, uint64_t seed, int profile, bool plain) {
    struct prng p;
    prng_init(&p, seed);
    *plan = (struct sim_plan){.seed = seed, .plain = plain, .snap_retain = SNAP_RETAIN_DEFAULT};
    uint32_t own = (uint32_t)prng_below(&p, PROFILES);
    plan->profile_index = profile >= 0 ? (uint32_t)profile % PROFILES : own;
    plan->profile = sim_profiles[plan->profile_index];
    draw_ensemble(plan, &p);
    draw_world(plan, &p);
    plan->heal_quorum_only = prng_chance(&p, 1, 4);
    draw_fns[plan->profile_index](plan, &p);
    plan->read_only = prng_chance(&p, 1, 4);
    draw_fn *fn = draw_fns[plan->profile_index];
    if (!plain)
        draw_snapshots(plan, &p, fn == draw_calm, fn == draw_checkpoints);
    /* Not drawn: the other seeds mean what they meant before. */
    plan->staying = !plain && seed % 4 == 3;
    plan->extended = !plain && seed % 8 == 0;
    plan->containers_per_minute = seed / 8 % 4 == 0 ? 600 : 60000;
    plan->container_never_used_ms = seed / 8 % 3 == 0 ? 0 : 200;
}
