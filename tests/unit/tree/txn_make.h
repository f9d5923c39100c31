/* Transactions and pictures of trees for the tests of the tree. Texts are C strings; data NULL is
 * null. */
#ifndef ZKFS_TESTS_UNIT_TREE_TXN_MAKE_H
#define ZKFS_TESTS_UNIT_TREE_TXN_MAKE_H

#include "common/buf.h"
#include "common/prng.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/txn.h"

#define OPEN_ACL "world:anyone:cdrwa"

/* A TXN_OPS of n operations, to be filled with the op_* below; time_ms is 1000 * zxid. */
struct txn *make_txn(zxid_t zxid, uint32_t n);
struct txn *make_typed(enum txn_type type, zxid_t zxid, session_id_t session_id, uint32_t n);
void op_create(struct txn_op *op, const char *path, const char *data, session_id_t owner,
               int32_t parent_creates);
void op_delete(struct txn_op *op, const char *path);
void op_set_data(struct txn_op *op, const char *path, const char *data, int32_t version);
void op_set_acl(struct txn_op *op, const char *path, const char *acl, int32_t version);
void op_check(struct txn_op *op, const char *path);

struct blob *text_blob(const char *text); /* NULL: NULL */
const struct znode *find(const struct tree *t, const char *path);
struct zstat stat_of(const struct tree *t, const char *path); /* the znode must be there */

/* One transaction of one operation, prepared against the tree as a leader does it, applied and
 * freed. */
void do_create(struct tree *t, zxid_t zxid, const char *path, const char *data);
void do_create_owned(struct tree *t, zxid_t zxid, const char *path, session_id_t owner);
void do_delete(struct tree *t, zxid_t zxid, const char *path);
void do_set_data(struct tree *t, zxid_t zxid, const char *path, const char *data);
void do_set_acl(struct tree *t, zxid_t zxid, const char *path, const char *acl);
/* Applies, frees, and gives back what tree_broken says. */
const char *do_txn(struct tree *t, struct txn *txn);

/* The names of the children in order, with commas. Static storage. */
const char *children_of(const struct tree *t, const char *path);
/* The whole tree as text: each znode with all that it has, siblings by (czxid, name), and the sums.
 * Checks on the way that siblings stand by czxid and that links and counts agree. The caller frees.
 */
char *tree_picture(const struct tree *t);

#endif
