/* What a server that is being repaired asks, answered by one that is whole, in whatever role
 * (docs/recovery.md, "Holes"). */
#ifndef ZKFS_REPLICA_SERVER_REPAIR_ANSWER_H
#define ZKFS_REPLICA_SERVER_REPAIR_ANSWER_H

#include "replica/proto/peer_codec.h"
#include "replica/server/core.h"

/* A message of a repair came. One question of each peer is under way; more of them are passed
 * over, for who asks asks again. */
void repair_answer(struct replica *r, uint8_t peer, const struct repair_msg *m);
/* EV_REPAIR_RANGE and EV_SNAP_RANGE. */
void repair_answer_range(struct replica *r, const struct event *ev);
void repair_answer_snapshot(struct replica *r, const struct event *ev);

/* How many of these records, which follow `after`, are an answer to the question that goes up to
 * `until`: where both are of one epoch, those of that epoch. */
size_t repair_fitting(const struct log_record *records, size_t count, zxid_t after, zxid_t until);

#endif
