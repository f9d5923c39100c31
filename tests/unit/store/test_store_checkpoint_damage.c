/* Snapshots damaged, missing, too new, or of the format before: a start passes over what is damaged
 * where something older is whole, has the same history then, and refuses the rest untouched. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/snap_file.h"
#include "replica/store/wal_format.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define Z(counter) zxid_make(1, counter)
#define OLDER MODEL_DIR "/snapshot.000000010000000c"
#define NEWEST MODEL_DIR "/snapshot.0000000100000019"
#define FILES_MAX 24

static struct model m;

static void setup(void) {
    model_init(&m);
    m.segment_bytes = 700;
    m.snap_retain = 2;
    ck_assert_int_eq(model_open(&m), 0);
}

static void teardown(void) { model_close(&m); }

static void append(size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(&m, false);
    ck_assert_int_eq(model_sync(&m), 0);
}

static void begin(void) {
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    model_save_epoch(&m, 1);
    model_append(&m, true);
    ck_assert_int_eq(model_sync(&m), 0);
    append(10);
    append(10);
}

static void checkpoint(zxid_t zxid) {
    model_next_is_short(&m);
    ck_assert_int_eq(model_checkpoint(&m, zxid), 0);
}

/* Two checkpoints, and a log that reaches back to the beginning, or to the older one. */
static void history(bool purged) {
    m.snap_retain = purged ? 2 : 3;
    begin();
    checkpoint(Z(12));
    append(10);
    checkpoint(Z(25));
    append(10);
    ck_assert_int_eq(m.log_base > 0, purged);
    model_store_close(&m);
    m.may_reset = true;
}

static bool why_has(const struct model *c, const char *text) {
    return memmem(c->why.data, c->why.len, text, strlen(text)) != NULL;
}

static size_t size_of(const struct model *c, const char *path) {
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(c->files, path, &size));
    return size;
}

static bool there(const struct model *c, const char *path) {
    size_t size = 0;
    return mem_files_bytes(c->files, path, &size) != NULL;
}

/* A start with the history, from the checkpoint of `begun`, behind so many that it passed over; */
static void passed_over(struct model *c, zxid_t begun, size_t count, const char *text) {
    ck_assert_int_eq(model_open(c), 0);
    ck_assert(model_accept(c));
    ck_assert_int_eq(c->read.begun, begun);
    ck_assert_uint_eq(c->resets, count);
    ck_assert(why_has(c, text));
    ck_assert(why_has(c, "passed over"));
}

static void not_met_again(struct model *c) {
    model_store_close(c);
    mem_files_power_cut(c->files, MEM_CUT_LOSE, 0);
    ck_assert_int_eq(model_open(c), 0);
    ck_assert(model_accept(c));
    ck_assert_uint_eq(c->resets, 0);
    ck_assert_uint_eq(c->why.len, 0);
}

/* A start that is refused, with this in its message, and changes no file. */
static void refused(struct model *c, int expected, const char *text) {
    struct model *before = model_clone(c);
    ck_assert_int_eq(model_open(c), expected);
    ck_assert_ptr_null(c->store);
    ck_assert(why_has(c, text));
    for (size_t i = 0; i < FILES_MAX; i++) {
        char *path = mem_files_last(before->files, MODEL_DIR, "", i);
        char *now = mem_files_last(c->files, MODEL_DIR, "", i);
        ck_assert_int_eq(path == NULL, now == NULL);
        if (path == NULL)
            break;
        size_t size = size_of(before, path);
        ck_assert_str_eq(path, now);
        ck_assert_uint_eq(size, size_of(c, path));
        ck_assert(size == 0 || memcmp(mem_files_bytes(before->files, path, &size),
                                      mem_files_bytes(c->files, path, &size), size) == 0);
        mem_free(path);
        mem_free(now);
    }
    model_free(before);
}

/* ---- the newest is damaged ---- */

START_TEST(the_newest_may_be_damaged_in_any_bit) {
    history(true);
    for (uint64_t bit = 0; bit < size_of(&m, NEWEST) * 8; bit++) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, NEWEST, bit);
        passed_over(c, Z(12), 1, NEWEST ": offset ");
        ck_assert(!there(c, NEWEST));
        if (bit % 50 == 0)
            not_met_again(c);
        model_free(c);
    }
}
END_TEST

START_TEST(the_newest_may_be_cut_at_any_byte_or_be_too_long) {
    history(true);
    for (size_t size = 0; size < size_of(&m, NEWEST); size++) {
        struct model *c = model_clone(&m);
        mem_files_cut(c->files, NEWEST, size);
        passed_over(c, Z(12), 1, NEWEST ": offset ");
        model_free(c);
    }
    mem_files_put(m.files, NEWEST, size_of(&m, NEWEST), "\0", 1);
    passed_over(&m, Z(12), 1, NEWEST ": offset ");
}
END_TEST

START_TEST(what_stands_where_the_newest_should_may_be_anything) {
    history(true);
    struct model *c = model_clone(&m);
    static uint8_t zeros[4096];
    ck_assert_uint_lt(size_of(c, NEWEST), sizeof zeros);
    mem_files_put(c->files, NEWEST, 0, zeros, size_of(c, NEWEST));
    passed_over(c, Z(12), 1, NEWEST ": offset 0");
    model_free(c);
    mem_files_remove(m.files, NEWEST);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_int_eq(m.read.begun, Z(12));
}
END_TEST

START_TEST(the_older_one_may_be_damaged_and_nobody_looks) {
    history(true);
    mem_files_flip_bit(m.files, OLDER, 777);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_int_eq(m.read.begun, Z(25));
}
END_TEST

START_TEST(with_all_of_them_damaged_a_whole_log_is_read_from_its_beginning) {
    history(false);
    mem_files_flip_bit(m.files, NEWEST, 900);
    mem_files_flip_bit(m.files, OLDER, 800);
    passed_over(&m, 0, 2, OLDER ": offset ");
    not_met_again(&m);
    ck_assert_uint_eq(m.read.count, 41);
    append(3);
    checkpoint(Z(43));
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_int_eq(m.read.begun, Z(43));
}
END_TEST

START_TEST(what_the_core_refuses_is_passed_over_as_well) {
    history(false);
    m.refuse_piece = true;
    struct model *c = model_clone(&m);
    passed_over(c, 0, 2, "cannot be loaded");
    model_free(c);
    m.refuse_piece = false;
    m.refuse_snap = true;
    passed_over(&m, 0, 2, "cannot be loaded");
}
END_TEST

/* At every call of a start that passes over one, and of the one after it. */
START_TEST(a_start_that_passes_over_one_may_end_anywhere) {
    bool happened = true;
    history(true);
    mem_files_flip_bit(m.files, NEWEST, 900);
    for (uint64_t n = 1; happened; n++) {
        struct model *c = model_clone(&m);
        mem_files_fault(c->files, n, n % 2 == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER, 0);
        int err = model_open(c);
        happened = mem_files_fault_happened(c->files);
        ck_assert(err == 0 || happened);
        model_store_close(c);
        mem_files_power_cut(c->files, MEM_CUT_TEAR, n);
        ck_assert_int_eq(model_open(c), 0);
        ck_assert(model_accept(c));
        ck_assert_int_eq(c->read.begun, Z(12));
        model_free(c);
    }
}
END_TEST

/* ---- refused ---- */

START_TEST(without_a_whole_one_a_log_that_was_purged_is_refused) {
    history(true);
    mem_files_flip_bit(m.files, NEWEST, 900);
    mem_files_flip_bit(m.files, OLDER, 800);
    refused(&m, -EBADMSG, "the segment before this one is missing");
    ck_assert(why_has(&m, NEWEST));
    ck_assert(why_has(&m, OLDER));
    mem_files_remove(m.files, NEWEST);
    mem_files_remove(m.files, OLDER);
    refused(&m, -EBADMSG, "the segment before this one is missing");
}
END_TEST

START_TEST(an_installed_snapshot_that_is_damaged_is_refused_with_nothing_behind_it) {
    begin();
    m.ids = 1;
    model_snapshot(&m, 2, Z(50), Z(50));
    ck_assert_int_eq(model_sync(&m), 0);
    model_store_close(&m);
    mem_files_flip_bit(m.files, MODEL_DIR "/snapshot.0000000100000032", 900);
    refused(&m, -EBADMSG, "snapshot.0000000100000032: offset ");
}
END_TEST

/* The directory has an older copy of the log. */
START_TEST(a_log_that_ends_before_the_snapshot_is_refused) {
    begin();
    struct model *shorter = model_clone(&m);
    append(10);
    checkpoint(Z(25));
    size_t size = size_of(&m, NEWEST);
    const struct env_files *e = mem_files_env(shorter->files);
    e->close(e->ctx, e->open(e->ctx, NEWEST, O_RDWR | O_CREAT, 0600));
    mem_files_put(shorter->files, NEWEST, 0, mem_files_bytes(m.files, NEWEST, &size), size);
    refused(shorter, -EBADMSG, "the log ends before the snapshot does");
    mem_files_flip_bit(shorter->files, NEWEST, 600); /* its name says that the log was longer */
    refused(shorter, -EBADMSG, "the log ends before the snapshot does");
    model_free(shorter);
}
END_TEST

/* All segments but so many at the end. */
static void lose_log(struct model *c, size_t but) {
    for (char *path = NULL; (path = mem_files_last(c->files, MODEL_DIR, "log.", but)) != NULL;) {
        mem_files_remove(c->files, path);
        mem_free(path);
    }
}

START_TEST(a_checkpoint_without_a_log_is_refused) {
    history(true);
    struct model *c = model_clone(&m);
    lose_log(c, 0);
    refused(c, -EBADMSG, NEWEST ": a log stood behind this snapshot, and no log is there");
    mem_files_remove(c->files, OLDER);
    refused(c, -EBADMSG, "--restore");
    model_free(c);
    /* A segment that never held anything is none. */
    lose_log(&m, 1);
    char *last = mem_files_last(m.files, MODEL_DIR, "log.", 0);
    mem_files_cut(m.files, last, 0);
    mem_free(last);
    refused(&m, -EBADMSG, "no log is there");
}
END_TEST

START_TEST(an_installed_snapshot_needs_no_log) {
    begin();
    model_snapshot(&m, 3, Z(60), Z(60));
    ck_assert_int_eq(model_sync(&m), 0);
    model_store_close(&m);
    ck_assert(!there(&m, MODEL_DIR "/log.0000000100000000"));
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    ck_assert_int_eq(m.read.begun, Z(60));
}
END_TEST

START_TEST(a_segment_missing_behind_the_oldest_is_refused) {
    history(true);
    size_t count = 0;
    char *path = NULL;
    while ((path = mem_files_last(m.files, MODEL_DIR, "log.", count)) != NULL) {
        mem_free(path);
        count++;
    }
    ck_assert_uint_gt(count, 2);
    for (size_t i = 1; i < count; i++) {
        struct model *c = model_clone(&m);
        path = mem_files_last(c->files, MODEL_DIR, "log.", i);
        mem_files_remove(c->files, path);
        mem_files_remove(c->files, NEWEST);
        refused(c, -EBADMSG, "is missing");
        mem_free(path);
        model_free(c);
    }
}
END_TEST

START_TEST(a_snapshot_under_the_name_of_another_is_refused) {
    history(true);
    mem_files_move(m.files, NEWEST, MODEL_DIR "/snapshot.000000010000001a");
    refused(&m, -EBADMSG, "is one of another name");
}
END_TEST

START_TEST(the_newest_of_a_newer_version_is_refused_and_not_passed_over) {
    history(true);
    size_t size = 0;
    uint8_t head[STORE_FILE_BYTES];
    memcpy(head, mem_files_bytes(m.files, NEWEST, &size), sizeof head);
    head[11]++;
    uint64_t checksum = __builtin_bswap64(XXH3_64bits(head, sizeof head - 8));
    memcpy(head + sizeof head - 8, &checksum, sizeof checksum);
    mem_files_put(m.files, NEWEST, 0, head, sizeof head);
    refused(&m, -EPROTONOSUPPORT, "newer format");
}
END_TEST

/* ---- the format before ---- */

static void put_frame(struct buf *b, const char *magic, const struct buf *body, uint64_t identity) {
    size_t at = wal_frame_begin(b, (uint32_t)magic[0] << 24 | (uint32_t)magic[1] << 16 |
                                       (uint32_t)magic[2] << 8 | (uint32_t)magic[3]);
    buf_put(b, body->data, body->len);
    wal_frame_end(b, at);
    wal_frame_stamp(b->data + at, b->len - at, identity, at);
}

/* The snapshot `id` of two pieces, as version 1 wrote it: its head says nothing of a kind, and its
 * name no zxid. */
static void put_old(uint32_t id, zxid_t begun, zxid_t ended) {
    static const uint8_t zeros[32];
    struct buf b = BUF_INIT;
    struct buf body = BUF_INIT;
    buf_put(&b, "zkfs-snp", 8);
    buf_put_u32be(&b, 1);
    buf_put_u32be(&b, STORE_FILE_BYTES);
    buf_put_u64be(&b, 4711);
    buf_put(&b, zeros, sizeof zeros);
    uint64_t identity = XXH3_64bits(b.data, b.len);
    buf_put_u64be(&b, identity);
    for (size_t i = 0; i < 2; i++) {
        model_piece(&body, id, i);
        put_frame(&b, "zkSp", &body, identity);
    }
    buf_reset(&body);
    buf_put_u64be(&body, (uint64_t)begun);
    buf_put_u64be(&body, (uint64_t)ended);
    buf_put_u64be(&body, 2);
    put_frame(&b, "zkSe", &body, identity);
    const struct env_files *e = mem_files_env(m.files);
    e->close(e->ctx, e->open(e->ctx, MODEL_DIR "/snapshot", O_RDWR | O_CREAT, 0600));
    e->sync_dir(e->ctx, MODEL_DIR);
    mem_files_put(m.files, MODEL_DIR "/snapshot", 0, b.data, b.len);
    buf_close(&body);
    buf_close(&b);
}

/* An installed snapshot with nothing behind it, made into one of the format before. */
static void of_version_1(void) {
    begin();
    model_next_is_short(&m);
    model_snapshot(&m, 2, Z(50), Z(53));
    ck_assert_int_eq(model_sync(&m), 0);
    model_store_close(&m);
    mem_files_remove(m.files, MODEL_DIR "/snapshot.0000000100000032");
    put_old(m.states[0].snap, Z(50), Z(53));
}

START_TEST(a_snapshot_of_version_1_is_read_and_gets_a_name_like_the_others) {
    of_version_1();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(model_open(&m), 0);
        ck_assert(model_accept(&m));
        ck_assert(!there(&m, MODEL_DIR "/snapshot"));
        ck_assert(there(&m, MODEL_DIR "/snapshot.0000000100000032"));
        append(4);
        model_store_close(&m);
        mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
    }
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
    checkpoint(Z(58));
    checkpoint(Z(60));
    checkpoint(Z(61));
    ck_assert(!there(&m, MODEL_DIR "/snapshot.0000000100000032"));
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
}
END_TEST

START_TEST(the_start_that_gives_it_its_name_may_end_anywhere) {
    bool happened = true;
    of_version_1();
    for (uint64_t n = 1; happened; n++) {
        struct model *c = model_clone(&m);
        mem_files_fault(c->files, n, n % 2 == 0 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER, 0);
        int err = model_open(c);
        happened = mem_files_fault_happened(c->files);
        ck_assert(err == 0 || happened);
        model_store_close(c);
        mem_files_power_cut(c->files, MEM_CUT_TEAR, n);
        ck_assert_int_eq(model_open(c), 0);
        ck_assert(model_accept(c));
        model_free(c);
    }
}
END_TEST

START_TEST(a_snapshot_of_version_1_that_is_damaged_in_any_bit_is_refused) {
    of_version_1();
    for (uint64_t bit = 0; bit < size_of(&m, MODEL_DIR "/snapshot") * 8; bit += 3) {
        struct model *c = model_clone(&m);
        mem_files_flip_bit(c->files, MODEL_DIR "/snapshot", bit);
        refused(c, -EBADMSG, MODEL_DIR "/snapshot: offset ");
        model_free(c);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_checkpoint_damage");
    TCase *t = tcase_create("store_checkpoint_damage");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, the_newest_may_be_damaged_in_any_bit);
    tcase_add_test(t, the_newest_may_be_cut_at_any_byte_or_be_too_long);
    tcase_add_test(t, what_stands_where_the_newest_should_may_be_anything);
    tcase_add_test(t, the_older_one_may_be_damaged_and_nobody_looks);
    tcase_add_test(t, with_all_of_them_damaged_a_whole_log_is_read_from_its_beginning);
    tcase_add_test(t, what_the_core_refuses_is_passed_over_as_well);
    tcase_add_test(t, a_start_that_passes_over_one_may_end_anywhere);
    tcase_add_test(t, without_a_whole_one_a_log_that_was_purged_is_refused);
    tcase_add_test(t, an_installed_snapshot_that_is_damaged_is_refused_with_nothing_behind_it);
    tcase_add_test(t, a_log_that_ends_before_the_snapshot_is_refused);
    tcase_add_test(t, a_checkpoint_without_a_log_is_refused);
    tcase_add_test(t, an_installed_snapshot_needs_no_log);
    tcase_add_test(t, a_segment_missing_behind_the_oldest_is_refused);
    tcase_add_test(t, a_snapshot_under_the_name_of_another_is_refused);
    tcase_add_test(t, the_newest_of_a_newer_version_is_refused_and_not_passed_over);
    tcase_add_test(t, a_snapshot_of_version_1_is_read_and_gets_a_name_like_the_others);
    tcase_add_test(t, the_start_that_gives_it_its_name_may_end_anywhere);
    tcase_add_test(t, a_snapshot_of_version_1_that_is_damaged_in_any_bit_is_refused);
    suite_add_tcase(s, t);
    return s;
}
