/* The one way to change the tree: commit, sync and replay all come through here. Applying a
 * transaction twice, or one whose effects a fuzzy snapshot already has, leaves the same tree (Z9).
 */
#ifndef ZKFS_REPLICA_TREE_TREE_APPLY_H
#define ZKFS_REPLICA_TREE_TREE_APPLY_H

#include "common/proto.h"
#include "replica/tree/tree.h"
#include "replica/tree/txn.h"

/* What watchers of `path` are to hear. A creation makes CREATED(path) then
 * CHILDREN_CHANGED(parent), a deletion DELETED(path) then CHILDREN_CHANGED(parent), a setData
 * DATA_CHANGED(path). */
struct tree_event {
    enum zk_event type;
    struct blob *path; /* owned by the tree_changes */
};

struct tree_changes {
    struct tree_event *events;
    size_t event_count;
    struct zstat *stats; /* one per op of the txn: the znode's Stat right after that op (zero for a
                            delete and a check) */
    size_t stat_count;
    size_t event_cap, stat_cap;
};

void tree_changes_init(struct tree_changes *c);
void tree_changes_reset(struct tree_changes *c); /* for the next txn; keeps memory */
void tree_changes_close(struct tree_changes *c);

/* Applies txn (zxid above tree_last_zxid, CHECK) as a whole and sets tree_last_zxid. `ret_changes`
 * is reset first; NULL when nobody cares (replay). Session txns change only their ephemerals here;
 * who lives is server/session's. */
void tree_apply(struct tree *t, const struct txn *txn, struct tree_changes *ret_changes);
/* The record of zxid (above tree_last_zxid, CHECK) is the beginning of an epoch, and changes
 * nothing. It counts as applied all the same, so that a snapshot that is taken here stands for it.
 */
void tree_pass_epoch(struct tree *t, zxid_t zxid);

/* NULL, or why the last transaction did not fit the tree (static text): a broken invariant, of this
 * tree or of the log. The tree is then somewhere inside that transaction, tree_last_zxid is before
 * it, and nothing may be answered from it: the core asks after every tree_apply, and stops. Finding
 * znodes in it or applying more to it is the caller's error (CHECK).
 *
 * What never fits: an operation on a znode that is not there, a creation of one that is or below an
 * ephemeral, a deletion of one with children, a count of creations that does not grow, a closed
 * session that still owns something. A replay over a fuzzy snapshot (tree_load.h) meets some of
 * these legally, for the snapshot may be ahead of the log there; tree_apply.c says which. */
const char *tree_broken(const struct tree *t);

#endif
