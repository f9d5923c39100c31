/* The one place where the service's errors become the system's (DESIGN section 2, "Errors"). */
#ifndef ZKFS_FS_ERRMAP_H
#define ZKFS_FS_ERRMAP_H

/* The positive errno for an enum zk_err; 0 for ZK_OK, EIO for what no caller could do anything
 * about. */
int errmap_errno(int zk_err);

#endif
