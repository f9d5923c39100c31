/* Operations over libuv, against a server of our own on loopback. */
#include "common/zkerr.h"
#include "tests/lib/unit.h"
#include "tests/unit/fs/zk_harness.h"

#include <stdio.h>
#include <string.h>

START_TEST(each_operation_brings_back_its_record) {
    create("/a", NULL);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/a");
    ck_assert_int_eq(got.stat.czxid, got.zxid);
    zk_set(zk, S("/a"), S("hello"), 0, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.stat.version, 1);
    zk_get(zk, S("/a"), on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.data, "hello");
    ck_assert_int_eq(got.stat.data_length, 5);
    zk_children(zk, S("/"), on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.children, 1);
    zk_exists(zk, S("/a"), on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.stat.version, 1);
    zk_sync(zk, S("/a"), on_result, NULL);
    wait_result(ZK_OK);
    zk_delete(zk, S("/a"), 1, on_result, NULL);
    wait_result(ZK_OK);
    zk_get(zk, S("/a"), on_result, NULL);
    wait_result(ZK_NONODE);
}
END_TEST

START_TEST(null_data_and_empty_data_come_back_as_such) {
    create("/null", NULL);
    wait_result(ZK_OK);
    create("/empty", "");
    wait_result(ZK_OK);
    zk_get(zk, S("/null"), on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.data_len, -1);
    zk_get(zk, S("/empty"), on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.data_len, 0);
}
END_TEST

START_TEST(a_multi_gives_a_result_for_each_operation) {
    fake_create(&fake, "/a", "x");
    struct zk_op ops[] = {
        create_op("/b", "x"),
        {.type = ZK_OP_SET, .path = S("/b"), .data = S("y"), .version = 0},
        {.type = ZK_OP_DELETE, .path = S("/a"), .version = -1},
    };
    zk_multi(zk, ops, 3, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_uint_eq(got.op_count, 3);
    ck_assert_int_eq(got.op_stat[1].version, 1);
    ck_assert_ptr_null(fake_find(&fake, "/a"));
}
END_TEST

START_TEST(a_failed_multi_has_the_error_of_the_operation_that_failed) {
    struct zk_op ops[] = {{.type = ZK_OP_DELETE, .path = S("/nothing"), .version = -1}};
    zk_multi(zk, ops, 1, on_result, NULL);
    wait_result(ZK_NONODE);
    ck_assert_uint_eq(got.op_count, 1);
    ck_assert_int_eq(got.op_err[0], ZK_NONODE);
}
END_TEST

START_TEST(no_callback_comes_from_within_the_start) {
    int order[3] = {0};
    static uint8_t big[1100000];
    zk_get(zk, S("/"), on_result, &order[0]);
    zk_set(zk, S("/"), (struct slice){big, sizeof(big)}, -1, on_result, &order[1]);
    zk_get(zk, S("/"), on_result, &order[2]);
    ck_assert_int_eq(got.calls, 0);
    wait_calls(3);
}
END_TEST

START_TEST(requests_of_one_round_travel_together) {
    connect_zk();
    fake.reads = 0;
    for (int i = 0; i < 50; i++)
        zk_exists(zk, S("/"), on_result, NULL);
    wait_calls(50);
    ck_assert_int_eq(fake.reads, 1);
}
END_TEST

START_TEST(a_value_longer_than_a_frame_is_refused_without_a_word_to_the_server) {
    connect_zk();
    static uint8_t big[1048576];
    zk_set(zk, S("/"), (struct slice){big, sizeof(big)}, -1, on_result, NULL);
    wait_result(ZK_MARSHALLINGERROR);
    ck_assert_int_eq(fake.requests[OP_SET_DATA], 0);
    ck_assert_int_eq(fake.connections, 1);
}
END_TEST

START_TEST(a_long_value_goes_through) {
    static uint8_t big[1000000];
    fake_create(&fake, "/a", "");
    zk_set(zk, S("/a"), (struct slice){big, sizeof(big)}, -1, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.stat.data_length, 1000000);
}
END_TEST

START_TEST(a_server_that_reads_slowly_gets_everything_in_order) {
    static uint8_t big[1000000];
    fake_create(&fake, "/a", "");
    connect_zk();
    uv_read_stop((uv_stream_t *)fake.conn);
    for (int i = 0; i < 20; i++) {
        zk_set(zk, S("/a"), (struct slice){big, sizeof(big)}, i, on_result, NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    ck_assert_int_eq(got.calls, 0);
    fake_read(&fake);
    wait_calls(20);
    ck_assert_int_eq(got.err, ZK_OK);
    ck_assert_int_eq(got.stat.version, 20);
    ck_assert_int_eq(fake.connections, 1);
}
END_TEST

static void ask(int kind) {
    struct zk_op ops[] = {
        create_op("/new", "x"),
        {.type = ZK_OP_SET, .path = S("/a"), .data = S("y"), .version = -1},
        {.type = ZK_OP_DELETE, .path = S("/new"), .version = -1},
    };
    switch (kind) {
    case 0:
        zk_get(zk, S("/a"), on_result, NULL);
        break;
    case 1:
        zk_children(zk, S("/"), on_result, NULL);
        break;
    case 2:
        zk_exists(zk, S("/a"), on_result, NULL);
        break;
    case 3:
        zk_set(zk, S("/a"), S("y"), -1, on_result, NULL);
        break;
    default:
        zk_multi(zk, ops, 3, on_result, NULL);
    }
}

START_TEST(an_answer_cut_at_any_byte_is_an_error) {
    static const size_t lengths[] = {4 + 1 + 68, 4 + 4 + 1 + 68, 68, 68, 9 * 4 + 8 + 2 * 68};
    fake_create(&fake, "/a", "x");
    for (int kind = 0; kind < 5; kind++) {
        for (fake.cut = 0; fake.cut <= lengths[kind]; fake.cut++) {
            ask(kind);
            wait_result(fake.cut == 0 ? ZK_OK : ZK_DATAINCONSISTENCY);
        }
    }
    fake.cut = 0;
}
END_TEST

START_TEST(a_cancelled_operation_does_not_call_back) {
    connect_zk();
    uint64_t early = zk_get(zk, S("/"), on_result, NULL);
    zk_cancel(zk, early);
    zk_cancel(zk, early);
    uint64_t late = zk_get(zk, S("/"), on_result, NULL);
    zk_exists(zk, S("/"), on_result, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    zk_cancel(zk, late);
    zk_sync(zk, S("/"), on_result, NULL);
    wait_calls(2);
}
END_TEST

START_TEST(an_operation_that_no_server_takes_was_surely_not_done) {
    zk_close(zk, NULL, NULL);
    fake.refuse = true;
    struct zk_config config = {.session_timeout_ms = 3000, .timeo_ms = 100};
    open_zk(&config);
    create("/a", NULL);
    wait_result(ZK_OPERATIONTIMEOUT);
}
END_TEST

START_TEST(an_operation_without_an_answer_was_perhaps_done) {
    connect_zk();
    zk_close(zk, NULL, NULL);
    struct zk_config config = {.session_timeout_ms = 3000, .timeo_ms = 100};
    open_zk(&config);
    connect_zk();
    fake.deaf = true;
    create("/a", NULL);
    wait_result(ZK_CONNECTIONLOSS);
    fake.deaf = false;
}
END_TEST

START_TEST(a_read_is_repeated_when_its_connection_breaks) {
    connect_zk();
    fake.deaf = true;
    zk_get(zk, S("/"), on_result, NULL);
    while (fake.requests[OP_GET_DATA] == 0)
        uv_run(&loop, UV_RUN_ONCE);
    fake.deaf = false;
    fake_drop(&fake);
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.connections, 2);
    ck_assert_int_eq(zk_session_id(zk), 0x100);
}
END_TEST

START_TEST(closing_ends_the_session_and_answers_what_waits) {
    connect_zk();
    fake.deaf = true;
    create("/a", NULL);
    while (fake.requests[OP_CREATE2] == 0)
        uv_run(&loop, UV_RUN_ONCE);
    zk_get(zk, S("/"), on_result, NULL);
    zk_close(zk, NULL, NULL);
    wait_calls(2);
    ck_assert_int_eq(got.err, ZK_CONNECTIONLOSS);
    ck_assert_int_eq(fake.closes, 1);
    fake.deaf = false;
    struct zk_config config = {.session_timeout_ms = 3000};
    open_zk(&config);
}
END_TEST

START_TEST(addresses_that_make_no_sense_are_refused_with_the_reason) {
    static const char *const wrong[] = {"",           "a,,b",    "host:", "host:0",
                                        "host:65536", "host:1x", "[::1",  "[::1]2181",
                                        "::1",        "a b",     ":2181"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct zk_config config = {.servers = wrong[i], .session_timeout_ms = 3000};
        const char *why = NULL;
        ck_assert_ptr_null(zk_new(&loop, &config, NULL, NULL, &why));
        ck_assert_ptr_nonnull(why);
    }
}
END_TEST

START_TEST(a_server_that_is_away_is_passed_over) {
    zk_close(zk, NULL, NULL);
    char servers[128];
    snprintf(servers, sizeof(servers), "127.0.0.1:1,[::1]:1,localhost:%d", fake.port);
    struct zk_config config = {.servers = servers, .session_timeout_ms = 3000};
    open_zk(&config);
    connect_zk();
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zk");
    TCase *t = tcase_create("zk");
    tcase_set_timeout(t, 20);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_operation_brings_back_its_record);
    tcase_add_test(t, null_data_and_empty_data_come_back_as_such);
    tcase_add_test(t, a_multi_gives_a_result_for_each_operation);
    tcase_add_test(t, a_failed_multi_has_the_error_of_the_operation_that_failed);
    tcase_add_test(t, no_callback_comes_from_within_the_start);
    tcase_add_test(t, requests_of_one_round_travel_together);
    tcase_add_test(t, a_value_longer_than_a_frame_is_refused_without_a_word_to_the_server);
    tcase_add_test(t, a_long_value_goes_through);
    tcase_add_test(t, a_server_that_reads_slowly_gets_everything_in_order);
    tcase_add_test(t, an_answer_cut_at_any_byte_is_an_error);
    tcase_add_test(t, a_cancelled_operation_does_not_call_back);
    tcase_add_test(t, an_operation_that_no_server_takes_was_surely_not_done);
    tcase_add_test(t, an_operation_without_an_answer_was_perhaps_done);
    tcase_add_test(t, a_read_is_repeated_when_its_connection_breaks);
    tcase_add_test(t, closing_ends_the_session_and_answers_what_waits);
    tcase_add_test(t, addresses_that_make_no_sense_are_refused_with_the_reason);
    tcase_add_test(t, a_server_that_is_away_is_passed_over);
    suite_add_tcase(s, t);
    return s;
}
