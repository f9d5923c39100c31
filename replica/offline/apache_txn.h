/* A transaction of Apache ZooKeeper's log (zookeeper.jute, module org.apache.zookeeper.txn): a
 * TxnHeader, the record of its type, and since 3.6 the digest of the tree behind it. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_TXN_H
#define ZKFS_REPLICA_OFFLINE_APACHE_TXN_H

#include "common/jute.h"
#include "common/types.h"

enum apache_op_type {
    APACHE_OP_CREATE,   /* path, data, acl, owner, version: the parent's count of creations */
    APACHE_OP_DELETE,   /* path */
    APACHE_OP_SET_DATA, /* path, data, version */
    APACHE_OP_SET_ACL,  /* path, acl, version */
};

/* Everything is borrowed from the transaction's bytes. */
struct apache_op {
    enum apache_op_type type;
    struct slice path; /* valid, and never the root where a znode comes or goes */
    struct slice data;
    struct jvec acl;
    session_id_t owner; /* ephemeralOwner (common/ephemeral_type.h) */
    int32_t version;    /* of a creation -1: not known, one more than before */
};

enum apache_txn_type {
    APACHE_TXN_OPS,     /* none of them for a refused request */
    APACHE_TXN_SESSION, /* session_id lives from here on */
    APACHE_TXN_CLOSE,   /* session_id ends; ops delete the ephemerals that were named, if any */
};

struct apache_txn {
    enum apache_txn_type type;
    session_id_t session_id;
    int32_t cxid;
    zxid_t zxid;
    int64_t time_ms;
    struct apache_op *ops; /* owned */
    uint32_t op_count;
    bool has_digest;
    int64_t digest; /* of the tree behind it */
};

/* NULL and a transaction for apache_txn_close; or why these bytes are none (static text). */
const char *apache_txn_decode(struct slice bytes, struct apache_txn *ret_txn);
void apache_txn_close(struct apache_txn *t);

#endif
