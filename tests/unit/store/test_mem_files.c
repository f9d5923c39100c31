/* The disk in memory is only worth its tests when it loses what a disk may lose. */
#include "tests/lib/mem_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "tests/lib/unit.h"

static struct mem_files *f;
static const struct env_files *e;

static void setup(void) {
    f = mem_files_new();
    e = mem_files_env(f);
}

static void teardown(void) { mem_files_free(f); }

static int make(const char *path) { return e->open(e->ctx, path, O_RDWR | O_CREAT, 0600); }

static size_t size_of(const char *path) {
    size_t size = 0;
    return mem_files_bytes(f, path, &size) == NULL ? SIZE_MAX : size;
}

START_TEST(a_power_cut_loses_what_was_not_synced) {
    int fd = make("/a");
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    ck_assert_int_eq(e->sync(e->ctx, fd), 0);
    ck_assert_int_eq(e->sync_dir(e->ctx, "/"), 0);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "two", 3, 3), 0);
    mem_files_power_cut(f, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(size_of("/a"), 3);
    ck_assert_int_eq(e->close(e->ctx, fd), -EBADF);
}
END_TEST

START_TEST(a_power_cut_may_keep_everything) {
    int fd = make("/a");
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    mem_files_power_cut(f, MEM_CUT_KEEP, 0);
    ck_assert_uint_eq(size_of("/a"), 3);
}
END_TEST

START_TEST(a_file_whose_name_was_not_synced_is_lost_with_its_bytes) {
    int fd = make("/a");
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    ck_assert_int_eq(e->sync(e->ctx, fd), 0);
    mem_files_power_cut(f, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(size_of("/a"), SIZE_MAX);
}
END_TEST

START_TEST(a_process_that_dies_loses_nothing_but_its_locks) {
    int fd = make("/a");
    ck_assert_int_eq(e->lock(e->ctx, fd), 0);
    int other = make("/a");
    ck_assert_int_eq(e->lock(e->ctx, other), -EAGAIN);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    mem_files_kill(f);
    ck_assert_uint_eq(size_of("/a"), 3);
    ck_assert_int_eq(e->lock(e->ctx, make("/a")), 0);
}
END_TEST

START_TEST(a_torn_write_keeps_some_sectors_and_never_half_a_sector) {
    uint8_t ones[8 * 512];
    memset(ones, 1, sizeof ones);
    bool saw_hole = false;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct mem_files *g = mem_files_new();
        const struct env_files *ge = mem_files_env(g);
        int fd = ge->open(ge->ctx, "/a", O_RDWR | O_CREAT, 0600);
        uint8_t zeros[sizeof ones] = {0};
        ck_assert_int_eq(ge->pwrite(ge->ctx, fd, zeros, sizeof zeros, 0), 0);
        ck_assert_int_eq(ge->sync(ge->ctx, fd), 0);
        ck_assert_int_eq(ge->sync_dir(ge->ctx, "/"), 0);
        ck_assert_int_eq(ge->pwrite(ge->ctx, fd, ones, sizeof ones, 0), 0);
        mem_files_power_cut(g, MEM_CUT_TEAR, seed);
        size_t size = 0;
        const uint8_t *p = mem_files_bytes(g, "/a", &size);
        ck_assert_uint_eq(size, sizeof ones);
        for (size_t i = 0; i < size; i++)
            ck_assert_uint_eq(p[i], p[i / 512 * 512]);
        saw_hole = saw_hole || (p[0] == 0 && p[512] == 1);
        mem_files_free(g);
    }
    ck_assert(saw_hole);
}
END_TEST

START_TEST(a_failed_sync_forgets_what_it_had_to_write) {
    int fd = make("/a");
    ck_assert_int_eq(e->sync_dir(e->ctx, "/"), 0);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    mem_files_fault(f, 1, MEM_FAULT_ERROR, -EIO);
    ck_assert_int_eq(e->datasync(e->ctx, fd), -EIO);
    ck_assert_int_eq(e->datasync(e->ctx, fd), 0);
    ck_assert_uint_eq(size_of("/a"), 3);
    mem_files_power_cut(f, MEM_CUT_LOSE, 0);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(f, "/a", &size);
    ck_assert_uint_eq(size, 3);
    ck_assert_uint_eq(p[0], 0);
}
END_TEST

START_TEST(the_power_goes_before_or_after_the_nth_call) {
    int fd = make("/a");
    ck_assert_int_eq(e->sync_dir(e->ctx, "/"), 0);
    mem_files_fault(f, 2, MEM_FAULT_CUT_AFTER, 0);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "one", 3, 0), 0);
    ck_assert_int_eq(e->sync(e->ctx, fd), -EIO);
    ck_assert(mem_files_fault_happened(f));
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "two", 3, 0), -EIO);
    mem_files_power_cut(f, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(size_of("/a"), 3);
    fd = make("/a");
    mem_files_fault(f, 1, MEM_FAULT_CUT_BEFORE, 0);
    ck_assert_int_eq(e->truncate(e->ctx, fd, 0), -EIO);
    mem_files_power_cut(f, MEM_CUT_KEEP, 0);
    ck_assert_uint_eq(size_of("/a"), 3);
}
END_TEST

START_TEST(a_renamed_file_has_one_name_after_any_power_cut) {
    for (uint64_t seed = 0; seed < 32; seed++) {
        struct mem_files *g = mem_files_new();
        const struct env_files *ge = mem_files_env(g);
        ge->close(ge->ctx, ge->open(ge->ctx, "/a", O_RDWR | O_CREAT, 0600));
        ck_assert_int_eq(ge->sync_dir(ge->ctx, "/"), 0);
        ck_assert_int_eq(ge->rename(ge->ctx, "/a", "/b"), 0);
        mem_files_power_cut(g, MEM_CUT_TEAR, seed);
        size_t size = 0;
        bool a = mem_files_bytes(g, "/a", &size) != NULL || size != 0;
        int fa = ge->open(ge->ctx, "/a", O_RDWR, 0);
        int fb = ge->open(ge->ctx, "/b", O_RDWR, 0);
        ck_assert_int_eq((fa >= 0) + (fb >= 0), 1);
        ck_assert(!a || fa >= 0);
        mem_files_free(g);
    }
}
END_TEST

START_TEST(a_synced_file_is_lost_with_a_directory_that_was_not) {
    ck_assert_int_eq(e->mkdir(e->ctx, "/d", 0700), 0);
    int fd = make("/d/x");
    ck_assert_int_eq(e->sync(e->ctx, fd), 0);
    ck_assert_int_eq(e->sync_dir(e->ctx, "/d"), 0);
    struct mem_files *g = mem_files_clone(f);
    mem_files_power_cut(g, MEM_CUT_LOSE, 0);
    size_t size = 0;
    ck_assert_ptr_null(mem_files_bytes(g, "/d/x", &size));
    mem_files_free(g);
    ck_assert_int_eq(e->sync_dir(e->ctx, "/"), 0);
    mem_files_power_cut(f, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(size_of("/d/x"), 0);
}
END_TEST

START_TEST(truncated_bytes_read_as_zeros_when_the_file_grows_again) {
    int fd = make("/a");
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "abcdef", 6, 0), 0);
    ck_assert_int_eq(e->truncate(e->ctx, fd, 2), 0);
    ck_assert_int_eq(e->truncate(e->ctx, fd, 6), 0);
    char p[8];
    ck_assert_int_eq(e->pread(e->ctx, fd, p, sizeof p, 0), 6);
    ck_assert_int_eq(memcmp(p, "ab\0\0\0\0", 6), 0);
    ck_assert_int_eq(e->size(e->ctx, fd), 6);
}
END_TEST

static void count_names(void *arg, const char *name) {
    int *n = arg;
    *n += strcmp(name, "x") == 0 || strcmp(name, "y") == 0 ? 1 : 100;
}

START_TEST(a_listing_has_the_names_of_one_directory) {
    ck_assert_int_eq(e->open(e->ctx, "/d/x", O_RDWR | O_CREAT, 0600), -ENOENT);
    ck_assert_int_eq(e->mkdir(e->ctx, "/d", 0700), 0);
    ck_assert_int_eq(e->mkdir(e->ctx, "/d", 0700), -EEXIST);
    make("/d/x");
    make("/d/y");
    make("/d/z");
    make("/x");
    ck_assert_int_eq(e->unlink(e->ctx, "/d/z"), 0);
    int n = 0;
    ck_assert_int_eq(e->list(e->ctx, "/d", count_names, &n), 0);
    ck_assert_int_eq(n, 2);
}
END_TEST

START_TEST(a_write_that_finds_no_room_does_nothing_or_a_part) {
    int fd = make("/a");
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "abcd", 4, 0), 0);
    *mem_files_room(f) = (struct mem_room){.capacity = 6};
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "efgh", 4, 4), -ENOSPC);
    ck_assert_uint_eq(size_of("/a"), 4);
    mem_files_room(f)->half = true;
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "cdefgh", 6, 2), -ENOSPC);
    ck_assert_uint_eq(size_of("/a"), 6);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "ABCDEF", 6, 0), 0);
    ck_assert_int_eq(make("/b"), -ENOSPC);
    ck_assert_int_eq(e->unlink(e->ctx, "/a"), 0);
    ck_assert_int_ge(make("/b"), 0);
}
END_TEST

START_TEST(from_the_nth_call_on_there_is_no_room) {
    int fd = make("/a");
    *mem_files_room(f) = (struct mem_room){.before = 1, .none = 2};
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "a", 1, 0), 0);
    ck_assert(!mem_files_room(f)->refused);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "a", 1, 0), -ENOSPC);
    ck_assert_int_eq(e->sync(e->ctx, fd), 0);
    ck_assert_int_eq(e->rename(e->ctx, "/a", "/b"), -ENOSPC);
    ck_assert(mem_files_room(f)->refused);
    ck_assert_int_eq(e->rename(e->ctx, "/a", "/b"), 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("mem_files");
    TCase *t = tcase_create("mem_files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_power_cut_loses_what_was_not_synced);
    tcase_add_test(t, a_power_cut_may_keep_everything);
    tcase_add_test(t, a_file_whose_name_was_not_synced_is_lost_with_its_bytes);
    tcase_add_test(t, a_process_that_dies_loses_nothing_but_its_locks);
    tcase_add_test(t, a_torn_write_keeps_some_sectors_and_never_half_a_sector);
    tcase_add_test(t, a_failed_sync_forgets_what_it_had_to_write);
    tcase_add_test(t, the_power_goes_before_or_after_the_nth_call);
    tcase_add_test(t, a_renamed_file_has_one_name_after_any_power_cut);
    tcase_add_test(t, a_synced_file_is_lost_with_a_directory_that_was_not);
    tcase_add_test(t, truncated_bytes_read_as_zeros_when_the_file_grows_again);
    tcase_add_test(t, a_listing_has_the_names_of_one_directory);
    tcase_add_test(t, a_write_that_finds_no_room_does_nothing_or_a_part);
    tcase_add_test(t, from_the_nth_call_on_there_is_no_room);
    suite_add_tcase(s, t);
    return s;
}
