/* Reading a small subtree, to move it: every znode with its Stat, data and ACL, parents before
 * children. Each is read by itself, so that what was read is not of one moment: who uses it makes
 * his change conditional on the versions (op_rename.c).
 *
 * A version does not tell a znode from one that was deleted and made again meanwhile. So at the end
 * directories can be looked at once more: their lists of children have to be those that were read.
 * A change that is sent as soon as the answers are there is then behind nothing that this mount did
 * in between; what others do in the time of one request is not seen. */
#ifndef ZKFS_FS_SUBTREE_H
#define ZKFS_FS_SUBTREE_H

#include "common/buf.h"
#include "fs/call.h"

/* What one rename moves: each is two operations in one transaction, and a request each to read. */
#define SUBTREE_MAX 128

enum subtree_depth {
    SUBTREE_ROOT, /* the root alone, without its ACL */
    SUBTREE_WHOLE,
};

enum subtree_result {
    SUBTREE_READ,
    SUBTREE_FAILED,  /* `err` says why */
    SUBTREE_CHANGED, /* a znode went while the others were read: read again */
    SUBTREE_TOO_BIG, /* more than SUBTREE_MAX znodes, or than one request can carry; the root is
                        read */
};

struct subtree_znode {
    struct buf path;
    struct zstat stat;
    struct blob *value;  /* NULL: null data */
    struct blob *acl;    /* NULL: it may not be read */
    struct buf new_path; /* the mover's own */
};

struct subtree {
    struct call *call;
    void (*done)(struct call *c);
    enum subtree_depth depth;
    enum subtree_result result;
    int err; /* enum zk_err of the znode that could not be read; of the root when count is 0 */
    struct subtree_znode *at; /* the root first */
    size_t count;             /* read so far, the one under way not among them */
    size_t known;             /* those whose path is known */
    size_t bytes;             /* of their paths, values and ACLs */
    unsigned waiting;
    int read_err;
    struct subtree_look *looks; /* the last look at each directory */
    size_t look_count;
    bool differs; /* one of them was not as it was read */
};

struct subtree_look {
    struct subtree *st;
    size_t at;
    uint64_t token;
};

/* Reads the subtree at `path` (copied); then `done`, and `result` says what came of it. At most two
 * of the call's operations are under way at a time. The subtree is part of the call's own struct,
 * zeroed before its first use, and can be read again. */
void subtree_read(struct subtree *st, struct call *c, struct slice path, enum subtree_depth depth,
                  void (*done)(struct call *c));
/* Looks at the root and each directory that has children once more, in requests that go out
 * together; then `done`. `result` is SUBTREE_READ, FAILED or CHANGED. */
void subtree_look_again(struct subtree *st, void (*done)(struct call *c));
/* Adds a znode of which an earlier worker had read this; of the rest of its Stat nothing is known.
 */
void subtree_recall(struct subtree *st, struct slice path, int32_t version);
void subtree_close(struct subtree *st);

static inline struct slice subtree_path(const struct subtree_znode *z) {
    return (struct slice){z->path.data, (int32_t)z->path.len};
}

#endif
