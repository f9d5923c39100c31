/* The messages of a repair: round trips, one form each, and everything else refused. */
#include "replica/proto/peer_codec.h"

#include "common/mem.h"
#include "common/prng.h"
#include "peer.pb-c.h"
#include "tests/lib/unit.h"

#include <string.h>

static const struct log_record records[] = {
    {LOG_TXN, ((zxid_t)3 << 32) + 5, ((zxid_t)3 << 32) + 2, {(const uint8_t *)"payload", 7}},
    {LOG_TXN, ((zxid_t)3 << 32) + 6, 0, {(const uint8_t *)"", 0}},
    {LOG_EPOCH, (zxid_t)5 << 32, 9, {NULL, 0}},
    {LOG_TXN, ((zxid_t)5 << 32) + 1, 9, {(const uint8_t *)"x", 1}},
};

static const struct repair_msg messages[] = {
    {.type = REPAIR_ASK, .after = 4, .until = 5},
    {.type = REPAIR_ASK, .until = INT64_MAX},
    {.type = REPAIR_RECORDS,
     .after = ((zxid_t)3 << 32) + 4,
     .until = ((zxid_t)5 << 32) + 1,
     .records = records,
     .record_count = 4},
    {.type = REPAIR_RECORDS,
     .after = ((zxid_t)3 << 32) + 5,
     .until = INT64_MAX,
     .records = records + 1,
     .record_count = 1},
    {.type = REPAIR_NONE, .after = 4, .until = 5, .reason = REPAIR_UNKNOWN},
    {.type = REPAIR_NONE, .after = 4, .until = 5, .reason = REPAIR_PURGED},
    {.type = REPAIR_NONE, .until = 5, .reason = REPAIR_PURGED},
    {.type = REPAIR_SNAP_ASK},
    {.type = REPAIR_SNAP_ASK, .begun = 77, .offset = INT64_MAX},
    {.type = REPAIR_SNAP_PIECE,
     .begun = 77,
     .ended = 78,
     .size_bytes = 5,
     .bytes = {(const uint8_t *)"piece", 5}},
    {.type = REPAIR_SNAP_PIECE,
     .begun = 77,
     .ended = 77,
     .offset = 1000000,
     .size_bytes = INT64_MAX,
     .bytes = {(const uint8_t *)"p", 1}},
    {.type = REPAIR_SNAP_NONE, .begun = 77},
    {.type = REPAIR_SNAP_NONE},
};
#define COUNT (sizeof messages / sizeof *messages)

static bool decode(const void *p, size_t n, struct peer_message *ret) {
    return peer_decode((struct slice){p, (int32_t)n}, ret);
}

static void assert_equal(const struct repair_msg *a, const struct repair_msg *b) {
    ck_assert_int_eq((int)a->type, (int)b->type);
    ck_assert_int_eq((int)a->reason, (int)b->reason);
    ck_assert_int_eq(a->after, b->after);
    ck_assert_int_eq(a->until, b->until);
    ck_assert_int_eq(a->begun, b->begun);
    ck_assert_int_eq(a->ended, b->ended);
    ck_assert_uint_eq(a->offset, b->offset);
    ck_assert_uint_eq(a->size_bytes, b->size_bytes);
    ck_assert_int_eq(a->bytes.len, b->bytes.len);
    ck_assert(a->bytes.len <= 0 || memcmp(a->bytes.p, b->bytes.p, (size_t)a->bytes.len) == 0);
    ck_assert_uint_eq(a->record_count, b->record_count);
    for (size_t i = 0; i < a->record_count; i++) {
        const struct log_record *r = &a->records[i], *q = &b->records[i];
        ck_assert_int_eq((int)r->kind, (int)q->kind);
        ck_assert_int_eq(r->zxid, q->zxid);
        ck_assert_int_eq(r->committed, q->committed);
        ck_assert_int_eq(r->payload.len, q->payload.len);
        ck_assert(r->payload.len <= 0 ||
                  memcmp(r->payload.p, q->payload.p, (size_t)r->payload.len) == 0);
    }
}

START_TEST(each_message_comes_back) {
    for (size_t i = 0; i < COUNT; i++) {
        struct buf b = BUF_INIT;
        struct peer_message m;
        buf_put(&b, "head", 4); /* encoding appends */
        peer_repair_encode(&b, &messages[i]);
        ck_assert_msg(decode(b.data + 4, b.len - 4, &m), "message %zu", i);
        ck_assert(m.is_repair);
        ck_assert(!m.is_hello);
        assert_equal(&messages[i], &m.repair);
        peer_message_close(&m);
        buf_close(&b);
    }
}
END_TEST

START_TEST(a_truncation_at_every_byte_is_refused_or_a_message_of_its_own) {
    for (size_t i = 0; i < COUNT; i++) {
        struct buf b = BUF_INIT, again = BUF_INIT;
        peer_repair_encode(&b, &messages[i]);
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *cut = mem_dup(b.data, n);
            struct peer_message m;
            if (decode(cut, n, &m)) {
                buf_reset(&again);
                peer_repair_encode(&again, &m.repair);
                ck_assert_uint_eq(again.len, n);
                ck_assert_int_eq(memcmp(again.data, cut, n), 0);
                peer_message_close(&m);
            }
            mem_free(cut);
        }
        buf_close(&b);
        buf_close(&again);
    }
}
END_TEST

START_TEST(what_is_accepted_has_one_form) {
    struct prng r;
    prng_init(&r, 6);
    struct buf b = BUF_INIT, again = BUF_INIT;
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        buf_reset(&b);
        peer_repair_encode(&b, &messages[prng_below(&r, COUNT)]);
        for (uint64_t flips = 1 + prng_below(&r, 3); flips > 0; flips--)
            b.data[prng_below(&r, b.len)] = (uint8_t)prng_next(&r);
        struct peer_message m;
        if (!decode(b.data, b.len, &m))
            continue;
        buf_reset(&again);
        if (m.is_repair) {
            accepted++;
            peer_repair_encode(&again, &m.repair);
            ck_assert_uint_eq(again.len, b.len);
            ck_assert_int_eq(memcmp(again.data, b.data, b.len), 0);
        }
        peer_message_close(&m);
    }
    ck_assert_int_gt(accepted, 1000);
    buf_close(&b);
    buf_close(&again);
}
END_TEST

START_TEST(protobuf_c_reads_and_writes_the_same) {
    for (size_t i = 0; i < COUNT; i++) {
        struct buf b = BUF_INIT;
        peer_repair_encode(&b, &messages[i]);
        Zkfs__Peer__Message *m = zkfs__peer__message__unpack(NULL, b.len, b.data);
        ck_assert_ptr_nonnull(m);
        ck_assert_uint_eq(m->base.n_unknown_fields, 0);
        ck_assert_uint_eq(m->n_records, messages[i].record_count);
        uint8_t packed[512];
        ck_assert_uint_le(zkfs__peer__message__get_packed_size(m), sizeof packed);
        size_t n = zkfs__peer__message__pack(m, packed);
        ck_assert_uint_eq(n, b.len);
        ck_assert_int_eq(memcmp(packed, b.data, n), 0);
        zkfs__peer__message__free_unpacked(m, NULL);
        buf_close(&b);
    }
}
END_TEST

/* Whether a message that was encoded as it is comes back. */
static bool taken(struct repair_msg m) {
    struct buf b = BUF_INIT;
    struct peer_message out;
    peer_repair_encode(&b, &m);
    bool good = decode(b.data, b.len, &out);
    if (good)
        peer_message_close(&out);
    buf_close(&b);
    return good;
}

START_TEST(messages_that_contradict_themselves_are_refused) {
    ck_assert(!taken((struct repair_msg){.type = REPAIR_ASK}));
    ck_assert(!taken((struct repair_msg){.type = REPAIR_ASK, .after = 5, .until = 5}));
    ck_assert(!taken((struct repair_msg){.type = REPAIR_ASK, .after = -1, .until = 5}));
    ck_assert(!taken((struct repair_msg){.type = REPAIR_NONE, .until = 5}));
    ck_assert(
        !taken((struct repair_msg){.type = REPAIR_NONE, .until = 5, .reason = REPAIR_REASON_END}));
    ck_assert(!taken((struct repair_msg){.type = REPAIR_SNAP_ASK, .offset = 1}));
    struct repair_msg piece = messages[9];
    ck_assert(taken(piece));
    piece.offset = 1; /* beyond the size */
    ck_assert(!taken(piece));
    piece = messages[9];
    piece.ended = 76;
    ck_assert(!taken(piece));
    piece = messages[9];
    piece.bytes.len = 0;
    ck_assert(!taken(piece));
    piece = messages[9];
    piece.begun = 0;
    ck_assert(!taken(piece));
}
END_TEST

START_TEST(records_that_do_not_follow_are_refused) {
    struct repair_msg m = messages[2];
    m.after--; /* one is left out */
    ck_assert(!taken(m));
    m = messages[2];
    m.until--; /* one too many */
    ck_assert(!taken(m));
    m = messages[2];
    m.record_count = 0;
    ck_assert(!taken(m));
    m = messages[2];
    struct log_record twice[] = {records[0], records[0]};
    m.records = twice;
    m.record_count = 2;
    ck_assert(!taken(m));
    struct log_record again[] = {records[2], records[2]};
    m.records = again;
    ck_assert(!taken(m));
    struct log_record wrong = {LOG_TXN, (zxid_t)4 << 32, 0, {(const uint8_t *)"x", 1}};
    m.records = &wrong; /* a transaction with the number of an epoch's beginning */
    m.record_count = 1;
    ck_assert(!taken(m));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("repair_codec");
    TCase *c = tcase_create("messages");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, each_message_comes_back);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused_or_a_message_of_its_own);
    tcase_add_test(c, what_is_accepted_has_one_form);
    tcase_add_test(c, protobuf_c_reads_and_writes_the_same);
    tcase_add_test(c, messages_that_contradict_themselves_are_refused);
    tcase_add_test(c, records_that_do_not_follow_are_refused);
    suite_add_tcase(s, c);
    return s;
}
