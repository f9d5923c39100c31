/* The kernel's inodes. A nodeid stands for one znode in one shape, seen through one view:
 * (path, kind, czxid, modifier). A znode
 * that turns from a file into a directory, or that was deleted and made again, gets a new nodeid,
 * because the kernel marks an inode bad when its type changes (FUSE.md, section 11).
 *
 * An inode lives as long as the kernel has looked it up more often than forgotten it, a handle is
 * open on it, or a call works on it. Its path follows a rename(2) made through this mount. */
#ifndef ZKFS_FS_INODE_H
#define ZKFS_FS_INODE_H

#include <sys/stat.h>

#include "common/hash.h"
#include "common/types.h"
#include "common/zstat.h"
#include "fs/modifier.h"

enum inode_kind {
    INODE_DIR,
    INODE_FILE,
    INODE_DATA, /* `.data` of the directory at `path` */
    /* Below `.zk`, and nothing that the server has (view.h). */
    INODE_VIEW_DIR,
    INODE_VIEW_FILE,
};

/* What is known of a znode's data. A Stat cannot tell null from empty: both have length 0. */
enum nullness { DATA_UNKNOWN, DATA_THERE, DATA_NULL };

struct fs;
struct handle;
struct journal;

struct inode {
    uint64_t nodeid;
    uint64_t lookups; /* the kernel's */
    uint32_t refs;    /* of handles and calls */
    enum inode_kind kind;
    struct modifier modifier; /* of the view that it is seen through */
    zxid_t czxid;
    uint32_t moves;     /* how often its path changed (inode_move) */
    zxid_t moved_by;    /* of the rename that was the last to do so; 0: none has */
    struct zstat stat;  /* as last seen */
    enum nullness data; /* of that version */
    pid_t maker; /* of a directory: who made it, until it makes `.data`; 0 (op_data_is_new) */
    struct handle *handles; /* open on it, doubly linked */
    uint32_t kept;          /* the journal's record, from the first lookup on; 0 none */
    uint8_t *key;           /* kind, czxid, modifier, path */
    uint32_t key_len;
    UT_hash_handle by_id;
    UT_hash_handle by_key;               /* of the first of those with the same key */
    struct inode *same_prev, *same_next; /* all of them, in order */
    struct inode *view_prev, *view_next; /* inode_table.viewed */
};

struct inode_table {
    struct inode *by_id;
    struct inode *by_key;
    struct inode *viewed; /* znodes seen through a view */
    uint64_t next_id;
    struct inode *root;
    struct journal *journal; /* keeps what the kernel knows; NULL: nothing is kept */
};

/* Makes the table with its root inode, a directory at `root_path`, which is never freed before. */
void inode_table_init(struct inode_table *t, struct slice root_path);
/* Frees all inodes; no handle may be open. */
void inode_table_close(struct inode_table *t);
/* Makes the inodes that the kernel got from earlier workers; right after inode_table_init. The
 * journal keeps this table from then on. */
void inode_table_resume(struct inode_table *t, struct journal *journal);
size_t inode_count(const struct inode_table *t);

/* NULL when the kernel never got this nodeid or has forgotten it. */
struct inode *inode_find(struct inode_table *t, uint64_t nodeid);
/* The inode for this znode in this shape, made when there is none; remembers what was seen. The
 * caller either counts a lookup (inode_looked_up) or takes a reference. */
struct inode *inode_get(struct inode_table *t, struct slice path, enum inode_kind kind,
                        const struct zstat *stat, enum nullness data);
/* The same, seen through a view. */
struct inode *inode_get_view(struct inode_table *t, struct modifier modifier, struct slice path,
                             enum inode_kind kind, const struct zstat *stat, enum nullness data);
/* Remembers what was seen of the inode's znode; what is known of this version already is not
 * forgotten for DATA_UNKNOWN. */
void inode_see(struct inode *inode, const struct zstat *stat, enum nullness data);
/* The first of those that stand for this znode in this shape in the tree itself, and by same_next
 * the others; NULL: none does. There are more when a rename has put one in the place of another. */
struct inode *inode_first(const struct inode_table *t, struct slice path, enum inode_kind kind,
                          zxid_t czxid);
/* What is remembered of the data of this very version of a znode. */
enum nullness inode_recall(const struct inode_table *t, struct slice path,
                           const struct zstat *stat);
/* Whether a descriptor of this mount is open on the znode in this shape. */
bool inode_is_open(const struct inode_table *t, struct slice path, enum inode_kind kind,
                   zxid_t czxid);
void inode_looked_up(struct inode_table *t, struct inode *inode);
void inode_forget(struct inode_table *t, struct inode *inode, uint64_t count);
struct inode *inode_ref(struct inode *inode);
void inode_unref(struct inode_table *t, struct inode *inode);
/* rename(2), by the transaction `zxid`: the inode stands for the znode `czxid` at `path` from now
 * on. */
void inode_move(struct inode_table *t, struct inode *inode, struct slice path, zxid_t czxid,
                zxid_t zxid);

/* Borrowed until the inode is moved or freed. */
struct slice inode_path(const struct inode *inode);

/* The rule of DESIGN section 2: a directory is a znode that has children or whose data is null, as
 * that of one without length counts that may not be read. */
enum inode_kind inode_kind_of(const struct zstat *stat, enum nullness data);

/* An inode that a view has made, and that no znode is behind. */
static inline bool inode_is_view(const struct inode *inode) {
    return inode->kind == INODE_VIEW_DIR || inode->kind == INODE_VIEW_FILE;
}
static inline bool inode_is_dir(const struct inode *inode) {
    return inode->kind == INODE_DIR || inode->kind == INODE_VIEW_DIR;
}
/* Added to st_ino, so that no tool takes a file for the same one seen through a view; 0 for the
 * tree itself. */
uint64_t inode_view_salt(struct modifier modifier);

/* struct stat for a znode of this shape. */
void inode_attr(const struct fs *fs, struct slice path, enum inode_kind kind,
                const struct zstat *stat, struct stat *ret_attr);

#endif
