/* What a full disk leaves to a replica (Z10): a file of zeros beside the log, whose room is given
 * up when something that has to be written finds none. So the few records that matter still fit:
 * the epoch of a start, the end of a session. The disk counts as full until the file could be made
 * again (docs/disk-format.md). */
#ifndef ZKFS_REPLICA_STORE_RESERVE_H
#define ZKFS_REPLICA_STORE_RESERVE_H

#include "replica/store/store_file.h"

#define RESERVE_NAME "reserve"

struct reserve {
    uint64_t size_bytes; /* of the file; 0: there is none, and nothing to give up */
    bool held;           /* it is there, whole */
};

/* Whether a call failed because there is no room. A sync or a close never says that here:
 * store_file_lost. */
bool reserve_lacks_room(int err);
/* At a start: finds out whether it is held. 0 or negative errno. */
int reserve_find(struct reserve *r, const struct store_dir *d);
/* Makes it, where it is not held: written and synced. 0; an error of reserve_lacks_room, with
 * nothing left of it; or another, which is final (Z7). */
int reserve_make(struct reserve *r, const struct store_dir *d);
/* Gives its room back to the disk. 0 or negative errno. */
int reserve_give_up(struct reserve *r, const struct store_dir *d);

#endif
