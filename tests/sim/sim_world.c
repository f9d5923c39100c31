/* Time goes on: one event after another. */
#include "tests/sim/sim.h"

#include "common/mem.h"
#include "tests/sim/sim_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

struct world *world_now;

/* How long a healed ensemble may take for what is demanded of it. */
#define PROGRESS_US (90LL * 1000 * MS)

void world_trace(struct world *w, uint64_t a, uint64_t b) {
    w->trace = (w->trace ^ a) * 0x9e3779b97f4a7c15u;
    w->trace = ((w->trace ^ (w->trace >> 29)) ^ b) * 0xbf58476d1ce4e5b9u;
}

void world_trace_bytes(struct world *w, const void *p, size_t n) {
    if (n > 0)
        w->trace = XXH3_64bits_withSeed(p, n, w->trace);
}

void world_fail(struct world *w, const char *fmt, ...) {
    if (w->failed)
        return;
    w->failed = true;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(w->why, sizeof w->why, fmt, ap);
    va_end(ap);
    SAY(w, "VIOLATION: %s", w->why);
}

void world_push(struct world *w, int64_t at_us, enum sim_event_type type, uint32_t who,
                uint64_t gen) {
    sim_queue_push(&w->queue,
                   (struct sim_event){.at_us = at_us, .type = type, .who = who, .gen = gen});
}

static void draw_servers(struct world *w) {
    const struct sim_plan *p = &w->plan;
    w->host_count = p->voters + p->observers;
    for (uint32_t i = 0; i < w->host_count; i++)
        w->servers[i] = (struct quorum_server){.id = (uint8_t)(i + 1),
                                               .voter = i < p->voters,
                                               .group = p->groups[i],
                                               .weight = p->weights[i]};
}

struct world *world_new(const struct sim_plan *plan, bool verbose) {
    struct world *w = mem_zalloc(sizeof *w);
    w->plan = *plan;
    w->verbose = verbose;
    world_now = w;
    prng_init(&w->net, plan->seed ^ 0x6e6574);
    prng_init(&w->disk, plan->seed ^ 0x6469736b);
    prng_init(&w->work, plan->seed ^ 0x776f726b);
    prng_init(&w->chaos, plan->seed ^ 0x6368616f73);
    prng_init(&w->snap, plan->seed ^ 0x736e6170);
    w->check = check_new(w);
    draw_servers(w);
    for (uint32_t i = 0; i < w->host_count; i++) {
        host_init(w, i);
        int64_t at = prng_range(&w->chaos, 0, 30 * MS);
        if (i == plan->late_host)
            at = plan->late_us;
        world_push(w, at, SE_START, i, 0);
    }
    links_init(w);
    clients_init(w);
    faults_push(w);
    world_push(w, plan->faults_us, SE_HEAL, 0, 0);
    return w;
}

void world_free(struct world *w) {
    clients_close(w);
    wires_close(w);
    links_close(w);
    for (uint32_t i = 0; i < w->host_count; i++)
        host_close(&w->hosts[i]);
    check_free(w->check);
    sim_queue_close(&w->queue);
    if (world_now == w)
        world_now = NULL;
    mem_free(w);
}

/* ---- dispatch ---- */

/* The host that an event is for, when it has to be awake for it; NULL: none has to. */
static struct sim_host *host_of(struct world *w, const struct sim_event *ev) {
    switch (ev->type) {
    case SE_TIMER:
    case SE_FLUSH:
    case SE_SYNC_RUN:
    case SE_SYNC_DONE:
    case SE_CHECKPOINT_RUN:
    case SE_CHECKPOINT_DONE:
        return &w->hosts[ev->who];
    case SE_LINK_PIPE: {
        const struct sim_link *l = &w->links[ev->who / 2];
        return &w->hosts[ev->who % 2 == 0 ? l->b : l->a];
    }
    case SE_CONN_TO:
        return &w->hosts[w->wires[ev->who]->member];
    default:
        return NULL;
    }
}

static void dispatch_host(struct sim_host *m, const struct sim_event *ev) {
    if (!m->member || ev->gen != m->life)
        return;
    switch (ev->type) {
    case SE_TIMER:
        host_timer(m);
        break;
    case SE_FLUSH:
        host_do_flush(m);
        break;
    case SE_SYNC_RUN:
        host_sync_run(m);
        break;
    case SE_SYNC_DONE:
        host_sync_done(m);
        break;
    case SE_CHECKPOINT_RUN:
        disk_checkpoint_run(m);
        break;
    default:
        disk_checkpoint_done(m);
        break;
    }
}

static void dispatch(struct world *w, const struct sim_event *ev) {
    switch ((enum sim_event_type)ev->type) {
    case SE_TIMER:
    case SE_FLUSH:
    case SE_SYNC_RUN:
    case SE_SYNC_DONE:
    case SE_CHECKPOINT_RUN:
    case SE_CHECKPOINT_DONE:
        dispatch_host(&w->hosts[ev->who], ev);
        break;
    case SE_START:
        host_begin(&w->hosts[ev->who]);
        break;
    case SE_LINK_TRY:
        link_try(w, ev->who);
        break;
    case SE_LINK_PIPE:
        link_arrive(w, ev->who, ev->gen);
        break;
    case SE_CONN_TO:
        wire_arrive_to(w, ev->who, ev->gen);
        break;
    case SE_CONN_FROM:
        wire_arrive_from(w, ev->who, ev->gen);
        break;
    case SE_CLIENT_TIMER:
        client_timer(w->clients[ev->who], ev->gen);
        break;
    case SE_CLIENT_OP:
        client_work(w->clients[ev->who]);
        break;
    case SE_FAULT:
        fault_begin(w, ev->who);
        break;
    case SE_FAULT_END:
        fault_end(w, ev->who);
        break;
    case SE_HEAL:
        if (w->healing)
            break;
        w->healing = true;
        w->heal_us = w->now_us;
        SAY(w, "the faults are over");
        faults_heal(w);
        for (uint32_t i = 0; i < w->plan.clients; i++)
            client_demand(w->clients[i]);
        break;
    }
}

static bool is_frozen(struct world *w, const struct sim_event *ev) {
    const struct sim_host *m = host_of(w, ev);
    return m && m->frozen_us > ev->at_us;
}

static void look_for_the_end(struct world *w) {
    if (!w->healing || w->steps % 64 != 0)
        return;
    if (end_reached(w) || w->hopeless) {
        w->done = true;
        return;
    }
    if (w->now_us - w->heal_us > PROGRESS_US) {
        char text[256];
        end_describe(w, text, sizeof text);
        world_fail(w, "no progress %lld s after the faults are over: %s",
                   (long long)(PROGRESS_US / MS / 1000), text);
    }
}

static void finish(struct world *w) {
    for (uint32_t i = 0; i < w->host_count && !w->failed; i++)
        if (w->hosts[i].member)
            check_whole_tree(&w->hosts[i]);
    if (!w->failed)
        check_refusals(w);
}

void world_run(struct world *w) {
    struct sim_event ev;
    world_now = w;
    while (!w->failed && !w->done && sim_queue_pop(&w->queue, &ev)) {
        if (is_frozen(w, &ev)) {
            ev.at_us = host_of(w, &ev)->frozen_us;
            sim_queue_push(&w->queue, ev);
            continue;
        }
        w->now_us = ev.at_us;
        w->steps++;
        world_trace(w, (uint64_t)ev.at_us, (uint64_t)ev.type << 32 | ev.who);
        dispatch(w, &ev);
        hosts_reap(w);
        if (w->steps == w->plan.max_steps && !w->healing)
            world_push(w, w->now_us, SE_HEAL, 0, 0);
        look_for_the_end(w);
    }
    if (w->done)
        finish(w);
    else if (!w->failed)
        world_fail(w, "nothing is left to happen");
}
