/* A snapshot on disk (docs/disk-format.md): a head, pieces, an end that says what it stands for. It
 * is written as `snapshot.new`, is `snapshot.next` when it is whole and the history before it has
 * to go, and `snapshot` when that is gone. */
#ifndef ZKFS_REPLICA_STORE_SNAP_FILE_H
#define ZKFS_REPLICA_STORE_SNAP_FILE_H

#include "common/buf.h"
#include "replica/store/store_file.h"

#define SNAP_FILE_NAME "snapshot"
#define SNAP_FILE_NEXT "snapshot.next"
#define SNAP_FILE_NEW "snapshot.new"

/* What a whole snapshot stands for. */
struct snap_base {
    zxid_t begun;
    zxid_t ended;
    uint64_t checksum;   /* of its end: the log's first segment names it */
    uint64_t size_bytes; /* of its file; 0: there is no snapshot */
};

/* Writing: in the log thread. All give 0 or negative errno. */
struct snap_writer {
    int fd; /* -1: none is being written */
    uint64_t identity;
    uint64_t at;
    uint64_t pieces;
};

/* Begins one, in place of an unfinished one. `salt` keys its checksums. */
int snap_writer_begin(struct snap_writer *w, const struct store_dir *d, uint64_t salt);
int snap_writer_chunk(struct snap_writer *w, const struct store_dir *d, struct slice piece);
/* Ends it, durably, under the name SNAP_FILE_NEXT: from here on it is the history. */
int snap_writer_end(struct snap_writer *w, const struct store_dir *d, zxid_t begun, zxid_t ended,
                    struct snap_base *ret_base);
int snap_writer_abandon(struct snap_writer *w, const struct store_dir *d);
void snap_writer_close(struct snap_writer *w, const struct store_dir *d); /* leaves the file */

/* Reads the snapshot of that name, all of it. 0; -ENOENT when it is not there (and ret_why is as it
 * was); -EBADMSG damage, or fn said false; -EPROTONOSUPPORT or the system's. */
typedef bool snap_piece_fn(void *ctx, struct slice piece);
int snap_file_read(const struct store_dir *d, const char *name, snap_piece_fn *fn, void *ctx,
                   struct snap_base *ret_base, struct buf *ret_why);

#endif
