/* The create flags of directories (user.zk.create), as this mount knows them.
 *
 * They are kept in the tree: a child of FLAGS_DIR for each directory that has some, whose data are
 * the words (create_words.h). Its name is the directory's path with `%` and `/` written as `%25`
 * and `%2F`, then `@` and the directory's czxid in hex. The czxid binds flags to the very directory
 * they were given to: what is left over of one that was deleted does not apply to another of the
 * same path, and can be deleted at any time without a race.
 *
 * Every mount holds all of them, kept fresh by a watch on FLAGS_DIR and one on each child. Watch
 * events come before the answers of reads that show what they tell, so what a creation is based on
 * is never older than what this mount has seen: whoever has seen the setxattr's effect obeys it. */
#ifndef ZKFS_FS_FLAGS_H
#define ZKFS_FS_FLAGS_H

#include "fs/call.h"
#include "fs/create_words.h"
#include "fs/name.h"

#define FLAGS_DIR NAME_KEPT "/create"

struct flags;

/* Starts reading them. */
struct flags *flags_new(struct fs *fs);
/* Before zk_close, when all calls have ended; frees. NULL is fine. */
void flags_close(struct flags *f);

/* A creation's question how to create. */
struct flags_ask {
    struct flags *flags; /* NULL: nothing is asked */
    struct call *call;
    struct buf dir; /* its path, escaped */
    struct slice path;
    void (*cb)(struct call *c, const struct create_words *words);
    bool list_seen; /* the list of children was fresh since the question came */
    bool dir_seen;  /* czxid is known */
    bool is_waiting;
    zxid_t czxid;
    struct flags_ask *prev, *next; /* flags->waiting */
};

/* Calls cb with how children of the directory are created, perhaps at once; words is NULL when the
 * directory has no flags. Waits while flags are being read. Ends the call when that fails, or when
 * the flags are not understood. ask is part of the call's own struct, zeroed; path is borrowed
 * until then. */
void flags_ask(struct flags_ask *ask, struct call *c, struct slice path,
               void (*cb)(struct call *c, const struct create_words *words));
/* From the call's on_end. */
void flags_ask_close(struct flags_ask *ask);

/* This directory has been deleted, and its flags go. */
void flags_gone(struct flags *f, struct slice path, zxid_t czxid);

/* The path of the znode that keeps the flags of this directory, appended; false when it is longer
 * than a path may be. */
bool flags_path(struct buf *out, struct slice dir_path, zxid_t czxid);

#endif
