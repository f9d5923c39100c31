/* tree_digest: every field of every znode counts, and how a tree came to be what it is does not. */
#include "common/acl.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <string.h>

static struct tree *t;

static void set_up(void) { t = tree_new(); }
static void tear_down(void) { tree_free(t); }

START_TEST(new_trees_have_the_same_digest) {
    struct tree *other = tree_new();
    ck_assert_uint_eq(tree_digest(other), tree_digest(t));
    ck_assert_uint_ne(tree_digest(other), 0);
    tree_free(other);
}
END_TEST

START_TEST(a_change_changes_it_and_the_same_history_gives_the_same) {
    struct tree *other = tree_new();
    uint64_t last = tree_digest(t);
    for (int step = 0; step < 8; step++) {
        for (int i = 0; i < 2; i++) {
            struct tree *to = i ? other : t;
            switch (step) {
            case 0:
                do_create(to, 1, "/a", "data");
                break;
            case 1:
                do_create(to, 2, "/a/b", NULL);
                break;
            case 2:
                do_create_owned(to, 3, "/a/e", 77);
                break;
            case 3:
                do_set_data(to, 4, "/a", "other");
                break;
            case 4:
                do_set_acl(to, 5, "/a", "world:anyone:r");
                break;
            case 5:
                do_delete(to, 6, "/a/e");
                break;
            case 6:
                do_set_data(to, 7, "/a/b", "a value that is a good deal longer than the others");
                break;
            default:
                do_delete(to, 8, "/a/b");
            }
        }
        ck_assert_uint_ne(tree_digest(t), last);
        last = tree_digest(t);
    }
    ck_assert_uint_eq(tree_digest(other), last);
    tree_free(other);
}
END_TEST

START_TEST(what_was_created_and_deleted_leaves_its_trace_at_the_parent_alone) {
    struct tree *other = tree_new();
    do_create(t, 1, "/a", "");
    do_create(t, 2, "/a/b", "x");
    do_delete(t, 3, "/a/b");
    do_create(other, 1, "/a", "");
    do_create(other, 2, "/a/c", "y");
    do_delete(other, 3, "/a/c");
    ck_assert_uint_eq(tree_digest(t), tree_digest(other));
    tree_free(other);
}
END_TEST

START_TEST(the_beginning_of_an_epoch_changes_nothing_but_the_last_zxid) {
    do_create(t, 1, "/a", "");
    uint64_t digest = tree_digest(t);
    tree_pass_epoch(t, zxid_make(1, 0));
    ck_assert_uint_eq(tree_digest(t), digest);
    ck_assert_int_eq(tree_last_zxid(t), zxid_make(1, 0));
    do_create(t, zxid_make(1, 1), "/b", "");
    ck_assert_ptr_null(tree_load_end(t, zxid_make(1, 1), zxid_make(2, 0)));
    ck_assert(!tree_exact(t));
    tree_pass_epoch(t, zxid_make(2, 0)); /* the walk ended there */
    ck_assert(tree_exact(t));
}
END_TEST

/* What an image says differently is another digest. */
static uint64_t digest_with(const struct znode_image *image) {
    struct tree *other = tree_new();
    ck_assert_ptr_null(tree_load(other, image));
    ck_assert_ptr_null(tree_load_end(other, 100, 100));
    uint64_t digest = tree_digest(other);
    tree_free(other);
    return digest;
}

START_TEST(each_field_counts) {
    struct blob *open = acl_open_unsafe();
    const char *why;
    struct blob *closed = acl_parse(slice_from_str("world:anyone:r"), &why);
    struct blob *data = blob_new("data", 4), *empty = blob_new(NULL, 0);
    struct blob *longer = blob_new("data\0", 5);
    const struct znode_image base = {
        .path = slice_from_str("/a"),
        .data = data,
        .acl = open,
        .stat = {.czxid = 5, .mzxid = 5, .pzxid = 5, .ctime_ms = 5, .mtime_ms = 5}};
    struct znode_image v[14];
    for (size_t i = 0; i < 14; i++)
        v[i] = base;
    v[1].path = slice_from_str("/b");
    v[2].data = NULL;
    v[3].data = empty;
    v[4].data = longer;
    v[5].acl = closed;
    v[6].stat.czxid = 4;
    v[7].stat.mzxid = 6;
    v[8].stat.pzxid = 6;
    v[9].stat.ctime_ms = 6;
    v[10].stat.mtime_ms = 6;
    v[11].stat.version = 1;
    v[12].stat.aversion = 1;
    v[13].stat.ephemeral_owner = 7;
    uint64_t digests[15];
    for (size_t i = 0; i < 14; i++)
        digests[i] = digest_with(&v[i]);
    v[0].creates = 1;
    digests[14] = digest_with(&v[0]);
    for (size_t i = 0; i < 15; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_msg(digests[i] != digests[k], "%zu and %zu", i, k);
    blob_unref(open);
    blob_unref(closed);
    blob_unref(data);
    blob_unref(empty);
    blob_unref(longer);
}
END_TEST

START_TEST(two_znodes_that_change_places_are_another_tree) {
    struct tree *other = tree_new();
    struct txn *txn = make_txn(1, 2);
    op_create(&txn->ops[0], "/a", "one", 0, 1);
    op_create(&txn->ops[1], "/b", "two", 0, 2);
    ck_assert_ptr_null(do_txn(t, txn));
    txn = make_txn(1, 2);
    op_create(&txn->ops[0], "/a", "two", 0, 1);
    op_create(&txn->ops[1], "/b", "one", 0, 2);
    ck_assert_ptr_null(do_txn(other, txn));
    ck_assert_uint_ne(tree_digest(t), tree_digest(other));
    tree_free(other);
}
END_TEST

START_TEST(a_replay_over_a_fuzzy_snapshot_that_removes_a_whole_branch_keeps_it_right) {
    struct blob *open = acl_open_unsafe();
    static const char *const paths[] = {"/p", "/p/a", "/p/a/b", "/p/c"};
    static const zxid_t czxids[] = {3, 8, 9, 8};
    for (size_t i = 0; i < 4; i++) {
        struct znode_image image = {.path = slice_from_str(paths[i]),
                                    .acl = open,
                                    .stat = {.czxid = czxids[i],
                                             .mzxid = czxids[i],
                                             .pzxid = czxids[i],
                                             .ephemeral_owner = i == 2 ? 4 : 0}};
        ck_assert_ptr_null(tree_load(t, &image));
    }
    ck_assert_ptr_null(tree_load_end(t, 5, 10));
    struct txn *txn = make_txn(6, 1);
    op_delete(txn->ops, "/p");
    ck_assert_ptr_null(do_txn(t, txn));
    struct tree *other = tree_new();
    struct znode_image root = {.path = slice_from_str("/"), .acl = open, .stat = {.pzxid = 6}};
    ck_assert_ptr_null(tree_load(other, &root));
    ck_assert_ptr_null(tree_load_end(other, 6, 6));
    ck_assert_uint_eq(tree_znode_count(t), tree_znode_count(other));
    /* Of t the root's data is tree_new's; of the other it is null. */
    struct txn *same = make_txn(11, 1);
    op_set_data(same->ops, "/", "", 1);
    ck_assert_ptr_null(do_txn(t, same));
    same = make_txn(11, 1);
    op_set_data(same->ops, "/", "", 1);
    ck_assert_ptr_null(do_txn(other, same));
    ck_assert_uint_eq(tree_digest(t), tree_digest(other));
    blob_unref(open);
    tree_free(other);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("digest");
    TCase *c = tcase_create("digest");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, new_trees_have_the_same_digest);
    tcase_add_test(c, a_change_changes_it_and_the_same_history_gives_the_same);
    tcase_add_test(c, what_was_created_and_deleted_leaves_its_trace_at_the_parent_alone);
    tcase_add_test(c, the_beginning_of_an_epoch_changes_nothing_but_the_last_zxid);
    tcase_add_test(c, each_field_counts);
    tcase_add_test(c, two_znodes_that_change_places_are_another_tree);
    tcase_add_test(c, a_replay_over_a_fuzzy_snapshot_that_removes_a_whole_branch_keeps_it_right);
    suite_add_tcase(s, c);
    return s;
}
