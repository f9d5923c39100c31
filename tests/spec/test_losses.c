/* Servers that have lost the end of their log: what they may have acknowledged and do not have any
 * more must not be overlooked (docs/zab.md, "Lossy servers"). */
#include "tests/spec/spec.h"

enum { C = 1, B, A };

/* A and B have committed x = (1,3), C has not; then B loses it. All are down. */
static struct zab_world *world_lost(void) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 2);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_settle(w);
    ck_zxid(world_commit(w, A, 1), Z(1, 3));
    world_crash(w, A, WORLD_KEEP_ALL);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_settle(w);
    world_lose_end(w, B, 1);
    ck_zxid(world_durable(w, B), Z(1, 2));
    return w;
}

START_TEST(a_lossy_voter_and_one_that_was_behind_elect_nobody) {
    struct zab_world *w = world_lost();
    spec_join_range(w, C, B);
    world_advance(w, 20000);
    ck_assert_uint_eq(world_leader(w), 0);
    ck_assert(zab_lossy(w->servers[B].z));
    spec_join(w, A);
    ck_assert_uint_eq(world_await_leader(w, 3000), A);
    world_advance(w, 500);
    for (uint8_t id = 1; id <= 3; id++)
        ck_assert(world_has(w, id, Z(1, 3)));
    ck_assert_uint_eq(w->servers[B].wholes, 1);
    ck_assert(!w->servers[B].disk.lossy);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(a_lossy_server_says_so_until_it_is_whole) {
    struct zab_world *w = world_lost();
    world_start(w, A);
    world_start(w, B);
    world_connect(w, A, B);
    ck_assert(world_run_to(w, B, A, ZM_VOTE)->vote.lossy);
    world_unblock(w);
    spec_join(w, C); /* with A it elects */
    ck_assert_uint_eq(w->servers[B].wholes, 1);
    world_disconnect(w, A, B);
    world_connect(w, A, B);
    const struct zab_msg *m = world_run_to(w, B, A, ZM_FOLLOWERINFO);
    ck_assert(!m->lossy);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

START_TEST(a_lossy_followers_promise_is_told_as_one) {
    struct zab_world *w = world_lost();
    spec_join(w, A);
    spec_join(w, C);
    ck_assert_uint_eq(world_leader(w), A);
    world_start(w, B);
    world_connect(w, A, B);
    ck_assert(world_run_to(w, B, A, ZM_FOLLOWERINFO)->lossy);
    world_unblock(w);
    ck_assert(world_run_to(w, B, A, ZM_ACKEPOCH)->lossy);
    world_unblock(w);
    ck_zxid(world_run_to(w, A, B, ZM_SYNC)->ended, Z(2, 0));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* Not when it was told: when all that the leader had then is durable here. */
START_TEST(a_lossy_server_is_whole_when_it_has_what_its_leader_had) {
    struct zab_world *w = world_lost();
    spec_join(w, A);
    spec_join(w, C);
    world_commit(w, A, 2); /* (2,2) */
    w->servers[B].disk_held = true;
    spec_join(w, B);
    world_disk(w, B); /* its promise */
    world_settle(w);
    world_propose(w, A); /* of no account */
    world_settle(w);
    ck_assert_uint_eq(w->servers[B].disk.job_count, 5);
    world_disk_some(w, B, 3);
    ck_zxid(world_durable(w, B), Z(2, 1));
    ck_assert(zab_lossy(w->servers[B].z));
    world_disk_some(w, B, 1);
    ck_zxid(world_durable(w, B), Z(2, 2));
    ck_assert(!zab_lossy(w->servers[B].z));
    w->servers[B].disk_held = false;
    spec_expect_recovery(w);
    ck_assert_uint_eq(w->servers[B].wholes, 1);
    spec_end(w);
}
END_TEST

START_TEST(a_server_that_is_whole_again_elects_like_any_other) {
    struct zab_world *w = world_lost();
    spec_join_range(w, C, A);
    world_advance(w, 500);
    ck_assert(!w->servers[B].disk.lossy);
    world_crash(w, A, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 3000), B);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* What it has been sent, and what its disk has not yet. */
START_TEST(what_becomes_durable_while_a_lossy_server_looks_makes_it_whole) {
    struct zab_world *w = world_lost();
    spec_join(w, A);
    spec_join(w, C);
    w->servers[B].disk_held = true;
    spec_join(w, B);
    world_disk(w, B);
    world_settle(w);
    ck_zxid(world_written(w, B), Z(2, 0));
    world_crash(w, A, WORLD_KEEP_ALL);
    world_settle(w);
    ck_assert(zab_lossy(w->servers[B].z));
    w->servers[B].disk_held = false;
    ck_assert_uint_eq(world_await_leader(w, 5000), B);
    ck_assert_uint_eq(w->servers[B].wholes, 1);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* It has them, durably; who wants to lead without it is not elected, and with it alone neither. */
START_TEST(the_acknowledgements_of_a_lossy_server_count) {
    struct zab_world *w = world_lost();
    spec_join(w, A);
    spec_join(w, C);
    w->servers[C].disk_held = true;
    zxid_t first = world_propose(w, A);
    zxid_t second = world_propose(w, A);
    w->servers[B].disk_held = true;
    spec_join(w, B);
    world_disk(w, B);
    world_settle(w);
    while (world_durable(w, B) < first)
        world_disk_some(w, B, 1);
    world_settle(w);
    ck_zxid(world_committed(w), first);
    ck_assert(zab_lossy(w->servers[B].z));
    ck_assert(world_written(w, B) == second);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_LOSE_ALL);
    w->servers[B].disk_held = w->servers[C].disk_held = false;
    ck_assert(!world_has(w, C, first));
    spec_join_range(w, C, B);
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 0);
    spec_expect_recovery(w);
    ck_assert(world_has(w, C, first));
    spec_end(w);
}
END_TEST

/* Everyone has lost something, and everyone is there: nobody can have more than the one who has
 * most. */
START_TEST(an_ensemble_of_lossy_servers_elects_the_longest_when_everyone_is_there) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 6);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_settle(w);
    world_lose_end(w, A, 3);
    world_lose_end(w, B, 0); /* it may have, it does not know */
    world_lose_end(w, C, 2);
    spec_join_range(w, B, A);
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 0);
    w->servers[C].disk_held = w->servers[A].disk_held = true;
    spec_join(w, C);
    world_disk(w, A);
    world_disk(w, C); /* their promises */
    world_settle(w);
    ck_assert_int_eq(w->servers[B].role, ZAB_LEADING);
    ck_zxid(world_durable(w, B), Z(2, 0));
    ck_assert(zab_lossy(w->servers[B].z)); /* until (2,0) is committed */
    w->servers[C].disk_held = w->servers[A].disk_held = false;
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), B);
    for (uint8_t id = 1; id <= 3; id++)
        ck_assert(!w->servers[id].disk.lossy);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* B holds the only copy of x; C was wiped, so it is blank, A lost x. */
START_TEST(whole_lossy_and_blank_servers_need_everyone) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 3);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_settle(w);
    world_wipe(w, C);
    world_lose_end(w, A, 1);
    spec_join(w, A);
    spec_join(w, C);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 0);
    world_crash(w, C, WORLD_KEEP_ALL);
    spec_join(w, B);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 0); /* B is the only whole one */
    spec_join(w, C);
    ck_assert_uint_eq(world_await_leader(w, 3000), B);
    world_advance(w, 1000);
    ck_assert(world_has(w, C, Z(1, 3)));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* A new ensemble is one where nobody had a history. One that lost all of its own is none of it. */
START_TEST(a_server_that_lost_its_whole_log_is_no_new_one) {
    struct zab_world *w = spec_boot(3);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, A, 2);
    world_crash(w, A, WORLD_KEEP_ALL);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_settle(w);
    world_wipe(w, C);
    world_lose_end(w, B, SIZE_MAX);
    ck_zxid(world_durable(w, B), 0);
    spec_join_range(w, C, B);
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 0);
    spec_join(w, A);
    ck_assert_uint_eq(world_await_leader(w, 3000), A);
    world_advance(w, 1000);
    ck_assert(world_has(w, B, Z(1, 2)));
    ck_assert(!w->servers[B].disk.lossy);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* The leader waits for a commit that needs its learners. The one that knows of its loss may get
 * records at once; a blank one would have to wait for a snapshot of everything. */
START_TEST(a_lossy_server_without_any_record_helps_to_commit) {
    struct zab_world *w = spec_boot(3);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_settle(w);
    zxid_t zxid = world_propose(w, A);
    world_settle(w);
    world_wipe(w, C);
    world_lose_end(w, B, SIZE_MAX);
    spec_join_range(w, C, B);
    world_advance(w, 500);
    ck_assert_uint_eq(world_leader(w), A);
    ck_zxid(w->servers[C].applied, zxid);
    ck_assert(!w->servers[B].disk.lossy);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(a_lossy_observer_becomes_whole_and_counts_nowhere) {
    struct world_config config = {.voters = 3, .observers = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    world_commit(w, 3, 3);
    world_advance(w, 500);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_lose_end(w, 4, 2);
    spec_join(w, 4);
    world_advance(w, 500);
    ck_assert(!w->servers[4].disk.lossy);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(one_server_alone_is_everyone) {
    struct zab_world *w = spec_boot(1);
    world_commit(w, 1, 3);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_lose_end(w, 1, 0);
    spec_join(w, 1);
    ck_assert_uint_eq(world_await_leader(w, 1000), 1);
    ck_assert(!w->servers[1].disk.lossy);
    spec_end(w);
}
END_TEST

SPEC_SUITE("losses", a_lossy_voter_and_one_that_was_behind_elect_nobody,
           a_lossy_server_says_so_until_it_is_whole, a_lossy_followers_promise_is_told_as_one,
           a_lossy_server_is_whole_when_it_has_what_its_leader_had,
           a_server_that_is_whole_again_elects_like_any_other,
           what_becomes_durable_while_a_lossy_server_looks_makes_it_whole,
           the_acknowledgements_of_a_lossy_server_count,
           an_ensemble_of_lossy_servers_elects_the_longest_when_everyone_is_there,
           whole_lossy_and_blank_servers_need_everyone,
           a_server_that_lost_its_whole_log_is_no_new_one,
           a_lossy_server_without_any_record_helps_to_commit,
           a_lossy_observer_becomes_whole_and_counts_nowhere, one_server_alone_is_everyone)
