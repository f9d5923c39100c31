/* Majorities as pure functions: what a set of acknowledgements amounts to. */
#ifndef ZKFS_REPLICA_ZAB_QUORUM_H
#define ZKFS_REPLICA_ZAB_QUORUM_H

#include "common/types.h"

/* How many of `voters` servers are a quorum: any two quorums share a member (Zab DSN'11, section
 * II). */
uint32_t quorum_size(uint32_t voters);
/* The greatest zxid that a quorum has acknowledged, where acked[i] is the last zxid of voter i:
 * acknowledgements are given in order, so each covers all before it. 0 for no voters. */
zxid_t quorum_acked(const zxid_t *acked, uint32_t voters);

#endif
