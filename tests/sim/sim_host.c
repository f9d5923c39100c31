/* One machine: a real member over virtual files, clock, links and connections. */
#include "tests/sim/sim.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- clocks ---- */

static int64_t to_host_us(const struct sim_host *m, int64_t us) {
    return us + us / 1000 * m->drift_ppm / 1000 + m->mono_offset_us;
}

int64_t host_mono_ms(const struct sim_host *m) { return to_host_us(m, m->w->now_us) / MS; }

/* The first moment of the world at which the host's clock shows mono_ms. */
static int64_t to_world_us(const struct sim_host *m, int64_t mono_ms) {
    int64_t want = mono_ms * MS;
    int64_t us = want - m->mono_offset_us;
    us -= us / 1000 * m->drift_ppm / 1000;
    while (to_host_us(m, us) < want)
        us += 10;
    return us;
}

static int64_t env_mono_ms(void *ctx) { return host_mono_ms(ctx); }

int64_t host_wall_ms(const struct sim_host *m) {
    return 1700000000000 + host_mono_ms(m) + m->wall_offset_ms;
}

static int64_t env_wall_ms(void *ctx) { return host_wall_ms(ctx); }

static void arm(struct sim_host *m, int64_t at_us) {
    if (at_us < m->w->now_us)
        at_us = m->w->now_us;
    if (at_us >= m->timer_armed_us)
        return;
    m->timer_armed_us = at_us;
    world_push(m->w, at_us, SE_TIMER, m->index, m->life);
}

static void env_set_timer(void *ctx, int64_t mono_ms) {
    struct sim_host *m = ctx;
    if (mono_ms > INT64_MAX / 2000) {
        m->timer_us = INT64_MAX;
        return;
    }
    m->timer_us = to_world_us(m, mono_ms);
    arm(m, m->timer_us);
}

/* A deadline that moved later leaves its event in the queue: it comes too early and arms the right
 * one. */
void host_timer(struct sim_host *m) {
    struct world *w = m->w;
    if (w->now_us < m->timer_armed_us)
        return;
    m->timer_armed_us = INT64_MAX;
    if (w->now_us < m->timer_us) {
        if (m->timer_us != INT64_MAX)
            arm(m, m->timer_us);
        return;
    }
    m->timer_us = INT64_MAX;
    host_enter(m);
    member_tick(m->member);
    host_leave(m);
    host_wake(m);
}

/* ---- env ---- */

static int env_random(void *ctx, void *p, size_t n) {
    struct sim_host *m = ctx;
    uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)prng_next(&m->random);
    return 0;
}

static void env_process_info(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){0};
}

static void env_client_send(void *ctx, conn_id_t conn, struct slice bytes) {
    wire_server_send(ctx, conn, bytes);
}

static void env_client_close(void *ctx, conn_id_t conn, struct slice why) {
    struct sim_host *m = ctx;
    SAY(m->w, "%u closes connection %llu: %.*s", m->id, (unsigned long long)conn,
        why.len > 0 ? why.len : 0, (const char *)why.p);
    wire_server_close(m, conn);
}

static void env_client_pause(void *ctx, conn_id_t conn, bool pause) {
    wire_server_pause(ctx, conn, pause);
}

static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {
    link_send(ctx, peer, bytes);
}

static void env_peer_drop(void *ctx, uint8_t peer, struct slice why) { link_drop(ctx, peer, why); }

static int64_t disk_delay_us(struct sim_host *m) {
    struct world *w = m->w;
    int64_t us = prng_range(&w->disk, w->plan.disk_min_us, w->plan.disk_max_us);
    if (prng_chance(&w->disk, 1, 200))
        us += prng_range(&w->disk, 5 * MS, 80 * MS);
    return us + w->slow_disk_us[m->index];
}

static void env_log_sync(void *ctx) {
    struct sim_host *m = ctx;
    CHECK(!m->syncing);
    m->syncing = true;
    world_push(m->w, m->w->now_us + disk_delay_us(m), SE_SYNC_RUN, m->index, m->life);
}

static void env_checkpoint_run(void *ctx) { disk_want_checkpoint(ctx); }

static void env_note(void *ctx, enum log_level level, struct slice text) {
    struct sim_host *m = ctx;
    SAY(m->w, "%u notes: %.*s", m->id, text.len > 0 ? text.len : 0, (const char *)text.p);
}

static void env_stop(void *ctx, struct slice why) {
    struct sim_host *m = ctx;
    m->stopped = true;
    snprintf(m->stop_why, sizeof m->stop_why, "%.*s", why.len > 0 ? why.len : 0,
             (const char *)why.p);
    SAY(m->w, "%u stops: %s", m->id, m->stop_why);
    bool failed = disk_fault_happened(m);
    if (!m->excused && !failed)
        world_fail(m->w, "server %u stopped without a reason of the disk's: %s", m->id,
                   m->stop_why);
    /* The power may have gone, and it has noticed nothing but errors. */
    host_crash(m, failed ? disk_cut_how(m) : CRASH_KILL);
}

void host_init(struct world *w, uint32_t index) {
    struct sim_host *m = &w->hosts[index];
    const struct sim_plan *p = &w->plan;
    *m = (struct sim_host){.w = w,
                           .index = index,
                           .id = (uint8_t)(index + 1),
                           .voter = index < p->voters,
                           .disk = mem_files_new(),
                           .timer_us = INT64_MAX,
                           .timer_armed_us = INT64_MAX};
    prng_init(&m->random, p->seed * 31 + index + 1);
    m->mono_offset_us = prng_range(&w->chaos, MS, 3600LL * 1000 * MS);
    m->wall_offset_ms = prng_range(&w->chaos, -5000, 5000);
    m->drift_ppm = (int32_t)prng_range(&w->chaos, -p->drift_ppm, p->drift_ppm);
    m->env = (struct env){.ctx = m,
                          .files = mem_files_env(m->disk),
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
                          .stop = env_stop};
    check_host_init(&m->check);
}

void host_close(struct sim_host *m) {
    member_free(m->member);
    mem_files_free(m->disk);
    check_host_close(&m->check);
}

/* ---- life and death ---- */

/* Often: something is in flight in many of the rounds. */
#define SIM_CONTAINER_CHECK_MS 30

static struct member_config host_config(const struct sim_host *m) {
    const struct sim_plan *p = &m->w->plan;
    return (struct member_config){
        .replica = {.server_id = m->id,
                    .ensemble = {m->w->servers, m->w->host_count},
                    .heartbeat_ms = p->heartbeat_ms,
                    .silence_ms = p->silence_ms,
                    .init_ms = p->init_ms,
                    .leader_serves = true,
                    .read_only_mode = p->read_only,
                    .tick_ms = 100,
                    .min_session_timeout_ms = 200,
                    .max_session_timeout_ms = 20000,
                    .max_frame_bytes = JUTE_MAXBUFFER_DEFAULT,
                    .max_outstanding = 1000,
                    .extended_types = p->extended,
                    .container_check_ms = p->extended ? SIM_CONTAINER_CHECK_MS : 0,
                    .containers_per_minute = p->containers_per_minute,
                    .container_never_used_ms = p->container_never_used_ms,
                    .word_whitelist = "*",
                    .snap_count = p->snap_count,
                    .snap_size_limit_bytes = p->snap_size_bytes,
                    .version = "sim",
                    .data_dir = SIM_DIR,
                    .data_log_dir = SIM_DIR},
        .wal = {.dir = SIM_DIR, .segment_bytes = p->segment_bytes, .snap_retain = p->snap_retain}};
}

static void start_failed(struct sim_host *m, int err, const struct buf *why) {
    struct world *w = m->w;
    bool damaged = m->rotten || disk_snapshots_rotten(m);
    bool failed = disk_fault_happened(m);
    bool alone = m->voter && w->plan.voters == 1;
    SAY(w, "%u does not start (%s): %.*s", m->id, strerror(-err), (int)why->len,
        (const char *)why->data);
    if (!failed && !(damaged && alone))
        world_fail(w, "server %u does not start, and nothing is wrong with its disk: %s: %.*s",
                   m->id, strerror(-err), (int)why->len, (const char *)why->data);
    if (!failed) {
        m->refused = true; /* until somebody gives it a new disk */
        fault_refused(m);
        return;
    }
    mem_files_power_cut(m->disk, MEM_CUT_TEAR, prng_next(&w->disk));
    world_push(w, w->now_us + prng_range(&w->disk, MS, 50 * MS), SE_START, m->index, m->life);
}

void host_begin(struct sim_host *m) {
    struct world *w = m->w;
    if (m->member || m->held_down || m->refused)
        return;
    m->life++;
    disk_fault_forget(m);
    m->stopped = m->dying = m->syncing = m->flush_queued = m->serving = false;
    m->checkpointing = m->mended = false;
    m->role = ZAB_LOOKING;
    m->timer_us = m->timer_armed_us = INT64_MAX;
    struct member_config config = host_config(m);
    struct buf why = BUF_INIT;
    SAY(w, "%u starts", m->id);
    host_enter(m);
    struct member *member = NULL;
    int err = member_start(&config, &m->env, &member, &why);
    host_leave(m);
    if (err == 0) {
        m->member = member;
        if (!m->dying) {
            check_host_started(m);
            host_wake(m);
            links_of_started(m);
        }
    } else {
        m->core = NULL;
        m->zab = NULL;
        m->dying = false;
        check_host_failed(m);
        start_failed(m, err, &why);
    }
    buf_close(&why);
}

static void bury(struct sim_host *m, enum sim_crash how) {
    struct world *w = m->w;
    bool power = how != CRASH_KILL;
    static const char *const names[] = {"is killed", "loses power, the disk has all",
                                        "loses power, what was not synced is lost",
                                        "loses power, what was not synced is torn"};
    SAY(w, "%u %s", m->id, names[how]);
    world_trace(w, m->id, 1000 + how);
    if (how == CRASH_KILL)
        mem_files_kill(m->disk);
    else
        mem_files_power_cut(m->disk,
                            how == CRASH_KEEP   ? MEM_CUT_KEEP
                            : how == CRASH_LOSE ? MEM_CUT_LOSE
                                                : MEM_CUT_TEAR,
                            prng_next(&w->disk));
    check_host_dies(m);
    member_free(m->member);
    m->member = NULL;
    m->core = NULL;
    m->zab = NULL;
    m->life++;
    m->excused = false;
    m->dying = m->syncing = m->checkpointing = false;
    m->crash_nth_call = m->cut_in_checkpoint = m->full_in_checkpoint = m->cut_in_repair = 0;
    m->serving = false;
    m->role = ZAB_LOOKING;
    links_of_dead(m, power && prng_chance(&w->net, 1, 2));
    wires_of_dead(m, power && prng_chance(&w->net, 1, 2));
    if (!m->held_down)
        world_push(w, w->now_us + prng_range(&w->chaos, 5 * MS, 300 * MS), SE_START, m->index, 0);
}

void host_crash(struct sim_host *m, enum sim_crash how) {
    if (m->w->inside == m) {
        if (!m->dying) {
            m->dying = true;
            m->dying_how = how;
        }
        return;
    }
    if (m->member)
        bury(m, how);
}

void hosts_reap(struct world *w) {
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct sim_host *m = &w->hosts[i];
        if (m->dying && m->member)
            bury(m, m->dying_how);
        m->dying = false;
    }
}

/* ---- the loop's part ---- */

void host_enter(struct sim_host *m) { m->w->running = m->w->inside = m; }

void host_leave(struct sim_host *m) { m->w->inside = NULL; }

/* What comes within a short while is one wake-up and shares a sync. */
void host_wake(struct sim_host *m) {
    if (m->flush_queued || !m->member || m->dying)
        return;
    m->flush_queued = true;
    world_push(m->w, m->w->now_us + prng_range(&m->w->disk, 1, 60), SE_FLUSH, m->index, m->life);
}

void host_do_flush(struct sim_host *m) {
    m->flush_queued = false;
    host_enter(m);
    member_flush(m->member);
    host_leave(m);
}

void host_sync_run(struct sim_host *m) {
    struct world *w = m->w;
    if (m->crash_nth_call > 0)
        mem_files_fault(m->disk, m->crash_nth_call,
                        prng_chance(&w->disk, 1, 2) ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER,
                        0);
    m->sync_result = store_sync_run(member_store(m->member));
    if (m->crash_nth_call > 0) {
        m->crash_nth_call = 0;
        if (mem_files_fault_happened(m->disk)) {
            bury(m, disk_cut_how(m));
            return;
        }
        mem_files_fault(m->disk, 0, MEM_FAULT_ERROR, 0);
    }
    if (m->sync_result < 0)
        SAY(w, "%u's disk fails: %s", m->id, strerror(-m->sync_result));
    world_push(w, w->now_us + prng_range(&w->disk, 0, 80), SE_SYNC_DONE, m->index, m->life);
}

void host_sync_done(struct sim_host *m) {
    m->syncing = false;
    host_enter(m);
    member_log_synced(m->member, m->sync_result);
    host_leave(m);
    host_wake(m);
}

struct sim_host *host_by_id(struct world *w, uint8_t id) {
    return id >= 1 && id <= w->host_count ? &w->hosts[id - 1] : NULL;
}
