/* In pre-order, along the chains of siblings: that costs no memory, and the znodes of one parent,
 * that mostly were made one behind the other, are read in the order of their addresses. The scrub
 * stands on a znode that it has verified, and moves away from one that goes, as a walk does
 * (tree_walk.c). */
#include "replica/tree/tree_scrub.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/tree/znode.h"

#define COUNTED_BYTES 4096u

void tree_scrub_leave(struct tree *t, const struct znode *n) {
    struct scrub *s = &t->scrub;
    if (s->at != n)
        return;
    s->at = n->prev ? n->prev : n->parent;
    s->below_done = n->prev != NULL;
}

/* The next in pre-order; NULL at the end. */
static struct znode *successor(const struct tree *t) {
    const struct scrub *s = &t->scrub;
    struct znode *n = s->at;
    if (!n)
        return t->root;
    struct znode *child = s->below_done ? NULL : znode_first(n);
    if (child)
        return child;
    while (n && !n->next)
        n = n->parent;
    return n ? n->next : NULL;
}

static struct slice write_path(struct scrub *s, const struct znode *n) {
    size_t len = n->parent ? znode_path_len(n) : 1;
    if (len > s->path_cap) {
        s->path_cap = 2 * len;
        s->path = mem_realloc(s->path, s->path_cap);
    }
    if (n->parent)
        znode_write_path(n, s->path, len);
    else
        s->path[0] = '/';
    return (struct slice){s->path, (int32_t)len};
}

static void verify(struct tree *t, const struct znode *n) {
    struct slice path = write_path(&t->scrub, n);
    if (!digest_fits(t, path, n))
        tree_note_altered(t, path);
}

bool tree_scrub(struct tree *t, size_t max_znodes) {
    struct scrub *s = &t->scrub;
    CHECK(!t->broken);
    CHECK(max_znodes > 0);
    for (size_t done = 0; done < max_znodes;) {
        struct znode *n = successor(t);
        s->at = n;
        s->below_done = false;
        if (!n) {
            s->rounds++;
            break;
        }
        /* What comes next is on its way while this one is hashed. */
        if (n->next)
            __builtin_prefetch(n->next->data);
        verify(t, n);
        done += 1 + (n->data ? n->data->len / COUNTED_BYTES : 0);
    }
    return !t->altered;
}

uint64_t tree_scrub_rounds(const struct tree *t) { return t->scrub.rounds; }

void tree_note_altered(struct tree *t, struct slice path) {
    if (t->altered)
        return;
    t->altered = mem_strndup((const char *)path.p, (size_t)path.len);
}

const char *tree_altered(const struct tree *t) { return t->altered; }
