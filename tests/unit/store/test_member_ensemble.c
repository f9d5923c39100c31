/* What an ensemble needs of the member: links, promises, cuts, snapshots, and reads of the log; the
 * core and the env are played. */
#include "replica/member.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/unit.h"
#include "tests/unit/store/played.h"

static struct slice text(const char *s) {
    return (struct slice){(const uint8_t *)s, (int32_t)strlen(s)};
}

/* Appends and syncs n transactions behind the epoch's record. */
static void appended(int n) {
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    for (int i = 0; i < n; i++)
        played_frame("a");
    member_flush(played.m);
    played_sync();
    played.scripts[EV_CLIENT_FRAME].count = 0;
    buf_reset(&played.trace);
}

/* The next tick asks for this, once. */
static struct update *at_tick(enum update_type type) {
    played.scripts[EV_TICK].times = 1;
    return played_answer(EV_TICK, type);
}

static struct update *read_at_tick(uint8_t peer, zxid_t after) {
    struct update *u = at_tick(UPD_LOG_READ);
    u->peer = peer;
    u->zxid = after;
    return u;
}

static void restart_as_follower(void) {
    played_stop();
    played.scripts[EV_START].count = 0;
    ck_assert_int_eq(played_start(), 0);
}

/* ---- links ---- */

START_TEST(links_and_their_messages_are_fed_and_carried_out) {
    played_started();
    struct update *tell = at_tick(UPD_PEER_SEND);
    tell->peer = 2;
    tell->bytes = text("vote");
    struct update *drop = at_tick(UPD_PEER_DROP);
    drop->peer = 3;
    drop->bytes = text("bad");
    member_peer_up(played.m, 2);
    member_peer_message(played.m, 2, text("hello"));
    member_peer_down(played.m, 2);
    member_tick(played.m);
    played_expect("up#2 message#2(hello) down#2 tick tell#2(vote) drop#3(bad) ");
}
END_TEST

START_TEST(messages_that_come_within_a_step_wait_for_its_end) {
    played_started();
    struct update *tell = at_tick(UPD_PEER_SEND);
    tell->peer = 2;
    tell->bytes = text("one");
    tell = at_tick(UPD_PEER_SEND);
    tell->peer = 2;
    tell->bytes = text("two");
    played.call_back = true;
    member_tick(played.m);
    played_expect("tick tell#2(one) tell#2(two) message#3(nested) down#3 ");
}
END_TEST

/* ---- the disk's answers ---- */

START_TEST(a_promise_is_told_when_it_is_durable) {
    played_started();
    at_tick(UPD_SAVE_EPOCH)->epoch = 7;
    member_tick(played.m);
    member_flush(played.m);
    played_expect("tick sync ");
    played_sync();
    played_expect("saved:7 ");
    restart_as_follower();
    played_expect("epoch:7 record:100000000 start ");
}
END_TEST

START_TEST(a_truncation_is_told_when_it_is_durable) {
    played_started();
    appended(4);
    at_tick(UPD_LOG_TRUNCATE)->zxid = zxid_make(1, 2);
    member_tick(played.m);
    member_flush(played.m);
    played_expect("tick sync ");
    played_sync();
    played_expect("truncated ");
    restart_as_follower();
    played_expect("epoch:1 record:100000000 record:100000001 record:100000002 start ");
}
END_TEST

static void snapshot_at_tick(void) {
    at_tick(UPD_SNAP_BEGIN);
    at_tick(UPD_SNAP_CHUNK)->bytes = text("one");
    at_tick(UPD_SNAP_CHUNK)->bytes = text("two");
    struct update *end = at_tick(UPD_SNAP_END);
    end->zxid = zxid_make(1, 6);
    end->ended = zxid_make(1, 9);
}

START_TEST(a_snapshot_is_told_when_it_is_durable_and_read_at_the_next_start) {
    played_started();
    appended(4);
    snapshot_at_tick();
    member_tick(played.m);
    member_flush(played.m);
    played_expect("tick sync ");
    played_sync();
    played_expect("installed ");
    restart_as_follower();
    played_expect("epoch:1 piece(one) piece(two) snap:100000006-100000009 start ");
}
END_TEST

START_TEST(an_abandoned_snapshot_is_not_told) {
    played_started();
    at_tick(UPD_SNAP_BEGIN);
    at_tick(UPD_SNAP_CHUNK)->bytes = text("one");
    at_tick(UPD_SNAP_ABANDON);
    at_tick(UPD_SNAP_ABANDON);
    member_tick(played.m);
    member_flush(played.m);
    played_sync();
    played_expect("tick sync ");
    restart_as_follower();
    played_expect("epoch:1 record:100000000 start ");
}
END_TEST

START_TEST(everything_of_one_sync_is_told_in_order) {
    played_started();
    appended(4);
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("x");
    at_tick(UPD_LOG_TRUNCATE)->zxid = zxid_make(1, 2);
    at_tick(UPD_SAVE_EPOCH)->epoch = 3;
    member_tick(played.m);
    member_flush(played.m);
    buf_reset(&played.trace);
    played_sync();
    played_expect("saved:3 synced:100000002 truncated ");
}
END_TEST

START_TEST(a_snapshot_that_the_core_refuses_is_no_start) {
    played_started();
    snapshot_at_tick();
    member_tick(played.m);
    member_flush(played.m);
    played_sync();
    played_stop();
    played_answer_text(EV_SNAP_END, UPD_STOP, "no tree");
    ck_assert_int_eq(played_start(), -EBADMSG);
    ck_assert_ptr_null(played.m);
    buf_put_u8(&played.why, 0);
    ck_assert_ptr_nonnull(strstr((const char *)played.why.data, "/log"));
    ck_assert_ptr_nonnull(strstr((const char *)played.why.data, "no tree"));
}
END_TEST

/* ---- reads of the log ---- */

START_TEST(a_read_is_answered_by_a_step_of_its_own) {
    played_started();
    appended(3);
    read_at_tick(2, zxid_make(1, 1));
    played_answer_text(EV_TICK, UPD_SEND, "s");
    member_tick(played.m);
    played_expect("tick send:5(s) range#2>100000001,100000002(t),100000003(t) ");
}
END_TEST

START_TEST(reads_are_answered_in_their_order_behind_events_that_waited) {
    played_started();
    appended(2);
    read_at_tick(2, zxid_make(1, 1));
    read_at_tick(3, 0);
    struct update *tell = at_tick(UPD_PEER_SEND);
    tell->peer = 2;
    tell->bytes = text("m");
    played.call_back = true;
    member_tick(played.m);
    played_expect("tick tell#2(m) message#3(nested) down#3 range#2>100000001,100000002(t) "
                  "range#3>0,100000000,100000001(t),100000002(t) ");
}
END_TEST

START_TEST(a_read_that_brings_about_another_is_followed_by_it) {
    played_started();
    appended(2);
    read_at_tick(2, 0);
    struct update *more = played_answer(EV_LOG_RANGE, UPD_LOG_READ);
    more->peer = 2;
    more->zxid = zxid_make(1, 1);
    played.scripts[EV_LOG_RANGE].times = 1;
    member_tick(played.m);
    played_expect("tick range#2>0,100000000,100000001(t),100000002(t) "
                  "range#2>100000001,100000002(t) ");
}
END_TEST

START_TEST(a_read_behind_what_the_log_does_not_have_gives_none) {
    played_started();
    appended(2);
    read_at_tick(2, 5);
    member_tick(played.m);
    played_expect("tick range#2>5 ");
}
END_TEST

START_TEST(a_read_of_what_is_not_durable_yet_waits_for_its_sync) {
    played_started();
    appended(2);
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("x");
    member_flush(played.m);
    read_at_tick(2, zxid_make(1, 2));
    read_at_tick(3, zxid_make(1, 1));
    member_tick(played.m);
    played_expect("frame(x) sync tick range#3>100000001,100000002(t) ");
    played_sync();
    played_expect("synced:100000003 range#2>100000002,100000003(t) ");
}
END_TEST

START_TEST(an_answer_behind_a_sync_after_which_the_core_starts_over_does_that_at_once) {
    played_started();
    appended(2);
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("x");
    member_flush(played.m);
    read_at_tick(2, zxid_make(1, 2));
    member_tick(played.m);
    played.scripts[EV_START].count = 0;
    played_answer_text(EV_LOG_RANGE, UPD_START_OVER, "over");
    buf_reset(&played.trace);
    played_sync();
    played_expect("synced:100000003 range#2>100000002,100000003(t) note:0(over) close:5((null)) "
                  "drop#2((null)) epoch:1 record:100000000 record:100000001 record:100000002 "
                  "record:100000003 start ");
}
END_TEST

START_TEST(a_read_behind_a_cut_that_is_on_its_way_waits_for_it) {
    played_started();
    appended(3);
    at_tick(UPD_LOG_TRUNCATE)->zxid = zxid_make(1, 2);
    read_at_tick(2, zxid_make(1, 1));
    member_tick(played.m);
    member_flush(played.m);
    played_expect("tick sync ");
    played_sync();
    played_expect("truncated range#2>100000001,100000002(t) ");
}
END_TEST

START_TEST(a_read_that_has_nothing_to_wait_for_is_answered) {
    played_started();
    appended(1);
    read_at_tick(2, zxid_make(1, 1));
    member_tick(played.m);
    played_expect("tick range#2>100000001 ");
}
END_TEST

START_TEST(damage_met_by_a_read_is_a_failed_disk) {
    played_started();
    appended(3);
    mem_files_flip_bit(played.files, "/log/log.0000000100000000", 100 * 8);
    read_at_tick(2, 0);
    played_answer_text(EV_DISK_FAILED, UPD_STOP, "the disk");
    member_tick(played.m);
    played_expect("tick disk-failed(a record behind 0x0 cannot be read back from the log: it is "
                  "damaged) stop(the disk) ");
}
END_TEST

START_TEST(a_read_that_fails_is_a_failed_disk) {
    played_started();
    appended(3);
    mem_files_fault(played.files, 1, MEM_FAULT_ERROR, -EIO);
    read_at_tick(2, zxid_make(1, 1));
    member_tick(played.m);
    played_expect("tick disk-failed(the log cannot be read behind 0x100000001: Input/output "
                  "error) ");
}
END_TEST

START_TEST(reads_under_way_at_the_end_are_given_back) {
    played_started();
    played_answer_append(EV_CLIENT_FRAME, LOG_TXN);
    played_frame("x");
    read_at_tick(2, zxid_make(1, 0));
    member_tick(played.m);
    played_expect("frame(x) tick ");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_ensemble");
    TCase *t = tcase_create("member_ensemble");
    tcase_add_checked_fixture(t, played_setup, played_teardown);
    tcase_add_test(t, links_and_their_messages_are_fed_and_carried_out);
    tcase_add_test(t, messages_that_come_within_a_step_wait_for_its_end);
    tcase_add_test(t, a_promise_is_told_when_it_is_durable);
    tcase_add_test(t, a_truncation_is_told_when_it_is_durable);
    tcase_add_test(t, a_snapshot_is_told_when_it_is_durable_and_read_at_the_next_start);
    tcase_add_test(t, an_abandoned_snapshot_is_not_told);
    tcase_add_test(t, everything_of_one_sync_is_told_in_order);
    tcase_add_test(t, a_snapshot_that_the_core_refuses_is_no_start);
    tcase_add_test(t, a_read_is_answered_by_a_step_of_its_own);
    tcase_add_test(t, reads_are_answered_in_their_order_behind_events_that_waited);
    tcase_add_test(t, a_read_that_brings_about_another_is_followed_by_it);
    tcase_add_test(t, a_read_behind_what_the_log_does_not_have_gives_none);
    tcase_add_test(t, a_read_of_what_is_not_durable_yet_waits_for_its_sync);
    tcase_add_test(t, an_answer_behind_a_sync_after_which_the_core_starts_over_does_that_at_once);
    tcase_add_test(t, a_read_behind_a_cut_that_is_on_its_way_waits_for_it);
    tcase_add_test(t, a_read_that_has_nothing_to_wait_for_is_answered);
    tcase_add_test(t, damage_met_by_a_read_is_a_failed_disk);
    tcase_add_test(t, a_read_that_fails_is_a_failed_disk);
    tcase_add_test(t, reads_under_way_at_the_end_are_given_back);
    suite_add_tcase(s, t);
    return s;
}
