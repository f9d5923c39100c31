/* The views: `.zk/` at the mount's root, the tree under a modifier (modifier.h;
 * docs/fs-semantics.md says what users see).
 *
 * Two sorts of inodes are there. Those of znodes, seen through `version` or `sync`, are inodes as
 * everywhere, with the modifier in them; the operations ask here what is different. Those that no
 * znode is behind (inode_is_view) are directories of modifiers and of streams' paths
 * (INODE_VIEW_DIR), and streams and reports (INODE_VIEW_FILE); everything about them is answered
 * here.
 *
 * A path of a stream is both a file and the directory of the paths below it, and the kernel looks
 * up one name at a time without saying whether more follow. So the name that a caller's path ends
 * with is a file, all others are directories (caller.h). Where that cannot be seen, a znode without
 * children is a file. `.data` below each is the same file, whoever asks. */
#ifndef ZKFS_FS_VIEW_H
#define ZKFS_FS_VIEW_H

#include "fs/call.h"
#include "fs/fs.h"

/* fs->zk is there. */
void views_init(struct fs *fs);
/* The mount is ending: who waits for text gets EIO. */
void views_end(struct fs *fs);
/* Frees all streams; before zk_close. */
void views_close(struct fs *fs);

/* LOOKUP of `.zk` in the root, and of a name in an INODE_VIEW_DIR. Both answer. */
void view_lookup_top(fuse_req_t req);
void view_lookup(fuse_req_t req, struct inode *dir, const char *name);
/* The attributes of an inode_is_view. */
void view_attr(const struct fs *fs, const struct inode *inode, struct stat *ret_attr);
/* Appends the path below the mount's root, as it is shown: what PATH is in the views. `/` for the
 * root. */
void view_put_path(struct buf *out, const struct fs *fs, struct slice path);
/* OPENDIR of an INODE_VIEW_DIR: answers. */
void view_opendir(fuse_req_t req, struct inode *dir, struct fuse_file_info *fi);

/* Lists an INODE_VIEW_DIR, for a new descriptor or one that is older than this process. */
void view_list(struct handle *h);

enum view_change {
    CHANGE_CREATE, /* open(2) with O_CREAT of what is not there */
    CHANGE_MAKE,   /* mkdir, mknod */
    CHANGE_REMOVE, /* unlink, rmdir */
    CHANGE_RENAME,
    CHANGE_WRITE, /* an open(2) for writing, a change of the size */
    CHANGE_MODE,  /* chmod, chown, utimens */
    CHANGE_XATTR,
};
/* The errno with which the inode's view forbids it (to be done to the inode, or in that directory);
 * 0: it does not. */
int view_forbids(const struct inode *inode, enum view_change change);
/* The same, and answers when it does. */
bool view_refuses(fuse_req_t req, const struct inode *inode, enum view_change change);

/* The version that a change through this inode's view is on condition of; -1: any. */
int32_t view_version(const struct inode *inode);
/* Whether the version is not the one that the inode's view wants. */
bool view_is_stale(const struct inode *inode, int32_t version);
/* Calls next: at once, or behind a sync when the call's inode is seen through `sync`. */
void view_fresh(struct call *c, void (*next)(struct call *c));

#endif
