/* A resumable walk over the tree, for fuzzy snapshots (Z9): in pre-order, so that a parent comes
 * before its children; a few znodes at a time, while tree_apply goes on between. A znode that is
 * there from the walk's beginning to its end is visited exactly once, one that goes meanwhile once
 * or not at all, and one that was created since never: the log creates it again. So no path comes
 * twice. */
#ifndef ZKFS_REPLICA_TREE_TREE_WALK_H
#define ZKFS_REPLICA_TREE_TREE_WALK_H

#include "replica/tree/tree_load.h"

struct tree_walk;

/* Any number of walks may be under way; each must be freed before its tree. */
struct tree_walk *tree_walk_new(struct tree *t);
void tree_walk_free(struct tree_walk *w);          /* NULL is fine */
zxid_t tree_walk_begun(const struct tree_walk *w); /* tree_last_zxid when it was made */
/* The next znode (the root first); everything in it is borrowed until the tree or the walk changes.
 * False at the end. */
bool tree_walk_next(struct tree_walk *w, struct znode_image *ret_image);

#endif
