/* --check's reading of a log beside what a start makes of the same one: what a start refuses is
 * damage, what it cuts is torn, and what it takes is whole. */
#include "common/mem.h"
#include "replica/offline/check_log.h"
#include "replica/offline/store_list.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

#include <errno.h>
#include <string.h>

static struct world w;

static void setup(void) {
    world_init(&w);
    w.segment_bytes = 2048;
    w.payload_bytes = 150;
    ck_assert_int_eq(world_open(&w), 0);
    world_append(&w, true);
    ck_assert_int_eq(world_sync(&w), 0);
    world_sync_end(&w);
    for (int i = 0; i < 12; i++)
        world_batch(&w, 1 + (size_t)i % 3);
    world_store_close(&w);
}

static void teardown(void) { world_close(&w); }

static struct check_log check_behind(const struct world *of, zxid_t base) {
    struct check_log c = {
        .files = mem_files_env(of->files), .dir = DIR, .base = base, .frames_only = true};
    struct store_list l;
    ck_assert_int_eq(store_list_read(&l, c.files, DIR), 0);
    ck_assert_int_eq(check_log_run(&c, &l), 0);
    store_list_close(&l);
    buf_put_u8(&c.found, 0);
    return c;
}

static struct check_log check(const struct world *of) { return check_behind(of, 0); }

static void check_close(struct check_log *c) {
    buf_close(&c->found);
    buf_close(&c->lines);
}

/* What a start says of the same disk. */
static int start(struct world *of) {
    int err = world_open(of);
    world_store_close(of);
    return err;
}

START_TEST(a_whole_log_is_whole) {
    struct check_log c = check(&w);
    ck_assert_uint_eq(c.damages, 0);
    ck_assert_str_eq((const char *)c.found.data, "");
    ck_assert_uint_eq(c.records, w.appended);
    ck_assert_uint_ge(c.segments, 3);
    ck_assert(c.last_zxid == w.zxids[w.appended - 1]);
    check_close(&c);
}
END_TEST

/* Flips a bit of each byte of the segment. A mark that is broken where nothing behind needs it is
 * passed over by neither. */
static void flip_each_byte(size_t from_last) {
    char *path = mem_strdup(world_segment(&w, from_last));
    size_t size = 0;
    mem_files_bytes(w.files, path, &size);
    for (size_t byte = 0; byte < size; byte++) {
        struct world other;
        world_clone(&w, &other);
        mem_files_flip_bit(other.files, path, 8 * byte + byte % 8);
        struct check_log c = check(&other);
        int err = start(&other);
        ck_assert_msg((err < 0) == (c.damages > 0), "byte %zu: a start says %d, the check %s", byte,
                      err, (const char *)c.found.data);
        check_close(&c);
        world_close(&other);
    }
    mem_free(path);
}

START_TEST(a_changed_byte_in_an_inner_segment_is_damage) { flip_each_byte(1); }
END_TEST

START_TEST(a_changed_byte_in_the_last_segment_is_judged_as_a_start_does) { flip_each_byte(0); }
END_TEST

START_TEST(a_log_that_is_cut_off_is_judged_as_a_start_does) {
    char *path = mem_strdup(world_segment(&w, 0));
    size_t size = 0;
    mem_files_bytes(w.files, path, &size);
    for (size_t n = 0; n < size; n++) {
        struct world other;
        world_clone(&w, &other);
        mem_files_cut(other.files, path, n);
        struct check_log c = check(&other);
        int err = start(&other);
        ck_assert_msg((err < 0) == (c.damages > 0), "cut at %zu: a start says %d, the check %s", n,
                      err, (const char *)c.found.data);
        check_close(&c);
        world_close(&other);
    }
    mem_free(path);
}
END_TEST

START_TEST(a_segment_that_is_missing_is_a_hole) {
    struct world other;
    world_clone(&w, &other);
    mem_files_remove(other.files, world_segment(&other, 1));
    struct check_log c = check(&other);
    ck_assert_ptr_nonnull(strstr((const char *)c.found.data, "hole"));
    ck_assert(c.last_zxid == w.zxids[w.appended - 1]);
    check_close(&c);
    world_close(&other);
}
END_TEST

START_TEST(a_last_segment_that_is_missing_is_damage) {
    mem_files_remove(w.files, world_segment(&w, 0));
    struct check_log c = check(&w);
    ck_assert_ptr_nonnull(strstr((const char *)c.found.data, "lost end"));
    ck_assert_int_eq(start(&w), -EBADMSG);
    check_close(&c);
}
END_TEST

START_TEST(what_a_snapshot_has_is_dropped) {
    struct world other;
    world_clone(&w, &other);
    mem_files_flip_bit(other.files, world_segment(&other, 1), 8 * 200);
    struct check_log c = check_behind(&other, w.zxids[w.appended - 1]);
    ck_assert_ptr_nonnull(strstr((const char *)c.found.data, "dropped"));
    check_close(&c);
    world_close(&other);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("check_log");
    TCase *c = tcase_create("check_log");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_whole_log_is_whole);
    tcase_add_test(c, a_changed_byte_in_an_inner_segment_is_damage);
    tcase_add_test(c, a_changed_byte_in_the_last_segment_is_judged_as_a_start_does);
    tcase_add_test(c, a_log_that_is_cut_off_is_judged_as_a_start_does);
    tcase_add_test(c, a_segment_that_is_missing_is_a_hole);
    tcase_add_test(c, a_last_segment_that_is_missing_is_damage);
    tcase_add_test(c, what_a_snapshot_has_is_dropped);
    suite_add_tcase(s, c);
    return s;
}
