#include "common/path.h"
#include "fs/name.h"
#include "tests/lib/unit.h"

#include <string.h>

static void assert_shown(const char *name, bool at_root, const char *expected) {
    char shown[NAME_SHOWN_MAX + 1];
    ck_assert(name_show(slice_from_str(name), at_root, shown));
    ck_assert_str_eq(shown, expected);
    struct slice back;
    ck_assert_int_eq(name_read(shown, at_root, &back), NAME_IS_ZNODE);
    ck_assert(slice_equal_str(back, name));
}

START_TEST(an_ordinary_name_is_shown_as_it_is) {
    assert_shown("port", false, "port");
    assert_shown(".hidden", true, ".hidden");
    assert_shown("data", false, "data");
    assert_shown(".database", false, ".database");
    assert_shown("grün ist schön", false, "grün ist schön");
}
END_TEST

START_TEST(a_name_made_of_dots_and_data_gets_one_dot_more) {
    assert_shown(".data", false, "..data");
    assert_shown("..data", false, "...data");
    assert_shown(".....data", true, "......data");
}
END_TEST

START_TEST(the_views_name_is_escaped_at_the_root_only) {
    assert_shown(".zk", true, "..zk");
    assert_shown("..zk", true, "...zk");
    assert_shown(".zk", false, ".zk");
    assert_shown("..zk", false, "..zk");
}
END_TEST

START_TEST(the_reserved_names_mean_no_znode) {
    struct slice name;
    ck_assert_int_eq(name_read(".data", false, &name), NAME_IS_DATA);
    ck_assert_int_eq(name_read(".data", true, &name), NAME_IS_DATA);
    ck_assert_int_eq(name_read(".zk", true, &name), NAME_IS_VIEWS);
    ck_assert_int_eq(name_read(".zk", false, &name), NAME_IS_ZNODE);
}
END_TEST

START_TEST(names_up_to_255_bytes_are_shown_and_longer_ones_left_out) {
    char name[300], shown[NAME_SHOWN_MAX + 1];
    memset(name, 'a', sizeof(name));
    struct slice s = {.p = (const uint8_t *)name, .len = 255};
    ck_assert(name_show(s, false, shown));
    ck_assert_uint_eq(strlen(shown), 255);
    s.len = 256;
    ck_assert(!name_show(s, false, shown));
}
END_TEST

START_TEST(the_escape_counts_as_part_of_the_name) {
    char name[300], shown[NAME_SHOWN_MAX + 1];
    memset(name, '.', sizeof(name));
    memcpy(name + 250, "data", 4);
    struct slice s = {.p = (const uint8_t *)name, .len = 254};
    ck_assert(name_show(s, false, shown));
    memcpy(name + 251, "data", 4);
    name[250] = '.';
    s.len = 255;
    ck_assert(!name_show(s, false, shown));
}
END_TEST

START_TEST(what_no_directory_entry_may_be_called_is_left_out) {
    char shown[NAME_SHOWN_MAX + 1];
    ck_assert(!name_show(slice_from_str(""), false, shown));
    ck_assert(!name_show(slice_from_str("."), false, shown));
    ck_assert(!name_show(slice_from_str(".."), false, shown));
    ck_assert(!name_show(slice_from_str("a/b"), false, shown));
    ck_assert(!name_show((struct slice){.p = (const uint8_t *)"a\0b", .len = 3}, false, shown));
    ck_assert(!name_show(SLICE_NULL, false, shown));
}
END_TEST

START_TEST(names_that_zookeeper_refuses_are_wrong) {
    static const char *const wrong[] = {
        "tab\t",
        "new\nline",
        "\x7f",
        "\xc2\x85",
        "\xff",
        "\xc3",
        "\xed\xa0\x80",
        "\xee\x80\x80",     /* private use, U+E000 */
        "\xf0\x9f\x98\x80", /* beyond the basic plane, which Java sees as surrogates */
        "\xef\xbf\xbe",
    };
    struct slice name;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        ck_assert_int_eq(name_read(wrong[i], false, &name), NAME_IS_WRONG);
    ck_assert_int_eq(name_read("a b", false, &name), NAME_IS_ZNODE);
    ck_assert_int_eq(name_read("...", false, &name), NAME_IS_ZNODE);
}
END_TEST

START_TEST(a_name_typed_too_long_is_told_apart) {
    char name[300];
    struct slice ret;
    memset(name, 'a', sizeof(name));
    name[256] = '\0';
    ck_assert_int_eq(name_read(name, false, &ret), NAME_IS_TOO_LONG);
    name[255] = '\0';
    ck_assert_int_eq(name_read(name, false, &ret), NAME_IS_ZNODE);
}
END_TEST

static void assert_path(const char *dir, const char *name, const char *expected) {
    struct buf b = BUF_INIT;
    ck_assert(name_path(&b, slice_from_str(dir), slice_from_str(name)));
    ck_assert(slice_equal_str((struct slice){.p = b.data, .len = (int32_t)b.len}, expected));
    buf_close(&b);
}

START_TEST(a_path_is_the_directory_and_the_name) {
    assert_path("/", "a", "/a");
    assert_path("/a", "b", "/a/b");
}
END_TEST

START_TEST(a_path_longer_than_any_path_is_refused) {
    static char dir[65536];
    memset(dir, 'a', sizeof(dir));
    dir[0] = '/';
    struct buf b = BUF_INIT;
    struct slice d = {.p = (const uint8_t *)dir, .len = 65534};
    ck_assert(name_path(&b, d, slice_from_str("b")));
    ck_assert(!name_path(&b, d, slice_from_str("bc")));
    buf_close(&b);
}
END_TEST

START_TEST(inode_numbers_tell_znodes_lives_and_data_apart) {
    struct slice a = slice_from_str("/a"), b = slice_from_str("/b");
    ck_assert_uint_eq(name_ino(a, 5, false), name_ino(a, 5, false));
    ck_assert_uint_ne(name_ino(a, 5, false), name_ino(b, 5, false));
    ck_assert_uint_ne(name_ino(a, 5, false), name_ino(a, 6, false));
    ck_assert_uint_ne(name_ino(a, 5, false), name_ino(a, 5, true));
    ck_assert_uint_gt(name_ino(a, 5, false), 1);
}
END_TEST

START_TEST(inode_numbers_are_the_same_in_every_version_of_the_program) {
    ck_assert_uint_eq(name_ino(slice_from_str("/a"), 5, false), UINT64_C(2410114881747313505));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("name");
    TCase *t = tcase_create("name");
    tcase_add_test(t, an_ordinary_name_is_shown_as_it_is);
    tcase_add_test(t, a_name_made_of_dots_and_data_gets_one_dot_more);
    tcase_add_test(t, the_views_name_is_escaped_at_the_root_only);
    tcase_add_test(t, the_reserved_names_mean_no_znode);
    tcase_add_test(t, names_up_to_255_bytes_are_shown_and_longer_ones_left_out);
    tcase_add_test(t, the_escape_counts_as_part_of_the_name);
    tcase_add_test(t, what_no_directory_entry_may_be_called_is_left_out);
    tcase_add_test(t, names_that_zookeeper_refuses_are_wrong);
    tcase_add_test(t, a_name_typed_too_long_is_told_apart);
    tcase_add_test(t, a_path_is_the_directory_and_the_name);
    tcase_add_test(t, a_path_longer_than_any_path_is_refused);
    tcase_add_test(t, inode_numbers_tell_znodes_lives_and_data_apart);
    tcase_add_test(t, inode_numbers_are_the_same_in_every_version_of_the_program);
    suite_add_tcase(s, t);
    return s;
}
