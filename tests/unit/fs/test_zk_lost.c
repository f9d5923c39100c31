/* Writes whose connection broke: what the mount tells their callers. */
#include "common/zkerr.h"
#include "tests/lib/unit.h"
#include "tests/unit/fs/zk_harness.h"

#include <stdio.h>
#include <string.h>

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

START_TEST(a_lost_exclusive_set_is_not_won_by_what_may_be_anothers) {
    fake_create(&fake, "/a", "old");
    connect_zk();
    lose_next(FAKE_LOSE_DONE);
    zk_exclusive(zk, zk_set(zk, S("/a"), S("new"), 0, on_result, NULL));
    wait_result(ZK_CONNECTIONLOSS);
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

static char names[8][256];

static void on_name(void *ctx, const struct zk_result *res) {
    on_result(NULL, res);
    memcpy(ctx, got.path, sizeof(got.path));
}

START_TEST(sequential_ephemerals_lost_together_get_a_name_each) {
    fake_create(&fake, "/q", NULL);
    connect_zk();
    fake.sequence = 7;
    lose_next(FAKE_LOSE_DONE);
    fake.keep_first = 4;
    for (int i = 0; i < 8; i++) {
        struct zk_op op = create_op("/q/job-", NULL);
        op.mode = CREATE_EPHEMERAL_SEQUENTIAL;
        op.exclusive = true;
        zk_create(zk, &op, on_name, names[i]);
    }
    fake.mute_first = true; /* those four are done, and their answers lost with the fifth's */
    wait_calls(8);
    ck_assert_int_eq(got.err, ZK_OK);
    for (int i = 0; i < 8; i++) {
        ck_assert_ptr_nonnull(fake_find(&fake, names[i]));
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(names[i], names[j]);
    }
    ck_assert_int_eq(fake_find(&fake, "/q")->stat.num_children, 8);
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

Suite *unit_suite(void) {
    Suite *s = suite_create("zk lost");
    TCase *t = tcase_create("lost");
    tcase_set_timeout(t, 20);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_lost_create_that_was_done_is_done_once);
    tcase_add_test(t, a_lost_create_that_was_not_done_is_sent_again);
    tcase_add_test(t, an_exclusive_create_is_not_won_by_anothers_znode);
    tcase_add_test(t, of_two_lost_creates_of_one_path_only_one_succeeds);
    tcase_add_test(t, a_lost_create_is_not_taken_for_one_of_ours_that_was_answered);
    tcase_add_test(t, a_lost_ephemeral_create_is_known_by_its_owner);
    tcase_add_test(t, a_lost_conditional_set_that_was_done_is_not_repeated);
    tcase_add_test(t, a_lost_exclusive_set_is_not_won_by_what_may_be_anothers);
    tcase_add_test(t, a_lost_conditional_set_that_another_was_faster_than_is_a_bad_version);
    tcase_add_test(t, a_lost_conditional_set_that_was_overwritten_is_unknown);
    tcase_add_test(t, a_lost_set_of_unreadable_data_is_unknown);
    tcase_add_test(t, a_lost_delete_is_done_when_the_znode_is_gone_and_repeated_when_not);
    tcase_add_test(t, a_lost_rename_that_was_done_is_known_by_its_transaction);
    tcase_add_test(t, a_lost_rename_that_was_not_done_is_sent_again);
    tcase_add_test(t, a_lost_sequential_ephemeral_is_found_among_the_children);
    tcase_add_test(t, sequential_ephemerals_lost_together_get_a_name_each);
    tcase_add_test(t, a_lost_sequential_that_left_no_trace_is_sent_again);
    tcase_add_test(t, a_lost_persistent_sequential_is_known_by_its_data_alone);
    tcase_add_test(t, a_write_that_breaks_every_connection_is_given_up);
    tcase_add_test(t, a_write_refused_for_the_expired_session_is_done_in_the_new_one);
    suite_add_tcase(s, t);
    return s;
}
