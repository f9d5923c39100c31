#include "common/acl.h"
#include "common/path.h"
#include "common/proto.h"
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

/* Every record is filled, and compared, field by field through the same list that the codec's
 * tables are made of, but with code of the tests' own. `turn` varies the values: 0 nulls, 1 empty,
 * 2 and on full. */
static int64_t next_value;

static struct slice text_of(int turn) {
    static const char *const texts[] = {"/a", "abcdefghij", "/x/\xc3\xa4", "0123456789abcdef"};
    if (turn < 2)
        return turn == 0 ? SLICE_NULL : (struct slice){(const uint8_t *)"", 0};
    return slice_from_str(texts[next_value++ % 4]);
}

static struct jvec strings_of(int turn, struct buf *items) {
    buf_init(items, 0);
    if (turn == 0)
        return (struct jvec){-1, SLICE_NULL};
    for (int i = 0; i < turn - 1; i++)
        jute_write_slice(items, i == 1 ? SLICE_NULL : text_of(turn));
    return (struct jvec){turn - 1, {items->data, (int32_t)items->len}};
}

static struct jvec acls_of(int turn, struct buf *items) {
    buf_init(items, 0);
    if (turn == 0)
        return (struct jvec){-1, SLICE_NULL};
    for (int i = 0; i < turn - 1; i++) {
        struct acl_entry e = {i, text_of(turn), i == 1 ? SLICE_NULL : text_of(turn)};
        acl_append(items, &e);
    }
    return (struct jvec){turn - 1, {items->data, (int32_t)items->len}};
}

static struct jvec users_of(int turn, struct buf *items) {
    buf_init(items, 0);
    if (turn == 0)
        return (struct jvec){-1, SLICE_NULL};
    for (int i = 0; i < turn - 1; i++) {
        jute_write_slice(items, text_of(turn));
        jute_write_slice(items, i == 1 ? SLICE_NULL : text_of(turn));
    }
    return (struct jvec){turn - 1, {items->data, (int32_t)items->len}};
}

static struct zstat some_stat(void) {
    int64_t v = 0x0102030405060708LL * ++next_value;
    return (struct zstat){.czxid = v,
                          .mzxid = v + 1,
                          .ctime_ms = v + 2,
                          .mtime_ms = v + 3,
                          .version = (int32_t)v + 4,
                          .cversion = (int32_t)v + 5,
                          .aversion = (int32_t)v + 6,
                          .ephemeral_owner = -v,
                          .data_length = (int32_t)v + 8,
                          .num_children = (int32_t)v + 9,
                          .pzxid = v + 10};
}

/* Memory behind the vectors of one filled record. */
static struct buf vectors[8];
static int vector_count;

#define FILL_INT(n) r->n = (int32_t)(0x01020304 * ++next_value);
#define FILL_LONG(n) r->n = -0x0102030405060708LL * ++next_value;
#define FILL_BOOL(n) r->n = turn != 1;
#define FILL_OPTBOOL(n)                                                                            \
    r->n = true;                                                                                   \
    r->has_##n = true;
#define FILL_STR(n) r->n = text_of(turn);
#define FILL_BUF(n) r->n = text_of(turn);
#define FILL_STAT(n) r->n = some_stat();
#define FILL_ACLS(n) r->n = acls_of(turn, &vectors[vector_count++]);
#define FILL_USERS(n) r->n = users_of(turn, &vectors[vector_count++]);
#define FILL_STRS(n) r->n = strings_of(turn, &vectors[vector_count++]);
#define F(kind, n) FILL_##kind(n)
#define RECORD(name, fields)                                                                       \
    static void fill_##name(void *p, int turn) {                                                   \
        struct proto_##name *r = p;                                                                \
        (void)r;                                                                                   \
        (void)turn;                                                                                \
        fields                                                                                     \
    }
#include "common/proto.def"
#undef RECORD
#undef F

static bool same_vector(struct jvec a, struct jvec b) {
    if (a.count != b.count)
        return false;
    return a.count <= 0 || slice_equal(a.items, b.items);
}

static bool same_stat(const struct zstat *a, const struct zstat *b) {
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->ctime_ms == b->ctime_ms &&
           a->mtime_ms == b->mtime_ms && a->version == b->version && a->cversion == b->cversion &&
           a->aversion == b->aversion && a->ephemeral_owner == b->ephemeral_owner &&
           a->data_length == b->data_length && a->num_children == b->num_children &&
           a->pzxid == b->pzxid;
}

#define SAME_INT(n) &&a->n == b->n
#define SAME_LONG(n) &&a->n == b->n
#define SAME_BOOL(n) &&a->n == b->n
#define SAME_OPTBOOL(n) &&a->n == b->n && a->has_##n == b->has_##n
#define SAME_STR(n) &&slice_equal(a->n, b->n)
#define SAME_BUF(n) &&slice_equal(a->n, b->n)
#define SAME_STAT(n) &&same_stat(&a->n, &b->n)
#define SAME_ACLS(n) &&same_vector(a->n, b->n)
#define SAME_USERS(n) &&same_vector(a->n, b->n)
#define SAME_STRS(n) &&same_vector(a->n, b->n)
#define F(kind, n) SAME_##kind(n)
#define RECORD(name, fields)                                                                       \
    static bool same_##name(const void *pa, const void *pb) {                                      \
        const struct proto_##name *a = pa, *b = pb;                                                \
        return a && b fields;                                                                      \
    }
#include "common/proto.def"
#undef RECORD
#undef F

#define F(kind, n) +OPT_##kind
enum { OPT_INT, OPT_LONG = 0, OPT_BOOL = 0, OPT_OPTBOOL = 1, OPT_STR = 0 };
enum { OPT_BUF, OPT_STAT = 0, OPT_ACLS = 0, OPT_STRS = 0, OPT_USERS = 0 };

static const struct {
    const char *name;
    size_t size;
    void (*fill)(void *r, int turn);
    bool (*same)(const void *a, const void *b);
    size_t optional_bytes;
} records[] = {
#define RECORD(name, fields)                                                                       \
    {#name, sizeof(struct proto_##name), fill_##name, same_##name, 0 fields},
#include "common/proto.def"
#undef RECORD
};
#undef F

#define TURNS 5

/* An encoded record, and the struct it was made of. */
struct sample {
    struct buf bytes;
    uint64_t storage[64];
};

static void sample_init(struct sample *s, int record, int turn) {
    ck_assert_uint_le(records[record].size, sizeof s->storage);
    memset(s->storage, 0, sizeof s->storage);
    records[record].fill(s->storage, turn);
    buf_init(&s->bytes, 0);
    proto_encode(&s->bytes, (enum proto_record)record, s->storage);
}

static void sample_close(struct sample *s) {
    buf_close(&s->bytes);
    while (vector_count > 0)
        buf_close(&vectors[--vector_count]);
}

/* Decodes the first n bytes, in memory of exactly that size. */
static bool decodes(int record, const uint8_t *p, size_t n, void *storage, size_t *ret_left,
                    uint8_t **ret_copy) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    if (n > 0)
        memcpy(copy, p, n);
    struct cursor c;
    cursor_init(&c, copy, n);
    bool good = proto_decode(&c, (enum proto_record)record, storage);
    *ret_left = cursor_left(&c);
    *ret_copy = copy;
    return good;
}

START_TEST(every_record_survives_a_round_trip) {
    for (int turn = 0; turn < TURNS; turn++) {
        struct sample s;
        uint64_t storage[64];
        size_t left;
        uint8_t *copy;
        sample_init(&s, _i, turn);
        memset(storage, 0, sizeof storage);
        ck_assert(decodes(_i, s.bytes.data, s.bytes.len, storage, &left, &copy));
        ck_assert_uint_eq(left, 0);
        ck_assert_msg(records[_i].same(s.storage, storage), "%s turn %d", records[_i].name, turn);
        free(copy);
        sample_close(&s);
    }
}
END_TEST

START_TEST(every_record_cut_at_every_byte_is_refused) {
    for (int turn = 0; turn < TURNS; turn++) {
        struct sample s;
        sample_init(&s, _i, turn);
        for (size_t n = 0; n < s.bytes.len; n++) {
            uint64_t storage[64];
            size_t left;
            uint8_t *copy;
            bool good = decodes(_i, s.bytes.data, n, storage, &left, &copy);
            bool optional_cut = n + records[_i].optional_bytes == s.bytes.len;
            ck_assert_msg(good == (optional_cut && records[_i].optional_bytes > 0),
                          "%s turn %d cut at %zu", records[_i].name, turn, n);
            free(copy);
        }
        sample_close(&s);
    }
}
END_TEST

START_TEST(bytes_behind_a_record_are_left_alone) {
    struct sample s;
    uint64_t storage[64];
    size_t left;
    uint8_t *copy;
    sample_init(&s, _i, 3);
    buf_put(&s.bytes, "xyz", 3);
    ck_assert(decodes(_i, s.bytes.data, s.bytes.len, storage, &left, &copy));
    ck_assert_uint_eq(left, 3);
    free(copy);
    sample_close(&s);
}
END_TEST

START_TEST(every_record_has_its_name) {
    ck_assert_str_eq(proto_record_name((enum proto_record)_i), records[_i].name);
}
END_TEST

START_TEST(a_connect_request_has_44_or_45_bytes) {
    struct proto_connect_request in = {.protocol_version = 0,
                                       .last_zxid_seen = 0x1122334455667788LL,
                                       .timeout_ms = 30000,
                                       .session_id = -2,
                                       .passwd = slice_from_str("0123456789abcdef")};
    struct proto_connect_request out;
    struct buf b = BUF_INIT;
    struct cursor c;
    proto_encode(&b, PROTO_connect_request, &in);
    ck_assert_uint_eq(b.len, 44);
    cursor_init(&c, b.data, b.len);
    ck_assert(proto_decode(&c, PROTO_connect_request, &out));
    ck_assert(!out.has_read_only);
    ck_assert(!out.read_only);
    in.has_read_only = true;
    buf_reset(&b);
    proto_encode(&b, PROTO_connect_request, &in);
    ck_assert_uint_eq(b.len, 45);
    cursor_init(&c, b.data, b.len);
    ck_assert(proto_decode(&c, PROTO_connect_request, &out));
    ck_assert(out.has_read_only);
    ck_assert(!out.read_only);
    static const uint8_t wire[] = {
        0,    0,    0,    0,    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0,   0,   0x75,
        0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0,    0,    0,    16,  '0', '1',
        '2',  '3',  '4',  '5',  '6',  '7',  '8',  '9',  'a',  'b',  'c',  'd',  'e', 'f', 0};
    ck_assert_mem_eq(b.data, wire, sizeof wire);
    buf_close(&b);
}
END_TEST

START_TEST(a_connect_response_has_36_or_37_bytes) {
    struct proto_connect_response r = {.passwd = slice_from_str("0123456789abcdef")};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_response, &r);
    ck_assert_uint_eq(b.len, 36);
    buf_reset(&b);
    r.has_read_only = true;
    proto_encode(&b, PROTO_connect_response, &r);
    ck_assert_uint_eq(b.len, 37);
    buf_close(&b);
}
END_TEST

START_TEST(a_create_request_looks_as_jute_writes_it) {
    static const uint8_t wire[] = {0, 0, 0, 2,   '/', 'a', 0xff, 0xff, 0xff, 0xff, 0,   0,   0,   1,
                                   0, 0, 0, 31,  0,   0,   0,    5,    'w',  'o',  'r', 'l', 'd', 0,
                                   0, 0, 6, 'a', 'n', 'y', 'o',  'n',  'e',  0,    0,   0,   2};
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request r = {.path = slice_from_str("/a"),
                                     .data = SLICE_NULL,
                                     .acl = acl_view(acl),
                                     .flags = CREATE_PERSISTENT_SEQUENTIAL};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_create_request, &r);
    ck_assert_uint_eq(b.len, sizeof wire);
    ck_assert_mem_eq(b.data, wire, sizeof wire);
    buf_close(&b);
    blob_unref(acl);
}
END_TEST

START_TEST(a_stat_has_68_bytes_in_wire_order) {
    struct zstat s = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const uint8_t widths[] = {8, 8, 8, 8, 4, 4, 4, 8, 4, 4, 8};
    struct buf b = BUF_INIT;
    jute_write_stat(&b, &s);
    ck_assert_uint_eq(b.len, 68);
    size_t at = 0;
    for (uint8_t i = 0; i < 11; i++) {
        at += widths[i];
        ck_assert_uint_eq(b.data[at - 1], i + 1);
    }
    buf_close(&b);
}
END_TEST

/* True when these bytes, read as a record, are refused. */
static bool refuses(enum proto_record record, const void *p, size_t n) {
    uint64_t storage[64];
    size_t left;
    uint8_t *copy;
    bool good = decodes((int)record, p, n, storage, &left, &copy);
    free(copy);
    return !good;
}

START_TEST(lengths_below_minus_one_are_refused) {
    ck_assert(!refuses(PROTO_path_response, "\xff\xff\xff\xff", 4));
    ck_assert(refuses(PROTO_path_response, "\xff\xff\xff\xfe", 4));
    ck_assert(refuses(PROTO_path_response, "\x80\0\0\0", 4));
    ck_assert(refuses(PROTO_path_response, "\x7f\xff\xff\xff", 4));
    ck_assert(!refuses(PROTO_get_children_response, "\xff\xff\xff\xff", 4));
    ck_assert(refuses(PROTO_get_children_response, "\xff\xff\xff\xfe", 4));
    ck_assert(refuses(PROTO_who_am_i_response, "\xff\xff\xff\xfe", 4));
}
END_TEST

START_TEST(a_count_is_bounded_by_the_bytes_that_are_left) {
    ck_assert(refuses(PROTO_get_children_response, "\x7f\xff\xff\xff\0\0\0\0", 8));
    ck_assert(refuses(PROTO_get_children_response, "\0\0\0\2\0\0\0\0", 8));
    ck_assert(!refuses(PROTO_get_children_response, "\0\0\0\1\0\0\0\0", 8));
    ck_assert(refuses(PROTO_get_acl_response, "\0\0\0\1\0\0\0\1\0\0\0\0", 12));
    ck_assert(refuses(PROTO_who_am_i_response, "\0\0\0\1\0\0\0\0", 8));
    ck_assert(!refuses(PROTO_who_am_i_response, "\0\0\0\1\0\0\0\0\0\0\0\0", 12));
}
END_TEST

START_TEST(a_bad_element_inside_a_vector_is_found_when_it_is_read) {
    ck_assert(refuses(PROTO_get_children_response, "\0\0\0\2\0\0\0\0\xff\xff\xff\xfe", 12));
    ck_assert(refuses(PROTO_get_children_response, "\0\0\0\2\0\0\0\1a\0\0\0\1", 13));
}
END_TEST

START_TEST(any_byte_but_zero_is_true) {
    struct proto_path_watch_request r;
    struct cursor c;
    cursor_init(&c, "\0\0\0\1/\x80", 6);
    ck_assert(proto_decode(&c, PROTO_path_watch_request, &r));
    ck_assert(r.watch);
    cursor_init(&c, "\0\0\0\1/\0", 6);
    ck_assert(proto_decode(&c, PROTO_path_watch_request, &r));
    ck_assert(!r.watch);
}
END_TEST

START_TEST(strings_of_a_vector_come_in_order) {
    struct cursor c;
    cursor_init(&c, "\0\0\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0", 17);
    struct jvec v = jute_read_strings(&c);
    ck_assert(!c.bad);
    struct slice s;
    int32_t at = 0;
    ck_assert_int_eq(v.count, 3);
    ck_assert(jvec_next_string(&v, &at, &s));
    ck_assert(slice_equal_str(s, "a"));
    ck_assert(jvec_next_string(&v, &at, &s));
    ck_assert_int_eq(s.len, -1);
    ck_assert(jvec_next_string(&v, &at, &s));
    ck_assert_int_eq(s.len, 0);
    ck_assert(!jvec_next_string(&v, &at, &s));
    struct jvec null_vector = {-1, SLICE_NULL};
    at = 0;
    ck_assert(!jvec_next_string(&null_vector, &at, &s));
}
END_TEST

START_TEST(a_bad_cursor_decodes_nothing) {
    struct proto_reply_header r;
    struct cursor c;
    cursor_init(&c, "0123456789abcdef", 16);
    c.bad = true;
    ck_assert(!proto_decode(&c, PROTO_reply_header, &r));
}
END_TEST

START_TEST(opcodes_are_found_by_number) {
    const struct opcode_info *create = opcode_find(OP_CREATE);
    ck_assert_str_eq(create->name, "CREATE");
    ck_assert_int_eq(create->number, 1);
    ck_assert_int_eq(create->request, PROTO_create_request);
    ck_assert_int_eq(create->response, PROTO_path_response);
    ck_assert_uint_eq(create->flags, OPF_WRITE | OPF_MULTI);
    ck_assert_str_eq(opcode_find(-11)->name, "CLOSE_SESSION");
    ck_assert_str_eq(opcode_find(107)->name, "WHO_AM_I");
    ck_assert_ptr_null(opcode_find(10));
    ck_assert_ptr_null(opcode_find(108));
    ck_assert_ptr_null(opcode_find(INT32_MIN));
    for (int32_t i = -200; i < 200; i++)
        ck_assert(!opcode_find(i) || opcode_find(i)->number == i);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("proto");
    TCase *tc = tcase_create("proto");
    tcase_add_loop_test(tc, every_record_survives_a_round_trip, 0, PROTO_RECORD_COUNT);
    tcase_add_loop_test(tc, every_record_cut_at_every_byte_is_refused, 0, PROTO_RECORD_COUNT);
    tcase_add_loop_test(tc, bytes_behind_a_record_are_left_alone, 0, PROTO_RECORD_COUNT);
    tcase_add_loop_test(tc, every_record_has_its_name, 0, PROTO_RECORD_COUNT);
    tcase_add_test(tc, a_connect_request_has_44_or_45_bytes);
    tcase_add_test(tc, a_connect_response_has_36_or_37_bytes);
    tcase_add_test(tc, a_create_request_looks_as_jute_writes_it);
    tcase_add_test(tc, a_stat_has_68_bytes_in_wire_order);
    tcase_add_test(tc, lengths_below_minus_one_are_refused);
    tcase_add_test(tc, a_count_is_bounded_by_the_bytes_that_are_left);
    tcase_add_test(tc, a_bad_element_inside_a_vector_is_found_when_it_is_read);
    tcase_add_test(tc, any_byte_but_zero_is_true);
    tcase_add_test(tc, strings_of_a_vector_come_in_order);
    tcase_add_test(tc, a_bad_cursor_decodes_nothing);
    tcase_add_test(tc, opcodes_are_found_by_number);
    suite_add_tcase(s, tc);
    return s;
}
