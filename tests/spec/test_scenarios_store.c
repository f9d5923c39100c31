/* S29, and S22 as far as it is the disk's: the base of a history is missing, or has more than the
 * history. The real store over a disk in memory. */
#include "common/mem.h"
#include "replica/store/store.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#define DIR "/data/log"

struct disk {
    struct mem_files *files;
    struct store *store;
    struct buf why;
    /* What the last start gave. */
    uint32_t epoch;
    char pieces[64];
    bool based;
    zxid_t begun, last;
    size_t records;
};

static void on_epoch(void *ctx, uint32_t epoch) { ((struct disk *)ctx)->epoch = epoch; }

static bool on_piece(void *ctx, struct slice piece) {
    struct disk *d = ctx;
    strncat(d->pieces, (const char *)piece.p, (size_t)piece.len);
    return true;
}

static bool on_end(void *ctx, zxid_t begun, zxid_t ended) {
    struct disk *d = ctx;
    d->based = true;
    d->begun = d->last = begun;
    return begun <= ended;
}

static void on_reset(void *ctx, zxid_t begun) {
    struct disk *d = ctx;
    d->based = false;
    d->begun = d->last = 0;
    d->pieces[0] = 0;
}

static void on_older(void *ctx, zxid_t base, const zxid_t *ends, size_t count) {}

static void on_record(void *ctx, const struct log_record *r) {
    struct disk *d = ctx;
    d->last = r->zxid;
    d->records++;
}

static int disk_open(struct disk *d) {
    struct wal_config config = {.dir = DIR, .segment_bytes = 256, .salt = 7};
    struct store_reader reader = {.ctx = d,
                                  .epoch = on_epoch,
                                  .snap_chunk = on_piece,
                                  .snap_end = on_end,
                                  .snap_reset = on_reset,
                                  .older = on_older,
                                  .record = on_record};
    d->epoch = 0;
    d->based = false;
    d->begun = d->last = 0;
    d->records = 0;
    d->pieces[0] = 0;
    buf_reset(&d->why);
    return store_open(mem_files_env(d->files), &config, &reader, &d->store, &d->why);
}

static void disk_init(struct disk *d) {
    memset(d, 0, sizeof *d);
    buf_init(&d->why, 0);
    d->files = mem_files_new();
    ck_assert_int_eq(disk_open(d), 0);
}

static void disk_close(struct disk *d) {
    store_close(d->store);
    mem_files_free(d->files);
    buf_close(&d->why);
}

static void disk_sync(struct disk *d) {
    struct store_done done;
    while (store_pending(d->store)) {
        store_sync_begin(d->store);
        ck_assert_int_eq(store_sync_run(d->store), 0);
        store_sync_end(d->store, &done);
    }
}

static void disk_append(struct disk *d, uint32_t epoch, uint32_t from, uint32_t to) {
    static const uint8_t bytes[40] = "transaction";
    for (uint32_t counter = from; counter <= to; counter++) {
        struct log_record r = {.kind = counter ? LOG_TXN : LOG_EPOCH,
                               .zxid = zxid_make(epoch, counter),
                               .payload = SLICE_NULL};
        if (counter)
            r.payload = (struct slice){bytes, sizeof bytes};
        store_append(d->store, &r);
        disk_sync(d); /* segments are changed between batches */
    }
}

static void disk_snapshot(struct disk *d, zxid_t zxid) {
    store_snap_begin(d->store);
    store_snap_chunk(d->store, (struct slice){(const uint8_t *)"state", 5});
    store_snap_end(d->store, zxid, zxid);
    disk_sync(d);
}

/* Epoch 1, a snapshot at (1,5) in place of what was before, and records behind it. */
static void disk_with_a_base(struct disk *d) {
    disk_init(d);
    store_save_epoch(d->store, 1);
    disk_append(d, 1, 0, 3);
    disk_snapshot(d, zxid_make(1, 5));
    disk_append(d, 1, 6, 30);
    store_close(d->store);
    d->store = NULL;
    mem_files_kill(d->files);
}

static void refuses(struct disk *d) {
    int err = disk_open(d);
    ck_assert_int_lt(err, 0);
    ck_assert_uint_gt(d->why.len, 10); /* it says what, and what to do (P7) */
    disk_close(d);
}

static void remove_last(struct disk *d, const char *prefix, size_t skip) {
    char *path = mem_files_last(d->files, DIR, prefix, skip);
    ck_assert_msg(path != NULL, "there is a file %s", prefix);
    mem_files_remove(d->files, path);
    mem_free(path);
}

START_TEST(what_the_scenario_starts_from_is_whole) {
    struct disk d;
    disk_with_a_base(&d);
    ck_assert_int_eq(disk_open(&d), 0);
    ck_assert(d.based);
    ck_assert_str_eq(d.pieces, "state");
    ck_assert_int_eq(d.last, zxid_make(1, 30));
    ck_assert_uint_eq(d.epoch, 1);
    disk_close(&d);
}
END_TEST

/* S29 (ZOOKEEPER-2325, 582): the state that the log builds on is missing, or empty, and the server
 * starts with what the log alone gives: silently without everything before. Here that is refused.
 */
START_TEST(scenario_s29_a_log_without_its_snapshot_is_refused) {
    struct disk d;
    disk_with_a_base(&d);
    remove_last(&d, "snapshot", 0);
    refuses(&d);
}
END_TEST

START_TEST(scenario_s29_an_empty_snapshot_is_refused) {
    struct disk d;
    disk_with_a_base(&d);
    char *path = mem_files_last(d.files, DIR, "snapshot.", 0);
    mem_files_cut(d.files, path, 0);
    mem_free(path);
    refuses(&d);
}
END_TEST

START_TEST(scenario_s29_a_log_without_its_beginning_is_refused) {
    struct disk d;
    disk_with_a_base(&d);
    /* The first segment of several. */
    size_t segments = 0;
    for (char *path; (path = mem_files_last(d.files, DIR, "log.", segments)); segments++)
        mem_free(path);
    ck_assert_uint_gt(segments, 2);
    remove_last(&d, "log.", segments - 1);
    refuses(&d);
}
END_TEST

/* The epoch is not guessed from the name or the content of something older. */
START_TEST(scenario_s29_a_history_without_its_promise_is_refused) {
    struct disk d;
    disk_with_a_base(&d);
    remove_last(&d, "epoch", 0);
    ck_assert_int_eq(disk_open(&d), 0); /* there are two copies */
    store_close(d.store);
    d.store = NULL;
    remove_last(&d, "epoch", 0);
    remove_last(&d, "epoch", 0);
    refuses(&d);
}
END_TEST

/* S22 (ZOOKEEPER-1549), the disk's part: a snapshot beyond the point of a truncation goes with it
 * (Z5), so that no start can bring back what was cut off. */
START_TEST(scenario_s22_a_truncation_takes_snapshots_beyond_it_along) {
    struct disk d;
    disk_with_a_base(&d);
    ck_assert_int_eq(disk_open(&d), 0);
    store_truncate(d.store, 0);
    disk_sync(&d);
    store_close(d.store);
    d.store = NULL;
    mem_files_power_cut(d.files, MEM_CUT_LOSE, 0);
    ck_assert_int_eq(disk_open(&d), 0);
    ck_assert(!d.based);
    ck_assert_uint_eq(d.records, 0);
    ck_assert_uint_eq(d.epoch, 1); /* the promise stays */
    disk_close(&d);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("scenarios_store");
    TCase *t = tcase_create("scenarios_store");
    tcase_add_test(t, what_the_scenario_starts_from_is_whole);
    tcase_add_test(t, scenario_s29_a_log_without_its_snapshot_is_refused);
    tcase_add_test(t, scenario_s29_an_empty_snapshot_is_refused);
    tcase_add_test(t, scenario_s29_a_log_without_its_beginning_is_refused);
    tcase_add_test(t, scenario_s29_a_history_without_its_promise_is_refused);
    tcase_add_test(t, scenario_s22_a_truncation_takes_snapshots_beyond_it_along);
    suite_add_tcase(s, t);
    return s;
}
