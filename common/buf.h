/* A growing byte buffer to write into. With a limit it stops growing there: the write is dropped,
 * and `overflow` stays set until the next reset, so that a writer checks once, at the end. */
#ifndef ZKFS_COMMON_BUF_H
#define ZKFS_COMMON_BUF_H

#include "common/types.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit; /* 0: none */
    bool overflow;
};

#define BUF_INIT ((struct buf){0})

void buf_init(struct buf *b, size_t limit_bytes);
void buf_close(struct buf *b); /* frees the memory; b is as after buf_init(b, b->limit) */
void buf_reset(struct buf *b); /* empty again, keeps the memory */
/* Makes room for n bytes at the end and returns where they start (len is advanced), or NULL on
 * overflow. The pointer is good until the next call. */
uint8_t *buf_extend(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
void buf_put_u64be(struct buf *b, uint64_t v);
/* Overwrites four bytes already written at `at` (for lengths that are known afterwards). */
void buf_patch_u32be(struct buf *b, size_t at, uint32_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Removes n bytes from the front. */
void buf_consume(struct buf *b, size_t n);

#endif
