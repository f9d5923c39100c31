/* tree_load: whatever the order in which a snapshot's znodes come, parents before their children,
 * the same tree comes of it; one that comes twice is seen. What replays make of it is in
 * test_apply_fuzzy.c. */
#include "replica/tree/tree_load.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/prng.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_scrub.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <string.h>

static struct tree *t;
static struct blob *open_acl;

static void set_up(void) {
    t = tree_new();
    open_acl = acl_open_unsafe();
}
static void tear_down(void) {
    tree_free(t);
    blob_unref(open_acl);
}

static const char *load_into(struct tree *to, const char *path, zxid_t czxid) {
    struct znode_image image = {.path = slice_from_str(path),
                                .data = text_blob(path),
                                .acl = open_acl,
                                .stat = {.czxid = czxid, .mzxid = czxid, .pzxid = 1000}};
    const char *why = tree_load(to, &image);
    blob_unref(image.data);
    return why;
}
static const char *load(const char *path, zxid_t czxid) { return load_into(t, path, czxid); }

/* Each one's czxid is its place here, so that siblings stand in one order. */
static const char *const paths[] = {
    "/",      "/a",  "/a/aa",   "/a/aa/aaa", "/a/b", "/ab",  "/ab/c",           "/b",       "/b/b",
    "/b/b/b", "/bb", "/a/aa/b", "/b/b/c",    "/c",   "/a/c", "/zookeeper/mine", "/a/aa/b/d"};
#define PATHS (sizeof paths / sizeof *paths)

static struct tree *load_all(const size_t *order) {
    struct tree *to = tree_new();
    for (size_t i = 0; i < PATHS; i++) {
        const char *why = load_into(to, paths[order[i]], (zxid_t)order[i]);
        ck_assert_msg(!why, "%s: %s", paths[order[i]], why);
        ck_assert_uint_eq(tree_znode_count(to), i + (order[i] == 0 ? 4 : i == 0 ? 5 : 4));
    }
    ck_assert_ptr_null(tree_load_end(to, 1000, 1000));
    return to;
}

/* Any order in which no child comes before its parent. */
static void draw_order(struct prng *r, size_t *order) {
    bool there[PATHS] = {true};
    for (size_t count = 1; count < PATHS;) {
        size_t i = (size_t)prng_below(r, PATHS);
        struct slice parent = path_parent(slice_from_str(paths[i]));
        bool fine = !there[i] && (parent.len == 1 || slice_equal_str(parent, "/zookeeper"));
        for (size_t k = 0; k < PATHS && !there[i]; k++)
            fine |= there[k] && slice_equal_str(parent, paths[k]);
        if (!fine)
            continue;
        there[i] = true;
        order[count++] = i;
    }
}

START_TEST(any_order_gives_the_same_tree) {
    size_t order[PATHS];
    struct prng r;
    prng_init(&r, (uint64_t)_i);
    for (size_t i = 0; i < PATHS; i++)
        order[i] = i;
    struct tree *first = load_all(order);
    draw_order(&r, order);
    struct tree *second = load_all(order);
    char *left = tree_picture(first), *right = tree_picture(second);
    ck_assert_str_eq(left, right);
    ck_assert_uint_eq(tree_digest(first), tree_digest(second));
    ck_assert(tree_scrub(second, 1000));
    for (size_t i = 0; i < PATHS; i++)
        ck_assert_ptr_nonnull(find(second, paths[i]));
    mem_free(left);
    mem_free(right);
    tree_free(first);
    tree_free(second);
}
END_TEST

START_TEST(the_same_one_behind_itself_is_refused_at_once) {
    ck_assert_ptr_null(load("/a", 1));
    ck_assert_str_eq(load("/a", 2), "the znode was loaded before");
    ck_assert_ptr_null(load("/b", 2));
    ck_assert_ptr_null(tree_load_end(t, 5, 5));
    ck_assert_ptr_nonnull(find(t, "/b"));
}
END_TEST

START_TEST(the_same_one_further_on_is_refused_at_the_end_and_for_good) {
    ck_assert_ptr_null(load("/a", 1));
    ck_assert_ptr_null(load("/a/x", 2));
    ck_assert_ptr_null(load("/a/y", 3));
    ck_assert_ptr_null(load("/a/x", 4));
    ck_assert_ptr_null(load("/a/z", 5));
    ck_assert_str_eq(tree_load_end(t, 5, 5), "the znode was loaded before");
    ck_assert_str_eq(tree_load_end(t, 5, 5), "the znode was loaded before");
    ck_assert_str_eq(load("/b", 6), "the znode was loaded before");
}
END_TEST

START_TEST(an_image_that_was_refused_changes_nothing) {
    struct tree *other = tree_new();
    for (int i = 0; i < 2; i++) {
        struct tree *to = i ? other : t;
        ck_assert_ptr_null(load_into(to, "/a", 1));
        ck_assert_ptr_null(load_into(to, "/a/b", 2));
        if (i) {
            ck_assert_str_eq(load_into(to, "/a/b/c", 0), "the znode was made by no transaction");
            ck_assert_str_eq(load_into(to, "/c/d", 4), "the parent was not loaded before");
            ck_assert_str_eq(load_into(to, "/a/bb/d", 4), "the parent was not loaded before");
        }
        ck_assert_ptr_null(load_into(to, "/a/c", 3));
        ck_assert_ptr_null(tree_load_end(to, 5, 5));
    }
    ck_assert_uint_eq(tree_digest(t), tree_digest(other));
    ck_assert(tree_scrub(other, 100));
    tree_free(other);
}
END_TEST

START_TEST(many_are_found_and_go_on_living) {
    char path[32];
    ck_assert_ptr_null(load("/all", 1));
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/all/z%d", i);
        ck_assert_ptr_null(load(path, 2 + i));
    }
    ck_assert_ptr_null(tree_load_end(t, 6000, 6000));
    ck_assert_uint_eq(tree_znode_count(t), 5005);
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/all/z%d", i);
        ck_assert_ptr_nonnull(find(t, path));
        do_delete(t, 6001 + i, path);
    }
    ck_assert_uint_eq(tree_znode_count(t), 5);
    ck_assert(tree_scrub(t, 100));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("load");
    TCase *c = tcase_create("load");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_loop_test(c, any_order_gives_the_same_tree, 0, 200);
    tcase_add_test(c, the_same_one_behind_itself_is_refused_at_once);
    tcase_add_test(c, the_same_one_further_on_is_refused_at_the_end_and_for_good);
    tcase_add_test(c, an_image_that_was_refused_changes_nothing);
    tcase_add_test(c, many_are_found_and_go_on_living);
    suite_add_tcase(s, c);
    return s;
}
