/* What only tests and the simulator do to a tree. */
#ifndef ZKFS_REPLICA_TREE_TREE_TEST_H
#define ZKFS_REPLICA_TREE_TREE_TEST_H

#include "replica/tree/tree.h"

/* Memory fails: flips the last byte of a znode's data, or of its mtime when there is none, and
 * leaves digest and checksum alone. The znode must be there (CHECK). A second time puts it right
 * again. */
void tree_test_alter(struct tree *t, struct slice path);

#endif
