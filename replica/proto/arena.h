/* Short-lived memory for one encoding or decoding: handed out from the caller's own bytes first,
 * from the heap in growing pieces then, and given back at once. */
#ifndef ZKFS_REPLICA_PROTO_ARENA_H
#define ZKFS_REPLICA_PROTO_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_piece;

struct arena {
    uint8_t *p, *end;
    struct arena_piece *pieces;
    size_t piece_bytes; /* of the last piece */
    size_t left;        /* what may still be taken: the budget */
};

/* `bytes` is the caller's for as long as the arena is used, and aligned for any type. */
void arena_init(struct arena *a, void *bytes, size_t n, size_t budget_bytes);
/* Aligned for any type. NULL when the budget is used up. */
void *arena_take(struct arena *a, size_t n);
void arena_close(struct arena *a);

#endif
