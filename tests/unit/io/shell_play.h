/* A member that is played, for the tests of the shell around it. The first byte of a frame says
 * what it does with it.
 *
 * e: send it back. b: send back a frame of 2 MiB. c: send it back and close. p: pause this
 * connection for 50 ms and send it back. w: a write, sent back when it is synced. l: send back how
 * many bytes the address of the connection has. t: want a tick in 20 ms and be busy for 60. m: send
 * back whether that tick's time has come. n: send back how many syncs there were, of 50 ms and
 * more. A word is sent back, and the connection closed. */
#ifndef ZKFS_TESTS_UNIT_IO_SHELL_PLAY_H
#define ZKFS_TESTS_UNIT_IO_SHELL_PLAY_H

#include <stdatomic.h>

/* What it heard and did, since the process began. */
extern atomic_int flushes, syncs, opened, closed, starts;
/* How long each sync takes, and what it and the start end with: the test's to set. */
extern atomic_int sync_us, sync_error, start_error;

#endif
