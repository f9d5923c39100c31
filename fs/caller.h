/* How the process behind a request asks, where the request itself does not say it. */
#ifndef ZKFS_FS_CALLER_H
#define ZKFS_FS_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

enum caller_answer { CALLER_NO, CALLER_YES, CALLER_UNKNOWN };

/* Whether the thread, which waits in a LOOKUP, is in an open(2) with O_CREAT and O_EXCL: the kernel
 * looks the name up before such an open as before any other call, and gives up by itself when it is
 * there. /proc/PID/syscall (proc(5)) tells; CALLER_UNKNOWN when it cannot be read. */
enum caller_answer caller_creates_anew(pid_t pid);

#endif
