/* Runs what the store writes and removes beside the log in libuv's thread pool: no request waits
 * for it. */
#ifndef ZKFS_REPLICA_IO_CHECKPOINT_UV_H
#define ZKFS_REPLICA_IO_CHECKPOINT_UV_H

#include <stdbool.h>
#include <uv.h>

struct loop;

struct checkpoint_uv {
    struct loop *loop;
    uv_work_t work;
    bool running;
    bool ending; /* the member hears of nothing any more */
};

void checkpoint_uv_init(struct checkpoint_uv *c, struct loop *l);
/* env.checkpoint_run. */
void checkpoint_uv_want(struct checkpoint_uv *c);
/* What runs goes on until its end, for which the loop has to run; the member is told no more. */
void checkpoint_uv_close(struct checkpoint_uv *c);

#endif
