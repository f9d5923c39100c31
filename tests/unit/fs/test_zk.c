/* Operations over libuv, against a server of our own on loopback. */
#include "common/log.h"
#include "common/path.h"
#include "fs/zk.h"
#include "tests/lib/unit.h"
#include "tests/unit/fs/fake_zk.h"

#include <stdio.h>
#include <string.h>

#define S slice_from_str

static uv_loop_t loop;
static struct fake_zk fake;
static struct zk *zk;

/* The last result, copied. */
static struct {
    int calls;
    int err;
    zxid_t zxid;
    struct zstat stat;
    char data[64];
    int32_t data_len;
    char path[256];
    int32_t children;
    size_t op_count;
    int op_err[8];
    struct zstat op_stat[8];
} got;

static void copy_text(char *to, size_t size, struct slice s) {
    snprintf(to, size, "%.*s", s.len > 0 ? (int)s.len : 0, s.p ? (const char *)s.p : "");
}

static void on_result(void *ctx, const struct zk_result *res) {
    got.calls++;
    got.err = res->err;
    got.zxid = res->zxid;
    got.stat = res->stat;
    got.data_len = res->data.len;
    copy_text(got.data, sizeof(got.data), res->data);
    copy_text(got.path, sizeof(got.path), res->path);
    got.children = res->children.count;
    got.op_count = res->op_count;
    for (size_t i = 0; i < res->op_count && i < 8; i++) {
        got.op_err[i] = res->ops[i].err;
        got.op_stat[i] = res->ops[i].stat;
    }
    if (ctx)
        *(int *)ctx = got.calls;
}

static void open_zk(const struct zk_config *config) {
    const char *why = NULL;
    char servers[64];
    struct zk_config c = *config;
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", fake.port);
    if (!c.servers)
        c.servers = servers;
    zk = zk_new(&loop, &c, NULL, NULL, &why);
    ck_assert_msg(zk, "%s", why);
}

static void setup(void) {
    log_set_level(LOG_ERROR);
    memset(&got, 0, sizeof(got));
    uv_loop_init(&loop);
    fake_start(&fake, &loop);
    struct zk_config config = {.session_timeout_ms = 3000};
    open_zk(&config);
}

static void closed(void *ctx) { fake_stop(&fake); }

static void teardown(void) {
    zk_close(zk, closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* Runs the loop until `calls` results have come. */
static void wait_calls(int calls) {
    while (got.calls < calls)
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_int_eq(got.calls, calls);
}

static void wait_result(int err) {
    ck_assert_int_eq(got.calls, 0);
    wait_calls(1);
    got.calls = 0;
    ck_assert_int_eq(got.err, err);
}

/* A session stands, and the client knows the server's zxid. */
static void connect_zk(void) {
    zk_exists(zk, S("/"), on_result, NULL);
    wait_result(ZK_OK);
}

static struct zk_op create_op(const char *path, const char *data) {
    return (struct zk_op){.type = ZK_OP_CREATE, .path = S(path), .data = S(data)};
}

static void create(const char *path, const char *data) {
    struct zk_op op = create_op(path, data);
    zk_create(zk, &op, on_result, NULL);
}

static void lose_next(enum fake_loss how) {
    fake.lose = how;
    fake.lose_times = 1;
}

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

START_TEST(a_lost_create_that_was_done_is_done_once) {
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    create("/a", "v");
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/a");
    ck_assert_int_eq(got.stat.czxid, 1001);
    ck_assert_int_eq(fake.requests[OP_CREATE2], 1);
    ck_assert_int_eq(fake.requests[OP_SYNC], 1);
}
END_TEST

START_TEST(a_lost_create_that_was_not_done_is_sent_again) {
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    create("/a", "v");
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.requests[OP_CREATE2], 2);
    ck_assert_int_eq(fake_find(&fake, "/a")->stat.version, 0);
}
END_TEST

static void another_creates_a(struct fake_zk *f) { fake_create(f, "/a", NULL); }

START_TEST(an_exclusive_create_is_not_won_by_anothers_znode) {
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    fake.after_loss = another_creates_a;
    struct zk_op op = create_op("/a", NULL);
    op.exclusive = true;
    zk_create(zk, &op, on_result, NULL);
    wait_result(ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(of_two_lost_creates_of_one_path_only_one_succeeds) {
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    create("/a", NULL);
    create("/a", NULL);
    wait_calls(1);
    int first = got.err;
    wait_calls(2);
    ck_assert_int_eq(first + got.err, ZK_NODEEXISTS);
}
END_TEST

START_TEST(a_lost_create_is_not_taken_for_one_of_ours_that_was_answered) {
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    fake.keep_first = 1;
    create("/a", NULL);
    create("/a", NULL);
    wait_calls(1);
    ck_assert_int_eq(got.err, ZK_OK);
    wait_calls(2);
    ck_assert_int_eq(got.err, ZK_NODEEXISTS);
    ck_assert_int_eq(fake.connections, 2);
}
END_TEST

START_TEST(a_lost_ephemeral_create_is_known_by_its_owner) {
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    struct zk_op op = create_op("/e", NULL);
    op.mode = CREATE_EPHEMERAL;
    op.exclusive = true;
    zk_create(zk, &op, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.stat.ephemeral_owner, 0x100);
}
END_TEST

START_TEST(a_lost_conditional_set_that_was_done_is_not_repeated) {
    fake_create(&fake, "/a", "old");
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    zk_set(zk, S("/a"), S("new"), 0, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(got.stat.version, 1);
    ck_assert_int_eq(fake.requests[OP_SET_DATA], 1);
}
END_TEST

static void another_sets_a(struct fake_zk *f) { fake_set(f, "/a", "another's"); }

START_TEST(a_lost_conditional_set_that_another_was_faster_than_is_a_bad_version) {
    fake_create(&fake, "/a", "old");
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    fake.after_loss = another_sets_a;
    zk_set(zk, S("/a"), S("new"), 0, on_result, NULL);
    wait_result(ZK_BADVERSION);
    ck_assert(slice_equal_str(blob_slice(fake_find(&fake, "/a")->data), "another's"));
}
END_TEST

START_TEST(a_lost_conditional_set_that_was_overwritten_is_unknown) {
    fake_create(&fake, "/a", "old");
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    fake.after_loss = another_sets_a;
    zk_set(zk, S("/a"), S("new"), 0, on_result, NULL);
    wait_result(ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_lost_set_of_unreadable_data_is_unknown) {
    fake_create(&fake, "/a", "old");
    connect_zk();
    fake.hide_data = true;
    lose_next(FAKE_LOSE_DONE);
    zk_set(zk, S("/a"), S("new"), 0, on_result, NULL);
    wait_result(ZK_CONNECTIONLOSS);
    ck_assert_int_eq(fake.requests[OP_EXISTS], 2);
}
END_TEST

START_TEST(a_lost_delete_is_done_when_the_znode_is_gone_and_repeated_when_not) {
    fake_create(&fake, "/a", "x");
    fake_create(&fake, "/b", "x");
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    zk_delete(zk, S("/a"), -1, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.requests[OP_DELETE], 1);
    lose_next(FAKE_LOSE_UNDONE);
    zk_delete(zk, S("/b"), -1, on_result, NULL);
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.requests[OP_DELETE], 3);
    ck_assert_ptr_null(fake_find(&fake, "/b"));
}
END_TEST

static void rename_a_to_b(void) {
    struct zk_op ops[] = {create_op("/b", "x"),
                          {.type = ZK_OP_DELETE, .path = S("/a"), .version = 0}};
    zk_multi(zk, ops, 2, on_result, NULL);
}

START_TEST(a_lost_rename_that_was_done_is_known_by_its_transaction) {
    fake_create(&fake, "/a", "x");
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    rename_a_to_b();
    wait_result(ZK_OK);
    ck_assert_uint_eq(got.op_count, 2);
    ck_assert_int_eq(got.op_stat[0].czxid, 1002);
    ck_assert_int_eq(fake.requests[OP_MULTI], 1);
}
END_TEST

START_TEST(a_lost_rename_that_was_not_done_is_sent_again) {
    fake_create(&fake, "/a", "x");
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    rename_a_to_b();
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.requests[OP_MULTI], 2);
    ck_assert_ptr_null(fake_find(&fake, "/a"));
}
END_TEST

static void create_sequential(enum create_mode mode, const char *data) {
    struct zk_op op = create_op("/q/job-", data);
    op.mode = mode;
    zk_create(zk, &op, on_result, NULL);
}

START_TEST(a_lost_sequential_ephemeral_is_found_among_the_children) {
    fake_create(&fake, "/q", NULL);
    fake_create(&fake, "/q/job-0000000000", "old");
    fake.sequence = 5;
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    create_sequential(CREATE_EPHEMERAL_SEQUENTIAL, NULL);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/q/job-0000000005");
    ck_assert_int_eq(fake.requests[OP_CREATE2], 1);
}
END_TEST

START_TEST(a_lost_sequential_that_left_no_trace_is_sent_again) {
    fake_create(&fake, "/q", NULL);
    connect_zk();
    for (int i = 0; i < 2; i++) {
        lose_next(FAKE_LOSE_UNDONE);
        create_sequential(i ? CREATE_PERSISTENT_SEQUENTIAL : CREATE_EPHEMERAL_SEQUENTIAL, NULL);
        wait_result(ZK_OK);
    }
    ck_assert_int_eq(fake_find(&fake, "/q")->stat.num_children, 2);
}
END_TEST

START_TEST(a_lost_persistent_sequential_is_known_by_its_data_alone) {
    fake_create(&fake, "/q", NULL);
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    create_sequential(CREATE_PERSISTENT_SEQUENTIAL, "who I am");
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/q/job-0000000000");
    lose_next(FAKE_LOSE_DONE);
    create_sequential(CREATE_PERSISTENT_SEQUENTIAL, "");
    wait_result(ZK_CONNECTIONLOSS);
}
END_TEST

START_TEST(a_write_that_breaks_every_connection_is_given_up) {
    connect_zk();
    fake.lose = FAKE_LOSE_UNDONE;
    fake.lose_times = 100;
    struct zk_config config = {.session_timeout_ms = 30000, .hard = true};
    zk_close(zk, NULL, NULL);
    open_zk(&config);
    create("/a", NULL);
    wait_result(ZK_CONNECTIONLOSS);
    ck_assert_int_eq(fake.requests[OP_CREATE2], 8);
}
END_TEST

START_TEST(a_write_refused_for_the_expired_session_is_done_in_the_new_one) {
    connect_zk();
    fake.refuse_writes = ZK_SESSIONEXPIRED;
    fake.session = 0;
    create("/a", NULL);
    while (fake.requests[OP_CREATE2] == 0)
        uv_run(&loop, UV_RUN_ONCE);
    fake.refuse_writes = 0;
    wait_result(ZK_OK);
    ck_assert_int_eq(zk_session_id(zk), 0x101);
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
    tcase_add_test(t, a_lost_create_that_was_done_is_done_once);
    tcase_add_test(t, a_lost_create_that_was_not_done_is_sent_again);
    tcase_add_test(t, an_exclusive_create_is_not_won_by_anothers_znode);
    tcase_add_test(t, of_two_lost_creates_of_one_path_only_one_succeeds);
    tcase_add_test(t, a_lost_create_is_not_taken_for_one_of_ours_that_was_answered);
    tcase_add_test(t, a_lost_ephemeral_create_is_known_by_its_owner);
    tcase_add_test(t, a_lost_conditional_set_that_was_done_is_not_repeated);
    tcase_add_test(t, a_lost_conditional_set_that_another_was_faster_than_is_a_bad_version);
    tcase_add_test(t, a_lost_conditional_set_that_was_overwritten_is_unknown);
    tcase_add_test(t, a_lost_set_of_unreadable_data_is_unknown);
    tcase_add_test(t, a_lost_delete_is_done_when_the_znode_is_gone_and_repeated_when_not);
    tcase_add_test(t, a_lost_rename_that_was_done_is_known_by_its_transaction);
    tcase_add_test(t, a_lost_rename_that_was_not_done_is_sent_again);
    tcase_add_test(t, a_lost_sequential_ephemeral_is_found_among_the_children);
    tcase_add_test(t, a_lost_sequential_that_left_no_trace_is_sent_again);
    tcase_add_test(t, a_lost_persistent_sequential_is_known_by_its_data_alone);
    tcase_add_test(t, a_write_that_breaks_every_connection_is_given_up);
    tcase_add_test(t, a_write_refused_for_the_expired_session_is_done_in_the_new_one);
    tcase_add_test(t, closing_ends_the_session_and_answers_what_waits);
    tcase_add_test(t, addresses_that_make_no_sense_are_refused_with_the_reason);
    tcase_add_test(t, a_server_that_is_away_is_passed_over);
    suite_add_tcase(s, t);
    return s;
}
