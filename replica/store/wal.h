/* The write-ahead log: segments of checksummed records (docs/disk-format.md). Appending only
 * collects; a sync writes all that was collected and makes it durable with one fdatasync (group
 * commit).
 *
 * Threads: wal_append, wal_sync_begin and wal_sync_end belong to the loop, wal_sync_run may run in
 * the log thread between begin and end; only run touches the files, and nothing else that begin
 * handed over.
 */
#ifndef ZKFS_REPLICA_STORE_WAL_H
#define ZKFS_REPLICA_STORE_WAL_H

#include "common/buf.h"
#include "common/types.h"
#include "replica/env.h"
#include "replica/proto/txn_codec.h"

struct wal;

#define WAL_SEGMENT_BYTES_DEFAULT (64 << 20)

struct wal_config {
    const char *dir;       /* made when it is not there */
    int64_t segment_bytes; /* a new segment is begun beyond this; 0: WAL_SEGMENT_BYTES_DEFAULT */
    bool no_sync;          /* forceSync=no: skip fdatasync; the operator's own risk, warned about */
    uint64_t salt;         /* random; keys the checksums of segments begun by this process */
};

/* Opens the log (the directory and the ones above it are made), takes its lock, reads every record
 * through fn in order, cuts a torn tail (durably), and is ready to append. Errors: -EAGAIN the
 * directory is in use by another process; -EBADMSG corruption or doubt: `ret_why` names file and
 * offset; -EPROTONOSUPPORT a newer format; or the system's. In every case ret_why has one sentence
 * for the operator; on success it is empty, or says what was cut. Nothing on disk is changed when
 * it fails. */
typedef void wal_record_fn(void *ctx, const struct log_record *r);
int wal_open(const struct env_files *files, const struct wal_config *config, wal_record_fn *fn,
             void *ctx, struct wal **ret_wal, struct buf *ret_why);
void wal_close(struct wal *w); /* NULL is fine; what was not synced is lost */

void wal_append(struct wal *w,
                const struct log_record *r); /* copied; nothing happens on a dead log */
bool wal_pending(const struct wal *w);       /* something appended and not handed to a sync yet */
void wal_sync_begin(struct wal *w);
/* Writes and syncs what begin took. 0, or negative errno of the first call that failed, ENOSPC too
 * (in this version a full disk stops the replica); after an error the log is dead for ever: every
 * later run gives the same error, for what a failed sync left on the disk is unknown (Z7). */
int wal_sync_run(struct wal *w);
zxid_t wal_sync_end(struct wal *w); /* the last zxid that is durable, by this sync or before */
int64_t wal_size_bytes(const struct wal *w); /* of all segments' files, as of the last sync's end */

#endif
