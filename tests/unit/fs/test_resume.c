/* What a worker makes of the journal of the one before it. The kernel's part is tests/mount. */
#include "fs/resume.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/path.h"
#include "fs/handle.h"
#include "tests/lib/unit.h"

static int fd;
static struct fs fs;
static const struct zstat made = {.czxid = 5, .mzxid = 6, .version = 1};

static void open_fs(void) {
    const char *why;
    fs = (struct fs){.journal = journal_open(fd, &why)};
    ck_assert_ptr_nonnull(fs.journal);
    inode_table_init(&fs.inodes, slice_from_str("/"));
    resume_begin(&fs);
}

static void close_fs(void) {
    struct journal *j = fs.journal;
    handles_close(&fs);
    inode_table_close(&fs.inodes);
    resume_close(&fs);
    journal_close(j);
}

static void start(void) {
    log_set_level(LOG_ERROR);
    fd = memfd_create("test", 0);
    open_fs();
}

static void stop(void) {
    close_fs();
    close(fd);
}

static void crash(void) {
    close_fs();
    open_fs();
}

static struct handle *open_file(const char *value) {
    struct inode *inode =
        inode_get(&fs.inodes, slice_from_str("/a"), INODE_FILE, &made, DATA_THERE);
    inode_looked_up(&fs.inodes, inode);
    struct handle *h = handle_new(&fs, inode);
    h->writable = true;
    handle_keep(h);
    handle_set_value(h, blob_new(value, strlen(value)), 7);
    return h;
}

static struct handle *find(uint64_t id) {
    struct fuse_file_info fi = {.fh = id};
    return handle_find(&fs, &fi);
}

START_TEST(an_open_file_has_its_value_its_version_and_its_flags) {
    struct handle *h = open_file("value");
    uint64_t id = h->id;
    h->truncate = true;
    handle_note(h);
    crash();
    h = find(id);
    ck_assert_ptr_nonnull(h);
    ck_assert(slice_equal_str(handle_view(h), "value"));
    ck_assert_int_eq(h->version, 7);
    ck_assert(h->writable && h->truncate && !h->replace && !h->dead && !h->unread);
    ck_assert_int_eq(h->errnum, 0);
    handle_close(h);
    crash();
    ck_assert_ptr_null(find(id));
    ck_assert_uint_gt(open_file("x")->id, id); /* no number twice */
}
END_TEST

static void count(void *ctx, const struct journal_record *r) { ++*(int *)ctx; }

START_TEST(a_file_whose_inode_was_not_kept_yet_leaves_nothing) {
    struct inode *inode =
        inode_get(&fs.inodes, slice_from_str("/a"), INODE_FILE, &made, DATA_THERE);
    handle_keep(handle_new(&fs, inode));
    int records = 0;
    journal_each(fs.journal, JOURNAL_HANDLE, count, &records);
    ck_assert_int_eq(records, 1);
    crash();
    records = 0;
    journal_each(fs.journal, JOURNAL_HANDLE, count, &records);
    ck_assert_int_eq(records, 0);
}
END_TEST

START_TEST(a_long_value_is_to_be_read_again) {
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    uint64_t id = open_file(text)->id;
    crash();
    ck_assert(find(id)->unread);
    ck_assert_int_eq(find(id)->version, 7);
}
END_TEST

START_TEST(pieces_that_a_write_was_told_about_are_an_error_to_be_told) {
    struct handle *h = open_file("value");
    uint64_t id = h->id;
    handle_told_held(h);
    crash();
    ck_assert_int_eq(find(id)->errnum, EIO);
    find(id)->errnum = 0; /* as it is told */
    handle_drop_held(find(id));
    handle_note(find(id));
    crash();
    ck_assert_int_eq(find(id)->errnum, 0);
}
END_TEST

/* An answer with the unique 6 gives a lookup and a file, and the worker dies. */
static uint64_t give(void) {
    struct handle *h = open_file("value");
    struct journal_answer a = {.unique = 6, .nodeid = h->inode->nodeid, .fh = h->id, .lookups = 1};
    inode_looked_up(&fs.inodes, h->inode);
    journal_answering(fs.journal, &a);
    uint64_t id = h->id;
    crash();
    return id;
}

START_TEST(what_an_answer_gave_that_the_kernel_did_not_get_is_taken_back) {
    uint64_t id = give();
    uint64_t nodeid = find(id)->inode->nodeid;
    resume_settle(&fs, (uint64_t[]){2, 6, 8}, 3);
    ck_assert_ptr_null(find(id));
    ck_assert_uint_eq(inode_find(&fs.inodes, nodeid)->lookups, 1);
    crash();
    ck_assert_uint_eq(inode_find(&fs.inodes, nodeid)->lookups, 1);
    resume_settle(&fs, (uint64_t[]){6}, 1); /* once */
    ck_assert_uint_eq(inode_find(&fs.inodes, nodeid)->lookups, 1);
}
END_TEST

START_TEST(a_lookup_that_was_not_counted_or_was_taken_back_already_is_not_taken_back) {
    struct inode *inode = open_file("value")->inode;
    uint64_t nodeid = inode->nodeid;
    struct journal_answer a = {.unique = 6, .nodeid = nodeid, .lookups = inode->lookups};
    journal_answering(fs.journal, &a);
    crash();
    resume_settle(&fs, (uint64_t[]){6}, 1);
    ck_assert_uint_eq(inode_find(&fs.inodes, nodeid)->lookups, 1);
}
END_TEST

START_TEST(a_failed_commit_that_was_not_told_is_an_error_to_be_told) {
    struct handle *h = open_file("value");
    uint64_t id = h->id;
    h->errnum = ESTALE;
    handle_note(h);
    crash();
    ck_assert_int_eq(find(id)->errnum, EIO);
}
END_TEST

START_TEST(what_an_answer_gave_that_the_kernel_got_stays) {
    uint64_t id = give();
    resume_settle(&fs, (uint64_t[]){2, 8}, 2);
    ck_assert_ptr_nonnull(find(id));
    ck_assert_uint_eq(find(id)->inode->lookups, 2);
}
END_TEST

START_TEST(an_error_whose_answer_the_kernel_did_not_get_is_to_be_told) {
    struct handle *h = open_file("value");
    uint64_t id = h->id;
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        struct journal_answer a = {.unique = 6, .told = id};
        journal_answering(fs.journal, &a);
        crash();
        resume_settle(&fs, (uint64_t[]){2, is_lost ? 6 : 7}, 2);
        ck_assert_int_eq(find(id)->errnum, is_lost ? EIO : 0);
        crash();
        ck_assert_int_eq(find(id)->errnum, is_lost ? EIO : 0);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("resume");
    TCase *t = tcase_create("resume");
    tcase_add_checked_fixture(t, start, stop);
    tcase_add_test(t, an_open_file_has_its_value_its_version_and_its_flags);
    tcase_add_test(t, a_file_whose_inode_was_not_kept_yet_leaves_nothing);
    tcase_add_test(t, a_long_value_is_to_be_read_again);
    tcase_add_test(t, pieces_that_a_write_was_told_about_are_an_error_to_be_told);
    tcase_add_test(t, what_an_answer_gave_that_the_kernel_did_not_get_is_taken_back);
    tcase_add_test(t, a_lookup_that_was_not_counted_or_was_taken_back_already_is_not_taken_back);
    tcase_add_test(t, a_failed_commit_that_was_not_told_is_an_error_to_be_told);
    tcase_add_test(t, what_an_answer_gave_that_the_kernel_got_stays);
    tcase_add_test(t, an_error_whose_answer_the_kernel_did_not_get_is_to_be_told);
    suite_add_tcase(s, t);
    return s;
}
