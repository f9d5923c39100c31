/* Logs that are lost as a whole, or whose end is: who lost them knows it. */
#include <errno.h>

#include "common/mem.h"
#include "replica/store/epoch_file.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/members.h"

static struct members ms;

static void setup(void) { members_init(&ms, 3); }

static void setup_alone(void) { members_init(&ms, 1); }

static void teardown(void) { members_close(&ms); }

static void begin(void) {
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
}

static void write_some(size_t count) {
    members_write_many(&ms, members_leader(&ms), count);
    members_run(&ms, 1000);
}

static uint32_t promise_flags(size_t i) {
    struct store_dir d = {.files = mem_files_env(ms.hosts[i].files), .path = (char *)MEMBERS_DIR};
    struct epoch_file e;
    struct buf why = BUF_INIT;
    ck_assert_int_eq(epoch_file_read(&d, &e, &why), 0);
    return e.flags;
}

static void remove_segment(size_t i) {
    char *path = members_segment(&ms, i, 0);
    mem_files_remove(ms.hosts[i].files, path);
    mem_free(path);
}

static void remove_log(size_t i) {
    for (char *path; (path = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "log.", 0)) != NULL;) {
        mem_files_remove(ms.hosts[i].files, path);
        mem_free(path);
    }
}

/* The length stays. */
static void zero_segment(size_t i) {
    char *path = members_segment(&ms, i, 0);
    size_t size = 0;
    (void)mem_files_bytes(ms.hosts[i].files, path, &size);
    void *zeros = mem_zalloc(size);
    mem_files_put(ms.hosts[i].files, path, 0, zeros, size);
    mem_free(zeros);
    mem_free(path);
}

START_TEST(one_alone_that_lost_its_log_is_refused) {
    ms.segment_bytes = 1 << 20;
    begin();
    write_some(20);
    ck_assert_uint_eq(promise_flags(0), EPOCH_LOG);
    members_kill(&ms, 0);
    if (_i == 0)
        zero_segment(0);
    else
        remove_log(0);
    ck_assert_int_eq(members_start(&ms, 0), -EBADMSG);
    ck_assert(members_noted(&ms, 0, "the log is lost, or nothing but zeros is left of it"));
    ck_assert(members_noted(&ms, 0, "restore it from a backup"));
}
END_TEST

/* Nothing was lost: a crash came between the first promise and the first record. */
START_TEST(one_alone_that_never_had_a_log_begins) {
    begin();
    members_kill(&ms, 0);
    remove_log(0);
    struct store_dir d = {.files = mem_files_env(ms.hosts[0].files), .path = (char *)MEMBERS_DIR};
    ck_assert_int_eq(epoch_file_restore(&d, 1, 0, EPOCH_LOG), 0);
    ck_assert_int_eq(members_start(&ms, 0), 0);
    members_run_until_serving(&ms, 1);
}
END_TEST

/* A snapshot that a leader sent takes the place of a log, and one begins behind it. */
START_TEST(a_log_behind_an_installed_snapshot_is_missed_too) {
    ms.snap_retain = 1;
    members_start(&ms, 0);
    members_start(&ms, 1);
    members_run_until_serving(&ms, 2);
    write_some(40);
    for (size_t i = 0; i < 2; i++)
        members_checkpoint(&ms, i);
    write_some(40);
    for (size_t i = 0; i < 2; i++)
        members_checkpoint(&ms, i);
    ck_assert_int_eq(members_start(&ms, 2), 0);
    members_run_until_serving(&ms, 3);
    ck_assert(members_noted(&ms, 2, "a snapshot was installed"));
    write_some(20);
    ck_assert_uint_eq(promise_flags(2), EPOCH_LOG);
    members_kill(&ms, 2);
    remove_log(2);
    ms.hosts[2].cut = true;
    ck_assert_int_eq(members_start(&ms, 2), 0);
    ck_assert_uint_eq(promise_flags(2), EPOCH_LOSSY);
    ms.hosts[2].cut = false;
    members_kill(&ms, 2);
    ck_assert_int_eq(members_start(&ms, 2), 0);
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert_uint_eq(promise_flags(2), EPOCH_LOG);
}
END_TEST

/* What says it may be damaged as well before the repair comes to its end. */
START_TEST(a_lost_end_is_kept_in_mind_before_anything_is_repaired) {
    begin();
    write_some(60);
    members_kill_all(&ms);
    remove_segment(2);
    char *path = members_segment(&ms, 2, 1);
    mem_files_flip_bit(ms.hosts[2].files, path, 300 * 8);
    mem_free(path);
    ck_assert_uint_eq(promise_flags(2) & EPOCH_LOSSY, 0);
    ck_assert_int_eq(members_start(&ms, 2), 0);
    ck_assert(members_repairing(&ms, 2)); /* for nobody is there */
    members_kill(&ms, 2);
    ck_assert_uint_ne(promise_flags(2) & EPOCH_LOSSY, 0);
    begin();
    members_run(&ms, 2000);
    members_check_equal(&ms);
    ck_assert_uint_eq(promise_flags(2) & EPOCH_LOSSY, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_loss");
    TCase *alone = tcase_create("alone");
    tcase_add_checked_fixture(alone, setup_alone, teardown);
    tcase_add_loop_test(alone, one_alone_that_lost_its_log_is_refused, 0, 2);
    tcase_add_test(alone, one_alone_that_never_had_a_log_begins);
    suite_add_tcase(s, alone);
    TCase *t = tcase_create("three");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_log_behind_an_installed_snapshot_is_missed_too);
    tcase_add_test(t, a_lost_end_is_kept_in_mind_before_anything_is_repaired);
    suite_add_tcase(s, t);
    return s;
}
