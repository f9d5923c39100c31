/* How the process behind a request asks, where the request itself does not say it. */
#ifndef ZKFS_FS_CALLER_H
#define ZKFS_FS_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The system call that a thread is in (proc(5)). */
#define CALLER_ARGS 3
struct caller_syscall {
    long number; /* -1: none that tells */
    unsigned long arg[CALLER_ARGS];
};
/* False when it cannot be known. A thread that is about to sleep is looked at up to `tries` times,
 * a tenth of a millisecond apart: on a busy machine it may take a while to get there. */
bool caller_syscall(pid_t pid, int tries, struct caller_syscall *ret);

enum caller_answer { CALLER_NO, CALLER_YES, CALLER_UNKNOWN };

/* Whether the thread, which waits in a LOOKUP, is in an open(2) with O_CREAT and O_EXCL: the kernel
 * looks the name up before such an open as before any other call, and gives up by itself when it is
 * there. /proc/PID/syscall (proc(5)) tells; CALLER_UNKNOWN when it cannot be read. */
enum caller_answer caller_creates_anew(pid_t pid);

/* The process that a thread belongs to, and that process's parent, 0 when it is in a pid namespace
 * that cannot be seen. False when there is no such thread, or /proc does not tell. */
bool caller_ids(pid_t tid, pid_t *ret_tgid, pid_t *ret_ppid);

/* Whether the process is the init of its pid namespace, which inherits orphans (pid_namespaces(7)).
 */
bool caller_is_init(pid_t pid);

/* When the process was started, in the clock's ticks since boot (proc(5)). False when it is not
 * there. */
bool caller_start_time(pid_t pid, uint64_t *ret_ticks);

/* Whether the thread, which waits in a LOOKUP of the last name of `chain`, goes on from there: its
 * path has more names behind it, or it wants a directory. `chain` is that name with some of the
 * names before it, `.zk/watch/a`; it may have empty ones. The path is read out of the thread's
 * memory (proc(5), process_vm_readv(2)), which can take for ever (caller_ask.h); CALLER_UNKNOWN
 * where that is not allowed, or when the path does not have the name, as behind a symbolic link. */
enum caller_answer caller_walks_on(pid_t pid, const char *chain);
/* The same of a path; pure. */
enum caller_answer caller_path_goes_on(const char *path, const char *chain);

#endif
