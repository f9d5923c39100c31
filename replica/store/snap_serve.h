/* The bytes of a snapshot's file, for a server that has none: piece by piece, as they stand. Who
 * gets them all finds out whether they are whole. */
#ifndef ZKFS_REPLICA_STORE_SNAP_SERVE_H
#define ZKFS_REPLICA_STORE_SNAP_SERVE_H

#include "common/buf.h"
#include "replica/store/snap_file.h"

struct store;

/* Appends to `out` at most max_bytes of the snapshot that begins at `begun` (0: the newest that
 * there is), from `offset` of its file on. 1, and what it is; 0: there is no such snapshot, or
 * nothing at that offset; or negative errno. */
int snap_serve(const struct store_dir *d, zxid_t begun, uint64_t offset, size_t max_bytes,
               struct snap_base *ret_base, struct buf *out);
/* Likewise for an open store: the loop's, while a run may be under way. The next purge leaves it
 * alone: who asks for the rest would have to begin anew. */
int store_snapshot_read(struct store *s, zxid_t begun, uint64_t offset, size_t max_bytes,
                        struct snap_base *ret_base, struct buf *out);

#endif
