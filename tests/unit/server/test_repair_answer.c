/* What a core that is whole answers to one that is being repaired. */
#include "replica/server/core.h"
#include "tests/lib/unit.h"
#include "tests/unit/server/repair_play.h"

/* ---- a core's answers ---- */

/* Its history: 1.0, then transactions up to 1.`last`. */
static void begin_core(uint32_t last, bool lossy) {
    play.core = replica_new(&play.config);
    play_feed((struct event){.type = EV_EPOCH, .epoch = 1});
    if (lossy)
        play_feed((struct event){.type = EV_LOSSY});
    for (uint32_t c = 0; c <= last; c++) {
        struct log_record rec = play_record(Z(1, c));
        play_feed((struct event){.type = EV_LOG_RECORD, .record = &rec, .zxid = rec.zxid});
    }
    uint8_t random[RANDOM_BYTES] = {7};
    play_feed((struct event){.type = EV_START, .random = random});
    struct buf b = BUF_INIT;
    play_feed((struct event){.type = EV_PEER_UP, .peer = 2});
    const struct peer_hello h = {
        .version = PEER_PROTOCOL_VERSION, .from = 2, .to = 1, .repairing = true};
    peer_hello_encode(&b, &h);
    play_feed(
        (struct event){.type = EV_PEER_MESSAGE, .peer = 2, .bytes = {b.data, (int32_t)b.len}});
    buf_close(&b);
    play_expect("#2:hello ");
}

static void ask(zxid_t after, zxid_t until) {
    const struct repair_msg m = {.type = REPAIR_ASK, .after = after, .until = until};
    play_message(2, &m);
}

static void range(zxid_t after, zxid_t until, uint32_t count, bool purged) {
    struct log_record list[8];
    for (uint32_t i = 0; i < count; i++)
        list[i] = play_record(after == 0 ? Z(1, i) : after + 1 + i);
    play_feed((struct event){.type = EV_REPAIR_RANGE,
                             .peer = 2,
                             .zxid = after,
                             .ended = until,
                             .records = list,
                             .record_count = count,
                             .count = purged});
}

START_TEST(a_core_answers_from_its_log) {
    begin_core(5, false);
    ask(Z(1, 2), Z(1, 4));
    ask(Z(1, 2), Z(1, 4));
    play_expect("#2:read(1.2..1.4) ");
    range(Z(1, 2), Z(1, 4), 3, false);
    play_expect("#2:records(1.2..1.4),1.3,1.4 "); /* and no more */
    /* Within an epoch the next number is enough. */
    ask(Z(1, 4), Z(1, 9));
    range(Z(1, 4), Z(1, 9), 1, false);
    play_expect("#2:read(1.4..1.9) #2:records(1.4..1.9),1.5 ");
    ask(0, Z(1, 1));
    range(0, Z(1, 1), 2, false);
    play_expect("#2:read(0..1.1) #2:records(0..1.1),1.0,1.1 ");
}
END_TEST

START_TEST(a_core_says_what_is_not_in_its_history) {
    begin_core(5, false);
    ask(Z(1, 5), Z(1, 9));
    play_expect("#2:absent(1.5..1.9) ");
    /* Across epochs its history has to have the end. */
    ask(Z(1, 3), Z(2, 0));
    play_expect("#2:absent(1.3..2.0) ");
    ask(0, Z(1, 6));
    play_expect("#2:absent(0..1.6) ");
}
END_TEST

START_TEST(a_core_that_may_lack_something_cannot_tell_what_never_was) {
    begin_core(5, true);
    ask(Z(1, 5), Z(1, 9));
    play_expect("#2:unknown(1.5..1.9) ");
    ask(Z(1, 3), Z(1, 9));
    play_expect("#2:read(1.3..1.9) ");
}
END_TEST

START_TEST(a_core_whose_log_does_not_reach_back_says_so) {
    begin_core(5, false);
    ask(0, Z(1, 3));
    range(0, Z(1, 3), 0, true);
    play_expect("#2:read(0..1.3) #2:purged(0..1.3) ");
    /* What is not durable yet may be soon. */
    ask(Z(1, 4), Z(1, 9));
    range(Z(1, 4), Z(1, 9), 0, false);
    play_expect("#2:read(1.4..1.9) #2:unknown(1.4..1.9) ");
}
END_TEST

START_TEST(a_core_gives_its_snapshot) {
    begin_core(5, false);
    play_message(2, &(struct repair_msg){.type = REPAIR_SNAP_ASK, .begun = 9, .offset = 70});
    play_feed((struct event){.type = EV_SNAP_RANGE,
                             .peer = 2,
                             .zxid = 9,
                             .ended = 9,
                             .offset = 70,
                             .size_bytes = 100,
                             .bytes = {(const uint8_t *)"piece", 5}});
    play_expect("#2:snap-read(9@70) #2:play_piece(9@70) ");
    play_message(2, &(struct repair_msg){.type = REPAIR_SNAP_ASK});
    play_feed((struct event){.type = EV_PEER_DOWN, .peer = 2});
    play_feed((struct event){.type = EV_SNAP_RANGE, .peer = 2, .bytes = SLICE_NULL});
    play_expect("#2:snap-read(0@0) "); /* nobody is there to be told */
}
END_TEST

START_TEST(one_that_is_being_repaired_takes_no_part) {
    begin_core(5, false);
    struct buf b = BUF_INIT;
    const struct zab_msg vote = {.type = ZM_VOTE};
    peer_zab_encode(&b, &vote);
    play_feed(
        (struct event){.type = EV_PEER_MESSAGE, .peer = 2, .bytes = {b.data, (int32_t)b.len}});
    buf_close(&b);
    play_expect("drop#2 ");
    struct updates u = replica_leave(play.core);
    ck_assert_uint_eq(u.count, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("repair_answer");
    TCase *t = tcase_create("repair_answer");
    tcase_add_checked_fixture(t, play_setup, play_teardown);
    tcase_add_test(t, a_core_answers_from_its_log);
    tcase_add_test(t, a_core_says_what_is_not_in_its_history);
    tcase_add_test(t, a_core_that_may_lack_something_cannot_tell_what_never_was);
    tcase_add_test(t, a_core_whose_log_does_not_reach_back_says_so);
    tcase_add_test(t, a_core_gives_its_snapshot);
    tcase_add_test(t, one_that_is_being_repaired_takes_no_part);
    suite_add_tcase(s, t);
    return s;
}
