/* What a follower does with what its leader says, and with a disk that takes its time. */
#include "common/blob.h"
#include "tests/lib/unit.h"
#include "tests/unit/zab/steps.h"

#include <string.h>

/* ---- The follower ---- */

static void follower_drops(const struct zab_msg *m) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    ensemble_settle(e);
    steps_expect_drop(e, LEADER, 1, m);
}

START_TEST(a_follower_drops_a_leader_that_leaves_a_gap) {
    follower_drops(&(struct zab_msg){.type = ZM_PROPOSAL, .kind = ZAB_TXN, .zxid = Z(1, 3)});
}
END_TEST

START_TEST(a_follower_drops_a_leader_that_repeats_itself) {
    follower_drops(&(struct zab_msg){.type = ZM_PROPOSAL, .kind = ZAB_TXN, .zxid = Z(1, 1)});
}
END_TEST

START_TEST(a_follower_drops_a_leader_in_an_epoch_that_it_has_not_promised) {
    follower_drops(&(struct zab_msg){.type = ZM_PROPOSAL, .kind = ZAB_EPOCH, .zxid = Z(2, 0)});
}
END_TEST

START_TEST(a_follower_drops_a_leader_that_commits_what_it_did_not_propose) {
    follower_drops(&(struct zab_msg){.type = ZM_COMMIT, .zxid = Z(1, 2)});
}
END_TEST

START_TEST(a_follower_drops_a_leader_that_informs_it_like_an_observer) {
    follower_drops(&(struct zab_msg){.type = ZM_INFORM, .kind = ZAB_TXN, .zxid = Z(1, 2)});
}
END_TEST

START_TEST(a_follower_drops_a_leader_that_synchronises_it_again) {
    follower_drops(&(struct zab_msg){.type = ZM_SYNC, .mode = ZAB_SYNC_DIFF, .zxid = Z(1, 1)});
}
END_TEST

START_TEST(a_follower_drops_a_piece_of_no_snapshot) {
    follower_drops(&(struct zab_msg){.type = ZM_SNAPEND, .zxid = Z(1, 1), .ended = Z(1, 1)});
}
END_TEST

/* Server 1 of three follows 3 again, and awaits SYNC. */
static struct ensemble *awaiting_sync(void) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    (void)steps_propose(e);
    ensemble_settle(e);
    ensemble_disconnect(e, 1, LEADER);
    ensemble_connect(e, 1, LEADER);
    uint64_t acked = e->sent[ZM_ACKEPOCH];
    while (e->sent[ZM_ACKEPOCH] == acked) {
        (void)ensemble_deliver(e, 1, LEADER);
        if (e->sent[ZM_ACKEPOCH] == acked)
            (void)ensemble_deliver(e, LEADER, 1);
    }
    return e;
}

START_TEST(a_follower_drops_a_diff_that_does_not_begin_where_it_ends) {
    steps_expect_drop(awaiting_sync(), LEADER, 1,
                      &(struct zab_msg){.type = ZM_SYNC, .mode = ZAB_SYNC_DIFF, .zxid = Z(1, 1)});
}
END_TEST

START_TEST(a_follower_drops_a_truncation_to_what_it_does_not_have) {
    steps_expect_drop(awaiting_sync(), LEADER, 1,
                      &(struct zab_msg){.type = ZM_SYNC, .mode = ZAB_SYNC_TRUNC, .zxid = Z(1, 9)});
}
END_TEST

START_TEST(truncating_what_was_applied_ends_the_process) {
    struct ensemble *e = awaiting_sync();
    ensemble_inject(e, LEADER, 1,
                    &(struct zab_msg){.type = ZM_SYNC, .mode = ZAB_SYNC_TRUNC, .zxid = Z(1, 1)});
    ck_assert_ptr_nonnull(e->servers[0].fatal);
    ensemble_free(e);
}
END_TEST

START_TEST(a_snapshot_from_before_what_was_applied_ends_the_process) {
    struct ensemble *e = awaiting_sync();
    ensemble_inject(e, LEADER, 1, &(struct zab_msg){.type = ZM_SYNC, .mode = ZAB_SYNC_SNAP});
    ensemble_inject(e, LEADER, 1,
                    &(struct zab_msg){.type = ZM_SNAPEND, .zxid = Z(1, 1), .ended = Z(1, 1)});
    ck_assert_ptr_nonnull(e->servers[0].fatal);
    ensemble_free(e);
}
END_TEST

START_TEST(what_a_leader_said_before_its_leaderinfo_is_old) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_disconnect(e, 1, LEADER);
    ensemble_connect(e, 1, LEADER);
    while (zab_role(ensemble_zab(e, 1)) != ZAB_FOLLOWING) {
        (void)ensemble_deliver(e, 1, LEADER);
        (void)ensemble_deliver(e, LEADER, 1);
    }
    static const enum zab_msg_type types[] = {ZM_SYNC,     ZM_PROPOSAL,   ZM_COMMIT,
                                              ZM_UPTODATE, ZM_APP,        ZM_SNAPEND,
                                              ZM_INFORM,   ZM_LEADERINFO, ZM_SNAPCHUNK};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        ensemble_inject(e, LEADER, 1,
                        &(struct zab_msg){.type = types[i], .epoch = 9, .zxid = Z(9, 9)});
    ck_assert(steps_linked(e, LEADER, 1));
    ck_assert_int_eq(zab_last_zxid(ensemble_zab(e, 1)), Z(1, 0));
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_follower_whose_leader_is_silent_looks_again_after_silence_ms_exactly) {
    struct ensemble *e = steps_booted(3, 0);
    ensemble_settle(e);
    e->links[LEADER - 1][0].held = true;
    struct zab *z = ensemble_zab(e, 1);
    int64_t due = zab_deadline(z);
    ensemble_run(e, due - 1 - e->now_ms);
    ck_assert_int_eq(zab_role(z), ZAB_FOLLOWING);
    e->now_ms = due;
    ensemble_clock(e, 1);
    ck_assert_int_ne(zab_role(z), ZAB_FOLLOWING);
    ck_assert(!steps_linked(e, 1, LEADER));
    steps_expect_whole(e);
}
END_TEST

/* ---- The disk ---- */

/* 3 has a record that nobody else has; 1 and 2 went on without it. It comes back, and is told to
 * truncate. */
static struct ensemble *truncating(void) {
    struct ensemble *e = steps_booted(3, 0);
    e->links[LEADER - 1][0].held = e->links[LEADER - 1][1].held = true;
    (void)steps_propose(e);
    ensemble_crash(e, LEADER, SIZE_MAX);
    ensemble_run(e, 1000);
    ck_assert_uint_ne(ensemble_leader(e), 0);
    ensemble_start(e, LEADER);
    ensemble_connect(e, LEADER, 1);
    ensemble_connect(e, LEADER, 2);
    while (e->syncs[ZAB_SYNC_TRUNC] == 0 || ensemble_jobs(e, LEADER) == 0) {
        for (uint8_t a = 1; a <= 3; a++)
            for (uint8_t b = 1; b <= 3; b++)
                if (a != b)
                    (void)ensemble_deliver(e, a, b);
        if (e->syncs[ZAB_SYNC_TRUNC] == 0)
            (void)ensemble_disk(e, LEADER, SIZE_MAX);
    }
    return e;
}

START_TEST(nobody_votes_while_a_truncation_is_under_way) {
    struct ensemble *e = truncating();
    ck_assert_int_eq(zab_last_zxid(ensemble_zab(e, LEADER)), Z(1, 1));
    ensemble_disconnect(e, LEADER, ensemble_leader(e));
    ck_assert_int_eq(zab_role(ensemble_zab(e, LEADER)), ZAB_LOOKING);
    uint64_t votes = e->sent[ZM_VOTE];
    e->now_ms += 300;
    ensemble_clock(e, LEADER);
    ck_assert_uint_eq(e->sent[ZM_VOTE], votes);
    (void)ensemble_disk(e, LEADER, SIZE_MAX);
    ck_assert_uint_gt(e->sent[ZM_VOTE], votes);
    ck_assert_int_eq(zab_last_zxid(ensemble_zab(e, LEADER)), Z(1, 0));
    steps_expect_whole(e);
}
END_TEST

START_TEST(nobody_votes_before_its_log_is_durable) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    while (ensemble_deliver(e, LEADER, 1))
        ;
    ensemble_disconnect(e, 1, LEADER);
    ck_assert_int_eq(zab_role(ensemble_zab(e, 1)), ZAB_LOOKING);
    ck_assert_ptr_null(e->links[0][1].first);
    (void)ensemble_disk(e, 1, 1);
    ck_assert_ptr_nonnull(e->links[0][1].first);
    ck_assert_int_eq(e->links[0][1].first->msg.vote.leader_zxid, Z(1, 1));
    steps_expect_whole(e);
}
END_TEST

START_TEST(nobody_votes_while_a_snapshot_is_installed) {
    struct ensemble *e = steps_booted(3, 0);
    for (int i = 0; i < 5; i++)
        (void)steps_propose(e);
    ensemble_settle(e);
    ensemble_crash(e, 1, SIZE_MAX);
    struct disk *d = &e->servers[0].disk; /* it is wiped */
    while (d->count > 0)
        blob_unref(d->records[--d->count].payload);
    d->epoch = 0;
    ensemble_start(e, 1);
    ensemble_connect(e, 1, 2);
    ensemble_connect(e, 1, LEADER);
    struct zab *z = ensemble_zab(e, 1);
    while (!e->servers[0].installing) {
        (void)ensemble_deliver(e, 1, LEADER);
        (void)ensemble_deliver(e, LEADER, 1);
        (void)ensemble_deliver(e, 1, 2);
        (void)ensemble_deliver(e, 2, 1);
        (void)ensemble_snapshots(e, LEADER);
        if (!e->servers[0].installing)
            (void)ensemble_disk(e, 1, 1);
    }
    while (ensemble_deliver(e, 1, 2))
        ;
    ensemble_disconnect(e, 1, LEADER);
    ck_assert_int_eq(zab_role(z), ZAB_LOOKING);
    zab_log_synced(z, Z(9, 9)); /* of the old log: it says nothing of the new one */
    ck_assert_ptr_null(e->links[0][1].first);
    ck_assert(zab_blank(z));
    (void)ensemble_disk(e, 1, 1);
    ck_assert_ptr_nonnull(e->links[0][1].first);
    ck_assert_int_eq(zab_last_zxid(z), Z(1, 5));
    ck_assert(!zab_blank(z));
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_wiped_voter_and_one_other_elect_nobody) {
    struct ensemble *e = steps_booted(3, 0);
    (void)steps_propose(e);
    ensemble_settle(e);
    for (uint8_t id = 1; id <= 3; id++)
        ensemble_crash(e, id, SIZE_MAX);
    struct disk *d = &e->servers[1].disk;
    while (d->count > 0)
        blob_unref(d->records[--d->count].payload);
    d->epoch = 0;
    ensemble_start(e, 1);
    ensemble_start(e, 2);
    ensemble_connect(e, 1, 2);
    ensemble_run(e, 10000);
    for (uint8_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(zab_role(ensemble_zab(e, id)), ZAB_LOOKING);
        ck_assert_uint_le(zab_accepted_epoch(ensemble_zab(e, id)), 1);
    }
    steps_expect_whole(e);
}
END_TEST

START_TEST(nobody_votes_while_a_promise_is_under_way) {
    struct ensemble *e = ensemble_new(1, 3, 0);
    ensemble_start(e, 1);
    ensemble_start(e, 3);
    ensemble_connect(e, 1, 3);
    while (ensemble_jobs(e, 1) == 0) {
        (void)ensemble_deliver(e, 1, 3);
        (void)ensemble_deliver(e, 3, 1);
        (void)ensemble_disk(e, 3, 1);
    }
    uint64_t votes = e->sent[ZM_VOTE];
    ensemble_crash(e, 3, 0);
    ensemble_start(e, 2);
    ensemble_connect(e, 1, 2);
    for (int i = 0; i < 5; i++)
        (void)ensemble_deliver(e, 1, 2);
    ck_assert_int_eq(zab_role(ensemble_zab(e, 1)), ZAB_LOOKING);
    ck_assert_ptr_null(e->links[0][1].first);
    ck_assert_uint_ge(e->sent[ZM_VOTE], votes);
    (void)ensemble_disk(e, 1, SIZE_MAX);
    ck_assert_ptr_nonnull(e->links[0][1].first);
    ck_assert_int_eq(e->links[0][1].first->msg.type, ZM_VOTE);
    steps_expect_whole(e);
}
END_TEST

START_TEST(a_log_that_does_not_give_a_range_makes_a_snapshot) {
    struct ensemble *e = ensemble_new(1, 3, 0);
    e->config.recent_bytes = 0;
    ensemble_start_all(e);
    ensemble_run(e, 500);
    ensemble_crash(e, 1, SIZE_MAX);
    for (int i = 0; i < 20; i++)
        (void)steps_propose(e);
    ensemble_run(e, 200);
    /* What stands behind (1,0) cannot be read any more. */
    struct disk *d = &e->servers[LEADER - 1].disk;
    d->base = Z(1, 1);
    ensemble_start(e, 1);
    ensemble_connect(e, 1, LEADER);
    ensemble_run(e, 50);
    ck_assert(!steps_linked(e, 1, LEADER));
    uint64_t snaps = e->syncs[ZAB_SYNC_SNAP];
    ensemble_connect(e, 1, LEADER);
    ensemble_run(e, 500);
    ck_assert_uint_eq(e->syncs[ZAB_SYNC_SNAP], snaps + 1);
    ck_assert(zab_serving(ensemble_zab(e, 1)));
    d->base = 0;
    ensemble_free(e);
}
END_TEST

START_TEST(records_that_do_not_follow_are_not_recovered) {
    struct quorum_server one = {.id = 1, .voter = true, .weight = 1};
    struct zab_config config = {.self = 1, .quorum = {&one, 1}};
    zab_config_defaults(&config);
    struct zab *z = zab_new(&config);
    struct slice none = SLICE_NULL;
    ck_assert(!zab_recover(z, ZAB_TXN, Z(1, 1), 0, none));
    ck_assert(!zab_recover(z, ZAB_EPOCH, (zxid_t)UINT64_C(0x8000000000000000), 0, none));
    ck_assert(zab_recover(z, ZAB_EPOCH, Z(4, 0), 0, none));
    ck_assert(!zab_recover(z, ZAB_TXN, Z(4, 2), 0, none));
    ck_assert(!zab_recover(z, ZAB_EPOCH, Z(3, 0), 0, none));
    ck_assert_uint_eq(zab_accepted_epoch(z), 4);
    zab_free(z);
    zab_free(NULL);
}
END_TEST

START_TEST(a_stranger_is_dropped_and_not_heard) {
    struct ensemble *e = steps_booted(1, 0);
    struct zab *z = ensemble_zab(e, 1);
    zab_peer_up(z, 77);
    struct zab_output o;
    ck_assert(zab_next(z, &o));
    ck_assert_int_eq(o.type, ZAB_DROP);
    ck_assert_uint_eq(o.peer, 77);
    zab_receive(z, 77, &(struct zab_msg){.type = ZM_PONG});
    zab_peer_down(z, 77);
    ck_assert(!zab_next(z, &o));
    ck_assert(!zab_send_app(z, 77, blob_new("x", 1)));
    ensemble_free(e);
}
END_TEST

/* ---- Anything ---- */

static void any_message(struct ensemble *e, struct zab_msg *m) {
    struct prng *p = &e->prng;
    static const zxid_t zxids[] = {0, Z(1, 0), Z(1, 1), Z(1, 2), Z(2, 0), Z(3, 7), -1, INT64_MAX};
#define ANY_ZXID() zxids[prng_below(p, sizeof zxids / sizeof zxids[0])]
    *m = (struct zab_msg){.type = (enum zab_msg_type)prng_range(p, 1, ZM_TYPE_END),
                          .epoch = prng_chance(p, 1, 20) ? UINT32_MAX : (uint32_t)prng_below(p, 6),
                          .zxid = ANY_ZXID(),
                          .committed = ANY_ZXID(),
                          .ended = ANY_ZXID(),
                          .round = prng_below(p, 8),
                          .counted = prng_chance(p, 1, 2),
                          .observer = prng_chance(p, 1, 8),
                          .blank = prng_chance(p, 1, 4),
                          .mode = (enum zab_sync_mode)prng_below(p, 5),
                          .kind = (enum zab_record_kind)prng_below(p, 4)};
    m->vote = (struct zab_vote){.role = (enum zab_role)prng_below(p, 5),
                                .round = prng_chance(p, 1, 20) ? UINT64_MAX : prng_below(p, 9),
                                .leader = (uint8_t)prng_below(p, 6),
                                .leader_zxid = ANY_ZXID(),
                                .epoch = (uint32_t)prng_below(p, 4),
                                .blank = prng_chance(p, 1, 4),
                                .leader_blank = prng_chance(p, 1, 4),
                                .answer = prng_chance(p, 1, 2)};
    m->epoch_count = (uint32_t)prng_below(p, prng_chance(p, 1, 30) ? 100 : 4);
    for (uint32_t i = 0; i < m->epoch_count && i < ZAB_EPOCHS_MAX; i++)
        m->epochs[i] = ANY_ZXID();
#undef ANY_ZXID
}

/* One real server; all that its peers say is made up. It may end with ZAB_FATAL, or do what it is
 * told, but no lie may break one of its invariants. */
START_TEST(no_message_breaks_an_invariant) {
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct ensemble *e = ensemble_new(seed, 3, 1);
        uint8_t self = prng_chance(&e->prng, 1, 4) ? 4 : 2;
        ensemble_start(e, self);
        struct zab *z = ensemble_zab(e, self);
        for (int i = 0; i < 120 && !e->servers[self - 1].fatal; i++) {
            uint8_t peer = (uint8_t)(1 + prng_below(&e->prng, 4));
            if (peer == self)
                peer = 3;
            struct zab_msg m;
            any_message(e, &m);
            struct blob *payload = prng_chance(&e->prng, 1, 4) ? NULL : blob_new("12345678", 8);
            m.payload = payload;
            if (m.type == ZM_SNAPCHUNK)
                m.payload = NULL; /* the harness reads pieces */
            zab_peer_up(z, peer);
            for (uint64_t n = prng_below(&e->prng, 6); n > 0; n--)
                zab_receive(z, peer, &m);
            blob_unref(payload);
            struct zab_output o;
            while (zab_next(z, &o)) {
                if (o.type == ZAB_SAVE_EPOCH)
                    zab_epoch_saved(z, o.epoch);
                else if (o.type == ZAB_LOG_APPEND)
                    zab_log_synced(z, o.zxid);
                else if (o.type == ZAB_LOG_TRUNCATE)
                    zab_log_truncated(z);
                else if (o.type == ZAB_SNAP_END)
                    zab_snap_installed(z);
                else if (o.type == ZAB_FATAL)
                    e->servers[self - 1].fatal = o.text;
            }
            e->now_ms += prng_range(&e->prng, 0, 200);
            zab_clock(z, e->now_ms);
        }
        ensemble_free(e);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab_follower");
    TCase *t = tcase_create("follower");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_follower_drops_a_leader_that_leaves_a_gap);
    tcase_add_test(t, a_follower_drops_a_leader_that_repeats_itself);
    tcase_add_test(t, a_follower_drops_a_leader_in_an_epoch_that_it_has_not_promised);
    tcase_add_test(t, a_follower_drops_a_leader_that_commits_what_it_did_not_propose);
    tcase_add_test(t, a_follower_drops_a_leader_that_informs_it_like_an_observer);
    tcase_add_test(t, a_follower_drops_a_leader_that_synchronises_it_again);
    tcase_add_test(t, a_follower_drops_a_piece_of_no_snapshot);
    tcase_add_test(t, a_follower_drops_a_diff_that_does_not_begin_where_it_ends);
    tcase_add_test(t, a_follower_drops_a_truncation_to_what_it_does_not_have);
    tcase_add_test(t, truncating_what_was_applied_ends_the_process);
    tcase_add_test(t, a_snapshot_from_before_what_was_applied_ends_the_process);
    tcase_add_test(t, what_a_leader_said_before_its_leaderinfo_is_old);
    tcase_add_test(t, a_follower_whose_leader_is_silent_looks_again_after_silence_ms_exactly);
    tcase_add_test(t, nobody_votes_while_a_truncation_is_under_way);
    tcase_add_test(t, nobody_votes_before_its_log_is_durable);
    tcase_add_test(t, nobody_votes_while_a_snapshot_is_installed);
    tcase_add_test(t, a_wiped_voter_and_one_other_elect_nobody);
    tcase_add_test(t, nobody_votes_while_a_promise_is_under_way);
    tcase_add_test(t, a_log_that_does_not_give_a_range_makes_a_snapshot);
    tcase_add_test(t, records_that_do_not_follow_are_not_recovered);
    tcase_add_test(t, a_stranger_is_dropped_and_not_heard);
    tcase_add_test(t, no_message_breaks_an_invariant);
    suite_add_tcase(s, t);
    return s;
}
