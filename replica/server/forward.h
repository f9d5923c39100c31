/* The way of a request to where it is prepared: here, when this server leads; else to the leader,
 * in a message. Its transaction comes back with session and xid, which say whom it answers. */
#ifndef ZKFS_REPLICA_SERVER_FORWARD_H
#define ZKFS_REPLICA_SERVER_FORWARD_H

#include "replica/server/core.h"

/* Whether a request may go out now. */
bool forward_ready(const struct replica *r);
/* Sends q (a write, a sync, a handshake) on its way; forward_ready holds. False when it could not
 * go: it has to be held. */
bool forward_send(struct replica *r, struct request *q, struct slice body);
/* Sends what is held, here and from learners, in the order in which it came. */
void forward_release(struct replica *r);
/* What the transaction of a session that comes back carries as its xid, so that the connection that
 * asked is known: the server and the end of its number. */
#define FORWARD_TOKEN_SERVER_SHIFT 24
int32_t forward_token(uint8_t server, uint64_t conn);

#endif
