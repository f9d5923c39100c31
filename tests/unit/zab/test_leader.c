/* What a leader does with what its learners say, and with its limits, markers and deadlines. */
#include "common/blob.h"
#include "tests/lib/unit.h"
#include "tests/unit/zab/steps.h"

#include <string.h>

/* ---- The leader ---- */

START_TEST(a_leader_drops_who_acknowledges_what_was_not_sent) {
    struct ensemble *e = steps_booted(3, 0);
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_ACK, .zxid = Z(1, 1)});
}
END_TEST

START_TEST(a_leader_drops_who_answers_a_heartbeat_of_the_future) {
    struct ensemble *e = steps_booted(3, 0);
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_PONG, .round = UINT64_MAX});
}
END_TEST

START_TEST(a_leader_drops_who_is_ready_twice) {
    struct ensemble *e = steps_booted(3, 0);
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_SYNCREADY, .zxid = Z(1, 0)});
}
END_TEST

START_TEST(a_leader_drops_epochs_that_make_no_sense) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab_msg m = {.type = ZM_ACKEPOCH, .epoch = 1, .counted = true, .epoch_count = 2};
    m.epochs[0] = Z(1, 0);
    m.epochs[1] = Z(1, 1);
    steps_expect_drop(e, 1, LEADER, &m);
}
END_TEST

START_TEST(a_leader_drops_who_says_what_only_leaders_say) {
    struct ensemble *e = steps_booted(3, 0);
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_COMMIT, .zxid = Z(1, 0)});
}
END_TEST

START_TEST(a_leader_drops_an_observer_that_it_thinks_a_voter) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab_msg m = {.type = ZM_FOLLOWERINFO, .epoch = 1, .observer = true};
    steps_expect_drop(e, 1, LEADER, &m);
}
END_TEST

START_TEST(a_leader_drops_a_promise_that_leaves_no_epoch) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab_msg m = {.type = ZM_FOLLOWERINFO, .epoch = UINT32_MAX};
    steps_expect_drop(e, 1, LEADER, &m);
}
END_TEST

START_TEST(a_leader_looks_again_when_a_follower_has_promised_more) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab_msg m = {.type = ZM_FOLLOWERINFO, .epoch = 7, .zxid = Z(1, 0)};
    ensemble_inject(e, 1, LEADER, &m);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LOOKING);
    steps_expect_whole(e);
}
END_TEST

/* A leader with LEADERINFO out to 1, that is all alone else. */
static struct ensemble *awaiting_promise(void) {
    struct ensemble *e = ensemble_new(1, 3, 0);
    ensemble_start(e, 1);
    ensemble_start(e, 3);
    ensemble_connect(e, 1, 3);
    while (e->sent[ZM_LEADERINFO] == 0) {
        (void)ensemble_deliver(e, 1, 3);
        (void)ensemble_deliver(e, 3, 1);
        (void)ensemble_disk(e, 3, 1);
    }
    return e;
}

START_TEST(a_leader_looks_again_when_a_follower_has_a_more_recent_history) {
    struct ensemble *e = awaiting_promise();
    struct zab_msg m = {.type = ZM_ACKEPOCH, .epoch = 1, .counted = true, .epoch_count = 1};
    m.epochs[0] = Z(0, 5);
    ensemble_inject(e, 1, LEADER, &m);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LOOKING);
    steps_expect_whole(e);
}
END_TEST

/* What it has beyond was not committed where those that lost nothing are a quorum. */
START_TEST(a_lossy_follower_with_more_hinders_only_where_everyone_is_needed) {
    struct ensemble *e = awaiting_promise();
    ensemble_start_all(e);
    while (e->sent[ZM_LEADERINFO] < 2) {
        (void)ensemble_deliver(e, 2, 3);
        (void)ensemble_deliver(e, 3, 2);
    }
    struct zab_msg m = {
        .type = ZM_ACKEPOCH, .epoch = 1, .counted = true, .epoch_count = 1, .lossy = true};
    m.epochs[0] = Z(0, 5);
    ensemble_inject(e, 1, LEADER, &m);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LEADING);
    m.epochs[0] = 0;
    m.epoch_count = 0;
    m.blank = true;
    ensemble_inject(e, 2, LEADER, &m);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LOOKING);
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_leader_drops_who_is_ready_where_it_was_not_told_to_be) {
    struct ensemble *e = awaiting_promise();
    struct zab_msg m = {.type = ZM_ACKEPOCH, .epoch = 1, .counted = true, .blank = true};
    ensemble_inject(e, 1, LEADER, &m);
    ck_assert_uint_eq(e->sent[ZM_SYNC], 1);
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_SYNCREADY, .zxid = Z(1, 0)});
}
END_TEST

START_TEST(a_leader_drops_who_is_ready_before_where_it_was_told_to_be) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    ensemble_settle(e);
    ensemble_disconnect(e, 1, LEADER);
    ensemble_connect(e, 1, LEADER);
    uint64_t syncs = e->sent[ZM_SYNC];
    while (e->sent[ZM_SYNC] == syncs) {
        (void)ensemble_deliver(e, LEADER, 1);
        (void)ensemble_deliver(e, 1, LEADER);
    }
    steps_expect_drop(e, 1, LEADER, &(struct zab_msg){.type = ZM_SYNCREADY, .zxid = Z(1, 0)});
}
END_TEST

/* 3 has (1,1), which nobody else has, and leads 1 in the next epoch. */
START_TEST(a_record_of_an_earlier_epoch_is_not_committed_by_itself) {
    struct ensemble *e = steps_booted(3, 0);
    e->links[LEADER - 1][0].held = e->links[LEADER - 1][1].held = true;
    zxid_t zxid = steps_propose(e);
    for (uint8_t id = 1; id <= 3; id++)
        ensemble_crash(e, id, SIZE_MAX);
    ensemble_start(e, 1);
    ensemble_start(e, LEADER);
    ensemble_connect(e, 1, LEADER);
    uint64_t proposals = e->sent[ZM_PROPOSAL];
    while (e->sent[ZM_PROPOSAL] < proposals + 2) {
        (void)ensemble_deliver(e, 1, LEADER);
        if (e->sent[ZM_PROPOSAL] < proposals + 2)
            (void)ensemble_deliver(e, LEADER, 1);
        (void)ensemble_disk(e, 1, 1);
        (void)ensemble_disk(e, LEADER, 1);
    }
    struct zab *z = ensemble_zab(e, LEADER);
    ck_assert_int_eq(zab_durable_zxid(z), Z(2, 0));
    while (zab_last_zxid(ensemble_zab(e, 1)) != zxid)
        ck_assert(ensemble_deliver(e, LEADER, 1));
    (void)ensemble_disk(e, 1, 1);
    while (ensemble_deliver(e, 1, LEADER))
        ;
    struct zab_learner_info info;
    ck_assert(zab_learner_info(z, 0, &info));
    ck_assert_int_eq(info.acked, zxid); /* a quorum has it, but not (2,0) */
    ck_assert_int_eq(zab_committed_zxid(z), Z(1, 0));
    ck_assert(!info.serving);
    ensemble_settle(e);
    ck_assert_int_eq(zab_committed_zxid(z), Z(2, 0));
    ensemble_free(e);
}
END_TEST

START_TEST(a_learner_is_up_to_date_when_it_has_the_epoch_only) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_crash(e, 1, SIZE_MAX);
    (void)steps_propose(e);
    ensemble_settle(e);
    struct zab *z = ensemble_zab(e, LEADER);
    struct zab_msg promise = {.type = ZM_FOLLOWERINFO, .epoch = 4, .zxid = Z(1, 0)};
    ensemble_inject(e, 2, LEADER, &promise); /* it begins a new epoch, with 2 */
    ensemble_run(e, 500);
    ck_assert_uint_gt(zab_epoch(z), 1);
    ensemble_start(e, 1);
    ensemble_connect(e, 1, LEADER);
    uint64_t ready = e->sent[ZM_SYNCREADY], uptodate = e->sent[ZM_UPTODATE];
    while (e->sent[ZM_SYNCREADY] == ready) {
        (void)ensemble_deliver(e, 1, LEADER);
        (void)ensemble_deliver(e, LEADER, 1);
        (void)ensemble_disk(e, 1, 1);
    }
    while (ensemble_deliver(e, 1, LEADER) || ensemble_deliver(e, LEADER, 1))
        ;
    ck_assert_uint_eq(e->sent[ZM_UPTODATE], uptodate); /* its disk has not answered */
    ensemble_settle(e);
    ck_assert_uint_eq(e->sent[ZM_UPTODATE], uptodate + 1);
    ensemble_free(e);
}
END_TEST

START_TEST(no_more_than_the_window_is_under_way_to_a_learner) {
    struct ensemble *e = ensemble_new(1, 3, 0);
    e->config.window_bytes = 5000;
    ensemble_start_all(e);
    ensemble_run(e, 500);
    e->links[LEADER - 1][0].held = true;
    uint64_t commits = e->sent[ZM_COMMIT];
    for (int i = 0; i < 20; i++) {
        ck_assert_int_ne(ensemble_propose(e, LEADER, 1000 - 72), 0); /* 1000 bytes each */
        ensemble_settle(e);
    }
    size_t under_way = 0;
    zxid_t sent = 0;
    for (const struct message *m = e->links[LEADER - 1][0].first; m; m = m->next) {
        under_way += m->msg.type == ZM_PROPOSAL;
        sent = m->msg.type == ZM_PROPOSAL ? m->msg.zxid : sent;
        ck_assert(m->msg.type != ZM_COMMIT || m->msg.zxid <= sent);
    }
    ck_assert_uint_eq(under_way, 5);
    ck_assert_uint_gt(e->sent[ZM_COMMIT], commits);
    e->links[LEADER - 1][0].held = false;
    steps_expect_whole(e);
}
END_TEST

START_TEST(what_comes_from_one_that_does_not_follow_is_old) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_inject(e, 1, LEADER, &(struct zab_msg){.type = ZM_VOTE, .vote.role = ZAB_LOOKING});
    static const enum zab_msg_type types[] = {ZM_ACK,      ZM_PONG,   ZM_SYNCREADY, ZM_ACKEPOCH,
                                              ZM_PROPOSAL, ZM_COMMIT, ZM_APP,       ZM_UPTODATE};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        steps_expect_ignored(
            e, 1, LEADER,
            &(struct zab_msg){.type = types[i], .zxid = Z(9, 9), .round = UINT64_MAX});
    ensemble_free(e);
}
END_TEST

START_TEST(a_learner_that_asks_again_on_the_same_link_begins_anew) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    ensemble_settle(e);
    uint64_t syncs = e->syncs[ZAB_SYNC_DIFF];
    /* It looks again although its link is whole, and comes back. */
    ensemble_inject(e, LEADER, 1, &(struct zab_msg){.type = ZM_VOTE, .vote.role = ZAB_LOOKING});
    ck_assert_int_eq(zab_role(ensemble_zab(e, 1)), ZAB_LOOKING);
    ensemble_run(e, 300);
    ck_assert_int_eq(zab_role(ensemble_zab(e, 1)), ZAB_FOLLOWING);
    ck_assert_uint_eq(e->syncs[ZAB_SYNC_DIFF], syncs + 1);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LEADING);
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_leader_notices_that_a_follower_has_left_while_the_link_is_up) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab_vote vote = {.role = ZAB_FOLLOWING, .leader = 2, .epoch = 1};
    ensemble_inject(e, 1, LEADER, &(struct zab_msg){.type = ZM_VOTE, .vote = vote});
    struct zab_learner_info info;
    ck_assert(zab_learner_info(ensemble_zab(e, LEADER), 0, &info));
    ck_assert_uint_eq(info.id, 1);
    ck_assert(info.connected);
    ck_assert(!info.serving);
    ensemble_free(e);
}
END_TEST

START_TEST(a_leader_that_was_frozen_steps_down_before_it_hears_anything) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_clock(e, LEADER);
    e->now_ms += 5000;
    zab_clock(ensemble_zab(e, LEADER), e->now_ms);
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LOOKING);
    ck_assert(!zab_ready(ensemble_zab(e, LEADER)));
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_leader_without_a_quorum_steps_down_after_silence_ms_exactly) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_settle(e);
    ensemble_crash(e, 1, SIZE_MAX);
    ensemble_crash(e, 2, SIZE_MAX);
    struct zab *z = ensemble_zab(e, LEADER);
    int64_t heard = 0;
    for (size_t i = 0; i < 2; i++) {
        struct zab_learner_info info;
        ck_assert(zab_learner_info(z, i, &info));
        heard = info.heard_ms > heard ? info.heard_ms : heard;
    }
    ensemble_run(e, heard + 1400 - 1 - e->now_ms);
    ck_assert_int_eq(zab_role(z), ZAB_LEADING);
    ensemble_run(e, 1);
    ck_assert_int_eq(zab_role(z), ZAB_LOOKING);
    steps_expect_whole(e);
}
END_TEST

START_TEST(proposals_stop_at_the_limits_and_go_on_behind_them) {
    struct ensemble *e = ensemble_new(1, 1, 0);
    e->config.inflight_max = 3;
    ensemble_start_all(e);
    ensemble_settle(e);
    for (int i = 0; i < 3; i++)
        ck_assert_int_ne(ensemble_propose(e, 1, 0), 0);
    ck_assert(!zab_ready(ensemble_zab(e, 1)));
    ck_assert_uint_eq(zab_in_flight(ensemble_zab(e, 1)), 3);
    (void)ensemble_disk(e, 1, 1);
    ck_assert(zab_ready(ensemble_zab(e, 1)));
    ensemble_free(e);
    e = ensemble_new(1, 1, 0);
    e->config.inflight_bytes_max = 1000;
    ensemble_start_all(e);
    ensemble_settle(e);
    ck_assert_int_ne(ensemble_propose(e, 1, 1000), 0);
    ck_assert(!zab_ready(ensemble_zab(e, 1)));
    ensemble_settle(e);
    ck_assert(zab_ready(ensemble_zab(e, 1)));
    ensemble_free(e);
}
END_TEST

START_TEST(commits_that_come_together_are_one_message) {
    struct ensemble *e = steps_booted(3, 0);
    for (int i = 0; i < 10; i++)
        (void)steps_propose(e);
    while (ensemble_deliver(e, LEADER, 1))
        ;
    uint64_t acks = e->sent[ZM_ACK], commits = e->sent[ZM_COMMIT];
    struct disk *d = &e->servers[0].disk;
    ck_assert_uint_eq(ensemble_jobs(e, 1), 10);
    ck_assert_ptr_nonnull(d->jobs);
    (void)ensemble_disk(e, LEADER, SIZE_MAX);
    /* One sync for all ten. */
    zab_log_synced(ensemble_zab(e, 1), zab_last_zxid(ensemble_zab(e, 1)));
    ensemble_pull(e, 1);
    ck_assert_uint_eq(e->sent[ZM_ACK], acks + 1);
    while (ensemble_deliver(e, 1, LEADER))
        ;
    ck_assert_uint_eq(e->sent[ZM_COMMIT], commits + 2); /* one to each follower */
    ck_assert_int_eq(zab_committed_zxid(ensemble_zab(e, LEADER)), Z(1, 10));
    ensemble_free(e);
}
END_TEST

START_TEST(a_leader_applies_nothing_that_is_not_on_its_own_disk) {
    struct ensemble *e = steps_booted(3, 0);
    zxid_t zxid = steps_propose(e);
    for (uint8_t id = 1; id <= 2; id++) {
        while (ensemble_deliver(e, LEADER, id))
            ;
        (void)ensemble_disk(e, id, SIZE_MAX);
        while (ensemble_deliver(e, id, LEADER))
            ;
    }
    ck_assert_int_eq(zab_committed_zxid(ensemble_zab(e, LEADER)), zxid);
    ck_assert_uint_eq(zab_in_flight(ensemble_zab(e, LEADER)), 1);
    (void)ensemble_disk(e, LEADER, SIZE_MAX);
    ck_assert_uint_eq(zab_in_flight(ensemble_zab(e, LEADER)), 0);
    ensemble_free(e);
}
END_TEST

START_TEST(a_promise_whose_link_broke_costs_one_epoch_and_no_time) {
    struct ensemble *e = ensemble_new(1, 3, 0);
    ensemble_start(e, 1);
    ensemble_start(e, 3);
    ensemble_connect(e, 1, 3);
    while (zab_accepted_epoch(ensemble_zab(e, 1)) == 0) {
        (void)ensemble_deliver(e, 1, 3);
        (void)ensemble_deliver(e, 3, 1);
        (void)ensemble_disk(e, 3, 1);
        (void)ensemble_disk(e, 1, 1);
    }
    ensemble_disconnect(e, 1, 3); /* ACKEPOCH is lost */
    ensemble_connect(e, 1, 3);
    ensemble_settle(e);
    ck_assert_uint_eq(ensemble_leader(e), 3);
    ck_assert_uint_eq(zab_epoch(ensemble_zab(e, 3)), 2);
    ensemble_free(e);
}
END_TEST

/* ---- Markers and the server room's messages ---- */

START_TEST(a_marker_needs_a_round_that_began_after_it) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab *z = ensemble_zab(e, LEADER);
    e->now_ms += 100;
    ensemble_clock(e, LEADER); /* a round is out */
    zab_marker m = zab_sync(z);
    ck_assert(!zab_sync_passed(z, m));
    for (uint8_t id = 1; id <= 2; id++) {
        (void)ensemble_deliver(e, LEADER, id);
        (void)ensemble_deliver(e, id, LEADER);
    }
    ck_assert(!zab_sync_passed(z, m)); /* answered, but it began before */
    ensemble_settle(e);
    ck_assert(zab_sync_passed(z, m));
    ensemble_free(e);
}
END_TEST

START_TEST(a_marker_waits_for_the_proposals_before_it_only) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab *z = ensemble_zab(e, LEADER);
    e->links[LEADER - 1][0].held = false;
    (void)steps_propose(e);
    zab_marker m = zab_sync(z);
    ensemble_pull(e, LEADER);
    (void)steps_propose(e);
    for (int i = 0; i < 3; i++)
        (void)ensemble_deliver(e, LEADER, 1);
    (void)ensemble_disk(e, 1, 1);
    (void)ensemble_disk(e, LEADER, 1);
    while (ensemble_deliver(e, 1, LEADER))
        ;
    ck_assert_uint_eq(zab_in_flight(z), 1);
    ck_assert(zab_sync_passed(z, m));
    ensemble_free(e);
}
END_TEST

START_TEST(a_marker_of_an_earlier_leadership_never_passes) {
    struct ensemble *e = steps_booted(3, 0);
    struct zab *z = ensemble_zab(e, LEADER);
    (void)steps_propose(e);
    zab_marker m = zab_sync(z);
    struct zab_msg promise = {.type = ZM_FOLLOWERINFO, .epoch = 7, .zxid = Z(1, 0)};
    ensemble_inject(e, 1, LEADER, &promise);
    ck_assert_int_eq(zab_role(z), ZAB_LOOKING);
    ck_assert(!zab_sync_passed(z, m));
    ensemble_run(e, 3000);
    ck_assert_uint_eq(ensemble_leader(e), LEADER);
    zab_marker later = zab_sync(z);
    ensemble_pull(e, LEADER);
    ensemble_settle(e);
    ck_assert(zab_sync_passed(z, later));
    ck_assert(!zab_sync_passed(z, m));
    ck_assert(!zab_sync_passed(z, 0));
    ensemble_free(e);
}
END_TEST

START_TEST(one_server_confirms_itself_at_once) {
    struct ensemble *e = steps_booted(1, 0);
    struct zab *z = ensemble_zab(e, 1);
    ck_assert(zab_sync_passed(z, zab_sync(z)));
    (void)steps_propose(e);
    zab_marker m = zab_sync(z);
    ck_assert(!zab_sync_passed(z, m));
    ensemble_settle(e);
    ck_assert(zab_sync_passed(z, m));
    ensemble_free(e);
}
END_TEST

START_TEST(only_a_serving_leader_gives_markers) {
    struct ensemble *e = steps_booted(3, 0);
    ck_assert_uint_eq(zab_sync(ensemble_zab(e, 1)), 0);
    ensemble_free(e);
}
END_TEST

START_TEST(the_server_rooms_messages_come_behind_the_commits) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    ensemble_deliver(e, LEADER, 1);
    (void)ensemble_disk(e, LEADER, SIZE_MAX);
    while (ensemble_deliver(e, LEADER, 2))
        ;
    (void)ensemble_disk(e, 2, SIZE_MAX);
    while (ensemble_deliver(e, 2, LEADER))
        ;
    ck_assert(zab_send_app(ensemble_zab(e, LEADER), 1, blob_new("x", 1)));
    ensemble_pull(e, LEADER);
    while (ensemble_deliver(e, LEADER, 1))
        ;
    ck_assert_uint_eq(e->servers[0].app_messages, 0); /* its disk is not that far */
    (void)ensemble_disk(e, 1, SIZE_MAX);
    ck_assert_uint_eq(e->servers[0].app_messages, 1);
    ck_assert(zab_send_app(ensemble_zab(e, 1), LEADER, blob_new("y", 1)));
    ck_assert(!zab_send_app(ensemble_zab(e, 1), 2, blob_new("z", 1)));
    ensemble_pull(e, 1);
    ensemble_settle(e);
    ck_assert_uint_eq(e->servers[LEADER - 1].app_messages, 1);
    ensemble_free(e);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab_leader");
    TCase *t = tcase_create("leader");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_leader_drops_who_acknowledges_what_was_not_sent);
    tcase_add_test(t, a_leader_drops_who_answers_a_heartbeat_of_the_future);
    tcase_add_test(t, a_leader_drops_who_is_ready_twice);
    tcase_add_test(t, a_leader_drops_epochs_that_make_no_sense);
    tcase_add_test(t, a_leader_drops_who_says_what_only_leaders_say);
    tcase_add_test(t, a_leader_drops_an_observer_that_it_thinks_a_voter);
    tcase_add_test(t, a_leader_drops_a_promise_that_leaves_no_epoch);
    tcase_add_test(t, a_leader_looks_again_when_a_follower_has_promised_more);
    tcase_add_test(t, a_leader_looks_again_when_a_follower_has_a_more_recent_history);
    tcase_add_test(t, a_lossy_follower_with_more_hinders_only_where_everyone_is_needed);
    tcase_add_test(t, a_leader_drops_who_is_ready_where_it_was_not_told_to_be);
    tcase_add_test(t, a_leader_drops_who_is_ready_before_where_it_was_told_to_be);
    tcase_add_test(t, a_record_of_an_earlier_epoch_is_not_committed_by_itself);
    tcase_add_test(t, a_learner_is_up_to_date_when_it_has_the_epoch_only);
    tcase_add_test(t, no_more_than_the_window_is_under_way_to_a_learner);
    tcase_add_test(t, what_comes_from_one_that_does_not_follow_is_old);
    tcase_add_test(t, a_learner_that_asks_again_on_the_same_link_begins_anew);
    tcase_add_test(t, a_leader_notices_that_a_follower_has_left_while_the_link_is_up);
    tcase_add_test(t, a_leader_that_was_frozen_steps_down_before_it_hears_anything);
    tcase_add_test(t, a_leader_without_a_quorum_steps_down_after_silence_ms_exactly);
    tcase_add_test(t, proposals_stop_at_the_limits_and_go_on_behind_them);
    tcase_add_test(t, commits_that_come_together_are_one_message);
    tcase_add_test(t, a_leader_applies_nothing_that_is_not_on_its_own_disk);
    tcase_add_test(t, a_promise_whose_link_broke_costs_one_epoch_and_no_time);
    tcase_add_test(t, a_marker_needs_a_round_that_began_after_it);
    tcase_add_test(t, a_marker_waits_for_the_proposals_before_it_only);
    tcase_add_test(t, a_marker_of_an_earlier_leadership_never_passes);
    tcase_add_test(t, one_server_confirms_itself_at_once);
    tcase_add_test(t, only_a_serving_leader_gives_markers);
    tcase_add_test(t, the_server_rooms_messages_come_behind_the_commits);
    suite_add_tcase(s, t);
    return s;
}
