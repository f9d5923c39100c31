/* A snapshot that was walked while writes went on has each znode as it was at some moment between
 * the walk's begin and its end, a parent never later than its children. Replaying the log from the
 * begin over it meets znodes that are ahead of the transaction. So every effect is compared with
 * what the znode says of itself:
 *
 * - The znode (or the parent) is not there, or its czxid is greater: it was deleted later on, or is
 *   another one of that name. Nothing to do; a later transaction puts it right.
 * - A creation finds its own znode: kept; what was done to it since then is done again or is there.
 * - A creation finds its parent to be an ephemeral of its own multi: that deletes it and makes it
 *   anew.
 * - A deletion finds children: they are of a later znode of that name (the walk saw the old parent
 *   and new children), or of its own multi. They go too; their creations are still to be replayed.
 * - A setData finds a later mzxid, a setACL a later aversion: nothing to do.
 * - pzxid and the count of creations of the parent only grow, whatever the kind of creation
 *   (ZAB-BUGS S25, S30).
 *
 * Beyond the walk's end, and with no snapshot, none of this may happen: then the tree is broken. */
#include "replica/tree/tree_apply.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/znode.h"

/* One transaction on its way into the tree. */
struct apply {
    struct tree *t;
    const struct txn *txn;
    struct tree_changes *changes; /* NULL: nobody cares */
    bool exact;                   /* beyond the fuzzy part: everything must fit */
};

/* a - b > 0 on a circle: the counters wrap around as Java's int does. */
static bool later(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b) > 0; }

static void broken(struct apply *a, const char *why) { a->t->broken = why; }

static void broken_if_exact(struct apply *a, const char *why) {
    if (a->exact)
        broken(a, why);
}

/* The znode that this transaction means, not a later one of that name. */
static struct znode *find(const struct apply *a, struct slice path) {
    struct znode *n = tree_find_mutable(a->t, path);
    return n && n->czxid <= a->txn->zxid ? n : NULL;
}

/* Takes the reference. */
static void add_event(struct apply *a, enum zk_event type, struct blob *path) {
    struct tree_changes *c = a->changes;
    if (c->event_count == c->event_cap) {
        c->event_cap = c->event_cap ? 2 * c->event_cap : 8;
        c->events = mem_realloc(c->events, c->event_cap * sizeof *c->events);
    }
    c->events[c->event_count++] = (struct tree_event){type, path};
}

static void add_child_events(struct apply *a, enum zk_event type, const struct txn_op *op) {
    if (!a->changes)
        return;
    add_event(a, type, blob_ref(op->path));
    struct slice parent = path_parent(blob_slice(op->path));
    add_event(a, EVENT_NODE_CHILDREN_CHANGED, blob_new(parent.p, (size_t)parent.len));
}

/* n is NULL for an operation that leaves no znode. */
static void add_stat(struct apply *a, const struct znode *n) {
    struct tree_changes *c = a->changes;
    if (!c)
        return;
    if (c->stat_count == c->stat_cap) {
        c->stat_cap = c->stat_cap ? 2 * c->stat_cap : 8;
        c->stats = mem_realloc(c->stats, c->stat_cap * sizeof *c->stats);
    }
    struct zstat *s = &c->stats[c->stat_count++];
    *s = (struct zstat){0};
    if (n)
        znode_stat(n, s);
}

static void grow_pzxid(struct apply *a, struct znode *parent) {
    struct family *f = znode_make_family(parent);
    if (f->pzxid < a->txn->zxid)
        f->pzxid = a->txn->zxid;
}

static struct znode *create_in(struct apply *a, struct znode *parent, const struct txn_op *op) {
    struct family *f = znode_make_family(parent);
    if (later(op->parent_creates, f->creates))
        f->creates = op->parent_creates;
    else
        broken_if_exact(a, "a creation does not raise its parent's count of creations");
    grow_pzxid(a, parent);
    struct slice path = blob_slice(op->path), name = path_name(path);
    struct znode_seed seed = {.name = name,
                              .data = op->data,
                              .acl = op->acl,
                              .owner = op->owner,
                              .czxid = a->txn->zxid,
                              .ctime_ms = a->txn->time_ms,
                              .hash = tree_hash(parent, name)};
    struct znode *n = tree_child_hashed(a->t, parent, name, seed.hash);
    if (n) {
        broken_if_exact(a, "the znode to create exists");
        if (n->czxid < a->txn->zxid)
            broken(a, "the znode to create exists since an earlier transaction");
        return n;
    }
    add_child_events(a, EVENT_NODE_CREATED, op);
    n = tree_add(a->t, parent, &seed, (size_t)path.len);
    digest_put(a->t, digest_key(path), n);
    return n;
}

static void apply_create(struct apply *a, const struct txn_op *op) {
    struct znode *n = NULL;
    struct slice parent_path = path_parent(blob_slice(op->path));
    struct znode *parent = find(a, parent_path);
    if (!parent) {
        broken_if_exact(a, "the parent of the znode to create does not exist");
    } else if (znode_is_ephemeral(parent)) {
        broken_if_exact(a, "the parent of the znode to create is ephemeral");
    } else {
        uint64_t key = digest_key(parent_path);
        uint64_t before = digest_family(key, parent);
        n = create_in(a, parent, op);
        digest_add(a->t, parent, digest_family(key, parent) - before);
    }
    add_stat(a, n);
}

static void remove_child(struct apply *a, struct znode *n) {
    struct tree *t = a->t;
    struct blob *path = znode_path(n);
    struct znode *parent = n->parent;
    uint64_t parent_key = digest_key(path_parent(blob_slice(path)));
    uint64_t before = digest_family(parent_key, parent);
    digest_take(t, blob_slice(path), n);
    tree_remove(t, n, path->len);
    digest_add(t, parent, digest_family(parent_key, parent) - before);
    blob_unref(path);
}

/* Not recursive, for a path may be thousands of levels deep. */
static void remove_below(struct apply *a, struct znode *top) {
    struct znode *n = top;
    while (znode_child_count(top) > 0) {
        while (znode_child_count(n) > 0)
            n = znode_first(n);
        if (n->czxid < a->txn->zxid) {
            broken(a, "the znode to delete has children since an earlier transaction");
            return;
        }
        struct znode *parent = n->parent;
        remove_child(a, n);
        n = parent;
    }
}

static void delete_found(struct apply *a, const struct txn_op *op, struct znode *n) {
    if (a->txn->type == TXN_CLOSE_SESSION && znode_owner(n) != a->txn->session_id) {
        broken(a, "a closed session deletes a znode that it does not own");
        return;
    }
    if (znode_child_count(n) > 0) {
        broken_if_exact(a, "the znode to delete has children");
        if (!a->t->broken)
            remove_below(a, n);
        if (a->t->broken)
            return;
    }
    digest_take(a->t, blob_slice(op->path), n);
    tree_remove(a->t, n, op->path->len);
    add_child_events(a, EVENT_NODE_DELETED, op);
}

static void apply_delete(struct apply *a, const struct txn_op *op) {
    struct slice parent_path = path_parent(blob_slice(op->path));
    struct znode *parent = find(a, parent_path);
    uint64_t key = 0, before = 0;
    struct znode *n = NULL;
    if (parent) {
        key = digest_key(parent_path);
        before = digest_family(key, parent);
        n = tree_child_mutable(a->t, parent, path_name(blob_slice(op->path)));
    }
    if (n && n->czxid <= a->txn->zxid)
        delete_found(a, op, n);
    else
        broken_if_exact(a, "the znode to delete does not exist");
    if (parent) {
        grow_pzxid(a, parent);
        digest_add(a->t, parent, digest_family(key, parent) - before);
    }
    add_stat(a, NULL);
}

static void apply_set_data(struct apply *a, const struct txn_op *op) {
    struct znode *n = find(a, blob_slice(op->path));
    if (!n) {
        broken_if_exact(a, "the znode to set the data of does not exist");
    } else if (n->mzxid <= a->txn->zxid) {
        uint64_t key = digest_take(a->t, blob_slice(op->path), n);
        tree_set_data(a->t, n, op->data);
        n->version = op->version;
        n->mzxid = a->txn->zxid;
        n->mtime_ms = a->txn->time_ms;
        digest_put(a->t, key, n);
        if (a->changes)
            add_event(a, EVENT_NODE_DATA_CHANGED, blob_ref(op->path));
    }
    add_stat(a, n);
}

static void apply_set_acl(struct apply *a, const struct txn_op *op) {
    struct znode *n = find(a, blob_slice(op->path));
    if (!n) {
        broken_if_exact(a, "the znode to set the ACL of does not exist");
    } else if (!later(n->aversion, op->version)) {
        uint64_t key = digest_take(a->t, blob_slice(op->path), n);
        tree_set_acl(a->t, n, op->acl);
        n->aversion = op->version;
        digest_put(a->t, key, n);
    }
    add_stat(a, n);
}

static void apply_check(struct apply *a, const struct txn_op *op) {
    if (!find(a, blob_slice(op->path)))
        broken_if_exact(a, "the znode to check does not exist");
    add_stat(a, NULL);
}

static void apply_op(struct apply *a, const struct txn_op *op) {
    switch (op->type) {
    case TXN_OP_CREATE:
        apply_create(a, op);
        return;
    case TXN_OP_DELETE:
        apply_delete(a, op);
        return;
    case TXN_OP_SET_DATA:
        apply_set_data(a, op);
        return;
    case TXN_OP_SET_ACL:
        apply_set_acl(a, op);
        return;
    case TXN_OP_CHECK:
        apply_check(a, op);
        return;
    }
    broken(a, "an operation of an unknown type");
    add_stat(a, NULL);
}

void tree_apply(struct tree *t, const struct txn *txn, struct tree_changes *ret_changes) {
    CHECK(!t->broken);
    CHECK(!tree_is_loading(t));
    CHECK(txn->zxid > t->last_zxid);
    struct apply a = {t, txn, ret_changes, txn->zxid > t->fuzzy_until};
    if (ret_changes)
        tree_changes_reset(ret_changes);
    uint32_t count = txn->type == TXN_OPS || txn->type == TXN_CLOSE_SESSION ? txn->op_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (t->broken)
            add_stat(&a, NULL); /* there is one for each operation in any case */
        else
            apply_op(&a, &txn->ops[i]);
    }
    if (!t->broken && txn->type == TXN_CLOSE_SESSION && ephemeral_owner(t, txn->session_id))
        broken(&a, "a closed session still owns ephemerals");
    if (!t->broken)
        t->last_zxid = txn->zxid;
}

void tree_pass_epoch(struct tree *t, zxid_t zxid) {
    CHECK(!t->broken);
    CHECK(zxid > t->last_zxid);
    t->last_zxid = zxid;
}

const char *tree_broken(const struct tree *t) { return t->broken; }

void tree_changes_init(struct tree_changes *c) { *c = (struct tree_changes){0}; }

void tree_changes_reset(struct tree_changes *c) {
    for (size_t i = 0; i < c->event_count; i++)
        blob_unref(c->events[i].path);
    c->event_count = 0;
    c->stat_count = 0;
}

void tree_changes_close(struct tree_changes *c) {
    tree_changes_reset(c);
    mem_free(c->events);
    mem_free(c->stats);
    tree_changes_init(c);
}
