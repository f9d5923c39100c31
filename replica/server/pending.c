#include "replica/server/pending.h"

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/server/hash.h"
#include "replica/server/limits.h"
#include "replica/server/list.h"
#include "replica/server/lookup.h"
#include "replica/tree/htab.h"

#include <string.h>

/* One znode's overlay. `acl` of the state is owned. */
struct pending_znode {
    struct htab_link link;
    struct pending_state state;
    struct pending_znode *prev, *next;         /* among those of the same owner */
    struct pending_znode *all_prev, *all_next; /* among all */
    int32_t path_len;
    uint8_t path[];
};

/* A session that owns znodes: in flight as a list, and all of them as bytes. */
struct pending_owner {
    struct htab_link link;
    session_id_t id;
    uint64_t bytes;
    struct pending_znode *first;
    struct pending_owner *all_prev, *all_next;
};

/* What an entry was before the request at hand, newest last. */
struct undo {
    struct pending_znode *entry;
    struct pending_state state; /* its acl is owned */
    bool was_new;
};

struct pending {
    const struct tree *tree;
    struct htab entries, owners;
    struct pending_znode *all_entries; /* the tables themselves cannot be walked */
    struct pending_owner *all_owners;
    struct undo *undos;
    size_t undo_count, undo_cap;
};

struct pending *pending_new(const struct tree *tree) {
    struct pending *p = mem_zalloc(sizeof *p);
    p->tree = tree;
    htab_init(&p->entries);
    htab_init(&p->owners);
    return p;
}

static uint32_t path_hash(struct slice path) { return hash_bytes(path.p, (size_t)path.len); }

static struct pending_znode *entry_find(const struct pending *p, struct slice path) {
    uint32_t hash = path_hash(path);
    for (struct htab_link *l = htab_chain(&p->entries, hash); l; l = l->next) {
        struct pending_znode *e = HTAB_ENTRY(l, struct pending_znode, link);
        if (l->hash == hash && e->path_len == path.len &&
            memcmp(e->path, path.p, (size_t)path.len) == 0)
            return e;
    }
    return NULL;
}

static struct pending_owner *owner_find(const struct pending *p, session_id_t id) {
    uint32_t hash = hash_id((uint64_t)id);
    for (struct htab_link *l = htab_chain(&p->owners, hash); l; l = l->next) {
        struct pending_owner *o = HTAB_ENTRY(l, struct pending_owner, link);
        if (o->id == id)
            return o;
    }
    return NULL;
}

static struct pending_owner *owner_get(struct pending *p, session_id_t id) {
    struct pending_owner *o = owner_find(p, id);
    if (o)
        return o;
    o = mem_zalloc(sizeof *o);
    o->id = id;
    o->link.hash = hash_id((uint64_t)id);
    htab_insert(&p->owners, &o->link);
    DL_PREPEND2(p->all_owners, o, all_prev, all_next);
    return o;
}

static void owner_drop_if_idle(struct pending *p, struct pending_owner *o) {
    if (o->bytes > 0 || o->first)
        return;
    DL_DELETE2(p->all_owners, o, all_prev, all_next);
    htab_remove(&p->owners, &o->link);
    mem_free(o);
}

uint64_t pending_owner_cost(struct slice path) {
    return (uint64_t)path.len + CLOSE_SESSION_OP_BYTES;
}

static struct slice entry_path(const struct pending_znode *e) {
    return (struct slice){e->path, e->path_len};
}

static bool state_owned(const struct pending_state *s) {
    return s->exists && ephemeral_type(s->owner) == EPHEMERAL_NORMAL;
}

/* `counted`: the znode itself comes or goes; otherwise only its entry does. */
static void owner_link(struct pending *p, struct pending_znode *e, bool counted) {
    if (!state_owned(&e->state))
        return;
    struct pending_owner *o = owner_get(p, e->state.owner);
    DL_APPEND(o->first, e);
    if (counted)
        o->bytes += pending_owner_cost(entry_path(e));
}

static void owner_unlink(struct pending *p, struct pending_znode *e, bool counted) {
    if (!state_owned(&e->state))
        return;
    struct pending_owner *o = owner_find(p, e->state.owner);
    CHECK(o);
    DL_DELETE(o->first, e); /* NOLINT(clang-analyzer-core.NullDereference): e is in it */
    if (counted) {
        CHECK(o->bytes >= pending_owner_cost(entry_path(e)));
        o->bytes -= pending_owner_cost(entry_path(e));
    }
    owner_drop_if_idle(p, o);
}

static struct slice path_or_root(struct slice path) {
    return path.len == 0 ? slice_from_str("/") : path;
}

static void state_from_tree(const struct pending *p, struct slice path,
                            struct pending_state *ret_state) {
    *ret_state = (struct pending_state){0};
    const struct znode *n = lookup_znode(p->tree, path);
    if (!n)
        return;
    struct zstat stat;
    znode_stat(n, &stat);
    ret_state->exists = true;
    ret_state->version = stat.version;
    ret_state->aversion = stat.aversion;
    ret_state->creates = znode_creates(n);
    ret_state->children = znode_child_count(n);
    ret_state->acl = znode_acl(n);
    ret_state->owner = znode_owner(n);
}

void pending_get(const struct pending *p, struct slice path, struct pending_state *ret_state) {
    path = path_or_root(path);
    const struct pending_znode *e = p->entries.count > 0 ? entry_find(p, path) : NULL;
    if (e)
        *ret_state = e->state;
    else
        state_from_tree(p, path, ret_state);
}

static void entry_free(struct pending_znode *e) {
    blob_unref(e->state.acl);
    mem_free(e);
}

static void entry_remove(struct pending *p, struct pending_znode *e, bool counted) {
    owner_unlink(p, e, counted);
    htab_remove(&p->entries, &e->link);
    DL_DELETE2(p->all_entries, e, all_prev, all_next);
    entry_free(e);
}

/* A new entry that says what the tree says. */
static struct pending_znode *entry_load(struct pending *p, struct slice path) {
    struct pending_znode *e = mem_zalloc(sizeof *e + (size_t)path.len);
    e->path_len = path.len;
    memcpy(e->path, path.p, (size_t)path.len);
    e->link.hash = path_hash(path);
    state_from_tree(p, path, &e->state);
    (void)blob_ref(e->state.acl);
    htab_insert(&p->entries, &e->link);
    DL_PREPEND2(p->all_entries, e, all_prev, all_next);
    owner_link(p, e, false);
    return e;
}

/* Takes state's reference to its acl. */
static void entry_set(struct pending *p, struct pending_znode *e,
                      const struct pending_state *take_state) {
    struct pending_state old = e->state;
    owner_unlink(p, e, true);
    e->state = *take_state;
    owner_link(p, e, true);
    blob_unref(old.acl);
}

static void undo_push(struct pending *p, struct pending_znode *e, bool was_new) {
    if (p->undo_count == p->undo_cap) {
        p->undo_cap = p->undo_cap ? p->undo_cap * 2 : 16;
        p->undos = mem_realloc(p->undos, p->undo_cap * sizeof *p->undos);
    }
    struct undo *u = &p->undos[p->undo_count++];
    *u = (struct undo){e, e->state, was_new};
    (void)blob_ref(u->state.acl);
}

static void undo_forget(struct pending *p) {
    for (size_t i = 0; i < p->undo_count; i++)
        blob_unref(p->undos[i].state.acl);
    p->undo_count = 0;
}

void pending_free(struct pending *p) {
    if (!p)
        return;
    undo_forget(p);
    mem_free(p->undos);
    struct pending_znode *e, *next_entry;
    DL_FOREACH_SAFE2(p->all_entries, e, next_entry, all_next)
    entry_free(e);
    struct pending_owner *o, *next_owner;
    DL_FOREACH_SAFE2(p->all_owners, o, next_owner, all_next)
    mem_free(o);
    htab_close(&p->entries);
    htab_close(&p->owners);
    mem_free(p);
}

void pending_begin(struct pending *p) { undo_forget(p); }

void pending_put(struct pending *p, struct slice path, const struct pending_state *state) {
    path = path_or_root(path);
    struct pending_znode *e = entry_find(p, path);
    bool was_new = !e;
    if (!e)
        e = entry_load(p, path);
    undo_push(p, e, was_new);
    struct pending_state copy = *state;
    (void)blob_ref(copy.acl);
    entry_set(p, e, &copy);
}

void pending_delete(struct pending *p, struct slice path, zxid_t zxid) {
    struct slice parent_path = path_parent(path);
    struct pending_state parent;
    pending_get(p, parent_path, &parent);
    CHECK(parent.exists);
    CHECK(parent.children > 0);
    parent.children--;
    parent.zxid = zxid;
    pending_put(p, parent_path, &parent);
    pending_put(p, path, &(struct pending_state){.zxid = zxid});
}

void pending_rollback(struct pending *p) {
    while (p->undo_count > 0) {
        struct undo *u = &p->undos[--p->undo_count];
        entry_set(p, u->entry, &u->state);
        if (u->was_new)
            entry_remove(p, u->entry, false);
    }
}

static void entry_release(struct pending *p, struct slice path, zxid_t zxid) {
    struct pending_znode *e = entry_find(p, path);
    if (e && e->state.zxid == zxid)
        entry_remove(p, e, false);
}

void pending_release(struct pending *p, const struct txn *txn) {
    undo_forget(p);
    for (uint32_t i = 0; i < txn->op_count && txn->ops; i++) {
        struct slice path = blob_slice(txn->ops[i].path);
        entry_release(p, path, txn->zxid);
        if (path.len > 1)
            entry_release(p, path_parent(path), txn->zxid);
    }
}

void pending_load_owner(struct pending *p, session_id_t owner) {
    void *at = NULL;
    uint64_t bytes = 0;
    for (const struct znode *n; (n = tree_next_ephemeral(p->tree, owner, &at));) {
        struct blob *path = znode_path(n);
        bytes += pending_owner_cost(blob_slice(path));
        blob_unref(path);
    }
    if (bytes > 0)
        owner_get(p, owner)->bytes = bytes;
}

uint64_t pending_owner_bytes(const struct pending *p, session_id_t owner) {
    const struct pending_owner *o = owner_find(p, owner);
    return o ? o->bytes : 0;
}

void pending_owned(struct pending *p, session_id_t owner, pending_path_fn *fn, void *ctx) {
    void *at = NULL;
    for (const struct znode *n; (n = tree_next_ephemeral(p->tree, owner, &at));) {
        struct blob *path = znode_path(n);
        /* With an entry the overlay knows better: it is in the list below, or will not be owned. */
        if (!entry_find(p, blob_slice(path)))
            fn(ctx, blob_slice(path));
        blob_unref(path);
    }
    const struct pending_owner *o = owner_find(p, owner);
    for (const struct pending_znode *e = o ? o->first : NULL; e; e = e->next)
        fn(ctx, entry_path(e));
}

uint64_t pending_count(const struct pending *p) { return p->entries.count; }
