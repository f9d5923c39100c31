/* Open files and directories: what a descriptor knows.
 *
 * A file's handle has the value as it was at open, or as this descriptor wrote it last, with its
 * version. Reads are answered from it, so a value is never torn. Writes replace it (commit.h).
 *
 * Operations that change a handle take turns: handle_lock, in the order of their requests. */
#ifndef ZKFS_FS_HANDLE_H
#define ZKFS_FS_HANDLE_H

#include "common/blob.h"
#include "common/buf.h"
#include "fs/call.h"
#include "fs/fs.h"

/* The names of a directory as they were at open, shown names with a NUL behind each. */
struct dir_list {
    struct buf names;
    uint32_t *at; /* where each begins in names */
    uint32_t count;
    bool has_data; /* `.data` is listed */
    bool read;     /* the first part was handed out: the next read from 0 is a rewinddir */
};

struct handle {
    struct fs *fs;
    struct inode *inode;        /* referenced */
    struct handle *prev, *next; /* inode->handles */

    struct blob *value; /* as read or committed; NULL is null data */
    int32_t version;    /* the one of `value` */
    bool writable;
    bool replace;  /* opened with O_TRUNC or just created: the next commit is unconditional */
    bool truncate; /* and is due at RELEASE even when nothing is written */

    bool held;        /* `image` is the value with pieces that are not committed yet */
    bool held_append; /* all of them were appended: the last held_bytes of image */
    size_t held_bytes;
    int64_t held_since_ms;
    int errnum; /* of a commit in the background: told by the next operation, once */
    struct buf image;
    struct handle *dirty_prev, *dirty_next; /* fs->dirty while held */

    struct dir_list list; /* directories only */

    struct call *owner;   /* has the lock */
    struct call *waiters; /* in order */
};

struct handle *handle_new(struct fs *fs, struct inode *inode);
/* Drops what is held; frees. The lock must be free. */
void handle_close(struct handle *h);
/* Closes every one: the mount has ended, and no RELEASE comes any more. */
void handles_close(struct fs *fs);
static inline struct handle *handle_of(const struct fuse_file_info *fi) {
    return (struct handle *)(uintptr_t)fi->fh;
}

/* Calls `next` with the lock: at once when it is free, else when those before are done. The lock is
 * the call's until it ends. */
void handle_lock(struct call *c, struct handle *h, void (*next)(struct call *c));
/* For call.c: the call ends; no effect when it has no handle. */
void handle_unlock(struct call *c);

/* What a read of the descriptor sees. */
struct slice handle_view(const struct handle *h);
/* The version read or committed; steals nothing, refs value. */
void handle_set_value(struct handle *h, struct blob *take_value, int32_t version);
/* Forgets the held pieces. */
void handle_drop_held(struct handle *h);
/* Says that `image` has pieces which are to be committed later. */
void handle_hold(struct handle *h);

#endif
