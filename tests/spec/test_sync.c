/* Phase 2 of Zab (DSN'11, section V-B): every learner gets a durable copy of the leader's history
 * before it acknowledges the leader. */
#include "tests/spec/spec.h"

/* A learner that stopped at (1,1), with a leader that has gone on to (1,4). */
static struct zab_world *world_behind(void) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_commit(w, 3, 3);
    return w;
}

/* l.2.1: NEWLEADER, the record (e,0), ends the history that the leader began with, and goes to
 * everybody who promised. */
START_TEST(newleader_goes_to_everybody_behind_the_initial_history) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_block(w, 2, 1, ZM_PROPOSAL);
    world_settle(w);
    const struct zab_msg *m = world_head(w, 2, 1);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->kind, ZAB_EPOCH);
    ck_zxid(m->zxid, Z(2, 0));
    ck_zxid(world_durable(w, 1), Z(1, 2));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* f.2.1: a follower makes the history its own, durably, and only then acknowledges NEWLEADER. */
START_TEST(newleader_is_acknowledged_when_the_history_is_durable) {
    struct zab_world *w = world_behind();
    world_start(w, 1);
    world_connect(w, 1, 3);
    world_run_to(w, 3, 1, ZM_PROPOSAL);
    w->servers[1].disk_held = true;
    world_unblock(w);
    world_settle(w);
    ck_assert_ptr_null(world_find(w, 1, 3, ZM_ACK));
    ck_zxid(world_durable(w, 1), Z(1, 1));
    world_disk_some(w, 1, 1);
    ck_assert_ptr_nonnull(world_find(w, 1, 3, ZM_ACK));
    ck_zxid(world_find(w, 1, 3, ZM_ACK)->zxid, Z(1, 2));
    w->servers[1].disk_held = false;
    world_settle(w);
    ck_assert(w->servers[1].serving);
    ck_zxid(w->servers[1].applied, Z(1, 4));
    spec_end(w);
}
END_TEST

/* l.2.2: a quorum of ACK-LD commits the whole initial history; before, nothing of it is. */
START_TEST(the_initial_history_is_committed_with_a_quorum_of_acknowledgements) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    for (uint8_t id = 1; id <= 3; id++)
        world_plant(w, id, ZAB_EPOCH, Z(1, 0), 0);
    world_plant(w, 3, ZAB_TXN, Z(1, 1), 0);
    world_plant(w, 3, ZAB_TXN, Z(1, 2), 0);
    for (uint8_t id = 1; id <= 2; id++)
        w->servers[id].disk_held = false;
    world_block(w, 1, 3, ZM_ACK);
    world_block(w, 2, 3, ZM_ACK);
    world_start_all(w);
    world_settle(w);
    ck_assert(world_has(w, 1, Z(2, 0)));
    ck_zxid(w->servers[3].applied, 0);
    ck_zxid(world_committed(w), 0);
    ck_assert(!w->servers[3].serving);
    world_unblock(w);
    world_settle(w);
    ck_zxid(world_committed(w), Z(2, 0));
    ck_assert_uint_eq(world_leader(w), 3);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* f.2.2: the follower delivers the initial history when the leader says that it is committed, and
 * serves behind that (S6). */
START_TEST(a_follower_serves_when_it_has_applied_what_is_committed) {
    struct zab_world *w = world_behind();
    world_start(w, 1);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 3, 1, ZM_UPTODATE);
    ck_zxid(m->zxid, Z(1, 4));
    ck_assert(!w->servers[1].serving);
    world_unblock(w);
    world_settle(w);
    ck_assert(w->servers[1].serving);
    ck_zxid(w->servers[1].applied, Z(1, 4));
    spec_end(w);
}
END_TEST

/* f.2.1 for another epoch than the promised one: nothing of it is accepted. */
START_TEST(a_history_of_another_epoch_than_promised_is_refused) {
    struct zab_world *w = world_behind();
    world_start(w, 1);
    world_connect(w, 1, 3);
    world_run_to(w, 3, 1, ZM_PROPOSAL);
    zxid_t last = world_written(w, 1);
    struct zab_msg m = {.type = ZM_PROPOSAL, .kind = ZAB_EPOCH, .zxid = Z(7, 0)};
    world_forge(w, 3, 1, &m);
    ck_zxid(world_written(w, 1), last);
    ck_assert(!w->servers[1].serving);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* R6: a learner whose last record the leader has gets what is behind it, and nothing else. */
START_TEST(a_learner_with_a_prefix_gets_the_difference) {
    struct zab_world *w = world_behind();
    world_start(w, 1);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 3, 1, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_DIFF);
    ck_zxid(m->zxid, Z(1, 1));
    world_unblock(w);
    world_settle(w);
    world_expect_agreement(w);
    ck_assert_uint_eq(w->servers[3].snaps_sent, 0);
    spec_end(w);
}
END_TEST

/* R6: what the leader does not have is removed, to the last record that both have. */
START_TEST(a_learner_with_more_is_truncated_to_the_last_common_record) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    world_cut(w, 3, 1);
    world_cut(w, 3, 2);
    world_propose(w, 3);
    world_propose(w, 3);
    world_disk(w, 3);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_lose(w, 3, 1);
    world_lose(w, 3, 2);
    world_heal(w);
    ck_assert_uint_eq(world_await_leader(w, 5000), 2);
    world_commit(w, 2, 1);
    world_start(w, 3);
    world_connect(w, 3, 2);
    const struct zab_msg *m = world_run_to(w, 2, 3, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_TRUNC);
    ck_zxid(m->zxid, Z(1, 1));
    world_unblock(w);
    world_advance(w, 100);
    ck_assert(!world_has(w, 3, Z(1, 3)));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* R1, S12: a truncation is durable before the learner says that it is ready. */
START_TEST(a_truncation_is_durable_before_anything_follows) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    world_isolate(w, 3);
    world_propose(w, 3);
    world_disk(w, 3);
    world_crash(w, 3, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), 2);
    world_heal(w);
    world_start(w, 3);
    world_connect(w, 3, 2);
    world_run_to(w, 2, 3, ZM_SYNC);
    w->servers[3].disk_held = true;
    world_unblock(w);
    world_settle(w);
    ck_assert(world_has(w, 3, Z(1, 2)));
    ck_assert_ptr_null(world_find(w, 3, 2, ZM_SYNCREADY));
    ck_assert(!world_has(w, 3, Z(2, 0)));
    w->servers[3].disk_held = false;
    world_settle(w);
    ck_assert(!world_has(w, 3, Z(1, 2)));
    world_advance(w, 500);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* S23: an empty learner gets a snapshot, for a log need not reach back to the beginning. */
START_TEST(a_blank_learner_gets_a_snapshot) {
    struct zab_world *w = world_behind();
    world_wipe(w, 1);
    world_start(w, 1);
    world_connect(w, 1, 2);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 3, 1, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_SNAP);
    world_unblock(w);
    world_settle(w);
    ck_assert(w->servers[1].disk.based);
    world_commit(w, 3, 1);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* docs/zab.md: a snapshot, too, when the leader's log does not reach back to the common record. */
START_TEST(a_learner_behind_the_leaders_log_gets_a_snapshot) {
    struct zab_world *w = spec_boot(5);
    world_commit(w, 5, 2);
    world_crash(w, 1, WORLD_KEEP_ALL); /* at (1,2) */
    world_settle(w);
    world_commit(w, 5, 3);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_wipe(w, 4);
    spec_join(w, 4); /* its log begins at (1,5) */
    world_advance(w, 500);
    ck_assert(w->servers[4].serving);
    ck_assert(w->servers[4].disk.based);
    world_crash(w, 5, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 5000), 4);
    world_start(w, 1);
    for (uint8_t id = 2; id <= 4; id++)
        world_connect(w, 1, id);
    const struct zab_msg *m = world_run_to(w, 4, 1, ZM_SYNC);
    ck_assert_int_eq(m->mode, ZAB_SYNC_SNAP);
    world_unblock(w);
    world_advance(w, 500);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* Z9: the walk goes on while transactions are applied; the log behind its beginning makes it exact
 * before the learner serves. */
START_TEST(a_snapshot_is_made_exact_by_the_log_behind_its_beginning) {
    struct zab_world *w = world_behind();
    world_wipe(w, 1);
    w->servers[3].snap_held = true;
    spec_join(w, 1);
    for (uint32_t i = 0; i < WORLD_REGISTERS; i++) {
        world_app_send_piece(w, 3, 1);
        world_commit(w, 3, 2);
    }
    w->servers[3].snap_held = false;
    world_settle(w);
    ck_assert(w->servers[1].disk.based);
    ck_assert(w->servers[1].disk.base.ended > w->servers[1].disk.base.begun);
    ck_assert(w->servers[1].serving);
    world_expect_agreement(w);
    /* And the same again from its disk alone. */
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    spec_join(w, 1);
    world_advance(w, 500);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* R4, S13: until the snapshot is durable as a whole, the old history is the history. */
START_TEST(a_snapshot_that_was_cut_off_leaves_the_old_history) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_wipe(w, 1);
    world_settle(w);
    w->servers[3].snap_held = true;
    spec_join(w, 1);
    world_app_send_piece(w, 3, 1);
    world_app_send_piece(w, 3, 1);
    world_settle(w);
    ck_assert(w->servers[1].incoming_open);
    world_disconnect(w, 1, 3);
    ck_assert(!w->servers[1].incoming_open);
    ck_zxid(world_durable(w, 1), 0);
    ck_assert(zab_blank(w->servers[1].z));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* A learner whose leader goes while it truncates or installs votes only when the disk has
 * answered (R3). */
START_TEST(an_installation_ends_before_the_next_vote) {
    struct zab_world *w = world_behind();
    world_wipe(w, 1);
    world_start(w, 1);
    world_connect(w, 1, 3);
    world_connect(w, 1, 2);
    world_run_to(w, 3, 1, ZM_SNAPEND);
    w->servers[1].disk_held = true;
    world_unblock(w);
    world_deliver(w, 3, 1);
    ck_assert_uint_eq(w->servers[1].disk.job_count, 1);
    world_lose(w, 1, 2);
    world_disconnect(w, 1, 3);
    world_settle(w);
    ck_assert_ptr_null(world_find(w, 1, 2, ZM_VOTE));
    w->servers[1].disk_held = false;
    world_settle(w);
    ck_assert(w->servers[1].disk.based);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* R9, S21: from the moment a learner is being synchronised, it misses nothing that is proposed. */
START_TEST(what_is_proposed_during_a_synchronisation_arrives_once) {
    struct zab_world *w = world_behind();
    world_start(w, 1);
    world_connect(w, 1, 3);
    for (int i = 0; i < 30; i++) {
        world_step(w);
        world_propose(w, 3);
    }
    world_settle(w);
    ck_zxid(w->servers[1].applied, Z(1, 34));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* R5: a proposal that does not follow the learner's last record is a broken protocol: the link is
 * made anew. */
START_TEST(a_gap_in_the_proposals_drops_the_link) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    uint32_t drops = w->servers[1].drops;
    uint8_t bytes[8] = {0};
    struct zab_msg m = {.type = ZM_PROPOSAL, .kind = ZAB_TXN, .zxid = Z(1, 3)};
    m.payload = blob_new(bytes, sizeof bytes);
    world_forge(w, 3, 1, &m);
    blob_unref(m.payload);
    ck_assert_uint_gt(w->servers[1].drops, drops);
    ck_zxid(world_written(w, 1), Z(1, 1));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* docs/zab.md, history: a truncation that would reach below what was applied is a foreign history,
 * and the process ends. */
START_TEST(a_truncation_below_what_was_applied_is_fatal) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 3);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_start(w, 1);
    world_connect(w, 1, 3);
    world_run_to(w, 3, 1, ZM_SYNC);
    w->servers[1].fatal_expected = true;
    zxid_t applied = w->servers[1].applied;
    ck_assert(applied > Z(1, 0));
    struct zab_msg m = {.type = ZM_SYNC, .mode = ZAB_SYNC_TRUNC, .zxid = Z(1, 0)};
    world_forge(w, 3, 1, &m);
    ck_assert_ptr_null(w->servers[1].z);
    ck_assert(world_has(w, 1, applied));
    spec_end(w);
}
END_TEST

/* A learner that crashes anywhere in its synchronisation has a prefix of the leader's history, and
 * every such disk starts (R1, S3, S20). */
START_TEST(every_crash_in_a_synchronisation_leaves_a_history_that_starts) {
    for (size_t kept = 0; kept <= 6; kept++) {
        struct zab_world *w = spec_boot(3);
        world_commit(w, 3, 1);
        world_crash(w, 1, WORLD_KEEP_ALL);
        world_settle(w);
        world_commit(w, 3, 3);
        world_crash(w, 3, WORLD_KEEP_ALL);
        w->servers[1].disk_held = true;
        world_start(w, 1);
        world_connect(w, 1, 2);
        for (size_t i = 0; i < kept; i++) {
            world_settle(w);
            world_disk_some(w, 1, 1);
        }
        world_settle(w);
        for (uint8_t peer = 2; peer <= 3; peer++)
            world_lose(w, 1, peer);
        world_crash(w, 1, WORLD_LOSE_ALL);
        w->servers[1].disk_held = false;
        spec_expect_recovery(w);
        spec_end(w);
    }
}
END_TEST

SPEC_SUITE("sync", newleader_goes_to_everybody_behind_the_initial_history,
           newleader_is_acknowledged_when_the_history_is_durable,
           the_initial_history_is_committed_with_a_quorum_of_acknowledgements,
           a_follower_serves_when_it_has_applied_what_is_committed,
           a_history_of_another_epoch_than_promised_is_refused,
           a_learner_with_a_prefix_gets_the_difference,
           a_learner_with_more_is_truncated_to_the_last_common_record,
           a_truncation_is_durable_before_anything_follows, a_blank_learner_gets_a_snapshot,
           a_learner_behind_the_leaders_log_gets_a_snapshot,
           a_snapshot_is_made_exact_by_the_log_behind_its_beginning,
           a_snapshot_that_was_cut_off_leaves_the_old_history,
           an_installation_ends_before_the_next_vote,
           what_is_proposed_during_a_synchronisation_arrives_once,
           a_gap_in_the_proposals_drops_the_link, a_truncation_below_what_was_applied_is_fatal,
           every_crash_in_a_synchronisation_leaves_a_history_that_starts)
