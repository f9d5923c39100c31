#include "replica/io/loop.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "replica/io/loop_state.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* One settling syncs at most so often before the sockets are read again. A sync can bring work for
 * another (the first transaction of a new ensemble, connections that go on), and nobody should wait
 * for the end of that. */
#define SETTLE_ROUNDS_MAX 8

static void on_hurry(uv_idle_t *idle) {
    /* That it is active is all it is for: the poll does not block then. */
}

void loop_hurry(struct loop *l) {
    if (!uv_is_active((uv_handle_t *)&l->hurry))
        uv_idle_start(&l->hurry, on_hurry);
}

/* A tick can expire sessions, so what their clients sent in time has to be read first: after a
 * pause of this process it is waiting in the sockets. */
static void on_timer(uv_timer_t *timer) {
    struct loop *l = timer->data;
    l->tick_due = true;
    loop_hurry(l);
}

static void set_timer(struct loop *l) {
    if (!l->timer_stale)
        return;
    l->timer_stale = false;
    int64_t left_ms = l->tick_at_ms - loop_mono_ms();
    /* libuv counts from its own time, that is as old as this wake-up. */
    uv_update_time(&l->uv);
    uv_timer_start(&l->timer, on_timer, left_ms >= 0 ? (uint64_t)left_ms + 1 : 0, 0);
}

/* An early tick is none: the core asks for a deadline once, and would not ask for the same again.
 */
static void tick_if_due(struct loop *l) {
    if (!l->tick_due)
        return;
    l->tick_due = false;
    if (l->tick_at_ms >= loop_mono_ms()) {
        l->timer_stale = true;
        return;
    }
    l->tick_at_ms = INT64_MAX;
    l->timer_stale = false;
    member_tick(l->member);
}

static void finish_if_stopping(struct loop *l) {
    if (l->failed || (l->stopping && l->disk.state == DISK_IDLE))
        uv_stop(&l->uv);
}

/* Everything that a wake-up brought is done here, once: one flush of the member, one sync, and for
 * each connection one write before the sync and one behind it. What the core let out before a sync
 * does not depend on it: proposals, and replies whose turn has come. */
static void settle(struct loop *l) {
    for (int round = 0; !l->failed; round++) {
        bool more = clients_feed_ready(&l->clients);
        member_flush(l->member);
        peers_flush(&l->peers);
        clients_flush(&l->clients);
        more = disk_run(&l->disk) || more;
        peers_flush(&l->peers);
        clients_flush(&l->clients);
        if (!more)
            break;
        if (round == SETTLE_ROUNDS_MAX) {
            loop_hurry(l);
            break;
        }
    }
    set_timer(l);
    finish_if_stopping(l);
}

/* After the poll: what was read, then what was due. */
static void on_check(uv_check_t *check) {
    struct loop *l = check->data;
    uv_idle_stop(&l->hurry);
    clients_expire(&l->clients);
    tick_if_due(l);
    settle(l);
}

/* Before the poll: what libuv did outside of it (ended writes, closed handles). What is due is left
 * alone: the sockets have not been read yet. */
static void on_prepare(uv_prepare_t *prepare) { settle(prepare->data); }

static void on_signal(uv_signal_t *handle, int number) {
    struct loop *l = handle->data;
    log_info("stopping signal=%s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    l->stopping = true;
    client_listen_close(&l->listen);
    clients_stop_reading(&l->clients);
    peers_stop(&l->peers);
    /* The second signal ends the process whatever the disk does. */
    for (size_t i = 0; i < 2; i++)
        uv_signal_stop(&l->signals[i]);
    loop_hurry(l);
}

static int start_handles(struct loop *l) {
    static const int numbers[2] = {SIGTERM, SIGINT};
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->hurry);
    uv_timer_init(&l->uv, &l->timer);
    l->prepare.data = l->check.data = l->hurry.data = l->timer.data = l;
    int rc = disk_init(&l->disk, l);
    checkpoint_uv_init(&l->checkpoint, l);
    if (rc == 0)
        rc = clients_init(&l->clients, l);
    if (rc == 0)
        rc = client_listen_init(&l->listen, l);
    if (rc == 0)
        rc = peers_init(&l->peers, l);
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        rc = uv_signal_init(&l->uv, &l->signals[i]);
        l->signals[i].data = l;
        if (rc == 0)
            rc = uv_signal_start(&l->signals[i], on_signal, numbers[i]);
    }
    return rc;
}

/* A replica that was killed holds the log's lock until the kernel has finished its last fdatasync,
 * so whoever starts the next one at once is not told off for it. */
#define LOCK_WAIT_MS 3000
#define LOCK_RETRY_MS 10

/* A start has little to write, and less where it was here before; on a disk without room for that
 * it waits (Z10). Signals are heard meanwhile. */
#define ROOM_WAIT_MS 1000
#define ROOM_WAIT_STEPS 20

static void wait_for_room(struct loop *l, const struct buf *why, bool *said) {
    if (!*said)
        log_warn("the disk is full, and a start needs room: %.*s; make room, it is tried again "
                 "each second",
                 (int)why->len, (const char *)why->data);
    *said = true;
    for (int i = 0; i < ROOM_WAIT_STEPS && !l->stopping; i++) {
        uv_sleep(ROOM_WAIT_MS / ROOM_WAIT_STEPS);
        uv_run(&l->uv, UV_RUN_NOWAIT);
    }
}

/* Waits for what may pass by itself. False when rc is the start's result. */
static bool wait_to_start(struct loop *l, int rc, int64_t began_ms, const struct buf *why,
                          bool *said) {
    if (rc == -EAGAIN && loop_mono_ms() - began_ms < LOCK_WAIT_MS) {
        uv_sleep(LOCK_RETRY_MS);
        return true;
    }
    if (rc != -ENOSPC && rc != -EDQUOT)
        return false;
    wait_for_room(l, why, said);
    return !l->stopping;
}

static enum loop_exit start_member(struct loop *l) {
    struct buf why = BUF_INIT;
    int64_t begin_ms = loop_mono_ms();
    int rc = member_start(&l->config->member, &l->env, &l->member, &why);
    bool said = false;
    while (wait_to_start(l, rc, begin_ms, &why, &said)) {
        buf_reset(&why);
        rc = member_start(&l->config->member, &l->env, &l->member, &why);
    }
    if (rc != 0 && l->stopping) {
        buf_close(&why);
        return LOOP_ORDERLY;
    }
    if (rc != 0) {
        log_error("cannot start: %.*s error=%s", (int)why.len, (const char *)why.data,
                  strerror(-rc));
        buf_close(&why);
        return LOOP_LOG_REFUSED;
    }
    buf_close(&why);
    l->recovery_ms = loop_mono_ms() - begin_ms;
    return LOOP_ORDERLY;
}

/* What a replica that stands alone has to write first is durable before its port is bound, so that
 * the first client is served and not turned away. In an ensemble the port is open while there is no
 * leader, too: it tells who asks how things are. */
static enum loop_exit serve(struct loop *l) {
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    settle(l);
    while (!l->failed && !l->stopping && l->disk.state != DISK_IDLE)
        uv_run(&l->uv, UV_RUN_ONCE);
    if (!l->failed && !l->stopping &&
        (peers_open(&l->peers) != 0 || client_listen_open(&l->listen) != 0))
        return LOOP_FAILED;
    if (!l->failed && !l->stopping)
        uv_run(&l->uv, UV_RUN_DEFAULT);
    return l->failed ? LOOP_FAILED : LOOP_ORDERLY;
}

static void close_handle(uv_handle_t *handle, void *arg) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void clean_up(struct loop *l) {
    client_listen_close(&l->listen);
    clients_drop_all(&l->clients);
    peers_drop_all(&l->peers);
    disk_close(&l->disk);
    checkpoint_uv_close(&l->checkpoint);
    uv_walk(&l->uv, close_handle, NULL);
    /* A stop that was asked for outside of the loop, by a start's own sync, ends the first run. */
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        ;
    clients_close(&l->clients);
    peers_close(&l->peers);
    member_free(l->member);
    CHECK(uv_loop_close(&l->uv) == 0);
    mem_free(l);
}

enum loop_exit loop_run(const struct loop_config *config) {
    struct loop *l = mem_zalloc(sizeof *l);
    l->config = config;
    l->tick_at_ms = INT64_MAX;
    int rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        log_error("cannot make an event loop error=%s", uv_strerror(rc));
        mem_free(l);
        return LOOP_FAILED;
    }
    env_posix_init(&l->env, l);
    rc = start_handles(l);
    enum loop_exit result = LOOP_FAILED;
    if (rc != 0)
        log_error("cannot make an event loop error=%s", uv_strerror(rc));
    else
        result = start_member(l);
    if (l->member != NULL)
        result = serve(l);
    clean_up(l);
    if (result == LOOP_ORDERLY)
        log_info("stopped in order");
    return result;
}
