/* Containers and TTL znodes: what they are made by, and when the leader deletes them. */
#include "tests/unit/server/harness.h"

#include "common/ephemeral_type.h"
#include "common/path.h"
#include "replica/server/limits.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

#define CHECK_MS 1000

static struct replica_config config(void) {
    struct replica_config c = h_config();
    c.extended_types = true;
    c.container_check_ms = CHECK_MS;
    c.containers_per_minute = 10000;
    return c;
}

static struct harness *started_with(struct replica_config c) {
    struct harness *h = h_new(&c);
    h_start(h);
    return h;
}

static struct harness *started(void) { return started_with(config()); }

static void send_container(struct harness *h, conn_id_t c, int32_t xid, const char *path,
                           int32_t flags) {
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {
        .path = h_slice(path), .data = h_slice("v"), .acl = acl_view(acl), .flags = flags};
    h_send(h, c, xid, OP_CREATE_CONTAINER, PROTO_create_request, &req);
    blob_unref(acl);
}

static void put_ttl(struct buf *multi, const char *path, int32_t flags, int64_t ttl_ms) {
    struct blob *acl = acl_open_unsafe();
    struct proto_create_ttl_request req = {
        .path = h_slice(path), .acl = acl_view(acl), .flags = flags, .ttl = ttl_ms};
    h_multi_op(multi, OP_CREATE_TTL, PROTO_create_ttl_request, &req);
    blob_unref(acl);
}

static int ttl(struct harness *h, conn_id_t c, const char *path, int32_t flags, int64_t ttl_ms) {
    struct blob *acl = acl_open_unsafe();
    struct proto_create_ttl_request req = {
        .path = h_slice(path), .acl = acl_view(acl), .flags = flags, .ttl = ttl_ms};
    h_send(h, c, 7, OP_CREATE_TTL, PROTO_create_ttl_request, &req);
    blob_unref(acl);
    return h_err(h, c, 7);
}

static int container(struct harness *h, conn_id_t c, const char *path) {
    send_container(h, c, 8, path, CREATE_CONTAINER);
    return h_err(h, c, 8);
}

static bool is_there(struct harness *h, const char *path) {
    return tree_find(h->r->tree, h_slice(path)) != NULL;
}

static session_id_t owner_of(struct harness *h, const char *path) {
    const struct znode *n = tree_find(h->r->tree, h_slice(path));
    ck_assert_ptr_nonnull(n);
    return znode_owner(n);
}

/* A round and a step more. */
static void rounds(struct harness *h, int count) { h_advance(h, count * CHECK_MS + 50); }

START_TEST(createContainer_answers_path_and_stat_whatever_the_flags_are) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    send_container(h, c, 1, "/c", CREATE_CONTAINER);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert(slice_equal_str(h_string(&reply), "/c"));
    struct zstat s = h_stat(&reply);
    ck_assert_int_eq(s.ephemeral_owner, 0); /* as with Apache, which keeps it to itself */
    ck_assert_int_eq(owner_of(h, "/c"), INT64_MIN);
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    send_container(h, c, 2, "/s-", CREATE_EPHEMERAL_SEQUENTIAL);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    ck_assert_int_eq(owner_of(h, "/s-0000000001"), INT64_MIN);
    send_container(h, c, 3, "/t", CREATE_PERSISTENT_WITH_TTL);
    ck_assert_int_eq(h_err(h, c, 3), ZK_BADARGUMENTS);
    ck_assert_int_eq(h_create_mode(h, c, "/plain", CREATE_CONTAINER), ZK_OK);
    ck_assert_int_eq(owner_of(h, "/plain"), 0);
    h_free(h);
}
END_TEST

START_TEST(createTTL_keeps_the_ttl_in_the_owner_and_refuses_what_is_none) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 5000), ZK_OK);
    ck_assert_int_eq(owner_of(h, "/t"), (int64_t)0xff00000000001388ULL);
    ck_assert_int_eq(ttl(h, c, "/s-", CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL, EPHEMERAL_TTL_MAX_MS),
                     ZK_OK);
    ck_assert_int_eq(owner_of(h, "/s-0000000001"), (int64_t)0xff0000ffffffffffULL);
    static const int64_t bad[] = {0, -1, INT64_MIN, INT64_MAX, EPHEMERAL_TTL_MAX_MS + 1};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(ttl(h, c, "/x", CREATE_PERSISTENT_WITH_TTL, bad[i]), ZK_BADARGUMENTS);
    for (int32_t flags = -1; flags < 8; flags++)
        if (flags != CREATE_PERSISTENT_WITH_TTL && flags != CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL)
            ck_assert_int_eq(ttl(h, c, "/x", flags, flags % 2 ? 1000 : -1), ZK_BADARGUMENTS);
    ck_assert_int_eq(h_create_mode(h, c, "/x", CREATE_PERSISTENT_WITH_TTL), ZK_BADARGUMENTS);
    ck_assert_int_eq(h_create_mode(h, c, "/x", CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL),
                     ZK_BADARGUMENTS);
    h_free(h);
}
END_TEST

START_TEST(without_extended_types_ttls_are_refused_and_containers_are_not) {
    struct replica_config without = config();
    without.extended_types = false;
    struct harness *h = started_with(without);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 5000), ZK_UNIMPLEMENTED);
    ck_assert_int_eq(h_create_mode(h, c, "/t", CREATE_PERSISTENT_WITH_TTL), ZK_UNIMPLEMENTED);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    h_free(h);
}
END_TEST

static void expect_header(int32_t type) {
    struct proto_multi_header got;
    ck_assert(proto_decode(&reply.body, PROTO_multi_header, &got));
    ck_assert_int_eq(got.type, type);
}

static void send_multi(struct harness *h, conn_id_t c, struct buf *b) {
    h_multi_end(b);
    h_send_bytes(h, c, 5, OP_MULTI, b->data, b->len);
    buf_close(b);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 5);
}

START_TEST(in_a_multi_the_flag_decides_and_these_are_answered_with_a_stat) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/c", CREATE_CONTAINER);
    h_multi_create(&b, "/c/x", CREATE_PERSISTENT);
    put_ttl(&b, "/t", CREATE_PERSISTENT_WITH_TTL, 7000);
    put_ttl(&b, "/p", CREATE_PERSISTENT, 7000);
    send_multi(h, c, &b);
    ck_assert_int_eq(reply.err, ZK_OK);
    expect_header(OP_CREATE2);
    ck_assert(slice_equal_str(h_string(&reply), "/c"));
    ck_assert_int_eq(h_stat(&reply).ephemeral_owner, 0);
    ck_assert_int_eq(owner_of(h, "/c"), INT64_MIN);
    expect_header(OP_CREATE);
    ck_assert(slice_equal_str(h_string(&reply), "/c/x"));
    expect_header(OP_CREATE2);
    ck_assert(slice_equal_str(h_string(&reply), "/t"));
    ck_assert_int_eq(h_stat(&reply).ephemeral_owner, 0);
    ck_assert_int_eq(owner_of(h, "/t"), ephemeral_ttl_owner(7000));
    expect_header(OP_CREATE);
    ck_assert(slice_equal_str(h_string(&reply), "/p"));
    expect_header(-1);
    ck_assert_int_eq(owner_of(h, "/p"), 0);
    h_multi_create(&b, "/q", CREATE_PERSISTENT_WITH_TTL);
    send_multi(h, c, &b);
    ck_assert_int_eq(reply.err, ZK_MARSHALLINGERROR);
    ck_assert(!is_there(h, "/q"));
    h_free(h);
}
END_TEST

START_TEST(a_container_goes_behind_its_last_child_and_not_before_its_first) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    ck_assert_int_eq(container(h, c, "/unused"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/plain"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/plain/x"), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/plain/x", -1), ZK_OK);
    rounds(h, 3);
    ck_assert(is_there(h, "/c"));
    ck_assert_int_eq(h_create(h, c, "/c/x"), ZK_OK);
    rounds(h, 3);
    ck_assert(is_there(h, "/c/x"));
    ck_assert_int_eq(h_delete(h, c, "/c/x", -1), ZK_OK);
    ck_assert(is_there(h, "/c"));
    h_send_path(h, c, 9, OP_EXISTS, "/c", true);
    ck_assert_int_eq(h_err(h, c, 9), ZK_OK);
    rounds(h, 1);
    ck_assert(!is_there(h, "/c"));
    h_expect_event(h, c, EVENT_NODE_DELETED, "/c");
    rounds(h, 3);
    ck_assert(is_there(h, "/unused") && is_there(h, "/plain"));
    h_free(h);
}
END_TEST

START_TEST(a_container_that_never_had_a_child_goes_after_its_own_time) {
    struct replica_config used = config();
    used.container_never_used_ms = 5000;
    struct harness *h = started_with(used);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    rounds(h, 4);
    ck_assert(is_there(h, "/c"));
    rounds(h, 2);
    ck_assert(!is_there(h, "/c"));
    h_free(h);
}
END_TEST

START_TEST(a_ttl_runs_from_the_last_change_of_data_and_children_stop_it) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 5000), ZK_OK);
    ck_assert_int_eq(ttl(h, c, "/u", CREATE_PERSISTENT_WITH_TTL, 5000), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/u/x"), ZK_OK);
    h_advance(h, 4000);
    ck_assert_int_eq(h_set(h, c, "/t", "new", -1), ZK_OK);
    h_advance(h, 5000);
    ck_assert(is_there(h, "/t") && is_there(h, "/u"));
    rounds(h, 1);
    ck_assert(!is_there(h, "/t"));
    ck_assert(is_there(h, "/u"));
    ck_assert_int_eq(h_delete(h, c, "/u/x", -1), ZK_OK);
    rounds(h, 1);
    ck_assert(!is_there(h, "/u"));
    h_free(h);
}
END_TEST

START_TEST(a_clock_that_goes_back_keeps_a_ttl_znode) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 2000), ZK_OK);
    h->wall_ms -= 3600000;
    rounds(h, 10);
    ck_assert(is_there(h, "/t"));
    h->wall_ms += 3600000;
    rounds(h, 1);
    ck_assert(!is_there(h, "/t"));
    h_free(h);
}
END_TEST

START_TEST(what_is_in_flight_keeps_a_container) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/c/x"), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/c/x", -1), ZK_OK);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 10), ZK_OK);
    h->hold_log = true;
    h_send_create(h, c, 1, "/c/y", "", 0);
    h_send_set(h, c, 2, "/t", "new", -1);
    rounds(h, 1);
    h->hold_log = false;
    h_sync(h);
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    ck_assert(is_there(h, "/c/y"));
    rounds(h, 1);
    ck_assert(is_there(h, "/c/y"));
    ck_assert(!is_there(h, "/t"));
    h_free(h);
}
END_TEST

START_TEST(what_comes_behind_a_deletion_in_flight_finds_nothing) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/p"), ZK_OK);
    ck_assert_int_eq(container(h, c, "/p/c"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/p/c/x"), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/p/c/x", -1), ZK_OK);
    h->hold_log = true;
    rounds(h, 2);
    h_send_create(h, c, 1, "/p/c/y", "", 0);
    send_container(h, c, 2, "/p/c", CREATE_CONTAINER);
    h_send_delete(h, c, 3, "/p/c", -1);
    h_send_delete(h, c, 4, "/p", -1);
    h->hold_log = false;
    h_sync(h);
    ck_assert_int_eq(h_err(h, c, 1), ZK_NONODE);
    for (int32_t xid = 2; xid <= 4; xid++)
        ck_assert_int_eq(h_err(h, c, xid), ZK_OK);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    h_free(h);
}
END_TEST

START_TEST(no_session_owns_them) {
    struct harness *h = started();
    conn_id_t c = h_client(h), other = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 1000000), ZK_OK);
    ck_assert_uint_eq(tree_ephemeral_count(h->r->tree), 0);
    ck_assert_uint_eq(tree_owner_count(h->r->tree), 0);
    ck_assert_uint_eq(pending_owner_bytes(h->r->pending, h->conns[c].session), 0);
    h_send_path(h, c, 3, OP_GET_EPHEMERALS, "/", false);
    ck_assert(h_take(h, c, &reply));
    struct cursor body = reply.body;
    ck_assert_int_eq(jute_read_int(&body), 0);
    h_send(h, c, 4, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_exists(h, other, "/c", NULL), ZK_OK);
    ck_assert_int_eq(h_exists(h, other, "/t", NULL), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(not_more_are_deleted_in_a_minute_than_the_key_says) {
    struct replica_config slow = config();
    slow.containers_per_minute = 60;
    struct harness *h = started_with(slow);
    conn_id_t c = h_client(h);
    char path[16];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(path, sizeof path, "/t%d", i);
        ck_assert_int_eq(ttl(h, c, path, CREATE_PERSISTENT_WITH_TTL, 1), ZK_OK);
    }
    uint64_t before = tree_znode_count(h->r->tree);
    h_advance(h, CHECK_MS + 5000 - 100);
    uint64_t gone = before - tree_znode_count(h->r->tree);
    ck_assert_uint_ge(gone, 4);
    ck_assert_uint_le(gone, 6);
    h_advance(h, 20000);
    ck_assert_uint_eq(tree_extended_count(h->r->tree), 0);
    h_free(h);
}
END_TEST

/* How many a leader with this key deletes within 60 ms. */
static uint64_t gone_in_60_ms(int32_t per_minute) {
    struct replica_config fast = config();
    fast.containers_per_minute = per_minute;
    struct harness *h = started_with(fast);
    conn_id_t c = h_client(h);
    char path[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(path, sizeof path, "/t%d", i);
        ck_assert_int_eq(ttl(h, c, path, CREATE_PERSISTENT_WITH_TTL, 1), ZK_OK);
    }
    h_advance(h, h->r->container_round_ms + 59 - h->mono_ms);
    uint64_t gone = 100 - tree_extended_count(h->r->tree);
    h_free(h);
    return gone;
}

START_TEST(not_more_than_the_key_says_when_it_says_very_many) {
    ck_assert_uint_le(gone_in_60_ms(40000), 40);
    ck_assert_uint_ge(gone_in_60_ms(40000), 20);
    ck_assert_uint_eq(gone_in_60_ms(60000), 60);
    ck_assert_uint_eq(gone_in_60_ms(INT32_MAX), 60);
}
END_TEST

/* Two come while one is deleted: the round has its end, and the next one begins at the first. */
START_TEST(a_round_ends_while_more_are_made_than_deleted) {
    struct replica_config slow = config();
    slow.containers_per_minute = 60;
    struct harness *h = started_with(slow);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/c/x"), ZK_OK);
    char path[16];
    for (int i = 0; i < 30; i++) {
        (void)snprintf(path, sizeof path, "/t%d", i);
        ck_assert_int_eq(ttl(h, c, path, CREATE_PERSISTENT_WITH_TTL, 1), ZK_OK);
        if (i == 8)
            ck_assert_int_eq(h_delete(h, c, "/c/x", -1), ZK_OK);
        h_advance(h, i < 4 ? 10 : 500);
    }
    ck_assert(!is_there(h, "/c"));
    h_free(h);
}
END_TEST

START_TEST(a_round_over_many_takes_a_bounded_piece_in_each_step) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    char path[16];
    const int count = 3 * (int)CONTAINERS_PER_STEP;
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "/c%d", i);
        ck_assert_int_eq(container(h, c, path), ZK_OK);
    }
    ck_assert_int_eq(ttl(h, c, "/last", CREATE_PERSISTENT_WITH_TTL, 1), ZK_OK);
    h_event(h, (struct event){.type = EV_TICK,
                              .mono_ms = h->mono_ms += CHECK_MS,
                              .wall_ms = h->wall_ms += CHECK_MS});
    ck_assert_uint_gt(h->r->container_left, 0);
    ck_assert_uint_eq(pending_count(h->r->pending), 0); /* it has not come to the last */
    h_advance(h, 20);
    ck_assert(!is_there(h, "/last"));
    ck_assert_uint_eq(h->r->container_left, 0);
    ck_assert_uint_eq(tree_extended_count(h->r->tree), (uint64_t)count);
    h_free(h);
}
END_TEST

START_TEST(a_start_knows_them_again) {
    struct harness *h = started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(container(h, c, "/c"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/c/x"), ZK_OK);
    ck_assert_int_eq(ttl(h, c, "/t", CREATE_PERSISTENT_WITH_TTL, 5000), ZK_OK);
    h_restart(h);
    ck_assert_int_eq(owner_of(h, "/c"), INT64_MIN);
    ck_assert_uint_eq(tree_extended_count(h->r->tree), 2);
    c = h_client(h);
    ck_assert_int_eq(h_delete(h, c, "/c/x", -1), ZK_OK);
    rounds(h, 6);
    ck_assert(!is_there(h, "/c") && !is_there(h, "/t"));
    h_restart(h);
    ck_assert(!is_there(h, "/c") && !is_there(h, "/t"));
    h_free(h);
}
END_TEST

START_TEST(no_session_is_named_as_a_container_or_a_ttl_znode) {
    struct sessions ss;
    sessions_init(&ss, 255, 2000);
    sessions_begin_ids(&ss, INT64_C(1) << 41);
    session_id_t first = session_next_id(&ss);
    ck_assert_int_eq(ephemeral_type(first), EPHEMERAL_NORMAL);
    ck_assert_int_eq((int64_t)((uint64_t)first >> 56), 255);
    ck_assert_int_eq(session_next_id(&ss), first + 1);
    sessions_close(&ss);
}
END_TEST

H_SUITE("container", createContainer_answers_path_and_stat_whatever_the_flags_are,
        createTTL_keeps_the_ttl_in_the_owner_and_refuses_what_is_none,
        without_extended_types_ttls_are_refused_and_containers_are_not,
        in_a_multi_the_flag_decides_and_these_are_answered_with_a_stat,
        a_container_goes_behind_its_last_child_and_not_before_its_first,
        a_container_that_never_had_a_child_goes_after_its_own_time,
        a_ttl_runs_from_the_last_change_of_data_and_children_stop_it,
        a_clock_that_goes_back_keeps_a_ttl_znode, what_is_in_flight_keeps_a_container,
        what_comes_behind_a_deletion_in_flight_finds_nothing, no_session_owns_them,
        not_more_are_deleted_in_a_minute_than_the_key_says,
        not_more_than_the_key_says_when_it_says_very_many,
        a_round_ends_while_more_are_made_than_deleted,
        a_round_over_many_takes_a_bounded_piece_in_each_step, a_start_knows_them_again,
        no_session_is_named_as_a_container_or_a_ttl_znode)
