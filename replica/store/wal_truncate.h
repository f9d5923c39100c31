/* Cutting the log's end off (Z5): what is to go is written down first, in the file `cut`, durably;
 * so a crash leaves the whole log or a cut that the next start carries out, whatever the disk made
 * of it meanwhile. */
#ifndef ZKFS_REPLICA_STORE_WAL_TRUNCATE_H
#define ZKFS_REPLICA_STORE_WAL_TRUNCATE_H

#include "common/buf.h"
#include "replica/store/wal_state.h"

#define WAL_CUT_NAME "cut"

/* A cut that was decided on. */
struct wal_cut {
    zxid_t last_zxid; /* of what stays: the last record's, or the base's */
    zxid_t segment;   /* name of the last segment that stays; 0: none */
    uint64_t offset;  /* where that one ends then */
    uint64_t
        batch_start;    /* of a last batch that loses its mark and gets a new one; 0: it has one */
    bool drop_snapshot; /* the snapshot goes, too, with all segments */
};

/* 0 and *ret_there whether there is one; -EBADMSG, -EPROTONOSUPPORT or the system's, and ret_why.
 */
int wal_cut_read(const struct store_dir *d, bool *ret_there, struct wal_cut *ret_cut,
                 struct buf *ret_why);
/* Carries it out: removes the segments in `doomed` (their names, ascending), cuts the one at the
 * end (fd, whose identity this is; not used when no segment stays), all durable, and forgets the
 * cut. *ret_tail is where the segment's next frame goes. 0 or negative errno. */
int wal_cut_finish(const struct store_dir *d, const struct wal_cut *cut, const zxid_t *doomed,
                   size_t doomed_count, int fd, uint64_t identity, uint64_t *ret_tail);

/* Removes every record behind zxid, durably; with drop_snapshot all of them, and the snapshot.
 * Nothing happens when there is none. 0 or negative errno; -EBADMSG when the log proves damaged.
 * After an error of reserve_lacks_room the same cut is to be tried again, before anything else. */
int wal_truncate(struct wal *w, zxid_t zxid, bool drop_snapshot);

#endif
