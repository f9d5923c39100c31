#include "fs/ops.h"

#include <errno.h>
#include <string.h>

#include "common/path.h"
#include "common/proto.h"
#include "fs/fuse_uv.h"
#include "fs/name.h"

/* xid and type, the lengths of path and data, the version. */
#define SET_OVERHEAD 20u

size_t fs_value_max(const struct fs *fs, size_t path_len) {
    size_t frame = (size_t)fs->opt->max_frame_bytes;
    size_t overhead = SET_OVERHEAD + path_len;
    return frame > overhead ? frame - overhead : 0;
}

enum op_child op_child(const struct fs *fs, const struct inode *dir, const char *name,
                       struct buf *ret_path) {
    struct slice znode_name, path = inode_path(dir);
    buf_init(ret_path, 0);
    bool at_root = slice_equal(path, inode_path(fs->inodes.root)); /* through a view too */
    switch (name_read(name, at_root, &znode_name)) {
    case NAME_IS_ZNODE:
        return name_path(ret_path, path, znode_name) ? CHILD_ZNODE : CHILD_TOO_LONG;
    case NAME_IS_DATA:
        buf_put(ret_path, path.p, (size_t)path.len);
        return CHILD_DATA;
    case NAME_IS_VIEWS:
        return CHILD_VIEW;
    case NAME_IS_TOO_LONG:
        return CHILD_TOO_LONG;
    case NAME_IS_WRONG:
        break;
    }
    return CHILD_INVALID;
}

bool op_child_moved(struct call *c, struct buf *path) {
    if (!call_moved(c))
        return false;
    struct buf now = BUF_INIT;
    bool room = name_path(&now, inode_path(c->inode), path_name(op_slice(path)));
    if (!room) {
        buf_close(&now);
        return false;
    }
    buf_close(path);
    *path = now;
    return true;
}

int op_child_errno(enum op_child child) {
    switch (child) {
    case CHILD_ZNODE:
    case CHILD_DATA:
        return 0;
    case CHILD_VIEW:
        return EPERM;
    case CHILD_TOO_LONG:
        return ENAMETOOLONG;
    case CHILD_INVALID:
        break;
    }
    return EINVAL;
}

static void op_init(void *userdata, struct fuse_conn_info *conn) {
    struct fs *fs = userdata;
    fuse_uv_negotiate(conn);
    fs->negotiated = true;
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
    (void)target, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name) {
    (void)ino, (void)new_parent, (void)new_name;
    fuse_reply_err(req, EPERM);
}

/* Nothing here is a symbolic link. */
static void op_readlink(fuse_req_t req, fuse_ino_t ino) {
    (void)ino;
    fuse_reply_err(req, EINVAL);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
                     size_t out_size) {
    (void)ino, (void)cmd, (void)arg, (void)fi, (void)flags, (void)in, (void)in_size, (void)out_size;
    fuse_reply_err(req, ENOTTY);
}

/* Left out on purpose, for the kernel then does them itself: copy_file_range (read and write), bmap
 * (no device). */
const struct fuse_lowlevel_ops op_table = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .access = op_access,
    .statfs = op_statfs,
    .readlink = op_readlink,
    .symlink = op_symlink,
    .link = op_link,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .create = op_create,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .lseek = op_lseek,
    .poll = op_poll,
    .flock = op_flock,
    .setlk = op_setlk,
    .getlk = op_getlk,
    .fallocate = op_fallocate,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .getxattr = op_getxattr,
    .setxattr = op_setxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .ioctl = op_ioctl,
};
