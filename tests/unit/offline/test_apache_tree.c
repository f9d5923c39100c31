#include "common/path.h"
#include "common/proto.h"
#include "replica/io/files_posix.h"
#include "replica/offline/apache_snapshot.h"
#include "replica/offline/fresh_store.h"
#include "replica/offline/snapshot_tree.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "tests/lib/unit.h"
#include "tests/unit/offline/apache_make.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct buf b, why;
static struct apache_tree *t;

static void setup(void) {
    b = why = BUF_INIT;
    t = apache_tree_new();
}

static void teardown(void) {
    apache_tree_free(t);
    buf_close(&b);
    buf_close(&why);
}

static int read_snapshot(zxid_t zxid) {
    int err = apache_snapshot_read(b.data, b.len, t, &why);
    return err == 0 && apache_tree_loaded(t, zxid) ? -EBADMSG : err;
}

/* The transaction in b, applied. */
static void apply(void) {
    struct apache_txn txn;
    ck_assert_ptr_null(apache_txn_decode((struct slice){b.data, (int32_t)b.len}, &txn));
    const char *broken = apache_tree_apply(t, &txn);
    ck_assert_msg(!broken, "%s", broken);
    apache_txn_close(&txn);
    buf_reset(&b);
}

static void do_create(zxid_t zxid, const char *path, session_id_t owner, int32_t parent_creates) {
    make_header(&b, owner ? owner : 7, zxid, OP_CREATE);
    make_create(&b, path, "d", owner != 0, parent_creates);
    apply();
}

static session_id_t owner_of(const char *path) {
    return znode_owner(tree_find(apache_tree_tree(t), slice_from_str(path)));
}

static struct zstat stat_of(const char *path) {
    const struct znode *n = tree_find(apache_tree_tree(t), slice_from_str(path));
    struct zstat s;
    ck_assert_msg(n, "%s", path);
    znode_stat(n, &s);
    return s;
}

static bool there(const char *path) {
    return tree_find(apache_tree_tree(t), slice_from_str(path)) != NULL;
}

static struct apache_result finish(void) {
    struct apache_result r;
    ck_assert_int_eq(apache_tree_check(t, &why), 0);
    ck_assert_int_eq(apache_tree_end_sessions(t, &r, &why), 0);
    return r;
}

START_TEST(a_snapshot_is_read_with_its_counters) {
    make_small_snapshot(&b);
    ck_assert_int_eq(read_snapshot(1), 0);
    ck_assert_int_eq(stat_of("/a").czxid, 1);
    ck_assert_int_eq(stat_of("/a").data_length, 1);
    /* One creation of a client's, and two children. */
    ck_assert_int_eq(stat_of("/").cversion, 0);
    ck_assert_int_eq(finish().sessions, 1);
}
END_TEST

START_TEST(a_snapshot_that_is_cut_off_anywhere_is_refused) {
    make_small_snapshot(&b);
    for (size_t n = 0; n < b.len; n++) {
        struct apache_tree *other = apache_tree_new();
        uint8_t *copy = n > 0 ? memcpy(malloc(n), b.data, n) : NULL;
        ck_assert_int_eq(apache_snapshot_read(copy, n, other, &why), -EBADMSG);
        apache_tree_free(other);
        free(copy);
    }
    ck_assert_uint_gt(why.len, 0);
}
END_TEST

START_TEST(a_snapshot_with_any_bit_changed_is_refused) {
    make_small_snapshot(&b);
    /* Behind the seal's number only a path stands, that nobody looks at. */
    for (size_t bit = 0; bit < 8 * (b.len - 5); bit++) {
        struct apache_tree *other = apache_tree_new();
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(apache_snapshot_read(b.data, b.len, other, &why), -EBADMSG);
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        apache_tree_free(other);
        buf_reset(&why);
    }
}
END_TEST

START_TEST(children_may_stand_in_any_order) {
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 2, .pzxid = 3});
    make_znode(&b, &(struct made_znode){.path = "/later", .acl = -1, .czxid = 3});
    make_znode(&b, &(struct made_znode){.path = "/first", .acl = -1, .czxid = 2, .creates = 1});
    make_znode(&b, &(struct made_znode){.path = "/first/a", .acl = -1, .czxid = 2});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(3), 0);
    const struct znode *root = tree_find(apache_tree_tree(t), slice_from_str("/"));
    struct slice last = SLICE_NULL;
    for (const struct znode *n = znode_first_child(root); n; n = znode_next_sibling(n))
        last = znode_name(n);
    ck_assert(slice_equal_str(last, "later"));
}
END_TEST

START_TEST(a_replay_over_what_is_there_already_changes_nothing) {
    /* The walk began at 1 and saw /a/b, made at 3, with what was set at 4. */
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 1, .pzxid = 1});
    make_znode(&b,
               &(struct made_znode){.path = "/a", .acl = -1, .czxid = 1, .creates = 2, .pzxid = 3});
    make_znode(&b,
               &(struct made_znode){
                   .path = "/a/b", .data = "new", .acl = -1, .czxid = 3, .mzxid = 4, .version = 1});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(1), 0);
    buf_reset(&b);
    do_create(2, "/a/gone", 0, 1);
    do_create(3, "/a/b", 0, 2);
    make_header(&b, 7, 4, OP_SET_DATA);
    make_string(&b, "/a/b");
    make_string(&b, "new");
    jute_write_int(&b, 1);
    apply();
    make_header(&b, 7, 5, OP_DELETE);
    make_string(&b, "/a/gone");
    apply();
    make_header(&b, 7, 6, OP_DELETE);
    make_string(&b, "/a/never");
    apply();
    finish();
    struct zstat s = stat_of("/a");
    ck_assert_int_eq(s.cversion, 2 * 2 - 1);
    ck_assert_int_eq(s.pzxid, 6);
    ck_assert_int_eq(stat_of("/a/b").version, 1);
    ck_assert(!there("/a/gone"));
}
END_TEST

START_TEST(an_acl_that_the_snapshot_does_not_explain_comes_with_the_log) {
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 1, .pzxid = 2});
    make_znode(&b, &(struct made_znode){.path = "/a", .data = "d", .acl = 9, .czxid = 2});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(1), 0);
    buf_reset(&b);
    do_create(2, "/a", 0, 1);
    finish();
    struct blob *acl = znode_acl(tree_find(apache_tree_tree(t), slice_from_str("/a")));
    ck_assert_uint_eq(acl->bytes[7], 31);
}
END_TEST

START_TEST(an_acl_that_nothing_explains_is_refused) {
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 1, .pzxid = 2});
    make_znode(&b, &(struct made_znode){.path = "/a", .data = "d", .acl = 9, .czxid = 2});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(2), 0);
    ck_assert_int_eq(apache_tree_check(t, &why), -EBADMSG);
}
END_TEST

START_TEST(a_snapshot_that_is_ahead_of_the_log_is_refused) {
    make_small_snapshot(&b);
    ck_assert_int_eq(apache_snapshot_read(b.data, b.len, t, &why), 0);
    ck_assert_ptr_null(apache_tree_loaded(t, 0));
    ck_assert_int_eq(apache_tree_check(t, &why), -EBADMSG);
}
END_TEST

START_TEST(sessions_end_with_their_ephemerals_at_the_last_zxid) {
    ck_assert_ptr_null(apache_tree_loaded(t, 0));
    apache_tree_session(t, 7);
    do_create(1, "/a", 0, 1);
    do_create(2, "/a/live", 7, 1);
    do_create(3, "/a/dead", 8, 2);
    make_header(&b, 8, 4, OP_CLOSE_SESSION);
    apply();
    ck_assert(!there("/a/dead"));
    do_create(5, "/b", 0, 2);
    struct apache_result r = finish();
    ck_assert_uint_eq(r.sessions, 1);
    ck_assert_uint_eq(r.ephemerals, 1);
    ck_assert(!there("/a/live"));
    struct zstat s = stat_of("/a");
    ck_assert_int_eq(s.cversion, 2 * 2 - 0);
    ck_assert_int_eq(s.pzxid, 5);
    ck_assert_int_eq(stat_of("/").pzxid, 5);
    ck_assert(tree_exact(apache_tree_tree(t)));
    ck_assert_int_eq(apache_tree_last(t), 5);
}
END_TEST

START_TEST(containers_and_ttls_are_kept_and_counted_while_they_are_there) {
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 3, .pzxid = 3});
    make_znode(&b, &(struct made_znode){.path = "/c", .acl = -1, .czxid = 1, .owner = CONTAINER});
    make_znode(&b, &(struct made_znode){.path = "/t", .acl = -1, .czxid = 2, .owner = TTL_OWNER});
    make_znode(&b, &(struct made_znode){.path = "/u", .acl = -1, .czxid = 3, .owner = TTL_OWNER});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(3), 0);
    buf_reset(&b);
    make_header(&b, 7, 4, OP_DELETE_CONTAINER);
    make_string(&b, "/t");
    apply();
    do_create(5, "/t", 0, 4);
    struct apache_result r = finish();
    ck_assert_uint_eq(r.containers, 1);
    ck_assert_uint_eq(r.ttls, 1);
    ck_assert_int_eq(owner_of("/c"), CONTAINER);
    ck_assert_int_eq(owner_of("/t"), 0);
    ck_assert_int_eq(owner_of("/u"), TTL_OWNER);
}
END_TEST

START_TEST(the_list_of_apaches_servers_is_not_taken_over) {
    ck_assert_ptr_null(apache_tree_loaded(t, 0));
    make_header(&b, 7, 1, OP_RECONFIG);
    make_string(&b, "/zookeeper/config");
    make_string(&b, "server.1=elsewhere");
    jute_write_int(&b, 5);
    apply();
    ck_assert_int_eq(stat_of("/zookeeper/config").version, 0);
    ck_assert_int_eq(stat_of("/zookeeper/config").data_length, 0);
}
END_TEST

START_TEST(an_ephemeral_with_children_is_refused) {
    struct apache_result r;
    make_snapshot_begin(&b, NULL, 0);
    make_acl_count(&b, 0);
    make_znode(&b, &(struct made_znode){.path = "", .acl = -1, .creates = 1, .pzxid = 1});
    make_znode(&b, &(struct made_znode){.path = "/e", .acl = -1, .czxid = 1, .owner = 7});
    make_znode(&b, &(struct made_znode){.path = "/e/x", .acl = -1, .czxid = 2});
    make_snapshot_end(&b);
    ck_assert_int_eq(read_snapshot(2), 0);
    ck_assert_int_eq(apache_tree_check(t, &why), 0);
    ck_assert_int_eq(apache_tree_end_sessions(t, &r, &why), -EBADMSG);
}
END_TEST

/* ---- what is written of it ---- */

static char dir[256], log_dir[300], unfinished[320];

static void remove_name(void *arg, const char *name) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", (const char *)arg, name);
    remove(full);
}

/* The one whose name begins so. */
static void find_snapshot(void *arg, const char *name) {
    if (strncmp(name, "snapshot", 8) == 0)
        snprintf(arg, 64, "%s", name);
}

static void make_dir(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/zkfs-test-fresh-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    snprintf(unfinished, sizeof unfinished, "%s.unfinished", log_dir);
}

static void remove_dir(void) {
    files_posix.list(NULL, log_dir, remove_name, log_dir);
    files_posix.list(NULL, unfinished, remove_name, unfinished);
    rmdir(log_dir);
    rmdir(unfinished);
    rmdir(dir);
}

START_TEST(a_fresh_store_has_the_same_tree_and_takes_no_place_that_is_taken) {
    make_dir();
    make_small_snapshot(&b);
    ck_assert_int_eq(read_snapshot(1), 0);
    finish();
    /* What an earlier run left half done is no hindrance. */
    ck_assert_int_eq(files_posix.mkdir(NULL, unfinished, 0700), 0);
    char leftover[400];
    snprintf(leftover, sizeof leftover, "%s/snapshot.new", unfinished);
    ck_assert_int_ge(files_posix.open(NULL, leftover, 0102, 0600), 0);
    ck_assert_int_eq(fresh_store_check(&files_posix, log_dir, &why), 0);
    struct tree *tree = apache_tree_tree(t);
    ck_assert_int_eq(fresh_store_write(&files_posix, log_dir, tree, 5, &why), 0);
    struct snapshot_tree c;
    char name[64] = "";
    ck_assert_int_eq(files_posix.list(NULL, log_dir, find_snapshot, name), 0);
    ck_assert_int_eq(snapshot_tree_read(&c, &files_posix, log_dir, name, &why), 0);
    ck_assert(tree_digest(c.tree) == tree_digest(tree));
    ck_assert_int_eq(c.begun, 1);
    ck_assert_int_eq(c.ended, 1);
    snapshot_tree_close(&c);
    ck_assert_int_eq(fresh_store_check(&files_posix, log_dir, &why), -ENOTEMPTY);
    ck_assert_int_lt(fresh_store_write(&files_posix, log_dir, tree, 5, &why), 0);
    remove_dir();
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("apache_tree");
    TCase *c = tcase_create("apache_tree");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_snapshot_is_read_with_its_counters);
    tcase_add_test(c, a_snapshot_that_is_cut_off_anywhere_is_refused);
    tcase_add_test(c, a_snapshot_with_any_bit_changed_is_refused);
    tcase_add_test(c, children_may_stand_in_any_order);
    tcase_add_test(c, a_replay_over_what_is_there_already_changes_nothing);
    tcase_add_test(c, an_acl_that_the_snapshot_does_not_explain_comes_with_the_log);
    tcase_add_test(c, an_acl_that_nothing_explains_is_refused);
    tcase_add_test(c, a_snapshot_that_is_ahead_of_the_log_is_refused);
    tcase_add_test(c, sessions_end_with_their_ephemerals_at_the_last_zxid);
    tcase_add_test(c, containers_and_ttls_are_kept_and_counted_while_they_are_there);
    tcase_add_test(c, the_list_of_apaches_servers_is_not_taken_over);
    tcase_add_test(c, an_ephemeral_with_children_is_refused);
    tcase_add_test(c, a_fresh_store_has_the_same_tree_and_takes_no_place_that_is_taken);
    suite_add_tcase(s, c);
    return s;
}
