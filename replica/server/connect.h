/* The handshake: ConnectRequest, new sessions, sessions that come back, and their end. */
#ifndef ZKFS_REPLICA_SERVER_CONNECT_H
#define ZKFS_REPLICA_SERVER_CONNECT_H

#include "replica/server/core.h"

/* The first frame of a connection. May close it. */
void connect_request(struct replica *r, struct conn *c, struct slice frame);
/* Begins the ConnectResponse of a session as a frame; the caller ends or drops it. */
void connect_write(struct replica *r, struct conn *c, int32_t timeout_ms, session_id_t id);
/* Tells the client that it has no session any more, and closes c. */
void connect_refuse(struct replica *r, struct conn *c, const char *why);
/* Looks again at the handshakes that wait: more is applied, this server serves, or time went by. */
void connect_waiting(struct replica *r);
/* When connect_waiting is due for time's sake; INT64_MAX: it is not. */
int64_t connect_deadline(const struct replica *r);
/* c's session has ended without its client's asking. Closes c. */
void connect_ended(struct replica *r, struct conn *c, session_id_t id);
/* The session of c goes on elsewhere, by txn: what c had under way and was not done is answered
 * with SESSIONMOVED, and c closed. */
void connect_moved(struct replica *r, struct conn *c, const struct txn *txn);
/* c goes: so does a session that only it knows. */
void connect_left(struct replica *r, struct conn *c);
/* Proposes the end of sessions that are due. */
void connect_expire(struct replica *r);

#endif
