#include "replica/server/digest.h"
#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static void ping(struct harness *h, conn_id_t c) {
    h_send(h, c, XID_PING, OP_PING, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, c, XID_PING), ZK_OK);
}

START_TEST(a_silent_session_expires_within_a_tick_of_its_timeout_and_not_before) {
    struct harness *h = h_started();
    conn_id_t watcher = h_client(h);
    conn_id_t c = h_client_timeout(h, 10000);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_advance(h, 9999);
    ping(h, watcher);
    ck_assert_int_eq(h_exists(h, watcher, "/e", NULL), ZK_OK);
    h_advance(h, 2001);
    ck_assert_int_eq(h_exists(h, watcher, "/e", NULL), ZK_NONODE);
    ck_assert(h->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(h->conns[c].why, "expired"));
    h_free(h);
}
END_TEST

START_TEST(any_frame_keeps_a_session_alive) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 4000);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    for (int i = 0; i < 50; i++) {
        h_advance(h, 3000);
        if (i % 2)
            ping(h, c);
        else
            ck_assert_int_eq(h_exists(h, c, "/e", NULL), ZK_OK);
    }
    ck_assert(!h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(a_session_without_a_connection_lives_for_its_timeout) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 8000);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_close(h, c);
    h_advance(h, 7000);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 8000, h->conns[c].session, h->conns[c].passwd, 0);
    ck_assert(h_take_connect(h, again));
    h_advance(h, 7000);
    ck_assert_int_eq(h_exists(h, again, "/e", NULL), ZK_OK);
    h_close(h, again);
    h_advance(h, 10000);
    conn_id_t other = h_client(h);
    ck_assert_int_eq(h_exists(h, other, "/e", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(a_reconnect_may_shorten_the_timeout) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 40000);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 4000, h->conns[c].session, h->conns[c].passwd, 0);
    ck_assert(h_take_connect(h, again));
    h_advance(h, 6000);
    ck_assert(h->conns[again].closed);
    h_free(h);
}
END_TEST

START_TEST(after_a_start_every_session_has_its_whole_timeout_again) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 10000);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_advance(h, 9000);
    h_restart(h);
    h_advance(h, 9900);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 10000, h->conns[c].session, h->conns[c].passwd, 0);
    ck_assert(h_take_connect(h, again));
    ck_assert_int_eq(h_exists(h, again, "/e", NULL), ZK_OK);
    h_restart(h);
    h_advance(h, 12001);
    conn_id_t other = h_client(h);
    ck_assert_int_eq(h_exists(h, other, "/e", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(time_in_which_the_process_stood_still_does_not_count) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 10000);
    h_advance(h, 3000);
    h->mono_ms += 60000; /* stopped, and then the tick that was due comes late */
    h_step(h, (struct event){.type = EV_TICK});
    ck_assert(!h->conns[c].closed);
    ping(h, c); /* what waited in the socket */
    h_advance(h, 9000);
    ck_assert(!h->conns[c].closed);
    h_advance(h, 3001);
    ck_assert(h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(a_frame_that_comes_with_the_late_tick_is_heard_first) {
    struct harness *h = h_started();
    conn_id_t c = h_client_timeout(h, 4000);
    h->mono_ms = h->deadline_ms;
    ping(h, c); /* at the very deadline, before the tick */
    h_step(h, (struct event){.type = EV_TICK});
    ck_assert(!h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(a_thousand_sessions_expire_each_at_its_own_time) {
    struct replica_config config = h_config();
    config.max_conns_per_ip = 0;
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t watcher = h_client_timeout(h, 40000);
    char path[32];
    conn_id_t conns[1000];
    for (int i = 0; i < 1000; i++) {
        conns[i] = h_client_timeout(h, 4000 + i % 10 * 4000);
        (void)snprintf(path, sizeof path, "/e%d", i);
        ck_assert_int_eq(h_create_mode(h, conns[i], path, CREATE_EPHEMERAL), ZK_OK);
    }
    for (int s = 1; s <= 10; s++) {
        h_advance(h, 3999);
        ping(h, watcher);
        for (int i = 0; i < 1000; i++)
            ck_assert_int_eq(h->conns[conns[i]].closed, 4000 + i % 10 * 4000 <= s * 4000 - 2000);
        h_advance(h, 1);
    }
    h_advance(h, 2000);
    struct zstat stat;
    ck_assert_int_eq(h_exists(h, watcher, "/", &stat), ZK_OK);
    ck_assert_int_eq(stat.num_children, 1); /* zookeeper */
    h_free(h);
}
END_TEST

START_TEST(a_timeout_longer_than_the_ring_is_kept) {
    struct replica_config config = h_config();
    config.tick_ms = 100;
    config.max_session_timeout_ms = 100000;
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t c = h_client_timeout(h, 50000);
    h_advance(h, 49999);
    ck_assert(!h->conns[c].closed);
    h_advance(h, 101);
    ck_assert(h->conns[c].closed);
    h_free(h);
}
END_TEST

START_TEST(closing_a_session_deletes_its_ephemerals_and_only_those) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    ck_assert_int_eq(h_create_mode(h, a, "/ea", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, b, "/eb", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create(h, a, "/p"), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, a, "/p/s-", CREATE_EPHEMERAL_SEQUENTIAL), ZK_OK);
    h_send(h, a, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    ck_assert(h->conns[a].closed);
    ck_assert_int_eq(h_exists(h, b, "/ea", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, b, "/p/s-0000000000", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, b, "/eb", NULL), ZK_OK);
    ck_assert_int_eq(h_exists(h, b, "/p", NULL), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(closing_deletes_what_is_still_in_flight_and_not_what_is_being_deleted) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    ck_assert_int_eq(h_create_mode(h, a, "/old", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, a, "/taken", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, a, "/set", CREATE_EPHEMERAL), ZK_OK);
    h->hold_log = true;
    h_send_set(h, a, 1, "/set", "x", -1);
    h_send_create(h, a, 2, "/new", "", CREATE_EPHEMERAL);
    h_send_delete(h, b, 1, "/old", -1);
    h_send_delete(h, b, 2, "/taken", -1);
    h_send_create(h, b, 3, "/taken", "", 0); /* another znode of the same name */
    h_send(h, a, 3, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_sync(h);
    for (int xid = 1; xid <= 3; xid++) {
        ck_assert_int_eq(h_err(h, a, xid), ZK_OK);
        ck_assert_int_eq(h_err(h, b, xid), ZK_OK);
    }
    h->hold_log = false;
    ck_assert_int_eq(h_exists(h, b, "/new", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, b, "/set", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, b, "/old", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, b, "/taken", NULL), ZK_OK);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    h_free(h);
}
END_TEST

START_TEST(what_a_client_sends_behind_its_close_is_ignored) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    h_send(h, a, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_send_create(h, a, 2, "/late", "", 0);
    h_send_path(h, a, 3, OP_EXISTS, "/", false);
    h_sync(h);
    h->hold_log = false;
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    h_expect_nothing(h, a);
    ck_assert_int_eq(h_exists(h, b, "/late", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(a_session_whose_end_is_in_flight_takes_no_request) {
    struct harness *h = h_started();
    conn_id_t a = h_client_timeout(h, 4000), b = h_client(h);
    h->hold_log = true;
    h_advance(h, 6000);
    h_send_create(h, a, 1, "/late", "", 0);
    ping(h, b);
    h_sync(h);
    h->hold_log = false;
    ck_assert(h->conns[a].closed);
    h_expect_nothing(h, a);
    ck_assert_int_eq(h_exists(h, b, "/late", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(an_idle_core_asks_for_the_scrubs_tick_and_no_other) {
    struct harness *h = h_started();
    ck_assert_int_eq(h->deadline_ms, digest_deadline(h->r));
    conn_id_t c = h_client(h);
    h_send(h, c, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_advance(h, 100000);
    ck_assert_int_eq(h->deadline_ms, digest_deadline(h->r));
    h_free(h);
}
END_TEST

H_SUITE("expiry", a_silent_session_expires_within_a_tick_of_its_timeout_and_not_before,
        any_frame_keeps_a_session_alive, a_session_without_a_connection_lives_for_its_timeout,
        a_reconnect_may_shorten_the_timeout,
        after_a_start_every_session_has_its_whole_timeout_again,
        time_in_which_the_process_stood_still_does_not_count,
        a_frame_that_comes_with_the_late_tick_is_heard_first,
        a_thousand_sessions_expire_each_at_its_own_time, a_timeout_longer_than_the_ring_is_kept,
        closing_a_session_deletes_its_ephemerals_and_only_those,
        closing_deletes_what_is_still_in_flight_and_not_what_is_being_deleted,
        what_a_client_sends_behind_its_close_is_ignored,
        a_session_whose_end_is_in_flight_takes_no_request,
        an_idle_core_asks_for_the_scrubs_tick_and_no_other)
