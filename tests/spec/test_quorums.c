/* Beyond the paper: observers, weights and groups, and the end of the counter (docs/zab.md). */
#include "tests/spec/spec.h"

/* --- observers --- */

START_TEST(an_observer_hears_what_is_committed_and_nothing_else) {
    struct world_config config = {.voters = 3, .observers = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    ck_assert_int_eq(w->servers[4].role, ZAB_OBSERVING);
    ck_assert(w->servers[4].serving);
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_assert(world_written(w, 4) < zxid);
    world_heal(w);
    world_settle(w);
    ck_zxid(w->servers[4].applied, zxid);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(an_observer_counts_in_no_quorum) {
    struct world_config config = {.voters = 3, .observers = 2};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_assert(world_committed(w) < zxid);
    /* Nor does it help to elect anybody. */
    world_crash(w, 1, WORLD_LOSE_ALL);
    world_crash(w, 2, WORLD_LOSE_ALL);
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 0);
    w->servers[1].disk_held = w->servers[2].disk_held = false;
    spec_expect_recovery(w);
    ck_assert_int_eq(w->servers[5].role, ZAB_OBSERVING);
    spec_end(w);
}
END_TEST

/* Its snapshot was made while 2 led epoch 2, and holds what is committed there already: the log
 * behind it comes from 2, or from a later leader. */
START_TEST(an_observer_does_not_go_back_to_a_leader_that_was_replaced) {
    struct world_config config = {.voters = 3, .observers = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_wipe(w, 4);
    world_commit(w, 3, 1);
    world_isolate(w, 3); /* it does not know yet */
    w->servers[1].disk_held = w->servers[2].snap_held = true;
    world_advance(w, 200);
    world_disk(w, 1); /* its promise */
    world_settle(w);
    ck_assert_int_eq(w->servers[2].role, ZAB_LEADING);
    spec_join(w, 4);
    ck_assert(world_app_send_piece(w, 2, 4));
    w->servers[1].disk_held = false;
    world_settle(w);
    world_commit(w, 2, 1);
    world_block(w, 4, 2, ZM_SYNCREADY);
    w->servers[2].snap_held = false;
    world_settle(w);
    ck_zxid(w->servers[4].disk.base.begun, Z(1, 1));
    ck_zxid(w->servers[4].disk.base.ended, Z(2, 1));
    world_sever(w, 4, 2);
    world_mend(w, 3, 4);
    world_connect(w, 3, 4);
    world_advance(w, 200);
    ck_assert_int_eq(w->servers[3].role, ZAB_LEADING);
    ck_assert_int_eq(w->servers[4].role, ZAB_LOOKING);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* 2 leads epoch 2 without (1,1), which 3 commits in epoch 3; 4 has it, and comes to 2, which does
 * not know yet. */
START_TEST(an_observer_does_not_end_for_a_leader_that_was_replaced) {
    struct world_config config = {.voters = 3, .observers = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    world_block(w, 3, 0, ZM_PROPOSAL);
    world_propose(w, 3);
    world_settle(w);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_lose(w, 3, 1);
    world_lose(w, 3, 2);
    world_unblock(w);
    world_isolate(w, 4);
    world_block(w, 2, 1, ZM_PROPOSAL);
    world_settle(w);
    world_advance(w, 200);
    ck_zxid(world_durable(w, 2), Z(2, 0));
    world_sever(w, 1, 2);
    world_sever(w, 2, 3);
    world_start(w, 3);
    world_connect(w, 1, 3);
    world_mend(w, 3, 4);
    world_block(w, 1, 3, ZM_ACK); /* ... of (3,0) */
    world_connect(w, 3, 4);
    world_settle(w);
    world_unblock(w);
    world_block(w, 3, 4, ZM_INFORM);
    world_settle(w);
    world_deliver(w, 3, 4);
    world_disk(w, 4);
    ck_zxid(w->servers[4].applied, Z(1, 1));
    world_sever(w, 3, 4);
    world_mend(w, 2, 4);
    world_connect(w, 2, 4);
    world_run_to(w, 2, 4, ZM_SYNC);
    ck_assert_int_eq(world_head(w, 2, 4)->mode, ZAB_SYNC_TRUNC);
    world_unblock(w);
    world_settle(w);
    ck_assert(w->servers[4].z != NULL);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

START_TEST(an_observer_catches_up_like_a_follower) {
    struct world_config config = {.voters = 3, .observers = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_advance(w, 500);
    world_commit(w, 3, 2);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_commit(w, 3, 5);
    spec_join(w, 4);
    world_advance(w, 500);
    world_expect_agreement(w);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_wipe(w, 4);
    spec_join(w, 4);
    world_advance(w, 500);
    ck_assert(w->servers[4].disk.based);
    world_commit(w, 3, 2);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* --- weights and groups --- */

START_TEST(a_voter_without_weight_never_leads_and_never_counts) {
    struct world_config config = {.voters = 4, .weightless = {[4] = true}};
    struct zab_world *w = spec_boot_with(&config);
    ck_assert_uint_eq(world_leader(w), 3);
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_assert(world_committed(w) < zxid);
    world_heal(w);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(weights_decide_what_a_quorum_is) {
    struct world_config config = {.voters = 3, .weight = {[3] = 3}};
    struct zab_world *w = spec_new(&config);
    world_start(w, 1);
    world_start(w, 2);
    world_connect(w, 1, 2);
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 0);
    world_start(w, 3); /* 3 of 5: it is a quorum by itself */
    world_advance(w, 10000);
    ck_assert_uint_eq(world_leader(w), 3);
    world_commit(w, 3, 1);
    spec_end(w);
}
END_TEST

/* Nine servers in three groups: a quorum is a majority in two groups, and no less. */
START_TEST(a_hierarchical_quorum_is_a_majority_of_majorities) {
    struct world_config config = {.voters = 9};
    for (uint8_t id = 1; id <= 9; id++)
        config.group[id] = (uint8_t)((id - 1) / 3 + 1);
    struct zab_world *w = spec_new(&config);
    spec_join_range(w, 1, 3);
    spec_join(w, 4);
    spec_join(w, 7);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 0); /* five of nine, but one majority only */
    world_crash(w, 7, WORLD_KEEP_ALL);
    world_crash(w, 3, WORLD_KEEP_ALL);
    spec_join(w, 5);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 5); /* four of nine: 1 and 2, 4 and 5 */
    world_commit(w, 5, 2);
    w->servers[1].disk_held = true;
    zxid_t zxid = world_propose(w, 5);
    world_settle(w);
    ck_assert(world_committed(w) < zxid);
    world_heal(w);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* --- the counter's end: S27 --- */

START_TEST(an_epoch_in_place_loses_no_learner) {
    struct world_config config = {.voters = 3, .counter_limit = 5};
    struct zab_world *w = spec_boot_with(&config);
    uint32_t roles[4] = {0};
    for (uint8_t id = 1; id <= 3; id++)
        roles[id] = w->servers[id].roles;
    for (int i = 0; i < 23; i++) {
        ck_assert(zab_ready(w->servers[3].z));
        world_commit(w, 3, 1);
    }
    ck_assert_uint_ge(zab_epoch(w->servers[3].z), 5);
    for (uint8_t id = 1; id <= 3; id++) {
        ck_assert_uint_eq(w->servers[id].roles, roles[id]);
        ck_assert_uint_eq(w->servers[id].drops, 0);
        ck_assert(w->servers[id].serving);
    }
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(an_epoch_in_place_waits_for_what_is_in_flight) {
    struct world_config config = {.voters = 3, .counter_limit = 4};
    struct zab_world *w = spec_boot_with(&config);
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    while (zab_ready(w->servers[3].z))
        world_propose(w, 3);
    world_settle(w);
    ck_assert_uint_eq(zab_accepted_epoch(w->servers[3].z), 1);
    world_heal(w);
    world_settle(w);
    ck_assert_uint_eq(zab_epoch(w->servers[3].z), 2);
    world_commit(w, 3, 1);
    spec_end(w);
}
END_TEST

/* Without these promises two servers could write an (e+1,0) each, behind different histories. */
START_TEST(an_epoch_in_place_needs_a_quorum_of_new_promises) {
    struct world_config config = {.voters = 3, .counter_limit = 4};
    struct zab_world *w = spec_boot_with(&config);
    world_block(w, 1, 3, ZM_ACKEPOCH);
    world_block(w, 2, 3, ZM_ACKEPOCH);
    while (zab_ready(w->servers[3].z)) {
        world_propose(w, 3);
        world_settle(w);
    }
    world_settle(w);
    ck_assert_uint_eq(w->servers[3].disk.accepted_epoch, 2);
    ck_assert(!world_has(w, 3, Z(2, 0)));
    ck_assert(!zab_ready(w->servers[3].z));
    world_unblock(w);
    world_settle(w);
    ck_assert(world_has(w, 3, Z(2, 0)));
    ck_assert(zab_ready(w->servers[3].z));
    spec_end(w);
}
END_TEST

START_TEST(a_leader_that_dies_in_an_epoch_in_place_is_replaced) {
    struct world_config config = {.voters = 3, .counter_limit = 4};
    for (int when = 0; when < 3; when++) {
        struct zab_world *w = spec_boot_with(&config);
        static const enum zab_msg_type types[] = {ZM_LEADERINFO, ZM_PROPOSAL, ZM_COMMIT};
        while (zab_ready(w->servers[3].z) && zab_epoch(w->servers[3].z) == 1) {
            if (zxid_counter(zab_last_zxid(w->servers[3].z)) == 3)
                world_block(w, 3, 1, types[when]);
            world_propose(w, 3);
            world_settle(w);
        }
        world_crash(w, 3, when == 0 ? WORLD_LOSE_ALL : WORLD_KEEP_ALL);
        world_lose(w, 3, 1);
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

START_TEST(a_learner_that_joins_during_an_epoch_in_place_is_synchronised) {
    struct world_config config = {.voters = 3, .counter_limit = 4};
    struct zab_world *w = spec_boot_with(&config);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_block(w, 2, 3, ZM_ACKEPOCH);
    while (zab_ready(w->servers[3].z)) {
        world_propose(w, 3);
        world_settle(w);
    }
    spec_join(w, 1);
    world_unblock(w);
    world_advance(w, 1000);
    world_commit(w, 3, 1);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

SPEC_SUITE("quorums", an_observer_hears_what_is_committed_and_nothing_else,
           an_observer_counts_in_no_quorum,
           an_observer_does_not_go_back_to_a_leader_that_was_replaced,
           an_observer_does_not_end_for_a_leader_that_was_replaced,
           an_observer_catches_up_like_a_follower,
           a_voter_without_weight_never_leads_and_never_counts, weights_decide_what_a_quorum_is,
           a_hierarchical_quorum_is_a_majority_of_majorities, an_epoch_in_place_loses_no_learner,
           an_epoch_in_place_waits_for_what_is_in_flight,
           an_epoch_in_place_needs_a_quorum_of_new_promises,
           a_leader_that_dies_in_an_epoch_in_place_is_replaced,
           a_learner_that_joins_during_an_epoch_in_place_is_synchronised)
