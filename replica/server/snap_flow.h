/* Snapshots on their way: to learners that need one, and into this server. */
#ifndef ZKFS_REPLICA_SERVER_SNAP_FLOW_H
#define ZKFS_REPLICA_SERVER_SNAP_FLOW_H

#include "replica/server/core.h"

/* One of zab's ZAB_SNAP outputs. */
void snap_flow_output(struct replica *r, const struct zab_output *o);
/* Sends some pieces. */
void snap_flow_run(struct replica *r);
/* Whether there is more to send at once. */
bool snap_flow_more(const struct replica *r);
void snap_flow_stop_all(struct replica *r);
/* The snapshot that was received is durable in place of the log. */
void snap_flow_installed(struct replica *r);
/* At a start: the snapshot that the log begins behind. */
void snap_flow_recover(struct replica *r, struct slice piece);
/* It proved damaged: as if it had not been there. */
void snap_flow_reset(struct replica *r);
void snap_flow_recovered(struct replica *r, zxid_t begun, zxid_t ended);
/* Everything up to zxid is applied: a snapshot may have said what the tree's digest is there. */
void snap_flow_applied(struct replica *r, zxid_t zxid);
void snap_flow_close(struct replica *r);

#endif
