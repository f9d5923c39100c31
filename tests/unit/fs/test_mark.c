#include "common/path.h"
#include "fs/mark.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct mark_ring ring;

static struct slice path(const char *s) { return slice_from_str(s); }

static void start(void) { ring = (struct mark_ring){0}; }

START_TEST(a_mark_holds_for_its_time_its_path_and_its_kind) {
    mark_set(&ring, MARK_FILLED, path("/a"), 0, 1000);
    ck_assert(mark_holds(&ring, MARK_FILLED, path("/a"), 7, 1000 + MARK_MS - 1));
    ck_assert(!mark_holds(&ring, MARK_FILLED, path("/a"), 7, 1000 + MARK_MS));
    ck_assert(!mark_holds(&ring, MARK_FILLED, path("/b"), 7, 1000));
    ck_assert(!mark_holds(&ring, MARK_EMPTIED, path("/a"), 7, 1000));
}
END_TEST

START_TEST(a_mark_of_a_process_holds_for_that_one_only) {
    mark_set(&ring, MARK_EMPTIED, path("/a"), 7, 0);
    ck_assert(mark_holds(&ring, MARK_EMPTIED, path("/a"), 7, 1));
    ck_assert(!mark_holds(&ring, MARK_EMPTIED, path("/a"), 8, 1));
    mark_clear(&ring, MARK_EMPTIED, path("/a"), 8);
    ck_assert(mark_holds(&ring, MARK_EMPTIED, path("/a"), 7, 1));
    mark_clear(&ring, MARK_EMPTIED, path("/a"), 7);
    ck_assert(!mark_holds(&ring, MARK_EMPTIED, path("/a"), 7, 1));
}
END_TEST

START_TEST(no_mark_holds_in_an_empty_ring) {
    ck_assert(!mark_holds(&ring, MARK_FILLED, path("/a"), 7, 0));
    ck_assert(!mark_holds(&ring, MARK_UNLINKED, path(""), 0, 0));
}
END_TEST

START_TEST(a_full_ring_forgets_the_oldest_and_setting_one_again_takes_no_more_room) {
    char name[16];
    mark_set(&ring, MARK_FILLED, path("/first"), 0, 0);
    for (int i = 0; i < 3 * MARK_COUNT; i++)
        mark_set(&ring, MARK_EMPTIED, path("/same"), 7, 0);
    mark_set(&ring, MARK_FILLED, path("/last"), 0, 0);
    for (int i = 0; i < MARK_COUNT - 1; i++) {
        snprintf(name, sizeof name, "/%d", i);
        mark_set(&ring, MARK_FILLED, path(name), 0, 0);
    }
    ck_assert(mark_holds(&ring, MARK_FILLED, path("/last"), 0, 1));
    ck_assert(!mark_holds(&ring, MARK_FILLED, path("/first"), 0, 1));
    mark_set(&ring, MARK_FILLED, path("/one more"), 0, 0);
    ck_assert(!mark_holds(&ring, MARK_FILLED, path("/last"), 0, 1));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("mark");
    TCase *t = tcase_create("mark");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, a_mark_holds_for_its_time_its_path_and_its_kind);
    tcase_add_test(t, a_mark_of_a_process_holds_for_that_one_only);
    tcase_add_test(t, no_mark_holds_in_an_empty_ring);
    tcase_add_test(t, a_full_ring_forgets_the_oldest_and_setting_one_again_takes_no_more_room);
    suite_add_tcase(s, t);
    return s;
}
