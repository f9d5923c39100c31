/* Replay over a snapshot that is ahead of the log in places: each test loads what a walk may have
 * seen and replays the transactions of the walk's time over it (tree_apply.c, the comment at its
 * head). */
#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/tree_load.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <string.h>

static struct tree *t;

static void set_up(void) { t = tree_new(); }
static void tear_down(void) { tree_free(t); }

/* An image of a znode that was made by czxid and changed last by mzxid. */
struct seen {
    const char *path;
    zxid_t czxid, mzxid, pzxid;
    int32_t version, creates;
    const char *data;
    session_id_t owner;
    int32_t aversion;
};

static const char *load(const struct seen *s) {
    struct znode_image image = {
        .path = slice_from_str(s->path),
        .data = text_blob(s->data ? s->data : ""),
        .acl = acl_open_unsafe(),
        .stat = {.czxid = s->czxid,
                 .mzxid = s->mzxid ? s->mzxid : s->czxid,
                 .pzxid = s->pzxid ? s->pzxid : s->czxid,
                 .ctime_ms = 1000 * s->czxid,
                 .mtime_ms = 1000 * (s->mzxid ? s->mzxid : s->czxid),
                 .version = s->version,
                 .aversion = s->aversion,
                 .ephemeral_owner = s->owner},
        .creates = s->creates,
    };
    const char *why = tree_load(t, &image);
    blob_unref(image.data);
    blob_unref(image.acl);
    return why;
}

static void load_fine(const struct seen *s) {
    const char *why = load(s);
    ck_assert_msg(why == NULL, "%s: %s", s->path, why);
}

static void replay(struct txn *txn) {
    const char *why = do_txn(t, txn);
    ck_assert_msg(why == NULL, "%s", why);
}

static struct txn *one_create(zxid_t zxid, const char *path, int32_t creates) {
    struct txn *txn = make_txn(zxid, 1);
    op_create(txn->ops, path, "made", 0, creates);
    return txn;
}

static struct txn *one_delete(zxid_t zxid, const char *path) {
    struct txn *txn = make_txn(zxid, 1);
    op_delete(txn->ops, path);
    return txn;
}

static struct txn *one_set_data(zxid_t zxid, const char *path, const char *data, int32_t version) {
    struct txn *txn = make_txn(zxid, 1);
    op_set_data(txn->ops, path, data, version);
    return txn;
}

static void assert_data(const char *path, const char *data) {
    const struct znode *n = find(t, path);
    ck_assert_ptr_nonnull(n);
    ck_assert(slice_equal_str(blob_slice(znode_data(n)), data));
}

START_TEST(a_loaded_znode_is_as_its_image_says) {
    load_fine(&(struct seen){"/", .pzxid = 20, .creates = 3});
    load_fine(&(struct seen){"/a", 5, 9, 8, 4, 7, "data", .aversion = 2});
    load_fine(&(struct seen){"/a/e", 8, .owner = 77});
    ck_assert_ptr_null(tree_load_end(t, 30, 30));
    struct zstat s = stat_of(t, "/a");
    ck_assert_int_eq(s.czxid, 5);
    ck_assert_int_eq(s.mzxid, 9);
    ck_assert_int_eq(s.pzxid, 8);
    ck_assert_int_eq(s.version, 4);
    ck_assert_int_eq(s.aversion, 2);
    ck_assert_int_eq(s.mtime_ms, 9000);
    ck_assert_int_eq(s.ctime_ms, 5000);
    ck_assert_int_eq(s.num_children, 1);
    ck_assert_int_eq(s.cversion, 13);
    assert_data("/a", "data");
    ck_assert_int_eq(znode_owner(find(t, "/a/e")), 77);
    ck_assert_uint_eq(tree_ephemeral_count(t), 1);
    ck_assert_int_eq(stat_of(t, "/").pzxid, 20);
    ck_assert_int_eq(stat_of(t, "/").cversion, 4);
    ck_assert_int_eq(tree_last_zxid(t), 30);
    /* "/", "/zookeeper", quota, config; "/a", "/a/e" */
    ck_assert_uint_eq(tree_data_bytes(t), 44 + 2 + 4 + 4);
}
END_TEST

START_TEST(what_a_parent_counted_is_loaded_though_it_has_no_children) {
    load_fine(&(struct seen){"/a", 5, .creates = 7});
    load_fine(&(struct seen){"/b", 5, .pzxid = 9});
    ck_assert_ptr_null(tree_load_end(t, 30, 30));
    ck_assert_int_eq(znode_creates(find(t, "/a")), 7);
    ck_assert_int_eq(stat_of(t, "/a").pzxid, 5);
    ck_assert_int_eq(stat_of(t, "/b").pzxid, 9);
}
END_TEST

START_TEST(an_image_that_does_not_fit_is_refused) {
    ck_assert_str_eq(load(&(struct seen){"/a/b", 1}), "the parent was not loaded before");
    load_fine(&(struct seen){"/a", 1, .owner = 3});
    ck_assert_str_eq(load(&(struct seen){"/a", 1}), "the znode was loaded before");
    ck_assert_str_eq(load(&(struct seen){"/zookeeper", .owner = 3}),
                     "a built-in znode is no ephemeral");
    ck_assert_str_eq(load(&(struct seen){"/zookeeper", 3}),
                     "a built-in znode was made by no transaction");
    ck_assert_str_eq(load(&(struct seen){"/b"}), "the znode was made by no transaction");
    ck_assert_uint_eq(tree_znode_count(t), 5);
}
END_TEST

START_TEST(beyond_the_walks_end_everything_must_fit_again) {
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_delete(10, "/a"));
    ck_assert_ptr_nonnull(do_txn(t, one_delete(11, "/a")));
}
END_TEST

START_TEST(a_creation_that_the_snapshot_has_is_kept_with_what_came_after_it) {
    load_fine(&(struct seen){"/", .pzxid = 9, .creates = 4});
    load_fine(&(struct seen){"/a", 6, 8, 9, 3, 2, "later", .aversion = 1});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/a", 1));
    assert_data("/a", "later");
    ck_assert_int_eq(stat_of(t, "/a").version, 3);
    ck_assert_int_eq(stat_of(t, "/a").aversion, 1);
    ck_assert_int_eq(stat_of(t, "/a").pzxid, 9);
    ck_assert_int_eq(znode_creates(find(t, "/")), 4);
    ck_assert_int_eq(stat_of(t, "/").pzxid, 9);
}
END_TEST

/* ZAB-BUGS S30, and S25: the parent was walked before the creation, the child after it. */
START_TEST(a_creation_that_the_snapshot_has_still_counts_for_its_parent) {
    load_fine(&(struct seen){"/p", 3});
    load_fine(&(struct seen){"/p/a", 6});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/p/a", 1));
    ck_assert_int_eq(znode_creates(find(t, "/p")), 1);
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 6);
    ck_assert_int_eq(stat_of(t, "/p").num_children, 1);
}
END_TEST

START_TEST(the_count_of_creations_is_never_turned_back) {
    load_fine(&(struct seen){"/p", 3, .pzxid = 9, .creates = 5});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/p/a", 2));
    replay(one_delete(7, "/p/a"));
    ck_assert_int_eq(znode_creates(find(t, "/p")), 5);
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 9);
}
END_TEST

START_TEST(a_creation_below_a_parent_deleted_since_is_passed_over) {
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/gone/a", 1));
    ck_assert_ptr_null(find(t, "/gone"));
    ck_assert_uint_eq(tree_znode_count(t), 4);
}
END_TEST

START_TEST(a_creation_below_a_later_parent_of_that_name_is_passed_over) {
    load_fine(&(struct seen){"/p", 8, .creates = 1, .pzxid = 9});
    load_fine(&(struct seen){"/p/b", 9});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/p/a", 50));
    ck_assert_ptr_null(find(t, "/p/a"));
    ck_assert_int_eq(znode_creates(find(t, "/p")), 1);
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 9);
}
END_TEST

START_TEST(a_deletion_spares_a_later_znode_of_that_name) {
    load_fine(&(struct seen){"/", .pzxid = 9, .creates = 2});
    load_fine(&(struct seen){"/a", 9});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_create(6, "/a", 1));
    replay(one_delete(7, "/a"));
    replay(one_create(9, "/a", 2));
    ck_assert_int_eq(stat_of(t, "/a").czxid, 9);
    ck_assert_int_eq(stat_of(t, "/").pzxid, 9);
    ck_assert_int_eq(znode_creates(find(t, "/")), 2);
}
END_TEST

START_TEST(a_deletion_below_a_later_parent_is_none_of_its_own) {
    load_fine(&(struct seen){"/p", 8});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_delete(7, "/p/a"));
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 8);
}
END_TEST

START_TEST(a_deletion_that_the_snapshot_has_still_counts_for_its_parent) {
    load_fine(&(struct seen){"/p", 3, .creates = 1, .pzxid = 4});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_delete(7, "/p/a"));
    ck_assert_int_eq(stat_of(t, "/p").pzxid, 7);
    ck_assert_int_eq(stat_of(t, "/p").cversion, 2);
}
END_TEST

/* The walk saw the old parent, then (both deleted, the parent made anew) a child of the new one. */
START_TEST(a_deletion_takes_children_of_a_later_znode_along_for_they_come_again) {
    load_fine(&(struct seen){"/p", 3});
    load_fine(&(struct seen){"/p/a", 8, .creates = 1, .pzxid = 9});
    load_fine(&(struct seen){"/p/a/b", 9, .owner = 4});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_delete(6, "/p"));
    ck_assert_ptr_null(find(t, "/p"));
    ck_assert_uint_eq(tree_znode_count(t), 4);
    ck_assert_uint_eq(tree_data_bytes(t), 44);
    ck_assert_uint_eq(tree_ephemeral_count(t), 0);
    replay(one_create(7, "/p", 1));
    replay(one_create(8, "/p/a", 1));
    ck_assert_int_eq(stat_of(t, "/p").cversion, 1);
    ck_assert_int_eq(stat_of(t, "/p/a").czxid, 8);
}
END_TEST

START_TEST(a_deletion_of_a_parent_with_earlier_children_breaks_the_tree_even_so) {
    load_fine(&(struct seen){"/p", 2});
    load_fine(&(struct seen){"/p/a", 3});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    ck_assert_str_eq(do_txn(t, one_delete(6, "/p")),
                     "the znode to delete has children since an earlier transaction");
}
END_TEST

START_TEST(a_creation_over_an_earlier_znode_breaks_the_tree_even_so) {
    load_fine(&(struct seen){"/p", 2});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    ck_assert_str_eq(do_txn(t, one_create(6, "/p", 9)),
                     "the znode to create exists since an earlier transaction");
}
END_TEST

START_TEST(data_that_is_newer_in_the_snapshot_stays) {
    load_fine(&(struct seen){"/a", 3, 9, .version = 4, .data = "newest"});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_set_data(7, "/a", "older", 3));
    assert_data("/a", "newest");
    ck_assert_int_eq(stat_of(t, "/a").mzxid, 9);
    ck_assert_int_eq(stat_of(t, "/a").version, 4);
    replay(one_set_data(9, "/a", "newest", 4));
    assert_data("/a", "newest");
    ck_assert_int_eq(stat_of(t, "/a").version, 4);
}
END_TEST

START_TEST(data_for_a_later_znode_of_that_name_is_not_taken) {
    load_fine(&(struct seen){"/a", 8, .data = "new"});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_set_data(7, "/a", "old", 3));
    replay(one_set_data(7 + 1, "/nothing", "old", 3));
    assert_data("/a", "new");
    ck_assert_int_eq(stat_of(t, "/a").version, 0);
}
END_TEST

START_TEST(an_acl_that_is_newer_in_the_snapshot_stays) {
    load_fine(&(struct seen){"/a", 3, .aversion = 2});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    struct txn *txn = make_txn(6, 1);
    op_set_acl(txn->ops, "/a", "world:anyone:r", 1);
    replay(txn);
    ck_assert_int_eq(stat_of(t, "/a").aversion, 2);
    ck_assert_ptr_eq(znode_acl(find(t, "/a")), znode_acl(find(t, "/")));
    txn = make_txn(7, 1);
    op_set_acl(txn->ops, "/a", "world:anyone:w", 3);
    replay(txn);
    ck_assert_int_eq(stat_of(t, "/a").aversion, 3);
    ck_assert_ptr_ne(znode_acl(find(t, "/a")), znode_acl(find(t, "/")));
}
END_TEST

START_TEST(a_multi_that_the_snapshot_has_whole_leaves_the_same) {
    load_fine(&(struct seen){"/p", 3, .creates = 3, .pzxid = 6});
    load_fine(&(struct seen){"/p/x", 6, .data = "three", .version = 1});
    load_fine(&(struct seen){"/p/y", 6});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    char *before = tree_picture(t);
    struct txn *txn = make_txn(6, 5);
    op_create(&txn->ops[0], "/p/x", "one", 0, 1);
    op_delete(&txn->ops[1], "/p/x");
    op_create(&txn->ops[2], "/p/x", "two", 0, 2);
    op_create(&txn->ops[3], "/p/y", "", 0, 3);
    op_set_data(&txn->ops[4], "/p/x", "three", 1);
    replay(txn);
    char *after = tree_picture(t);
    ck_assert_str_eq(before, after);
    mem_free(before);
    mem_free(after);
}
END_TEST

/* The walk saw an ephemeral, and a child of the persistent znode that took its place. */
START_TEST(an_ephemeral_with_a_child_in_the_snapshot_is_replaced) {
    load_fine(&(struct seen){"/e", 3, .owner = 4});
    load_fine(&(struct seen){"/e/b", 8});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    replay(one_delete(6, "/e"));
    replay(one_create(7, "/e", 1));
    replay(one_create(8, "/e/b", 1));
    ck_assert_int_eq(znode_owner(find(t, "/e")), 0);
    ck_assert_str_eq(children_of(t, "/e"), "b");
    ck_assert_uint_eq(tree_owner_count(t), 0);
}
END_TEST

START_TEST(a_multi_that_ends_with_an_ephemeral_where_a_parent_was_leaves_the_same) {
    load_fine(&(struct seen){"/", .pzxid = 6, .creates = 2});
    load_fine(&(struct seen){"/e", 6, .owner = 4});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    char *before = tree_picture(t);
    struct txn *txn = make_txn(6, 5);
    op_create(&txn->ops[0], "/e", "", 0, 1);
    op_create(&txn->ops[1], "/e/b", "", 0, 1);
    op_delete(&txn->ops[2], "/e/b");
    op_delete(&txn->ops[3], "/e");
    op_create(&txn->ops[4], "/e", "", 4, 2);
    replay(txn);
    char *after = tree_picture(t);
    ck_assert_str_eq(before, after);
    mem_free(before);
    mem_free(after);
}
END_TEST

/* ZAB-BUGS S25: closeSession, then the same path again, around the walk. */
START_TEST(a_closed_session_does_not_take_what_was_created_since) {
    load_fine(&(struct seen){"/", .pzxid = 9, .creates = 2});
    load_fine(&(struct seen){"/lock", 9, .owner = 8});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, 7, 3, 2);
    op_delete(&txn->ops[0], "/lock");
    op_delete(&txn->ops[1], "/other");
    replay(txn);
    ck_assert_int_eq(znode_owner(find(t, "/lock")), 8);
    txn = make_txn(9, 1);
    op_create(txn->ops, "/lock", "", 8, 2);
    replay(txn);
    ck_assert_uint_eq(tree_ephemeral_count(t), 1);
}
END_TEST

START_TEST(siblings_and_ephemerals_replayed_late_stand_in_order_of_creation) {
    load_fine(&(struct seen){"/p", 3, .creates = 3, .pzxid = 9});
    load_fine(&(struct seen){"/p/c", 9, .owner = 4});
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    struct txn *txn = make_txn(6, 2);
    op_create(&txn->ops[0], "/p/b", "", 4, 1);
    op_create(&txn->ops[1], "/p/a", "", 4, 2);
    replay(txn);
    ck_assert_str_eq(children_of(t, "/p"), "b,a,c");
    void *at = NULL;
    ck_assert_ptr_eq(tree_next_ephemeral(t, 4, &at), find(t, "/p/b"));
    ck_assert_ptr_eq(tree_next_ephemeral(t, 4, &at), find(t, "/p/a"));
    ck_assert_ptr_eq(tree_next_ephemeral(t, 4, &at), find(t, "/p/c"));
}
END_TEST

static void add_loading(Suite *s) {
    TCase *c = tcase_create("load");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_loaded_znode_is_as_its_image_says);
    tcase_add_test(c, what_a_parent_counted_is_loaded_though_it_has_no_children);
    tcase_add_test(c, an_image_that_does_not_fit_is_refused);
    tcase_add_test(c, beyond_the_walks_end_everything_must_fit_again);
    suite_add_tcase(s, c);
}

Suite *unit_suite(void) {
    Suite *s = suite_create("apply_fuzzy");
    TCase *c = tcase_create("replay");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_creation_that_the_snapshot_has_is_kept_with_what_came_after_it);
    tcase_add_test(c, a_creation_that_the_snapshot_has_still_counts_for_its_parent);
    tcase_add_test(c, the_count_of_creations_is_never_turned_back);
    tcase_add_test(c, a_creation_below_a_parent_deleted_since_is_passed_over);
    tcase_add_test(c, a_creation_below_a_later_parent_of_that_name_is_passed_over);
    tcase_add_test(c, a_deletion_spares_a_later_znode_of_that_name);
    tcase_add_test(c, a_deletion_below_a_later_parent_is_none_of_its_own);
    tcase_add_test(c, a_deletion_that_the_snapshot_has_still_counts_for_its_parent);
    tcase_add_test(c, a_deletion_takes_children_of_a_later_znode_along_for_they_come_again);
    tcase_add_test(c, a_deletion_of_a_parent_with_earlier_children_breaks_the_tree_even_so);
    tcase_add_test(c, a_creation_over_an_earlier_znode_breaks_the_tree_even_so);
    tcase_add_test(c, data_that_is_newer_in_the_snapshot_stays);
    tcase_add_test(c, data_for_a_later_znode_of_that_name_is_not_taken);
    tcase_add_test(c, an_acl_that_is_newer_in_the_snapshot_stays);
    tcase_add_test(c, a_multi_that_the_snapshot_has_whole_leaves_the_same);
    tcase_add_test(c, an_ephemeral_with_a_child_in_the_snapshot_is_replaced);
    tcase_add_test(c, a_multi_that_ends_with_an_ephemeral_where_a_parent_was_leaves_the_same);
    tcase_add_test(c, a_closed_session_does_not_take_what_was_created_since);
    tcase_add_test(c, siblings_and_ephemerals_replayed_late_stand_in_order_of_creation);
    suite_add_tcase(s, c);
    add_loading(s);
    return s;
}
