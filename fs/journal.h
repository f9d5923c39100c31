/* What a frontend has to know after a crash: a memory file (memfd) that the supervisor keeps and
 * the worker maps. It survives the worker, not the supervisor, and never touches a disk.
 *
 * Records are appended; the header's `end` moves behind a record when it is whole, so one that was
 * being written when the worker died does not exist. A record has a type, a key, bytes that never
 * change, and one 64-bit word that can be set in place at any time, with one store. What is dropped
 * is marked, and room is made by copying what lives into another part of the file.
 *
 * Any module may keep records here: add a type below, keep the `ref` that journal_put gives in your
 * own struct, journal_drop it with that struct, and make your state again with journal_each when
 * fs->resumed is true, before the first request is served. Put a record before anybody outside can
 * know what it stands for (before the reply, before the request to the server). With a NULL journal
 * (unit tests) everything here does nothing. */
#ifndef ZKFS_FS_JOURNAL_H
#define ZKFS_FS_JOURNAL_H

#include "common/types.h"

/* The numbers live no longer than one supervisor, whose workers are all the same program. */
enum journal_type {
    JOURNAL_INIT = 1, /* the kernel's INIT request, as it came */
    JOURNAL_SESSION,  /* of the ZooKeeper client */
    JOURNAL_AUTH,     /* a line of the file of -o auth: scheme, NUL, auth */
    JOURNAL_INODE,    /* key nodeid, word lookups */
    JOURNAL_HANDLE,   /* key fh, word version and flags */
    JOURNAL_WRITE,    /* key the FUSE request's unique, word the xid: handed to the server */
    JOURNAL_LOCK,     /* key the number in its name, word the state (lock_journal.c) */
    JOURNAL_OWNED,    /* key a number, word the state (owner.c) */
    JOURNAL_OWN,      /* key the zxid of a write of this mount, word its request's unique, or 0 */
};

/* Numbers that outlive the worker without a record. */
enum journal_counter {
    JOURNAL_NEXT_NODEID,
    JOURNAL_NEXT_FH,
    JOURNAL_NEXT_XID,
    JOURNAL_LAST_ZXID,
    JOURNAL_LOCK_MOUNT, /* what names of locks say of this mount */
    JOURNAL_LAST_LOCK_OWNER,
    JOURNAL_LAST_LOCK,
    JOURNAL_LAST_OWNED,
    JOURNAL_PLAIN_LOCK_DIRS, /* 1: the server has no containers */
    JOURNAL_COUNTERS,
};

/* An answer that gives the kernel something, or tells an error once, from before it is written
 * until it has been: the worker may die between the two. nodeid, fh and told are 0 when it does
 * not. */
struct journal_answer {
    uint64_t unique; /* 0: none */
    uint64_t nodeid;
    uint64_t lookups; /* of the inode, before the answer */
    uint64_t fh;
    uint64_t told; /* the handle whose error (handle.errnum) it is */
};

struct journal_record {
    uint32_t ref;
    enum journal_type type;
    uint64_t key;
    uint64_t word;
    struct slice bytes; /* borrowed until the next journal_put */
};

struct journal;

/* Maps the file, which stays the caller's; an empty one becomes a journal without records. NULL and
 * *ret_why (static) when it is none, or damaged. */
struct journal *journal_open(int fd, const char **ret_why);
/* Unmaps; the records stay in the file. */
void journal_close(struct journal *j);

/* Keeps a record; *ref, 0 at first, names it from then on. A record that *ref names already is
 * replaced: after a crash there is either the old or the new one. Ends the process when the memory
 * cannot be had, like common/mem. */
void journal_put(struct journal *j, uint32_t *ref, enum journal_type type, uint64_t key,
                 uint64_t word, const void *p, size_t size_bytes);
/* No effect when *ref is 0. */
void journal_drop(struct journal *j, uint32_t *ref);
void journal_set_word(struct journal *j, uint32_t ref, uint64_t word);
/* All records of a type, in the order of their last journal_put. fn may drop the one it is given,
 * and put none. */
void journal_each(struct journal *j, enum journal_type type,
                  void (*fn)(void *ctx, const struct journal_record *r), void *ctx);

/* 0 before the first set. */
uint64_t journal_counter(const struct journal *j, enum journal_counter which);
void journal_set_counter(struct journal *j, enum journal_counter which, uint64_t value);

/* Before and after the answer is written. */
void journal_answering(struct journal *j, const struct journal_answer *answer);
void journal_answered(struct journal *j);
struct journal_answer journal_last_answer(const struct journal *j);

/* Bytes of the file, for tests. */
size_t journal_size_bytes(const struct journal *j);

#endif
