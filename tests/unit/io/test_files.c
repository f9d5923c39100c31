#include "replica/io/files_posix.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct env_files *files = &files_posix;
static char dir[256], path[512], other[512];

static void setup(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/zkfs-test-files-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(other, sizeof other, "%s/other", dir);
}

static void remove_name(void *arg, const char *name) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", dir, name);
    remove(full);
}

static void teardown(void) {
    files->list(NULL, dir, remove_name, NULL);
    rmdir(dir);
}

static int open_new(void) {
    int fd = files->open(NULL, path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(what_is_written_is_read_at_its_offset) {
    int fd = open_new();
    char got[8] = {0};
    ck_assert_int_eq(files->pwrite(NULL, fd, "abcdef", 6, 10), 0);
    ck_assert_int_eq(files->pread(NULL, fd, got, 3, 12), 3);
    ck_assert_str_eq(got, "cde");
    ck_assert_int_eq(files->size(NULL, fd), 16);
    ck_assert_int_eq(files->datasync(NULL, fd), 0);
    ck_assert_int_eq(files->sync(NULL, fd), 0);
    ck_assert_int_eq(files->close(NULL, fd), 0);
}
END_TEST

START_TEST(a_read_stops_short_only_at_the_end) {
    int fd = open_new();
    char got[8];
    ck_assert_int_eq(files->pwrite(NULL, fd, "abcd", 4, 0), 0);
    ck_assert_int_eq(files->pread(NULL, fd, got, sizeof got, 1), 3);
    ck_assert_int_eq(files->pread(NULL, fd, got, sizeof got, 4), 0);
    ck_assert_int_eq(files->truncate(NULL, fd, 2), 0);
    ck_assert_int_eq(files->pread(NULL, fd, got, sizeof got, 0), 2);
    files->close(NULL, fd);
}
END_TEST

START_TEST(errors_are_negative_errno) {
    char got[1];
    struct env_files f = *files;
    ck_assert_int_eq(f.open(NULL, "/nowhere/x", O_RDONLY, 0), -ENOENT);
    ck_assert_int_eq(f.close(NULL, -1), -EBADF);
    ck_assert_int_eq(f.pread(NULL, -1, got, 1, 0), -EBADF);
    ck_assert_int_eq(f.pwrite(NULL, -1, got, 1, 0), -EBADF);
    ck_assert_int_eq(f.datasync(NULL, -1), -EBADF);
    ck_assert_int_eq(f.sync(NULL, -1), -EBADF);
    ck_assert_int_eq(f.truncate(NULL, -1, 0), -EBADF);
    ck_assert_int_eq(f.size(NULL, -1), -EBADF);
    ck_assert_int_eq(f.rename(NULL, "/nowhere/x", "/nowhere/y"), -ENOENT);
    ck_assert_int_eq(f.unlink(NULL, "/nowhere/x"), -ENOENT);
    ck_assert_int_eq(f.mkdir(NULL, dir, 0700), -EEXIST);
    ck_assert_int_eq(f.sync_dir(NULL, "/nowhere"), -ENOENT);
    ck_assert_int_eq(f.list(NULL, "/nowhere", remove_name, NULL), -ENOENT);
    ck_assert_int_eq(f.lock(NULL, -1), -EBADF);
}
END_TEST

/* Beyond the limit of a file's size a write is cut in the middle; the rest must give the error. */
START_TEST(a_write_that_is_cut_is_an_error_and_no_success) {
    struct rlimit size = {100, RLIM_INFINITY};
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    int fd = open_new();
    char block[200] = {0};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &size), 0);
    int rc = files->pwrite(NULL, fd, block, sizeof block, 0);
    /* check writes its own results to a file. */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    ck_assert_int_eq(rc, -EFBIG);
    ck_assert_int_eq(files->size(NULL, fd), 100);
    files->close(NULL, fd);
}
END_TEST

START_TEST(a_rename_replaces_and_an_unlink_removes) {
    files->close(NULL, open_new());
    ck_assert_int_eq(files->rename(NULL, path, other), 0);
    ck_assert_int_eq(files->sync_dir(NULL, dir), 0);
    ck_assert_int_eq(files->open(NULL, path, O_RDONLY, 0), -ENOENT);
    ck_assert_int_eq(files->unlink(NULL, other), 0);
    ck_assert_int_eq(files->open(NULL, other, O_RDONLY, 0), -ENOENT);
}
END_TEST

static void count_name(void *arg, const char *name) {
    ck_assert(name[0] != '.');
    ++*(int *)arg;
}

START_TEST(a_listing_leaves_the_dots_out) {
    int count = 0;
    files->close(NULL, open_new());
    ck_assert_int_eq(files->mkdir(NULL, other, 0700), 0);
    ck_assert_int_eq(files->list(NULL, dir, count_name, &count), 0);
    ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(a_file_has_as_many_names_as_were_given_to_it) {
    int fd = open_new();
    ck_assert_int_eq(files->links(NULL, fd), 1);
    ck_assert_int_eq(link(path, other), 0);
    ck_assert_int_eq(files->links(NULL, fd), 2);
    files->unlink(NULL, path);
    files->unlink(NULL, other);
    ck_assert_int_eq(files->links(NULL, fd), 0);
    files->close(NULL, fd);
    ck_assert_int_eq(files->links(NULL, fd), -EBADF);
}
END_TEST

/* What this process writes to its log from now on. */
static int log_reader(void) {
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_NONBLOCK), 0);
    ck_assert_int_eq(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
    close(pair[1]);
    return pair[0];
}

static bool logged(int reader, const char *text) {
    char line[4096];
    ssize_t n = read(reader, line, sizeof line - 1);
    line[n > 0 ? n : 0] = '\0';
    return strstr(line, text) != NULL;
}

START_TEST(what_failed_is_named_in_the_log) {
    int pair[2];
    int fd = open_new();
    int reader = log_reader();
    ck_assert_int_eq(pipe(pair), 0);
    (void)files->write_back(NULL, -1, 0, 1);
    ck_assert(logged(reader, "sync_file_range has failed file="));
    (void)files->size(NULL, -1);
    ck_assert(logged(reader, "fstat has failed file="));
    (void)files->links(NULL, -1);
    ck_assert(logged(reader, "fstat has failed file="));
    (void)files->close(NULL, -1);
    ck_assert(logged(reader, "close has failed file="));
    (void)files->lock(NULL, -1);
    ck_assert(logged(reader, "flock has failed file="));
    (void)files->list(NULL, path, remove_name, NULL);
    ck_assert(logged(reader, "opendir has failed file=/"));
    /* A pipe has no place to write at; and a lock that another holds is in order. */
    (void)files->pwrite(NULL, pair[1], "x", 1, 0);
    ck_assert(logged(reader, "pwrite has failed file=pipe:"));
    ck_assert_int_eq(files->lock(NULL, fd), 0);
    int second = files->open(NULL, path, O_RDWR, 0);
    ck_assert_int_eq(files->lock(NULL, second), -EAGAIN);
    ck_assert(!logged(reader, "failed"));
    files->close(NULL, fd);
    files->close(NULL, second);
    ck_assert(!logged(reader, "failed"));
}
END_TEST

/* Two opens of one process stand for two processes: flock's lock is the open file's. */
START_TEST(the_lock_is_held_by_one_open_file_only) {
    int first = open_new();
    int second = open_new();
    ck_assert_int_eq(files->lock(NULL, first), 0);
    ck_assert_int_eq(files->lock(NULL, second), -EAGAIN);
    files->close(NULL, first);
    ck_assert_int_eq(files->lock(NULL, second), 0);
    files->close(NULL, second);
}
END_TEST

START_TEST(a_handle_is_not_inherited_by_programs) {
    int fd = open_new();
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    files->close(NULL, fd);
}
END_TEST

START_TEST(the_bytes_of_a_folder_are_those_of_all_files_below) {
    int fd = open_new();
    ck_assert_int_eq(files->pwrite(NULL, fd, "abcd", 4, 0), 0);
    files->close(NULL, fd);
    ck_assert_int_eq(files->mkdir(NULL, other, 0700), 0);
    char below[1024];
    snprintf(below, sizeof below, "%s/below", other);
    fd = files->open(NULL, below, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(files->pwrite(NULL, fd, "abc", 3, 0), 0);
    files->close(NULL, fd);
    ck_assert_int_eq(files_tree_bytes(dir), 7);
    ck_assert_int_eq(files_tree_bytes("/nowhere"), 0);
    unlink(below);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("files");
    TCase *t = tcase_create("files");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_is_written_is_read_at_its_offset);
    tcase_add_test(t, a_read_stops_short_only_at_the_end);
    tcase_add_test(t, errors_are_negative_errno);
    tcase_add_test(t, a_write_that_is_cut_is_an_error_and_no_success);
    tcase_add_test(t, a_rename_replaces_and_an_unlink_removes);
    tcase_add_test(t, a_listing_leaves_the_dots_out);
    tcase_add_test(t, a_file_has_as_many_names_as_were_given_to_it);
    tcase_add_test(t, what_failed_is_named_in_the_log);
    tcase_add_test(t, the_lock_is_held_by_one_open_file_only);
    tcase_add_test(t, a_handle_is_not_inherited_by_programs);
    tcase_add_test(t, the_bytes_of_a_folder_are_those_of_all_files_below);
    suite_add_tcase(s, t);
    return s;
}
