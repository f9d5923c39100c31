/* The member between a core and an env that are both played here: what it feeds, in which order it
 * carries out, and how syncs are grouped. */
#include "replica/member.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/unit.h"
#include "tests/unit/store/played.h"

START_TEST(a_start_begins_an_epoch_and_syncs_with_the_first_flush) {
    ck_assert_int_eq(played_start(), 0);
    played_expect("start ");
    member_flush(played.m);
    played_expect("sync ");
    played_sync();
    played_expect("saved:1 synced:100000000 ");
    member_flush(played.m);
    played_expect("");
}
END_TEST

START_TEST(a_second_start_reads_the_log_before_it_begins) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("a");
    played_frame("b");
    member_flush(played.m);
    played_sync();
    member_free(played.m);
    played.m = NULL;
    buf_reset(&played.trace);
    ck_assert_int_eq(played_start(), 0);
    played_expect("epoch:1 record:100000000 record:100000001 record:100000002 start ");
}
END_TEST

START_TEST(everything_of_one_wake_up_shares_a_sync) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_answer_text(EV_LOG_SYNCED, UPD_SEND, "done");
    played_frame("a");
    played_frame("b");
    played_frame("c");
    member_flush(played.m);
    played_expect("frame(a) frame(b) frame(c) sync ");
    played_sync();
    played_expect("synced:100000003 send:5(done) ");
}
END_TEST

START_TEST(what_comes_during_a_sync_shares_the_next) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("a");
    member_flush(played.m);
    played_frame("b");
    member_flush(played.m);
    played_frame("c");
    member_flush(played.m);
    played_expect("frame(a) sync frame(b) frame(c) ");
    played_sync();
    played_expect("synced:100000001 sync ");
    played_sync();
    played_expect("synced:100000003 ");
}
END_TEST

START_TEST(a_sync_may_end_within_the_call_that_begins_it) {
    played.sync_inline = true;
    ck_assert_int_eq(played_start(), 0);
    played_answer_append(EV_LOG_SYNCED, LOG_TXN);
    played.scripts[EV_LOG_SYNCED].times = 3;
    member_flush(played.m);
    played_expect(
        "start sync saved:1 synced:100000000 sync synced:100000001 sync synced:100000002 sync "
        "synced:100000003 ");
}
END_TEST

START_TEST(updates_are_carried_out_in_order) {
    played_started();
    played_answer_text(EV_TICK, UPD_NOTE, "n");
    played_answer_text(EV_TICK, UPD_SEND, "s");
    played_answer(EV_TICK, UPD_PAUSE)->conn = 5;
    played_answer(EV_TICK, UPD_RESUME)->conn = 5;
    played_answer(EV_TICK, UPD_DEADLINE)->mono_ms = 123;
    played_answer_text(EV_TICK, UPD_CLOSE, "bye");
    member_tick(played.m);
    played_expect("tick note:0(n) send:5(s) pause:5 resume:5 timer:123 close:5(bye) ");
}
END_TEST

START_TEST(every_kind_of_client_event_is_fed) {
    played_started();
    uint8_t addr[] = {10, 1, 2, 3};
    member_client_open(played.m, 5, (struct slice){addr, 4}, 40000);
    played_frame("f");
    member_client_word(played.m, 5, (struct slice){(const uint8_t *)"ruok", 4});
    member_client_closed(played.m, 5);
    played_expect("open@10.3:40000 frame(f) word(ruok)[fds 12] closed ");
}
END_TEST

START_TEST(events_that_come_within_a_step_wait_for_its_end) {
    played_started();
    played_answer_text(EV_TICK, UPD_SEND, "one");
    played_answer_text(EV_TICK, UPD_SEND, "two");
    played.call_back = true;
    member_tick(played.m);
    played_expect("tick send:5(one) send:5(two) open@127.9:1234 frame(nested) ");
}
END_TEST

START_TEST(a_failed_sync_is_told_and_the_stop_is_final) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_answer_text(EV_DISK_FAILED, UPD_STOP, "the disk");
    played_answer_text(EV_DISK_FAILED, UPD_SEND, "never");
    played_frame("a");
    member_flush(played.m);
    buf_reset(&played.trace);
    mem_files_fault(played.files, 1, MEM_FAULT_ERROR, -EIO);
    played_frame("b");
    played_sync();
    played_expect(
        "frame(b) disk-failed(the log cannot be written: Input/output error) stop(the disk) ");
    played_frame("c");
    member_tick(played.m);
    member_flush(played.m);
    played_expect("");
}
END_TEST

START_TEST(a_full_disk_is_told_and_a_retry_that_brings_everything_through) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_answer(EV_TICK, UPD_LOG_RETRY);
    mem_files_room(played.files)->none = UINT64_MAX;
    played_frame("a");
    member_flush(played.m);
    played_sync();
    played_expect("frame(a) sync full ");
    played_frame("b");
    member_flush(played.m);
    member_tick(played.m);
    member_flush(played.m);
    played_sync();
    played_expect("frame(b) tick sync ");
    mem_files_room(played.files)->none = 0;
    member_tick(played.m);
    member_flush(played.m);
    played_sync();
    played_expect("tick sync synced:100000002 room ");
    played_frame("c");
    member_flush(played.m);
    played_sync();
    played_expect("frame(c) sync synced:100000003 ");
}
END_TEST

START_TEST(a_torn_tail_is_noted) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("a");
    member_flush(played.m);
    played_sync();
    member_free(played.m);
    played.m = NULL;
    buf_reset(&played.trace);
    mem_files_cut(played.files, "/log/log.0000000100000000", 200);
    ck_assert_int_eq(played_start(), 0);
    buf_put_u8(&played.trace, 0);
    ck_assert_ptr_nonnull(
        strstr((const char *)played.trace.data, "note:1(/log/log.0000000100000000: "));
    ck_assert_ptr_nonnull(strstr((const char *)played.trace.data, "cut "));
}
END_TEST

START_TEST(a_damaged_log_is_refused_with_its_reason) {
    played_started();
    member_free(played.m);
    played.m = NULL;
    mem_files_flip_bit(played.files, "/log/log.0000000100000000", 70 * 8);
    buf_reset(&played.trace);
    ck_assert_int_eq(played_start(), -EBADMSG);
    ck_assert_ptr_null(played.m);
    ck_assert(!played.replica_alive);
    buf_put_u8(&played.why, 0);
    ck_assert_ptr_nonnull(strstr((const char *)played.why.data, "log.0000000100000000: offset 64"));
    played_expect("epoch:1 ");
}
END_TEST

START_TEST(a_log_that_the_core_cannot_apply_is_refused) {
    played_started();
    member_free(played.m);
    played.m = NULL;
    played_answer_text(EV_LOG_RECORD, UPD_STOP, "no such txn");
    buf_reset(&played.trace);
    ck_assert_int_eq(played_start(), -EBADMSG);
    ck_assert_ptr_null(played.m);
    buf_put_u8(&played.why, 0);
    ck_assert_ptr_nonnull(strstr((const char *)played.why.data, "no such txn"));
    played_expect("epoch:1 record:100000000 ");
}
END_TEST

START_TEST(without_randomness_there_is_no_start) {
    played.random_err = -EIO;
    ck_assert_int_eq(played_start(), -EIO);
    ck_assert_ptr_null(played.m);
    ck_assert_uint_gt(played.why.len, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member");
    TCase *t = tcase_create("member");
    tcase_add_checked_fixture(t, played_setup, played_teardown);
    tcase_add_test(t, a_start_begins_an_epoch_and_syncs_with_the_first_flush);
    tcase_add_test(t, a_second_start_reads_the_log_before_it_begins);
    tcase_add_test(t, everything_of_one_wake_up_shares_a_sync);
    tcase_add_test(t, what_comes_during_a_sync_shares_the_next);
    tcase_add_test(t, a_sync_may_end_within_the_call_that_begins_it);
    tcase_add_test(t, updates_are_carried_out_in_order);
    tcase_add_test(t, every_kind_of_client_event_is_fed);
    tcase_add_test(t, events_that_come_within_a_step_wait_for_its_end);
    tcase_add_test(t, a_failed_sync_is_told_and_the_stop_is_final);
    tcase_add_test(t, a_full_disk_is_told_and_a_retry_that_brings_everything_through);
    tcase_add_test(t, a_torn_tail_is_noted);
    tcase_add_test(t, a_damaged_log_is_refused_with_its_reason);
    tcase_add_test(t, a_log_that_the_core_cannot_apply_is_refused);
    tcase_add_test(t, without_randomness_there_is_no_start);
    suite_add_tcase(s, t);
    return s;
}
