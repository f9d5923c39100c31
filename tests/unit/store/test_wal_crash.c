/* The power goes before and after every single call that the log makes to its files, and what was
 * not synced is kept, lost or torn: nothing acknowledged is lost, nothing else than the history
 * comes back, and every crash point starts again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

#define TORN_SEEDS 8

static bool batch(struct world *w, size_t n, size_t payload_bytes) {
    w->payload_bytes = payload_bytes;
    for (size_t i = 0; i < n; i++)
        world_append(w, w->appended == 0);
    return world_sync(w) == 0;
}

static const size_t sizes[] = {10, 40, 700, 5000, 1500, 3000, 9000, 20, 100};
#define BATCHES (sizeof sizes / sizeof sizes[0])

/* Makes directories, a first segment, several more, batches within a sector and over many, at the
 * beginning of a segment too. False when the power went. */
static bool write_batches(struct world *w, size_t count) {
    w->segment_bytes = 8192;
    if (world_open(w) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!batch(w, 1 + i % 4, sizes[i]))
            return false;
    return true;
}

/* And closes, starts, goes on in a new epoch. */
static bool script(struct world *w) {
    if (!write_batches(w, BATCHES))
        return false;
    world_store_close(w);
    if (world_open(w) < 0)
        return false;
    world_continue(w);
    return batch(w, 3, 600) && batch(w, 2, 2000) && batch(w, 1, 10);
}

/* As far as the second segment's second batch: for where every call costs many starts. */
static bool short_script(struct world *w) { return write_batches(w, 6); }

static void restart(struct world *w) {
    int err = world_open(w);
    if (err < 0)
        fprintf(stderr, "# %.*s\n", (int)w->why.len, (const char *)w->why.data);
    ck_assert_int_eq(err, 0);
    world_check_history(w);
}

static void check_goes_on(struct world *w) {
    size_t read = w->read;
    world_continue(w);
    w->durable = read;
    ck_assert(batch(w, 2, 900));
    ck_assert(batch(w, 1, 30));
    world_store_close(w);
    restart(w);
    ck_assert_uint_eq(w->read, read + 4);
}

/* What a start read is served; so it must be there after the next power cut as well. */
static void check_read_is_durable(struct world *w) {
    size_t read = w->read;
    world_store_close(w);
    mem_files_power_cut(w->files, MEM_CUT_LOSE, 0);
    w->durable = read;
    restart(w);
    ck_assert_uint_eq(w->read, read);
}

static void check_cut(const struct world *stopped, enum mem_cut cut, uint64_t seed) {
    struct world w;
    world_clone(stopped, &w);
    mem_files_power_cut(w.files, cut, seed);
    restart(&w);
    check_goes_on(&w);
    world_close(&w);
    world_clone(stopped, &w);
    mem_files_power_cut(w.files, cut, seed);
    restart(&w);
    check_read_is_durable(&w);
    check_goes_on(&w);
    world_close(&w);
}

static void check_all_cuts(const struct world *stopped) {
    check_cut(stopped, MEM_CUT_KEEP, 0);
    check_cut(stopped, MEM_CUT_LOSE, 0);
    for (uint64_t seed = 0; seed < TORN_SEEDS; seed++)
        check_cut(stopped, MEM_CUT_TEAR, seed);
}

/* The script with a fault at its nth call; false when it passed without meeting it. */
static bool run_with_fault(struct world *w, bool script_fn(struct world *w), uint64_t n,
                           enum mem_fault fault) {
    world_init(w);
    mem_files_fault(w->files, n, fault, -EIO);
    bool passed = script_fn(w);
    ck_assert(passed || mem_files_fault_happened(w->files));
    bool happened = mem_files_fault_happened(w->files);
    world_store_close(w);
    return happened;
}

static void cut_everywhere(enum mem_fault fault) {
    uint64_t n = 1;
    for (bool happened = true; happened; n++) {
        struct world w;
        happened = run_with_fault(&w, script, n, fault);
        check_all_cuts(&w);
        world_close(&w);
    }
    ck_assert_uint_gt(n, 40);
}

START_TEST(the_power_goes_before_any_call_and_nothing_acknowledged_is_lost) {
    cut_everywhere(MEM_FAULT_CUT_BEFORE);
}
END_TEST

START_TEST(the_power_goes_after_any_call_and_nothing_acknowledged_is_lost) {
    cut_everywhere(MEM_FAULT_CUT_AFTER);
}
END_TEST

START_TEST(any_call_fails_then_the_power_goes_and_nothing_acknowledged_is_lost) {
    cut_everywhere(MEM_FAULT_ERROR);
}
END_TEST

START_TEST(the_process_is_killed_at_any_call_and_what_the_next_reads_is_durable) {
    for (int fault = MEM_FAULT_ERROR; fault <= MEM_FAULT_CUT_AFTER; fault++) {
        uint64_t n = 1;
        for (bool happened = true; happened; n++) {
            struct world w;
            happened = run_with_fault(&w, script, n, (enum mem_fault)fault);
            mem_files_kill(w.files);
            restart(&w);
            if (n % 2 == 0)
                check_read_is_durable(&w);
            check_goes_on(&w);
            world_close(&w);
        }
    }
}
END_TEST

/* A second power cut before or after the nth call of the start after the first. False when it
 * passed. */
static bool cut_the_start(const struct world *cut, uint64_t n, enum mem_fault fault,
                          uint64_t seed) {
    struct world w;
    world_clone(cut, &w);
    mem_files_fault(w.files, n, fault, 0);
    int err = world_open(&w);
    bool happened = mem_files_fault_happened(w.files);
    ck_assert(err == 0 || happened);
    world_store_close(&w);
    mem_files_power_cut(w.files, seed % 4 < 2 ? MEM_CUT_TEAR : MEM_CUT_LOSE, seed);
    restart(&w);
    check_goes_on(&w);
    world_close(&w);
    return happened;
}

static void cut_the_start_everywhere(const struct world *stopped, uint64_t seed) {
    struct world cut;
    world_clone(stopped, &cut);
    mem_files_power_cut(cut.files, seed % 4 == 0 ? MEM_CUT_KEEP : MEM_CUT_TEAR, seed);
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        happened = false;
        for (uint64_t k = 0; k < 4; k++)
            if (cut_the_start(&cut, n, k % 2 == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER,
                              seed * 1000 + n * 4 + k))
                happened = true;
    }
    world_close(&cut);
}

START_TEST(the_power_goes_again_at_any_call_of_the_start) {
    uint64_t n = 1;
    for (bool happened = true; happened; n++) {
        struct world w;
        happened = run_with_fault(&w, short_script, n, MEM_FAULT_CUT_AFTER);
        for (uint64_t seed = 4 * n; seed < 4 * n + 4; seed++)
            cut_the_start_everywhere(&w, seed);
        world_close(&w);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("wal_crash");
    TCase *t = tcase_create("wal_crash");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, the_power_goes_before_any_call_and_nothing_acknowledged_is_lost);
    tcase_add_test(t, the_power_goes_after_any_call_and_nothing_acknowledged_is_lost);
    tcase_add_test(t, any_call_fails_then_the_power_goes_and_nothing_acknowledged_is_lost);
    tcase_add_test(t, the_process_is_killed_at_any_call_and_what_the_next_reads_is_durable);
    tcase_add_test(t, the_power_goes_again_at_any_call_of_the_start);
    suite_add_tcase(s, t);
    return s;
}
