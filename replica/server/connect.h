/* The handshake: ConnectRequest, new sessions, sessions that come back, and their end. */
#ifndef ZKFS_REPLICA_SERVER_CONNECT_H
#define ZKFS_REPLICA_SERVER_CONNECT_H

#include "replica/server/core.h"

/* The first frame of a connection. May close it. */
void connect_request(struct replica *r, struct conn *c, struct slice frame);
/* Begins the ConnectResponse of a session as a frame; the caller ends or drops it. */
void connect_write(struct replica *r, struct conn *c, int32_t timeout_ms, session_id_t id);
/* The session of c has its CREATE_SESSION applied. */
void connect_created(struct replica *r, struct session *s);
/* Everything that the session proposed before is applied: the reconnect is answered. May close c.
 */
void connect_reconnected(struct replica *r, struct conn *c, struct request *q);
/* Proposes the end of sessions that are due. */
void connect_expire(struct replica *r);

#endif
