/* The pure client session: what outlives a connection: watches, credentials, the session itself. */
#include "tests/unit/client/session.h"

#include <stdio.h>
#include <string.h>

/* Asks with watch and lets it be answered. */
static void watch(int32_t xid, int32_t opcode, const char *path, int32_t err) {
    driver_request(&d, (uint64_t)xid, opcode, path, true, 0);
    driver_reply(&d, xid, 100, err, SLICE_NULL);
}

static struct proto_set_watches take_set_watches(void) {
    struct driver_frame f = take();
    static struct proto_set_watches req;
    ck_assert_int_eq(f.xid, XID_SET_WATCHES);
    ck_assert_int_eq(f.opcode, OP_SET_WATCHES);
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_set_watches, &req));
    ck_assert_uint_eq(cursor_left(&in), 0);
    return req;
}

START_TEST(watches_are_armed_again_by_kind_relative_to_the_last_reply) {
    watch(1, OP_GET_DATA, "/data", ZK_OK);
    watch(2, OP_EXISTS, "/absent", ZK_NONODE);
    watch(3, OP_GET_CHILDREN2, "/children", ZK_OK);
    reconnect();
    struct proto_set_watches req = take_set_watches();
    ck_assert_int_eq(req.relative_zxid, 100);
    assert_only(&req.data_watches, "/data");
    assert_only(&req.exist_watches, "/absent");
    assert_only(&req.child_watches, "/children");
    assert_nothing_sent();
}
END_TEST

START_TEST(exists_on_a_znode_that_is_there_watches_its_data) {
    watch(1, OP_EXISTS, "/there", ZK_OK);
    reconnect();
    struct proto_set_watches req = take_set_watches();
    assert_only(&req.data_watches, "/there");
    assert_only(&req.exist_watches, NULL);
}
END_TEST

START_TEST(a_refused_read_sets_no_watch) {
    watch(1, OP_GET_DATA, "/a", ZK_NONODE);
    watch(2, OP_GET_CHILDREN, "/a", ZK_NOAUTH);
    watch(3, OP_EXISTS, "/a", ZK_SYSTEMERROR);
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(a_read_without_watch_sets_none) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_reply(&d, 1, 100, 0, SLICE_NULL);
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(an_event_is_told_and_uses_up_the_watches_it_is_for) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    watch(2, OP_GET_CHILDREN, "/a", ZK_OK);
    driver_watch(&d, EVENT_NODE_DATA_CHANGED, 101, "/a");
    const struct client_update *u = driver_find(&d, CU_WATCH);
    ck_assert_int_eq(u->err, EVENT_NODE_DATA_CHANGED);
    ck_assert_int_eq(u->zxid, 101);
    ck_assert(slice_equal_str(u->bytes, "/a"));
    reconnect();
    struct proto_set_watches req = take_set_watches();
    assert_only(&req.data_watches, NULL);
    assert_only(&req.child_watches, "/a");
}
END_TEST

START_TEST(a_deletion_uses_up_every_watch_of_the_znode) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    watch(2, OP_GET_CHILDREN, "/a", ZK_OK);
    driver_watch(&d, EVENT_NODE_DELETED, 101, "/a");
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(a_change_of_children_leaves_the_data_watch) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    watch(2, OP_GET_CHILDREN, "/a", ZK_OK);
    driver_watch(&d, EVENT_NODE_CHILDREN_CHANGED, 101, "/a");
    reconnect();
    struct proto_set_watches req = take_set_watches();
    assert_only(&req.data_watches, "/a");
    assert_only(&req.child_watches, NULL);
}
END_TEST

START_TEST(a_creation_uses_up_the_exist_watch) {
    watch(1, OP_EXISTS, "/a", ZK_NONODE);
    driver_watch(&d, EVENT_NODE_CREATED, 101, "/a");
    reconnect();
    assert_nothing_sent();
}
END_TEST

START_TEST(an_event_raises_what_servers_must_have_but_not_what_watches_go_by) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    watch(2, OP_GET_DATA, "/b", ZK_OK);
    driver_watch(&d, EVENT_NODE_DATA_CHANGED, 200, "/a"); /* that of /b is lost */
    driver_watch(&d, EVENT_NODE_DATA_CHANGED, -1, "/c");  /* as older servers send them */
    ck_assert_int_eq(client_last_zxid(d.c), 200);
    reconnect();
    ck_assert_int_eq(take_set_watches().relative_zxid, 100);
}
END_TEST

START_TEST(many_watches_are_split_into_frames_below_128_kib) {
    char path[512];
    int count = 2000;
    for (int i = 1; i <= count; i++) {
        snprintf(path, sizeof(path), "/%0300d", i);
        watch(i, i % 2 ? OP_GET_DATA : OP_GET_CHILDREN, path, ZK_OK);
    }
    reconnect();
    ck_assert_uint_eq(d.sends, 1);
    int seen = 0, frames = 0;
    struct driver_frame f;
    while (driver_take(&d, true, &f)) {
        ck_assert_int_le(f.body.len + 8, 128 * 1024);
        struct proto_set_watches req;
        struct cursor in;
        cursor_init(&in, f.body.p, (size_t)f.body.len);
        ck_assert(proto_decode(&in, PROTO_set_watches, &req));
        seen += req.data_watches.count + req.child_watches.count;
        frames++;
    }
    ck_assert_int_eq(seen, count);
    ck_assert_int_ge(frames, 5);
}
END_TEST

START_TEST(the_answers_of_set_watches_are_no_replies) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    reconnect();
    driver_reply(&d, XID_SET_WATCHES, 150, 0, SLICE_NULL);
    ck_assert_int_eq(client_state(d.c), CLIENT_CONNECTED);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    ck_assert_int_eq(client_last_zxid(d.c), 150);
}
END_TEST

START_TEST(credentials_go_first_on_this_and_every_later_connection) {
    client_add_auth(d.c, "digest", slice_from_str("u:p"));
    client_add_auth(d.c, "ip", slice_from_str(""));
    driver_write(&d, 1, "/a", 0);
    struct driver_frame f = take();
    ck_assert_int_eq(f.xid, XID_AUTH);
    ck_assert_int_eq(f.opcode, OP_AUTH);
    struct proto_auth_packet p;
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_auth_packet, &p));
    ck_assert(slice_equal_str(p.scheme, "digest"));
    ck_assert(slice_equal_str(p.auth, "u:p"));
    ck_assert_int_eq(take().opcode, OP_AUTH);
    ck_assert_int_eq(take().opcode, OP_SET_DATA);
    driver_write(&d, 2, "/a", 0);
    ck_assert_int_eq(take().opcode, OP_SET_DATA);
    reconnect();
    ck_assert_int_eq(take().opcode, OP_AUTH);
    ck_assert_int_eq(take().opcode, OP_AUTH);
    assert_nothing_sent();
}
END_TEST

START_TEST(a_refused_credential_is_told_to_all_who_wait) {
    client_add_auth(d.c, "nonsense", slice_from_str("x"));
    driver_write(&d, 1, "/a", 0);
    driver_request(&d, 2, OP_GET_DATA, "/a", false, 0);
    driver_reply(&d, XID_AUTH, 0, ZK_AUTHFAILED, SLICE_NULL);
    assert_reply(1, ZK_AUTHFAILED);
    assert_reply(2, ZK_AUTHFAILED);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
}
END_TEST

START_TEST(an_accepted_credential_changes_nothing) {
    client_add_auth(d.c, "digest", slice_from_str("u:p"));
    driver_write(&d, 1, "/a", 0);
    driver_reply(&d, XID_AUTH, 0, 0, SLICE_NULL);
    driver_reply(&d, 1, 5, 0, SLICE_NULL);
    assert_reply(1, ZK_OK);
}
END_TEST

/* The index of the first update with this state; the updates' count when there is none. */
static size_t index_of_state(enum client_state state) {
    for (size_t i = 0; i < d.count; i++) {
        if (d.updates[i].type == CU_STATE && d.updates[i].state == state)
            return i;
    }
    return d.count;
}

START_TEST(expiry_is_told_first_and_a_new_session_is_asked_for_at_once) {
    connect_again();
    driver_connect_response(&d, 0, 0);
    ck_assert_uint_eq(index_of_state(CLIENT_EXPIRED), 0);
    ck_assert_uint_lt(index_of_state(CLIENT_CONNECTING), d.count);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, 0);
    ck_assert_int_eq(client_session_id(d.c), 0);
    driver_event(&d, CE_CONNECTED);
    struct driver_frame f;
    ck_assert(driver_take(&d, false, &f));
    struct proto_connect_request req;
    struct cursor in;
    cursor_init(&in, f.body.p, (size_t)f.body.len);
    ck_assert(proto_decode(&in, PROTO_connect_request, &req));
    ck_assert_int_eq(req.session_id, 0);
    ck_assert_int_eq(req.passwd.p[0], 0);
    driver_connect_response(&d, 0x5678, 9000);
    ck_assert_int_eq(client_session_id(d.c), 0x5678);
}
END_TEST

START_TEST(the_server_that_told_the_expiry_gives_the_new_session) {
    driver_close(&d);
    driver_init(&d, 3, 9000);
    driver_establish(&d);
    connect_again();
    int32_t server = client_server(d.c);
    driver_connect_response(&d, 0, 0);
    ck_assert_int_eq(driver_find(&d, CU_CONNECT)->server, server);
}
END_TEST

START_TEST(reads_and_unsent_writes_go_over_to_the_new_session) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_write(&d, 2, "/a", 0);
    connect_again();
    driver_write(&d, 3, "/b", 0);
    driver_connect_response(&d, 0, 0);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x5678, 9000);
    ck_assert_int_eq(take().opcode, OP_GET_DATA);
    ck_assert_int_eq(take().opcode, OP_SET_DATA);
    assert_nothing_sent();
}
END_TEST

START_TEST(watches_and_the_zxid_seen_outlive_the_session) {
    watch(1, OP_GET_DATA, "/a", ZK_OK);
    connect_again();
    driver_connect_response(&d, 0, 0);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x5678, 9000);
    struct proto_set_watches req = take_set_watches();
    assert_only(&req.data_watches, "/a");
    ck_assert_int_eq(req.relative_zxid, 100);
    ck_assert_int_eq(client_last_zxid(d.c), 100);
}
END_TEST

START_TEST(a_server_that_refuses_a_new_session_is_not_stormed) {
    connect_again();
    driver_connect_response(&d, 0, 0);
    driver_event(&d, CE_CONNECTED);
    driver_connect_response(&d, 0, 0);
    ck_assert_uint_eq(index_of_state(CLIENT_EXPIRED), d.count);
    ck_assert_ptr_null(driver_find(&d, CU_CONNECT));
    ck_assert_int_gt(d.deadline, d.now);
}
END_TEST

START_TEST(a_write_that_the_server_refuses_for_the_expired_session_is_told_so) {
    driver_write(&d, 1, "/a", 0);
    driver_request(&d, 2, OP_GET_DATA, "/a", false, 0);
    driver_reply(&d, 1, 5, ZK_SESSIONEXPIRED, SLICE_NULL);
    assert_reply(1, ZK_SESSIONEXPIRED);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_ptr_null(driver_reply_to(&d, 2)); /* a read: sent again */
}
END_TEST

START_TEST(a_read_that_the_server_refuses_for_the_expired_session_is_sent_again) {
    driver_request(&d, 1, OP_GET_DATA, "/a", false, 0);
    driver_reply(&d, 1, 5, ZK_SESSIONEXPIRED, SLICE_NULL);
    ck_assert_uint_eq(driver_count(&d, CU_REPLY), 0);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    while (!driver_find(&d, CU_CONNECT))
        driver_sleep(&d);
    driver_event(&d, CE_CONNECTED);
    driver_connect_response(&d, 0, 0);
    driver_event(&d, CE_CONNECTED);
    driver_drop_sent(&d);
    driver_connect_response(&d, 0x5678, 9000);
    ck_assert_int_eq(take().opcode, OP_GET_DATA);
}
END_TEST

START_TEST(a_request_of_a_session_that_moved_ends_the_connection_likewise) {
    driver_write(&d, 1, "/a", 0);
    driver_reply(&d, 1, 5, ZK_SESSIONMOVED, SLICE_NULL);
    assert_reply(1, ZK_SESSIONMOVED);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
}
END_TEST

START_TEST(closing_ends_the_session_and_then_says_so) {
    driver_event(&d, CE_CLOSE);
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_CLOSE_SESSION);
    ck_assert_int_eq(f.body.len, 0);
    driver_reply(&d, f.xid, 9, 0, SLICE_NULL);
    ck_assert_int_eq(d.updates[d.count - 1].type, CU_CLOSED);
    ck_assert_ptr_nonnull(driver_find(&d, CU_DISCONNECT));
    ck_assert_int_eq(client_state(d.c), CLIENT_CLOSED);
}
END_TEST

START_TEST(what_is_under_way_is_answered_before_the_session_is_closed) {
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_CLOSE);
    driver_reply(&d, 1, 9, 0, SLICE_NULL);
    assert_reply(1, ZK_OK);
    driver_write(&d, 2, "/a", 0);
    assert_reply(2, ZK_OPERATIONTIMEOUT);
    driver_reply(&d, 2, 9, 0, SLICE_NULL);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CLOSED));
}
END_TEST

START_TEST(closing_waits_no_longer_than_a_second) {
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_CLOSE);
    ck_assert_int_le(d.deadline, d.now + 1000);
    driver_tick(&d, 1000);
    assert_reply(1, ZK_CONNECTIONLOSS);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CLOSED));
}
END_TEST

START_TEST(a_connection_lost_while_closing_ends_it) {
    driver_event(&d, CE_CLOSE);
    driver_event(&d, CE_LOST);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CLOSED));
}
END_TEST

START_TEST(closing_between_two_connections_reconnects_to_end_the_session) {
    connect_again();
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_CLOSE);
    ck_assert_ptr_null(driver_find(&d, CU_CLOSED));
    driver_connect_response(&d, 0x1234, 9000);
    struct driver_frame f = take();
    ck_assert_int_eq(f.opcode, OP_CLOSE_SESSION);
    driver_reply(&d, f.xid, 9, 0, SLICE_NULL);
    assert_reply(1, ZK_OPERATIONTIMEOUT);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CLOSED));
}
END_TEST

START_TEST(closing_before_the_first_session_is_done_at_once) {
    driver_close(&d);
    driver_init(&d, 1, 9000);
    driver_event(&d, CE_TICK);
    driver_write(&d, 1, "/a", 0);
    driver_event(&d, CE_CLOSE);
    assert_reply(1, ZK_OPERATIONTIMEOUT);
    ck_assert_ptr_nonnull(driver_find(&d, CU_CLOSED));
}
END_TEST

START_TEST(a_closed_client_refuses_requests_and_does_nothing) {
    driver_event(&d, CE_CLOSE);
    driver_tick(&d, 1000);
    driver_write(&d, 1, "/a", 0);
    assert_reply(1, ZK_OPERATIONTIMEOUT);
    driver_tick(&d, 100000);
    ck_assert_uint_eq(d.count, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("client session");
    TCase *t = tcase_create("session");
    tcase_add_checked_fixture(t, established, teardown);
    tcase_add_test(t, watches_are_armed_again_by_kind_relative_to_the_last_reply);
    tcase_add_test(t, exists_on_a_znode_that_is_there_watches_its_data);
    tcase_add_test(t, a_refused_read_sets_no_watch);
    tcase_add_test(t, a_read_without_watch_sets_none);
    tcase_add_test(t, an_event_is_told_and_uses_up_the_watches_it_is_for);
    tcase_add_test(t, a_deletion_uses_up_every_watch_of_the_znode);
    tcase_add_test(t, a_change_of_children_leaves_the_data_watch);
    tcase_add_test(t, a_creation_uses_up_the_exist_watch);
    tcase_add_test(t, an_event_raises_what_servers_must_have_but_not_what_watches_go_by);
    tcase_add_test(t, many_watches_are_split_into_frames_below_128_kib);
    tcase_add_test(t, the_answers_of_set_watches_are_no_replies);
    tcase_add_test(t, credentials_go_first_on_this_and_every_later_connection);
    tcase_add_test(t, a_refused_credential_is_told_to_all_who_wait);
    tcase_add_test(t, an_accepted_credential_changes_nothing);
    tcase_add_test(t, expiry_is_told_first_and_a_new_session_is_asked_for_at_once);
    tcase_add_test(t, the_server_that_told_the_expiry_gives_the_new_session);
    tcase_add_test(t, reads_and_unsent_writes_go_over_to_the_new_session);
    tcase_add_test(t, watches_and_the_zxid_seen_outlive_the_session);
    tcase_add_test(t, a_server_that_refuses_a_new_session_is_not_stormed);
    tcase_add_test(t, a_write_that_the_server_refuses_for_the_expired_session_is_told_so);
    tcase_add_test(t, a_read_that_the_server_refuses_for_the_expired_session_is_sent_again);
    tcase_add_test(t, a_request_of_a_session_that_moved_ends_the_connection_likewise);
    tcase_add_test(t, closing_ends_the_session_and_then_says_so);
    tcase_add_test(t, what_is_under_way_is_answered_before_the_session_is_closed);
    tcase_add_test(t, closing_waits_no_longer_than_a_second);
    tcase_add_test(t, a_connection_lost_while_closing_ends_it);
    tcase_add_test(t, closing_between_two_connections_reconnects_to_end_the_session);
    tcase_add_test(t, closing_before_the_first_session_is_done_at_once);
    tcase_add_test(t, a_closed_client_refuses_requests_and_does_nothing);
    suite_add_tcase(s, t);
    return s;
}
