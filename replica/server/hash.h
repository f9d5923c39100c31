/* Hashes for the tables of this room. Their order is never seen. */
#ifndef ZKFS_REPLICA_SERVER_HASH_H
#define ZKFS_REPLICA_SERVER_HASH_H

#include "common/types.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint32_t hash_bytes(const void *p, size_t n) { return (uint32_t)XXH3_64bits(p, n); }

/* Ids count up, so they are mixed (the finalizer of MurmurHash3). */
static inline uint32_t hash_id(uint64_t id) {
    id ^= id >> 33;
    id *= 0xff51afd7ed558ccdULL;
    id ^= id >> 33;
    return (uint32_t)id;
}

#endif
