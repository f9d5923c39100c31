/* What the admin words tell of the ensemble, in ZooKeeper's forms. */
#ifndef ZKFS_REPLICA_SERVER_ADMIN_ENSEMBLE_H
#define ZKFS_REPLICA_SERVER_ADMIN_ENSEMBLE_H

#include "replica/server/core.h"

/* Whether words that need a server that serves are answered. */
bool admin_serves(const struct replica *r);
/* leader, follower, observer, read-only or standalone. */
const char *admin_mode(const struct replica *r);
/* srvr's last line of a leader. */
void admin_proposal_sizes(const struct replica *r, struct buf *out);
/* conf's lines of an ensemble. */
void admin_conf(const struct replica *r, struct buf *out);
/* mntr's lines of an ensemble: names with zk_ in front, a tab, a value. */
void admin_gauges(const struct replica *r, struct buf *out);

#endif
