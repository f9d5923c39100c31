/* Preparing: a request becomes a transaction that carries its results, made from the tree and what
 * is in flight. A refusal is a transaction too, so that the order holds (DESIGN 3). The checks come
 * in the order of ZooKeeper's PrepRequestProcessor, for it decides which of several errors is seen.
 */
#ifndef ZKFS_REPLICA_SERVER_PREP_H
#define ZKFS_REPLICA_SERVER_PREP_H

#include "replica/server/core.h"

/* One request being prepared. */
struct prep {
    struct replica *r;
    const struct conn *conn;
    struct session *session;
    uint32_t auth_count;
    zxid_t zxid; /* that it will get */
    bool multi;
};

/* One operation of a client, decoded. */
union prep_record {
    struct proto_create_request create;
    struct proto_create_ttl_request create_ttl;
    struct proto_delete_request delete;
    struct proto_set_data_request set_data;
    struct proto_set_acl_request set_acl;
    struct proto_check_version_request check;
};

/* Proposes q, or holds it while nothing can be proposed. body is its record. */
void prep_or_hold(struct replica *r, struct request *q, struct slice body);
/* Proposes q; zab_ready must hold. */
void prep_request(struct replica *r, struct request *q, struct slice body);
/* Proposes the end of a session and of its ephemerals; q is the client's closeSession or NULL. */
void prep_close_session(struct replica *r, struct session *s, int32_t cxid, struct request *q);

/* prep_ops.c: one operation. Decodes its record; ZK_MARSHALLINGERROR when it is none. */
enum zk_err prep_op(struct prep *p, int32_t opcode, const union prep_record *rec,
                    struct txn_op *op);
/* The record that an opcode's request is, or false when it is no single write. */
bool prep_decode(struct cursor *c, int32_t opcode, union prep_record *ret_record);

/* prep_multi.c: a txn of type TXN_OPS or TXN_ERROR; fills q's multi_types. */
struct txn *prep_multi(struct prep *p, struct request *q, struct slice body);
/* A refusal. */
struct txn *prep_error(enum zk_err err);

#endif
