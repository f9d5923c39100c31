#include "common/blob.h"
#include "common/prng.h"
#include "replica/zab/history.h"
#include "replica/zab/learner.h"
#include "tests/lib/unit.h"

#include <string.h>

#define Z(e, c) ((zxid_t)(((uint64_t)(e) << 32) | (c)))

static struct blob *bytes(size_t n) {
    static const uint8_t zeros[4096];
    return blob_new(zeros, n);
}

/* Epochs and counters, all durable; then `committed` as far as given. */
static void fill(struct history *h, const zxid_t *zxids, size_t n) {
    for (size_t i = 0; i < n; i++)
        history_append(h, zxids[i], zxid_counter(zxids[i]) ? bytes(10) : NULL);
    h->durable = h->last;
}

static size_t apply_all(struct history *h) {
    struct history_record r;
    size_t n = 0;
    for (; history_apply(h, &r); n++)
        blob_unref(r.payload);
    history_check(h);
    return n;
}

static const zxid_t some[] = {Z(1, 0), Z(1, 1), Z(1, 2), Z(3, 0), Z(3, 1)};
#define SOME (sizeof some / sizeof some[0])

START_TEST(a_record_follows_with_the_next_counter_or_a_later_epoch) {
    struct history h;
    history_init(&h, 1000);
    ck_assert(!history_follows(&h, ZAB_TXN, Z(1, 1)));
    ck_assert(!history_follows(&h, ZAB_TXN, Z(0, 1)));
    ck_assert(!history_follows(&h, ZAB_EPOCH, 0));
    fill(&h, some, SOME);
    ck_assert(history_follows(&h, ZAB_TXN, Z(3, 2)));
    ck_assert(history_follows(&h, ZAB_EPOCH, Z(4, 0)));
    ck_assert(history_follows(&h, ZAB_EPOCH, Z(9, 0)));
    ck_assert(!history_follows(&h, ZAB_TXN, Z(3, 3)));
    ck_assert(!history_follows(&h, ZAB_TXN, Z(3, 1)));
    ck_assert(!history_follows(&h, ZAB_EPOCH, Z(3, 0)));
    ck_assert(!history_follows(&h, ZAB_EPOCH, Z(2, 0)));
    ck_assert(!history_follows(&h, ZAB_EPOCH, Z(4, 1)));
    ck_assert(!history_follows(&h, ZAB_TXN, Z(4, 0)));
    history_close(&h);
}
END_TEST

START_TEST(a_counter_never_carries_into_the_epoch) {
    struct history h;
    history_init(&h, 1000);
    history_reset(&h, Z(1, UINT32_MAX));
    ck_assert(!history_follows(&h, ZAB_TXN, Z(2, 0)));
    ck_assert(history_follows(&h, ZAB_EPOCH, Z(2, 0)));
    history_close(&h);
}
END_TEST

START_TEST(nothing_is_applied_before_it_is_committed_and_durable) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    ck_assert_uint_eq(apply_all(&h), 0);
    h.committed = Z(1, 1);
    ck_assert_uint_eq(apply_all(&h), 2);
    h.committed = Z(3, 1);
    h.durable = Z(1, 2);
    ck_assert_uint_eq(apply_all(&h), 1);
    h.durable = Z(3, 1);
    ck_assert_uint_eq(apply_all(&h), 2);
    ck_assert_int_eq(h.applied, Z(3, 1));
    history_close(&h);
}
END_TEST

START_TEST(what_is_not_applied_stays_in_memory_whatever_its_size) {
    struct history h;
    history_init(&h, 100);
    history_append(&h, Z(1, 0), NULL);
    for (uint32_t c = 1; c <= 100; c++)
        history_append(&h, Z(1, c), bytes(100));
    ck_assert_uint_eq(history_held(&h), 101);
    ck_assert_uint_eq(h.held_bytes, 101 * HISTORY_RECORD_BYTES + 100 * 100);
    uint32_t index;
    ck_assert(history_after(&h, 0, &index));
    ck_assert_uint_eq(index, 0);
    history_close(&h);
}
END_TEST

START_TEST(of_what_was_applied_memory_keeps_as_much_as_it_may) {
    struct history h;
    history_init(&h, 10 * (HISTORY_RECORD_BYTES + 100));
    history_append(&h, Z(1, 0), NULL);
    for (uint32_t c = 1; c <= 100; c++)
        history_append(&h, Z(1, c), bytes(100));
    h.durable = h.committed = h.last;
    ck_assert_uint_eq(apply_all(&h), 101);
    ck_assert_uint_eq(h.count, 10);
    ck_assert_int_eq(h.before, Z(1, 90));
    uint32_t index;
    ck_assert(!history_after(&h, Z(1, 89), &index));
    ck_assert(history_after(&h, Z(1, 90), &index));
    ck_assert_int_eq(history_at(&h, index)->zxid, Z(1, 91));
    ck_assert(history_after(&h, Z(1, 100), &index));
    ck_assert_uint_eq(index, h.count);
    history_close(&h);
}
END_TEST

START_TEST(the_count_of_recent_records_is_bounded_too) {
    struct history h;
    history_init(&h, UINT32_MAX);
    history_append(&h, Z(1, 0), NULL);
    for (uint32_t c = 1; c <= HISTORY_RECENT_MAX + 100; c++) {
        history_append(&h, Z(1, c), NULL);
        h.durable = h.committed = h.last;
        struct history_record r;
        while (history_apply(&h, &r))
            blob_unref(r.payload);
    }
    ck_assert_uint_eq(h.count, HISTORY_RECENT_MAX);
    history_check(&h);
    history_close(&h);
}
END_TEST

START_TEST(the_record_after_any_other_is_found) {
    struct history h;
    history_init(&h, UINT32_MAX);
    fill(&h, some, SOME);
    for (size_t i = 0; i < SOME; i++) {
        uint32_t index;
        ck_assert(history_after(&h, some[i], &index));
        ck_assert_uint_eq(index, i + 1);
    }
    history_close(&h);
}
END_TEST

START_TEST(truncation_takes_records_and_epochs_away) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    history_truncate(&h, Z(1, 1));
    history_check(&h);
    ck_assert_int_eq(h.last, Z(1, 1));
    ck_assert_int_eq(h.durable, Z(1, 1));
    ck_assert(!history_has(&h, Z(1, 2)));
    ck_assert(!history_has(&h, Z(3, 0)));
    ck_assert(history_follows(&h, ZAB_EPOCH, Z(2, 0)));
    history_truncate(&h, 0);
    history_check(&h);
    ck_assert_int_eq(h.last, 0);
    ck_assert_uint_eq(h.epoch_count, 0);
    fill(&h, some, SOME);
    history_check(&h);
    history_close(&h);
}
END_TEST

START_TEST(a_snapshot_replaces_everything) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    h.committed = Z(1, 1);
    history_reset(&h, Z(5, 7));
    history_check(&h);
    ck_assert_int_eq(h.applied, Z(5, 7));
    ck_assert_int_eq(h.committed, Z(5, 7));
    ck_assert(!history_has(&h, Z(3, 1)));
    ck_assert(history_has(&h, Z(5, 7)));
    ck_assert(!history_has(&h, Z(5, 6)));
    history_append(&h, Z(5, 8), NULL);
    history_truncate(&h, Z(5, 7));
    history_check(&h);
    history_close(&h);
}
END_TEST

START_TEST(membership_goes_by_epochs_not_by_ranges) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    ck_assert(history_has(&h, 0));
    ck_assert(history_has(&h, Z(1, 2)));
    ck_assert(!history_has(&h, Z(1, 3))); /* S18: less than what there is, and not in it */
    ck_assert(!history_has(&h, Z(2, 0)));
    ck_assert(!history_has(&h, Z(2, 5)));
    ck_assert(!history_has(&h, Z(4, 0)));
    history_close(&h);
}
END_TEST

static zxid_t common(const struct history *h, const zxid_t *epochs, uint32_t n) {
    return history_common(h, epochs, n);
}

START_TEST(the_last_common_record_is_in_the_greatest_common_epoch) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(3, 1), Z(1, 2)}, 2), Z(3, 1));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(3, 9), Z(1, 2)}, 2), Z(3, 1));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(3, 0), Z(1, 2)}, 2), Z(3, 0));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(2, 4), Z(1, 2)}, 2), Z(1, 2)); /* S17 */
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(4, 4), Z(1, 1)}, 2), Z(1, 1));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(1, 9)}, 1), Z(1, 2));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(2, 4)}, 1), 0);
    ck_assert_int_eq(common(&h, NULL, 0), 0);
    history_close(&h);
}
END_TEST

START_TEST(the_newest_epochs_are_told_newest_first) {
    struct history h;
    history_init(&h, 1000);
    zxid_t epochs[ZAB_EPOCHS_MAX];
    ck_assert_uint_eq(history_epochs(&h, epochs), 0);
    for (uint32_t e = 1; e <= ZAB_EPOCHS_MAX + 5; e++) {
        history_append(&h, Z(e, 0), NULL);
        history_append(&h, Z(e, 1), NULL);
    }
    ck_assert_uint_eq(history_epochs(&h, epochs), ZAB_EPOCHS_MAX);
    ck_assert_int_eq(epochs[0], Z(ZAB_EPOCHS_MAX + 5, 1));
    ck_assert_int_eq(epochs[ZAB_EPOCHS_MAX - 1], Z(6, 1));
    ck_assert_int_eq(history_before_epoch(&h, 6), Z(5, 1));
    ck_assert_int_eq(history_before_epoch(&h, 1), 0);
    history_close(&h);
}
END_TEST

/* Two histories of the same kind as servers have them: common up to a point, then each its own. */
START_TEST(the_common_record_of_any_two_histories_is_where_they_part) {
    struct prng p;
    prng_init(&p, 7);
    for (int round = 0; round < 2000; round++) {
        struct history a, b;
        history_init(&a, 0);
        history_init(&b, 0);
        uint32_t epoch = 0, counter = 0;
        zxid_t parted = 0;
        for (int i = 0; i < 12; i++) {
            bool fresh = epoch == 0 || prng_chance(&p, 1, 3);
            counter = fresh ? 0 : counter + 1;
            epoch += fresh;
            parted = Z(epoch, counter);
            history_append(&a, parted, NULL);
            history_append(&b, parted, NULL);
        }
        /* One goes on in the epoch; both in epochs that the other does not have. */
        for (uint64_t n = prng_below(&p, 3); n > 0; n--)
            history_append(&a, a.last + 1, NULL);
        if (prng_chance(&p, 1, 2))
            history_append(&a, Z(epoch + 1, 0), NULL);
        if (prng_chance(&p, 1, 2))
            history_append(&b, Z(epoch + 2, 0), NULL);
        zxid_t epochs[ZAB_EPOCHS_MAX];
        uint32_t n = history_epochs(&b, epochs);
        ck_assert_int_eq(history_common(&a, epochs, n), parted);
        n = history_epochs(&a, epochs);
        ck_assert_int_eq(history_common(&b, epochs, n), parted);
        history_close(&a);
        history_close(&b);
    }
}
END_TEST

/* ---- A log that begins before the snapshot, or later ---- */

START_TEST(the_log_may_reach_back_before_the_snapshot) {
    struct history h;
    history_init(&h, 1000);
    history_reset(&h, Z(5, 7));
    ck_assert(history_reach_back(&h, Z(2, 3), (zxid_t[]){Z(3, 1)}, 1));
    history_check(&h);
    ck_assert(history_has(&h, Z(2, 3))); /* what it begins behind was there */
    ck_assert(!history_has(&h, Z(2, 2)));
    ck_assert(!history_has(&h, Z(2, 4)));
    ck_assert(history_has(&h, Z(3, 0)));
    ck_assert(!history_has(&h, Z(4, 0)));
    ck_assert(history_has(&h, Z(5, 0)));
    ck_assert(!history_has(&h, 0));
    ck_assert_int_eq(history_before_epoch(&h, 5), Z(3, 1));
    ck_assert_int_eq(history_before_epoch(&h, 3), Z(2, 3));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(4, 2), Z(3, 5)}, 2), Z(3, 1));
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(2, 9)}, 1), Z(2, 3));
    history_reset(&h, Z(5, 7));
    ck_assert(history_reach_back(&h, 0, (zxid_t[]){Z(1, 4)}, 1));
    ck_assert(history_has(&h, 0));
    ck_assert_uint_eq(h.epoch_count, 2);
    history_close(&h);
}
END_TEST

START_TEST(an_older_log_that_cannot_be_is_not_taken) {
    struct history h;
    history_init(&h, 1000);
    history_reset(&h, Z(5, 7));
    ck_assert(!history_reach_back(&h, Z(5, 8), NULL, 0));
    ck_assert(!history_reach_back(&h, -1, NULL, 0));
    ck_assert(!history_reach_back(&h, Z(1, 1), (zxid_t[]){Z(5, 1)}, 1));
    ck_assert(!history_reach_back(&h, Z(1, 1), (zxid_t[]){Z(1, 0)}, 1));
    ck_assert(!history_reach_back(&h, Z(1, 1), (zxid_t[]){Z(2, 1), Z(2, 4)}, 2));
    ck_assert(!history_reach_back(&h, 0, (zxid_t[]){0}, 1));
    ck_assert_int_eq(h.base, Z(5, 7));
    history_append(&h, Z(5, 8), NULL);
    ck_assert(!history_reach_back(&h, Z(1, 1), NULL, 0)); /* too late */
    ck_assert_uint_eq(h.epoch_count, 1);
    history_check(&h);
    history_close(&h);
}
END_TEST

START_TEST(a_purge_forgets_what_ended_before_and_nothing_that_was_not_applied) {
    struct history h;
    history_init(&h, 1000);
    fill(&h, some, SOME);
    h.committed = Z(3, 0);
    ck_assert_uint_eq(apply_all(&h), 4);
    history_purge(&h, Z(1, 1));
    history_check(&h);
    ck_assert(!history_has(&h, Z(1, 0)));
    ck_assert(history_has(&h, Z(1, 1)));
    history_purge(&h, Z(1, 0)); /* back: never */
    ck_assert_int_eq(h.base, Z(1, 1));
    history_purge(&h, Z(1, 2));
    ck_assert_uint_eq(h.epoch_count, 2); /* (1,2) itself was there */
    ck_assert_int_eq(common(&h, (zxid_t[]){Z(1, 9)}, 1), Z(1, 2));
    history_purge(&h, Z(3, 1)); /* not applied yet */
    ck_assert_int_eq(h.base, Z(3, 0));
    ck_assert_uint_eq(h.epoch_count, 1);
    ck_assert_int_eq(history_before_epoch(&h, 3), 0);
    history_truncate(&h, Z(3, 0));
    history_check(&h);
    history_close(&h);
}
END_TEST

/* Whatever a log was made of, it knows the same of what is in it. */
START_TEST(a_shorter_log_knows_of_its_records_what_the_whole_one_does) {
    struct prng p;
    prng_init(&p, 11);
    for (int round = 0; round < 2000; round++) {
        struct history all, less;
        history_init(&all, 0);
        history_init(&less, 0);
        zxid_t zxids[24];
        for (int i = 0; i < 24; i++) {
            bool fresh = i == 0 || prng_chance(&p, 1, 3);
            zxids[i] = fresh ? Z(zxid_epoch(all.last) + 1 + prng_below(&p, 2), 0) : all.last + 1;
            history_append(&all, zxids[i], NULL);
        }
        int base = (int)prng_below(&p, 24), snapshot = base + (int)prng_below(&p, 24 - base);
        zxid_t ends[24];
        size_t count = 0;
        for (int i = base + 1; i < snapshot; i++)
            if (zxid_counter(zxids[i + 1]) == 0)
                ends[count++] = zxids[i];
        history_reset(&less, zxids[snapshot]);
        ck_assert(history_reach_back(&less, zxids[base], ends, count));
        for (int i = snapshot + 1; i < 24; i++)
            history_append(&less, zxids[i], NULL);
        all.durable = all.committed = all.last;
        (void)apply_all(&all);
        history_purge(&all, zxids[base]);
        ck_assert_uint_eq(all.epoch_count, less.epoch_count);
        for (uint32_t i = 0; i < all.epoch_count; i++)
            ck_assert_int_eq(all.epochs[i], less.epochs[i]);
        for (int i = 0; i < 24; i++)
            ck_assert_int_eq(history_has(&less, zxids[i]), i >= base);
        history_check(&less);
        history_close(&all);
        history_close(&less);
    }
}
END_TEST

/* ---- The window of a learner ---- */

START_TEST(a_window_counts_what_is_not_acknowledged) {
    struct learner_window w = {.count = 0};
    learner_window_add(&w, Z(1, 1), 600, 1000);
    learner_window_add(&w, Z(1, 2), 600, 1000);
    ck_assert_uint_eq(w.bytes, 1200);
    learner_window_acked(&w, Z(1, 1));
    ck_assert_uint_eq(w.bytes, 600);
    learner_window_acked(&w, Z(1, 2));
    ck_assert_uint_eq(w.bytes, 0);
    ck_assert_uint_eq(w.count, 0);
}
END_TEST

START_TEST(a_window_never_runs_out_of_marks) {
    struct prng p;
    prng_init(&p, 9);
    struct learner_window w = {.count = 0};
    uint64_t sent = 0, acked = 0;
    for (int i = 0; i < 200000; i++) {
        if (w.bytes < 100000 && prng_chance(&p, 2, 3)) {
            learner_window_add(&w, (zxid_t)++sent, prng_below(&p, 3000), 100000);
        } else if (acked < sent) {
            acked += 1 + prng_below(&p, sent - acked);
            learner_window_acked(&w, (zxid_t)acked);
        }
        ck_assert_uint_le(w.count, LEARNER_MARKS);
        ck_assert(acked < sent || w.bytes == 0);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab_history");
    TCase *t = tcase_create("history");
    /* The last one takes more than a second where nothing else runs. */
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_record_follows_with_the_next_counter_or_a_later_epoch);
    tcase_add_test(t, a_counter_never_carries_into_the_epoch);
    tcase_add_test(t, nothing_is_applied_before_it_is_committed_and_durable);
    tcase_add_test(t, what_is_not_applied_stays_in_memory_whatever_its_size);
    tcase_add_test(t, of_what_was_applied_memory_keeps_as_much_as_it_may);
    tcase_add_test(t, the_count_of_recent_records_is_bounded_too);
    tcase_add_test(t, the_record_after_any_other_is_found);
    tcase_add_test(t, truncation_takes_records_and_epochs_away);
    tcase_add_test(t, a_snapshot_replaces_everything);
    tcase_add_test(t, membership_goes_by_epochs_not_by_ranges);
    tcase_add_test(t, the_last_common_record_is_in_the_greatest_common_epoch);
    tcase_add_test(t, the_newest_epochs_are_told_newest_first);
    tcase_add_test(t, the_common_record_of_any_two_histories_is_where_they_part);
    tcase_add_test(t, the_log_may_reach_back_before_the_snapshot);
    tcase_add_test(t, an_older_log_that_cannot_be_is_not_taken);
    tcase_add_test(t, a_purge_forgets_what_ended_before_and_nothing_that_was_not_applied);
    tcase_add_test(t, a_shorter_log_knows_of_its_records_what_the_whole_one_does);
    tcase_add_test(t, a_window_counts_what_is_not_acknowledged);
    tcase_add_test(t, a_window_never_runs_out_of_marks);
    suite_add_tcase(s, t);
    return s;
}
