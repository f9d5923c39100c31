/* The power goes before and after every single call of a promise, a truncation, the installation of
 * a snapshot, and checkpoints with their purges, and again at every call of the start that follows:
 * what comes back is the old state or the new one, and the store goes on from it. */
#include <errno.h>
#include <stdio.h>

#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define TORN_SEEDS 5

typedef bool script_fn(struct model *m);

/* n records in a batch of their own. */
static bool batch(struct model *m, size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(m, false);
    return model_sync(m) == 0;
}

static bool epoch(struct model *m, uint32_t e) {
    model_save_epoch(m, e);
    model_append(m, true);
    return model_sync(m) == 0;
}

static bool cut(struct model *m, zxid_t zxid) {
    model_truncate(m, zxid);
    return model_sync(m) == 0;
}

static bool install(struct model *m, size_t pieces, zxid_t begun, zxid_t ended) {
    model_snapshot(m, pieces, begun, ended);
    return model_sync(m) == 0;
}

static bool promises(struct model *m) {
    for (uint32_t e = 1; e < 6; e++) {
        model_save_epoch(m, e);
        if (model_sync(m) < 0)
            return false;
    }
    return true;
}

/* Within a batch, at the end of one, at the end of a segment, over several segments, and down to
 * nothing; what is appended behind a cut has the zxids of what went. */
static bool truncations(struct model *m) {
    m->segment_bytes = 700;
    if (!epoch(m, 1) || !batch(m, 5) || !batch(m, 4) || !cut(m, zxid_make(1, 7)))
        return false;
    if (!batch(m, 4) || !cut(m, zxid_make(1, 7)) || !batch(m, 6) || !batch(m, 7))
        return false;
    if (!batch(m, 3) || !cut(m, zxid_make(1, 6)) || !epoch(m, 3) || !batch(m, 12))
        return false;
    if (!batch(m, 9) || !batch(m, 2) || !cut(m, zxid_make(2, 5)) || !epoch(m, 4))
        return false;
    return batch(m, 3) && cut(m, 0) && epoch(m, 5) && batch(m, 2);
}

/* Over a log of several segments, over another snapshot, and one that goes with what is behind it.
 */
static bool installations(struct model *m) {
    m->segment_bytes = 700;
    if (!epoch(m, 1) || !batch(m, 9) || !batch(m, 9) || !epoch(m, 2))
        return false;
    if (!install(m, 4, zxid_make(2, 3), zxid_make(2, 6)) || !batch(m, 8) || !batch(m, 3))
        return false;
    if (!cut(m, zxid_make(2, 8)) || !epoch(m, 3) ||
        !install(m, 2, zxid_make(3, 0), zxid_make(3, 0)))
        return false;
    if (!batch(m, 2) || !install(m, 0, zxid_make(3, 9), zxid_make(3, 12)) || !batch(m, 2))
        return false;
    return cut(m, zxid_make(3, 11)) && epoch(m, 4) && batch(m, 1);
}

static bool checkpoint(struct model *m, zxid_t zxid) { return model_checkpoint(m, zxid) == 0; }

/* Beside the log, over several segments, made once more, and each with a purge that takes the ones
 * before and their part of the log; behind an installed snapshot, too. */
static bool checkpoints(struct model *m) {
    m->segment_bytes = 700;
    if (!epoch(m, 1) || !batch(m, 9) || !checkpoint(m, zxid_make(1, 4)) || !batch(m, 9))
        return false;
    for (int again = 0; again < 2; again++)
        if (!checkpoint(m, zxid_make(1, 15)))
            return false;
    if (!epoch(m, 2) || !batch(m, 8) || !checkpoint(m, zxid_make(2, 0)) || !cut(m, zxid_make(2, 3)))
        return false;
    if (!batch(m, 7) || !checkpoint(m, zxid_make(2, 9)) || !batch(m, 2))
        return false;
    if (!install(m, 2, zxid_make(2, 30), zxid_make(2, 33)) || !batch(m, 8))
        return false;
    return checkpoint(m, zxid_make(2, 35)) && batch(m, 2) && checkpoint(m, zxid_make(2, 40));
}

static bool checkpoints_of_two(struct model *m) {
    m->snap_retain = 2;
    model_store_close(m);
    return model_open(m) == 0 && checkpoints(m);
}

static bool checkpoints_of_one(struct model *m) {
    m->snap_retain = 1;
    model_store_close(m);
    return model_open(m) == 0 && checkpoints(m);
}

static bool abandoned(struct model *m) {
    m->segment_bytes = 700;
    if (!epoch(m, 1) || !batch(m, 3))
        return false;
    for (m->ids = 5; m->ids < 8; m->ids++) {
        model_snap_begin(m);
        model_snap_chunk(m);
        model_snap_chunk(m);
        if (model_sync(m) < 0)
            return false;
    }
    model_snap_abandon(m);
    return batch(m, 2);
}

static void restart(struct model *m) {
    int err = model_open(m);
    if (err < 0)
        fprintf(stderr, "# %.*s\n", (int)m->why.len, (const char *)m->why.data);
    ck_assert_int_eq(err, 0);
    ck_assert(model_accept(m));
}

static void check_goes_on(struct model *m) {
    uint32_t e = model_newest(m)->epoch + 1;
    ck_assert(epoch(m, e));
    ck_assert(batch(m, 3));
    ck_assert(cut(m, zxid_make(e, 2)));
    ck_assert(batch(m, 2));
    model_store_close(m);
    mem_files_power_cut(m->files, MEM_CUT_LOSE, 0);
    restart(m);
}

/* A start that does not come to its end, at each of its calls, and the one after it. */
static void cut_the_start(const struct model *stopped, enum mem_cut how, uint64_t seed) {
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        struct model *m = model_clone(stopped);
        mem_files_power_cut(m->files, how, seed);
        mem_files_fault(m->files, n, n % 2 == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER, 0);
        int err = model_open(m);
        happened = mem_files_fault_happened(m->files);
        ck_assert(err == 0 || happened);
        model_store_close(m);
        mem_files_power_cut(m->files, n % 3 == 0 ? MEM_CUT_LOSE : MEM_CUT_TEAR, seed + n);
        restart(m);
        check_goes_on(m);
        model_free(m);
    }
}

static void check_cut(const struct model *stopped, enum mem_cut how, uint64_t seed, bool starts) {
    struct model *m = model_clone(stopped);
    mem_files_power_cut(m->files, how, seed);
    restart(m);
    /* What a start has read is there after the next power cut, too. */
    model_store_close(m);
    mem_files_power_cut(m->files, MEM_CUT_LOSE, 0);
    restart(m);
    check_goes_on(m);
    model_free(m);
    if (starts)
        cut_the_start(stopped, how, seed);
}

static void check_kill(const struct model *stopped) {
    struct model *m = model_clone(stopped);
    mem_files_kill(m->files);
    restart(m);
    model_store_close(m);
    mem_files_power_cut(m->files, MEM_CUT_LOSE, 0);
    restart(m);
    check_goes_on(m);
    model_free(m);
}

/* The script with a fault at its nth call; false when it passed without meeting it. */
static bool run_with_fault(struct model *m, script_fn *script, uint64_t n, enum mem_fault fault) {
    model_init(m);
    ck_assert_int_eq(model_open(m), 0);
    mem_files_fault(m->files, n, fault, -EIO);
    bool passed = script(m);
    bool happened = mem_files_fault_happened(m->files);
    ck_assert(passed || happened);
    model_store_close(m);
    return happened;
}

/* Of a long script only every `thin`th call is looked at in all ways. */
static void everywhere(script_fn *script, uint64_t calls_min, uint64_t thin) {
    static struct model m;
    for (int fault = MEM_FAULT_ERROR; fault <= MEM_FAULT_CUT_AFTER; fault++) {
        uint64_t n = 1;
        for (bool happened = true; happened; n++) {
            bool starts = fault == MEM_FAULT_CUT_AFTER && n % thin == 0;
            happened = run_with_fault(&m, script, n, (enum mem_fault)fault);
            check_kill(&m);
            check_cut(&m, MEM_CUT_KEEP, 0, false);
            check_cut(&m, MEM_CUT_LOSE, 0, starts);
            for (uint64_t seed = 0; seed < TORN_SEEDS / thin; seed++)
                check_cut(&m, MEM_CUT_TEAR, n * TORN_SEEDS + seed, starts && seed == 0);
            model_close(&m);
        }
        ck_assert_uint_gt(n, calls_min);
    }
}

START_TEST(a_promise_is_the_old_or_the_new_one) { everywhere(promises, 20, 1); }
END_TEST

START_TEST(a_truncated_log_is_the_old_or_the_cut_one_and_old_bytes_do_not_come_back) {
    everywhere(truncations, 100, 1);
}
END_TEST

START_TEST(a_snapshot_is_installed_with_nothing_of_before_or_not_at_all) {
    everywhere(installations, 100, 1);
}
END_TEST

START_TEST(an_abandoned_snapshot_leaves_nothing) { everywhere(abandoned, 20, 1); }
END_TEST

START_TEST(with_two_checkpoints_kept_every_start_finds_the_newest_and_the_log_behind_it) {
    everywhere(checkpoints_of_two, 100, 4);
}
END_TEST

START_TEST(with_one_checkpoint_kept_every_start_finds_it_and_the_log_behind_it) {
    everywhere(checkpoints_of_one, 100, 4);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_crash");
    TCase *t = tcase_create("store_crash");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, a_promise_is_the_old_or_the_new_one);
    tcase_add_test(t, a_truncated_log_is_the_old_or_the_cut_one_and_old_bytes_do_not_come_back);
    tcase_add_test(t, a_snapshot_is_installed_with_nothing_of_before_or_not_at_all);
    tcase_add_test(t, an_abandoned_snapshot_leaves_nothing);
    tcase_add_test(t, with_two_checkpoints_kept_every_start_finds_the_newest_and_the_log_behind_it);
    tcase_add_test(t, with_one_checkpoint_kept_every_start_finds_it_and_the_log_behind_it);
    suite_add_tcase(s, t);
    return s;
}
