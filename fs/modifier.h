/* The words between `.zk/` and PATH: what a view does to the tree (DESIGN section 2, "Views").
 * Pure.
 *
 * A modifier is a word, or a few, each a directory of its own; some take an argument, which is
 * one more. A new one needs a line in the table of modifier.c, and its behaviour where view.h's
 * functions decide. */
#ifndef ZKFS_FS_MODIFIER_H
#define ZKFS_FS_MODIFIER_H

#include "common/buf.h"
#include "common/types.h"
#include "fs/create_words.h"

enum modifier_kind {
    MODIFIER_NONE, /* the tree itself */
    MODIFIER_TOP,  /* `.zk` */
    /* Directories on the way to one. */
    MODIFIER_WAIT,
    MODIFIER_NEWER_THAN,
    MODIFIER_VERSION_IS,
    MODIFIER_CREATE,
    /* With PATH behind them, that need not exist. */
    MODIFIER_WATCH,
    MODIFIER_EVENTS,
    MODIFIER_PRESENT,
    MODIFIER_ABSENT,
    MODIFIER_NEWER, /* arg: the version */
    /* With the tree behind them. */
    MODIFIER_VERSION, /* arg: the version */
    MODIFIER_SYNC,
    MODIFIER_CREATE_AS, /* arg: the words (modifier_create_words) */
    /* Files. */
    MODIFIER_SESSION,
    MODIFIER_ENSEMBLE,
    MODIFIER_COUNT,
};

struct modifier {
    enum modifier_kind kind;
    int64_t arg;
};

#define MODIFIER_OF_TREE ((struct modifier){MODIFIER_NONE, 0})

enum modifier_type {
    MODIFIER_IS_GROUP,  /* a directory of modifiers */
    MODIFIER_IS_STREAM, /* the tree of streams: every path is there */
    MODIFIER_IS_TREE,   /* the tree itself, on some condition */
    MODIFIER_IS_REPORT, /* a file */
};

enum modifier_type modifier_type(struct modifier m);
/* What `name` means in the group m; false when nothing. */
bool modifier_read(struct modifier m, const char *name, struct modifier *ret);
/* How znodes are made behind MODIFIER_CREATE_AS. */
struct create_words modifier_create_words(struct modifier m);
/* The nth name that is listed in m, NULL behind the last: those of groups, without the ones that
 * take the place of an argument. */
const char *modifier_listed(struct modifier m, size_t n);
/* Appends the whole of it: `.zk/wait/newer/5`; nothing for the tree itself. */
void modifier_put(struct buf *out, struct modifier m);

#endif
