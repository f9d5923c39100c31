#include "common/log.h"
#include "tests/lib/unit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Standard error becomes a datagram socket: each write(2) arrives as one message. Every test runs
 * in a process of its own, so nothing has to be put back. */
static int reader = -1;

static void capture(void) {
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    ck_assert_int_eq(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
    close(pair[1]);
    reader = pair[0];
}

/* The next write, terminated; "" when there is none. */
static char *next_write(void) {
    static char text[65536];
    ssize_t n = recv(reader, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(a_line_is_time_level_and_text_in_one_write) {
    capture();
    log_warn("disk is slow path=%s ms=%d", "/a", 7);
    char *line = next_write();
    const char *shape = "dddd-dd-ddTdd:dd:dd.dddZ WARN disk is slow path=/a ms=7\n";
    ck_assert_uint_eq(strlen(line), strlen(shape));
    for (size_t i = 0; i < 24; i++)
        ck_assert(shape[i] == 'd' ? isdigit((unsigned char)line[i]) : line[i] == shape[i]);
    ck_assert_str_eq(line + 24, shape + 24);
    ck_assert_str_eq(next_write(), "");
}
END_TEST

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

START_TEST(the_time_is_utc_and_exact_to_the_millisecond) {
    capture();
    setenv("TZ", "Asia/Tokyo", 1);
    for (int i = 0; i < 50; i++) {
        struct tm tm = {0};
        int64_t before = now_ms();
        log_info("x");
        int64_t after = now_ms();
        char *rest = strptime(next_write(), "%Y-%m-%dT%H:%M:%S.", &tm);
        ck_assert_ptr_nonnull(rest);
        int64_t shown = (int64_t)timegm(&tm) * 1000 + strtol(rest, NULL, 10);
        ck_assert_int_ge(shown, before);
        ck_assert_int_le(shown, after);
        usleep(7000); /* so that the milliseconds differ */
    }
}
END_TEST

START_TEST(every_level_has_its_name) {
    capture();
    log_set_level(LOG_DEBUG);
    log_error("x");
    ck_assert_str_eq(next_write() + 24, " ERROR x\n");
    log_info("x");
    ck_assert_str_eq(next_write() + 24, " INFO x\n");
    log_debug("x");
    ck_assert_str_eq(next_write() + 24, " DEBUG x\n");
}
END_TEST

START_TEST(lines_below_the_level_are_not_written) {
    capture();
    log_debug("not by default");
    ck_assert_str_eq(next_write(), "");
    log_info("this is");
    ck_assert_str_ne(next_write(), "");
    log_set_level(LOG_ERROR);
    log_warn("no longer");
    ck_assert_str_eq(next_write(), "");
    log_error("always");
    ck_assert_str_ne(next_write(), "");
}
END_TEST

START_TEST(control_characters_cannot_forge_a_line) {
    capture();
    log_info("path=%s", "/a\n2026 ERROR\t\x1b[2J\x7f\xc3\xa4");
    ck_assert_str_eq(next_write() + 24, " INFO path=/a\\x0a2026 ERROR\\x09\\x1b[2J\\x7f\xc3\xa4\n");
    ck_assert_str_eq(next_write(), "");
}
END_TEST

START_TEST(a_long_text_is_cut_and_still_one_line) {
    static char text[20000];
    memset(text, 'a', sizeof text - 1);
    capture();
    log_info("%s", text);
    char *line = next_write();
    size_t n = strlen(line);
    ck_assert_uint_le(n, 4096);
    ck_assert_uint_gt(n, 4000);
    ck_assert_str_eq(line + n - 4, "...\n");
    memset(text, '\n', sizeof text - 1);
    log_info("%s", text);
    line = next_write();
    n = strlen(line);
    ck_assert_uint_le(n, 4096);
    ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
    ck_assert_str_eq(next_write(), "");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("log");
    TCase *tc = tcase_create("log");
    tcase_add_test(tc, a_line_is_time_level_and_text_in_one_write);
    tcase_add_test(tc, the_time_is_utc_and_exact_to_the_millisecond);
    tcase_add_test(tc, every_level_has_its_name);
    tcase_add_test(tc, lines_below_the_level_are_not_written);
    tcase_add_test(tc, control_characters_cannot_forge_a_line);
    tcase_add_test(tc, a_long_text_is_cut_and_still_one_line);
    suite_add_tcase(s, tc);
    return s;
}
