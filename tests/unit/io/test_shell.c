/* The shell around a member that is played: what it feeds, when it flushes and syncs, what it
 * does with output, and how it ends. The client is a plain socket in the test's own thread. */
#include "replica/io/loop.h"
#include "tests/lib/unit.h"
#include "tests/unit/io/shell_play.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 23490
#define MAX_FRAME 4096
#define FRAME_MAX_BYTES (8 << 20)

/* --- the client --- */

static struct loop_config config;
static pthread_t thread;
static atomic_int result;

static void *run_loop(void *arg) {
    result = (int)loop_run(&config);
    return NULL;
}

static int dial_at(int family) {
    struct sockaddr_in six4 = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    six4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    six.sin6_addr = in6addr_loopback;
    for (int i = 0; i < 2000; i++) {
        int fd = socket(family, SOCK_STREAM, 0);
        int one = 1;
        int rc = family == AF_INET ? connect(fd, (struct sockaddr *)&six4, sizeof six4)
                                   : connect(fd, (struct sockaddr *)&six, sizeof six);
        if (rc == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            return fd;
        }
        close(fd);
        usleep(5000);
    }
    ck_abort_msg("cannot connect: %s", strerror(errno));
    return -1;
}

static int dial(void) { return dial_at(AF_INET); }

static void start(void) {
    config = (struct loop_config){.client_port = PORT,
                                  .client_address = "127.0.0.1",
                                  .listen_backlog = 50,
                                  .max_frame_bytes = MAX_FRAME,
                                  .first_frame_ms = 10000,
                                  .data_dir = "/nowhere",
                                  .log_dir = "/nowhere"};
    alarm(30);
}

static void launch(void) { ck_assert_int_eq(pthread_create(&thread, NULL, run_loop, NULL), 0); }

/* The loop is ended as an operator does it; its result. */
static int end(void) {
    kill(getpid(), SIGTERM);
    pthread_join(thread, NULL);
    return result;
}

static void put(int fd, const char *frames) {
    /* Each frame is two letters. */
    uint8_t out[4096];
    size_t n = 0;
    for (const char *f = frames; *f; f += 2) {
        uint32_t length = htonl(2);
        memcpy(out + n, &length, 4);
        memcpy(out + n + 4, f, 2);
        n += 6;
    }
    ck_assert_int_eq(send(fd, out, n, MSG_NOSIGNAL), (ssize_t)n);
}

static ssize_t get_all(int fd, void *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = recv(fd, (char *)p + done, n - done, 0);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* The first byte of the next frame; 0 at the end of the connection. */
static uint8_t get(int fd) {
    static uint8_t frame[FRAME_MAX_BYTES];
    uint32_t length;
    if (get_all(fd, &length, 4) != 4)
        return 0;
    ck_assert_uint_le(ntohl(length), sizeof frame);
    ck_assert_int_eq(get_all(fd, frame, ntohl(length)), ntohl(length));
    return frame[0];
}

static void expect(int fd, const char *answers) {
    for (; *answers; answers++)
        ck_assert_int_eq(get(fd), *answers);
}

START_TEST(frames_of_one_read_share_one_flush_and_one_sync) {
    launch();
    int fd = dial();
    put(fd, "e0");
    expect(fd, "0");
    int flushed = flushes;
    put(fd, "w1w2w3w4w5w6w7w8");
    expect(fd, "12345678");
    ck_assert_int_eq(syncs, 1);
    /* One before the poll and one after it, and those of the sync's own round. */
    ck_assert_int_le(flushes - flushed, 5);
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_frame_in_pieces_is_fed_once_it_is_whole) {
    launch();
    int fd = dial();
    uint8_t frame[10] = {0, 0, 0, 2, 'e', '1', 0, 0, 0, 2};
    for (size_t i = 0; i < sizeof frame; i++) {
        ck_assert_int_eq(send(fd, frame + i, 1, MSG_NOSIGNAL), 1);
        usleep(1000);
    }
    expect(fd, "1");
    ck_assert_int_eq(send(fd, "e2", 2, MSG_NOSIGNAL), 2);
    expect(fd, "2");
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_paused_connection_keeps_its_frames_in_order) {
    launch();
    int fd = dial();
    put(fd, "e1p2e3p4e5");
    put(fd, "e6p7");
    expect(fd, "1234567");
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_paused_connection_does_not_hold_up_another) {
    launch();
    int fd = dial();
    int other = dial();
    put(fd, "p1e2");
    expect(fd, "1");
    put(other, "e3");
    expect(other, "3");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    expect(fd, "2");
    close(fd);
    close(other);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_close_comes_after_all_that_was_sent) {
    launch();
    int fd = dial();
    put(fd, "bbbbbbc1e9");
    usleep(100000); /* the socket is full by now, and the rest waits in the process */
    expect(fd, "bbb1");
    ck_assert_int_eq(get(fd), 0);
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
    ck_assert_int_eq(closed, 0);
}
END_TEST

START_TEST(output_that_is_not_read_stops_the_input_and_goes_on_later) {
    launch();
    int fd = dial();
    for (int i = 0; i < 30; i++)
        put(fd, "bb");
    put(fd, "e1");
    usleep(100000);
    for (int i = 0; i < 30; i++)
        expect(fd, "b");
    expect(fd, "1");
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(the_member_hears_once_of_a_client_that_went) {
    launch();
    int fd = dial();
    put(fd, "e1");
    expect(fd, "1");
    close(fd);
    while (closed == 0)
        usleep(1000);
    fd = dial();
    put(fd, "c2");
    expect(fd, "2");
    ck_assert_int_eq(get(fd), 0);
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
    ck_assert_int_eq(opened, 2);
    ck_assert_int_eq(closed, 1);
}
END_TEST

START_TEST(a_word_is_fed_as_such_and_what_follows_is_dropped) {
    launch();
    int fd = dial();
    char answer[8] = {0};
    ck_assert_int_eq(send(fd, "ruok\nmore", 9, MSG_NOSIGNAL), 9);
    ck_assert_int_eq(get_all(fd, answer, sizeof answer), 4);
    ck_assert_str_eq(answer, "ruok");
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_slow_disk_holds_up_no_reads) {
    sync_us = 300000;
    launch();
    int fd = dial();
    int other = dial();
    put(fd, "w1"); /* this one is slow in the loop, and teaches it */
    expect(fd, "1");
    put(fd, "w2");
    while (syncs < 2)
        usleep(1000);
    put(other, "e3");
    expect(other, "3");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    expect(fd, "2");
    /* Writes that came meanwhile share the next sync. */
    put(fd, "w4");
    while (syncs < 3)
        usleep(1000);
    put(other, "w5");
    put(fd, "w6");
    put(other, "w7");
    expect(fd, "46");
    expect(other, "57");
    ck_assert_int_eq(syncs, 4);
    close(fd);
    close(other);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(every_sync_is_measured_wherever_it_runs) {
    sync_us = 50000;
    launch();
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        put(fd, "w1");
        expect(fd, "1");
    }
    put(fd, "n1");
    expect(fd, "3");
    close(fd);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(an_orderly_stop_waits_for_the_sync_and_its_answers) {
    sync_us = 200000;
    launch();
    int fd = dial();
    put(fd, "w1");
    expect(fd, "1");
    put(fd, "w2");
    while (syncs < 2)
        usleep(1000);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
    expect(fd, "2");
    ck_assert_int_eq(get(fd), 0);
    close(fd);
}
END_TEST

static void *write_for_ever(void *arg) {
    int fd = *(int *)arg;
    while (send(fd, "\0\0\0\2w1", 6, MSG_NOSIGNAL) == 6)
        usleep(5000);
    return NULL;
}

/* After a pause of the process what the others sent meanwhile is heard before their silence is. */
START_TEST(what_was_sent_before_a_tick_was_due_is_read_before_its_time) {
    launch();
    int fd = dial();
    int other = dial();
    put(other, "e0");
    expect(other, "0");
    put(fd, "t0");
    usleep(5000); /* it is busy now */
    put(other, "m0");
    expect(other, "b");
    usleep(30000);
    put(other, "m0");
    expect(other, "a");
    close(fd);
    close(other);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_stream_of_writes_does_not_keep_the_process_from_stopping) {
    sync_us = 50000;
    launch();
    int fd = dial();
    put(fd, "w1");
    expect(fd, "1");
    pthread_t writer;
    pthread_create(&writer, NULL, write_for_ever, &fd);
    while (syncs < 5)
        usleep(1000);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
    ck_assert_int_le(syncs, 9);
    pthread_join(writer, NULL);
    close(fd);
}
END_TEST

START_TEST(a_sync_that_fails_stops_the_process_without_an_answer) {
    sync_error = -EIO;
    launch();
    int fd = dial();
    put(fd, "w1");
    ck_assert_int_eq(get(fd), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, LOOP_FAILED);
    close(fd);
}
END_TEST

START_TEST(a_log_that_is_refused_has_its_own_result) {
    start_error = -EBADMSG;
    launch();
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, LOOP_LOG_REFUSED);
}
END_TEST

START_TEST(a_start_that_finds_no_room_waits_for_it_and_can_be_stopped) {
    start_error = -EDQUOT;
    launch();
    while (starts < 1)
        usleep(1000);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
    start_error = -ENOSPC;
    launch();
    while (starts < 3)
        usleep(1000);
    start_error = 0;
    close(dial());
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

START_TEST(a_port_in_use_is_a_failure) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    launch();
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, LOOP_FAILED);
    config.client_address = "no.such.host.invalid";
    launch();
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, LOOP_FAILED);
    close(fd);
}
END_TEST

START_TEST(both_families_are_served_and_a_mapped_address_comes_as_four_bytes) {
    config.client_address = NULL;
    launch();
    int four = dial_at(AF_INET);
    put(four, "ll");
    expect(four, "\4");
    int six = dial_at(AF_INET6);
    put(six, "ll");
    expect(six, "\20");
    close(four);
    close(six);
    ck_assert_int_eq(end(), LOOP_ORDERLY);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("shell");
    TCase *t = tcase_create("shell");
    tcase_set_timeout(t, 40);
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, frames_of_one_read_share_one_flush_and_one_sync);
    tcase_add_test(t, a_frame_in_pieces_is_fed_once_it_is_whole);
    tcase_add_test(t, a_paused_connection_keeps_its_frames_in_order);
    tcase_add_test(t, a_paused_connection_does_not_hold_up_another);
    tcase_add_test(t, a_close_comes_after_all_that_was_sent);
    tcase_add_test(t, output_that_is_not_read_stops_the_input_and_goes_on_later);
    tcase_add_test(t, the_member_hears_once_of_a_client_that_went);
    tcase_add_test(t, a_word_is_fed_as_such_and_what_follows_is_dropped);
    tcase_add_test(t, a_slow_disk_holds_up_no_reads);
    tcase_add_test(t, every_sync_is_measured_wherever_it_runs);
    tcase_add_test(t, an_orderly_stop_waits_for_the_sync_and_its_answers);
    tcase_add_test(t, what_was_sent_before_a_tick_was_due_is_read_before_its_time);
    tcase_add_test(t, a_stream_of_writes_does_not_keep_the_process_from_stopping);
    tcase_add_test(t, a_sync_that_fails_stops_the_process_without_an_answer);
    tcase_add_test(t, a_log_that_is_refused_has_its_own_result);
    tcase_add_test(t, a_start_that_finds_no_room_waits_for_it_and_can_be_stopped);
    tcase_add_test(t, a_port_in_use_is_a_failure);
    tcase_add_test(t, both_families_are_served_and_a_mapped_address_comes_as_four_bytes);
    suite_add_tcase(s, t);
    return s;
}
