#include "tests/unit/server/harness.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct h_reply reply;

static void send_multi(struct harness *h, conn_id_t c, int32_t xid, struct buf *b) {
    h_multi_end(b);
    h_send_bytes(h, c, xid, OP_MULTI, b->data, b->len);
    buf_close(b);
}

static void take(struct harness *h, conn_id_t c, int32_t xid) {
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, xid);
}

static void expect_header(int32_t type, bool done, int32_t err) {
    struct proto_multi_header mh;
    ck_assert(proto_decode(&reply.body, PROTO_multi_header, &mh));
    ck_assert_int_eq(mh.type, type);
    ck_assert_int_eq(mh.done, done);
    ck_assert_int_eq(mh.err, err);
}

static void expect_error(int32_t err) {
    expect_header(OP_ERROR, false, err);
    ck_assert_int_eq(jute_read_int(&reply.body), err);
}

static void expect_end(void) {
    expect_header(-1, true, -1);
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    ck_assert(!reply.body.bad);
}

START_TEST(a_multi_answers_each_operation_and_takes_one_zxid) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    zxid_t before = core_last_zxid(h->r);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/m", CREATE_PERSISTENT);
    h_multi_create(&b, "/m/s-", CREATE_PERSISTENT_SEQUENTIAL);
    h_multi_set(&b, "/a", "new", 0);
    h_multi_check(&b, "/a", 1);
    h_multi_delete(&b, "/a", 1);
    send_multi(h, c, 4, &b);
    take(h, c, 4);
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert_int_eq(reply.zxid, before + 1);
    expect_header(OP_CREATE, false, 0);
    ck_assert(slice_equal_str(h_string(&reply), "/m"));
    expect_header(OP_CREATE, false, 0);
    ck_assert(slice_equal_str(h_string(&reply), "/m/s-0000000000"));
    expect_header(OP_SET_DATA, false, 0);
    struct zstat s = h_stat(&reply);
    ck_assert_int_eq(s.version, 1);
    ck_assert_int_eq(s.data_length, 3);
    expect_header(OP_CHECK, false, 0);
    expect_header(OP_DELETE, false, 0);
    expect_end();
    ck_assert_int_eq(core_last_zxid(h->r), before + 1);
    ck_assert_int_eq(h_exists(h, c, "/a", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, c, "/m/s-0000000000", &s), ZK_OK);
    ck_assert_int_eq(s.czxid, before + 1);
    h_free(h);
}
END_TEST

START_TEST(create2_in_a_multi_is_answered_as_create) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {.path = h_slice("/m"), .acl = acl_view(acl)};
    struct buf b = BUF_INIT;
    h_multi_op(&b, OP_CREATE2, PROTO_create_request, &req);
    blob_unref(acl);
    send_multi(h, c, 1, &b);
    take(h, c, 1);
    expect_header(OP_CREATE, false, 0);
    ck_assert(slice_equal_str(h_string(&reply), "/m"));
    expect_end();
    h_free(h);
}
END_TEST

START_TEST(a_failing_operation_at_each_place_undoes_all_of_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    for (int bad = 0; bad < 4; bad++) {
        struct buf b = BUF_INIT;
        char path[16];
        for (int i = 0; i < 4; i++) {
            (void)snprintf(path, sizeof path, "/x%d", i);
            if (i == bad)
                h_multi_check(&b, "/a", 99);
            else
                h_multi_create(&b, path, 0);
        }
        send_multi(h, c, bad, &b);
        take(h, c, bad);
        ck_assert_int_eq(reply.err, ZK_OK);
        for (int i = 0; i < 4; i++)
            expect_error(i < bad ? ZK_OK : i == bad ? ZK_BADVERSION : ZK_RUNTIMEINCONSISTENCY);
        expect_end();
        for (int i = 0; i < 4; i++) {
            (void)snprintf(path, sizeof path, "/x%d", i);
            ck_assert_int_eq(h_exists(h, c, path, NULL), ZK_NONODE);
        }
    }
    struct zstat s;
    ck_assert_int_eq(h_exists(h, c, "/", &s), ZK_OK);
    ck_assert_int_eq(s.num_children, 2);
    h_free(h);
}
END_TEST

START_TEST(a_failed_multi_leaves_what_was_in_flight_before_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/q"), ZK_OK);
    h->hold_log = true;
    h_send_create(h, c, 1, "/q/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_send_set(h, c, 2, "/q", "one", 0);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/q/s-", CREATE_PERSISTENT_SEQUENTIAL);
    h_multi_set(&b, "/q", "two", 1);
    h_multi_set(&b, "/q", "three", 2);
    h_multi_create(&b, "/q/e", CREATE_EPHEMERAL);
    h_multi_delete(&b, "/nope", -1);
    send_multi(h, c, 3, &b);
    h_send_create(h, c, 4, "/q/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_send_set(h, c, 5, "/q", "four", 1);
    h_send_create(h, c, 6, "/q/e", "", CREATE_EPHEMERAL);
    h_sync(h);
    h->hold_log = false;
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    take(h, c, 3);
    take(h, c, 4);
    ck_assert(slice_equal_str(h_string(&reply), "/q/s-0000000001"));
    ck_assert_int_eq(h_err(h, c, 5), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 6), ZK_OK);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    ck_assert_uint_eq(pending_owner_bytes(h->r->pending, h->conns[c].session),
                      pending_owner_cost(h_slice("/q/e")));
    h_free(h);
}
END_TEST

START_TEST(an_empty_multi_takes_a_zxid_and_answers_the_end) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    zxid_t before = core_last_zxid(h->r);
    struct buf b = BUF_INIT;
    send_multi(h, c, 1, &b);
    take(h, c, 1);
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert_int_eq(reply.zxid, before + 1);
    expect_end();
    h_free(h);
}
END_TEST

START_TEST(operations_see_those_before_them) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    h_multi_create(&b, "/a/b", 0);
    h_multi_set(&b, "/a/b", "1", 0);
    h_multi_set(&b, "/a/b", "2", 1);
    h_multi_delete(&b, "/a/b", 2);
    h_multi_create(&b, "/a/b", CREATE_EPHEMERAL);
    h_multi_check(&b, "/a/b", 0);
    send_multi(h, c, 1, &b);
    take(h, c, 1);
    expect_header(OP_CREATE, false, 0);
    struct zstat s;
    ck_assert_int_eq(h_exists(h, c, "/a/b", &s), ZK_OK);
    ck_assert_int_eq(s.version, 0);
    ck_assert_int_eq(s.ephemeral_owner, h->conns[c].session);
    ck_assert_int_eq(h_exists(h, c, "/a", &s), ZK_OK);
    ck_assert_int_eq(s.cversion, 3);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    h_free(h);
}
END_TEST

START_TEST(a_multi_is_whole_again_after_a_start) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    h_multi_create(&b, "/b", 0);
    send_multi(h, c, 1, &b);
    take(h, c, 1);
    h_restart(h);
    c = h_client(h);
    struct zstat sa, sb;
    ck_assert_int_eq(h_exists(h, c, "/a", &sa), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/b", &sb), ZK_OK);
    ck_assert_int_eq(sa.czxid, sb.czxid);
    h_free(h);
}
END_TEST

START_TEST(a_multi_that_is_cut_anywhere_does_nothing) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    h_multi_set(&b, "/a", "x", 0);
    h_multi_delete(&b, "/a", -1);
    h_multi_end(&b);
    for (size_t n = 0; n < b.len; n++) {
        h_send_bytes(h, c, (int32_t)n, OP_MULTI, b.data, n);
        ck_assert_int_eq(h_err(h, c, (int32_t)n), ZK_MARSHALLINGERROR);
    }
    struct zstat s;
    ck_assert_int_eq(h_exists(h, c, "/", &s), ZK_OK);
    ck_assert_int_eq(s.num_children, 1);
    buf_close(&b);
    h_free(h);
}
END_TEST

START_TEST(an_operation_that_has_no_place_in_a_multi_is_a_marshalling_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    static const int32_t types[] = {OP_GET_DATA, OP_SET_ACL, OP_EXISTS, OP_MULTI, -1, 99};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct proto_path_watch_request req = {.path = h_slice("/")};
        struct buf b = BUF_INIT;
        h_multi_create(&b, "/a", 0);
        h_multi_op(&b, types[i], PROTO_path_watch_request, &req);
        send_multi(h, c, 1, &b);
        ck_assert_int_eq(h_err(h, c, 1), ZK_MARSHALLINGERROR);
    }
    ck_assert_int_eq(h_exists(h, c, "/a", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(events_of_a_multi_come_in_the_order_of_its_operations_before_its_answer) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h_send_path(h, c, 1, OP_EXISTS, "/b", true);
    h_send_path(h, c, 2, OP_EXISTS, "/a", true);
    h_send_path(h, c, 3, OP_GET_CHILDREN, "/", true);
    ck_assert_int_eq(h_err(h, c, 1), ZK_NONODE);
    ck_assert_int_eq(h_err(h, c, 2), ZK_NONODE);
    take(h, c, 3);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    h_multi_create(&b, "/b", 0);
    send_multi(h, c, 4, &b);
    h_expect_event(h, c, EVENT_NODE_CREATED, "/a");
    h_expect_event(h, c, EVENT_NODE_CHILDREN_CHANGED, "/");
    h_expect_event(h, c, EVENT_NODE_CREATED, "/b");
    take(h, c, 4);
    h_expect_nothing(h, c);
    h_free(h);
}
END_TEST

START_TEST(a_multi_read_answers_each_with_a_result_or_an_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    struct proto_path_watch_request a = {.path = h_slice("/a")}, no = {.path = h_slice("/no")};
    struct proto_path_watch_request root = {.path = h_slice("/")};
    struct buf b = BUF_INIT;
    h_multi_op(&b, OP_GET_DATA, PROTO_path_watch_request, &a);
    h_multi_op(&b, OP_GET_DATA, PROTO_path_watch_request, &no);
    h_multi_op(&b, OP_GET_CHILDREN, PROTO_path_watch_request, &root);
    h_multi_end(&b);
    h_send_bytes(h, c, 1, OP_MULTI_READ, b.data, b.len);
    take(h, c, 1);
    ck_assert_int_eq(reply.err, ZK_OK);
    expect_header(OP_GET_DATA, false, 0);
    ck_assert(slice_equal_str(h_string(&reply), "d"));
    (void)h_stat(&reply);
    expect_error(ZK_NONODE);
    expect_header(OP_GET_CHILDREN, false, 0);
    ck_assert_int_eq(jute_read_int(&reply.body), 2);
    (void)h_string(&reply);
    (void)h_string(&reply);
    expect_end();
    for (size_t n = 0; n < b.len; n++) {
        h_send_bytes(h, c, 2, OP_MULTI_READ, b.data, n);
        ck_assert_int_eq(h_err(h, c, 2), ZK_MARSHALLINGERROR);
    }
    buf_close(&b);
    h_multi_set(&b, "/a", "x", -1);
    h_multi_end(&b);
    h_send_bytes(h, c, 3, OP_MULTI_READ, b.data, b.len);
    ck_assert_int_eq(h_err(h, c, 3), ZK_MARSHALLINGERROR);
    buf_close(&b);
    h_free(h);
}
END_TEST

H_SUITE("multi", a_multi_answers_each_operation_and_takes_one_zxid,
        create2_in_a_multi_is_answered_as_create,
        a_failing_operation_at_each_place_undoes_all_of_it,
        a_failed_multi_leaves_what_was_in_flight_before_it,
        an_empty_multi_takes_a_zxid_and_answers_the_end, operations_see_those_before_them,
        a_multi_is_whole_again_after_a_start, a_multi_that_is_cut_anywhere_does_nothing,
        an_operation_that_has_no_place_in_a_multi_is_a_marshalling_error,
        events_of_a_multi_come_in_the_order_of_its_operations_before_its_answer,
        a_multi_read_answers_each_with_a_result_or_an_error)
