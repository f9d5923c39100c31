/* The mount: what all of its operations share. One thread, one libuv loop; caller_ask.h alone has
 * others. */
#ifndef ZKFS_FS_FS_H
#define ZKFS_FS_FS_H

#define FUSE_USE_VERSION 314

#include <fuse3/fuse_lowlevel.h>
#include <sys/types.h>
#include <uv.h>

#include "common/blob.h"
#include "common/types.h"
#include "fs/caller_ask.h"
#include "fs/inode.h"
#include "fs/journal.h"
#include "fs/mark.h"
#include "fs/options.h"
#include "fs/zk.h"

struct call;
struct flags;
struct handle;
struct resent;
struct locks;
struct owners;
struct stream;

/* What the views have in common (view.h). */
struct views {
    struct stream *streams; /* open files that are streams */
    struct zk_listener listener;
    int64_t since_s; /* when the session's connection came or went last, seconds since 1970 */
    int64_t began_s; /* when the mount did */
    bool connected;
    uint64_t expired;        /* so many sessions of this mount have */
    uint64_t names_left_out; /* of listings, because they are too long */
};

struct fs {
    const struct options *opt;
    uv_loop_t *loop;
    struct zk *zk;
    struct inode_table inodes;
    struct handle *handles; /* by id */
    uint64_t last_fh;

    struct journal *journal; /* what outlives this process; NULL: nothing does */
    bool resumed;            /* the mount is older than this process */
    struct resent *resent;   /* writes of an earlier worker's unanswered requests (resume.h) */
    uint64_t request_unique; /* of the request that libfuse hands out now; 0 none, or taken */
    uint64_t request_poll;   /* POLL: the kernel's number for who waits for a file; 0: nobody */

    session_id_t session; /* the last that was connected; 0: none was */
    struct zk_listener lost_listener;
    struct mark_ring marks;
    struct flags *flags;   /* of directories */
    struct owners *owners; /* of ephemeral znodes */

    struct call
        *calls; /* deferred, the oldest first: all have the same time, so this is by deadline */
    struct call *parked; /* without a deadline (call_park) */
    size_t call_count;   /* of both */
    uv_timer_t call_timer;
    struct call *interrupted; /* the earliest first */
    uv_timer_t interrupt_timer;
    int64_t eio_logged_ms; /* when the last failure for want of a server was logged */
    uint64_t eio_unlogged;

    struct locks *locks; /* lock.h */

    struct handle *dirty; /* file handles that hold back pieces, the oldest first */
    uv_timer_t hold_timer;

    struct views views;
    struct caller_asks caller_asks;

    bool init_under_way;            /* the reply that libfuse sends now is INIT's */
    bool negotiated;                /* INIT was accepted */
    void (*on_init)(struct fs *fs); /* and the kernel has the reply: the mount works */
    void (*on_idle)(struct fs *fs); /* set while stopping: called when the last call has ended */
};

/* The greatest value that one request can carry to the server for a path of this length, in bytes:
 * jute.maxbuffer less the header, the path, the two lengths and the version (PROTOCOL 1.1). */
size_t fs_value_max(const struct fs *fs, size_t path_len);

#endif
