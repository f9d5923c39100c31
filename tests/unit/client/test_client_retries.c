/* The pure client session with exactly-once retries: a lost write goes out again, as the same one.
 */
#include "tests/unit/client/session.h"

#include "common/mem.h"

static void asking(int32_t grant) {
    struct client_config config = {
        .server_count = 1, .timeout_ms = 9000, .max_frame_bytes = 4096, .retries = true};
    driver_init_config(&d, &config);
    d.grant = grant;
    driver_establish(&d);
}

/* Goes on with the session of an earlier client; the handshake's answer is the test's. */
static void resuming(void) {
    struct client_config config = {
        .server_count = 1,
        .timeout_ms = 9000,
        .max_frame_bytes = 4096,
        .retries = true,
        .resume = {
            .session_id = 0x1234, .passwd = "0123456789abcde", .last_zxid = 70, .next_xid = 40}};
    driver_init_config(&d, &config);
    d.grant = PROTOCOL_VERSION_RETRIES;
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
}

/* A write that the earlier client sent with this xid. */
static void repeat(uint64_t token, int32_t xid) {
    static const uint8_t record[] = {0, 0, 0, 1, '/', 0, 0, 0, 0, 255, 255, 255, 255};
    struct client_event ev = {.type = CE_REQUEST,
                              .bytes = {record, sizeof record},
                              .token = token,
                              .opcode = OP_SET_DATA,
                              .xid = xid};
    driver_step(&d, &ev);
}

static void granted(void) { asking(PROTOCOL_VERSION_RETRIES); }

static void refused(void) { asking(0); }

START_TEST(the_connect_request_asks_for_retries) {
    driver_event(&d, CE_LOST);
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    struct driver_frame f;
    ck_assert(driver_take(&d, false, &f));
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    struct proto_connect_request req;
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    ck_assert_int_eq(req.protocol_version, PROTOCOL_VERSION_RETRIES);
}
END_TEST

START_TEST(a_lost_write_goes_out_again_with_its_xid_and_record) {
    driver_write(&d, 1, "/a", 0);
    struct driver_frame f = take();
    int32_t xid = f.xid;
    struct slice record = {.p = mem_dup(f.body.p, (size_t)f.body.len), .len = f.body.len};
    connect_again();
    ck_assert_ptr_null(driver_reply_to(&d, 1));
    driver_connect_response(&d, 0x1234, 9000);
    f = take();
    ck_assert_int_eq(f.xid, xid);
    ck_assert_int_eq(f.opcode, OP_SET_DATA);
    ck_assert_int_eq(f.body.len, record.len);
    ck_assert_mem_eq(f.body.p, record.p, (size_t)record.len);
    mem_free((void *)(uintptr_t)record.p);
    driver_reply(&d, xid, 9, ZK_OK, SLICE_NULL);
    assert_reply(1, ZK_OK);
}
END_TEST

START_TEST(lost_writes_and_reads_keep_their_order_and_stand_before_new_ones) {
    driver_write(&d, 1, "/a", 0);
    driver_request(&d, 2, OP_GET_DATA, "/a", false, 0);
    driver_write(&d, 3, "/b", 0);
    connect_again();
    driver_write(&d, 4, "/c", 0);
    driver_connect_response(&d, 0x1234, 9000);
    ck_assert_int_eq(take().xid, 1);
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_GET_DATA);
    ck_assert_int_eq(f.xid, 5); /* a read is a new one */
    ck_assert_int_eq(take().xid, 3);
    ck_assert_int_eq(take().xid, 4);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_write_that_waited_for_the_connection_is_kept_for_another_one_too) {
    connect_again();
    driver_write(&d, 1, "/a", 0);
    driver_connect_response(&d, 0x1234, 9000);
    int32_t xid = take().xid;
    reconnect();
    struct driver_frame f = take();
    ck_assert_int_eq(f.xid, xid);
    ck_assert_int_gt(f.body.len, 0);
}
END_TEST

START_TEST(with_the_session_the_chance_of_a_retry_is_gone) {
    driver_write(&d, 1, "/a", 0);
    connect_again();
    driver_write(&d, 2, "/b", 0);
    driver_connect_response(&d, 0, 0);
    assert_reply(1, ZK_CONNECTIONLOSS);
    ck_assert_ptr_null(driver_reply_to(&d, 2)); /* was never sent: goes over to the new session */
}
END_TEST

START_TEST(a_server_that_does_not_grant_retries_is_not_sent_any) {
    driver_write(&d, 1, "/a", 0);
    d.grant = 0;
    reconnect();
    assert_reply(1, ZK_CONNECTIONLOSS);
    assert_nothing_sent();
}
END_TEST

START_TEST(without_the_grant_a_lost_write_is_a_connection_loss_at_once) {
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_LOST);
    assert_reply(1, ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_result_that_is_not_kept_any_more_is_a_connection_loss) {
    driver_write(&d, 1, "/a", 0);
    reconnect();
    driver_reply(&d, 1, 9, ZK_RESULTFORGOTTEN, SLICE_NULL);
    assert_reply(1, ZK_CONNECTIONLOSS);
    ck_assert_ptr_null(driver_find(&d, CU_DISCONNECT));
}
END_TEST

START_TEST(a_repetition_that_is_refused_for_the_session_goes_out_once_more) {
    driver_write(&d, 1, "/a", 0);
    reconnect();
    driver_drop_sent(&d);
    driver_reply(&d, 1, 9, ZK_SESSIONMOVED, SLICE_NULL);
    ck_assert_ptr_null(driver_reply_to(&d, 1));
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x1234, 9000);
    ck_assert_int_eq(take().xid, 1);
}
END_TEST

START_TEST(a_write_whose_time_is_over_does_not_go_out_again) {
    driver_write(&d, 1, "/a", d.now + 50);
    connect_again();
    driver_tick(&d, 100);
    assert_reply(1, ZK_CONNECTIONLOSS);
    driver_connect_response(&d, 0x1234, 9000);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_lost_write_that_nobody_waits_for_does_not_go_out_again) {
    driver_write(&d, 1, "/a", 0);
    driver_write(&d, 2, "/b", 0);
    driver_step(&d, &(struct client_event){.type = CE_CANCEL, .token = 1});
    connect_again();
    driver_step(&d, &(struct client_event){.type = CE_CANCEL, .token = 2});
    driver_connect_response(&d, 0x1234, 9000);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_write_that_breaks_every_connection_is_given_up) {
    driver_write(&d, 1, "/a", 0);
    for (int i = 0; i < 4; i++) {
        reconnect();
        ck_assert_ptr_null(driver_reply_to(&d, 1));
    }
    driver_event(&d, CE_LOST);
    assert_reply(1, ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_client_goes_on_with_the_session_of_another_one) {
    struct driver_frame f;
    ck_assert(driver_take(&d, false, &f));
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    struct proto_connect_request req;
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    ck_assert_int_eq(req.session_id, 0x1234);
    ck_assert_mem_eq(req.passwd.p, "0123456789abcde", PASSWD_BYTES);
    ck_assert_int_eq(req.last_zxid_seen, 70);
    driver_connect_response(&d, 0x1234, 9000);
    ck_assert_int_eq(client_session_id(d.c), 0x1234);
    driver_write(&d, 1, "/a", 0);
    ck_assert_int_eq(take().xid, 40); /* above all that the server has seen in this session */
    struct client_resume next;
    client_get_resume(d.c, &next);
    ck_assert_int_eq(next.next_xid, 41);
    ck_assert_int_eq(next.last_zxid, 70);
}
END_TEST

START_TEST(a_session_to_go_on_with_that_has_expired_is_told_as_such) {
    driver_connect_response(&d, 0, 0);
    const struct client_update *u = driver_find(&d, CU_STATE);
    ck_assert_ptr_nonnull(u);
    ck_assert_int_eq(u->state, CLIENT_EXPIRED);
}
END_TEST

START_TEST(a_write_of_the_earlier_client_goes_out_with_its_xid) {
    driver_drop_sent(&d);
    repeat(1, 33);
    ck_assert_int_eq(client_xid_of(d.c, 1), 33);
    driver_connect_response(&d, 0x1234, 9000);
    ck_assert_int_eq(take().xid, 33);
    repeat(2, 35);
    ck_assert_int_eq(take().xid, 35);
    driver_reply(&d, 33, 9, ZK_OK, SLICE_NULL);
    assert_reply(1, ZK_OK);
    driver_write(&d, 3, "/a", 0);
    ck_assert_int_eq(take().xid, 40);
}
END_TEST

START_TEST(a_write_of_the_earlier_client_is_lost_where_retries_are_not_granted) {
    driver_drop_sent(&d);
    d.grant = 0;
    repeat(1, 33);
    driver_connect_response(&d, 0x1234, 9000);
    assert_reply(1, ZK_CONNECTIONLOSS);
    repeat(2, 35);
    assert_reply(2, ZK_CONNECTIONLOSS);
    assert_nothing_sent();
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client_retries");
    TCase *t = tcase_create("granted");
    tcase_add_checked_fixture(t, granted, teardown);
    tcase_add_test(t, the_connect_request_asks_for_retries);
    tcase_add_test(t, a_lost_write_goes_out_again_with_its_xid_and_record);
    tcase_add_test(t, lost_writes_and_reads_keep_their_order_and_stand_before_new_ones);
    tcase_add_test(t, a_write_that_waited_for_the_connection_is_kept_for_another_one_too);
    tcase_add_test(t, with_the_session_the_chance_of_a_retry_is_gone);
    tcase_add_test(t, a_server_that_does_not_grant_retries_is_not_sent_any);
    tcase_add_test(t, a_result_that_is_not_kept_any_more_is_a_connection_loss);
    tcase_add_test(t, a_repetition_that_is_refused_for_the_session_goes_out_once_more);
    tcase_add_test(t, a_write_whose_time_is_over_does_not_go_out_again);
    tcase_add_test(t, a_lost_write_that_nobody_waits_for_does_not_go_out_again);
    tcase_add_test(t, a_write_that_breaks_every_connection_is_given_up);
    suite_add_tcase(s, t);
    t = tcase_create("resuming");
    tcase_add_checked_fixture(t, resuming, teardown);
    tcase_add_test(t, a_client_goes_on_with_the_session_of_another_one);
    tcase_add_test(t, a_session_to_go_on_with_that_has_expired_is_told_as_such);
    tcase_add_test(t, a_write_of_the_earlier_client_goes_out_with_its_xid);
    tcase_add_test(t, a_write_of_the_earlier_client_is_lost_where_retries_are_not_granted);
    suite_add_tcase(s, t);
    t = tcase_create("refused");
    tcase_add_checked_fixture(t, refused, teardown);
    tcase_add_test(t, without_the_grant_a_lost_write_is_a_connection_loss_at_once);
    suite_add_tcase(s, t);
    return s;
}
