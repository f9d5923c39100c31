/* The pure client session: connections, handshakes, requests. */
#include "tests/unit/client/session.h"

#include <string.h>

static void three_servers(void) { driver_init(&d, 3, 9000); }

static struct proto_connect_request take_connect_request(void) {
    struct driver_frame f;
    static struct proto_connect_request req;
    ck_assert(driver_take(&d, false, &f));
    ck_assert_int_eq(f.body.len, 45);
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    return req;
}

START_TEST(the_first_tick_connects_to_the_first_server) {
    driver_event(&d, CE_TICK);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 0);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}
END_TEST

START_TEST(a_new_session_is_asked_for_with_protocol_0_and_the_timeout) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    ck_assert_int_eq(driver_find(&d, CU_STATE)->state, CLIENT_HANDSHAKE);
    struct proto_connect_request req = take_connect_request();
    ck_assert_int_eq(req.protocol_version, 0);
    ck_assert_int_eq(req.timeout_ms, 9000);
    ck_assert_int_eq(req.session_id, 0);
    ck_assert_int_eq(req.last_zxid_seen, 0);
    ck_assert(req.has_read_only && !req.read_only);
}
END_TEST

START_TEST(the_answer_gives_the_session_and_the_negotiated_timeout) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    driver_connect_response(&d, 0x77, 4000);
    ck_assert_int_eq(driver_find(&d, CU_STATE)->state, CLIENT_CONNECTED);
    ck_assert_int_eq(client_session_id(d.c), 0x77);
    ck_assert_int_eq(client_timeout_ms(d.c), 4000);
    ck_assert_int_eq(client_server(d.c), 0);
}
END_TEST

START_TEST(an_answer_without_the_read_only_byte_will_do) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    uint8_t frame[4 + 36] = {0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0x20, 0};
    frame[19] = 9; /* session id */
    frame[23] = 16;
    driver_bytes(&d, frame, sizeof(frame));
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    ck_assert_int_eq(client_session_id(d.c), 9);
}
END_TEST

START_TEST(a_reconnect_names_session_password_and_last_zxid) {
    driver_write(&d, 1, "/a", 0);
    driver_reply(&d, 1, 0x500000007, 0, SLICE_NULL);
    driver_event(&d, CE_LOST);
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    struct proto_connect_request req = take_connect_request();
    ck_assert_int_eq(req.session_id, 0x1234);
    ck_assert_int_eq(req.last_zxid_seen, 0x500000007);
    ck_assert_int_eq(req.passwd.len, PASSWD_BYTES);
    ck_assert_int_eq(req.passwd.p[0], 'p');
}
END_TEST

START_TEST(a_server_that_closes_without_an_answer_is_left_for_the_next) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    driver_event(&d, CE_LOST);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 1);
    driver_event(&d, CE_LOST);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 2);
}
END_TEST

START_TEST(the_first_server_is_the_one_the_shell_chose) {
    struct client_config config = {
        .server_count = 3, .first_server = 2, .timeout_ms = 9000, .max_frame_bytes = 100};
    client_free(d.c);
    d.c = client_new(&config);
    driver_event(&d, CE_TICK);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 2);
    driver_event(&d, CE_LOST);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 0);
}
END_TEST

START_TEST(the_pause_after_each_round_of_servers_grows_to_a_second) {
    driver_event(&d, CE_TICK);
    int64_t pause = 0, before = -1;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 2; i++) {
            driver_event(&d, CE_LOST);
            ck_assert_ptr_nonnull(driver_find(&d, CU_CONNECT));
        }
        driver_event(&d, CE_LOST);
        ck_assert_ptr_null(driver_find(&d, CU_CONNECT));
        pause = d.deadline - d.now;
        ck_assert_int_ge(pause, before);
        ck_assert_int_le(pause, 1000);
        before = pause;
        driver_sleep(&d);
        ck_assert_ptr_nonnull(driver_find(&d, CU_CONNECT));
    }
    ck_assert_int_eq(pause, 1000);
}
END_TEST

START_TEST(an_attempt_ends_after_its_share_of_the_timeout) {
    driver_event(&d, CE_TICK);
    ck_assert_int_eq(d.deadline, d.now + 3000);
    driver_sleep(&d);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 1);
}
END_TEST

START_TEST(the_only_server_is_asked_anew_and_has_a_third_of_the_timeout_to_answer) {
    driver_close(&d);
    driver_init(&d, 1, 12000);
    driver_event(&d, CE_TICK);
    driver_tick(&d, 3000);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    driver_sleep(&d);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CONNECT));
    driver_event(&d, CE_CONNECTED);
    driver_tick(&d, 3999);
    ck_assert_int_eq(client_state(d.c), CLIENT_HANDSHAKE);
    driver_tick(&d, 1);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}
END_TEST

START_TEST(a_short_timeout_leaves_the_only_server_a_second_to_answer) {
    driver_close(&d);
    driver_init(&d, 1, 1500);
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    driver_tick(&d, 999);
    ck_assert_int_eq(client_state(d.c), CLIENT_HANDSHAKE);
    driver_tick(&d, 1);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}
END_TEST

START_TEST(a_server_that_does_not_answer_the_handshake_is_left) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    driver_tick(&d, 3000);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 1);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}
END_TEST

START_TEST(a_good_connection_that_breaks_is_replaced_at_once) {
    driver_tick(&d, 2000);
    driver_event(&d, CE_LOST);
    ck_assert_int_eq(driver_find(&d, CU_STATE)->state, CLIENT_CONNECTING);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CONNECT));
}
END_TEST

START_TEST(a_connection_that_answered_a_request_is_replaced_at_once) {
    for (int i = 0; i < 8; i++)
        reconnect();
    driver_drop_sent(&d);
    driver_write(&d, 1, "/a", 0);
    driver_reply(&d, 1, 5, 0, SLICE_NULL);
    driver_event(&d, CE_LOST);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CONNECT));
}
END_TEST

START_TEST(a_server_that_drops_each_connection_at_once_is_not_stormed) {
    for (int i = 0; i < 8; i++)
        reconnect();
    driver_event(&d, CE_LOST);
    ck_assert_ptr_null(driver_find(&d, CU_CONNECT));
    ck_assert_int_ge(d.deadline, d.now + 900);
}
END_TEST

START_TEST(an_idle_connection_is_pinged_at_a_third_of_the_timeout) {
    ck_assert_int_eq(d.deadline, d.now + 3000);
    driver_sleep(&d);
    struct driver_frame f = take();
    ck_assert_int_eq(f.xid, XID_PING);
    ck_assert_int_eq(f.opcode, OP_PING);
    ck_assert_int_eq(f.body.len, 0);
}
END_TEST

START_TEST(a_busy_connection_is_not_pinged) {
    for (int i = 1; i <= 5; i++) {
        d.now += 1000;
        driver_write(&d, (uint64_t)i, "/a", 0);
        driver_reply(&d, i, i, 0, SLICE_NULL);
        driver_drop_sent(&d);
    }
    driver_event(&d, CE_TICK);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_busy_connection_does_not_set_the_timer_for_every_frame) {
    size_t deadlines = 0;
    for (int i = 1; i <= 100; i++) {
        d.now += 10;
        driver_write(&d, (uint64_t)i, "/a", d.now + 30000);
        deadlines += driver_count(&d, CU_DEADLINE);
        driver_reply(&d, i, i, 0, SLICE_NULL);
        deadlines += driver_count(&d, CU_DEADLINE);
    }
    ck_assert_uint_le(deadlines, 1);
}
END_TEST

START_TEST(an_early_tick_asks_for_the_timer_again) {
    driver_tick(&d, 10);
    ck_assert_int_le(d.deadline, d.now + 3000);
}
END_TEST

START_TEST(a_server_silent_for_two_thirds_of_the_timeout_is_dead) {
    driver_tick(&d, 3000);
    driver_tick(&d, 2999);
    ck_assert_ptr_null(driver_find(&d, CU_DISCONNECT));
    driver_tick(&d, 1);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}
END_TEST

START_TEST(an_answered_ping_keeps_the_connection) {
    for (int i = 0; i < 10; i++) {
        driver_tick(&d, 3000);
        driver_reply(&d, XID_PING, 5, 0, SLICE_NULL);
    }
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    ck_assert_int_eq(client_last_zxid(d.c), 5);
}
END_TEST

/* Bytes of many replies, an event among them, cut at `cut`. */
static void feed_cut(size_t cut, size_t step) {
    driver_init(&d, 1, 9000);
    driver_establish(&d);
    struct buf b = BUF_INIT;
    for (uint64_t i = 1; i <= 3; i++) {
        driver_request(&d, i, OP_GET_DATA, "/b", false, 0);
        put_reply(&b, (int32_t)i, (zxid_t)i, 0, slice_from_str("some record"));
    }
    size_t replies = 0;
    for (size_t at = 0; at < b.len;) {
        size_t n = at == 0 ? cut : step;
        if (n > b.len - at)
            n = b.len - at;
        driver_bytes(&d, b.data + at, n);
        for (size_t i = 0; i < d.count; i++) {
            if (d.updates[i].type == CU_REPLY) {
                ck_assert(slice_equal_str(d.updates[i].bytes, "some record"));
                ck_assert_uint_eq(d.updates[i].token, ++replies);
            }
        }
        at += n;
    }
    ck_assert_uint_eq(replies, 3);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    buf_close(&b);
}

START_TEST(replies_may_be_cut_at_every_byte) {
    size_t len = 3 * (4 + 16 + 11);
    for (size_t cut = 1; cut <= len; cut++) {
        driver_close(&d);
        feed_cut(cut, len);
    }
    for (size_t step = 1; step < 40; step++) {
        driver_close(&d);
        feed_cut(step, step);
    }
}
END_TEST

START_TEST(the_handshake_answer_may_be_cut_and_followed_at_every_byte) {
    for (int cut = 1; cut < 41; cut++) {
        driver_close(&d);
        driver_init(&d, 1, 9000);
        driver_event(&d, CE_TICK);
        driver_event(&d, CE_CONNECTED);
        uint8_t frame[4 + 37] = {0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x20, 0};
        frame[19] = 9;
        frame[23] = 16;
        driver_bytes(&d, frame, (size_t)cut);
        ck_assert_int_eq(client_state(d.c), CLIENT_HANDSHAKE);
        driver_bytes(&d, frame + cut, sizeof(frame) - (size_t)cut);
        ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    }
}
END_TEST

static void assert_dropped(void) {
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTING);
}

START_TEST(a_reply_that_answers_nothing_drops_the_connection) {
    driver_reply(&d, 7, 1, 0, SLICE_NULL);
    assert_dropped();
}
END_TEST

START_TEST(a_reply_out_of_order_drops_the_connection) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_request(&d, 2, OP_GET_DATA, "/b", false, 0);
    driver_reply(&d, 2, 1, 0, SLICE_NULL);
    assert_dropped();
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
}
END_TEST

START_TEST(a_frame_too_short_for_a_header_drops_the_connection) {
    uint8_t frame[] = {0, 0, 0, 3, 1, 2, 3};
    driver_bytes(&d, frame, sizeof(frame));
    assert_dropped();
}
END_TEST

START_TEST(an_event_that_is_cut_short_drops_the_connection) {
    driver_reply(&d, XID_NOTIFICATION, 1, 0, slice_from_str("abc"));
    assert_dropped();
}
END_TEST

START_TEST(a_length_beyond_the_limit_or_negative_drops_the_connection) {
    uint8_t big[] = {0, 0, 0x10, 1};
    driver_bytes(&d, big, sizeof(big));
    assert_dropped();
    reconnect();
    uint8_t negative[] = {0xff, 0xff, 0xff, 0xff};
    driver_bytes(&d, negative, sizeof(negative));
    assert_dropped();
}
END_TEST

START_TEST(a_read_whose_reply_is_too_long_fails_and_is_not_sent_again) {
    driver_request(&d, 5, OP_GET_CHILDREN2, "/many", false, 0);
    driver_request(&d, 6, OP_GET_DATA, "/b", false, 0);
    uint8_t big[] = {0, 0x10, 0, 0};
    driver_bytes(&d, big, sizeof(big));
    assert_reply(5, ZK_MARSHALLINGERROR);
    assert_dropped();
    reconnect();
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_GET_DATA);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_malformed_handshake_answer_drops_the_connection) {
    driver_event(&d, CE_TICK);
    driver_event(&d, CE_CONNECTED);
    uint8_t frame[] = {0, 0, 0, 2, 1, 2};
    driver_bytes(&d, frame, sizeof(frame));
    assert_dropped();
}
END_TEST

START_TEST(what_a_dropped_connection_still_says_is_ignored) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_event(&d, CE_LOST);
    driver_reply(&d, 1, 1, 0, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
}
END_TEST

START_TEST(half_a_frame_of_the_old_connection_does_not_reach_the_new_one) {
    uint8_t half[] = {0, 0, 0, 90, 1, 2, 3};
    driver_bytes(&d, half, sizeof(half));
    reconnect();
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_reply(&d, 1, 1, 0, SLICE_NULL);
    assert_reply(1, ZK_OK);
}
END_TEST

/* A small generator of our own: the same bytes in every run. */
static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

START_TEST(garbage_only_ever_drops_the_connection) {
    static const uint8_t event[] = {0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2, '/', 'a'};
    uint32_t state = 1;
    for (int round = 0; round < 3000; round++) {
        driver_write(&d, (uint64_t)round * 2 + 1, "/a", d.now + 50);
        driver_request(&d, (uint64_t)round * 2 + 2, OP_GET_DATA, "/a", true, d.now + 50);
        struct buf b = BUF_INIT;
        put_reply(&b, 1, 5, 0, slice_from_str("record"));
        put_reply(&b, XID_NOTIFICATION, 5, 0, (struct slice){.p = event, .len = sizeof(event)});
        put_reply(&b, XID_PING, 5, 0, SLICE_NULL);
        for (uint32_t i = next_random(&state) % 8; i > 0; i--)
            b.data[next_random(&state) % b.len] = (uint8_t)next_random(&state);
        driver_bytes(&d, b.data, next_random(&state) % b.len + 1);
        buf_close(&b);
        driver_tick(&d, 20);
        if (client_state(d.c) == CLIENT_CONNECTED)
            continue;
        while (!driver_find(&d, CU_CONNECT))
            driver_sleep(&d);
        driver_event(&d, CE_CONNECTED);
        driver_connect_response(&d, 0x1234, 9000);
        driver_drop_sent(&d);
        ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client");
    TCase *fresh = tcase_create("fresh");
    tcase_add_checked_fixture(fresh, one_server, teardown);
    tcase_add_test(fresh, the_first_tick_connects_to_the_first_server);
    tcase_add_test(fresh, a_new_session_is_asked_for_with_protocol_0_and_the_timeout);
    tcase_add_test(fresh, the_answer_gives_the_session_and_the_negotiated_timeout);
    tcase_add_test(fresh, an_answer_without_the_read_only_byte_will_do);
    tcase_add_test(fresh, the_handshake_answer_may_be_cut_and_followed_at_every_byte);
    tcase_add_test(fresh, a_malformed_handshake_answer_drops_the_connection);
    suite_add_tcase(s, fresh);
    TCase *three = tcase_create("three");
    tcase_add_checked_fixture(three, three_servers, teardown);
    tcase_add_test(three, a_server_that_closes_without_an_answer_is_left_for_the_next);
    tcase_add_test(three, the_first_server_is_the_one_the_shell_chose);
    tcase_add_test(three, the_pause_after_each_round_of_servers_grows_to_a_second);
    tcase_add_test(three, an_attempt_ends_after_its_share_of_the_timeout);
    tcase_add_test(three, the_only_server_is_asked_anew_and_has_a_third_of_the_timeout_to_answer);
    tcase_add_test(three, a_short_timeout_leaves_the_only_server_a_second_to_answer);
    tcase_add_test(three, a_server_that_does_not_answer_the_handshake_is_left);
    suite_add_tcase(s, three);
    TCase *up = tcase_create("established");
    tcase_add_checked_fixture(up, established, teardown);
    tcase_add_test(up, a_reconnect_names_session_password_and_last_zxid);
    tcase_add_test(up, a_good_connection_that_breaks_is_replaced_at_once);
    tcase_add_test(up, a_connection_that_answered_a_request_is_replaced_at_once);
    tcase_add_test(up, a_server_that_drops_each_connection_at_once_is_not_stormed);
    tcase_add_test(up, an_idle_connection_is_pinged_at_a_third_of_the_timeout);
    tcase_add_test(up, a_busy_connection_is_not_pinged);
    tcase_add_test(up, a_busy_connection_does_not_set_the_timer_for_every_frame);
    tcase_add_test(up, an_early_tick_asks_for_the_timer_again);
    tcase_add_test(up, a_server_silent_for_two_thirds_of_the_timeout_is_dead);
    tcase_add_test(up, an_answered_ping_keeps_the_connection);
    tcase_add_test(up, replies_may_be_cut_at_every_byte);
    tcase_add_test(up, a_reply_that_answers_nothing_drops_the_connection);
    tcase_add_test(up, a_reply_out_of_order_drops_the_connection);
    tcase_add_test(up, a_frame_too_short_for_a_header_drops_the_connection);
    tcase_add_test(up, an_event_that_is_cut_short_drops_the_connection);
    tcase_add_test(up, a_length_beyond_the_limit_or_negative_drops_the_connection);
    tcase_add_test(up, a_read_whose_reply_is_too_long_fails_and_is_not_sent_again);
    tcase_add_test(up, what_a_dropped_connection_still_says_is_ignored);
    tcase_add_test(up, half_a_frame_of_the_old_connection_does_not_reach_the_new_one);
    tcase_add_test(up, garbage_only_ever_drops_the_connection);
    suite_add_tcase(s, up);
    return s;
}
