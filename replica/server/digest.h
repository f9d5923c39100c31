/* Whether this replica's tree is what it should be (docs/recovery.md, "The digest"): its digests by
 * zxid, its answers to the leader, and the scrub. Who differs starts over: it discards its memory
 * and comes back from its own disk; who differs once more soon after does not trust that disk
 * either. */
#ifndef ZKFS_REPLICA_SERVER_DIGEST_H
#define ZKFS_REPLICA_SERVER_DIGEST_H

#include "replica/proto/peer_codec.h"
#include "replica/server/core.h"

/* The tree is there. */
void digest_init(struct replica *r);
void digest_close(struct replica *r);

/* The tree was replaced: the digests so far are another one's. */
void digest_reset(struct replica *r);
/* A record of the log was just applied. False when it touched a znode that proved to be altered:
 * the core is gone then, and nobody may be answered. */
bool digest_applied(struct replica *r);
/* False: none is known for that zxid, or not any more. */
bool digest_find(const struct replica *r, zxid_t zxid, uint64_t *ret_digest);
zxid_t digest_newest(const struct replica *r); /* 0: there is none */

/* At the end of each step: the scrub and, at the leader, the questions, when they are due. */
void digest_run(struct replica *r);
int64_t digest_deadline(const struct replica *r);

/* As a learner: what the leader says. False when no leader says so. */
bool digest_message(struct replica *r, const struct app_msg *m);

/* This replica's tree is wrong: says so (`details` are key=value), leaves the ensemble and starts
 * over; with `distrust` its disk's history counts as lost. The core is gone then. */
void digest_start_over(struct replica *r, bool distrust, const char *why, const char *details, ...)
    __attribute__((format(printf, 4, 5)));

/* mntr: trees that were found to be wrong, this server's own in its process's earlier lives
 * included. */
uint64_t digest_mismatches(const struct replica *r);
void digest_count_mismatch(struct replica *r);
/* The word `hash`: the newest digests, a line each, oldest first. */
void digest_print(const struct replica *r, struct buf *out);

#endif
