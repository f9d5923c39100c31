/* What a worker makes of the journal of the one before it, which crashed: inodes and open files
 * with the kernel's numbers, and what had been handed to the server for requests that the kernel
 * will send again (docs/frontend-restart.md). */
#ifndef ZKFS_FS_RESUME_H
#define ZKFS_FS_RESUME_H

#include "fs/fs.h"

/* The kernel sets it in the unique of each request that it sends again. */
#define UNIQUE_RESENT (1ull << 63)

/* Before anything is served. */
void resume_begin(struct fs *fs);
/* These requests (uniques, rising) are all that the kernel sends again. What the journal's last
 * answer gave is taken back when its request is among them, for then the kernel did not get it. */
void resume_settle(struct fs *fs, const uint64_t *uniques, size_t count);
/* Those requests have been started. */
void resume_done(struct fs *fs);
/* The last write that was handed to the server for this request; the caller's (resume_free). NULL:
 * none was, or it was sent only once. */
struct zk_sent *resume_take(struct fs *fs, uint64_t unique);
/* Whether it would give one. */
bool resume_has(const struct fs *fs, uint64_t unique);
void resume_free(struct fs *fs, struct zk_sent *sent);
void resume_close(struct fs *fs);

#endif
