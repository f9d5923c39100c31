#include "replica/proto/wire.h"

#include <string.h>

void wire_put_varint(struct buf *b, uint64_t v) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    buf_put(b, bytes, n);
}

size_t wire_varint_len(uint64_t v) {
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

/* Protobuf counts from the least byte. */
void wire_put_fixed64(struct buf *b, uint64_t v) {
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, bytes, sizeof bytes);
}

void wire_put_bytes(struct buf *b, struct slice s) {
    uint32_t len = s.len > 0 ? (uint32_t)s.len : 0;
    wire_put_varint(b, len);
    buf_put(b, s.p, len);
}

void wire_put_number(struct buf *b, uint32_t tag, uint64_t v) {
    if (v == 0)
        return;
    wire_put_varint(b, tag);
    wire_put_varint(b, v);
}

void wire_put_zxid(struct buf *b, uint32_t tag, int64_t v) {
    if (v == 0)
        return;
    wire_put_varint(b, tag);
    wire_put_fixed64(b, (uint64_t)v);
}

uint64_t wire_read_varint(struct cursor *c) {
    uint64_t v = 0;
    if (cursor_left(c) > 0 && *c->p < 0x80)
        return *c->p++; /* nearly always */
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = cursor_u8(c);
        if (shift == 63 && byte > 1)
            break; /* beyond 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            c->bad |= byte == 0 && shift > 0;
            return v;
        }
    }
    c->bad = true;
    return 0;
}

uint32_t wire_read_u32(struct cursor *c, uint32_t most) {
    uint64_t v = wire_read_varint(c);
    if (v <= most)
        return (uint32_t)v;
    c->bad = true;
    return 0;
}

uint64_t wire_read_fixed64(struct cursor *c) {
    const uint8_t *p = cursor_bytes(c, 8);
    uint64_t v = 0;
    if (!p)
        return 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

struct slice wire_read_bytes(struct cursor *c, uint32_t most) {
    uint32_t len = wire_read_u32(c, most < INT32_MAX ? most : INT32_MAX);
    const uint8_t *p = c->bad ? NULL : cursor_bytes(c, len);
    return p ? (struct slice){p, (int32_t)len} : SLICE_NULL;
}

bool wire_next_long(struct cursor *c, uint32_t tag) {
    struct cursor ahead = *c;
    if (wire_read_varint(&ahead) != tag || ahead.bad)
        return false;
    *c = ahead;
    return true;
}

uint64_t wire_read_number(struct cursor *c, uint32_t tag, uint64_t most) {
    if (!wire_next(c, tag))
        return 0;
    uint64_t v = wire_read_varint(c);
    c->bad |= v == 0 || v > most;
    return c->bad ? 0 : v;
}

int64_t wire_read_zxid(struct cursor *c, uint32_t tag) {
    if (!wire_next(c, tag))
        return 0;
    int64_t v = (int64_t)wire_read_fixed64(c);
    c->bad |= v == 0;
    return v;
}

int32_t wire_read_sint32(struct cursor *c, uint32_t tag) {
    uint32_t v = (uint32_t)wire_read_number(c, tag, UINT32_MAX);
    return (int32_t)(v >> 1 ^ (v & 1 ? UINT32_MAX : 0));
}

int64_t wire_read_sint64(struct cursor *c, uint32_t tag) {
    uint64_t v = wire_read_number(c, tag, UINT64_MAX);
    return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}
