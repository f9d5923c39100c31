/* The pure client session: persistent watches over reconnects, what is told of gaps, and watches
 * that are removed. */
#include "tests/unit/client/session.h"

#include <stdio.h>
#include <string.h>

static int32_t xid; /* the last request's */
/* The CU_WATCHes of event(), as `TYPE PATH@ZXID;`. */
static char told[512];

static void with_grant(int32_t grant) {
    driver_init_config(&d, &(struct client_config){.server_count = 1,
                                                   .timeout_ms = 9000,
                                                   .max_frame_bytes = 1 << 20,
                                                   .retries = true,
                                                   .read_only_ok = true});
    d.grant = grant;
    driver_establish(&d);
    xid = 0;
    told[0] = '\0';
}

/* A server of ours, which replays; and Apache's. */
static void ours(void) { with_grant(PROTOCOL_VERSION_RETRIES); }
static void apache(void) { with_grant(0); }

static void staying(int32_t opcode, const char *path, int32_t mode, int32_t err) {
    xid++;
    driver_staying(&d, (uint64_t)xid, opcode, path, mode);
    driver_reply(&d, xid, 100, err, SLICE_NULL);
}

static void add_watch(const char *path, int32_t mode) { staying(OP_ADD_WATCH, path, mode, ZK_OK); }

static void one_shot(int32_t opcode, const char *path, int32_t err) {
    xid++;
    driver_request(&d, (uint64_t)xid, opcode, path, true, 0);
    driver_reply(&d, xid, 100, err, SLICE_NULL);
}

static struct proto_set_watches2 take_set_watches2(void) {
    struct driver_frame f = take();
    static struct proto_set_watches2 req;
    ck_assert_int_eq(f.xid, XID_SET_WATCHES);
    ck_assert_int_eq(f.opcode, OP_SET_WATCHES2);
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_set_watches2, &req));
    ck_assert_uint_eq(cursor_left(&in), 0);
    return req;
}

START_TEST(persistent_watches_are_armed_again_after_every_reconnect) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    add_watch("/r", ADD_WATCH_RECURSIVE);
    one_shot(OP_GET_CHILDREN, "/c", ZK_OK);
    driver_watch(&d, EVENT_NODE_DELETED, 101, "/p");
    driver_watch(&d, EVENT_NODE_CREATED, 102, "/r");
    for (int i = 0; i < 2; i++) {
        reconnect();
        struct proto_set_watches2 req = take_set_watches2();
        ck_assert_int_eq(req.relative_zxid, 100);
        assert_only(&req.data_watches, NULL);
        assert_only(&req.exist_watches, NULL);
        assert_only(&req.child_watches, "/c");
        assert_only(&req.persistent_watches, "/p");
        assert_only(&req.persistent_recursive_watches, "/r");
        assert_nothing_sent();
    }
}
END_TEST

START_TEST(persistent_watches_go_over_to_a_new_session) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    connect_again();
    driver_connect_response(&d, 0, 0);
    ck_assert_ptr_nonnull(driver_find(&d, CU_STATE));
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x777, 9000);
    struct proto_set_watches2 req = take_set_watches2();
    assert_only(&req.persistent_watches, "/p");
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
}
END_TEST

START_TEST(an_add_watch_that_was_refused_is_not_kept) {
    staying(OP_ADD_WATCH, "/p", 0, ZK_UNIMPLEMENTED);
    reconnect();
    assert_nothing_sent();
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
}
END_TEST

START_TEST(without_persistent_watches_the_older_request_is_sent) {
    one_shot(OP_GET_DATA, "/a", ZK_OK);
    add_watch("/a", ADD_WATCH_PERSISTENT);
    staying(OP_REMOVE_WATCHES, "/a", WATCHER_PERSISTENT, ZK_OK);
    reconnect();
    ck_assert_int_eq(take().opcode, OP_SET_WATCHES);
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
}
END_TEST

START_TEST(a_server_that_replays_leaves_no_gap_unless_it_says_so) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    reconnect();
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
    driver_reply(&d, XID_SET_WATCHES, 105, ZK_OK, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
    reconnect();
    driver_reply(&d, XID_SET_WATCHES, 110, ZK_WATCHGAP, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 1);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
}
END_TEST

START_TEST(an_older_server_of_ours_that_refuses_leaves_a_gap) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    reconnect();
    driver_reply(&d, XID_SET_WATCHES, 105, ZK_UNIMPLEMENTED, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 1);
}
END_TEST

START_TEST(a_server_that_only_reads_leaves_a_gap) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    d.read_only = true;
    reconnect();
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 1);
}
END_TEST

START_TEST(a_server_that_does_not_replay_leaves_a_gap_at_each_reconnect) {
    one_shot(OP_GET_DATA, "/a", ZK_OK);
    reconnect();
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
    add_watch("/r", ADD_WATCH_RECURSIVE);
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
    for (int i = 0; i < 2; i++) {
        reconnect();
        ck_assert_uint_eq(driver_count(&d, CU_GAP), 1);
        driver_reply(&d, XID_SET_WATCHES, 105, ZK_OK, SLICE_NULL);
        ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
    }
    staying(OP_REMOVE_WATCHES, "/r", WATCHER_ANY, ZK_OK);
    reconnect();
    ck_assert_uint_eq(driver_count(&d, CU_GAP), 0);
}
END_TEST

START_TEST(removed_watches_are_forgotten_by_type) {
    static const struct {
        int32_t type, err;
        const char *data, *exist, *child, *persistent, *recursive;
    } cases[] = {
        {WATCHER_CHILDREN, ZK_OK, "/a", "/a", NULL, "/a", "/a"},
        {WATCHER_DATA, ZK_OK, NULL, NULL, "/a", "/a", "/a"},
        {WATCHER_PERSISTENT, ZK_OK, "/a", "/a", "/a", NULL, "/a"},
        {WATCHER_RECURSIVE, ZK_NOWATCHER, "/a", "/a", "/a", "/a", NULL},
        {WATCHER_PERSISTENT, ZK_MARSHALLINGERROR, "/a", "/a", "/a", "/a", "/a"},
        {9, ZK_OK, "/a", "/a", "/a", "/a", "/a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        one_shot(OP_GET_DATA, "/a", ZK_OK);
        one_shot(OP_EXISTS, "/a", ZK_NONODE);
        one_shot(OP_GET_CHILDREN, "/a", ZK_OK);
        add_watch("/a", ADD_WATCH_PERSISTENT);
        add_watch("/a", ADD_WATCH_RECURSIVE);
        staying(OP_REMOVE_WATCHES, "/a", cases[i].type, cases[i].err);
        reconnect();
        struct proto_set_watches2 req = take_set_watches2();
        assert_only(&req.data_watches, cases[i].data);
        assert_only(&req.exist_watches, cases[i].exist);
        assert_only(&req.child_watches, cases[i].child);
        assert_only(&req.persistent_watches, cases[i].persistent);
        assert_only(&req.persistent_recursive_watches, cases[i].recursive);
    }
    staying(OP_REMOVE_WATCHES, "/a", WATCHER_ANY, ZK_OK);
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(a_lost_removal_is_sent_again_and_then_forgets) {
    add_watch("/p", ADD_WATCH_PERSISTENT);
    driver_staying(&d, 9, OP_REMOVE_WATCHES, "/p", WATCHER_PERSISTENT);
    driver_drop_sent(&d);
    reconnect();
    (void)take_set_watches2();
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_REMOVE_WATCHES);
    driver_reply(&d, XID_SET_WATCHES, 100, ZK_OK, SLICE_NULL);
    driver_reply(&d, f.xid, 100, ZK_OK, SLICE_NULL);
    assert_reply(9, ZK_OK);
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(those_that_stay_come_first_with_the_one_shot_watches_of_their_path) {
    char path[64];
    for (int i = 0; i < 3000; i++) {
        snprintf(path, sizeof path, "/some/where/in/the/middle/of/a/tree/%d", i);
        one_shot(OP_GET_DATA, path, ZK_OK);
        driver_drop_sent(&d);
    }
    one_shot(OP_GET_DATA, "/p", ZK_OK);
    add_watch("/p", ADD_WATCH_RECURSIVE);
    reconnect();
    struct proto_set_watches2 req = take_set_watches2();
    assert_only(&req.persistent_recursive_watches, "/p");
    ck_assert_int_lt(req.data_watches.count, 3001);
    int32_t at = 0, total = req.data_watches.count;
    struct slice first;
    ck_assert(jvec_next_string(&req.data_watches, &at, &first));
    ck_assert(slice_equal_str(first, "/p"));
    struct driver_frame f;
    while (driver_take(&d, true, &f)) {
        ck_assert_int_eq(f.opcode, OP_SET_WATCHES2);
        ck_assert_int_le(f.body.len, 130 * 1024);
        struct proto_set_watches2 rest;
        struct cursor in;
        cursor_init(&in, f.body.p, (size_t)f.body.len);
        ck_assert(proto_decode(&in, PROTO_set_watches2, &rest));
        assert_only(&rest.persistent_recursive_watches, NULL);
        total += rest.data_watches.count;
    }
    ck_assert_int_eq(total, 3001);
}
END_TEST

static void event(int32_t type, zxid_t zxid, const char *path) {
    driver_watch(&d, type, zxid, path);
    const struct client_update *u = driver_find(&d, CU_WATCH);
    size_t n = strlen(told);
    if (u)
        snprintf(told + n, sizeof told - n, "%d %.*s@%d;", u->err, (int)u->bytes.len,
                 (const char *)u->bytes.p, (int)u->zxid);
}

START_TEST(what_was_told_before_the_connection_broke_is_not_told_again) {
    add_watch("/", ADD_WATCH_RECURSIVE);
    add_watch("/a", ADD_WATCH_PERSISTENT);
    event(EVENT_NODE_CREATED, 101, "/a");
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a"); /* a multi: three children */
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a");
    ck_assert_str_eq(told, "1 /a@101;4 /a@102;4 /a@102;");
    told[0] = '\0';
    reconnect();
    ck_assert_int_eq(take_set_watches2().relative_zxid, 100);
    event(EVENT_NODE_CREATED, 101, "/a");
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a");
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a");
    ck_assert_str_eq(told, "");
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a");
    event(EVENT_NODE_DELETED, 103, "/b");
    ck_assert_str_eq(told, "4 /a@102;2 /b@103;");
    reconnect(); /* in the middle of it */
    event(EVENT_NODE_CHILDREN_CHANGED, 102, "/a");
    event(EVENT_NODE_DELETED, 103, "/b");
    event(EVENT_NODE_CREATED, 103, "/c");
    driver_reply(&d, XID_SET_WATCHES, 104, ZK_OK, SLICE_NULL);
    ck_assert_str_eq(told, "4 /a@102;2 /b@103;1 /c@103;");
    event(EVENT_NODE_CREATED, 103, "/c"); /* no server does this; then it is news */
    ck_assert_str_eq(told, "4 /a@102;2 /b@103;1 /c@103;1 /c@103;");
}
END_TEST

START_TEST(an_event_that_a_one_shot_watch_waits_for_is_told_in_any_case) {
    add_watch("/", ADD_WATCH_RECURSIVE);
    one_shot(OP_GET_DATA, "/a", ZK_OK);
    event(EVENT_NODE_CREATED, 150, "/b");
    reconnect();
    event(EVENT_NODE_DATA_CHANGED, 120, "/a");
    event(EVENT_NODE_DATA_CHANGED, 121, "/a");
    ck_assert_str_eq(told, "1 /b@150;3 /a@120;");
}
END_TEST

/* A reply to the first frame does not make up for the watches of the second. */
START_TEST(setting_many_watches_counts_from_the_last_frame_on) {
    char path[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/some/where/in/the/middle/of/a/tree/%d", i);
        add_watch(path, ADD_WATCH_PERSISTENT);
        driver_drop_sent(&d);
    }
    reconnect();
    int frames = 0;
    struct driver_frame f;
    for (; driver_take(&d, true, &f); frames++)
        ck_assert_int_eq(f.opcode, OP_SET_WATCHES2);
    ck_assert_int_eq(frames, 2);
    event(EVENT_NODE_CREATED, 110, path);
    driver_reply(&d, XID_SET_WATCHES, 110, ZK_OK, SLICE_NULL);
    ck_assert_int_eq(client_last_zxid(d.c), 110);
    event(EVENT_NODE_CREATED, 105, path);
    reconnect();
    ck_assert_int_eq(take_set_watches2().relative_zxid, 100);
    event(EVENT_NODE_CREATED, 105, path);
    driver_reply(&d, XID_SET_WATCHES, 110, ZK_OK, SLICE_NULL);
    driver_reply(&d, XID_SET_WATCHES, 110, ZK_OK, SLICE_NULL);
    reconnect();
    ck_assert_int_eq(take_set_watches2().relative_zxid, 110);
    ck_assert_uint_eq(strlen(told), 3 * strlen("1 @105;") + 3 * strlen(path));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client_staying");
    TCase *t = tcase_create("ours");
    tcase_add_checked_fixture(t, ours, teardown);
    tcase_add_test(t, persistent_watches_are_armed_again_after_every_reconnect);
    tcase_add_test(t, persistent_watches_go_over_to_a_new_session);
    tcase_add_test(t, an_add_watch_that_was_refused_is_not_kept);
    tcase_add_test(t, without_persistent_watches_the_older_request_is_sent);
    tcase_add_test(t, a_server_that_replays_leaves_no_gap_unless_it_says_so);
    tcase_add_test(t, an_older_server_of_ours_that_refuses_leaves_a_gap);
    tcase_add_test(t, a_server_that_only_reads_leaves_a_gap);
    tcase_add_test(t, removed_watches_are_forgotten_by_type);
    tcase_add_test(t, a_lost_removal_is_sent_again_and_then_forgets);
    tcase_add_test(t, those_that_stay_come_first_with_the_one_shot_watches_of_their_path);
    tcase_add_test(t, what_was_told_before_the_connection_broke_is_not_told_again);
    tcase_add_test(t, an_event_that_a_one_shot_watch_waits_for_is_told_in_any_case);
    tcase_add_test(t, setting_many_watches_counts_from_the_last_frame_on);
    suite_add_tcase(s, t);
    t = tcase_create("apache");
    tcase_add_checked_fixture(t, apache, teardown);
    tcase_add_test(t, a_server_that_does_not_replay_leaves_a_gap_at_each_reconnect);
    suite_add_tcase(s, t);
    return s;
}
