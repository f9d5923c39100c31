#include <sys/mman.h>
#include <unistd.h>

#include "common/path.h"
#include "fs/fs.h"
#include "tests/lib/unit.h"

static struct inode_table table;
static const struct zstat made = {.czxid = 5, .mzxid = 6, .version = 1};

static struct slice path(const char *s) { return slice_from_str(s); }

static void start(void) { inode_table_init(&table, path("/root")); }
static void stop(void) { inode_table_close(&table); }

static struct inode *get(const char *at, enum inode_kind kind, zxid_t czxid) {
    struct zstat stat = made;
    stat.czxid = czxid;
    return inode_get(&table, path(at), kind, &stat, DATA_THERE);
}

START_TEST(the_root_has_the_nodeid_that_fuse_gives_it_and_is_never_forgotten) {
    ck_assert_ptr_eq(inode_find(&table, FUSE_ROOT_ID), table.root);
    inode_forget(&table, table.root, 100);
    ck_assert_ptr_eq(inode_find(&table, FUSE_ROOT_ID), table.root);
    ck_assert(slice_equal_str(inode_path(table.root), "/root"));
}
END_TEST

START_TEST(the_same_znode_in_the_same_shape_is_the_same_inode) {
    ck_assert_ptr_eq(get("/a", INODE_FILE, 5), get("/a", INODE_FILE, 5));
}
END_TEST

START_TEST(another_shape_or_another_creation_has_another_nodeid) {
    uint64_t file = get("/a", INODE_FILE, 5)->nodeid;
    ck_assert_uint_ne(get("/a", INODE_DIR, 5)->nodeid, file);
    ck_assert_uint_ne(get("/a", INODE_DATA, 5)->nodeid, file);
    ck_assert_uint_ne(get("/a", INODE_FILE, 9)->nodeid, file);
    ck_assert_uint_ne(get("/b", INODE_FILE, 5)->nodeid, file);
}
END_TEST

START_TEST(an_inode_goes_with_its_last_lookup_and_its_last_reference) {
    struct inode *inode = get("/a", INODE_FILE, 5);
    uint64_t nodeid = inode->nodeid;
    inode_looked_up(&table, inode);
    inode_looked_up(&table, inode);
    inode_ref(inode);
    inode_forget(&table, inode, 1);
    inode_forget(&table, inode, 7); /* more than there were is no harm */
    ck_assert_ptr_eq(inode_find(&table, nodeid), inode);
    inode_unref(&table, inode);
    ck_assert_ptr_null(inode_find(&table, nodeid));
    ck_assert_uint_eq(inode_count(&table), 1);
    ck_assert_uint_ne(get("/a", INODE_FILE, 5)->nodeid, nodeid);
}
END_TEST

START_TEST(what_is_known_of_a_version_is_not_forgotten_for_what_is_not) {
    struct inode *inode = inode_get(&table, path("/a"), INODE_DIR, &made, DATA_NULL);
    inode_see(inode, &made, DATA_UNKNOWN);
    ck_assert_int_eq(inode_recall(&table, path("/a"), &made), DATA_NULL);
    struct zstat newer = made;
    newer.version = 2;
    newer.mzxid = 7;
    ck_assert_int_eq(inode_recall(&table, path("/a"), &newer), DATA_UNKNOWN);
    inode_see(inode, &newer, DATA_UNKNOWN);
    ck_assert_int_eq(inode_recall(&table, path("/a"), &newer), DATA_UNKNOWN);
    ck_assert_int_eq(inode_recall(&table, path("/b"), &made), DATA_UNKNOWN);
}
END_TEST

START_TEST(a_moved_inode_is_found_at_its_new_path_and_keeps_its_nodeid) {
    struct inode *inode = get("/a", INODE_FILE, 5);
    inode_move(&table, inode, path("/b"), 8, 8);
    ck_assert(slice_equal_str(inode_path(inode), "/b"));
    ck_assert_ptr_eq(get("/b", INODE_FILE, 8), inode);
    ck_assert_ptr_ne(get("/a", INODE_FILE, 5), inode);
}
END_TEST

START_TEST(a_move_is_counted_for_those_who_asked_at_the_old_path) {
    struct inode *inode = get("/a", INODE_FILE, 5);
    ck_assert_uint_eq(inode->moves, 0);
    inode_move(&table, inode, path("/b"), 8, 8);
    ck_assert_uint_eq(inode->moves, 1);
}
END_TEST

START_TEST(a_znode_is_open_in_the_shape_that_a_handle_has) {
    struct handle *some = (struct handle *)&table; /* only whether there is one counts */
    struct inode *inode = get("/a", INODE_FILE, 5);
    ck_assert(!inode_is_open(&table, path("/a"), INODE_FILE, 5));
    inode->handles = some;
    ck_assert(inode_is_open(&table, path("/a"), INODE_FILE, 5));
    ck_assert(!inode_is_open(&table, path("/a"), INODE_DIR, 5));
    ck_assert(!inode_is_open(&table, path("/a"), INODE_FILE, 6));
    ck_assert(!inode_is_open(&table, path("/b"), INODE_FILE, 5));
    inode->handles = NULL;
}
END_TEST

START_TEST(an_inode_moved_onto_another_leaves_that_one_to_be_found) {
    struct inode *a = get("/a", INODE_FILE, 5), *b = get("/b", INODE_FILE, 6);
    inode_move(&table, a, path("/b"), 6, 6);
    ck_assert_ptr_eq(get("/b", INODE_FILE, 6), b);
    ck_assert_ptr_eq(inode_find(&table, a->nodeid), a);
    inode_looked_up(&table, a);
    inode_forget(&table, a, 1);
    ck_assert_ptr_eq(get("/b", INODE_FILE, 6), b);
}
END_TEST

START_TEST(of_inodes_with_one_key_the_next_is_found_when_the_first_leaves) {
    struct inode *a = get("/a", INODE_FILE, 5), *b = get("/b", INODE_FILE, 6);
    struct inode *c = get("/c", INODE_FILE, 7);
    inode_move(&table, a, path("/b"), 6, 6);
    inode_move(&table, c, path("/b"), 6, 6);
    ck_assert_ptr_eq(inode_first(&table, path("/b"), INODE_FILE, 6), b);
    ck_assert_ptr_eq(b->same_next, a);
    ck_assert_ptr_eq(a->same_next, c);
    inode_move(&table, b, path("/d"), 8, 8);
    ck_assert_ptr_eq(get("/b", INODE_FILE, 6), a);
    ck_assert_ptr_eq(get("/d", INODE_FILE, 8), b);
    inode_forget(&table, a, 1);
    ck_assert_ptr_eq(get("/b", INODE_FILE, 6), c);
    inode_forget(&table, c, 1);
    ck_assert_ptr_null(inode_first(&table, path("/b"), INODE_FILE, 6));
}
END_TEST

START_TEST(znodes_seen_through_views_are_listed_as_long_as_they_are_there) {
    struct modifier sync = {MODIFIER_SYNC, 0};
    struct inode *a = inode_get_view(&table, sync, path("/a"), INODE_FILE, &made, DATA_THERE);
    struct inode *b = inode_get_view(&table, sync, path("/b"), INODE_DIR, &made, DATA_THERE);
    inode_get_view(&table, sync, path("/a"), INODE_VIEW_DIR, &made, DATA_UNKNOWN);
    get("/a", INODE_FILE, 5);
    ck_assert_ptr_eq(table.viewed, a);
    ck_assert_ptr_eq(a->view_next, b);
    ck_assert_ptr_null(b->view_next);
    inode_forget(&table, a, 1);
    ck_assert_ptr_eq(table.viewed, b);
}
END_TEST

START_TEST(children_or_null_data_make_a_directory) {
    struct zstat stat = made;
    ck_assert_int_eq(inode_kind_of(&stat, DATA_NULL), INODE_DIR);
    ck_assert_int_eq(inode_kind_of(&stat, DATA_THERE), INODE_FILE);
    ck_assert_int_eq(inode_kind_of(&stat, DATA_UNKNOWN), INODE_DIR);
    stat.data_length = 1;
    ck_assert_int_eq(inode_kind_of(&stat, DATA_UNKNOWN), INODE_FILE);
    stat.num_children = 1;
    ck_assert_int_eq(inode_kind_of(&stat, DATA_THERE), INODE_DIR);
    ck_assert_int_eq(inode_kind_of(&stat, DATA_UNKNOWN), INODE_DIR);
}
END_TEST

static struct stat attr_of(enum inode_kind kind, const struct zstat *stat) {
    static const struct options opt = {.umask = 027, .uid = 12, .gid = 34};
    struct fs fs = {.opt = &opt};
    struct stat attr;
    inode_attr(&fs, path("/a"), kind, stat, &attr);
    return attr;
}

START_TEST(attributes_come_from_the_stat) {
    struct zstat stat = {.czxid = 5,
                         .mzxid = 1000007,
                         .mtime_ms = 1234567890123,
                         .ctime_ms = 1234567890001,
                         .data_length = 600};
    struct stat attr = attr_of(INODE_FILE, &stat);
    ck_assert_uint_eq(attr.st_mode, S_IFREG | 0640);
    ck_assert_uint_eq(attr.st_uid, 12);
    ck_assert_uint_eq(attr.st_gid, 34);
    ck_assert_int_eq(attr.st_size, 600);
    ck_assert_int_eq(attr.st_blocks, 2);
    ck_assert_int_eq(attr.st_mtim.tv_sec, 1234567890);
    ck_assert_int_eq(attr.st_mtim.tv_nsec, 123000007);
    ck_assert_int_eq(attr.st_ctim.tv_nsec, 1000005);
    stat.num_children = 3;
    attr = attr_of(INODE_DIR, &stat);
    ck_assert_uint_eq(attr.st_mode, S_IFDIR | 0750);
    ck_assert_int_eq(attr.st_size, 3);
    ck_assert_uint_eq(attr.st_nlink, 1);
}
END_TEST

START_TEST(times_before_1970_are_valid_times) {
    struct zstat stat = {.mtime_ms = -1};
    struct stat attr = attr_of(INODE_FILE, &stat);
    ck_assert_int_eq(attr.st_mtim.tv_sec, -1);
    ck_assert_int_eq(attr.st_mtim.tv_nsec, 999000000);
}
END_TEST

START_TEST(only_owners_that_are_sessions_make_the_sticky_bit) {
    static const struct {
        session_id_t owner;
        bool sticky;
    } cases[] = {
        {0, false},
        {0x100000, true},
        {(session_id_t)0x8100000000000000u, true}, /* a server with the id 129 */
        {INT64_MIN, false},                        /* a container */
        {(session_id_t)0xff00000000000064u, false} /* a time to live */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zstat stat = {.ephemeral_owner = cases[i].owner};
        ck_assert_int_eq((attr_of(INODE_FILE, &stat).st_mode & S_ISVTX) != 0, cases[i].sticky);
        ck_assert_int_eq(attr_of(INODE_DATA, &stat).st_mode & S_ISVTX, 0);
    }
}
END_TEST

/* As after a crash: another table, made of the same journal. */
static void crash(int fd, struct journal **j) {
    const char *why;
    journal_close(*j);
    inode_table_close(&table);
    inode_table_init(&table, path("/root"));
    *j = journal_open(fd, &why);
    ck_assert_ptr_nonnull(*j);
    inode_table_resume(&table, *j);
}

START_TEST(what_the_kernel_looked_up_is_there_after_a_crash_as_often_as_it_was) {
    const char *why;
    int fd = memfd_create("test", 0);
    struct journal *j = journal_open(fd, &why);
    inode_table_resume(&table, j);
    struct inode *a = get("/a", INODE_FILE, 5), *b = get("/b", INODE_DIR, 6);
    uint64_t a_id = a->nodeid, b_id = b->nodeid, c_id = get("/c", INODE_FILE, 7)->nodeid;
    for (int i = 0; i < 3; i++)
        inode_looked_up(&table, a);
    inode_looked_up(&table, b);
    inode_forget(&table, a, 1);
    inode_move(&table, a, path("/moved"), 9, 12);
    crash(fd, &j);
    ck_assert_ptr_null(inode_find(&table, c_id)); /* the kernel never got it */
    a = inode_find(&table, a_id);
    ck_assert_ptr_nonnull(a);
    ck_assert(slice_equal_str(inode_path(a), "/moved"));
    ck_assert_int_eq(a->czxid, 9);
    ck_assert_int_eq(a->moved_by, 12);
    ck_assert_int_eq(a->kind, INODE_FILE);
    ck_assert_ptr_eq(get("/moved", INODE_FILE, 9), a);
    ck_assert_uint_gt(get("/d", INODE_FILE, 8)->nodeid, c_id); /* no number twice */
    inode_forget(&table, a, 1);
    ck_assert_ptr_eq(inode_find(&table, a_id), a);
    inode_forget(&table, a, 1);
    ck_assert_ptr_null(inode_find(&table, a_id));
    crash(fd, &j);
    ck_assert_ptr_null(inode_find(&table, a_id));
    ck_assert_int_eq(inode_find(&table, b_id)->kind, INODE_DIR);
    ck_assert_uint_eq(inode_count(&table), 2);
    inode_table_close(&table);
    journal_close(j);
    close(fd);
    start();
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("inode");
    TCase *t = tcase_create("inode");
    tcase_add_checked_fixture(t, start, stop);
    tcase_add_test(t, the_root_has_the_nodeid_that_fuse_gives_it_and_is_never_forgotten);
    tcase_add_test(t, the_same_znode_in_the_same_shape_is_the_same_inode);
    tcase_add_test(t, another_shape_or_another_creation_has_another_nodeid);
    tcase_add_test(t, an_inode_goes_with_its_last_lookup_and_its_last_reference);
    tcase_add_test(t, what_is_known_of_a_version_is_not_forgotten_for_what_is_not);
    tcase_add_test(t, a_moved_inode_is_found_at_its_new_path_and_keeps_its_nodeid);
    tcase_add_test(t, a_move_is_counted_for_those_who_asked_at_the_old_path);
    tcase_add_test(t, a_znode_is_open_in_the_shape_that_a_handle_has);
    tcase_add_test(t, an_inode_moved_onto_another_leaves_that_one_to_be_found);
    tcase_add_test(t, of_inodes_with_one_key_the_next_is_found_when_the_first_leaves);
    tcase_add_test(t, znodes_seen_through_views_are_listed_as_long_as_they_are_there);
    tcase_add_test(t, children_or_null_data_make_a_directory);
    tcase_add_test(t, attributes_come_from_the_stat);
    tcase_add_test(t, times_before_1970_are_valid_times);
    tcase_add_test(t, only_owners_that_are_sessions_make_the_sticky_bit);
    tcase_add_test(t, what_the_kernel_looked_up_is_there_after_a_crash_as_often_as_it_was);
    suite_add_tcase(s, t);
    return s;
}
