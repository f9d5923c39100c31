/* A transaction: what the leader decided, with its results, so that applying it needs no decision
 * and can be repeated (Z9; ZAB-BUGS R11, S25). Single operations and multis have the same form. */
#ifndef ZKFS_REPLICA_TREE_TXN_H
#define ZKFS_REPLICA_TREE_TXN_H

#include "common/blob.h"
#include "common/types.h"

enum txn_type {
    TXN_OPS = 1, /* `ops`, all of them or none; `multi` says how the client asked */
    TXN_ERROR,   /* refused: `err`, for a multi at `error_index` of `op_count`; changes nothing */
    TXN_CREATE_SESSION, /* session_id, timeout_ms */
    TXN_CLOSE_SESSION,  /* session_id; `ops` are the deletes of its ephemerals */
    TXN_ENSEMBLE, /* the first of a new ensemble: `secret`, that keys the sessions' passwords */
};

enum txn_op_type {
    TXN_OP_CREATE = 1, /* path (final), data, acl, owner, parent_creates */
    TXN_OP_DELETE,     /* path */
    TXN_OP_SET_DATA,   /* path, data, version */
    TXN_OP_SET_ACL,    /* path, acl, version (the new aversion) */
    TXN_OP_CHECK,      /* path; changes nothing, keeps the multi's results aligned */
};

struct txn_op {
    enum txn_op_type type;
    struct blob *path;
    struct blob *data;  /* NULL: null data */
    struct blob *acl;   /* common/acl.h's form */
    int32_t version;    /* the resulting one */
    session_id_t owner; /* ephemeralOwner (common/ephemeral_type.h) */
    /* The parent's count of creations after this one: it numbers sequential znodes, and the
     * cversion that clients see is 2 * creates - children (as ZooKeeper's DataNode.copyStat
     * computes it). */
    int32_t parent_creates;
};

struct txn {
    enum txn_type type;
    zxid_t zxid;
    session_id_t session_id; /* who asked; 0 for the service itself */
    int32_t cxid;            /* the request's xid */
    int64_t time_ms;         /* wall clock of the leader: ctime, mtime */
    bool multi;
    int32_t timeout_ms;
    bool retries; /* CREATE_SESSION: keeps results for exactly-once retries */
    int32_t err;  /* enum zk_err */
    uint32_t error_index;
    struct blob *secret;
    struct txn_op *ops;
    uint32_t op_count; /* of a refused multi too, though `ops` is NULL then */
};

/* No transaction has more operations, nor did a refused one: each takes 17 bytes at least in the
 * client's frame, whose length is an int32. */
#define TXN_OPS_MAX (1u << 27)

struct txn *txn_new(enum txn_type type, uint32_t op_count); /* ops zeroed; none for TXN_ERROR */
void txn_free(struct txn *t);                               /* unrefs its blobs; NULL is fine */
/* NULL, or why this is no transaction that could be logged and read back (static text): unknown
 * types, missing or malformed paths and ACLs, numbers that contradict each other. txn_encode CHECKs
 * it. */
const char *txn_invalid_reason(const struct txn *t);

#endif
