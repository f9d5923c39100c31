/* Runs the log's syncs: in the loop while the disk is quick, for a hand-over to a thread and back
 * costs as much as a quick fdatasync; in a thread of its own while the disk is slow, so that reads
 * go on (docs/decisions/0003-where-the-log-syncs.md). */
#ifndef ZKFS_REPLICA_IO_DISK_H
#define ZKFS_REPLICA_IO_DISK_H

#include "common/types.h"

#include <pthread.h>
#include <uv.h>

struct loop;

enum disk_state {
    DISK_IDLE,
    DISK_WANTED,  /* the member asked for a sync; disk_run starts it */
    DISK_RUNNING, /* in the thread */
};

struct disk {
    struct loop *loop;
    uv_async_t done; /* the thread's sync has ended */
    pthread_t thread;
    bool thread_started;
    enum disk_state state;
    bool threaded;      /* where the next sync runs */
    int64_t average_ns; /* of recent syncs, weighted to the last ones */
    /* Of all syncs, for the admin words. */
    int64_t sync_count, total_us, max_us;
    uint64_t slow_count; /* beyond the threshold, and not told of yet */
    int64_t told_ns;
    /* Shared with the thread, under mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool thread_go, thread_quit;
    int result;
    int64_t took_ns;
};

int disk_init(struct disk *d, struct loop *l); /* 0 or negative errno */
/* env.log_sync: the member wants one; it runs at the next disk_run. */
void disk_want(struct disk *d);
/* Starts the sync that is wanted. True when it ended already and the member was told. */
bool disk_run(struct disk *d);
/* Ends the thread after the sync under way. The loop closes `done` itself. */
void disk_close(struct disk *d);

#endif
