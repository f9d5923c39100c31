/* The one way to read bytes that came from elsewhere. A read past the end sets `bad` and yields
 * zeros; it stays set, so that a decoder checks once, at the end. */
#ifndef ZKFS_COMMON_CURSOR_H
#define ZKFS_COMMON_CURSOR_H

#include "common/types.h"

struct cursor {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

void cursor_init(struct cursor *c, const void *p, size_t n);
size_t cursor_left(const struct cursor *c);
uint8_t cursor_u8(struct cursor *c);
uint32_t cursor_u32be(struct cursor *c);
uint64_t cursor_u64be(struct cursor *c);
/* Borrows n bytes of the input, or NULL (and bad) when fewer are left. */
const uint8_t *cursor_bytes(struct cursor *c, size_t n);

#endif
