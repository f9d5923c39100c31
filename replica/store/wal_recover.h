/* What a start does with the log's segments: reads them all, decides whether the end is torn or the
 * log is damaged, and only when everything is clear repairs the end. */
#ifndef ZKFS_REPLICA_STORE_WAL_RECOVER_H
#define ZKFS_REPLICA_STORE_WAL_RECOVER_H

#include "common/buf.h"
#include "replica/env.h"
#include "replica/store/wal.h"

/* Where appending goes on. With fd -1 there is no segment yet. */
struct wal_end {
    int fd; /* the last segment, open for writing; the caller's */
    uint64_t identity;
    zxid_t first_zxid;    /* of the last segment */
    uint64_t tail;        /* where the next frame goes */
    uint64_t batch_start; /* where the last batch begins */
    uint64_t size_bytes;  /* of the last segment's file */
    uint64_t older_bytes; /* of the files of all segments before */
    zxid_t last_zxid;     /* 0: the log is empty */
};

/* As wal_open describes. The directory is there and locked. ret_end is untouched on failure. */
int wal_recover(const struct env_files *files, const char *dir, bool no_sync, wal_record_fn *fn,
                void *ctx, struct wal_end *ret_end, struct buf *ret_why);

/* "DIR/NAME"; the caller frees it with mem_free. */
char *wal_path(const char *dir, const char *name);

#endif
