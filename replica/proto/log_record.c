/* LogRecord by hand: the payload is borrowed from the bytes read and written straight to where it
 * goes. The tests compare both directions with protobuf-c's own. */
#include "common/check.h"
#include "replica/proto/txn_codec.h"
#include "replica/proto/wire.h"

#define TAG_KIND WIRE_VARINT(1)
#define TAG_ZXID WIRE_FIXED64(2)
#define TAG_PAYLOAD WIRE_BYTES(3)
#define TAG_COMMITTED WIRE_FIXED64(4)

void log_record_encode(struct buf *out, const struct log_record *r) {
    CHECK(r->kind == LOG_TXN || r->kind == LOG_EPOCH);
    CHECK(r->kind == LOG_TXN || r->payload.len <= 0);
    CHECK(r->kind == LOG_TXN || zxid_counter(r->zxid) == 0);
    CHECK(r->payload.len <= (int32_t)TXN_ENCODED_MAX);
    wire_put_varint(out, TAG_KIND);
    wire_put_varint(out, r->kind);
    wire_put_varint(out, TAG_ZXID);
    wire_put_fixed64(out, (uint64_t)r->zxid);
    if (r->kind == LOG_TXN) {
        wire_put_varint(out, TAG_PAYLOAD);
        wire_put_bytes(out, r->payload);
    }
    wire_put_zxid(out, TAG_COMMITTED, r->committed);
}

bool log_record_decode(struct slice bytes, struct log_record *ret_record) {
    if (bytes.len <= 0)
        return false;
    struct cursor c;
    cursor_init(&c, bytes.p, (size_t)bytes.len);
    struct log_record r = {.payload = {NULL, 0}};
    /* Kind, zxid and a transaction's payload are always there, whatever they are. */
    c.bad |= !wire_next(&c, TAG_KIND);
    uint32_t kind = wire_read_u32(&c, LOG_EPOCH);
    c.bad |= !wire_next(&c, TAG_ZXID);
    r.zxid = (zxid_t)wire_read_fixed64(&c);
    if (kind == LOG_TXN) {
        c.bad |= !wire_next(&c, TAG_PAYLOAD);
        r.payload = wire_read_bytes(&c, TXN_ENCODED_MAX);
    } else if (kind != LOG_EPOCH || zxid_counter(r.zxid) != 0) {
        return false;
    }
    r.committed = wire_read_zxid(&c, TAG_COMMITTED);
    if (c.bad || cursor_left(&c) > 0)
        return false;
    r.kind = (enum log_kind)kind;
    *ret_record = r;
    return true;
}
