/* What zkreplica does with files while no replica runs on them: --import, --restore, --dump,
 * --check (zkreplica(8)). Results go to standard output, a line each; what is wrong to standard
 * error. */
#ifndef ZKFS_REPLICA_OFFLINE_OFFLINE_H
#define ZKFS_REPLICA_OFFLINE_OFFLINE_H

#include <stdbool.h>

/* Exit codes. */
#define OFFLINE_DONE 0
#define OFFLINE_WRONG 1 /* usage or configuration */
#define OFFLINE_REFUSED                                                                            \
    2                    /* what is to be read is damaged or not enough; or the target is in use   \
                          */
#define OFFLINE_FAILED 3 /* a system call */
#define OFFLINE_USAGE                                                                              \
    (-1) /* a command's own: its usage is shown, and the code is OFFLINE_WRONG                     \
          */

/* Whether argv[1] is one of these commands. */
bool offline_command(int argc, char **argv);
/* Carries it out; an exit code. */
int offline_run(int argc, char **argv);

/* The commands, with what stands behind their names. */
int offline_import(int argc, char **argv);
int offline_restore(int argc, char **argv);
int offline_dump(int argc, char **argv);
int offline_check(int argc, char **argv);

#endif
