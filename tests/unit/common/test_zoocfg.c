#include "common/buf.h"
#include "common/path.h"
#include "common/zoocfg.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Collects `line:key=value;` and stops with -EPERM at the key `stop`. */
static int collect(void *ctx, int line, const char *key, const char *value) {
    buf_printf(ctx, "%d:%s=%s;", line, key, value);
    return strcmp(key, "stop") == 0 ? -EPERM : 0;
}

static int parse_n(const char *text, size_t n, struct buf *out, int *ret_line) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, text, n);
    int result = zoocfg_parse((struct slice){copy, (int32_t)n}, collect, out, ret_line);
    free(copy);
    buf_put_u8(out, 0);
    return result;
}

static void assert_reads(const char *text, const char *expected) {
    struct buf out = BUF_INIT;
    int line = -1;
    ck_assert_int_eq(parse_n(text, strlen(text), &out, &line), 0);
    ck_assert_str_eq((char *)out.data, expected);
    ck_assert_int_eq(line, -1);
    buf_close(&out);
}

static void assert_refuses_n(const char *text, size_t n, int expected_line) {
    struct buf out = BUF_INIT;
    int line = -1;
    ck_assert_int_eq(parse_n(text, n, &out, &line), -EINVAL);
    ck_assert_int_eq(line, expected_line);
    buf_close(&out);
}

static void assert_refuses(const char *text, int expected_line) {
    assert_refuses_n(text, strlen(text), expected_line);
}

START_TEST(keys_come_in_order_of_lines) {
    assert_reads("tickTime=2000\ndataDir=/var/lib/zk\nserver.1=h1:2888:3888;2181\n",
                 "1:tickTime=2000;2:dataDir=/var/lib/zk;3:server.1=h1:2888:3888;2181;");
    assert_reads("a=1\na=2", "1:a=1;2:a=2;");
    assert_reads("", "");
}
END_TEST

START_TEST(blanks_around_keys_and_values_are_trimmed) {
    assert_reads("  a  =  b c \t\n\tx\t=\ty\f\n", "1:a=b c;2:x=y;");
    assert_reads("a=\n", "1:a=;");
    assert_reads("a=   ", "1:a=;");
    assert_reads("a=b=c", "1:a=b=c;");
}
END_TEST

START_TEST(comments_and_blank_lines_are_skipped_and_counted) {
    assert_reads("# one\n\n  ! two\n \t \na=1\n#b=2", "5:a=1;");
    assert_reads("a=1 # not a comment", "1:a=1 # not a comment;");
    assert_reads("# a comment does not go on \\\na=1", "2:a=1;");
}
END_TEST

START_TEST(every_end_of_line_is_known) {
    assert_reads("a=1\r\nb=2\rc=3\n\r\nd=4", "1:a=1;2:b=2;3:c=3;5:d=4;");
}
END_TEST

START_TEST(a_backslash_at_the_end_continues_the_line) {
    assert_reads("a=1\\\n   2\\\r\n3\nb=4", "1:a=123;4:b=4;");
    assert_reads("a\\\n =1", "1:a=1;");
    assert_reads("a=1\\\n# no comment", "1:a=1# no comment;");
    assert_reads("a=1\\", "1:a=1;");
    assert_reads("a=1\\\n", "1:a=1;");
    assert_reads("a=1\\\n\nb=2", "1:a=1;3:b=2;");
    assert_reads("a=1\\\\\nb=2", "1:a=1\\;2:b=2;");
}
END_TEST

START_TEST(escapes_are_those_of_java_properties) {
    assert_reads("a=C:\\\\zk\\x\\:\\=", "1:a=C:\\zkx:=;");
    assert_reads("a\\=b=c", "1:a=b=c;");
    assert_reads("a=x\\ty\\nz", "1:a=x\ty\nz;");
    assert_reads("a=\\u0041\\u00e4\\u20AC", "1:a=A\xc3\xa4\xe2\x82\xac;");
}
END_TEST

START_TEST(wrong_lines_are_refused_with_their_number) {
    assert_refuses("a=1\n\nnonsense\n", 3);
    assert_refuses("a=1\nb\\\nc\n", 2);
    assert_refuses("=1", 1);
    assert_refuses("  = 1", 1);
    assert_refuses("a\\=1", 1);
    assert_refuses("#\na=\\u12g4", 2);
    assert_refuses("a=\\u12", 1);
    assert_refuses("a=\\u1234\nb=\\u12", 2);
    assert_refuses("a=\\u0000", 1);
    assert_refuses_n("a=1\nb=\0002", 8, 2);
    assert_refuses_n("a=1\n\0=2", 7, 2);
}
END_TEST

START_TEST(lines_before_a_wrong_one_were_handed_out) {
    struct buf out = BUF_INIT;
    int line = 0;
    ck_assert_int_eq(parse_n("a=1\nb\n", 6, &out, &line), -EINVAL);
    ck_assert_str_eq((char *)out.data, "1:a=1;");
    buf_close(&out);
}
END_TEST

START_TEST(the_callers_refusal_stops_and_is_handed_through) {
    struct buf out = BUF_INIT;
    int line = 0;
    ck_assert_int_eq(parse_n("a=1\nstop=2\nb=3", 14, &out, &line), -EPERM);
    ck_assert_int_eq(line, 2);
    ck_assert_str_eq((char *)out.data, "1:a=1;2:stop=2;");
    buf_close(&out);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zoocfg");
    TCase *tc = tcase_create("zoocfg");
    tcase_add_test(tc, keys_come_in_order_of_lines);
    tcase_add_test(tc, blanks_around_keys_and_values_are_trimmed);
    tcase_add_test(tc, comments_and_blank_lines_are_skipped_and_counted);
    tcase_add_test(tc, every_end_of_line_is_known);
    tcase_add_test(tc, a_backslash_at_the_end_continues_the_line);
    tcase_add_test(tc, escapes_are_those_of_java_properties);
    tcase_add_test(tc, wrong_lines_are_refused_with_their_number);
    tcase_add_test(tc, lines_before_a_wrong_one_were_handed_out);
    tcase_add_test(tc, the_callers_refusal_stops_and_is_handed_through);
    suite_add_tcase(s, tc);
    return s;
}
