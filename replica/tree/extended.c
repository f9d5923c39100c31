/* Containers and TTL znodes stand in a list of their own, which the tree keeps as it changes and as
 * it is loaded: who looks for those that are due need not walk over all znodes. */
#include "replica/tree/znode.h"

void extended_attach(struct tree *t, struct extended *e, session_id_t owner) {
    e->owner = owner;
    e->next = NULL;
    e->prev = t->extended_last;
    *(e->prev ? &e->prev->next : &t->extended_first) = e;
    t->extended_last = e;
    t->extended_count++;
}

void extended_detach(struct tree *t, struct extended *e) {
    if (t->extended_at == e)
        t->extended_at = e->next;
    *(e->prev ? &e->prev->next : &t->extended_first) = e->next;
    *(e->next ? &e->next->prev : &t->extended_last) = e->prev;
    t->extended_count--;
}

void tree_begin_extended(struct tree *t) { t->extended_at = t->extended_first; }

const struct znode *tree_next_extended(struct tree *t) {
    struct extended *e = t->extended_at;
    if (!e)
        return NULL;
    t->extended_at = e->next;
    return &e->znode;
}

uint64_t tree_extended_count(const struct tree *t) { return t->extended_count; }
