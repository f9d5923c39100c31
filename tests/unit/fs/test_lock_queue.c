#include "fs/lock_queue.h"
#include "tests/lib/unit.h"

/* Locks of owners of one mount; decide() takes the one in question for not held. */
static struct lock_entry flock_of(uint64_t owner, bool write, int32_t order) {
    return (struct lock_entry){
        .write = write, .held = true, .mount = 1, .owner = owner, .end = LOCK_END, .order = order};
}

static struct lock_entry range_of(uint64_t owner, bool write, int32_t order, int64_t start,
                                  int64_t end) {
    return (struct lock_entry){.write = write,
                               .range = true,
                               .held = true,
                               .mount = 1,
                               .owner = owner,
                               .start = start,
                               .end = end,
                               .order = order};
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct lock_decision decide(struct lock_entry *list, size_t count, size_t mine) {
    list[mine].held = false;
    return lock_queue_decide(list, count, mine);
}

START_TEST(the_first_is_granted_and_the_next_waits_for_the_one_in_front_of_it) {
    struct lock_entry list[] = {flock_of(3, true, 7), flock_of(1, true, 5), flock_of(2, true, 6)};
    ck_assert_int_eq(decide(list, COUNT(list), 1).verdict, LOCK_GRANTED);
    struct lock_decision d = decide(list, COUNT(list), 0);
    ck_assert_int_eq(d.verdict, LOCK_WAITS);
    ck_assert_uint_eq(d.blocker, 2);
    d = decide(list, COUNT(list), 2);
    ck_assert_uint_eq(d.blocker, 1);
}
END_TEST

START_TEST(readers_share_and_wait_for_the_last_writer_in_front_of_them) {
    struct lock_entry list[] = {flock_of(1, false, 1), flock_of(2, false, 2), flock_of(3, true, 3),
                                flock_of(4, false, 4), flock_of(5, false, 5)};
    ck_assert_int_eq(decide(list, COUNT(list), 1).verdict, LOCK_GRANTED);
    ck_assert_uint_eq(decide(list, COUNT(list), 2).blocker, 1);
    ck_assert_uint_eq(decide(list, COUNT(list), 3).blocker, 2);
    ck_assert_uint_eq(decide(list, COUNT(list), 4).blocker, 2);
}
END_TEST

START_TEST(the_order_goes_on_behind_the_greatest_number) {
    struct lock_entry list[] = {flock_of(1, true, INT32_MIN), flock_of(2, true, INT32_MAX)};
    ck_assert_int_eq(decide(list, COUNT(list), 1).verdict, LOCK_GRANTED);
    ck_assert_int_eq(decide(list, COUNT(list), 0).verdict, LOCK_WAITS);
}
END_TEST

START_TEST(flock_and_fcntl_locks_do_not_see_each_other_nor_do_apart_ranges) {
    struct lock_entry list[] = {flock_of(1, true, 1), range_of(2, true, 2, 0, 9),
                                range_of(3, true, 3, 10, 19), range_of(4, true, 4, 9, 10)};
    ck_assert_int_eq(decide(list, COUNT(list), 1).verdict, LOCK_GRANTED);
    ck_assert_int_eq(decide(list, COUNT(list), 2).verdict, LOCK_GRANTED);
    ck_assert_uint_eq(decide(list, COUNT(list), 3).blocker, 2);
}
END_TEST

START_TEST(an_owner_does_not_wait_for_itself) {
    struct lock_entry list[] = {range_of(1, false, 1, 0, 9), range_of(1, true, 2, 0, 9)};
    struct lock_decision d = decide(list, COUNT(list), 1);
    ck_assert_int_eq(d.verdict, LOCK_GRANTED);
    ck_assert_int_eq(d.order, 2);
}
END_TEST

START_TEST(programs_of_another_kind_are_each_an_owner_of_their_own) {
    struct lock_entry list[] = {flock_of(0, true, 1), flock_of(0, true, 2)};
    list[0].mount = list[1].mount = 0;
    ck_assert_int_eq(decide(list, COUNT(list), 1).verdict, LOCK_WAITS);
}
END_TEST

START_TEST(an_upgrade_passes_those_who_wait_for_its_owner_and_takes_its_old_place) {
    struct lock_entry list[] = {range_of(1, false, 5, 0, 9), range_of(2, true, 6, 0, 9),
                                range_of(1, true, 7, 0, 9)};
    struct lock_decision d = decide(list, COUNT(list), 2);
    ck_assert_int_eq(d.verdict, LOCK_GRANTED);
    ck_assert_int_eq(d.order, 5);
    ck_assert_uint_eq(decide(list, COUNT(list), 1).blocker, 0);
}
END_TEST

START_TEST(it_does_not_pass_those_who_have_the_lock) {
    struct lock_entry list[] = {range_of(1, false, 5, 0, 9), range_of(3, false, 6, 0, 9),
                                range_of(1, true, 7, 0, 9)};
    struct lock_decision d = decide(list, COUNT(list), 2);
    ck_assert_int_eq(d.verdict, LOCK_WAITS);
    ck_assert_uint_eq(d.blocker, 1);
}
END_TEST

START_TEST(only_what_its_owner_has_counts_for_passing) {
    struct lock_entry list[] = {range_of(3, true, 4, 0, 9), range_of(1, true, 5, 0, 9),
                                range_of(2, true, 6, 0, 19), range_of(1, true, 7, 10, 19)};
    list[1].held = false;
    struct lock_decision d = decide(list, COUNT(list), 3);
    ck_assert_int_eq(d.verdict, LOCK_WAITS);
    ck_assert_uint_eq(d.blocker, 2);
}
END_TEST

START_TEST(of_two_upgrades_the_later_is_told_of_the_deadlock) {
    struct lock_entry list[] = {range_of(1, false, 1, 0, 9), range_of(2, false, 2, 0, 9),
                                range_of(1, true, 3, 0, 9), range_of(2, true, 4, 0, 9)};
    ck_assert_int_eq(decide(list, COUNT(list), 2).verdict, LOCK_WAITS);
    list[2].held = true; /* as owner 2 sees it */
    ck_assert_int_eq(decide(list, COUNT(list), 3).verdict, LOCK_DEADLOCK);
}
END_TEST

START_TEST(a_circle_of_three_is_a_deadlock_and_a_chain_is_not) {
    struct lock_entry list[] = {range_of(1, true, 1, 0, 0), range_of(2, true, 2, 1, 1),
                                range_of(3, true, 3, 2, 2), range_of(1, true, 4, 1, 1),
                                range_of(2, true, 5, 2, 2), range_of(3, true, 6, 0, 0)};
    ck_assert_int_eq(decide(list, COUNT(list), 5).verdict, LOCK_DEADLOCK);
    list[5] = range_of(3, true, 6, 3, 3);
    ck_assert_int_eq(decide(list, COUNT(list), 5).verdict, LOCK_GRANTED);
    list[5] = range_of(4, true, 6, 0, 0);
    ck_assert_int_eq(decide(list, COUNT(list), 5).verdict, LOCK_WAITS);
}
END_TEST

START_TEST(getlk_tells_a_lock_that_is_held_rather_than_one_that_waits) {
    struct lock_entry list[] = {range_of(2, true, 2, 0, 9), range_of(1, false, 1, 0, 9)};
    struct lock_entry want = range_of(7, true, 0, 5, 5);
    size_t at = 9;
    ck_assert(lock_queue_conflict(list, COUNT(list), &want, &at));
    ck_assert_uint_eq(at, 1);
    want = range_of(2, true, 0, 5, 5);
    ck_assert(lock_queue_conflict(list, COUNT(list), &want, &at));
    ck_assert_uint_eq(at, 1);
    want = range_of(7, true, 0, 10, 10);
    ck_assert(!lock_queue_conflict(list, COUNT(list), &want, &at));
}
END_TEST

START_TEST(getlk_tells_the_held_lock_that_begins_first) {
    struct lock_entry list[] = {range_of(1, true, 1, 6, 9), range_of(1, true, 1, 0, 4),
                                range_of(1, true, 1, 5, 5)};
    struct lock_entry want = range_of(7, true, 0, 0, 20);
    size_t at = 9;
    ck_assert(lock_queue_conflict(list, COUNT(list), &want, &at));
    ck_assert_uint_eq(at, 1);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("lock_queue");
    TCase *t = tcase_create("lock_queue");
    tcase_add_test(t, the_first_is_granted_and_the_next_waits_for_the_one_in_front_of_it);
    tcase_add_test(t, readers_share_and_wait_for_the_last_writer_in_front_of_them);
    tcase_add_test(t, the_order_goes_on_behind_the_greatest_number);
    tcase_add_test(t, flock_and_fcntl_locks_do_not_see_each_other_nor_do_apart_ranges);
    tcase_add_test(t, an_owner_does_not_wait_for_itself);
    tcase_add_test(t, programs_of_another_kind_are_each_an_owner_of_their_own);
    tcase_add_test(t, an_upgrade_passes_those_who_wait_for_its_owner_and_takes_its_old_place);
    tcase_add_test(t, it_does_not_pass_those_who_have_the_lock);
    tcase_add_test(t, only_what_its_owner_has_counts_for_passing);
    tcase_add_test(t, of_two_upgrades_the_later_is_told_of_the_deadlock);
    tcase_add_test(t, a_circle_of_three_is_a_deadlock_and_a_chain_is_not);
    tcase_add_test(t, getlk_tells_a_lock_that_is_held_rather_than_one_that_waits);
    tcase_add_test(t, getlk_tells_the_held_lock_that_begins_first);
    suite_add_tcase(s, t);
    return s;
}
