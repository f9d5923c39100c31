/* Read-only mode (readonlymode.enabled): while there is no quorum, clients that ask for it read
 * what is applied here. Nothing of theirs is replicated; when a quorum is back, their connections
 * are closed, and they come back as ordinary clients, with the session that they had before. */
#ifndef ZKFS_REPLICA_SERVER_READ_ONLY_H
#define ZKFS_REPLICA_SERVER_READ_ONLY_H

#include "replica/server/core.h"

/* Whether such clients are taken now. */
bool read_only_active(const struct replica *r);
/* Answers the handshake q of a client, or closes its connection. */
void read_only_connect(struct replica *r, struct request *q,
                       const struct proto_connect_request *req);
/* A request of such a client that is no read: answered here, true. */
bool read_only_answer(struct replica *r, struct conn *c, int32_t xid, int32_t opcode);
/* A quorum is back: closes their connections. */
void read_only_end(struct replica *r);

#endif
