/* The log in fair weather, and when a call fails. */
#include "replica/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/store_file.h"
#include "replica/store/wal_format.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

static struct world w;

static void setup(void) {
    world_init(&w);
    ck_assert_int_eq(world_open(&w), 0);
}

static void teardown(void) { world_close(&w); }

static void reopen(void) {
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    world_check_history(&w);
}

static bool why_has(const char *text) {
    return memmem(w.why.data, w.why.len, text, strlen(text)) != NULL;
}

/* Counts the calls of one kind that the log makes. */
static uint64_t datasyncs;
static struct env_files counting;
static const struct env_files *counted;

static int count_datasync(void *ctx, int fd) {
    datasyncs++;
    return counted->datasync(ctx, fd);
}

START_TEST(a_new_log_is_empty_and_its_directories_are_made) {
    ck_assert_uint_eq(w.read, 0);
    ck_assert_uint_eq(w.why.len, 0);
    ck_assert(!store_pending(w.store));
    ck_assert_int_eq(store_size_bytes(w.store), 0);
    reopen();
}
END_TEST

START_TEST(what_was_synced_is_read_back_in_order) {
    world_batch(&w, 1);
    world_batch(&w, 3);
    world_batch(&w, 100);
    reopen();
    ck_assert_uint_eq(w.read, 104);
    world_continue(&w);
    world_batch(&w, 7);
    reopen();
    ck_assert_uint_eq(w.read, 112);
    ck_assert_uint_eq(w.why.len, 0);
}
END_TEST

START_TEST(what_was_not_synced_is_lost_at_close) {
    world_batch(&w, 2);
    world_append(&w, false);
    ck_assert(store_pending(w.store));
    reopen();
    ck_assert_uint_eq(w.read, 2);
}
END_TEST

START_TEST(records_of_every_size_around_the_padding_come_back) {
    for (w.payload_bytes = 10; w.payload_bytes < 40; w.payload_bytes++)
        world_batch(&w, 2);
    for (w.payload_bytes = 470; w.payload_bytes < 530; w.payload_bytes++)
        world_batch(&w, 1);
    reopen();
    ck_assert_uint_eq(w.read, 120);
}
END_TEST

START_TEST(a_record_of_the_greatest_size_comes_back) {
    world_batch(&w, 1);
    w.payload_bytes = LOG_RECORD_MAX - 64;
    world_batch(&w, 1);
    w.payload_bytes = 10;
    world_batch(&w, 1);
    reopen();
    ck_assert_uint_eq(w.read, 3);
}
END_TEST

START_TEST(a_batch_longer_than_a_write_is_acknowledged_as_one) {
    world_batch(&w, 1);
    w.payload_bytes = 1u << 20;
    world_batch(&w, 11);
    w.payload_bytes = 10;
    world_batch(&w, 1);
    reopen();
    ck_assert_uint_eq(w.read, 13);
}
END_TEST

START_TEST(a_batch_costs_one_datasync) {
    world_store_close(&w);
    counted = mem_files_env(w.files);
    counting = *counted;
    counting.datasync = count_datasync;
    w.env = &counting;
    ck_assert_int_eq(world_open(&w), 0);
    world_batch(&w, 1);
    datasyncs = 0;
    for (int i = 0; i < 10; i++)
        world_batch(&w, 50);
    ck_assert_uint_eq(datasyncs, 10);
}
END_TEST

START_TEST(what_is_appended_during_a_sync_belongs_to_the_next) {
    world_append(&w, true);
    store_sync_begin(w.store);
    ck_assert(!store_pending(w.store));
    world_append(&w, false);
    world_append(&w, false);
    ck_assert_int_eq(store_sync_run(w.store), 0);
    ck_assert_int_eq(world_sync_end(&w), w.zxids[0]);
    ck_assert(store_pending(w.store));
    ck_assert_int_eq(world_sync(&w), 0);
    reopen();
    ck_assert_uint_eq(w.read, 3);
}
END_TEST

START_TEST(a_small_log_takes_little_space_and_is_allocated_ahead) {
    world_batch(&w, 1);
    int64_t first = store_size_bytes(w.store);
    ck_assert_int_ge(first, 4096);
    ck_assert_int_le(first, 64 << 10);
    for (int i = 0; i < 20; i++)
        world_batch(&w, 5);
    ck_assert_int_eq(store_size_bytes(w.store), first);
    w.payload_bytes = 64 << 10;
    world_batch(&w, 100);
    int64_t grown = store_size_bytes(w.store);
    ck_assert_int_ge(grown, 100 * (64 << 10));
    ck_assert_int_le(grown, 100 * (65 << 10) + (2 << 20));
    reopen();
}
END_TEST

START_TEST(a_full_segment_is_followed_by_a_new_one_named_after_its_first_zxid) {
    w.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 60; i++)
        world_batch(&w, 4);
    char name[WAL_NAME_BYTES];
    wal_segment_name(w.zxids[0], name);
    char *path = store_file_path(DIR, name);
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(w.files, path, &size));
    mem_free(path);
    const char *last = world_segment(&w, 0);
    zxid_t zxid = 0;
    ck_assert(wal_segment_parse(strrchr(last, '/') + 1, &zxid));
    ck_assert_int_gt(zxid, w.zxids[0]);
    reopen();
    ck_assert_uint_eq(w.read, 240);
    world_continue(&w);
    world_batch(&w, 100);
    reopen();
    ck_assert_uint_eq(w.read, 341);
}
END_TEST

START_TEST(a_second_process_is_kept_out_while_the_first_lives) {
    struct store *other = NULL;
    struct wal_config config = {.dir = DIR};
    struct store_reader reader = {0};
    ck_assert_int_eq(store_open(mem_files_env(w.files), &config, &reader, &other, &w.why), -EAGAIN);
    ck_assert_ptr_null(other);
    ck_assert(why_has("in use by another process"));
    world_batch(&w, 2);
    reopen();
}
END_TEST

START_TEST(a_failed_write_makes_the_log_dead_for_ever) {
    world_batch(&w, 2);
    mem_files_fault(w.files, 1, MEM_FAULT_ERROR, -EIO);
    world_append(&w, false);
    ck_assert_int_eq(world_sync(&w), -EIO);
    world_append(&w, false);
    store_sync_begin(w.store);
    ck_assert_int_eq(store_sync_run(w.store), -EIO);
    ck_assert_int_eq(world_sync_end(&w), w.zxids[1]);
    reopen();
    ck_assert_uint_eq(w.read, 2);
}
END_TEST

START_TEST(a_failed_sync_is_not_tried_again) {
    world_batch(&w, 2);
    mem_files_fault(w.files, 2, MEM_FAULT_ERROR, -EIO);
    world_append(&w, false);
    ck_assert_int_eq(world_sync(&w), -EIO);
    uint64_t calls = mem_files_calls(w.files);
    world_append(&w, false);
    ck_assert(!store_pending(w.store));
    store_sync_begin(w.store);
    ck_assert_int_eq(store_sync_run(w.store), -EIO);
    ck_assert_int_eq(world_sync_end(&w), w.zxids[1]);
    ck_assert_uint_eq(mem_files_calls(w.files), calls);
}
END_TEST

START_TEST(a_batch_whose_sync_failed_and_that_a_start_read_is_durable_then) {
    world_batch(&w, 2);
    mem_files_fault(w.files, 2, MEM_FAULT_ERROR, -EIO);
    world_append(&w, false);
    ck_assert_int_eq(world_sync(&w), -EIO);
    reopen();
    ck_assert_uint_eq(w.read, 3);
    world_store_close(&w);
    mem_files_power_cut(w.files, MEM_CUT_LOSE, 0);
    ck_assert_int_eq(world_open(&w), 0);
    world_check_history(&w);
    ck_assert_uint_eq(w.read, 3);
}
END_TEST

START_TEST(without_sync_nothing_is_synced) {
    w.no_sync = true;
    reopen();
    for (int i = 0; i < 5; i++)
        world_batch(&w, 3);
    reopen();
    ck_assert_uint_eq(w.read, 15);
    world_store_close(&w);
    mem_files_power_cut(w.files, MEM_CUT_LOSE, 0);
    w.durable = 0;
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.read, 0);
}
END_TEST

START_TEST(segment_names_are_parsed_strictly) {
    zxid_t zxid = 0;
    char name[WAL_NAME_BYTES];
    wal_segment_name(zxid_make(0xabc, 0xdef), name);
    ck_assert_str_eq(name, "log.00000abc00000def");
    ck_assert(wal_segment_parse(name, &zxid));
    ck_assert_int_eq(zxid, zxid_make(0xabc, 0xdef));
    ck_assert(!wal_segment_parse("log.00000ABC00000def", &zxid));
    ck_assert(!wal_segment_parse("log.00000abc00000de", &zxid));
    ck_assert(!wal_segment_parse("log.00000abc00000def0", &zxid));
    ck_assert(!wal_segment_parse("lag.00000abc00000def", &zxid));
    ck_assert(!wal_segment_parse("", &zxid));
}
END_TEST

START_TEST(a_frame_is_valid_in_its_segment_and_in_its_place_only) {
    struct buf b = BUF_INIT;
    size_t at = wal_frame_begin(&b, WAL_MAGIC_RECORD);
    buf_put(&b, "body", 4);
    wal_frame_end(&b, at);
    ck_assert_uint_eq(b.len, wal_frame_size(4));
    wal_frame_stamp(b.data, b.len, 77, 64);
    ck_assert(wal_frame_valid(b.data, b.len, 77, 64));
    ck_assert(!wal_frame_valid(b.data, b.len, 77, 72));
    ck_assert(!wal_frame_valid(b.data, b.len, 78, 64));
    ck_assert(!wal_frame_valid(b.data, b.len - 1, 77, 64));
    buf_close(&b);
}
END_TEST

START_TEST(zero_pieces_are_counted_by_sectors_of_the_file) {
    uint8_t p[3 * WAL_SECTOR_BYTES] = {0};
    ck_assert_uint_eq(wal_zero_pieces(p, sizeof p, 0), 3);
    ck_assert_uint_eq(wal_zero_pieces(p, sizeof p, 100), 4);
    p[WAL_SECTOR_BYTES] = 1;
    ck_assert_uint_eq(wal_zero_pieces(p, sizeof p, 0), 2);
    ck_assert_uint_eq(wal_zero_pieces(p, sizeof p, 512 - 8), 3);
    ck_assert_uint_eq(wal_zero_pieces(p, 0, 0), 0);
    memset(p, 1, sizeof p);
    ck_assert_uint_eq(wal_zero_pieces(p, sizeof p, 8), 0);
}
END_TEST

static void add_fair_weather(TCase *t) {
    tcase_add_test(t, a_new_log_is_empty_and_its_directories_are_made);
    tcase_add_test(t, what_was_synced_is_read_back_in_order);
    tcase_add_test(t, what_was_not_synced_is_lost_at_close);
    tcase_add_test(t, records_of_every_size_around_the_padding_come_back);
    tcase_add_test(t, a_record_of_the_greatest_size_comes_back);
    tcase_add_test(t, a_batch_longer_than_a_write_is_acknowledged_as_one);
    tcase_add_test(t, a_batch_costs_one_datasync);
    tcase_add_test(t, what_is_appended_during_a_sync_belongs_to_the_next);
    tcase_add_test(t, a_small_log_takes_little_space_and_is_allocated_ahead);
    tcase_add_test(t, a_full_segment_is_followed_by_a_new_one_named_after_its_first_zxid);
    tcase_add_test(t, a_second_process_is_kept_out_while_the_first_lives);
    tcase_add_test(t, a_failed_write_makes_the_log_dead_for_ever);
    tcase_add_test(t, a_failed_sync_is_not_tried_again);
    tcase_add_test(t, a_batch_whose_sync_failed_and_that_a_start_read_is_durable_then);
    tcase_add_test(t, without_sync_nothing_is_synced);
    tcase_add_test(t, segment_names_are_parsed_strictly);
    tcase_add_test(t, a_frame_is_valid_in_its_segment_and_in_its_place_only);
    tcase_add_test(t, zero_pieces_are_counted_by_sectors_of_the_file);
}

Suite *unit_suite(void) {
    Suite *s = suite_create("wal");
    TCase *t = tcase_create("wal");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    add_fair_weather(t);
    suite_add_tcase(s, t);
    return s;
}
