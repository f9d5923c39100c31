#include "common/acl.h"
#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/znode.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The parent's address is the seed: it is the key's other half, and who picks names so that they
 * collide does not know it. */
uint32_t tree_hash(const struct znode *parent, struct slice name) {
    return (uint32_t)XXH3_64bits_withSeed(name.p, (size_t)name.len, (uint64_t)(uintptr_t)parent);
}

struct znode *tree_child_hashed(const struct tree *t, const struct znode *parent, struct slice name,
                                uint32_t hash) {
    for (struct htab_link *l = htab_chain(&t->by_name, hash); l; l = l->next) {
        struct znode *n = HTAB_ENTRY(l, struct znode, link);
        if (l->hash == hash && n->parent == parent &&
            (l->aux & ZNODE_NAME_LEN) == (uint32_t)name.len &&
            memcmp(n->name, name.p, (size_t)name.len) == 0)
            return n;
    }
    return NULL;
}

struct znode *tree_child_mutable(const struct tree *t, const struct znode *parent,
                                 struct slice name) {
    if (!(parent->link.aux & ZNODE_FAMILY))
        return NULL;
    return tree_child_hashed(t, parent, name, tree_hash(parent, name));
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

struct family *znode_make_family(struct znode *n) {
    if (!(n->link.aux & ZNODE_FAMILY)) {
        struct family *f = mem_alloc(sizeof *f);
        *f = (struct family){.pzxid = n->czxid, .part = n->part};
        n->family = f;
        n->link.aux |= ZNODE_FAMILY;
    }
    return n->family;
}

/* What the struct that the znode stands in has before it. */
static size_t room_before(uint32_t aux) {
    if (aux & ZNODE_EPHEMERAL)
        return offsetof(struct ephemeral, znode);
    return aux & ZNODE_EXTENDED ? offsetof(struct extended, znode) : 0;
}

static uint32_t owner_flag(session_id_t owner) {
    if (ephemeral_is_extended(owner))
        return ZNODE_EXTENDED;
    return owner ? ZNODE_EPHEMERAL : 0;
}

static struct znode *znode_new(struct tree *t, const struct znode_seed *seed) {
    uint32_t flag = owner_flag(seed->owner);
    size_t before = room_before(flag);
    char *p = mem_alloc(before + sizeof(struct znode) + (size_t)seed->name.len);
    struct znode *n = (struct znode *)(void *)(p + before);
    *n = (struct znode){
        .link = {.aux = (uint32_t)seed->name.len | flag},
        .data = blob_ref(seed->data),
        .acl = acl_cache_use(&t->acls, seed->acl),
        .czxid = seed->czxid,
        .mzxid = seed->czxid,
        .ctime_ms = seed->ctime_ms,
        .mtime_ms = seed->ctime_ms,
    };
    if (seed->name.len > 0)
        memcpy(n->name, seed->name.p, (size_t)seed->name.len);
    if (znode_is_ephemeral(n))
        ephemeral_attach(t, znode_ephemeral(n), seed->owner);
    if (znode_is_extended(n))
        extended_attach(t, znode_extended(n), seed->owner);
    return n;
}

static void znode_free(struct tree *t, struct znode *n) {
    if (znode_is_ephemeral(n))
        ephemeral_detach(t, znode_ephemeral(n));
    if (znode_is_extended(n))
        extended_detach(t, znode_extended(n));
    blob_unref(n->data);
    acl_cache_drop(&t->acls, n->acl);
    mem_free(znode_family(n));
    mem_free((char *)n - room_before(n->link.aux));
}

static size_t data_len(const struct znode *n) { return n->data ? n->data->len : 0; }

struct znode *tree_add_unfound(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                               size_t path_len) {
    struct family *f = znode_make_family(parent);
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
    n->link.hash = seed->hash;
    t->data_bytes += path_len + data_len(n);
    return n;
}

struct znode *tree_add(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                       size_t path_len) {
    struct znode *n = tree_add_unfound(t, parent, seed, path_len);
    htab_insert(&t->by_name, &n->link);
    return n;
}

void tree_remove(struct tree *t, struct znode *n, size_t path_len) {
    CHECK(n->parent);
    CHECK(znode_child_count(n) == 0);
    if (t->walks)
        tree_walks_leave(t, n);
    tree_scrub_leave(t, n);
    struct family *f = znode_family(n->parent);
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
    struct slice slice = slice_from_str(name);
    struct znode_seed seed = {
        .name = slice, .data = empty, .acl = acl, .hash = tree_hash(parent, slice)};
    struct znode *n = parent ? tree_add(t, parent, &seed, path_len) : znode_new(t, &seed);
    blob_unref(empty);
    return n;
}

static void put_builtin(struct tree *t, const char *path) {
    digest_put(t, digest_key(slice_from_str(path)), tree_find_mutable(t, slice_from_str(path)));
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
    put_builtin(t, "/");
    put_builtin(t, "/zookeeper");
    put_builtin(t, "/zookeeper/quota");
    put_builtin(t, "/zookeeper/config");
    return t;
}

/* Children before their parent. Nothing is unlinked: all of it goes. */
static void free_znodes(struct tree *t) {
    struct znode *n = t->root;
    while (n) {
        for (struct znode *child = znode_first(n); child; child = znode_first(n))
            n = child;
        struct znode *next = n->next ? n->next : n->parent;
        if (!n->next && next)
            znode_family(next)->first = NULL; /* its last child goes: it is a leaf now */
        znode_free(t, n);
        n = next;
    }
}

void tree_free(struct tree *t) {
    if (!t)
        return;
    CHECK(!t->walks);
    free_znodes(t);
    mem_free(t->altered);
    mem_free(t->scrub.path);
    mem_free(t->loading.path);
    htab_close(&t->by_name); /* it does not look at its entries */
    htab_close(&t->owners);
    acl_cache_close(&t->acls);
    mem_free(t);
}

const struct znode *tree_find(const struct tree *t, struct slice path) {
    CHECK(!t->broken);
    CHECK(!tree_is_loading(t));
    return tree_find_mutable(t, path);
}

const struct znode *tree_child(const struct tree *t, const struct znode *parent,
                               struct slice name) {
    return tree_child_mutable(t, parent, name);
}

zxid_t tree_last_zxid(const struct tree *t) { return t->last_zxid; }
uint64_t tree_znode_count(const struct tree *t) {
    return t->by_name.count + t->loading.waiting_count + 1;
}
uint64_t tree_data_bytes(const struct tree *t) { return t->data_bytes; }
uint64_t tree_ephemeral_count(const struct tree *t) { return t->ephemeral_count; }

void znode_stat(const struct znode *n, struct zstat *ret_stat) {
    const struct family *f = znode_family(n);
    *ret_stat = (struct zstat){
        .czxid = n->czxid,
        .mzxid = n->mzxid,
        .ctime_ms = n->ctime_ms,
        .mtime_ms = n->mtime_ms,
        .version = n->version,
        /* It wraps around, as Java's int does. */
        .cversion = (int32_t)(2u * (uint32_t)znode_creates(n) - znode_child_count(n)),
        .aversion = n->aversion,
        .ephemeral_owner = znode_is_extended(n) ? 0 : znode_owner(n),
        .data_length = (int32_t)data_len(n),
        .num_children = (int32_t)znode_child_count(n),
        .pzxid = f ? f->pzxid : n->czxid,
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
uint32_t znode_child_count(const struct znode *n) {
    const struct family *f = znode_family(n);
    return f ? f->count : 0;
}
int32_t znode_creates(const struct znode *n) {
    const struct family *f = znode_family(n);
    return f ? f->creates : 0;
}
session_id_t znode_owner(const struct znode *n) {
    if (znode_is_extended(n))
        return znode_extended(n)->owner;
    return znode_is_ephemeral(n) ? znode_ephemeral(n)->owner->session_id : 0;
}
const struct znode *znode_first_child(const struct znode *n) { return znode_first(n); }
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
