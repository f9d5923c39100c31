/* Phase 1 of Zab (DSN'11, section V-A): who is to lead learns of every promise in its quorum, and
 * collects new ones for an epoch that nobody has used. */
#include "tests/spec/spec.h"

/* l.1.1: the prospective leader takes the greatest acceptedEpoch of a quorum and proposes the next
 * one after it. */
START_TEST(a_new_epoch_is_the_greatest_promise_of_the_quorum_and_one) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    for (uint8_t id = 1; id <= 3; id++)
        w->servers[id].disk.accepted_epoch = id == 2 ? 7 : 4;
    world_start(w, 2);
    world_start(w, 3);
    world_connect(w, 2, 3);
    const struct zab_msg *m = world_run_to(w, 3, 2, ZM_LEADERINFO);
    ck_assert_uint_eq(m->epoch, 8);
    spec_end(w);
}
END_TEST

/* l.1.1: only with a quorum of them, its own included. */
START_TEST(no_epoch_is_proposed_before_a_quorum_has_told_its_promise) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 5});
    world_block(w, 2, 5, ZM_FOLLOWERINFO);
    world_block(w, 3, 5, ZM_FOLLOWERINFO);
    world_block(w, 4, 5, ZM_FOLLOWERINFO);
    world_start_all(w);
    world_settle(w);
    ck_assert_int_eq(zab_role(w->servers[5].z), ZAB_LEADING);
    ck_assert_uint_eq(zab_accepted_epoch(w->servers[5].z), 0);
    ck_assert_uint_eq(w->servers[5].disk.accepted_epoch, 0);
    world_unblock(w);
    world_block(w, 3, 5, ZM_FOLLOWERINFO);
    world_block(w, 4, 5, ZM_FOLLOWERINFO);
    world_settle(w);
    ck_assert_uint_eq(w->servers[5].disk.accepted_epoch, 1);
    spec_end(w);
}
END_TEST

/* l.1.1 with R7: the leader's own promise is durable before it tells the epoch to anybody. */
START_TEST(a_leader_promises_on_disk_before_it_proposes_an_epoch) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    w->servers[3].disk_held = true;
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_ge(w->servers[3].disk.job_count, 1);
    ck_assert_ptr_null(world_find(w, 3, 1, ZM_LEADERINFO));
    ck_assert_uint_eq(w->servers[1].disk.accepted_epoch, 0);
    w->servers[3].disk_held = false;
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 3);
    spec_end(w);
}
END_TEST

/* f.1.1: a follower tells the prospective leader the last promise that it gave. */
START_TEST(a_follower_tells_its_promise_and_its_last_zxid) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_start(w, 1);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 1, 3, ZM_FOLLOWERINFO);
    ck_assert_uint_eq(m->epoch, 1);
    ck_zxid(m->zxid, Z(1, 2));
    ck_assert(!m->blank);
    spec_end(w);
}
END_TEST

/* f.1.2: an epoch above the last promise becomes the new promise, durably, and only then is it
 * acknowledged (R7). */
START_TEST(a_promise_is_durable_before_it_is_told) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    w->servers[1].disk_held = w->servers[2].disk_held = true;
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_eq(w->servers[3].disk.accepted_epoch, 1);
    ck_assert_ptr_null(world_find(w, 1, 3, ZM_ACKEPOCH));
    ck_assert(!world_has(w, 3, Z(1, 0)));
    /* Power goes before the promise is durable: it was never given. */
    world_crash(w, 1, WORLD_LOSE_ALL);
    ck_assert_uint_eq(w->servers[1].disk.accepted_epoch, 0);
    w->servers[2].disk_held = false;
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 3);
    spec_end(w);
}
END_TEST

/* f.1.2: an epoch below the last promise is refused; the follower looks again. */
START_TEST(an_epoch_below_the_promise_is_refused) {
    struct zab_world *w = spec_boot(3);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    w->servers[1].disk.accepted_epoch = 9;
    world_start(w, 1);
    world_connect(w, 1, 3);
    struct zab_msg m = {.type = ZM_LEADERINFO, .epoch = 1};
    m.round = world_run_to(w, 1, 3, ZM_FOLLOWERINFO)->round;
    ck_assert_int_eq(zab_role(w->servers[1].z), ZAB_FOLLOWING);
    uint32_t roles = w->servers[1].roles;
    world_forge(w, 3, 1, &m);
    ck_assert_uint_gt(w->servers[1].roles, roles);
    ck_assert_uint_eq(w->servers[1].disk.accepted_epoch, 9);
    ck_assert(!w->servers[1].serving);
    spec_expect_recovery(w);
    ck_assert_uint_ge(zab_epoch(w->servers[world_leader(w)].z), 10);
    spec_end(w);
}
END_TEST

/* f.1.2: a promise that was given for this epoch before is told again, but it does not count twice:
 * it may have been counted for somebody else (docs/zab.md). */
START_TEST(a_promise_is_counted_once) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_start(w, 3);
    world_start(w, 1);
    world_connect(w, 1, 3);
    const struct zab_msg *m = world_run_to(w, 1, 3, ZM_ACKEPOCH);
    ck_assert(m->counted);
    uint32_t epoch = m->epoch;
    world_disconnect(w, 1, 3);
    world_connect(w, 1, 3);
    world_settle(w);
    m = world_head(w, 1, 3);
    /* Either the leader began anew with a greater epoch, or the old promise is not counted. */
    if (m && m->type == ZM_ACKEPOCH)
        ck_assert(m->epoch > epoch || !m->counted);
    world_unblock(w);
    world_settle(w);
    ck_assert(!world_has(w, 3, Z(epoch, 0)));
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

/* The other half of that: when the promise that was hoped for goes away, and those that are there
 * were given before, the leader takes a later epoch at once rather than wait for somebody. */
START_TEST(an_epoch_whose_promises_cannot_be_counted_is_given_up_at_once) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 3});
    world_start_all(w);
    world_block(w, 2, 3, ZM_ACKEPOCH);
    world_run_to(w, 1, 3, ZM_ACKEPOCH);
    world_disconnect(w, 1, 3); /* 1 has promised, 3 has not heard it */
    world_connect(w, 1, 3);
    world_unblock(w);
    world_block(w, 2, 3, ZM_ACKEPOCH);
    world_settle(w); /* now it has, and cannot count it; 2 is still out */
    ck_assert_uint_eq(w->servers[3].disk.accepted_epoch, 1);
    ck_assert_ptr_nonnull(world_find(w, 2, 3, ZM_ACKEPOCH));
    int64_t now = w->now_ms;
    world_crash(w, 2, WORLD_KEEP_ALL);
    world_lose(w, 2, 3);
    world_settle(w);
    ck_assert_uint_eq(world_leader(w), 3);
    ck_assert_uint_eq(zab_epoch(w->servers[3].z), 2);
    ck_assert_int_eq(w->now_ms, now);
    spec_end(w);
}
END_TEST

/* l.1.2: the leader begins nothing before a quorum has promised. */
START_TEST(an_epoch_begins_with_a_quorum_of_promises) {
    struct zab_world *w = spec_new(&(struct world_config){.voters = 5});
    for (uint8_t id = 2; id <= 4; id++)
        world_block(w, id, 5, ZM_ACKEPOCH);
    world_start_all(w);
    world_settle(w);
    ck_assert_uint_eq(w->servers[1].disk.accepted_epoch, 1);
    ck_zxid(zab_last_zxid(w->servers[5].z), 0);
    world_unblock(w);
    world_block(w, 3, 5, ZM_ACKEPOCH);
    world_block(w, 4, 5, ZM_ACKEPOCH);
    world_settle(w);
    ck_assert(world_has(w, 5, Z(1, 0)));
    ck_assert_uint_eq(world_leader(w), 5);
    spec_end(w);
}
END_TEST

/* l.1.2: the leader's history is the newest of the quorum that promised. One in it that has more
 * makes the leader look again (Z1). */
START_TEST(a_promise_from_a_newer_history_ends_the_leadership) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    /* 2 alone has (1,2): nobody else got it. */
    world_cut(w, 3, 1);
    world_propose(w, 3);
    w->servers[3].disk_held = true;
    world_settle(w);
    for (uint8_t id = 1; id <= 3; id++)
        world_crash(w, id, WORLD_LOSE_ALL);
    w->servers[3].disk_held = false;
    world_uncut(w, 3, 1);
    ck_zxid(world_durable(w, 2), Z(1, 2));
    ck_zxid(world_durable(w, 3), Z(1, 1));
    world_start(w, 1);
    world_start(w, 3);
    world_connect(w, 1, 3);
    world_run_to(w, 1, 3, ZM_ACKEPOCH);
    ck_assert_int_eq(zab_role(w->servers[3].z), ZAB_LEADING);
    world_start(w, 2);
    world_connect(w, 1, 2);
    world_connect(w, 2, 3);
    world_settle(w);
    ck_assert_int_ne(zab_role(w->servers[3].z), ZAB_LEADING);
    ck_assert(!world_has(w, 3, Z(2, 0)));
    world_lose(w, 1, 3);
    spec_expect_recovery(w);
    for (uint8_t id = 1; id <= 3; id++)
        ck_assert(world_has(w, id, Z(1, 2)));
    spec_end(w);
}
END_TEST

/* l.1.2, f.1.2: ACKEPOCH carries the history: the last record of each epoch, newest first. */
START_TEST(a_promise_tells_the_history) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 2);
    world_crash(w, 3, WORLD_KEEP_ALL);
    world_advance(w, 2000);
    ck_assert_uint_eq(world_leader(w), 2);
    world_commit(w, 2, 1);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    world_start(w, 1);
    world_connect(w, 1, 2);
    const struct zab_msg *m = world_run_to(w, 1, 2, ZM_ACKEPOCH);
    ck_assert_uint_eq(m->epoch_count, 2);
    ck_zxid(m->epochs[0], Z(2, 1));
    ck_zxid(m->epochs[1], Z(1, 2));
    spec_end(w);
}
END_TEST

/* Those that come when the leader is established go through the same messages and get the same
 * epoch; a promise beyond it makes the leader look again (docs/zab.md, discovery). */
START_TEST(a_late_promise_beyond_the_epoch_makes_the_leader_look_again) {
    struct zab_world *w = spec_boot(3);
    world_commit(w, 3, 1);
    world_crash(w, 1, WORLD_KEEP_ALL);
    world_settle(w);
    w->servers[1].disk.accepted_epoch = 6;
    spec_join(w, 1);
    world_advance(w, 3000);
    uint8_t leader = world_await_leader(w, 10000);
    ck_assert_uint_ge(zab_epoch(w->servers[leader].z), 7);
    spec_expect_recovery(w);
    spec_end(w);
}
END_TEST

SPEC_SUITE("discovery", a_new_epoch_is_the_greatest_promise_of_the_quorum_and_one,
           no_epoch_is_proposed_before_a_quorum_has_told_its_promise,
           a_leader_promises_on_disk_before_it_proposes_an_epoch,
           a_follower_tells_its_promise_and_its_last_zxid, a_promise_is_durable_before_it_is_told,
           an_epoch_below_the_promise_is_refused, a_promise_is_counted_once,
           an_epoch_whose_promises_cannot_be_counted_is_given_up_at_once,
           an_epoch_begins_with_a_quorum_of_promises,
           a_promise_from_a_newer_history_ends_the_leadership, a_promise_tells_the_history,
           a_late_promise_beyond_the_epoch_makes_the_leader_look_again)
