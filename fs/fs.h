/* The mount: what all of its operations share. One thread, one libuv loop. */
#ifndef ZKFS_FS_FS_H
#define ZKFS_FS_FS_H

#define FUSE_USE_VERSION 314

#include <fuse3/fuse_lowlevel.h>
#include <sys/types.h>
#include <uv.h>

#include "common/blob.h"
#include "common/types.h"
#include "fs/inode.h"
#include "fs/mark.h"
#include "fs/options.h"
#include "fs/zk.h"

struct call;
struct handle;

struct fs {
    const struct options *opt;
    uv_loop_t *loop;
    struct zk *zk;
    struct inode_table inodes;
    struct mark_ring marks;

    struct call
        *calls; /* deferred, the oldest first: all have the same time, so this is by deadline */
    size_t call_count;
    uv_timer_t call_timer;
    struct call *interrupted; /* the earliest first */
    uv_timer_t interrupt_timer;
    int64_t eio_logged_ms; /* when the last failure for want of a server was logged */
    uint64_t eio_unlogged;

    struct handle *dirty; /* file handles that hold back pieces, the oldest first */
    uv_timer_t hold_timer;

    bool init_under_way;            /* the reply that libfuse sends now is INIT's */
    void (*on_init)(struct fs *fs); /* the kernel has negotiated: the mount works */
    void (*on_idle)(struct fs *fs); /* set while stopping: called when the last call has ended */
};

/* The greatest value that one request can carry to the server for a path of this length, in bytes:
 * jute.maxbuffer less the header, the path, the two lengths and the version (PROTOCOL 1.1). */
size_t fs_value_max(const struct fs *fs, size_t path_len);

#endif
