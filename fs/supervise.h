/* The supervisor: the process that is `zkfs`. It starts the worker, which does all the work, and
 * keeps what must outlive it: the FUSE device, without which the kernel would end the mount, and
 * the journal. When the worker crashes, another one goes on from these (docs/frontend-restart.md).
 * It has no state of the filesystem and never touches the mount while it is served, for it must
 * neither crash nor wait.
 *
 *   worker's end            mounted, nobody told us to end     otherwise
 *   status 0                end with 0                         end with 0
 *   RESUME_FAILED           unmount, end with 1                end with 1
 *   any other, a signal     start another one; the             unmount, end with its status or 1
 *                           limit: unmount, end with 1 */
#ifndef ZKFS_FS_SUPERVISE_H
#define ZKFS_FS_SUPERVISE_H

#include "fs/options.h"

/* The worker's argument: it stands first, `--worker=LINK,JOURNAL,DEVICE,MOUNTPOINT`, the first
 * three being descriptors, DEVICE -1 as long as nothing is mounted. */
#define WORKER_ARG "--worker="
/* The worker's exit status when another one could not do better. */
#define RESUME_FAILED 3

/* What the worker tells when the mount works, with the device as SCM_RIGHTS. */
struct supervise_hello {
    bool can_resume; /* the kernel is able to send requests again */
};
/* For the worker. False when the supervisor has gone. */
bool supervise_tell(int link_fd, const struct supervise_hello *hello, int device_fd);
/* Leaves the terminal or pipe that standard error was, unless it is a file. */
void supervise_detach(const struct options *opt);

/* Runs to the end of the mount and returns the exit status. When the mount works, or will not, one
 * byte goes to ready_fd (-1: to nobody): the exit status. argv is the process's own. */
int supervise(const struct options *opt, char **argv, int ready_fd);

#endif
