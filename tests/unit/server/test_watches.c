#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <stdio.h>

static struct h_reply reply;

static void watch(struct harness *h, conn_id_t c, int32_t opcode, const char *path) {
    h_send_path(h, c, 50, opcode, path, true);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 50);
}

START_TEST(a_data_watch_hears_of_a_set_once) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    watch(h, w, OP_GET_DATA, "/a");
    ck_assert_int_eq(h_set(h, c, "/a", "1", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a");
    ck_assert_int_eq(h_set(h, c, "/a", "2", -1), ZK_OK);
    h_expect_nothing(h, w);
    h_free(h);
}
END_TEST

START_TEST(an_exists_watch_hears_of_creation_change_and_deletion) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    watch(h, w, OP_EXISTS, "/a");
    ck_assert_int_eq(reply.err, ZK_NONODE);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_CREATED, "/a");
    watch(h, w, OP_EXISTS, "/a");
    ck_assert_int_eq(h_set(h, c, "/a", "1", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a");
    watch(h, w, OP_EXISTS, "/a");
    ck_assert_int_eq(h_delete(h, c, "/a", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DELETED, "/a");
    h_free(h);
}
END_TEST

START_TEST(a_child_watch_hears_of_children_and_of_the_znodes_own_end) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    watch(h, w, OP_GET_CHILDREN, "/a");
    ck_assert_int_eq(h_set(h, c, "/a", "1", -1), ZK_OK);
    h_expect_nothing(h, w);
    ck_assert_int_eq(h_create(h, c, "/a/b"), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
    watch(h, w, OP_GET_CHILDREN2, "/a");
    ck_assert_int_eq(h_delete(h, c, "/a/b", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/a");
    watch(h, w, OP_GET_CHILDREN, "/a");
    ck_assert_int_eq(h_delete(h, c, "/a", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DELETED, "/a");
    h_free(h);
}
END_TEST

START_TEST(a_deletion_reaches_who_watches_data_and_children_once) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    watch(h, w, OP_GET_DATA, "/a");
    watch(h, w, OP_GET_CHILDREN, "/a");
    watch(h, w, OP_GET_CHILDREN, "/");
    ck_assert_int_eq(h_delete(h, c, "/a", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DELETED, "/a");
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/");
    h_expect_nothing(h, w);
    h_free(h);
}
END_TEST

START_TEST(a_read_that_fails_sets_no_watch_but_exists_does) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    watch(h, w, OP_GET_DATA, "/a");
    watch(h, w, OP_GET_CHILDREN, "/a");
    ck_assert_int_eq(reply.err, ZK_NONODE);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    h_send_create_acl(h, c, 1, "/secret", "world:anyone:cdwa");
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    watch(h, w, OP_GET_DATA, "/secret");
    ck_assert_int_eq(reply.err, ZK_NOAUTH);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    watch(h, w, OP_EXISTS, "/secret");
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 1);
    h_free(h);
}
END_TEST

START_TEST(an_event_comes_before_the_answer_of_the_write_that_made_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    watch(h, c, OP_GET_DATA, "/a");
    h_send_set(h, c, 7, "/a", "x", -1);
    h_expect_event(h, c, EVENT_NODE_DATA_CHANGED, "/a");
    ck_assert_int_eq(h_err(h, c, 7), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_refused_write_makes_no_event) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    watch(h, c, OP_GET_DATA, "/a");
    ck_assert_int_eq(h_set(h, c, "/a", "x", 9), ZK_BADVERSION);
    h_expect_nothing(h, c);
    h_free(h);
}
END_TEST

START_TEST(the_end_of_a_session_makes_events_of_its_ephemerals) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 4000), w = h_client(h);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    watch(h, w, OP_EXISTS, "/e");
    watch(h, w, OP_GET_CHILDREN, "/");
    h_advance(h, 6000);
    h_expect_event(h, w, EVENT_NODE_DELETED, "/e");
    h_expect_event(h, w, EVENT_NODE_CHILDREN_CHANGED, "/");
    h_free(h);
}
END_TEST

START_TEST(the_watches_of_a_connection_go_with_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    watch(h, w, OP_GET_DATA, "/");
    watch(h, w, OP_GET_CHILDREN, "/");
    ck_assert_uint_eq(watch_count(h->r->watches), 2);
    h_close(h, w);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h_free(h);
}
END_TEST

static struct jvec one(struct buf *b, const char *path) {
    size_t at = b->len;
    jute_write_slice(b, h_slice(path));
    return (struct jvec){1, {b->data + at, (int32_t)(b->len - at)}};
}

static void set_watches(struct harness *h, conn_id_t c, zxid_t since, const char *data,
                        const char *exist, const char *child) {
    uint8_t room[256];
    struct buf b = {.data = room, .cap = sizeof room, .limit = sizeof room};
    struct proto_set_watches req = {.relative_zxid = since};
    if (data)
        req.data_watches = one(&b, data);
    if (exist)
        req.exist_watches = one(&b, exist);
    if (child)
        req.child_watches = one(&b, child);
    h_send(h, c, XID_SET_WATCHES, OP_SET_WATCHES, PROTO_set_watches, &req);
}

START_TEST(set_watches_tells_what_changed_since_and_arms_the_rest) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), w = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/b"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/last"), ZK_OK);
    zxid_t since = core_last_zxid(h->r);
    ck_assert_int_eq(h_set(h, c, "/b", "x", -1), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/b/c"), ZK_OK);
    static const struct {
        int kind; /* 0 data, 1 exist, 2 child */
        const char *path;
        int event;
    } cases[] = {
        {0, "/last", 0},
        {2, "/last", 0},
        {0, "/a", 0},
        {0, "/b", EVENT_NODE_DATA_CHANGED},
        {0, "/no", EVENT_NODE_DELETED},
        {1, "/no", 0},
        {1, "/a", EVENT_NODE_CREATED},
        {2, "/a", 0},
        {2, "/b", EVENT_NODE_CHILDREN_CHANGED},
        {2, "/no", EVENT_NODE_DELETED},
    };
    uint64_t armed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *p = cases[i].path;
        set_watches(h, w, since, cases[i].kind == 0 ? p : NULL, cases[i].kind == 1 ? p : NULL,
                    cases[i].kind == 2 ? p : NULL);
        if (cases[i].event)
            h_expect_event(h, w, (enum zk_event)cases[i].event, p);
        else
            armed++;
        ck_assert_int_eq(h_err(h, w, XID_SET_WATCHES), ZK_OK);
        ck_assert_uint_eq(watch_count(h->r->watches), armed);
    }
    ck_assert_int_eq(h_set(h, c, "/a", "y", -1), ZK_OK);
    h_expect_event(h, w, EVENT_NODE_DATA_CHANGED, "/a");
    h_free(h);
}
END_TEST

START_TEST(set_watches_with_a_null_list_is_a_marshalling_error) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_set_watches req = {.exist_watches = {-1, SLICE_NULL}};
    h_send(h, c, XID_SET_WATCHES, OP_SET_WATCHES, PROTO_set_watches, &req);
    ck_assert_int_eq(h_err(h, c, XID_SET_WATCHES), ZK_MARSHALLINGERROR);
    h_free(h);
}
END_TEST

static int with_type(struct harness *h, conn_id_t c, int32_t opcode, const char *path,
                     int32_t type) {
    struct proto_remove_watches_request req = {.path = h_slice(path), .type = type};
    h_send(h, c, 1, opcode, PROTO_remove_watches_request, &req);
    return h_err(h, c, 1);
}

START_TEST(watches_are_found_and_removed_by_type) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    watch(h, c, OP_GET_DATA, "/");
    ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/", 2), ZK_OK);
    ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/", 3), ZK_OK);
    ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/", 1), ZK_NOWATCHER);
    ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/x", 3), ZK_NOWATCHER);
    ck_assert_int_eq(with_type(h, c, OP_CHECK_WATCHES, "/", 6), ZK_MARSHALLINGERROR);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/", 1), ZK_NOWATCHER);
    watch(h, c, OP_GET_CHILDREN, "/");
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/", 3), ZK_OK);
    ck_assert_uint_eq(watch_count(h->r->watches), 0);
    ck_assert_int_eq(with_type(h, c, OP_REMOVE_WATCHES, "/", 3), ZK_NOWATCHER);
    h_free(h);
}
END_TEST

H_SUITE("watches", a_data_watch_hears_of_a_set_once,
        an_exists_watch_hears_of_creation_change_and_deletion,
        a_child_watch_hears_of_children_and_of_the_znodes_own_end,
        a_deletion_reaches_who_watches_data_and_children_once,
        a_read_that_fails_sets_no_watch_but_exists_does,
        an_event_comes_before_the_answer_of_the_write_that_made_it, a_refused_write_makes_no_event,
        the_end_of_a_session_makes_events_of_its_ephemerals, the_watches_of_a_connection_go_with_it,
        set_watches_tells_what_changed_since_and_arms_the_rest,
        set_watches_with_a_null_list_is_a_marshalling_error, watches_are_found_and_removed_by_type)
