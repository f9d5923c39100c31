/* Answers to requests and watch events, as frames in the step's updates. */
#ifndef ZKFS_REPLICA_SERVER_REPLY_H
#define ZKFS_REPLICA_SERVER_REPLY_H

#include "replica/server/core.h"

/* Begins an answer with its header; the caller writes the record, if any, into the result. */
struct buf *reply_begin(struct replica *r, struct conn *c, int32_t xid, zxid_t zxid,
                        enum zk_err err);
void reply_end(struct replica *r, struct conn *c);
/* Takes back what was begun, to answer something else. */
void reply_drop(struct replica *r);
/* Header alone. */
void reply_header(struct replica *r, struct conn *c, int32_t xid, zxid_t zxid, enum zk_err err);
/* Counts an answered request: latency, and what `cons` tells of its connection. */
void reply_count(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                 int64_t arrived_ms);

/* Answers the write q, whose txn was just applied: at once when it is its connection's first, else
 * it is rendered and waits. The connection may be gone afterwards. */
void reply_committed(struct replica *r, struct request *q, const struct txn *txn,
                     const struct tree_changes *changes);
/* The first result of q, when this write of its session was done before: rendered, true. Its turn
 * is all that it waits for then. */
bool reply_from_results(struct replica *r, struct request *q);
/* Renders a refusal as q's answer. */
void reply_render_error(struct replica *r, struct request *q, enum zk_err err);
/* Sends what was rendered. */
void reply_send_rendered(struct replica *r, struct conn *c, struct request *q);

/* A watch event for the connection, if it is still there. zxid: of the change; -1: not known. Only
 * clients of our own kind are shown it, in the header: 3.8's say -1 there. */
void reply_event(struct replica *r, conn_id_t conn, zxid_t zxid, enum zk_event event,
                 struct slice path);

#endif
