/* What this server is in its ensemble, and what its clients notice of it.
 *
 *   ZAB_ROLE                 ZAB_SERVE
 *   ---------> (not up) -----------------> up: serving clients; leading: preparing requests
 *                 |  ^                      |
 *                 |  +------ ZAB_ROLE ------+   everything unanswered is held again
 *                 +-- `hold` later: clients are closed; read-only ones may come
 */
#ifndef ZKFS_REPLICA_SERVER_ROLE_H
#define ZKFS_REPLICA_SERVER_ROLE_H

#include "replica/server/core.h"

void role_changed(struct replica *r, enum zab_role role, uint8_t leader, uint32_t epoch);
void role_serve(struct replica *r, uint32_t epoch);
/* The ensemble's secret was just applied. */
void role_secret_known(struct replica *r);
/* A snapshot is about to replace everything: whoever is connected has to look anew. */
void role_replaced(struct replica *r);
/* A message of the other server's room. */
void role_app(struct replica *r, uint8_t peer, struct blob *payload);

/* Whether c's reads may be answered now. */
bool role_reads(const struct replica *r, const struct conn *c);
/* Whether this server, that does not serve, keeps its clients: a new leader may be there soon. */
bool role_holds(const struct replica *r);
int64_t role_hold_ms(const struct replica *r);
/* Closes those that were held in vain. */
void role_timers(struct replica *r);
int64_t role_deadline(const struct replica *r); /* INT64_MAX: none */

#endif
