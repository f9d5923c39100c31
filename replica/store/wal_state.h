/* The log as the store's own files see it: its segments, and where the next batch goes. All of it
 * belongs to who runs a sync, and to the loop while none is under way. */
#ifndef ZKFS_REPLICA_STORE_WAL_STATE_H
#define ZKFS_REPLICA_STORE_WAL_STATE_H

#include "common/buf.h"
#include "replica/store/store_file.h"
#include "replica/store/wal.h"

struct wal_segment {
    zxid_t first_zxid; /* of its first record; its name */
    zxid_t prev_zxid;  /* the last before it */
    uint64_t identity;
    uint64_t size_bytes; /* of its file */
    uint32_t version;
};

/* In order; the last one is written to. */
struct wal_segments {
    struct wal_segment *list;
    size_t count, cap;
};

void wal_segments_add(struct wal_segments *s, const struct wal_segment *segment);
void wal_segments_close(struct wal_segments *s);
int wal_segment_open(const struct store_dir *d, zxid_t first_zxid, int flags);
int wal_segment_remove(const struct store_dir *d, zxid_t first_zxid);
/* Every one that is there, in no order, whoever knows of it: those that are to be purged are on no
 * list any more. Durable with the directory's next sync. 0 or negative errno. */
int wal_segments_remove_all(const struct store_dir *d);

struct wal {
    const struct store_dir *dir; /* borrowed */
    uint64_t max_bytes;          /* of a segment: the next batch begins a new one */
    uint64_t salt;               /* of the next segment */
    struct wal_segments segments;
    int fd;           /* of the last segment; -1: there is none */
    uint64_t tail;    /* where its next frame goes */
    zxid_t last_zxid; /* of the last record; where there is none, the base */
    bool tight;       /* the disk is full: no space is allocated ahead of the tail */
    uint64_t
        base_seal; /* what the first segment says that it continues: a snapshot's checksum, or 0 */
};

/* One batch: frames of records without their checksums. */
struct wal_batch {
    struct buf frames;
    zxid_t first_zxid;
    zxid_t last_zxid;
};

void wal_batch_add(struct wal_batch *b, const struct log_record *r);
/* Empties it, and gives back memory that only a long batch needs. */
void wal_batch_reset(struct wal_batch *b);
/* Writes the batch and makes it durable: one write, one fdatasync, where it fits the segment. 0; an
 * error of reserve_lacks_room, after which the same batch may be tried again, and nothing else
 * before it; or another negative errno, after which nobody knows what the disk has (Z7). */
int wal_write(struct wal *w, struct wal_batch *b);
/* Removes all segments; durable with the directory's next sync. */
int wal_remove_all(struct wal *w);
/* The log begins anew, behind `zxid`; its segments are gone. */
void wal_rebase(struct wal *w, zxid_t zxid, uint64_t seal);
void wal_close(struct wal *w);
uint64_t wal_bytes(const struct wal *w); /* of all segments' files */

#endif
