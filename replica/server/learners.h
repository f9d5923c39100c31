/* What the leader does for its learners: their clients' requests are prepared here. */
#ifndef ZKFS_REPLICA_SERVER_LEARNERS_H
#define ZKFS_REPLICA_SERVER_LEARNERS_H

#include "replica/server/core.h"

/* A message of a learner's; what cannot be proposed now waits in order. */
void learners_message(struct replica *r, uint8_t peer, struct blob *payload);
/* While clients' writes are held: what of it may go out all the same, does (full.h). */
void learners_release_small(struct replica *r);
/* Where the first that waits stands among all that waits; UINT64_MAX when nothing does. */
uint64_t learners_backlog_arrival(const struct replica *r);
/* Takes the first that waits; zab_ready holds. */
void learners_release(struct replica *r);
void learners_forget(struct replica *r, uint8_t peer); /* its link is gone */
void learners_forget_all(struct replica *r);

#endif
