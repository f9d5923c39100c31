/* What a start refuses, and that it says where. */
#include "replica/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_recover.h"
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

static void refused(int err) {
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), err);
    ck_assert_ptr_null(w.store);
    ck_assert(world_named_place(&w));
}

static bool why_has(const char *text) {
    return memmem(w.why.data, w.why.len, text, strlen(text)) != NULL;
}

/* Puts a frame with this body behind the log's end, and with `mark` a persist mark behind it. */
static void forge(uint32_t magic, const void *body, size_t n, const struct wal_mark *mark) {
    world_store_close(&w);
    struct store_dir dir = {.files = mem_files_env(w.files), .path = DIR, .no_sync = true};
    struct wal_recovery rec;
    struct buf why = BUF_INIT;
    struct buf b = BUF_INIT;
    wal_recovery_init(&rec, &dir, NULL, &why);
    ck_assert_int_eq(wal_recovery_read(&rec, 0, 0, NULL, NULL), 0);
    struct wal_end end = rec.end;
    wal_recovery_close(&rec);
    size_t at = wal_frame_begin(&b, magic);
    buf_put(&b, body, n);
    wal_frame_end(&b, at);
    wal_frame_stamp(b.data, b.len, end.identity, end.tail);
    if (mark != NULL) {
        struct wal_mark m = *mark;
        size_t mark_at = b.len;
        m.offset = end.tail + mark_at;
        m.batch_start = end.tail;
        wal_mark_append(&b, &m);
        wal_frame_stamp(b.data + mark_at, b.len - mark_at, end.identity, m.offset);
    }
    mem_files_put(w.files, world_segment(&w, 0), end.tail, b.data, b.len);
    buf_close(&b);
    buf_close(&why);
}

static void append_zxid(enum log_kind kind, zxid_t zxid) {
    struct log_record r = {.kind = kind, .zxid = zxid};
    r.payload = kind == LOG_TXN ? (struct slice){(const uint8_t *)"x", 1} : SLICE_NULL;
    store_append(w.store, &r);
    store_sync_begin(w.store);
    ck_assert_int_eq(store_sync_run(w.store), 0);
    world_sync_end(&w);
}

START_TEST(a_record_that_cannot_be_decoded_is_refused) {
    world_batch(&w, 2);
    forge(WAL_MAGIC_RECORD, "\xff\xff\xff\xff\xff", 5, NULL);
    refused(-EBADMSG);
    ck_assert(why_has("cannot be decoded"));
}
END_TEST

START_TEST(a_gap_in_the_zxids_is_refused) {
    world_batch(&w, 2);
    append_zxid(LOG_TXN, zxid_make(1, 3));
    refused(-EBADMSG);
    ck_assert(why_has("does not follow"));
}
END_TEST

START_TEST(a_repeated_zxid_is_refused) {
    world_batch(&w, 2);
    append_zxid(LOG_TXN, zxid_make(1, 1));
    refused(-EBADMSG);
}
END_TEST

START_TEST(an_epoch_without_its_record_is_refused) {
    world_batch(&w, 2);
    append_zxid(LOG_TXN, zxid_make(2, 1));
    refused(-EBADMSG);
}
END_TEST

START_TEST(an_epoch_that_began_before_is_refused) {
    world_batch(&w, 2);
    append_zxid(LOG_EPOCH, zxid_make(1, 0));
    refused(-EBADMSG);
    ck_assert(why_has("a second time"));
}
END_TEST

START_TEST(an_epochs_record_with_a_counter_is_refused) {
    world_batch(&w, 2);
    forge(WAL_MAGIC_RECORD, "\x08\x02\x11\x01\0\0\0\x02\0\0\0", 11, NULL);
    refused(-EBADMSG);
}
END_TEST

START_TEST(a_log_that_does_not_begin_with_an_epoch_is_refused) {
    world_promise(&w, 1);
    append_zxid(LOG_TXN, zxid_make(1, 1));
    refused(-EBADMSG);
    ck_assert(why_has("does not begin with an epoch"));
}
END_TEST

START_TEST(epochs_may_be_left_out) {
    world_batch(&w, 2);
    append_zxid(LOG_EPOCH, zxid_make(7, 0));
    append_zxid(LOG_TXN, zxid_make(7, 1));
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.read, 4);
}
END_TEST

START_TEST(a_mark_that_does_not_fit_its_records_is_refused) {
    world_batch(&w, 2);
    struct wal_mark mark = {.last_zxid = zxid_make(1, 9)};
    struct buf b = BUF_INIT;
    struct log_record r = {
        .kind = LOG_TXN, .zxid = zxid_make(1, 2), .payload = {(const uint8_t *)"x", 1}};
    log_record_encode(&b, &r);
    forge(WAL_MAGIC_RECORD, b.data, b.len, &mark);
    buf_close(&b);
    refused(-EBADMSG);
    ck_assert(why_has("persist mark"));
}
END_TEST

START_TEST(a_newer_format_is_refused_and_not_touched) {
    world_batch(&w, 2);
    size_t size = 0;
    const char *path = world_segment(&w, 0);
    struct wal_header h;
    uint64_t identity = 0;
    uint8_t bytes[WAL_HEADER_BYTES];
    memcpy(bytes, mem_files_bytes(w.files, path, &size), sizeof bytes);
    ck_assert_int_eq(wal_header_decode(bytes, &h, &identity), 0);
    h.version = WAL_VERSION + 1;
    wal_header_encode(&h, bytes);
    mem_files_put(w.files, path, 0, bytes, sizeof bytes);
    refused(-EPROTONOSUPPORT);
    ck_assert(why_has("newer format"));
    mem_files_cut(w.files, world_segment(&w, 0), WAL_HEADER_BYTES);
    refused(-EPROTONOSUPPORT);
    ck_assert_ptr_nonnull(mem_files_bytes(w.files, path, &size));
}
END_TEST

static void many_segments(void) {
    w.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 60; i++)
        world_batch(&w, 4);
    world_store_close(&w);
}

START_TEST(a_missing_segment_is_refused_by_its_name) {
    many_segments();
    for (size_t i = 0; i < 4; i++) {
        struct world c;
        world_clone(&w, &c);
        char *path = mem_files_last(c.files, DIR, "log.", i);
        mem_files_remove(c.files, path);
        ck_assert_int_eq(world_open(&c), -EBADMSG);
        ck_assert(world_named_place(&c));
        ck_assert_ptr_nonnull(memmem(c.why.data, c.why.len, path, strlen(path)));
        mem_free(path);
        world_close(&c);
    }
}
END_TEST

/* A segment's header is durable before the seal that names it. */
START_TEST(a_last_segment_that_lost_its_header_and_all_else_is_refused) {
    static const uint8_t zeros[1 << 16];
    w.segment_bytes = 600;
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    for (int i = 0; i < 6; i++)
        world_batch(&w, 3);
    size_t size = 0;
    (void)mem_files_bytes(w.files, world_segment(&w, 0), &size);
    ck_assert_uint_lt(size, sizeof zeros);
    mem_files_put(w.files, world_segment(&w, 0), 0, zeros, size);
    refused(-EBADMSG);
    ck_assert(why_has("header is gone"));
    mem_files_cut(w.files, world_segment(&w, 0), 0);
    refused(-EBADMSG);
}
END_TEST

/* What is torn there was acknowledged: the promise says that the log has had a record. */
START_TEST(a_log_of_whose_segments_nothing_but_a_header_is_left_is_refused) {
    w.segment_bytes = 600;
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    char *second = NULL;
    for (; second == NULL; second = mem_files_last(w.files, DIR, "log.", 1))
        world_batch(&w, 1);
    mem_files_cut(w.files, second, WAL_HEADER_BYTES + 20);
    mem_free(second);
    mem_files_cut(w.files, world_segment(&w, 0), 0);
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), -EBADMSG);
    ck_assert(why_has("the log is lost"));
}
END_TEST

START_TEST(a_missing_first_segment_is_refused) {
    many_segments();
    char name[WAL_NAME_BYTES];
    wal_segment_name(w.zxids[0], name);
    char *path = store_file_path(DIR, name);
    mem_files_remove(w.files, path);
    mem_free(path);
    refused(-EBADMSG);
    ck_assert(why_has("before this one is missing"));
}
END_TEST

START_TEST(a_segment_under_another_name_is_refused) {
    many_segments();
    char *path = mem_files_last(w.files, DIR, "log.", 0);
    mem_files_move(w.files, path, DIR "/log.0000000100009999");
    mem_free(path);
    refused(-EBADMSG);
}
END_TEST

START_TEST(the_only_segment_under_another_name_is_refused) {
    world_batch(&w, 3);
    world_store_close(&w);
    mem_files_move(w.files, DIR "/log.0000000100000000", DIR "/log.0000000200000000");
    refused(-EBADMSG);
    ck_assert(why_has("another name"));
}
END_TEST

START_TEST(a_segment_whose_first_record_is_not_the_one_of_its_name_is_refused) {
    world_promise(&w, 1);
    struct wal_header h = {.version = WAL_VERSION, .first_zxid = zxid_make(1, 0)};
    uint8_t bytes[WAL_HEADER_BYTES];
    uint64_t identity = wal_header_encode(&h, bytes);
    struct log_record r = {.kind = LOG_EPOCH, .zxid = zxid_make(2, 0), .payload = SLICE_NULL};
    struct buf b = BUF_INIT;
    size_t at = wal_frame_begin(&b, WAL_MAGIC_RECORD);
    log_record_encode(&b, &r);
    wal_frame_end(&b, at);
    wal_frame_stamp(b.data, b.len, identity, WAL_HEADER_BYTES);
    const struct env_files *e = mem_files_env(w.files);
    const char *path = DIR "/log.0000000100000000";
    e->close(e->ctx, e->open(e->ctx, path, O_RDWR | O_CREAT, 0600));
    mem_files_put(w.files, path, 0, bytes, sizeof bytes);
    mem_files_put(w.files, path, WAL_HEADER_BYTES, b.data, b.len);
    buf_close(&b);
    refused(-EBADMSG);
    ck_assert(why_has("named after"));
}
END_TEST

START_TEST(a_segment_of_another_log_is_refused) {
    many_segments();
    struct world other;
    world_init(&other);
    other.segment_bytes = 4096;
    other.salt = 8000;
    ck_assert_int_eq(world_open(&other), 0);
    for (int i = 0; i < 60; i++)
        world_batch(&other, 4);
    char *path = mem_files_last(w.files, DIR, "log.", 2);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(other.files, path, &size);
    ck_assert_ptr_nonnull(p);
    mem_files_put(w.files, path, 0, p, size);
    mem_free(path);
    world_close(&other);
    refused(-EBADMSG);
    ck_assert(why_has("not the one that it continues"));
}
END_TEST

START_TEST(other_files_in_the_directory_are_left_alone) {
    world_batch(&w, 3);
    const struct env_files *e = mem_files_env(w.files);
    const char *names[] = {DIR "/log.1", DIR "/log.0000000100000000.bak", DIR "/snapshot.3",
                           DIR "/log.00000001000000ZZ"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        e->close(e->ctx, e->open(e->ctx, names[i], O_RDWR | O_CREAT, 0600));
    reopen();
    ck_assert_uint_eq(w.read, 3);
}
END_TEST

START_TEST(an_error_while_opening_says_what_failed_and_leaves_the_log) {
    world_batch(&w, 3);
    w.segment_bytes = 4096;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        world_store_close(&w);
        mem_files_kill(w.files);
        mem_files_fault(w.files, n, MEM_FAULT_ERROR, -EMFILE);
        int err = world_open(&w);
        failed = mem_files_fault_happened(w.files);
        if (err < 0) {
            ck_assert_int_eq(err, -EMFILE);
            ck_assert_uint_gt(w.why.len, 0);
        }
    }
    ck_assert_ptr_nonnull(w.store);
    world_check_history(&w);
    ck_assert_uint_eq(w.read, 3);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("wal_refuse");
    TCase *t = tcase_create("wal_refuse");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_record_that_cannot_be_decoded_is_refused);
    tcase_add_test(t, a_gap_in_the_zxids_is_refused);
    tcase_add_test(t, a_repeated_zxid_is_refused);
    tcase_add_test(t, an_epoch_without_its_record_is_refused);
    tcase_add_test(t, an_epoch_that_began_before_is_refused);
    tcase_add_test(t, an_epochs_record_with_a_counter_is_refused);
    tcase_add_test(t, a_log_that_does_not_begin_with_an_epoch_is_refused);
    tcase_add_test(t, epochs_may_be_left_out);
    tcase_add_test(t, a_mark_that_does_not_fit_its_records_is_refused);
    tcase_add_test(t, a_newer_format_is_refused_and_not_touched);
    tcase_add_test(t, a_missing_segment_is_refused_by_its_name);
    tcase_add_test(t, a_last_segment_that_lost_its_header_and_all_else_is_refused);
    tcase_add_test(t, a_log_of_whose_segments_nothing_but_a_header_is_left_is_refused);
    tcase_add_test(t, a_missing_first_segment_is_refused);
    tcase_add_test(t, a_segment_under_another_name_is_refused);
    tcase_add_test(t, the_only_segment_under_another_name_is_refused);
    tcase_add_test(t, a_segment_whose_first_record_is_not_the_one_of_its_name_is_refused);
    tcase_add_test(t, a_segment_of_another_log_is_refused);
    tcase_add_test(t, other_files_in_the_directory_are_left_alone);
    tcase_add_test(t, an_error_while_opening_says_what_failed_and_leaves_the_log);
    suite_add_tcase(s, t);
    return s;
}
