#include "common/path.h"
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

static const char *reason_n(const char *path, size_t n, bool sequential) {
    /* A copy of exactly this size: the sanitizer sees a look behind the end. */
    uint8_t *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, path, n);
    const char *why = path_invalid_reason((struct slice){copy, (int32_t)n}, sequential);
    free(copy);
    return why;
}

#define VALID(text) ck_assert_msg(!reason_n(text, sizeof(text) - 1, false), "refused: %s", text)
#define INVALID(text) ck_assert_msg(reason_n(text, sizeof(text) - 1, false), "accepted: %s", text)
#define SEQ_VALID(text) ck_assert_msg(!reason_n(text, sizeof(text) - 1, true), "refused: %s", text)
#define SEQ_INVALID(text)                                                                          \
    ck_assert_msg(reason_n(text, sizeof(text) - 1, true), "accepted: %s", text)

START_TEST(ordinary_paths_are_valid) {
    VALID("/");
    VALID("/a");
    VALID("/a/b/c");
    VALID("/a b");
    VALID("/.a");
    VALID("/a..");
    VALID("/...");
    VALID("/..a/b");
    VALID("/a~!@#$%^&*()[]{}\\\"'");
}
END_TEST

START_TEST(a_path_starts_with_a_slash_and_does_not_end_with_one) {
    ck_assert_str_eq(reason_n("", 0, false), "the path is empty");
    ck_assert_str_eq(reason_n("a", 1, false), "the path does not start with /");
    ck_assert_str_eq(reason_n("/a/", 3, false), "the path ends with /");
    ck_assert_str_eq(path_invalid_reason(SLICE_NULL, false), "the path is null");
}
END_TEST

START_TEST(empty_and_relative_components_are_refused) {
    INVALID("//");
    INVALID("//a");
    INVALID("/a//b");
    INVALID("/.");
    INVALID("/..");
    INVALID("/./a");
    INVALID("/../a");
    INVALID("/a/.");
    INVALID("/a/..");
    INVALID("/a/./b");
    INVALID("/a/../b");
}
END_TEST

START_TEST(a_sequential_path_may_end_where_its_suffix_begins) {
    SEQ_VALID("/");
    SEQ_VALID("/a/");
    SEQ_VALID("/a");
    SEQ_VALID("/a/.");
    SEQ_VALID("/a/..");
    SEQ_INVALID("");
    SEQ_INVALID("a");
    SEQ_INVALID("//");
    SEQ_INVALID("/a//");
    SEQ_INVALID("/./");
    SEQ_INVALID("/../a");
    SEQ_INVALID("/a\x01");
}
END_TEST

START_TEST(control_characters_are_refused) {
    for (int c = 0; c < 0x20; c++) {
        char path[] = {'/', 'a', (char)c};
        ck_assert_ptr_nonnull(reason_n(path, 3, false));
    }
    INVALID("/a\x7f");
    INVALID("/a\xc2\x80");
    INVALID("/a\xc2\x9f");
    VALID("/a\xc2\xa0");
}
END_TEST

START_TEST(forbidden_ranges_end_where_zookeeper_says) {
    VALID("/\xed\x9f\xbf");       /* U+D7FF */
    INVALID("/\xee\x80\x80");     /* U+E000 */
    INVALID("/\xef\xa3\xbf");     /* U+F8FF */
    VALID("/\xef\xa4\x80");       /* U+F900 */
    VALID("/\xef\xbf\xaf");       /* U+FFEF */
    INVALID("/\xef\xbf\xb0");     /* U+FFF0 */
    INVALID("/\xef\xbf\xbf");     /* U+FFFF */
    INVALID("/\xf0\x90\x80\x80"); /* U+10000: two surrogates in Java */
    INVALID("/\xf0\x9f\x98\x80"); /* U+1F600 */
    INVALID("/\xf4\x8f\xbf\xbf"); /* U+10FFFF */
}
END_TEST

START_TEST(text_that_is_not_utf8_is_refused) {
    static const char *const wrong[] = {
        "/\x80",             /* a continuation byte alone */
        "/\xbf",             /* likewise */
        "/\xc0\xaf",         /* overlong slash */
        "/\xc1\xbf",         /* overlong */
        "/\xe0\x80\xaf",     /* overlong, three bytes */
        "/\xe0\x9f\xbf",     /* overlong, three bytes, the last of them */
        "/\xf0\x80\x80\xaf", /* overlong, four bytes */
        "/\xed\xa0\x80",     /* U+D800 */
        "/\xed\xbf\xbf",     /* U+DFFF */
        "/\xc3",             /* truncated */
        "/\xe2\x82",         /* truncated */
        "/\xf0\x9f\x98",     /* truncated */
        "/\xc3/a",           /* cut by a slash */
        "/\xe2\x82(",        /* a wrong continuation */
        "/\xf4\x90\x80\x80", /* above U+10FFFF */
        "/\xf5\x80\x80\x80", /* never a first byte */
        "/\xf8\x90\x80\x80", /* likewise, though the rest would make a good one */
        "/\xff",             /* likewise */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *why = reason_n(wrong[i], strlen(wrong[i]), false);
        ck_assert_msg(why, "%zu is accepted", i);
        ck_assert_str_eq(why, "the path is not UTF-8");
    }
    VALID("/\xc3\xa4\xe2\x82\xac");
}
END_TEST

START_TEST(a_path_may_be_as_long_as_the_limit) {
    char *path = malloc(PATH_MAX_BYTES + 1);
    memset(path, 'a', PATH_MAX_BYTES + 1);
    path[0] = '/';
    ck_assert_ptr_null(reason_n(path, PATH_MAX_BYTES, false));
    ck_assert_str_eq(reason_n(path, PATH_MAX_BYTES + 1, false), "the path is too long");
    free(path);
}
END_TEST

static void assert_slice(struct slice s, const char *text) {
    ck_assert_msg(slice_equal_str(s, text), "%.*s instead of %s", (int)s.len, (const char *)s.p,
                  text);
}

START_TEST(a_path_is_taken_apart) {
    assert_slice(path_parent(slice_from_str("/a/bc/def")), "/a/bc");
    assert_slice(path_name(slice_from_str("/a/bc/def")), "def");
    assert_slice(path_parent(slice_from_str("/a")), "/");
    assert_slice(path_name(slice_from_str("/a")), "a");
    ck_assert_int_eq(path_parent(slice_from_str("/")).len, -1);
    ck_assert_int_eq(path_name(slice_from_str("/")).len, 0);
}
END_TEST

START_TEST(components_come_in_order) {
    struct slice path = slice_from_str("/a/bc/d");
    struct slice component;
    int32_t pos = 0;
    ck_assert(path_next(path, &pos, &component));
    assert_slice(component, "a");
    ck_assert(path_next(path, &pos, &component));
    assert_slice(component, "bc");
    ck_assert(path_next(path, &pos, &component));
    assert_slice(component, "d");
    ck_assert(!path_next(path, &pos, &component));
    assert_slice(component, "d");
    pos = 0;
    ck_assert(!path_next(slice_from_str("/"), &pos, &component));
}
END_TEST

START_TEST(null_equals_null_only) {
    ck_assert(slice_equal(SLICE_NULL, SLICE_NULL));
    ck_assert(!slice_equal(SLICE_NULL, slice_from_str("")));
    ck_assert(!slice_equal(slice_from_str(""), SLICE_NULL));
    ck_assert(slice_equal(slice_from_str(""), (struct slice){NULL, 0}));
    ck_assert(slice_equal(slice_from_str("ab"), slice_from_str("ab")));
    ck_assert(!slice_equal(slice_from_str("ab"), slice_from_str("ac")));
    ck_assert(!slice_equal(slice_from_str("ab"), slice_from_str("a")));
    ck_assert_int_eq(slice_from_str(NULL).len, -1);
}
END_TEST

static bool has_prefix(const char *path, const char *prefix) {
    return path_has_prefix(slice_from_str(path), slice_from_str(prefix));
}

START_TEST(a_prefix_ends_at_a_component) {
    ck_assert(has_prefix("/a/b", "/a"));
    ck_assert(has_prefix("/a", "/a"));
    ck_assert(has_prefix("/a", "/"));
    ck_assert(has_prefix("/", "/"));
    ck_assert(!has_prefix("/ab", "/a"));
    ck_assert(!has_prefix("/a", "/a/b"));
    ck_assert(!has_prefix("/b/a", "/a"));
    ck_assert(!has_prefix(NULL, "/"));
    ck_assert(!has_prefix("/", NULL));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("path");
    TCase *tc = tcase_create("path");
    tcase_add_test(tc, ordinary_paths_are_valid);
    tcase_add_test(tc, a_path_starts_with_a_slash_and_does_not_end_with_one);
    tcase_add_test(tc, empty_and_relative_components_are_refused);
    tcase_add_test(tc, a_sequential_path_may_end_where_its_suffix_begins);
    tcase_add_test(tc, control_characters_are_refused);
    tcase_add_test(tc, forbidden_ranges_end_where_zookeeper_says);
    tcase_add_test(tc, text_that_is_not_utf8_is_refused);
    tcase_add_test(tc, a_path_may_be_as_long_as_the_limit);
    tcase_add_test(tc, a_path_is_taken_apart);
    tcase_add_test(tc, components_come_in_order);
    tcase_add_test(tc, null_equals_null_only);
    tcase_add_test(tc, a_prefix_ends_at_a_component);
    suite_add_tcase(s, tc);
    return s;
}
