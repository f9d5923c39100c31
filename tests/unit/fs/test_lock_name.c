#include "common/mem.h"
#include "common/path.h"
#include "fs/lock_name.h"
#include "tests/lib/unit.h"

#include <string.h>

static bool parse(const char *name, struct lock_entry *e) {
    return lock_name_parse(slice_from_str(name), e);
}

static void check_print(const struct lock_entry *e, const char *want) {
    struct buf b = BUF_INIT;
    lock_name_print(&b, e);
    buf_put_u8(&b, 0);
    ck_assert_str_eq((const char *)b.data, want);
    buf_close(&b);
}

START_TEST(a_name_is_read_as_it_was_written) {
    struct lock_entry e = {.write = true, .mount = UINT64_MAX, .owner = 10, .child = 11}, got;
    check_print(&e, "write-ffffffffffffffff.a.b-");
    ck_assert(parse("write-ffffffffffffffff.a.b-0000000042", &got));
    ck_assert(got.write && !got.range && !got.has_order && got.mount == UINT64_MAX);
    ck_assert(got.owner == 10 && got.child == 11 && got.order == 42);
    ck_assert(got.start == 0 && got.end == LOCK_END);

    e = (struct lock_entry){
        .range = true, .mount = 1, .owner = 2, .child = 3, .start = 16, .end = LOCK_END};
    check_print(&e, "read-1.2.3-10-7fffffffffffffff-");
    ck_assert(parse("read-1.2.3-10-7fffffffffffffff-0000000007", &got));
    ck_assert(!got.write && got.range && !got.has_order && got.start == 16 && got.end == LOCK_END &&
              got.order == 7);

    e.has_order = true;
    e.order = -5;
    check_print(&e, "read-1.2.3-10-7fffffffffffffff-fffffffb-");
    ck_assert(parse("read-1.2.3-10-7fffffffffffffff-fffffffb-0000000009", &got));
    ck_assert(got.has_order && got.order == -5);
}
END_TEST

START_TEST(sequence_numbers_behind_the_greatest_are_negative) {
    struct lock_entry e;
    ck_assert(parse("read--2147483648", &e));
    ck_assert_int_eq(e.order, INT32_MIN);
    ck_assert(parse("write-1.2.3-0-5--2147483647", &e));
    ck_assert_int_eq(e.order, -2147483647);
    ck_assert(e.end == 5 && !e.has_order);
    ck_assert(parse("write-2147483647", &e));
    ck_assert_int_eq(e.order, INT32_MAX);
    ck_assert(!parse("write-2147483648", &e));
}
END_TEST

START_TEST(names_of_the_plain_recipe_are_locks_of_another_program) {
    struct lock_entry e;
    ck_assert(parse("read-0000000001", &e));
    ck_assert(!e.write && !e.range && e.mount == 0 && e.order == 1);
}
END_TEST

START_TEST(what_is_no_lock_is_told_apart) {
    static const char *const names[] = {
        "",
        "read-",
        "read-1",
        "lock-0000000001",
        "write-x0000000001",
        "write-1.2-0000000001",
        "write-0.2.3-0000000001",
        "write-1.2.3-5-0000000001",
        "write-1.2.3-5-4-0000000001",
        "write-1.2.3-0-ffffffffffffffff-0000000001",
        "write-1.2.3-0-5-100000000-0000000001",
        "write-1.2.3-0-5-1-1-0000000001",
        "write-11111111111111111.2.3-0000000001",
    };
    struct lock_entry e;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(!parse(names[i], &e), "%s", names[i]);
}
END_TEST

START_TEST(the_directory_of_each_path_has_a_name_of_its_own) {
    struct buf b = BUF_INIT;
    ck_assert(lock_name_dir(&b, slice_from_str("/a/b:c%d"), 0x1f));
    buf_put_u8(&b, 0);
    ck_assert_str_eq((const char *)b.data, LOCKS_DIR "/000000000000001f:a:b%3Ac%25d");
    buf_close(&b);

    char *path = mem_alloc(PATH_MAX_BYTES);
    memset(path, 'x', PATH_MAX_BYTES);
    path[0] = '/';
    struct slice s = {(const uint8_t *)path, PATH_MAX_BYTES - 100};
    ck_assert(!lock_name_dir(&b, s, 1));
    buf_close(&b);
    mem_free(path);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("lock_name");
    TCase *t = tcase_create("lock_name");
    tcase_add_test(t, a_name_is_read_as_it_was_written);
    tcase_add_test(t, sequence_numbers_behind_the_greatest_are_negative);
    tcase_add_test(t, names_of_the_plain_recipe_are_locks_of_another_program);
    tcase_add_test(t, what_is_no_lock_is_told_apart);
    tcase_add_test(t, the_directory_of_each_path_has_a_name_of_its_own);
    suite_add_tcase(s, t);
    return s;
}
