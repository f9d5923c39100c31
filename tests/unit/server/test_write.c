#include "tests/unit/server/harness.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

/* create2 with its path and Stat. */
static int create2(struct harness *h, conn_id_t c, const char *path, int32_t flags, char out[256],
                   struct zstat *ret_stat) {
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {
        .path = h_slice(path), .data = h_slice("data"), .acl = acl_view(acl), .flags = flags};
    h_send(h, c, 77, OP_CREATE2, PROTO_create_request, &req);
    blob_unref(acl);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 77);
    if (reply.err != ZK_OK)
        return reply.err;
    struct slice p = h_string(&reply);
    (void)snprintf(out, 256, "%.*s", p.len, (const char *)p.p);
    *ret_stat = h_stat(&reply);
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    return ZK_OK;
}

START_TEST(create_answers_the_path_and_its_own_zxid) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    zxid_t before = core_last_zxid(h->r);
    h_send_create(h, c, 5, "/a", "x", 0);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 5);
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert_int_eq(reply.zxid, before + 1);
    ck_assert(slice_equal_str(h_string(&reply), "/a"));
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    h_free(h);
}
END_TEST

START_TEST(create2_answers_path_and_stat) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char path[256];
    struct zstat s;
    ck_assert_int_eq(create2(h, c, "/a", 0, path, &s), ZK_OK);
    ck_assert_str_eq(path, "/a");
    ck_assert_int_eq(s.czxid, core_last_zxid(h->r));
    ck_assert_int_eq(s.mzxid, s.czxid);
    ck_assert_int_eq(s.pzxid, s.czxid);
    ck_assert_int_eq(s.ctime_ms, h->wall_ms);
    ck_assert_int_eq(s.data_length, 4);
    ck_assert_int_eq(s.version, 0);
    h_free(h);
}
END_TEST

START_TEST(an_ephemeral_shows_its_owner) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char path[256];
    struct zstat s;
    ck_assert_int_eq(create2(h, c, "/a", CREATE_EPHEMERAL, path, &s), ZK_OK);
    ck_assert_int_eq(s.ephemeral_owner, h->conns[c].session);
    h_free(h);
}
END_TEST

START_TEST(sequential_names_count_the_parents_creations_only) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char path[256];
    struct zstat s;
    ck_assert_int_eq(h_create(h, c, "/q"), ZK_OK);
    ck_assert_int_eq(create2(h, c, "/q/n-", CREATE_PERSISTENT_SEQUENTIAL, path, &s), ZK_OK);
    ck_assert_str_eq(path, "/q/n-0000000000");
    ck_assert_int_eq(h_delete(h, c, path, -1), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/q/plain"), ZK_OK);
    ck_assert_int_eq(create2(h, c, "/q/n-", CREATE_EPHEMERAL_SEQUENTIAL, path, &s), ZK_OK);
    ck_assert_str_eq(path, "/q/n-0000000002");
    ck_assert_int_eq(create2(h, c, "/q/", CREATE_PERSISTENT_SEQUENTIAL, path, &s), ZK_OK);
    ck_assert_str_eq(path, "/q/0000000003");
    ck_assert_int_eq(h_exists(h, c, "/q", &s), ZK_OK);
    ck_assert_int_eq(s.cversion, 2 * 4 - 3);
    h_free(h);
}
END_TEST

START_TEST(sequential_names_in_flight_never_collide) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    for (int i = 0; i < 20; i++)
        h_send_create(h, c, i, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_sync(h);
    for (int i = 0; i < 20; i++) {
        char want[32];
        (void)snprintf(want, sizeof want, "/s-%010d", i);
        ck_assert(h_take(h, c, &reply));
        ck_assert_int_eq(reply.xid, i);
        ck_assert(slice_equal_str(h_string(&reply), want));
    }
    h_free(h);
}
END_TEST

START_TEST(null_data_and_empty_data_stay_apart) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char data[64];
    int32_t len;
    h_send_create(h, c, 1, "/null", NULL, 0);
    h_send_create(h, c, 2, "/empty", "", 0);
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(h_get(h, c, "/null", data, &len), ZK_OK);
        ck_assert_int_eq(len, -1);
        ck_assert_int_eq(h_get(h, c, "/empty", data, &len), ZK_OK);
        ck_assert_int_eq(len, 0);
        h_restart(h);
        c = h_client(h);
    }
    ck_assert_int_eq(h_set(h, c, "/empty", NULL, -1), ZK_OK);
    ck_assert_int_eq(h_get(h, c, "/empty", data, &len), ZK_OK);
    ck_assert_int_eq(len, -1);
    h_free(h);
}
END_TEST

START_TEST(create_refuses_in_the_peers_order) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    static const struct {
        const char *path;
        int32_t flags, err;
    } cases[] = {
        {"/a", 0, ZK_NODEEXISTS},
        {"/", 0, ZK_NODEEXISTS},
        {"/zookeeper", 0, ZK_NODEEXISTS},
        {"/zookeeper/quota", 0, ZK_NODEEXISTS},
        {"/zookeeper/config", 0, ZK_NODEEXISTS},
        {"/no/child", 0, ZK_NONODE},
        {"/e/child", 0, ZK_NOCHILDRENFOREPHEMERALS},
        {"", 0, ZK_BADARGUMENTS},
        {"a", 0, ZK_BADARGUMENTS},
        {"a/b", 0, ZK_NONODE},
        {"/a/", 0, ZK_BADARGUMENTS},
        {"/no/", 0, ZK_NONODE},
        {"//a", 0, ZK_BADARGUMENTS},
        {"/a//b", 0, ZK_NONODE},
        {"/a/.", 0, ZK_BADARGUMENTS},
        {"/a/..", 0, ZK_BADARGUMENTS},
        {"/a/\x01", 0, ZK_BADARGUMENTS},
        {"/a/\xff", 0, ZK_BADARGUMENTS},
        {"/x", 7, ZK_BADARGUMENTS},
        {"/x", -1, ZK_BADARGUMENTS},
        {"/x", CREATE_PERSISTENT_WITH_TTL, ZK_UNIMPLEMENTED},
        {NULL, 0, ZK_MARSHALLINGERROR},
        {NULL, 9, ZK_BADARGUMENTS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(h_create_mode(h, c, cases[i].path, cases[i].flags) == cases[i].err,
                      "case %zu %s", i, cases[i].path);
    h_free(h);
}
END_TEST

START_TEST(an_empty_or_unknown_acl_is_refused_before_the_parent_is_looked_for) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_create_request req = {.path = h_slice("/no/x"), .acl = {0, {NULL, 0}}};
    h_send(h, c, 1, OP_CREATE, PROTO_create_request, &req);
    ck_assert_int_eq(h_err(h, c, 1), ZK_INVALIDACL);
    req.acl.count = -1;
    h_send(h, c, 2, OP_CREATE, PROTO_create_request, &req);
    ck_assert_int_eq(h_err(h, c, 2), ZK_INVALIDACL);
    h_free(h);
}
END_TEST

START_TEST(delete_refuses_in_the_peers_order) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/a/b"), ZK_OK);
    static const struct {
        const char *path;
        int32_t version, err;
    } cases[] = {
        {"/", -1, ZK_BADARGUMENTS},
        {"/zookeeper", -1, ZK_BADARGUMENTS},
        {"/zookeeper/quota", -1, ZK_BADARGUMENTS},
        {"/zookeeper/config", -1, ZK_BADARGUMENTS},
        {"", -1, ZK_BADARGUMENTS},
        {"a", -1, ZK_BADARGUMENTS},
        {"/no", -1, ZK_NONODE},
        {"/no/no", -1, ZK_NONODE},
        {"/a/", -1, ZK_NONODE},
        {"/a", 3, ZK_BADVERSION},
        {"/a", -1, ZK_NOTEMPTY},
        {"/a", 0, ZK_NOTEMPTY},
        {"/a", -2, ZK_BADVERSION},
        {NULL, -1, ZK_MARSHALLINGERROR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(h_delete(h, c, cases[i].path, cases[i].version) == cases[i].err, "case %zu",
                      i);
    ck_assert_int_eq(h_delete(h, c, "/a/b", 0), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/a", 0), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(set_data_counts_versions_and_refuses_in_the_peers_order) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h->wall_ms += 50;
    h_send_set(h, c, 1, "/a", "12345", 0);
    ck_assert(h_take(h, c, &reply));
    struct zstat s = h_stat(&reply);
    ck_assert_int_eq(s.version, 1);
    ck_assert_int_eq(s.data_length, 5);
    ck_assert_int_eq(s.mzxid, reply.zxid);
    ck_assert_int_eq(s.mtime_ms, s.ctime_ms + 50);
    static const struct {
        const char *path;
        int32_t version, err;
    } cases[] = {
        {"/a", 0, ZK_BADVERSION},
        {"/a", -2, ZK_BADVERSION},
        {"/no", -1, ZK_NONODE},
        {"a", -1, ZK_BADARGUMENTS},
        {"", -1, ZK_BADARGUMENTS},
        {NULL, -1, ZK_BADARGUMENTS},
        {"/a/", -1, ZK_BADARGUMENTS},
        {"/", -1, ZK_OK},
        {"/zookeeper/config", -1, ZK_NOAUTH},
        {"/a", 1, ZK_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(h_set(h, c, cases[i].path, "v", cases[i].version) == cases[i].err, "case %zu",
                      i);
    h_free(h);
}
END_TEST

/* A log whose first znode has a version near the end of the count. */
static struct harness *with_version(int32_t version) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/v"), ZK_OK);
    struct txn *t = txn_new(TXN_OPS, 1);
    t->ops[0] = (struct txn_op){.type = TXN_OP_SET_DATA, .version = version};
    t->ops[0].path = blob_new("/v", 2);
    struct blob *b = txn_encode(t);
    txn_free(t);
    h_append_record(h, b);
    h_restart(h);
    return h;
}

START_TEST(the_version_skips_minus_one_which_means_any) {
    struct harness *h = with_version(-2);
    conn_id_t c = h_client(h);
    struct zstat s;
    ck_assert_int_eq(h_set(h, c, "/v", "x", -2), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/v", &s), ZK_OK);
    ck_assert_int_eq(s.version, 0);
    h_free(h);
    h = with_version(INT32_MAX);
    c = h_client(h);
    ck_assert_int_eq(h_set(h, c, "/v", "x", INT32_MAX), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/v", &s), ZK_OK);
    ck_assert_int_eq(s.version, INT32_MIN);
    h_free(h);
}
END_TEST

START_TEST(a_refusal_is_a_transaction_with_its_own_zxid) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    size_t records = h->log_count;
    zxid_t before = core_last_zxid(h->r);
    h_send_delete(h, c, 3, "/no", -1);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.err, ZK_NONODE);
    ck_assert_int_eq(reply.zxid, before + 1);
    ck_assert_uint_eq(h->log_count, records + 1);
    struct txn *t = txn_decode(blob_slice(h->log[records].payload), h->log[records].zxid);
    ck_assert_int_eq(t->type, TXN_ERROR);
    ck_assert_int_eq(t->err, ZK_NONODE);
    ck_assert_int_eq(t->session_id, h->conns[c].session);
    ck_assert_int_eq(t->cxid, 3);
    txn_free(t);
    h_free(h);
}
END_TEST

START_TEST(preparation_sees_what_is_in_flight) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    h_send_create(h, a, 1, "/p", "", 0);
    h_send_create(h, b, 1, "/p", "", 0);
    h_send_create(h, b, 2, "/p/c", "", 0);
    h_send_delete(h, a, 2, "/p", -1);
    h_send_set(h, a, 3, "/p", "x", 0);
    h_send_set(h, b, 3, "/p", "y", 0);
    h_send_delete(h, b, 4, "/p/c", -1);
    h_send_delete(h, b, 5, "/p", 1);
    h_send_create(h, a, 4, "/p", "again", 0);
    h_send_set(h, a, 5, "/p", "z", 0);
    h_sync(h);
    static const int want_a[] = {ZK_OK, ZK_NOTEMPTY, ZK_OK, ZK_OK, ZK_OK};
    static const int want_b[] = {ZK_NODEEXISTS, ZK_OK, ZK_BADVERSION, ZK_OK, ZK_OK};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(h_err(h, a, i + 1), want_a[i]);
        ck_assert_int_eq(h_err(h, b, i + 1), want_b[i]);
    }
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    h_free(h);
}
END_TEST

START_TEST(a_commit_does_not_hide_what_later_proposals_did) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h->hold_log = true;
    h_send_set(h, c, 1, "/a", "1", 0);
    zxid_t first = h->log[h->log_count - 1].zxid;
    h_send_set(h, c, 2, "/a", "2", 1);
    h_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = first});
    h->synced++;
    h_send_set(h, c, 3, "/a", "3", 2);
    h_sync(h);
    for (int xid = 1; xid <= 3; xid++)
        ck_assert_int_eq(h_err(h, c, xid), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(set_acl_counts_its_own_version) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    h_send_set_acl(h, c, 1, "/a", "world:anyone:cdra", 5);
    ck_assert_int_eq(h_err(h, c, 1), ZK_BADVERSION);
    h_send_set_acl(h, c, 2, "/a", "world:anyone:cdra", 0);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.err, ZK_OK);
    struct zstat s = h_stat(&reply);
    ck_assert_int_eq(s.aversion, 1);
    ck_assert_int_eq(s.version, 0);
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_NOAUTH);
    h_send_set_acl(h, c, 3, "/no", "world:anyone:cdra", -1);
    ck_assert_int_eq(h_err(h, c, 3), ZK_NONODE);
    h_send_set_acl(h, c, 4, "a", "world:anyone:cdra", -1);
    ck_assert_int_eq(h_err(h, c, 4), ZK_BADARGUMENTS);
    h_free(h);
}
END_TEST

START_TEST(a_record_that_cannot_be_decoded_is_a_marshalling_error_at_every_length) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request create = {
        .path = h_slice("/t"), .data = h_slice("dd"), .acl = acl_view(acl)};
    struct proto_set_data_request set = {.path = h_slice("/"), .data = h_slice("x"), .version = -1};
    struct proto_delete_request del = {.path = h_slice("/zz"), .version = -1};
    struct proto_set_acl_request set_acl = {
        .path = h_slice("/"), .acl = acl_view(acl), .version = -1};
    const struct {
        int32_t opcode;
        enum proto_record record;
        const void *rec;
    } cases[] = {{OP_CREATE, PROTO_create_request, &create},
                 {OP_CREATE2, PROTO_create_request, &create},
                 {OP_SET_DATA, PROTO_set_data_request, &set},
                 {OP_DELETE, PROTO_delete_request, &del},
                 {OP_SET_ACL, PROTO_set_acl_request, &set_acl}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = BUF_INIT;
        proto_encode(&b, cases[i].record, cases[i].rec);
        for (size_t n = 0; n < b.len; n++) {
            h_send_bytes(h, c, (int32_t)n, cases[i].opcode, b.data, n);
            ck_assert_int_eq(h_err(h, c, (int32_t)n), ZK_MARSHALLINGERROR);
        }
        buf_close(&b);
    }
    ck_assert_int_eq(h_exists(h, c, "/t", NULL), ZK_NONODE);
    blob_unref(acl);
    h_free(h);
}
END_TEST

START_TEST(reconfig_is_refused_and_the_connection_stays) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    static const uint8_t reconfig[20];
    h_send_bytes(h, c, 3, OP_RECONFIG, reconfig, sizeof reconfig);
    ck_assert_int_eq(h_err(h, c, 3), ZK_RECONFIGDISABLED);
    h_send_bytes(h, c, 4, OP_RECONFIG, reconfig, 3);
    ck_assert_int_eq(h_err(h, c, 4), ZK_MARSHALLINGERROR);
    ck_assert(!h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(a_check_of_its_own_is_answered_without_a_record) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    struct proto_check_version_request req = {.path = h_slice("/"), .version = 0};
    h_send(h, c, 1, OP_CHECK, PROTO_check_version_request, &req);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.err, ZK_OK);
    ck_assert_uint_eq(cursor_left(&reply.body), 0);
    req.version = 4;
    h_send(h, c, 2, OP_CHECK, PROTO_check_version_request, &req);
    ck_assert_int_eq(h_err(h, c, 2), ZK_BADVERSION);
    h_free(h);
}
END_TEST

H_SUITE("write", create_answers_the_path_and_its_own_zxid, create2_answers_path_and_stat,
        an_ephemeral_shows_its_owner, sequential_names_count_the_parents_creations_only,
        sequential_names_in_flight_never_collide, null_data_and_empty_data_stay_apart,
        create_refuses_in_the_peers_order,
        an_empty_or_unknown_acl_is_refused_before_the_parent_is_looked_for,
        delete_refuses_in_the_peers_order, set_data_counts_versions_and_refuses_in_the_peers_order,
        the_version_skips_minus_one_which_means_any, a_refusal_is_a_transaction_with_its_own_zxid,
        preparation_sees_what_is_in_flight, a_commit_does_not_hide_what_later_proposals_did,
        set_acl_counts_its_own_version,
        a_record_that_cannot_be_decoded_is_a_marshalling_error_at_every_length,
        reconfig_is_refused_and_the_connection_stays,
        a_check_of_its_own_is_answered_without_a_record)
