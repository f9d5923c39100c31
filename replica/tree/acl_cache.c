#include "replica/tree/acl_cache.h"

#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct acl_use {
    struct htab_link link;
    struct blob *blob;
    uint64_t uses;
};

static uint32_t hash_of(const struct blob *acl) {
    return (uint32_t)XXH3_64bits(acl->bytes, acl->len);
}

static struct acl_use *find(const struct acl_cache *c, const struct blob *acl, uint32_t hash) {
    for (struct htab_link *l = htab_chain(&c->by_bytes, hash); l; l = l->next) {
        struct acl_use *u = HTAB_ENTRY(l, struct acl_use, link);
        if (l->hash == hash && blob_equal(u->blob, acl))
            return u;
    }
    return NULL;
}

void acl_cache_init(struct acl_cache *c) {
    htab_init(&c->by_bytes);
    c->open = acl_open_unsafe();
}

void acl_cache_close(struct acl_cache *c) {
    CHECK(c->by_bytes.count == 0);
    htab_close(&c->by_bytes);
    blob_unref(c->open);
    c->open = NULL;
}

struct blob *acl_cache_use(struct acl_cache *c, struct blob *acl) {
    if (blob_equal(acl, c->open))
        return c->open;
    uint32_t hash = hash_of(acl);
    struct acl_use *u = find(c, acl, hash);
    if (!u) {
        u = mem_alloc(sizeof *u);
        *u = (struct acl_use){.link = {.hash = hash}, .blob = blob_ref(acl)};
        htab_insert(&c->by_bytes, &u->link);
    }
    u->uses++;
    return u->blob;
}

void acl_cache_drop(struct acl_cache *c, struct blob *acl) {
    if (acl == c->open)
        return;
    struct acl_use *u = find(c, acl, hash_of(acl));
    CHECK(u);
    CHECK(u->blob == acl);
    u->uses--;
    if (u->uses > 0)
        return;
    htab_remove(&c->by_bytes, &u->link);
    blob_unref(u->blob);
    mem_free(u);
}
