/* sync, and whatever else has to wait until all that was proposed before is committed and a quorum
 * has confirmed its leader (Z6). At the leader a marker of zab's; at a learner a question to the
 * leader, whose answer comes behind the commits. */
#ifndef ZKFS_REPLICA_SERVER_SYNC_H
#define ZKFS_REPLICA_SERVER_SYNC_H

#include "replica/server/core.h"

/* Sends q on its way; it may be done at once. False when there is no leader to ask. */
bool sync_begin(struct replica *r, struct request *q);
/* q's session is gone, as far as this leader knows: refused when that is certain. */
void sync_refuse(struct replica *r, struct request *q);
/* As the leader: a learner's sync, or the refusal of a session that it asked about. */
void sync_remote(struct replica *r, uint8_t peer, uint64_t tag, bool refusal);
void sync_forget_remote(struct replica *r, uint8_t peer); /* its link is gone */
void sync_forget_all(struct replica *r);
/* As the leader: answers what has been passed. */
void sync_run(struct replica *r);
/* As a learner: everything held waits until the leader has answered this. False when there is no
 * leader to ask. */
bool sync_begin_barrier(struct replica *r);
/* As a learner: the leader's answer. */
void sync_answered(struct replica *r, uint64_t tag);

#endif
