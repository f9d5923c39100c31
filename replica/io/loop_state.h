/* What the files of io/ share: the loop and its parts. One wake-up of the loop is: timers only note
 * that they are due; reads feed messages and frames to the member; then `settle` runs what is due,
 * flushes the member once, writes what was collected, syncs, and writes what the sync brought. A
 * leader's proposals are so on their way to its followers' disks before its own is waited for. */
#ifndef ZKFS_REPLICA_IO_LOOP_STATE_H
#define ZKFS_REPLICA_IO_LOOP_STATE_H

#include "replica/io/checkpoint_uv.h"
#include "replica/io/client_conn.h"
#include "replica/io/client_listen.h"
#include "replica/io/disk.h"
#include "replica/io/loop.h"
#include "replica/io/peer_conn.h"

#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t hurry; /* active: do not block in the next poll, something is due after it */
    uv_timer_t timer;
    uv_signal_t signals[2];
    const struct loop_config *config;
    struct env env;
    struct member *member;
    struct disk disk;
    struct checkpoint_uv checkpoint;
    struct clients clients;
    struct client_listen listen;
    struct peers peers;
    int64_t tick_at_ms; /* when the member wants its tick; INT64_MAX: never */
    bool tick_due;
    int64_t last_mono_ms; /* the last time that the member was told */
    bool timer_stale;     /* tick_at_ms changed since the timer was set */
    int64_t recovery_ms;  /* how long member_start took, for the log */
    bool stopping;        /* a signal came: finish the sync under way and go */
    bool failed;          /* env.stop was called */
};

int64_t loop_mono_ms(void);
/* Makes the next poll return at once, so that what is due runs after the sockets were read. */
void loop_hurry(struct loop *l);

/* env_posix.c: the member's world; l->config and l->disk's tables must be there. */
void env_posix_init(struct env *env, struct loop *l);

#endif
