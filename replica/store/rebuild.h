/* Writing a history anew beside a damaged one, and putting it in its place (docs/disk-format.md, "A
 * rebuild"). Until rebuild_commit nothing of the old one is touched; a crash at any call of it
 * leaves the old history or the new one, and a start ends what it finds begun (rebuild_finish). */
#ifndef ZKFS_REPLICA_STORE_REBUILD_H
#define ZKFS_REPLICA_STORE_REBUILD_H

#include "common/buf.h"
#include "replica/proto/txn_codec.h"
#include "replica/store/snap_file.h"

/* Of the names of the files that are written. */
#define REBUILD_PREFIX "new."
/* Says that what was written is to take the place of everything else. */
#define REBUILD_NAME "rebuild"

struct rebuild;

/* Begins one that has nothing yet, in place of an unfinished one. `d` is borrowed until
 * rebuild_free. `salt` keys checksums; segment_bytes as in wal_config. All calls that write give 0
 * or negative errno, behind which only rebuild_free may follow. */
int rebuild_begin(const struct store_dir *d, int64_t segment_bytes, uint64_t salt,
                  struct rebuild **ret_rebuild);
void rebuild_free(struct rebuild *b); /* NULL is fine; what was not committed is worth nothing */

/* What the history begins behind, before anything is appended: a whole snapshot that is in the
 * directory under `name`. Without a base it begins at the beginning. */
void rebuild_base(struct rebuild *b, const char *name, const struct snap_base *base);
/* Or one that another server has: the bytes of its file, in order. The end makes it the base, and
 * what was appended before counts no more; it gives -EBADMSG when the file is not whole, and then
 * it is as if none had been begun. */
int rebuild_snapshot_begin(struct rebuild *b);
int rebuild_snapshot_put(struct rebuild *b, struct slice bytes);
int rebuild_snapshot_end(struct rebuild *b, struct snap_base *ret_base);

/* The next record, which follows the last one. */
int rebuild_append(struct rebuild *b, const struct log_record *r);

/* Makes it the history, durably, and the promise at least `epoch` (and the last record's); with
 * `lossy` this server is that from here on. */
int rebuild_commit(struct rebuild *b, uint32_t epoch, bool lossy);

/* At a start, before anything else is read: ends one that was committed, and removes what is left
 * of one that was not. 0; -EBADMSG the file that says it is damaged; -EPROTONOSUPPORT or the
 * system's; ret_why has a sentence then. */
int rebuild_finish(const struct store_dir *d, struct buf *ret_why);

/* Whether the file that says that one was committed is there and damaged: 1, 0 or negative errno.
 * What it had to do is done in part then, and nobody knows which. */
int rebuild_is_unknown(const struct store_dir *d);
/* Whether it is there and whole: the next start does what is left to be done. 1, 0 or negative
 * errno, -EBADMSG when it is damaged. */
int rebuild_is_decided(const struct store_dir *d);

#endif
