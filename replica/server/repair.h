/* A replica whose disk is damaged, until its history is whole again (docs/recovery.md, "Holes"). It
 * runs in the place of the core and takes no part in the ensemble: it asks the other servers for
 * what is missing, answers their questions from what it has, and turns clients away. Pure, as the
 * core is: event in, updates out.
 *
 *   COPYING --- the island ends: a hole ---> ASKING --- the hole is filled ---> COPYING
 *      |                                     |  ^ |
 *      |     nobody's log reaches back so far|  | |it never was: what is behind it goes
 *      |                                     v  | v
 *      |                                 FETCHING (a snapshot; then COPYING anew, behind it)
 *      +--- nothing is behind it ---> UPD_REBUILD_END
 *
 * The history is written anew from the beginning to the end: what this server has of it is copied,
 * what it has not is asked for, one hole after the other. */
#ifndef ZKFS_REPLICA_SERVER_REPAIR_H
#define ZKFS_REPLICA_SERVER_REPAIR_H

#include "replica/server/replica.h"

/* Where it is not known which record stands before an island. */
#define REPAIR_NOT_KNOWN ((zxid_t)-1)

/* Whole records of this server, one behind the other. */
struct repair_island {
    zxid_t before; /* the record before the first, or REPAIR_NOT_KNOWN */
    zxid_t first, last;
};

/* What a survey of the disk found. */
struct repair_lack {
    zxid_t base;                         /* of the newest whole snapshot; 0: there is none */
    const struct repair_island *islands; /* behind it or around it, ascending; copied */
    size_t island_count;
    zxid_t known_end;  /* the last record that is known to have been there; may be behind them */
    bool lossy;        /* more may have been there, or was promised */
    struct slice said; /* what is damaged, for the log; copied */
};

struct repair;

struct repair *repair_new(const struct replica_config *config, const struct repair_lack *lack);
void repair_free(struct repair *r); /* NULL is fine */
/* Events as the core's; of the disk's only EV_REPAIR_RANGE, EV_SNAP_RANGE, EV_SNAP_INSTALLED,
 * EV_SNAP_RESET, EV_REBUILD_COPIED and EV_DISK_FAILED. The first is EV_START. Behind
 * UPD_REBUILD_END no event may follow. */
struct updates repair_step(struct repair *r, const struct event *ev);
/* Closes what is open, for whoever is next: every client and every link. */
struct updates repair_leave(struct repair *r);

#endif
