#include "common/blob.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/cursor.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "tests/lib/unit.h"

#include <signal.h>
#include <string.h>

/* Lets a huge malloc fail as it does without the sanitizer, instead of ending the program its own
 * way. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

START_TEST(a_buffer_grows_and_keeps_what_was_written) {
    struct buf b = BUF_INIT;
    for (int i = 0; i < 10000; i++)
        buf_put_u8(&b, (uint8_t)i);
    ck_assert_uint_eq(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        ck_assert_uint_eq(b.data[i], (uint8_t)i);
    ck_assert(!b.overflow);
    buf_close(&b);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(numbers_are_written_big_endian) {
    struct buf b = BUF_INIT;
    buf_put_u32be(&b, 0x01020304);
    buf_put_u64be(&b, 0x05060708090a0b0cULL);
    ck_assert_uint_eq(b.len, 12);
    for (uint8_t i = 0; i < 12; i++)
        ck_assert_uint_eq(b.data[i], i + 1);
    buf_close(&b);
}
END_TEST

START_TEST(a_limited_buffer_takes_exactly_its_limit) {
    struct buf b;
    buf_init(&b, 10);
    buf_put(&b, "0123456789", 10);
    ck_assert(!b.overflow);
    buf_put_u8(&b, 'x');
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.len, 10);
    buf_close(&b);
    ck_assert_uint_eq(b.limit, 10);
    ck_assert(!b.overflow);
}
END_TEST

START_TEST(after_an_overflow_everything_is_dropped_until_the_reset) {
    struct buf b;
    buf_init(&b, 6);
    buf_put(&b, "abc", 3);
    buf_put_u32be(&b, 1);
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.len, 3);
    buf_put_u8(&b, 'd'); /* there would be room, but then the content had a hole */
    ck_assert_uint_eq(b.len, 3);
    ck_assert_ptr_null(buf_extend(&b, 0));
    buf_reset(&b);
    buf_put(&b, "abcdef", 6);
    ck_assert(!b.overflow);
    ck_assert_mem_eq(b.data, "abcdef", 6);
    buf_close(&b);
}
END_TEST

START_TEST(an_overflowing_size_is_refused_without_arithmetic) {
    struct buf b;
    buf_init(&b, 100);
    buf_put_u8(&b, 1);
    ck_assert_ptr_null(buf_extend(&b, SIZE_MAX));
    ck_assert(b.overflow);
    buf_close(&b);
}
END_TEST

START_TEST(a_length_is_patched_in_afterwards) {
    struct buf b = BUF_INIT;
    buf_put_u32be(&b, 0);
    buf_put(&b, "abc", 3);
    buf_patch_u32be(&b, 0, 3);
    ck_assert_mem_eq(b.data, "\0\0\0\3abc", 7);
    buf_close(&b);
}
END_TEST

START_TEST(a_patch_after_an_overflow_does_nothing) {
    struct buf b;
    buf_init(&b, 2);
    buf_put_u32be(&b, 0);
    buf_patch_u32be(&b, 0, 7);
    ck_assert_uint_eq(b.len, 0);
    buf_close(&b);
}
END_TEST

START_TEST(a_patch_outside_is_a_programming_error) {
    struct buf b = BUF_INIT;
    buf_put(&b, "abcdef", 6);
    buf_patch_u32be(&b, 3, 1);
}
END_TEST

START_TEST(formatted_text_of_any_length_is_appended) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s=%d", "x", -7);
    ck_assert_mem_eq(b.data, "x=-7", 4);
    for (int n = 250; n < 262; n++) {
        buf_reset(&b);
        buf_printf(&b, "%0*d", n, 7);
        ck_assert_uint_eq(b.len, (size_t)n);
        ck_assert_uint_eq(b.data[0], '0');
        ck_assert_uint_eq(b.data[n - 1], '7');
    }
    buf_close(&b);
    struct buf limited;
    buf_init(&limited, 4);
    buf_printf(&limited, "abcd");
    ck_assert_uint_eq(limited.len, 4);
    buf_printf(&limited, "e");
    ck_assert(limited.overflow);
    buf_close(&limited);
}
END_TEST

START_TEST(consuming_moves_the_rest_to_the_front) {
    struct buf b = BUF_INIT;
    buf_consume(&b, 0);
    buf_put(&b, "abcdef", 6);
    buf_consume(&b, 2);
    ck_assert_uint_eq(b.len, 4);
    ck_assert_mem_eq(b.data, "cdef", 4);
    buf_consume(&b, 4);
    ck_assert_uint_eq(b.len, 0);
    buf_close(&b);
}
END_TEST

START_TEST(consuming_more_than_there_is_is_a_programming_error) {
    struct buf b = BUF_INIT;
    buf_put_u8(&b, 1);
    buf_consume(&b, 2);
}
END_TEST

START_TEST(a_cursor_reads_numbers_and_bytes_in_order) {
    static const uint8_t in[] = {1, 0x80, 2, 3, 4, 0xff, 0, 0, 0, 0, 0, 0, 5, 'a', 'b'};
    struct cursor c;
    cursor_init(&c, in, sizeof in);
    ck_assert_uint_eq(cursor_u8(&c), 1);
    ck_assert_uint_eq(cursor_u32be(&c), 0x80020304u);
    ck_assert_uint_eq(cursor_u64be(&c), 0xff00000000000005ULL);
    ck_assert_uint_eq(cursor_left(&c), 2);
    ck_assert_ptr_eq(cursor_bytes(&c, 2), in + 13);
    ck_assert_uint_eq(cursor_left(&c), 0);
    ck_assert(!c.bad);
}
END_TEST

START_TEST(a_read_past_the_end_is_bad_and_stays_bad) {
    static const uint8_t in[] = {1, 2, 3};
    struct cursor c;
    cursor_init(&c, in, sizeof in);
    ck_assert_uint_eq(cursor_u32be(&c), 0);
    ck_assert(c.bad);
    ck_assert_uint_eq(cursor_u8(&c), 0);
    ck_assert_uint_eq(cursor_u64be(&c), 0);
    ck_assert_ptr_null(cursor_bytes(&c, 0));
    ck_assert_uint_eq(cursor_left(&c), 0);
    ck_assert(c.bad);
}
END_TEST

START_TEST(a_length_beyond_memory_does_not_wrap) {
    static const uint8_t in[] = {1, 2, 3};
    struct cursor c;
    cursor_init(&c, in, sizeof in);
    ck_assert_ptr_null(cursor_bytes(&c, SIZE_MAX));
    ck_assert(c.bad);
}
END_TEST

START_TEST(an_empty_cursor_has_nothing) {
    struct cursor c;
    cursor_init(&c, NULL, 0);
    ck_assert_uint_eq(cursor_left(&c), 0);
    cursor_bytes(&c, 0);
    ck_assert(!c.bad);
    cursor_u8(&c);
    ck_assert(c.bad);
}
END_TEST

START_TEST(null_and_empty_blobs_stay_apart) {
    ck_assert_ptr_null(blob_from_slice(SLICE_NULL));
    struct blob *empty = blob_from_slice((struct slice){NULL, 0});
    ck_assert_ptr_nonnull(empty);
    ck_assert_int_eq(blob_slice(empty).len, 0);
    ck_assert_int_eq(blob_slice(NULL).len, -1);
    ck_assert(blob_equal(NULL, NULL));
    ck_assert(!blob_equal(empty, NULL));
    ck_assert(!blob_equal(NULL, empty));
    blob_unref(empty);
    blob_unref(NULL);
    ck_assert_ptr_null(blob_ref(NULL));
}
END_TEST

START_TEST(a_blob_lives_until_its_last_reference) {
    struct blob *b = blob_new("abc", 3);
    ck_assert_ptr_eq(blob_ref(b), b);
    blob_unref(b);
    ck_assert_mem_eq(b->bytes, "abc", 3);
    blob_unref(b);
}
END_TEST

START_TEST(blobs_are_equal_by_their_bytes) {
    struct blob *a = blob_new("abc", 3);
    struct blob *same = blob_new("abc", 3);
    struct blob *other = blob_new("abd", 3);
    struct blob *shorter = blob_new("ab", 2);
    ck_assert(blob_equal(a, a));
    ck_assert(blob_equal(a, same));
    ck_assert(!blob_equal(a, other));
    ck_assert(!blob_equal(a, shorter));
    blob_unref(a);
    blob_unref(same);
    blob_unref(other);
    blob_unref(shorter);
}
END_TEST

START_TEST(a_broken_invariant_aborts) {
    int one = 1;
    CHECK(one == 1);
    CHECK(one == 2);
}
END_TEST

START_TEST(exhaustion_ends_the_process) {
    volatile size_t huge = SIZE_MAX / 4;
    mem_free(mem_alloc(huge));
}
END_TEST

START_TEST(exhaustion_while_growing_ends_the_process) {
    volatile size_t huge = SIZE_MAX / 4;
    mem_free(mem_realloc(mem_alloc(1), huge));
}
END_TEST

START_TEST(exhaustion_of_zeroed_memory_ends_the_process) {
    volatile size_t huge = SIZE_MAX / 4;
    mem_free(mem_zalloc(huge));
}
END_TEST

START_TEST(no_bytes_are_a_pointer_too) {
    void *p = mem_alloc(0);
    ck_assert_ptr_nonnull(p);
    p = mem_realloc(p, 0);
    ck_assert_ptr_nonnull(p);
    mem_free(p);
    p = mem_zalloc(0);
    ck_assert_ptr_nonnull(p);
    mem_free(p);
    p = mem_dup(NULL, 0);
    ck_assert_ptr_nonnull(p);
    mem_free(p);
    mem_free(NULL);
}
END_TEST

START_TEST(copies_of_strings_are_terminated) {
    char *s = mem_strndup("abcdef", 3);
    ck_assert_str_eq(s, "abc");
    mem_free(s);
    s = mem_strndup(NULL, 0);
    ck_assert_str_eq(s, "");
    mem_free(s);
    s = mem_strdup("xyz");
    ck_assert_str_eq(s, "xyz");
    mem_free(s);
    uint8_t *zeros = mem_zalloc(100);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(zeros[i], 0);
    mem_free(zeros);
}
END_TEST

START_TEST(every_error_code_has_its_text) {
    ck_assert_str_eq(zkerr_text(ZK_OK), "ok");
    ck_assert_str_eq(zkerr_text(-101), "no such znode");
    ck_assert_str_eq(zkerr_text(ZK_THROTTLEDOP), "operation throttled");
    ck_assert_str_eq(zkerr_text(-9), "unknown error");
    ck_assert_str_eq(zkerr_text(1), "unknown error");
}
END_TEST

START_TEST(a_zxid_is_taken_apart_and_put_together) {
    zxid_t z = zxid_make(0xfffffffeu, 0xffffffffu);
    ck_assert_uint_eq(zxid_epoch(z), 0xfffffffeu);
    ck_assert_uint_eq(zxid_counter(z), 0xffffffffu);
    ck_assert_int_eq(zxid_make(1, 2), 0x100000002LL);
}
END_TEST

static TCase *buffers(void) {
    TCase *tc = tcase_create("buf");
    tcase_add_test(tc, a_buffer_grows_and_keeps_what_was_written);
    tcase_add_test(tc, numbers_are_written_big_endian);
    tcase_add_test(tc, a_limited_buffer_takes_exactly_its_limit);
    tcase_add_test(tc, after_an_overflow_everything_is_dropped_until_the_reset);
    tcase_add_test(tc, an_overflowing_size_is_refused_without_arithmetic);
    tcase_add_test(tc, a_length_is_patched_in_afterwards);
    tcase_add_test(tc, a_patch_after_an_overflow_does_nothing);
    tcase_add_test_raise_signal(tc, a_patch_outside_is_a_programming_error, SIGABRT);
    tcase_add_test(tc, formatted_text_of_any_length_is_appended);
    tcase_add_test(tc, consuming_moves_the_rest_to_the_front);
    tcase_add_test_raise_signal(tc, consuming_more_than_there_is_is_a_programming_error, SIGABRT);
    return tc;
}

static TCase *cursors_and_blobs(void) {
    TCase *tc = tcase_create("cursor, blob");
    tcase_add_test(tc, a_cursor_reads_numbers_and_bytes_in_order);
    tcase_add_test(tc, a_read_past_the_end_is_bad_and_stays_bad);
    tcase_add_test(tc, a_length_beyond_memory_does_not_wrap);
    tcase_add_test(tc, an_empty_cursor_has_nothing);
    tcase_add_test(tc, null_and_empty_blobs_stay_apart);
    tcase_add_test(tc, a_blob_lives_until_its_last_reference);
    tcase_add_test(tc, blobs_are_equal_by_their_bytes);
    return tc;
}

static TCase *small_tools(void) {
    TCase *tc = tcase_create("check, mem, zkerr, types");
    tcase_add_test_raise_signal(tc, a_broken_invariant_aborts, SIGABRT);
    tcase_add_test_raise_signal(tc, exhaustion_ends_the_process, SIGABRT);
    tcase_add_test_raise_signal(tc, exhaustion_while_growing_ends_the_process, SIGABRT);
    tcase_add_test_raise_signal(tc, exhaustion_of_zeroed_memory_ends_the_process, SIGABRT);
    tcase_add_test(tc, no_bytes_are_a_pointer_too);
    tcase_add_test(tc, copies_of_strings_are_terminated);
    tcase_add_test(tc, every_error_code_has_its_text);
    tcase_add_test(tc, a_zxid_is_taken_apart_and_put_together);
    return tc;
}

Suite *unit_suite(void) {
    Suite *s = suite_create("bytes");
    suite_add_tcase(s, buffers());
    suite_add_tcase(s, cursors_and_blobs());
    suite_add_tcase(s, small_tools());
    return s;
}
