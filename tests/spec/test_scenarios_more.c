/* The event sequences S16 to S23, S27 and S28 (see test_scenarios.c for the servers' names). S24,
 * S25, S26 and S30 are in test_scenarios_tree.c, S29 in test_scenarios_store.c; what clients see of
 * some of them is in test_scenarios_replica.c. */
#include "tests/spec/spec.h"

enum { C = 1, B = 2, A = 3 };

static void start_pair(struct zab_world *w, uint8_t a, uint8_t b) {
    if (!w->servers[a].z)
        world_start(w, a);
    if (!w->servers[b].z)
        world_start(w, b);
    world_connect(w, a, b);
}

/* S16 (ZOOKEEPER-3526): after read-only mode the bounds of a leader's list are the wrong way round,
 * and a healthy follower is told to truncate what is committed. Here the decision is about
 * membership in one history; and a learner that is told such a thing ends rather than obey. */
START_TEST(scenario_s16_a_healthy_follower_is_not_truncated_after_a_time_without_a_quorum) {
    struct zab_world *w = spec_boot(3);
    zxid_t committed = world_commit(w, A, 4);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_advance(w, 10000); /* A alone, looking: it shows what is committed, read-only */
    ck_zxid(w->servers[A].applied, committed);
    ck_assert_int_eq(w->servers[A].role, ZAB_LOOKING);
    world_start(w, B);
    world_connect(w, A, B);
    const struct zab_msg *m = world_run_to(w, A, B, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_DIFF);
    ck_zxid(m->zxid, committed);
    world_unblock(w);
    world_settle(w);
    world_start(w, C);
    world_connect(w, A, C);
    world_run_to(w, A, C, ZM_SYNC);
    zxid_t applied = w->servers[C].applied;
    w->servers[C].fatal_expected = true;
    struct zab_msg trunc = {.type = ZM_SYNC, .mode = ZAB_SYNC_TRUNC, .zxid = applied - 1};
    world_forge(w, A, C, &trunc);
    ck_assert(world_has(w, C, applied));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S17 (ZOOKEEPER-2832): B has logged transactions of epoch 1 that nobody else has; A and C go
 * through an epoch without any transaction; then C leads B: its last transaction is smaller than
 * B's, the beginning of its epoch greater, and B keeps what it has. */
START_TEST(scenario_s17_an_epoch_without_transactions_hides_no_difference) {
    enum { LEADER = 3, OTHER = 2, LATE = 1 };
    struct zab_world *w = spec_boot(3);
    world_commit(w, LEADER, 12);
    world_cut(w, LEADER, OTHER);
    world_cut(w, LEADER, LATE);
    for (int i = 0; i < 9; i++)
        world_propose(w, LEADER);
    world_disk(w, LEADER);
    world_crash(w, LEADER, WORLD_KEEP_ALL);
    world_lose(w, LEADER, OTHER);
    world_lose(w, LEADER, LATE);
    ck_zxid(world_durable(w, LEADER), Z(1, 21));
    world_uncut(w, LEADER, OTHER);
    world_uncut(w, LEADER, LATE);
    ck_assert_uint_eq(world_await_leader(w, 5000), OTHER); /* epoch 2, nothing in it */
    world_settle(w);
    world_crash(w, OTHER, WORLD_KEEP_ALL);
    start_pair(w, LEADER, LATE);
    const struct zab_msg *m = world_run_to(w, LATE, LEADER, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_TRUNC);
    ck_zxid(m->zxid, Z(1, 12));
    world_unblock(w);
    ck_assert_uint_eq(world_await_leader(w, 5000), LATE);
    world_settle(w);
    ck_assert(!world_has(w, LEADER, Z(1, 13)));
    world_expect_agreement(w);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S18 (ZOOKEEPER-1154): A alone logs a transaction and crashes; the others run on, so that A's last
 * zxid lies in the range that the leader has, though it has no such record. */
START_TEST(scenario_s18_a_zxid_in_range_is_not_a_record_in_common) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_isolate(w, A);
    zxid_t alone = world_propose(w, A);
    world_disk(w, A);
    world_crash(w, A, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), B);
    world_commit(w, B, 8);
    ck_assert(alone > Z(1, 1));
    ck_assert(alone < world_durable(w, B));
    world_heal(w);
    start_pair(w, A, B);
    const struct zab_msg *m = world_run_to(w, B, A, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_TRUNC);
    ck_zxid(m->zxid, Z(1, 1));
    world_unblock(w);
    world_advance(w, 500);
    ck_assert(!world_has(w, A, alone));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* S19 (ZOOKEEPER-335): B's new epoch is not durable anywhere when it proposes in it and crashes; C
 * picks the same epoch, and there are two different (2,1). Here an epoch is promised on disk before
 * it is told, and begun with a quorum of such promises; the world knows every zxid ever given. */
START_TEST(scenario_s19_an_epoch_number_is_not_used_twice) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_crash(w, A, WORLD_KEEP_ALL);
    w->servers[B].disk_held = true;
    world_settle(w);
    ck_assert_int_eq(w->servers[B].role, ZAB_LEADING);
    ck_assert(!world_has(w, B, Z(2, 0)));
    ck_assert_uint_eq(w->servers[C].disk.accepted_epoch, 1); /* nobody heard of epoch 2 */
    w->servers[B].disk_held = false;
    world_settle(w);
    world_isolate(w, B);
    zxid_t lost = world_propose(w, B); /* (2,1), on B's disk only */
    world_disk(w, B);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_start(w, A);
    world_connect(w, A, C);
    uint8_t leader = world_await_leader(w, 5000);
    ck_assert_uint_ge(zab_epoch(w->servers[leader].z), 3);
    world_commit(w, leader, 2);
    world_heal(w);
    spec_join(w, B);
    world_advance(w, 500);
    ck_assert(!world_has(w, B, lost));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S20 (ZOOKEEPER-1653): a learner crashes between two of the writes of its synchronisation, and
 * refuses to start for ever, because its epochs do not fit its log. Here every disk between two
 * writes starts, and is brought up to date: C is two epochs behind and crashes at each write. */
START_TEST(scenario_s20_every_crash_between_two_writes_starts_again) {
    for (size_t writes = 0; writes <= 8; writes++) {
        struct zab_world *w = spec_boot(3);
        world_commit(w, A, 1);
        world_crash(w, C, WORLD_KEEP_ALL);
        world_settle(w);
        world_commit(w, A, 1);
        for (int i = 0; i < 2; i++) { /* two more epochs */
            uint8_t old = world_leader(w);
            world_crash(w, old, WORLD_KEEP_ALL);
            spec_join(w, old);
            world_commit(w, world_await_leader(w, 5000), 1);
        }
        w->servers[C].disk_held = true;
        world_start(w, C);
        world_connect(w, C, world_leader(w));
        for (size_t i = 0; i < writes; i++) {
            world_settle(w);
            world_disk_some(w, C, 1);
        }
        world_crash(w, C, WORLD_LOSE_ALL);
        ck_assert(zxid_epoch(world_durable(w, C)) <= w->servers[C].disk.accepted_epoch);
        w->servers[C].disk_held = false;
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S21 (ZOOKEEPER-962, 1319, 790): a learner joins while transactions flow; those between the point
 * of the DIFF and the moment when forwarding begins come twice or never. Here it is one path. */
START_TEST(scenario_s21_joining_under_traffic_loses_and_repeats_nothing) {
    for (int blank = 0; blank <= 1; blank++) {
        struct world_config config = {.voters = 3, .recent_bytes = 60, .window_bytes = 40};
        struct zab_world *w = spec_boot_with(&config);
        world_commit(w, A, 10);
        world_crash(w, C, WORLD_KEEP_ALL);
        if (blank)
            world_wipe(w, C);
        world_settle(w);
        world_commit(w, A, 10);
        world_start(w, C);
        world_connect(w, A, C);
        world_connect(w, B, C);
        for (int i = 0; i < 60; i++) {
            world_step(w);
            world_propose(w, A);
        }
        world_settle(w);
        ck_assert(w->servers[C].serving);
        ck_assert_uint_eq(w->servers[C].drops, 0);
        world_expect_agreement(w);
        spec_end(w);
    }
}
END_TEST

/* S22 (ZOOKEEPER-1549): a server starts with a tail that was never committed, applies it, writes a
 * snapshot of that, and is then told to truncate: the snapshot still has it. Here a start applies
 * what is known to be committed and holds the rest; a snapshot can contain nothing else. */
START_TEST(scenario_s22_an_uncommitted_tail_is_neither_applied_nor_in_a_snapshot) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 2);
    world_isolate(w, A);
    zxid_t tail = world_propose(w, A);
    world_disk(w, A);
    world_crash(w, A, WORLD_KEEP_ALL);
    world_start(w, A);
    ck_assert(world_has(w, A, tail));
    ck_assert(w->servers[A].applied < tail);
    world_crash(w, A, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), B);
    world_commit(w, B, 1);
    /* A, with its tail, is told to truncate; it leads later, and gives C a snapshot. */
    world_heal(w);
    spec_join(w, A);
    world_advance(w, 500);
    ck_assert(!world_has(w, A, tail));
    world_crash(w, C, WORLD_KEEP_ALL);
    world_wipe(w, C);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_start(w, C);
    world_connect(w, A, C);
    start_pair(w, A, B);
    world_advance(w, 2000);
    ck_assert(w->servers[C].disk.based);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S23 (ZOOKEEPER-4352): one server has early data, another gets it by a snapshot and leads, and a
 * third, empty, is given only what the leader's log has. Here an empty learner gets a snapshot. */
START_TEST(scenario_s23_an_empty_learner_gets_the_early_data_too) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 5);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_wipe(w, B);
    world_settle(w);
    spec_join(w, B);
    world_advance(w, 500);
    ck_assert(w->servers[B].disk.based);
    world_crash(w, A, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), B);
    world_commit(w, B, 1);
    world_wipe(w, A);
    world_start(w, A);
    world_connect(w, A, B);
    const struct zab_msg *m = world_run_to(w, B, A, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_SNAP);
    world_unblock(w);
    world_settle(w);
    world_expect_agreement(w); /* the states are compared register by register */
    spec_end(w);
}
END_TEST

/* S27 (ZOOKEEPER-1277): the counter reaches its end and would carry into the epoch. */
START_TEST(scenario_s27_the_counter_never_carries_into_the_epoch) {
    struct world_config config = {.voters = 3, .counter_limit = 3};
    struct zab_world *w = spec_boot_with(&config);
    for (int i = 0; i < 20; i++) {
        zxid_t zxid = world_commit(w, A, 1);
        ck_assert_uint_le(zxid_counter(zxid), 3);
        ck_assert_uint_gt(zxid_counter(zxid), 0);
    }
    ck_assert_uint_eq(world_leader(w), A);
    world_crash(w, A, WORLD_KEEP_ALL);
    world_commit(w, world_await_leader(w, 5000), 5);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S28 (ZOOKEEPER-1675): an old leader that is cut off and does not know it answers a sync by
 * itself, and the client reads what is old. Here the answer needs a round of heartbeats of a
 * quorum. */
START_TEST(scenario_s28_a_leader_that_was_cut_off_answers_no_sync) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_cut(w, B, A);
    world_cut(w, C, A);
    world_advance(w, 300);
    ck_assert(w->servers[A].serving);
    /* The others have lost patience before A has: its own words do not reach them either. */
    world_cut(w, A, B);
    world_cut(w, A, C);
    zab_marker marker = world_sync(w, A);
    for (int i = 0; i < 100; i++) {
        ck_assert(!zab_sync_passed(w->servers[A].z, marker));
        world_advance(w, 50);
    }
    uint8_t leader = world_leader(w);
    ck_assert_uint_eq(leader, B);
    world_commit(w, B, 1);
    ck_assert(w->servers[A].applied < w->servers[B].applied);
    ck_assert(!zab_sync_passed(w->servers[A].z, marker));
    spec_expect_recovery(w);
    ck_assert(!zab_sync_passed(w->servers[A].z, marker));
    spec_end(w);
}
END_TEST

SPEC_SUITE("scenarios_more",
           scenario_s16_a_healthy_follower_is_not_truncated_after_a_time_without_a_quorum,
           scenario_s17_an_epoch_without_transactions_hides_no_difference,
           scenario_s18_a_zxid_in_range_is_not_a_record_in_common,
           scenario_s19_an_epoch_number_is_not_used_twice,
           scenario_s20_every_crash_between_two_writes_starts_again,
           scenario_s21_joining_under_traffic_loses_and_repeats_nothing,
           scenario_s22_an_uncommitted_tail_is_neither_applied_nor_in_a_snapshot,
           scenario_s23_an_empty_learner_gets_the_early_data_too,
           scenario_s27_the_counter_never_carries_into_the_epoch,
           scenario_s28_a_leader_that_was_cut_off_answers_no_sync)
