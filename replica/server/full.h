/* A disk without room (Z10, docs/recovery.md). What is to be written waits in the store, and every
 * FULL_RETRY_MS it is tried again. Meanwhile a leader holds what its clients and its learners'
 * write, in order, as one that can propose nothing: for a while, until it has a successor; and as
 * long as no quorum has room. The store has given up a reserve, so what is small and has to be goes
 * on: sessions end, come back and, so many of them, begin. */
#ifndef ZKFS_REPLICA_SERVER_FULL_H
#define ZKFS_REPLICA_SERVER_FULL_H

#include "replica/server/core.h"

void full_begin(struct replica *r); /* EV_DISK_FULL */
void full_end(struct replica *r);   /* EV_DISK_ROOM */
/* Asks for the next try when it is due. */
void full_run(struct replica *r);
int64_t full_deadline(const struct replica *r); /* INT64_MAX: none */

/* Whether clients' writes are held. */
bool full_holds(const struct replica *r);
/* Whether q, a request that goes to the leader, may go out all the same. It counts as gone. */
bool full_admit(struct replica *r, const struct request *q);
/* Whether one more session may begin. It counts as begun. */
bool full_admit_session(struct replica *r);
/* Sends what is held and may go out all the same. */
void full_release(struct replica *r);

/* For admin words: a line while the disk is full, or writes wait for others', nothing else. */
void full_line(const struct replica *r, struct buf *out);

#endif
