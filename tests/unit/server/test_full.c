/* A replica alone whose disk is full (Z10): clients' writes wait, in order; everything else goes
 * on. */
#include "replica/server/limits.h"
#include "tests/unit/server/ensemble.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct harness *h;

static void setup(void) { h = h_started(); }

static void teardown(void) { h_free(h); }

static void full(void) { h_step(h, (struct event){.type = EV_DISK_FULL}); }

static void room(void) { h_step(h, (struct event){.type = EV_DISK_ROOM}); }

static const char *ask(const char *word) {
    conn_id_t c = h_open(h);
    h_word(h, c, word);
    return h_text(h, c);
}

START_TEST(writes_wait_for_room_and_go_on_in_order) {
    conn_id_t a = h_client(h), b = h_client(h);
    full();
    size_t records = h->log_count;
    h_send_create(h, a, 1, "/a", "", 0);
    h_send_create(h, b, 2, "/b", "", 0);
    h_send_delete(h, a, 3, "/b", -1);
    h_advance(h, 3000);
    h_expect_nothing(h, a);
    h_expect_nothing(h, b);
    ck_assert_uint_eq(h->log_count, records);
    room();
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, b, 2), ZK_OK);
    ck_assert_int_eq(h_err(h, a, 3), ZK_OK);
    ck_assert_int_eq(h_create(h, b, "/c"), ZK_OK);
}
END_TEST

START_TEST(what_was_proposed_before_is_answered_when_it_is_durable) {
    conn_id_t a = h_client(h);
    h->hold_log = true;
    h_send_create(h, a, 1, "/a", "", 0);
    full();
    h_expect_nothing(h, a);
    h_sync(h);
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
}
END_TEST

START_TEST(reads_go_on_and_those_behind_ones_own_write_wait) {
    conn_id_t a = h_client(h), b = h_client(h);
    ck_assert_int_eq(h_create(h, a, "/a"), ZK_OK);
    full();
    h_send_set(h, a, 1, "/a", "new", -1);
    h_send_path(h, a, 2, OP_EXISTS, "/a", false);
    ck_assert_int_eq(h_exists(h, b, "/a", NULL), ZK_OK);
    h_expect_nothing(h, a);
    room();
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, a, 2), ZK_OK);
}
END_TEST

START_TEST(a_ping_is_answered_before_a_write_that_waits) {
    conn_id_t a = h_client(h);
    full();
    h_send_create(h, a, 1, "/a", "", 0);
    for (int i = 0; i < 40; i++) {
        h_advance(h, 10000);
        h_send(h, a, XID_PING, OP_PING, PROTO_empty, NULL);
        ck_assert_int_eq(h_err(h, a, XID_PING), ZK_OK);
    }
    ck_assert(!h->conns[a].closed);
    room();
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
}
END_TEST

START_TEST(a_sync_passes) {
    conn_id_t a = h_client(h), b = h_client(h);
    full();
    h_send_create(h, a, 1, "/a", "", 0);
    h_send(h, b, 2, OP_SYNC, PROTO_path_request, &(struct proto_path_request){h_slice("/")});
    ck_assert_int_eq(h_err(h, b, 2), ZK_OK);
    h_expect_nothing(h, a);
}
END_TEST

START_TEST(a_session_expires_with_its_ephemerals_and_the_write_that_it_waits_for) {
    conn_id_t a = h_client_timeout(h, 10000), b = h_client(h);
    ck_assert_int_eq(h_create_mode(h, a, "/e", CREATE_EPHEMERAL), ZK_OK);
    full();
    h_send_create(h, a, 1, "/a", "", 0);
    h_advance(h, 12000);
    ck_assert(h->conns[a].closed);
    ck_assert_int_eq(h_exists(h, b, "/e", NULL), ZK_NONODE);
    room();
    ck_assert_int_eq(h_exists(h, b, "/a", NULL), ZK_NONODE);
}
END_TEST

START_TEST(a_session_is_closed_at_once_or_behind_its_own_write) {
    conn_id_t a = h_client(h), b = h_client(h), c = h_client(h);
    ck_assert_int_eq(h_create_mode(h, a, "/a", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, b, "/b", CREATE_EPHEMERAL), ZK_OK);
    full();
    h_send_set(h, b, 1, "/b", "new", -1);
    h_send(h, b, 2, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_send(h, a, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/a", NULL), ZK_NONODE);
    ck_assert_int_eq(h_exists(h, c, "/b", NULL), ZK_OK);
    h_expect_nothing(h, b);
    room();
    ck_assert_int_eq(h_err(h, b, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, b, 2), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/b", NULL), ZK_NONODE);
}
END_TEST

START_TEST(a_session_comes_back) {
    conn_id_t a = h_client(h);
    full();
    h_send_create(h, a, 1, "/a", "", 0);
    h_close(h, a);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 40000, h->conns[a].session, h->conns[a].passwd, 0);
    ck_assert(h_take_connect(h, again));
    ck_assert_int_eq(h_exists(h, again, "/a", NULL), ZK_NONODE);
}
END_TEST

START_TEST(so_many_sessions_begin_and_the_next_waits) {
    full();
    for (uint32_t i = 0; i < FULL_SESSIONS_MAX; i++) {
        conn_id_t c = h_client(h);
        h_close(h, c);
    }
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 40000, 0, NULL, 0);
    h_expect_nothing(h, c);
    room();
    ck_assert(h_take_connect(h, c));
}
END_TEST

START_TEST(what_waited_for_the_log_to_answer_goes_out_if_it_may) {
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    int32_t xid = 1;
    while (zab_ready(h->r->zab))
        h_send_create(h, a, xid++, "/a", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_send(h, b, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    full();
    h_sync(h);
    h->hold_log = false;
    h_step(h, (struct event){.type = EV_TICK});
    ck_assert_int_eq(h_err(h, b, 1), ZK_OK);
}
END_TEST

START_TEST(it_is_tried_again_each_second_until_there_is_room) {
    full();
    h_advance(h, FULL_RETRY_MS - 1);
    ck_assert_uint_eq(h->log_retries, 0);
    h_advance(h, 1);
    ck_assert_uint_eq(h->log_retries, 1);
    h_advance(h, 5 * FULL_RETRY_MS);
    ck_assert_uint_eq(h->log_retries, 6);
    room();
    h_advance(h, 5 * FULL_RETRY_MS);
    ck_assert_uint_eq(h->log_retries, 6);
}
END_TEST

START_TEST(one_line_says_that_it_is_full_and_one_that_it_has_room) {
    full();
    ck_assert_ptr_nonnull(strstr(h->last_note, "the disk is full"));
    ck_assert_ptr_nonnull(strstr(h->last_note, "log_dir=/l/log"));
    strcpy(h->last_note, "");
    full();
    h_advance(h, 5000);
    ck_assert_str_eq(h->last_note, "");
    room();
    ck_assert_ptr_nonnull(strstr(h->last_note, "the disk has room again"));
    ck_assert_ptr_nonnull(strstr(h->last_note, "full_ms=5000"));
}
END_TEST

START_TEST(words_say_it_while_it_is_so) {
    static const char line[] = "\nDisk: full, writes wait for room in /l/log\n";
    ck_assert_ptr_nonnull(strstr(ask("mntr"), "\nzk_disk_full\t0\n"));
    full();
    ck_assert_ptr_nonnull(strstr(ask("mntr"), "\nzk_disk_full\t1\n"));
    ck_assert_str_eq(strstr(ask("srvr"), "\nNode count: 5\n"),
                     "\nNode count: 5\nDisk: full, writes wait for room in /l/log\n");
    const char *stat = ask("stat");
    ck_assert_str_eq(stat + strlen(stat) - strlen(line), line);
    room();
    ck_assert_ptr_null(strstr(ask("srvr"), "Disk"));
    ck_assert_ptr_null(strstr(ask("stat"), "Disk"));
}
END_TEST

/* Without room for the record of its epoch. */
START_TEST(a_start_that_finds_no_room_says_so_and_nothing_else) {
    h_free(h);
    h = h_new(NULL);
    h->hold_log = true;
    h_start(h);
    full();
    ck_assert_str_eq(ask("srvr"), "This ZooKeeper instance is not currently serving requests\n"
                                  "Disk: full, writes wait for room in /l/log\n");
    ck_assert_str_eq(ask("ruok"), "imok");
    h->hold_log = false;
    h_sync(h);
    conn_id_t a = h_client(h);
    ck_assert_int_eq(h_exists(h, a, "/", NULL), ZK_OK);
}
END_TEST

START_TEST(a_full_leader_of_others_proposes_nothing_while_one_may_take_its_place) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(f);
    h_step(l, (struct event){.type = EV_DISK_FULL});
    size_t records = l->log_count;
    h_send_create(f, c, 1, "/a", "", 0);
    ck_assert(e_leader(e) != l || l->log_count == records);
    e_advance(e, FULL_HANDOVER_MS + FULL_RETRY_MS);
    e_until_served(e);
    ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_full_follower_serves_and_forwards_writes) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client(f);
    h_step(f, (struct event){.type = EV_DISK_FULL});
    ck_assert_int_eq(h_create(f, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_exists(f, c, "/a", NULL), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

static void all_full(struct ensemble *e) {
    for (size_t i = 0; i < e->count; i++)
        h_step(e->h[i], (struct event){.type = EV_DISK_FULL});
    e_advance(e, FULL_HANDOVER_MS + FULL_RETRY_MS);
}

/* What they wrote would use up the reserves, and a server whose last record finds no room does not
 * vote: with the leader the reads would end. */
START_TEST(where_no_quorum_has_room_writes_wait_until_one_has) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t third = 3 - e_index(e, f) - e_index(e, l);
    conn_id_t a = h_client(f), b = h_client(l);
    all_full(e);
    ck_assert_ptr_eq(e_leader(e), l);
    size_t records = l->log_count;
    h_send_create(f, a, 1, "/a", "", 0);
    h_send_create(l, b, 1, "/b", "", 0);
    e_advance(e, 3 * FULL_HANDOVER_MS);
    ck_assert_uint_eq(l->log_count, records);
    ck_assert_int_eq(h_exists(l, h_client(l), "/a", NULL), ZK_NONODE);
    /* One that has room takes over, and writes nothing that the others have none for. */
    h_step(f, (struct event){.type = EV_DISK_ROOM});
    for (int i = 0; i < 200 && e_leader(e) != f; i++)
        e_advance(e, 100);
    ck_assert_ptr_eq(e_leader(e), f);
    e_advance(e, 2 * FULL_HANDOVER_MS);
    h_expect_nothing(f, a);
    ck_assert_int_eq(h_exists(f, h_client(f), "/a", NULL), ZK_NONODE);
    h_step(e->h[third], (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 500);
    ck_assert_int_eq(h_err(f, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(l, b, 1), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_leader_with_room_says_that_the_others_have_none) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e);
    for (size_t i = 0; i < 3; i++) {
        if (e->h[i] != l)
            h_step(e->h[i], (struct event){.type = EV_DISK_FULL});
    }
    e_advance(e, 500);
    ck_assert_ptr_nonnull(strstr(l->last_note, "too few servers have room"));
    conn_id_t c = h_open(l);
    h_word(l, c, "srvr");
    ck_assert_ptr_nonnull(strstr(h_text(l, c), "\nDisk: too few servers have room"));
    h_step(e_follower(e), (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 500);
    ck_assert_ptr_nonnull(strstr(l->last_note, "enough servers have room"));
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(sessions_of_learners_begin_and_end_and_come_back) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t a = h_client(f), b = h_client(f), c = h_client(f);
    ck_assert_int_eq(h_create_mode(f, b, "/b", CREATE_EPHEMERAL), ZK_OK);
    all_full(e);
    h_send(f, c, 1, OP_SYNC, PROTO_path_request, &(struct proto_path_request){h_slice("/")});
    e_advance(e, 200);
    ck_assert_int_eq(h_err(f, c, 1), ZK_OK);
    h_send_create(f, a, 1, "/a", "", 0);
    h_send(f, a, 2, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_send(f, b, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(f, b, 1), ZK_OK);
    h_close(f, c);
    conn_id_t again = h_open(f);
    h_send_connect(f, again, 40000, f->conns[c].session, f->conns[c].passwd, 0);
    ck_assert(h_take_connect(f, again));
    ck_assert_int_eq(h_exists(f, again, "/b", NULL), ZK_NONODE);
    conn_id_t newer = h_client(f);
    ck_assert_int_eq(h_exists(f, newer, "/a", NULL), ZK_NONODE);
    h_expect_nothing(f, a);
    /* A ping overtakes there, too. */
    h_send_create(f, newer, 3, "/newer", "", 0);
    h_send(f, newer, XID_PING, OP_PING, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(f, newer, XID_PING), ZK_OK);
    for (size_t i = 0; i < 2; i++)
        h_step(i ? f : l, (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 500);
    ck_assert_int_eq(h_err(f, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(f, a, 2), ZK_OK);
    ck_assert_int_eq(h_err(f, newer, 3), ZK_OK);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* A sync asks what became of all that its server has sent. */
START_TEST(a_sync_of_a_learner_stays_behind_what_waits_of_it) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t a = h_client(f), b = h_client(f);
    all_full(e);
    h_send_create(f, a, 1, "/a", "", 0);
    h_send(f, b, 1, OP_SYNC, PROTO_path_request, &(struct proto_path_request){h_slice("/")});
    e_advance(e, 1000);
    h_expect_nothing(f, b);
    for (size_t i = 0; i < 2; i++)
        h_step(i ? f : l, (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 500);
    ck_assert_int_eq(h_err(f, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(f, b, 1), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(so_many_sessions_of_learners_begin_and_the_next_waits) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    all_full(e);
    for (uint32_t i = 0; i < FULL_SESSIONS_MAX; i++)
        h_close(f, h_client(f));
    conn_id_t c = h_open(f);
    h_send_connect(f, c, 40000, 0, NULL, 0);
    e_advance(e, 500);
    h_expect_nothing(f, c);
    for (size_t i = 0; i < 2; i++)
        h_step(i ? f : l, (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 500);
    ck_assert(h_take_connect(f, c));
    e_free(e);
}
END_TEST

/* The one with room is behind: for a moment the leader takes no proposals at all. */
START_TEST(what_learners_sent_while_nothing_went_goes_out_if_it_may) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    struct harness *slow = e->h[3 - e_index(e, f) - e_index(e, l)];
    conn_id_t a = h_client(f), b = h_client(f), c = h_client(f);
    h_step(l, (struct event){.type = EV_DISK_FULL});
    h_step(f, (struct event){.type = EV_DISK_FULL});
    slow->hold_log = true;
    h_send(f, c, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    for (int i = 0; i < 100 && zab_ready(l->r->zab); i++)
        e_advance(e, 50);
    ck_assert(!zab_ready(l->r->zab));
    h_send_create(f, a, 1, "/a", "", 0);
    h_send(f, a, 2, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_send(f, b, 1, OP_CLOSE_SESSION, PROTO_empty, NULL);
    h_expect_nothing(f, b);
    for (int i = 0; i < 100 && !zab_ready(l->r->zab); i++)
        e_advance(e, 50);
    e_advance(e, 50);
    ck_assert_int_eq(h_err(f, b, 1), ZK_OK);
    h_expect_nothing(f, a);
    slow->hold_log = false;
    h_step(f, (struct event){.type = EV_DISK_ROOM});
    e_advance(e, 3000);
    ck_assert_int_eq(h_err(f, a, 1), ZK_OK);
    ck_assert_int_eq(h_err(f, a, 2), ZK_OK);
    e_free(e);
}
END_TEST

START_TEST(a_full_learner_takes_no_snapshot_before_there_is_room) {
    struct ensemble *e = e_started(3, 0);
    struct harness *f = e_follower(e);
    size_t at = e_index(e, f);
    ck_assert_int_eq(h_create(e_leader(e), h_client(e_leader(e)), "/a"), ZK_OK);
    e_kill(e, at);
    e_wipe(e, at);
    e_isolate(e, at);
    e_revive(e, at);
    h_step(f, (struct event){.type = EV_DISK_FULL});
    e_rejoin(e, at);
    e_advance(e, 5000);
    ck_assert_uint_eq(e->disk[at].coming_count, 0);
    ck_assert(!e->disk[at].has_snapshot);
    ck_assert(!f->r->serving);
    h_step(f, (struct event){.type = EV_DISK_ROOM});
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("full");
    TCase *t = tcase_create("full");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, writes_wait_for_room_and_go_on_in_order);
    tcase_add_test(t, what_was_proposed_before_is_answered_when_it_is_durable);
    tcase_add_test(t, reads_go_on_and_those_behind_ones_own_write_wait);
    tcase_add_test(t, a_ping_is_answered_before_a_write_that_waits);
    tcase_add_test(t, a_sync_passes);
    tcase_add_test(t, a_session_expires_with_its_ephemerals_and_the_write_that_it_waits_for);
    tcase_add_test(t, a_session_is_closed_at_once_or_behind_its_own_write);
    tcase_add_test(t, a_session_comes_back);
    tcase_add_test(t, so_many_sessions_begin_and_the_next_waits);
    tcase_add_test(t, what_waited_for_the_log_to_answer_goes_out_if_it_may);
    tcase_add_test(t, it_is_tried_again_each_second_until_there_is_room);
    tcase_add_test(t, one_line_says_that_it_is_full_and_one_that_it_has_room);
    tcase_add_test(t, words_say_it_while_it_is_so);
    tcase_add_test(t, a_start_that_finds_no_room_says_so_and_nothing_else);
    tcase_add_test(t, a_full_leader_of_others_proposes_nothing_while_one_may_take_its_place);
    tcase_add_test(t, a_full_follower_serves_and_forwards_writes);
    tcase_add_test(t, where_no_quorum_has_room_writes_wait_until_one_has);
    tcase_add_test(t, a_leader_with_room_says_that_the_others_have_none);
    tcase_add_test(t, sessions_of_learners_begin_and_end_and_come_back);
    tcase_add_test(t, a_sync_of_a_learner_stays_behind_what_waits_of_it);
    tcase_add_test(t, so_many_sessions_of_learners_begin_and_the_next_waits);
    tcase_add_test(t, what_learners_sent_while_nothing_went_goes_out_if_it_may);
    tcase_add_test(t, a_full_learner_takes_no_snapshot_before_there_is_room);
    suite_add_tcase(s, t);
    return s;
}
