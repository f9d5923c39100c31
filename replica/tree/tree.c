#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/znode.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The parent's address is the seed: it is the key's other half, and who picks names so that they
 * collide does not know it. */
static uint32_t hash_of(const struct znode *parent, struct slice name) {
    return (uint32_t)XXH3_64bits_withSeed(name.p, (size_t)name.len, (uint64_t)(uintptr_t)parent);
}

struct znode *tree_child_mutable(const struct tree *t, const struct znode *parent,
                                 struct slice name) {
    if (!parent->family)
        return NULL;
    uint32_t hash = hash_of(parent, name);
    for (struct htab_link *l = htab_chain(&t->by_name, hash); l; l = l->next) {
        struct znode *n = HTAB_ENTRY(l, struct znode, link);
        if (l->hash == hash && n->parent == parent &&
            (l->aux & ZNODE_NAME_LEN) == (uint32_t)name.len &&
            memcmp(n->name, name.p, (size_t)name.len) == 0)
            return n;
    }
    return NULL;
}

struct znode *tree_find_mutable(const struct tree *t, struct slice path) {
    if (path.len < 1 || path.p[0] != '/')
        return NULL;
    const uint8_t *p = path.p + 1;
    const uint8_t *end = path.p + path.len;
    struct znode *n = t->root;
    while (n && p < end) {
        const uint8_t *slash = memchr(p, '/', (size_t)(end - p));
        const uint8_t *stop = slash ? slash : end;
        n = tree_child_mutable(t, n, (struct slice){p, (int32_t)(stop - p)});
        p = stop + 1;
    }
    return n;
}

struct family *znode_family(struct znode *n) {
    if (!n->family) {
        n->family = mem_alloc(sizeof *n->family);
        *n->family = (struct family){.pzxid = n->czxid};
    }
    return n->family;
}

static struct znode *znode_new(struct tree *t, const struct znode_seed *seed) {
    size_t before = seed->owner ? offsetof(struct ephemeral, znode) : 0;
    char *p = mem_alloc(before + sizeof(struct znode) + (size_t)seed->name.len);
    struct znode *n = (struct znode *)(void *)(p + before);
    *n = (struct znode){
        .link = {.aux = (uint32_t)seed->name.len | (seed->owner ? ZNODE_EPHEMERAL : 0)},
        .data = blob_ref(seed->data),
        .acl = acl_cache_use(&t->acls, seed->acl),
        .czxid = seed->czxid,
        .mzxid = seed->czxid,
        .ctime_ms = seed->ctime_ms,
        .mtime_ms = seed->ctime_ms,
    };
    if (seed->name.len > 0)
        memcpy(n->name, seed->name.p, (size_t)seed->name.len);
    if (seed->owner)
        ephemeral_attach(t, znode_ephemeral(n), seed->owner);
    return n;
}

static void znode_free(struct tree *t, struct znode *n) {
    bool is_ephemeral = znode_is_ephemeral(n);
    if (is_ephemeral)
        ephemeral_detach(t, znode_ephemeral(n));
    blob_unref(n->data);
    acl_cache_drop(&t->acls, n->acl);
    mem_free(n->family);
    mem_free(is_ephemeral ? (void *)znode_ephemeral(n) : n);
}

static size_t data_len(const struct znode *n) { return n->data ? n->data->len : 0; }

struct znode *tree_add(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                       size_t path_len) {
    struct family *f = znode_family(parent);
    struct znode *n = znode_new(t, seed);
    n->parent = parent;
    /* Always at the end, but for a replay over a fuzzy snapshot that has later ones already. */
    struct znode *before = f->last;
    while (before && before->czxid > n->czxid)
        before = before->prev;
    n->prev = before;
    n->next = before ? before->next : f->first;
    *(n->prev ? &n->prev->next : &f->first) = n;
    *(n->next ? &n->next->prev : &f->last) = n;
    f->count++;
    n->link.hash = hash_of(parent, seed->name);
    htab_insert(&t->by_name, &n->link);
    t->data_bytes += path_len + data_len(n);
    return n;
}

void tree_remove(struct tree *t, struct znode *n, size_t path_len) {
    CHECK(n->parent);
    CHECK(znode_child_count(n) == 0);
    if (t->walks)
        tree_walks_leave(t, n);
    struct family *f = n->parent->family;
    *(n->prev ? &n->prev->next : &f->first) = n->next;
    *(n->next ? &n->next->prev : &f->last) = n->prev;
    f->count--;
    htab_remove(&t->by_name, &n->link);
    t->data_bytes -= path_len + data_len(n);
    znode_free(t, n);
}

void tree_set_data(struct tree *t, struct znode *n, struct blob *data) {
    t->data_bytes -= data_len(n);
    struct blob *old = n->data;
    n->data = blob_ref(data);
    blob_unref(old);
    t->data_bytes += data_len(n);
}

void tree_set_acl(struct tree *t, struct znode *n, struct blob *acl) {
    struct blob *old = n->acl;
    n->acl = acl_cache_use(&t->acls, acl);
    acl_cache_drop(&t->acls, old);
}

static struct znode *add_builtin(struct tree *t, struct znode *parent, const char *name,
                                 struct blob *acl, size_t path_len) {
    struct blob *empty = blob_new(NULL, 0);
    struct znode_seed seed = {.name = slice_from_str(name), .data = empty, .acl = acl};
    struct znode *n = parent ? tree_add(t, parent, &seed, path_len) : znode_new(t, &seed);
    blob_unref(empty);
    return n;
}

/* What a fresh Apache server 3.8 has, with its Stats: nothing is counted as a creation (so that the
 * cversions shown are -1 and -2), and only the configuration is not everybody's, with the aversion
 * -1. */
struct tree *tree_new(void) {
    struct tree *t = mem_zalloc(sizeof *t);
    htab_init(&t->by_name);
    htab_init(&t->owners);
    acl_cache_init(&t->acls);
    const char *why = NULL;
    struct blob *read_only = acl_parse(slice_from_str("world:anyone:r"), &why);
    CHECK(read_only);
    t->root = add_builtin(t, NULL, "", t->acls.open, 0);
    t->data_bytes = 1; /* "/" */
    struct znode *system = add_builtin(t, t->root, "zookeeper", t->acls.open, 10);
    add_builtin(t, system, "quota", t->acls.open, 16);
    add_builtin(t, system, "config", read_only, 17)->aversion = -1;
    blob_unref(read_only);
    return t;
}

static void free_below(struct tree *t, struct znode *top) {
    struct znode *n = top;
    while (top->family && top->family->first) {
        while (n->family && n->family->first)
            n = n->family->first;
        struct znode *parent = n->parent;
        tree_remove(t, n, 0); /* data_bytes is of no use any more */
        n = parent;
    }
}

void tree_free(struct tree *t) {
    if (!t)
        return;
    CHECK(!t->walks);
    free_below(t, t->root);
    znode_free(t, t->root);
    htab_close(&t->by_name);
    htab_close(&t->owners);
    acl_cache_close(&t->acls);
    mem_free(t);
}

const struct znode *tree_find(const struct tree *t, struct slice path) {
    CHECK(!t->broken);
    return tree_find_mutable(t, path);
}

const struct znode *tree_child(const struct tree *t, const struct znode *parent,
                               struct slice name) {
    return tree_child_mutable(t, parent, name);
}

zxid_t tree_last_zxid(const struct tree *t) { return t->last_zxid; }
uint64_t tree_znode_count(const struct tree *t) { return t->by_name.count + 1; }
uint64_t tree_data_bytes(const struct tree *t) { return t->data_bytes; }
uint64_t tree_ephemeral_count(const struct tree *t) { return t->ephemeral_count; }

void znode_stat(const struct znode *n, struct zstat *ret_stat) {
    *ret_stat = (struct zstat){
        .czxid = n->czxid,
        .mzxid = n->mzxid,
        .ctime_ms = n->ctime_ms,
        .mtime_ms = n->mtime_ms,
        .version = n->version,
        /* It wraps around, as Java's int does. */
        .cversion = (int32_t)(2u * (uint32_t)znode_creates(n) - znode_child_count(n)),
        .aversion = n->aversion,
        .ephemeral_owner = znode_owner(n),
        .data_length = (int32_t)data_len(n),
        .num_children = (int32_t)znode_child_count(n),
        .pzxid = n->family ? n->family->pzxid : n->czxid,
    };
}

const struct blob *znode_data(const struct znode *n) { return n->data; }
struct blob *znode_acl(const struct znode *n) {
    return n->acl;
}
struct slice znode_name(const struct znode *n) {
    return (struct slice){n->name, (int32_t)(n->link.aux & ZNODE_NAME_LEN)};
}
const struct znode *znode_parent(const struct znode *n) { return n->parent; }
uint32_t znode_child_count(const struct znode *n) { return n->family ? n->family->count : 0; }
int32_t znode_creates(const struct znode *n) { return n->family ? n->family->creates : 0; }
session_id_t znode_owner(const struct znode *n) {
    return znode_is_ephemeral(n) ? znode_ephemeral(n)->owner->session_id : 0;
}
const struct znode *znode_first_child(const struct znode *n) {
    return n->family ? n->family->first : NULL;
}
const struct znode *znode_next_sibling(const struct znode *n) { return n->next; }

size_t znode_path_len(const struct znode *n) {
    size_t len = 0;
    for (const struct znode *at = n; at->parent; at = at->parent)
        len += 1 + (size_t)znode_name(at).len;
    return len;
}

void znode_write_path(const struct znode *n, uint8_t *to, size_t path_len) {
    uint8_t *p = to + path_len;
    for (const struct znode *at = n; at->parent; at = at->parent) {
        struct slice name = znode_name(at);
        p -= name.len;
        memcpy(p, name.p, (size_t)name.len);
        *--p = '/';
    }
}

struct blob *znode_path(const struct znode *n) {
    if (!n->parent)
        return blob_new("/", 1);
    size_t len = znode_path_len(n);
    uint8_t *bytes = mem_alloc(len);
    znode_write_path(n, bytes, len);
    struct blob *path = blob_new(bytes, len);
    mem_free(bytes);
    return path;
}
