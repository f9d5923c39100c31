#include "common/mem.h"
#include "common/path.h"
#include "common/prng.h"
#include "common/proto.h"
#include "peer.pb-c.h"
#include "replica/proto/peer_codec.h"
#include "tests/lib/unit.h"

#include <string.h>

static const uint8_t body[] = "the record as the client sent it";

static const struct app_auth_id ids[] = {
    {{(const uint8_t *)"ip", 2}, {(const uint8_t *)"10.0.0.1", 8}},
    {{(const uint8_t *)"digest", 6}, {(const uint8_t *)"u:h", 3}},
    {{(const uint8_t *)"", 0}, {(const uint8_t *)"", 0}},
};

static const struct app_touch touches[] = {
    {0x100aabbccdd0001, 4000}, {INT64_MIN, -1}, {0, 0}, {-1, INT32_MAX}, {5, INT32_MIN}};

static const struct app_msg messages[] = {
    {.type = APP_REQUEST,
     .tag = UINT64_MAX,
     .session_id = 0x100aabbccdd0001,
     .cxid = 77,
     .opcode = 1,
     .body = {body, sizeof body},
     .auth_ids = ids,
     .auth_count = 3},
    {.type = APP_REQUEST,
     .session_id = INT64_MIN,
     .cxid = INT32_MIN,
     .opcode = INT32_MAX,
     .timeout_ms = -5,
     .retries = true,
     .body = {body, 0}},
    {.type = APP_REQUEST, .body = {NULL, -1}},
    {.type = APP_TOUCH, .tag = 1, .body = {NULL, -1}, .touches = touches, .touch_count = 5},
    {.type = APP_TOUCH, .body = {NULL, -1}},
    {.type = APP_REVALIDATE, .tag = 300, .session_id = -7, .timeout_ms = 40000, .body = {NULL, -1}},
    {.type = APP_REVALIDATED,
     .tag = 300,
     .session_id = -7,
     .timeout_ms = 40000,
     .retries = true,
     .body = {NULL, -1},
     .ok = true},
    {.type = APP_REVALIDATED, .tag = 301, .body = {NULL, -1}},
    {.type = APP_SYNC, .tag = 9, .body = {NULL, -1}},
    {.type = APP_SYNCED, .tag = 9, .body = {NULL, -1}},
    {.type = APP_DIGEST, .body = {NULL, -1}, .zxid = 1},
    {.type = APP_DIGEST, .body = {NULL, -1}, .zxid = 0x300000007, .has_digest = true},
    {.type = APP_DIGEST,
     .body = {NULL, -1},
     .zxid = INT64_MAX,
     .has_digest = true,
     .digest = 0xfedcba9876543210},
    {.type = APP_QUARANTINE,
     .body = {NULL, -1},
     .zxid = 0x300000007,
     .has_digest = true,
     .digest = 5,
     .distrust = true},
    {.type = APP_QUARANTINE, .body = {NULL, -1}, .zxid = 1, .has_digest = true},
};
#define MESSAGES (sizeof messages / sizeof *messages)

static void assert_slices_equal(struct slice a, struct slice b) {
    ck_assert_int_eq(a.len, b.len);
    ck_assert(slice_equal(a, b));
}

static void assert_messages_equal(const struct app_msg *a, const struct app_msg *b) {
    ck_assert_int_eq((int)a->type, (int)b->type);
    ck_assert_uint_eq(a->tag, b->tag);
    ck_assert_int_eq(a->session_id, b->session_id);
    ck_assert_int_eq(a->cxid, b->cxid);
    ck_assert_int_eq(a->opcode, b->opcode);
    ck_assert_int_eq(a->timeout_ms, b->timeout_ms);
    ck_assert_int_eq(a->retries, b->retries);
    ck_assert_int_eq(a->ok, b->ok);
    assert_slices_equal(a->body, b->body);
    ck_assert_uint_eq(a->auth_count, b->auth_count);
    for (size_t i = 0; i < a->auth_count; i++) {
        assert_slices_equal(a->auth_ids[i].scheme, b->auth_ids[i].scheme);
        assert_slices_equal(a->auth_ids[i].id, b->auth_ids[i].id);
    }
    ck_assert_int_eq(a->zxid, b->zxid);
    ck_assert_int_eq(a->has_digest, b->has_digest);
    ck_assert_uint_eq(a->digest, b->digest);
    ck_assert_int_eq(a->distrust, b->distrust);
    ck_assert_uint_eq(a->touch_count, b->touch_count);
    for (size_t i = 0; i < a->touch_count; i++) {
        ck_assert_int_eq(a->touches[i].session_id, b->touches[i].session_id);
        ck_assert_int_eq(a->touches[i].timeout_ms, b->touches[i].timeout_ms);
    }
}

static bool refused(const char *bytes, size_t n) {
    struct app_msg m = {.tag = 99};
    struct app_memory *memory = NULL;
    uint8_t *copy = mem_dup(bytes, n);
    bool taken = app_decode((struct slice){copy, (int32_t)n}, &m, &memory);
    mem_free(copy);
    if (taken)
        app_close(memory);
    else
        ck_assert_uint_eq(m.tag, 99); /* untouched */
    return !taken;
}
#define REFUSED(bytes) refused(bytes, sizeof(bytes) - 1)

START_TEST(each_message_comes_back_and_borrows) {
    for (size_t i = 0; i < MESSAGES; i++) {
        struct blob *b = app_encode(&messages[i]);
        struct app_msg m;
        struct app_memory *memory;
        ck_assert_msg(app_decode(blob_slice(b), &m, &memory), "message %zu", i);
        assert_messages_equal(&messages[i], &m);
        if (m.body.len > 0)
            ck_assert(m.body.p > b->bytes && m.body.p < b->bytes + b->len);
        app_close(memory);
        blob_unref(b);
    }
}
END_TEST

START_TEST(protobuf_c_reads_and_writes_the_same) {
    for (size_t i = 0; i < MESSAGES; i++) {
        struct blob *b = app_encode(&messages[i]);
        Zkfs__Peer__App *m = zkfs__peer__app__unpack(NULL, b->len, b->bytes);
        ck_assert_ptr_nonnull(m);
        ck_assert_uint_eq(m->base.n_unknown_fields, 0);
        ck_assert_uint_eq(m->n_auth_ids, messages[i].auth_count);
        ck_assert_uint_eq(m->n_touches, messages[i].touch_count);
        ck_assert_int_eq(m->cxid, messages[i].cxid);
        ck_assert_int_eq(m->timeout_ms, messages[i].timeout_ms);
        ck_assert_uint_eq(m->zxid, (uint64_t)messages[i].zxid);
        ck_assert_int_eq(m->digest_present_case == ZKFS__PEER__APP__DIGEST_PRESENT_DIGEST,
                         messages[i].has_digest);
        ck_assert_uint_eq(messages[i].has_digest ? m->digest : 0, messages[i].digest);
        ck_assert_int_eq(m->distrust, messages[i].distrust);
        for (size_t k = 0; k < m->n_touches; k++) {
            ck_assert_int_eq(m->touches[k]->session_id, touches[k].session_id);
            ck_assert_int_eq(m->touches[k]->timeout_ms, touches[k].timeout_ms);
        }
        for (size_t k = 0; k < m->n_auth_ids; k++) {
            ck_assert_uint_eq(m->auth_ids[k]->id.len, ids[k].id.len);
            ck_assert_uint_eq(m->auth_ids[k]->scheme.len, ids[k].scheme.len);
        }
        zkfs__peer__app__free_unpacked(m, NULL);
        blob_unref(b);
    }
}
END_TEST

static void assert_one_form(const uint8_t *p, size_t n, int *accepted) {
    struct app_msg m;
    struct app_memory *memory;
    if (!app_decode((struct slice){p, (int32_t)n}, &m, &memory))
        return;
    struct blob *again = app_encode(&m);
    ck_assert_uint_eq(again->len, n);
    ck_assert_int_eq(memcmp(again->bytes, p, n), 0);
    blob_unref(again);
    app_close(memory);
    (*accepted)++;
}

START_TEST(a_truncation_at_every_byte_is_refused_or_a_message_of_its_own) {
    int accepted = 0;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct blob *b = app_encode(&messages[i]);
        for (size_t n = 0; n < b->len; n++) {
            uint8_t *cut = mem_dup(b->bytes, n);
            assert_one_form(cut, n, &accepted);
            mem_free(cut);
        }
        blob_unref(b);
    }
    ck_assert_int_gt(accepted, 5);
}
END_TEST

START_TEST(what_is_accepted_has_one_form) {
    struct prng r;
    prng_init(&r, 6);
    int accepted = 0;
    for (int round = 0; round < 100000; round++) {
        struct blob *b = app_encode(&messages[prng_below(&r, MESSAGES)]);
        for (uint64_t flips = 1 + prng_below(&r, 3); flips > 0; flips--)
            b->bytes[prng_below(&r, b->len)] = (uint8_t)prng_next(&r);
        assert_one_form(b->bytes, b->len, &accepted);
        blob_unref(b);
    }
    ck_assert_int_gt(accepted, 1000);
}
END_TEST

START_TEST(what_is_malformed_is_refused) {
    struct app_msg m;
    struct app_memory *memory;
    ck_assert(!app_decode(SLICE_NULL, &m, &memory));
    ck_assert(REFUSED(""));
    ck_assert(REFUSED("\x10\1"));       /* no type */
    ck_assert(REFUSED("\x08\0"));       /* type 0 */
    ck_assert(REFUSED("\x08\x9"));      /* an unknown one */
    ck_assert(!REFUSED("\x08\1"));      /* REQUEST */
    ck_assert(REFUSED("\x08\1\x60\1")); /* field 12 */
    ck_assert(REFUSED("\x08\1\x10\0")); /* 0, written */
    ck_assert(!REFUSED("\x08\1\x38\1"));
    ck_assert(REFUSED("\x08\1\x38\2")); /* a boolean of 2 */
    ck_assert(REFUSED("\x08\1\x40\1")); /* ok is REVALIDATED's */
    ck_assert(!REFUSED("\x08\4\x40\1"));
    ck_assert(REFUSED("\x08\4\x20\2")); /* cxid is REQUEST's */
    ck_assert(REFUSED("\x08\5\x30\2")); /* a timeout is not SYNC's */
    ck_assert(REFUSED("\x08\6\x38\1")); /* nor are retries */
    ck_assert(REFUSED("\x08\2\x4a\0")); /* nor is a body TOUCH's */
    ck_assert(!REFUSED("\x08\1\x4a\0"));
    ck_assert(REFUSED("\x08\1\x4a\1"));       /* longer than the message */
    ck_assert(REFUSED("\x08\1\x4a\0\x4a\0")); /* twice */
    ck_assert(!REFUSED("\x08\1\x20\xff\xff\xff\xff\x0f"));
    ck_assert(REFUSED("\x08\1\x20\x80\x80\x80\x80\x10")); /* more than 32 bits */
}
END_TEST

#define ZXID "\x61\1\0\0\0\0\0\0\0"
#define DIGEST "\x69\0\0\0\0\0\0\0\0"

START_TEST(digests_that_are_malformed_are_refused) {
    ck_assert(!REFUSED("\x08\7" ZXID));
    ck_assert(!REFUSED("\x08\7" ZXID DIGEST));
    ck_assert(!REFUSED("\x08\x8" ZXID DIGEST));
    ck_assert(!REFUSED("\x08\x8" ZXID DIGEST "\x70\1"));
    ck_assert(REFUSED("\x08\7"));        /* no zxid */
    ck_assert(REFUSED("\x08\7" DIGEST)); /* likewise */
    ck_assert(REFUSED("\x08\7\x61\0\0\0\0\0\0\0\0"));
    ck_assert(REFUSED("\x08\7\x61\0\0\0\0\0\0\0\x80")); /* below 0 */
    ck_assert(REFUSED("\x08\x8" ZXID));                 /* no digest */
    ck_assert(REFUSED("\x08\7" DIGEST ZXID));           /* out of order */
    ck_assert(REFUSED("\x08\7" ZXID DIGEST "\x70\1"));  /* distrust is QUARANTINE's */
    ck_assert(REFUSED("\x08\x8" ZXID DIGEST "\x70\2")); /* a boolean of 2 */
    ck_assert(REFUSED("\x08\6" ZXID));                  /* a zxid is not SYNCED's */
}
END_TEST

START_TEST(elements_that_are_malformed_are_refused) {
    ck_assert(!REFUSED("\x08\1\x52\4\x0a\0\x12\0"));
    ck_assert(REFUSED("\x08\1\x52\2\x0a\0"));             /* no id */
    ck_assert(REFUSED("\x08\1\x52\2\x12\0"));             /* no scheme */
    ck_assert(REFUSED("\x08\1\x52\0"));                   /* neither */
    ck_assert(REFUSED("\x08\1\x52\4\x0a\0\x12\1"));       /* an id longer than its element */
    ck_assert(REFUSED("\x08\1\x52\6\x0a\0\x12\0\x18\1")); /* an unknown field in it */
    ck_assert(REFUSED("\x08\1\x52\x7f\x0a\0\x12\0"));     /* longer than the message */
    ck_assert(REFUSED("\x08\1\x52\4\x0a\0\x12\0\x52"));   /* cut */
    ck_assert(REFUSED("\x08\1\x5a\0"));                   /* a touch in a REQUEST */
    ck_assert(!REFUSED("\x08\2\x5a\0"));
    ck_assert(!REFUSED("\x08\2\x5a\2\x10\2\x5a\0"));
    ck_assert(REFUSED("\x08\2\x5a\2\x10\0")); /* 0, written */
    ck_assert(REFUSED("\x08\2\x5a\1\x10"));   /* cut */
    ck_assert(REFUSED("\x08\2\x5a\2\x18\2")); /* an unknown field in it */
}
END_TEST

START_TEST(a_long_body_and_many_elements_come_back) {
    static struct app_touch many[5000];
    for (size_t i = 0; i < 5000; i++)
        many[i] = (struct app_touch){(session_id_t)(i * 0x123456789), (int32_t)i};
    struct app_msg m = {
        .type = APP_TOUCH, .body = SLICE_NULL, .touches = many, .touch_count = 5000};
    struct app_msg out;
    struct app_memory *memory;
    struct blob *b = app_encode(&m);
    ck_assert(app_decode(blob_slice(b), &out, &memory));
    assert_messages_equal(&m, &out);
    app_close(memory);
    blob_unref(b);
    uint8_t *zeros = mem_zalloc(16u << 20);
    m = (struct app_msg){.type = APP_REQUEST, .body = {zeros, 16 << 20}};
    b = app_encode(&m);
    ck_assert(app_decode(blob_slice(b), &out, &memory));
    ck_assert_int_eq(out.body.len, 16 << 20);
    app_close(memory);
    blob_unref(b);
    mem_free(zeros);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("app_codec");
    TCase *c = tcase_create("app");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, each_message_comes_back_and_borrows);
    tcase_add_test(c, protobuf_c_reads_and_writes_the_same);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused_or_a_message_of_its_own);
    tcase_add_test(c, what_is_accepted_has_one_form);
    tcase_add_test(c, what_is_malformed_is_refused);
    tcase_add_test(c, digests_that_are_malformed_are_refused);
    tcase_add_test(c, elements_that_are_malformed_are_refused);
    tcase_add_test(c, a_long_body_and_many_elements_come_back);
    suite_add_tcase(s, c);
    return s;
}
