/* A digest of the whole tree, kept by every change: two servers that applied the same history have
 * the same digest at the same zxid, however they came there (replay, DIFF, a snapshot; not before
 * the tree is exact again, tree_load.h). It covers of each znode path, data, ACL and Stat. It goes
 * to other servers and to the disk, so what it is made of never changes. */
#ifndef ZKFS_REPLICA_TREE_TREE_DIGEST_H
#define ZKFS_REPLICA_TREE_TREE_DIGEST_H

#include "replica/tree/tree.h"

/* Nothing is computed here. */
uint64_t tree_digest(const struct tree *t);

#endif
