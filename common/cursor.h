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
uint32_t cursor_u32be(struct cursor *c);
uint64_t cursor_u64be(struct cursor *c);

static inline size_t cursor_left(const struct cursor *c) {
    return c->bad ? 0 : (size_t)(c->end - c->p);
}

/* Borrows n bytes of the input, or NULL (and bad) when fewer are left. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t n) {
    if (n > cursor_left(c) || c->bad) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    if (n > 0)
        c->p += n;
    return p;
}

static inline uint8_t cursor_u8(struct cursor *c) {
    const uint8_t *p = cursor_bytes(c, 1);
    return p ? p[0] : 0;
}

#endif
