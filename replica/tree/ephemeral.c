#include "common/mem.h"
#include "replica/tree/znode.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint32_t hash_of(session_id_t session_id) {
    return (uint32_t)XXH3_64bits(&session_id, sizeof session_id);
}

struct owner *ephemeral_owner(const struct tree *t, session_id_t session_id) {
    uint32_t hash = hash_of(session_id);
    for (struct htab_link *l = htab_chain(&t->owners, hash); l; l = l->next) {
        struct owner *o = HTAB_ENTRY(l, struct owner, link);
        if (o->session_id == session_id)
            return o;
    }
    return NULL;
}

static struct owner *owner_new(struct tree *t, session_id_t session_id) {
    struct owner *o = mem_alloc(sizeof *o);
    *o = (struct owner){.link = {.hash = hash_of(session_id)}, .session_id = session_id};
    htab_insert(&t->owners, &o->link);
    return o;
}

void ephemeral_attach(struct tree *t, struct ephemeral *e, session_id_t session_id) {
    struct owner *o = ephemeral_owner(t, session_id);
    if (!o)
        o = owner_new(t, session_id);
    /* Always at the end, but for a replay over a fuzzy snapshot that has later ones already. */
    struct ephemeral *before = o->last;
    while (before && before->znode.czxid > e->znode.czxid)
        before = before->prev;
    e->owner = o;
    e->prev = before;
    e->next = before ? before->next : o->first;
    *(e->prev ? &e->prev->next : &o->first) = e;
    *(e->next ? &e->next->prev : &o->last) = e;
    t->ephemeral_count++;
}

void ephemeral_detach(struct tree *t, struct ephemeral *e) {
    struct owner *o = e->owner;
    *(e->prev ? &e->prev->next : &o->first) = e->next;
    *(e->next ? &e->next->prev : &o->last) = e->prev;
    t->ephemeral_count--;
    if (!o->first) {
        htab_remove(&t->owners, &o->link);
        mem_free(o);
    }
}

const struct znode *tree_next_ephemeral(const struct tree *t, session_id_t owner, void **at) {
    struct ephemeral *e;
    if (*at) {
        e = ((struct ephemeral *)*at)->next;
    } else {
        struct owner *o = ephemeral_owner(t, owner);
        e = o ? o->first : NULL;
    }
    if (!e)
        return NULL;
    *at = e;
    return &e->znode;
}

uint64_t tree_owner_count(const struct tree *t) { return t->owners.count; }
