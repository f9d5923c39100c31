/* The second half of a rebuild: what was written takes the place of what was there. */
#ifndef ZKFS_REPLICA_STORE_REBUILD_SWAP_H
#define ZKFS_REPLICA_STORE_REBUILD_SWAP_H

#include "replica/store/rebuild.h"

enum rebuild_base_kind {
    REBUILD_BASE_NONE,
    REBUILD_BASE_OWN,   /* the snapshot of that number stays */
    REBUILD_BASE_PLAIN, /* SNAP_FILE_NAME stays, and gets a number */
    REBUILD_BASE_NEXT,  /* SNAP_FILE_NEXT likewise */
    REBUILD_BASE_NEW,   /* one that was received */
    REBUILD_BASE_KINDS
};

struct rebuild_plan {
    enum rebuild_base_kind base;
    zxid_t base_begun; /* the number in the base's name */
};

/* Removes what is left of a rebuild that was not decided on. 0 or negative errno. */
int rebuild_remove_unfinished(const struct store_dir *d);
/* Decides: from here on what was written is the history. It is durable, under its names. 0 or
 * negative errno. */
int rebuild_decide(const struct store_dir *d, const struct rebuild_plan *plan);

#endif
