/* Phase 3 of Zab (DSN'11, section V-C): proposals in order, acknowledged when durable, committed
 * with a quorum, delivered in order. */
#include "tests/spec/spec.h"

/* l.3.1: proposals go to everybody in the order in which they were made. */
START_TEST(proposals_go_out_in_order_without_waiting_for_each_other) {
    struct zab_world *w = spec_boot(3);
    world_cut(w, 3, 1);
    world_cut(w, 3, 2);
    for (int i = 0; i < 5; i++)
        world_propose(w, 3);
    ck_assert_uint_eq(w->links[3][1].count, 5);
    ck_assert_uint_eq(zab_in_flight(w->servers[3].z), 5);
    world_uncut(w, 3, 1);
    world_uncut(w, 3, 2);
    world_settle(w);
    ck_zxid(w->servers[1].applied, Z(1, 5));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* l.3.1 as amended (R9): a learner that was sent NEWLEADER gets proposals before its ACK-LD. */
START_TEST(proposals_go_to_a_learner_that_has_not_acknowledged_newleader) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_block(w, 1, 3, ZM_ACK);
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 3);
    ck_assert(!w->servers[1].serving);
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_assert(world_has(w, 1, zxid));
    world_unblock(w);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* l.3.2: committed with a quorum of acknowledgements, and not before. */
START_TEST(a_minority_of_acknowledgements_commits_nothing) {
    struct zab_world *w = spec_boot(5);
    for (uint8_t id = 2; id <= 4; id++)
        w->servers[id].disk_held = true;
    zxid_t zxid = world_propose(w, 5);
    world_settle(w);
    ck_assert(world_has(w, 1, zxid));
    ck_assert(world_has(w, 5, zxid));
    ck_assert(world_committed(w) < zxid);
    ck_assert(w->servers[5].applied < zxid);
    world_disk(w, 2);
    world_settle(w);
    ck_zxid(world_committed(w), zxid);
    ck_zxid(w->servers[5].applied, zxid);
    ck_zxid(w->servers[1].applied, zxid);
    world_heal(w);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* l.3.2: the leader is one of the quorum; its own record counts when it is durable. */
START_TEST(the_leaders_own_acknowledgement_is_its_disk) {
    struct zab_world *w = spec_boot(3);
    w->servers[3].disk_held = true;
    w->servers[1].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_assert(world_has(w, 2, zxid));
    ck_assert(world_committed(w) < zxid);
    w->servers[3].disk_held = false;
    world_settle(w);
    ck_zxid(world_committed(w), zxid);
    world_heal(w);
    world_settle(w);
    spec_end(w);
}
END_TEST

/* The followers alone may be a quorum: they apply, and the leader waits for its own disk. */
START_TEST(a_leader_applies_what_its_own_disk_has) {
    struct zab_world *w = spec_boot(3);
    w->servers[3].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_zxid(w->servers[1].applied, zxid);
    ck_zxid(w->servers[2].applied, zxid);
    ck_assert(w->servers[3].applied < zxid);
    w->servers[3].disk_held = false;
    world_settle(w);
    ck_zxid(w->servers[3].applied, zxid);
    spec_end(w);
}
END_TEST

/* f.3.1: a follower acknowledges when the proposal is durable (Z3), and cumulatively (R2). */
START_TEST(a_follower_acknowledges_what_is_durable) {
    struct zab_world *w = spec_boot(3);
    w->servers[1].disk_held = true;
    for (int i = 0; i < 4; i++)
        world_propose(w, 3);
    world_block(w, 1, 3, ZM_ACK);
    world_settle(w);
    ck_assert_ptr_null(world_find(w, 1, 3, ZM_ACK));
    world_disk_some(w, 1, 3);
    ck_zxid(world_head(w, 1, 3)->zxid, Z(1, 3));
    ck_assert_uint_eq(w->links[1][3].count, 1);
    world_heal(w);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* f.3.2: a commit is delivered when everything before it was. */
START_TEST(commits_are_applied_in_order_behind_what_is_durable) {
    struct zab_world *w = spec_boot(3);
    w->servers[1].disk_held = true;
    for (int i = 0; i < 3; i++)
        world_propose(w, 3);
    world_settle(w);
    ck_zxid(world_committed(w), Z(1, 3));
    ck_zxid(w->servers[1].applied, Z(1, 0));
    world_disk_some(w, 1, 2);
    ck_zxid(w->servers[1].applied, Z(1, 2));
    world_disk_some(w, 1, 1);
    ck_zxid(w->servers[1].applied, Z(1, 3));
    spec_end(w);
}
END_TEST

/* l.3.3, l.3.4: who comes later is given the same epoch and history, and then told that it is
 * committed; nobody else waits for it. */
START_TEST(a_late_follower_is_synchronised_while_the_others_go_on) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_start(w, 2);
    world_start(w, 3);
    world_connect(w, 2, 3);
    world_settle(w);
    world_commit(w, 3, 3);
    world_start(w, 1);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 3, 1, ZM_LEADERINFO);
    ck_assert_uint_eq(m->epoch, 1);
    zxid_t last = world_commit(w, 3, 2);
    world_unblock(w);
    world_settle(w);
    ck_zxid(w->servers[1].applied, last);
    ck_assert(w->servers[1].serving);
    spec_end(w);
}
END_TEST

/* COMMIT does not overtake the proposal that it covers, also when a learner falls behind. */
START_TEST(a_commit_does_not_overtake_its_proposal) {
    struct world_config config = {.voters = 3, .window_bytes = 64};
    struct zab_world *w = spec_boot_with(&config);
    w->servers[1].disk_held = true;
    for (int i = 0; i < 40; i++)
        world_propose_sized(w, 3, 32);
    world_settle(w);
    ck_zxid(world_committed(w), Z(1, 40));
    w->servers[1].disk_held = false;
    world_settle(w);
    ck_zxid(w->servers[1].applied, Z(1, 40));
    ck_assert_uint_eq(w->servers[1].drops, 0);
    spec_end(w);
}
END_TEST

/* Back-pressure: to a learner that does not acknowledge, no more than the window is under way,
 * however much is committed without it; it catches up from memory, and then from the disk. */
START_TEST(a_slow_learner_costs_the_leader_a_window_and_no_more) {
    struct world_config config = {.voters = 3, .window_bytes = 1000, .recent_bytes = 2000};
    struct zab_world *w = spec_boot_with(&config);
    w->show_pings = false;
    world_cut(w, 3, 1);
    size_t most = 0;
    for (int i = 0; i < 300; i++) {
        world_propose_sized(w, 3, 100);
        world_settle(w);
        if (w->links[3][1].bytes > most)
            most = w->links[3][1].bytes;
    }
    ck_assert_uint_le(most, 1100);
    ck_zxid(world_committed(w), Z(1, 300));
    world_uncut(w, 3, 1);
    world_settle(w);
    ck_zxid(w->servers[1].applied, Z(1, 300));
    ck_assert_uint_eq(w->servers[1].drops + w->servers[3].drops, 0);
    spec_end(w);
}
END_TEST

START_TEST(a_learner_behind_memory_is_fed_from_the_disk) {
    struct world_config config = {.voters = 3, .window_bytes = 500, .recent_bytes = 300};
    struct zab_world *w = spec_boot_with(&config);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    for (int i = 0; i < 60; i++) {
        world_propose_sized(w, 3, 100);
        world_settle(w);
    }
    w->servers[3].reads_held = true;
    world_start(w, 1);
    world_connect(w, 1, 3);
    world_settle(w);
    ck_assert_uint_eq(w->servers[3].reading[1].count, 1);
    for (int i = 0; i < 40; i++) {
        world_disk_read(w, 3, 1);
        world_settle(w);
        world_propose_sized(w, 3, 100);
        world_settle(w);
    }
    w->servers[3].reads_held = false;
    world_settle(w);
    world_expect_agreement(w);
    ck_zxid(w->servers[1].applied, Z(1, 100));
    spec_end(w);
}
END_TEST

/* Memory at the leader itself: at most inflight_max proposals that are not committed. */
START_TEST(a_leader_without_its_quorum_takes_no_more_than_its_limit) {
    struct world_config config = {.voters = 3, .inflight_max = 5};
    struct zab_world *w = spec_boot_with(&config);
    world_cut(w, 3, 1);
    world_cut(w, 3, 2);
    int taken = 0;
    while (zab_ready(w->servers[3].z) && taken < 100) {
        world_propose(w, 3);
        world_disk(w, 3);
        taken++;
    }
    ck_assert_int_eq(taken, 5);
    world_uncut(w, 3, 1);
    world_settle(w);
    ck_assert(zab_ready(w->servers[3].z));
    spec_end(w);
}
END_TEST

/* --- sync markers: Z6, S28 --- */

START_TEST(a_marker_waits_for_a_round_of_heartbeats_of_a_quorum) {
    struct zab_world *w = spec_boot(3);
    world_advance(w, 300);
    world_block(w, 1, 3, ZM_PONG);
    world_block(w, 2, 3, ZM_PONG);
    world_advance(w, 300);
    /* Answers to older rounds are on their way: they do not count. */
    zab_marker marker = world_sync(w, 3);
    ck_assert(!zab_sync_passed(w->servers[3].z, marker));
    uint32_t old = (uint32_t)w->links[1][3].count;
    ck_assert_uint_gt(old, 0);
    for (uint32_t i = 0; i < old; i++)
        world_deliver(w, 1, 3);
    ck_assert(!zab_sync_passed(w->servers[3].z, marker));
    world_unblock(w);
    world_settle(w);
    world_advance(w, 300);
    ck_assert(zab_sync_passed(w->servers[3].z, marker));
    spec_end(w);
}
END_TEST

START_TEST(a_marker_waits_for_the_proposals_before_it) {
    struct zab_world *w = spec_boot(3);
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    zxid_t zxid = world_propose(w, 3);
    zab_marker marker = world_sync(w, 3);
    world_advance(w, 500);
    ck_assert(!zab_sync_passed(w->servers[3].z, marker));
    w->servers[1].disk_held = false;
    world_advance(w, 500);
    ck_zxid(w->servers[3].applied, zxid);
    ck_assert(zab_sync_passed(w->servers[3].z, marker));
    spec_end(w);
}
END_TEST

START_TEST(a_marker_of_an_earlier_leadership_never_passes) {
    struct zab_world *w = spec_boot(3);
    world_cut(w, 1, 3);
    world_cut(w, 2, 3);
    zab_marker marker = world_sync(w, 3);
    world_advance(w, 3000);
    ck_assert_int_ne(zab_role(w->servers[3].z), ZAB_LEADING);
    ck_assert(!zab_sync_passed(w->servers[3].z, marker));
    world_crash(w, 2, WORLD_KEEP_ALL);
    world_uncut(w, 1, 3);
    world_advance(w, 5000);
    ck_assert(!zab_sync_passed(w->servers[3].z, marker));
    spec_end(w);
}
END_TEST

/* In an ensemble of one there is nobody to ask. */
START_TEST(a_marker_of_an_ensemble_of_one_passes_behind_its_proposals) {
    struct zab_world *w = spec_boot(1);
    w->servers[1].disk_held = true;
    world_propose(w, 1);
    zab_marker marker = world_sync(w, 1);
    world_settle(w);
    ck_assert(!zab_sync_passed(w->servers[1].z, marker));
    w->servers[1].disk_held = false;
    world_settle(w);
    ck_assert(zab_sync_passed(w->servers[1].z, marker));
    spec_end(w);
}
END_TEST

/* Z6, R10: a leader that does not hear a quorum steps down. */
START_TEST(a_leader_that_hears_no_quorum_steps_down) {
    struct zab_world *w = spec_boot(3);
    struct zab_config c;
    zab_config_defaults(&c);
    world_cut(w, 1, 3);
    world_cut(w, 2, 3);
    world_advance(w, c.silence_ms + 2 * c.heartbeat_ms);
    ck_assert_int_ne(zab_role(w->servers[3].z), ZAB_LEADING);
    ck_assert(!zab_ready(w->servers[3].z));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

START_TEST(a_follower_that_hears_nothing_looks_for_another_leader) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    w->servers[3].frozen = true;
    world_advance(w, 2000);
    ck_assert_uint_eq(world_leader(w), 2);
    world_commit(w, 2, 1);
    /* It wakes up, and is harmless: what it proposes is committed nowhere. */
    w->servers[3].frozen = false;
    world_clock(w, 3);
    world_pump(w, 3);
    ck_assert(!zab_ready(w->servers[3].z));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* The server room's messages keep their place among the commits of the same link. */
START_TEST(app_messages_arrive_behind_the_commits_before_them) {
    struct zab_world *w = spec_boot(3);
    world_cut(w, 3, 1);
    zxid_t zxid = world_propose(w, 3);
    world_settle(w);
    ck_zxid(world_committed(w), zxid);
    ck_assert(world_send_app(w, 3, 1, 77));
    w->servers[1].disk_held = true;
    world_uncut(w, 3, 1);
    world_settle(w);
    ck_assert_uint_eq(w->servers[1].apps, 0); /* it has come, what was before it is not applied */
    w->servers[1].disk_held = false;
    world_settle(w);
    ck_assert_uint_eq(w->servers[1].last_app, 77);
    ck_assert(w->servers[1].app_applied >= zxid);
    ck_assert(world_send_app(w, 1, 3, 78));
    world_settle(w);
    ck_assert_uint_eq(w->servers[3].last_app, 78);
    ck_assert(!world_send_app(w, 1, 2, 79));
    spec_end(w);
}
END_TEST

SPEC_SUITE("broadcast", proposals_go_out_in_order_without_waiting_for_each_other,
           proposals_go_to_a_learner_that_has_not_acknowledged_newleader,
           a_minority_of_acknowledgements_commits_nothing,
           the_leaders_own_acknowledgement_is_its_disk, a_leader_applies_what_its_own_disk_has,
           a_follower_acknowledges_what_is_durable,
           commits_are_applied_in_order_behind_what_is_durable,
           a_late_follower_is_synchronised_while_the_others_go_on,
           a_commit_does_not_overtake_its_proposal,
           a_slow_learner_costs_the_leader_a_window_and_no_more,
           a_learner_behind_memory_is_fed_from_the_disk,
           a_leader_without_its_quorum_takes_no_more_than_its_limit,
           a_marker_waits_for_a_round_of_heartbeats_of_a_quorum,
           a_marker_waits_for_the_proposals_before_it,
           a_marker_of_an_earlier_leadership_never_passes,
           a_marker_of_an_ensemble_of_one_passes_behind_its_proposals,
           a_leader_that_hears_no_quorum_steps_down,
           a_follower_that_hears_nothing_looks_for_another_leader,
           app_messages_arrive_behind_the_commits_before_them)
