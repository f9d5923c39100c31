/* Values that are altered behind the tree's back are found by what touches them and by the scrub,
 * which comes to every znode in a round, whatever is created and removed meanwhile. That it never
 * finds one that was not altered is test_apply_model.c's. */
#include "replica/tree/tree_scrub.h"

#include "common/acl.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_test.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <string.h>

static struct tree *t;
static zxid_t zxid;

static void create(const char *path, const char *data) { do_create(t, ++zxid, path, data); }
static void alter(const char *path) { tree_test_alter(t, slice_from_str(path)); }

static void set_up(void) {
    t = tree_new();
    zxid = 0;
    create("/a", "of a");
    create("/a/b", NULL);
    create("/a/c", "of c");
    do_create_owned(t, ++zxid, "/a/e", 9);
    create("/f", "");
}
static void tear_down(void) { tree_free(t); }

/* To the end of this round, and another one. */
static bool scrub_all(void) {
    uint64_t end = tree_scrub_rounds(t) + 2;
    while (tree_scrub_rounds(t) < end)
        if (!tree_scrub(t, 3))
            return false;
    return true;
}

START_TEST(what_was_changed_by_transactions_fits) {
    do_set_data(t, ++zxid, "/a", "more of a");
    do_set_acl(t, ++zxid, "/a/b", "world:anyone:r");
    do_delete(t, ++zxid, "/a/c");
    ck_assert(scrub_all());
    ck_assert_ptr_null(tree_altered(t));
}
END_TEST

START_TEST(every_znode_that_was_altered_is_found_by_a_round) {
    static const char *const paths[] = {
        "/", "/zookeeper", "/zookeeper/config", "/a", "/a/b", "/a/c", "/a/e", "/f"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        tear_down();
        set_up();
        alter(paths[i]);
        ck_assert(!scrub_all());
        ck_assert_str_eq(tree_altered(t), paths[i]);
        alter(paths[i]); /* what was seen once stays seen */
        ck_assert(!tree_scrub(t, 1));
    }
}
END_TEST

START_TEST(a_change_finds_it_without_a_scrub) {
    alter("/a/c");
    create("/a/x", "");
    ck_assert_ptr_null(tree_altered(t));
    do_set_data(t, ++zxid, "/a/c", "new");
    ck_assert_str_eq(tree_altered(t), "/a/c");
    ck_assert_ptr_null(tree_broken(t));
    ck_assert(!tree_scrub(t, 1));
}
END_TEST

START_TEST(a_new_acl_and_a_deletion_find_it) {
    alter("/a/b");
    do_set_acl(t, ++zxid, "/a/b", "world:anyone:r");
    ck_assert_str_eq(tree_altered(t), "/a/b");
    tear_down();
    set_up();
    alter("/a/e");
    do_delete(t, ++zxid, "/a/e");
    ck_assert_str_eq(tree_altered(t), "/a/e");
}
END_TEST

START_TEST(a_parent_that_was_altered_is_still_found_when_children_come_and_go) {
    alter("/a");
    create("/a/x", "");
    do_delete(t, ++zxid, "/a/x");
    ck_assert_ptr_null(tree_altered(t));
    ck_assert(!scrub_all());
    ck_assert_str_eq(tree_altered(t), "/a");
}
END_TEST

START_TEST(the_digest_is_what_it_would_be_without) {
    struct tree *other = t;
    set_up();
    alter("/a/c");
    do_set_data(t, ++zxid, "/a/c", "new");
    do_set_data(other, zxid, "/a/c", "new");
    ck_assert_uint_eq(tree_digest(t), tree_digest(other));
    ck_assert_ptr_null(tree_altered(other));
    tree_free(other);
}
END_TEST

START_TEST(a_round_ends_and_says_so) {
    size_t count = (size_t)tree_znode_count(t);
    ck_assert(tree_scrub(t, count));
    ck_assert_uint_eq(tree_scrub_rounds(t), 0);
    ck_assert(tree_scrub(t, 1));
    ck_assert_uint_eq(tree_scrub_rounds(t), 1);
    ck_assert(tree_scrub(t, 1000)); /* no further than a round */
    ck_assert_uint_eq(tree_scrub_rounds(t), 2);
}
END_TEST

START_TEST(the_znode_it_stands_on_may_go) {
    /* /, zookeeper, quota, config, a, b, c, e, f; it stands on each in turn. */
    for (size_t stand = 5; stand <= 9; stand++) {
        static const char *const paths[] = {"/f", "/a/e", "/a/c", "/a/b", "/a"};
        tear_down();
        set_up();
        ck_assert(tree_scrub(t, stand));
        create("/last", "x");
        alter("/last");
        for (size_t i = 0; i < 5; i++)
            do_delete(t, ++zxid, paths[i]);
        ck_assert_uint_eq(tree_scrub_rounds(t), 0);
        ck_assert(!tree_scrub(t, 2));
        ck_assert_str_eq(tree_altered(t), "/last");
    }
}
END_TEST

START_TEST(a_znode_that_stays_is_verified_in_every_round) {
    create("/g", "");
    ck_assert(tree_scrub(t, 10)); /* all of them; it stands on the last one */
    create("/h", "");
    do_delete(t, ++zxid, "/g");
    do_delete(t, ++zxid, "/f");
    alter("/h");
    ck_assert(!tree_scrub(t, 1));
}
END_TEST

START_TEST(a_large_value_counts_for_more) {
    static char large[64 << 10];
    memset(large, 'x', sizeof large - 1);
    create("/large", large);
    create("/behind", "");
    alter("/behind");
    for (size_t i = 0; i < 9; i++)
        ck_assert(tree_scrub(t, 1));
    ck_assert(tree_scrub(t, 2)); /* the large one only */
    ck_assert(!tree_scrub(t, 2));
}
END_TEST

START_TEST(what_a_snapshot_brought_is_covered) {
    struct blob *open = acl_open_unsafe(), *data = blob_new("x", 1);
    struct znode_image image = {.path = slice_from_str("/loaded"),
                                .data = data,
                                .acl = open,
                                .stat = {.czxid = 9, .mzxid = 9, .pzxid = 12},
                                .creates = 3};
    ck_assert_ptr_null(tree_load(t, &image));
    image.path = slice_from_str("/");
    image.stat = (struct zstat){0};
    ck_assert_ptr_null(tree_load(t, &image));
    ck_assert_ptr_null(tree_load_end(t, 20, 20));
    ck_assert(scrub_all());
    alter("/loaded");
    ck_assert(!scrub_all());
    ck_assert_str_eq(tree_altered(t), "/loaded");
    blob_unref(open);
    blob_unref(data);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("scrub");
    TCase *c = tcase_create("scrub");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, what_was_changed_by_transactions_fits);
    tcase_add_test(c, every_znode_that_was_altered_is_found_by_a_round);
    tcase_add_test(c, a_change_finds_it_without_a_scrub);
    tcase_add_test(c, a_new_acl_and_a_deletion_find_it);
    tcase_add_test(c, a_parent_that_was_altered_is_still_found_when_children_come_and_go);
    tcase_add_test(c, the_digest_is_what_it_would_be_without);
    tcase_add_test(c, a_round_ends_and_says_so);
    tcase_add_test(c, the_znode_it_stands_on_may_go);
    tcase_add_test(c, a_znode_that_stays_is_verified_in_every_round);
    tcase_add_test(c, a_large_value_counts_for_more);
    tcase_add_test(c, what_a_snapshot_brought_is_covered);
    suite_add_tcase(s, c);
    return s;
}
