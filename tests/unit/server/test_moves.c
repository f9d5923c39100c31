/* Sessions that go from server to server. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <string.h>

/* The session of `from` asks to go on at server `at`. */
static conn_id_t come_back(struct harness *at, const struct h_conn *from, int32_t timeout_ms) {
    conn_id_t c = h_open(at);
    h_send_connect(at, c, timeout_ms, from->session, from->passwd, 0);
    return c;
}

static void expect_refused(struct harness *h, conn_id_t c) {
    ck_assert(!h_take_connect(h, c));
    ck_assert_int_eq(h->conns[c].timeout_ms, 0);
    ck_assert(h->conns[c].closed);
}

/* Two servers other than the leader. */
static void followers(struct ensemble *e, struct harness **ret_a, struct harness **ret_b) {
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    *ret_a = e->h[(at + 1) % e->count];
    *ret_b = e->h[(at + 2) % e->count];
}

START_TEST(a_session_goes_on_at_another_server_with_its_ephemerals) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b;
    followers(e, &a, &b);
    conn_id_t c = h_client(a);
    ck_assert_int_eq(h_create_mode(a, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_close(a, c);
    conn_id_t d = come_back(b, &a->conns[c], 20000);
    ck_assert(h_take_connect(b, d));
    ck_assert_int_eq(b->conns[d].session, a->conns[c].session);
    ck_assert_int_eq(b->conns[d].timeout_ms, 20000);
    struct zstat stat;
    ck_assert_int_eq(h_exists(b, d, "/e", &stat), ZK_OK);
    ck_assert_int_eq(stat.ephemeral_owner, b->conns[d].session);
    ck_assert_int_eq(h_create(b, d, "/f"), ZK_OK);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(session_find(&e->h[i]->r->sessions, stat.ephemeral_owner)->timeout_ms,
                         20000);
    e_free(e);
}
END_TEST

START_TEST(a_session_moves_to_the_leader_and_back) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(f);
    conn_id_t d = come_back(l, &f->conns[c], 40000);
    ck_assert(h_take_connect(l, d));
    ck_assert(f->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[c].why, "moved to another server"));
    ck_assert_int_eq(h_create(l, d, "/a"), ZK_OK);
    conn_id_t g = come_back(f, &f->conns[c], 40000);
    ck_assert(h_take_connect(f, g));
    ck_assert(l->conns[d].closed);
    ck_assert_int_eq(h_create(f, g, "/b"), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_write_that_is_overtaken_by_its_sessions_move_is_refused_and_never_done) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b, *l = e_leader(e);
    followers(e, &a, &b);
    conn_id_t c = h_client(a);
    e->way[e_index(e, a)][e_index(e, l)].held = true;
    h_send_create(a, c, 7, "/late", "", 0);
    h_send_path(a, c, 8, OP_EXISTS, "/", false);
    conn_id_t d = come_back(b, &a->conns[c], 40000);
    ck_assert(h_take_connect(b, d));
    ck_assert_int_eq(h_create(b, d, "/new"), ZK_OK);
    ck_assert_int_eq(h_err(a, c, 7), ZK_SESSIONMOVED);
    ck_assert_int_eq(h_err(a, c, 8), ZK_OK);
    ck_assert(a->conns[c].closed);
    e->way[e_index(e, a)][e_index(e, l)].held = false;
    e_settle(e);
    ck_assert_int_eq(h_exists(b, d, "/late", NULL), ZK_NONODE);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_write_that_is_under_way_is_done_before_its_session_goes_on_elsewhere) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b;
    followers(e, &a, &b);
    conn_id_t c = h_client(a);
    e_hold_disks(e, true);
    h_send_create(a, c, 7, "/a", "", 0);
    conn_id_t d = come_back(b, &a->conns[c], 40000);
    h_expect_nothing(b, d);
    e_hold_disks(e, false);
    ck_assert_int_eq(h_err(a, c, 7), ZK_OK);
    ck_assert(h_take_connect(b, d));
    ck_assert_int_eq(h_exists(b, d, "/a", NULL), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(the_same_xid_of_a_session_that_came_back_is_not_mistaken) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client(f);
    e_hold_disks(e, true);
    h_send_create(f, c, 7, "/first", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_close(f, c);
    conn_id_t d = come_back(f, &f->conns[c], 40000);
    h_send_create(f, d, 7, "/second", "", 0);
    e_hold_disks(e, false);
    ck_assert(h_take_connect(f, d));
    static struct h_reply reply;
    ck_assert(h_take(f, d, &reply));
    ck_assert_int_eq(reply.xid, 7);
    ck_assert(slice_equal_str(h_string(&reply), "/second"));
    e_free(e);
}
END_TEST

START_TEST(a_session_that_this_server_has_not_heard_of_yet_is_asked_for) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b, *l = e_leader(e);
    followers(e, &a, &b);
    e->way[e_index(e, l)][e_index(e, b)].held = true;
    conn_id_t c = h_client(a);
    conn_id_t d = come_back(b, &a->conns[c], 40000);
    h_send_path(b, d, 5, OP_EXISTS, "/", false);
    h_send_create(b, d, 6, "/x", "", 0);
    h_expect_nothing(b, d);
    e->way[e_index(e, l)][e_index(e, b)].held = false;
    e_settle(e);
    ck_assert(h_take_connect(b, d));
    ck_assert_int_eq(b->conns[d].session, a->conns[c].session);
    ck_assert_int_eq(h_err(b, d, 5), ZK_OK);
    ck_assert_int_eq(h_err(b, d, 6), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_session_that_is_gone_is_refused_everywhere) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b, *l = e_leader(e);
    followers(e, &a, &b);
    conn_id_t c = h_client(a);
    h_send(a, c, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(a, c, 1), ZK_OK);
    expect_refused(b, come_back(b, &a->conns[c], 40000));
    expect_refused(l, come_back(l, &a->conns[c], 40000));
    ck_assert_uint_eq(b->r->sessions.count, 0);
    ck_assert_uint_eq(l->r->sessions.count, 0);
    e_free(e);
}
END_TEST

START_TEST(a_session_that_is_being_closed_is_refused_when_it_is) {
    struct ensemble *e = e_started(3, 0);
    struct harness *a, *b;
    followers(e, &a, &b);
    conn_id_t c = h_client(a);
    e_hold_disks(e, true);
    h_send(a, c, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    conn_id_t d = come_back(b, &a->conns[c], 40000);
    h_expect_nothing(b, d);
    e_hold_disks(e, false);
    ck_assert_int_eq(h_err(a, c, 1), ZK_OK);
    expect_refused(b, d);
    e_free(e);
}
END_TEST

START_TEST(a_wrong_password_is_refused_at_a_follower) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(l);
    l->conns[c].passwd[3] ^= 1;
    expect_refused(f, come_back(f, &l->conns[c], 40000));
    ck_assert(!l->conns[c].closed);
    e_free(e);
}
END_TEST

START_TEST(of_two_connections_at_one_server_the_newer_one_has_the_session) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client(f);
    e->held = true;
    conn_id_t d = come_back(f, &f->conns[c], 40000);
    conn_id_t g = come_back(f, &f->conns[c], 30000);
    ck_assert(f->conns[d].closed);
    while (f->conns[g].in.len == 0)
        ck_assert(e_settle_one(e));
    /* It is answered by its own transaction, not by the one of the connection before. */
    ck_assert_int_eq(session_find(&f->r->sessions, f->conns[c].session)->timeout_ms, 30000);
    e->held = false;
    e_settle(e);
    h_expect_nothing(f, d);
    ck_assert(h_take_connect(f, g));
    ck_assert_int_eq(f->conns[g].timeout_ms, 30000);
    ck_assert_int_eq(h_create(f, g, "/a"), ZK_OK);
    ck_assert(!f->conns[g].closed);
    e_free(e);
}
END_TEST

START_TEST(a_stale_connection_behind_a_partition_is_closed_before_its_writes_are_sent_again) {
    struct ensemble *e = e_started(5, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    size_t i = (at + 1) % 5;
    struct harness *a = e->h[i], *b = e->h[(at + 2) % 5];
    conn_id_t c = h_client(a);
    e_isolate(e, i);
    h_send_create(a, c, 7, "/stale", "", 0);
    h_expect_nothing(a, c);
    conn_id_t d = come_back(b, &a->conns[c], 40000);
    ck_assert(h_take_connect(b, d));
    ck_assert_int_eq(h_create(b, d, "/new"), ZK_OK);
    /* The leader that knew of the move goes as well. */
    e_kill(e, at);
    e_rejoin(e, i);
    e_advance(e, 500);
    e_until_served(e);
    ck_assert_int_eq(h_err(a, c, 7), ZK_SESSIONMOVED);
    ck_assert(a->conns[c].closed);
    ck_assert_int_eq(h_exists(b, d, "/stale", NULL), ZK_NONODE);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("moves", a_session_goes_on_at_another_server_with_its_ephemerals,
        a_session_moves_to_the_leader_and_back,
        a_write_that_is_overtaken_by_its_sessions_move_is_refused_and_never_done,
        a_write_that_is_under_way_is_done_before_its_session_goes_on_elsewhere,
        the_same_xid_of_a_session_that_came_back_is_not_mistaken,
        a_session_that_this_server_has_not_heard_of_yet_is_asked_for,
        a_session_that_is_gone_is_refused_everywhere,
        a_session_that_is_being_closed_is_refused_when_it_is,
        a_wrong_password_is_refused_at_a_follower,
        of_two_connections_at_one_server_the_newer_one_has_the_session,
        a_stale_connection_behind_a_partition_is_closed_before_its_writes_are_sent_again)
