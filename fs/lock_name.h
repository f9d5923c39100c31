/* The names of locks in the tree (docs/fs-semantics.md, "Locks"). Pure.
 *
 * Each locked file has a directory below LOCKS_DIR, named after its czxid and its path. In it each
 * lock, held or waited for, is an ephemeral sequential znode, whose name says all there is to know:
 *
 *   TYPE-MOUNT.OWNER.CHILD-[START-END-[ORDER-]]SEQUENCE
 *
 * TYPE is `read` or `write`. START and END (the last byte) are there for fcntl(2) locks; without
 * them it is flock(2)'s, and the two have nothing to do with each other. ORDER is the sequence
 * number whose place in the queue it took over (lock_change.c). All numbers are hex, but SEQUENCE,
 * which the server gives. `read-SEQUENCE` and `write-SEQUENCE`, as other programs following the
 * recipe make them, count as flock(2)'s. */
#ifndef ZKFS_FS_LOCK_NAME_H
#define ZKFS_FS_LOCK_NAME_H

#include "common/buf.h"
#include "common/types.h"
#include "fs/name.h"

#define LOCKS_DIR NAME_KEPT "/locks"
#define LOCK_END INT64_MAX /* the last byte of a range without an end */

struct lock_entry {
    bool write;
    bool range;
    bool held;          /* not in the name: of this owner's locks, those that it has */
    bool has_order;     /* ORDER is there */
    uint64_t mount;     /* random, of a zkfs process; 0: another program's */
    uint64_t owner;     /* of that mount */
    uint64_t child;     /* of that mount */
    int64_t start, end; /* in bytes, end is in it; of flock's: all */
    int32_t order;      /* ORDER, or SEQUENCE */
    struct slice name;
};

/* Appends the path of the directory of a file's locks. False when it would be longer than a path
 * may be. */
bool lock_name_dir(struct buf *out, struct slice path, zxid_t czxid);
/* Appends the name up to SEQUENCE. */
void lock_name_print(struct buf *out, const struct lock_entry *e);
/* Reads a name; false when it is none of a lock. *ret's name is borrowed. */
bool lock_name_parse(struct slice name, struct lock_entry *ret);

#endif
