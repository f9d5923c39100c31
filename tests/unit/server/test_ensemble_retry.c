/* Exactly-once retries: a write that is sent again gets its first answer, through any server. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <string.h>

static conn_id_t connect_with(struct harness *h, int32_t version, session_id_t session,
                              const uint8_t *passwd) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {.protocol_version = version,
                                        .timeout_ms = 20000,
                                        .session_id = session,
                                        .passwd = {passwd ? passwd : zeros, PASSWD_BYTES},
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t c = h_open(h);
    h_frame(h, c, b.data, b.len);
    buf_close(&b);
    return c;
}

/* The version in the answer that waits to be taken. */
static int32_t granted(struct harness *h, conn_id_t c) {
    struct cursor cur;
    ck_assert_msg(h->conns[c].in.len >= 8, "no ConnectResponse");
    cursor_init(&cur, h->conns[c].in.data + 4, 4);
    return jute_read_int(&cur);
}

static conn_id_t client(struct harness *h) {
    conn_id_t c = connect_with(h, PROTOCOL_VERSION_RETRIES, 0, NULL);
    ck_assert_int_eq(granted(h, c), PROTOCOL_VERSION_RETRIES);
    ck_assert(h_take_connect(h, c));
    return c;
}

static conn_id_t again(struct harness *at, const struct h_conn *from) {
    conn_id_t c = connect_with(at, PROTOCOL_VERSION_RETRIES, from->session, from->passwd);
    ck_assert_int_eq(granted(at, c), PROTOCOL_VERSION_RETRIES);
    ck_assert(h_take_connect(at, c));
    return c;
}

START_TEST(retries_are_granted_to_who_asks_for_them) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    (void)client(f);
    conn_id_t c = connect_with(f, 0, 0, NULL);
    ck_assert_int_eq(granted(f, c), 0);
    ck_assert(h_take_connect(f, c));
    /* They belong to the session from its beginning: later is too late. */
    conn_id_t d =
        connect_with(f, PROTOCOL_VERSION_RETRIES, f->conns[c].session, f->conns[c].passwd);
    ck_assert_int_eq(granted(f, d), 0);
    e_free(e);
}
END_TEST

START_TEST(a_write_that_was_done_is_answered_again_through_another_server) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    static struct h_reply first, second;
    conn_id_t c = client(f);
    h_send_create(f, c, 5, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert(h_take(f, c, &first));
    h_send_delete(f, c, 6, "/none", -1);
    ck_assert_int_eq(h_err(f, c, 6), ZK_NONODE);
    conn_id_t d = again(l, &f->conns[c]);
    ck_assert_int_eq(h_create(l, h_client(l), "/none"), ZK_OK);
    h_send_create(l, d, 5, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_send_delete(l, d, 6, "/none", -1);
    h_send_create(l, d, 7, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert(h_take(l, d, &second));
    ck_assert_uint_eq(first.len, second.len);
    ck_assert_mem_eq(first.bytes, second.bytes, first.len);
    ck_assert_int_eq(h_err(l, d, 6), ZK_NONODE);
    ck_assert(h_take(l, d, &second));
    ck_assert(slice_equal_str(h_string(&second), "/s-0000000002"));
    e_free(e);
}
END_TEST

START_TEST(a_write_that_was_under_way_is_answered_behind_the_reconnect) {
    struct ensemble *e = e_started(3, 0);
    size_t at = (e_index(e, e_leader(e)) + 1) % 3;
    struct harness *f = e->h[at];
    conn_id_t c = client(f);
    e_hold_disks(e, true);
    h_send_create(f, c, 5, "/a", "", 0);
    h_close(f, c);
    conn_id_t d =
        connect_with(f, PROTOCOL_VERSION_RETRIES, f->conns[c].session, f->conns[c].passwd);
    h_send_create(f, d, 5, "/a", "", 0);
    e_hold_disks(e, false);
    ck_assert(h_take_connect(f, d));
    ck_assert_int_eq(h_err(f, d, 5), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_multi_is_answered_again_with_all_its_results) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    static struct h_reply first, second;
    conn_id_t c = client(f);
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    h_multi_set(&b, "/a", "x", 0);
    h_multi_end(&b);
    h_send_bytes(f, c, 5, OP_MULTI, b.data, b.len);
    ck_assert(h_take(f, c, &first));
    conn_id_t d = again(l, &f->conns[c]);
    h_send_bytes(l, d, 5, OP_MULTI, b.data, b.len);
    ck_assert(h_take(l, d, &second));
    ck_assert_uint_eq(first.len, second.len);
    ck_assert_mem_eq(first.bytes, second.bytes, first.len);
    /* The same number with another request is none of it. */
    h_send_delete(l, d, 5, "/a", -1);
    ck_assert_int_eq(h_err(l, d, 5), ZK_RESULTFORGOTTEN);
    buf_close(&b);
    e_free(e);
}
END_TEST

START_TEST(what_is_not_kept_any_more_is_said_to_be_forgotten) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = client(f);
    for (int i = 1; i <= (int)RETRY_RESULTS_MAX + 2; i++) {
        h_send_create(f, c, i, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
        ck_assert_int_eq(h_err(f, c, i), ZK_OK);
    }
    conn_id_t d = again(l, &f->conns[c]);
    h_send_create(l, d, 1, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert_int_eq(h_err(l, d, 1), ZK_RESULTFORGOTTEN);
    h_send_create(l, d, 3, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert_int_eq(h_err(l, d, 3), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(results_come_with_a_snapshot_and_over_a_start) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = client(l);
    h_send_create(l, c, 5, "/a", "", 0);
    ck_assert_int_eq(h_err(l, c, 5), ZK_OK);
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e_until_served(e);
    conn_id_t d = again(f, &l->conns[c]);
    h_send_create(f, d, 5, "/a", "", 0);
    ck_assert_int_eq(h_err(f, d, 5), ZK_OK);
    ck_assert_int_eq(h_create(f, d, "/more"), ZK_OK);
    e_kill(e, at);
    e_revive(e, at);
    e_until_served(e);
    d = again(f, &l->conns[c]);
    h_send_create(f, d, 5, "/a", "", 0);
    ck_assert_int_eq(h_err(f, d, 5), ZK_OK);
    e_free(e);
}
END_TEST

H_SUITE("ensemble_retry", retries_are_granted_to_who_asks_for_them,
        a_write_that_was_done_is_answered_again_through_another_server,
        a_write_that_was_under_way_is_answered_behind_the_reconnect,
        a_multi_is_answered_again_with_all_its_results,
        what_is_not_kept_any_more_is_said_to_be_forgotten,
        results_come_with_a_snapshot_and_over_a_start)
