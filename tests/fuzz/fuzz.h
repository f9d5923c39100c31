/* What the fuzz targets share: taking an input apart into a script of steps, and the corpus' parts.
 */
#ifndef ZKFS_TESTS_FUZZ_H
#define ZKFS_TESTS_FUZZ_H

#include "common/cursor.h"
#include "common/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A piece of the input with its length in two bytes before it, less when the input ends earlier: a
 * script that is cut anywhere is a script. */
static inline struct slice fuzz_piece(struct cursor *c) {
    size_t n = (size_t)cursor_u8(c) << 8;
    n |= cursor_u8(c);
    if (n > cursor_left(c))
        n = cursor_left(c);
    const uint8_t *p = cursor_bytes(c, n);
    return (struct slice){p, p ? (int32_t)n : 0};
}

#endif
