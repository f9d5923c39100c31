/* The data directory of a new ensemble: one exact snapshot of a tree, a promise of its epoch, and
 * no log. It is made beside its place and gets its name when all of it is durable: a crash leaves a
 * directory that no replica looks at, or a whole one. */
#ifndef ZKFS_REPLICA_OFFLINE_FRESH_STORE_H
#define ZKFS_REPLICA_OFFLINE_FRESH_STORE_H

#include "common/buf.h"
#include "replica/env.h"
#include "replica/tree/tree.h"

/* Whether `log_dir` (dataLogDir/log) can be made: it is not there, or is empty. 0; -ENOTEMPTY or
 * the system's, and ret_why. */
int fresh_store_check(const struct env_files *files, const char *log_dir, struct buf *ret_why);

/* Makes it, of an exact tree without ephemerals (CHECK) whose last zxid is above 0 (CHECK). `salt`
 * is random (docs/disk-format.md). The same tree makes the same history on every server. 0 or
 * negative errno and ret_why. */
int fresh_store_write(const struct env_files *files, const char *log_dir, struct tree *t,
                      uint64_t salt, struct buf *ret_why);

#endif
