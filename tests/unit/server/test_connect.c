#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <string.h>

/* Sends a ConnectRequest of 44 bytes, without the read_only byte. */
static void send_old_connect(struct harness *h, conn_id_t conn, session_id_t session) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {
        .timeout_ms = 10000, .session_id = session, .passwd = {zeros, PASSWD_BYTES}};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    ck_assert_uint_eq(b.len, 44);
    h_frame(h, conn, b.data, b.len);
    buf_close(&b);
}

static void expect_refused(struct harness *h, conn_id_t c) {
    static const uint8_t zeros[PASSWD_BYTES];
    ck_assert(!h_take_connect(h, c));
    ck_assert_int_eq(h->conns[c].timeout_ms, 0);
    ck_assert_int_eq(h->conns[c].session, 0);
    ck_assert_mem_eq(h->conns[c].passwd, zeros, PASSWD_BYTES);
    ck_assert(h->conns[c].closed);
}

START_TEST(a_client_without_the_read_only_byte_gets_an_answer_without_it) {
    struct harness *h = h_started();
    conn_id_t c = h_open(h);
    send_old_connect(h, c, 0);
    ck_assert_uint_eq(h->conns[c].in.len, 4 + 36);
    h_free(h);
}
END_TEST

START_TEST(an_old_client_is_refused_without_the_byte_too) {
    struct harness *h = h_started();
    conn_id_t c = h_open(h);
    send_old_connect(h, c, 12345);
    ck_assert_uint_eq(h->conns[c].in.len, 4 + 36);
    ck_assert(h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(the_timeout_is_kept_between_its_bounds) {
    struct harness *h = h_started();
    static const int32_t cases[][2] = {{0, 4000},    {-5, 4000},     {3999, 4000},
                                       {4000, 4000}, {17000, 17000}, {40001, 40000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        conn_id_t c = h_client_timeout(h, cases[i][0]);
        ck_assert_int_eq(h->conns[c].timeout_ms, cases[i][1]);
    }
    h_free(h);
}
END_TEST

START_TEST(a_client_that_has_seen_more_is_closed_without_an_answer) {
    struct harness *h = h_started();
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, core_last_zxid(h->r) + 1);
    ck_assert(h->conns[c].closed);
    h_expect_nothing(h, c);
    c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, core_last_zxid(h->r));
    ck_assert(h_take_connect(h, c));
    h_free(h);
}
END_TEST

START_TEST(a_session_is_answered_only_when_it_is_durable) {
    struct harness *h = h_started();
    h->hold_log = true;
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    h_expect_nothing(h, c);
    h_sync(h);
    ck_assert(h_take_connect(h, c));
    h_free(h);
}
END_TEST

START_TEST(what_is_sent_right_behind_the_connect_request_is_answered_behind_it) {
    struct harness *h = h_started();
    h->hold_log = true;
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    h_send_create(h, c, 1, "/e", "", CREATE_EPHEMERAL);
    h_send_path(h, c, 2, OP_EXISTS, "/e", false);
    h_sync(h);
    ck_assert(h_take_connect(h, c));
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(an_unknown_session_is_refused_with_zeros_and_closed) {
    struct harness *h = h_started();
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0x1234, NULL, 0);
    expect_refused(h, c);
    h_free(h);
}
END_TEST

START_TEST(a_wrong_password_is_refused_and_the_owner_stays_connected) {
    struct harness *h = h_started();
    conn_id_t owner = h_client(h);
    uint8_t passwd[PASSWD_BYTES];
    for (int bit = 0; bit < PASSWD_BYTES * 8; bit += 7) {
        memcpy(passwd, h->conns[owner].passwd, sizeof passwd);
        passwd[bit / 8] ^= (uint8_t)(1 << bit % 8);
        conn_id_t c = h_open(h);
        h_send_connect(h, c, 10000, h->conns[owner].session, passwd, 0);
        expect_refused(h, c);
    }
    ck_assert(!h->conns[owner].closed);
    ck_assert_int_eq(h_exists(h, owner, "/", NULL), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_password_of_another_length_is_refused) {
    struct harness *h = h_started();
    conn_id_t owner = h_client(h);
    for (int32_t len = -1; len <= PASSWD_BYTES - 1; len += 4) {
        struct proto_connect_request req = {.timeout_ms = 10000,
                                            .session_id = h->conns[owner].session,
                                            .passwd = {h->conns[owner].passwd, len},
                                            .has_read_only = true};
        struct buf b = BUF_INIT;
        proto_encode(&b, PROTO_connect_request, &req);
        conn_id_t c = h_open(h);
        h_frame(h, c, b.data, b.len);
        buf_close(&b);
        expect_refused(h, c);
    }
    h_free(h);
}
END_TEST

START_TEST(passwords_differ_by_session_and_by_ensemble) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    ck_assert(memcmp(h->conns[a].passwd, h->conns[b].passwd, PASSWD_BYTES) != 0);
    struct harness *other = h_new(NULL);
    other->random_byte = 99;
    h_start(other);
    conn_id_t c = h_client(other);
    ck_assert_int_eq(other->conns[c].session, h->conns[a].session);
    ck_assert(memcmp(h->conns[a].passwd, other->conns[c].passwd, PASSWD_BYTES) != 0);
    h_free(other);
    h_free(h);
}
END_TEST

START_TEST(a_session_that_comes_back_moves_to_the_new_connection) {
    struct harness *h = h_started();
    conn_id_t old = h_client(h);
    ck_assert_int_eq(h_create_mode(h, old, "/e", CREATE_EPHEMERAL), ZK_OK);
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 20000, h->conns[old].session, h->conns[old].passwd, 0);
    ck_assert(h_take_connect(h, c));
    ck_assert(h->conns[old].closed);
    ck_assert_int_eq(h->conns[c].session, h->conns[old].session);
    ck_assert_mem_eq(h->conns[c].passwd, h->conns[old].passwd, PASSWD_BYTES);
    ck_assert_int_eq(h->conns[c].timeout_ms, 20000);
    ck_assert_int_eq(h_exists(h, c, "/e", NULL), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_reconnect_sees_what_its_session_wrote_before) {
    struct harness *h = h_started();
    conn_id_t old = h_client(h);
    h->hold_log = true;
    h_send_create(h, old, 1, "/a", "", 0);
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 20000, h->conns[old].session, h->conns[old].passwd, 0);
    h_send_path(h, c, 1, OP_EXISTS, "/a", false);
    h_expect_nothing(h, c);
    h_sync(h);
    ck_assert(h_take_connect(h, c));
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_session_that_ends_while_its_reconnect_waits_is_refused) {
    struct harness *h = h_started();
    conn_id_t old = h_client(h);
    h->hold_log = true;
    h_send(h, old, 2, OP_CLOSE_SESSION, PROTO_empty, NULL);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 20000, h->conns[old].session, h->conns[old].passwd, 0);
    h_expect_nothing(h, again);
    h_sync(h);
    expect_refused(h, again);
    h_free(h);
}
END_TEST

START_TEST(a_closed_session_cannot_come_back) {
    struct harness *h = h_started();
    conn_id_t old = h_client(h);
    h_send(h, old, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, old, 1), ZK_OK);
    ck_assert(h->conns[old].closed);
    ck_assert_str_eq(h->conns[old].why, "");
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 20000, h->conns[old].session, h->conns[old].passwd, 0);
    expect_refused(h, c);
    h_free(h);
}
END_TEST

START_TEST(session_ids_carry_the_server_and_never_come_again) {
    for (uint8_t id = 5; id >= 5; id = (uint8_t)(id + 125)) { /* 5, 130, 255 */
        struct replica_config config = h_config();
        config.server_id = id;
        struct harness *h = h_new(&config);
        h_start(h);
        conn_id_t a = h_client(h), b = h_client(h);
        ck_assert_uint_eq((uint64_t)h->conns[a].session >> 56, id);
        ck_assert_int_eq(h->conns[b].session, h->conns[a].session + 1);
        session_id_t last = h->conns[b].session;
        h->wall_ms -= 86400000; /* the clock was set back */
        h_restart(h);
        conn_id_t c = h_client(h);
        ck_assert_int_gt(h->conns[c].session, last);
        h_free(h);
        if (id == 255)
            break;
    }
}
END_TEST

START_TEST(a_first_frame_that_is_no_connect_request_closes_the_connection) {
    struct harness *h = h_started();
    uint8_t junk[64];
    memset(junk, 0x7f, sizeof junk);
    for (size_t n = 0; n <= sizeof junk; n += 3) {
        conn_id_t c = h_open(h);
        h_frame(h, c, junk, n);
        ck_assert(h->conns[c].closed);
        h_expect_nothing(h, c);
        h_close(h, c);
    }
    h_free(h);
}
END_TEST

START_TEST(a_connection_that_never_asks_for_a_session_is_closed_after_ten_seconds) {
    struct harness *h = h_started();
    conn_id_t c = h_open(h);
    h_advance(h, 9999);
    ck_assert(!h->conns[c].closed);
    conn_id_t later = h_open(h);
    h_advance(h, 1);
    ck_assert(h->conns[c].closed);
    ck_assert(!h->conns[later].closed);
    h_advance(h, 9999);
    ck_assert(h->conns[later].closed);
    h_free(h);
}
END_TEST

START_TEST(a_handshake_that_the_disk_does_not_let_finish_is_closed_after_ten_seconds) {
    struct harness *h = h_started();
    h->hold_log = true;
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    h_advance(h, 10000);
    ck_assert(h->conns[c].closed);
    h->hold_log = false;
    h_sync(h);
    h_free(h);
}
END_TEST

START_TEST(one_address_has_so_many_connections_and_no_more) {
    struct replica_config config = h_config();
    config.max_conns_per_ip = 3;
    struct harness *h = h_new(&config);
    h_start(h);
    static const uint8_t a[] = {1, 2, 3, 4}, b[] = {1, 2, 3, 5};
    conn_id_t first = h_open_from(h, a, 4);
    h_open_from(h, a, 4);
    h_open_from(h, a, 4);
    conn_id_t fourth = h_open_from(h, a, 4);
    ck_assert(h->conns[fourth].closed);
    ck_assert_ptr_nonnull(strstr(h->conns[fourth].why, "1.2.3.4"));
    ck_assert(!h->conns[h_open_from(h, b, 4)].closed);
    h_close(h, first);
    ck_assert(!h->conns[h_open_from(h, a, 4)].closed);
    h_free(h);
}
END_TEST

START_TEST(without_a_limit_one_address_has_as_many_as_it_likes) {
    struct replica_config config = h_config();
    config.max_conns_per_ip = 0;
    struct harness *h = h_new(&config);
    h_start(h);
    static const uint8_t a[16] = {0x20, 1};
    for (int i = 0; i < 200; i++)
        ck_assert(!h->conns[h_open_from(h, a, 16)].closed);
    h_free(h);
}
END_TEST

H_SUITE("connect", a_client_without_the_read_only_byte_gets_an_answer_without_it,
        an_old_client_is_refused_without_the_byte_too, the_timeout_is_kept_between_its_bounds,
        a_client_that_has_seen_more_is_closed_without_an_answer,
        a_session_is_answered_only_when_it_is_durable,
        what_is_sent_right_behind_the_connect_request_is_answered_behind_it,
        an_unknown_session_is_refused_with_zeros_and_closed,
        a_wrong_password_is_refused_and_the_owner_stays_connected,
        a_password_of_another_length_is_refused, passwords_differ_by_session_and_by_ensemble,
        a_session_that_comes_back_moves_to_the_new_connection,
        a_reconnect_sees_what_its_session_wrote_before,
        a_session_that_ends_while_its_reconnect_waits_is_refused, a_closed_session_cannot_come_back,
        session_ids_carry_the_server_and_never_come_again,
        a_first_frame_that_is_no_connect_request_closes_the_connection,
        a_connection_that_never_asks_for_a_session_is_closed_after_ten_seconds,
        a_handshake_that_the_disk_does_not_let_finish_is_closed_after_ten_seconds,
        one_address_has_so_many_connections_and_no_more,
        without_a_limit_one_address_has_as_many_as_it_likes)
