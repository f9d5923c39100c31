/* The overlay of changes in flight: what a znode will be once every proposal made so far is
 * applied. Preparing a request looks here first and then into the tree (ZooKeeper's
 * outstandingChanges). An entry lives from the first proposal that touches its znode until the last
 * one is committed. */
#ifndef ZKFS_REPLICA_SERVER_PENDING_H
#define ZKFS_REPLICA_SERVER_PENDING_H

#include "common/blob.h"
#include "replica/tree/tree.h"

/* A znode as preparation sees it. */
struct pending_state {
    bool exists;
    int32_t version, aversion;
    int32_t creates; /* children ever created */
    uint32_t children;
    struct blob *acl; /* borrowed */
    session_id_t owner;
    zxid_t zxid; /* the last proposal that changed it; 0: only the tree's */
};

struct pending;

struct pending *pending_new(const struct tree *tree); /* borrows tree */
void pending_free(struct pending *p);

/* Any bytes may be looked up: what is no valid path is no znode. "" is the root, as in ZooKeeper.
 */
void pending_get(const struct pending *p, struct slice path, struct pending_state *ret_state);

/* A request's changes: begin, any number of puts, then keep or roll back. A put replaces what
 * pending_get says of a valid path; the state's acl is referenced. */
void pending_begin(struct pending *p);
void pending_put(struct pending *p, struct slice path, const struct pending_state *state);
/* The znode goes, its parent has a child less: puts of both. */
void pending_delete(struct pending *p, struct slice path, zxid_t zxid);
void pending_rollback(struct pending *p);

/* The transaction is in the tree now: entries that no later proposal touched are dropped. */
void pending_release(struct pending *p, const struct txn *txn);

/* Begins afresh, for a new leader: counts what each session owns in the tree. */
void pending_load_owner(struct pending *p, session_id_t owner);
/* Bytes of the closeSession that would delete everything that owner has, in flight included. */
uint64_t pending_owner_bytes(const struct pending *p, session_id_t owner);
uint64_t pending_owner_cost(struct slice path); /* what one znode adds to it */
/* Calls fn with each path that owner will own once all proposals are applied. */
typedef void pending_path_fn(void *ctx, struct slice path);
void pending_owned(struct pending *p, session_id_t owner, pending_path_fn *fn, void *ctx);

uint64_t pending_count(const struct pending *p); /* entries */

#endif
