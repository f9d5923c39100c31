/* The order of one connection: replies leave as the requests came. A read waits only behind writes
 * of its own connection; what nothing is in front of is answered at once. Also the back-pressure:
 * too many requests or bytes in queues pause the connections that make them. */
#ifndef ZKFS_REPLICA_SERVER_ORDER_H
#define ZKFS_REPLICA_SERVER_ORDER_H

#include "replica/server/core.h"

/* A new request at the end of c's queue, its body copied (len may be 0). */
struct request *order_push(struct replica *r, struct conn *c, enum request_kind kind, int32_t xid,
                           int32_t opcode, struct slice body);
/* Whether a read may be answered at once. */
bool order_is_clear(const struct replica *r, const struct conn *c);
/* The request waits until the marker is passed. True when it is already. */
bool order_await(struct replica *r, struct request *q, zab_marker marker);
/* The marker of some requests may be passed: answers those whose turn it is. */
void order_markers(struct replica *r);
/* A write that cannot be proposed now is held; order_release prepares all that are held, in order.
 */
void order_hold(struct replica *r, struct request *q);
void order_release(struct replica *r);
/* Takes the first request of its connection's queue away, answered. */
void order_pop(struct replica *r, struct conn *c);
/* Answers from the queue's head on, up to what still waits. The connection may be gone afterwards.
 */
void order_drain(struct replica *r, struct conn *c);
/* Goes on with what earlier steps left over. */
void order_run(struct replica *r);
/* The connection is gone: its queue goes; writes in flight go on without it. */
void order_drop(struct replica *r, struct conn *c);
/* After a request came: pauses c when there is too much. */
void order_throttle(struct replica *r, struct conn *c);

void request_free(struct request *q);

#endif
