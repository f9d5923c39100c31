#include "replica/proto/txn_codec.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "log.pb-c.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void assert_blobs_equal(const struct blob *a, const struct blob *b) {
    ck_assert_int_eq(a == NULL, b == NULL);
    ck_assert(blob_equal(a, b));
}

static void assert_ops_equal(const struct txn_op *a, const struct txn_op *b) {
    ck_assert_int_eq((int)a->type, (int)b->type);
    assert_blobs_equal(a->path, b->path);
    assert_blobs_equal(a->data, b->data);
    assert_blobs_equal(a->acl, b->acl);
    ck_assert_int_eq(a->version, b->version);
    ck_assert_int_eq(a->owner, b->owner);
    ck_assert_int_eq(a->parent_creates, b->parent_creates);
}

static void assert_txns_equal(const struct txn *a, const struct txn *b) {
    ck_assert_int_eq((int)a->type, (int)b->type);
    ck_assert_int_eq(a->zxid, b->zxid);
    ck_assert_int_eq(a->session_id, b->session_id);
    ck_assert_int_eq(a->cxid, b->cxid);
    ck_assert_int_eq(a->time_ms, b->time_ms);
    ck_assert_int_eq(a->multi, b->multi);
    ck_assert_int_eq(a->timeout_ms, b->timeout_ms);
    ck_assert_int_eq(a->retries, b->retries);
    ck_assert_int_eq(a->err, b->err);
    ck_assert_uint_eq(a->error_index, b->error_index);
    ck_assert_uint_eq(a->op_count, b->op_count);
    assert_blobs_equal(a->secret, b->secret);
    ck_assert_int_eq(a->ops == NULL, b->ops == NULL);
    for (uint32_t i = 0; a->ops && i < a->op_count; i++)
        assert_ops_equal(&a->ops[i], &b->ops[i]);
}

static struct txn *decode(const struct blob *bytes, zxid_t zxid) {
    return txn_decode(blob_slice(bytes), zxid);
}

/* Takes txn. */
static void assert_round_trip(struct txn *txn) {
    struct blob *bytes = txn_encode(txn);
    struct txn *back = decode(bytes, txn->zxid);
    ck_assert_ptr_nonnull(back);
    assert_txns_equal(txn, back);
    txn_free(back);
    blob_unref(bytes);
    txn_free(txn);
}

static struct txn *one_of_each(void) {
    struct txn *txn = make_txn(0x300000007, 6);
    txn->session_id = INT64_MIN + 5;
    txn->cxid = -8;
    txn->time_ms = 1795200191401;
    txn->multi = true;
    op_create(&txn->ops[0], "/a", "data", 0x100aabbccdd0001, INT32_MIN);
    op_create(&txn->ops[1], "/a/\xc3\xa4 b", NULL, 0, INT32_MAX);
    op_set_data(&txn->ops[2], "/a", "", -2);
    op_set_acl(&txn->ops[3], "/", "ip:10.0.0.0/8:rw,world:anyone:r", 3);
    op_delete(&txn->ops[4], "/a/b");
    op_check(&txn->ops[5], "/");
    return txn;
}

START_TEST(every_kind_of_operation_comes_back) { assert_round_trip(one_of_each()); }
END_TEST

START_TEST(null_data_and_empty_data_stay_apart) {
    struct txn *txn = make_txn(1, 4);
    op_create(&txn->ops[0], "/a", NULL, 0, 1);
    op_create(&txn->ops[1], "/b", "", 0, 2);
    op_set_data(&txn->ops[2], "/b", NULL, 1);
    op_set_data(&txn->ops[3], "/a", "", 1);
    struct blob *bytes = txn_encode(txn);
    struct txn *back = decode(bytes, 1);
    ck_assert_ptr_null(back->ops[0].data);
    ck_assert_ptr_nonnull(back->ops[1].data);
    ck_assert_uint_eq(back->ops[1].data->len, 0);
    ck_assert_ptr_null(back->ops[2].data);
    ck_assert_ptr_nonnull(back->ops[3].data);
    txn_free(back);
    blob_unref(bytes);
    txn_free(txn);
}
END_TEST

START_TEST(every_byte_value_comes_back_in_data) {
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    struct txn *txn = make_txn(1, 1);
    op_set_data(&txn->ops[0], "/a", NULL, 1);
    txn->ops[0].data = blob_new(all, sizeof all);
    assert_round_trip(txn);
}
END_TEST

START_TEST(a_refusal_comes_back) {
    struct txn *txn = make_typed(TXN_ERROR, 5, 77, 4);
    txn->err = -127;
    txn->multi = true;
    txn->error_index = 3;
    assert_round_trip(txn);
    txn = make_typed(TXN_ERROR, 6, 77, 0);
    txn->err = -101;
    assert_round_trip(txn);
}
END_TEST

START_TEST(sessions_and_the_ensemble_come_back) {
    struct txn *txn = make_typed(TXN_CREATE_SESSION, 5, 77, 0);
    txn->timeout_ms = 40000;
    assert_round_trip(txn);
    txn = make_typed(TXN_CREATE_SESSION, 5, 78, 0);
    txn->retries = true;
    assert_round_trip(txn);
    assert_round_trip(make_typed(TXN_CLOSE_SESSION, 6, 77, 0));
    txn = make_typed(TXN_CLOSE_SESSION, 7, 77, 2);
    op_delete(&txn->ops[0], "/a");
    op_delete(&txn->ops[1], "/b");
    assert_round_trip(txn);
    txn = make_typed(TXN_ENSEMBLE, 8, 0, 0);
    txn->secret = blob_new("\0\1\2\3", 4);
    assert_round_trip(txn);
    txn = make_typed(TXN_ENSEMBLE, 8, 0, 0);
    txn->secret = blob_new(NULL, 0);
    assert_round_trip(txn);
}
END_TEST

START_TEST(an_empty_multi_comes_back) {
    struct txn *txn = make_txn(5, 0);
    txn->multi = true;
    assert_round_trip(txn);
}
END_TEST

START_TEST(a_multi_of_thousands_and_a_megabyte_of_data_come_back) {
    struct txn *txn = make_txn(5, 20000);
    for (uint32_t i = 0; i < txn->op_count; i++)
        op_check(&txn->ops[i], "/");
    blob_unref(txn->ops[7].path);
    op_set_data(&txn->ops[7], "/a", NULL, 1);
    uint8_t *zeros = mem_zalloc(1 << 20);
    txn->ops[7].data = blob_new(zeros, 1 << 20);
    mem_free(zeros);
    assert_round_trip(txn);
}
END_TEST

/* Nothing takes more memory to read for its length: the budget of unpacking has to allow it. */
START_TEST(a_multi_of_the_shortest_operations_comes_back) {
    for (uint32_t n = 1000; n < 20000; n = n * 3 / 2) {
        struct txn *txn = make_txn(5, n);
        for (uint32_t i = 0; i < n; i++)
            op_check(&txn->ops[i], "/");
        assert_round_trip(txn);
    }
}
END_TEST

START_TEST(the_zxid_is_the_records_not_the_transactions) {
    struct txn *txn = one_of_each();
    struct blob *bytes = txn_encode(txn);
    txn->zxid = 99;
    struct blob *again = txn_encode(txn);
    ck_assert(blob_equal(bytes, again));
    struct txn *back = decode(bytes, 12345);
    ck_assert_int_eq(back->zxid, 12345);
    txn_free(back);
    txn_free(txn);
    blob_unref(bytes);
    blob_unref(again);
}
END_TEST

/* A prefix may be a shorter multi: where it ends between two operations it is one, everywhere else
 * it is nothing. */
START_TEST(a_truncation_at_every_byte_is_refused_or_a_prefix) {
    struct txn *txn = one_of_each();
    struct blob *bytes = txn_encode(txn);
    uint32_t whole = 0;
    for (int32_t n = 0; n < (int32_t)bytes->len; n++) {
        /* Exactly as long as it says, so that the sanitizer sees a read beyond. */
        uint8_t *cut = mem_dup(bytes->bytes, (size_t)n);
        struct txn *back = txn_decode((struct slice){cut, n}, txn->zxid);
        if (back) {
            ck_assert_uint_lt(back->op_count, txn->op_count);
            for (uint32_t i = 0; i < back->op_count; i++)
                assert_ops_equal(&back->ops[i], &txn->ops[i]);
            whole++;
        }
        txn_free(back);
        mem_free(cut);
    }
    /* Between the fields before the operations, and before each operation. */
    ck_assert_uint_le(whole, 5 + txn->op_count);
    blob_unref(bytes);
    txn_free(txn);
}
END_TEST

START_TEST(no_flipped_bit_and_no_random_bytes_do_harm) {
    struct txn *txn = one_of_each();
    struct blob *bytes = txn_encode(txn);
    for (uint32_t bit = 0; bit < 8 * bytes->len; bit++) {
        uint8_t *flipped = mem_dup(bytes->bytes, bytes->len);
        flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct txn *back = txn_decode((struct slice){flipped, (int32_t)bytes->len}, 1);
        /* What is taken is right by all rules, so that it can be written again. */
        if (back)
            blob_unref(txn_encode(back));
        txn_free(back);
        mem_free(flipped);
    }
    struct prng r;
    prng_init(&r, 3);
    for (int i = 0; i < 20000; i++) {
        int32_t n = 1 + (int32_t)prng_below(&r, 60);
        uint8_t *random = mem_alloc((size_t)n);
        for (int32_t at = 0; at < n; at++)
            random[at] = (uint8_t)(prng_below(&r, 3) ? prng_next(&r) : 8 * prng_below(&r, 12) + 2);
        txn_free(txn_decode((struct slice){random, n}, 1));
        mem_free(random);
    }
    blob_unref(bytes);
    txn_free(txn);
}
END_TEST

START_TEST(nothing_is_no_transaction) {
    ck_assert_ptr_null(txn_decode(SLICE_NULL, 1));
    ck_assert_ptr_null(txn_decode((struct slice){(const uint8_t *)"", 0}, 1));
}
END_TEST

/* Malformed transactions, written with protobuf-c itself. */
static bool taken(const Zkfs__Log__Txn *m) {
    size_t size = zkfs__log__txn__get_packed_size(m);
    uint8_t *bytes = mem_alloc(size);
    zkfs__log__txn__pack(m, bytes);
    struct txn *txn = txn_decode((struct slice){bytes, (int32_t)size}, 1);
    bool is = txn != NULL;
    txn_free(txn);
    mem_free(bytes);
    return is;
}

static ProtobufCBinaryData text(const char *s) {
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static bool op_taken_in(Zkfs__Log__TxnType type, Zkfs__Log__Op *op) {
    Zkfs__Log__Txn m;
    zkfs__log__txn__init(&m);
    m.type = type;
    m.n_ops = 1;
    m.ops = &op;
    return taken(&m);
}

static bool op_taken(Zkfs__Log__Op *op) {
    return op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_OPS, op);
}

static Zkfs__Log__Op op_of(Zkfs__Log__OpType type, const char *path) {
    Zkfs__Log__Op op;
    zkfs__log__op__init(&op);
    op.type = type;
    op.path = text(path);
    return op;
}

static Zkfs__Log__Op with_acl(Zkfs__Log__Op op, const void *acl, size_t n) {
    op.acl_present_case = ZKFS__LOG__OP__ACL_PRESENT_ACL;
    op.acl = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)acl};
    return op;
}

#define CREATE ZKFS__LOG__OP_TYPE__OP_TYPE_CREATE
#define DELETE ZKFS__LOG__OP_TYPE__OP_TYPE_DELETE
#define SET_DATA ZKFS__LOG__OP_TYPE__OP_TYPE_SET_DATA
#define SET_ACL ZKFS__LOG__OP_TYPE__OP_TYPE_SET_ACL
#define CHECK_OP ZKFS__LOG__OP_TYPE__OP_TYPE_CHECK

/* No entries, which is a well-formed vector. */
#define NO_ENTRIES "\0\0\0", 4

START_TEST(an_operation_of_no_or_of_an_unknown_type_is_refused) {
    static const int bad[] = {0, 6, -1, 1 << 30};
    Zkfs__Log__Op op = op_of(DELETE, "/a");
    ck_assert(op_taken(&op));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        op = op_of((Zkfs__Log__OpType)bad[i], "/a");
        ck_assert(!op_taken(&op));
    }
}
END_TEST

START_TEST(a_missing_or_invalid_path_is_refused) {
    static const char *const bad[] = {"",     "a",     "/a/",   "//",   "/a//b",
                                      "/./a", "/\x01", "/\xff", "/a/.."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Zkfs__Log__Op op = op_of(CHECK_OP, bad[i]);
        ck_assert_msg(!op_taken(&op), "%s", bad[i]);
    }
    Zkfs__Log__Op nul = op_of(CHECK_OP, "/a");
    nul.path = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "/a\0"};
    ck_assert(!op_taken(&nul));
}
END_TEST

START_TEST(the_root_is_neither_created_nor_deleted) {
    Zkfs__Log__Op op = with_acl(op_of(CREATE, "/"), NO_ENTRIES);
    ck_assert(!op_taken(&op));
    op = op_of(DELETE, "/");
    ck_assert(!op_taken(&op));
    op = op_of(SET_DATA, "/");
    ck_assert(op_taken(&op));
}
END_TEST

START_TEST(an_acl_that_is_missing_or_no_vector_is_refused) {
    Zkfs__Log__Op op = with_acl(op_of(CREATE, "/a"), NO_ENTRIES);
    ck_assert(op_taken(&op));
    op = op_of(CREATE, "/a");
    ck_assert(!op_taken(&op));
    op = op_of(SET_ACL, "/a");
    ck_assert(!op_taken(&op));
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"", 0},                             /* nothing */
        {"\0\0\0", 3},                       /* half a count */
        {"\0\0\0\1", 4},                     /* an entry is missing */
        {"\xff\xff\xff\xff", 4},             /* null */
        {"\xff\xff\xff\xfe", 4},             /* less than null */
        {"\x7f\xff\xff\xff", 4},             /* two thousand million entries */
        {"\0\0\0\0\0", 5},                   /* something behind it */
        {"\0\0\0\1\0\0\0\1\0\0\0\2s\0", 14}, /* a string is cut */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        op = with_acl(op_of(SET_ACL, "/a"), bad[i].bytes, bad[i].n);
        ck_assert_msg(!op_taken(&op), "%zu", i);
    }
}
END_TEST

START_TEST(a_field_that_is_not_the_operations_own_is_refused) {
    Zkfs__Log__Op op = with_acl(op_of(DELETE, "/a"), NO_ENTRIES);
    ck_assert(!op_taken(&op));
    op = op_of(CHECK_OP, "/a");
    op.version = 1;
    ck_assert(!op_taken(&op));
    op = op_of(SET_DATA, "/a");
    op.owner = 1;
    ck_assert(!op_taken(&op));
    op = op_of(SET_DATA, "/a");
    op.parent_creates = 1;
    ck_assert(!op_taken(&op));
    op = with_acl(op_of(SET_ACL, "/a"), NO_ENTRIES);
    op.data_present_case = ZKFS__LOG__OP__DATA_PRESENT_DATA;
    ck_assert(!op_taken(&op));
}
END_TEST

START_TEST(a_closed_session_only_deletes) {
    Zkfs__Log__Op op = op_of(DELETE, "/a");
    ck_assert(op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_CLOSE_SESSION, &op));
    op = op_of(CHECK_OP, "/a");
    ck_assert(!op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_CLOSE_SESSION, &op));
}
END_TEST

START_TEST(operations_stand_only_where_they_belong) {
    Zkfs__Log__Op op = op_of(DELETE, "/a");
    ck_assert(!op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_CREATE_SESSION, &op));
    ck_assert(!op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_ERROR, &op));
    ck_assert(!op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_ENSEMBLE, &op));
    ck_assert(!op_taken_in(ZKFS__LOG__TXN_TYPE__TXN_TYPE_NONE, &op));
    ck_assert(!op_taken_in((Zkfs__Log__TxnType)6, &op));
}
END_TEST

START_TEST(numbers_that_contradict_each_other_are_refused) {
    Zkfs__Log__Txn m;
    zkfs__log__txn__init(&m);
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_ERROR;
    m.err = -1;
    m.op_count = 2;
    m.error_index = 1;
    ck_assert(taken(&m));
    m.error_index = 2;
    ck_assert(!taken(&m));
    m.error_index = 0;
    m.err = 0;
    ck_assert(!taken(&m));
    m.err = 5;
    ck_assert(!taken(&m));
    m.err = -1;
    m.op_count = TXN_OPS_MAX;
    ck_assert(taken(&m));
    m.op_count = TXN_OPS_MAX + 1;
    ck_assert(!taken(&m));
    m.op_count = UINT32_MAX;
    ck_assert(!taken(&m));
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_OPS;
    m.op_count = 0;
    ck_assert(!taken(&m)); /* an err */
    m.err = 0;
    ck_assert(taken(&m));
    m.timeout_ms = 5;
    ck_assert(!taken(&m));
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_CREATE_SESSION;
    ck_assert(taken(&m));
    m.timeout_ms = -5;
    ck_assert(!taken(&m));
}
END_TEST

START_TEST(only_a_new_session_asks_for_retries) {
    Zkfs__Log__Txn m;
    zkfs__log__txn__init(&m);
    m.retries = true;
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_CREATE_SESSION;
    ck_assert(taken(&m));
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_CLOSE_SESSION;
    ck_assert(!taken(&m));
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_OPS;
    ck_assert(!taken(&m));
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, 6, 77, 0);
    txn->retries = true;
    ck_assert_str_eq(txn_invalid_reason(txn), "only a new session asks for retries");
    txn_free(txn);
}
END_TEST

START_TEST(an_ensemble_without_and_anything_else_with_a_secret_are_refused) {
    Zkfs__Log__Txn m;
    zkfs__log__txn__init(&m);
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_ENSEMBLE;
    ck_assert(!taken(&m));
    m.secret_present_case = ZKFS__LOG__TXN__SECRET_PRESENT_SECRET;
    m.secret = text("secret");
    ck_assert(taken(&m));
    m.type = ZKFS__LOG__TXN_TYPE__TXN_TYPE_OPS;
    ck_assert(!taken(&m));
}
END_TEST

START_TEST(a_field_of_a_later_version_is_refused) {
    struct txn *txn = one_of_each();
    struct blob *bytes = txn_encode(txn);
    uint8_t *longer = mem_alloc(bytes->len + 2u);
    memcpy(longer, bytes->bytes, bytes->len);
    memcpy(longer + bytes->len, "\x78\x01", 2); /* field 15 is 1 */
    ck_assert_ptr_null(txn_decode((struct slice){longer, (int32_t)bytes->len + 2}, 1));
    mem_free(longer);
    blob_unref(bytes);
    txn_free(txn);
    /* Within an operation: type 5, path "/", field 15 is 1. */
    static const uint8_t op[] = {0x08, 1, 0x5a, 7, 0x08, 5, 0x12, 1, '/', 0x78, 1};
    ck_assert_ptr_null(txn_decode((struct slice){op, sizeof op}, 1));
    static const uint8_t fine[] = {0x08, 1, 0x5a, 5, 0x08, 5, 0x12, 1, '/'};
    struct txn *back = txn_decode((struct slice){fine, sizeof fine}, 1);
    ck_assert_ptr_nonnull(back);
    txn_free(back);
}
END_TEST

START_TEST(a_great_many_empty_operations_are_refused_within_bounds) {
    /* Two bytes each: an operation of length 0. */
    int32_t n = 1 << 20;
    uint8_t *bytes = mem_alloc((size_t)n);
    for (int32_t i = 0; i < n; i += 2)
        memcpy(bytes + i, "\x5a\0", 2);
    ck_assert_ptr_null(txn_decode((struct slice){bytes, n}, 1));
    mem_free(bytes);
}
END_TEST

START_TEST(the_longest_transaction_comes_back_and_one_byte_more_is_refused) {
    struct txn *txn = make_txn(1, 1);
    uint8_t *zeros = mem_zalloc(TXN_ENCODED_MAX);
    op_set_data(&txn->ops[0], "/a", "", 1);
    struct blob *bytes = txn_encode(txn);
    uint32_t overhead = bytes->len + 6; /* two lengths grow from one byte to four */
    blob_unref(bytes);
    blob_unref(txn->ops[0].data);
    txn->ops[0].data = blob_new(zeros, TXN_ENCODED_MAX - overhead);
    bytes = txn_encode(txn);
    ck_assert_uint_eq(bytes->len, TXN_ENCODED_MAX);
    struct buf record = BUF_INIT;
    log_record_encode(
        &record, &(struct log_record){.kind = LOG_TXN, .zxid = 1, .payload = blob_slice(bytes)});
    ck_assert_uint_le(record.len, LOG_RECORD_MAX);
    struct log_record r;
    ck_assert(log_record_decode((struct slice){record.data, (int32_t)record.len}, &r));
    struct txn *back = txn_decode(r.payload, 1);
    ck_assert_ptr_nonnull(back);
    back->zxid = txn->zxid;
    assert_txns_equal(txn, back);
    txn_free(back);
    buf_close(&record);
    blob_unref(bytes);
    blob_unref(txn->ops[0].data);
    txn->ops[0].data = blob_new(zeros, TXN_ENCODED_MAX - overhead + 1);
    bytes = txn_encode(txn);
    ck_assert_uint_eq(bytes->len, TXN_ENCODED_MAX + 1);
    ck_assert_ptr_null(decode(bytes, 1));
    blob_unref(bytes);
    mem_free(zeros);
    txn_free(txn);
}
END_TEST

START_TEST(what_could_not_be_read_back_is_not_written) {
    struct txn *txn = make_txn(1, 1);
    op_delete(&txn->ops[0], "/a/");
    txn_encode(txn); /* CHECK */
}
END_TEST

START_TEST(what_is_too_long_is_no_record) {
    uint8_t *zeros = mem_zalloc(TXN_ENCODED_MAX + 1);
    struct buf b = BUF_INIT;
    struct log_record r = {LOG_TXN, 1, 0, {zeros, TXN_ENCODED_MAX + 1}};
    log_record_encode(&b, &r); /* CHECK */
}
END_TEST

static TCase *refusals(void) {
    TCase *c = tcase_create("refusals");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, nothing_is_no_transaction);
    tcase_add_test(c, an_operation_of_no_or_of_an_unknown_type_is_refused);
    tcase_add_test(c, a_missing_or_invalid_path_is_refused);
    tcase_add_test(c, the_root_is_neither_created_nor_deleted);
    tcase_add_test(c, an_acl_that_is_missing_or_no_vector_is_refused);
    tcase_add_test(c, a_field_that_is_not_the_operations_own_is_refused);
    tcase_add_test(c, a_closed_session_only_deletes);
    tcase_add_test(c, operations_stand_only_where_they_belong);
    tcase_add_test(c, numbers_that_contradict_each_other_are_refused);
    tcase_add_test(c, only_a_new_session_asks_for_retries);
    tcase_add_test(c, an_ensemble_without_and_anything_else_with_a_secret_are_refused);
    tcase_add_test(c, a_field_of_a_later_version_is_refused);
    tcase_add_test(c, a_great_many_empty_operations_are_refused_within_bounds);
    tcase_add_test_raise_signal(c, what_could_not_be_read_back_is_not_written, SIGABRT);
    tcase_add_test_raise_signal(c, what_is_too_long_is_no_record, SIGABRT);
    return c;
}

Suite *unit_suite(void) {
    Suite *s = suite_create("txn_codec");
    TCase *c = tcase_create("round_trip");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_kind_of_operation_comes_back);
    tcase_add_test(c, null_data_and_empty_data_stay_apart);
    tcase_add_test(c, every_byte_value_comes_back_in_data);
    tcase_add_test(c, a_refusal_comes_back);
    tcase_add_test(c, sessions_and_the_ensemble_come_back);
    tcase_add_test(c, an_empty_multi_comes_back);
    tcase_add_test(c, a_multi_of_thousands_and_a_megabyte_of_data_come_back);
    tcase_add_test(c, a_multi_of_the_shortest_operations_comes_back);
    tcase_add_test(c, the_zxid_is_the_records_not_the_transactions);
    tcase_add_test(c, a_truncation_at_every_byte_is_refused_or_a_prefix);
    tcase_add_test(c, no_flipped_bit_and_no_random_bytes_do_harm);
    tcase_add_test(c, the_longest_transaction_comes_back_and_one_byte_more_is_refused);
    suite_add_tcase(s, c);
    suite_add_tcase(s, refusals());
    return s;
}
