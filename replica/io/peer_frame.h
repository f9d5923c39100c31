/* The bytes on a link between two servers.
 *
 * Preamble, each way, the dialling side first, numbers big-endian:
 *     4 magic "ZKFP" · 4 version · 1 from · 1 to · 6 zero · 8 generation · 8 XXH3 of what is before
 * The generation is a random number of the sender's for this link. A frame's checksum is seeded
 * with the two, the sender's first: bytes of another link, or of the other direction, are not
 * taken.
 *
 * Frames: 4 length of the body · 8 XXH3 of the body, seeded · body. */
#ifndef ZKFS_REPLICA_IO_PEER_FRAME_H
#define ZKFS_REPLICA_IO_PEER_FRAME_H

#include "common/buf.h"
#include "common/types.h"
#include "replica/proto/peer_codec.h"

#define PEER_PREAMBLE_BYTES 32u
#define PEER_FRAME_HEADER_BYTES 12u
#define PEER_LINK_VERSION 1u

struct peer_preamble {
    uint32_t version;
    uint8_t from, to; /* server ids */
    uint64_t generation;
};

void peer_preamble_encode(struct buf *out, const struct peer_preamble *p);
/* NULL, or why these are no preamble of a version that is spoken here (static text). */
const char *peer_preamble_decode(const uint8_t bytes[PEER_PREAMBLE_BYTES],
                                 struct peer_preamble *ret_preamble);

/* What the checksums of one direction are seeded with. */
uint64_t peer_frame_seed(uint64_t sender_generation, uint64_t receiver_generation);
void peer_frame_encode(struct buf *out, uint64_t seed, struct slice body);

enum peer_frame_status {
    PEER_FRAME_WHOLE,
    PEER_FRAME_PARTIAL, /* more bytes are needed */
    PEER_FRAME_LENGTH,  /* out of range */
    PEER_FRAME_DAMAGED, /* the checksum differs */
};
/* The frame at the begin of n bytes; ret_body borrows from them. */
enum peer_frame_status peer_frame_decode(const uint8_t *p, size_t n, uint64_t seed,
                                         struct slice *ret_body);

#endif
