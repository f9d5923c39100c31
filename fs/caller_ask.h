/* caller_walks_on, asked of a thread of its own. The memory of a caller that it reads can be locked
 * by another of the caller's threads until this mount answers that one's WRITE, or lie in a file of
 * a process that never answers: the thread that answers requests must not wait for it (FUSE.md,
 * rules 3 and 14). */
#ifndef ZKFS_FS_CALLER_ASK_H
#define ZKFS_FS_CALLER_ASK_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "fs/caller.h"

struct caller_ask;

typedef void caller_ask_cb(void *ctx, enum caller_answer answer);

struct caller_asks {
    uv_poll_t poll; /* of fds[0]: where the threads say that they are done */
    uv_timer_t timer;
    int fds[2];
    bool works;
    struct caller_ask *wanted; /* in order, which is that of their deadlines too */
    unsigned threads;          /* under way */
    unsigned hung;             /* of these: nobody wants to know any more */
};

void caller_asks_init(struct caller_asks *asks, uv_loop_t *loop);
/* Behind the loop's end. What a thread that hangs still has stays for it. */
void caller_asks_close(struct caller_asks *asks);

/* Calls back later, with CALLER_UNKNOWN when it takes too long. NULL: it cannot be known, and no
 * callback comes. */
struct caller_ask *caller_ask(struct caller_asks *asks, pid_t pid, const char *chain,
                              caller_ask_cb *cb, void *ctx);
/* No callback comes any more. */
void caller_ask_drop(struct caller_ask *a);

#endif
