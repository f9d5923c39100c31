/* The files beside the log damaged, missing, or from another version: a start has all that was
 * acknowledged, or refuses with the file's name and touches nothing. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/store_file.h"
#include "replica/store/wal_format.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define EPOCH_1 MODEL_DIR "/epoch.1"
#define EPOCH_2 MODEL_DIR "/epoch.2"
#define CUT MODEL_DIR "/cut"
#define SNAPSHOT MODEL_DIR "/snapshot.0000000100000005"

static struct model m;

static void setup(void) {
    model_init(&m);
    ck_assert_int_eq(model_open(&m), 0);
}

static void teardown(void) { model_close(&m); }

static void sync_now(struct model *c) { ck_assert_int_eq(model_sync(c), 0); }

static void begin_epoch(struct model *c, uint32_t e) {
    model_save_epoch(c, e);
    model_append(c, true);
    sync_now(c);
}

static void append(struct model *c, size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(c, false);
    sync_now(c);
}

static bool why_has(const struct model *c, const char *text) {
    return memmem(c->why.data, c->why.len, text, strlen(text)) != NULL;
}

/* A copy of what a path holds; NULL when it is not there. */
static uint8_t *copy_of(const struct model *c, const char *path, size_t *ret_size) {
    *ret_size = 0;
    const uint8_t *p = mem_files_bytes(c->files, path, ret_size);
    return p == NULL ? NULL : mem_dup(p, *ret_size);
}

static const char *const paths[] = {
    EPOCH_1, EPOCH_2, CUT, SNAPSHOT, MODEL_DIR "/snapshot.next", MODEL_DIR "/log.0000000100000000"};
#define PATHS (sizeof paths / sizeof paths[0])

/* A start that is refused, with this in its message, and changes no file. */
static void refused(struct model *c, int expected, const char *text) {
    uint8_t *before[PATHS];
    size_t sizes[PATHS];
    for (size_t i = 0; i < PATHS; i++)
        before[i] = copy_of(c, paths[i], &sizes[i]);
    ck_assert_int_eq(model_open(c), expected);
    ck_assert_ptr_null(c->store);
    ck_assert(why_has(c, text));
    for (size_t i = 0; i < PATHS; i++) {
        size_t size = 0;
        const uint8_t *p = mem_files_bytes(c->files, paths[i], &size);
        ck_assert_int_eq(p != NULL, before[i] != NULL);
        ck_assert_uint_eq(size, sizes[i]);
        ck_assert(size == 0 || memcmp(p, before[i], size) == 0);
        mem_free(before[i]);
    }
}

static void accepted(struct model *c) {
    ck_assert_int_eq(model_open(c), 0);
    ck_assert(model_accept(c));
}

static size_t bits_of(const struct model *c, const char *path) {
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(c->files, path, &size));
    return size * 8;
}

/* Encodes a whole block of a newer version over the one that is there. */
static void make_newer(struct model *c, const char *path, size_t size) {
    size_t there = 0;
    uint8_t bytes[64];
    memcpy(bytes, mem_files_bytes(c->files, path, &there), size);
    bytes[11]++;
    uint64_t checksum = __builtin_bswap64(XXH3_64bits(bytes, sizeof bytes - 8));
    memcpy(bytes + sizeof bytes - 8, &checksum, sizeof checksum);
    mem_files_put(c->files, path, 0, bytes, size);
}

/* ---- the promise ---- */

static void promised(void) {
    begin_epoch(&m, 1);
    append(&m, 2);
    model_save_epoch(&m, 9);
    sync_now(&m);
    model_store_close(&m);
}

START_TEST(one_copy_of_the_promise_may_be_damaged_in_any_bit) {
    promised();
    for (int i = 0; i < 2; i++) {
        const char *path = i == 0 ? EPOCH_1 : EPOCH_2;
        for (uint64_t bit = 0; bit < bits_of(&m, path); bit++) {
            struct model *c = model_clone(&m);
            mem_files_flip_bit(c->files, path, bit);
            ck_assert_int_eq(model_open(c), 0);
            ck_assert(model_accept(c));
            ck_assert(why_has(c, path));
            ck_assert(why_has(c, "was damaged"));
            /* Both are whole again. */
            model_store_close(c);
            mem_files_power_cut(c->files, MEM_CUT_LOSE, 0);
            mem_files_remove(c->files, i == 0 ? EPOCH_2 : EPOCH_1);
            accepted(c);
            ck_assert_uint_eq(c->why.len, 0);
            model_free(c);
        }
    }
}
END_TEST

START_TEST(one_copy_of_the_promise_may_have_any_length) {
    promised();
    for (size_t size = 0; size < STORE_FILE_BYTES; size += 7) {
        struct model *c = model_clone(&m);
        mem_files_cut(c->files, EPOCH_2, size);
        accepted(c);
        model_free(c);
    }
    mem_files_put(m.files, EPOCH_1, 100, "x", 1);
    accepted(&m);
}
END_TEST

START_TEST(without_a_whole_copy_of_the_promise_nothing_starts) {
    promised();
    mem_files_flip_bit(m.files, EPOCH_1, 200);
    struct model *c = model_clone(&m);
    mem_files_flip_bit(c->files, EPOCH_2, 300);
    refused(c, -EBADMSG, "epoch.1 and epoch.2: no whole copy");
    mem_files_remove(c->files, EPOCH_2);
    refused(c, -EBADMSG, "epoch.1 and epoch.2: no whole copy");
    model_free(c);
}
END_TEST

START_TEST(a_history_without_its_promise_is_refused) {
    promised();
    mem_files_remove(m.files, EPOCH_1);
    mem_files_remove(m.files, EPOCH_2);
    refused(&m, -EBADMSG, "both are missing");
}
END_TEST

START_TEST(a_snapshot_without_its_promise_is_refused) {
    begin_epoch(&m, 1);
    model_snapshot(&m, 1, zxid_make(1, 5), zxid_make(1, 5));
    sync_now(&m);
    model_store_close(&m);
    mem_files_remove(m.files, EPOCH_1);
    mem_files_remove(m.files, EPOCH_2);
    refused(&m, -EBADMSG, "both are missing");
}
END_TEST

START_TEST(a_promise_of_a_newer_version_is_refused) {
    promised();
    make_newer(&m, EPOCH_2, STORE_FILE_BYTES);
    refused(&m, -EPROTONOSUPPORT, "newer format");
}
END_TEST

/* ---- a log of the version before ---- */

static void put_file(const char *path, const struct buf *b) {
    const struct env_files *e = mem_files_env(m.files);
    e->close(e->ctx, e->open(e->ctx, path, O_RDWR | O_CREAT, 0600));
    mem_files_put(m.files, path, 0, b->data, b->len);
}

/* A segment of an older version: an epoch and two transactions, without a `committed`. */
static void put_older_log(uint32_t version) {
    model_store_close(&m);
    struct wal_header h = {.version = version, .first_zxid = zxid_make(4, 0), .salt = 3};
    uint8_t header[WAL_HEADER_BYTES];
    uint64_t identity = wal_header_encode(&h, header);
    struct buf b = BUF_INIT;
    buf_put(&b, header, sizeof header);
    for (uint32_t i = 0; i < 3; i++) {
        struct log_record r = {.kind = i == 0 ? LOG_EPOCH : LOG_TXN,
                               .zxid = zxid_make(4, i),
                               .payload = {(const uint8_t *)"old", i == 0 ? -1 : 3}};
        size_t at = wal_frame_begin(&b, WAL_MAGIC_RECORD);
        log_record_encode(&b, &r);
        wal_frame_end(&b, at);
        wal_frame_stamp(b.data + at, b.len - at, identity, at);
    }
    size_t at = b.len;
    struct wal_mark mark = {
        .offset = at, .batch_start = WAL_HEADER_BYTES, .last_zxid = zxid_make(4, 2)};
    wal_mark_append(&b, &mark);
    wal_frame_stamp(b.data + at, b.len - at, identity, at);
    put_file(MODEL_DIR "/log.0000000400000000", &b);
    buf_close(&b);
}

static void put_old_log(void) { put_older_log(1); }

struct heard {
    uint32_t epoch;
    size_t records;
    zxid_t committed;
};

static void hear_epoch(void *ctx, uint32_t epoch) { ((struct heard *)ctx)->epoch = epoch; }

static void hear_record(void *ctx, const struct log_record *r) {
    struct heard *h = ctx;
    h->records++;
    h->committed = r->committed;
}

static struct heard hear(void) {
    struct heard h = {0};
    struct wal_config config = {.dir = MODEL_DIR, .salt = 8};
    struct store_reader reader = {.ctx = &h, .epoch = hear_epoch, .record = hear_record};
    ck_assert_int_eq(store_open(mem_files_env(m.files), &config, &reader, &m.store, &m.why), 0);
    return h;
}

START_TEST(a_log_of_version_1_promises_its_last_epoch_and_says_nothing_of_commits) {
    put_old_log();
    struct heard h = hear();
    ck_assert_uint_eq(h.epoch, 4);
    ck_assert_uint_eq(h.records, 3);
    ck_assert_int_eq(h.committed, 0);
}
END_TEST

static int run_store(void) {
    store_sync_begin(m.store);
    int err = store_sync_run(m.store);
    struct store_done done;
    store_sync_end(m.store, &done);
    return err;
}

START_TEST(nothing_is_added_to_a_segment_of_an_older_version) {
    store_save_epoch(m.store, 4); /* version 1 had no promises yet */
    ck_assert_int_eq(run_store(), 0);
    put_older_log((uint32_t)_i);
    hear();
    size_t before = 0, after = 0;
    uint8_t *bytes = copy_of(&m, MODEL_DIR "/log.0000000400000000", &before);
    store_save_epoch(m.store, 5);
    struct log_record r = {
        .kind = LOG_EPOCH, .zxid = zxid_make(5, 0), .payload = SLICE_NULL, .committed = 77};
    store_append(m.store, &r);
    ck_assert_int_eq(run_store(), 0);
    const uint8_t *p = mem_files_bytes(m.files, MODEL_DIR "/log.0000000400000000", &after);
    /* But for its seal. */
    ck_assert_uint_eq(after, before + WAL_MARK_BYTES);
    ck_assert_mem_eq(p, bytes, before);
    mem_free(bytes);
    model_store_close(&m);
    struct heard h = hear();
    ck_assert_uint_eq(h.records, 4);
    ck_assert_uint_eq(h.epoch, 5);
    ck_assert_int_eq(h.committed, 77);
}
END_TEST

START_TEST(a_log_of_version_1_is_cut_and_goes_on) {
    put_old_log();
    hear();
    store_save_epoch(m.store, 6);
    store_truncate(m.store, zxid_make(4, 1));
    struct log_record r = {.kind = LOG_EPOCH, .zxid = zxid_make(6, 0), .payload = SLICE_NULL};
    store_append(m.store, &r);
    store_sync_begin(m.store);
    ck_assert_int_eq(store_sync_run(m.store), 0);
    struct store_done done;
    store_sync_end(m.store, &done);
    model_store_close(&m);
    ck_assert_uint_eq(hear().records, 3);
}
END_TEST

/* ---- a cut that was decided on ---- */

/* A truncation whose file is durable, and nothing else is done: the power goes at the first call
 * behind which that is so. */
static void decided(void) {
    size_t size = 0;
    for (uint64_t n = 1; mem_files_bytes(m.files, CUT, &size) == NULL; n++) {
        model_close(&m);
        model_init(&m);
        ck_assert_int_eq(model_open(&m), 0);
        begin_epoch(&m, 1);
        append(&m, 5);
        append(&m, 5);
        model_truncate(&m, zxid_make(1, 3));
        mem_files_fault(m.files, n, MEM_FAULT_CUT_AFTER, 0);
        ck_assert_int_lt(model_sync(&m), 0);
        model_store_close(&m);
        mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
    }
}

START_TEST(a_cut_that_was_decided_on_is_carried_out_by_the_next_start) {
    decided();
    accepted(&m);
    ck_assert_uint_eq(m.states[0].count, 4);
    size_t size = 0;
    ck_assert_ptr_null(mem_files_bytes(m.files, CUT, &size));
}
END_TEST

START_TEST(a_damaged_cut_is_refused_in_any_bit) {
    decided();
    for (uint64_t bit = 0; bit < bits_of(&m, CUT); bit += 3) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, CUT, bit);
        refused(c, -EBADMSG, CUT);
        model_free(c);
    }
}
END_TEST

START_TEST(damage_before_a_cut_is_refused_and_behind_it_nobody_looks) {
    decided();
    struct store_dir dir = {.files = mem_files_env(m.files), .path = MODEL_DIR};
    struct store_file cut;
    ck_assert_int_eq(store_file_read(&dir, "cut", "zkfs-cut", &cut), 0);
    const char *log = MODEL_DIR "/log.0000000100000000";
    for (uint64_t at = 0; at < bits_of(&m, log) / 8; at += 5) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, log, at * 8);
        if (at < cut.words[2])
            refused(c, -EBADMSG, log);
        else
            accepted(c);
        model_free(c);
    }
    /* The last record that stays reads as zeros: an end, but not where the cut is. */
    struct model *c = model_clone(&m);
    static const uint8_t zeros[512];
    size_t n = sizeof zeros < cut.words[2] - 150 ? sizeof zeros : (size_t)cut.words[2] - 150;
    for (size_t size = 16; size < n; size += 16) {
        model_free(c);
        c = model_clone(&m);
        mem_files_put(c->files, log, cut.words[2] - size, zeros, size);
        refused(c, -EBADMSG, log);
    }
    model_free(c);
    c = model_clone(&m);
    mem_files_cut(c->files, log, (size_t)cut.words[2] - 1);
    refused(c, -EBADMSG, log);
    mem_files_remove(c->files, log);
    refused(c, -EBADMSG, log);
    model_free(c);
}
END_TEST

/* ---- a snapshot ---- */

static void installed(void) {
    begin_epoch(&m, 1);
    m.ids = 1;
    model_snapshot(&m, 3, zxid_make(1, 5), zxid_make(1, 6));
    append(&m, 2);
    model_store_close(&m);
}

START_TEST(a_snapshot_damaged_in_any_bit_is_refused) {
    installed();
    for (uint64_t bit = 0; bit < bits_of(&m, SNAPSHOT); bit++) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, SNAPSHOT, bit);
        refused(c, -EBADMSG, SNAPSHOT ": offset ");
        model_free(c);
    }
}
END_TEST

START_TEST(a_snapshot_cut_at_any_byte_or_too_long_is_refused) {
    installed();
    for (size_t size = 0; size < bits_of(&m, SNAPSHOT) / 8; size++) {
        struct model *c = model_clone(&m);
        mem_files_cut(c->files, SNAPSHOT, size);
        refused(c, -EBADMSG, SNAPSHOT ": offset ");
        model_free(c);
    }
    mem_files_put(m.files, SNAPSHOT, bits_of(&m, SNAPSHOT) / 8, "\0", 1);
    refused(&m, -EBADMSG, SNAPSHOT ": offset ");
}
END_TEST

START_TEST(a_snapshot_of_a_newer_version_is_refused) {
    installed();
    make_newer(&m, SNAPSHOT, STORE_FILE_BYTES);
    refused(&m, -EPROTONOSUPPORT, "newer format");
}
END_TEST

START_TEST(a_log_behind_a_snapshot_that_is_missing_is_refused) {
    installed();
    mem_files_remove(m.files, SNAPSHOT);
    refused(&m, -EBADMSG, "is missing");
}
END_TEST

START_TEST(a_log_behind_another_snapshot_is_refused) {
    installed();
    size_t size = 0;
    uint8_t *old = copy_of(&m, SNAPSHOT, &size);
    accepted(&m);
    m.ids = 1;
    model_snapshot(&m, 3, zxid_make(1, 5), zxid_make(1, 6));
    append(&m, 2);
    model_store_close(&m);
    mem_files_put(m.files, SNAPSHOT, 0, old, size);
    mem_free(old);
    refused(&m, -EBADMSG, "not the one that it continues");
}
END_TEST

START_TEST(damage_behind_a_snapshot_is_refused) {
    installed();
    mem_files_flip_bit(m.files, MODEL_DIR "/log.0000000100000006", 70 * 8);
    refused(&m, -EBADMSG, "log.0000000100000006: offset 64");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_damage");
    TCase *t = tcase_create("store_damage");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_copy_of_the_promise_may_be_damaged_in_any_bit);
    tcase_add_test(t, one_copy_of_the_promise_may_have_any_length);
    tcase_add_test(t, without_a_whole_copy_of_the_promise_nothing_starts);
    tcase_add_test(t, a_history_without_its_promise_is_refused);
    tcase_add_test(t, a_snapshot_without_its_promise_is_refused);
    tcase_add_test(t, a_promise_of_a_newer_version_is_refused);
    tcase_add_test(t, a_log_of_version_1_promises_its_last_epoch_and_says_nothing_of_commits);
    tcase_add_loop_test(t, nothing_is_added_to_a_segment_of_an_older_version, 1, WAL_VERSION);
    tcase_add_test(t, a_log_of_version_1_is_cut_and_goes_on);
    tcase_add_test(t, a_cut_that_was_decided_on_is_carried_out_by_the_next_start);
    tcase_add_test(t, a_damaged_cut_is_refused_in_any_bit);
    tcase_add_test(t, damage_before_a_cut_is_refused_and_behind_it_nobody_looks);
    tcase_add_test(t, a_snapshot_damaged_in_any_bit_is_refused);
    tcase_add_test(t, a_snapshot_cut_at_any_byte_or_too_long_is_refused);
    tcase_add_test(t, a_snapshot_of_a_newer_version_is_refused);
    tcase_add_test(t, a_log_behind_a_snapshot_that_is_missing_is_refused);
    tcase_add_test(t, a_log_behind_another_snapshot_is_refused);
    tcase_add_test(t, damage_behind_a_snapshot_is_refused);
    suite_add_tcase(s, t);
    return s;
}
