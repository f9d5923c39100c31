/* The kernel's inodes follow a rename made through this mount, with their open descriptors and
 * working directories, and those of everything below. First all pairs of old and new are added,
 * then the inodes move, for two may change places. */
#ifndef ZKFS_FS_RENAME_FOLLOW_H
#define ZKFS_FS_RENAME_FOLLOW_H

#include "fs/inode.h"
#include "fs/subtree.h"

struct rename_step {
    const struct subtree_znode *old;
    struct slice path;
    zxid_t czxid;
    int32_t version;
};

struct rename_mover {
    struct inode *inode; /* referenced */
    size_t step;
};

struct rename_follow {
    struct inode_table *inodes;
    zxid_t zxid;
    struct rename_step *steps;
    size_t step_count;
    struct rename_mover *movers;
    size_t mover_count;
};

/* `zxid` is the transaction's. What says that it has followed that already stays as it is: a worker
 * may have died on the way. */
void rename_follow_init(struct rename_follow *f, struct inode_table *inodes, zxid_t zxid);
/* `old`, as it was read, is the znode `czxid` at `path` (both borrowed until the end) now, with its
 * data as `version`. */
void rename_follow_add(struct rename_follow *f, const struct subtree_znode *old, struct slice path,
                       zxid_t czxid, int32_t version);
/* Moves all and frees. */
void rename_follow_done(struct rename_follow *f);

/* For a rename that a worker which died had sent: gives each znode of the subtree at `root`
 * (recalled, subtree.h) the czxid that the inodes say it had before; none, where there are no
 * inodes of it. */
void rename_follow_recall(const struct rename_follow *f, struct subtree *st, struct slice root);

#endif
