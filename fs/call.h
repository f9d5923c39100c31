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
    struct handle *handle;          /* locked, or waited for (handle.h) */
    void (*on_lock)(struct call *c);
    uint64_t tokens[CALL_TOKENS];
    unsigned next_token;
    int64_t deadline_ms;    /* 0: none (-o hard) */
    int64_t interrupted_ms; /* 0: it was not; else it is in fs->interrupted too */
    struct call *intr_prev, *intr_next;
    struct call *prev, *next; /* fs->calls */
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

/* Remembers what zk_… returned, to cancel it with the call. */
void call_track(struct call *c, uint64_t token);
/* The process that waits, 0 when none does. */
pid_t call_pid(const struct call *c);

/* Each answers and ends the call. */
void call_err(struct call *c, int errnum);    /* a positive errno; 0 is success without a body */
void call_zk_err(struct call *c, int zk_err); /* not ZK_OK */
void call_entry(struct call *c, struct inode *inode, const struct stat *attr);
void call_created(struct call *c, struct inode *inode, const struct stat *attr, struct handle *h,
                  struct fuse_file_info *fi);
void call_attr(struct call *c, const struct stat *attr);
/* Closes h when the kernel does not take the open, for then no RELEASE will come. */
void call_open(struct call *c, struct handle *h, struct fuse_file_info *fi);
void call_write(struct call *c, size_t size);
void call_buf(struct call *c, const void *p, size_t n);
/* getxattr's two ways: the length when size is 0, ERANGE when the value is longer than size. */
void call_xattr(struct call *c, const void *p, size_t n, size_t size);

#endif
