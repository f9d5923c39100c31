/* A checkpoint that is written over the file of an older one: what is read is the new one, whole,
 * or there is none. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/snap_file.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

#define NAME "snapshot.0000000100000007"
#define OLD_BYTES (9u << 20)

static struct mem_files *files;

static struct store_dir dir_of(struct mem_files *f) {
    return (struct store_dir){.files = mem_files_env(f), .path = "/d"};
}

/* An older snapshot under the name of one that is being written, as a purge leaves it. */
static void setup(void) {
    files = mem_files_new();
    struct store_dir d = dir_of(files);
    ck_assert_int_eq(d.files->mkdir(d.files->ctx, "/d", 0700), 0);
    struct snap_writer w = {.fd = -1};
    struct snap_base base;
    uint8_t *bytes = mem_zalloc(OLD_BYTES);
    memset(bytes, 'o', OLD_BYTES);
    ck_assert_int_eq(snap_writer_begin(&w, &d, "older", 1, SNAP_BESIDE), 0);
    ck_assert_int_eq(snap_writer_chunk(&w, &d, (struct slice){bytes, OLD_BYTES}), 0);
    ck_assert_int_eq(snap_writer_end(&w, &d, SNAP_FILE_TMP, 3, 3, &base), 0);
    ck_assert_int_eq(d.files->sync_dir(d.files->ctx, "/"), 0);
    mem_free(bytes);
}

static void teardown(void) { mem_files_free(files); }

/* Writes one of three pieces; 0 or negative errno. */
static int write_new(struct mem_files *f, size_t piece_bytes, struct snap_base *ret_base) {
    struct store_dir d = dir_of(f);
    struct snap_writer w = {.fd = -1};
    uint8_t *bytes = mem_zalloc(piece_bytes + 1);
    memset(bytes, 'n', piece_bytes);
    int err = snap_writer_begin(&w, &d, SNAP_FILE_TMP, 2, SNAP_BESIDE);
    for (int i = 0; i < 3 && err == 0; i++)
        err = snap_writer_chunk(&w, &d, (struct slice){bytes, (int32_t)piece_bytes});
    if (err == 0)
        err = snap_writer_end(&w, &d, NAME, 7, 7, ret_base);
    snap_writer_close(&w, &d);
    mem_free(bytes);
    return err;
}

static bool is_new(void *ctx, struct slice piece) {
    size_t *pieces = ctx;
    int32_t same = 0;
    while (same < piece.len && piece.p[same] == 'n')
        same++;
    ck_assert_int_eq(same, piece.len);
    ++*pieces;
    return true;
}

/* 0, or -ENOENT when there is none of that name. */
static int read_new(struct mem_files *f, struct snap_base *ret_base) {
    struct store_dir d = dir_of(f);
    struct buf why = BUF_INIT;
    size_t pieces = 0;
    int err = snap_file_read(&d, NAME, is_new, &pieces, ret_base, &why);
    ck_assert_msg(err == 0 || err == -ENOENT, "%.*s", (int)why.len, (const char *)why.data);
    ck_assert_uint_eq(pieces, err == 0 ? 3 : 0);
    buf_close(&why);
    return err;
}

START_TEST(one_that_is_shorter_ends_where_it_ends) {
    struct snap_base wrote, got;
    size_t size = 0;
    ck_assert_int_eq(write_new(files, 1000, &wrote), 0);
    ck_assert_int_eq(read_new(files, &got), 0);
    ck_assert_uint_eq(got.size_bytes, wrote.size_bytes);
    ck_assert_uint_eq(got.checksum, wrote.checksum);
    ck_assert_ptr_nonnull(mem_files_bytes(files, "/d/" NAME, &size));
    ck_assert_uint_eq(size, wrote.size_bytes);
}
END_TEST

START_TEST(one_that_is_longer_is_none_the_worse) {
    struct snap_base wrote, got;
    ck_assert_int_eq(write_new(files, 4 << 20, &wrote), 0);
    ck_assert_int_eq(read_new(files, &got), 0);
    ck_assert_uint_eq(got.size_bytes, wrote.size_bytes);
}
END_TEST

START_TEST(the_power_goes_at_any_call_and_it_is_there_as_a_whole_or_not_at_all) {
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        struct mem_files *f = mem_files_clone(files);
        struct snap_base wrote, got;
        mem_files_fault(f, n, MEM_FAULT_CUT_AFTER, 0);
        int err = write_new(f, 100000, &wrote);
        happened = mem_files_fault_happened(f);
        mem_files_power_cut(f, MEM_CUT_TEAR, n);
        ck_assert(read_new(f, &got) == 0 || err < 0);
        mem_files_free(f);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("snap_over");
    TCase *t = tcase_create("snap_over");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_that_is_shorter_ends_where_it_ends);
    tcase_add_test(t, one_that_is_longer_is_none_the_worse);
    tcase_add_test(t, the_power_goes_at_any_call_and_it_is_there_as_a_whole_or_not_at_all);
    suite_add_tcase(s, t);
    return s;
}
