/* Persistent and recursive watches: what they hear, how they go, and that a client which comes back
 * hears what it missed. */
#include "tests/unit/server/harness.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

/* A client of our own kind; its session goes on from `old`, where that is not 0. */
static conn_id_t ours(struct harness *h, conn_id_t old) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {
        .protocol_version = PROTOCOL_VERSION_RETRIES,
        .timeout_ms = 20000,
        .session_id = old ? h->conns[old].session : 0,
        .passwd = {old ? h->conns[old].passwd : zeros, PASSWD_BYTES},
        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t c = h_open(h);
    h_frame(h, c, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take_connect(h, c));
    return c;
}

static int add_watch(struct harness *h, conn_id_t c, const char *path, int32_t mode) {
    struct proto_add_watch_request req = {.path = h_slice(path), .mode = mode};
    h_send(h, c, 60, OP_ADD_WATCH, PROTO_add_watch_request, &req);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 60);
    if (reply.err != ZK_OK)
        return reply.err;
    ck_assert_int_eq(jute_read_int(&reply.body), 0); /* ErrorResponse(0) */
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    return ZK_OK;
}

static void expect(struct harness *h, conn_id_t c, zxid_t zxid, enum zk_event type,
                   const char *path) {
    struct proto_watcher_event e;
    ck_assert_msg(h_take(h, c, &reply), "no event %d %s", type, path);
    ck_assert_int_eq(reply.xid, XID_NOTIFICATION);
    ck_assert(proto_decode(&reply.body, PROTO_watcher_event, &e));
    ck_assert_msg(e.type == (int32_t)type && slice_equal_str(e.path, path),
                  "event %d %.*s, not %d %s", e.type, e.path.len, (const char *)e.path.p, type,
                  path);
    ck_assert_int_eq(reply.zxid, zxid);
    ck_assert_int_eq(e.state, STATE_SYNC_CONNECTED);
}

static int with_type(struct harness *h, conn_id_t c, int32_t opcode, const char *path,
                     int32_t type) {
    struct proto_remove_watches_request req = {.path = h_slice(path), .type = type};
    h_send(h, c, 61, opcode, PROTO_remove_watches_request, &req);
    return h_err(h, c, 61);
}

struct lists {
    const char *data, *exist, *child, *persistent, *recursive;
};

static struct jvec one(struct buf *b, const char *path) {
    if (!path)
        return (struct jvec){0};
    size_t at = b->len;
    jute_write_slice(b, h_slice(path));
    return (struct jvec){1, {b->data + at, (int32_t)(b->len - at)}};
}

static void set_watches2(struct harness *h, conn_id_t c, zxid_t since, struct lists l) {
    uint8_t room[512];
    struct buf b = {.data = room, .cap = sizeof room, .limit = sizeof room};
    struct proto_set_watches2 req = {since,
                                     one(&b, l.data),
                                     one(&b, l.exist),
                                     one(&b, l.child),
                                     one(&b, l.persistent),
                                     one(&b, l.recursive)};
    h_send(h, c, XID_SET_WATCHES, OP_SET_WATCHES2, PROTO_set_watches2, &req);
}

START_TEST(a_persistent_watch_hears_of_its_path_again_and_again) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(add_watch(h, w, "/a", ADD_WATCH_PERSISTENT), ZK_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
        h_expect_event(h, w, EVENT_NODE_CREATED, "/a");
        ck_assert_int_eq(h_create(h, c, "/a/b"), ZK_OK);
        h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
        ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_OK);
        h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a");
        ck_assert_int_eq(h_delete(h, c, "/a/b", -1), ZK_OK);
        h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
        ck_assert_int_eq(h_delete(h, c, "/a", -1), ZK_OK);
        h_expect_event(h, w, EVENT_NODE_DELETED, "/a");
    }
    h_expect_nothing(h, w);
    h_free(h);
}
END_TEST

START_TEST(a_recursive_watch_hears_of_all_below_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(add_watch(h, w, "/a", ADD_WATCH_RECURSIVE), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_CREATED, "/a");
    ck_assert_int_eq(h_create(h, c, "/a/b"), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_CREATED, "/a/b");
    ck_assert_int_eq(h_set(h, c, "/a/b", "x", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a/b");
    ck_assert_int_eq(h_create(h, c, "/b"), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/a/b", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DELETED, "/a/b");
    h_expect_nothing(h, w);
    h_free(h);
}
END_TEST

START_TEST(clients_of_our_own_kind_are_shown_the_zxid_of_a_change) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    ck_assert_int_eq(add_watch(h, w, "/", ADD_WATCH_RECURSIVE), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    expect(h, w, core_last_zxid(h->r), EVENT_NODE_CREATED, "/a");
    h_free(h);
}
END_TEST

START_TEST(an_add_watch_that_makes_no_sense_is_a_marshalling_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(add_watch(h, c, "/a", 2), ZK_MARSHALLINGERROR);
    ck_assert_int_eq(add_watch(h, c, "/a", -1), ZK_MARSHALLINGERROR);
    ck_assert_int_eq(add_watch(h, c, NULL, 0), ZK_MARSHALLINGERROR);
    ck_assert_int_eq(add_watch(h, c, "no/path", 0), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    h_free(h);
}
END_TEST

START_TEST(persistent_watches_have_types_of_their_own) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(add_watch(h, c, "/a", ADD_WATCH_PERSISTENT), ZK_OK);
    for (int32_t type = WATCHER_CHILDREN; type <= WATCHER_RECURSIVE; type++) {
        bool is_it = type == WATCHER_ANY || type == WATCHER_PERSISTENT;
        ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/a", type),
                         is_it ? ZK_OK : ZK_NOWATCHER);
    }
    ck_assert_int_eq(add_watch(h, c, "/a", ADD_WATCH_RECURSIVE), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 2);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/a", WATCHER_PERSISTENT), ZK_OK);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/a", WATCHER_PERSISTENT), ZK_NOWATCHER);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/a", WATCHER_DATA), ZK_NOWATCHER);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/a", WATCHER_RECURSIVE), ZK_OK);
    ck_assert_int_eq(add_watch(h, c, "/a", ADD_WATCH_PERSISTENT), ZK_OK);
    ck_assert_int_eq(add_watch(h, c, "/a", ADD_WATCH_RECURSIVE), ZK_OK);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/a", WATCHER_ANY), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    h_free(h);
}
END_TEST

START_TEST(persistent_watches_are_counted_and_go_with_their_connection) {
    struct replica_config config = h_config();
    config.word_whitelist = "*";
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t a = h_client(h), b = h_client(h);
    ck_assert_int_eq(add_watch(h, a, "/a", ADD_WATCH_PERSISTENT), ZK_OK);
    ck_assert_int_eq(add_watch(h, a, "/a", ADD_WATCH_PERSISTENT), ZK_OK);
    ck_assert_int_eq(add_watch(h, b, "/a", ADD_WATCH_RECURSIVE), ZK_OK);
    conn_id_t c = h_open(h);
    h_word(h, c, "wchs");
    ck_assert_str_eq(h_text(h, c), "2 connections watching 1 paths\nTotal watches:2\n");
    h_close(h, a);
    h_close(h, b);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    h_free(h);
}
END_TEST

/* /a was watched up to the zxid that is returned; then came: a set of /a, a child of it that came,
 * changed and went, and something elsewhere. ret: the zxids of the changes. */
static zxid_t miss(struct harness *h, conn_id_t c, zxid_t ret[4]) {
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    zxid_t since = core_last_zxid(h->r);
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_OK);
    ret[0] = core_last_zxid(h->r);
    ck_assert_int_eq(h_create(h, c, "/a/b"), ZK_OK);
    ret[1] = core_last_zxid(h->r);
    ck_assert_int_eq(h_create(h, c, "/elsewhere"), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a/b", "x", -1), ZK_OK);
    ret[2] = core_last_zxid(h->r);
    ck_assert_int_eq(h_delete(h, c, "/a/b", -1), ZK_OK);
    ret[3] = core_last_zxid(h->r);
    return since;
}

static void expect_missed_below(struct harness *h, conn_id_t w, const zxid_t z[4]) {
    expect(h, w, z[0], EVENT_NODE_DATA_CHANGED, "/a");
    expect(h, w, z[1], EVENT_NODE_CREATED, "/a/b");
    expect(h, w, z[2], EVENT_NODE_DATA_CHANGED, "/a/b");
    expect(h, w, z[3], EVENT_NODE_DELETED, "/a/b");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    h_expect_nothing(h, w);
}

START_TEST(what_a_recursive_watch_missed_is_told_in_order_before_the_answer) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    zxid_t z[4], since = miss(h, c, z);
    set_watches2(h, w, since, (struct lists){.recursive = "/a"});
    expect_missed_below(h, w, z);
    ck_assert_int_eq(h_create(h, c, "/a/c"), ZK_OK);
    expect(h, w, core_last_zxid(h->r), EVENT_NODE_CREATED, "/a/c");
    h_free(h);
}
END_TEST

START_TEST(what_a_persistent_watch_missed_is_told_with_the_changes_of_its_children) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    zxid_t z[4], since = miss(h, c, z);
    set_watches2(h, w, since, (struct lists){.persistent = "/a"});
    expect(h, w, z[0], EVENT_NODE_DATA_CHANGED, "/a");
    expect(h, w, z[1], EVENT_NODE_CHILDREN_CHANGED, "/a");
    expect(h, w, z[3], EVENT_NODE_CHILDREN_CHANGED, "/a");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    set_watches2(h, w, core_last_zxid(h->r), (struct lists){.persistent = "/a"});
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_server_that_started_anew_tells_what_was_missed_before) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    zxid_t z[4], since = miss(h, c, z);
    h_restart(h);
    w = ours(h, w);
    set_watches2(h, w, since, (struct lists){.recursive = "/a"});
    expect_missed_below(h, w, z);
    h_free(h);
}
END_TEST

START_TEST(other_kinds_of_clients_are_told_what_they_missed_too) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    zxid_t z[4], since = miss(h, c, z);
    set_watches2(h, w, since, (struct lists){.persistent = "/a"});
    h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a");
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(one_shot_watches_take_part_and_each_change_is_told_once) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    zxid_t z[4], since = miss(h, c, z);
    set_watches2(h, w, since,
                 (struct lists){.data = "/a", .exist = "/a/b", .child = "/", .recursive = "/a"});
    expect(h, w, z[0], EVENT_NODE_DATA_CHANGED, "/a");
    expect(h, w, z[1], EVENT_NODE_CREATED, "/a/b");
    expect(h, w, z[1] + 1, EVENT_NODE_CHILDREN_CHANGED, "/"); /* /elsewhere */
    expect(h, w, z[2], EVENT_NODE_DATA_CHANGED, "/a/b");
    expect(h, w, z[3], EVENT_NODE_DELETED, "/a/b");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 1);
    set_watches2(h, w, core_last_zxid(h->r),
                 (struct lists){.data = "/a", .exist = "/a/b", .child = "/a", .persistent = "/a"});
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 5);
    h_free(h);
}
END_TEST

START_TEST(a_multi_and_the_end_of_a_session_are_told_in_their_order) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), e = h_client(h), w = ours(h, 0);
    ck_assert_int_eq(h_create_mode(h, e, "/e", CREATE_EPHEMERAL), ZK_OK);
    zxid_t since = core_last_zxid(h->r);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/m", 0);
    h_multi_set(&b, "/m", "x", -1);
    h_multi_check(&b, "/m", 1);
    h_multi_delete(&b, "/m", -1);
    h_multi_end(&b);
    h_send_bytes(h, c, 9, OP_MULTI, b.data, b.len);
    ck_assert_int_eq(h_err(h, c, 9), ZK_OK);
    zxid_t multi = core_last_zxid(h->r);
    h_send(h, e, 10, OP_CLOSE_SESSION, PROTO_empty, NULL);
    zxid_t close = core_last_zxid(h->r);
    ck_assert_int_gt(close, multi);
    set_watches2(h, w, since, (struct lists){.recursive = "/"});
    expect(h, w, multi, EVENT_NODE_CREATED, "/m");
    expect(h, w, multi, EVENT_NODE_DATA_CHANGED, "/m");
    expect(h, w, multi, EVENT_NODE_DELETED, "/m");
    expect(h, w, close, EVENT_NODE_DELETED, "/e");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    buf_close(&b);
    h_free(h);
}
END_TEST

START_TEST(a_gap_is_told_to_our_own_clients_and_the_watches_are_armed_all_the_same) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0), other = h_client(h);
    zxid_t z[4], since = miss(h, c, z);
    recent_reset(&h->r->recent, z[0]);
    set_watches2(h, w, since, (struct lists){.child = "/", .recursive = "/a"});
    /* The state of the znodes tells one-shot watches, of /elsewhere. With a zxid it would seem to
     * be the recursive watch's, and all before it told. */
    expect(h, w, -1, EVENT_NODE_CHILDREN_CHANGED, "/");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_WATCHGAP);
    set_watches2(h, other, since, (struct lists){.recursive = "/a"});
    ck_assert_int_eq(h_err(h, other, XID_SET_WATCHES), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", "y", -1), ZK_OK);
    expect(h, w, core_last_zxid(h->r), EVENT_NODE_DATA_CHANGED, "/a");
    h_expect_event(h, other, EVENT_NODE_DATA_CHANGED, "/a");
    h_free(h);
}
END_TEST

START_TEST(a_request_with_only_one_shot_watches_tells_their_state_without_zxids) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = ours(h, 0);
    zxid_t z[4], since = miss(h, c, z);
    set_watches2(h, w, since, (struct lists){.data = "/a", .exist = "/elsewhere", .child = "/"});
    expect(h, w, -1, EVENT_NODE_DATA_CHANGED, "/a");
    expect(h, w, -1, EVENT_NODE_CREATED, "/elsewhere");
    expect(h, w, -1, EVENT_NODE_CHILDREN_CHANGED, "/");
    ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(set_watches2_with_a_null_list_is_a_marshalling_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_set_watches2 req = {.persistent_recursive_watches = {-1, SLICE_NULL}};
    h_send(h, c, XID_SET_WATCHES, OP_SET_WATCHES2, PROTO_set_watches2, &req);
    ck_assert_int_eq(h_err(h, c, XID_SET_WATCHES), ZK_MARSHALLINGERROR);
    h_free(h);
}
END_TEST

H_SUITE("watches_staying", a_persistent_watch_hears_of_its_path_again_and_again,
        a_recursive_watch_hears_of_all_below_it,
        clients_of_our_own_kind_are_shown_the_zxid_of_a_change,
        an_add_watch_that_makes_no_sense_is_a_marshalling_error,
        persistent_watches_have_types_of_their_own,
        persistent_watches_are_counted_and_go_with_their_connection,
        what_a_recursive_watch_missed_is_told_in_order_before_the_answer,
        what_a_persistent_watch_missed_is_told_with_the_changes_of_its_children,
        a_server_that_started_anew_tells_what_was_missed_before,
        other_kinds_of_clients_are_told_what_they_missed_too,
        one_shot_watches_take_part_and_each_change_is_told_once,
        a_multi_and_the_end_of_a_session_are_told_in_their_order,
        a_gap_is_told_to_our_own_clients_and_the_watches_are_armed_all_the_same,
        a_request_with_only_one_shot_watches_tells_their_state_without_zxids,
        set_watches2_with_a_null_list_is_a_marshalling_error)
