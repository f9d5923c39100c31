/* Sessions of an ensemble expire by the leader's clock alone, from what learners tell. */
#include "tests/unit/server/ensemble.h"

#include "tests/lib/unit.h"

#include <string.h>

static void ping(struct harness *h, conn_id_t c) {
    h_send(h, c, XID_PING, OP_PING, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, c, XID_PING), ZK_OK);
}

START_TEST(a_silent_session_at_a_follower_expires_and_its_connection_is_closed) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client_timeout(f, 4000), d = h_client(l);
    ck_assert_int_eq(h_create_mode(f, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    e_advance(e, 3900);
    ping(l, d);
    ck_assert_int_eq(h_exists(l, d, "/e", NULL), ZK_OK);
    e_advance(e, 4000);
    ck_assert(f->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[c].why, "expired"));
    ck_assert_int_eq(h_exists(l, d, "/e", NULL), ZK_NONODE);
    ck_assert_uint_eq(f->r->sessions.count, 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_session_that_pings_its_follower_lives) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client_timeout(f, 4000);
    for (int i = 0; i < 20; i++) {
        e_advance(e, 1333);
        ping(f, c);
    }
    ck_assert(!f->conns[c].closed);
    ck_assert_uint_eq(f->r->sessions.count, 1);
    e_free(e);
}
END_TEST

START_TEST(a_new_leader_gives_every_session_its_whole_timeout) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client_timeout(f, 6000);
    h_close(f, c); /* nobody hears of it any more */
    e_advance(e, 5000);
    e_kill(e, e_index(e, l));
    e_until_served(e);
    int64_t since = f->mono_ms;
    while (f->r->sessions.count > 0)
        e_advance(e, 100);
    ck_assert_int_ge(f->mono_ms - since, 5900);
    ck_assert_int_le(f->mono_ms - since, 8100);
    e_free(e);
}
END_TEST

START_TEST(a_session_heard_while_there_was_no_leader_lives_on) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client_timeout(f, 4000);
    e_kill(e, e_index(e, l));
    e_until_served(e);
    for (int i = 0; i < 10; i++) {
        e_advance(e, 1333);
        ping(f, c);
    }
    ck_assert(!f->conns[c].closed);
    e_free(e);
}
END_TEST

START_TEST(more_sessions_than_one_message_takes_are_told_of) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    static conn_id_t c[1500];
    for (size_t i = 0; i < 1500; i++) {
        uint8_t addr[4] = {10, 0, (uint8_t)(i / 50), 1};
        c[i] = h_open_from(f, addr, 4);
        h_send_connect(f, c[i], 4000, 0, NULL, 0);
        ck_assert(h_take_connect(f, c[i]));
    }
    for (int round = 0; round < 6; round++) {
        e_advance(e, 1333);
        for (size_t i = 0; i < 1500; i++)
            ping(f, c[i]);
    }
    ck_assert_uint_eq(f->r->sessions.count, 1500);
    e_free(e);
}
END_TEST

START_TEST(a_server_that_a_session_has_left_cannot_keep_it_alive) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    struct harness *a = e->h[(at + 1) % 3], *b = e->h[(at + 2) % 3];
    conn_id_t c = h_client_timeout(a, 4000);
    /* `a` does not hear of the move, but is heard. */
    e->way[at][e_index(e, a)].held = true;
    conn_id_t d = h_open(b);
    h_send_connect(b, d, 4000, a->conns[c].session, a->conns[c].passwd, 0);
    ck_assert(h_take_connect(b, d));
    struct session *s = session_find(&l->r->sessions, b->conns[d].session);
    h_close(b, d); /* and nobody else is */
    int64_t expires = s->expires_ms;
    h_send(a, c, XID_PING, OP_PING, PROTO_empty, NULL);
    e_advance(e, 1200);
    ck_assert_int_eq(s->expires_ms, expires);
    e_free(e);
}
END_TEST

START_TEST(a_close_that_was_not_committed_leaves_the_session_as_it_was) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    struct harness *f = e->h[(at + 1) % 3];
    conn_id_t c = h_client_timeout(l, 4000);
    ck_assert_int_eq(h_create_mode(l, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    e_advance(e, session_find(&l->r->sessions, l->conns[c].session)->expires_ms - l->mono_ms - 10);
    for (size_t k = 0; k < 3; k++)
        e->way[at][k].held = true;
    while (!session_find(&l->r->sessions, l->conns[c].session)->closing)
        e_advance(e, 10);
    /* Behind its end, in the leader's eyes. */
    h_send_path(l, c, 1, OP_EXISTS, "/e", false);
    h_send_create(l, c, 2, "/f", "", 0);
    e_isolate(e, at);
    for (size_t k = 0; k < 3; k++)
        e->way[at][k].held = false;
    e_advance(e, 1450);
    e_rejoin(e, at);
    e_until_served(e);
    ck_assert(!l->conns[c].closed);
    ck_assert_int_eq(h_err(l, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(l, c, 2), ZK_OK);
    ck_assert_uint_eq(f->r->sessions.count, 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("ensemble_expiry", a_silent_session_at_a_follower_expires_and_its_connection_is_closed,
        a_session_that_pings_its_follower_lives, a_new_leader_gives_every_session_its_whole_timeout,
        a_session_heard_while_there_was_no_leader_lives_on,
        more_sessions_than_one_message_takes_are_told_of,
        a_server_that_a_session_has_left_cannot_keep_it_alive,
        a_close_that_was_not_committed_leaves_the_session_as_it_was)
