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
    uint64_t id; /* the kernel's fh: never used again, not by a later worker either */
    UT_hash_handle by_id;
    uint32_t kept;              /* the journal's record; 0 none (handle_keep) */
    struct inode *inode;        /* referenced */
    struct handle *prev, *next; /* inode->handles */

    struct blob *value; /* as read or committed; NULL is null data */
    int32_t version;    /* the one of `value` */
    zxid_t moved_by;    /* of the last rename that `version` has followed; 0: none */
    bool writable;
    bool replace;  /* opened with O_TRUNC or just created: the next commit is unconditional */
    bool truncate; /* and is due at RELEASE even when nothing is written */

    bool held;        /* `image` is the value with pieces that are not committed yet */
    bool held_append; /* all of them were appended: the last held_bytes of image */
    size_t held_bytes;
    bool cut; /* the last WRITE may be the first part of a longer write(2) */
    int64_t held_since_ms;
    bool held_told; /* a write(2) was answered whose bytes are in `image` alone */
    int errnum;     /* of a commit in the background: told by the next operation, once */
    struct buf image;
    struct handle *dirty_prev, *dirty_next; /* fs->dirty while held */

    /* Open since before a restart. */
    bool unread;   /* `value` is not there: fetched when it is needed; of a directory the listing */
    bool dead;     /* and could not be had: every read fails with EIO, every write with ESTALE */
    uint64_t poll; /* of a stream: the kernel's number for who sleeps in poll(2); 0: nobody */
    struct stream *stream;       /* of an INODE_VIEW_FILE (view_stream.h); else NULL */
    struct owned *owned;         /* the znode goes with this descriptor; NULL: it stays */
    struct lock_file *lock_file; /* referenced; NULL: nothing was locked through it (lock.h) */
    int lost;     /* with the session: it cannot be used any more, and this is what a read gets
                     (lost.h);     0: it was not */
    bool refresh; /* `value` is from before it got a lock: to be read anew (refresh.h) */

    struct dir_list list; /* directories only */

    struct call *owner;   /* has the lock */
    struct call *waiters; /* in order */
};

struct handle *handle_new(struct fs *fs, struct inode *inode);
/* Drops what is held; frees. The lock must be free. */
void handle_close(struct handle *h);
/* Closes every one: the mount has ended, and no RELEASE comes any more. */
void handles_close(struct fs *fs);
/* The open file of a request; NULL when there is none by that number. */
struct handle *handle_find(struct fs *fs, const struct fuse_file_info *fi);
/* Keeps the handle in the journal from now on, with its flags and version, and with its value when
 * that is short: call.c does it before the kernel hears of the handle. */
void handle_keep(struct handle *h);
/* Makes the handles that the kernel has from earlier workers; inodes have been made. */
void handles_resume(struct fs *fs);

/* Calls `next` with the lock: at once when it is free, else when those before are done. The lock is
 * the call's until it ends. */
void handle_lock(struct call *c, struct handle *h, void (*next)(struct call *c));
/* For call.c: the call ends; no effect when it has no handle. */
void handle_unlock(struct call *c);

/* What a read of the descriptor sees. */
struct slice handle_view(const struct handle *h);
/* The version read or committed; steals nothing, refs value. */
void handle_set_value(struct handle *h, struct blob *take_value, int32_t version);
/* Forgets the held pieces, and that a write(2) was told of them; the journal with what is noted or
 * set next, so that it is one step. */
void handle_drop_held(struct handle *h);
/* Says that `image` has pieces which are to be committed later. */
void handle_hold(struct handle *h);
/* Says, before it is answered, that a write was taken into `image`. */
void handle_told_held(struct handle *h);
/* `replace`, `truncate`, `errnum`, `dead`, `lost` or `refresh` has changed, or `version` alone. */
void handle_note(struct handle *h);

#endif
