#include "common/check.h"
#include "common/log.h"
#include "replica/io/files_posix.h"
#include "replica/io/loop_state.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

static int64_t clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t loop_mono_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

/* The core's time stays before the deadline that it asked for until the tick, that comes behind all
 * reads of a wake-up: any event may let sessions expire, or end a silent leader's time, and after a
 * pause of this process, or a sync that took long, the pings of the others are still unread. The
 * tick has the true time (loop.c takes the deadline away before it). */
static int64_t env_mono_ms(void *ctx) {
    struct loop *l = ctx;
    int64_t now_ms = clock_ms(CLOCK_MONOTONIC);
    if (now_ms >= l->tick_at_ms)
        now_ms = l->tick_at_ms - 1;
    /* A deadline that was asked for when it had passed already turns no clock back. */
    if (now_ms < l->last_mono_ms)
        now_ms = l->last_mono_ms;
    l->last_mono_ms = now_ms;
    return now_ms;
}

static int64_t env_wall_ms(void *ctx) { return clock_ms(CLOCK_REALTIME); }

static int env_random(void *ctx, void *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = getrandom((char *)p + done, n - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        done += (size_t)got;
    }
    return 0;
}

static int64_t open_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    /* Without the one that looks. */
    int64_t count = -1;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void env_process_info(void *ctx, struct process_info *ret_info) {
    struct loop *l = ctx;
    struct rlimit fds = {0};
    getrlimit(RLIMIT_NOFILE, &fds);
    int64_t log_bytes = files_tree_bytes(l->config->log_dir);
    bool same = strcmp(l->config->data_dir, l->config->log_dir) == 0;
    *ret_info = (struct process_info){
        .open_fds = open_fds(),
        .max_fds = fds.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)fds.rlim_cur,
        .data_dir_bytes = same ? log_bytes : files_tree_bytes(l->config->data_dir),
        .log_dir_bytes = log_bytes,
        .sync_count = l->disk.sync_count,
        .sync_total_us = l->disk.total_us,
        .sync_max_us = l->disk.max_us,
    };
}

static void env_client_send(void *ctx, conn_id_t conn, struct slice bytes) {
    struct loop *l = ctx;
    clients_send(&l->clients, conn, bytes);
}

static void env_client_close(void *ctx, conn_id_t conn, struct slice why) {
    struct loop *l = ctx;
    clients_close_one(&l->clients, conn, why);
}

static void env_client_pause(void *ctx, conn_id_t conn, bool pause) {
    struct loop *l = ctx;
    clients_pause(&l->clients, conn, pause);
}

static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {
    struct loop *l = ctx;
    peers_send(&l->peers, peer, bytes);
}

static void env_peer_drop(void *ctx, uint8_t peer, struct slice why) {
    struct loop *l = ctx;
    peers_drop(&l->peers, peer, why);
}

static void env_set_timer(void *ctx, int64_t mono_ms) {
    struct loop *l = ctx;
    l->timer_stale = l->timer_stale || mono_ms != l->tick_at_ms;
    l->tick_at_ms = mono_ms;
}

static void env_log_sync(void *ctx) {
    struct loop *l = ctx;
    disk_want(&l->disk);
}

static void env_checkpoint_run(void *ctx) {
    struct loop *l = ctx;
    checkpoint_uv_want(&l->checkpoint);
}

static void env_note(void *ctx, enum log_level level, struct slice text) {
    log_line(level, "%.*s", text.len > 0 ? (int)text.len : 0, (const char *)text.p);
}

static void env_stop(void *ctx, struct slice why) {
    struct loop *l = ctx;
    if (!l->failed)
        log_error("the replica stops: %.*s", why.len > 0 ? (int)why.len : 0, (const char *)why.p);
    l->failed = true;
}

void env_posix_init(struct env *env, struct loop *l) {
    *env = (struct env){
        .ctx = l,
        .files = &files_posix,
        .mono_ms = env_mono_ms,
        .wall_ms = env_wall_ms,
        .random = env_random,
        .process_info = env_process_info,
        .client_send = env_client_send,
        .client_close = env_client_close,
        .client_pause = env_client_pause,
        .peer_send = env_peer_send,
        .peer_drop = env_peer_drop,
        .set_timer = env_set_timer,
        .log_sync = env_log_sync,
        .checkpoint_run = env_checkpoint_run,
        .note = env_note,
        .stop = env_stop,
    };
}
