/* Removes files, large ones too, without the log's syncs having to wait for it. */
#ifndef ZKFS_REPLICA_STORE_PURGE_H
#define ZKFS_REPLICA_STORE_PURGE_H

#include "common/buf.h"
#include "replica/store/store_file.h"

/* Adds a name to a list of them. */
void purge_add(struct buf *names, const char *name);
/* Removes these files, in this order, durably; a file that is not there is fine. 0 or negative
 * errno: some are there still then. `reused` (NULL: none) is one among them that gets new_name
 * instead, if it is large: whoever writes over it next needs no new blocks. */
int purge_run(const struct store_dir *d, const struct buf *names, const char *reused,
              const char *new_name);

#endif
