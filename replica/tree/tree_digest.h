/* A digest of the whole tree, kept up to date by every change: two servers that applied the same
 * history have the same digest at the same zxid, however they came there (replay, DIFF, a fuzzy
 * snapshot). It covers of each znode path, data, ACL and Stat. */
#ifndef ZKFS_REPLICA_TREE_TREE_DIGEST_H
#define ZKFS_REPLICA_TREE_TREE_DIGEST_H

#include "replica/tree/tree.h"

uint64_t tree_digest(const struct tree *t);

#endif
