/* Checkpoints in fair weather and with a full disk: what a start finds of them, what runs beside
 * them, and what is purged when they are there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/store_file.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define Z(counter) zxid_make(1, counter)

static struct model m;

static void setup(void) {
    model_init(&m);
    m.segment_bytes = 700;
    ck_assert_int_eq(model_open(&m), 0);
}

static void teardown(void) { model_close(&m); }

static void reopen(void) {
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_uint_eq(m.why.len, 0);
}

static void retain(int32_t count) {
    m.snap_retain = count;
    reopen();
}

static void sync_now(void) { ck_assert_int_eq(model_sync(&m), 0); }

static void append(size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(&m, false);
    sync_now();
}

/* Of 10 * n records behind that of the epoch, in several segments. */
static void history(size_t n) {
    model_save_epoch(&m, 1);
    model_append(&m, true);
    sync_now();
    for (size_t i = 0; i < n; i++)
        append(10);
}

static void checkpoint(zxid_t zxid) { ck_assert_int_eq(model_checkpoint(&m, zxid), 0); }

static void run(void) {
    store_checkpoint_start(m.store);
    store_checkpoint_run(m.store);
    (void)model_checkpoint_ran(&m);
}

static bool there(const char *name) {
    size_t size = 0;
    char *path = store_file_path(MODEL_DIR, name);
    bool found = mem_files_bytes(m.files, path, &size) != NULL;
    mem_free(path);
    return found;
}

static size_t count_files(const char *prefix) {
    size_t n = 0;
    for (char *path = NULL; (path = mem_files_last(m.files, MODEL_DIR, prefix, n)) != NULL; n++)
        mem_free(path);
    return n;
}

/* ---- a start ---- */

START_TEST(a_start_reads_the_newest_checkpoint_and_only_what_is_behind_it) {
    history(3);
    checkpoint(Z(8));
    checkpoint(Z(20));
    reopen();
    ck_assert_int_eq(m.read.begun, Z(20));
    ck_assert_uint_eq(m.read.count, 10);
    ck_assert_int_eq(m.read_base, 0);
    append(2);
    reopen();
    ck_assert_uint_eq(m.read.count, 12);
}
END_TEST

START_TEST(a_checkpoint_of_the_last_record_leaves_nothing_to_be_read) {
    history(1);
    checkpoint(Z(10));
    reopen();
    ck_assert_uint_eq(m.read.count, 0);
    append(1);
    reopen();
    ck_assert_uint_eq(m.read.count, 1);
}
END_TEST

START_TEST(a_checkpoint_stands_behind_an_installed_snapshot_too) {
    history(1);
    model_snapshot(&m, 2, Z(50), Z(53));
    append(9);
    checkpoint(Z(55));
    reopen();
    ck_assert_int_eq(m.read.begun, Z(55));
    ck_assert_int_eq(m.read_base, Z(50));
    ck_assert_uint_eq(m.read.count, 4);
}
END_TEST

/* It needs no log, and a checkpoint would. */
START_TEST(an_installed_snapshot_stays_where_a_checkpoint_of_its_zxid_is_made) {
    history(1);
    model_snapshot(&m, 2, Z(50), Z(50));
    sync_now();
    checkpoint(Z(50));
    ck_assert_int_eq(m.checkpoint_done.saved_zxid, Z(50));
    ck_assert(!there("snapshot.tmp"));
    reopen();
    append(3);
    checkpoint(Z(50));
    reopen();
    checkpoint(Z(52));
    reopen();
    ck_assert_uint_eq(count_files("snapshot"), 2);
}
END_TEST

START_TEST(the_epochs_that_ended_before_a_checkpoint_are_told) {
    history(1);
    model_save_epoch(&m, 2);
    model_append(&m, true);
    append(3);
    checkpoint(zxid_make(2, 2));
    reopen();
    ck_assert_int_eq(m.read_base, 0);
    ck_assert_uint_eq(m.read_ends, 1);
    ck_assert_int_eq(m.read_end, Z(10));
}
END_TEST

START_TEST(an_unfinished_checkpoint_is_removed_by_a_start) {
    history(1);
    model_checkpoint_begin(&m);
    model_checkpoint_chunk(&m);
    run();
    ck_assert(there("snapshot.tmp"));
    reopen();
    ck_assert(!there("snapshot.tmp"));
    ck_assert_int_eq(m.read.begun, 0);
}
END_TEST

/* ---- beside the log ---- */

START_TEST(what_is_asked_for_while_it_runs_belongs_to_its_next_run) {
    history(1);
    model_checkpoint_begin(&m);
    store_checkpoint_start(m.store);
    while (model_checkpoint_chunk(&m))
        ;
    store_checkpoint_run(m.store);
    ck_assert_int_eq(model_checkpoint_ran(&m), 0);
    ck_assert_uint_eq(m.checkpoint_done.written, 0);
    uint64_t pieces = m.checkpoint_pieces;
    model_checkpoint_end(&m, Z(7));
    ck_assert(store_checkpoint_pending(m.store));
    run();
    ck_assert_uint_eq(m.checkpoint_done.written, pieces);
    ck_assert_int_eq(m.checkpoint_done.saved_zxid, Z(7));
    ck_assert(!store_checkpoint_pending(m.store));
}
END_TEST

START_TEST(the_log_goes_on_at_whatever_stage_a_checkpoint_is) {
    history(1);
    model_checkpoint_begin(&m);
    append(3);
    store_checkpoint_start(m.store);
    append(3);
    store_checkpoint_run(m.store);
    append(3);
    ck_assert_int_eq(model_checkpoint_ran(&m), 0);
    while (model_checkpoint_chunk(&m))
        append(3);
    model_checkpoint_end(&m, Z(12));
    m.handed = m.count;
    store_sync_begin(m.store);
    run();
    int err = store_sync_run(m.store);
    ck_assert_int_eq(model_sync_end(&m, err), 0);
    reopen();
    ck_assert_int_eq(m.read.begun, Z(12));
}
END_TEST

START_TEST(an_abandoned_checkpoint_is_not_told_and_leaves_nothing) {
    history(1);
    model_checkpoint_begin(&m);
    model_checkpoint_chunk(&m);
    store_checkpoint_start(m.store);
    model_checkpoint_abandon(&m);
    store_checkpoint_run(m.store);
    ck_assert_int_eq(model_checkpoint_ran(&m), 0);
    ck_assert_uint_eq(m.checkpoint_done.written, 0);
    run();
    ck_assert(!there("snapshot.tmp"));
    checkpoint(Z(3));
    ck_assert_int_eq(m.checkpoint_done.err, 0);
    reopen();
}
END_TEST

START_TEST(one_that_is_abandoned_too_late_is_a_snapshot_like_any_other) {
    history(1);
    model_checkpoint_whole(&m, Z(7));
    model_checkpoint_abandon(&m);
    run();
    ck_assert_int_eq(m.checkpoint_done.saved_zxid, 0);
    reopen();
    ck_assert_int_eq(m.read.begun, Z(7));
}
END_TEST

START_TEST(one_that_ends_while_a_snapshot_is_installed_goes) {
    retain(2);
    history(1);
    checkpoint(Z(2));
    model_checkpoint_whole(&m, Z(7));
    model_snapshot(&m, 2, Z(50), Z(50));
    m.handed = m.count;
    store_sync_begin(m.store);
    ck_assert_int_eq(store_sync_run(m.store), 0);
    run();
    ck_assert(there("snapshot.0000000100000007"));
    ck_assert_int_eq(model_sync_end(&m, 0), 0);
    ck_assert(model_purge(&m));
    run();
    ck_assert_uint_eq(count_files("snapshot"), 1);
    reopen();
}
END_TEST

/* ---- errors ---- */

/* The n-th call of a checkpoint of three pieces, and of the purge behind it, fails. A sync that
 * says that there is no room has lost what was written: that is told as any other error. */
static bool fail_at(uint64_t n, int err) {
    m.ids = 2;
    mem_files_fault(m.files, n, MEM_FAULT_ERROR, err);
    int got = model_checkpoint(&m, Z(20));
    bool happened = mem_files_fault_happened(m.files);
    mem_files_fault(m.files, 0, MEM_FAULT_ERROR, 0);
    ck_assert(got == 0 || (happened && (got == err || (store_is_full(err) && got == -EIO))));
    return happened;
}

START_TEST(a_full_disk_costs_a_checkpoint_and_nothing_else) {
    uint64_t n = 1, lost = 0;
    for (bool happened = true; happened; n++) {
        model_close(&m);
        setup();
        retain(2);
        history(2);
        checkpoint(Z(4));
        checkpoint(Z(12));
        happened = fail_at(n, n % 2 == 0 ? -ENOSPC : -EDQUOT);
        lost += m.checkpoint_done.err == -EIO;
        if (m.checkpoint_done.err == -EIO)
            reopen(); /* the process ends */
        ck_assert(!there("snapshot.tmp"));
        append(3);
        checkpoint(Z(21));
        reopen();
        ck_assert_int_eq(m.read.begun, Z(21));
        append(3);
        checkpoint(Z(25));
        reopen();
        ck_assert_uint_eq(count_files("snapshot"), 2);
    }
    ck_assert_uint_gt(n, 10);
    ck_assert_uint_eq(lost, 3); /* its file, its name, and the names that go */
}
END_TEST

START_TEST(any_other_error_is_told) {
    for (uint64_t n = 1; n < 8; n++) {
        model_close(&m);
        setup();
        history(2);
        ck_assert(fail_at(n, -EIO));
        ck_assert_int_eq(m.checkpoint_done.err, -EIO);
        ck_assert(!store_is_full(-EIO));
        reopen();
    }
}
END_TEST

START_TEST(what_failed_has_written_nothing) {
    history(1);
    m.ids = 4;
    model_checkpoint_begin(&m);
    model_checkpoint_chunk(&m);
    model_checkpoint_chunk(&m);
    mem_files_fault(m.files, 3, MEM_FAULT_ERROR, -ENOSPC);
    run();
    ck_assert_int_eq(m.checkpoint_done.err, -ENOSPC);
    ck_assert_uint_eq(m.checkpoint_done.written, 0);
    mem_files_fault(m.files, 0, MEM_FAULT_ERROR, 0);
    checkpoint(Z(5));
}
END_TEST

/* ---- the purge ---- */

START_TEST(so_many_snapshots_stay_as_are_to_be_kept_and_the_log_behind_the_oldest) {
    retain(2);
    history(6);
    size_t segments = count_files("log.");
    checkpoint(Z(15));
    ck_assert_uint_eq(count_files("log."), segments);
    checkpoint(Z(35));
    ck_assert_uint_eq(count_files("snapshot"), 2);
    ck_assert_uint_lt(count_files("log."), segments);
    ck_assert_int_le(m.log_base, Z(15));
    ck_assert_int_gt(m.log_base, 0);
    checkpoint(Z(55));
    ck_assert(!there("snapshot.000000010000000f"));
    ck_assert_int_gt(m.log_base, Z(15));
    ck_assert_int_le(m.log_base, Z(35));
    reopen();
    ck_assert_int_eq(m.read.begun, Z(55));
    ck_assert_int_gt(m.read_base, Z(15));
}
END_TEST

START_TEST(the_last_segment_stays_whatever_a_checkpoint_has) {
    retain(1);
    history(4);
    checkpoint(Z(40));
    ck_assert_uint_eq(count_files("log."), 1);
    append(1);
    reopen();
    ck_assert_uint_eq(m.read.count, 1);
}
END_TEST

/* So that a cut of all that is behind a checkpoint does not look like a log that was lost. */
START_TEST(the_record_that_the_oldest_checkpoint_is_of_stays_in_the_log) {
    retain(1);
    history(4);
    char *last = mem_files_last(m.files, MODEL_DIR, "log.", 0);
    zxid_t first = strtoll(strrchr(last, '.') + 1, NULL, 16);
    mem_free(last);
    checkpoint(first - 1);
    ck_assert_uint_eq(count_files("log."), 2);
    model_truncate(&m, first - 1);
    sync_now();
    reopen();
    ck_assert_int_eq(m.read.begun, first - 1);
    append(3);
    checkpoint(first);
    ck_assert_uint_eq(count_files("log."), 1);
}
END_TEST

START_TEST(a_purge_waits_for_the_sync_and_the_cut_that_are_under_way) {
    retain(1);
    history(4);
    model_checkpoint_whole(&m, Z(30));
    model_append(&m, false);
    m.handed = m.count;
    store_sync_begin(m.store);
    run();
    ck_assert(!model_purge(&m));
    ck_assert_int_eq(model_sync_end(&m, store_sync_run(m.store)), 0);
    model_truncate(&m, Z(39));
    ck_assert(!model_purge(&m));
    sync_now();
    ck_assert(model_purge(&m));
    run();
    ck_assert_int_gt(m.log_base, 0);
    reopen();
}
END_TEST

START_TEST(reading_begins_where_the_log_does_after_a_purge) {
    retain(1);
    history(6);
    for (uint32_t i = 0; i < 60; i += 7) /* places that the index remembers */
        ck_assert_int_gt(model_read(&m, Z(i), 200), 0);
    checkpoint(Z(35));
    ck_assert_int_gt(m.log_base, Z(7));
    for (int twice = 0; twice < 2; twice++) {
        for (zxid_t after = 0; after < Z(60); after = after == 0 ? Z(0) : after + 1)
            if (after < m.log_base)
                ck_assert_int_eq(model_read(&m, after, 200), -ENOENT);
            else
                ck_assert_int_gt(model_read(&m, after, 200), 0);
        reopen();
    }
}
END_TEST

START_TEST(a_long_life_takes_no_more_room_than_a_short_one) {
    retain(2);
    history(1);
    uint32_t last = 10;
    int64_t most = 0; /* at the beginning */
    for (int i = 0; i < 20; i++, last += 8) {
        append(4);
        append(4);
        model_next_is_short(&m);
        checkpoint(Z(last + 5));
        int64_t size = store_size_bytes(m.store);
        most = i < 5 && size > most ? size : most;
        ck_assert_int_le(size, 2 * most);
        ck_assert_uint_le(count_files("snapshot"), 2);
    }
    reopen();
    ck_assert_int_le(store_size_bytes(m.store), 2 * most);
}
END_TEST

START_TEST(what_a_crash_kept_from_being_purged_goes_after_the_next_start) {
    retain(1);
    history(4);
    checkpoint(Z(12));
    model_checkpoint_whole(&m, Z(35));
    run();
    reopen();
    ck_assert_uint_eq(count_files("snapshot"), 2);
    append(1);
    ck_assert(model_purge(&m));
    run();
    ck_assert_uint_eq(count_files("snapshot"), 1);
    ck_assert_int_gt(m.log_base, Z(12));
    reopen();
}
END_TEST

/* A purge that is planned, and not carried out when the log is emptied for another reason. */
START_TEST(segments_that_wait_for_their_purge_go_with_the_rest_of_the_log) {
    for (int cut = 0; cut < 2; cut++) {
        model_close(&m);
        setup();
        retain(1);
        history(3);
        zxid_t first = 0;
        char *path = mem_files_last(m.files, MODEL_DIR, "log.", 0);
        ck_assert(sscanf(path, MODEL_DIR "/log.%lx", &first) == 1);
        mem_free(path);
        model_checkpoint_whole(&m, first - 1);
        run();
        ck_assert(model_purge(&m));
        if (cut)
            model_truncate(&m, first - 1);
        else
            model_snapshot(&m, 2, Z(50), Z(50));
        sync_now();
        model_store_close(&m);
        mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
        reopen();
        append(2);
        reopen();
    }
}
END_TEST

/* Its first name is not let go. */
START_TEST(a_purge_that_a_full_disk_refused_is_tried_again_before_another_checkpoint_is_saved) {
    for (int begin = 0; begin < 2; begin++) {
        model_close(&m);
        setup();
        retain(1);
        history(4);
        checkpoint(Z(12));
        model_checkpoint_whole(&m, Z(35));
        run();
        ck_assert(model_purge(&m));
        mem_files_fault(m.files, 4, MEM_FAULT_ERROR, -ENOSPC); /* open, size, close, unlink */
        run();
        ck_assert(mem_files_fault_happened(m.files));
        ck_assert_int_eq(m.checkpoint_done.err, 0);
        ck_assert_uint_eq(count_files("snapshot"), 2);
        ck_assert(!model_purge(&m));
        if (begin)
            model_checkpoint_begin(&m);
        else
            store_retry(m.store);
        ck_assert(model_purge(&m));
        run();
        ck_assert(!there("snapshot.000000010000000c"));
        ck_assert(!model_purge(&m));
    }
}
END_TEST

START_TEST(a_full_disk_of_an_abandoned_checkpoint_is_not_the_next_ones) {
    history(1);
    model_checkpoint_begin(&m);
    model_checkpoint_chunk(&m);
    model_checkpoint_abandon(&m);
    model_checkpoint_whole(&m, Z(7));
    mem_files_fault(m.files, 1, MEM_FAULT_ERROR, -ENOSPC);
    run();
    ck_assert(mem_files_fault_happened(m.files));
    ck_assert_int_eq(m.checkpoint_done.err, 0);
    ck_assert_int_eq(m.checkpoint_done.saved_zxid, Z(7));
    reopen();
    /* An error that is one is told all the same. */
    model_checkpoint_begin(&m);
    model_checkpoint_abandon(&m);
    mem_files_fault(m.files, 1, MEM_FAULT_ERROR, -EIO);
    run();
    ck_assert_int_eq(m.checkpoint_done.err, -EIO);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_checkpoint");
    TCase *t = tcase_create("store_checkpoint");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_start_reads_the_newest_checkpoint_and_only_what_is_behind_it);
    tcase_add_test(t, a_checkpoint_of_the_last_record_leaves_nothing_to_be_read);
    tcase_add_test(t, a_checkpoint_stands_behind_an_installed_snapshot_too);
    tcase_add_test(t, an_installed_snapshot_stays_where_a_checkpoint_of_its_zxid_is_made);
    tcase_add_test(t, the_epochs_that_ended_before_a_checkpoint_are_told);
    tcase_add_test(t, an_unfinished_checkpoint_is_removed_by_a_start);
    tcase_add_test(t, what_is_asked_for_while_it_runs_belongs_to_its_next_run);
    tcase_add_test(t, the_log_goes_on_at_whatever_stage_a_checkpoint_is);
    tcase_add_test(t, an_abandoned_checkpoint_is_not_told_and_leaves_nothing);
    tcase_add_test(t, one_that_is_abandoned_too_late_is_a_snapshot_like_any_other);
    tcase_add_test(t, one_that_ends_while_a_snapshot_is_installed_goes);
    tcase_add_test(t, a_full_disk_costs_a_checkpoint_and_nothing_else);
    tcase_add_test(t, any_other_error_is_told);
    tcase_add_test(t, what_failed_has_written_nothing);
    tcase_add_test(t, so_many_snapshots_stay_as_are_to_be_kept_and_the_log_behind_the_oldest);
    tcase_add_test(t, the_last_segment_stays_whatever_a_checkpoint_has);
    tcase_add_test(t, the_record_that_the_oldest_checkpoint_is_of_stays_in_the_log);
    tcase_add_test(t, a_purge_waits_for_the_sync_and_the_cut_that_are_under_way);
    tcase_add_test(t, reading_begins_where_the_log_does_after_a_purge);
    tcase_add_test(t, a_long_life_takes_no_more_room_than_a_short_one);
    tcase_add_test(t, what_a_crash_kept_from_being_purged_goes_after_the_next_start);
    tcase_add_test(
        t, a_purge_that_a_full_disk_refused_is_tried_again_before_another_checkpoint_is_saved);
    tcase_add_test(t, a_full_disk_of_an_abandoned_checkpoint_is_not_the_next_ones);
    tcase_add_test(t, segments_that_wait_for_their_purge_go_with_the_rest_of_the_log);
    suite_add_tcase(s, t);
    return s;
}
