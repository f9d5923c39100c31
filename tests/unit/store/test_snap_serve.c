/* Snapshots that other servers ask for, piece by piece. */
#include "common/mem.h"
#include "replica/store/snap_serve.h"
#include "replica/store/store_file.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define Z(counter) zxid_make(1, counter)

static struct model m;

static void setup(void) {
    model_init(&m);
    m.segment_bytes = 700;
    ck_assert_int_eq(model_open(&m), 0);
}

static void teardown(void) { model_close(&m); }

static void reopen(void) {
    model_store_close(&m);
    ck_assert_int_eq(model_open(&m), 0);
    ck_assert(model_accept(&m));
}

/* Of 10 * n records behind that of the epoch, in several segments. */
static void history(size_t n) {
    model_save_epoch(&m, 1);
    model_append(&m, true);
    ck_assert_int_eq(model_sync(&m), 0);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 10; k++)
            model_append(&m, false);
        ck_assert_int_eq(model_sync(&m), 0);
    }
}

static void checkpoint(zxid_t zxid) { ck_assert_int_eq(model_checkpoint(&m, zxid), 0); }

static size_t count_files(const char *prefix) {
    size_t n = 0;
    for (char *path = NULL; (path = mem_files_last(m.files, MODEL_DIR, prefix, n)) != NULL; n++)
        mem_free(path);
    return n;
}

static zxid_t ask_for(zxid_t begun) {
    struct snap_base base = {0};
    struct buf out = BUF_INIT;
    int found = store_snapshot_read(m.store, begun, 0, 100, &base, &out);
    ck_assert_int_ge(found, 0);
    ck_assert(found == 0 || base.kind == SNAP_BESIDE);
    ck_assert_uint_eq(out.len, found ? 100 : 0);
    buf_close(&out);
    return found ? base.begun : 0;
}

START_TEST(a_snapshot_stays_while_it_is_asked_for_and_the_log_behind_it) {
    m.snap_retain = 1;
    reopen();
    history(6);
    checkpoint(Z(15));
    ck_assert_int_eq(ask_for(0), Z(15));
    checkpoint(Z(35));
    ck_assert_int_eq(ask_for(Z(15)), Z(15));
    ck_assert_int_eq(ask_for(Z(35)), Z(35));
    checkpoint(Z(45));
    /* One more than are to stay. */
    ck_assert_uint_eq(count_files("snapshot"), 2);
    ck_assert_int_le(m.log_base, Z(15));
    ck_assert_int_eq(ask_for(Z(15)), Z(15));
    checkpoint(Z(47));
    checkpoint(Z(55));
    ck_assert_uint_eq(count_files("snapshot"), 1);
    ck_assert_int_gt(m.log_base, Z(15));
    ck_assert_int_eq(ask_for(Z(15)), 0);
    reopen();
}
END_TEST

START_TEST(where_the_newest_is_damaged_the_one_before_it_is_given) {
    history(3);
    checkpoint(Z(15));
    checkpoint(Z(25));
    ck_assert_int_eq(ask_for(0), Z(25));
    for (int end = 0; end < 2; end++) {
        size_t size = 0;
        char *path = store_file_path(MODEL_DIR, "snapshot.0000000100000019");
        (void)mem_files_bytes(m.files, path, &size);
        uint64_t bit = end ? (size - 3) * 8 : 70;
        mem_files_flip_bit(m.files, path, bit);
        ck_assert_int_eq(ask_for(0), Z(15));
        ck_assert_int_eq(ask_for(Z(25)), 0);
        mem_files_flip_bit(m.files, path, bit);
        mem_free(path);
    }
    ck_assert_int_eq(ask_for(0), Z(25));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("snap_serve");
    TCase *t = tcase_create("snap_serve");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_snapshot_stays_while_it_is_asked_for_and_the_log_behind_it);
    tcase_add_test(t, where_the_newest_is_damaged_the_one_before_it_is_given);
    suite_add_tcase(s, t);
    return s;
}
