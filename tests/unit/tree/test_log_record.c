#include "common/mem.h"
#include "log.pb-c.h"
#include "replica/proto/arena.h"
#include "replica/proto/txn_codec.h"
#include "tests/lib/unit.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t payload[] = "what the log and Zab do not look into";

static struct log_record txn_record(void) {
    return (struct log_record){LOG_TXN, 0x700000123, 0x700000120, {payload, sizeof payload}};
}

static struct log_record epoch_record(void) {
    return (struct log_record){LOG_EPOCH, 0x800000000, 0x700000123, SLICE_NULL};
}

static bool decode(const struct buf *b, struct log_record *ret) {
    return log_record_decode((struct slice){b->data, (int32_t)b->len}, ret);
}

START_TEST(a_record_of_a_transaction_comes_back_and_borrows) {
    struct buf b = BUF_INIT;
    struct log_record in = txn_record(), out;
    log_record_encode(&b, &in);
    ck_assert(decode(&b, &out));
    ck_assert_int_eq((int)out.kind, LOG_TXN);
    ck_assert_int_eq(out.zxid, in.zxid);
    ck_assert_int_eq(out.committed, in.committed);
    ck_assert_int_eq(out.payload.len, sizeof payload);
    ck_assert_int_eq(memcmp(out.payload.p, payload, sizeof payload), 0);
    ck_assert(out.payload.p > b.data && out.payload.p < b.data + b.len);
    buf_close(&b);
}
END_TEST

START_TEST(a_record_of_an_epoch_comes_back) {
    struct buf b = BUF_INIT;
    struct log_record in = epoch_record(), out;
    log_record_encode(&b, &in);
    ck_assert(decode(&b, &out));
    ck_assert_int_eq((int)out.kind, LOG_EPOCH);
    ck_assert_int_eq(out.zxid, 0x800000000);
    ck_assert_int_eq(out.committed, 0x700000123);
    ck_assert_int_le(out.payload.len, 0);
    buf_close(&b);
}
END_TEST

START_TEST(an_empty_payload_and_extreme_zxids_come_back) {
    static const zxid_t zxids[] = {1, -1, INT64_MAX, INT64_MIN, 0x0102030405060708};
    for (size_t i = 0; i < sizeof zxids / sizeof *zxids; i++) {
        struct buf b = BUF_INIT;
        struct log_record out;
        log_record_encode(&b, &(struct log_record){LOG_TXN, zxids[i], zxids[i], {NULL, 0}});
        ck_assert(decode(&b, &out));
        ck_assert_int_eq(out.zxid, zxids[i]);
        ck_assert_int_eq(out.committed, zxids[i]);
        ck_assert_int_eq(out.payload.len, 0);
        buf_close(&b);
    }
}
END_TEST

START_TEST(encoding_appends) {
    struct buf b = BUF_INIT;
    buf_put(&b, "head", 4);
    struct log_record in = txn_record(), out;
    log_record_encode(&b, &in);
    ck_assert_int_eq(memcmp(b.data, "head", 4), 0);
    ck_assert(log_record_decode((struct slice){b.data + 4, (int32_t)b.len - 4}, &out));
    buf_close(&b);
}
END_TEST

START_TEST(a_truncation_at_every_byte_is_refused) {
    struct log_record records[] = {txn_record(), epoch_record()};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = BUF_INIT;
        log_record_encode(&b, &records[i]);
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *cut = mem_dup(b.data, n);
            struct log_record out = {.zxid = 42};
            /* Without its last field, committed, it is a record again. */
            bool whole = n == b.len - 9;
            ck_assert_int_eq(log_record_decode((struct slice){cut, (int32_t)n}, &out), whole);
            ck_assert_int_eq(out.zxid, whole ? records[i].zxid : 42); /* untouched */
            mem_free(cut);
        }
        buf_close(&b);
    }
}
END_TEST

START_TEST(where_nothing_is_committed_the_field_is_left_out) {
    struct buf b = BUF_INIT;
    struct log_record in = txn_record(), out;
    log_record_encode(&b, &in);
    size_t with = b.len;
    in.committed = 0;
    buf_reset(&b);
    log_record_encode(&b, &in);
    ck_assert_uint_eq(b.len, with - 9);
    ck_assert(decode(&b, &out));
    ck_assert_int_eq(out.committed, 0);
    buf_close(&b);
}
END_TEST

START_TEST(malformed_records_are_refused) {
    static const struct {
        const char *what, *bytes;
        size_t n;
    } bad[] = {
        {"no kind", "\x11\1\0\0\0\0\0\0\0\x1a\0", 11},
        {"kind 0", "\x08\0\x11\1\0\0\0\0\0\0\0\x1a\0", 13},
        {"kind 3", "\x08\3\x11\1\0\0\0\0\0\0\0\x1a\0", 13},
        {"no zxid", "\x08\1\x1a\0", 4},
        {"no payload", "\x08\1\x11\1\0\0\0\0\0\0\0", 11},
        {"an epoch with a counter", "\x08\2\x11\1\0\0\0\1\0\0\0", 11},
        {"an epoch with a payload", "\x08\2\x11\0\0\0\0\1\0\0\0\x1a\0", 13},
        {"a byte behind", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\0", 14},
        {"an unknown field", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\x28\1", 15},
        {"committed of 0, written", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\x21\0\0\0\0\0\0\0\0", 22},
        {"committed as a varint", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\x20\1", 15},
        {"committed before the payload", "\x08\1\x11\1\0\0\0\0\0\0\0\x21\1\0\0\0\0\0\0\0\x1a\0",
         22},
        {"committed twice",
         "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\x21\1\0\0\0\0\0\0\0\x21\1\0\0\0\0\0\0\0", 31},
        {"a payload twice", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0\x1a\0", 15},
        {"a payload longer than the record", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\2x", 14},
        {"a length of five bytes", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\xff\xff\xff\xff\xff\1", 18},
        {"a length of 2^32", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\x80\x80\x80\x80\x10", 17},
        {"a length with a useless byte", "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\x80\0", 14},
        {"a kind of another wire type", "\x09\1\0\0\0\0\0\0\0\x11\1\0\0\0\0\0\0\0\x1a\0", 20},
    };
    struct log_record out;
    ck_assert(log_record_decode(
        (struct slice){(const uint8_t *)"\x08\1\x11\1\0\0\0\0\0\0\0\x1a\0", 13}, &out));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t *bytes = mem_dup(bad[i].bytes, bad[i].n);
        ck_assert_msg(!log_record_decode((struct slice){bytes, (int32_t)bad[i].n}, &out), "%s",
                      bad[i].what);
        mem_free(bytes);
    }
    ck_assert(!log_record_decode(SLICE_NULL, &out));
    ck_assert(!log_record_decode((struct slice){(const uint8_t *)"", 0}, &out));
}
END_TEST

START_TEST(a_payload_longer_than_the_greatest_is_refused) {
    const size_t head = 16; /* with a length of four bytes */
    uint8_t *bytes = mem_zalloc(head + TXN_ENCODED_MAX + 1);
    struct log_record out;
    memcpy(bytes, "\x08\1\x11\1\0\0\0\0\0\0\0\x1a\xe0\xff\xff\7", head);
    ck_assert(log_record_decode((struct slice){bytes, (int32_t)(head + TXN_ENCODED_MAX)}, &out));
    ck_assert_int_eq(out.payload.len, (int32_t)TXN_ENCODED_MAX);
    bytes[12]++;
    ck_assert(
        !log_record_decode((struct slice){bytes, (int32_t)(head + TXN_ENCODED_MAX + 1)}, &out));
    mem_free(bytes);
}
END_TEST

/* log_record.c speaks protobuf by hand; here is what protobuf-c makes of it. */
START_TEST(protobuf_c_reads_what_was_written_and_the_other_way_round) {
    struct log_record records[] = {txn_record(), epoch_record()};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = BUF_INIT;
        log_record_encode(&b, &records[i]);
        Zkfs__Log__LogRecord *m = zkfs__log__log_record__unpack(NULL, b.len, b.data);
        ck_assert_ptr_nonnull(m);
        ck_assert_int_eq((int)m->kind, (int)records[i].kind);
        ck_assert_int_eq((int64_t)m->zxid, records[i].zxid);
        ck_assert_int_eq((int64_t)m->committed, records[i].committed);
        ck_assert_uint_eq(m->payload.len, i == 0 ? sizeof payload : 0);
        ck_assert_uint_eq(m->base.n_unknown_fields, 0);
        uint8_t packed[256];
        size_t n = zkfs__log__log_record__pack(m, packed);
        ck_assert_uint_eq(n, b.len);
        ck_assert_int_eq(memcmp(packed, b.data, n), 0);
        zkfs__log__log_record__free_unpacked(m, NULL);
        buf_close(&b);
    }
}
END_TEST

START_TEST(an_arena_gives_aligned_memory_up_to_its_budget) {
    alignas(max_align_t) uint8_t first[64];
    struct arena a;
    arena_init(&a, first, sizeof first, 200000);
    uint8_t *p = arena_take(&a, 1);
    uint8_t *q = arena_take(&a, 40);
    ck_assert_ptr_eq(p, first);
    ck_assert_uint_eq((uintptr_t)q % alignof(max_align_t), 0);
    ck_assert(q < first + sizeof first);
    /* Beyond the first bytes, and beyond the usual piece. */
    uint8_t *r = arena_take(&a, 100);
    memset(r, 1, 100);
    ck_assert_uint_eq((uintptr_t)r % alignof(max_align_t), 0);
    uint8_t *s = arena_take(&a, 100000);
    memset(s, 2, 100000);
    ck_assert_ptr_null(arena_take(&a, 100001));
    ck_assert_ptr_nonnull(arena_take(&a, 50));
    ck_assert_ptr_null(arena_take(&a, SIZE_MAX));
    ck_assert_int_eq(r[99], 1);
    arena_close(&a);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("log_record");
    TCase *c = tcase_create("log_record");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_record_of_a_transaction_comes_back_and_borrows);
    tcase_add_test(c, a_record_of_an_epoch_comes_back);
    tcase_add_test(c, an_empty_payload_and_extreme_zxids_come_back);
    tcase_add_test(c, encoding_appends);
    tcase_add_test(c, where_nothing_is_committed_the_field_is_left_out);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused);
    tcase_add_test(c, malformed_records_are_refused);
    tcase_add_test(c, a_payload_longer_than_the_greatest_is_refused);
    tcase_add_test(c, protobuf_c_reads_what_was_written_and_the_other_way_round);
    tcase_add_test(c, an_arena_gives_aligned_memory_up_to_its_budget);
    suite_add_tcase(s, c);
    return s;
}
