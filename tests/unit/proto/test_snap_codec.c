#include "replica/proto/snap_codec.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/prng.h"
#include "snapshot.pb-c.h"
#include "tests/lib/unit.h"

#include <limits.h>
#include <string.h>

#define ITEMS_MAX 64

/* What a piece gave back: everything in it is copied. */
struct seen {
    struct snap_head head;
    struct znode_image znodes[ITEMS_MAX];
    struct snap_session sessions[ITEMS_MAX];
    int heads, znode_count, session_count;
    int refuse_at; /* the item at which a callback says no; -1: none */
    int items;
    struct snap_walk walk; /* of a checkpoint's tail, the last of each kind */
    struct log_record record;
    int32_t record_bytes;
    struct snap_digest digest;
    int tails;
};

static struct slice dup_slice(struct slice s) {
    return s.len < 0 ? SLICE_NULL : (struct slice){mem_dup(s.p, (size_t)s.len), s.len};
}

static bool take_head(void *ctx, const struct snap_head *h) {
    struct seen *s = ctx;
    if (s->heads > 0)
        return false; /* the loader says no, too */
    s->head.secret = dup_slice(h->secret);
    s->head.given = mem_dup(h->given, h->given_count * sizeof *h->given);
    s->head.given_count = h->given_count;
    s->heads++;
    return s->items++ != s->refuse_at;
}

static bool take_znode(void *ctx, const struct znode_image *image) {
    struct seen *s = ctx;
    ck_assert_int_lt(s->znode_count, ITEMS_MAX);
    struct znode_image *to = &s->znodes[s->znode_count++];
    *to = *image;
    to->path = dup_slice(image->path);
    blob_ref(to->data);
    blob_ref(to->acl);
    return s->items++ != s->refuse_at;
}

static bool take_session(void *ctx, const struct snap_session *session) {
    struct seen *s = ctx;
    ck_assert_int_lt(s->session_count, ITEMS_MAX);
    struct snap_session *to = &s->sessions[s->session_count++];
    *to = *session;
    struct snap_result *results =
        mem_dup(session->results, session->result_count * sizeof *results);
    for (size_t i = 0; i < session->result_count; i++)
        results[i].bytes = dup_slice(results[i].bytes);
    to->results = results;
    return s->items++ != s->refuse_at;
}

static void seen_close(struct seen *s) {
    mem_free((void *)(uintptr_t)s->head.secret.p);
    mem_free((void *)(uintptr_t)s->head.given);
    for (int i = 0; i < s->znode_count; i++) {
        mem_free((void *)(uintptr_t)s->znodes[i].path.p);
        blob_unref(s->znodes[i].data);
        blob_unref(s->znodes[i].acl);
    }
    for (int i = 0; i < s->session_count; i++) {
        for (size_t k = 0; k < s->sessions[i].result_count; k++)
            mem_free((void *)(uintptr_t)s->sessions[i].results[k].bytes.p);
        mem_free((void *)(uintptr_t)s->sessions[i].results);
    }
}

static bool take_walk(void *ctx, const struct snap_walk *w) {
    struct seen *s = ctx;
    s->walk = *w;
    return ++s->tails > 0;
}

static bool take_record(void *ctx, const struct log_record *r) {
    struct seen *s = ctx;
    s->record = *r;
    s->record.payload = SLICE_NULL;
    s->record_bytes = r->payload.len;
    return ++s->tails > 0;
}

static bool take_digest(void *ctx, const struct snap_digest *d) {
    struct seen *s = ctx;
    s->digest = *d;
    return ++s->tails > 0;
}

static bool read_into(struct slice piece, struct seen *s) {
    struct snap_reader reader = {.ctx = s,
                                 .head = take_head,
                                 .znode = take_znode,
                                 .session = take_session,
                                 .walk = take_walk,
                                 .record = take_record,
                                 .digest = take_digest};
    return snap_read_piece(piece, &reader);
}

static struct slice slice_of(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

static bool refused(const char *bytes, size_t n) {
    struct seen *s = mem_zalloc(sizeof *s);
    s->refuse_at = -1;
    uint8_t *copy = mem_dup(bytes, n);
    bool taken = read_into((struct slice){copy, (int32_t)n}, s);
    mem_free(copy);
    seen_close(s);
    mem_free(s);
    return !taken;
}
#define REFUSED(bytes) refused(bytes, sizeof(bytes) - 1)

static struct znode_image images[6];
static const struct snap_result results[] = {
    {-5, 0x300000001, {(const uint8_t *)"result", 6}},
    {INT_MAX, INT64_MAX, {(const uint8_t *)"", 0}},
    {0, 0x300000003, {NULL, -1}},
    {0, 0, {NULL, -1}},
};
static const struct snap_session sessions[] = {
    {0x100aabbccdd0001, 40000, true, results, 4},
    {INT64_MIN, INT_MAX, true, NULL, 0},
    {1, 0, false, NULL, 0},
};

static struct blob *acl_of(const char *text) {
    const char *why;
    return acl_parse(slice_from_str(text), &why);
}

static void set_up(void) {
    images[0] = (struct znode_image){.path = slice_from_str("/"), .data = NULL};
    images[1] = (struct znode_image){
        .path = slice_from_str("/a"),
        .data = blob_new("data", 4),
        .stat = {.czxid = 0x700000005,
                 .mzxid = 0x700000005,
                 .pzxid = 0x700000005,
                 .ctime_ms = 1795200191401,
                 .mtime_ms = 1795200191401,
                 .data_length = 4},
    };
    images[2] = (struct znode_image){
        .path = slice_from_str("/a/\xc3\xa4 b"),
        .data = blob_new(NULL, 0),
        .stat = {.czxid = 1,
                 .mzxid = INT64_MAX,
                 .pzxid = 0x800000000,
                 .ctime_ms = -1,
                 .mtime_ms = INT64_MIN,
                 .version = INT_MIN,
                 .aversion = INT_MAX,
                 .ephemeral_owner = INT64_MIN},
        .creates = INT_MIN,
    };
    images[3] = images[1];
    images[3].path = slice_from_str("/b");
    images[3].data = blob_new("x", 1);
    images[3].stat.data_length = 1;
    images[3].stat.mtime_ms -= 5; /* a clock that was set back */
    images[3].creates = -1;
    images[4] = images[0];
    images[4].path = slice_from_str("/c");
    images[5] = images[4];
    images[5].path = slice_from_str("/d");
    static const char *const acls[] = {"world:anyone:cdrwa", "world:anyone:cdrwa",
                                       "ip:10.0.0.1:r",      "world:anyone:cdrwa,ip:10.0.0.1:r",
                                       "world:anyone:cdrw",  "world:anyone:cdrwa"};
    for (int i = 0; i < 6; i++)
        images[i].acl = acl_of(acls[i]);
}

static void tear_down(void) {
    for (int i = 0; i < 6; i++) {
        blob_unref(images[i].data);
        blob_unref(images[i].acl);
    }
}

#define GIVEN 3
static const session_id_t given[GIVEN] = {4, (session_id_t)9 << 56 | 77, -1};

static void put_all(struct buf *b) {
    snap_put_head(b, &(struct snap_head){{(const uint8_t *)"secret", 6}, given, GIVEN});
    for (int i = 0; i < 6; i++)
        snap_put_znode(b, &images[i]);
    for (int i = 0; i < 3; i++)
        snap_put_session(b, &sessions[i]);
}

static void assert_images_equal(const struct znode_image *a, const struct znode_image *b) {
    ck_assert(slice_equal(a->path, b->path));
    ck_assert_int_eq(a->data == NULL, b->data == NULL);
    ck_assert(blob_equal(a->data, b->data));
    ck_assert(blob_equal(a->acl, b->acl));
    ck_assert_int_eq(a->stat.czxid, b->stat.czxid);
    ck_assert_int_eq(a->stat.mzxid, b->stat.mzxid);
    ck_assert_int_eq(a->stat.pzxid, b->stat.pzxid);
    ck_assert_int_eq(a->stat.ctime_ms, b->stat.ctime_ms);
    ck_assert_int_eq(a->stat.mtime_ms, b->stat.mtime_ms);
    ck_assert_int_eq(a->stat.version, b->stat.version);
    ck_assert_int_eq(a->stat.aversion, b->stat.aversion);
    ck_assert_int_eq(a->stat.ephemeral_owner, b->stat.ephemeral_owner);
    ck_assert_int_eq(a->stat.data_length, b->stat.data_length);
    ck_assert_int_eq(a->creates, b->creates);
}

static void assert_sessions_equal(const struct snap_session *a, const struct snap_session *b) {
    ck_assert_int_eq(a->id, b->id);
    ck_assert_int_eq(a->timeout_ms, b->timeout_ms);
    ck_assert_int_eq(a->retries, b->retries);
    ck_assert_uint_eq(a->result_count, b->result_count);
    for (size_t i = 0; i < a->result_count; i++) {
        ck_assert_int_eq(a->results[i].cxid, b->results[i].cxid);
        ck_assert_int_eq(a->results[i].zxid, b->results[i].zxid);
        ck_assert_int_eq(a->results[i].bytes.len, b->results[i].bytes.len);
        ck_assert(slice_equal(a->results[i].bytes, b->results[i].bytes));
    }
}

START_TEST(everything_comes_back_in_its_order) {
    struct buf b = BUF_INIT;
    struct seen s = {.refuse_at = -1};
    put_all(&b);
    ck_assert(read_into(slice_of(&b), &s));
    ck_assert_int_eq(s.heads, 1);
    ck_assert(slice_equal_str(s.head.secret, "secret"));
    ck_assert_uint_eq(s.head.given_count, GIVEN);
    ck_assert_mem_eq(s.head.given, given, sizeof given);
    ck_assert_int_eq(s.znode_count, 6);
    for (int i = 0; i < 6; i++)
        assert_images_equal(&images[i], &s.znodes[i]);
    ck_assert_int_eq(s.session_count, 3);
    for (int i = 0; i < 3; i++)
        assert_sessions_equal(&sessions[i], &s.sessions[i]);
    seen_close(&s);
    buf_close(&b);
}
END_TEST

START_TEST(a_missing_and_an_empty_secret_stay_apart) {
    for (int32_t len = -1; len <= 0; len++) {
        struct buf b = BUF_INIT;
        struct seen s = {.refuse_at = -1};
        snap_put_head(&b, &(struct snap_head){.secret = {NULL, len}});
        ck_assert(read_into(slice_of(&b), &s));
        ck_assert_int_eq(s.head.secret.len, len);
        seen_close(&s);
        buf_close(&b);
    }
}
END_TEST

/* Each server once, in the order of their numbers. */
START_TEST(ids_that_were_given_out_are_in_order) {
    static const session_id_t wrong[][2] = {
        {9, 9}, {9, 10}, {(session_id_t)2 << 56 | 1, (session_id_t)1 << 56 | 1}, {5, 0}, {0, 5}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct buf b = BUF_INIT;
        struct seen s = {.refuse_at = -1};
        snap_put_head(&b, &(struct snap_head){SLICE_NULL, wrong[i], 2});
        ck_assert(!read_into(slice_of(&b), &s));
        seen_close(&s);
        buf_close(&b);
    }
}
END_TEST

START_TEST(an_ordinary_znode_takes_little_beside_its_path_and_data) {
    struct buf b = BUF_INIT;
    snap_put_znode(&b, &images[1]);
    ck_assert_uint_le(b.len, 2 + (2 + 2) + (2 + 4) + 9 + 9);
    buf_close(&b);
}
END_TEST

START_TEST(large_items_come_back) {
    static const size_t sizes[] = {100, 128, 5000, 16384, 1 << 20, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf b = BUF_INIT;
        struct seen s = {.refuse_at = -1};
        uint8_t *bytes = mem_alloc(sizes[i]);
        memset(bytes, 0xa5, sizes[i]);
        struct znode_image image = images[2];
        image.data = blob_new(bytes, sizes[i]);
        image.stat.data_length = (int32_t)sizes[i];
        snap_put_znode(&b, &images[0]);
        snap_put_znode(&b, &image);
        snap_put_znode(&b, &images[1]);
        ck_assert(read_into(slice_of(&b), &s));
        ck_assert_int_eq(s.znode_count, 3);
        assert_images_equal(&image, &s.znodes[1]);
        assert_images_equal(&images[1], &s.znodes[2]);
        blob_unref(image.data);
        mem_free(bytes);
        seen_close(&s);
        buf_close(&b);
    }
}
END_TEST

START_TEST(protobuf_c_reads_and_writes_the_same) {
    struct buf b = BUF_INIT;
    put_all(&b);
    Zkfs__Snapshot__Piece *m = zkfs__snapshot__piece__unpack(NULL, b.len, b.data);
    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(m->base.n_unknown_fields, 0);
    ck_assert_uint_eq(m->n_heads, 1);
    ck_assert_uint_eq(m->heads[0]->n_given, GIVEN);
    ck_assert_uint_eq(m->heads[0]->given[1], (uint64_t)given[1]);
    ck_assert_uint_eq(m->n_znodes, 6);
    ck_assert_uint_eq(m->n_sessions, 3);
    ck_assert_uint_eq(m->sessions[0]->n_results, 4);
    ck_assert_int_eq(m->znodes[2]->version, INT_MIN);
    ck_assert_int_eq(m->znodes[3]->mtime_since, -5);
    uint8_t *packed = mem_alloc(b.len);
    ck_assert_uint_eq(zkfs__snapshot__piece__get_packed_size(m), b.len);
    ck_assert_uint_eq(zkfs__snapshot__piece__pack(m, packed), b.len);
    ck_assert_int_eq(memcmp(packed, b.data, b.len), 0);
    mem_free(packed);
    zkfs__snapshot__piece__free_unpacked(m, NULL);
    buf_close(&b);
}
END_TEST

START_TEST(a_callback_that_says_no_ends_it) {
    struct buf b = BUF_INIT;
    put_all(&b);
    for (int at = 0; at < 10; at++) {
        struct seen s = {.refuse_at = at};
        ck_assert(!read_into(slice_of(&b), &s));
        ck_assert_int_eq(s.items, at + 1);
        seen_close(&s);
    }
    buf_close(&b);
}
END_TEST

/* A piece is a list: cut between two items it is a shorter one, everywhere else it is refused. */
START_TEST(a_truncation_at_every_byte_is_refused_or_between_items) {
    struct buf b = BUF_INIT;
    put_all(&b);
    int pieces = 0;
    for (size_t n = 0; n < b.len; n++)
        pieces += !refused((const char *)b.data, n);
    ck_assert_int_eq(pieces, 1 + 6 + 3 - 1);
    buf_close(&b);
}
END_TEST

static void assert_one_form(const struct buf *b, int *accepted) {
    struct seen *s = mem_zalloc(sizeof *s);
    struct buf again = BUF_INIT;
    s->refuse_at = -1;
    if (read_into(slice_of(b), s) && s->tails == 0) {
        (*accepted)++;
        if (s->heads)
            snap_put_head(&again, &s->head);
        for (int i = 0; i < s->znode_count; i++)
            snap_put_znode(&again, &s->znodes[i]);
        for (int i = 0; i < s->session_count; i++)
            snap_put_session(&again, &s->sessions[i]);
        ck_assert_uint_eq(again.len, b->len);
        ck_assert_ptr_nonnull(again.data);
        ck_assert_int_eq(memcmp(again.data, b->data, b->len), 0);
    }
    buf_close(&again);
    seen_close(s);
    mem_free(s);
}

START_TEST(a_checkpoints_tail_comes_back) {
    struct buf b = BUF_INIT;
    struct seen *s = mem_zalloc(sizeof *s);
    s->refuse_at = -1;
    struct log_record record = {.kind = LOG_TXN,
                                .zxid = 0x300000002,
                                .committed = 0x300000001,
                                .payload = slice_from_str("payload")};
    snap_put_walk(&b, &(struct snap_walk){0x300000001, 0x300000002});
    snap_put_record(&b, &record);
    snap_put_digest(&b, &(struct snap_digest){0x300000002, UINT64_MAX});
    ck_assert(read_into(slice_of(&b), s));
    ck_assert_int_eq(s->tails, 3);
    ck_assert_int_eq(s->walk.begun, 0x300000001);
    ck_assert_int_eq(s->walk.ended, 0x300000002);
    ck_assert_int_eq(s->record.zxid, record.zxid);
    ck_assert_int_eq(s->record_bytes, 7);
    ck_assert_int_eq(s->digest.zxid, 0x300000002);
    ck_assert_uint_eq(s->digest.digest, UINT64_MAX);
    for (size_t n = 1; n < b.len; n++) {
        s->tails = 0;
        if (read_into((struct slice){b.data, (int32_t)n}, s))
            ck_assert_int_gt(s->tails, 0);
    }
    /* A walk that ends before it begins. */
    buf_reset(&b);
    snap_put_walk(&b, &(struct snap_walk){2, 1});
    ck_assert(!read_into(slice_of(&b), s));
    buf_close(&b);
    seen_close(s);
    mem_free(s);
}
END_TEST

START_TEST(what_is_accepted_has_one_form) {
    struct prng r;
    prng_init(&r, 7);
    struct buf b = BUF_INIT;
    int accepted = 0;
    for (int round = 0; round < 30000; round++) {
        buf_reset(&b);
        put_all(&b);
        b.data[prng_below(&r, b.len)] = (uint8_t)prng_next(&r);
        assert_one_form(&b, &accepted);
    }
    ck_assert_int_gt(accepted, 1000);
    buf_close(&b);
}
END_TEST

START_TEST(what_is_malformed_is_refused) {
    struct seen s = {.refuse_at = -1};
    ck_assert(!read_into(SLICE_NULL, &s));
    ck_assert(REFUSED(""));
    ck_assert(!REFUSED("\x0a\0"));      /* a head */
    ck_assert(REFUSED("\x0a\1"));       /* cut */
    ck_assert(REFUSED("\x0a\2\x10\1")); /* an unknown field in it */
    ck_assert(REFUSED("\x22\0"));       /* an unknown item */
    ck_assert(REFUSED("\x08\1"));       /* no item */
    ck_assert(REFUSED("\x0a\0\0"));     /* a byte behind */
    ck_assert(!REFUSED("\x12\5\x0a\1/\x12\0"));
    ck_assert(REFUSED("\x12\5\x0a\1/\x12\0\x0a\0"));                 /* a head behind a znode */
    ck_assert(REFUSED("\x1a\x09\x09\1\0\0\0\0\0\0\0\x12\3\x0a\1/")); /* a znode behind a session */
}
END_TEST

START_TEST(znodes_that_cannot_be_are_refused) {
    ck_assert(REFUSED("\x12\0"));       /* no path */
    ck_assert(REFUSED("\x12\2\x0a\0")); /* an empty one */
    ck_assert(REFUSED("\x12\4\x0a\2/a"
                      "\x20")); /* cut */
    ck_assert(!REFUSED("\x12\4\x0a\2/a"));
    ck_assert(REFUSED("\x12\5\x0a\3/a/"));       /* an invalid one */
    ck_assert(REFUSED("\x12\4\x0a\2/\xff"));     /* no UTF-8 */
    ck_assert(REFUSED("\x12\7\x0a\2/a\x1a\1x")); /* an ACL that is none */
    ck_assert(!REFUSED("\x12\x0a\x0a\2/a\x1a\4\0\0\0\0"));
    ck_assert(REFUSED("\x12\x0a\x0a\2/a\x1a\4\xff\xff\xff\xff")); /* a null vector */
    ck_assert(REFUSED("\x12\x0d\x0a\2/a\x21\1\0\0\0\0\0\0\x80")); /* czxid below 0 */
    ck_assert(!REFUSED("\x12\x0f\x0a\2/a\x21\1\0\0\0\0\0\0\0\x28\2"));
    ck_assert(REFUSED("\x12\x0f\x0a\2/a\x21\1\0\0\0\0\0\0\0\x28\1")); /* changed before it was */
    ck_assert(REFUSED("\x12\x0f\x0a\2/a\x21\1\0\0\0\0\0\0\0\x30\1")); /* likewise its children */
    ck_assert(REFUSED("\x12\x0d\x0a\2/a\x21\0\0\0\0\0\0\0\0"));       /* 0, written */
    ck_assert(REFUSED("\x12\6\x0a\2/a\x68\1"));                       /* field 13 */
    ck_assert(REFUSED("\x12\x0a\x0a\2/a\x48\x80\x80\x80\x80\x20"));   /* a version of 33 bits */
}
END_TEST

START_TEST(the_open_acl_is_never_written) {
    struct buf b = BUF_INIT;
    struct blob *acl = acl_open_unsafe();
    static const uint8_t head[] = {0x0a, 2, '/', 'a', 0x1a};
    buf_put_u8(&b, 0x12);
    buf_put_u8(&b, (uint8_t)(sizeof head + 1 + acl->len));
    buf_put(&b, head, sizeof head);
    buf_put_u8(&b, (uint8_t)acl->len);
    buf_put(&b, acl->bytes, acl->len);
    ck_assert(refused((const char *)b.data, b.len));
    acl->bytes[7] = PERM_READ;
    buf_reset(&b);
    buf_put_u8(&b, 0x12);
    buf_put_u8(&b, (uint8_t)(sizeof head + 1 + acl->len));
    buf_put(&b, head, sizeof head);
    buf_put_u8(&b, (uint8_t)acl->len);
    buf_put(&b, acl->bytes, acl->len);
    ck_assert(!refused((const char *)b.data, b.len));
    blob_unref(acl);
    buf_close(&b);
}
END_TEST

START_TEST(sessions_that_cannot_be_are_refused) {
    ck_assert(REFUSED("\x1a\0")); /* no id */
    ck_assert(!REFUSED("\x1a\x09\x09\1\0\0\0\0\0\0\0"));
    ck_assert(REFUSED("\x1a\x0b\x09\1\0\0\0\0\0\0\0\x10\1")); /* a timeout below 0 */
    ck_assert(REFUSED("\x1a\x0b\x09\1\0\0\0\0\0\0\0\x28\1")); /* field 5 */
    ck_assert(!REFUSED("\x1a\x0d\x09\1\0\0\0\0\0\0\0\x18\1\x22\0"));
    ck_assert(REFUSED("\x1a\x0b\x09\1\0\0\0\0\0\0\0\x22\0"));       /* results without retries */
    ck_assert(REFUSED("\x1a\x0d\x09\1\0\0\0\0\0\0\0\x18\1\x22\1")); /* longer than the session */
    ck_assert(
        REFUSED("\x1a\x0f\x09\1\0\0\0\0\0\0\0\x18\1\x22\2\x20\1"));   /* an unknown field in it */
    ck_assert(REFUSED("\x1a\x0e\x09\1\0\0\0\0\0\0\0\x18\1\x22\0\0")); /* a byte behind */
}
END_TEST

static TCase *refusals(void) {
    TCase *c = tcase_create("refusals");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, what_is_malformed_is_refused);
    tcase_add_test(c, znodes_that_cannot_be_are_refused);
    tcase_add_test(c, the_open_acl_is_never_written);
    tcase_add_test(c, sessions_that_cannot_be_are_refused);
    return c;
}

Suite *unit_suite(void) {
    Suite *s = suite_create("snap_codec");
    TCase *c = tcase_create("pieces");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, everything_comes_back_in_its_order);
    tcase_add_test(c, a_checkpoints_tail_comes_back);
    tcase_add_test(c, a_missing_and_an_empty_secret_stay_apart);
    tcase_add_test(c, ids_that_were_given_out_are_in_order);
    tcase_add_test(c, an_ordinary_znode_takes_little_beside_its_path_and_data);
    tcase_add_test(c, large_items_come_back);
    tcase_add_test(c, protobuf_c_reads_and_writes_the_same);
    tcase_add_test(c, a_callback_that_says_no_ends_it);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused_or_between_items);
    tcase_add_test(c, what_is_accepted_has_one_form);
    suite_add_tcase(s, c);
    suite_add_tcase(s, refusals());
    return s;
}
