/* Snapshots that are refused, whatever is wrong with them, and leave the replica as it was. */
#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/proto/snap_codec.h"
#include "replica/server/core.h"
#include "replica/server/snapshot.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

static struct replica *to;
static struct snap_loader *loader;

static void set_up(void) {
    to = mem_zalloc(sizeof *to);
    to->tree = tree_new();
    sessions_init(&to->sessions, 2, 1000);
    loader = snap_loader_new();
}

static void tear_down(void) {
    snap_loader_free(loader);
    tree_free(to->tree);
    sessions_close(&to->sessions);
    mem_free(to);
}

/* Pieces as they should not be, item by item. */
static void put_head(struct buf *b) { snap_put_head(b, &(struct snap_head){SLICE_NULL}); }

static void put_znode(struct buf *b, const char *path, zxid_t zxid) {
    struct blob *acl = acl_open_unsafe();
    snap_put_znode(b, &(struct znode_image){.path = slice_from_str(path),
                                            .acl = acl,
                                            .stat = {.czxid = zxid, .mzxid = zxid, .pzxid = zxid}});
    blob_unref(acl);
}

static void put_session(struct buf *b, session_id_t id) {
    snap_put_session(b, &(struct snap_session){.id = id, .timeout_ms = 1});
}

static const char *feed(struct buf *b) {
    const char *why = snap_loader_piece(loader, (struct slice){b->data, (int32_t)b->len});
    buf_reset(b);
    return why;
}

static void feed_fine(struct buf *b) {
    const char *why = feed(b);
    ck_assert_msg(!why, "%s", why);
}

/* A piece for a loader that has a head, the root, /a and session 5; or none of them. */
struct bad_piece {
    const char *why;
    void (*put)(struct buf *b);
    bool first;
};

static void put_other_znode(struct buf *b) { put_znode(b, "/b", 2); }
static void put_same_session(struct buf *b) { put_session(b, 5); }
static void put_garbage(struct buf *b) { buf_put(b, "x", 1); }

static void put_long_secret(struct buf *b) {
    static const uint8_t secret[SESSION_SECRET_MAX + 1];
    snap_put_head(b, &(struct snap_head){{secret, sizeof secret}});
}

static void put_orphan(struct buf *b) {
    put_head(b);
    put_znode(b, "/b/c", 2);
}

static void put_znode_twice(struct buf *b) {
    put_head(b);
    put_znode(b, "/a", 2);
    put_znode(b, "/a", 3);
}

static void put_results_out_of_order(struct buf *b) {
    static const struct snap_result results[] = {{1, 2, {NULL, -1}}, {2, 2, {NULL, -1}}};
    snap_put_session(b, &(struct snap_session){9, 1, true, results, 2});
}

static void put_many_results(struct buf *b) {
    static struct snap_result results[RETRY_RESULTS_MAX + 1];
    for (int i = 0; i <= (int)RETRY_RESULTS_MAX; i++)
        results[i] = (struct snap_result){i, i + 1, SLICE_NULL};
    snap_put_session(b, &(struct snap_session){9, 1, true, results, RETRY_RESULTS_MAX + 1});
}

static const struct bad_piece bad_pieces[] = {
    {"a snapshot whose parts are out of order", put_other_znode, true},
    {"a snapshot whose parts are out of order", put_same_session, true},
    {"a snapshot with two heads", put_head, false},
    {"the parent was not loaded before", put_orphan, true},
    {"the znode was loaded before", put_znode_twice, true},
    {"a znode behind the snapshot's sessions", put_other_znode, false},
    {"a session twice", put_same_session, false},
    {"a malformed piece of a snapshot", put_garbage, false},
    {"the snapshot's secret is too long", put_long_secret, true},
    {"a session with a malformed result", put_results_out_of_order, false},
    {"a session with more results than are kept", put_many_results, false},
};
#define BAD_PIECES (sizeof bad_pieces / sizeof *bad_pieces)

START_TEST(a_piece_that_does_not_fit_is_refused_and_so_is_every_later_one) {
    const struct bad_piece *bad = &bad_pieces[_i];
    struct buf b = BUF_INIT;
    if (!bad->first) {
        put_head(&b);
        put_znode(&b, "/", 0);
        put_znode(&b, "/a", 1);
        put_session(&b, 5);
        feed_fine(&b);
    }
    bad->put(&b);
    ck_assert_str_eq(feed(&b), bad->why);
    put_session(&b, 77);
    ck_assert_str_eq(feed(&b), bad->why);
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 5), bad->why);
    buf_close(&b);
}
END_TEST

START_TEST(what_is_not_whole_is_refused_and_leaves_the_replica_alone) {
    struct buf b = BUF_INIT;
    do_create(to->tree, 1, "/there", "x");
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 5), "an incomplete snapshot");
    put_head(&b);
    feed_fine(&b);
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 5), "an incomplete snapshot");
    put_znode(&b, "/", 0);
    put_znode(&b, "/a", 7);
    feed_fine(&b);
    ck_assert_str_eq(snap_loader_finish(loader, to, 8, 7), "a snapshot that ends before it begins");
    ck_assert_str_eq(snap_loader_finish(loader, to, -1, 7),
                     "a snapshot that ends before it begins");
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 6), "a snapshot that is ahead of its end");
    ck_assert_ptr_nonnull(tree_find(to->tree, slice_from_str("/there")));
    ck_assert_ptr_null(snap_loader_finish(loader, to, 5, 7));
    ck_assert_ptr_null(tree_find(to->tree, slice_from_str("/there")));
    ck_assert_ptr_nonnull(tree_find(to->tree, slice_from_str("/a")));
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 7), "the snapshot was loaded before");
    buf_close(&b);
}
END_TEST

START_TEST(a_znode_that_comes_twice_far_apart_is_refused_at_the_end) {
    struct buf b = BUF_INIT;
    do_create(to->tree, 1, "/there", "x");
    put_head(&b);
    put_znode(&b, "/", 0);
    put_znode(&b, "/a", 1);
    put_znode(&b, "/b", 2);
    put_znode(&b, "/a", 3);
    feed_fine(&b);
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 7), "the znode was loaded before");
    ck_assert_ptr_nonnull(tree_find(to->tree, slice_from_str("/there")));
    ck_assert_str_eq(snap_loader_finish(loader, to, 5, 7), "the znode was loaded before");
    put_znode(&b, "/c", 4);
    ck_assert_str_eq(feed(&b), "the znode was loaded before");
    buf_close(&b);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("snap_loader");
    TCase *c = tcase_create("refusals");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_loop_test(c, a_piece_that_does_not_fit_is_refused_and_so_is_every_later_one, 0,
                        (int)BAD_PIECES);
    tcase_add_test(c, a_znode_that_comes_twice_far_apart_is_refused_at_the_end);
    tcase_add_test(c, what_is_not_whole_is_refused_and_leaves_the_replica_alone);
    suite_add_tcase(s, c);
    return s;
}
