/* Deletes containers and TTL znodes that are due (ZooKeeper's ContainerManager). The leader looks
 * at all of them every znode.container.checkIntervalMs, and proposes at most so many deletions a
 * minute as znode.container.maxPerMinute says, one after the other. Due is, when it has no
 * children,
 * - a container that had some, or that was made, or got its data, longer ago than
 *   znode.container.maxNeverUsedIntervalMs;
 * - a TTL znode that was made, or got its data, longer ago than its TTL. */
#ifndef ZKFS_REPLICA_SERVER_CONTAINER_H
#define ZKFS_REPLICA_SERVER_CONTAINER_H

#include "replica/server/core.h"

void container_begin(struct replica *r); /* this server leads from now on */
void container_run(struct replica *r);
int64_t container_deadline(const struct replica *r); /* INT64_MAX: none */

#endif
