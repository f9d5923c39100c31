/* Read-only mode: without a quorum, clients that ask for it read. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <string.h>

static void with_read_only(struct replica_config *config) { config->read_only_mode = true; }

static struct ensemble *started(void) {
    struct ensemble *e = e_new(3, 0);
    e->configure = with_read_only;
    e_start(e);
    return e;
}

static conn_id_t connect_as(struct harness *h, bool read_only, session_id_t session,
                            const uint8_t *passwd, zxid_t seen) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {.timeout_ms = 20000,
                                        .session_id = session,
                                        .passwd = {passwd ? passwd : zeros, PASSWD_BYTES},
                                        .last_zxid_seen = seen,
                                        .read_only = read_only,
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t c = h_open(h);
    h_frame(h, c, b.data, b.len);
    buf_close(&b);
    return c;
}

/* The answer says that it is read-only; its session. */
static session_id_t take_read_only(struct harness *h, conn_id_t c) {
    struct h_conn *conn = &h->conns[c];
    ck_assert_msg(conn->in.len >= 4 + 37, "no ConnectResponse");
    struct cursor cur;
    struct proto_connect_response resp;
    cursor_init(&cur, conn->in.data + 4, 37);
    ck_assert(proto_decode(&cur, PROTO_connect_response, &resp));
    ck_assert(resp.has_read_only);
    ck_assert(resp.read_only);
    memcpy(conn->passwd, resp.passwd.p, PASSWD_BYTES);
    conn->session = resp.session_id;
    buf_consume(&conn->in, 4 + 37);
    return resp.session_id;
}

static const char *word(struct harness *h, const char *name) {
    conn_id_t c = h_open(h);
    h_word(h, c, name);
    return h_text(h, c);
}

/* A follower alone, for longer than `hold`. */
static struct harness *alone(struct ensemble *e) {
    struct harness *f = e_follower(e);
    e_isolate(e, e_index(e, f));
    e_advance(e, 1100);
    ck_assert(!f->r->serving);
    return f;
}

START_TEST(without_a_quorum_a_client_that_asks_for_it_reads) {
    struct ensemble *e = started();
    conn_id_t w = h_client(e_leader(e));
    ck_assert_int_eq(h_create(e_leader(e), w, "/a"), ZK_OK);
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    session_id_t id = take_read_only(f, c);
    ck_assert_int_eq((uint64_t)id >> 56, f->config.server_id);
    ck_assert_int_eq(h_exists(f, c, "/a", NULL), ZK_OK);
    h_send(f, c, XID_PING, OP_PING, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(f, c, XID_PING), ZK_OK);
    ck_assert_int_eq(h_create(f, c, "/b"), ZK_NOTREADONLY);
    ck_assert_int_eq(h_delete(f, c, "/a", -1), ZK_NOTREADONLY);
    h_send_path(f, c, 5, OP_SYNC, "/", false);
    ck_assert_int_eq(h_err(f, c, 5), ZK_NOTREADONLY);
    h_send_bytes(f, c, 6, OP_MULTI, "", 0);
    ck_assert_int_eq(h_err(f, c, 6), ZK_NOTREADONLY);
    ck_assert_int_eq(h_exists(f, c, "/a", NULL), ZK_OK);
    ck_assert(!f->conns[c].closed);
    ck_assert_uint_eq(f->r->sessions.count, 1);
    e_free(e);
}
END_TEST

START_TEST(who_does_not_ask_for_it_is_closed) {
    struct ensemble *e = started();
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, false, 0, NULL, 0), d = connect_as(f, true, 0, NULL, INT64_MAX);
    ck_assert(f->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[c].why, "no quorum"));
    ck_assert(f->conns[d].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[d].why, "seen more"));
    h_expect_nothing(f, c);
    h_expect_nothing(f, d);
    e_free(e);
}
END_TEST

START_TEST(words_say_read_only) {
    struct ensemble *e = started();
    struct harness *f = alone(e);
    ck_assert_ptr_nonnull(strstr(word(f, "isro"), "ro"));
    ck_assert_ptr_nonnull(strstr(word(f, "srvr"), "Mode: read-only\n"));
    ck_assert_ptr_nonnull(strstr(word(f, "mntr"), "zk_server_state\tread-only\n"));
    ck_assert_ptr_nonnull(strstr(word(e_leader(e), "isro"), "rw"));
    e_free(e);
}
END_TEST

START_TEST(when_a_quorum_is_back_read_only_clients_are_closed) {
    struct ensemble *e = started();
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    (void)take_read_only(f, c);
    e_rejoin(e, e_index(e, f));
    e_until_served(e);
    ck_assert(f->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[c].why, "quorum is back"));
    /* The session of its own is none of the ensemble's. */
    conn_id_t d = connect_as(f, true, f->conns[c].session, f->conns[c].passwd, 0);
    ck_assert(!h_take_connect(f, d));
    conn_id_t g = connect_as(f, true, 0, NULL, 0);
    ck_assert(h_take_connect(f, g));
    ck_assert_int_ne(f->conns[g].session, f->conns[c].session);
    ck_assert_int_eq(h_create(f, g, "/a"), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_real_session_reads_meanwhile_and_is_the_same_afterwards) {
    struct ensemble *e = started();
    struct harness *l = e_leader(e), *f = e_follower(e);
    conn_id_t old = h_client(l);
    ck_assert_int_eq(h_create_mode(l, old, "/e", CREATE_EPHEMERAL), ZK_OK);
    (void)alone(e);
    conn_id_t c =
        connect_as(f, true, l->conns[old].session, l->conns[old].passwd, core_last_zxid(f->r));
    ck_assert_int_eq(take_read_only(f, c), l->conns[old].session);
    ck_assert_int_eq(h_exists(f, c, "/e", NULL), ZK_OK);
    h_send(f, c, 9, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(f, c, 9), ZK_NOTREADONLY);
    ck_assert(f->conns[c].closed);
    e_rejoin(e, e_index(e, f));
    e_until_served(e);
    conn_id_t d = connect_as(f, true, l->conns[old].session, l->conns[old].passwd, 0);
    ck_assert(h_take_connect(f, d));
    ck_assert_int_eq(f->conns[d].session, l->conns[old].session);
    ck_assert_int_eq(h_exists(f, d, "/e", NULL), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_wrong_password_is_refused_without_a_quorum_too) {
    struct ensemble *e = started();
    conn_id_t old = h_client(e_leader(e));
    session_id_t id = e_leader(e)->conns[old].session;
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, true, id, NULL, 0);
    ck_assert(f->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[c].why, "wrong password"));
    e_free(e);
}
END_TEST

START_TEST(its_own_session_can_be_closed) {
    struct ensemble *e = started();
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    (void)take_read_only(f, c);
    h_send(f, c, 9, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(f, c, 9), ZK_OK);
    ck_assert(f->conns[c].closed);
    e_free(e);
}
END_TEST

START_TEST(who_waits_for_a_leader_in_vain_may_read) {
    struct ensemble *e = started();
    struct harness *f = e_follower(e);
    conn_id_t live = h_client(f);
    e_isolate(e, e_index(e, f));
    e_settle(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0), d = connect_as(f, false, 0, NULL, 0);
    h_expect_nothing(f, c);
    e_advance(e, 1100);
    (void)take_read_only(f, c);
    ck_assert(f->conns[d].closed);
    ck_assert(f->conns[live].closed);
    ck_assert_int_eq(h_exists(f, c, "/", NULL), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_server_that_never_had_a_quorum_since_its_start_takes_readers) {
    struct ensemble *e = started();
    struct harness *f = e_follower(e);
    size_t at = e_index(e, f);
    conn_id_t w = h_client(f);
    ck_assert_int_eq(h_create(f, w, "/a"), ZK_OK); /* so that its log knows what is committed */
    e_kill(e, at);
    for (size_t k = 0; k < 3; k++) {
        if (k != at)
            e_cut(e, at, k);
    }
    e_revive(e, at);
    conn_id_t early = connect_as(f, true, 0, NULL, 0);
    ck_assert(f->conns[early].closed);
    e_advance(e, 1000);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    (void)take_read_only(f, c);
    e_free(e);
}
END_TEST

START_TEST(without_the_mode_nobody_is_taken) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = alone(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    ck_assert(f->conns[c].closed);
    ck_assert_str_eq(word(f, "isro"), "null");
    e_free(e);
}
END_TEST

START_TEST(a_quorum_gives_a_client_that_may_read_only_an_ordinary_session) {
    struct ensemble *e = started();
    struct harness *f = e_follower(e);
    conn_id_t c = connect_as(f, true, 0, NULL, 0);
    ck_assert(h_take_connect(f, c)); /* it asserts that the answer is not read-only */
    ck_assert_int_eq(h_create(f, c, "/a"), ZK_OK);
    e_free(e);
}
END_TEST

H_SUITE("read_only", without_a_quorum_a_client_that_asks_for_it_reads,
        who_does_not_ask_for_it_is_closed, words_say_read_only,
        when_a_quorum_is_back_read_only_clients_are_closed,
        a_real_session_reads_meanwhile_and_is_the_same_afterwards,
        a_wrong_password_is_refused_without_a_quorum_too, its_own_session_can_be_closed,
        who_waits_for_a_leader_in_vain_may_read,
        a_server_that_never_had_a_quorum_since_its_start_takes_readers,
        without_the_mode_nobody_is_taken,
        a_quorum_gives_a_client_that_may_read_only_an_ordinary_session)
