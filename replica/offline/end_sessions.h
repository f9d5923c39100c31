/* Sessions do not outlive a change of their ensemble: nobody can prove to own one any more. */
#ifndef ZKFS_REPLICA_OFFLINE_END_SESSIONS_H
#define ZKFS_REPLICA_OFFLINE_END_SESSIONS_H

#include "replica/tree/tree.h"

/* Deletes every ephemeral of an exact tree, at its last zxid: parents that lose one have that as
 * their pzxid, and tree_last_zxid stays. Apache does the same at a start with the ephemerals of
 * sessions that are gone (ZooKeeperServer.loadData). 0 and how many there were; -EBADMSG, and the
 * tree as it was, when one has children: it comes from a disk. */
int end_sessions_drop(struct tree *t, uint64_t *ret_count);

#endif
