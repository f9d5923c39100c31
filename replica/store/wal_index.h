/* Where records are, roughly: the beginning of each segment, a place in every 256 KiB, and where
 * the last reads ended. The loop's: it knows durable records only. */
#ifndef ZKFS_REPLICA_STORE_WAL_INDEX_H
#define ZKFS_REPLICA_STORE_WAL_INDEX_H

#include "replica/store/wal_state.h"

/* How much a read may have to skip that does not go on where another one ended. */
#define WAL_INDEX_STEP_BYTES (256u << 10)
/* As many readers as an ensemble has learners that are behind at a time go on without skipping. */
#define WAL_INDEX_RECENT 8

/* The record behind `after` stands at offset, or behind marks that stand there. */
struct wal_point {
    zxid_t after;
    zxid_t segment; /* its name */
    uint64_t identity;
    uint64_t offset;
};

struct wal_index {
    struct wal_point *points; /* ascending */
    size_t count, cap;
    struct wal_point recent[WAL_INDEX_RECENT]; /* segment 0: none */
    size_t recent_next;
};

void wal_index_close(struct wal_index *x);
/* Points come in order. One that is near the one before, in the same segment, is not kept. */
void wal_index_offer(struct wal_index *x, const struct wal_point *p);
/* Forgets what lies behind zxid; below 0 everything. */
void wal_index_cut(struct wal_index *x, zxid_t zxid);
/* Forgets segments before that of this name. */
void wal_index_forget(struct wal_index *x, zxid_t first_segment);
/* Where a read ended. */
void wal_index_remember(struct wal_index *x, const struct wal_point *p);
/* Where to look for the record behind `after`: false when that is before the first segment. */
bool wal_index_find(const struct wal_index *x, zxid_t after, struct wal_point *ret_point);
/* The beginning of the segment whose records follow `after`. */
bool wal_index_find_segment(const struct wal_index *x, zxid_t after, struct wal_point *ret_point);

/* store_read, for records up to `limit`; `base` is what the log begins behind. */
int wal_read(const struct store_dir *d, struct wal_index *x, zxid_t base, zxid_t after,
             zxid_t limit, size_t max_bytes, wal_record_fn *fn, void *ctx);

#endif
