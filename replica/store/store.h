/* What one replica keeps on disk: the log, acceptedEpoch, and a snapshot where the log does not
 * begin at the beginning. One queue of jobs: what is asked for is carried out in that order, in
 * batches, one batch at a time, with as few syncs as the order allows.
 *
 * Threads: store_sync_run may run in the log thread between begin and end; everything else belongs
 * to the loop. store_read and the others may be called while a run is under way.
 *
 * Errors: the first failed write or sync kills the store for ever (Z7): every later run gives the
 * same error. A failed read does not. */
#ifndef ZKFS_REPLICA_STORE_STORE_H
#define ZKFS_REPLICA_STORE_STORE_H

#include "common/buf.h"
#include "common/types.h"
#include "replica/env.h"
#include "replica/proto/txn_codec.h"
#include "replica/store/wal.h"

struct store;

/* Hears what the disk held, in this order: the epoch (once), a snapshot's pieces and its end (where
 * there is one), then the log's records, in order, each behind the one before. */
struct store_reader {
    void *ctx;
    void (*epoch)(void *ctx, uint32_t accepted_epoch); /* 0: none was ever saved */
    /* Pieces as store_snap_chunk got them. False: it cannot be loaded, and opening fails. */
    bool (*snap_chunk)(void *ctx, struct slice piece);
    bool (*snap_end)(void *ctx, zxid_t begun, zxid_t ended);
    void (*record)(void *ctx, const struct log_record *r);
};

/* As wal_open: same errors, same ret_why. `config.dir` is the log's; the files of the epoch and the
 * snapshot stand beside the segments in it. */
int store_open(const struct env_files *files, const struct wal_config *config,
               const struct store_reader *reader, struct store **ret_store, struct buf *ret_why);
void store_close(struct store *s); /* NULL is fine; what was not synced is lost */

/* Jobs. Copied; nothing happens on a dead store. */
void store_append(struct store *s, const struct log_record *r);
/* Removes every record behind zxid (0: all), and every snapshot beyond it (Z5). */
void store_truncate(struct store *s, zxid_t zxid);
void store_save_epoch(struct store *s, uint32_t accepted_epoch);
/* A snapshot that replaces everything: pieces, then the end, at which it becomes, at once and
 * durably, the base of an empty log (a crash leaves the old history or the new one, never none and
 * never a mixture); or abandon. The next append is the record behind `begun`. */
void store_snap_begin(struct store *s);
void store_snap_chunk(struct store *s, struct slice piece);
void store_snap_end(struct store *s, zxid_t begun, zxid_t ended);
void store_snap_abandon(struct store *s);

bool store_pending(const struct store *s); /* jobs that no sync has begun on */
void store_sync_begin(struct store *s);
int store_sync_run(struct store *s); /* 0 or negative errno */

/* What a sync made durable. */
struct store_done {
    zxid_t log_zxid; /* the log's last durable record (or its base), as of the end of this sync */
    bool appended;   /* something was appended by it */
    bool truncated;
    bool installed; /* the snapshot */
    uint32_t epoch; /* the epoch that was saved; 0: none */
};
void store_sync_end(struct store *s, struct store_done *ret_done);

/* Calls fn for durable records behind `after`, in order: at least one, then while their payloads
 * are no more than max_bytes together. Slices are borrowed for the call. The count; 0: nothing
 * behind it is durable yet, or a truncation or a snapshot is on its way (ask again when it has
 * ended); -ENOENT: the log does not reach back so far (`after` is before its base, or no record of
 * it); or a read's error: -EBADMSG is damage. */
int store_read(struct store *s, zxid_t after, size_t max_bytes, wal_record_fn *fn, void *ctx);

int64_t store_size_bytes(const struct store *s);

#endif
