/* Only what was there when the walk began is of interest: whatever was created since is created
 * again by the log that is replayed over the snapshot. So siblings, which stand by czxid, end for
 * the walk where newer ones begin; no path comes twice, though a znode may be removed and made
 * again behind the walk's back; and who creates faster than it walks cannot make it endless.
 *
 * A walk stands on a znode that it has visited. tree_remove, which takes leaves only, moves it away
 * from one that goes. */
#include "replica/tree/tree_walk.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/tree/znode.h"

#include <string.h>

struct tree_walk {
    struct tree *tree;
    struct tree_walk *prev, *next; /* in tree.walks */
    struct znode *at;              /* NULL: nothing was visited yet, or all was */
    bool below_done;               /* what is below `at` was visited as well */
    bool over;
    zxid_t begun;
    uint8_t *path; /* of the znode visited last */
    size_t path_cap;
};

struct tree_walk *tree_walk_new(struct tree *t) {
    CHECK(!t->broken);
    struct tree_walk *w = mem_alloc(sizeof *w);
    *w = (struct tree_walk){.tree = t, .next = t->walks, .begun = t->last_zxid};
    if (w->next)
        w->next->prev = w;
    t->walks = w;
    return w;
}

void tree_walk_free(struct tree_walk *w) {
    if (!w)
        return;
    *(w->prev ? &w->prev->next : &w->tree->walks) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    mem_free(w->path);
    mem_free(w);
}

zxid_t tree_walk_begun(const struct tree_walk *w) { return w->begun; }

void tree_walks_leave(struct tree *t, const struct znode *n) {
    for (struct tree_walk *w = t->walks; w; w = w->next) {
        if (w->at != n)
            continue;
        /* What comes next is the same from the sibling before, or from the parent where n is the
         * first child. */
        w->at = n->prev ? n->prev : n->parent;
        w->below_done = n->prev != NULL;
    }
}

/* n, unless it is younger than the walk. */
static struct znode *old_enough(const struct tree_walk *w, struct znode *n) {
    return n && n->czxid <= w->begun ? n : NULL;
}

/* The next in pre-order; NULL at the end. */
static struct znode *successor(const struct tree_walk *w) {
    struct znode *n = w->at;
    if (!n)
        return w->tree->root;
    if (!w->below_done) {
        struct znode *child = old_enough(w, znode_first(n));
        if (child)
            return child;
    }
    for (; n->parent; n = n->parent) {
        struct znode *sibling = old_enough(w, n->next);
        if (sibling)
            return sibling;
    }
    return NULL;
}

static struct slice write_path(struct tree_walk *w, const struct znode *n) {
    size_t len = n->parent ? znode_path_len(n) : 1;
    if (len > w->path_cap) {
        w->path_cap = 2 * len;
        w->path = mem_realloc(w->path, w->path_cap);
    }
    if (n->parent)
        znode_write_path(n, w->path, len);
    else
        w->path[0] = '/';
    return (struct slice){w->path, (int32_t)len};
}

bool tree_walk_next(struct tree_walk *w, struct znode_image *ret_image) {
    CHECK(!w->tree->broken);
    struct znode *n = w->over ? NULL : successor(w);
    w->over = !n;
    if (!n)
        return false;
    w->at = n;
    w->below_done = false;
    *ret_image = (struct znode_image){
        .path = write_path(w, n), .data = n->data, .acl = n->acl, .creates = znode_creates(n)};
    znode_stat(n, &ret_image->stat);
    ret_image->stat.ephemeral_owner = znode_owner(n);
    return true;
}
