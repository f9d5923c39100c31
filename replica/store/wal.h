/* The write-ahead log: segments of checksummed records (docs/disk-format.md). What the rest of the
 * replica sees of it; store.h has the calls. */
#ifndef ZKFS_REPLICA_STORE_WAL_H
#define ZKFS_REPLICA_STORE_WAL_H

#include "common/types.h"
#include "replica/proto/txn_codec.h"

#define WAL_SEGMENT_BYTES_DEFAULT (64 << 20)
#define SNAP_RETAIN_DEFAULT 3
/* Thousands of small records, and next to nothing on any disk. */
#define WAL_RESERVE_BYTES_DEFAULT (1 << 20)

struct wal_config {
    const char *dir;       /* made when it is not there */
    int64_t segment_bytes; /* a new segment is begun beyond this; 0: WAL_SEGMENT_BYTES_DEFAULT */
    int32_t snap_retain;   /* autopurge.snapRetainCount; 0: SNAP_RETAIN_DEFAULT */
    int64_t reserve_bytes; /* what is kept back for a full disk (reserve.h); 0: nothing */
    bool no_sync;  /* forceSync=no: skip every sync; the operator's own risk, warned about */
    uint64_t salt; /* random; keys the checksums of files begun by this process */
};

typedef void wal_record_fn(void *ctx, const struct log_record *r);

#endif
