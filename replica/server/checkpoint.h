/* Checkpoints: a replica's own snapshots of its tree, made while it serves (docs/recovery.md). A
 * walk of small pieces, then the records that were applied meanwhile, read back from the log, then
 * the digest: exact at one zxid.
 *
 *   IDLE -- due, or asked for --> WALKING --> RECORDS --> ENDING -- EV_CHECKPOINT_SAVED --> IDLE
 *     ^                              |           |           |
 *     +---- abandoned, or failed ----+-----------+-----------+
 */
#ifndef ZKFS_REPLICA_SERVER_CHECKPOINT_H
#define ZKFS_REPLICA_SERVER_CHECKPOINT_H

#include "replica/server/core.h"

struct checkpoint;

struct checkpoint *checkpoint_new(void);
void checkpoint_free(struct checkpoint *c); /* before its tree; NULL is fine */
/* `random` draws when the first one is due. */
void checkpoint_start(struct replica *r);

/* A record was applied, with so many bytes of payload. */
void checkpoint_count(struct replica *r, size_t bytes);
/* Goes on with what is due and has room; once in each step. */
void checkpoint_run(struct replica *r);
int64_t checkpoint_deadline(const struct replica *r); /* mono; INT64_MAX: none */
/* The tree is about to be replaced, by a snapshot that is on the disk. */
void checkpoint_abandon(struct replica *r);

/* The word snap: one is made now, and c hears of it when it is durable. */
void checkpoint_ask(struct replica *r, struct conn *c);

/* The shell's events. */
void checkpoint_range(struct replica *r, const struct event *ev); /* EV_LOG_RANGE of peer 0 */
void checkpoint_written(struct replica *r, uint64_t count);
void checkpoint_saved(struct replica *r, zxid_t zxid, uint64_t size_bytes);
void checkpoint_failed(struct replica *r, struct slice why);

/* For mntr. */
struct checkpoint_info {
    zxid_t zxid; /* of the last one that was saved by this process; 0: none */
    uint64_t saved, failed;
    int64_t last_ms; /* how long it took */
    uint64_t last_bytes;
    bool under_way;
};
void checkpoint_info(const struct replica *r, struct checkpoint_info *ret_info);

#endif
