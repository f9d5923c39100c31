/* What ephemeralOwner says of a znode (ZooKeeper's EphemeralType; PROTOCOL 1.6): nothing, the
 * session that owns it, that it is a container, or its TTL in milliseconds in the lower 40 bits. */
#ifndef ZKFS_COMMON_EPHEMERAL_TYPE_H
#define ZKFS_COMMON_EPHEMERAL_TYPE_H

#include "common/types.h"

enum ephemeral_type { EPHEMERAL_VOID, EPHEMERAL_NORMAL, EPHEMERAL_CONTAINER, EPHEMERAL_TTL };

#define EPHEMERAL_OWNER_CONTAINER INT64_MIN
#define EPHEMERAL_TTL_MAX_MS ((INT64_C(1) << 40) - 1)
#define EPHEMERAL_TTL_BITS UINT64_C(0xff00000000000000)

static inline enum ephemeral_type ephemeral_type(session_id_t owner) {
    if (owner == 0)
        return EPHEMERAL_VOID;
    if (owner == EPHEMERAL_OWNER_CONTAINER)
        return EPHEMERAL_CONTAINER;
    bool ttl = ((uint64_t)owner & ~(uint64_t)EPHEMERAL_TTL_MAX_MS) == EPHEMERAL_TTL_BITS;
    return ttl ? EPHEMERAL_TTL : EPHEMERAL_NORMAL;
}

/* Whether no session owns it and it is deleted all the same: a container or a TTL znode. */
static inline bool ephemeral_is_extended(session_id_t owner) {
    return ephemeral_type(owner) >= EPHEMERAL_CONTAINER;
}

/* Of a TTL znode. 0, that only a foreign tree may have, is none. */
static inline int64_t ephemeral_ttl_ms(session_id_t owner) { return owner & EPHEMERAL_TTL_MAX_MS; }

static inline bool ephemeral_ttl_valid(int64_t ttl_ms) {
    return ttl_ms > 0 && ttl_ms <= EPHEMERAL_TTL_MAX_MS;
}

/* ttl_ms from 0 to EPHEMERAL_TTL_MAX_MS. */
static inline session_id_t ephemeral_ttl_owner(int64_t ttl_ms) {
    return (session_id_t)(EPHEMERAL_TTL_BITS | (uint64_t)ttl_ms);
}

#endif
