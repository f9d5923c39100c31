/* Which sessions were heard of, from learners to the leader that decides when they expire. */
#ifndef ZKFS_REPLICA_SERVER_TOUCH_H
#define ZKFS_REPLICA_SERVER_TOUCH_H

#include "replica/proto/peer_codec.h"
#include "replica/server/core.h"

/* The client of s was heard here. */
void touch_heard(struct replica *r, struct session *s);
/* s has a connection here from now on. */
void touch_connected(struct replica *r, struct session *s);
/* The connection of s goes: what is not told yet is told now, for s has its whole timeout from when
 * it was heard last. */
void touch_left(struct replica *r, struct session *s);
/* As a learner that begins to serve: tells of every session that is connected. */
void touch_begin(struct replica *r);
/* As a learner: tells the leader when that is due. */
void touch_run(struct replica *r);
/* As the leader: what a learner tells. It counts from now. */
void touch_take(struct replica *r, uint8_t peer, const struct app_msg *m);

#endif
