/* The bytes on a link: round trips, every truncation, every flipped bit, noise. */
#include "common/prng.h"
#include "replica/io/peer_frame.h"
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

#define SEED 0x0123456789abcdefu

static struct buf out;

static void setup(void) { buf_init(&out, 0); }
static void teardown(void) { buf_close(&out); }

static void encode(const char *text) {
    peer_frame_encode(&out, SEED, (struct slice){(const uint8_t *)text, (int32_t)strlen(text)});
}

/* Decodes n bytes in a block of just that size, so that the sanitizer sees a read behind it. */
static enum peer_frame_status decode(const uint8_t *p, size_t n, uint64_t seed,
                                     struct slice *ret_body) {
    uint8_t *block = malloc(n + (n == 0));
    memcpy(block, p, n);
    enum peer_frame_status status = peer_frame_decode(block, n, seed, ret_body);
    free(block);
    return status;
}

START_TEST(a_frame_comes_back_as_it_was) {
    struct slice body;
    encode("hello");
    encode("again");
    ck_assert_int_eq(peer_frame_decode(out.data, out.len, SEED, &body), PEER_FRAME_WHOLE);
    ck_assert_int_eq(body.len, 5);
    ck_assert_mem_eq(body.p, "hello", 5);
    size_t used = PEER_FRAME_HEADER_BYTES + 5;
    ck_assert_int_eq(peer_frame_decode(out.data + used, out.len - used, SEED, &body),
                     PEER_FRAME_WHOLE);
    ck_assert_mem_eq(body.p, "again", 5);
}
END_TEST

START_TEST(the_longest_frame_comes_back_and_a_longer_length_is_refused) {
    struct slice body;
    uint8_t *p = calloc(1, PEER_MESSAGE_MAX);
    peer_frame_encode(&out, SEED, (struct slice){p, (int32_t)PEER_MESSAGE_MAX});
    ck_assert_int_eq(peer_frame_decode(out.data, out.len, SEED, &body), PEER_FRAME_WHOLE);
    ck_assert_int_eq(body.len, (int32_t)PEER_MESSAGE_MAX);
    buf_patch_u32be(&out, 0, PEER_MESSAGE_MAX + 1);
    ck_assert_int_eq(peer_frame_decode(out.data, out.len, SEED, &body), PEER_FRAME_LENGTH);
    free(p);
}
END_TEST

START_TEST(every_truncation_is_partial) {
    struct slice body;
    encode("some text");
    for (size_t n = 0; n < out.len; n++)
        ck_assert_int_eq(decode(out.data, n, SEED, &body), PEER_FRAME_PARTIAL);
}
END_TEST

START_TEST(no_flipped_bit_passes) {
    struct slice body;
    encode("some text");
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(decode(out.data, out.len, SEED, &body), PEER_FRAME_WHOLE);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(another_seed_does_not_pass) {
    struct slice body;
    encode("some text");
    ck_assert_int_eq(decode(out.data, out.len, SEED + 1, &body), PEER_FRAME_DAMAGED);
    ck_assert_uint_ne(peer_frame_seed(1, 2), peer_frame_seed(2, 1));
    ck_assert_uint_ne(peer_frame_seed(1, 2), peer_frame_seed(1, 3));
}
END_TEST

START_TEST(noise_is_never_a_frame) {
    struct prng random = {0};
    struct slice body;
    uint8_t noise[64];
    prng_init(&random, 7);
    for (int i = 0; i < 100000; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)prng_below(&random, 256);
        if (i % 2 == 0)
            memset(noise, 0, 3); /* a length that could be */
        size_t n = prng_below(&random, sizeof noise + 1);
        ck_assert_int_ne(decode(noise, n, SEED, &body), PEER_FRAME_WHOLE);
    }
}
END_TEST

START_TEST(a_preamble_comes_back_as_it_was) {
    struct peer_preamble back;
    peer_preamble_encode(&out, &(struct peer_preamble){.version = PEER_LINK_VERSION,
                                                       .from = 3,
                                                       .to = 255,
                                                       .generation = 0xfedcba9876543210u});
    ck_assert_uint_eq(out.len, PEER_PREAMBLE_BYTES);
    ck_assert_ptr_null(peer_preamble_decode(out.data, &back));
    ck_assert_int_eq(back.from, 3);
    ck_assert_int_eq(back.to, 255);
    ck_assert_uint_eq(back.generation, 0xfedcba9876543210u);
}
END_TEST

START_TEST(no_flipped_bit_of_a_preamble_passes) {
    struct peer_preamble back;
    peer_preamble_encode(&out, &(struct peer_preamble){.version = PEER_LINK_VERSION, .from = 1});
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_ptr_nonnull(peer_preamble_decode(out.data, &back));
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("peer_frame");
    TCase *t = tcase_create("peer_frame");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_frame_comes_back_as_it_was);
    tcase_add_test(t, the_longest_frame_comes_back_and_a_longer_length_is_refused);
    tcase_add_test(t, every_truncation_is_partial);
    tcase_add_test(t, no_flipped_bit_passes);
    tcase_add_test(t, another_seed_does_not_pass);
    tcase_add_test(t, noise_is_never_a_frame);
    tcase_add_test(t, a_preamble_comes_back_as_it_was);
    tcase_add_test(t, no_flipped_bit_of_a_preamble_passes);
    suite_add_tcase(s, t);
    return s;
}
