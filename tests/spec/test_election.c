/* Who should lead: Z1, R3, Z12 and docs/zab.md (looking, blank servers). Not a phase of the paper,
 * but it decides whose history discovery begins with. */
#include "tests/spec/spec.h"

/* Z1: votes compare (currentEpoch, last zxid, server id); here the last zxid has the epoch in it.
 */
START_TEST(the_longest_history_is_elected) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_crash(w, 2, WORLD_KEEP_ALL);
    w->servers[1].disk_held = false;
    world_settle(w);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_plant(w, 1, ZAB_TXN, Z(1, 3), Z(1, 2));
    world_start_all(w);
    ck_assert_uint_eq(world_await_leader(w, 5000), 1);
    world_settle(w);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

START_TEST(a_newer_epoch_beats_a_longer_old_one) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    for (uint8_t id = 1; id <= 3; id++)
        world_plant(w, id, ZAB_EPOCH, Z(1, 0), 0);
    world_plant(w, 3, ZAB_TXN, Z(1, 1), Z(1, 0));
    world_plant(w, 3, ZAB_TXN, Z(1, 2), Z(1, 0));
    world_plant(w, 1, ZAB_EPOCH, Z(2, 0), Z(1, 0));
    world_start_all(w);
    ck_assert_uint_eq(world_await_leader(w, 5000), 1);
    world_settle(w);
    ck_assert(!world_has(w, 3, Z(1, 1)));
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* A quorum must agree: one of three, or two of four that see only each other, elect nobody. */
START_TEST(a_minority_elects_nobody) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 4});
    world_start(w, 1);
    world_start(w, 4);
    world_connect(w, 1, 4);
    world_advance(w, 20000);
    ck_assert_uint_eq(world_leader(w), 0);
    ck_zxid(world_durable(w, 4), 0);
    spec_join(w, 2);
    ck_assert_uint_ne(world_await_leader(w, 3000), 0);
    spec_end(w);
}
END_TEST

/* Decided when a quorum has the same vote and every connected voter has spoken: no timer stands in
 * the way of an ordinary election. */
START_TEST(an_election_needs_no_time_when_all_have_spoken) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 5});
    int64_t began = w->now_ms;
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 5);
    ck_assert_int_eq(w->now_ms, began);
    world_crash(w, 5, WORLD_KEEP_ALL);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 4);
    ck_assert_int_eq(w->now_ms, began);
    spec_end(w);
}
END_TEST

/* ... or finalize_ms after a quorum agreed, when a connected voter says nothing. */
START_TEST(a_silent_voter_delays_an_election_by_finalize_ms_only) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_cut(w, 3, 1);
    world_cut(w, 3, 2);
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 0);
    struct zab_config c;
    zab_config_defaults(&c);
    world_advance(w, c.finalize_ms + 5);
    ck_assert_uint_eq(world_leader(w), 2);
    spec_end(w);
}
END_TEST

/* R3, S7: a server votes with its log, not with what its log writer still holds. */
START_TEST(a_vote_waits_for_the_log_to_be_drained) {
    struct zab_world *w = spec_boot(3);
    w->servers[1].disk_held = true;
    world_propose(w, 3);
    world_settle(w);
    ck_zxid(world_durable(w, 1), Z(1, 0));
    world_disconnect(w, 1, 3);
    ck_assert_int_eq(zab_role(w->servers[1].z), ZAB_LOOKING);
    world_settle(w);
    ck_assert_ptr_null(world_find(w, 1, 2, ZM_VOTE));
    w->servers[1].disk_held = false;
    world_block(w, 1, 2, ZM_VOTE);
    world_settle(w);
    const struct zab_msg *m = world_head(w, 1, 2);
    ck_assert_ptr_nonnull(m);
    ck_zxid(m->vote.leader_zxid, Z(1, 1));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* Z12: a voter that lost its disk counts in no quorum of an election while others have a history.
 */
START_TEST(a_wiped_voter_does_not_make_a_quorum) {
    struct zab_world *w = spec_boot(3);
    world_cut(w, 3, 1); /* what follows is committed by 3 and 2 */
    zxid_t committed = world_propose(w, 3);
    world_settle(w);
    ck_zxid(w->servers[2].applied, committed);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_wipe(w, 2);
    world_uncut(w, 3, 1);
    /* 1 does not have it, 2 has forgotten it: together they must not lead. */
    world_start(w, 1);
    world_start(w, 2);
    world_connect(w, 1, 2);
    world_advance(w, 20000);
    ck_assert_uint_eq(world_leader(w), 0);
    spec_join(w, 3);
    world_advance(w, 3000);
    ck_assert_uint_eq(world_leader(w), 3);
    ck_assert(world_has(w, 1, committed));
    ck_assert(world_has(w, 2, committed) || w->servers[2].applied >= committed);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* Blank servers may form a quorum of their own when nobody in it has a history. */
START_TEST(a_new_ensemble_of_blank_servers_starts) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 5});
    for (uint8_t id = 1; id <= 3; id++)
        world_start(w, id);
    world_connect(w, 1, 2);
    world_connect(w, 1, 3);
    world_connect(w, 2, 3);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 3);
    spec_end(w);
}
END_TEST

/* With every voter there, nothing is overlooked: the blank ones count. */
START_TEST(blank_voters_count_when_every_voter_takes_part) {
    struct zab_world *w = spec_boot(3);
    zxid_t committed = world_commit(w, 3, 2);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_KEEP_ALL);
    world_wipe(w, 1);
    world_wipe(w, 2);
    world_start(w, 3);
    spec_join(w, 1);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 0);
    spec_join(w, 2);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 3);
    ck_zxid(w->servers[1].applied, Z(2, 0));
    ck_assert(world_committed(w) > committed);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* It is an ordinary voter with its first durable record. */
START_TEST(a_blank_server_votes_like_any_other_once_it_is_synced) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_wipe(w, 1);
    spec_join(w, 1);
    world_advance(w, 500);
    ck_assert(w->servers[1].serving);
    ck_assert(!zab_blank(w->servers[1].z));
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_advance(w, 1000);
    ck_assert_uint_eq(world_leader(w), 2);
    spec_end(w);
}
END_TEST

/* Z12: what a wiped voter once acknowledged may be committed because of it. So it is no ordinary
 * voter before it has everything again that its leader had: a snapshot for it does not begin before
 * that is applied. Here 3 and 2 have committed (1,2), 3 loses it, and 2, which does not know yet
 * that it is committed, leads and goes. */
START_TEST(a_wiped_voter_is_not_an_ordinary_one_before_it_has_all_that_it_acknowledged) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    world_cut(w, 3, 1);
    world_block(w, 3, 2, ZM_COMMIT);
    zxid_t committed = world_propose(w, 3);
    world_settle(w);
    ck_zxid(world_committed(w), committed);
    ck_assert(w->servers[2].applied < committed);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_lose(w, 3, 1);
    world_lose(w, 3, 2);
    world_uncut(w, 3, 1);
    world_wipe(w, 3);
    world_unblock(w);
    world_block(w, 2, 1, ZM_PROPOSAL);
    world_block(w, 2, 3, ZM_PROPOSAL);
    world_settle(w);
    ck_assert_int_eq(w->servers[2].role, ZAB_LEADING);
    spec_join(w, 3);
    world_advance(w, 300);
    world_crash(w, 2, WORLD_KEEP_ALL);
    world_lose(w, 2, 1);
    world_lose(w, 2, 3);
    world_unblock(w);
    world_advance(w, 5000);
    ck_assert_uint_eq(world_leader(w), 0); /* neither of them has it */
    spec_expect_recovery(w);
    for (uint8_t id = 1; id <= 3; id++)
        ck_assert(world_has(w, id, committed));
    spec_end(w);
}
END_TEST

/* Votes are repeated while looking: a lost link costs no more than a heartbeat. */
START_TEST(a_vote_that_was_lost_is_said_again) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_start(w, 1);
    world_start(w, 2);
    world_connect(w, 1, 2);
    world_lose(w, 1, 2);
    world_lose(w, 2, 1);
    ck_assert_uint_eq(world_leader(w), 0);
    world_advance(w, 1000);
    ck_assert_uint_eq(world_leader(w), 2);
    spec_end(w);
}
END_TEST

/* Who comes back joins the leader that a quorum follows, though its own vote would be better. */
START_TEST(a_server_joins_the_leader_that_is_there) {
    struct zab_world *w = spec_boot(3);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 2);
    world_commit(w, 2, 1);
    spec_join(w, 3);
    world_advance(w, 500);
    ck_assert_uint_eq(world_leader(w), 2);
    ck_assert_int_eq(zab_role(w->servers[3].z), ZAB_FOLLOWING);
    world_expect_agreement(w);
    spec_end(w);
}
END_TEST

/* A vote ends when its server follows. Kept, one of a later round than the leader's own would count
 * again when the leader looks, and it would lead nobody for silence_ms. */
START_TEST(a_follower_s_last_vote_does_not_count_again) {
    struct zab_world *w = spec_boot(3);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_start(w, 1);
    world_connect(w, 1, 3);
    struct zab_msg vote = {.type = ZM_VOTE,
                           .vote = {.role = ZAB_LOOKING, .round = 50, .leader = 3}};
    vote.vote.leader_zxid = world_durable(w, 3);
    ck_assert_ptr_nonnull(world_run_to(w, 1, 3, ZM_FOLLOWERINFO));
    world_forge(w, 1, 3, &vote);
    world_unblock(w);
    world_settle(w);
    ck_assert_int_eq(zab_role(w->servers[1].z), ZAB_FOLLOWING);
    /* Frozen: the links are still there when it wakes up and notices that it has heard nobody. */
    struct zab_config c;
    zab_config_defaults(&c);
    w->now_ms += c.silence_ms;
    world_clock(w, 3);
    world_pump(w, 3);
    ck_assert_int_eq(zab_role(w->servers[3].z), ZAB_LOOKING);
    world_disconnect(w, 2, 3);
    ck_assert_int_eq(zab_role(w->servers[3].z), ZAB_LOOKING);
    world_heal(w);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* An ensemble of one leads by itself, and what is in its log is committed. */
START_TEST(an_ensemble_of_one_leads_by_itself) {
    struct zab_world *w = spec_boot(1);
    ck_assert_uint_eq(world_leader(w), 1);
    world_commit(w, 1, 3);
    world_propose(w, 1);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_start(w, 1);
    ck_zxid(w->servers[1].applied, Z(1, 4));
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 1);
    ck_zxid(w->servers[1].applied, Z(2, 0));
    world_commit(w, 1, 1);
    spec_end(w);
}
END_TEST

SPEC_SUITE("election", the_longest_history_is_elected, a_newer_epoch_beats_a_longer_old_one,
           a_minority_elects_nobody, an_election_needs_no_time_when_all_have_spoken,
           a_silent_voter_delays_an_election_by_finalize_ms_only,
           a_vote_waits_for_the_log_to_be_drained, a_wiped_voter_does_not_make_a_quorum,
           a_new_ensemble_of_blank_servers_starts, blank_voters_count_when_every_voter_takes_part,
           a_blank_server_votes_like_any_other_once_it_is_synced,
           a_wiped_voter_is_not_an_ordinary_one_before_it_has_all_that_it_acknowledged,
           a_vote_that_was_lost_is_said_again, a_follower_s_last_vote_does_not_count_again,
           a_server_joins_the_leader_that_is_there, an_ensemble_of_one_leads_by_itself)
