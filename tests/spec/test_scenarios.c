/* The event sequences S1 to S15 that broke other implementations of Zab, by their numbers. The
 * servers of the originals are A, B and C; here A is 3, which leads when all are equal, B is 2 and
 * C is 1. The world checks after every event that nothing committed is lost or contradicted. */
#include "tests/spec/spec.h"

enum { C = 1, B = 2, A = 3 };

/* A leads, all have (1,1); A alone has (1,2) on its disk, and nobody runs. */
static struct zab_world *world_with_a_tail_at_a(void) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_cut(w, A, B);
    world_cut(w, A, C);
    world_propose(w, A);
    world_disk(w, A);
    world_crash(w, A, WORLD_KEEP_ALL);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_lose(w, A, C);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_uncut(w, A, B);
    world_uncut(w, A, C);
    ck_zxid(world_durable(w, A), Z(1, 2));
    ck_zxid(world_durable(w, C), Z(1, 1));
    return w;
}

static void start_pair(struct zab_world *w, uint8_t a, uint8_t b) {
    if (!w->servers[a].z)
        world_start(w, a);
    if (!w->servers[b].z)
        world_start(w, b);
    world_connect(w, a, b);
}

/* S1 (ZOOKEEPER-3911): C acknowledges NEWLEADER without having logged what is before it; A serves
 * (1,2), which C and B then lose. Here NEWLEADER is a record behind (1,2), and acknowledgements are
 * cumulative: until (1,2) is durable at C there is none that A could count. */
START_TEST(scenario_s01_newleader_is_not_acknowledged_without_the_history_before_it) {
    struct zab_world *w = world_with_a_tail_at_a();
    start_pair(w, A, C);
    const struct zab_msg *m = world_run_to(w, A, C, ZM_PROPOSAL);
    ck_zxid(m->zxid, Z(1, 2));
    ck_assert_uint_eq(w->links[A][C].count, 2);
    w->servers[C].disk_held = true;
    world_unblock(w);
    world_settle(w);
    ck_zxid(world_written(w, C), Z(2, 0)); /* it has heard all of it, and written nothing */
    ck_zxid(world_durable(w, C), Z(1, 1));
    ck_assert(!w->servers[A].serving);
    ck_assert(world_committed(w) < Z(1, 2));
    world_crash(w, C, WORLD_LOSE_ALL);
    w->servers[C].disk_held = false;
    start_pair(w, A, B);
    world_run_to(w, A, B, ZM_SYNC);
    world_crash(w, A, WORLD_LOSE_ALL);
    world_lose(w, A, B);
    world_unblock(w);
    start_pair(w, C, B);
    world_await_leader(w, 20000);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S2 (ZOOKEEPER-4646): as S1, but (1,2) lies in C's queue to the disk when C acknowledges; all
 * crash before it is written. */
START_TEST(scenario_s02_newleader_is_not_acknowledged_from_the_log_writers_queue) {
    for (size_t kept = 0; kept <= 2; kept++) {
        struct zab_world *w = world_with_a_tail_at_a();
        start_pair(w, A, C);
        world_run_to(w, A, C, ZM_PROPOSAL);
        w->servers[C].disk_held = true;
        world_unblock(w);
        world_settle(w);
        ck_zxid(world_written(w, C), Z(2, 0));
        ck_assert_ptr_null(world_find(w, C, A, ZM_ACK));
        ck_assert(!w->servers[A].serving);
        ck_assert(w->servers[A].applied < Z(1, 2));
        world_crash(w, A, WORLD_LOSE_ALL);
        world_crash(w, C, kept);
        w->servers[C].disk_held = false;
        start_pair(w, B, C);
        uint8_t leader = world_await_leader(w, 20000);
        ck_assert_uint_eq(world_has(w, leader, Z(1, 2)), kept > 0);
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S3 (ZOOKEEPER-4643): C writes the new epoch before the history that belongs to it, crashes, and
 * beats B, which has committed more. Here the epoch is a record behind that history; what C has
 * written before is a promise, and votes do not look at promises. */
START_TEST(scenario_s03_an_epoch_is_never_ahead_of_its_history) {
    for (size_t kept = 0; kept <= 2; kept++) {
        struct zab_world *w = spec_boot(3);
        world_commit(w, A, 1);
        world_cut(w, A, C);
        zxid_t committed = world_propose(w, A);
        world_settle(w);
        ck_zxid(w->servers[B].applied, committed);
        world_isolate(w, B);
        for (uint8_t id = 1; id <= 3; id++)
            world_crash(w, id, WORLD_KEEP_ALL);
        world_lose(w, A, C);
        world_uncut(w, A, C);
        start_pair(w, A, C);
        world_run_to(w, A, C, ZM_PROPOSAL);
        w->servers[C].disk_held = true;
        world_unblock(w);
        world_settle(w);
        ck_assert_uint_eq(w->servers[C].disk.accepted_epoch, 2);
        world_crash(w, C, kept);
        w->servers[C].disk_held = false;
        world_crash(w, A, WORLD_KEEP_ALL);
        world_mend(w, B, C);
        start_pair(w, B, C);
        uint8_t leader = world_await_leader(w, 20000);
        ck_assert(world_has(w, leader, committed));
        world_settle(w);
        ck_assert(world_has(w, C, committed));
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S4 (ZOOKEEPER-4685): the acknowledgement of a record of the initial history comes before that of
 * NEWLEADER, the leader takes offence and drops the follower, for ever. */
START_TEST(scenario_s04_acknowledgements_before_newleaders_are_welcome) {
    struct zab_world *w = world_with_a_tail_at_a();
    w->servers[C].disk_held = true;
    start_pair(w, A, C);
    for (int i = 0; i < 10; i++) {
        world_settle(w);
        world_disk_some(w, C, 1); /* each record by itself: each is acknowledged by itself */
    }
    world_settle(w);
    ck_assert_uint_eq(w->servers[A].drops + w->servers[C].drops, 0);
    ck_assert_uint_eq(world_leader(w), A);
    ck_zxid(w->servers[C].applied, Z(2, 0));
    spec_end(w);
}
END_TEST

/* S5 (ZOOKEEPER-4394): between NEWLEADER and UPTODATE a follower gets a COMMIT for a proposal that
 * it had put aside, does not find it, and dies. */
START_TEST(scenario_s05_a_commit_before_uptodate_finds_its_proposal) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, A, 1); /* p */
    world_crash(w, A, WORLD_KEEP_ALL);
    spec_join(w, A);
    ck_assert_uint_eq(world_await_leader(w, 5000), A); /* epoch 2 */
    world_settle(w);
    w->servers[B].disk_held = true;
    zxid_t q = world_propose(w, A); /* q is not committed when C joins */
    world_start(w, C);
    world_connect(w, A, C);
    world_connect(w, B, C);
    world_block(w, C, A, ZM_ACK);
    world_settle(w);
    ck_assert(world_has(w, C, q));
    w->servers[B].disk_held = false;
    world_settle(w);
    ck_zxid(world_committed(w), q);
    ck_zxid(zab_committed_zxid(w->servers[C].z), q); /* COMMIT q has come */
    ck_assert(!w->servers[C].serving);
    world_unblock(w);
    world_settle(w);
    ck_assert(w->servers[C].serving);
    ck_zxid(w->servers[C].applied, q);
    ck_assert_uint_eq(w->servers[C].drops + w->servers[A].drops, 0);
    spec_end(w);
}
END_TEST

/* S6 (ZOOKEEPER-3023): the leader takes a follower for synchronised that has acknowledged, but not
 * yet applied; a client moves to it and reads what is old. Here who serves has applied: until
 * UPTODATE, and everything that it covers, C serves nobody. */
START_TEST(scenario_s06_a_follower_that_has_not_applied_does_not_serve) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_crash(w, C, WORLD_KEEP_ALL);
    world_settle(w);
    zxid_t seen = world_commit(w, A, 3);
    world_start(w, C);
    world_connect(w, A, C);
    ck_zxid(world_run_to(w, A, C, ZM_UPTODATE)->zxid, seen);
    world_commit(w, A, 2);
    ck_assert(!w->servers[C].serving);
    w->servers[C].disk_held = true;
    world_unblock(w);
    world_settle(w);
    ck_assert(w->servers[C].uptodate >= seen);
    for (int i = 0; i < 5; i++) {
        ck_assert(w->servers[C].serving == (w->servers[C].applied >= seen));
        world_disk_some(w, C, 1);
        world_settle(w);
    }
    ck_assert(w->servers[C].serving);
    spec_end(w);
}
END_TEST

/* S7 (ZOOKEEPER-4712): a follower has left its role, and its log writer goes on: the vote says
 * (1,1), then (1,2) is written. Here the vote waits for the disk. */
START_TEST(scenario_s07_the_log_is_drained_before_the_election_reads_it) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    w->servers[C].disk_held = true;
    world_propose(w, A);
    world_settle(w);
    ck_assert_uint_eq(w->servers[C].disk.job_count, 1);
    world_crash(w, A, WORLD_KEEP_ALL);
    world_settle(w);
    ck_assert_int_eq(w->servers[C].role, ZAB_LOOKING);
    ck_assert_ptr_null(world_find(w, C, B, ZM_VOTE));
    w->servers[C].disk_held = false;
    world_block(w, C, B, ZM_VOTE);
    world_settle(w);
    ck_zxid(world_head(w, C, B)->vote.leader_zxid, Z(1, 2));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S8 (ZOOKEEPER-2845): C has (1,2) in its log and (1,1) in memory, votes with memory, gets an empty
 * DIFF from B, and keeps (1,2) under B's epoch. Here there is one history, and the vote is its end.
 */
START_TEST(scenario_s08_a_vote_is_for_the_log_and_not_for_memory) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    world_cut(w, A, B);
    world_propose(w, A);
    world_block(w, C, A, ZM_ACK);
    world_step(w);
    world_disk(w, C);
    ck_zxid(world_durable(w, C), Z(1, 2));
    ck_zxid(w->servers[C].applied, Z(1, 1));
    world_crash(w, A, WORLD_LOSE_ALL);
    world_crash(w, B, WORLD_KEEP_ALL);
    world_unblock(w);
    world_lose(w, A, B);
    world_uncut(w, A, B);
    start_pair(w, A, C);
    world_step(w);
    world_sever(w, A, C);
    world_crash(w, A, WORLD_LOSE_ALL);
    start_pair(w, B, C);
    ck_zxid(world_durable(w, B), Z(1, 1));
    uint8_t leader = world_await_leader(w, 20000);
    ck_assert_uint_eq(leader, C);
    world_settle(w);
    ck_assert(world_has(w, B, Z(1, 2)));
    world_expect_agreement(w);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* S9 (ZOOKEEPER-4785): in a DIFF records are counted as taken, the writer's queue is not flushed,
 * and the follower restarts: what it acknowledged is gone. */
START_TEST(scenario_s09_a_diff_is_acknowledged_as_far_as_it_is_flushed) {
    for (size_t kept = 0; kept <= 4; kept++) {
        struct zab_world *w = spec_boot(3);
        world_commit(w, A, 1);
        world_crash(w, C, WORLD_KEEP_ALL);
        world_settle(w);
        world_commit(w, A, 4);
        world_start(w, C);
        world_connect(w, A, C);
        world_run_to(w, A, C, ZM_PROPOSAL);
        w->servers[C].disk_held = true;
        world_block(w, C, A, ZM_ACK);
        world_unblock(w);
        world_block(w, C, A, ZM_ACK);
        world_settle(w);
        world_disk_some(w, C, kept);
        const struct zab_msg *ack = world_find(w, C, A, ZM_ACK);
        ck_assert_int_eq(ack != NULL, kept > 0);
        world_crash(w, C, WORLD_LOSE_ALL);
        ck_zxid(world_durable(w, C), Z(1, 1 + (uint32_t)kept));
        w->servers[C].disk_held = false;
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S10 (ZOOKEEPER-4925): a server that was brought up by a DIFF leads, and its own list of what is
 * committed has a hole, which it gives on. Here there is one history, contiguous, in memory and on
 * disk. F1 is 4, F2 is 1, the leader is 5. */
START_TEST(scenario_s10_a_follower_brought_up_by_a_diff_leads_without_a_hole) {
    struct world_config config = {.voters = 5, .recent_bytes = 40};
    struct zab_world *w = spec_boot_with(&config);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, 5, 5);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, 5, 5);
    spec_join(w, 4);
    world_advance(w, 500);
    world_crash(w, 5, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), 4);
    spec_join(w, 1);
    world_advance(w, 500);
    for (uint32_t i = 1; i <= 10; i++)
        ck_assert(world_has(w, 1, Z(1, i)));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* S11 (ZOOKEEPER-4882): a follower whose disk fails for a while goes on applying, logs again later,
 * and its log has a hole. Here nothing is applied that is not durable; a failed disk ends the
 * process (Z7), which is a crash that loses what was under way. */
START_TEST(scenario_s11_nothing_is_applied_past_a_failing_disk) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 1);
    w->servers[C].disk_held = true;
    for (int i = 0; i < 3; i++)
        world_propose(w, A);
    world_settle(w);
    ck_zxid(world_committed(w), Z(1, 4));
    ck_zxid(w->servers[C].applied, Z(1, 1));
    world_crash(w, C, WORLD_LOSE_ALL);
    w->servers[C].disk_held = false;
    world_commit(w, A, 2);
    spec_join(w, C);
    world_advance(w, 500);
    for (uint32_t i = 1; i <= 6; i++)
        ck_assert(world_has(w, C, Z(1, i)));
    spec_end(w);
}
END_TEST

/* S12 (ZOOKEEPER-5094): told to truncate from Z2 to Z1, a follower has cut its log when the link
 * breaks, and still has Z2 in memory; the next leader is told Z2 and leaves a gap. */
START_TEST(scenario_s12_a_truncation_under_way_is_finished_before_anything_is_said) {
    for (size_t kept = 0; kept <= 1; kept++) {
        struct zab_world *w = world_with_a_tail_at_a();
        start_pair(w, B, C);
        ck_assert_uint_eq(world_await_leader(w, 5000), B);
        world_commit(w, B, 1);
        world_start(w, A);
        world_connect(w, A, B);
        world_connect(w, A, C);
        world_run_to(w, B, A, ZM_SYNC);
        w->servers[A].disk_held = true;
        world_unblock(w);
        world_settle(w);
        ck_assert_uint_eq(w->servers[A].disk.job_count, 1);
        world_disconnect(w, A, B);
        world_settle(w);
        ck_assert_ptr_null(world_find(w, A, C, ZM_VOTE));
        if (kept == 0) {
            w->servers[A].disk_held = false;
            world_settle(w);
            ck_zxid(world_durable(w, A), Z(1, 1));
        } else {
            world_crash(w, A, WORLD_LOSE_ALL);
            w->servers[A].disk_held = false;
            ck_zxid(world_durable(w, A), Z(1, 2));
        }
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S13 (ZOOKEEPER-3642): a snapshot is in memory and not on disk when the leader dies; the next
 * leader builds on it, and a restart loses everything below. Here it is taken over when it is
 * durable, and not before. */
START_TEST(scenario_s13_a_received_snapshot_counts_when_it_is_durable) {
    for (size_t kept = 0; kept <= 1; kept++) {
        struct zab_world *w = spec_boot(3);
        world_commit(w, A, 3);
        world_crash(w, C, WORLD_KEEP_ALL);
        world_wipe(w, C);
        world_settle(w);
        world_start(w, C);
        world_connect(w, A, C);
        world_run_to(w, A, C, ZM_SNAPEND);
        w->servers[C].disk_held = true;
        world_unblock(w);
        world_settle(w);
        ck_assert_uint_eq(w->servers[C].disk.job_count, 1);
        ck_zxid(w->servers[C].applied, 0);
        ck_assert_ptr_null(world_find(w, C, A, ZM_SYNCREADY));
        world_crash(w, A, WORLD_KEEP_ALL);
        world_crash(w, C, kept);
        w->servers[C].disk_held = false;
        world_start(w, C);
        ck_assert_uint_eq(zab_blank(w->servers[C].z), kept == 0);
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

/* S14 (ZOOKEEPER-3104): NEWLEADER is sent while the snapshot still streams, and taken before the
 * state is whole. Here no record goes out before the learner has said where its history ends. */
START_TEST(scenario_s14_newleader_waits_for_the_last_piece_of_the_snapshot) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, A, 2);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_wipe(w, C);
    w->servers[A].snap_held = true;
    world_start_all(w);
    world_advance(w, 500);
    ck_assert_uint_eq(world_leader(w), A);
    for (uint32_t i = 0; i < WORLD_REGISTERS; i++) {
        world_app_send_piece(w, A, C);
        world_propose(w, A);
        world_settle(w);
        ck_assert_ptr_null(world_find(w, C, A, ZM_ACK));
        ck_zxid(world_written(w, C), 0);
        ck_assert(!w->servers[C].serving);
    }
    w->servers[A].snap_held = false;
    world_settle(w);
    ck_assert(w->servers[C].serving);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* S15 (ZOOKEEPER-2846): a leader synchronises from its log on disk, where an earlier term has left
 * what was never committed. Here the log is the history: it was truncated first. */
START_TEST(scenario_s15_a_log_on_disk_holds_no_other_history) {
    struct world_config config = {.voters = 3, .recent_bytes = 1};
    struct zab_world *w = spec_boot_with(&config);
    world_commit(w, A, 1);
    world_isolate(w, A);
    zxid_t lost = world_propose(w, A);
    world_propose(w, A);
    world_disk(w, A);
    ck_assert_uint_eq(world_await_leader(w, 5000), B);
    world_advance(w, 3000);
    world_commit(w, B, 1);
    world_heal(w);
    world_advance(w, 3000);
    ck_assert(!world_has(w, A, lost));
    world_crash(w, C, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, B, 1);
    world_crash(w, B, WORLD_KEEP_ALL);
    spec_join(w, C);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), A);
    ck_assert(!world_has(w, C, lost));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

SPEC_SUITE("scenarios", scenario_s01_newleader_is_not_acknowledged_without_the_history_before_it,
           scenario_s02_newleader_is_not_acknowledged_from_the_log_writers_queue,
           scenario_s03_an_epoch_is_never_ahead_of_its_history,
           scenario_s04_acknowledgements_before_newleaders_are_welcome,
           scenario_s05_a_commit_before_uptodate_finds_its_proposal,
           scenario_s06_a_follower_that_has_not_applied_does_not_serve,
           scenario_s07_the_log_is_drained_before_the_election_reads_it,
           scenario_s08_a_vote_is_for_the_log_and_not_for_memory,
           scenario_s09_a_diff_is_acknowledged_as_far_as_it_is_flushed,
           scenario_s10_a_follower_brought_up_by_a_diff_leads_without_a_hole,
           scenario_s11_nothing_is_applied_past_a_failing_disk,
           scenario_s12_a_truncation_under_way_is_finished_before_anything_is_said,
           scenario_s13_a_received_snapshot_counts_when_it_is_durable,
           scenario_s14_newleader_waits_for_the_last_piece_of_the_snapshot,
           scenario_s15_a_log_on_disk_holds_no_other_history)
