/* A tree of Apache ZooKeeper's, made of a snapshot (that may be fuzzy) and the transactions behind
 * it, into ours. What Apache's DataTree has and ours does not is kept here until the end: its
 * sessions, its numbers of ACLs. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_TREE_H
#define ZKFS_REPLICA_OFFLINE_APACHE_TREE_H

#include "common/buf.h"
#include "common/jute.h"
#include "replica/offline/apache_txn.h"
#include "replica/tree/tree.h"

struct apache_tree;

/* A znode as a snapshot has it; all of it is borrowed. */
struct apache_znode {
    struct slice path; /* the root's is empty */
    struct slice data;
    int64_t acl;       /* its number, or -1 for the one that lets everybody do everything */
    struct zstat stat; /* of StatPersisted: cversion is how many children were ever created */
};

struct apache_tree *apache_tree_new(void);
void apache_tree_free(struct apache_tree *t); /* NULL is fine */

/* A snapshot's parts. NULL, or why they are refused (static text). */
void apache_tree_session(struct apache_tree *t, session_id_t id);
const char *apache_tree_acl(struct apache_tree *t, int64_t number, const struct jvec *acl);
const char *apache_tree_znode(struct apache_tree *t, const struct apache_znode *z);
/* The walk over the tree began behind `zxid` and its end is not known: transactions behind zxid may
 * be in it already. Also said, with 0, where there was no snapshot. NULL, or why it is refused. */
const char *apache_tree_loaded(struct apache_tree *t, zxid_t zxid);

/* Applies the next transaction (its zxid is above apache_tree_last, CHECK). NULL, or why it does
 * not fit (static text). */
const char *apache_tree_apply(struct apache_tree *t, const struct apache_txn *txn);
zxid_t apache_tree_last(const struct apache_tree *t);

/* After the last transaction: whether the tree is whole. Then it is exact. 0; or -EBADMSG and
 * ret_why. */
int apache_tree_check(struct apache_tree *t, struct buf *ret_why);
/* The digest that Apache keeps of such a tree. */
int64_t apache_tree_digest(struct apache_tree *t);

/* What was made of it. */
struct apache_result {
    uint64_t sessions, ephemerals; /* that were ended, and went with them */
    uint64_t containers, ttls;     /* that are there */
};

/* Last: ends the sessions (end_sessions.h). 0; or -EBADMSG and ret_why. */
int apache_tree_end_sessions(struct apache_tree *t, struct apache_result *ret_result,
                             struct buf *ret_why);
/* Borrowed. */
struct tree *apache_tree_tree(struct apache_tree *t);

#endif
