/* Long chains of random jobs, with crashes anywhere, held against a model: after a crash the store
 * is as one of the jobs left it, none that was acknowledged is missing, and nothing is mixed.
 * ZKFS_SEED runs one chain, ZKFS_CHAINS so many. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/prng.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

struct chain {
    uint64_t seed;
    struct prng prng;
    struct model m;
};

static uint32_t below(struct chain *c, uint32_t bound) {
    return (uint32_t)prng_below(&c->prng, bound);
}

static void power(struct chain *c) {
    switch (below(c, 4)) {
    case 0:
        mem_files_kill(c->m.files);
        break;
    case 1:
        mem_files_power_cut(c->m.files, MEM_CUT_KEEP, 0);
        break;
    case 2:
        mem_files_power_cut(c->m.files, MEM_CUT_LOSE, 0);
        break;
    default:
        mem_files_power_cut(c->m.files, MEM_CUT_TEAR, prng_next(&c->prng));
        break;
    }
}

static enum mem_fault any_fault(struct chain *c) {
    return below(c, 2) == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER;
}

static void accept(struct chain *c) {
    bool allowed = model_accept(&c->m);
    if (!allowed)
        fprintf(stderr, "# seed %llu\n", (unsigned long long)c->seed);
    ck_assert(allowed);
}

/* A start, and often one that does not come to its end before. */
static void restart(struct chain *c) {
    model_store_close(&c->m);
    power(c);
    while (below(c, 3) == 0) {
        mem_files_fault(c->m.files, 1 + below(c, 40), any_fault(c), 0);
        int err = model_open(&c->m);
        ck_assert(err == 0 || mem_files_fault_happened(c->m.files));
        if (err == 0)
            accept(c);
        model_store_close(&c->m);
        power(c);
    }
    int err = model_open(&c->m);
    if (err < 0)
        fprintf(stderr, "# seed %llu: %.*s\n", (unsigned long long)c->seed, (int)c->m.why.len,
                (const char *)c->m.why.data);
    ck_assert_int_eq(err, 0);
    accept(c);
}

/* ---- jobs ---- */

static void append(struct chain *c, bool epoch) {
    const struct model_state *s = model_newest(&c->m);
    uint32_t last = zxid_epoch(model_last_zxid(s));
    if (s->count == MODEL_RECORDS_MAX)
        return;
    if (epoch && last >= s->epoch)
        model_save_epoch(&c->m, last + 1 + below(c, 2));
    model_append(&c->m, epoch);
}

static zxid_t any_cut(struct chain *c) {
    const struct model_state *s = model_newest(&c->m);
    switch (below(c, 8)) {
    case 0:
        return 0;
    case 1:
        return s->begun;
    case 2:
        return model_last_zxid(s) + below(c, 3);
    case 3:
        return s->count > 0 ? s->records[below(c, (uint32_t)s->count)].zxid + below(c, 4) : 0;
    default:
        return s->count > 0
                   ? s->records[s->count - 1 - below(c, s->count < 12 ? (uint32_t)s->count : 12)]
                         .zxid
                   : model_last_zxid(s);
    }
}

static void snapshot(struct chain *c) {
    uint32_t epoch = model_newest(&c->m)->epoch;
    if (c->m.writing == 0 || below(c, 10) == 0) {
        model_snap_begin(&c->m);
    } else if (below(c, 8) == 0) {
        model_snap_abandon(&c->m);
    } else if (!model_snap_chunk(&c->m) && epoch > 0) {
        zxid_t begun = zxid_make(epoch, below(c, 20));
        model_snap_end(&c->m, begun, begun + below(c, 6));
    }
}

/* ---- reading ---- */

/* Reads behind any place of what is durable. While a cut is on its way, less may come. */
static void read_some(struct chain *c) {
    const struct model_state *s = &c->m.states[0];
    zxid_t after = s->begun;
    size_t next = 0;
    if (s->count > 0 && below(c, 8) > 0)
        after = s->records[below(c, (uint32_t)s->count)].zxid;
    if (below(c, 6) == 0)
        after += (zxid_t)below(c, 5) - 2;
    int n = model_read(&c->m, after, below(c, 4) == 0 ? 0 : below(c, 6000));
    bool there = model_holds(s, after, &next);
    bool behind_end = after >= model_last_zxid(s);
    if (c->m.cut_pending || behind_end)
        ck_assert_int_eq(n, 0);
    else if (there)
        ck_assert_int_gt(n, 0);
    else
        ck_assert_int_eq(n, -ENOENT);
}

/* ---- chains ---- */

/* False when a fault stopped it. */
static bool sync_now(struct chain *c) {
    c->m.handed = c->m.count;
    store_sync_begin(c->m.store);
    if (below(c, 4) == 0)
        read_some(c);
    bool fault = below(c, 6) == 0;
    if (fault)
        mem_files_fault(c->m.files, 1 + below(c, 25),
                        below(c, 3) == 0 ? MEM_FAULT_ERROR : any_fault(c), -EIO);
    int err = store_sync_run(c->m.store);
    if (err == 0 && fault && mem_files_fault_happened(c->m.files))
        return false;
    mem_files_fault(c->m.files, 0, MEM_FAULT_ERROR, 0);
    if (err == 0 && below(c, 4) == 0)
        read_some(c);
    return model_sync_end(&c->m, err) == 0;
}

static void any_job(struct chain *c) {
    if (c->m.count > MODEL_STATES_MAX - 4)
        return;
    uint32_t r = below(c, 100);
    bool empty = model_newest(&c->m)->count == 0 && model_newest(&c->m)->snap == 0;
    if (r < 66)
        append(c, empty || below(c, 12) == 0);
    else if (r < 74)
        model_save_epoch(&c->m, model_newest(&c->m)->epoch + 1 + below(c, 2));
    else if (r < 82 && model_newest(&c->m)->epoch > 0)
        model_truncate(&c->m, any_cut(c));
    else
        snapshot(c);
}

static void run_chain(uint64_t seed) {
    struct chain *c = mem_zalloc(sizeof *c);
    c->seed = seed;
    prng_init(&c->prng, seed);
    model_init(&c->m);
    c->m.segment_bytes = 600 + (int64_t)below(c, 3) * 3000;
    ck_assert_int_eq(model_open(&c->m), 0);
    for (int i = 0; i < 25; i++) {
        for (uint32_t jobs = below(c, 12); jobs > 0; jobs--)
            any_job(c);
        if (below(c, 5) == 0)
            read_some(c);
        bool alive = !store_pending(c->m.store) || sync_now(c);
        if (!alive || below(c, 12) == 0)
            restart(c);
    }
    restart(c);
    model_close(&c->m);
    mem_free(c);
}

START_TEST(any_chain_of_jobs_with_crashes_anywhere_leaves_a_state_that_was_asked_for) {
    const char *one = getenv("ZKFS_SEED");
    const char *many = getenv("ZKFS_CHAINS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 1500;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (seed % 100 == 0 || one != NULL)
            fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        run_chain(seed);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_chain");
    TCase *t = tcase_create("store_chain");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, any_chain_of_jobs_with_crashes_anywhere_leaves_a_state_that_was_asked_for);
    suite_add_tcase(s, t);
    return s;
}
