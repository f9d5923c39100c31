/* The scalar types that every room shares. */
#ifndef ZKFS_COMMON_TYPES_H
#define ZKFS_COMMON_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A transaction id: the epoch in the high 32 bits, the counter in the low 32 (Zab, DSN'11, section
 * II). Signed, as on the wire. */
typedef int64_t zxid_t;

/* A session's id; 0 is no session. The high byte names the server that made it. */
typedef int64_t session_id_t;

/* A client connection inside one replica process. Never reused while the process lives; 0: none. */
typedef uint64_t conn_id_t;

static inline uint32_t zxid_epoch(zxid_t z) { return (uint32_t)((uint64_t)z >> 32); }
static inline uint32_t zxid_counter(zxid_t z) { return (uint32_t)((uint64_t)z & 0xffffffffu); }
static inline zxid_t zxid_make(uint32_t epoch, uint32_t counter) {
    return (zxid_t)(((uint64_t)epoch << 32) | counter);
}

/* Borrowed bytes. len -1 means null (on the wire too); p may be NULL when len <= 0. Strings are not
 * terminated. */
struct slice {
    const uint8_t *p;
    int32_t len;
};

#define SLICE_NULL ((struct slice){NULL, -1})

#endif
