/* Long chains of random jobs, with crashes anywhere, held against a model: after a crash the store
 * is as one of the jobs left it, none that was acknowledged is missing, and nothing is mixed.
 * Checkpoints are made beside them, at whatever stage the log's jobs are, and found again.
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
    bool checkpointing, checkpoint_ran; /* their runner was started, and has done its work */
    bool no_room;                       /* a call of that said so */
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
    c->checkpointing = false;
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

static zxid_t draw_cut(struct chain *c) {
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

/* What a checkpoint has is committed, and never cut away; nor is a snapshot, where there may be
 * one. */
static zxid_t any_cut(struct chain *c) {
    const struct model_state *s = model_newest(&c->m);
    zxid_t zxid = draw_cut(c);
    zxid_t newest = model_newest_checkpoint(&c->m);
    if (c->m.checkpoint_count > 0 && s->ended > newest)
        newest = s->ended;
    return zxid > newest ? zxid : newest;
}

/* A leader's snapshot is of more than this server has committed. */
static zxid_t any_begun(struct chain *c, uint32_t epoch) {
    zxid_t begun = zxid_make(epoch, below(c, 20));
    for (size_t i = 0; i < c->m.checkpoint_count; i++)
        if (c->m.checkpoints[i].zxid >= begun)
            begun = c->m.checkpoints[i].zxid + 1;
    return begun;
}

static void snapshot(struct chain *c) {
    uint32_t epoch = model_newest(&c->m)->epoch;
    if (c->m.writing == 0 || below(c, 10) == 0) {
        model_snap_begin(&c->m);
    } else if (below(c, 8) == 0) {
        model_snap_abandon(&c->m);
    } else if (!model_snap_chunk(&c->m) && epoch > 0) {
        zxid_t begun = any_begun(c, epoch);
        model_snap_end(&c->m, begun, begun + below(c, 6));
    }
}

/* ---- checkpoints ---- */

/* Ends one somewhere in what is durable and not to be cut away, behind all that were ended. */
static void end_checkpoint(struct chain *c) {
    const struct model_state *s = &c->m.states[0];
    zxid_t zxid = s->begun;
    if (s->count > 0)
        zxid = s->records[s->count - 1 - below(c, s->count < 9 ? (uint32_t)s->count : 9)].zxid;
    for (size_t i = 0; i < c->m.checkpoint_count; i++)
        if (c->m.checkpoints[i].zxid > zxid)
            return;
    if (zxid < s->ended)
        return; /* the tree is not exact before */
    for (size_t i = 1; i < c->m.count; i++) {
        const struct model_state *later = &c->m.states[i];
        size_t next = 0;
        bool replaced = later->history != s->history && later->snap != 0;
        if (replaced ? zxid >= later->begun : !model_holds(later, zxid, &next))
            return;
    }
    if (zxid > 0 && c->m.checkpoint_count < MODEL_CHECKPOINTS_MAX)
        model_checkpoint_end(&c->m, zxid);
}

static void checkpoint_job(struct chain *c) {
    if (c->m.checkpoint_writing == 0 && below(c, 4) == 0)
        model_checkpoint_begin(&c->m);
    else if (below(c, 12) == 0)
        model_checkpoint_abandon(&c->m);
    else if (c->m.checkpoint_writing != 0 && !model_checkpoint_chunk(&c->m))
        end_checkpoint(c);
}

static bool checkpoint_run(struct chain *c) {
    uint32_t fault = below(c, 12);
    if (fault < 3)
        mem_files_fault(c->m.files, 1 + below(c, 12), fault < 2 ? MEM_FAULT_ERROR : any_fault(c),
                        fault == 0 ? -EIO : -ENOSPC);
    store_checkpoint_run(c->m.store);
    c->checkpoint_ran = true;
    c->no_room = fault == 1 && mem_files_fault_happened(c->m.files);
    bool dead = (fault == 0 || fault == 2) && mem_files_fault_happened(c->m.files);
    mem_files_fault(c->m.files, 0, MEM_FAULT_ERROR, 0);
    return !dead;
}

/* The next thing that their runner can do, if any. False when a fault stopped it. */
static bool checkpoint_step(struct chain *c) {
    if (!c->checkpointing && store_checkpoint_pending(c->m.store)) {
        store_checkpoint_start(c->m.store);
        c->checkpointing = true;
        c->checkpoint_ran = false;
    } else if (c->checkpointing && !c->checkpoint_ran) {
        return checkpoint_run(c);
    } else if (c->checkpointing) {
        c->checkpointing = false;
        int err = model_checkpoint_ran(&c->m);
        /* A sync that says that there is no room has lost what was written before it. */
        if (c->no_room && err == -EIO)
            return false;
        ck_assert(err == 0 || (c->no_room && store_is_full(err)));
        (void)model_purge(&c->m);
    }
    return true;
}

static bool checkpoint_steps(struct chain *c) {
    for (uint32_t n = below(c, 5); n > 0; n--) {
        checkpoint_job(c);
        if (!checkpoint_step(c))
            return false;
    }
    return true;
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
    else if (there && after >= c->m.log_base)
        ck_assert_int_gt(n, 0);
    else
        ck_assert_int_eq(n, -ENOENT);
}

/* ---- chains ---- */

/* False when a fault stopped it. */
static bool sync_now(struct chain *c) {
    c->m.handed = c->m.count;
    store_sync_begin(c->m.store);
    if (!checkpoint_steps(c))
        return false;
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
    if (err == 0 && !checkpoint_steps(c))
        return false;
    if (err == 0 && below(c, 4) == 0)
        read_some(c);
    if (model_sync_end(&c->m, err) < 0)
        return false;
    (void)model_purge(&c->m);
    return true;
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
    c->m.snap_retain = (int32_t)below(c, 3) + 1;
    ck_assert_int_eq(model_open(&c->m), 0);
    for (int i = 0; i < 25; i++) {
        for (uint32_t jobs = below(c, 12); jobs > 0; jobs--)
            any_job(c);
        if (below(c, 5) == 0)
            read_some(c);
        bool alive = checkpoint_steps(c);
        if (alive && store_pending(c->m.store))
            alive = sync_now(c);
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
