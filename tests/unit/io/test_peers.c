/* Links between servers: two of ours, and one of ours with a plain socket that plays the other. */
#include "replica/io/peer_frame.h"
#include "tests/lib/unit.h"
#include "tests/unit/io/peer_play.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG_BYTES (3u << 20)

/* --- two and more of ours --- */

START_TEST(two_servers_have_one_link_whoever_is_first) {
    for (uint8_t first = 1; first <= 2; first++) {
        configure(1, 2, 0);
        configure(2, 2, 0);
        launch(first);
        usleep(30000);
        launch(3 - first);
        wait_for(&seen[1][2].up, first);
        wait_for(&seen[2][1].up, first);
        word(1, 'c');
        wait_for(&seen[2][1].messages, first);
        word(2, 'b');
        wait_for(&seen[1][2].messages, first);
        end_all();
        ck_assert_int_eq(servers[1].result, LOOP_ORDERLY);
        ck_assert_int_eq(servers[2].result, LOOP_ORDERLY);
        memset(&seen[1][2].linked, 0, sizeof(atomic_int));
        memset(&seen[2][1].linked, 0, sizeof(atomic_int));
    }
    ck_assert_int_eq(seen[1][2].up, 2);
    ck_assert_int_eq(seen[2][1].up, 2);
}
END_TEST

START_TEST(an_observer_dials_a_voter_with_a_greater_id) {
    for (uint8_t id = 1; id <= 3; id++)
        configure(id, 3, 1);
    for (uint8_t id = 1; id <= 3; id++)
        launch(id);
    for (uint8_t id = 1; id <= 3; id++) {
        for (uint8_t other = 1; other <= 3; other++) {
            if (id != other)
                wait_for(&seen[id][other].up, 1);
        }
    }
    end_all();
}
END_TEST

/* --- one of ours, and a played one --- */

START_TEST(messages_go_both_ways_in_order_and_in_pieces) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    struct buf out = BUF_INIT;
    frame(&p, &out, "e1");
    frame(&p, &out, "e2");
    frame(&p, &out, "e3");
    for (size_t i = 0; i < out.len; i++) {
        put(p.fd, out.data + i, 1);
        if (i % 7 == 0)
            usleep(1000);
    }
    put(p.fd, out.data, out.len);
    const char *answers[] = {"E1", "E2", "E3", "E1", "E2", "E3"};
    for (size_t i = 0; i < 6; i++)
        expect(&p, answers[i]);
    buf_close(&out);
    close(p.fd);
    wait_for(&seen[1][2].down, 1);
    end_all();
}
END_TEST

START_TEST(either_port_serves) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 11), 2, 1);
    say(&p, "e1");
    expect(&p, "E1");
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_great_message_arrives_whole) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    char *text = malloc(BIG_BYTES + 1);
    memset(text, 'x', BIG_BYTES);
    text[BIG_BYTES - 1] = 'y';
    text[BIG_BYTES] = 0;
    say(&p, text);
    wait_for(&seen[1][2].messages, 1);
    ck_assert_int_eq(seen[1][2].last_byte, 'y');
    free(text);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(the_newer_of_two_links_wins_and_the_older_is_reported_down_first) {
    configure(1, 2, 0);
    launch(1);
    struct played old = greet(dial(PORT + 1), 2, 1);
    struct played new = greet(dial(PORT + 1), 2, 1);
    expect_end(old.fd);
    say(&new, "e1");
    expect(&new, "E1");
    ck_assert_int_eq(seen[1][2].up, 2);
    ck_assert_int_eq(seen[1][2].down, 1);
    ck_assert_int_eq(seen[1][2].order_broken, 0);
    close(new.fd);
    end_all();
}
END_TEST

START_TEST(an_older_connection_that_greets_late_does_not_win) {
    configure(1, 2, 0);
    launch(1);
    int fd = dial(PORT + 1);
    struct played new = greet(dial(PORT + 1), 2, 1);
    struct played old = {.fd = fd, .from = 2, .to = 1, .generation = 1};
    put_preamble(&old);
    expect_end(fd);
    say(&new, "e1");
    expect(&new, "E1");
    ck_assert_int_eq(seen[1][2].up, 1);
    close(new.fd);
    end_all();
}
END_TEST

START_TEST(who_is_no_peer_that_dials_is_not_let_in) {
    static const struct { uint8_t from, to; } wrong[] = {{9, 2}, {0, 2}, {2, 2}, {3, 1}, {1, 2}};
    configure(2, 3, 0); /* 3 dials it; 1 is dialled by it */
    launch(2);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct played p = {.fd = dial(PORT + 2), .from = wrong[i].from, .to = wrong[i].to};
        put_preamble(&p);
        expect_end(p.fd);
    }
    ck_assert_int_eq(seen[2][3].up, 0);
    end_all();
}
END_TEST

START_TEST(a_preamble_with_a_damaged_byte_or_another_version_is_refused) {
    configure(1, 2, 0);
    launch(1);
    struct buf out = BUF_INIT;
    peer_preamble_encode(&out,
                         &(struct peer_preamble){.version = PEER_LINK_VERSION, .from = 2, .to = 1});
    for (size_t i = 0; i < out.len; i++) {
        int fd = dial(PORT + 1);
        out.data[i] ^= 1;
        put(fd, out.data, out.len);
        expect_end(fd);
        out.data[i] ^= 1;
    }
    buf_reset(&out);
    peer_preamble_encode(
        &out, &(struct peer_preamble){.version = PEER_LINK_VERSION + 1, .from = 2, .to = 1});
    int fd = dial(PORT + 1);
    put(fd, out.data, out.len);
    expect_end(fd);
    ck_assert_int_eq(seen[1][2].up, 0);
    buf_close(&out);
    end_all();
}
END_TEST

START_TEST(a_damaged_or_foreign_frame_ends_the_link) {
    configure(1, 2, 0);
    launch(1);
    for (int kind = 0; kind < 4; kind++) {
        struct played p = greet(dial(PORT + 1), 2, 1);
        struct buf out = BUF_INIT;
        if (kind == 3)
            p.generation++; /* a frame of another link */
        frame(&p, &out, "e1");
        if (kind == 0)
            out.data[out.len - 1] ^= 1;
        if (kind == 1)
            buf_patch_u32be(&out, 0, 0);
        if (kind == 2)
            buf_patch_u32be(&out, 0, PEER_MESSAGE_MAX + 1);
        put(p.fd, out.data, out.len);
        expect_end(p.fd);
        wait_for(&seen[1][2].down, kind + 1);
        buf_close(&out);
    }
    ck_assert_int_eq(seen[1][2].messages, 0);
    end_all();
}
END_TEST

START_TEST(who_does_not_say_who_it_is_is_closed_after_two_seconds) {
    configure(1, 2, 0);
    launch(1);
    int fd = dial(PORT + 1);
    put(fd, "ZK", 2);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 1500), 0);
    ck_assert_int_eq(poll(&p, 1, 1500), 1);
    expect_end(fd);
    end_all();
}
END_TEST

START_TEST(a_crowd_of_strangers_keeps_no_peer_out) {
    int fds[60];
    configure(1, 2, 0);
    launch(1);
    for (size_t i = 0; i < 60; i++)
        fds[i] = dial(PORT + 1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "e1");
    expect(&p, "E1");
    /* The oldest had to go, before its time was over. */
    struct pollfd oldest = {.fd = fds[0], .events = POLLIN};
    ck_assert_int_eq(poll(&oldest, 1, 1000), 1);
    expect_end(fds[0]);
    for (size_t i = 1; i < 60; i++)
        close(fds[i]);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_link_that_the_core_drops_is_not_reported_and_is_dialled_again) {
    int listener = listen_as(1);
    configure(2, 2, 0);
    launch(2);
    for (int i = 0; i < 3; i++) {
        struct played p = {.fd = take(listener), .from = 1, .to = 2, .generation = 5};
        get_preamble(&p);
        put_preamble(&p);
        say(&p, "d");
        expect_end(p.fd);
    }
    ck_assert_int_eq(seen[2][1].down, 0);
    ck_assert_int_eq(seen[2][1].up, 3);
    ck_assert_int_eq(seen[2][1].order_broken, 0);
    close(listener);
    end_all();
}
END_TEST

START_TEST(another_server_at_the_address_is_not_taken_for_the_peer) {
    int listener = listen_as(1);
    configure(2, 3, 0);
    launch(2);
    struct played p = {.fd = take(listener), .from = 1, .to = 2};
    get_preamble(&p);
    p.from = 3;
    put_preamble(&p);
    expect_end(p.fd);
    ck_assert_int_eq(seen[2][1].up + seen[2][3].up, 0);
    close(listener);
    end_all();
}
END_TEST

START_TEST(a_link_that_was_of_use_is_dialled_again_at_once) {
    int listener = listen_as(1);
    configure(2, 2, 0);
    launch(2);
    struct played p = {.fd = take(listener), .from = 1, .to = 2};
    get_preamble(&p);
    put_preamble(&p);
    wait_for(&seen[2][1].up, 1);
    usleep(400000);
    close(p.fd);
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 15), 1);
    close(accept(listener, NULL, NULL));
    close(listener);
    end_all();
}
END_TEST

START_TEST(a_peer_that_takes_nothing_is_dropped_at_the_bound) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "f");
    /* Before the kernel would give up. */
    for (int i = 0; i < 4000 && seen[1][2].down == 0; i++)
        usleep(1000);
    ck_assert_int_eq(seen[1][2].down, 1);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(what_the_core_lets_out_before_a_sync_is_sent_before_it) {
    sync_us = 400000;
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "s");
    wait_for(&syncs, 1);
    struct pollfd wait = {.fd = p.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 200), 1);
    expect(&p, "p");
    ck_assert_int_eq(poll(&wait, 1, 0), 0);
    expect(&p, "k");
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(an_orderly_stop_finishes_the_sync_and_closes_the_links) {
    sync_us = 200000;
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "s");
    wait_for(&syncs, 1);
    end_all();
    ck_assert_int_eq(servers[1].result, LOOP_ORDERLY);
    expect(&p, "p");
    expect(&p, "k");
    expect_end(p.fd);
}
END_TEST

static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

START_TEST(links_that_come_and_go_leave_no_descriptor) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        close(dial(PORT + 1));
        struct played next = greet(dial(PORT + 1), 2, 1);
        close(p.fd);
        p = next;
    }
    say(&p, "e1");
    expect(&p, "E1");
    for (int i = 0; i < 1000 && open_descriptors() > before; i++)
        usleep(1000);
    ck_assert_int_le(open_descriptors(), before);
    ck_assert_int_eq(seen[1][2].order_broken, 0);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_name_that_is_not_found_is_tried_on_and_holds_up_no_end) {
    configure(2, 2, 0);
    servers[2].peers[0].host = "no.such.host.invalid";
    launch(2);
    usleep(100000);
    end_all();
    ck_assert_int_eq(servers[2].result, LOOP_ORDERLY);
}
END_TEST

START_TEST(a_peer_port_in_use_is_a_failure) {
    int listener = listen_as(1);
    configure(1, 2, 0);
    launch(1);
    pthread_join(servers[1].thread, NULL);
    servers[1].running = false;
    ck_assert_int_eq(servers[1].result, LOOP_FAILED);
    close(listener);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("peers");
    TCase *t = tcase_create("peers");
    tcase_set_timeout(t, 70);
    tcase_add_checked_fixture(t, play_setup, NULL);
    tcase_add_test(t, two_servers_have_one_link_whoever_is_first);
    tcase_add_test(t, an_observer_dials_a_voter_with_a_greater_id);
    tcase_add_test(t, messages_go_both_ways_in_order_and_in_pieces);
    tcase_add_test(t, either_port_serves);
    tcase_add_test(t, a_great_message_arrives_whole);
    tcase_add_test(t, the_newer_of_two_links_wins_and_the_older_is_reported_down_first);
    tcase_add_test(t, an_older_connection_that_greets_late_does_not_win);
    tcase_add_test(t, who_is_no_peer_that_dials_is_not_let_in);
    tcase_add_test(t, a_preamble_with_a_damaged_byte_or_another_version_is_refused);
    tcase_add_test(t, a_damaged_or_foreign_frame_ends_the_link);
    tcase_add_test(t, who_does_not_say_who_it_is_is_closed_after_two_seconds);
    tcase_add_test(t, a_crowd_of_strangers_keeps_no_peer_out);
    tcase_add_test(t, a_link_that_the_core_drops_is_not_reported_and_is_dialled_again);
    tcase_add_test(t, another_server_at_the_address_is_not_taken_for_the_peer);
    tcase_add_test(t, a_link_that_was_of_use_is_dialled_again_at_once);
    tcase_add_test(t, a_peer_that_takes_nothing_is_dropped_at_the_bound);
    tcase_add_test(t, what_the_core_lets_out_before_a_sync_is_sent_before_it);
    tcase_add_test(t, an_orderly_stop_finishes_the_sync_and_closes_the_links);
    tcase_add_test(t, links_that_come_and_go_leave_no_descriptor);
    tcase_add_test(t, a_name_that_is_not_found_is_tried_on_and_holds_up_no_end);
    tcase_add_test(t, a_peer_port_in_use_is_a_failure);
    suite_add_tcase(s, t);
    return s;
}
