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
/* Whether a write or a sync that comes now has to keep its body: it cannot go out at once, or the
 * leader that it goes to may be lost. */
bool order_keeps_body(const struct replica *r, const struct conn *c);
/* A request that goes to the leader, with its body (the caller's or its own): out at once if that
 * can be, held if not; it waits where its connection's handshake is not over. */
void order_submit(struct replica *r, struct request *q, struct slice body);
/* A sync has passed, or is gone: it holds nobody up any more. */
void order_passed(struct request *q);
/* The handshake of c is over as far as others wait for it, or its syncs are: submits those. */
void order_unblock(struct replica *r, struct conn *c);
/* Puts q at the end of what is held. */
void order_hold(struct replica *r, struct request *q);
/* Puts q back where it was, at the beginning. */
void order_hold_first(struct replica *r, struct request *q);
/* The leader is lost: everything that went out is held again, in order. */
void order_hold_all(struct replica *r);
/* Takes q out of the list of the core's that it stands in, if any. */
void order_unlist(struct request *q);
/* The request of c that txn answers: the oldest that is not answered and went out, if it is that
 * one's; `moves` says that a CREATE_SESSION's session was there before. NULL: none. */
struct request *order_match(struct conn *c, const struct txn *txn, bool moves);
/* Takes the first request of its connection's queue away, answered. */
void order_pop(struct replica *r, struct conn *c);
/* Answers from the queue's head on, up to what still waits. The connection may be gone afterwards.
 */
void order_drain(struct replica *r, struct conn *c);
/* Every connection is looked at in order_run: reads may be answered again. */
void order_run_all(struct replica *r);
/* Goes on with what earlier steps left over. */
void order_run(struct replica *r);
/* The connection is gone: its queue goes; writes in flight go on without it. */
void order_drop(struct replica *r, struct conn *c);
/* After a request came: pauses c when there is too much. */
void order_throttle(struct replica *r, struct conn *c);

void request_free(struct request *q);

#endif
