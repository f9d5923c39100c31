/* Finding a znode by whatever bytes a client sent as a path. */
#ifndef ZKFS_REPLICA_SERVER_LOOKUP_H
#define ZKFS_REPLICA_SERVER_LOOKUP_H

#include "replica/tree/tree.h"

/* Whether the tree may be asked for this path. "." and ".." just are no names there. */
bool lookup_has_shape(struct slice path);
/* NULL when there is none. "" is the root, as in ZooKeeper's table of znodes. */
const struct znode *lookup_znode(const struct tree *t, struct slice path);

#endif
