/* The machine that repairs: others' snapshots, others' questions, and clients. */
#include "replica/server/limits.h"
#include "tests/lib/unit.h"
#include "tests/unit/server/repair_play.h"

/* 1.0 to 1.5, then 1.8 to 2.4; the log was known to go on to 2.6. */
static const struct repair_island two[] = {{0, Z(1, 0), Z(1, 5)}, {Z(1, 7), Z(1, 8), Z(2, 4)}};

/* ---- snapshots ---- */

/* The log begins behind 1.2, and nobody's goes back further. */
static const struct repair_island without_base[] = {{Z(1, 2), Z(1, 3), Z(2, 4)}};

static void fetching(void) {
    play_begin(0, without_base, 1, Z(2, 4), false);
    play_greet(2);
    play_greet(3);
    play_none(2, 0, Z(1, 3), REPAIR_PURGED);
    play_forget();
    play_none(3, 0, Z(1, 3), REPAIR_UNKNOWN);
    play_expect("#2:snap-ask(0@0) ");
}

START_TEST(a_snapshot_comes_piece_by_piece_and_becomes_the_base) {
    fetching();
    play_piece(2, Z(1, 8), 0, 30);
    play_expect("snap-begin chunk #2:snap-ask(100000008@10) ");
    play_piece(2, Z(1, 8), 10, 30);
    play_piece(2, Z(1, 8), 10, 30); /* once more */
    play_expect("chunk #2:snap-ask(100000008@20) ");
    play_piece(2, Z(1, 8), 20, 30);
    play_expect("chunk snap-end ");
    play_feed((struct event){.type = EV_SNAP_INSTALLED, .zxid = Z(1, 8)});
    play_expect("copy(1.8..2.4) ");
    play_copied(Z(2, 4), NULL);
    play_expect("end ");
}
END_TEST

START_TEST(a_snapshot_that_is_newer_than_all_is_the_history) {
    fetching();
    play_piece(2, Z(3, 1), 0, 10);
    play_feed((struct event){.type = EV_SNAP_INSTALLED, .zxid = Z(3, 1)});
    play_expect("snap-begin chunk snap-end end ");
}
END_TEST

START_TEST(a_snapshot_that_lies_in_a_hole_leaves_the_rest_of_it) {
    static const struct repair_island islands[] = {{Z(1, 8), Z(1, 9), Z(2, 4)}};
    play_begin(0, islands, 1, Z(2, 4), false);
    play_greet(2);
    play_none(2, 0, Z(1, 9), REPAIR_PURGED);
    play_piece(2, Z(1, 5), 0, 10);
    play_forget();
    play_feed((struct event){.type = EV_SNAP_INSTALLED, .zxid = Z(1, 5)});
    play_expect("#2:ask(1.5..1.9) ");
    PLAY_RECORDS(2, Z(1, 5), Z(1, 9), Z(1, 6), Z(1, 7), Z(1, 8));
    play_expect("append:1.6 append:1.7 append:1.8 copy-first(1.8..2.4) ");
}
END_TEST

START_TEST(a_snapshot_of_another_branch_leaves_nothing_of_this_one) {
    static const struct repair_island islands[] = {{0, Z(1, 0), Z(1, 5)},
                                                   {REPAIR_NOT_KNOWN, Z(3, 0), Z(3, 4)}};
    play_begin(0, islands, 2, Z(3, 4), false);
    play_greet(2);
    play_greet(3);
    play_copied(Z(1, 5), NULL);
    play_none(2, Z(1, 5), Z(3, 0), REPAIR_PURGED);
    play_none(3, Z(1, 5), Z(3, 0), REPAIR_UNKNOWN);
    play_piece(2, Z(2, 7), 0, 10);
    play_forget();
    play_feed((struct event){.type = EV_SNAP_INSTALLED, .zxid = Z(2, 7)});
    play_expect("#2:ask(2.7..3.0) ");
    play_none(2, Z(2, 7), Z(3, 0), REPAIR_ABSENT);
    play_none(3, Z(2, 7), Z(3, 0), REPAIR_ABSENT);
    play_expect("#3:ask(2.7..3.0) end-lossy ");
}
END_TEST

START_TEST(a_snapshot_that_breaks_off_is_taken_from_another) {
    fetching();
    play_piece(2, Z(1, 8), 0, 30);
    play_forget();
    play_feed((struct event){.type = EV_PEER_DOWN, .peer = 2});
    play_expect("abandon ");
    play_pass(1000);
    play_expect("#3:ask(0..1.3) ");
    play_none(3, 0, Z(1, 3), REPAIR_PURGED);
    play_expect("#3:snap-ask(0@0) ");
    /* That one has none. */
    play_message(3, &(struct repair_msg){.type = REPAIR_SNAP_NONE});
    play_expect("abandon ");
}
END_TEST

START_TEST(a_snapshot_that_is_damaged_or_too_old_is_of_no_use) {
    fetching();
    play_piece(2, Z(1, 8), 0, 10);
    play_forget();
    play_feed((struct event){.type = EV_SNAP_RESET});
    play_expect("abandon ");
    repair_free(play.r);
    play_begin(Z(1, 3), NULL, 0, Z(1, 9), false);
    play_greet(2);
    play_none(2, Z(1, 3), Z(1, 9), REPAIR_PURGED);
    play_forget();
    play_piece(2, Z(1, 3), 0, 10);
    play_expect("abandon ");
}
END_TEST

/* ---- others' questions, clients ---- */

START_TEST(others_are_answered_from_what_is_whole) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_greet(2);
    play_copied(Z(1, 5), NULL);
    play_forget();
    const struct repair_msg ask = {.type = REPAIR_ASK, .after = Z(1, 8), .until = Z(2, 1)};
    play_message(2, &ask);
    play_message(2, &ask); /* one at a time */
    play_expect("#2:read(1.8..2.1) ");
    struct log_record rec = play_record(Z(1, 9));
    struct event ev = {.type = EV_REPAIR_RANGE,
                       .peer = 2,
                       .zxid = Z(1, 8),
                       .ended = Z(2, 1),
                       .records = &rec,
                       .record_count = 1};
    play_feed(ev);
    play_expect("#2:records(1.8..2.1),1.9 ");
    play_message(2, &ask);
    ev.record_count = 0;
    play_feed(ev);
    play_expect("#2:read(1.8..2.1) #2:unknown(1.8..2.1) ");
    play_message(2, &(struct repair_msg){.type = REPAIR_SNAP_ASK});
    play_feed((struct event){.type = EV_SNAP_RANGE, .peer = 2, .bytes = SLICE_NULL});
    play_expect("#2:snap-read(0@0) #2:no-snapshot ");
}
END_TEST

START_TEST(a_link_that_breaks_the_protocol_is_cut) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_feed((struct event){.type = EV_PEER_UP, .peer = 1});
    play_feed((struct event){.type = EV_PEER_UP, .peer = 9});
    play_feed((struct event){.type = EV_PEER_UP, .peer = 2});
    play_forget();
    play_message(2, &(struct repair_msg){.type = REPAIR_SNAP_ASK});
    play_expect("drop#2 ");
    play_greet(2);
    play_forget();
    play_feed(
        (struct event){.type = EV_PEER_MESSAGE, .peer = 2, .bytes = {(const uint8_t *)"x", 1}});
    play_expect("drop#2 ");
    struct updates u = repair_leave(play.r);
    ck_assert_uint_eq(u.count, 0);
}
END_TEST

START_TEST(clients_are_turned_away) {
    play_begin(0, two, 2, Z(2, 4), false);
    for (conn_id_t conn = 5; conn <= 8; conn++)
        play_feed((struct event){.type = EV_CLIENT_OPEN, .conn = conn});
    play_forget();
    play_feed((struct event){
        .type = EV_CLIENT_FRAME, .conn = 5, .bytes = {(const uint8_t *)"connect", 7}});
    play_expect("close:5 ");
    play_feed(
        (struct event){.type = EV_CLIENT_WORD, .conn = 6, .bytes = {(const uint8_t *)"ruok", 4}});
    play_expect("close:6 ");
    play_feed((struct event){.type = EV_CLIENT_CLOSED, .conn = 7});
    play_pass(HANDSHAKE_TIMEOUT_MS);
    play_expect("close:8 ");
    play_feed((struct event){.type = EV_CLIENT_OPEN, .conn = 9});
    struct updates u = repair_leave(play.r);
    ck_assert_uint_eq(u.count, 1);
    ck_assert_int_eq(u.list[0].type, UPD_CLOSE);
}
END_TEST

START_TEST(a_disk_that_fails_ends_it) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_forget();
    play_feed((struct event){.type = EV_DISK_FAILED, .bytes = {(const uint8_t *)"gone", 4}});
    play_expect("stop ");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("repair_links");
    TCase *t = tcase_create("repair_links");
    tcase_add_checked_fixture(t, play_setup, play_teardown);
    tcase_add_test(t, a_snapshot_comes_piece_by_piece_and_becomes_the_base);
    tcase_add_test(t, a_snapshot_that_is_newer_than_all_is_the_history);
    tcase_add_test(t, a_snapshot_that_lies_in_a_hole_leaves_the_rest_of_it);
    tcase_add_test(t, a_snapshot_of_another_branch_leaves_nothing_of_this_one);
    tcase_add_test(t, a_snapshot_that_breaks_off_is_taken_from_another);
    tcase_add_test(t, a_snapshot_that_is_damaged_or_too_old_is_of_no_use);
    tcase_add_test(t, others_are_answered_from_what_is_whole);
    tcase_add_test(t, a_link_that_breaks_the_protocol_is_cut);
    tcase_add_test(t, clients_are_turned_away);
    tcase_add_test(t, a_disk_that_fails_ends_it);
    suite_add_tcase(s, t);
    return s;
}
