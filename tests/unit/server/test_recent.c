/* The recent changes: what is kept, what is forgotten, and that it is known which. */
#include "replica/server/recent.h"

#include "common/path.h"
#include "replica/server/limits.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct recent recent;

static void set_up(void) { recent = (struct recent){0}; }
static void tear_down(void) { recent_close(&recent); }

/* One transaction that sets each of these paths. */
static void note(zxid_t zxid, uint32_t count, const char *path) {
    struct txn *t = txn_new(TXN_OPS, count);
    t->zxid = zxid;
    t->op_count = count;
    for (uint32_t i = 0; i < count; i++)
        t->ops[i] = (struct txn_op){.type = TXN_OP_SET_DATA, .path = blob_new(path, strlen(path))};
    recent_note(&recent, t);
    txn_free(t);
}

START_TEST(changes_behind_a_zxid_are_found) {
    ck_assert_uint_eq(recent_behind(&recent, 0), recent.count);
    for (zxid_t z = 10; z <= 2000; z += 10)
        note(z, 2, "/a");
    ck_assert_uint_eq(recent.count, 400);
    ck_assert(recent_reaches(&recent, 0));
    for (zxid_t since = 0; since <= 2005; since++) {
        uint32_t at = recent_behind(&recent, since);
        ck_assert_uint_eq(at, since < 10 ? 0 : 2 * (uint32_t)(since / 10));
        if (at < recent.count)
            ck_assert_int_gt(recent_at(&recent, at)->zxid, since);
    }
}
END_TEST

START_TEST(the_oldest_are_forgotten_beyond_a_number_and_that_is_known) {
    for (uint32_t z = 1; z <= RECENT_CHANGES_MAX + 5; z++)
        note(z, 1, "/a");
    ck_assert_uint_eq(recent.count, RECENT_CHANGES_MAX);
    ck_assert(!recent_reaches(&recent, 4));
    ck_assert(recent_reaches(&recent, 5));
    ck_assert_int_eq(recent_at(&recent, 0)->zxid, 6);
}
END_TEST

START_TEST(the_oldest_are_forgotten_beyond_so_many_bytes) {
    enum { LONG = 60000 };
    static char path[LONG + 1];
    memset(path, 'a', LONG);
    path[0] = '/';
    for (zxid_t z = 1; z <= 200; z++)
        note(z, 1, path);
    ck_assert_uint_le(recent.bytes, RECENT_BYTES_MAX);
    ck_assert_uint_ge(recent.bytes, RECENT_BYTES_MAX - LONG - 100);
    ck_assert_int_eq(recent_at(&recent, 0)->zxid, recent.floor + 1);
    ck_assert_int_eq(recent_at(&recent, recent.count - 1)->zxid, 200);
}
END_TEST

START_TEST(half_a_transaction_does_not_count) {
    note(1, 3, "/a");
    note(2, RECENT_CHANGES_MAX - 1, "/a");
    ck_assert(!recent_reaches(&recent, 0));
    ck_assert(recent_reaches(&recent, 1));
    note(3, 2, "/a");
    ck_assert(!recent_reaches(&recent, 1));
    ck_assert(recent_reaches(&recent, 2));
    ck_assert_int_eq(recent_at(&recent, recent_behind(&recent, 2))->zxid, 3);
}
END_TEST

START_TEST(a_new_beginning_knows_nothing_of_before) {
    note(1, 1, "/a");
    recent_reset(&recent, 7);
    ck_assert_uint_eq(recent.count, 0);
    ck_assert(!recent_reaches(&recent, 6));
    ck_assert(recent_reaches(&recent, 7));
}
END_TEST

START_TEST(refusals_and_what_changes_no_znode_are_not_kept) {
    static const enum txn_type types[] = {TXN_ERROR, TXN_CREATE_SESSION, TXN_CLOSE_SESSION};
    for (int i = 0; i < 3; i++) {
        struct txn *t = txn_new(types[i], 0);
        t->zxid = i + 1;
        t->op_count = types[i] == TXN_ERROR ? 5 : 0; /* of a refused multi */
        recent_note(&recent, t);
        txn_free(t);
    }
    struct txn *t = txn_new(TXN_OPS, 2);
    t->zxid = 9;
    t->op_count = 2;
    t->ops[0] = (struct txn_op){.type = TXN_OP_CHECK, .path = blob_new("/a", 2)};
    t->ops[1] = (struct txn_op){.type = TXN_OP_SET_ACL, .path = blob_new("/a", 2)};
    recent_note(&recent, t);
    txn_free(t);
    ck_assert_uint_eq(recent.count, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("recent");
    TCase *c = tcase_create("recent");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, changes_behind_a_zxid_are_found);
    tcase_add_test(c, the_oldest_are_forgotten_beyond_a_number_and_that_is_known);
    tcase_add_test(c, the_oldest_are_forgotten_beyond_so_many_bytes);
    tcase_add_test(c, half_a_transaction_does_not_count);
    tcase_add_test(c, a_new_beginning_knows_nothing_of_before);
    tcase_add_test(c, refusals_and_what_changes_no_znode_are_not_kept);
    suite_add_tcase(s, c);
    return s;
}
