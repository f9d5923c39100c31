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
    uint64_t part; /* the znode's, that has no room for it any more */
};

struct znode {
    struct htab_link link;     /* in tree.by_name; aux: the name's length and ZNODE_* */
    struct znode *parent;      /* NULL: the root */
    struct znode *next, *prev; /* siblings, by czxid */
    union {
        struct family *family; /* with ZNODE_FAMILY */
        uint64_t part;         /* without: tree_digest.c's, here or in the family */
    };
    struct blob *data; /* NULL: null */
    struct blob *acl;  /* the cache's, counted there */
    zxid_t czxid, mzxid;
    int64_t ctime_ms, mtime_ms;
    int32_t version, aversion;
    uint8_t name[];
};

_Static_assert(sizeof(struct znode) <= 104, "a million znodes have to fit");

#define ZNODE_EPHEMERAL 0x80000000u /* the znode stands inside of a struct ephemeral */
#define ZNODE_FAMILY 0x40000000u    /* it has a struct family */
#define ZNODE_EXTENDED 0x20000000u  /* the znode stands inside of a struct extended */
#define ZNODE_NAME_LEN 0x1fffffffu

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

/* A container or a TTL znode. */
struct extended {
    session_id_t owner;           /* what ephemeralOwner says */
    struct extended *next, *prev; /* all of them, in order of coming into this tree */
    struct znode znode;           /* last, for its name */
};

/* tree_scrub.c: where the round is. */
struct scrub {
    struct znode *at; /* verified last; NULL: a round begins */
    bool below_done;  /* what is below `at` was verified as well */
    uint64_t rounds;
    uint8_t *path; /* room for one */
    size_t path_cap;
};

/* tree_load.c: where a snapshot that is being loaded is. */
struct loading {
    struct znode *at;     /* loaded last; NULL: none */
    struct znode *parent; /* its parent, and that one's key */
    uint64_t parent_key;
    struct znode *waiting, *last; /* not in by_name yet, by link.next */
    uint64_t waiting_count;
    uint8_t *path; /* of `at`; the parent's is its beginning */
    size_t path_len, parent_len, path_cap;
    const char *failed; /* for good */
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
    struct extended *extended_first, *extended_last;
    uint64_t extended_count;
    struct extended *extended_at; /* what tree_next_extended gives next; NULL: the end */
    const char *broken;
    struct tree_walk *walks; /* under way */
    uint64_t digest;         /* the sum of every znode's part */
    char *altered;           /* the path of the first znode that was found to be */
    struct scrub scrub;
    struct loading loading;
};

/* What a new znode is made of; data and acl are borrowed (references are taken). */
struct znode_seed {
    struct slice name;
    struct blob *data;
    struct blob *acl;
    session_id_t owner;
    zxid_t czxid;
    int64_t ctime_ms;
    uint32_t hash; /* tree_hash of parent and name */
};

/* Where a child of that name stands in by_name. */
uint32_t tree_hash(const struct znode *parent, struct slice name);
struct znode *tree_find_mutable(const struct tree *t, struct slice path);
/* The child of that name, with its hash; NULL when there is none. */
struct znode *tree_child_hashed(const struct tree *t, const struct znode *parent, struct slice name,
                                uint32_t hash);
struct znode *tree_child_mutable(const struct tree *t, const struct znode *parent,
                                 struct slice name);
/* Adds a child that is not there yet. Counters of the parent are the caller's. */
struct znode *tree_add(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                       size_t path_len);
/* The same, but that it is not found yet: by_name is the caller's as well. */
struct znode *tree_add_unfound(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                               size_t path_len);
/* Takes a znode without children out and frees it. */
void tree_remove(struct tree *t, struct znode *n, size_t path_len);
void tree_set_data(struct tree *t, struct znode *n, struct blob *data);
void tree_set_acl(struct tree *t, struct znode *n, struct blob *acl);
struct family *znode_make_family(struct znode *n); /* the one that is there, if it is */
size_t znode_path_len(const struct znode *n);      /* not of the root */
/* Writes the path, of that length; not of the root. */
void znode_write_path(const struct znode *n, uint8_t *to, size_t path_len);

/* tree_digest.c. Each znode keeps its part of the digest, which is its checksum at the same time:
 * of its path, its own values, and what its children make of it (the count of creations, pzxid, how
 * many there are). Who changes a znode's own values takes its part out of the digest before, which
 * verifies it, and puts the new one in. */
uint64_t digest_take(struct tree *t, struct slice path, const struct znode *n); /* the path's key */
void digest_put(struct tree *t, uint64_t key, struct znode *n);
/* Who changes only the family asks for its share before and after, and adds the difference: so a
 * creation below a znode with a megabyte of data does not read that. The key is the path's. */
uint64_t digest_key(struct slice path);
uint64_t digest_family(uint64_t key, const struct znode *n);
void digest_add(struct tree *t, struct znode *n, uint64_t difference);
/* Whether the znode is what its part says. */
bool digest_fits(const struct tree *t, struct slice path, const struct znode *n);

/* tree_load.c: whether tree_load_end is still to come. */
static inline bool tree_is_loading(const struct tree *t) {
    return t->loading.waiting || t->loading.failed;
}

/* tree_scrub.c: the first such path is kept. */
void tree_note_altered(struct tree *t, struct slice path);
/* n is about to be removed: the scrub that stands on it steps back. */
void tree_scrub_leave(struct tree *t, const struct znode *n);

/* tree_walk.c: n is about to be removed: walks that stand on it step back. */
void tree_walks_leave(struct tree *t, const struct znode *n);

/* ephemeral.c: the owners' lists. */
void ephemeral_attach(struct tree *t, struct ephemeral *e, session_id_t session_id);
void ephemeral_detach(struct tree *t, struct ephemeral *e);
struct owner *ephemeral_owner(const struct tree *t, session_id_t session_id);

/* extended.c: the list of containers and TTL znodes. */
void extended_attach(struct tree *t, struct extended *e, session_id_t owner);
void extended_detach(struct tree *t, struct extended *e);

static inline bool znode_is_ephemeral(const struct znode *n) {
    return (n->link.aux & ZNODE_EPHEMERAL) != 0;
}

static inline bool znode_is_extended(const struct znode *n) {
    return (n->link.aux & ZNODE_EXTENDED) != 0;
}

/* NULL: it never had a child. */
static inline struct family *znode_family(const struct znode *n) {
    return n->link.aux & ZNODE_FAMILY ? n->family : NULL;
}

static inline struct znode *znode_first(const struct znode *n) {
    struct family *f = znode_family(n);
    return f ? f->first : NULL;
}

static inline struct ephemeral *znode_ephemeral(const struct znode *n) {
    return (struct ephemeral *)(void *)((char *)(uintptr_t)n - offsetof(struct ephemeral, znode));
}

static inline struct extended *znode_extended(const struct znode *n) {
    return (struct extended *)(void *)((char *)(uintptr_t)n - offsetof(struct extended, znode));
}

#endif
