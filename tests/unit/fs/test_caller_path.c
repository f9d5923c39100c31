#include "fs/caller.h"
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define YES CALLER_YES
#define NO CALLER_NO
#define UNKNOWN CALLER_UNKNOWN

static void assert_goes_on(enum caller_answer want, const char *path, const char *chain) {
    ck_assert_msg(caller_path_goes_on(path, chain) == want, "%s at %s", path, chain);
}

START_TEST(the_last_name_is_the_end) {
    assert_goes_on(NO, "/zk/.zk/watch/a", ".zk/watch/a");
    assert_goes_on(NO, "a", ".zk/watch/a");
    assert_goes_on(NO, "./a", ".zk/watch/a");
    assert_goes_on(NO, "//zk//.zk/./watch//a", ".zk/watch///a");
}
END_TEST

START_TEST(a_name_with_others_behind_it_goes_on) {
    assert_goes_on(YES, "/zk/.zk/watch/a/b", ".zk/watch/a");
    assert_goes_on(NO, "/zk/.zk/watch/a/b", ".zk/watch/a/b");
    assert_goes_on(YES, "a/b", ".zk/watch/a");
}
END_TEST

START_TEST(a_slash_or_a_dot_at_the_end_asks_for_a_directory) {
    assert_goes_on(YES, "watch/a/", ".zk/watch/a");
    assert_goes_on(YES, "watch/a/.", ".zk/watch/a");
    assert_goes_on(YES, "watch/a/..", ".zk/watch/a");
}
END_TEST

START_TEST(a_name_that_comes_twice_is_told_by_those_before_it) {
    assert_goes_on(YES, "/zk/.zk/watch/a/a", ".zk/watch/a");
    assert_goes_on(NO, "/zk/.zk/watch/a/a", ".zk/watch/a/a");
    assert_goes_on(YES, "watch/x/y/x", ".zk/watch/x");
    assert_goes_on(NO, "watch/x/y/x", ".zk/watch/x/y/x");
}
END_TEST

START_TEST(two_dots_go_back) {
    assert_goes_on(YES, "watch/a/../b", ".zk/watch/a");
    assert_goes_on(NO, "watch/a/../b", ".zk/watch/b");
    assert_goes_on(NO, "../a", ".zk/watch/a");
    assert_goes_on(NO, "../../watch/a", ".zk/watch/a");
}
END_TEST

START_TEST(a_path_without_the_name_tells_nothing) {
    assert_goes_on(UNKNOWN, "/tmp/link", ".zk/watch/a");
    assert_goes_on(UNKNOWN, "", ".zk/watch/a");
    assert_goes_on(UNKNOWN, "/", ".zk/watch/a");
    assert_goes_on(UNKNOWN, "a/x/a", ".zk/watch/a");
}
END_TEST

START_TEST(a_path_of_very_many_names_tells_nothing) {
    char path[4096] = "";
    for (int i = 0; i < 600; i++)
        strcat(path, "a/");
    strcat(path, "b");
    assert_goes_on(UNKNOWN, path, ".zk/watch/b");
}
END_TEST

START_TEST(a_thread_that_is_in_no_call_with_a_path_tells_nothing) {
    ck_assert_int_eq(caller_walks_on(0, ".zk/watch/a"), CALLER_UNKNOWN);
    ck_assert_int_eq(caller_walks_on(getpid(), ".zk/watch/a"), CALLER_UNKNOWN);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("caller_path");
    TCase *tc = tcase_create("caller_path");
    tcase_add_test(tc, the_last_name_is_the_end);
    tcase_add_test(tc, a_name_with_others_behind_it_goes_on);
    tcase_add_test(tc, a_slash_or_a_dot_at_the_end_asks_for_a_directory);
    tcase_add_test(tc, a_name_that_comes_twice_is_told_by_those_before_it);
    tcase_add_test(tc, two_dots_go_back);
    tcase_add_test(tc, a_path_without_the_name_tells_nothing);
    tcase_add_test(tc, a_path_of_very_many_names_tells_nothing);
    tcase_add_test(tc, a_thread_that_is_in_no_call_with_a_path_tells_nothing);
    suite_add_tcase(s, tc);
    return s;
}
