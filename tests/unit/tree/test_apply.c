#include "replica/tree/tree_apply.h"

#include "common/mem.h"
#include "common/path.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct tree *t;
static struct tree_changes changes;

static void set_up(void) {
    t = tree_new();
    tree_changes_init(&changes);
}

static void tear_down(void) {
    tree_changes_close(&changes);
    tree_free(t);
}

/* The events of the last transaction, as `type path` with spaces. */
static const char *events(void) {
    static char text[4096];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < changes.event_count; i++) {
        const struct tree_event *e = &changes.events[i];
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d %.*s", len ? " " : "",
                                (int)e->type, (int)e->path->len, (const char *)e->path->bytes);
        ck_assert_uint_lt(len, sizeof text);
    }
    return text;
}

static const char *apply(struct txn *txn) {
    tree_apply(t, txn, &changes);
    txn_free(txn);
    return tree_broken(t);
}

static struct txn *create_txn(zxid_t zxid, const char *path, session_id_t owner, int32_t creates) {
    struct txn *txn = make_txn(zxid, 1);
    op_create(txn->ops, path, "data", owner, creates);
    return txn;
}

START_TEST(a_creation_makes_a_znode_with_its_stat) {
    ck_assert_ptr_null(apply(create_txn(0x100000005, "/a", 0, 1)));
    struct zstat s = stat_of(t, "/a");
    ck_assert_int_eq(s.czxid, 0x100000005);
    ck_assert_int_eq(s.mzxid, 0x100000005);
    ck_assert_int_eq(s.pzxid, 0x100000005);
    ck_assert_int_eq(s.ctime_ms, 1000 * 0x100000005);
    ck_assert_int_eq(s.mtime_ms, s.ctime_ms);
    ck_assert_int_eq(s.version | s.cversion | s.aversion | s.num_children, 0);
    ck_assert_int_eq(s.ephemeral_owner, 0);
    ck_assert_int_eq(s.data_length, 4);
    ck_assert_int_eq(tree_last_zxid(t), 0x100000005);
}
END_TEST

/* The numbers of this test are Apache 3.8's own for the same operations: the suffix of a sequential
 * znode counts creations only, and the cversion is twice them less the children. */
START_TEST(a_parent_counts_creations_and_shows_changes_of_its_children) {
    do_create(t, 2, "/p", "");
    ck_assert_int_eq(stat_of(t, "/p").cversion, 0);
    do_create(t, 3, "/p/a", "");
    ck_assert_int_eq(stat_of(t, "/p").cversion, 1);
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 3);
    do_create(t, 4, "/p/b", "");
    do_delete(t, 5, "/p/a");
    ck_assert_int_eq(stat_of(t, "/p").cversion, 3);
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 5);
    ck_assert_int_eq(stat_of(t, "/p").num_children, 1);
    ck_assert_int_eq(znode_creates(find(t, "/p")), 2);
    /* A change of a child is none of the parent's. */
    do_set_data(t, 6, "/p/b", "x");
    do_set_acl(t, 7, "/p/b", "world:anyone:r");
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 5);
    ck_assert_int_eq(stat_of(t, "/p").cversion, 3);
    ck_assert_int_eq(stat_of(t, "/p").mzxid, 2);
}
END_TEST

START_TEST(the_count_of_creations_wraps_around) {
    do_create(t, 1, "/p", "");
    ck_assert_ptr_null(apply(create_txn(2, "/p/a", 0, INT32_MAX)));
    ck_assert_int_eq(stat_of(t, "/p").cversion, -3);
    ck_assert_ptr_null(apply(create_txn(3, "/p/b", 0, INT32_MIN)));
    ck_assert_int_eq(znode_creates(find(t, "/p")), INT32_MIN);
    ck_assert_int_eq(stat_of(t, "/p").cversion, -2);
}
END_TEST

START_TEST(a_new_data_changes_version_mzxid_and_mtime_only) {
    do_create(t, 1, "/a", "old");
    struct txn *txn = make_txn(7, 1);
    op_set_data(txn->ops, "/a", "newer", 9);
    ck_assert_ptr_null(apply(txn));
    struct zstat s = stat_of(t, "/a");
    ck_assert_int_eq(s.version, 9);
    ck_assert_int_eq(s.mzxid, 7);
    ck_assert_int_eq(s.mtime_ms, 7000);
    ck_assert_int_eq(s.ctime_ms, 1000);
    ck_assert_int_eq(s.czxid, 1);
    ck_assert_int_eq(s.pzxid, 1);
    ck_assert_int_eq(s.aversion, 0);
    ck_assert(slice_equal_str(blob_slice(znode_data(find(t, "/a"))), "newer"));
}
END_TEST

START_TEST(a_new_acl_changes_the_aversion_only) {
    do_create(t, 1, "/a", "");
    struct zstat before = stat_of(t, "/a");
    do_set_acl(t, 2, "/a", "world:anyone:r");
    struct zstat after = stat_of(t, "/a");
    ck_assert_int_eq(after.aversion, 1);
    ck_assert_int_eq(after.mzxid, before.mzxid);
    ck_assert_int_eq(after.mtime_ms, before.mtime_ms);
    ck_assert_int_eq(after.version, 0);
    ck_assert_ptr_ne(znode_acl(find(t, "/a")), znode_acl(find(t, "/")));
}
END_TEST

START_TEST(the_root_takes_data_and_acl) {
    do_set_data(t, 1, "/", "root");
    do_set_acl(t, 2, "/", "world:anyone:rc");
    ck_assert_int_eq(stat_of(t, "/").version, 1);
    ck_assert_int_eq(stat_of(t, "/").aversion, 1);
    ck_assert_uint_eq(tree_data_bytes(t), 48);
}
END_TEST

START_TEST(a_deleted_znode_is_gone) {
    do_create(t, 1, "/a", "x");
    do_create(t, 2, "/a/b", "x");
    do_delete(t, 3, "/a/b");
    ck_assert_ptr_null(find(t, "/a/b"));
    do_delete(t, 4, "/a");
    ck_assert_ptr_null(find(t, "/a"));
    ck_assert_int_eq(stat_of(t, "/").pzxid, 4);
}
END_TEST

START_TEST(events_come_in_zookeepers_order) {
    apply(create_txn(1, "/a", 0, 1));
    ck_assert_str_eq(events(), "1 /a 4 /");
    apply(create_txn(2, "/a/b", 0, 1));
    ck_assert_str_eq(events(), "1 /a/b 4 /a");
    struct txn *txn = make_txn(3, 1);
    op_set_data(txn->ops, "/a/b", "x", 1);
    apply(txn);
    ck_assert_str_eq(events(), "3 /a/b");
    txn = make_txn(4, 1);
    op_set_acl(txn->ops, "/a/b", OPEN_ACL, 1);
    apply(txn);
    ck_assert_str_eq(events(), "");
    txn = make_txn(5, 1);
    op_delete(txn->ops, "/a/b");
    apply(txn);
    ck_assert_str_eq(events(), "2 /a/b 4 /a");
}
END_TEST

START_TEST(a_multi_applies_in_order_with_a_stat_for_each_operation) {
    struct txn *txn = make_txn(5, 6);
    op_create(&txn->ops[0], "/a", "1", 0, 1);
    op_check(&txn->ops[1], "/a");
    op_create(&txn->ops[2], "/a/b", "2", 0, 1);
    op_set_data(&txn->ops[3], "/a", "three", 1);
    op_delete(&txn->ops[4], "/a/b");
    op_set_acl(&txn->ops[5], "/a", "world:anyone:r", 1);
    ck_assert_ptr_null(apply(txn));
    ck_assert_str_eq(events(), "1 /a 4 / 1 /a/b 4 /a 3 /a 2 /a/b 4 /a");
    ck_assert_uint_eq(changes.stat_count, 6);
    ck_assert_int_eq(changes.stats[0].czxid, 5);
    ck_assert_int_eq(changes.stats[0].num_children, 0);
    ck_assert_int_eq(changes.stats[1].czxid, 0);
    ck_assert_int_eq(changes.stats[2].data_length, 1);
    ck_assert_int_eq(changes.stats[3].version, 1);
    ck_assert_int_eq(changes.stats[3].num_children, 1);
    ck_assert_int_eq(changes.stats[4].czxid, 0);
    ck_assert_int_eq(changes.stats[5].aversion, 1);
    ck_assert_int_eq(changes.stats[5].cversion, 2);
    ck_assert_ptr_null(find(t, "/a/b"));
}
END_TEST

START_TEST(a_multi_may_create_delete_and_create_the_same_path) {
    do_create(t, 1, "/p", "");
    struct txn *txn = make_txn(2, 3);
    op_create(&txn->ops[0], "/p/x", "1", 0, 1);
    op_delete(&txn->ops[1], "/p/x");
    op_create(&txn->ops[2], "/p/x", "22", 0, 2);
    ck_assert_ptr_null(apply(txn));
    ck_assert_int_eq(stat_of(t, "/p/x").data_length, 2);
    ck_assert_int_eq(stat_of(t, "/p").cversion, 3);
}
END_TEST

START_TEST(an_empty_multi_only_moves_the_zxid) {
    char *before = tree_picture(t);
    ck_assert_ptr_null(apply(make_txn(9, 0)));
    char *after = tree_picture(t);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(tree_last_zxid(t), 9);
    ck_assert_uint_eq(changes.event_count + changes.stat_count, 0);
    mem_free(before);
    mem_free(after);
}
END_TEST

START_TEST(a_refusal_a_session_and_an_ensemble_change_no_znode) {
    char *before = tree_picture(t);
    struct txn *txn = make_typed(TXN_ERROR, 1, 3, 4);
    txn->err = -110;
    ck_assert_ptr_null(txn->ops);
    ck_assert_ptr_null(apply(txn));
    ck_assert_ptr_null(apply(make_typed(TXN_CREATE_SESSION, 2, 3, 0)));
    ck_assert_ptr_null(apply(make_typed(TXN_ENSEMBLE, 3, 0, 0)));
    ck_assert_ptr_null(apply(make_typed(TXN_CLOSE_SESSION, 4, 3, 0)));
    char *after = tree_picture(t);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(tree_last_zxid(t), 4);
    mem_free(before);
    mem_free(after);
}
END_TEST

START_TEST(a_closed_session_takes_its_ephemerals_along) {
    do_create_owned(t, 1, "/a", 7);
    do_create_owned(t, 2, "/b", 8);
    do_create_owned(t, 3, "/c", 7);
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, 4, 7, 2);
    op_delete(&txn->ops[0], "/a");
    op_delete(&txn->ops[1], "/c");
    ck_assert_ptr_null(apply(txn));
    ck_assert_str_eq(events(), "2 /a 4 / 2 /c 4 /");
    ck_assert_ptr_null(find(t, "/a"));
    ck_assert_ptr_null(find(t, "/c"));
    ck_assert_ptr_nonnull(find(t, "/b"));
    ck_assert_uint_eq(tree_ephemeral_count(t), 1);
}
END_TEST

START_TEST(changes_are_of_the_last_transaction_only) {
    apply(create_txn(1, "/a", 0, 1));
    struct txn *txn = make_typed(TXN_ERROR, 2, 0, 1);
    txn->err = -101;
    apply(txn);
    ck_assert_uint_eq(changes.event_count, 0);
    ck_assert_uint_eq(changes.stat_count, 0);
}
END_TEST

/* What never fits. */

static void assert_breaks(struct txn *txn, const char *why) {
    zxid_t before = tree_last_zxid(t);
    uint32_t ops = txn->op_count;
    const char *said = apply(txn);
    ck_assert_ptr_nonnull(said);
    ck_assert_str_eq(said, why);
    ck_assert_int_eq(tree_last_zxid(t), before);
    ck_assert_uint_eq(changes.stat_count, ops);
}

START_TEST(a_creation_below_nothing_breaks_the_tree) {
    assert_breaks(create_txn(1, "/a/b", 0, 1), "the parent of the znode to create does not exist");
}
END_TEST

START_TEST(a_creation_of_what_exists_breaks_the_tree) {
    do_create(t, 1, "/a", "");
    assert_breaks(create_txn(2, "/a", 0, 2),
                  "the znode to create exists since an earlier transaction");
}
END_TEST

START_TEST(a_creation_twice_in_a_multi_breaks_the_tree) {
    struct txn *txn = make_txn(1, 2);
    op_create(&txn->ops[0], "/a", "", 0, 1);
    op_create(&txn->ops[1], "/a", "", 0, 2);
    assert_breaks(txn, "the znode to create exists");
}
END_TEST

START_TEST(a_creation_below_an_ephemeral_breaks_the_tree) {
    do_create_owned(t, 1, "/a", 5);
    assert_breaks(create_txn(2, "/a/b", 0, 1), "the parent of the znode to create is ephemeral");
}
END_TEST

START_TEST(a_creation_that_is_not_counted_breaks_the_tree) {
    do_create(t, 1, "/a", "");
    assert_breaks(create_txn(2, "/b", 0, 1),
                  "a creation does not raise its parent's count of creations");
}
END_TEST

START_TEST(a_deletion_of_nothing_breaks_the_tree) {
    struct txn *txn = make_txn(1, 1);
    op_delete(txn->ops, "/a");
    assert_breaks(txn, "the znode to delete does not exist");
}
END_TEST

START_TEST(a_deletion_of_a_parent_breaks_the_tree) {
    do_create(t, 1, "/a", "");
    do_create(t, 2, "/a/b", "");
    struct txn *txn = make_txn(3, 1);
    op_delete(txn->ops, "/a");
    assert_breaks(txn, "the znode to delete has children");
    ck_assert_uint_eq(tree_znode_count(t), 6);
}
END_TEST

START_TEST(data_for_nothing_breaks_the_tree) {
    struct txn *txn = make_txn(1, 1);
    op_set_data(txn->ops, "/a", "x", 1);
    assert_breaks(txn, "the znode to set the data of does not exist");
}
END_TEST

START_TEST(an_acl_for_nothing_breaks_the_tree) {
    struct txn *txn = make_txn(1, 1);
    op_set_acl(txn->ops, "/a", OPEN_ACL, 1);
    assert_breaks(txn, "the znode to set the ACL of does not exist");
}
END_TEST

START_TEST(a_check_of_nothing_breaks_the_tree) {
    struct txn *txn = make_txn(1, 1);
    op_check(txn->ops, "/a");
    assert_breaks(txn, "the znode to check does not exist");
}
END_TEST

START_TEST(a_closed_session_that_leaves_an_ephemeral_breaks_the_tree) {
    do_create_owned(t, 1, "/a", 7);
    do_create_owned(t, 2, "/b", 7);
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, 3, 7, 1);
    op_delete(&txn->ops[0], "/b");
    assert_breaks(txn, "a closed session still owns ephemerals");
}
END_TEST

START_TEST(a_closed_session_that_deletes_of_another_breaks_the_tree) {
    do_create_owned(t, 1, "/a", 7);
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, 2, 8, 1);
    op_delete(&txn->ops[0], "/a");
    assert_breaks(txn, "a closed session deletes a znode that it does not own");
    ck_assert_uint_eq(tree_znode_count(t), 5);
}
END_TEST

START_TEST(an_unknown_operation_breaks_the_tree) {
    struct txn *txn = make_txn(1, 1);
    op_check(txn->ops, "/");
    txn->ops[0].type = (enum txn_op_type)77;
    assert_breaks(txn, "an operation of an unknown type");
}
END_TEST

START_TEST(what_follows_in_a_multi_that_breaks_the_tree_is_left_out) {
    struct txn *txn = make_txn(1, 3);
    op_create(&txn->ops[0], "/a", "", 0, 1);
    op_check(&txn->ops[1], "/nothing");
    op_create(&txn->ops[2], "/b", "", 0, 2);
    assert_breaks(txn, "the znode to check does not exist");
    ck_assert_uint_eq(tree_znode_count(t), 5);
}
END_TEST

START_TEST(nothing_is_found_in_a_broken_tree) {
    assert_breaks(create_txn(1, "/a/b", 0, 1), "the parent of the znode to create does not exist");
    find(t, "/"); /* CHECK */
}
END_TEST

START_TEST(a_broken_tree_takes_nothing_more) {
    assert_breaks(create_txn(1, "/a/b", 0, 1), "the parent of the znode to create does not exist");
    apply(create_txn(2, "/a", 0, 1)); /* CHECK */
}
END_TEST

START_TEST(a_zxid_that_does_not_grow_is_the_callers_error) {
    do_create(t, 2, "/a", "");
    apply(create_txn(2, "/b", 0, 2)); /* CHECK */
}
END_TEST

static void add_aborting(Suite *s) {
    TCase *c = tcase_create("checks");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test_raise_signal(c, nothing_is_found_in_a_broken_tree, SIGABRT);
    tcase_add_test_raise_signal(c, a_broken_tree_takes_nothing_more, SIGABRT);
    tcase_add_test_raise_signal(c, a_zxid_that_does_not_grow_is_the_callers_error, SIGABRT);
    suite_add_tcase(s, c);
}

static void add_breaking(Suite *s) {
    TCase *c = tcase_create("breaks");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_creation_below_nothing_breaks_the_tree);
    tcase_add_test(c, a_creation_of_what_exists_breaks_the_tree);
    tcase_add_test(c, a_creation_twice_in_a_multi_breaks_the_tree);
    tcase_add_test(c, a_creation_below_an_ephemeral_breaks_the_tree);
    tcase_add_test(c, a_creation_that_is_not_counted_breaks_the_tree);
    tcase_add_test(c, a_deletion_of_nothing_breaks_the_tree);
    tcase_add_test(c, a_deletion_of_a_parent_breaks_the_tree);
    tcase_add_test(c, data_for_nothing_breaks_the_tree);
    tcase_add_test(c, an_acl_for_nothing_breaks_the_tree);
    tcase_add_test(c, a_check_of_nothing_breaks_the_tree);
    tcase_add_test(c, a_closed_session_that_leaves_an_ephemeral_breaks_the_tree);
    tcase_add_test(c, a_closed_session_that_deletes_of_another_breaks_the_tree);
    tcase_add_test(c, what_follows_in_a_multi_that_breaks_the_tree_is_left_out);
    tcase_add_test(c, an_unknown_operation_breaks_the_tree);
    suite_add_tcase(s, c);
}

Suite *unit_suite(void) {
    Suite *s = suite_create("apply");
    TCase *c = tcase_create("apply");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_creation_makes_a_znode_with_its_stat);
    tcase_add_test(c, a_parent_counts_creations_and_shows_changes_of_its_children);
    tcase_add_test(c, the_count_of_creations_wraps_around);
    tcase_add_test(c, a_new_data_changes_version_mzxid_and_mtime_only);
    tcase_add_test(c, a_new_acl_changes_the_aversion_only);
    tcase_add_test(c, the_root_takes_data_and_acl);
    tcase_add_test(c, a_deleted_znode_is_gone);
    tcase_add_test(c, events_come_in_zookeepers_order);
    tcase_add_test(c, a_multi_applies_in_order_with_a_stat_for_each_operation);
    tcase_add_test(c, a_multi_may_create_delete_and_create_the_same_path);
    tcase_add_test(c, an_empty_multi_only_moves_the_zxid);
    tcase_add_test(c, a_refusal_a_session_and_an_ensemble_change_no_znode);
    tcase_add_test(c, a_closed_session_takes_its_ephemerals_along);
    tcase_add_test(c, changes_are_of_the_last_transaction_only);
    suite_add_tcase(s, c);
    add_breaking(s);
    add_aborting(s);
    return s;
}
