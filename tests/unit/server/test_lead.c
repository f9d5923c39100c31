/* What a leader knows is forgotten with its leadership; and its epochs end. */
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "replica/proto/peer_codec.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

/* The leader is cut off with what it has in flight, replaced, and comes back. */
static void depose(struct ensemble *e, size_t at) {
    for (size_t k = 0; k < e->count; k++)
        e->way[at][k].held = false;
    e_isolate(e, at);
    e_advance(e, 1500);
    e_rejoin(e, at);
    e_until_served(e);
    ck_assert(!e->h[at]->r->leading);
}

static void hold_ways(struct ensemble *e, size_t at) {
    for (size_t k = 0; k < e->count; k++)
        e->way[at][k].held = true;
}

/* Whoever else leads is killed, until this one does. */
static void lead_again(struct ensemble *e, size_t at) {
    e_kill(e, e_index(e, e_leader(e)));
    e_until_served(e);
    ck_assert_msg(e->h[at]->r->leading, "the greatest id of equal ones leads");
}

START_TEST(a_leader_that_leads_again_knows_nothing_of_what_was_cut_away) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    ck_assert_uint_eq(at, 2);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/p"), ZK_OK);
    hold_ways(e, at);
    h_send_create(l, c, 1, "/p/x", "", 0);
    h_send_create(l, c, 2, "/p/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    conn_id_t d = h_open(l);
    h_send_connect(l, d, 20000, 0, NULL, 0);
    h_close(l, c);
    h_close(l, d);
    depose(e, at);
    ck_assert_uint_eq(l->r->sessions.count, 1);
    lead_again(e, at);
    conn_id_t g = h_client(l);
    ck_assert_int_eq(h_create(l, g, "/p/x"), ZK_OK);
    h_send_create(l, g, 3, "/p/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    static struct h_reply reply;
    ck_assert(h_take(l, g, &reply));
    ck_assert(slice_equal_str(h_string(&reply), "/p/s-0000000001"));
    ck_assert_int_eq(h_delete(l, g, "/p", -1), ZK_NOTEMPTY);
    ck_assert_ptr_null(l->r->inflight_first);
    ck_assert_uint_eq(pending_count(l->r->pending), 0);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_session_whose_end_was_cut_away_lives_and_can_end_again) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    conn_id_t c = h_client_timeout(l, 4000);
    ck_assert_int_eq(h_create_mode(l, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_close(l, c);
    struct session *s = session_find(&l->r->sessions, l->conns[c].session);
    e_advance(e, s->expires_ms - l->mono_ms - 10);
    hold_ways(e, at);
    while (!s->closing)
        e_advance(e, 10);
    depose(e, at);
    lead_again(e, at);
    conn_id_t d = h_open(l);
    h_send_connect(l, d, 4000, l->conns[c].session, l->conns[c].passwd, 0);
    ck_assert(h_take_connect(l, d));
    ck_assert_int_eq(h_exists(l, d, "/e", NULL), ZK_OK);
    ck_assert_int_eq(h_create_mode(l, d, "/f", CREATE_EPHEMERAL), ZK_OK);
    h_close(l, d);
    e_advance(e, 8000);
    ck_assert_uint_eq(l->r->sessions.count, 0);
    ck_assert_uint_eq(tree_ephemeral_count(l->r->tree), 0);
    e_free(e);
}
END_TEST

START_TEST(who_was_connected_where_is_forgotten_with_the_leadership) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    struct harness *f = e->h[0];
    conn_id_t c = h_client(l);
    /* Its move to the follower is not in the history of the next leader. */
    hold_ways(e, at);
    conn_id_t d = h_open(f);
    h_send_connect(f, d, 40000, l->conns[c].session, l->conns[c].passwd, 0);
    h_expect_nothing(f, d);
    h_close(f, d);
    depose(e, at);
    lead_again(e, at);
    ck_assert(!l->conns[c].closed);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(clients_of_all_servers_go_on_over_the_end_of_an_epoch) {
    struct ensemble *e = e_new(3, 0);
    e->counter_limit = 10;
    e_start(e);
    conn_id_t c[3];
    for (size_t i = 0; i < 3; i++)
        c[i] = h_client(e->h[i]);
    e_hold_disks(e, true);
    for (int n = 0; n < 10; n++) {
        for (size_t i = 0; i < 3; i++)
            h_send_create(e->h[i], c[i], 10 + n, "/n-", "", CREATE_PERSISTENT_SEQUENTIAL);
    }
    for (size_t i = 0; i < 3; i++)
        h_send_path(e->h[i], c[i], 20, OP_SYNC, "/", false);
    ck_assert_ptr_nonnull(e_leader(e)->r->backlog_first);
    e_hold_disks(e, false);
    for (size_t i = 0; i < 3; i++) {
        for (int n = 0; n <= 10; n++)
            ck_assert_int_eq(h_err(e->h[i], c[i], 10 + n), ZK_OK);
        ck_assert(!e->h[i]->conns[c[i]].closed);
    }
    ck_assert_uint_gt(zab_epoch(e->h[0]->r->zab), 2);
    ck_assert_uint_eq(znode_child_count(tree_find(e->h[0]->r->tree, h_slice("/"))), 31);
    ck_assert_ptr_null(e_leader(e)->r->backlog_first);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(what_learners_have_waiting_at_a_leader_is_done_once_when_it_goes) {
    for (int steps = 0; steps < 60; steps += 3) {
        struct ensemble *e = e_new(3, 0);
        e->counter_limit = 8;
        e_start(e);
        struct harness *l = e_leader(e);
        size_t at = e_index(e, l);
        conn_id_t c[3] = {0};
        for (size_t i = 0; i < 3; i++)
            c[i] = h_client(e->h[i]);
        e->held = true;
        for (int n = 0; n < 8; n++) {
            for (size_t i = 0; i < 3; i++)
                h_send_create(e->h[i], c[i], 10 + n, "/n-", "", CREATE_PERSISTENT_SEQUENTIAL);
        }
        for (int i = 0; i < steps; i++)
            (void)e_settle_one(e);
        e->held = false;
        e_isolate(e, at);
        e_advance(e, 1450);
        e_rejoin(e, at);
        e_until_served(e);
        for (size_t i = 0; i < 3; i++) {
            ck_assert_msg(!e->h[i]->conns[c[i]].closed, "%s", e->h[i]->conns[c[i]].why);
            for (int n = 0; n < 8; n++)
                ck_assert_int_eq(h_err(e->h[i], c[i], 10 + n), ZK_OK);
            h_expect_nothing(e->h[i], c[i]);
        }
        ck_assert_uint_eq(znode_child_count(tree_find(l->r->tree, h_slice("/"))), 25);
        e_assert_equal(e);
        e_free(e);
    }
}
END_TEST

START_TEST(clients_of_a_server_that_gets_a_snapshot_are_closed) {
    struct ensemble *e = e_started(5, 0);
    struct harness *last = e->h[0];
    ck_assert_ptr_eq(e_leader(e), e->h[4]);
    conn_id_t c = h_client(last), w = h_client(e->h[4]);
    h_send_path(last, c, 1, OP_EXISTS, "/a", true);
    ck_assert_int_eq(h_err(last, c, 1), ZK_NONODE);
    e_isolate(e, 0);
    h_send_create(last, c, 2, "/lost", "", 0);
    ck_assert_int_eq(h_create(e->h[4], w, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(e->h[4], w, "/b"), ZK_OK);
    /* Nobody keeps a log that reaches back to what it has. */
    for (size_t i = 1; i < 4; i++) {
        e_kill(e, i);
        e_wipe(e, i);
        e_revive(e, i);
        while (!e->h[i]->r->serving)
            e_advance(e, 10);
        ck_assert(e->disk[i].has_snapshot);
    }
    e_kill(e, 4);
    e_rejoin(e, 0);
    e_until_served(e);
    ck_assert(e->disk[0].has_snapshot);
    ck_assert(last->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(last->conns[c].why, "snapshot"));
    h_expect_nothing(last, c);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

static void with_read_only(struct replica_config *config) { config->read_only_mode = true; }

START_TEST(a_tree_that_is_not_exact_is_not_read) {
    struct ensemble *e = e_new(3, 0);
    e->configure = with_read_only;
    e_start(e);
    struct harness *l = e_leader(e);
    conn_id_t c = h_client(l);
    static char data[20001];
    memset(data, 'x', sizeof data - 1);
    for (int i = 0; i < 300; i++) {
        h_send_create(l, c, i, "/z-", data, CREATE_PERSISTENT_SEQUENTIAL);
        ck_assert_int_eq(h_err(l, c, i), ZK_OK);
    }
    e_kill(e, 0);
    e_wipe(e, 0);
    e_revive(e, 0);
    e->held = true;
    for (int i = 0; i < 4000 && !e->disk[0].has_snapshot; i++) {
        if (l->r->sendings)
            h_send_create(l, c, 1000, "/w-", "", CREATE_PERSISTENT_SEQUENTIAL);
        if (!e_settle_one(e))
            e_advance(e, 1);
    }
    ck_assert(e->disk[0].has_snapshot);
    ck_assert_int_gt(e->disk[0].ended, e->disk[0].begun);
    e_kill(e, 0);
    e_isolate(e, 0);
    e->held = false;
    e_revive(e, 0);
    e_advance(e, 1100);
    struct harness *h = e->h[0];
    ck_assert(h->r->sessions.has_secret);
    ck_assert(!tree_exact(h->r->tree));
    struct proto_connect_request req = {.passwd = {(const uint8_t *)"0123456789abcdef", 16},
                                        .read_only = true,
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t d = h_open(h);
    h_frame(h, d, b.data, b.len);
    ck_assert(h->conns[d].closed);
    buf_close(&b);
    e_rejoin(e, 0);
    e_until_served(e);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_session_that_is_there_is_not_made_a_second_time) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    conn_id_t c = h_client(f);
    zxid_t last = zab_last_zxid(l->r->zab);
    struct app_msg m = {.type = APP_REQUEST,
                        .tag = 99,
                        .session_id = f->conns[c].session,
                        .opcode = OP_CREATE_SESSION,
                        .timeout_ms = 5000,
                        .body = SLICE_NULL};
    e_send_app(l, f->config.server_id, &m);
    m.session_id = 0;
    e_send_app(l, f->config.server_id, &m);
    ck_assert_int_eq(zab_last_zxid(l->r->zab), last);
    ck_assert_int_eq(h_create(f, c, "/a"), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(identities_that_nobody_knows_cut_the_link) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    conn_id_t c = h_client(f);
    struct app_auth_id id = {h_slice("nobody"), h_slice("x")};
    struct app_msg m = {.type = APP_REQUEST,
                        .session_id = f->conns[c].session,
                        .opcode = OP_DELETE,
                        .body = SLICE_NULL,
                        .auth_ids = &id,
                        .auth_count = 1};
    e->held = true;
    e_send_app(l, f->config.server_id, &m);
    ck_assert(!l->r->peers[f->config.server_id].up);
    e->held = false;
    e_advance(e, 100);
    e_until_served(e);
    e_free(e);
}
END_TEST

START_TEST(a_request_of_a_session_that_nobody_knows_is_answered) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    zxid_t last = zab_last_zxid(l->r->zab);
    struct app_msg m = {
        .type = APP_REQUEST, .session_id = 77, .opcode = OP_DELETE, .body = SLICE_NULL};
    e_send_app(l, f->config.server_id, &m);
    ck_assert_int_eq(zab_last_zxid(l->r->zab), last + 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

H_SUITE("lead", a_leader_that_leads_again_knows_nothing_of_what_was_cut_away,
        a_session_whose_end_was_cut_away_lives_and_can_end_again,
        who_was_connected_where_is_forgotten_with_the_leadership,
        clients_of_all_servers_go_on_over_the_end_of_an_epoch,
        what_learners_have_waiting_at_a_leader_is_done_once_when_it_goes,
        clients_of_a_server_that_gets_a_snapshot_are_closed, a_tree_that_is_not_exact_is_not_read,
        a_session_that_is_there_is_not_made_a_second_time,
        identities_that_nobody_knows_cut_the_link,
        a_request_of_a_session_that_nobody_knows_is_answered)
