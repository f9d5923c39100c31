/* Frames of clients: from bytes to something that order, prep or read can take. */
#ifndef ZKFS_REPLICA_SERVER_REQUEST_H
#define ZKFS_REPLICA_SERVER_REQUEST_H

#include "replica/server/core.h"

/* One whole frame of c. May close it. */
void request_frame(struct replica *r, struct conn *c, struct slice frame);

#endif
