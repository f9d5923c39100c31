/* Leaders that come and go: requests are held, and answered exactly once. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static size_t next_of(const struct ensemble *e, const struct harness *h, size_t n) {
    return (e_index(e, h) + n) % e->count;
}

/* Creates /n0 to /n(count-1) one behind the other, xids from `xid` on, without waiting. */
static void send_creates(struct harness *h, conn_id_t c, int32_t xid, int count) {
    for (int i = 0; i < count; i++)
        h_send_create(h, c, xid + i, "/n-", "", CREATE_PERSISTENT_SEQUENTIAL);
}

/* Each is answered once, in order, with OK. */
static void expect_creates(struct harness *h, conn_id_t c, int32_t xid, int count) {
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(h_err(h, c, xid + i), ZK_OK);
    h_expect_nothing(h, c);
}

/* The root's znodes that the test made. */
static uint32_t children(struct harness *h) {
    return znode_child_count(tree_find(h->r->tree, h_slice("/"))) - 1; /* /zookeeper */
}

START_TEST(requests_at_a_follower_outlive_the_leader_and_are_answered_once) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(f);
    e->held = true; /* nothing arrives by itself */
    send_creates(f, c, 10, 5);
    h_send_path(f, c, 15, OP_EXISTS, "/n-0000000004", false);
    e->held = false;
    e_kill(e, e_index(e, l));
    e_until_served(e);
    ck_assert(!f->conns[c].closed);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(h_err(f, c, 10 + i), ZK_OK);
    h_expect_nothing(f, c);
    ck_assert_uint_eq(children(f), 5);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* In every state in which a write may be when its leader dies: on its way there, in its log alone,
 * in a follower's log, acknowledged, committed. */
START_TEST(a_write_is_done_once_wherever_its_leader_dies) {
    for (int steps = 0; steps < 40; steps++) {
        struct ensemble *e = e_started(3, 0);
        struct harness *f = e_follower(e), *l = e_leader(e);
        conn_id_t c = h_client(f);
        e->held = true;
        send_creates(f, c, 10, 3);
        for (int i = 0; i < steps; i++)
            e_settle_one(e);
        e->held = false;
        e_kill(e, e_index(e, l));
        e_until_served(e);
        expect_creates(f, c, 10, 3);
        ck_assert_uint_eq(children(f), 3);
        e_revive(e, e_index(e, l));
        e_until_served(e);
        e_assert_equal(e);
        e_free(e);
    }
}
END_TEST

START_TEST(a_write_is_done_once_wherever_the_link_to_its_leader_breaks) {
    for (int steps = 0; steps < 40; steps++) {
        struct ensemble *e = e_started(3, 0);
        struct harness *f = e_follower(e), *l = e_leader(e);
        conn_id_t c = h_client(f);
        e->held = true;
        send_creates(f, c, 10, 3);
        for (int i = 0; i < steps; i++)
            e_settle_one(e);
        e->held = false;
        e_cut(e, e_index(e, f), e_index(e, l));
        e_settle(e);
        e_join(e, e_index(e, f), e_index(e, l));
        e_until_served(e);
        expect_creates(f, c, 10, 3);
        ck_assert_uint_eq(children(f), 3);
        e_assert_equal(e);
        e_free(e);
    }
}
END_TEST

START_TEST(a_write_that_is_in_flight_at_a_leader_that_stays_is_not_sent_again) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t other = 3 - e_index(e, f) - e_index(e, l);
    conn_id_t c = h_client(f);
    /* The leader proposes it, and cannot commit: one disk alone answers. */
    l->hold_log = e->h[other]->hold_log = true;
    send_creates(f, c, 10, 2);
    e_cut(e, e_index(e, f), e_index(e, l));
    e_settle(e);
    ck_assert(!f->r->serving);
    e_join(e, e_index(e, f), e_index(e, l));
    /* The follower serves again in the same epoch, and the writes are in flight still. */
    e_until_served(e);
    ck_assert(f->r->serving);
    h_expect_nothing(f, c);
    e_hold_disks(e, false);
    expect_creates(f, c, 10, 2);
    ck_assert_uint_eq(children(f), 2);
    e_free(e);
}
END_TEST

START_TEST(a_leaders_own_clients_are_answered_by_it_as_a_follower) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    conn_id_t c = h_client(l);
    h_send_path(l, c, 1, OP_EXISTS, "/", false);
    ck_assert_int_eq(h_err(l, c, 1), ZK_OK);
    e_hold_disks(e, true);
    send_creates(l, c, 10, 3);
    h_send_path(l, c, 13, OP_GET_CHILDREN, "/", false);
    e_isolate(e, at);
    e_hold_disks(e, false);
    e_advance(e, 1500); /* it has heard no quorum for so long */
    ck_assert(!l->r->serving);
    h_expect_nothing(l, c);
    e_rejoin(e, at);
    e_until_served(e);
    ck_assert(!l->conns[c].closed);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(h_err(l, c, 10 + i), ZK_OK);
    ck_assert_uint_eq(children(l), 3);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(reads_wait_while_there_is_no_leader) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(f);
    e->held = true;
    e_kill(e, e_index(e, l));
    ck_assert(!f->r->serving);
    h_send_path(f, c, 1, OP_EXISTS, "/", false);
    h_send(f, c, XID_PING, OP_PING, PROTO_empty, NULL);
    h_send_path(f, c, 2, OP_SYNC, "/", false);
    h_expect_nothing(f, c);
    e->held = false;
    e_until_served(e);
    ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(f, c, XID_PING), ZK_OK);
    ck_assert_int_eq(h_err(f, c, 2), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_read_between_two_writes_shows_the_first_alone_however_late_it_is) {
    for (int steps = 0; steps < 150; steps++) {
        struct ensemble *e = e_started(3, 0);
        struct harness *f = e_follower(e), *l = e_leader(e);
        conn_id_t c = h_client(f);
        ck_assert_int_eq(h_create(f, c, "/a"), ZK_OK);
        e->held = true;
        h_send_set(f, c, 1, "/a", "x", -1);
        h_send_path(f, c, 2, OP_EXISTS, "/a", false);
        h_send_set(f, c, 3, "/a", "y", -1);
        h_send_path(f, c, 4, OP_SYNC, "/a", false);
        h_send_path(f, c, 5, OP_EXISTS, "/a", false);
        h_send_set(f, c, 6, "/a", "z", -1);
        for (int i = 0; i < steps; i++)
            (void)e_settle_one(e);
        e->held = false;
        e_kill(e, e_index(e, l));
        e_until_served(e);
        static struct h_reply reply;
        for (int xid = 1, version = 0; xid <= 6; xid++) {
            ck_assert(h_take(f, c, &reply));
            ck_assert_int_eq(reply.xid, xid);
            ck_assert_int_eq(reply.err, ZK_OK);
            if (xid == 1 || xid == 3 || xid == 6)
                version++;
            if (xid != 4)
                ck_assert_int_eq(h_stat(&reply).version, version);
        }
        e_free(e);
    }
}
END_TEST

START_TEST(a_client_that_comes_while_there_is_no_leader_waits_for_one) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    e->held = true;
    e_kill(e, e_index(e, l));
    conn_id_t c = h_open(f);
    h_send_connect(f, c, 30000, 0, NULL, 0);
    h_send_auth(f, c, "digest", "u:p");
    h_send_create(f, c, 1, "/a", "", 0);
    h_send_path(f, c, 2, OP_EXISTS, "/a", false);
    h_expect_nothing(f, c);
    e->held = false;
    e_until_served(e);
    ck_assert(h_take_connect(f, c));
    ck_assert_int_eq(h_err(f, c, XID_AUTH), ZK_OK);
    ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(f, c, 2), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_session_that_was_asked_for_when_the_leader_died_is_given_once) {
    for (int steps = 0; steps < 30; steps++) {
        struct ensemble *e = e_started(3, 0);
        struct harness *f = e_follower(e), *l = e_leader(e);
        e->held = true;
        conn_id_t c = h_open(f);
        h_send_connect(f, c, 30000, 0, NULL, 0);
        h_send_create(f, c, 1, "/e", "", CREATE_EPHEMERAL);
        for (int i = 0; i < steps; i++)
            e_settle_one(e);
        e->held = false;
        e_kill(e, e_index(e, l));
        e_until_served(e);
        ck_assert(h_take_connect(f, c));
        ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
        h_expect_nothing(f, c);
        ck_assert_uint_eq(f->r->sessions.count, 1);
        e_assert_equal(e);
        e_free(e);
    }
}
END_TEST

START_TEST(a_session_that_came_back_when_the_leader_died_gets_its_answer) {
    for (int steps = 0; steps < 30; steps++) {
        struct ensemble *e = e_started(3, 0);
        struct harness *f = e_follower(e), *l = e_leader(e);
        conn_id_t old = h_client(l);
        e->held = true;
        conn_id_t c = h_open(f);
        h_send_connect(f, c, 30000, l->conns[old].session, l->conns[old].passwd, 0);
        h_send_create(f, c, 1, "/a", "", 0);
        for (int i = 0; i < steps; i++)
            e_settle_one(e);
        e->held = false;
        e_kill(e, e_index(e, l));
        e_until_served(e);
        ck_assert(h_take_connect(f, c));
        ck_assert_int_eq(f->conns[c].session, l->conns[old].session);
        ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
        e_free(e);
    }
}
END_TEST

START_TEST(without_a_leader_clients_are_closed_after_a_quarter_of_the_least_timeout) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    conn_id_t c = h_client(l);
    e_isolate(e, at);
    while (l->r->serving)
        e_advance(e, 1);
    send_creates(l, c, 10, 1);
    e_advance(e, 999);
    ck_assert(!l->conns[c].closed);
    e_advance(e, 1);
    ck_assert(l->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(l->conns[c].why, "no leader"));
    h_expect_nothing(l, c);
    conn_id_t d = h_open(l);
    h_send_connect(l, d, 30000, 0, NULL, 0);
    ck_assert(l->conns[d].closed);
    ck_assert_ptr_nonnull(strstr(l->conns[d].why, "does not serve"));
    e_free(e);
}
END_TEST

START_TEST(a_client_that_has_seen_more_waits_a_tick_for_a_follower_to_catch_up) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(l);
    struct e_way *w = &e->way[e_index(e, l)][e_index(e, f)];
    w->held = true;
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    conn_id_t d = h_open(f);
    h_send_connect(f, d, 30000, l->conns[c].session, l->conns[c].passwd, core_last_zxid(l->r));
    h_send_path(f, d, 1, OP_EXISTS, "/a", false);
    ck_assert(!f->conns[d].closed);
    h_expect_nothing(f, d);
    w->held = false;
    e_settle(e);
    ck_assert(h_take_connect(f, d));
    ck_assert_int_eq(h_err(f, d, 1), ZK_OK);
    conn_id_t g = h_open(f);
    h_send_connect(f, g, 30000, 0, NULL, core_last_zxid(l->r) + 1);
    e_advance(e, 1999);
    ck_assert(!f->conns[g].closed);
    e_advance(e, 1);
    ck_assert(f->conns[g].closed);
    ck_assert_ptr_nonnull(strstr(f->conns[g].why, "has seen more"));
    conn_id_t k = h_open(l);
    h_send_connect(l, k, 30000, 0, NULL, core_last_zxid(l->r) + 1);
    ck_assert(l->conns[k].closed);
    e_free(e);
}
END_TEST

START_TEST(a_leader_that_stood_still_answers_nothing_when_it_wakes_up) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    conn_id_t c = h_client(l);
    e->frozen[at] = true;
    e_advance(e, 3000);
    ck_assert_ptr_nonnull(e_leader(e));
    conn_id_t d = h_client(e_leader(e));
    ck_assert_int_eq(h_create(e_leader(e), d, "/new"), ZK_OK);
    e->frozen[at] = false;
    e->held = true;
    h_send_path(l, c, 1, OP_EXISTS, "/new", false);
    h_send_path(l, c, 2, OP_SYNC, "/", false);
    h_expect_nothing(l, c);
    e->held = false;
    e_until_served(e);
    ck_assert_int_eq(h_err(l, c, 1), ZK_OK);
    ck_assert_int_eq(h_err(l, c, 2), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_write_that_only_a_lost_leader_has_is_cut_away_there_and_sent_again) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    conn_id_t c = h_client(l);
    e->way[at][next_of(e, l, 1)].held = e->way[at][next_of(e, l, 2)].held = true;
    send_creates(l, c, 10, 2); /* durable here alone */
    h_expect_nothing(l, c);
    e_isolate(e, at);
    e->way[at][next_of(e, l, 1)].held = e->way[at][next_of(e, l, 2)].held = false;
    e_advance(e, 1500);
    e_until_served(e);
    conn_id_t d = h_client(e_leader(e));
    ck_assert_int_eq(h_create(e_leader(e), d, "/n-0000000000"), ZK_OK);
    e_rejoin(e, at);
    e_until_served(e);
    expect_creates(l, c, 10, 2);
    ck_assert_uint_eq(children(l), 3);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("hold", requests_at_a_follower_outlive_the_leader_and_are_answered_once,
        a_write_is_done_once_wherever_its_leader_dies,
        a_write_is_done_once_wherever_the_link_to_its_leader_breaks,
        a_write_that_is_in_flight_at_a_leader_that_stays_is_not_sent_again,
        a_leaders_own_clients_are_answered_by_it_as_a_follower, reads_wait_while_there_is_no_leader,
        a_read_between_two_writes_shows_the_first_alone_however_late_it_is,
        a_client_that_comes_while_there_is_no_leader_waits_for_one,
        a_session_that_was_asked_for_when_the_leader_died_is_given_once,
        a_session_that_came_back_when_the_leader_died_gets_its_answer,
        without_a_leader_clients_are_closed_after_a_quarter_of_the_least_timeout,
        a_client_that_has_seen_more_waits_a_tick_for_a_follower_to_catch_up,
        a_leader_that_stood_still_answers_nothing_when_it_wakes_up,
        a_write_that_only_a_lost_leader_has_is_cut_away_there_and_sent_again)
