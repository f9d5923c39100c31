/* flock(2) and fcntl(2) locks that hold across mounts (docs/fs-semantics.md, "Locks").
 *
 * The tree decides: each lock is a znode in the directory of the locked file (lock_name.h), and the
 * order of those znodes says who has it (lock_queue.h). A lock owner is an open file (flock, OFD
 * locks) or a process (POSIX locks), as the kernel numbers them.
 *
 * A lock is asked for, and let go, by a `struct lock_done` in the caller's own struct, which may be
 * left at any time; what is under way in the tree then comes to its end without it: a znode that
 * nobody waits for any more is removed. */
#ifndef ZKFS_FS_LOCK_H
#define ZKFS_FS_LOCK_H

#include "fs/handle.h"

struct lock_child;
struct lock_change;
struct lock_file;
struct lock_owner;

enum lock_class { LOCK_FLOCK, LOCK_RANGE };

struct lock_want {
    bool write;
    bool wait;          /* else EAGAIN when somebody else has it */
    int64_t start, end; /* LOCK_RANGE: in bytes, end is in it */
    pid_t pid;          /* who asks, for F_GETLK on this host */
};

/* Called once: errnum is 0 or positive. Not called after lock_leave. May be called from within the
 * function that was given it. */
struct lock_done {
    void (*fn)(struct lock_done *done, int errnum);
    /* The request has its place in the queue of the tree: from now on it may wait for ever. NULL:
     * not of interest. */
    void (*on_queued)(struct lock_done *done);
    struct lock_child *child;   /* what it waits for; NULL: nothing */
    struct lock_change *change; /* likewise */
};

void locks_init(struct fs *fs);
/* After a crash of the worker: makes the locks again that it had, and goes on with what it was
 * about to do to them. Handles have been made. */
void locks_resume(struct fs *fs);
/* The requests that are sent again have been served: what was made for others goes. */
void locks_settle(struct fs *fs);
/* Nothing is started any more: the session is about to end, which releases all. */
void locks_stop(struct fs *fs);
void locks_close(struct fs *fs);

/* Takes or converts. ESTALE when h lost a lock with a session (as for all below); EDEADLK;
 * ENOLCK when the path is too long. */
void lock_acquire(struct handle *h, enum lock_class class, uint64_t owner,
                  const struct lock_want *want, struct lock_done *done);
/* Lets go of the owner's locks on the file of h: of flock's, or of those in the range. done may be
 * NULL. */
void lock_release(struct handle *h, enum lock_class class, uint64_t owner, int64_t start,
                  int64_t end, struct lock_done *done);
/* The caller does not wait any more. A lock that was being acquired is not taken, one that was
 * being released is. No effect when it is not waiting. */
void lock_leave(struct lock_done *done);

/* FLUSH: whether a process has POSIX locks on the inode. */
bool lock_owner_has(struct handle *h, uint64_t owner);
/* RELEASE: everything that was locked through h is let go. */
void lock_handle_closed(struct handle *h);
/* The path of the directory of the locks of h's file, for F_GETLK; false when it is too long. */
bool lock_list_path(struct handle *h, struct buf *out);
/* What of a listing of it conflicts with `want`, as F_GETLK tells it. */
void lock_list_conflict(struct handle *h, uint64_t owner, const struct lock_want *want,
                        const struct jvec *names, struct flock *ret_lock);

/* The fencing token of an exclusive lock that this mount has on the inode; 0: it has none. */
zxid_t lock_fence(struct fs *fs, const struct inode *inode);

#endif
