/* What the lock*.c files share; nobody else includes it.
 *
 *   lock.c         what others call; files and owners; an expired session
 *   lock_child.c   one lock's znode, from its creation to its removal
 *   lock_change.c  an owner's locks replaced by others in one transaction
 *   lock_journal.c what outlives a crash of the worker
 */
#ifndef ZKFS_FS_LOCK_STATE_H
#define ZKFS_FS_LOCK_STATE_H

#include "fs/lock.h"
#include "fs/lock_queue.h"

struct locks {
    struct fs *fs;
    struct lock_file *files; /* by the path of its directory */
    struct zk_listener listener;
    uint64_t mount; /* random: this mount, over its workers, in names */
    uint64_t last_owner, last_child;
    uint64_t session;   /* counts expired sessions */
    bool no_containers; /* the server has none */
    bool stopped;
    struct lock_retry *retries; /* in order */
    uv_timer_t retry_timer;
};

/* What has failed and may end otherwise in a moment. */
struct lock_retry {
    void (*fn)(struct lock_retry *retry);
    struct lock_retry *prev, *next;
    bool is_postponed;
};

struct lock_file {
    UT_hash_handle hh;
    struct locks *locks;
    struct buf dir; /* path of its directory of locks */
    uint32_t refs;  /* of handles, owners and changes */
    struct lock_owner *owners;
};

/* Whoever wants an owner's locks to stay as they are for a while; in order. */
struct lock_turn {
    void (*fn)(struct lock_turn *turn);
    struct lock_turn *prev, *next;
    bool queued;
};

struct lock_owner {
    struct lock_file *file; /* referenced */
    enum lock_class class;
    uint64_t id;     /* the kernel's */
    uint64_t number; /* ours, in names */
    uint32_t refs;   /* of children and changes, and while one of its functions is at work */
    struct handle **handles; /* through which it has locked: they are told of a loss */
    size_t handle_count;
    struct lock_child *children;
    struct lock_change *changes;
    struct lock_turn *turns; /* the first one has it */
    struct lock_owner *prev, *next;
};

/* One lock.
 *
 *   MAKING ──created──> QUEUED ──turn──> ASKING ──granted──> HELD ──released──> DROPPING ─> gone
 *     ^ │ answer lost                     │   ^                                    ^
 *     │ v                      predecessor│   │its end                             │
 *   FINDING (is it there?)                v   │                                    │
 *                                         WAITING ────────── left ─────────────────┘
 *
 * A session that expires sends QUEUED, ASKING and WAITING back to MAKING, and ends HELD. PLANNED is
 * what a change (lock_change.c) is about to make, and becomes HELD. */
enum lock_state {
    LOCK_PLANNED,
    LOCK_MAKING,
    LOCK_FINDING,
    LOCK_QUEUED,
    LOCK_ASKING,
    LOCK_WAITING,
    LOCK_HELD,
    LOCK_DROPPING,
};

struct lock_child {
    struct lock_owner *owner;
    struct lock_child *prev, *next; /* owner->children */
    enum lock_state state;
    struct lock_entry entry; /* as in its name; entry.name is not set */
    struct buf path;         /* up to SEQUENCE, whole once it is made */
    zxid_t fence;            /* the zxid that made it, or what it took the place of */
    uint64_t session;        /* as locks->session when it was made */
    struct handle *handle;   /* through which it was asked for; NULL: closed */
    bool wait;
    bool was_queued; /* it had its place before: it does not give up for want of a server */
    pid_t pid;
    struct lock_done *done; /* who waits; NULL: nobody, and it is to be removed unless it is HELD */
    int errnum;             /* what `done` is told when it is gone */
    unsigned rounds;        /* of making its directory */
    uint64_t token;         /* of a read; 0 none */
    uint32_t kept;          /* the journal's record; 0 none */
    uint32_t going;         /* HELD: a change takes it away, with so many in all; 0: none does */
    bool is_left;           /* by an earlier worker: the request that it was made for takes it over
                               when the kernel sends that again (lock_journal.c) */
    struct zk_watcher watcher;
    struct lock_turn turn;
    struct lock_retry retry;
};

/* lock.c */
/* The path of a lock of this name, in place of what was in out. */
void lock_path(struct buf *out, const struct lock_file *file, struct slice name);
/* Calls retry->fn in a moment. No effect when it is postponed already. */
void lock_retry_later(struct locks *locks, struct lock_retry *retry);
/* Forgets it. */
void lock_retry_drop(struct locks *locks, struct lock_retry *retry);
void lock_turn_take(struct lock_owner *owner, struct lock_turn *turn);
/* It has the turn, or waits for it; the next one has it before this returns. */
void lock_turn_leave(struct lock_owner *owner, struct lock_turn *turn);
/* `to` takes the place of `from`. */
void lock_turn_pass(struct lock_owner *owner, struct lock_turn *from, struct lock_turn *to);
struct lock_owner *lock_owner_ref(struct lock_owner *owner);
void lock_owner_unref(struct lock_owner *owner);
/* h has got a lock of the owner's. False when it is known already; else lock_owner_keep is due. */
bool lock_owner_add_handle(struct lock_owner *owner, struct handle *h);
/* The owner's locks are gone: its handles are told with their next operations. */
void lock_owner_lost(struct lock_owner *owner);
/* Whether each byte of the range is locked by the owner, to read or to write (`either`: or). */
bool lock_owner_covers(const struct lock_owner *owner, bool write, bool either, int64_t start,
                       int64_t end);
/* Whether a write that failed so was surely not done, and may be done another time. */
bool lock_is_undone(int zk_err);

/* The file of the directory of locks `dir`, and an owner of it; made where there is none. Of the
 * owner a reference is taken. */
struct lock_file *lock_file_at(struct locks *locks, struct slice dir);
struct lock_owner *lock_owner_take(struct lock_file *file, enum lock_class class, uint64_t id);

/* lock_journal.c */
/* Keeps the child as it is, before anybody can know of it. */
void lock_child_keep(struct lock_child *child);
void lock_child_set(struct lock_child *child, enum lock_state state);
/* Keeps the owner's children anew: another handle is to be told of their loss. */
void lock_owner_keep(struct lock_owner *owner);
/* What an earlier worker made for a request like this one; NULL: nothing. */
struct lock_child *lock_child_left(struct lock_owner *owner, const struct lock_want *want);

/* lock_child.c */
/* Without a number; for lock_journal.c. */
struct lock_child *lock_child_bare(struct lock_owner *owner, const struct lock_entry *like);
/* Takes the place of the request that the child was made for. Its done may be called. */
void lock_child_adopt(struct lock_child *child);
/* Looks whether its znode was made. */
void lock_child_find(struct lock_child *child);
/* In the state PLANNED, with a number of its own. */
struct lock_child *lock_child_new(struct lock_owner *owner, const struct lock_entry *like);
void lock_child_free(struct lock_child *child);
/* Asks the tree for it. */
void lock_child_make(struct lock_child *child);
/* Removes it; `done` hears of it when it is gone, with child->errnum. */
void lock_child_drop(struct lock_child *child);
/* `done` has left. */
void lock_child_leave(struct lock_child *child);
/* The session has expired, with the child's znode in it. */
void lock_child_expired(struct lock_child *child);
/* The znode's whole path, as the server gave it. */
void lock_child_named(struct lock_child *child, struct slice path);
/* Where in a list (lock_read_list) the child stands; count when it does not. */
size_t lock_child_place(const struct lock_child *child, const struct lock_entry *list,
                        size_t count);
/* Reads a listing of the file's locks, as owner (NULL: anybody) sees it; the caller frees
 * *ret_list. Names are borrowed. */
size_t lock_read_list(struct lock_owner *owner, const struct jvec *names,
                      struct lock_entry **ret_list);

/* lock_change.c */
/* child has been granted with this place in the queue, and has the turn, which is given back when
 * what it overlaps has been replaced: at once when there is nothing. */
void lock_change_granted(struct lock_child *child, int32_t order);
/* When the owner's turn comes: the range is free of its locks, or (downgrade) only read-locked.
 * done may be NULL. */
void lock_change_start(struct lock_owner *owner, bool downgrade, int64_t start, int64_t end,
                       struct lock_done *done);
void lock_change_leave(struct lock_change *change);
/* Goes on with the change that an earlier worker had at the server: its going and planned children.
 */
void lock_change_resume(struct lock_owner *owner);
/* The mount has ended. */
void lock_changes_free(struct lock_owner *owner);

#endif
