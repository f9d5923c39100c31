/* A FUSE request that waits for the server. It is answered exactly once: by the operation, by EINTR
 * when its caller was interrupted, or by EIO when `timeo` has passed; whichever is first ends the
 * call and cancels what it has under way at the server.
 *
 * EINTR comes at once while no server is connected. Otherwise the operation has a moment to end by
 * itself (call.c), for the kernel sends INTERRUPT for every signal, and programs that catch SIGCHLD
 * or SIGALRM do not expect that an open(2) or stat(2) fails for it.
 *
 * An operation keeps its state in a struct of its own that begins with a struct call. Callbacks of
 * zk.h get that struct as ctx; after the call ended none comes any more, so nothing there can be
 * stale. */
#ifndef ZKFS_FS_CALL_H
#define ZKFS_FS_CALL_H

#include "fs/fs.h"

/* The most operations that one call has at the server at a time. */
#define CALL_TOKENS 4

struct call {
    struct fs *fs;
    fuse_req_t req; /* NULL: nobody waits (a commit in the background) */
    const char *what;
    void (*on_end)(struct call *c); /* frees what the operation holds; NULL: nothing */
    struct inode *inode;            /* referenced; NULL: none */
    uint32_t moves;                 /* of the inode, as the call knows it */
    struct handle *handle;          /* locked, or waited for (handle.h) */
    void (*on_lock)(struct call *c);
    void (*on_fresh)(struct call *c); /* view_fresh */
    uint64_t unique;                  /* the kernel's number of the request; 0: nobody waits */
    struct zk_sent *sent; /* the request is sent again after a restart: what was written for it,
                             until that write is repeated; else NULL */
    uint32_t kept_write;  /* the journal's record of the last write */
    uint64_t tokens[CALL_TOKENS];
    unsigned next_token;
    int64_t deadline_ms;    /* 0: none (-o hard) */
    bool parked;            /* in fs->parked, not in fs->calls */
    int64_t interrupted_ms; /* 0: it was not; else it is in fs->interrupted too */
    struct call *intr_prev, *intr_next;
    struct call *prev, *next; /* fs->calls, or fs->parked */
    struct call *waiter_prev, *waiter_next;
};

void calls_init(struct fs *fs);
/* Ends every call with EIO. */
void calls_close(struct fs *fs);

/* A zeroed struct of `size` bytes that begins with a struct call. `what` (static) names the
 * operation in log lines; inode is referenced. When the request was interrupted already, and no
 * server is connected, it is answered, and the result is NULL. */
void *call_new(struct fs *fs, fuse_req_t req, const char *what, struct inode *inode, size_t size,
               void (*on_end)(struct call *c));

/* The call waits for something that is not an answer of the server: it has no deadline any more,
 * and an interrupt ends it at once. Perhaps it is interrupted already, and this ends it. */
void call_park(struct call *c);
/* Remembers what zk_… returned, to cancel it with the call; and keeps a write in the journal, by
 * which the next worker knows it again should this one crash before the answer. */
void call_track(struct call *c, uint64_t token);
/* The latter alone, for what the call's end does not cancel. */
void call_keep(struct call *c, uint64_t token);
/* `to` is to answer c's request from now on: it goes on with the request's number and its record.
 */
void call_hand_over(struct call *c, struct call *to);
/* The number of the request, as it was when it was first sent; 0 when nobody waits. */
uint64_t call_unique(const struct call *c);
/* For operations that would see their own work, done before a restart, as another's: whether a
 * write of this opcode was handed to the server for the request, and nothing is known of it. */
bool call_was_sent(const struct call *c, int32_t opcode);
/* Asks what became of that, a multi or a delete (zk_again). */
void call_again(struct call *c, bool exclusive, zk_cb *cb, void *ctx);
/* Whether a rename through this mount moved the inode since the call began, or was last told so: an
 * operation that found nothing at the old path then looks at the new one. */
bool call_moved(struct call *c);
/* The process that waits, 0 when none does. */
pid_t call_pid(const struct call *c);

/* Each answers and ends the call. */
void call_err(struct call *c, int errnum);    /* a positive errno; 0 is success without a body */
void call_zk_err(struct call *c, int zk_err); /* not ZK_OK */
/* A zk_cb of a call that has nothing to add to the result. */
void call_zk_done(void *ctx, const struct zk_result *res);
void call_entry(struct call *c, struct inode *inode, const struct stat *attr);
/* The same without a call, from within the operation that the kernel asks for. */
void call_reply_entry(struct fs *fs, fuse_req_t req, struct inode *inode, const struct stat *attr);
void call_created(struct call *c, struct inode *inode, const struct stat *attr, struct handle *h,
                  struct fuse_file_info *fi);
void call_attr(struct call *c, const struct stat *attr);
/* Closes h when the kernel does not take the open, for then no RELEASE will come. */
void call_open(struct call *c, struct handle *h, struct fuse_file_info *fi);
/* The same without a call, from within the operation that the kernel asks for. */
void call_reply_open(struct fs *fs, fuse_req_t req, struct handle *h, struct fuse_file_info *fi);
void call_write(struct call *c, size_t size);
void call_lock(struct call *c, const struct flock *lock); /* getlk */
void call_buf(struct call *c, const void *p, size_t n);
/* getxattr's two ways: the length when size is 0, ERANGE when the value is longer than size. */
void call_xattr(struct call *c, const void *p, size_t n, size_t size);

#endif
