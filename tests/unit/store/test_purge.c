/* Files that nobody needs are removed in order, however large they are, and whenever the power
 * goes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/purge.h"
#include "replica/store/snap_file.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

#define FILES 4

static const char *const names[FILES] = {"a", "b", "c", "d"};
/* Two of them are given back in pieces. */
static const size_t sizes[FILES] = {100, 9 << 20, 4 << 20, (4 << 20) + 1};

static struct mem_files *files;

static struct store_dir dir_of(struct mem_files *f) {
    return (struct store_dir){.files = mem_files_env(f), .path = "/d"};
}

static void setup(void) {
    files = mem_files_new();
    struct store_dir d = dir_of(files);
    uint8_t *zeros = mem_zalloc(sizes[1]);
    ck_assert_int_eq(d.files->mkdir(d.files->ctx, "/d", 0700), 0);
    for (size_t i = 0; i < FILES; i++) {
        int fd = store_file_open(&d, names[i], O_RDWR | O_CREAT);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(d.files->pwrite(d.files->ctx, fd, zeros, sizes[i], 0), 0);
        ck_assert_int_eq(d.files->sync(d.files->ctx, fd), 0);
        ck_assert_int_eq(d.files->close(d.files->ctx, fd), 0);
    }
    ck_assert_int_eq(store_file_sync_dir(&d), 0);
    ck_assert_int_eq(d.files->sync_dir(d.files->ctx, "/"), 0);
    mem_free(zeros);
}

static void teardown(void) { mem_files_free(files); }

static int purge_reusing(struct mem_files *f, const char *reused) {
    struct store_dir d = dir_of(f);
    struct buf list = BUF_INIT;
    for (size_t i = 0; i < FILES; i++)
        purge_add(&list, names[i]);
    int err = purge_run(&d, &list, reused, "next");
    buf_close(&list);
    return err;
}

static int purge(struct mem_files *f) { return purge_reusing(f, NULL); }

/* How many are gone, from the first on. What is there is whole, and everything behind it, too. */
static size_t gone(const struct mem_files *f) {
    size_t count = 0;
    for (size_t i = 0; i < FILES; i++) {
        char path[8] = "/d/";
        size_t size = 0;
        strcat(path, names[i]);
        const uint8_t *p = mem_files_bytes(f, path, &size);
        if (p == NULL) {
            ck_assert_uint_eq(count, i);
            count++;
        } else {
            ck_assert_uint_eq(size, sizes[i]);
        }
    }
    return count;
}

START_TEST(all_are_gone_durably_and_those_that_were_not_there_do_not_matter) {
    ck_assert_int_eq(purge(files), 0);
    ck_assert_uint_eq(gone(files), FILES);
    mem_files_power_cut(files, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(gone(files), FILES);
    ck_assert_int_eq(purge(files), 0);
}
END_TEST

START_TEST(a_large_one_whose_blocks_are_used_again_has_another_name_and_is_whole) {
    size_t size = 0;
    ck_assert_int_eq(purge_reusing(files, "b"), 0);
    ck_assert_uint_eq(gone(files), FILES);
    mem_files_power_cut(files, MEM_CUT_LOSE, 0);
    ck_assert_ptr_nonnull(mem_files_bytes(files, "/d/next", &size));
    ck_assert_uint_eq(size, sizes[1]);
}
END_TEST

/* A backup of hard links. */
START_TEST(a_file_that_has_another_name_only_loses_this_one) {
    for (int reuse = 0; reuse < 2; reuse++) {
        size_t size = 0;
        struct mem_files *f = mem_files_clone(files);
        mem_files_link(f, "/d/b", "/d/kept");
        ck_assert_int_eq(purge_reusing(f, reuse ? "b" : NULL), 0);
        ck_assert_uint_eq(gone(f), FILES);
        ck_assert_ptr_null(mem_files_bytes(f, "/d/next", &size));
        ck_assert_ptr_nonnull(mem_files_bytes(f, "/d/kept", &size));
        ck_assert_uint_eq(size, sizes[1]);
        mem_files_free(f);
    }
}
END_TEST

static int (*unlink_of)(void *ctx, const char *path);
static int (*rename_of)(void *ctx, const char *from, const char *to);

/* It is linked at the last moment. */
static int link_and_unlink(void *ctx, const char *path) {
    if (strcmp(path, "/d/b") == 0)
        mem_files_link(ctx, path, "/d/kept");
    return unlink_of(ctx, path);
}

START_TEST(nor_is_one_touched_that_gets_another_name_meanwhile) {
    size_t size = 0;
    struct env_files env = *mem_files_env(files);
    struct store_dir d = {.files = &env, .path = "/d"};
    struct buf list = BUF_INIT;
    unlink_of = env.unlink;
    env.unlink = link_and_unlink;
    purge_add(&list, "b");
    ck_assert_int_eq(purge_run(&d, &list, NULL, NULL), 0);
    ck_assert_ptr_nonnull(mem_files_bytes(files, "/d/kept", &size));
    ck_assert_uint_eq(size, sizes[1]);
    buf_close(&list);
}
END_TEST

static int lose_and_rename(void *ctx, const char *from, const char *to) {
    mem_files_remove(ctx, from);
    return rename_of(ctx, from, to);
}

/* An installation removes all that was there before. */
START_TEST(one_that_goes_before_it_can_be_used_again_does_not_matter) {
    struct env_files env = *mem_files_env(files);
    struct store_dir d = {.files = &env, .path = "/d"};
    struct buf list = BUF_INIT;
    rename_of = env.rename;
    env.rename = lose_and_rename;
    purge_add(&list, "b");
    ck_assert_int_eq(purge_run(&d, &list, "b", "next"), 0);
    buf_close(&list);
}
END_TEST

/* A checkpoint is written over the blocks of an older one, but not over somebody else's. */
START_TEST(a_checkpoint_is_not_written_over_a_file_with_another_name) {
    size_t size = 0;
    struct store_dir d = dir_of(files);
    struct snap_writer w = {.fd = -1};
    mem_files_link(files, "/d/b", "/d/kept");
    ck_assert_int_eq(snap_writer_begin(&w, &d, "b", 1, SNAP_BESIDE), 0);
    ck_assert_int_eq(snap_writer_chunk(&w, &d, (struct slice){(const uint8_t *)"piece", 5}), 0);
    snap_writer_close(&w, &d);
    const uint8_t *p = mem_files_bytes(files, "/d/kept", &size);
    ck_assert_uint_eq(size, sizes[1]);
    for (size_t i = 0; i < 200; i++)
        ck_assert_int_eq(p[i], 0);
    (void)mem_files_bytes(files, "/d/b", &size);
    ck_assert_uint_lt(size, 1000);
}
END_TEST

START_TEST(a_small_one_is_not_worth_that) {
    size_t size = 0;
    ck_assert_int_eq(purge_reusing(files, "a"), 0);
    ck_assert_uint_eq(gone(files), FILES);
    ck_assert_ptr_null(mem_files_bytes(files, "/d/next", &size));
}
END_TEST

START_TEST(the_power_goes_at_any_call_and_what_is_left_is_whole_and_the_newest) {
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        struct mem_files *f = mem_files_clone(files);
        mem_files_fault(f, n, MEM_FAULT_CUT_AFTER, 0);
        int err = purge_reusing(f, n % 3 ? "d" : NULL);
        happened = mem_files_fault_happened(f);
        ck_assert(happened || err == 0);
        mem_files_power_cut(f, n % 2 ? MEM_CUT_TEAR : MEM_CUT_LOSE, n);
        ck_assert(err < 0 || gone(f) == FILES);
        (void)gone(f);
        mem_files_free(f);
    }
}
END_TEST

START_TEST(a_name_that_cannot_be_removed_is_an_error_and_so_is_a_folder_that_cannot_be_synced) {
    int errors = 0;
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        struct mem_files *f = mem_files_clone(files);
        mem_files_fault(f, n, MEM_FAULT_ERROR, -EIO);
        int err = purge(f);
        errors += err == -EIO;
        happened = mem_files_fault_happened(f);
        ck_assert(err == 0 || err == -EIO);
        mem_files_free(f);
    }
    ck_assert_int_eq(errors, FILES + 1);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("purge");
    TCase *t = tcase_create("purge");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, all_are_gone_durably_and_those_that_were_not_there_do_not_matter);
    tcase_add_test(t, a_large_one_whose_blocks_are_used_again_has_another_name_and_is_whole);
    tcase_add_test(t, a_small_one_is_not_worth_that);
    tcase_add_test(t, a_file_that_has_another_name_only_loses_this_one);
    tcase_add_test(t, nor_is_one_touched_that_gets_another_name_meanwhile);
    tcase_add_test(t, one_that_goes_before_it_can_be_used_again_does_not_matter);
    tcase_add_test(t, a_checkpoint_is_not_written_over_a_file_with_another_name);
    tcase_add_test(t, the_power_goes_at_any_call_and_what_is_left_is_whole_and_the_newest);
    tcase_add_test(
        t, a_name_that_cannot_be_removed_is_an_error_and_so_is_a_folder_that_cannot_be_synced);
    suite_add_tcase(s, t);
    return s;
}
