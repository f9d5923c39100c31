/* The shell of a replica that is being repaired (server/repair.h): its directory, locked; what is
 * left in it; and the history that is written anew. It runs in the place of core and store. */
#ifndef ZKFS_REPLICA_MENDER_H
#define ZKFS_REPLICA_MENDER_H

#include "replica/member.h"

struct mender;

/* Takes the damaged directory in hand. `refused` are snapshots (by the zxid that they begin at)
 * that are whole and could not be loaded. env and config are borrowed for its life. On failure
 * negative errno, and why in ret_why. */
int mender_new(const struct member_config *config, const struct env *env, const zxid_t *refused,
               size_t refused_count, struct mender **ret_mender, struct buf *ret_why);
void mender_free(struct mender *m); /* NULL is fine; gives the directory back */

enum mender_state {
    MENDER_GOES_ON,
    MENDER_DONE,    /* the history is whole: free it, and start over from the disk */
    MENDER_STOPPED, /* the process has to end: mender_why */
};

/* Feeds an event, EV_START first, and carries out what comes of it. Not from within itself. */
enum mender_state mender_step(struct mender *m, const struct event *ev);
struct slice mender_why(const struct mender *m);
/* The system's error that stopped it, negative; 0: none did. With that of a full disk what it had
 * written is removed, the reserve is given up, and all begins anew with another mender, later. */
int mender_error(const struct mender *m);
/* Closes all clients and links: they are for whoever is next. */
void mender_leave(struct mender *m);

/* The history in the directory counts as lost: nothing is left of it but the promise, durably, and
 * the server is lossy. No store is open. 0 or negative errno, and why in ret_why. */
int mender_wipe(const struct member_config *config, const struct env *env, struct buf *ret_why);
/* Whether something is missing that only others may have: what is here is no whole history behind
 * the newest whole snapshot, or may have been longer. */
bool mender_lacks(const struct mender *m);
/* Whether there are others to repair it from: voters besides this server. */
bool mender_has_others(const struct member_config *config);

#endif
