/* The pure client session: requests, from their start to their one answer. */
#include "tests/unit/client/session.h"

#include <string.h>

START_TEST(a_request_goes_out_with_a_rising_xid_and_its_record) {
    driver_write(&d, 10, "/a", 0);
    driver_request(&d, 11, OP_GET_DATA, "/b", false, 0);
    struct driver_frame f = take();
    ck_assert_int_eq(f.xid, 1);
    ck_assert_int_eq(f.opcode, OP_SET_DATA);
    f = take();
    ck_assert_int_eq(f.xid, 2);
    ck_assert_int_eq(f.opcode, OP_GET_DATA);
    struct proto_path_watch_request req;
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_path_watch_request, &req));
    ck_assert(slice_equal_str(req.path, "/b"));
}
END_TEST

START_TEST(a_reply_reaches_its_caller_with_zxid_and_record) {
    driver_request(&d, 42, OP_GET_DATA, "/b", false, 0);
    driver_reply(&d, 1, 0x99, 0, slice_from_str("record"));
    assert_reply(42, ZK_OK);
    ck_assert_int_eq(driver_reply_to(&d, 42)->zxid, 0x99);
    ck_assert(slice_equal_str(driver_reply_to(&d, 42)->bytes, "record"));
    ck_assert_int_eq(client_last_zxid(d.c), 0x99);
}
END_TEST

START_TEST(an_error_reply_has_no_record) {
    driver_request(&d, 42, OP_GET_DATA, "/b", false, 0);
    driver_reply(&d, 1, 0x99, ZK_NONODE, SLICE_NULL);
    assert_reply(42, ZK_NONODE);
    ck_assert_int_eq(driver_reply_to(&d, 42)->bytes.len, -1);
}
END_TEST

START_TEST(the_zxid_seen_never_goes_back) {
    driver_request(&d, 1, OP_GET_DATA, "/b", false, 0);
    driver_request(&d, 2, OP_GET_DATA, "/b", false, 0);
    driver_reply(&d, 1, 0x99, 0, SLICE_NULL);
    driver_reply(&d, 2, 0x98, 0, SLICE_NULL);
    ck_assert_int_eq(client_last_zxid(d.c), 0x99);
}
END_TEST

START_TEST(requests_wait_for_the_session_and_leave_in_one_piece_in_order) {
    driver_event(&d, CE_TICK);
    for (uint64_t i = 1; i <= 20; i++)
        driver_write(&d, i, "/a", 0);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x77, 9000);
    ck_assert_uint_eq(d.sends, 1);
    for (int32_t i = 1; i <= 20; i++)
        ck_assert_int_eq(take().xid, i);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_lost_read_is_sent_again_in_front_of_newer_requests) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_request(&d, 2, OP_SYNC, "/a", false, 0);
    driver_event(&d, CE_LOST);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    driver_write(&d, 3, "/a", 0);
    driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x1234, 9000);
    ck_assert_int_eq(take().opcode, OP_GET_DATA);
    ck_assert_int_eq(take().opcode, OP_SYNC);
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_SET_DATA);
    ck_assert_int_eq(f.xid, 3); /* a write has its own from the start */
    driver_reply(&d, 4, 1, 0, SLICE_NULL);
    assert_reply(1, ZK_OK);
}
END_TEST

START_TEST(a_lost_write_is_answered_connection_loss_and_not_sent_again) {
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_LOST);
    assert_reply(1, ZK_CONNECTIONLOSS);
    driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x1234, 9000);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_write_that_was_not_sent_waits_for_the_next_connection) {
    driver_event(&d, CE_LOST);
    driver_write(&d, 1, "/a", 0);
    driver_sleep(&d);
    driver_event(&d, CE_LOST);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    reconnect();
    ck_assert_int_eq(take().opcode, OP_SET_DATA);
}
END_TEST

START_TEST(a_read_lost_with_five_connections_is_given_up) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    for (int i = 0; i < 4; i++) {
        reconnect();
        ck_assert_ptr_null(driver_reply_to(&d, 1));
    }
    driver_event(&d, CE_LOST);
    assert_reply(1, ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_request_that_was_not_sent_in_time_was_surely_not_done) {
    driver_event(&d, CE_TICK);
    driver_write(&d, 1, "/a", d.now + 500);
    ck_assert_int_eq(d.deadline, d.now + 500);
    driver_sleep(&d);
    assert_reply(1, ZK_OPERATIONTIMEOUT);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x77, 9000);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_request_not_answered_in_time_was_perhaps_done_and_its_answer_is_dropped) {
    driver_write(&d, 1, "/a", d.now + 500);
    driver_write(&d, 2, "/b", d.now + 5000);
    driver_tick(&d, 499);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    driver_sleep(&d);
    assert_reply(1, ZK_CONNECTIONLOSS);
    driver_reply(&d, 1, 1, 0, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    driver_reply(&d, 2, 2, 0, SLICE_NULL);
    assert_reply(2, ZK_OK);
}
END_TEST

START_TEST(a_lost_read_whose_time_ends_while_it_waits_is_connection_loss) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, d.now + 500);
    driver_event(&d, CE_LOST);
    driver_tick(&d, 500);
    assert_reply(1, ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_request_without_a_deadline_waits_for_ever) {
    driver_event(&d, CE_TICK);
    driver_write(&d, 1, "/a", 0);
    for (int i = 0; i < 1000; i++) {
        driver_tick(&d, 10000);
        ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    }
}
END_TEST

START_TEST(a_cancelled_request_that_was_not_sent_is_not_sent) {
    driver_event(&d, CE_TICK);
    driver_write(&d, 1, "/a", 0);
    driver_write(&d, 2, "/b", 0);
    driver_write(&d, 3, "/c", 0);
    for (uint64_t token = 1; token <= 3; token += 2) {
        struct client_event ev = {.type = CE_CANCEL, .token = token};
        driver_step(&d, &ev);
        ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    }
    driver_write(&d, 4, "/d", 0);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x77, 9000);
    take();
    take();
    assert_nothing_sent();
    driver_reply(&d, 2, 1, 0, SLICE_NULL);
    assert_reply(2, ZK_OK);
}
END_TEST

START_TEST(the_answer_of_a_cancelled_request_is_dropped) {
    driver_write(&d, 1, "/a", 0);
    driver_write(&d, 2, "/a", 0);
    struct client_event ev = {.type = CE_CANCEL, .token = 1};
    driver_step(&d, &ev);
    driver_step(&d, &ev); /* an unknown token is ignored */
    driver_reply(&d, 1, 1, 0, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    driver_reply(&d, 2, 2, 0, SLICE_NULL);
    assert_reply(2, ZK_OK);
}
END_TEST

START_TEST(a_cancelled_read_is_not_sent_again) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    struct client_event ev = {.type = CE_CANCEL, .token = 1};
    driver_step(&d, &ev);
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(too_many_unanswered_requests_are_refused) {
    for (uint64_t i = 1; i <= 65536; i++)
        driver_request(&d, i, OP_SYNC, "/a", false, 0);
    driver_request(&d, 70000, OP_SYNC, "/a", false, 0);
    assert_reply(70000, ZK_THROTTLEDOP);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client requests");
    TCase *fresh = tcase_create("fresh");
    tcase_add_checked_fixture(fresh, one_server, teardown);
    tcase_add_test(fresh, requests_wait_for_the_session_and_leave_in_one_piece_in_order);
    tcase_add_test(fresh, a_request_that_was_not_sent_in_time_was_surely_not_done);
    tcase_add_test(fresh, a_request_without_a_deadline_waits_for_ever);
    tcase_add_test(fresh, a_cancelled_request_that_was_not_sent_is_not_sent);
    suite_add_tcase(s, fresh);
    TCase *up = tcase_create("up");
    tcase_add_checked_fixture(up, established, teardown);
    tcase_add_test(up, a_request_goes_out_with_a_rising_xid_and_its_record);
    tcase_add_test(up, a_reply_reaches_its_caller_with_zxid_and_record);
    tcase_add_test(up, an_error_reply_has_no_record);
    tcase_add_test(up, the_zxid_seen_never_goes_back);
    tcase_add_test(up, a_lost_read_is_sent_again_in_front_of_newer_requests);
    tcase_add_test(up, a_lost_write_is_answered_connection_loss_and_not_sent_again);
    tcase_add_test(up, a_write_that_was_not_sent_waits_for_the_next_connection);
    tcase_add_test(up, a_read_lost_with_five_connections_is_given_up);
    tcase_add_test(up, a_request_not_answered_in_time_was_perhaps_done_and_its_answer_is_dropped);
    tcase_add_test(up, a_lost_read_whose_time_ends_while_it_waits_is_connection_loss);
    tcase_add_test(up, the_answer_of_a_cancelled_request_is_dropped);
    tcase_add_test(up, a_cancelled_read_is_not_sent_again);
    tcase_add_test(up, too_many_unanswered_requests_are_refused);
    suite_add_tcase(s, up);
    return s;
}
