#include "replica/tree/tree_digest.h"

#include "replica/tree/znode.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The digest is a sum, of two parts for each znode: what is its own, and what its children made of
 * it. So a change takes out and puts in only what it touches, and a creation below a znode with a
 * megabyte of data does not read that. Both parts are tied to the path; the seeds keep them, and
 * what they are made of, apart. */
enum seed { SEED_PATH = 1, SEED_DATA, SEED_ACL, SEED_OWN, SEED_FAMILY };

uint64_t digest_hash_path(struct slice path) {
    return XXH3_64bits_withSeed(path.p, (size_t)path.len, SEED_PATH);
}

static uint64_t hash_data(const struct blob *data) {
    return data ? XXH3_64bits_withSeed(data->bytes, data->len, SEED_DATA) : 0;
}

static uint64_t hash_acl(const struct tree *t, const struct blob *acl) {
    return acl == t->acls.open ? 0 : XXH3_64bits_withSeed(acl->bytes, acl->len, SEED_ACL);
}

uint64_t digest_hash_own(const struct tree *t, uint64_t key, const struct znode *n) {
    const uint64_t words[] = {
        key,
        hash_data(n->data),
        hash_acl(t, n->acl),
        (uint64_t)n->czxid,
        (uint64_t)n->mzxid,
        (uint64_t)n->ctime_ms,
        (uint64_t)n->mtime_ms,
        (uint64_t)(uint32_t)n->version << 32 | (uint32_t)n->aversion,
        (uint64_t)znode_owner(n),
    };
    return XXH3_64bits_withSeed(words, sizeof words, SEED_OWN);
}

uint64_t digest_hash_family(uint64_t key, const struct znode *n) {
    /* A znode that has got its family without need and one that still does without are the same. */
    const struct family *f = n->family;
    if (!f || (f->count == 0 && f->creates == 0 && f->pzxid == n->czxid))
        return 0;
    const uint64_t words[] = {
        key,
        (uint64_t)f->pzxid,
        (uint64_t)(uint32_t)f->creates << 32 | f->count,
    };
    return XXH3_64bits_withSeed(words, sizeof words, SEED_FAMILY);
}

static const struct znode *next_in_pre_order(const struct znode *n) {
    if (n->family && n->family->first)
        return n->family->first;
    while (n && !n->next)
        n = n->parent;
    return n ? n->next : NULL;
}

static uint64_t hash_all(const struct tree *t) {
    uint64_t sum = 0;
    for (const struct znode *n = t->root; n; n = next_in_pre_order(n)) {
        struct blob *path = znode_path(n);
        sum += digest_znode(t, digest_hash_path(blob_slice(path)), n);
        blob_unref(path);
    }
    return sum;
}

uint64_t tree_digest(struct tree *t) {
    if (!t->digested) {
        t->digested = true;
        t->digest = hash_all(t);
    }
    return t->digest;
}
