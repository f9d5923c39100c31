/* A replica's own snapshots (docs/recovery.md): when they begin, what they wait for, and what they
 * leave to the requests. The store is played: nothing is answered before the test says so. */
#include "replica/server/limits.h"
#include "replica/tree/tree.h"
#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#define SNAP_COUNT 40

static struct harness *h;
static conn_id_t client;

/* What the core asked of the store. */
static struct {
    uint32_t begun, abandoned;
    uint64_t pieces; /* not answered */
    bool ends;       /* likewise */
    zxid_t ended;
    bool reads; /* likewise */
    zxid_t after;
} store;

static void take(struct harness *of, const struct update *u) {
    switch (u->type) {
    case UPD_CHECKPOINT_BEGIN:
        store.begun++;
        break;
    case UPD_CHECKPOINT_CHUNK:
        store.pieces++;
        break;
    case UPD_CHECKPOINT_END:
        store.ends = true;
        store.ended = u->zxid;
        break;
    case UPD_CHECKPOINT_ABANDON:
        store.abandoned++;
        break;
    case UPD_LOG_READ:
        store.reads = true;
        store.after = u->zxid;
        break;
    default:
        ck_abort_msg("update %d", u->type);
    }
}

static void setup(void) {
    struct replica_config config = h_config();
    config.snap_count = SNAP_COUNT;
    memset(&store, 0, sizeof store);
    h = h_new(&config);
    h->other = take;
    h_start(h);
    client = h_client(h);
    ck_assert_int_eq(h_create(h, client, "/a"), ZK_OK);
    /* A walk of several pieces. */
    char large[CHECKPOINT_PIECE_BYTES], path[8];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    for (int32_t i = 1; i <= 3; i++) {
        (void)snprintf(path, sizeof path, "/b%d", i);
        h_send_create(h, client, i, path, large, 0);
        ck_assert_int_eq(h_err(h, client, i), ZK_OK);
    }
}

static void teardown(void) { h_free(h); }

static void written(void) {
    uint64_t count = store.pieces;
    store.pieces = 0;
    h_step(h, (struct event){.type = EV_CHECKPOINT_WRITTEN, .count = count});
}

/* Answers a read of the log with at most so many records. */
static void answer_read(size_t most) {
    struct log_record records[512];
    size_t n = 0;
    for (size_t i = 0; i < h->synced && n < most; i++) {
        if (h->log[i].zxid > store.after)
            records[n++] = (struct log_record){h->log[i].kind, h->log[i].zxid, h->log[i].committed,
                                               blob_slice(h->log[i].payload)};
    }
    store.reads = false;
    h_step(h,
           (struct event){
               .type = EV_LOG_RANGE, .zxid = store.after, .records = records, .record_count = n});
}

static void saved(void) {
    ck_assert(store.ends);
    store.ends = false;
    h_step(h, (struct event){.type = EV_CHECKPOINT_SAVED, .zxid = store.ended, .size_bytes = 1});
}

static void set(int times) {
    static int32_t xid = 1000;
    for (int i = 0; i < times; i++) {
        h_send_set(h, client, ++xid, "/a", "x", -1);
        ck_assert_int_eq(h_err(h, client, xid), ZK_OK);
    }
}

/* Writes until one begins; how many that took. */
static int set_until_begun(void) {
    uint32_t before = store.begun;
    int n = 0;
    for (; store.begun == before; n++) {
        ck_assert_int_lt(n, 2 * SNAP_COUNT);
        h_advance(h, 1);
        set(1);
    }
    return n;
}

/* Lets the walk end. */
static void walk(void) {
    while (!store.reads) {
        ck_assert(!store.ends);
        written();
        h_advance(h, 1);
    }
    written();
}

/* Lets the one under way go on until its end is durable. */
static void let_it_end(void) {
    for (int i = 0; !store.ends; i++) {
        ck_assert_int_lt(i, 1000);
        if (store.reads)
            answer_read(7);
        if (store.pieces > 0)
            written();
        h_advance(h, 1);
    }
    written();
    saved();
}

START_TEST(one_begins_after_between_half_and_all_of_snap_count) {
    int least = SNAP_COUNT, most = 0;
    (void)set_until_begun();
    for (int i = 0; i < 50; i++) {
        let_it_end();
        int n = set_until_begun();
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    ck_assert_int_ge(least, SNAP_COUNT / 2);
    ck_assert_int_le(most, SNAP_COUNT);
    ck_assert_int_gt(most - least, SNAP_COUNT / 4);
}
END_TEST

START_TEST(what_is_applied_during_the_walk_does_not_count_for_the_next_one) {
    (void)set_until_begun();
    zxid_t begun = tree_last_zxid(h->r->tree);
    set(3 * SNAP_COUNT);
    let_it_end();
    ck_assert_int_ge(store.ended, begun + 3 * SNAP_COUNT);
    h_advance(h, 1000);
    ck_assert_uint_eq(store.begun, 1);
    ck_assert_int_ge(set_until_begun(), SNAP_COUNT / 2);
}
END_TEST

START_TEST(a_piece_of_the_records_behind_the_walk_is_read_in_each_millisecond) {
    (void)set_until_begun();
    set(SNAP_COUNT);
    walk();
    answer_read(5);
    for (int i = 0; i < 5; i++) {
        written();
        ck_assert(!store.reads);
        h_advance(h, CHECKPOINT_PACE_MS);
        ck_assert(store.reads);
        answer_read(5);
    }
    let_it_end();
}
END_TEST

START_TEST(no_more_pieces_are_under_way_than_the_disk_is_meant_to_have) {
    (void)set_until_begun();
    set(SNAP_COUNT);
    walk();
    for (int i = 0; i < 100; i++) {
        if (store.reads)
            answer_read(1);
        h_advance(h, 1);
        h_step(h, (struct event){.type = EV_TICK});
    }
    ck_assert_uint_eq(store.pieces, CHECKPOINT_PIECES);
    ck_assert(!store.reads);
    written();
    h_advance(h, CHECKPOINT_PACE_MS);
    ck_assert(store.reads);
}
END_TEST

static void disk_fails(void) {
    h_step(h,
           (struct event){.type = EV_CHECKPOINT_FAILED, .bytes = {(const uint8_t *)"no room", 7}});
}

START_TEST(one_that_failed_is_tried_again_a_minute_later) {
    (void)set_until_begun();
    disk_fails();
    h_advance(h, CHECKPOINT_RETRY_MS - 1);
    ck_assert_uint_eq(store.begun, 1);
    h_advance(h, 2);
    ck_assert_uint_eq(store.begun, 2);
}
END_TEST

START_TEST(one_that_failed_at_its_end_is_tried_again_as_well) {
    (void)set_until_begun();
    set(1);
    walk();
    disk_fails();
    h_advance(h, CHECKPOINT_RETRY_MS + 1);
    ck_assert_uint_eq(store.begun, 2);
}
END_TEST

START_TEST(one_whose_records_are_not_in_the_log_any_more_is_abandoned_and_tried_again) {
    (void)set_until_begun();
    set(1);
    walk();
    answer_read(0);
    ck_assert_uint_eq(store.abandoned, 1);
    h_advance(h, CHECKPOINT_RETRY_MS + 1);
    ck_assert_uint_eq(store.begun, 2);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("checkpoint_pace");
    TCase *t = tcase_create("checkpoint");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, one_begins_after_between_half_and_all_of_snap_count);
    tcase_add_test(t, what_is_applied_during_the_walk_does_not_count_for_the_next_one);
    tcase_add_test(t, a_piece_of_the_records_behind_the_walk_is_read_in_each_millisecond);
    tcase_add_test(t, no_more_pieces_are_under_way_than_the_disk_is_meant_to_have);
    tcase_add_test(t, one_that_failed_is_tried_again_a_minute_later);
    tcase_add_test(t, one_that_failed_at_its_end_is_tried_again_as_well);
    tcase_add_test(t, one_whose_records_are_not_in_the_log_any_more_is_abandoned_and_tried_again);
    suite_add_tcase(s, t);
    return s;
}
