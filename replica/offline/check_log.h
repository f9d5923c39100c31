/* Verifies the segments of a log, all frames and the chain, and says of everything that is broken
 * what it means. Reads only, and by itself: what a start decides is wal_recover's. */
#ifndef ZKFS_REPLICA_OFFLINE_CHECK_LOG_H
#define ZKFS_REPLICA_OFFLINE_CHECK_LOG_H

#include "common/buf.h"
#include "replica/env.h"
#include "replica/offline/store_list.h"

struct check_log {
    const struct env_files *files;
    const char *dir;
    zxid_t base;      /* of the newest whole snapshot; 0: none */
    bool frames_only; /* what records carry is not looked into */
    bool cutting;     /* a cut is to be finished: segments at the end may be gone */
    /* Out, as far as it was read. */
    struct buf found; /* a line for each damage; the caller closes it */
    struct buf lines; /* a line for each segment; likewise */
    uint64_t damages; /* a torn end is none */
    zxid_t first_zxid, last_zxid;
    uint64_t records, transactions, epochs, segments, bytes;
    /* While it goes on. */
    const char *name; /* of the segment at hand */
    bool last_segment;
    zxid_t prev_zxid; /* what the segment's own records begin behind */
    uint64_t seal;    /* checksum of the one that ended the segment before; 0: none did */
    zxid_t next_zxid; /* what it names */
    bool open;        /* something broken was met, and no whole record behind it yet */
    const char *open_name;
    uint64_t open_at, open_bytes;
};

/* Reads the segments of the list. 0 or negative errno, of a read; `name` then says of which. */
int check_log_run(struct check_log *c, const struct store_list *l);

#endif
