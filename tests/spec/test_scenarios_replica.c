/* S6, S13, S22, S25 and S28 once more, over whole cores: what clients see of them. The sequences
 * themselves, at the level of Zab, the tree and the disk, are in the other files. */
#include "common/zkerr.h"
#include "tests/lib/unit.h"
#include "tests/unit/server/ensemble.h"

#include <stdio.h>

/* Steps by hand until the learner has got `pieces` of a snapshot; nothing settles by itself then.
 */
static void hold_in_snapshot(struct ensemble *e, size_t learner, size_t pieces) {
    e->held = true;
    for (int i = 0; i < 4000 && e->disk[learner].coming_count < pieces; i++)
        if (!e_settle_one(e))
            e_advance(e, 1);
    ck_assert_uint_ge(e->disk[learner].coming_count, pieces);
}

/* Znodes with so much data that the snapshot has several pieces. */
static void fill(struct harness *h, conn_id_t c, int count) {
    static char data[20001];
    for (size_t i = 0; i < sizeof data - 1; i++)
        data[i] = 'd';
    for (int i = 0; i < count; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/fill%d", i);
        h_send_create(h, c, 100 + i, path, data, 0);
        ck_assert_int_eq(h_err(h, c, 100 + i), ZK_OK);
    }
}

static void wipe_and_revive(struct ensemble *e, size_t i) {
    e_kill(e, i);
    e_wipe(e, i);
    e_revive(e, i);
}

/* S6: a client that has seen a transaction moves to a follower that has not applied it. It is not
 * served there before. */
START_TEST(scenario_s06_a_client_is_not_served_behind_what_it_has_seen) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    struct e_way *way = &e->way[e_index(e, l)][e_index(e, f)];
    conn_id_t c = h_client(l);
    way->held = true;
    ck_assert_int_eq(h_create(l, c, "/seen"), ZK_OK);
    zxid_t seen = tree_last_zxid(l->r->tree);
    ck_assert(tree_last_zxid(f->r->tree) < seen);
    conn_id_t d = h_open(f);
    h_send_connect(f, d, 40000, l->conns[c].session, l->conns[c].passwd, seen);
    ck_assert_uint_eq(f->conns[d].in.len, 0);
    way->held = false;
    e_settle(e);
    ck_assert(h_take_connect(f, d));
    ck_assert_int_eq(h_exists(f, d, "/seen", NULL), ZK_OK);
    e_free(e);
}
END_TEST

/* S13: the leader dies when a learner has half of a snapshot; the learner dies as well. It starts
 * with what is durable, which is nothing, and is given a whole one by the next leader. */
START_TEST(scenario_s13_half_a_snapshot_is_no_history) {
    struct ensemble *e = e_started(5, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f), leader = e_index(e, l);
    fill(l, h_client(l), 60);
    wipe_and_revive(e, at);
    hold_in_snapshot(e, at, 2);
    e_kill(e, leader);
    e_kill(e, at);
    e->held = false;
    ck_assert(!e->disk[at].has_snapshot);
    ck_assert_uint_eq(f->log_count, 0);
    e_revive(e, at);
    e_until_served(e);
    e_revive(e, leader);
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* S22: a leader that was cut off has a write on its disk that nobody committed. It starts, comes
 * back, and no client ever reads it; nor is it in the snapshot that the server gives later. */
START_TEST(scenario_s22_no_client_reads_a_tail_that_was_cut_off) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t old = e_index(e, l), other = (old + 1) % 3;
    conn_id_t c = h_client(l);
    e_isolate(e, old);
    h_send_create(l, c, 7, "/tail", "", 0);
    e_settle(e);
    size_t logged = l->synced;
    h_expect_nothing(l, c);
    e_kill(e, old);
    e_until_served(e);
    ck_assert_uint_gt(logged, 0);
    struct harness *now = e_leader(e);
    ck_assert_int_eq(h_create(now, h_client(now), "/kept"), ZK_OK);
    e_rejoin(e, old);
    e_revive(e, old);
    e_until_served(e);
    e_assert_equal(e);
    ck_assert_int_eq(h_exists(l, h_client(l), "/tail", NULL), ZK_NONODE);
    wipe_and_revive(e, other);
    e_until_served(e);
    e_assert_equal(e);
    struct harness *h = e->h[other];
    ck_assert_int_eq(h_exists(h, h_client(h), "/tail", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, h_client(h), "/kept", NULL), ZK_OK);
    e_free(e);
}
END_TEST

/* S25: while the pieces of a snapshot go out, sessions are closed, and others create the same
 * ephemerals. Trees and sessions are the same in the end, also after a restart. */
START_TEST(scenario_s25_sessions_that_end_during_a_snapshot_end_everywhere) {
    enum { CLIENTS = 8 };
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = h_client(l);
        char path[32];
        (void)snprintf(path, sizeof path, "/lock%d", i);
        ck_assert_int_eq(h_create_mode(l, clients[i], path, CREATE_EPHEMERAL), ZK_OK);
    }
    conn_id_t heir = h_client(l);
    fill(l, heir, 60);
    wipe_and_revive(e, at);
    hold_in_snapshot(e, at, 1);
    for (int i = 0; i < CLIENTS; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/lock%d", i);
        h_send(l, clients[i], 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
        h_send_create(l, heir, 1000 + i, path, "", CREATE_EPHEMERAL);
        for (int k = 0; k < 6; k++)
            (void)e_settle_one(e);
    }
    e->held = false;
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    e_assert_equal(e);
    e_kill(e, at);
    e_revive(e, at);
    e_until_served(e);
    e_assert_equal(e);
    struct zstat stat;
    ck_assert_int_eq(h_exists(f, h_client(f), "/lock7", &stat), ZK_OK);
    ck_assert_int_eq(stat.ephemeral_owner, l->conns[heir].session);
    e_free(e);
}
END_TEST

/* S28: a client of a leader that was cut off, and does not know it yet, asks for a sync. It is not
 * told that it is done, now or later. */
START_TEST(scenario_s28_a_client_of_a_leader_that_was_cut_off_gets_no_sync) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t old = e_index(e, l);
    conn_id_t c = h_client(l);
    for (size_t i = 0; i < 3; i++)
        e->way[i][old].held = e->way[old][i].held = i != old;
    h_send_path(l, c, 5, OP_SYNC, "/", false);
    for (int i = 0; i < 60; i++) {
        h_expect_nothing(l, c);
        e_advance(e, 50);
    }
    struct harness *now = e_leader(e);
    ck_assert_ptr_ne(now, l);
    ck_assert_int_eq(h_create(now, h_client(now), "/new"), ZK_OK);
    h_expect_nothing(l, c);
    for (size_t i = 0; i < 3; i++)
        e->way[i][old].held = e->way[old][i].held = false;
    e_until_served(e);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("scenarios_replica", scenario_s06_a_client_is_not_served_behind_what_it_has_seen,
        scenario_s13_half_a_snapshot_is_no_history,
        scenario_s22_no_client_reads_a_tail_that_was_cut_off,
        scenario_s25_sessions_that_end_during_a_snapshot_end_everywhere,
        scenario_s28_a_client_of_a_leader_that_was_cut_off_gets_no_sync)
