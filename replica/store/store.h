/* What one replica keeps on disk: the log, acceptedEpoch, and a snapshot where the log does not
 * begin at the beginning. One queue of jobs: what is asked for is carried out in that order, in
 * batches, one batch at a time, with as few syncs as the order allows.
 *
 * Threads: store_sync_run may run in another thread between begin and end, and so may
 * store_checkpoint_run; everything else belongs to the loop. store_read and the others may be
 * called while a run is under way.
 *
 * Errors: the first failed write or sync kills the store for ever (Z7): every later run gives the
 * same error. A failed read does not.
 *
 * A full disk (Z10): a job that finds no room for what it writes is not carried out, and no job
 * behind it; they wait, whole, for store_retry. At the first one the reserve is given up, which may
 * make room enough. The disk counts as full from then on until a retry has made the reserve again.
 */
#ifndef ZKFS_REPLICA_STORE_STORE_H
#define ZKFS_REPLICA_STORE_STORE_H

#include "common/buf.h"
#include "common/types.h"
#include "replica/env.h"
#include "replica/proto/txn_codec.h"
#include "replica/store/wal.h"

struct store;

/* Hears what the disk held, in this order: the epoch (once), a snapshot's pieces and its end (where
 * there is one), then the log's records behind it, in order, each behind the one before. */
struct store_reader {
    void *ctx;
    void (*epoch)(void *ctx, uint32_t accepted_epoch); /* 0: none was ever saved */
    /* Pieces as store_snap_chunk got them. False: it cannot be loaded. */
    bool (*snap_chunk)(void *ctx, struct slice piece);
    bool (*snap_end)(void *ctx, zxid_t begun, zxid_t ended);
    /* The snapshot that begins at `begun` (0: that cannot be told) is damaged, or was refused by
     * one of the two above: what came of it is void. An older one may follow, or none. */
    void (*snap_reset)(void *ctx, zxid_t begun);
    /* Behind the snapshot: the log reaches back to behind `base`, before it; `ends` are the last
     * zxids of the epochs that ended in between, ascending. */
    void (*older)(void *ctx, zxid_t base, const zxid_t *ends, size_t count);
    void (*record)(void *ctx, const struct log_record *r);
    /* Behind the epoch: this server is lossy (epoch_file.h). NULL: nobody wants to know. */
    void (*lossy)(void *ctx);
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
void store_save_whole(struct store *s); /* this server is not lossy any more; no answer */
/* A snapshot that replaces everything: pieces, then the end, at which it becomes, at once and
 * durably, the base of an empty log (a crash leaves the old history or the new one, never none and
 * never a mixture); or abandon. The next append is the record behind `begun`. */
void store_snap_begin(struct store *s);
void store_snap_chunk(struct store *s, struct slice piece);
void store_snap_end(struct store *s, zxid_t begun, zxid_t ended);
void store_snap_abandon(struct store *s);

bool store_pending(const struct store *s); /* something for a sync to do */
/* Jobs wait for room, with all that were added behind them: no sync before store_retry. */
bool store_held_up(const struct store *s);
/* As of the last sync that ended, or of store_open. */
bool store_full(const struct store *s);
/* The next sync tries what waits for room, and whether the disk is full still. */
void store_retry(struct store *s);
#define STORE_FULL 1
void store_sync_begin(struct store *s);
int store_sync_run(struct store *s); /* 0, STORE_FULL when jobs wait for room, or negative errno */

/* What a sync made durable, of jobs that it carried out to their end. */
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

/* Checkpoints: snapshots beside the log, exact at one zxid. They have jobs and a runner of their
 * own: store_checkpoint_run may run in another thread between start and end_run, whatever the log
 * does. */
void store_checkpoint_begin(struct store *s);
void store_checkpoint_chunk(struct store *s, struct slice piece);
void store_checkpoint_end(struct store *s, zxid_t zxid);
void store_checkpoint_abandon(struct store *s);
bool store_checkpoint_pending(const struct store *s); /* jobs that no run has begun on */
void store_checkpoint_start(struct store *s);
void store_checkpoint_run(struct store *s);
struct store_checkpoint_done {
    uint64_t written;  /* pieces, of one that was not abandoned */
    zxid_t saved_zxid; /* 0: none was saved */
    uint64_t saved_bytes;
    int err; /* negative errno: the checkpoint is abandoned; store_is_full tells whether it matters
                beyond that */
};
void store_checkpoint_end_run(struct store *s, struct store_checkpoint_done *ret_done);
bool store_is_full(int err); /* ENOSPC, EDQUOT */
/* After either runner has ended: plans what is superfluous now (jobs of the checkpoints' runner).
 * True when there is any; *ret_base is what the log begins behind then. */
bool store_purge(struct store *s, zxid_t *ret_base);

int64_t store_size_bytes(const struct store *s);

#endif
