/* Transactions and log records: an even first byte has the rest decoded as a transaction, an odd
 * one as a log record, whose payload is then a transaction. */
#include "common/acl.h"
#include "common/check.h"
#include "replica/proto/txn_codec.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_op(const struct txn_op *op) {
    CHECK(op->path);
    if (op->acl)
        acl_view(op->acl); /* ends the program when it is no vector<ACL> */
}

/* What was accepted survives being written and read again. */
static void one_txn(struct slice bytes) {
    struct txn *t = txn_decode(bytes, 0x100000002);
    if (!t)
        return;
    CHECK(t->zxid == 0x100000002);
    for (uint32_t i = 0; t->ops && i < t->op_count; i++)
        check_op(&t->ops[i]);
    struct blob *once = txn_encode(t);
    struct txn *again = txn_decode(blob_slice(once), t->zxid);
    CHECK(again);
    struct blob *twice = txn_encode(again);
    CHECK(blob_equal(once, twice));
    CHECK(again->type == t->type);
    CHECK(again->op_count == t->op_count);
    blob_unref(once);
    blob_unref(twice);
    txn_free(again);
    txn_free(t);
}

static void one_record(struct slice bytes) {
    struct log_record r;
    if (!log_record_decode(bytes, &r))
        return;
    CHECK(r.kind == LOG_TXN || r.kind == LOG_EPOCH);
    struct buf b = BUF_INIT;
    log_record_encode(&b, &r);
    struct log_record again;
    CHECK(log_record_decode((struct slice){b.data, (int32_t)b.len}, &again));
    CHECK(again.kind == r.kind);
    CHECK(again.zxid == r.zxid);
    CHECK(again.committed == r.committed);
    CHECK(b.len == (size_t)bytes.len);
    CHECK(memcmp(b.data, bytes.p, b.len) == 0);
    if (r.kind == LOG_TXN) {
        CHECK(again.payload.len == r.payload.len);
        CHECK(r.payload.len <= 0 ||
              memcmp(again.payload.p, r.payload.p, (size_t)r.payload.len) == 0);
        one_txn(r.payload);
    }
    buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct slice bytes = {data + 1, (int32_t)(size - 1)};
    if (data[0] % 2)
        one_record(bytes);
    else
        one_txn(bytes);
    return 0;
}
