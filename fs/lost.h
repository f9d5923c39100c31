/* Descriptors that are of no use any more, because the session has expired: those of its ephemeral
 * znodes, and those that held a lock (lock.h). Writing to one, and all else that would change or
 * commit something, is ESTALE, so that who lost something finds out. */
#ifndef ZKFS_FS_LOST_H
#define ZKFS_FS_LOST_H

#include "fs/handle.h"

/* Listens to the session from now on. */
void lost_init(struct fs *fs);
/* From now on the descriptor fails, reads with read_errnum. what: of the log line, "a lock was". */
void handle_lose(struct handle *h, int read_errnum, const char *what);
/* Ends what such descriptors have under way, and drops what they hold back: a server that it
 * reached late could do it when the znode, or the lock, is another's. */
void lost_end_calls(struct fs *fs);

#endif
