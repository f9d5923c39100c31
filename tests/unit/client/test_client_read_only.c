/* The pure client session on a server without a quorum, for those that take one. */
#include "tests/unit/client/session.h"

static void setup(void) {
    struct client_config config = {.server_count = 2,
                                   .timeout_ms = 9000,
                                   .max_frame_bytes = 4096,
                                   .retries = true,
                                   .read_only_ok = true};
    driver_init_config(&d, &config);
    d.grant = PROTOCOL_VERSION_RETRIES;
}

/* Up to the handshake's answer. */
static void handshake(void) {
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
}

static void connect_read_only(session_id_t session) {
    handshake();
    d.read_only = true;
    d.grant = 0;
    driver_connect_response(&d, session, 9000);
}

static void connect_whole(session_id_t session) {
    handshake();
    d.read_only = false;
    d.grant = PROTOCOL_VERSION_RETRIES;
    driver_connect_response(&d, session, 9000);
}

static struct proto_connect_request take_connect(void) {
    struct driver_frame f;
    static struct proto_connect_request req;
    ck_assert(driver_take(&d, false, &f));
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    return req;
}

START_TEST(the_connect_request_says_that_reading_is_enough) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    ck_assert(take_connect().read_only);
}
END_TEST

START_TEST(reads_go_on_and_a_write_is_told_what_the_server_says) {
    driver_event(&d, CE_TICK);
    connect_read_only(0x77);
    ck_assert(client_is_read_only(d.c));
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_write(&d, 2, "/a", 0);
    driver_reply(&d, 1, 5, ZK_OK, SLICE_NULL);
    assert_reply(1, ZK_OK);
    driver_reply(&d, 2, 5, ZK_NOTREADONLY, SLICE_NULL);
    assert_reply(2, ZK_NOTREADONLY);
}
END_TEST

START_TEST(the_session_of_a_read_only_server_is_not_kept) {
    driver_event(&d, CE_TICK);
    connect_read_only(0x77);
    ck_assert_int_eq(client_session_id(d.c), 0);
    driver_event(&d, CE_LOST);
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    ck_assert_int_eq(take_connect().session_id, 0);
}
END_TEST

START_TEST(the_session_that_there_was_stays) {
    driver_event(&d, CE_TICK);
    connect_whole(0x1234);
    driver_event(&d, CE_LOST);
    connect_read_only(0x1234);
    ck_assert_int_eq(client_session_id(d.c), 0x1234);
    driver_event(&d, CE_LOST);
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    ck_assert_int_eq(take_connect().session_id, 0x1234);
}
END_TEST

START_TEST(a_lost_write_waits_for_a_server_with_a_quorum) {
    driver_event(&d, CE_TICK);
    connect_whole(0x1234);
    driver_write(&d, 1, "/a", 0);
    int32_t xid = take().xid;
    driver_event(&d, CE_LOST);
    connect_read_only(0x1234);
    ck_assert_ptr_null(driver_reply_to(&d, 1));
    assert_nothing_sent();
    driver_event(&d, CE_LOST);
    connect_whole(0x1234);
    ck_assert_int_eq(take().xid, xid);
}
END_TEST

START_TEST(a_server_with_a_quorum_is_looked_for_ever_more_seldom) {
    driver_event(&d, CE_TICK);
    connect_read_only(0x77);
    int64_t waits[3];
    for (int i = 0; i < 3; i++) {
        int64_t began = d.now;
        int32_t server = client_server(d.c);
        while (!driver_find(&d, CU_DISCONNECT)) {
            driver_sleep(&d);
            ck_assert_int_le(d.now - began, 60000);
        }
        waits[i] = d.now - began;
        while (!driver_find(&d, CU_CONNECT))
            driver_sleep(&d);
        ck_assert_int_ne(driver_find(&d, CU_CONNECT)->server, server);
        driver_event(&d, CE_CONNECTED);
        driver_drop_sent(&d);
        driver_connect_response(&d, 0x77, 9000);
    }
    ck_assert_int_gt(waits[1], waits[0]);
    ck_assert_int_gt(waits[2], waits[1]);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client_read_only");
    TCase *t = tcase_create("read_only");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_connect_request_says_that_reading_is_enough);
    tcase_add_test(t, reads_go_on_and_a_write_is_told_what_the_server_says);
    tcase_add_test(t, the_session_of_a_read_only_server_is_not_kept);
    tcase_add_test(t, the_session_that_there_was_stays);
    tcase_add_test(t, a_lost_write_waits_for_a_server_with_a_quorum);
    tcase_add_test(t, a_server_with_a_quorum_is_looked_for_ever_more_seldom);
    suite_add_tcase(s, t);
    return s;
}
