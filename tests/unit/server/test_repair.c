/* The machine that repairs: holes, and whom it believes. */
#include "tests/lib/unit.h"
#include "tests/unit/server/repair_play.h"

/* 1.0 to 1.5, then 1.8 to 2.4; the log was known to go on to 2.6. */
static const struct repair_island two[] = {{0, Z(1, 0), Z(1, 5)}, {Z(1, 7), Z(1, 8), Z(2, 4)}};

START_TEST(what_is_whole_is_copied_and_the_rest_is_asked_for) {
    play_begin(0, two, 2, Z(2, 6), false);
    play_expect("begin:0 copy-first(0..1.5) ");
    play_copied(Z(1, 3), NULL);
    play_expect("copy(1.3..1.5) ");
    play_copied(Z(1, 5), NULL);
    play_expect("");
    play_greet(2);
    play_expect("#2:hello-repairing #2:ask(1.5..1.8) ");
    PLAY_RECORDS(2, Z(1, 5), Z(1, 8), Z(1, 6));
    play_expect("append:1.6 #2:ask(1.6..1.8) ");
    PLAY_RECORDS(2, Z(1, 6), Z(1, 8), Z(1, 7));
    /* Its number says that 1.8 is next. */
    play_expect("append:1.7 copy-first(1.7..2.4) ");
    play_copied(Z(2, 4), NULL);
    play_expect("#2:ask(2.4..2.6) ");
    PLAY_RECORDS(2, Z(2, 4), Z(2, 6), Z(2, 5), Z(2, 6));
    play_expect("append:2.5 append:2.6 end ");
}
END_TEST

START_TEST(with_nothing_missing_it_ends_at_once) {
    play_begin(Z(1, 3), two, 1, Z(1, 5), true);
    play_expect("begin:1.3 copy(1.3..1.5) ");
    play_copied(Z(1, 5), NULL);
    play_expect("end-lossy ");
    play_feed((struct event){.type = EV_PEER_UP, .peer = 2});
    play_expect("");
}
END_TEST

START_TEST(a_history_of_which_nothing_is_left_ends_at_once) {
    play_begin(0, NULL, 0, 0, true);
    play_expect("begin:0 end-lossy ");
}
END_TEST

START_TEST(only_others_know_what_stands_before_an_epoch) {
    static const struct repair_island islands[] = {{0, Z(1, 0), Z(1, 5)},
                                                   {REPAIR_NOT_KNOWN, Z(3, 0), Z(3, 4)}};
    play_begin(0, islands, 2, Z(3, 4), false);
    play_greet(2);
    play_copied(Z(1, 5), NULL);
    play_expect("begin:0 copy-first(0..1.5) #2:hello-repairing #2:ask(1.5..3.0) ");
    PLAY_RECORDS(2, Z(1, 5), Z(3, 0), Z(1, 6), Z(2, 0), Z(2, 1), Z(3, 0));
    play_expect("append:1.6 append:2.0 append:2.1 copy-first(2.1..3.4) ");
    struct log_record first = play_record(Z(3, 0));
    play_copied(Z(3, 4), &first);
    play_expect("end ");
}
END_TEST

START_TEST(who_cannot_give_it_is_asked_again_after_a_while) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    play_greet(2);
    play_greet(3);
    play_expect(
        "begin:0 copy-first(0..1.5) #2:hello-repairing #2:ask(1.5..1.8) #3:hello-repairing ");
    play_none(2, Z(1, 5), Z(1, 8), REPAIR_UNKNOWN);
    play_expect("#3:ask(1.5..1.8) ");
    play_none(3, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    play_expect("");
    play_pass(999);
    play_expect("");
    play_pass(1);
    play_expect("#2:ask(1.5..1.8) ");
    /* A link that comes is asked at once when nobody else is. */
    play_none(2, Z(1, 5), Z(1, 8), REPAIR_UNKNOWN);
    play_feed((struct event){.type = EV_PEER_DOWN, .peer = 3});
    play_expect("#3:ask(1.5..1.8) ");
    play_greet(3);
    play_expect("#3:hello-repairing #3:ask(1.5..1.8) ");
}
END_TEST

START_TEST(what_those_that_could_have_committed_it_do_not_have_is_given_up) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    play_greet(2);
    play_none(2, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    play_forget();
    /* The third may have it. */
    play_pass(1000);
    play_none(2, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    play_expect("#2:ask(1.5..1.8) ");
    play_greet(3);
    play_none(3, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    play_expect("#3:hello-repairing #3:ask(1.5..1.8) end-lossy ");
}
END_TEST

START_TEST(of_five_three_are_enough_to_give_it_up) {
    play.config.ensemble.count = 5;
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    for (uint8_t peer = 2; peer <= 4; peer++) {
        play_greet(peer);
        if (peer == 4)
            play_forget();
        play_none(peer, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    }
    play_expect("end-lossy ");
}
END_TEST

START_TEST(one_who_cannot_tell_does_not_make_it_given_up) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    play_greet(2);
    play_greet(3);
    play_forget();
    for (int i = 0; i < 5; i++) {
        play_none(2, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
        play_none(3, Z(1, 5), Z(1, 8), REPAIR_UNKNOWN);
        play_pass(1000);
    }
    play_none(2, Z(1, 5), Z(1, 8), REPAIR_ABSENT);
    play_forget();
    PLAY_RECORDS(3, Z(1, 5), Z(1, 8), Z(1, 6), Z(1, 7));
    play_expect("append:1.6 append:1.7 copy-first(1.7..2.4) ");
}
END_TEST

START_TEST(late_answers_and_answers_to_other_questions_are_passed_over) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    play_greet(2);
    play_greet(3);
    PLAY_RECORDS(2, Z(1, 5), Z(1, 8), Z(1, 6));
    play_forget();
    PLAY_RECORDS(3, Z(1, 5), Z(1, 8), Z(1, 6));
    PLAY_RECORDS(3, Z(1, 6), Z(1, 9), Z(1, 7));
    play_none(3, Z(1, 5), Z(1, 8), REPAIR_PURGED);
    play_piece(3, Z(1, 7), 0, 10);
    play_expect("");
    /* One who was not asked may answer, too. */
    PLAY_RECORDS(3, Z(1, 6), Z(1, 8), Z(1, 7));
    play_expect("append:1.7 copy-first(1.7..2.4) ");
}
END_TEST

START_TEST(a_peer_that_does_not_answer_is_dialled_anew) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 5), NULL);
    play_greet(2);
    play_greet(3);
    play_forget();
    play_pass(4999);
    play_expect("");
    play_pass(1);
    play_expect("drop#2 #3:ask(1.5..1.8) ");
}
END_TEST

START_TEST(one_whose_record_differs_is_not_believed) {
    static const struct repair_island islands[] = {
        {0, Z(1, 0), Z(1, 5)}, {REPAIR_NOT_KNOWN, Z(3, 0), Z(3, 4)}, {Z(3, 5), Z(3, 6), Z(3, 7)}};
    play_begin(0, islands, 3, Z(3, 7), false);
    play_greet(2);
    play_copied(Z(1, 5), NULL);
    PLAY_RECORDS(2, Z(1, 5), Z(3, 0), Z(2, 0), Z(3, 0));
    struct log_record first = play_record(Z(3, 0));
    play_copied(Z(3, 4), &first);
    PLAY_RECORDS(2, Z(3, 4), Z(3, 6), Z(3, 5), Z(3, 6));
    play_expect("begin:0 copy-first(0..1.5) #2:hello-repairing #2:ask(1.5..3.0) append:2.0 "
                "copy-first(2.0..3.4) #2:ask(3.4..3.6) append:3.5 copy-first(3.5..3.7) ");
    first = play_record(Z(3, 6));
    first.payload = (struct slice){(const uint8_t *)"another", 7};
    play_copied(Z(3, 7), &first);
    play_expect("begin:0 copy-first(0..1.5) ");
    play_copied(Z(1, 5), NULL);
    play_expect("");
    play_greet(3);
    play_expect("#3:hello-repairing #3:ask(1.5..3.0) ");
    play_pass(1);
    PLAY_RECORDS(2, Z(1, 5), Z(3, 0), Z(2, 0), Z(3, 0));
    play_expect("");
}
END_TEST

START_TEST(an_island_that_cannot_be_read_again_is_a_hole) {
    play_begin(0, two, 2, Z(2, 4), false);
    play_copied(Z(1, 3), NULL);
    play_copied(Z(1, 3), NULL);
    play_greet(2);
    play_expect("begin:0 copy-first(0..1.5) copy(1.3..1.5) #2:hello-repairing #2:ask(1.3..1.8) ");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("repair");
    TCase *t = tcase_create("repair");
    tcase_add_checked_fixture(t, play_setup, play_teardown);
    tcase_add_test(t, what_is_whole_is_copied_and_the_rest_is_asked_for);
    tcase_add_test(t, with_nothing_missing_it_ends_at_once);
    tcase_add_test(t, a_history_of_which_nothing_is_left_ends_at_once);
    tcase_add_test(t, only_others_know_what_stands_before_an_epoch);
    tcase_add_test(t, who_cannot_give_it_is_asked_again_after_a_while);
    tcase_add_test(t, what_those_that_could_have_committed_it_do_not_have_is_given_up);
    tcase_add_test(t, of_five_three_are_enough_to_give_it_up);
    tcase_add_test(t, one_who_cannot_tell_does_not_make_it_given_up);
    tcase_add_test(t, late_answers_and_answers_to_other_questions_are_passed_over);
    tcase_add_test(t, a_peer_that_does_not_answer_is_dialled_anew);
    tcase_add_test(t, one_whose_record_differs_is_not_believed);
    tcase_add_test(t, an_island_that_cannot_be_read_again_is_a_hole);
    suite_add_tcase(s, t);
    return s;
}
