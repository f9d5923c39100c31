/* The store's jobs in fair weather: what each leaves, what a sync says of it, and reading while it
 * writes. */
#include "replica/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/store_file.h"
#include "replica/store/wal_format.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

static struct model m;

static void setup(void) {
    model_init(&m);
    ck_assert_int_eq(model_open(&m), 0);
}

static void teardown(void) { model_close(&m); }

static void reopen(void) {
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_uint_eq(m.why.len, 0);
}

static void sync_now(void) { ck_assert_int_eq(model_sync(&m), 0); }

static void begin_epoch(uint32_t e) {
    model_save_epoch(&m, e);
    model_append(&m, true);
    sync_now();
}

static void append(size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(&m, false);
    sync_now();
}

static bool there(const char *name) {
    size_t size = 0;
    char *path = store_file_path(MODEL_DIR, name);
    bool found = mem_files_bytes(m.files, path, &size) != NULL;
    mem_free(path);
    return found;
}

static bool why_has(const char *text) {
    return memmem(m.why.data, m.why.len, text, strlen(text)) != NULL;
}

/* ---- jobs ---- */

START_TEST(a_sync_says_what_it_made_durable) {
    model_save_epoch(&m, 3);
    sync_now();
    ck_assert_uint_eq(m.done.epoch, 3);
    ck_assert(!m.done.appended);
    ck_assert_int_eq(m.done.log_zxid, 0);
    model_append(&m, true);
    model_append(&m, false);
    sync_now();
    ck_assert_uint_eq(m.done.epoch, 0);
    ck_assert(m.done.appended);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(3, 1));
    model_truncate(&m, zxid_make(3, 0));
    sync_now();
    ck_assert(m.done.truncated);
    ck_assert(!m.done.appended);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(3, 0));
    model_snapshot(&m, 2, zxid_make(3, 8), zxid_make(3, 9));
    sync_now();
    ck_assert(m.done.installed);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(3, 8));
}
END_TEST

START_TEST(jobs_are_carried_out_in_their_order_in_one_sync) {
    model_save_epoch(&m, 1);
    model_append(&m, true);
    for (int i = 0; i < 20; i++)
        model_append(&m, false);
    model_truncate(&m, zxid_make(1, 4));
    model_append(&m, false);
    model_snapshot(&m, 3, zxid_make(1, 2), zxid_make(1, 3));
    model_append(&m, false);
    model_save_epoch(&m, 2);
    model_append(&m, true);
    model_truncate(&m, zxid_make(1, 3));
    sync_now();
    ck_assert_uint_eq(m.done.epoch, 2);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(1, 3));
    reopen();
}
END_TEST

START_TEST(what_is_asked_for_during_a_sync_belongs_to_the_next) {
    begin_epoch(1);
    append(4);
    m.handed = m.count;
    store_sync_begin(m.store);
    model_append(&m, false);
    model_truncate(&m, zxid_make(1, 2));
    ck_assert_int_eq(model_sync_end(&m, store_sync_run(m.store)), 0);
    ck_assert(!m.done.appended);
    ck_assert(!m.done.truncated);
    ck_assert(store_pending(m.store));
    sync_now();
    ck_assert(m.done.truncated);
    ck_assert(!store_pending(m.store));
    reopen();
}
END_TEST

static uint64_t calls_of(void (*jobs)(void)) {
    uint64_t before = mem_files_calls(m.files);
    jobs();
    sync_now();
    return mem_files_calls(m.files) - before;
}

static void many_appends(void) {
    for (int i = 0; i < 50; i++)
        model_append(&m, false);
}

static void same_promise(void) { model_save_epoch(&m, 1); }

START_TEST(appends_share_one_write_and_one_sync_and_nothing_else) {
    m.segment_bytes = 1 << 20;
    reopen();
    begin_epoch(1);
    append(1);
    ck_assert_uint_eq(calls_of(many_appends), 2);
}
END_TEST

START_TEST(a_promise_that_was_given_costs_nothing) {
    begin_epoch(1);
    ck_assert_uint_eq(calls_of(same_promise), 0);
    ck_assert_uint_eq(m.done.epoch, 1);
    reopen();
}
END_TEST

START_TEST(a_dead_store_does_nothing_more) {
    begin_epoch(1);
    append(2);
    mem_files_fault(m.files, 1, MEM_FAULT_ERROR, -EIO);
    model_save_epoch(&m, 2);
    ck_assert_int_eq(model_sync(&m), -EIO);
    uint64_t calls = mem_files_calls(m.files);
    store_truncate(m.store, 0);
    store_save_epoch(m.store, 7);
    store_snap_begin(m.store);
    store_snap_chunk(m.store, (struct slice){(const uint8_t *)"x", 1});
    store_snap_end(m.store, 1, 1);
    ck_assert(!store_pending(m.store));
    store_sync_begin(m.store);
    ck_assert_int_eq(store_sync_run(m.store), -EIO);
    struct store_done done;
    store_sync_end(m.store, &done);
    ck_assert(!done.truncated);
    ck_assert_int_eq(done.log_zxid, zxid_make(1, 2));
    ck_assert_uint_eq(mem_files_calls(m.files), calls);
}
END_TEST

START_TEST(a_truncation_behind_the_last_record_touches_nothing) {
    begin_epoch(1);
    append(3);
    uint64_t calls = mem_files_calls(m.files);
    model_truncate(&m, zxid_make(1, 3));
    model_truncate(&m, zxid_make(4, 0));
    sync_now();
    ck_assert_uint_eq(mem_files_calls(m.files), calls);
    ck_assert(m.done.truncated);
    reopen();
}
END_TEST

START_TEST(a_truncated_history_is_as_well_protected_as_it_was) {
    begin_epoch(1);
    append(6);
    model_truncate(&m, zxid_make(1, 4));
    sync_now();
    model_store_close(&m);
    char *path = mem_files_last(m.files, MODEL_DIR, "log.", 0);
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(m.files, path, &size));
    /* The last record that stayed, in front of the mark that it was given. */
    for (size_t at = size - WAL_MARK_BYTES - 9; at > size - WAL_MARK_BYTES - 30; at--) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, path, at * 8);
        ck_assert_int_eq(model_open(c), -EBADMSG);
        model_free(c);
    }
    mem_free(path);
}
END_TEST

START_TEST(truncating_to_nothing_removes_every_segment_and_the_snapshot) {
    m.segment_bytes = 600;
    reopen();
    begin_epoch(1);
    model_snapshot(&m, 2, zxid_make(1, 5), zxid_make(1, 7));
    append(10);
    append(10);
    ck_assert(there("snapshot.0000000100000005"));
    model_truncate(&m, 0);
    sync_now();
    ck_assert(!there("snapshot.0000000100000005"));
    ck_assert(!there("cut"));
    ck_assert_ptr_null(mem_files_last(m.files, MODEL_DIR, "log.", 0));
    ck_assert_int_eq(store_size_bytes(m.store), 0);
    reopen();
}
END_TEST

START_TEST(a_snapshot_with_effects_of_what_is_cut_goes_too) {
    begin_epoch(1);
    model_snapshot(&m, 2, zxid_make(1, 5), zxid_make(1, 7));
    append(6);
    model_truncate(&m, zxid_make(1, 6));
    sync_now();
    ck_assert_int_eq(m.done.log_zxid, 0);
    ck_assert(!there("snapshot.0000000100000005"));
    reopen();
}
END_TEST

START_TEST(a_snapshot_stays_when_nothing_of_it_is_cut) {
    begin_epoch(1);
    model_snapshot(&m, 2, zxid_make(1, 5), zxid_make(1, 7));
    append(6);
    model_truncate(&m, zxid_make(1, 7));
    sync_now();
    ck_assert_int_eq(m.done.log_zxid, zxid_make(1, 7));
    ck_assert(there("snapshot.0000000100000005"));
    reopen();
    model_truncate(&m, zxid_make(1, 7));
    append(3);
    reopen();
}
END_TEST

START_TEST(a_snapshot_leaves_one_file_and_no_segment) {
    m.segment_bytes = 600;
    reopen();
    begin_epoch(1);
    append(10);
    append(10);
    model_snapshot(&m, 6, zxid_make(1, 5), zxid_make(1, 7));
    sync_now();
    ck_assert(there("snapshot.0000000100000005"));
    ck_assert(!there("snapshot.new"));
    ck_assert(!there("snapshot.next"));
    ck_assert_ptr_null(mem_files_last(m.files, MODEL_DIR, "log.", 0));
    reopen();
    append(1);
    reopen();
}
END_TEST

START_TEST(a_leftover_of_an_unfinished_snapshot_is_removed_at_a_start) {
    begin_epoch(1);
    m.ids = 4;
    model_snap_begin(&m);
    ck_assert(model_snap_chunk(&m));
    sync_now();
    ck_assert(there("snapshot.new"));
    m.writing = 0;
    reopen();
    ck_assert(!there("snapshot.new"));
}
END_TEST

START_TEST(a_snapshot_that_cannot_be_loaded_is_refused_and_stays) {
    begin_epoch(1);
    model_snapshot(&m, 2, zxid_make(1, 5), zxid_make(1, 7));
    sync_now();
    model_store_close(&m);
    m.refuse_piece = true;
    ck_assert_int_eq(model_open(&m), -EBADMSG);
    ck_assert(why_has("cannot be loaded"));
    m.refuse_piece = false;
    m.refuse_snap = true;
    ck_assert_int_eq(model_open(&m), -EBADMSG);
    ck_assert(why_has("cannot be loaded"));
    m.refuse_snap = false;
    reopen();
}
END_TEST

/* ---- reading ---- */

static void long_log(void) {
    m.segment_bytes = 5000;
    reopen();
    begin_epoch(1);
    for (int i = 0; i < 15; i++)
        append(10);
}

START_TEST(reading_goes_over_segments_and_gives_everything_in_order) {
    long_log();
    zxid_t after = 0;
    int n = 0;
    size_t all = 0;
    for (; (n = model_read(&m, after, 1500)) > 0; all += (size_t)n)
        after = m.states[0].records[all + (size_t)n - 1].zxid;
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(all, m.states[0].count);
    ck_assert_int_eq(model_read(&m, 0, 1 << 20), (int)all);
}
END_TEST

START_TEST(a_read_gives_one_record_however_long) {
    long_log();
    ck_assert_int_eq(model_read(&m, zxid_make(1, 20), 0), 1);
}
END_TEST

START_TEST(a_read_behind_what_is_not_there_says_so) {
    begin_epoch(1);
    append(5);
    model_save_epoch(&m, 3);
    model_append(&m, true);
    append(2);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 6), 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, zxid_make(2, 0), 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, 1, 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 5), 1000), 3);
    ck_assert_int_eq(model_read(&m, zxid_make(3, 2), 1000), 0);
}
END_TEST

START_TEST(a_read_below_the_base_says_so) {
    begin_epoch(1);
    model_snapshot(&m, 2, zxid_make(1, 5), zxid_make(1, 7));
    append(4);
    ck_assert_int_eq(model_read(&m, 0, 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 4), 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 5), 1000), 4);
    reopen();
    ck_assert_int_eq(model_read(&m, zxid_make(1, 4), 1000), -ENOENT);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 5), 1000), 4);
}
END_TEST

START_TEST(only_what_is_durable_is_read_before_during_and_after_a_sync) {
    begin_epoch(1);
    append(3);
    model_append(&m, false);
    ck_assert_int_eq(model_read(&m, 0, 5000), 4);
    m.handed = m.count;
    store_sync_begin(m.store);
    ck_assert_int_eq(model_read(&m, 0, 5000), 4);
    int err = store_sync_run(m.store);
    ck_assert_int_eq(model_read(&m, 0, 5000), 4);
    ck_assert_int_eq(model_sync_end(&m, err), 0);
    ck_assert_int_eq(model_read(&m, 0, 5000), 5);
}
END_TEST

START_TEST(nothing_is_read_while_a_cut_is_on_its_way) {
    begin_epoch(1);
    append(5);
    model_truncate(&m, zxid_make(1, 3));
    ck_assert_int_eq(model_read(&m, 0, 5000), 0);
    sync_now();
    ck_assert_int_eq(model_read(&m, 0, 5000), 4);
}
END_TEST

/* The process that made the directory ended before that was durable. */
START_TEST(a_directory_that_is_there_is_made_durable_too) {
    model_close(&m);
    model_init(&m);
    const struct env_files *files = mem_files_env(m.files);
    ck_assert_int_eq(files->mkdir(files->ctx, MODEL_DIR, 0750), 0);
    ck_assert_int_eq(model_open(&m), 0);
    begin_epoch(1);
    append(3);
    model_store_close(&m);
    mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_uint_eq(m.read.count, 4);
}
END_TEST

/* Counts the bytes that are read. */
static uint64_t bytes_read;
static struct env_files counting;
static const struct env_files *counted;

static int64_t count_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    int64_t got = counted->pread(ctx, fd, p, n, offset);
    bytes_read += got > 0 ? (uint64_t)got : 0;
    return got;
}

static void ignore(void *ctx, const struct log_record *r) { *(zxid_t *)ctx = r->zxid; }

static void take_no_epoch(void *ctx, uint32_t epoch) {}

/* A log of `mib` MiB in one segment, in place of the model's. */
static struct store *great_log(struct mem_files *files, size_t mib) {
    struct wal_config config = {.dir = MODEL_DIR, .salt = 5};
    struct store *s = m.store;
    counted = mem_files_env(files);
    counting = *counted;
    counting.pread = count_pread;
    model_store_close(&m);
    mem_files_kill(files);
    struct store_reader reader = {.epoch = take_no_epoch};
    ck_assert_int_eq(store_open(&counting, &config, &reader, &s, &m.why), 0);
    struct buf payload = BUF_INIT;
    buf_extend(&payload, 10000);
    memset(payload.data, 7, payload.len);
    store_save_epoch(s, 1);
    for (size_t i = 0; i < mib * 104; i++) {
        struct log_record r = {.kind = i == 0 ? LOG_EPOCH : LOG_TXN,
                               .zxid = zxid_make(1, (uint32_t)i),
                               .payload = {payload.data, i == 0 ? -1 : (int32_t)payload.len}};
        store_append(s, &r);
        if (i % 13 != 0 && i + 1 < mib * 104)
            continue;
        struct store_done done;
        store_sync_begin(s);
        ck_assert_int_eq(store_sync_run(s), 0);
        store_sync_end(s, &done);
    }
    buf_close(&payload);
    return s;
}

static void check_cheap_reads(struct store *s) {
    zxid_t last = 0;
    bytes_read = 0;
    ck_assert_int_gt(store_read(s, zxid_make(1, 700), 50000, ignore, &last), 0);
    /* A step of the index, and what was asked for. */
    ck_assert_uint_le(bytes_read, 640 << 10);
    for (int i = 0; i < 10; i++) {
        bytes_read = 0;
        zxid_t after = last;
        ck_assert_int_gt(store_read(s, after, 50000, ignore, &last), 0);
        ck_assert_uint_le(bytes_read, 70 << 10);
    }
}

START_TEST(a_read_finds_its_place_without_reading_a_segment_from_its_beginning) {
    struct store *s = great_log(m.files, 9);
    check_cheap_reads(s);
    store_close(s);
    /* And so after a start. */
    struct wal_config config = {.dir = MODEL_DIR, .salt = 6};
    zxid_t last = 0;
    struct store_reader reader = {.ctx = &last, .epoch = take_no_epoch, .record = ignore};
    ck_assert_int_eq(store_open(&counting, &config, &reader, &s, &m.why), 0);
    check_cheap_reads(s);
    store_close(s);
}
END_TEST

START_TEST(damage_met_by_a_read_is_told_and_the_store_goes_on) {
    long_log();
    char *path = mem_files_last(m.files, MODEL_DIR, "log.", 1);
    mem_files_flip_bit(m.files, path, 100 * 8);
    zxid_t last = 0;
    int n = store_read(m.store, 0, 1 << 20, ignore, &last);
    ck_assert_int_eq(n, -EBADMSG);
    mem_files_flip_bit(m.files, path, 100 * 8);
    mem_files_remove(m.files, path);
    ck_assert_int_eq(store_read(m.store, 0, 1 << 20, ignore, &last), -EBADMSG);
    mem_free(path);
    append(3);
    zxid_t before = m.states[0].records[m.states[0].count - 4].zxid;
    ck_assert_int_eq(model_read(&m, before, 5000), 3);
}
END_TEST

START_TEST(a_read_that_fails_gives_its_error_and_the_store_goes_on) {
    begin_epoch(1);
    append(4);
    zxid_t last = 0;
    for (uint64_t n = 1; n <= 3; n++) {
        mem_files_fault(m.files, n, MEM_FAULT_ERROR, -EMFILE);
        ck_assert_int_eq(store_read(m.store, 0, 5000, ignore, &last), -EMFILE);
    }
    ck_assert_int_eq(model_read(&m, 0, 5000), 5);
    append(1);
    reopen();
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store");
    TCase *t = tcase_create("store");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_sync_says_what_it_made_durable);
    tcase_add_test(t, jobs_are_carried_out_in_their_order_in_one_sync);
    tcase_add_test(t, what_is_asked_for_during_a_sync_belongs_to_the_next);
    tcase_add_test(t, appends_share_one_write_and_one_sync_and_nothing_else);
    tcase_add_test(t, a_promise_that_was_given_costs_nothing);
    tcase_add_test(t, a_dead_store_does_nothing_more);
    tcase_add_test(t, a_truncation_behind_the_last_record_touches_nothing);
    tcase_add_test(t, a_truncated_history_is_as_well_protected_as_it_was);
    tcase_add_test(t, truncating_to_nothing_removes_every_segment_and_the_snapshot);
    tcase_add_test(t, a_snapshot_with_effects_of_what_is_cut_goes_too);
    tcase_add_test(t, a_snapshot_stays_when_nothing_of_it_is_cut);
    tcase_add_test(t, a_snapshot_leaves_one_file_and_no_segment);
    tcase_add_test(t, a_leftover_of_an_unfinished_snapshot_is_removed_at_a_start);
    tcase_add_test(t, a_snapshot_that_cannot_be_loaded_is_refused_and_stays);
    tcase_add_test(t, reading_goes_over_segments_and_gives_everything_in_order);
    tcase_add_test(t, a_read_gives_one_record_however_long);
    tcase_add_test(t, a_read_behind_what_is_not_there_says_so);
    tcase_add_test(t, a_read_below_the_base_says_so);
    tcase_add_test(t, only_what_is_durable_is_read_before_during_and_after_a_sync);
    tcase_add_test(t, nothing_is_read_while_a_cut_is_on_its_way);
    tcase_add_test(t, a_directory_that_is_there_is_made_durable_too);
    tcase_add_test(t, a_read_finds_its_place_without_reading_a_segment_from_its_beginning);
    tcase_add_test(t, damage_met_by_a_read_is_told_and_the_store_goes_on);
    tcase_add_test(t, a_read_that_fails_gives_its_error_and_the_store_goes_on);
    suite_add_tcase(s, t);
    return s;
}
