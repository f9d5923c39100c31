#include "fs/modifier.h"
#include "tests/lib/unit.h"

#include <string.h>

static struct modifier top;

static struct modifier read_in(struct modifier m, const char *name) {
    struct modifier got;
    ck_assert_msg(modifier_read(m, name, &got), "%s", name);
    return got;
}

static void assert_text(struct modifier m, const char *want) {
    struct buf b = BUF_INIT;
    modifier_put(&b, m);
    buf_put_u8(&b, '\0');
    ck_assert_str_eq((const char *)b.data, want);
    buf_close(&b);
}

static void set_up(void) { top = read_in(MODIFIER_OF_TREE, ".zk"); }

START_TEST(a_word_is_found_in_its_group_and_nowhere_else) {
    struct modifier got, wait = read_in(top, "wait");
    ck_assert_int_eq(read_in(top, "watch").kind, MODIFIER_WATCH);
    ck_assert_int_eq(read_in(wait, "present").kind, MODIFIER_PRESENT);
    ck_assert(!modifier_read(top, "present", &got));
    ck_assert(!modifier_read(wait, "watch", &got));
    ck_assert(!modifier_read(top, "", &got));
    ck_assert(!modifier_read(MODIFIER_OF_TREE, "watch", &got));
}
END_TEST

START_TEST(a_version_has_one_spelling) {
    static const char *const wrong[] = {"",
                                        "x",
                                        "01",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "-1",
                                        "-0",
                                        "0x1",
                                        "2147483648",
                                        "-2147483649",
                                        "1e3",
                                        "99999999999999999999999"};
    struct modifier got, group = read_in(top, "version");
    ck_assert_int_eq(read_in(group, "0").arg, 0);
    ck_assert_int_eq(read_in(group, "2147483647").arg, INT32_MAX);
    ck_assert_int_eq(read_in(group, "-2147483648").arg, INT32_MIN);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(!modifier_read(group, wrong[i], &got), "%s", wrong[i]);
}
END_TEST

START_TEST(a_modifier_is_printed_as_its_path) {
    struct modifier newer = read_in(read_in(read_in(top, "wait"), "newer"), "-5");
    assert_text(newer, ".zk/wait/newer/-5");
    ck_assert_int_eq(modifier_type(newer), MODIFIER_IS_STREAM);
    assert_text(top, ".zk");
    assert_text(MODIFIER_OF_TREE, "");
}
END_TEST

START_TEST(groups_list_their_words_and_no_arguments) {
    size_t n = 0;
    for (const char *name; (name = modifier_listed(top, n)) != NULL; n++)
        read_in(top, name);
    ck_assert_uint_ge(n, 7);
    ck_assert_ptr_null(modifier_listed(read_in(top, "version"), 0));
    ck_assert_ptr_null(modifier_listed(read_in(top, "watch"), 0));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("modifier");
    TCase *tc = tcase_create("modifier");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, a_word_is_found_in_its_group_and_nowhere_else);
    tcase_add_test(tc, a_version_has_one_spelling);
    tcase_add_test(tc, a_modifier_is_printed_as_its_path);
    tcase_add_test(tc, groups_list_their_words_and_no_arguments);
    suite_add_tcase(s, tc);
    return s;
}
