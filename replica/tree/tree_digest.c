#include "replica/tree/tree_digest.h"

#include "replica/tree/znode.h"

#include <endian.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The digest is the sum of every znode's part; a part is the sum of two hashes: of what is the
 * znode's own, and of what its children made of it. Both are tied to the path, by its hash. The
 * part that was put in is kept and taken out again, whatever has become of the znode meanwhile: so
 * the digest says what the history made of the tree, and a value that was altered behind its back
 * shows as one that does not fit its part. */
enum seed { SEED_OWN = 4, SEED_FAMILY };

uint64_t digest_key(struct slice path) { return XXH3_64bits(path.p, (size_t)path.len); }

/* Null and empty differ, and so do they from what is not there. */
static uint64_t hash_data(const struct blob *data) {
    return data ? XXH3_64bits(data->bytes, data->len) : 0;
}

static uint64_t hash_acl(const struct tree *t, const struct blob *acl) {
    return acl == t->acls.open ? 0 : XXH3_64bits(acl->bytes, acl->len);
}

static uint64_t hash_own(const struct tree *t, uint64_t key, const struct znode *n) {
    const uint64_t words[] = {
        htole64(key),
        htole64(hash_data(n->data)),
        htole64(hash_acl(t, n->acl)),
        htole64((uint64_t)n->czxid),
        htole64((uint64_t)n->mzxid),
        htole64((uint64_t)n->ctime_ms),
        htole64((uint64_t)n->mtime_ms),
        htole64((uint64_t)(uint32_t)n->version << 32 | (uint32_t)n->aversion),
        htole64((uint64_t)znode_owner(n)),
    };
    return XXH3_64bits_withSeed(words, sizeof words, SEED_OWN);
}

uint64_t digest_family(uint64_t key, const struct znode *n) {
    /* A znode that has got its family without need and one that still does without are the same. */
    const struct family *f = znode_family(n);
    if (!f || (f->count == 0 && f->creates == 0 && f->pzxid == n->czxid))
        return 0;
    const uint64_t words[] = {
        htole64(key),
        htole64((uint64_t)f->pzxid),
        htole64((uint64_t)(uint32_t)f->creates << 32 | f->count),
    };
    return XXH3_64bits_withSeed(words, sizeof words, SEED_FAMILY);
}

static uint64_t *part_of(struct znode *n) {
    struct family *f = znode_family(n);
    return f ? &f->part : &n->part;
}

static uint64_t kept_part(const struct znode *n) {
    const struct family *f = znode_family(n);
    return f ? f->part : n->part;
}

static uint64_t make_part(const struct tree *t, uint64_t key, const struct znode *n) {
    return hash_own(t, key, n) + digest_family(key, n);
}

bool digest_fits(const struct tree *t, struct slice path, const struct znode *n) {
    return make_part(t, digest_key(path), n) == kept_part(n);
}

uint64_t digest_take(struct tree *t, struct slice path, const struct znode *n) {
    uint64_t key = digest_key(path);
    if (make_part(t, key, n) != kept_part(n))
        tree_note_altered(t, path);
    t->digest -= kept_part(n);
    return key;
}

void digest_put(struct tree *t, uint64_t key, struct znode *n) {
    uint64_t part = make_part(t, key, n);
    *part_of(n) = part;
    t->digest += part;
}

void digest_add(struct tree *t, struct znode *n, uint64_t difference) {
    *part_of(n) += difference;
    t->digest += difference;
}

uint64_t tree_digest(const struct tree *t) { return t->digest; }
