#include "common/proto.h"
#include "replica/offline/apache_log.h"
#include "replica/offline/apache_txn.h"
#include "tests/lib/unit.h"
#include "tests/unit/offline/apache_make.h"

#include <stdlib.h>
#include <string.h>

static struct buf b;

static void setup(void) { b = BUF_INIT; }
static void teardown(void) { buf_close(&b); }

static struct slice bytes_of(const struct buf *buf) {
    return (struct slice){buf->data, (int32_t)buf->len};
}

static struct apache_txn decoded(void) {
    struct apache_txn t;
    const char *why = apache_txn_decode(bytes_of(&b), &t);
    ck_assert_msg(!why, "%s", why);
    return t;
}

/* Nothing that is cut off is read; 12 bytes less is the digest that was not written. */
static void check_every_cut(void) {
    for (size_t n = 0; n < b.len; n++) {
        struct apache_txn t;
        uint8_t *copy = n > 0 ? memcpy(malloc(n), b.data, n) : NULL;
        if (!apache_txn_decode((struct slice){copy, (int32_t)n}, &t)) {
            ck_assert_msg(n == b.len - 12, "%zu of %zu bytes", n, b.len);
            apache_txn_close(&t);
        }
        free(copy);
    }
}

static void put_digest(void) {
    jute_write_int(&b, 2);
    jute_write_long(&b, 0x1234567);
}

START_TEST(a_creation_has_its_header_its_fields_and_the_digest) {
    make_header(&b, 7, 0x100000002, OP_CREATE2);
    make_create(&b, "/a/b", NULL, true, 5);
    put_digest();
    struct apache_txn t = decoded();
    ck_assert_int_eq(t.type, APACHE_TXN_OPS);
    ck_assert_int_eq(t.session_id, 7);
    ck_assert_int_eq(t.cxid, 3);
    ck_assert_int_eq(t.zxid, 0x100000002);
    ck_assert_uint_eq(t.op_count, 1);
    ck_assert_int_eq(t.ops[0].type, APACHE_OP_CREATE);
    ck_assert_int_eq(t.ops[0].path.len, 4);
    ck_assert_int_eq(t.ops[0].data.len, -1);
    ck_assert_int_eq(t.ops[0].owner, 7);
    ck_assert_int_eq(t.ops[0].version, 5);
    ck_assert(t.has_digest && t.digest == 0x1234567);
    apache_txn_close(&t);
    check_every_cut();
}
END_TEST

START_TEST(the_oldest_creation_does_not_know_its_parents_count) {
    make_header(&b, 7, 2, OP_CREATE);
    make_create(&b, "/a", "x", false, 0);
    b.len -= 4;
    struct apache_txn t = decoded();
    ck_assert_int_eq(t.ops[0].version, -1);
    apache_txn_close(&t);
}
END_TEST

START_TEST(containers_and_ttls_have_owners_of_their_own) {
    make_header(&b, 7, 2, OP_CREATE_TTL);
    make_string(&b, "/t");
    make_string(&b, "");
    make_open_acl(&b, 31);
    jute_write_int(&b, 1);
    jute_write_long(&b, 100);
    put_digest();
    struct apache_txn t = decoded();
    ck_assert(t.ops[0].owner == TTL_OWNER);
    apache_txn_close(&t);
    check_every_cut();
}
END_TEST

START_TEST(the_end_of_a_session_may_name_its_ephemerals) {
    make_header(&b, 7, 2, OP_CLOSE_SESSION);
    struct apache_txn t = decoded();
    ck_assert_int_eq(t.type, APACHE_TXN_CLOSE);
    ck_assert_uint_eq(t.op_count, 0);
    apache_txn_close(&t);
    put_digest();
    t = decoded();
    ck_assert_uint_eq(t.op_count, 0);
    ck_assert(t.has_digest);
    apache_txn_close(&t);
    b.len -= 12;
    jute_write_int(&b, 2);
    make_string(&b, "/e/1");
    make_string(&b, "/e/2");
    put_digest();
    t = decoded();
    ck_assert_uint_eq(t.op_count, 2);
    ck_assert_int_eq(t.ops[1].type, APACHE_OP_DELETE);
    ck_assert(t.has_digest);
    apache_txn_close(&t);
}
END_TEST

static void put_multi(bool fails) {
    struct buf item = BUF_INIT;
    make_header(&b, 7, 2, OP_MULTI);
    jute_write_int(&b, 2);
    make_create(&item, "/m", "", false, 3);
    jute_write_int(&b, OP_CREATE);
    jute_write_slice(&b, bytes_of(&item));
    buf_reset(&item);
    jute_write_int(&b, fails ? OP_ERROR : OP_DELETE);
    if (fails)
        jute_write_int(&item, -101);
    else
        make_string(&item, "/gone");
    jute_write_slice(&b, bytes_of(&item));
    buf_close(&item);
}

START_TEST(a_multi_is_all_of_its_operations_or_none) {
    put_multi(false);
    put_digest();
    struct apache_txn t = decoded();
    ck_assert_uint_eq(t.op_count, 2);
    ck_assert_int_eq(t.ops[1].type, APACHE_OP_DELETE);
    apache_txn_close(&t);
    check_every_cut();
    buf_reset(&b);
    put_multi(true);
    t = decoded();
    ck_assert_uint_eq(t.op_count, 0);
    apache_txn_close(&t);
}
END_TEST

START_TEST(what_is_no_transaction_is_refused) {
    struct apache_txn t;
    make_header(&b, 7, 2, 99);
    ck_assert_ptr_nonnull(apache_txn_decode(bytes_of(&b), &t));
    buf_reset(&b);
    make_header(&b, 7, 0, OP_DELETE);
    make_string(&b, "/a");
    ck_assert_ptr_nonnull(apache_txn_decode(bytes_of(&b), &t));
    buf_reset(&b);
    make_header(&b, 7, 2, OP_DELETE);
    make_string(&b, "/a//b");
    ck_assert_ptr_nonnull(apache_txn_decode(bytes_of(&b), &t));
    buf_reset(&b);
    make_header(&b, 7, 2, OP_DELETE);
    make_string(&b, "/a");
    buf_put_u8(&b, 0);
    ck_assert_ptr_nonnull(apache_txn_decode(bytes_of(&b), &t));
}
END_TEST

/* ---- the file around them ---- */

/* Three records and zeros; returns where the last begins. */
static size_t make_log(void) {
    struct buf txn = BUF_INIT;
    size_t at = 0;
    make_log_begin(&b);
    for (int64_t zxid = 1; zxid <= 3; zxid++) {
        at = b.len;
        buf_reset(&txn);
        make_header(&txn, 7, zxid, OP_DELETE);
        make_string(&txn, "/a");
        make_record(&b, &txn);
    }
    for (int i = 0; i < 64; i++)
        buf_put_u8(&b, 0);
    buf_close(&txn);
    return at;
}

/* How many whole records there are before what ends it. */
static int read_all(const uint8_t *p, size_t n, enum apache_log_item *ret_end) {
    struct apache_log log;
    struct slice payload;
    ck_assert_ptr_null(apache_log_open(&log, p, n));
    for (int count = 0;; count++) {
        *ret_end = apache_log_next(&log, &payload);
        if (*ret_end != APACHE_LOG_RECORD)
            return count;
    }
}

START_TEST(a_log_ends_with_its_zeros_or_where_it_is_cut_off) {
    size_t last = make_log(), whole = b.len - 64;
    enum apache_log_item end;
    ck_assert_int_eq(read_all(b.data, b.len, &end), 3);
    ck_assert_int_eq(end, APACHE_LOG_END);
    for (size_t n = 16; n < whole; n++) {
        uint8_t *copy = memcpy(malloc(n), b.data, n);
        int count = read_all(copy, n, &end);
        ck_assert_int_eq(count, n >= last ? 2 : n >= 16 + (last - 16) / 2 ? 1 : 0);
        ck_assert(end == APACHE_LOG_TORN || end == APACHE_LOG_END);
        free(copy);
    }
}
END_TEST

START_TEST(a_broken_record_is_torn_only_at_the_end) {
    size_t last = make_log(), whole = b.len - 64;
    for (size_t at = 16; at < whole; at++) {
        enum apache_log_item end;
        b.data[at] ^= 0x20;
        int count = read_all(b.data, b.len, &end);
        ck_assert_int_lt(count, 3);
        ck_assert_int_eq(end, at >= last ? APACHE_LOG_TORN : APACHE_LOG_DAMAGED);
        b.data[at] ^= 0x20;
    }
}
END_TEST

START_TEST(a_file_that_is_no_log_is_refused_and_an_empty_one_is_empty) {
    struct apache_log log;
    struct slice payload;
    uint8_t zeros[100] = {0};
    ck_assert_ptr_nonnull(apache_log_open(&log, (const uint8_t *)"ZKSN0000000000000000", 20));
    ck_assert_ptr_null(apache_log_open(&log, zeros, sizeof zeros));
    ck_assert_int_eq(apache_log_next(&log, &payload), APACHE_LOG_END);
    ck_assert_ptr_null(apache_log_open(&log, NULL, 0));
    ck_assert_int_eq(apache_log_next(&log, &payload), APACHE_LOG_END);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("apache_txn");
    TCase *c = tcase_create("apache_txn");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_creation_has_its_header_its_fields_and_the_digest);
    tcase_add_test(c, the_oldest_creation_does_not_know_its_parents_count);
    tcase_add_test(c, containers_and_ttls_have_owners_of_their_own);
    tcase_add_test(c, the_end_of_a_session_may_name_its_ephemerals);
    tcase_add_test(c, a_multi_is_all_of_its_operations_or_none);
    tcase_add_test(c, what_is_no_transaction_is_refused);
    tcase_add_test(c, a_log_ends_with_its_zeros_or_where_it_is_cut_off);
    tcase_add_test(c, a_broken_record_is_torn_only_at_the_end);
    tcase_add_test(c, a_file_that_is_no_log_is_refused_and_an_empty_one_is_empty);
    suite_add_tcase(s, c);
    return s;
}
