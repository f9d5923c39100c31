/* Trees that differ where no quorum says which one is right. */
#include "replica/server/limits.h"
#include "tests/unit/server/ensemble.h"

#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

START_TEST(of_two_that_differ_the_follower_starts_over_first) {
    struct ensemble *e = e_started(2, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    for (uint32_t i = 1; i <= 3; i++) {
        char path[32];
        e_spoil(f);
        (void)snprintf(path, sizeof path, "/a%u", i);
        ck_assert_int_eq(h_create(l, h_client(l), path), ZK_OK);
        e_advance(e, 200);
        e_until_served(e);
        e_advance(e, 1000);
        ck_assert_uint_eq(e->start_overs[e_index(e, f)], i);
        ck_assert_uint_eq(e_start_overs(e), i);
        ck_assert(!e->distrusts[e_index(e, f)]);
        e_assert_equal(e);
    }
    e_free(e);
}
END_TEST

/* Whether the follower is back before the leader has missed it, or long after. */
static void leader_differs_of_two(int64_t away_ms) {
    struct ensemble *e = e_started(2, 0);
    struct harness *l = e_leader(e);
    e_spoil(l);
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e->stay_over = true;
    for (int i = 0; i < 300 && e_start_overs(e) < 2; i++) {
        e_advance(e, away_ms);
        e->stay_over = false;
        e_advance(e, 10);
        e->stay_over = true;
    }
    e->stay_over = false;
    e_advance(e, 10);
    e_until_served(e);
    e_advance(e, 2000);
    ck_assert_uint_eq(e->start_overs[0], 1);
    ck_assert_uint_eq(e->start_overs[1], 1);
    ck_assert(!e->distrusts[0]);
    ck_assert(!e->distrusts[1]);
    e_assert_equal(e);
    e_free(e);
}

START_TEST(of_two_that_differ_still_the_leader_starts_over_too) {
    leader_differs_of_two(50);
    leader_differs_of_two(5000);
}
END_TEST

/* Both disks are of another opinion. It must come to an end, and never may both be given up. */
START_TEST(of_two_whose_disks_differ_one_is_given_up) {
    struct ensemble *e = e_started(2, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_set(l, c, "/a", "right", -1), ZK_OK);
    e_spoil_log(f, "right", "wrong");
    e_kill(e, e_index(e, f));
    e_revive(e, e_index(e, f));
    for (int i = 0; i < 300; i++)
        e_advance(e, 100);
    e_until_served(e);
    ck_assert_int_eq(e->disk[0].has_snapshot + e->disk[1].has_snapshot, 1);
    ck_assert_uint_le(e_start_overs(e), 4);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* After that time, and nobody has anything to say about it. */
static void write_later(struct ensemble *e, int64_t ms) {
    struct harness *l = e_leader(e), *f = e_follower(e);
    for (int64_t at = 0; at < ms; at += 1000)
        e_advance(e, 1000);
    l->last_note[0] = f->last_note[0] = 0;
    conn_id_t c = h_client(l);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(h_create_mode(l, c, "/b", CREATE_PERSISTENT_SEQUENTIAL), ZK_OK);
        e_advance(e, 500);
    }
    h_close(l, c);
    ck_assert_ptr_null(strstr(l->last_note, "differ"));
    ck_assert_ptr_null(strstr(f->last_note, "differ"));
}

/* The third voter could tell, but it is not there yet. */
START_TEST(while_a_voter_is_missing_no_disk_is_given_up) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    size_t gone = 3 - e_index(e, l) - e_index(e, f);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_set(l, c, "/a", "right", -1), ZK_OK);
    e_kill(e, gone);
    e_spoil_log(f, "right", "wrong");
    e_kill(e, e_index(e, f));
    e_revive(e, e_index(e, f));
    for (int i = 0; i < 300; i++)
        e_advance(e, 100);
    uint32_t before = e_start_overs(e);
    ck_assert_uint_le(before, 4);
    ck_assert_ptr_nonnull(strstr(e_leader(e)->last_note, "until the voters that are missing"));
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(
            h_create_mode(e_leader(e), h_client(e_leader(e)), "/b", CREATE_PERSISTENT_SEQUENTIAL),
            ZK_OK);
    e_advance(e, 10000);
    ck_assert_uint_eq(e_start_overs(e), before);
    write_later(e, 0);
    write_later(e, DIGEST_FRESH_MS);
    ck_assert_uint_eq(e_start_overs(e), before);
    for (size_t i = 0; i < 3; i++)
        ck_assert(!e->disk[i].has_snapshot);
    e_revive(e, gone);
    for (int i = 0; i < 100; i++)
        e_advance(e, 100);
    e_until_served(e);
    ck_assert(e->disk[e_index(e, f)].has_snapshot);
    ck_assert_uint_eq(e->start_overs[gone], 0);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* Three of five are there, and the leader is the one that is wrong: the others start over in vain,
 * and then it does. */
START_TEST(without_a_quorum_of_one_opinion_all_come_to_the_same) {
    struct ensemble *e = e_started(5, 0);
    struct harness *l = e_leader(e);
    size_t gone = 0;
    for (size_t i = 0; i < 5 && gone < 2; i++) {
        if (e->h[i] != l && ++gone)
            e_kill(e, i);
    }
    e_spoil(l);
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    for (int i = 0; i < 100; i++)
        e_advance(e, 100);
    e_until_served(e);
    ck_assert_uint_ge(e->start_overs[e_index(e, l)], 1);
    ck_assert_uint_le(e_start_overs(e), 4);
    for (size_t i = 0; i < 5; i++)
        ck_assert(!e->distrusts[i]);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* Two differ, and the third is about to say who is right. */
START_TEST(one_that_lags_is_waited_for) {
    struct ensemble *e = e_started(3, 0);
    struct harness *l = e_leader(e), *f = e_follower(e);
    conn_id_t c = h_client(l);
    f->hold_log = true;
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    e_advance(e, 200);
    e_spoil(l);
    ck_assert_int_eq(h_create(l, c, "/b"), ZK_OK);
    e_advance(e, 2000);
    ck_assert_uint_eq(e_start_overs(e), 0);
    e->stay_over = true;
    f->hold_log = false;
    e_settle(e);
    e_advance(e, 200);
    ck_assert(e->over[e_index(e, l)]);
    ck_assert_uint_eq(e_start_overs(e), 1);
    e_free(e);
}
END_TEST

H_SUITE("digest_tie", of_two_that_differ_the_follower_starts_over_first,
        of_two_that_differ_still_the_leader_starts_over_too,
        of_two_whose_disks_differ_one_is_given_up, while_a_voter_is_missing_no_disk_is_given_up,
        without_a_quorum_of_one_opinion_all_come_to_the_same, one_that_lags_is_waited_for)
