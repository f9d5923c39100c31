/* Trees that differ, and those that do not: who is found, and what comes of it. */
#include "replica/server/digest.h"
#include "replica/server/limits.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_test.h"
#include "tests/unit/server/ensemble.h"

#include "common/mem.h"
#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static void whole_whitelist(struct replica_config *config) { config->word_whitelist = "*"; }

static struct ensemble *started(size_t count, size_t observers) {
    struct ensemble *e = e_new(count, observers);
    e->configure = whole_whitelist;
    e_start(e);
    return e;
}

static const char *ask(struct harness *h, const char *word) {
    conn_id_t c = h_open(h);
    h_word(h, c, word);
    return h_text(h, c);
}

/* Every living server has heard nothing of a difference. */
static void assert_quiet(struct ensemble *e) {
    e_advance(e, 600);
    ck_assert_uint_eq(e_start_overs(e), 0);
    for (size_t i = 0; i < e->count; i++)
        ck_assert(e->dead[i] || digest_mismatches(e->h[i]->r) == 0);
    e_assert_equal(e);
}

/* What is spoilt in one server is found within a second of the next write, ends in what it was, and
 * costs nobody else anything. */
static void assert_found(struct ensemble *e, struct harness *bad) {
    size_t at = e_index(e, bad);
    uint32_t before = e_start_overs(e), own = e->start_overs[at];
    conn_id_t c = h_client(bad);
    e_spoil(bad);
    char path[32];
    (void)snprintf(path, sizeof path, "/found%u", before);
    ck_assert_int_eq(h_create(bad, c, path), ZK_OK);
    e->stay_over = true;
    e_advance(e, 900);
    ck_assert_uint_eq(e->start_overs[at], own + 1);
    ck_assert_uint_eq(e_start_overs(e), before + 1);
    e->stay_over = false;
    e_advance(e, 100);
    e_until_served(e);
    e_advance(e, 600);
    ck_assert_uint_eq(e_start_overs(e), before + 1);
    e_assert_equal(e);
}

START_TEST(equal_trees_are_left_alone_whoever_leads) {
    struct ensemble *e = started(4, 1);
    for (int round = 0; round < 3; round++) {
        char path[32];
        struct harness *l = e_leader(e);
        size_t at = e_index(e, l);
        conn_id_t c = h_client(e_follower(e));
        (void)snprintf(path, sizeof path, "/a%d", round);
        ck_assert_int_eq(h_create(e_follower(e), c, path), ZK_OK);
        ck_assert_int_eq(h_create_mode(l, h_client(l), "/e", CREATE_EPHEMERAL_SEQUENTIAL), ZK_OK);
        assert_quiet(e);
        e_kill(e, at);
        e_until_served(e);
        e_revive(e, at);
        e_until_served(e);
        assert_quiet(e);
    }
    assert_found(e, e_follower(e));
    e_free(e);
}
END_TEST

START_TEST(equal_trees_are_left_alone_when_the_epoch_rolls_over) {
    struct ensemble *e = e_new(3, 0);
    e->counter_limit = 6;
    e_start(e);
    struct harness *f = e_follower(e);
    conn_id_t c = h_client(f);
    uint32_t epoch = zab_epoch(f->r->zab);
    for (int i = 0; i < 20; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/a%d", i);
        ck_assert_int_eq(h_create(f, c, path), ZK_OK);
        e_advance(e, 60);
    }
    ck_assert_uint_gt(zab_epoch(f->r->zab), epoch + 2);
    uint64_t digest;
    for (size_t i = 0; i < 3; i++)
        ck_assert(digest_find(e->h[i]->r, zxid_make(zab_epoch(f->r->zab), 0), &digest));
    assert_quiet(e);
    assert_found(e, f);
    e_free(e);
}
END_TEST

START_TEST(who_comes_through_a_snapshot_is_compared_at_once) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    uint64_t digest;
    ck_assert(digest_find(f->r, core_last_zxid(f->r), &digest));
    ck_assert_uint_eq(digest, tree_digest(l->r->tree));
    assert_quiet(e);
    assert_found(e, f);
    e_free(e);
}
END_TEST

/* The leader does not know yet that its tree is altered. */
START_TEST(who_comes_through_a_snapshot_of_an_altered_tree_starts_over_without_it) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e_advance(e, 500);
    e_kill(e, at);
    e_wipe(e, at);
    tree_test_alter(l->r->tree, h_slice("/a"));
    e->stay_over = true;
    e_revive(e, at);
    for (int i = 0; i < 50 && !e->over[at]; i++)
        e_advance(e, 1);
    ck_assert(!f->stopped);
    ck_assert(e->over[at]);
    ck_assert(e->distrusts[at]);
    ck_assert(!e->over[e_index(e, l)]);
    for (int i = 0; i < 300 && !e->over[e_index(e, l)]; i++)
        e_advance(e, 1);
    e->stay_over = false;
    e_advance(e, 10);
    e_until_served(e);
    e_advance(e, 1000);
    ck_assert_uint_eq(e->start_overs[at], 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* Large values, so that the snapshot has several pieces, and changes under its walk. */
START_TEST(a_fuzzy_snapshot_that_is_replayed_is_no_difference) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(l);
    static char data[20001], path[64];
    memset(data, 'x', sizeof data - 1);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(path, sizeof path, "/z%d", i);
        h_send_create(l, c, i, path, data, 0);
        ck_assert_int_eq(h_err(l, c, i), ZK_OK);
    }
    e_kill(e, at);
    e_wipe(e, at);
    e_revive(e, at);
    e->held = true;
    int sent = 0;
    bool was_fuzzy = false;
    for (int i = 0; i < 6000; i++) {
        if (!e_settle_one(e))
            e_advance(e, 1);
        was_fuzzy = was_fuzzy || (f->r->tree && !tree_exact(f->r->tree));
        if (!l->r->sendings || sent >= 200)
            continue;
        (void)snprintf(path, sizeof path, "/z%d", sent);
        h_send_set(l, c, 1000 + sent++, path, "new", -1);
    }
    e->held = false;
    e_until_served(e);
    ck_assert_int_gt(sent, 5);
    ck_assert(was_fuzzy);
    uint64_t digest;
    ck_assert_int_lt(f->r->loaded_begun, f->r->loaded_ended - 1);
    ck_assert(!digest_find(f->r, f->r->loaded_ended - 1, &digest));
    ck_assert(digest_find(f->r, f->r->loaded_ended, &digest));
    assert_quiet(e);
    assert_found(e, f);
    e_free(e);
}
END_TEST

START_TEST(a_follower_that_differs_starts_over_from_its_disk) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    e_spoil(f);
    e->stay_over = true;
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e_advance(e, 200);
    ck_assert(e->over[at]);
    ck_assert(!e->distrusts[at]);
    ck_assert_ptr_nonnull(strstr(f->last_note, "discards its memory, to start over from its disk"));
    ck_assert_ptr_nonnull(strstr(f->last_note, " zxid=0x"));
    ck_assert_ptr_nonnull(strstr(f->last_note, " theirs=0x"));
    ck_assert_ptr_nonnull(strstr(ask(l, "mntr"), "\nzk_digest_mismatches_count\t1\n"));
    ck_assert(l->r->leading);
    e->stay_over = false;
    e_advance(e, 10);
    e_until_served(e);
    ck_assert_ptr_nonnull(strstr(ask(f, "mntr"), "\nzk_digest_mismatches_count\t1\n"));
    e_advance(e, 1000);
    ck_assert_uint_eq(e_start_overs(e), 1);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(a_leader_that_differs_starts_over_and_another_one_leads) {
    struct ensemble *e = started(3, 0);
    struct harness *l = e_leader(e);
    size_t at = e_index(e, l);
    e_spoil(l);
    e->stay_over = true;
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e_advance(e, 200);
    ck_assert(e->over[at]);
    ck_assert(!e->distrusts[at]);
    ck_assert_uint_eq(e_start_overs(e), 1);
    ck_assert_ptr_nonnull(strstr(l->last_note, "this replica leads, and its tree is not"));
    e_until_served(e);
    ck_assert_ptr_ne(e_leader(e), l);
    e->stay_over = false;
    e_advance(e, 10);
    e_until_served(e);
    assert_found(e, e_follower(e));
    e_free(e);
}
END_TEST

START_TEST(an_observer_that_differs_starts_over) {
    struct ensemble *e = started(4, 1);
    assert_found(e, e->h[3]);
    e_free(e);
}
END_TEST

/* An observer's tree is judged, and judges nobody. */
START_TEST(observers_do_not_count) {
    struct ensemble *e = started(5, 2);
    e_spoil(e->h[3]);
    e_spoil(e->h[4]);
    struct harness *l = e_leader(e);
    ck_assert_int_eq(h_create(l, h_client(l), "/a"), ZK_OK);
    e_advance(e, 1000);
    e_until_served(e);
    ck_assert_uint_eq(e->start_overs[3], 1);
    ck_assert_uint_eq(e->start_overs[4], 1);
    ck_assert_uint_eq(e_start_overs(e), 2);
    e_assert_equal(e);
    e_free(e);
}
END_TEST

START_TEST(who_differs_again_does_not_trust_its_disk) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    size_t at = e_index(e, f);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_set(l, c, "/a", "right", -1), ZK_OK);
    e_spoil_log(f, "right", "wrong");
    e_kill(e, at);
    e_revive(e, at);
    e_until_served(e);
    e_advance(e, 200);
    ck_assert_uint_eq(e->start_overs[at], 1);
    ck_assert(!e->distrusts[at]);
    for (int i = 0; i < 100 && e->start_overs[at] < 2; i++)
        e_advance(e, 10);
    ck_assert_uint_eq(e->start_overs[at], 2);
    ck_assert(e->distrusts[at]);
    e_advance(e, 1000);
    e_until_served(e);
    ck_assert(e->disk[at].has_snapshot);
    ck_assert_uint_eq(e_start_overs(e), 2);
    char data[64];
    int32_t len;
    ck_assert_int_eq(h_get(f, h_client(f), "/a", data, &len), ZK_OK);
    ck_assert_str_eq(data, "right");
    e_assert_equal(e);
    e_free(e);
}
END_TEST

/* What memory does every now and then is not the disk's fault. */
START_TEST(who_differs_again_long_after_keeps_its_disk) {
    struct ensemble *e = started(3, 0);
    for (int round = 0; round < 4; round++) {
        assert_found(e, e_follower(e));
        assert_found(e, e_leader(e));
        for (int64_t ms = 0; ms < DIGEST_FRESH_MS; ms += 1000)
            e_advance(e, 1000);
    }
    for (size_t i = 0; i < 3; i++)
        ck_assert(!e->disk[i].has_snapshot);
    e_free(e);
}
END_TEST

START_TEST(one_that_lags_is_judged_when_it_answers) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(l);
    f->hold_log = true;
    for (int i = 0; i < 5; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/a%d", i);
        ck_assert_int_eq(h_create(l, c, path), ZK_OK);
        e_advance(e, 100);
    }
    ck_assert_int_lt(core_last_zxid(f->r), core_last_zxid(l->r));
    ck_assert_uint_eq(e_start_overs(e), 0);
    e_spoil(f);
    e->stay_over = true;
    f->hold_log = false;
    e_settle(e);
    ck_assert(e->over[e_index(e, f)]);
    ck_assert_uint_eq(e_start_overs(e), 1);
    e_free(e);
}
END_TEST

/* The follower's disk stands still for longer than its digests reach back. */
START_TEST(a_digest_that_is_not_known_any_more_is_no_difference) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    conn_id_t c = h_client(l);
    f->hold_log = true;
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    e_advance(e, 200);
    zxid_t asked = core_last_zxid(l->r);
    for (int i = 0; i < 1030; i++)
        ck_assert_int_eq(h_set(l, c, "/a", "x", -1), ZK_OK);
    f->hold_log = false;
    e_settle(e);
    uint64_t digest;
    ck_assert(!digest_find(f->r, asked, &digest));
    ck_assert(digest_find(f->r, core_last_zxid(f->r) - 1023, &digest));
    ck_assert(!digest_find(f->r, core_last_zxid(f->r) + 1, &digest));
    assert_quiet(e);
    assert_found(e, f);
    e_free(e);
}
END_TEST

/* Takes the server rooms' messages out of what is on its way. */
static void lose_apps(struct e_way *w) {
    struct e_message **at = &w->first;
    w->last = NULL;
    while (*at) {
        struct e_message *one = *at;
        struct peer_message m;
        ck_assert(peer_decode(blob_slice(one->bytes), &m));
        bool app = !m.is_hello && m.zab.type == ZM_APP;
        peer_message_close(&m);
        if (!app) {
            w->last = one;
            at = &one->next;
            continue;
        }
        *at = one->next;
        blob_unref(one->bytes);
        mem_free(one);
    }
}

/* As when a learner attaches anew on the link that is there. */
START_TEST(who_never_answers_is_asked_anew_after_ten_seconds) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    struct e_way *w = &e->way[e_index(e, f)][e_index(e, l)];
    conn_id_t c = h_client(l);
    w->held = true;
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    e_advance(e, 100);
    lose_apps(w);
    w->held = false;
    e_spoil(f);
    ck_assert_int_eq(h_create(l, c, "/b"), ZK_OK);
    e_advance(e, 9000);
    ck_assert_uint_eq(e_start_overs(e), 0);
    e_advance(e, 1200);
    ck_assert_uint_eq(e->start_overs[e_index(e, f)], 1);
    e_free(e);
}
END_TEST

START_TEST(a_value_that_rots_is_found_within_a_second_without_a_write) {
    for (size_t count = 1; count <= 3; count += 2) {
        struct ensemble *e = started(count, 0);
        struct harness *l = e_leader(e);
        conn_id_t c = h_client(l);
        ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
        e_advance(e, 300);
        for (uint32_t i = 1; i <= 2; i++) {
            tree_test_alter(l->r->tree, h_slice("/a"));
            e->stay_over = true;
            e_advance(e, 900);
            ck_assert_uint_eq(e->start_overs[e_index(e, l)], i);
            ck_assert_uint_eq(e_start_overs(e), i);
            ck_assert(!e->distrusts[e_index(e, l)]);
            ck_assert_ptr_nonnull(strstr(l->last_note, " path=/a"));
            e->stay_over = false;
            e_advance(e, 10);
            e_until_served(e);
        }
        char data[64];
        int32_t len;
        ck_assert_int_eq(h_get(l, h_client(l), "/a", data, &len), ZK_OK);
        ck_assert_str_eq(data, "d");
        e_assert_equal(e);
        e_free(e);
    }
}
END_TEST

START_TEST(a_change_of_a_rotten_value_is_not_answered) {
    struct ensemble *e = started(1, 0);
    struct harness *h = e->h[0];
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    tree_test_alter(h->r->tree, h_slice("/a"));
    e->stay_over = true;
    h_send_set(h, c, 1, "/a", "new", -1);
    ck_assert(e->over[0]);
    h_expect_nothing(h, c);
    e->stay_over = false;
    e_advance(e, 10);
    e_until_served(e);
    char data[64];
    int32_t len;
    ck_assert_int_eq(h_get(h, h_client(h), "/a", data, &len), ZK_OK);
    ck_assert_str_eq(data, "new");
    e_free(e);
}
END_TEST

START_TEST(who_is_quarantined_for_the_digest_that_it_has_cuts_the_link) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    struct app_msg m = {.type = APP_QUARANTINE,
                        .body = SLICE_NULL,
                        .zxid = core_last_zxid(f->r),
                        .has_digest = true,
                        .digest = tree_digest(f->r->tree)};
    e->held = true;
    e_send_app(f, l->config.server_id, &m);
    ck_assert(!f->r->peers[l->config.server_id].up);
    e->held = false;
    e_advance(e, 100);
    e_until_served(e);
    ck_assert_uint_eq(e_start_overs(e), 0);
    e_free(e);
}
END_TEST

START_TEST(answers_that_nobody_waits_for_are_ignored) {
    struct ensemble *e = started(3, 0);
    struct harness *f = e_follower(e), *l = e_leader(e);
    struct app_msg m = {.type = APP_DIGEST,
                        .body = SLICE_NULL,
                        .zxid = core_last_zxid(l->r),
                        .has_digest = true,
                        .digest = 1};
    e_advance(e, 300);
    e_send_app(l, f->config.server_id, &m);
    m.zxid = INT64_MAX;
    e_send_app(l, f->config.server_id, &m);
    ck_assert(l->r->peers[f->config.server_id].up);
    assert_quiet(e);
    e_free(e);
}
END_TEST

START_TEST(the_word_hash_shows_the_last_digests_the_same_everywhere) {
    struct ensemble *e = started(3, 0);
    struct harness *l = e_leader(e);
    conn_id_t c = h_client(l);
    ck_assert_int_eq(h_create(l, c, "/a"), ZK_OK);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(h_set(l, c, "/a", "x", -1), ZK_OK);
    char first[2048], last[64];
    (void)snprintf(first, sizeof first, "%s", ask(e->h[0], "hash"));
    int lines = 0;
    for (const char *at = first; *at; at = strchr(at, '\n') + 1)
        lines++;
    ck_assert_int_eq(lines, 16);
    (void)snprintf(last, sizeof last, "\n0x%llx %016llx\n",
                   (unsigned long long)core_last_zxid(l->r),
                   (unsigned long long)tree_digest(l->r->tree));
    ck_assert_str_eq(strstr(first, last), last);
    ck_assert_str_eq(ask(e->h[1], "hash"), first);
    ck_assert_str_eq(ask(e->h[2], "hash"), first);
    e_free(e);
}
END_TEST

H_SUITE("digest", equal_trees_are_left_alone_whoever_leads,
        equal_trees_are_left_alone_when_the_epoch_rolls_over,
        who_comes_through_a_snapshot_is_compared_at_once,
        who_comes_through_a_snapshot_of_an_altered_tree_starts_over_without_it,
        a_fuzzy_snapshot_that_is_replayed_is_no_difference,
        a_follower_that_differs_starts_over_from_its_disk,
        a_leader_that_differs_starts_over_and_another_one_leads,
        an_observer_that_differs_starts_over, observers_do_not_count,
        who_differs_again_does_not_trust_its_disk, who_differs_again_long_after_keeps_its_disk,
        one_that_lags_is_judged_when_it_answers,
        a_digest_that_is_not_known_any_more_is_no_difference,
        who_never_answers_is_asked_anew_after_ten_seconds,
        who_is_quarantined_for_the_digest_that_it_has_cuts_the_link,
        answers_that_nobody_waits_for_are_ignored,
        a_value_that_rots_is_found_within_a_second_without_a_write,
        a_change_of_a_rotten_value_is_not_answered,
        the_word_hash_shows_the_last_digests_the_same_everywhere)
