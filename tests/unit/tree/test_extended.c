/* Containers and TTL znodes in the tree: no session's, and found again without a walk. */
#include "common/acl.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <string.h>

static struct tree *t;

static void set_up(void) { t = tree_new(); }
static void tear_down(void) { tree_free(t); }

/* The names that a round gives from here on, with commas. */
static const char *rest(struct tree *of) {
    static char text[256];
    text[0] = '\0';
    for (const struct znode *n; (n = tree_next_extended(of));) {
        struct slice name = znode_name(n);
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s%.*s", len ? "," : "", name.len,
                       (const char *)name.p);
    }
    return text;
}

static const char *all(struct tree *of) {
    tree_begin_extended(of);
    return rest(of);
}

START_TEST(an_owner_tells_the_kind) {
    ck_assert_int_eq(ephemeral_type(0), EPHEMERAL_VOID);
    ck_assert_int_eq(ephemeral_type(1), EPHEMERAL_NORMAL);
    ck_assert_int_eq(ephemeral_type(INT64_MIN), EPHEMERAL_CONTAINER);
    ck_assert_int_eq(ephemeral_type(INT64_MIN + 1), EPHEMERAL_NORMAL);
    ck_assert_int_eq(ephemeral_type(ephemeral_ttl_owner(1)), EPHEMERAL_TTL);
    ck_assert_int_eq(ephemeral_type(-1), EPHEMERAL_NORMAL);
    ck_assert_int_eq(ephemeral_ttl_ms(ephemeral_ttl_owner(EPHEMERAL_TTL_MAX_MS)),
                     EPHEMERAL_TTL_MAX_MS);
}
END_TEST

START_TEST(they_may_have_children_and_are_no_ephemerals) {
    do_create_owned(t, 1, "/c", EPHEMERAL_OWNER_CONTAINER);
    do_create_owned(t, 2, "/t", ephemeral_ttl_owner(9));
    do_create_owned(t, 3, "/e", 5);
    do_create(t, 4, "/c/x", "");
    do_create(t, 5, "/t/x", "");
    ck_assert_uint_eq(tree_ephemeral_count(t), 1);
    ck_assert_uint_eq(tree_owner_count(t), 1);
    ck_assert_uint_eq(tree_extended_count(t), 2);
    ck_assert_int_eq(znode_owner(find(t, "/c")), INT64_MIN);
    ck_assert_int_eq(znode_owner(find(t, "/t")), ephemeral_ttl_owner(9));
    ck_assert_int_eq(stat_of(t, "/c").ephemeral_owner | stat_of(t, "/t").ephemeral_owner, 0);
    ck_assert_str_eq(all(t), "c,t");
}
END_TEST

START_TEST(a_round_goes_on_while_they_come_and_go) {
    char path[8];
    for (int i = 1; i <= 6; i++) {
        (void)snprintf(path, sizeof path, "/%d", i);
        do_create_owned(t, i, path, i % 2 ? EPHEMERAL_OWNER_CONTAINER : ephemeral_ttl_owner(i));
    }
    tree_begin_extended(t);
    ck_assert(slice_equal_str(znode_name(tree_next_extended(t)), "1"));
    do_delete(t, 7, "/1"); /* the one that was given */
    do_delete(t, 8, "/2"); /* the next two */
    do_delete(t, 9, "/3");
    do_delete(t, 10, "/5");
    do_create_owned(t, 11, "/7", EPHEMERAL_OWNER_CONTAINER);
    ck_assert_str_eq(rest(t), "4,6,7");
    do_delete(t, 12, "/7");
    ck_assert_str_eq(rest(t), "");
    ck_assert_str_eq(all(t), "4,6");
    do_delete(t, 13, "/4");
    do_delete(t, 14, "/6");
    ck_assert_str_eq(all(t), "");
    ck_assert_uint_eq(tree_extended_count(t), 0);
}
END_TEST

START_TEST(a_snapshot_brings_them_back) {
    do_create_owned(t, 1, "/c", EPHEMERAL_OWNER_CONTAINER);
    do_create_owned(t, 2, "/c/t", ephemeral_ttl_owner(EPHEMERAL_TTL_MAX_MS));
    do_create_owned(t, 3, "/c/e", 5);
    do_create(t, 4, "/c/p", "");
    struct tree *copy = tree_new();
    struct tree_walk *walk = tree_walk_new(t);
    struct znode_image image;
    while (tree_walk_next(walk, &image))
        ck_assert_ptr_null(tree_load(copy, &image));
    tree_walk_free(walk);
    ck_assert_ptr_null(tree_load_end(copy, 4, 4));
    char *want = tree_picture(t), *got = tree_picture(copy);
    ck_assert_str_eq(got, want);
    mem_free(want);
    mem_free(got);
    ck_assert_uint_eq(tree_digest(copy), tree_digest(t));
    ck_assert_str_eq(all(copy), "c,t");
    do_delete(copy, 5, "/c/t");
    ck_assert_str_eq(all(copy), "c");
    tree_free(copy);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("extended");
    TCase *c = tcase_create("extended");
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, an_owner_tells_the_kind);
    tcase_add_test(c, they_may_have_children_and_are_no_ephemerals);
    tcase_add_test(c, a_round_goes_on_while_they_come_and_go);
    tcase_add_test(c, a_snapshot_brings_them_back);
    suite_add_tcase(s, c);
    return s;
}
