#include "tests/unit/server/harness.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

/* user:password and what ZooKeeper makes of it (DigestAuthenticationProvider). */
#define BOB "bob:secret"
#define BOB_ID "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="
#define SUPER "super:test"
#define SUPER_ID "super:D/InIHSb7yEEbrWz8b9l71RjZJU="

static int create_acl(struct harness *h, conn_id_t c, const char *path, const char *acl) {
    h_send_create_acl(h, c, 1, path, acl);
    return h_err(h, c, 1);
}

/* The znode's ACL as text. */
static int get_acl(struct harness *h, conn_id_t c, const char *path, char out[512]) {
    struct proto_path_request req = {.path = h_slice(path)};
    h_send(h, c, 2, OP_GET_ACL, PROTO_path_request, &req);
    ck_assert(h_take(h, c, &reply));
    if (reply.err != ZK_OK)
        return reply.err;
    struct proto_get_acl_response resp;
    ck_assert(proto_decode(&reply.body, PROTO_get_acl_response, &resp));
    struct buf text = BUF_INIT;
    acl_print(&text, &resp.acl);
    ck_assert(text.len < 511);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    buf_close(&text);
    return ZK_OK;
}

static conn_id_t as(struct harness *h, const char *auth) {
    conn_id_t c = h_client(h);
    h_send_auth(h, c, "digest", auth);
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    return c;
}

START_TEST(addauth_answers_with_zxid_zero) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h_send_auth(h, c, "digest", BOB);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, XID_AUTH);
    ck_assert_int_eq(reply.zxid, 0);
    ck_assert_int_eq(reply.err, ZK_OK);
    h_send_auth(h, c, "ip", "");
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_failed_addauth_is_answered_and_closes) {
    struct harness *h = h_started();
    static const char *const schemes[] = {"world", "sasl", "", NULL, "x509", "super", "auth"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        conn_id_t c = h_client(h);
        h_send_auth(h, c, schemes[i], "a:b");
        ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_AUTHFAILED);
        ck_assert(h->conns[c].closed);
    }
    conn_id_t c = h_client(h);
    h_send_auth(h, c, "digest", NULL);
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_AUTHFAILED);
    ck_assert_uint_eq(h->r->stats.auth_failed, 8);
    h_free(h);
}
END_TEST

START_TEST(an_addauth_that_is_cut_closes_without_an_answer) {
    struct harness *h = h_started();
    struct proto_auth_packet req = {.scheme = h_slice("digest"), .auth = h_slice(BOB)};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_auth_packet, &req);
    for (size_t n = 0; n < b.len; n++) {
        conn_id_t c = h_client(h);
        h_send_bytes(h, c, XID_AUTH, OP_AUTH, b.data, n);
        ck_assert(h->conns[c].closed);
        h_expect_nothing(h, c);
    }
    buf_close(&b);
    h_free(h);
}
END_TEST

START_TEST(identities_have_a_bound_and_the_same_one_counts_once) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char who[] = "a0:x";
    for (int i = 0; i < 100; i++) {
        h_send_auth(h, c, "digest", BOB);
        ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    }
    for (int i = 0; i < AUTH_IDS_MAX - 2; i++) {
        who[1] = (char)('0' + i);
        h_send_auth(h, c, "digest", who);
        ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    }
    h_send_auth(h, c, "digest", "one:more");
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_AUTHFAILED);
    ck_assert(h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(the_auth_scheme_becomes_the_clients_own_ids) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char acl[512];
    ck_assert_int_eq(create_acl(h, c, "/a", "auth::cdrwa"), ZK_INVALIDACL);
    c = as(h, BOB);
    ck_assert_int_eq(create_acl(h, c, "/a", "auth::cdrwa"), ZK_OK);
    ck_assert_int_eq(get_acl(h, c, "/a", acl), ZK_OK);
    ck_assert_str_eq(acl, "digest:" BOB_ID ":cdrwa");
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_OK);
    conn_id_t other = as(h, "eve:secret");
    ck_assert_int_eq(h_set(h, other, "/a", "x", -1), ZK_NOAUTH);
    h_free(h);
}
END_TEST

START_TEST(an_acl_must_be_one_that_the_schemes_know) {
    struct harness *h = h_started();
    conn_id_t c = as(h, BOB);
    static const struct {
        const char *acl;
        int err;
    } cases[] = {
        {"world:anyone:r", ZK_OK},         {"world:somebody:r", ZK_INVALIDACL},
        {"digest:a:b:r", ZK_OK},           {"digest:a:r", ZK_INVALIDACL},
        {"digest:a::r", ZK_INVALIDACL},    {"digest::b:r", ZK_OK},
        {"digest:a:b::r", ZK_OK},          {"digest:a:b:c:r", ZK_INVALIDACL},
        {"digest:::r", ZK_INVALIDACL},     {"ip:1.2.3.4:r", ZK_OK},
        {"ip:1.2.3.4/8:r", ZK_OK},         {"ip:1.2.3.4/0:r", ZK_OK},
        {"ip:1.2.3.4/32:r", ZK_OK},        {"ip:1.2.3.4/33:r", ZK_INVALIDACL},
        {"ip:1.2.3.4/:r", ZK_INVALIDACL},  {"ip:1.2.3.4/-1:r", ZK_INVALIDACL},
        {"ip:1.2.3:r", ZK_INVALIDACL},     {"ip:1.2.3.4.5:r", ZK_INVALIDACL},
        {"ip:1.2.3.256:r", ZK_INVALIDACL}, {"ip:1.2.3.+4:r", ZK_OK},
        {"ip:1.2..4:r", ZK_INVALIDACL},    {"ip:localhost:r", ZK_INVALIDACL},
        {"ip:::1:r", ZK_INVALIDACL},       {"sasl:bob:r", ZK_INVALIDACL},
        {"super::r", ZK_INVALIDACL},       {"x509:CN=b:r", ZK_INVALIDACL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int err = create_acl(h, c, "/t", cases[i].acl);
        ck_assert_msg(err == cases[i].err, "%s %d", cases[i].acl, err);
        if (err == ZK_OK)
            ck_assert_int_eq(h_delete(h, c, "/t", -1), ZK_OK);
    }
    h_free(h);
}
END_TEST

START_TEST(null_ids_and_schemes_are_refused_as_the_peer_does) {
    struct harness *h = h_started();
    conn_id_t c = as(h, BOB);
    static const struct {
        const char *scheme, *id;
        int err;
    } cases[] = {{NULL, "anyone", ZK_INVALIDACL},
                 {"world", NULL, ZK_MARSHALLINGERROR},
                 {"digest", NULL, ZK_MARSHALLINGERROR},
                 {"ip", NULL, ZK_MARSHALLINGERROR},
                 {"auth", NULL, ZK_OK},
                 {"nope", NULL, ZK_INVALIDACL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf items = BUF_INIT;
        struct acl_entry e = {PERM_ALL, h_slice(cases[i].scheme), h_slice(cases[i].id)};
        acl_append(&items, &e);
        struct proto_create_request req = {.path = h_slice("/t"),
                                           .acl = {1, {items.data, (int32_t)items.len}}};
        h_send(h, c, 1, OP_CREATE, PROTO_create_request, &req);
        ck_assert_int_eq(h_err(h, c, 1), cases[i].err);
        buf_close(&items);
    }
    h_free(h);
}
END_TEST

START_TEST(duplicates_of_an_entry_are_stored_once) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char acl[512];
    ck_assert_int_eq(create_acl(h, c, "/a", "world:anyone:cdrwa,world:anyone:r,world:anyone:cdrwa"),
                     ZK_OK);
    ck_assert_int_eq(get_acl(h, c, "/a", acl), ZK_OK);
    ck_assert_str_eq(acl, "world:anyone:cdrwa,world:anyone:r");
    h_free(h);
}
END_TEST

START_TEST(an_acl_with_too_many_entries_is_refused) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    for (int32_t n = ACL_ENTRIES_MAX; n <= ACL_ENTRIES_MAX + 1; n++) {
        struct buf items = BUF_INIT;
        for (int32_t i = 0; i < n; i++)
            acl_append(&items, &(struct acl_entry){i, h_slice("world"), h_slice("anyone")});
        struct proto_create_request req = {.path = h_slice("/t"),
                                           .acl = {n, {items.data, (int32_t)items.len}}};
        h_send(h, c, 1, OP_CREATE, PROTO_create_request, &req);
        ck_assert_int_eq(h_err(h, c, 1), n > ACL_ENTRIES_MAX ? ZK_INVALIDACL : ZK_OK);
        buf_close(&items);
    }
    h_free(h);
}
END_TEST

START_TEST(each_permission_guards_its_operation) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char data[8], acl[512];
    int32_t len;
    static const char letters[] = "cdrwa";
    for (int i = 0; i < 5; i++) {
        char text[32], path[] = "/x";
        path[1] = letters[i];
        (void)snprintf(text, sizeof text, "world:anyone:%c", letters[i]);
        /* Made open, given a child, then closed but for one permission. */
        ck_assert_int_eq(h_create(h, c, path), ZK_OK);
        char child[16];
        (void)snprintf(child, sizeof child, "%s/old", path);
        ck_assert_int_eq(h_create(h, c, child), ZK_OK);
        h_send_set_acl(h, c, 5, path, text, -1);
        ck_assert_int_eq(h_err(h, c, 5), ZK_OK);
        ck_assert_int_eq(h_delete(h, c, child, -1), letters[i] == 'd' ? ZK_OK : ZK_NOAUTH);
        (void)snprintf(child, sizeof child, "%s/new", path);
        ck_assert_int_eq(h_create(h, c, child), letters[i] == 'c' ? ZK_OK : ZK_NOAUTH);
        ck_assert_int_eq(h_get(h, c, path, data, &len), letters[i] == 'r' ? ZK_OK : ZK_NOAUTH);
        ck_assert_int_eq(h_set(h, c, path, "x", -1), letters[i] == 'w' ? ZK_OK : ZK_NOAUTH);
        ck_assert_int_eq(get_acl(h, c, path, acl),
                         letters[i] == 'r' || letters[i] == 'a' ? ZK_OK : ZK_NOAUTH);
        ck_assert_int_eq(h_exists(h, c, path, NULL), ZK_OK);
        h_send_set_acl(h, c, 5, path, "world:anyone:cdrwa", -1);
        ck_assert_int_eq(h_err(h, c, 5), letters[i] == 'a' ? ZK_OK : ZK_NOAUTH);
    }
    h_free(h);
}
END_TEST

START_TEST(the_hash_is_hidden_from_who_may_not_administer) {
    struct harness *h = h_started();
    conn_id_t bob = as(h, BOB), other = h_client(h);
    char acl[512];
    ck_assert_int_eq(create_acl(h, bob, "/a", "auth::cdrwa,world:anyone:r,ip:1.2.3.4:r"), ZK_OK);
    ck_assert_int_eq(get_acl(h, bob, "/a", acl), ZK_OK);
    ck_assert_str_eq(acl, "digest:" BOB_ID ":cdrwa,world:anyone:r,ip:1.2.3.4:r");
    ck_assert_int_eq(get_acl(h, other, "/a", acl), ZK_OK);
    ck_assert_str_eq(acl, "digest:bob:x:cdrwa,world:anyone:r,ip:1.2.3.4:r");
    h_free(h);
}
END_TEST

START_TEST(an_address_matches_by_its_first_bits) {
    struct harness *h = h_started();
    static const struct {
        const char *acl;
        uint8_t addr[4];
        bool matches;
    } cases[] = {
        {"ip:10.1.2.3:cdrwa", {10, 1, 2, 3}, true},
        {"ip:10.1.2.3:cdrwa", {10, 1, 2, 4}, false},
        {"ip:10.1.2.3/24:cdrwa", {10, 1, 2, 99}, true},
        {"ip:10.1.2.3/24:cdrwa", {10, 1, 3, 3}, false},
        {"ip:10.1.2.3/0:cdrwa", {99, 9, 9, 9}, true},
        {"ip:10.1.2.128/25:cdrwa", {10, 1, 2, 127}, false},
        {"ip:10.1.2.128/25:cdrwa", {10, 1, 2, 200}, true},
    };
    conn_id_t maker = h_client(h);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[] = "/a";
        path[1] = (char)('a' + i);
        ck_assert_int_eq(create_acl(h, maker, path, cases[i].acl), ZK_OK);
        conn_id_t c = h_open_from(h, cases[i].addr, 4);
        h_send_connect(h, c, 10000, 0, NULL, 0);
        ck_assert(h_take_connect(h, c));
        ck_assert_int_eq(h_set(h, c, path, "x", -1), cases[i].matches ? ZK_OK : ZK_NOAUTH);
    }
    h_free(h);
}
END_TEST

START_TEST(an_ipv6_client_matches_no_address) {
    struct harness *h = h_started();
    static const uint8_t addr[16] = {0x20, 1};
    conn_id_t maker = h_client(h);
    ck_assert_int_eq(create_acl(h, maker, "/a", "ip:0.0.0.0/0:cdrwa"), ZK_OK);
    conn_id_t c = h_open_from(h, addr, 16);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    ck_assert(h_take_connect(h, c));
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_NOAUTH);
    h_send(h, c, 1, OP_WHO_AM_I, PROTO_empty, NULL);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(jute_read_int(&reply.body), 1);
    (void)h_string(&reply);
    ck_assert(slice_equal_str(h_string(&reply), "2001:0:0:0:0:0:0:0"));
    h_free(h);
}
END_TEST

START_TEST(a_name_with_a_nul_is_not_the_name_before_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(create_acl(h, c, "/a", "digest:bob:B+LX:cdrwa"), ZK_OK);
    struct proto_auth_packet req = {.scheme = h_slice("digest"),
                                    .auth = {(const uint8_t *)"bob:B+LX\0:pw", 12}};
    h_send(h, c, XID_AUTH, OP_AUTH, PROTO_auth_packet, &req);
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_NOAUTH);
    h_free(h);
}
END_TEST

START_TEST(the_super_user_may_everything) {
    struct replica_config config = h_config();
    config.super_digest = SUPER_ID;
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t bob = as(h, BOB), super = as(h, SUPER), wrong = as(h, "super:wrong");
    char acl[512];
    ck_assert_int_eq(create_acl(h, bob, "/a", "auth::cdrwa"), ZK_OK);
    ck_assert_int_eq(h_set(h, wrong, "/a", "x", -1), ZK_NOAUTH);
    ck_assert_int_eq(h_set(h, super, "/a", "x", -1), ZK_OK);
    ck_assert_int_eq(get_acl(h, super, "/a", acl), ZK_OK);
    ck_assert_str_eq(acl, "digest:" BOB_ID ":cdrwa");
    ck_assert_int_eq(h_set(h, super, "/zookeeper/config", "x", -1), ZK_OK);
    ck_assert_int_eq(create_acl(h, super, "/b", "auth::r"), ZK_OK);
    ck_assert_int_eq(get_acl(h, super, "/b", acl), ZK_OK);
    ck_assert_str_eq(acl, "digest:" SUPER_ID ":r");
    h_free(h);
}
END_TEST

START_TEST(without_a_super_digest_there_is_no_super_user) {
    struct harness *h = h_started();
    conn_id_t bob = as(h, BOB), super = as(h, SUPER);
    ck_assert_int_eq(create_acl(h, bob, "/a", "auth::cdrwa"), ZK_OK);
    ck_assert_int_eq(h_set(h, super, "/a", "x", -1), ZK_NOAUTH);
    h_free(h);
}
END_TEST

START_TEST(skip_acl_asks_nobody) {
    struct replica_config config = h_config();
    config.skip_acl = true;
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(create_acl(h, c, "/a", "digest:" BOB_ID ":r"), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(an_addauth_counts_for_what_comes_after_it_only) {
    struct harness *h = h_started();
    conn_id_t bob = as(h, BOB), c = h_client(h);
    ck_assert_int_eq(create_acl(h, bob, "/a", "auth::cdrwa"), ZK_OK);
    h->hold_log = true;
    h_send_create(h, c, 1, "/w", "", 0);
    h_send_path(h, c, 2, OP_GET_DATA, "/a", false);
    h_send_auth(h, c, "digest", BOB);
    h_send_path(h, c, 3, OP_GET_DATA, "/a", false);
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK); /* at once */
    h_sync(h);
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 2), ZK_NOAUTH);
    ck_assert_int_eq(h_err(h, c, 3), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(an_addauth_right_behind_the_connect_request_is_answered_behind_it) {
    struct harness *h = h_started();
    conn_id_t bob = as(h, BOB);
    ck_assert_int_eq(create_acl(h, bob, "/a", "auth::cdrwa"), ZK_OK);
    h->hold_log = true;
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    h_send_auth(h, c, "digest", BOB);
    h_send_set(h, c, 1, "/a", "x", -1);
    h_expect_nothing(h, c);
    conn_id_t wrong = h_open(h);
    h_send_connect(h, wrong, 10000, 0, NULL, 0);
    h_send_auth(h, wrong, "nope", BOB);
    h_send_set(h, wrong, 1, "/a", "x", -1);
    h_sync(h);
    ck_assert(h_take_connect(h, c));
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert(h_take_connect(h, wrong));
    ck_assert_int_eq(h_err(h, wrong, XID_AUTH), ZK_AUTHFAILED);
    ck_assert(h->conns[wrong].closed);
    h_expect_nothing(h, wrong);
    h_free(h);
}
END_TEST

H_SUITE("auth", addauth_answers_with_zxid_zero, a_failed_addauth_is_answered_and_closes,
        an_addauth_that_is_cut_closes_without_an_answer,
        identities_have_a_bound_and_the_same_one_counts_once,
        the_auth_scheme_becomes_the_clients_own_ids, an_acl_must_be_one_that_the_schemes_know,
        null_ids_and_schemes_are_refused_as_the_peer_does, duplicates_of_an_entry_are_stored_once,
        an_acl_with_too_many_entries_is_refused, each_permission_guards_its_operation,
        the_hash_is_hidden_from_who_may_not_administer, an_address_matches_by_its_first_bits,
        an_ipv6_client_matches_no_address, a_name_with_a_nul_is_not_the_name_before_it,
        the_super_user_may_everything, without_a_super_digest_there_is_no_super_user,
        skip_acl_asks_nobody, an_addauth_counts_for_what_comes_after_it_only,
        an_addauth_right_behind_the_connect_request_is_answered_behind_it)
