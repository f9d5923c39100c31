/* Rebuilds a tree from a snapshot that may be fuzzy: walked in pre-order while writes went on, so
 * that each znode is as it was at some moment between two zxids (Z9). The log from the first of
 * them on, replayed through tree_apply, makes it exact. Siblings and a session's ephemerals stand
 * by czxid again; only among those that one multi made, the order may become that of loading. */
#ifndef ZKFS_REPLICA_TREE_TREE_LOAD_H
#define ZKFS_REPLICA_TREE_TREE_LOAD_H

#include "replica/tree/tree.h"

/* One znode of a snapshot; everything is borrowed. Of `stat` data_length, num_children and cversion
 * are not used: they follow from the rest. */
struct znode_image {
    struct slice path; /* valid; its parent was loaded before */
    struct blob *data;
    struct blob *acl; /* well formed */
    struct zstat stat;
    int32_t creates;
};

/* NULL, or why the image does not fit (static text; the tree is unchanged): it comes from a disk or
 * a peer. The znodes that tree_new made are replaced by their images. It is quick for those that
 * come in pre-order, and takes others. Until tree_load_end nothing is found in the tree, and
 * nothing can be applied to it. */
const char *tree_load(struct tree *t, const struct znode_image *image);
/* Says where the walk began (which becomes tree_last_zxid: replay starts behind it) and where it
 * ended: up to there tree_apply is forgiving. A walk that nothing interrupted has begun == ended.
 * NULL, or that a znode came twice, which tree_load need not see (static text): then the tree can
 * only be freed. */
const char *tree_load_end(struct tree *t, zxid_t begun, zxid_t ended);
/* Whether every znode is as of tree_last_zxid: the replay has reached the walk's end. Before,
 * nothing may be answered from the tree, and its digest means nothing. */
bool tree_exact(const struct tree *t);
/* Until where tree_apply was told to be forgiving; 0: nowhere. A snapshot of a tree that is not
 * exact itself ends there at the earliest. */
zxid_t tree_fuzzy_until(const struct tree *t);

#endif
