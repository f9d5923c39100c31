/* LogRecord by hand, in protobuf's wire format: the payload is borrowed from the bytes read and
 * written straight to where it goes, and neither protobuf-c's unpacking nor its packing can do
 * without a copy. The tests compare both directions with protobuf-c's own. */
#include "common/check.h"
#include "common/cursor.h"
#include "replica/proto/txn_codec.h"

/* A field's tag is its number * 8 + its wire type (0 varint, 1 eight bytes, 2 length and bytes). */
#define TAG_KIND (1u << 3 | 0u)
#define TAG_ZXID (2u << 3 | 1u)
#define TAG_PAYLOAD (3u << 3 | 2u)

static void put_varint(struct buf *b, uint32_t v) {
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

/* Up to 32 bits; a longer one is bad: nothing here needs it. */
static uint32_t read_varint(struct cursor *c) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = cursor_u8(c);
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            /* The shortest form only. */
            c->bad |= v > UINT32_MAX || (byte == 0 && shift > 0);
            return (uint32_t)v;
        }
    }
    c->bad = true;
    return 0;
}

void log_record_encode(struct buf *out, const struct log_record *r) {
    CHECK(r->kind == LOG_TXN || r->kind == LOG_EPOCH);
    CHECK(r->kind == LOG_TXN || r->payload.len <= 0);
    CHECK(r->kind == LOG_TXN || zxid_counter(r->zxid) == 0);
    CHECK(r->payload.len <= (int32_t)TXN_ENCODED_MAX);
    put_varint(out, TAG_KIND);
    put_varint(out, r->kind);
    put_varint(out, TAG_ZXID);
    uint64_t zxid = (uint64_t)r->zxid;
    for (unsigned shift = 0; shift < 64; shift += 8)
        buf_put_u8(out, (uint8_t)(zxid >> shift));
    if (r->kind == LOG_EPOCH)
        return;
    put_varint(out, TAG_PAYLOAD);
    put_varint(out, r->payload.len > 0 ? (uint32_t)r->payload.len : 0);
    if (r->payload.len > 0)
        buf_put(out, r->payload.p, (size_t)r->payload.len);
}

/* Protobuf counts from the least byte. */
static zxid_t read_zxid(struct cursor *c) {
    uint64_t zxid = 0;
    for (unsigned shift = 0; shift < 64; shift += 8)
        zxid |= (uint64_t)cursor_u8(c) << shift;
    return (zxid_t)zxid;
}

static struct slice read_payload(struct cursor *c) {
    uint32_t len = read_varint(c);
    if (len > TXN_ENCODED_MAX)
        c->bad = true;
    const uint8_t *p = c->bad ? NULL : cursor_bytes(c, len);
    return p ? (struct slice){p, (int32_t)len} : SLICE_NULL;
}

bool log_record_decode(struct slice bytes, struct log_record *ret_record) {
    if (bytes.len <= 0)
        return false;
    struct cursor c;
    cursor_init(&c, bytes.p, (size_t)bytes.len);
    uint32_t kind = 0;
    struct log_record r = {.payload = {NULL, 0}};
    /* The fields in the order in which they are written, each once: one record has one form. */
    c.bad |= read_varint(&c) != TAG_KIND;
    kind = read_varint(&c);
    c.bad |= read_varint(&c) != TAG_ZXID;
    r.zxid = read_zxid(&c);
    if (kind == LOG_TXN) {
        c.bad |= read_varint(&c) != TAG_PAYLOAD;
        r.payload = read_payload(&c);
    } else if (kind != LOG_EPOCH || zxid_counter(r.zxid) != 0) {
        return false;
    }
    if (c.bad || cursor_left(&c) > 0)
        return false;
    r.kind = (enum log_kind)kind;
    *ret_record = r;
    return true;
}
