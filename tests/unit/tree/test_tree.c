#include "replica/tree/tree.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/acl_cache.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static struct tree *t;

static void set_up(void) { t = tree_new(); }
static void tear_down(void) { tree_free(t); }

static void assert_builtin(const char *path, int32_t cversion, int32_t aversion, int32_t children) {
    struct zstat s = stat_of(t, path);
    ck_assert_int_eq(s.czxid | s.mzxid | s.pzxid | s.ctime_ms | s.mtime_ms, 0);
    ck_assert_int_eq(s.version | s.ephemeral_owner | s.data_length, 0);
    ck_assert_int_eq(s.cversion, cversion);
    ck_assert_int_eq(s.aversion, aversion);
    ck_assert_int_eq(s.num_children, children);
    const struct blob *data = znode_data(find(t, path));
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(data->len, 0);
}

/* The numbers are those that a fresh Apache server 3.8 shows. */
START_TEST(a_new_tree_shows_what_a_fresh_apache_server_shows) {
    assert_builtin("/", -1, 0, 1);
    assert_builtin("/zookeeper", -2, 0, 2);
    assert_builtin("/zookeeper/quota", 0, 0, 0);
    assert_builtin("/zookeeper/config", 0, -1, 0);
    ck_assert_uint_eq(tree_znode_count(t), 4);
    ck_assert_uint_eq(tree_data_bytes(t), 44);
    ck_assert_uint_eq(tree_ephemeral_count(t), 0);
    ck_assert_int_eq(tree_last_zxid(t), 0);
    ck_assert_ptr_null(tree_broken(t));
}
END_TEST

static void assert_acl(const char *path, const char *text) {
    struct buf out = BUF_INIT;
    struct jvec v = acl_view(znode_acl(find(t, path)));
    acl_print(&out, &v);
    ck_assert(slice_equal_str((struct slice){out.data, (int32_t)out.len}, text));
    buf_close(&out);
}

START_TEST(only_the_configuration_is_read_only_in_a_new_tree) {
    assert_acl("/", "world:anyone:cdrwa");
    assert_acl("/zookeeper", "world:anyone:cdrwa");
    assert_acl("/zookeeper/quota", "world:anyone:cdrwa");
    assert_acl("/zookeeper/config", "world:anyone:r");
}
END_TEST

START_TEST(a_path_finds_its_znode_and_no_other) {
    do_create(t, 1, "/a", "1");
    do_create(t, 2, "/a/b", "2");
    do_create(t, 3, "/a/bc", "3");
    do_create(t, 4, "/b", "4");
    do_create(t, 5, "/b/b", "5");
    ck_assert_ptr_eq(znode_parent(find(t, "/a/b")), find(t, "/a"));
    ck_assert_ptr_eq(znode_parent(find(t, "/a")), find(t, "/"));
    ck_assert_ptr_null(znode_parent(find(t, "/")));
    ck_assert_ptr_ne(find(t, "/a/b"), find(t, "/b/b"));
    ck_assert_ptr_null(find(t, "/ab"));
    ck_assert_ptr_null(find(t, "/a/b/c"));
    ck_assert_ptr_null(find(t, "/a/bcd"));
    ck_assert_ptr_null(find(t, "/c/b"));
    ck_assert_ptr_null(find(t, ""));
    ck_assert_ptr_null(find(t, "a"));
    ck_assert_ptr_null(tree_find(t, SLICE_NULL));
}
END_TEST

START_TEST(a_child_is_found_by_its_name) {
    do_create(t, 1, "/a", "");
    do_create(t, 2, "/a/b", "");
    const struct znode *a = find(t, "/a");
    ck_assert_ptr_eq(tree_child(t, a, slice_from_str("b")), find(t, "/a/b"));
    ck_assert_ptr_null(tree_child(t, a, slice_from_str("a")));
    ck_assert_ptr_null(tree_child(t, find(t, "/a/b"), slice_from_str("b")));
}
END_TEST

START_TEST(a_znode_tells_its_name_and_path) {
    do_create(t, 1, "/a", "");
    do_create(t, 2, "/a/\xc3\xa4", "");
    ck_assert(slice_equal_str(znode_name(find(t, "/a/\xc3\xa4")), "\xc3\xa4"));
    ck_assert_int_eq(znode_name(find(t, "/")).len, 0);
    struct blob *deep = znode_path(find(t, "/a/\xc3\xa4"));
    struct blob *root = znode_path(find(t, "/"));
    ck_assert(slice_equal_str(blob_slice(deep), "/a/\xc3\xa4"));
    ck_assert(slice_equal_str(blob_slice(root), "/"));
    blob_unref(deep);
    blob_unref(root);
}
END_TEST

START_TEST(children_are_listed_in_order_of_creation) {
    do_create(t, 1, "/d", "");
    do_create(t, 2, "/d/z", "");
    do_create(t, 3, "/d/a", "");
    do_create(t, 4, "/d/m", "");
    ck_assert_str_eq(children_of(t, "/d"), "z,a,m");
    do_delete(t, 5, "/d/a");
    ck_assert_str_eq(children_of(t, "/d"), "z,m");
    do_create(t, 6, "/d/a", "");
    do_delete(t, 7, "/d/z");
    ck_assert_str_eq(children_of(t, "/d"), "m,a");
    do_delete(t, 8, "/d/a");
    do_delete(t, 9, "/d/m");
    ck_assert_str_eq(children_of(t, "/d"), "");
    ck_assert_ptr_null(znode_first_child(find(t, "/d")));
}
END_TEST

START_TEST(null_data_and_empty_data_are_told_apart) {
    do_create(t, 1, "/null", NULL);
    do_create(t, 2, "/empty", "");
    ck_assert_ptr_null(znode_data(find(t, "/null")));
    ck_assert_ptr_nonnull(znode_data(find(t, "/empty")));
    ck_assert_int_eq(stat_of(t, "/null").data_length, 0);
    do_set_data(t, 3, "/empty", NULL);
    do_set_data(t, 4, "/null", "");
    ck_assert_ptr_null(znode_data(find(t, "/empty")));
    ck_assert_ptr_nonnull(znode_data(find(t, "/null")));
}
END_TEST

START_TEST(data_bytes_are_paths_and_data) {
    do_create(t, 1, "/a", "123");
    ck_assert_uint_eq(tree_data_bytes(t), 44 + 2 + 3);
    do_create(t, 2, "/a/bc", NULL);
    ck_assert_uint_eq(tree_data_bytes(t), 49 + 5);
    do_set_data(t, 3, "/a", "12345");
    ck_assert_uint_eq(tree_data_bytes(t), 54 + 2);
    do_delete(t, 4, "/a/bc");
    do_delete(t, 5, "/a");
    ck_assert_uint_eq(tree_data_bytes(t), 44);
    ck_assert_uint_eq(tree_znode_count(t), 4);
}
END_TEST

static void assert_ephemerals(session_id_t session, const char *names) {
    char text[256] = "";
    void *at = NULL;
    const struct znode *n;
    while ((n = tree_next_ephemeral(t, session, &at))) {
        ck_assert_int_eq(znode_owner(n), session);
        strncat(text, (const char *)znode_name(n).p, (size_t)znode_name(n).len);
    }
    ck_assert_str_eq(text, names);
    ck_assert_ptr_null(tree_next_ephemeral(t, session, &at));
}

START_TEST(ephemerals_are_listed_by_session_in_order_of_creation) {
    do_create_owned(t, 1, "/c", 11);
    do_create_owned(t, 2, "/x", -5);
    do_create_owned(t, 3, "/b", 11);
    do_create_owned(t, 4, "/a", 11);
    do_create(t, 5, "/p", "");
    assert_ephemerals(11, "cba");
    assert_ephemerals(-5, "x");
    assert_ephemerals(12, "");
    ck_assert_uint_eq(tree_ephemeral_count(t), 4);
    ck_assert_uint_eq(tree_owner_count(t), 2);
    ck_assert_int_eq(znode_owner(find(t, "/p")), 0);
    ck_assert_int_eq(stat_of(t, "/x").ephemeral_owner, -5);
    do_delete(t, 6, "/b");
    assert_ephemerals(11, "ca");
    do_delete(t, 7, "/x");
    assert_ephemerals(-5, "");
    ck_assert_uint_eq(tree_owner_count(t), 1);
    ck_assert_uint_eq(tree_ephemeral_count(t), 2);
}
END_TEST

START_TEST(znodes_with_the_same_acl_share_it) {
    do_create(t, 1, "/a", "");
    do_create(t, 2, "/b", "");
    ck_assert_ptr_eq(znode_acl(find(t, "/a")), znode_acl(find(t, "/")));
    do_set_acl(t, 3, "/a", "digest:u:h:r");
    do_set_acl(t, 4, "/b", "digest:u:h:r");
    ck_assert_ptr_eq(znode_acl(find(t, "/a")), znode_acl(find(t, "/b")));
    assert_acl("/a", "digest:u:h:r");
    do_set_acl(t, 5, "/a", "digest:u:h:w");
    assert_acl("/a", "digest:u:h:w");
    assert_acl("/b", "digest:u:h:r");
}
END_TEST

START_TEST(an_acl_is_kept_for_as_long_as_it_is_used) {
    struct acl_cache c;
    acl_cache_init(&c);
    const char *why;
    struct blob *one = acl_parse(slice_from_str("ip:1.2.3.4:r"), &why);
    struct blob *same = acl_parse(slice_from_str("ip:1.2.3.4:r"), &why);
    struct blob *a = acl_cache_use(&c, one);
    struct blob *b = acl_cache_use(&c, same);
    ck_assert_ptr_eq(a, one);
    ck_assert_ptr_eq(b, one);
    acl_cache_drop(&c, a);
    ck_assert_uint_eq(c.by_bytes.count, 1);
    acl_cache_drop(&c, b);
    ck_assert_uint_eq(c.by_bytes.count, 0);
    ck_assert_uint_eq(one->refs, 1);
    blob_unref(one);
    blob_unref(same);
    acl_cache_close(&c);
}
END_TEST

START_TEST(many_znodes_in_one_directory_are_all_found) {
    enum { N = 20000 };
    char path[32];
    do_create(t, 1, "/d", "");
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        do_create(t, 2 + i, path, "");
    }
    ck_assert_uint_eq(znode_child_count(find(t, "/d")), N);
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        ck_assert_int_eq(stat_of(t, path).czxid, 2 + i);
    }
    snprintf(path, sizeof path, "/d/%d", N);
    ck_assert_ptr_null(find(t, path));
}
END_TEST

enum { PARENTS = 2000 };
struct hashed {
    uint32_t hash;
    int parent;
};

static int by_hash(const void *a, const void *b) {
    const struct hashed *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Two parents below which this name has the same hash (as tree.c computes it). */
static bool collide(const struct znode *const *parents, const char *name, int *ret_a, int *ret_b) {
    static struct hashed list[PARENTS];
    for (int i = 0; i < PARENTS; i++) {
        uint64_t seed = (uint64_t)(uintptr_t)parents[i];
        list[i] = (struct hashed){(uint32_t)XXH3_64bits_withSeed(name, strlen(name), seed), i};
    }
    qsort(list, PARENTS, sizeof *list, by_hash);
    for (int i = 1; i < PARENTS; i++) {
        if (list[i - 1].hash == list[i].hash) {
            *ret_a = list[i - 1].parent;
            *ret_b = list[i].parent;
            return true;
        }
    }
    return false;
}

START_TEST(znodes_of_one_name_whose_hashes_collide_are_told_apart_by_their_parents) {
    static const struct znode *parents[PARENTS];
    char path[64], name[16];
    for (int i = 0; i < PARENTS; i++) {
        snprintf(path, sizeof path, "/%d", i);
        do_create(t, 1 + i, path, "");
        parents[i] = find(t, path);
    }
    int a = 0, b = 0, tries = 0;
    do
        snprintf(name, sizeof name, "n%d", tries);
    while (!collide(parents, name, &a, &b) && tries++ < 50000);
    ck_assert_int_lt(tries, 50000);
    snprintf(path, sizeof path, "/%d/%s", a, name);
    do_create(t, PARENTS + 1, path, "");
    snprintf(path, sizeof path, "/%d/%s", b, name);
    ck_assert_ptr_null(find(t, path));
    do_create(t, PARENTS + 2, path, "");
    ck_assert_int_eq(stat_of(t, path).czxid, PARENTS + 2);
}
END_TEST

START_TEST(a_path_of_thousands_of_levels_is_found_and_freed) {
    enum { DEPTH = 3000 };
    char path[2 * DEPTH + 1] = "";
    for (int i = 0; i < DEPTH; i++) {
        memcpy(path + 2 * i, "/d", 3);
        do_create(t, 1 + i, path, NULL);
    }
    struct blob *found = znode_path(find(t, path));
    ck_assert(slice_equal_str(blob_slice(found), path));
    blob_unref(found);
    ck_assert_int_eq(stat_of(t, path).czxid, DEPTH);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("tree");
    TCase *c = tcase_create("tree");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_new_tree_shows_what_a_fresh_apache_server_shows);
    tcase_add_test(c, only_the_configuration_is_read_only_in_a_new_tree);
    tcase_add_test(c, a_path_finds_its_znode_and_no_other);
    tcase_add_test(c, a_child_is_found_by_its_name);
    tcase_add_test(c, a_znode_tells_its_name_and_path);
    tcase_add_test(c, children_are_listed_in_order_of_creation);
    tcase_add_test(c, null_data_and_empty_data_are_told_apart);
    tcase_add_test(c, data_bytes_are_paths_and_data);
    tcase_add_test(c, ephemerals_are_listed_by_session_in_order_of_creation);
    tcase_add_test(c, znodes_with_the_same_acl_share_it);
    tcase_add_test(c, an_acl_is_kept_for_as_long_as_it_is_used);
    tcase_add_test(c, many_znodes_in_one_directory_are_all_found);
    tcase_add_test(c, znodes_of_one_name_whose_hashes_collide_are_told_apart_by_their_parents);
    tcase_add_test(c, a_path_of_thousands_of_levels_is_found_and_freed);
    suite_add_tcase(s, c);
    return s;
}
