/* The resumable walk: what it visits, and that nothing that happens between two of its steps leads
 * it astray. Random changes, several walks at once, and replays over what they saw are in
 * test_apply_model.c. */
#include "replica/tree/tree_walk.h"

#include "common/path.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <string.h>

static struct tree *t;
static struct tree_walk *w;
static zxid_t zxid;

/* /a (b (c, d), e), /f (g), /h */
static void set_up(void) {
    static const char *const paths[] = {"/a",   "/a/b", "/a/b/c", "/a/b/d",
                                        "/a/e", "/f",   "/f/g",   "/h"};
    t = tree_new();
    zxid = 0;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        do_create(t, ++zxid, paths[i], paths[i]);
    w = tree_walk_new(t);
}

static void tear_down(void) {
    tree_walk_free(w);
    tree_free(t);
}

/* The paths of the next n znodes, with commas; less at the end. */
static const char *step(struct tree_walk *walk, int n) {
    static char text[4096];
    size_t len = 0;
    struct znode_image image;
    text[0] = '\0';
    for (; n > 0 && tree_walk_next(walk, &image); n--) {
        /* What the tests know already. */
        if (path_has_prefix(image.path, slice_from_str("/zookeeper"))) {
            n++;
            continue;
        }
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", len ? "," : "",
                                image.path.len, (const char *)image.path.p);
        ck_assert_uint_lt(len, sizeof text);
    }
    return text;
}

static void create(const char *path) { do_create(t, ++zxid, path, ""); }
static void remove_znode(const char *path) { do_delete(t, ++zxid, path); }

START_TEST(each_znode_comes_once_and_parents_before_children) {
    ck_assert_str_eq(step(w, 100), "/,/a,/a/b,/a/b/c,/a/b/d,/a/e,/f,/f/g,/h");
    ck_assert_str_eq(step(w, 100), "");
    ck_assert_str_eq(step(w, 1), "");
    ck_assert_int_eq(tree_walk_begun(w), 8);
}
END_TEST

START_TEST(an_image_is_the_znode_as_it_is_now) {
    ck_assert_str_eq(step(w, 1), "/");
    do_set_data(t, 20, "/a", "later");
    do_set_acl(t, 21, "/a", "world:anyone:r");
    do_create_owned(t, 22, "/a/x", 7);
    struct znode_image image;
    do {
        ck_assert(tree_walk_next(w, &image));
    } while (!slice_equal_str(image.path, "/a"));
    ck_assert_int_eq(image.stat.pzxid, 22);
    ck_assert_int_eq(image.stat.version, 1);
    ck_assert_int_eq(image.stat.aversion, 1);
    ck_assert_int_eq(image.stat.czxid, 1);
    ck_assert_int_eq(image.stat.num_children, 3);
    ck_assert(slice_equal_str(blob_slice(image.data), "later"));
    ck_assert_ptr_eq(image.acl, znode_acl(find(t, "/a")));
    ck_assert_int_eq(image.creates, 3);
    ck_assert_int_eq(image.stat.mzxid, 20);
}
END_TEST

START_TEST(what_was_created_since_is_not_visited) {
    ck_assert_str_eq(step(w, 3), "/,/a,/a/b");
    create("/a/b/x");
    create("/a/x");
    create("/x");
    create("/x/y");
    ck_assert_str_eq(step(w, 100), "/a/b/c,/a/b/d,/a/e,/f,/f/g,/h");
}
END_TEST

START_TEST(a_znode_made_again_is_not_visited_twice) {
    ck_assert_str_eq(step(w, 4), "/,/a,/a/b,/a/b/c");
    remove_znode("/a/b/c");
    remove_znode("/a/b/d");
    remove_znode("/a/b");
    create("/a/b");
    create("/a/b/d");
    ck_assert_str_eq(step(w, 100), "/a/e,/f,/f/g,/h");
}
END_TEST

START_TEST(the_znode_it_stands_on_may_go) {
    ck_assert_str_eq(step(w, 4), "/,/a,/a/b,/a/b/c");
    remove_znode("/a/b/c"); /* a first child: back to the parent, whose next child is next */
    ck_assert_str_eq(step(w, 1), "/a/b/d");
    remove_znode("/a/b/d");
    ck_assert_str_eq(step(w, 1), "/a/e");
    remove_znode("/a/e"); /* a later one: back to the sibling before, whose children were visited */
    ck_assert_str_eq(step(w, 1), "/f");
}
END_TEST

START_TEST(its_parents_may_go) {
    ck_assert_str_eq(step(w, 4), "/,/a,/a/b,/a/b/c");
    remove_znode("/a/b/c");
    remove_znode("/a/b/d");
    remove_znode("/a/b");
    remove_znode("/a/e");
    remove_znode("/a");
    ck_assert_str_eq(step(w, 100), "/f,/f/g,/h");
}
END_TEST

START_TEST(siblings_before_and_behind_may_go) {
    ck_assert_str_eq(step(w, 7), "/,/a,/a/b,/a/b/c,/a/b/d,/a/e,/f");
    remove_znode("/f/g");
    remove_znode("/a/e");
    remove_znode("/h");
    ck_assert_str_eq(step(w, 100), "");
}
END_TEST

START_TEST(a_branch_whose_znodes_were_visited_is_not_entered_again) {
    ck_assert_str_eq(step(w, 6), "/,/a,/a/b,/a/b/c,/a/b/d,/a/e");
    remove_znode("/a/e"); /* back to /a/b */
    create("/a/b/x");
    create("/a/x");
    ck_assert_str_eq(step(w, 100), "/f,/f/g,/h");
}
END_TEST

START_TEST(everything_may_go_before_the_first_step_and_behind_the_last) {
    struct tree_walk *other = tree_walk_new(t);
    ck_assert_str_eq(step(other, 100), "/,/a,/a/b,/a/b/c,/a/b/d,/a/e,/f,/f/g,/h");
    static const char *const all[] = {"/h", "/f/g", "/f", "/a/e", "/a/b/d", "/a/b/c", "/a/b", "/a"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        remove_znode(all[i]);
    ck_assert_str_eq(step(other, 100), "");
    ck_assert_str_eq(step(w, 100), "/");
    tree_walk_free(other);
}
END_TEST

START_TEST(walks_do_not_disturb_each_other) {
    struct tree_walk *others[3];
    for (int i = 0; i < 3; i++) {
        others[i] = tree_walk_new(t);
        step(others[i], 2 + 2 * i); /* on /a, /a/b/c and /a/e */
    }
    ck_assert_str_eq(step(w, 4), "/,/a,/a/b,/a/b/c");
    remove_znode("/a/b/c");
    tree_walk_free(others[1]); /* out of the middle of the list */
    ck_assert_str_eq(step(others[0], 2), "/a/b,/a/b/d");
    remove_znode("/a/e");
    ck_assert_str_eq(step(others[2], 1), "/f");
    ck_assert_str_eq(step(w, 100), "/a/b/d,/f,/f/g,/h");
    ck_assert_str_eq(step(others[0], 100), "/f,/f/g,/h");
    tree_walk_free(others[0]);
    tree_walk_free(others[2]);
}
END_TEST

START_TEST(long_and_deep_paths_come_whole) {
    char path[3000] = "";
    tree_walk_free(w);
    for (int depth = 0; depth < 200; depth++) {
        strcat(path, "/0123456789");
        create(path);
    }
    w = tree_walk_new(t);
    struct znode_image image;
    int deepest = 0;
    while (tree_walk_next(w, &image))
        if (image.path.len > deepest)
            deepest = image.path.len;
    ck_assert_int_eq(deepest, 2200);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("walk");
    TCase *c = tcase_create("walk");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, each_znode_comes_once_and_parents_before_children);
    tcase_add_test(c, an_image_is_the_znode_as_it_is_now);
    tcase_add_test(c, what_was_created_since_is_not_visited);
    tcase_add_test(c, a_znode_made_again_is_not_visited_twice);
    tcase_add_test(c, the_znode_it_stands_on_may_go);
    tcase_add_test(c, its_parents_may_go);
    tcase_add_test(c, siblings_before_and_behind_may_go);
    tcase_add_test(c, a_branch_whose_znodes_were_visited_is_not_entered_again);
    tcase_add_test(c, everything_may_go_before_the_first_step_and_behind_the_last);
    tcase_add_test(c, walks_do_not_disturb_each_other);
    tcase_add_test(c, long_and_deep_paths_come_whole);
    suite_add_tcase(s, c);
    return s;
}
