/* The FUSE operations: one function each, `op_NAME` as struct fuse_lowlevel_ops names them. They
 * answer at once or start a call. op_table (ops.c) has them all; what is not supported answers the
 * errno that DESIGN section 2 gives it, never ENOSYS by accident. */
#ifndef ZKFS_FS_OPS_H
#define ZKFS_FS_OPS_H

#include "fs/call.h"
#include "fs/fs.h"
#include "fs/handle.h"

extern const struct fuse_lowlevel_ops op_table;

/* The inode of a request; NULL after answering ESTALE: the kernel should never name one that it has
 * forgotten. */
struct inode *op_inode(fuse_req_t req, fuse_ino_t ino);
struct fs *op_fs(fuse_req_t req);
/* The open file of a request; NULL after answering EBADF. */
struct handle *op_handle(fuse_req_t req, const struct fuse_file_info *fi);

/* What a name in a directory stands for. */
enum op_child {
    CHILD_ZNODE,   /* *ret_path is its path; the caller closes the buffer in every case */
    CHILD_DATA,    /* the directory's own data; *ret_path is the directory's path */
    CHILD_VIEW,    /* `.zk` at the root: reserved */
    CHILD_INVALID, /* no znode can be called so */
    CHILD_TOO_LONG,
};
enum op_child op_child(const struct fs *fs, const struct inode *dir, const char *name,
                       struct buf *ret_path);
/* When the call's inode, a directory, moved (call_moved): *path, of a child, becomes the one there.
 */
bool op_child_moved(struct call *c, struct buf *path);
/* The errno for making something by that name; 0 for CHILD_ZNODE and CHILD_DATA. */
int op_child_errno(enum op_child child);

/* What a znode is shown as to the process of the call. */
enum inode_kind op_shape(struct call *c, struct slice path, const struct zstat *stat,
                         enum nullness data);
/* Whether `.data` of the call's directory, which is always there, does not exist for this LOOKUP,
 * for it has no data and the caller is about to create it with O_EXCL, as cp -a and tar do when
 * they fill a directory. Where that cannot be told from the caller (caller.h), it is taken for
 * granted of the process that has made the directory, or has just unlinked `.data`. */
bool op_data_is_new(struct call *c, const struct zstat *stat);
/* Answers with the znode's entry in this shape. */
void op_reply_entry(struct call *c, struct slice path, enum inode_kind kind,
                    const struct zstat *stat, enum nullness data);
/* Answers a request with the attributes of an inode; the call that will, NULL when it is answered.
 */
struct call *op_reply_attr(fuse_req_t req, struct inode *inode);

static inline struct slice op_slice(const struct buf *b) {
    return (struct slice){b->data, (int32_t)b->len};
}

/* The text without what ends lines and C strings. */
static inline struct slice op_text(struct slice text) {
    while (text.len > 0 && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\0'))
        text.len--;
    return text;
}

/* op_lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* op_setattr.c */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi);
/* op_dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* op_entry.c */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
/* op_remove.c */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
/* op_rename.c */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags);
/* op_file.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off,
              struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
/* The handle of a file just opened or made; sets up fi. O_TRUNC: the truncation is held back. */
struct handle *op_file_handle(struct fs *fs, struct inode *inode, struct fuse_file_info *fi);
/* op_lock.c */
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int operation);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
              int sleep);
void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
/* op_xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
