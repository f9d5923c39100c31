#include "replica/proto/arena.h"

#include "common/mem.h"

#include <stdalign.h>

struct arena_piece {
    alignas(max_align_t) struct arena_piece *next;
};

#define PIECE_MIN_BYTES ((size_t)16 << 10)
#define PIECE_MAX_BYTES ((size_t)1 << 20)

void arena_init(struct arena *a, void *bytes, size_t n, size_t budget_bytes) {
    *a = (struct arena){.p = bytes, .end = (uint8_t *)bytes + n, .left = budget_bytes};
}

static void add_piece(struct arena *a, size_t n) {
    if (a->piece_bytes < PIECE_MAX_BYTES)
        a->piece_bytes = a->piece_bytes ? 2 * a->piece_bytes : PIECE_MIN_BYTES;
    size_t size = n > a->piece_bytes ? n : a->piece_bytes;
    struct arena_piece *piece = mem_alloc(sizeof *piece + size);
    piece->next = a->pieces;
    a->pieces = piece;
    a->p = (uint8_t *)(piece + 1);
    a->end = a->p + size;
}

void *arena_take(struct arena *a, size_t n) {
    if (n > a->left)
        return NULL;
    const size_t mask = alignof(max_align_t) - 1;
    n = (n + mask) & ~mask;
    a->left -= n < a->left ? n : a->left;
    if (n > (size_t)(a->end - a->p))
        add_piece(a, n);
    void *p = a->p;
    a->p += n;
    return p;
}

void arena_close(struct arena *a) {
    while (a->pieces) {
        struct arena_piece *next = a->pieces->next;
        mem_free(a->pieces);
        a->pieces = next;
    }
}
