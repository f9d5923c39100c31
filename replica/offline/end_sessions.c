#include "replica/offline/end_sessions.h"

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"

#include <errno.h>

/* NULL when an ephemeral has children. */
static struct txn *deletions(struct tree *t) {
    struct txn *txn = txn_new(TXN_OPS, (uint32_t)tree_ephemeral_count(t));
    struct tree_walk *walk = tree_walk_new(t);
    struct znode_image image;
    uint32_t at = 0;
    bool childless = true;
    while (tree_walk_next(walk, &image)) {
        if (ephemeral_type(image.stat.ephemeral_owner) != EPHEMERAL_NORMAL)
            continue;
        CHECK(at < txn->op_count);
        txn->ops[at++] =
            (struct txn_op){.type = TXN_OP_DELETE, .path = blob_from_slice(image.path)};
        childless = childless && image.stat.num_children == 0;
    }
    CHECK(at == txn->op_count);
    tree_walk_free(walk);
    if (childless)
        return txn;
    txn_free(txn);
    return NULL;
}

int end_sessions_drop(struct tree *t, uint64_t *ret_count) {
    uint64_t count = tree_ephemeral_count(t);
    zxid_t last = tree_last_zxid(t);
    CHECK(tree_exact(t));
    CHECK(count <= TXN_OPS_MAX);
    if (count > 0) {
        struct txn *txn = deletions(t);
        if (!txn)
            return -EBADMSG;
        txn->zxid = last;
        /* The last transaction is made once more, so to speak, and now has these deletions, too. */
        CHECK(!tree_load_end(t, last - 1, last));
        tree_apply(t, txn, NULL);
        CHECK(!tree_broken(t));
        txn_free(txn);
    }
    *ret_count = count;
    return 0;
}
