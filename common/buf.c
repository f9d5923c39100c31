#include "common/buf.h"

#include "common/check.h"
#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BYTES 64

void buf_init(struct buf *b, size_t limit_bytes) { *b = (struct buf){.limit = limit_bytes}; }

void buf_close(struct buf *b) {
    mem_free(b->data);
    buf_init(b, b->limit);
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->overflow = false;
}

static void grow(struct buf *b, size_t need) {
    size_t cap = b->cap > 0 ? b->cap : FIRST_BYTES;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (b->limit > 0 && cap > b->limit)
        cap = b->limit;
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

uint8_t *buf_extend(struct buf *b, size_t n) {
    size_t limit = b->limit > 0 ? b->limit : SIZE_MAX;
    /* Once something was dropped, everything after it is: the content never has a hole. */
    if (b->overflow || b->len > limit || n > limit - b->len) {
        b->overflow = true;
        return NULL;
    }
    if (b->len + n > b->cap || !b->data)
        grow(b, b->len + n);
    uint8_t *p = b->data + b->len;
    b->len += n;
    return p;
}

void buf_put(struct buf *b, const void *p, size_t n) {
    uint8_t *to = buf_extend(b, n);
    if (to && n > 0)
        memcpy(to, p, n);
}

void buf_put_u8(struct buf *b, uint8_t v) { buf_put(b, &v, 1); }

static void store_u32be(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void buf_put_u32be(struct buf *b, uint32_t v) {
    uint8_t *p = buf_extend(b, 4);
    if (p)
        store_u32be(p, v);
}

void buf_put_u64be(struct buf *b, uint64_t v) {
    uint8_t *p = buf_extend(b, 8);
    if (!p)
        return;
    store_u32be(p, (uint32_t)(v >> 32));
    store_u32be(p + 4, (uint32_t)v);
}

void buf_patch_u32be(struct buf *b, size_t at, uint32_t v) {
    /* After an overflow the place may never have been written. */
    if (b->overflow && (at > b->len || b->len - at < 4))
        return;
    CHECK(at <= b->len);
    CHECK(b->len - at >= 4);
    store_u32be(b->data + at, v);
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    /* vsnprintf also writes a NUL, for which a limited buffer may have no room: so the text is made
     * elsewhere, on the stack when it is short, as most are. */
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    CHECK(n >= 0);
    if ((size_t)n < sizeof text) {
        buf_put(b, text, (size_t)n);
        return;
    }
    char *longer = mem_alloc((size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(longer, (size_t)n + 1, fmt, args);
    va_end(args);
    buf_put(b, longer, (size_t)n);
    mem_free(longer);
}

void buf_consume(struct buf *b, size_t n) {
    CHECK(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}
