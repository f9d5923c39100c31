/* Taking a mount away whose libfuse session is another process's, or no more. */
#ifndef ZKFS_FS_UNMOUNT_H
#define ZKFS_FS_UNMOUNT_H

#include <stdbool.h>

/* Whether the mount behind this FUSE device has gone. */
bool unmount_is_gone(int device_fd);
/* Detaches what is mounted there, also when it is in use; as a user who is not root by fusermount3.
 * False after a log line. */
bool unmount_lazily(const char *mountpoint);
/* The same if nobody serves what is mounted there. */
void unmount_dead(const char *mountpoint);

#endif
