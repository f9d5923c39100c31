/* At the leader: whose tree is wrong (docs/recovery.md, "The digest"). The leader asks its learners
 * for their digests at a zxid, a question each at a time, and judges the answers of one round
 * together: what a quorum of the voters has is right. Where none has the same, who differs from the
 * leader starts over first, and then the leader itself; after that the leader's tree counts. */
#ifndef ZKFS_REPLICA_SERVER_JUDGE_H
#define ZKFS_REPLICA_SERVER_JUDGE_H

#include "replica/proto/peer_codec.h"
#include "replica/server/core.h"

void judge_init(struct replica *r);
void judge_close(struct replica *r);

/* A new round when there is anything new: something was applied, or a learner has come. */
void judge_ask(struct replica *r);
/* A learner's answer. One that is not waited for any more is ignored. */
void judge_take(struct replica *r, uint8_t peer, const struct app_msg *m);
/* Judges what has changed: it may end the core. */
void judge_run(struct replica *r);

/* This server has read its tree from its disk a moment ago because it was wrong. What is wrong
 * long after that is so for another reason, and not because of the disk. */
bool judge_fresh(const struct replica *r);

void judge_forget(struct replica *r, uint8_t peer); /* its link is gone */
void judge_forget_all(struct replica *r);           /* the leadership is */

#endif
