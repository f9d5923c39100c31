#include "common/cursor.h"

void cursor_init(struct cursor *c, const void *p, size_t n) {
    c->p = p;
    c->end = n > 0 ? c->p + n : c->p;
    c->bad = false;
}

uint32_t cursor_u32be(struct cursor *c) {
    const uint8_t *p = cursor_bytes(c, 4);
    if (!p)
        return 0;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t cursor_u64be(struct cursor *c) {
    /* Taken in one piece, so that a number cut in half consumes nothing. */
    const uint8_t *p = cursor_bytes(c, 8);
    if (!p)
        return 0;
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}
