/* Preparing: a request becomes a transaction that carries its results, made from the tree and what
 * is in flight. A refusal is a transaction too, so that the order holds (DESIGN 3). The checks come
 * in the order of ZooKeeper's PrepRequestProcessor, for it decides which of several errors is seen.
 */
#ifndef ZKFS_REPLICA_SERVER_PREP_H
#define ZKFS_REPLICA_SERVER_PREP_H

#include "replica/server/core.h"

/* What preparation has to know of a request, wherever its client is connected. Borrowed. */
struct demand {
    session_id_t session_id;
    int32_t cxid, opcode;
    int32_t timeout_ms;         /* OP_CREATE_SESSION, prep_reconnect */
    bool retries;               /* OP_CREATE_SESSION */
    struct slice body;          /* the record; len 0 for none */
    const struct auth_ids *ids; /* not of a session's own requests */
    uint32_t auth_count;
    uint8_t from; /* the server with the connection */
};

/* One request being prepared. */
struct prep {
    struct replica *r;
    const struct auth_ids *ids;
    uint32_t auth_count;
    struct session *session;
    zxid_t zxid; /* that it will get */
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

/* Makes a transaction of d and proposes it; zab_ready must hold. Nothing is proposed for a request
 * that comes through a server which the session has left: the transaction that moved it is before
 * all that is still to come, and closes that connection (SESSIONMOVED). */
void prep_demand(struct replica *r, const struct demand *d);
/* Proposes that the session goes on at d->from, which asked with d->cxid (forward_token). False
 * when it has ended or is about to. */
bool prep_reconnect(struct replica *r, const struct demand *d);
/* Proposes the end of a session and of its ephemerals. */
void prep_close_session(struct replica *r, struct session *s, int32_t cxid);
/* deleteContainer: proposes the deletion of a container or a TTL znode of the tree, which nobody
 * asks for. False, and nothing is proposed, when it has children or something that is in flight
 * changes it; the next round comes back to it. zab_ready must hold. */
bool prep_delete_extended(struct replica *r, struct slice path);

/* prep_ops.c: one operation. Decodes its record; ZK_MARSHALLINGERROR when it is none. */
enum zk_err prep_op(struct prep *p, int32_t opcode, const union prep_record *rec,
                    struct txn_op *op);
/* The record that an opcode's request is, or false when it is no single write. */
bool prep_decode(struct cursor *c, int32_t opcode, union prep_record *ret_record);

/* prep_multi.c: a txn of type TXN_OPS or TXN_ERROR. */
struct txn *prep_multi(struct prep *p, struct slice body);
/* The kinds of a multi's results, for the answer: the caller frees ret_types. Count 0 when it is
 * malformed. */
void prep_multi_types(struct slice body, int32_t **ret_types, uint32_t *ret_count);
/* A refusal. */
struct txn *prep_error(enum zk_err err);

#endif
