/* The FUSE session on the libuv loop: requests are read when the device is readable, a few per
 * wake, and given to the operations of op_table. */
#ifndef ZKFS_FS_FUSE_UV_H
#define ZKFS_FS_FUSE_UV_H

#include "fs/fs.h"

struct fuse_uv;

/* Mounts on fs->opt->mountpoint; NULL when that failed (libfuse has said why on standard error).
 * Requests are served from the next turn of the loop on. on_gone is called once when the mount has
 * gone by itself (umount(8), or the connection was aborted). */
struct fuse_uv *fuse_uv_mount(struct fs *fs, void (*on_gone)(struct fs *fs));
/* Goes on with a mount that an earlier worker served: `fd` is its FUSE device, fs->journal what it
 * left, and the state made of that (resume_begin) is there. NULL when it cannot be. */
struct fuse_uv *fuse_uv_resume(struct fs *fs, int fd, void (*on_gone)(struct fs *fs));
/* The FUSE device. */
int fuse_uv_fd(const struct fuse_uv *u);
/* Whether the kernel can send requests again that this worker did not answer. */
bool fuse_uv_can_resume(const struct fs *fs);
/* Unmounts, if that has not happened, and stops serving. Calls must have been ended. `u` is freed
 * when the loop turns again. NULL is fine. */
void fuse_uv_unmount(struct fuse_uv *u);
/* For op_init: what we want of the kernel. */
void fuse_uv_negotiate(struct fuse_conn_info *conn);

#endif
