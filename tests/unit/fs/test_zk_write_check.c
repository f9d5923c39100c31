/* The rule table of zk_write_check.h, line by line. `before` is 100 throughout. */
#include "common/path.h"
#include "fs/zk_write_check.h"
#include "tests/lib/unit.h"

#define BEFORE 100
#define SESSION 0x1234

static struct wc_op create_op(void) {
    return (struct wc_op){
        .type = WC_CREATE, .path = slice_from_str("/a"), .data = slice_from_str("v")};
}

static struct wc_op set_op(int32_t version) {
    return (struct wc_op){.type = WC_SET,
                          .path = slice_from_str("/a"),
                          .data = slice_from_str("v"),
                          .version = version};
}

static struct wc_look absent(void) { return (struct wc_look){.data = SLICE_NULL}; }

/* There, with czxid, mzxid, version and data. */
static struct wc_look there(zxid_t czxid, zxid_t mzxid, int32_t version, const char *data) {
    return (struct wc_look){
        .exists = true,
        .data_is_known = true,
        .stat = {.czxid = czxid, .mzxid = mzxid, .version = version},
        .data = slice_from_str(data),
    };
}

static enum wc_verdict check(struct wc_op op, struct wc_look look) {
    return write_check(&op, BEFORE, SESSION, &look).verdict;
}

START_TEST(create_of_what_is_absent_may_be_sent_again) {
    ck_assert_int_eq(check(create_op(), absent()), WC_MAYBE_AGAIN);
}
END_TEST

START_TEST(create_of_what_was_there_before_was_not_done) {
    ck_assert_int_eq(check(create_op(), there(100, 100, 0, "v")), WC_AGAIN);
}
END_TEST

START_TEST(create_is_done_when_a_newer_znode_has_the_same_data) {
    struct wc_op op = create_op();
    struct wc_look look = there(101, 101, 0, "v");
    struct wc_result r = write_check(&op, BEFORE, SESSION, &look);
    ck_assert_int_eq(r.verdict, WC_DONE);
    ck_assert_int_eq(r.zxid, 101);
}
END_TEST

START_TEST(an_exclusive_create_is_not_taken_for_done_by_its_looks) {
    struct wc_op op = create_op();
    op.exclusive = true;
    ck_assert_int_eq(check(op, there(101, 101, 0, "v")), WC_UNKNOWN);
}
END_TEST

START_TEST(null_data_and_empty_data_are_not_the_same) {
    struct wc_op op = create_op();
    op.data = SLICE_NULL;
    ck_assert_int_eq(check(op, there(101, 101, 0, NULL)), WC_DONE);
    ck_assert_int_eq(check(op, there(101, 101, 0, "")), WC_AGAIN);
}
END_TEST

START_TEST(create_with_other_data_is_anothers_unless_it_was_changed_since) {
    ck_assert_int_eq(check(create_op(), there(101, 101, 0, "w")), WC_AGAIN);
    ck_assert_int_eq(check(create_op(), there(101, 105, 1, "w")), WC_UNKNOWN);
}
END_TEST

START_TEST(an_ephemeral_is_known_by_its_owner_even_exclusive) {
    struct wc_op op = create_op();
    op.mode = CREATE_EPHEMERAL;
    op.exclusive = true;
    struct wc_look look = there(101, 101, 0, "v");
    look.stat.ephemeral_owner = SESSION;
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.data_is_known = false;
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.stat.ephemeral_owner = 0x9999;
    ck_assert_int_eq(check(op, look), WC_AGAIN);
    look.stat.ephemeral_owner = 0;
    ck_assert_int_eq(check(op, look), WC_AGAIN);
}
END_TEST

START_TEST(a_persistent_create_is_not_done_by_an_ephemeral) {
    struct wc_look look = there(101, 101, 0, "v");
    look.stat.ephemeral_owner = SESSION;
    ck_assert_int_eq(check(create_op(), look), WC_AGAIN);
}
END_TEST

START_TEST(a_container_is_known_by_its_mark_or_by_none) {
    struct wc_op op = create_op();
    op.mode = CREATE_CONTAINER;
    struct wc_look look = there(101, 101, 0, "v");
    ck_assert_int_eq(check(op, look), WC_DONE); /* Apache shows none */
    look.stat.ephemeral_owner = INT64_MIN;
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.stat.ephemeral_owner = SESSION;
    ck_assert_int_eq(check(op, look), WC_AGAIN);
}
END_TEST

START_TEST(a_ttl_znode_is_known_by_its_time_or_by_no_mark) {
    struct wc_op op = create_op();
    op.mode = CREATE_PERSISTENT_WITH_TTL;
    op.ttl_ms = 5000;
    struct wc_look look = there(101, 101, 0, "v");
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.stat.ephemeral_owner = (session_id_t)(UINT64_C(0xff00000000000000) + 5000);
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.stat.ephemeral_owner = (session_id_t)(UINT64_C(0xff00000000000000) + 6000);
    ck_assert_int_eq(check(op, look), WC_AGAIN);
}
END_TEST

START_TEST(data_that_may_not_be_read_leaves_a_create_unknown) {
    struct wc_look look = there(101, 101, 0, NULL);
    look.data_is_known = false;
    ck_assert_int_eq(check(create_op(), look), WC_UNKNOWN);
}
END_TEST

START_TEST(a_conditional_set_is_done_when_the_next_version_has_its_data) {
    ck_assert_int_eq(check(set_op(4), there(1, 101, 5, "v")), WC_DONE);
}
END_TEST

START_TEST(an_exclusive_set_is_not_taken_for_done_by_its_looks) {
    struct wc_op op = set_op(4);
    op.exclusive = true;
    ck_assert_int_eq(check(op, there(1, 101, 5, "v")), WC_UNKNOWN);
    ck_assert_int_eq(check(op, there(1, 101, 5, "another")), WC_AGAIN);
    ck_assert_int_eq(check(op, there(1, 50, 4, "old")), WC_AGAIN);
}
END_TEST

START_TEST(a_conditional_set_is_sent_again_when_the_version_stands) {
    ck_assert_int_eq(check(set_op(4), there(1, 50, 4, "old")), WC_AGAIN);
    ck_assert_int_eq(check(set_op(4), there(101, 101, 4, "old")), WC_AGAIN);
}
END_TEST

START_TEST(a_conditional_set_lost_to_another_when_the_next_version_has_other_data) {
    ck_assert_int_eq(check(set_op(4), there(1, 101, 5, "w")), WC_AGAIN);
}
END_TEST

START_TEST(a_conditional_set_is_not_done_by_what_was_there_before_it) {
    ck_assert_int_eq(check(set_op(4), there(1, 100, 5, "v")), WC_AGAIN);
    ck_assert_int_eq(check(set_op(4), there(1, 100, 9, "v")), WC_AGAIN);
}
END_TEST

START_TEST(a_conditional_set_behind_later_changes_is_unknown) {
    ck_assert_int_eq(check(set_op(4), there(1, 110, 6, "v")), WC_UNKNOWN);
    ck_assert_int_eq(check(set_op(4), there(105, 110, 1, "v")), WC_UNKNOWN);
    struct wc_look look = there(1, 101, 5, NULL);
    look.data_is_known = false;
    ck_assert_int_eq(check(set_op(4), look), WC_UNKNOWN);
}
END_TEST

START_TEST(an_unconditional_set_is_done_when_its_data_is_there_and_newer) {
    ck_assert_int_eq(check(set_op(-1), there(1, 101, 77, "v")), WC_DONE);
    ck_assert_int_eq(check(set_op(-1), there(1, 100, 77, "v")), WC_AGAIN);
    ck_assert_int_eq(check(set_op(-1), there(1, 101, 77, "w")), WC_MAYBE_AGAIN);
}
END_TEST

START_TEST(a_set_on_what_is_absent_is_sent_again) {
    ck_assert_int_eq(check(set_op(-1), absent()), WC_MAYBE_AGAIN);
    ck_assert_int_eq(check(set_op(3), absent()), WC_MAYBE_AGAIN);
}
END_TEST

START_TEST(the_next_version_skips_minus_one_and_wraps) {
    ck_assert_int_eq(write_check_next_version(0), 1);
    ck_assert_int_eq(write_check_next_version(-2), 0);
    ck_assert_int_eq(write_check_next_version(INT32_MAX), INT32_MIN);
}
END_TEST

START_TEST(a_delete_is_done_when_the_znode_is_gone_or_another_one) {
    struct wc_op op = {.type = WC_DELETE, .version = -1};
    ck_assert_int_eq(check(op, absent()), WC_DONE);
    ck_assert_int_eq(check(op, there(101, 101, 0, "v")), WC_DONE);
    ck_assert_int_eq(check(op, there(100, 101, 1, "v")), WC_AGAIN);
}
END_TEST

START_TEST(an_acl_is_judged_by_its_version_and_its_bytes) {
    struct wc_op op = {.type = WC_SET_ACL, .version = 2, .acl = {1, slice_from_str("acl")}};
    struct wc_look look = {.exists = true, .stat = {.aversion = 2}, .acl = {1, SLICE_NULL}};
    ck_assert_int_eq(check(op, look), WC_AGAIN);
    look.stat.aversion = 3;
    ck_assert_int_eq(check(op, look), WC_UNKNOWN);
    look.acl.items = slice_from_str("acl");
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.stat.aversion = 4;
    ck_assert_int_eq(check(op, look), WC_UNKNOWN);
    op.version = -1;
    ck_assert_int_eq(check(op, look), WC_DONE);
    look.acl.items = slice_from_str("other");
    ck_assert_int_eq(check(op, look), WC_MAYBE_AGAIN);
    ck_assert_int_eq(check(op, absent()), WC_MAYBE_AGAIN);
}
END_TEST

static struct wc_result multi(enum wc_verdict a, zxid_t za, enum wc_verdict b, zxid_t zb) {
    struct wc_result results[] = {{a, za}, {WC_NOTHING, 0}, {b, zb}};
    return write_check_multi(results, 3);
}

START_TEST(a_multi_is_done_when_every_operation_is_in_one_transaction) {
    struct wc_result r = multi(WC_DONE, 101, WC_DONE, 0);
    ck_assert_int_eq(r.verdict, WC_DONE);
    ck_assert_int_eq(r.zxid, 101);
    ck_assert_int_eq(multi(WC_DONE, 101, WC_DONE, 101).verdict, WC_DONE);
    ck_assert_int_eq(multi(WC_DONE, 101, WC_DONE, 102).verdict, WC_UNKNOWN);
}
END_TEST

START_TEST(one_operation_surely_not_done_settles_a_multi) {
    ck_assert_int_eq(multi(WC_DONE, 101, WC_AGAIN, 0).verdict, WC_AGAIN);
    ck_assert_int_eq(multi(WC_AGAIN, 0, WC_UNKNOWN, 0).verdict, WC_AGAIN);
}
END_TEST

START_TEST(a_multi_with_mixed_traces_is_unknown) {
    ck_assert_int_eq(multi(WC_DONE, 101, WC_MAYBE_AGAIN, 0).verdict, WC_UNKNOWN);
    ck_assert_int_eq(multi(WC_DONE, 101, WC_UNKNOWN, 0).verdict, WC_UNKNOWN);
}
END_TEST

START_TEST(a_multi_without_a_trace_is_sent_again) {
    ck_assert_int_eq(multi(WC_MAYBE_AGAIN, 0, WC_MAYBE_AGAIN, 0).verdict, WC_AGAIN);
    ck_assert_int_eq(multi(WC_NOTHING, 0, WC_NOTHING, 0).verdict, WC_AGAIN);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zk_write_check");
    TCase *t = tcase_create("rules");
    tcase_add_test(t, create_of_what_is_absent_may_be_sent_again);
    tcase_add_test(t, create_of_what_was_there_before_was_not_done);
    tcase_add_test(t, create_is_done_when_a_newer_znode_has_the_same_data);
    tcase_add_test(t, an_exclusive_create_is_not_taken_for_done_by_its_looks);
    tcase_add_test(t, null_data_and_empty_data_are_not_the_same);
    tcase_add_test(t, create_with_other_data_is_anothers_unless_it_was_changed_since);
    tcase_add_test(t, an_ephemeral_is_known_by_its_owner_even_exclusive);
    tcase_add_test(t, a_persistent_create_is_not_done_by_an_ephemeral);
    tcase_add_test(t, a_container_is_known_by_its_mark_or_by_none);
    tcase_add_test(t, a_ttl_znode_is_known_by_its_time_or_by_no_mark);
    tcase_add_test(t, data_that_may_not_be_read_leaves_a_create_unknown);
    tcase_add_test(t, a_conditional_set_is_done_when_the_next_version_has_its_data);
    tcase_add_test(t, an_exclusive_set_is_not_taken_for_done_by_its_looks);
    tcase_add_test(t, a_conditional_set_is_sent_again_when_the_version_stands);
    tcase_add_test(t, a_conditional_set_lost_to_another_when_the_next_version_has_other_data);
    tcase_add_test(t, a_conditional_set_is_not_done_by_what_was_there_before_it);
    tcase_add_test(t, a_conditional_set_behind_later_changes_is_unknown);
    tcase_add_test(t, an_unconditional_set_is_done_when_its_data_is_there_and_newer);
    tcase_add_test(t, a_set_on_what_is_absent_is_sent_again);
    tcase_add_test(t, the_next_version_skips_minus_one_and_wraps);
    tcase_add_test(t, a_delete_is_done_when_the_znode_is_gone_or_another_one);
    tcase_add_test(t, an_acl_is_judged_by_its_version_and_its_bytes);
    tcase_add_test(t, a_multi_is_done_when_every_operation_is_in_one_transaction);
    tcase_add_test(t, one_operation_surely_not_done_settles_a_multi);
    tcase_add_test(t, a_multi_with_mixed_traces_is_unknown);
    tcase_add_test(t, a_multi_without_a_trace_is_sent_again);
    suite_add_tcase(s, t);
    return s;
}
