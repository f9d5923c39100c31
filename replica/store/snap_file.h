/* A snapshot on disk (docs/disk-format.md): a head, pieces, an end that says what it stands for.
 * One of a leader's is written as `snapshot.new`, is `snapshot.next` when it is whole and the
 * history before it has to go, and gets its name when that is gone. A checkpoint is written as
 * `snapshot.tmp`, and gets its name at once. */
#ifndef ZKFS_REPLICA_STORE_SNAP_FILE_H
#define ZKFS_REPLICA_STORE_SNAP_FILE_H

#include "common/buf.h"
#include "replica/store/store_file.h"

#define SNAP_FILE_NAME "snapshot"
#define SNAP_FILE_NEXT "snapshot.next"
#define SNAP_FILE_NEW "snapshot.new"
#define SNAP_FILE_TMP "snapshot.tmp"

enum snap_kind {
    SNAP_REPLACES, /* it is the history: there need not be any log behind it */
    SNAP_BESIDE,   /* a checkpoint: the log was there when it was made, and went beyond it */
};

/* What a whole snapshot stands for. */
struct snap_base {
    enum snap_kind kind;
    zxid_t begun;
    zxid_t ended;
    uint64_t checksum;   /* of its end: the log's first segment names it */
    uint64_t size_bytes; /* of its file; 0: there is no snapshot */
};

/* Writing: in the thread of the log's runner or of the checkpoints'. All give 0 or negative errno;
 * after one of reserve_lacks_room the same call may be tried again. */
struct snap_writer {
    const char *name; /* while it is written: static */
    int fd;           /* -1: none is being written */
    uint64_t identity;
    uint64_t at;
    bool writes_back;      /* what is written is brought to the disk at once */
    uint64_t written_back; /* up to here */
    uint64_t pieces;
};

/* Begins one of that name (static), in place of an unfinished one. `salt` keys its checksums. */
int snap_writer_begin(struct snap_writer *w, const struct store_dir *d, const char *name,
                      uint64_t salt, enum snap_kind kind);
int snap_writer_chunk(struct snap_writer *w, const struct store_dir *d, struct slice piece);
/* Ends it, durably, and gives it its name. The file is closed when it has got that, and not before.
 */
int snap_writer_end(struct snap_writer *w, const struct store_dir *d, const char *name,
                    zxid_t begun, zxid_t ended, struct snap_base *ret_base);
int snap_writer_abandon(struct snap_writer *w, const struct store_dir *d);
void snap_writer_close(struct snap_writer *w, const struct store_dir *d); /* leaves the file */

/* Reads the snapshot of that name, all of it. 0; -ENOENT when it is not there (and ret_why is as it
 * was); -EBADMSG damage, or fn said false; -EPROTONOSUPPORT or the system's. */
typedef bool snap_piece_fn(void *ctx, struct slice piece);
int snap_file_read(const struct store_dir *d, const char *name, snap_piece_fn *fn, void *ctx,
                   struct snap_base *ret_base, struct buf *ret_why);
/* What the open file says that it stands for, from its head and its end alone: not whether it is
 * whole. 0; -EBADMSG when these are damaged; or the system's. */
int snap_file_peek(const struct store_dir *d, int fd, struct snap_base *ret_base);
/* Likewise the zxid that the one of that name begins at; 0: that cannot be told. */
zxid_t snap_file_begun(const struct store_dir *d, const char *name);

#endif
