/* The results that a session keeps for writes that are sent again. */
#include "replica/server/retry.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/zkerr.h"
#include "tests/lib/unit.h"

#include <check.h>
#include <string.h>

static struct retry_window w;

static void setup(void) { w = (struct retry_window){0}; }
static void teardown(void) { retry_close(&w); }

static struct slice text(const char *s) {
    return (struct slice){(const uint8_t *)s, (int32_t)strlen(s)};
}

/* A creation with this xid and path. */
static void record_create(int32_t cxid, zxid_t zxid, const char *path) {
    struct txn *t = txn_new(TXN_OPS, 1);
    t->cxid = cxid;
    t->zxid = zxid;
    t->ops[0].type = TXN_OP_CREATE;
    t->ops[0].path = blob_from_slice(text(path));
    struct zstat stat = {.czxid = zxid, .version = 3};
    struct tree_changes changes = {.stats = &stat, .stat_count = 1};
    retry_record(&w, t, &changes);
    txn_free(t);
}

static void record_error(int32_t cxid, zxid_t zxid, int32_t err) {
    struct txn *t = txn_new(TXN_ERROR, 0);
    t->cxid = cxid;
    t->zxid = zxid;
    t->err = err;
    retry_record(&w, t, NULL);
    txn_free(t);
}

static enum retry_answer find(int32_t cxid) {
    const struct retry_result *r;
    return retry_find(&w, cxid, &r);
}

START_TEST(what_was_never_seen_is_new) {
    ck_assert_int_eq(find(1), RETRY_NEW);
    record_create(1, 10, "/a");
    ck_assert_int_eq(find(2), RETRY_NEW);
}
END_TEST

START_TEST(a_result_comes_back_as_it_was) {
    record_create(7, 10, "/a0000000003");
    const struct retry_result *r;
    ck_assert_int_eq(retry_find(&w, 7, &r), RETRY_KNOWN);
    struct tree_changes changes;
    struct txn *t = retry_decode(r, &changes);
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->type, TXN_OPS);
    ck_assert_int_eq(t->zxid, 10);
    ck_assert_uint_eq(t->op_count, 1);
    ck_assert_uint_eq(t->ops[0].path->len, 12);
    ck_assert_mem_eq(t->ops[0].path->bytes, "/a0000000003", 12);
    ck_assert_int_eq(changes.stats[0].czxid, 10);
    ck_assert_int_eq(changes.stats[0].version, 3);
    txn_free(t);
    tree_changes_close(&changes);
}
END_TEST

START_TEST(a_refusal_is_a_result_too) {
    record_error(7, 10, ZK_NODEEXISTS);
    const struct retry_result *r;
    ck_assert_int_eq(retry_find(&w, 7, &r), RETRY_KNOWN);
    struct tree_changes changes;
    struct txn *t = retry_decode(r, &changes);
    ck_assert_int_eq(t->type, TXN_ERROR);
    ck_assert_int_eq(t->err, ZK_NODEEXISTS);
    txn_free(t);
    tree_changes_close(&changes);
}
END_TEST

START_TEST(a_refusal_of_the_connection_is_no_result) {
    record_create(6, 9, "/a");
    record_error(7, 10, ZK_SESSIONMOVED);
    record_error(7, 11, ZK_SESSIONEXPIRED);
    ck_assert_int_eq(find(7), RETRY_NEW);
}
END_TEST

START_TEST(the_oldest_is_forgotten_and_known_to_be) {
    for (int32_t i = 1; i <= (int32_t)RETRY_RESULTS_MAX + 1; i++)
        record_create(i, i, "/a");
    ck_assert_int_eq(find(1), RETRY_FORGOTTEN);
    ck_assert_int_eq(find(2), RETRY_KNOWN);
    ck_assert_uint_eq(w.count, RETRY_RESULTS_MAX);
}
END_TEST

START_TEST(long_results_push_out_older_ones) {
    char path[20001];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    for (int32_t i = 1; i <= 5; i++)
        record_create(i, i, path);
    ck_assert_uint_le(w.bytes, RETRY_BYTES_MAX);
    ck_assert_int_eq(find(1), RETRY_FORGOTTEN);
    ck_assert_int_eq(find(5), RETRY_KNOWN);
}
END_TEST

START_TEST(a_result_too_long_to_keep_is_forgotten_at_once) {
    static char path[RETRY_BYTES_MAX + 1];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    record_create(1, 1, path);
    ck_assert_int_eq(find(1), RETRY_FORGOTTEN);
    ck_assert_int_eq(find(2), RETRY_NEW);
}
END_TEST

START_TEST(a_replay_over_a_snapshot_records_nothing_twice) {
    record_create(1, 10, "/a");
    record_create(2, 11, "/b");
    record_create(1, 10, "/a");
    record_create(2, 11, "/b");
    ck_assert_uint_eq(w.count, 2);
}
END_TEST

START_TEST(xids_begin_again_behind_the_greatest) {
    record_create(INT32_MAX - 1, 1, "/a");
    record_create(INT32_MAX, 2, "/b");
    ck_assert_int_eq(find(1), RETRY_NEW);
    record_create(1, 3, "/c");
    ck_assert_int_eq(find(INT32_MAX), RETRY_KNOWN);
    ck_assert_int_eq(find(2), RETRY_NEW);
}
END_TEST

START_TEST(a_window_goes_through_a_snapshot_whole) {
    record_create(1, 10, "/a");
    record_error(2, 11, ZK_NONODE);
    struct retry_window copy = {0};
    for (uint32_t i = 0; i < w.count; i++) {
        const struct retry_result *r = retry_at(&w, i);
        ck_assert(retry_load(&copy, r->cxid, r->zxid, blob_slice(r->bytes)));
    }
    ck_assert(retry_load(&copy, 3, 12, SLICE_NULL));
    const struct retry_result *r;
    ck_assert_int_eq(retry_find(&copy, 1, &r), RETRY_KNOWN);
    ck_assert_int_eq(r->zxid, 10);
    ck_assert_int_eq(retry_find(&copy, 3, &r), RETRY_FORGOTTEN);
    ck_assert(!retry_load(&copy, 4, 12, SLICE_NULL)); /* not behind the last */
    retry_close(&copy);
}
END_TEST

START_TEST(malformed_bytes_are_refused_at_every_length) {
    record_create(1, 10, "/a");
    struct slice bytes = blob_slice(retry_at(&w, 0)->bytes);
    struct retry_window other = {0};
    for (int32_t n = 0; n < bytes.len; n++)
        ck_assert(!retry_load(&other, 1, 10, (struct slice){bytes.p, n}));
    uint8_t longer[256] = {0};
    memcpy(longer, bytes.p, (size_t)bytes.len);
    ck_assert(!retry_load(&other, 1, 10, (struct slice){longer, bytes.len + 1}));
    ck_assert_uint_eq(other.count, 0);
    retry_close(&other);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("retry");
    TCase *t = tcase_create("retry");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_was_never_seen_is_new);
    tcase_add_test(t, a_result_comes_back_as_it_was);
    tcase_add_test(t, a_refusal_is_a_result_too);
    tcase_add_test(t, a_refusal_of_the_connection_is_no_result);
    tcase_add_test(t, the_oldest_is_forgotten_and_known_to_be);
    tcase_add_test(t, long_results_push_out_older_ones);
    tcase_add_test(t, a_result_too_long_to_keep_is_forgotten_at_once);
    tcase_add_test(t, a_replay_over_a_snapshot_records_nothing_twice);
    tcase_add_test(t, xids_begin_again_behind_the_greatest);
    tcase_add_test(t, a_window_goes_through_a_snapshot_whole);
    tcase_add_test(t, malformed_bytes_are_refused_at_every_length);
    suite_add_tcase(s, t);
    return s;
}
