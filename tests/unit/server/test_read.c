#include "tests/unit/server/harness.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

static int ask(struct harness *h, conn_id_t c, int32_t opcode, const char *path) {
    struct proto_path_request req = {.path = h_slice(path)};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_path_request, &req);
    jute_write_bool(&b, false); /* the watch flag, where the record has one */
    h_send_bytes(h, c, 3, opcode, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 3);
    return reply.err;
}

START_TEST(a_read_shows_the_last_applied_zxid) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(ask(h, c, OP_GET_DATA, "/"), ZK_OK);
    ck_assert_int_eq(reply.zxid, core_last_zxid(h->r));
    ck_assert_int_eq(ask(h, c, OP_GET_DATA, "/no"), ZK_NONODE);
    ck_assert_int_eq(reply.zxid, core_last_zxid(h->r));
    h_free(h);
}
END_TEST

START_TEST(children_come_with_and_without_a_stat) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/a/one"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/a/two"), ZK_OK);
    ck_assert_int_eq(ask(h, c, OP_GET_CHILDREN, "/a"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 2);
    ck_assert(slice_equal_str(h_string(&reply), "one"));
    ck_assert(slice_equal_str(h_string(&reply), "two"));
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    ck_assert_int_eq(ask(h, c, OP_GET_CHILDREN2, "/a"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 2);
    (void)h_string(&reply);
    (void)h_string(&reply);
    ck_assert_int_eq(h_stat(&reply).num_children, 2);
    ck_assert_int_eq(ask(h, c, OP_GET_CHILDREN, "/a/one"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 0);
    h_free(h);
}
END_TEST

START_TEST(any_path_may_be_asked_for) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    static const int32_t ops[] = {OP_GET_DATA,      OP_EXISTS,  OP_GET_CHILDREN,
                                  OP_GET_CHILDREN2, OP_GET_ACL, OP_GET_ALL_CHILDREN_NUMBER};
    static const struct {
        const char *path;
        int err;
    } cases[] = {{"", ZK_OK},        {"/", ZK_OK},         {"/a", ZK_OK},
                 {"/a/", ZK_NONODE}, {"a", ZK_NONODE},     {"//", ZK_NONODE},
                 {"//a", ZK_NONODE}, {"/a//", ZK_NONODE},  {"/.", ZK_NONODE},
                 {"/..", ZK_NONODE}, {"/\xff", ZK_NONODE}, {NULL, ZK_MARSHALLINGERROR}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
            ck_assert_msg(ask(h, c, ops[i], cases[k].path) == cases[k].err, "op %d path %zu",
                          ops[i], k);
    }
    h_free(h);
}
END_TEST

START_TEST(exists_refuses_a_path_with_a_nul) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_path_watch_request req = {.path = {(const uint8_t *)"/a\0b", 4}};
    h_send(h, c, 1, OP_EXISTS, PROTO_path_watch_request, &req);
    ck_assert_int_eq(h_err(h, c, 1), ZK_BADARGUMENTS);
    h_send(h, c, 2, OP_GET_DATA, PROTO_path_watch_request, &req);
    ck_assert_int_eq(h_err(h, c, 2), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(a_read_that_is_cut_anywhere_is_a_marshalling_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_path_watch_request watch = {.path = h_slice("/"), .watch = true};
    struct proto_path_request path = {.path = h_slice("/")};
    struct proto_set_watches sw = {.relative_zxid = 0};
    struct proto_remove_watches_request rw = {.path = h_slice("/"), .type = 2};
    const struct {
        int32_t opcode;
        enum proto_record record;
        const void *rec;
    } cases[] = {{OP_EXISTS, PROTO_path_watch_request, &watch},
                 {OP_GET_DATA, PROTO_path_watch_request, &watch},
                 {OP_GET_CHILDREN, PROTO_path_watch_request, &watch},
                 {OP_GET_CHILDREN2, PROTO_path_watch_request, &watch},
                 {OP_GET_ACL, PROTO_path_request, &path},
                 {OP_SYNC, PROTO_path_request, &path},
                 {OP_GET_EPHEMERALS, PROTO_path_request, &path},
                 {OP_GET_ALL_CHILDREN_NUMBER, PROTO_path_request, &path},
                 {OP_SET_WATCHES, PROTO_set_watches, &sw},
                 {OP_REMOVE_WATCHES, PROTO_remove_watches_request, &rw},
                 {OP_CHECK_WATCHES, PROTO_remove_watches_request, &rw}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = BUF_INIT;
        proto_encode(&b, cases[i].record, cases[i].rec);
        for (size_t n = 0; n < b.len; n++) {
            h_send_bytes(h, c, 1, cases[i].opcode, b.data, n);
            ck_assert_int_eq(h_err(h, c, 1), ZK_MARSHALLINGERROR);
        }
        buf_close(&b);
    }
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    h_free(h);
}
END_TEST

START_TEST(a_ping_is_answered_with_its_own_xid) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h_send(h, c, XID_PING, OP_PING, PROTO_empty, NULL);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, XID_PING);
    ck_assert_int_eq(reply.zxid, core_last_zxid(h->r));
    ck_assert_int_eq(reply.err, 0);
    h_free(h);
}
END_TEST

START_TEST(sync_answers_the_path_as_given) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    static const char *const paths[] = {"/", "/no/such", "not a path", "", NULL};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        ck_assert_int_eq(ask(h, c, OP_SYNC, paths[i]), ZK_OK);
        ck_assert(slice_equal(h_string(&reply), h_slice(paths[i])));
    }
    h_free(h);
}
END_TEST

START_TEST(an_unknown_type_is_answered_and_the_connection_closed) {
    struct harness *h = h_started();
    static const int32_t types[] = {0, 10, 20, 23, 99, 102, -1, -10, -12, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        conn_id_t c = h_client(h);
        h_send(h, c, 8, types[i], PROTO_empty, NULL);
        ck_assert(h_take(h, c, &reply));
        ck_assert_int_eq(reply.xid, 8);
        ck_assert_int_eq(reply.zxid, -1);
        ck_assert_int_eq(reply.err, ZK_UNIMPLEMENTED);
        ck_assert(h->conns[c].closed);
    }
    h_free(h);
}
END_TEST

START_TEST(a_frame_too_short_for_a_header_closes_the_connection) {
    struct harness *h = h_started();
    for (size_t n = 0; n < 8; n++) {
        conn_id_t c = h_client(h);
        h_frame(h, c, "\0\0\0\1\0\0\0", n);
        ck_assert(h->conns[c].closed);
        h_expect_nothing(h, c);
    }
    h_free(h);
}
END_TEST

START_TEST(ephemerals_are_listed_by_prefix) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create_mode(h, c, "/ab", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, c, "/ac", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, c, "/b", CREATE_EPHEMERAL), ZK_OK);
    static const struct {
        const char *prefix;
        int count;
    } cases[] = {{"/", 3}, {NULL, 3}, {"", 3}, {"  ", 3}, {"/a", 2}, {"/ac", 1}, {"/x", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(ask(h, c, OP_GET_EPHEMERALS, cases[i].prefix), ZK_OK);
        ck_assert_int_eq(jute_read_int(&reply.body), cases[i].count);
    }
    h_free(h);
}
END_TEST

START_TEST(all_children_are_counted_to_the_bottom) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    static const char *const paths[] = {"/a", "/a/b", "/a/b/c", "/a/d", "/ab"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        ck_assert_int_eq(h_create(h, c, paths[i]), ZK_OK);
    ck_assert_int_eq(ask(h, c, OP_GET_ALL_CHILDREN_NUMBER, "/a"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 3);
    ck_assert_int_eq(ask(h, c, OP_GET_ALL_CHILDREN_NUMBER, "/ab"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 0);
    ck_assert_int_eq(ask(h, c, OP_GET_ALL_CHILDREN_NUMBER, "/"), ZK_OK);
    ck_assert_int_eq(jute_read_int(&reply.body), 8);
    h_free(h);
}
END_TEST

START_TEST(a_client_learns_who_it_is) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h_send_auth(h, c, "digest", "bob:secret");
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    h_send(h, c, 1, OP_WHO_AM_I, PROTO_empty, NULL);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(jute_read_int(&reply.body), 2);
    ck_assert(slice_equal_str(h_string(&reply), "ip"));
    ck_assert(slice_equal_str(h_string(&reply), "10.0.0.1"));
    ck_assert(slice_equal_str(h_string(&reply), "digest"));
    ck_assert(slice_equal_str(h_string(&reply), "bob"));
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    h_free(h);
}
END_TEST

H_SUITE("read", a_read_shows_the_last_applied_zxid, children_come_with_and_without_a_stat,
        any_path_may_be_asked_for, exists_refuses_a_path_with_a_nul,
        a_read_that_is_cut_anywhere_is_a_marshalling_error, a_ping_is_answered_with_its_own_xid,
        sync_answers_the_path_as_given, an_unknown_type_is_answered_and_the_connection_closed,
        a_frame_too_short_for_a_header_closes_the_connection, ephemerals_are_listed_by_prefix,
        all_children_are_counted_to_the_bottom, a_client_learns_who_it_is)
