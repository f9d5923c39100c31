/* The znode tree in memory. Only tree_apply changes it. Znodes are found by (parent, name) in one
 * hash table and chained to their siblings in order of creation, so that a listing never depends on
 * a hash. A new tree holds what Apache's does: /, /zookeeper, its quota and config. */
#ifndef ZKFS_REPLICA_TREE_TREE_H
#define ZKFS_REPLICA_TREE_TREE_H

#include "common/blob.h"
#include "common/types.h"
#include "common/zstat.h"
#include "replica/tree/txn.h"

struct tree;
struct znode;

struct tree *tree_new(void);
void tree_free(struct tree *t);

/* NULL when there is none. The path is valid. Borrowed until the next tree_apply. The
 * tree is not broken (tree_apply.h; CHECK). */
const struct znode *tree_find(const struct tree *t, struct slice path);
/* The child of that name, NULL when there is none: one step of tree_find. */
const struct znode *tree_child(const struct tree *t, const struct znode *parent, struct slice name);
zxid_t tree_last_zxid(const struct tree *t); /* of the last transaction applied, whole (R11) */
uint64_t tree_znode_count(const struct tree *t);
/* Paths and data, as mntr's approximate_data_size. */
uint64_t tree_data_bytes(const struct tree *t);
uint64_t tree_ephemeral_count(const struct tree *t);

/* As clients see it: of containers and TTL znodes ephemeralOwner is 0 (Apache's DataNode.copyStat).
 */
void znode_stat(const struct znode *n, struct zstat *ret_stat);
const struct blob *znode_data(const struct znode *n); /* NULL: null */
struct blob *znode_acl(const struct znode *n);        /* borrowed */
struct slice znode_name(const struct znode *n);
const struct znode *znode_parent(const struct znode *n);
uint32_t znode_child_count(const struct znode *n);
/* How many children were ever created: it numbers sequential znodes. */
int32_t znode_creates(const struct znode *n);
session_id_t znode_owner(const struct znode *n); /* ephemeralOwner (common/ephemeral_type.h) */
const struct znode *znode_first_child(const struct znode *n);
const struct znode *znode_next_sibling(const struct znode *n);
/* A new blob with the full path. */
struct blob *znode_path(const struct znode *n);

/* The ephemerals of a session in order of creation: *at is NULL to begin, the result NULL at the
 * end. Not to be mixed with tree_apply. */
const struct znode *tree_next_ephemeral(const struct tree *t, session_id_t owner, void **at);
/* Sessions that own ephemerals: for `dump`. */
uint64_t tree_owner_count(const struct tree *t);

/* A round over the containers and TTL znodes, which are no ephemerals: NULL at its end. The tree
 * may change between two steps; what goes is passed over, what comes meanwhile is met as well, but
 * not when it comes behind the last step: a round need not end before they stop coming.
 * There is one round at a time. */
void tree_begin_extended(struct tree *t);
const struct znode *tree_next_extended(struct tree *t);
uint64_t tree_extended_count(const struct tree *t);

#endif
