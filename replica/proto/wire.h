/* Protobuf's wire format by hand, for the messages that are too hot, or whose bytes are too many,
 * for protobuf-c's packing and unpacking: they are borrowed from what is read, and written straight
 * to where they go. One message has one form here: fields in the order of their numbers, each once,
 * numbers in their shortest form, and what is zero left out unless the reader says otherwise. */
#ifndef ZKFS_REPLICA_PROTO_WIRE_H
#define ZKFS_REPLICA_PROTO_WIRE_H

#include "common/buf.h"
#include "common/cursor.h"

/* A field's tag is its number * 8 + its wire type. */
#define WIRE_VARINT(number) ((uint32_t)(number) << 3 | 0u)
#define WIRE_FIXED64(number) ((uint32_t)(number) << 3 | 1u)
#define WIRE_BYTES(number) ((uint32_t)(number) << 3 | 2u)

void wire_put_varint(struct buf *b, uint64_t v);
void wire_put_fixed64(struct buf *b, uint64_t v);
/* Length and bytes; null is as empty. */
void wire_put_bytes(struct buf *b, struct slice s);
size_t wire_varint_len(uint64_t v);

/* A field with its tag, left out when it is zero. */
void wire_put_number(struct buf *b, uint32_t tag, uint64_t v);
void wire_put_zxid(struct buf *b, uint32_t tag, int64_t v);

/* sint32 and sint64: small negative numbers stay short. */
static inline uint32_t wire_zigzag(int32_t v) {
    return (uint32_t)v << 1 ^ (v < 0 ? UINT32_MAX : 0);
}
static inline uint64_t wire_zigzag64(int64_t v) {
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

/* Up to 64 bits, in the shortest form; anything else is bad. */
uint64_t wire_read_varint(struct cursor *c);
/* Likewise, and bad above `most`. */
uint32_t wire_read_u32(struct cursor *c, uint32_t most);
uint64_t wire_read_fixed64(struct cursor *c);
/* Borrows; longer than `most` is bad. */
struct slice wire_read_bytes(struct cursor *c, uint32_t most);
/* Whether the next field has this tag, of several bytes; it is taken then. */
bool wire_next_long(struct cursor *c, uint32_t tag);
/* Likewise of any tag. */
static inline bool wire_next(struct cursor *c, uint32_t tag) {
    if (cursor_left(c) == 0)
        return false;
    if (tag >= 0x80)
        return wire_next_long(c, tag);
    if (*c->p != tag)
        return false;
    c->p++;
    return true;
}

/* A field that is left out when it is zero: its value, or 0. A zero that was written is bad. */
uint64_t wire_read_number(struct cursor *c, uint32_t tag, uint64_t most);
int64_t wire_read_zxid(struct cursor *c, uint32_t tag);
int32_t wire_read_sint32(struct cursor *c, uint32_t tag);
int64_t wire_read_sint64(struct cursor *c, uint32_t tag);

#endif
