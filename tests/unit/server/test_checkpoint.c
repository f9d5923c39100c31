/* When checkpoints are made, how little of the core's time they take, and what may become of them.
 */
#include "tests/unit/server/checkpoint_play.h"

#include "replica/server/checkpoint.h"
#include "replica/server/limits.h"
#include "tests/lib/unit.h"
#include "tests/unit/server/ensemble.h"

#include <stdio.h>
#include <string.h>

/* n transactions. */
static void write_some(struct harness *h, conn_id_t c, int n) {
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(h_set(h, c, "/a", "x", -1), ZK_OK);
}

static conn_id_t writer(struct harness *h) {
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    return c;
}

/* Writes until one begins; how many that took. */
static int until_begun(struct harness *h, conn_id_t c) {
    int n = 0;
    for (; !play.under_way; n++) {
        ck_assert_int_lt(n, 1000);
        write_some(h, c, 1);
    }
    return n;
}

/* ---- when ---- */

START_TEST(without_a_count_or_a_size_none_is_made) {
    struct harness *h = play_started(0);
    conn_id_t c = writer(h);
    write_some(h, c, 500);
    h_advance(h, 100000);
    ck_assert_uint_eq(play.begun, 0);
    play_free(h);
}
END_TEST

START_TEST(one_is_due_between_half_and_all_of_the_count_and_each_time_anew) {
    struct harness *h = play_started(40);
    conn_id_t c = writer(h);
    int seen[41] = {0}, kinds = 0;
    (void)until_begun(h, c);
    for (int i = 0; i < 30; i++) {
        ck_assert(play_to_end(h));
        int n = until_begun(h, c);
        ck_assert_int_ge(n, 20);
        ck_assert_int_le(n, 40);
        kinds += seen[n]++ == 0;
    }
    ck_assert_int_gt(kinds, 5);
    ck_assert_uint_eq(play.begun, 31);
    play_free(h);
}
END_TEST

START_TEST(servers_with_other_numbers_begin_at_other_times) {
    int n[2];
    for (uint8_t i = 0; i < 2; i++) {
        struct harness *h = play_started_as((uint8_t)(i + 1), 1000, 0);
        n[i] = until_begun(h, writer(h));
        play_free(h);
    }
    ck_assert_int_ne(n[0], n[1]);
}
END_TEST

START_TEST(one_is_due_by_the_size_of_the_log) {
    static char data[5000];
    struct harness *h = play_started_as(0, 0, 100000);
    conn_id_t c = writer(h);
    memset(data, 'x', sizeof data - 1);
    int n = 0;
    for (; !play.under_way; n++)
        ck_assert_int_eq(h_set(h, c, "/a", data, -1), ZK_OK);
    ck_assert_int_ge(n, 50000 / 5100 - 1);
    ck_assert_int_le(n, 100000 / 5000 + 1);
    play_free(h);
}
END_TEST

START_TEST(what_a_start_had_to_replay_counts) {
    struct harness *h = play_started(1000);
    conn_id_t c = writer(h);
    for (int i = 0; i < 3 && !play.under_way; i++) {
        write_some(h, c, 330);
        if (play.under_way)
            break;
        h_restart(h);
        c = h_client(h);
    }
    ck_assert(play.under_way);
    play_free(h);
}
END_TEST

/* ---- how little at a time ---- */

/* Znodes of 20,000 bytes each. */
static void fill(struct harness *h, conn_id_t c, int from, int count) {
    static char data[20001];
    char path[32];
    memset(data, 'x', sizeof data - 1);
    for (int i = from; i < from + count; i++) {
        (void)snprintf(path, sizeof path, "/a/z%d", i);
        h_send_create(h, c, 1, path, data, 0);
        ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    }
}

static struct harness *large(conn_id_t *ret_client) {
    struct harness *h = play_started(0);
    *ret_client = writer(h);
    fill(h, *ret_client, 0, 60);
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    ck_assert(play.under_way);
    return h;
}

START_TEST(only_a_few_pieces_are_under_way_and_one_in_each_turn) {
    conn_id_t c;
    struct harness *h = large(&c);
    size_t before = play.coming.count;
    ck_assert_uint_eq(before, 1);
    write_some(h, c, 5); /* steps without time */
    ck_assert_uint_eq(play.coming.count, before);
    for (uint32_t i = 1; i < CHECKPOINT_PIECES; i++) {
        h_advance(h, CHECKPOINT_PACE_MS);
        ck_assert_uint_eq(play.coming.count, before + i);
    }
    h_advance(h, 1000);
    ck_assert_uint_eq(play.coming.count, CHECKPOINT_PIECES);
    play_written(h);
    h_advance(h, 1);
    ck_assert_uint_gt(play.coming.count, CHECKPOINT_PIECES);
    for (size_t i = 0; i < play.coming.count; i++)
        ck_assert_uint_le(play.coming.pieces[i]->len, CHECKPOINT_PIECE_BYTES);
    ck_assert(play_to_end(h));
    ck_assert_uint_gt(play.saved.count, 15);
    play_free(h);
}
END_TEST

START_TEST(a_loop_that_was_busy_makes_up_for_its_turns_but_not_for_all_of_them) {
    conn_id_t c;
    struct harness *h = large(&c);
    size_t before = play.coming.count;
    h->mono_ms += 3 * CHECKPOINT_PACE_MS;
    write_some(h, c, 1);
    ck_assert_uint_eq(play.coming.count, before + 3);
    play_written(h);
    before = play.coming.count;
    h->mono_ms += 1000;
    write_some(h, c, 1);
    ck_assert_uint_gt(play.coming.count, before);
    ck_assert_uint_le(play.coming.count, before + CHECKPOINT_LAG_MS / CHECKPOINT_PACE_MS + 2);
    ck_assert(play_to_end(h));
    play_free(h);
}
END_TEST

START_TEST(the_records_of_a_long_walk_come_a_few_at_a_time) {
    conn_id_t c;
    struct harness *h = large(&c);
    play.read_max = 3;
    while (!play.read_asked) {
        write_some(h, c, 7);
        play_written(h);
        h_advance(h, 1);
    }
    int reads = 0;
    for (; play.ended == 0; reads++) {
        ck_assert(play.read_asked);
        play_range(h);
        ck_assert(!play.read_asked || play.coming.count - play.told < CHECKPOINT_PIECES);
        play_written(h);
        h_advance(h, CHECKPOINT_PACE_MS);
    }
    ck_assert_int_gt(reads, 10);
    ck_assert_int_gt(play.coming.zxid, 0);
    ck_assert_int_le(play.coming.zxid, core_last_zxid(h->r));
    play_free(h);
}
END_TEST

/* ---- what may become of it ---- */

START_TEST(the_next_one_is_counted_from_where_this_one_began) {
    struct harness *h = play_started(40);
    conn_id_t c = writer(h);
    (void)until_begun(h, c);
    write_some(h, c, 40);
    ck_assert_uint_eq(play.begun, 1);
    play_written(h);
    h_advance(h, 10);
    ck_assert(play_to_end(h));
    ck_assert_uint_eq(play.begun, 2);
    play_free(h);
}
END_TEST

START_TEST(one_that_failed_is_made_again_later) {
    struct harness *h = play_started(40);
    conn_id_t c = writer(h);
    (void)until_begun(h, c);
    play.under_way = false;
    h_step(h, (struct event){.type = EV_CHECKPOINT_FAILED, .bytes = h_slice("the disk is full")});
    ck_assert_ptr_nonnull(strstr(h->last_note, "the disk is full"));
    write_some(h, c, 100);
    h_advance(h, CHECKPOINT_RETRY_MS - 10);
    ck_assert_uint_eq(play.begun, 1);
    h_advance(h, 10);
    ck_assert_uint_eq(play.begun, 2);
    ck_assert(play_to_end(h));
    struct checkpoint_info info;
    checkpoint_info(h->r, &info);
    ck_assert_uint_eq(info.failed, 1);
    ck_assert_uint_eq(info.saved, 1);
    play_free(h);
}
END_TEST

START_TEST(one_that_failed_by_the_size_of_the_log_is_made_again_as_well) {
    struct harness *h = play_started_as(0, 0, 10000);
    conn_id_t c = writer(h);
    (void)until_begun(h, c);
    play.under_way = false;
    h_step(h, (struct event){.type = EV_CHECKPOINT_FAILED, .bytes = h_slice("the disk is full")});
    h_advance(h, CHECKPOINT_RETRY_MS);
    ck_assert_uint_eq(play.begun, 2);
    play_free(h);
}
END_TEST

START_TEST(one_whose_records_the_log_does_not_have_any_more_is_abandoned) {
    conn_id_t c;
    struct harness *h = large(&c);
    write_some(h, c, 3);
    while (!play.read_asked) {
        play_written(h);
        h_advance(h, 1);
    }
    play.read_fails = true;
    play_range(h);
    ck_assert_uint_eq(play.abandoned, 1);
    ck_assert(!play.under_way);
    play.read_fails = false;
    h_advance(h, CHECKPOINT_RETRY_MS); /* the operator is still waiting */
    ck_assert_uint_eq(play.begun, 2);
    ck_assert(play_to_end(h));
    play_free(h);
}
END_TEST

START_TEST(what_was_read_for_an_abandoned_one_is_not_taken_for_the_next) {
    conn_id_t c;
    struct harness *h = large(&c);
    write_some(h, c, 3);
    while (!play.read_asked) {
        play_written(h);
        h_advance(h, 1);
    }
    play.under_way = false;
    h_step(h, (struct event){.type = EV_CHECKPOINT_FAILED, .bytes = h_slice("full")});
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    ck_assert(play.under_way);
    size_t count = play.coming.count;
    play_range(h);
    ck_assert_uint_eq(play.coming.count, count);
    ck_assert(play_to_end(h));
    play_free(h);
}
END_TEST

/* ---- the word snap ---- */

START_TEST(snap_answers_when_it_is_durable) {
    struct harness *h = play_started(0);
    (void)writer(h);
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    zxid_t asked = core_last_zxid(h->r);
    h_expect_nothing(h, word);
    h_advance(h, HANDSHAKE_TIMEOUT_MS * 2);
    ck_assert(!h->conns[word].closed);
    ck_assert(play_to_end(h));
    ck_assert_int_eq(play.saved.zxid, asked);
    char want[128];
    (void)snprintf(want, sizeof want,
                   "snapshot: /l/log/snapshot.%016llx\nzxid: 0x%llx\nbytes: 1234\n",
                   (unsigned long long)asked, (unsigned long long)asked);
    ck_assert_str_eq(h_text(h, word), want);
    ck_assert(h->conns[word].closed);
    play_free(h);
}
END_TEST

START_TEST(who_asks_while_one_is_made_gets_one_that_has_all_that_was_there) {
    conn_id_t c;
    struct harness *h = large(&c);
    while (play.ended == 0) {
        if (play.read_asked)
            play_range(h);
        play_written(h);
        h_advance(h, 1);
    }
    write_some(h, c, 1);
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    zxid_t asked = core_last_zxid(h->r);
    play_saved(h);
    ck_assert_int_lt(play.saved.zxid, asked);
    h_expect_nothing(h, word);
    ck_assert_uint_eq(play.begun, 2);
    ck_assert(play_to_end(h));
    ck_assert_int_ge(play.saved.zxid, asked);
    ck_assert(h->conns[word].closed);
    ck_assert_uint_eq(play.begun, 2);
    play_free(h);
}
END_TEST

START_TEST(snap_says_why_there_is_none) {
    struct harness *h = play_started(0);
    (void)writer(h);
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    play.under_way = false;
    h_step(h, (struct event){.type = EV_CHECKPOINT_FAILED, .bytes = h_slice("the disk is full")});
    ck_assert_str_eq(h_text(h, word), "no snapshot: the disk is full\n");
    ck_assert(h->conns[word].closed);
    h_advance(h, CHECKPOINT_RETRY_MS * 2);
    ck_assert_uint_eq(play.begun, 1); /* nobody wants one any more */
    play_free(h);
}
END_TEST

START_TEST(only_so_many_ask_at_once_and_who_goes_is_forgotten) {
    struct harness *h = play_started(0);
    (void)writer(h);
    conn_id_t words[CHECKPOINT_ASKED_MAX + 1];
    for (uint32_t i = 0; i <= CHECKPOINT_ASKED_MAX; i++) {
        words[i] = h_open(h);
        h_word(h, words[i], "snap");
    }
    ck_assert_ptr_nonnull(strstr(h_text(h, words[CHECKPOINT_ASKED_MAX]), "too many"));
    for (uint32_t i = 0; i < CHECKPOINT_ASKED_MAX; i++)
        if (i % 2 == 0)
            h_close(h, words[i]);
    ck_assert(play_to_end(h));
    for (uint32_t i = 1; i < CHECKPOINT_ASKED_MAX; i += 2)
        ck_assert_ptr_nonnull(strstr(h_text(h, words[i]), "zxid: 0x"));
    ck_assert_uint_eq(play.begun, 1);
    play_free(h);
}
END_TEST

START_TEST(snap_is_for_whom_the_whitelist_lets) {
    struct harness *h = h_started();
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    ck_assert_str_eq(h_text(h, word), "snap is not executed because it is not in the whitelist.");
    h_free(h);
}
END_TEST

/* ---- a leader's snapshot ---- */

static void (*ensemble_update)(struct harness *h, const struct update *u);
static struct harness *watched;

static void either(struct harness *h, const struct update *u) {
    bool checkpoint = u->type >= UPD_CHECKPOINT_BEGIN && u->type <= UPD_CHECKPOINT_ABANDON;
    if (h == watched && checkpoint)
        play_update(h, u);
    else if (!checkpoint)
        ensemble_update(h, u);
}

static void often(struct replica_config *config) { config->snap_count = 30; }

START_TEST(the_snapshot_of_a_leader_ends_it) {
    struct ensemble *e = e_new(3, 0);
    e->configure = often;
    e_start(e);
    struct harness *l = e_leader(e), *f = e_follower(e);
    watched = f;
    ensemble_update = f->other;
    for (size_t i = 0; i < 3; i++)
        e->h[i]->other = either;
    conn_id_t c = writer(l);
    for (int i = 0; !play.under_way; i++) {
        ck_assert_int_lt(i, 100);
        write_some(l, c, 1);
    }
    e_isolate(e, e_index(e, f));
    write_some(l, c, 20);
    h_step(l, (struct event){.type = EV_LOG_PURGED, .zxid = core_last_zxid(l->r) - 1});
    ck_assert_uint_eq(play.abandoned, 0);
    e_rejoin(e, e_index(e, f));
    e_until_served(e);
    ck_assert_uint_eq(play.abandoned, 1);
    ck_assert(!play.under_way);
    e_assert_equal(e);
    write_some(e_leader(e), c, 40);
    ck_assert(play.under_way); /* the new tree is saved as well */
    e_free(e);
    play_snapshot_clear(&play.coming);
}
END_TEST

H_SUITE("checkpoint", without_a_count_or_a_size_none_is_made,
        one_is_due_between_half_and_all_of_the_count_and_each_time_anew,
        servers_with_other_numbers_begin_at_other_times, one_is_due_by_the_size_of_the_log,
        what_a_start_had_to_replay_counts, only_a_few_pieces_are_under_way_and_one_in_each_turn,
        a_loop_that_was_busy_makes_up_for_its_turns_but_not_for_all_of_them,
        the_records_of_a_long_walk_come_a_few_at_a_time,
        the_next_one_is_counted_from_where_this_one_began, one_that_failed_is_made_again_later,
        one_that_failed_by_the_size_of_the_log_is_made_again_as_well,
        one_whose_records_the_log_does_not_have_any_more_is_abandoned,
        what_was_read_for_an_abandoned_one_is_not_taken_for_the_next,
        snap_answers_when_it_is_durable,
        who_asks_while_one_is_made_gets_one_that_has_all_that_was_there,
        snap_says_why_there_is_none, only_so_many_ask_at_once_and_who_goes_is_forgotten,
        snap_is_for_whom_the_whitelist_lets, the_snapshot_of_a_leader_ends_it)
