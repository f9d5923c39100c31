/* Random schedules of three and five servers: messages in any order between links, crashes that
 * lose what is not durable, links that break with what is on them, one-way partitions; then peace,
 * in which one leader has to come and bring everybody to the same history. */
#include "tests/lib/unit.h"
#include "tests/unit/zab/ensemble.h"

#include <stdio.h>
#include <stdlib.h>

static uint8_t any_server(struct ensemble *e) {
    return (uint8_t)(1 + prng_below(&e->prng, e->count));
}

static void random_pair(struct ensemble *e, uint8_t *ret_a, uint8_t *ret_b) {
    *ret_a = any_server(e);
    do
        *ret_b = any_server(e);
    while (*ret_b == *ret_a);
}

static void some_fault(struct ensemble *e) {
    uint8_t a, b;
    random_pair(e, &a, &b);
    switch (prng_below(&e->prng, 8)) {
    case 0:
    case 1:
        if (ensemble_zab(e, a)) {
            ensemble_crash(e, a, prng_below(&e->prng, ensemble_jobs(e, a) + 1));
            if (prng_chance(&e->prng, 1, 4))
                ensemble_lose_end(e, a, prng_below(&e->prng, 8));
        }
        break;
    case 2:
    case 3:
        ensemble_disconnect(e, a, b);
        break;
    case 4:
        e->links[a - 1][b - 1].held = true;
        break;
    case 5:
        e->links[a - 1][b - 1].held = false;
        if (ensemble_zab(e, a)) {
            zab_full(ensemble_zab(e, a), prng_chance(&e->prng, 1, 2));
            ensemble_pull(e, a);
        }
        break;
    default:
        ensemble_start(e, a);
        break;
    }
}

static void some_step(struct ensemble *e) {
    uint8_t a, b;
    random_pair(e, &a, &b);
    switch (prng_below(&e->prng, 16)) {
    case 0:
        e->now_ms += prng_range(&e->prng, 0, 60);
        ensemble_clock(e, a);
        break;
    case 1:
        ensemble_connect(e, a, b);
        break;
    case 2:
    case 3:
        (void)ensemble_disk(e, a, 1 + prng_below(&e->prng, 3));
        break;
    case 4:
        (void)ensemble_snapshots(e, a);
        break;
    case 5:
    case 6:
        (void)ensemble_propose(e, a, (uint32_t)prng_below(&e->prng, 100));
        break;
    case 7:
        ensemble_sync(e, a);
        break;
    default:
        for (uint64_t n = 1 + prng_below(&e->prng, 4); n > 0; n--)
            (void)ensemble_deliver(e, a, b);
        break;
    }
}

static void vary(struct ensemble *e) {
    struct prng *p = &e->prng;
    if (prng_chance(p, 1, 2))
        e->config.window_bytes = (uint32_t)prng_range(p, 100, 2000);
    if (prng_chance(p, 1, 2))
        e->config.recent_bytes = (uint32_t)prng_range(p, 0, 2000);
    if (prng_chance(p, 1, 3))
        e->config.counter_limit = (uint32_t)prng_range(p, 2, 9);
    if (prng_chance(p, 1, 3))
        e->config.inflight_max = (uint32_t)prng_range(p, 1, 8);
    for (uint32_t i = 0; i < e->count; i++)
        e->servers[i].skew_ms = prng_range(p, 0, 5000);
}

/* A disk that is gone: it comes back blank (one at a time, and never together with others). */
static void wipe(struct ensemble *e, uint8_t id) {
    struct disk *d = &e->servers[id - 1].disk;
    if (ensemble_zab(e, id))
        ensemble_crash(e, id, 0);
    while (d->count > 0)
        blob_unref(d->records[--d->count].payload);
    d->base = d->ended = 0;
    d->epoch = 0;
    d->lossy = false;
}

static void heal(struct ensemble *e) {
    for (uint32_t a = 0; a < e->count; a++)
        for (uint32_t b = 0; b < e->count; b++)
            e->links[a][b].held = false;
    for (int i = 0; i < 200; i++) {
        ensemble_start_all(e);
        ensemble_run(e, 100);
    }
}

static void demand(const struct ensemble *e, bool held, const char *what) {
    if (held)
        return;
    fprintf(stderr, "seed %llu: in peace, %s\n", (unsigned long long)e->seed, what);
    abort();
}

static void check_alike(struct ensemble *e) {
    uint8_t leader = ensemble_leader(e);
    demand(e, leader != 0, "nobody leads");
    zxid_t zxid = ensemble_propose(e, leader, 0);
    for (int i = 0; zxid == 0 && i < 5; i++) {
        ensemble_run(e, 200);
        zxid = ensemble_propose(e, leader, 0);
    }
    demand(e, zxid != 0, "the leader takes no proposal");
    ensemble_run(e, 500);
    for (uint8_t id = 1; id <= e->count; id++) {
        struct zab *z = ensemble_zab(e, id);
        demand(e, zab_serving(z), "a server does not serve");
        demand(e, zab_last_zxid(z) >= zxid, "a server has not got everything");
        demand(e, e->servers[id - 1].applied.count == e->chosen.count, "one has not applied it");
    }
}

struct sums {
    uint64_t syncs[4], commits, reads, epochs;
};

static void run_seed(uint64_t seed, uint8_t voters, uint8_t observers, struct sums *sums) {
    struct ensemble *e = ensemble_new(seed, voters, observers);
    e->trace = getenv("ZAB_TRACE") != NULL;
    vary(e);
    ensemble_start_all(e);
    if (prng_chance(&e->prng, 2, 3))
        ensemble_settle(e);
    uint64_t steps = 200 + prng_below(&e->prng, 1500);
    uint32_t faults = (uint32_t)prng_range(&e->prng, 0, 40);
    uint64_t wipe_at = prng_chance(&e->prng, 1, 6) ? prng_below(&e->prng, steps) : UINT64_MAX;
    for (uint64_t i = 0; i < steps; i++) {
        if (i == wipe_at) { /* all others are whole, so nothing is lost by it */
            heal(e);
            wipe(e, voters > 1 ? any_server(e) : (uint8_t)e->count);
        }
        if (prng_chance(&e->prng, faults, 1000))
            some_fault(e);
        else
            some_step(e);
    }
    for (uint32_t i = 0; i < e->count; i++) {
        const char *fatal = e->servers[i].fatal;
        if (fatal) {
            fprintf(stderr, "seed %llu: server %u: %s\n", (unsigned long long)seed, i + 1, fatal);
            abort();
        }
    }
    heal(e);
    check_alike(e);
    for (int i = 0; i < 4; i++)
        sums->syncs[i] += e->syncs[i];
    sums->commits += e->chosen.count;
    ensemble_free(e);
}

static void run_many(uint64_t first, uint64_t count, uint8_t voters, uint8_t observers) {
    struct sums sums = {0};
    const char *only = getenv("ZAB_SEED"), *many = getenv("ZAB_SEEDS");
    if (only) {
        first = strtoull(only, NULL, 10);
        count = 1;
    } else if (many) {
        count = strtoull(many, NULL, 10);
    }
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, voters, observers, &sums);
    fprintf(stderr, "# %u voters, %u observers: DIFF %llu TRUNC %llu SNAP %llu, %llu committed\n",
            voters, observers, (unsigned long long)sums.syncs[ZAB_SYNC_DIFF],
            (unsigned long long)sums.syncs[ZAB_SYNC_TRUNC],
            (unsigned long long)sums.syncs[ZAB_SYNC_SNAP], (unsigned long long)sums.commits);
    if (!only) {
        ck_assert(sums.syncs[ZAB_SYNC_DIFF] > 0);
        ck_assert(sums.commits > 0);
    }
}

START_TEST(three_servers_agree_whatever_happens) { run_many(1, 200, 3, 0); }
END_TEST

START_TEST(five_servers_agree_whatever_happens) { run_many(1000000, 100, 5, 0); }
END_TEST

START_TEST(observers_agree_with_the_voters) { run_many(2000000, 100, 3, 2); }
END_TEST

START_TEST(one_server_with_observers_and_crashes) { run_many(3000000, 50, 1, 2); }
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab_random");
    TCase *t = tcase_create("random");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, three_servers_agree_whatever_happens);
    tcase_add_test(t, five_servers_agree_whatever_happens);
    tcase_add_test(t, observers_agree_with_the_voters);
    tcase_add_test(t, one_server_with_observers_and_crashes);
    suite_add_tcase(s, t);
    return s;
}
