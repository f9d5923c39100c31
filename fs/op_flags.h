/* The extended attribute user.zk.create of directories: the words of flags.h. Each answers the
 * request. */
#ifndef ZKFS_FS_OP_FLAGS_H
#define ZKFS_FS_OP_FLAGS_H

#include "fs/ops.h"

/* size as in getxattr(2). */
void op_flags_get(fuse_req_t req, struct inode *inode, size_t size);
/* An empty text removes the flags; flags are setxattr(2)'s. */
void op_flags_set(fuse_req_t req, struct inode *inode, struct slice text, int flags);
void op_flags_remove(fuse_req_t req, struct inode *inode);
/* Why a view's directory has no such name: EINVAL for wrong words in `.zk/create`, which are
 * logged; else ENOENT. */
int op_flags_words_errno(const struct inode *dir, const char *name);

#endif
