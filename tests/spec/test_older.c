/* A log that begins before the replica's own snapshot, and one whose beginning is purged: who is
 * given records, and who a snapshot (docs/zab.md, "Checkpoints"). */
#include "tests/spec/spec.h"

/* 1 is down at (1,2), 2 at (2,1); 3 goes on alone with 4 and 5 to (3,6), with a checkpoint of
 * (3,3).
 */
static struct zab_world *world_checked(void) {
    struct world_config config = {.voters = 5, .recent_bytes = 100};
    struct zab_world *w = spec_boot_with(&config);
    world_commit(w, 5, 2);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_crash(w, 5, WORLD_KEEP_ALL);
    ck_assert_uint_eq(world_await_leader(w, 3000), 4);
    ck_zxid(world_commit(w, 4, 1), Z(2, 1));
    world_crash(w, 2, WORLD_KEEP_ALL);
    world_start(w, 5);
    for (uint8_t id = 3; id <= 4; id++)
        world_connect(w, 5, id);
    world_settle(w);
    world_crash(w, 4, WORLD_KEEP_ALL);
    world_start(w, 4);
    world_connect(w, 4, 3);
    world_connect(w, 4, 5);
    uint8_t leader = world_await_leader(w, 3000);
    world_settle(w);
    ck_zxid(world_commit(w, leader, 3), Z(3, 3));
    for (uint8_t id = 3; id <= 5; id++)
        ck_assert(world_checkpoint(w, id));
    world_commit(w, leader, 3);
    return w;
}

/* They begin again, from their checkpoints. */
static uint8_t restart(struct zab_world *w) {
    for (uint8_t id = 3; id <= 5; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_settle(w);
    spec_join_range(w, 3, 5);
    uint8_t leader = world_await_leader(w, 3000);
    world_advance(w, 500);
    return leader;
}

static enum zab_sync_mode mode_for(struct zab_world *w, uint8_t leader, uint8_t id) {
    world_start(w, id);
    for (uint8_t peer = 3; peer <= 5; peer++)
        world_connect(w, id, peer);
    enum zab_sync_mode mode = world_run_to(w, leader, id, ZM_SYNC)->mode;
    world_unblock(w);
    world_advance(w, 3000);
    world_expect_agreement(w);
    return mode;
}

START_TEST(who_ends_before_the_snapshot_is_given_the_older_log) {
    struct zab_world *w = world_checked();
    uint8_t leader = restart(w);
    uint32_t snaps = w->servers[leader].snaps_sent;
    ck_assert_int_eq(mode_for(w, leader, 1), ZAB_SYNC_DIFF);
    ck_assert_int_eq(mode_for(w, leader, 2), ZAB_SYNC_DIFF);
    ck_assert_uint_eq(w->servers[leader].snaps_sent, snaps);
    spec_end(w);
}
END_TEST

/* ... and is truncated to where an older epoch ended. */
START_TEST(who_has_more_than_an_older_epoch_is_truncated_to_its_end) {
    struct zab_world *w = world_checked();
    uint8_t leader = restart(w);
    world_plant(w, 1, ZAB_TXN, Z(1, 3), 0);
    world_plant(w, 1, ZAB_TXN, Z(1, 4), 0);
    ck_assert_int_eq(mode_for(w, leader, 1), ZAB_SYNC_TRUNC);
    ck_assert(!world_has(w, 1, Z(1, 3)));
    spec_end(w);
}
END_TEST

START_TEST(who_ends_exactly_where_the_log_begins_is_given_all_of_it) {
    struct zab_world *w = world_checked();
    for (uint8_t id = 3; id <= 5; id++)
        world_purge(w, id, Z(1, 2));
    uint8_t leader = restart(w);
    ck_zxid(w->servers[leader].disk.begins, Z(1, 2));
    ck_assert_int_eq(mode_for(w, leader, 1), ZAB_SYNC_DIFF);
    spec_end(w);
}
END_TEST

START_TEST(who_ends_before_the_log_begins_is_given_a_snapshot) {
    struct zab_world *w = world_checked();
    for (uint8_t id = 3; id <= 5; id++)
        world_purge(w, id, Z(2, 0));
    uint8_t leader = restart(w);
    ck_assert_int_eq(mode_for(w, leader, 1), ZAB_SYNC_SNAP);
    ck_assert_int_eq(mode_for(w, leader, 2), ZAB_SYNC_DIFF);
    spec_end(w);
}
END_TEST

START_TEST(a_purge_while_it_leads_moves_the_beginning) {
    struct zab_world *w = world_checked();
    uint8_t leader = restart(w);
    world_purge(w, leader, Z(2, 0));
    ck_assert_int_eq(mode_for(w, leader, 1), ZAB_SYNC_SNAP);
    ck_assert_int_eq(mode_for(w, leader, 2), ZAB_SYNC_DIFF);
    spec_end(w);
}
END_TEST

/* 1 is sent old records when the log under them goes. `answered`: a read that was under way gives
 * what it had found. */
static void purge_under_a_learner(bool answered) {
    struct zab_world *w = world_checked();
    uint8_t leader = restart(w);
    uint32_t snaps = w->servers[leader].snaps_sent;
    w->servers[leader].reads_held = true;
    world_start(w, 1);
    for (uint8_t peer = 3; peer <= 5; peer++)
        world_connect(w, 1, peer);
    world_settle(w);
    ck_assert_uint_eq(w->servers[leader].reading[1].count, 1);
    ck_zxid(w->servers[leader].reading[1].after[0], Z(1, 2));
    if (!answered)
        world_purge(w, leader, Z(3, 2));
    w->servers[leader].reads_held = false;
    world_disk_read(w, leader, 1);
    if (answered)
        world_purge(w, leader, Z(3, 2));
    world_advance(w, 5000);
    ck_assert_uint_eq(w->servers[leader].snaps_sent, snaps + 1);
    world_commit(w, leader, 1);
    world_expect_agreement(w);
    spec_end(w);
}

START_TEST(a_learner_whose_records_are_purged_is_given_a_snapshot) { purge_under_a_learner(false); }
END_TEST

START_TEST(a_purge_between_two_reads_is_noticed_by_the_second) { purge_under_a_learner(true); }
END_TEST

/* A follower that is told to truncate below what it has applied must end, also where it does not
 * have that record any more. */
START_TEST(a_truncation_below_the_beginning_of_the_log_is_fatal) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 5);
    ck_assert(world_checkpoint(w, 1));
    world_purge(w, 1, Z(1, 4));
    world_disconnect(w, 1, 3);
    world_connect(w, 1, 3);
    world_run_to(w, 3, 1, ZM_SYNC);
    w->servers[1].fatal_expected = true;
    struct zab_msg m = {.type = ZM_SYNC, .mode = ZAB_SYNC_TRUNC, .zxid = Z(1, 2), .ended = Z(1, 5)};
    world_forge(w, 3, 1, &m);
    ck_assert_str_ne(w->servers[1].fatal, "");
    spec_end(w);
}
END_TEST

SPEC_SUITE("older", who_ends_before_the_snapshot_is_given_the_older_log,
           who_has_more_than_an_older_epoch_is_truncated_to_its_end,
           who_ends_exactly_where_the_log_begins_is_given_all_of_it,
           who_ends_before_the_log_begins_is_given_a_snapshot,
           a_purge_while_it_leads_moves_the_beginning,
           a_learner_whose_records_are_purged_is_given_a_snapshot,
           a_purge_between_two_reads_is_noticed_by_the_second,
           a_truncation_below_the_beginning_of_the_log_is_fatal)
