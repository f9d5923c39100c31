/* A digest of the whole tree, kept up to date by every change: two servers that applied the same
 * history have the same digest at the same zxid, however they came there (replay, DIFF, a fuzzy
 * snapshot; not before the tree is exact again, tree_load.h). It covers of each znode path, data,
 * ACL and Stat. */
#ifndef ZKFS_REPLICA_TREE_TREE_DIGEST_H
#define ZKFS_REPLICA_TREE_TREE_DIGEST_H

#include "replica/tree/tree.h"

/* The first call looks at every znode; from then on each change costs a few hashes, its data's
 * among them. A tree that nobody asks pays nothing. */
uint64_t tree_digest(struct tree *t);

#endif
