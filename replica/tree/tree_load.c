/* A million znodes that are put into the hash table one after the other wait for memory a million
 * times: for the bucket, for who stands there already, and for those that are moved because the
 * table grows. But a walk's znodes come in pre-order: the next one's parent is the last one itself
 * or above it, and is found by comparing paths. So what was loaded waits for the end, and then goes
 * into a table of the right size, in an order that is known ahead. Only then it shows whether one
 * came twice. */
#include "replica/tree/tree_load.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/znode.h"

#include <string.h>

/* What tree_add does not. Most znodes never had a child: they do without a family. */
static void fill_stat(struct znode *n, const struct znode_image *image) {
    const struct zstat *s = &image->stat;
    n->mzxid = s->mzxid;
    n->mtime_ms = s->mtime_ms;
    n->version = s->version;
    n->aversion = s->aversion;
    if (!znode_family(n) && image->creates == 0 && s->pzxid == s->czxid)
        return;
    struct family *f = znode_make_family(n);
    f->creates = image->creates;
    f->pzxid = s->pzxid;
}

/* tree_new's own: the only ones that no transaction made. */
static const char *load_builtin(struct tree *t, struct znode *n, const struct znode_image *image) {
    if (n->czxid != 0)
        return "the znode was loaded before";
    if (image->stat.ephemeral_owner != 0)
        return "a built-in znode is no ephemeral";
    if (image->stat.czxid != 0)
        return "a built-in znode was made by no transaction";
    uint64_t key = digest_take(t, image->path, n);
    tree_set_data(t, n, image->data);
    tree_set_acl(t, n, image->acl);
    n->ctime_ms = image->stat.ctime_ms;
    fill_stat(n, image);
    digest_put(t, key, n);
    return NULL;
}

#define AHEAD 16

/* Puts those that wait into the table. The first of them are on their way from memory while others
 * are put: the bucket first, then who stands there. */
static const char *settle(struct tree *t) {
    struct loading *l = &t->loading;
    if (l->failed || !l->waiting)
        return l->failed;
    struct htab_link *far = &l->waiting->link, *near = far, *next;
    htab_reserve(&t->by_name, t->by_name.count + l->waiting_count);
    for (size_t i = 0; far && i < 2 * AHEAD; i++, far = far->next)
        htab_prefetch_bucket(&t->by_name, far->hash);
    for (size_t i = 0; near && i < AHEAD; i++, near = near->next)
        htab_prefetch_entry(&t->by_name, near->hash);
    for (struct htab_link *at = &l->waiting->link; at; at = next) {
        struct znode *n = HTAB_ENTRY(at, struct znode, link);
        next = at->next;
        if (far) {
            htab_prefetch_bucket(&t->by_name, far->hash);
            far = far->next;
        }
        if (near) {
            htab_prefetch_entry(&t->by_name, near->hash);
            near = near->next;
        }
        if (tree_child_hashed(t, n->parent, znode_name(n), at->hash))
            return l->failed = "the znode was loaded before";
        htab_insert(&t->by_name, at);
    }
    l->waiting = l->last = NULL;
    l->waiting_count = 0;
    return NULL;
}

static bool is_path(struct slice path, const uint8_t *p, size_t len) {
    return (size_t)path.len == len && memcmp(path.p, p, len) == 0;
}

/* The znode at `path`, where it is the one that was loaded last or one above that. */
static struct znode *find_above(const struct loading *l, struct slice path) {
    size_t want = (size_t)path.len, len = l->path_len;
    if (!l->at || want > len || memcmp(path.p, l->path, want) != 0)
        return NULL;
    struct znode *n = l->at;
    while (n->parent && len > want) {
        len -= 1 + (size_t)znode_name(n).len;
        n = n->parent;
    }
    /* The root's path is the slash that begins all others. */
    return len == want || (!n->parent && want == 1) ? n : NULL;
}

/* NULL where nothing is loaded yet, or what is does not come in pre-order. */
static const char *find_parent(struct tree *t, struct slice path, struct znode **ret_parent) {
    struct loading *l = &t->loading;
    if (l->parent && is_path(path, l->path, l->parent_len)) {
        *ret_parent = l->parent;
        return NULL;
    }
    struct znode *parent = find_above(l, path);
    if (!parent) {
        const char *why = settle(t);
        if (why)
            return why;
        parent = tree_find_mutable(t, path);
    }
    if (!parent)
        return "the parent was not loaded before";
    l->parent_key = digest_key(path);
    *ret_parent = parent;
    return NULL;
}

static void note_loaded(struct loading *l, struct znode *n, struct slice path, size_t parent_len) {
    l->at = n;
    l->parent = n->parent;
    l->path_len = (size_t)path.len;
    l->parent_len = parent_len;
    if (l->path_len > l->path_cap) {
        l->path_cap = 2 * l->path_len;
        l->path = mem_realloc(l->path, l->path_cap);
    }
    memcpy(l->path, path.p, l->path_len);
}

static struct znode *load_new(struct tree *t, struct znode *parent, const struct znode_seed *seed,
                              const struct znode_image *image) {
    struct loading *l = &t->loading;
    uint64_t before = digest_family(l->parent_key, parent);
    struct znode *n = tree_add_unfound(t, parent, seed, (size_t)image->path.len);
    digest_add(t, parent, digest_family(l->parent_key, parent) - before);
    fill_stat(n, image);
    digest_put(t, digest_key(image->path), n);
    if (l->last)
        l->last->link.next = &n->link;
    else
        l->waiting = n;
    l->last = n;
    l->waiting_count++;
    return n;
}

const char *tree_load(struct tree *t, const struct znode_image *image) {
    struct loading *l = &t->loading;
    struct slice path = image->path, parent_path = path_parent(path);
    struct znode *parent = NULL, *n = NULL;
    if (l->failed)
        return l->failed;
    if (path.len == 1)
        return load_builtin(t, t->root, image);
    if (l->at && is_path(path, l->path, l->path_len))
        return "the znode was loaded before";
    const char *why = find_parent(t, parent_path, &parent);
    if (why)
        return why;
    struct znode_seed seed = {.name = path_name(path),
                              .data = image->data,
                              .acl = image->acl,
                              .owner = image->stat.ephemeral_owner,
                              .czxid = image->stat.czxid,
                              .ctime_ms = image->stat.ctime_ms};
    seed.hash = tree_hash(parent, seed.name);
    /* tree_new's own stand below others of them, and are in the table. */
    if (parent->czxid == 0 || image->stat.czxid <= 0)
        n = tree_child_hashed(t, parent, seed.name, seed.hash);
    if (n)
        why = load_builtin(t, n, image);
    else if (image->stat.czxid <= 0)
        why = "the znode was made by no transaction";
    else
        /* An ephemeral parent is no contradiction: the walk saw it before, and the child below the
         * persistent znode that took its place. */
        n = load_new(t, parent, &seed, image);
    if (why)
        l->parent = NULL; /* the key may be another one's */
    else
        note_loaded(l, n, path, (size_t)parent_path.len);
    return why;
}

const char *tree_load_end(struct tree *t, zxid_t begun, zxid_t ended) {
    CHECK(begun <= ended);
    const char *why = settle(t);
    if (why)
        return why;
    mem_free(t->loading.path);
    t->loading = (struct loading){0};
    t->last_zxid = begun;
    t->fuzzy_until = ended;
    return NULL;
}

bool tree_exact(const struct tree *t) { return t->last_zxid >= t->fuzzy_until; }

zxid_t tree_fuzzy_until(const struct tree *t) { return t->fuzzy_until; }
