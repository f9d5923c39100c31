/* Observers, leaders without clients, syncs, snapshots, and what words say of it all. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static bool says(struct harness *h, const char *word, const char *text) {
    conn_id_t c = h_open(h);
    h_word(h, c, word);
    bool found = strstr(h_text(h, c), text) != NULL;
    return found;
}

START_TEST(an_observer_serves_reads_and_writes) {
    struct ensemble *e = e_started(4, 1);
    struct harness *o = e->h[3], *l = e_leader(e);
    ck_assert_int_eq(o->r->role, ZAB_OBSERVING);
    conn_id_t c = h_client(o), d = h_client(l);
    ck_assert_int_eq(h_create(o, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_exists(l, d, "/a", NULL), ZK_OK);
    h_send_path(o, c, 1, OP_SYNC, "/", false);
    ck_assert_int_eq(h_err(o, c, 1), ZK_OK);
    ck_assert(says(o, "srvr", "Mode: observer\n"));
    ck_assert(says(o, "mntr", "zk_server_state\tobserver\n"));
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(an_observers_clients_outlive_the_leader) {
    struct ensemble *e = e_started(4, 1);
    struct harness *o = e->h[3], *l = e_leader(e);
    conn_id_t c = h_client(o);
    e->held = true;
    h_send_create(o, c, 1, "/a", "", 0);
    e->held = false;
    e_kill(e, e_index(e, l));
    e_until_served(e);
    ck_assert_int_eq(h_err(o, c, 1), ZK_OK);
    e_free(e);
}
END_TEST

static void without_leader_clients(struct replica_config *config) { config->leader_serves = false; }

START_TEST(a_leader_that_shall_not_serve_takes_no_clients_and_closes_those_it_had) {
    struct ensemble *e = e_new(3, 0);
    e->configure = without_leader_clients;
    e_start(e);
    struct harness *l = e_leader(e);
    conn_id_t c = h_open(l);
    h_send_connect(l, c, 20000, 0, NULL, 0);
    ck_assert(l->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(l->conns[c].why, "leaderServes"));
    ck_assert(says(l, "srvr", "Mode: leader\n"));
    conn_id_t d[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        if (e->h[i] == l)
            continue;
        d[i] = h_client(e->h[i]);
        ck_assert_int_eq(h_create_mode(e->h[i], d[i], "/a", CREATE_PERSISTENT_SEQUENTIAL), ZK_OK);
    }
    /* A server's clients stay when another one leads, and go when it leads itself. */
    e_kill(e, e_index(e, l));
    e_until_served(e);
    for (size_t i = 0; i < 3; i++) {
        if (d[i])
            ck_assert(e->h[i]->conns[d[i]].closed == (e_leader(e) == e->h[i]));
    }
    e_free(e);
}
END_TEST

START_TEST(sync_at_a_follower_shows_what_was_committed_before) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(f), d = h_client(l);
    struct e_way *w = &e->way[e_index(e, l)][e_index(e, f)];
    w->held = true;
    ck_assert_int_eq(h_create(l, d, "/a"), ZK_OK);
    h_send_path(f, c, 1, OP_EXISTS, "/a", false);
    h_send_path(f, c, 2, OP_SYNC, "/", false);
    h_send_path(f, c, 3, OP_EXISTS, "/a", false);
    ck_assert_int_eq(h_err(f, c, 1), ZK_NONODE);
    h_expect_nothing(f, c);
    w->held = false;
    e_settle(e);
    ck_assert_int_eq(h_err(f, c, 2), ZK_OK);
    ck_assert_int_eq(h_err(f, c, 3), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(sync_waits_for_its_sessions_writes_and_many_pass_in_order) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client(f), d = h_client(f);
    e_hold_disks(e, true);
    h_send_create(f, c, 1, "/a", "", 0);
    h_send_path(f, c, 2, OP_SYNC, "/", false);
    h_send_create(f, c, 3, "/b", "", 0);
    h_send_path(f, c, 4, OP_SYNC, "/", false);
    h_send_path(f, d, 1, OP_SYNC, "/", false);
    h_expect_nothing(f, c);
    h_close(f, d);
    e_hold_disks(e, false);
    for (int i = 1; i <= 4; i++)
        ck_assert_int_eq(h_err(f, c, i), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_leader_that_is_cut_off_answers_no_sync) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    conn_id_t c = h_client(l);
    size_t at = e_index(e, l);
    for (size_t i = 0; i < 3; i++)
        e->way[i][at].held = e->way[at][i].held = true;
    h_send_path(l, c, 1, OP_SYNC, "/", false);
    e_advance(e, 1000);
    ck_assert(l->r->leading);
    h_expect_nothing(l, c);
    e_free(e);
}
END_TEST

/* /a/ with many znodes, big enough for several pieces. */
static void fill(struct harness *h, conn_id_t c, const char *prefix, int count) {
    static char data[20001], path[64];
    memset(data, 'x', sizeof data - 1);
    for (int i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s%d", prefix, i);
        h_send_create(h, c, 100 + i, path, data, i % 3 ? 0 : CREATE_EPHEMERAL);
        ck_assert_int_eq(h_err(h, c, 100 + i), ZK_OK);
    }
}

START_TEST(a_server_that_lost_its_disk_is_brought_up_by_a_snapshot) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(l);
    fill(l, c, "/z", 60);
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    ck_assert_uint_ge(e->disk[at].piece_count, 4);
    e_assert_equal(e);
    /* It is whole: it starts from there, and gets what comes after. */
    conn_id_t d = h_client(f);
    ck_assert_int_eq(h_create(f, d, "/new"), ZK_OK);
    e_kill(e, at);
    ck_assert_int_eq(h_create(l, c, "/meanwhile"), ZK_OK);
    e_revive(e, at);
    e_until_served(e);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_snapshot_is_sent_while_writes_go_on) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(l), gone = h_client(l);
    fill(l, c, "/z", 300);
    ck_assert_int_eq(h_create_mode(l, gone, "/e", CREATE_EPHEMERAL), ZK_OK);
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e->held = true;
    int sent = 0;
    for (int i = 0; i < 4000; i++) {
        if (!e_settle_one(e))
            e_advance(e, 1);
        if (!l->r->sendings || sent >= 200)
            continue;
        char path[32];
        (void)snprintf(path, sizeof path, "/w%d", sent);
        h_send_create(l, c, 1000 + sent++, path, "", 0);
        if (sent == 5)
            h_send(l, gone, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    }
    e->held = false;
    e_until_served(e);
    ck_assert_int_gt(sent, 5);
    ck_assert(tree_exact(f->r->tree));
    for (int i = 0; i < sent; i++)
        ck_assert_int_eq(h_err(l, c, 1000 + i), ZK_OK);
    e_assert_equal(e);
    e_kill(e, at);
    e_revive(e, at);
    e_until_served(e);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_snapshot_whose_leader_goes_is_forgotten_and_another_one_sent) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(f);
    fill(f, c, "/z", 60);
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e->held = true;
    for (int i = 0; i < 2000 && e->disk[at].coming_count < 2; i++) {
        if (!e_settle_one(e))
            e_advance(e, 1);
    }
    ck_assert_uint_ge(e->disk[at].coming_count, 2);
    e_cut(e, at, e_index(e, l));
    e->held = false;
    e_settle(e);
    ck_assert_uint_eq(e->disk[at].coming_count, 0);
    ck_assert_ptr_null(l->r->sendings);
    e_join(e, at, e_index(e, l));
    e_until_served(e);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(words_tell_who_leads_and_who_is_in_sync) {
    struct ensemble *e = e_started(4, 1);
    struct harness *l = e_leader(e), *f = e_follower(e);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    ck_assert(says(l, "srvr", "Mode: leader\n"));
    ck_assert(says(l, "srvr", "Proposal sizes last/min/max: "));
    ck_assert(says(f, "srvr", "Mode: follower\n"));
    ck_assert(!says(f, "srvr", "Proposal sizes"));
    ck_assert(says(l, "mntr", "zk_server_state\tleader\n"));
    ck_assert(says(l, "mntr", "zk_quorum_size\t3\n"));
    ck_assert(says(l, "mntr", "zk_learners\t3\n"));
    ck_assert(says(l, "mntr", "zk_followers\t2\n"));
    ck_assert(says(l, "mntr", "zk_synced_followers\t2\n"));
    ck_assert(says(l, "mntr", "zk_synced_observers\t1\n"));
    ck_assert(says(l, "mntr", "zk_pending_syncs\t0\n"));
    ck_assert(says(f, "mntr", "zk_server_state\tfollower\n"));
    ck_assert(says(f, "mntr", "zk_quorum_size\t3\n"));
    ck_assert(!says(f, "mntr", "zk_synced_followers"));
    ck_assert(says(f, "isro", "rw"));
    e_kill(e, e_index(e, f));
    e_advance(e, 100);
    ck_assert(says(l, "mntr", "zk_synced_followers\t1\n"));
    e_free(e);
}
END_TEST

static void with_conf(struct replica_config *config) {
    config->init_limit = 10;
    config->sync_limit = 5;
    config->quorum_port = 2888;
    config->election_port = 3888;
    config->membership = "server.1=h:2888:3888:participant\n";
}

START_TEST(conf_shows_the_ensemble) {
    struct ensemble *e = e_new(3, 1);
    e->configure = with_conf;
    e_start(e);
    ck_assert(says(e->h[0], "conf",
                   "serverId=1\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\n"
                   "quorumPort=2888\npeerType=0\nmembership: \n"
                   "server.1=h:2888:3888:participant\nversion=0"));
    ck_assert(says(e->h[2], "conf", "peerType=1\n"));
    e_free(e);
}
END_TEST

START_TEST(words_say_that_a_server_without_a_leader_does_not_serve) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    e_isolate(e, e_index(e, l));
    e_advance(e, 1500);
    ck_assert(says(l, "srvr", "not currently serving requests"));
    ck_assert(says(l, "mntr", "not currently serving requests"));
    ck_assert(says(l, "isro", "null"));
    ck_assert(says(l, "ruok", "imok"));
    e_free(e);
}
END_TEST

H_SUITE("roles", an_observer_serves_reads_and_writes, an_observers_clients_outlive_the_leader,
        a_leader_that_shall_not_serve_takes_no_clients_and_closes_those_it_had,
        sync_at_a_follower_shows_what_was_committed_before,
        sync_waits_for_its_sessions_writes_and_many_pass_in_order,
        a_leader_that_is_cut_off_answers_no_sync,
        a_server_that_lost_its_disk_is_brought_up_by_a_snapshot,
        a_snapshot_is_sent_while_writes_go_on,
        a_snapshot_whose_leader_goes_is_forgotten_and_another_one_sent,
        words_tell_who_leads_and_who_is_in_sync, conf_shows_the_ensemble,
        words_say_that_a_server_without_a_leader_does_not_serve)
