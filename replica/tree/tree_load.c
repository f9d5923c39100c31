#include "replica/tree/tree_load.h"

#include "common/check.h"
#include "common/path.h"
#include "replica/tree/znode.h"

static void fill(struct tree *t, struct znode *n, const struct znode_image *image) {
    const struct zstat *s = &image->stat;
    tree_set_data(t, n, image->data);
    tree_set_acl(t, n, image->acl);
    n->czxid = s->czxid;
    n->mzxid = s->mzxid;
    n->ctime_ms = s->ctime_ms;
    n->mtime_ms = s->mtime_ms;
    n->version = s->version;
    n->aversion = s->aversion;
    /* Most znodes never had a child: they do without a family. */
    if (!n->family && image->creates == 0 && s->pzxid == s->czxid)
        return;
    struct family *f = znode_family(n);
    f->creates = image->creates;
    f->pzxid = s->pzxid;
}

const char *tree_load(struct tree *t, const struct znode_image *image) {
    struct znode *n = tree_find_mutable(t, image->path);
    uint64_t key = digest_key(t, image->path);
    if (n) {
        /* tree_new's own: the only ones that no transaction made. */
        if (n->czxid != 0)
            return "the znode was loaded before";
        if (image->stat.ephemeral_owner != 0)
            return "a built-in znode is no ephemeral";
        if (image->stat.czxid != 0)
            return "a built-in znode was made by no transaction";
        t->digest -= digest_znode(t, key, n);
        fill(t, n, image);
        t->digest += digest_znode(t, key, n);
        return NULL;
    }
    struct slice parent_path = path_parent(image->path);
    struct znode *parent = tree_find_mutable(t, parent_path);
    if (!parent)
        return "the parent was not loaded before";
    if (image->stat.czxid <= 0)
        return "the znode was made by no transaction";
    /* An ephemeral parent is no contradiction: the walk saw it before, and the child below the
     * persistent znode that took its place. */
    struct znode_seed seed = {.name = path_name(image->path),
                              .data = image->data,
                              .acl = image->acl,
                              .owner = image->stat.ephemeral_owner,
                              .czxid = image->stat.czxid,
                              .ctime_ms = image->stat.ctime_ms};
    uint64_t parent_key = digest_key(t, parent_path);
    t->digest -= digest_family(t, parent_key, parent);
    n = tree_add(t, parent, &seed, (size_t)image->path.len);
    t->digest += digest_family(t, parent_key, parent);
    fill(t, n, image);
    t->digest += digest_znode(t, key, n);
    return NULL;
}

void tree_load_end(struct tree *t, zxid_t begun, zxid_t ended) {
    CHECK(begun <= ended);
    t->last_zxid = begun;
    t->fuzzy_until = ended;
}

bool tree_exact(const struct tree *t) { return t->last_zxid >= t->fuzzy_until; }

zxid_t tree_fuzzy_until(const struct tree *t) { return t->fuzzy_until; }
