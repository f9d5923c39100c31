/* The lock of a directory: two processes never share one. */
#ifndef ZKFS_REPLICA_STORE_STORE_LOCK_H
#define ZKFS_REPLICA_STORE_STORE_LOCK_H

#include "common/buf.h"
#include "replica/store/store_file.h"

/* Locks it; *ret_fd is the lock, that is given back by closing it. 0; -EAGAIN another process has
 * it; or the system's; ret_why has a sentence then. */
int store_lock(const struct store_dir *d, int *ret_fd, struct buf *ret_why);

#endif
