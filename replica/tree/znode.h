/* What only the tree's own files see: the shape of a znode and of the tree. A million znodes have
 * to fit (a leaf of a name of up to 16 bytes is one allocation of 128 with malloc's own word), so
 * what only parents or only ephemerals need stands apart. */
#ifndef ZKFS_REPLICA_TREE_ZNODE_H
#define ZKFS_REPLICA_TREE_ZNODE_H

#include "replica/tree/acl_cache.h"
#include "replica/tree/htab.h"
#include "replica/tree/tree.h"

/* What a znode gets with its first child, and keeps. Until then pzxid is its czxid, the rest 0. */
struct family {
    struct znode *first, *last;
    zxid_t pzxid;
    int32_t creates;
    uint32_t count;
};

struct znode {
    struct htab_link link;     /* in tree.by_name; aux: the name's length and ZNODE_EPHEMERAL */
    struct znode *parent;      /* NULL: the root */
    struct znode *next, *prev; /* siblings, by czxid */
    struct family *family;
    struct blob *data; /* NULL: null */
    struct blob *acl;  /* the cache's, counted there */
    zxid_t czxid, mzxid;
    int64_t ctime_ms, mtime_ms;
    int32_t version, aversion;
    uint8_t name[];
};

_Static_assert(sizeof(struct znode) <= 104, "a million znodes have to fit");

#define ZNODE_EPHEMERAL 0x80000000u /* the znode stands inside of a struct ephemeral */
#define ZNODE_NAME_LEN 0x7fffffffu

/* A session that owns ephemerals. It exists as long as there are any. */
struct owner {
    struct htab_link link; /* in tree.owners */
    session_id_t session_id;
    struct ephemeral *first, *last;
};

struct ephemeral {
    struct owner *owner;
    struct ephemeral *next, *prev; /* of the same owner, by czxid */
    struct znode znode;            /* last, for its name */
};

struct tree {
    struct htab by_name;
    struct htab owners;
    struct acl_cache acls;
    struct znode *root;
    zxid_t last_zxid;
    zxid_t fuzzy_until; /* up to here the snapshot may be ahead of the log (tree_load.h) */
    uint64_t data_bytes;
    uint64_t ephemeral_count;
    const char *broken;
    struct tree_walk *walks; /* under way */
    bool digested;           /* somebody asked for the digest: it is kept up to date */
    uint64_t digest;         /* then, the sum of every znode's parts */
};

/* What a new znode is made of; data and acl are borrowed (references are taken). */
struct znode_seed {
    struct slice name;
    struct blob *data;
    struct blob *acl;
    session_id_t owner;
    zxid_t czxid;
    int64_t ctime_ms;
};

struct znode *tree_find_mutable(const struct tree *t, struct slice path);
struct znode *tree_child_mutable(const struct tree *t, const struct znode *parent,
                                 struct slice name);
/* Adds a child that is not there yet. Counters of the parent are the caller's. */
struct znode *tree_add(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                       size_t path_len);
/* Takes a znode without children out and frees it. */
void tree_remove(struct tree *t, struct znode *n, size_t path_len);
void tree_set_data(struct tree *t, struct znode *n, struct blob *data);
void tree_set_acl(struct tree *t, struct znode *n, struct blob *acl);
struct family *znode_family(struct znode *n); /* made when it is not there */
size_t znode_path_len(const struct znode *n); /* not of the root */
/* Writes the path, of that length; not of the root. */
void znode_write_path(const struct znode *n, uint8_t *to, size_t path_len);

/* tree_digest.c: a znode's parts of the digest: its own, and what its children make of it (the
 * count of creations, pzxid, how many there are). Who changes one takes it out of the sum before
 * and puts it in after. The key is the path's. All are 0 as long as nobody wants to know: then they
 * cost nothing.
 */
uint64_t digest_hash_path(struct slice path);
uint64_t digest_hash_own(const struct tree *t, uint64_t key, const struct znode *n);
uint64_t digest_hash_family(uint64_t key, const struct znode *n);

static inline uint64_t digest_key(const struct tree *t, struct slice path) {
    return t->digested ? digest_hash_path(path) : 0;
}
static inline uint64_t digest_own(const struct tree *t, uint64_t key, const struct znode *n) {
    return t->digested ? digest_hash_own(t, key, n) : 0;
}
static inline uint64_t digest_family(const struct tree *t, uint64_t key, const struct znode *n) {
    return t->digested ? digest_hash_family(key, n) : 0;
}
static inline uint64_t digest_znode(const struct tree *t, uint64_t key, const struct znode *n) {
    return digest_own(t, key, n) + digest_family(t, key, n);
}

/* tree_walk.c: n is about to be removed: walks that stand on it step back. */
void tree_walks_leave(struct tree *t, const struct znode *n);

/* ephemeral.c: the owners' lists. */
void ephemeral_attach(struct tree *t, struct ephemeral *e, session_id_t session_id);
void ephemeral_detach(struct tree *t, struct ephemeral *e);
struct owner *ephemeral_owner(const struct tree *t, session_id_t session_id);

static inline bool znode_is_ephemeral(const struct znode *n) {
    return (n->link.aux & ZNODE_EPHEMERAL) != 0;
}

static inline struct ephemeral *znode_ephemeral(const struct znode *n) {
    return (struct ephemeral *)(void *)((char *)(uintptr_t)n - offsetof(struct ephemeral, znode));
}

#endif
