/* Disks without room (Z10): who leads, and when a leader leaves its place (docs/zab.md, "Full
 * disks"). */
#include "tests/spec/spec.h"

#define SILENCE_MS 1400

static struct zab_world *world_running(void) {
    struct zab_world *w = spec_boot(3);
    world_advance(w, 2 * SILENCE_MS);
    world_commit(w, 3, 2);
    return w;
}

START_TEST(a_full_leader_leaves_its_place_to_a_follower_with_room) {
    struct zab_world *w = world_running();
    world_full(w, 3, true);
    ck_assert_uint_eq(world_await_leader(w, 500), 2);
    ck_assert_int_eq(w->servers[3].role, ZAB_FOLLOWING);
    world_commit(w, 2, 2);
    world_advance(w, 500);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(of_the_followers_only_one_with_room_takes_the_lead) {
    struct zab_world *w = world_running();
    world_full(w, 2, true);
    world_advance(w, 500);
    ck_assert_uint_eq(world_leader(w), 3);
    world_full(w, 3, true);
    ck_assert_uint_eq(world_await_leader(w, 500), 1);
    spec_end(w);
}
END_TEST

START_TEST(a_full_leader_stays_where_everyone_is_full) {
    struct zab_world *w = world_running();
    uint32_t roles = w->servers[3].roles;
    for (uint8_t id = 1; id <= 3; id++)
        world_full(w, id, true);
    world_advance(w, 500);
    /* At most it left before it had heard of the others. */
    uint8_t leader = world_await_leader(w, 500);
    world_advance(w, 20000);
    ck_assert_uint_eq(world_leader(w), leader);
    ck_assert_uint_le(w->servers[3].roles, roles + 2);
    world_commit(w, leader, 2);
    spec_end(w);
}
END_TEST

START_TEST(a_full_server_alone_leads_and_takes_proposals) {
    struct zab_world *w = spec_boot(1);
    world_advance(w, 5000);
    world_full(w, 1, true);
    world_advance(w, 5000);
    world_commit(w, 1, 2);
    ck_assert_uint_eq(world_leader(w), 1);
    spec_end(w);
}
END_TEST

START_TEST(of_equal_histories_one_with_room_is_elected) {
    struct zab_world *w = world_running();
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_settle(w);
    w->servers[2].full = w->servers[3].full = true;
    spec_join_range(w, 1, 3);
    ck_assert_uint_eq(world_await_leader(w, 2000), 1);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(an_ensemble_of_full_disks_gets_a_leader) {
    struct zab_world *w = world_running();
    for (uint8_t id = 1; id <= 3; id++) {
        world_crash(w, id, WORLD_KEEP_ALL);
        w->servers[id].full = true;
    }
    world_settle(w);
    spec_join_range(w, 1, 3);
    ck_assert_uint_eq(world_await_leader(w, 2000), 3);
    world_commit(w, 3, 1);
    spec_end(w);
}
END_TEST

/* 3 is full and has what was committed, 2 has room and lacks it: 3 leads until 2 has it, too. */
START_TEST(a_full_server_with_more_leads_until_one_with_room_has_it) {
    struct zab_world *w = world_running();
    world_crash(w, 2, WORLD_KEEP_ALL);
    world_settle(w);
    zxid_t zxid = world_commit(w, 3, 3);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_settle(w);
    w->servers[3].full = true;
    spec_join_range(w, 2, 3);
    ck_assert_uint_eq(world_await_leader(w, 1000), 3);
    world_advance(w, SILENCE_MS / 2);
    ck_assert_uint_eq(world_leader(w), 3); /* not as soon as it leads */
    world_advance(w, SILENCE_MS);
    ck_assert_uint_eq(world_await_leader(w, 500), 2);
    ck_assert(world_has(w, 2, zxid));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* New proposals wait a moment for the one with room, and no longer than that. */
START_TEST(a_full_leader_waits_for_a_follower_that_is_behind_for_a_while) {
    struct zab_world *w = world_running();
    w->servers[1].disk_held = true;
    world_full(w, 2, true); /* 1 is the only one with room */
    world_advance(w, 200);
    world_propose(w, 3);
    world_settle(w);
    world_full(w, 3, true);
    world_advance(w, 200);
    ck_assert_uint_eq(world_leader(w), 3);
    ck_assert(!zab_ready(w->servers[3].z));
    world_advance(w, SILENCE_MS);
    ck_assert(zab_ready(w->servers[3].z));
    world_propose(w, 3);
    w->servers[1].disk_held = false;
    ck_assert_uint_eq(world_await_leader(w, 500), 1);
    world_advance(w, 500);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(a_server_that_has_room_again_leads_on) {
    struct zab_world *w = world_running();
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    world_propose(w, 3);
    world_settle(w);
    world_full(w, 3, true);
    world_advance(w, 100);
    ck_assert(!zab_ready(w->servers[3].z));
    world_full(w, 3, false);
    ck_assert(zab_ready(w->servers[3].z));
    w->servers[1].disk_held = w->servers[2].disk_held = false;
    world_advance(w, 3000);
    ck_assert_uint_eq(world_leader(w), 3);
    spec_end(w);
}
END_TEST

/* It has voted for itself already: a new round tells the others. */
START_TEST(a_disk_that_becomes_full_during_an_election_counts) {
    struct zab_world *w = world_running();
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_settle(w);
    for (uint8_t id = 1; id <= 3; id++)
        world_start(w, id);
    world_connect(w, 1, 2);
    world_connect(w, 2, 3);
    world_connect(w, 1, 3);
    ck_assert_uint_eq(world_find(w, 3, 2, ZM_VOTE)->vote.leader, 3);
    world_deliver(w, 3, 2);
    world_full(w, 3, true);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 2);
    spec_end(w);
}
END_TEST

/* Disks that are full and have room again all the time pass the lead around slowly. */
START_TEST(the_lead_does_not_flap) {
    struct zab_world *w = world_running();
    uint32_t serves = 0;
    for (uint8_t id = 1; id <= 3; id++)
        serves += w->servers[id].serves;
    for (int i = 0; i < 400; i++) {
        uint8_t id = (uint8_t)(i % 3 + 1);
        world_full(w, id, !w->servers[id].full);
        world_advance(w, 50);
    }
    for (uint8_t id = 1; id <= 3; id++)
        serves -= w->servers[id].serves;
    ck_assert_uint_le(-serves, 3 * (20000 / SILENCE_MS + 1));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* 2 has room, and cannot be elected: nobody hears its votes. 3 leaves for it, and leads again; each
 * time it waits longer. */
START_TEST(leaving_in_vain_becomes_rare) {
    struct zab_world *w = world_running();
    int64_t led_ms = 0;
    world_full(w, 1, true);
    world_advance(w, 300);
    for (int i = 0; i < 4; i++) {
        uint32_t roles = w->servers[3].roles;
        world_block(w, 2, 0, ZM_VOTE);
        if (i == 0)
            world_full(w, 3, true);
        while (w->servers[3].roles == roles && w->now_ms < led_ms + 60000)
            world_advance(w, 50);
        ck_assert_uint_gt(w->servers[3].roles, roles);
        if (i > 0)
            ck_assert_int_ge(w->now_ms - led_ms, SILENCE_MS << i);
        ck_assert_uint_eq(world_await_leader(w, 300), 3);
        led_ms = w->now_ms;
        world_unblock(w);
        world_advance(w, 300);
        ck_assert(w->servers[2].serving);
    }
    world_full(w, 3, false);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

SPEC_SUITE("full", a_full_leader_leaves_its_place_to_a_follower_with_room,
           of_the_followers_only_one_with_room_takes_the_lead,
           a_full_leader_stays_where_everyone_is_full,
           a_full_server_alone_leads_and_takes_proposals,
           of_equal_histories_one_with_room_is_elected, an_ensemble_of_full_disks_gets_a_leader,
           a_full_server_with_more_leads_until_one_with_room_has_it,
           a_full_leader_waits_for_a_follower_that_is_behind_for_a_while,
           a_server_that_has_room_again_leads_on,
           a_disk_that_becomes_full_during_an_election_counts, the_lead_does_not_flap,
           leaving_in_vain_becomes_rare)
