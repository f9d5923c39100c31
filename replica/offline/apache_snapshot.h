/* A snapshot of Apache ZooKeeper's: a header, sessions, ACLs with their numbers, znodes, and the
 * Adler-32 of all that; behind it newer releases put the digest of the tree at the walk's end. */
#ifndef ZKFS_REPLICA_OFFLINE_APACHE_SNAPSHOT_H
#define ZKFS_REPLICA_OFFLINE_APACHE_SNAPSHOT_H

#include "replica/offline/apache_tree.h"

/* Reads all of it into a new tree. 0; or -EBADMSG, and ret_why says where and what: the tree is of
 * no use then. */
int apache_snapshot_read(const uint8_t *bytes, size_t len, struct apache_tree *t,
                         struct buf *ret_why);

#endif
