/* Links between members. Two pipes and, at each end, what that end was told: one end may learn of a
 * link's end long after the other, and what was under way is lost from some point on. */
#include "tests/sim/sim.h"

#include "common/mem.h"

#include <string.h>

static uint32_t pair_of(const struct world *w, uint32_t a, uint32_t b) {
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    return high * (high - 1) / 2 + low;
}

/* The direction that leads to host `to`. */
static uint32_t toward(const struct sim_link *l, uint32_t to) { return to == l->b ? 0 : 1; }

static uint32_t receiver(const struct sim_link *l, uint32_t dir) { return dir == 0 ? l->b : l->a; }

static uint32_t sender(const struct sim_link *l, uint32_t dir) { return dir == 0 ? l->a : l->b; }

void links_init(struct world *w) {
    for (uint32_t b = 1; b < w->host_count; b++)
        for (uint32_t a = 0; a < b; a++)
            w->links[w->link_count++] = (struct sim_link){.a = (uint8_t)a, .b = (uint8_t)b};
}

void links_close(struct world *w) {
    for (uint32_t i = 0; i < w->link_count; i++) {
        pipe_clear(&w->links[i].pipe[0]);
        pipe_clear(&w->links[i].pipe[1]);
    }
}

static int64_t net_delay_us(struct world *w, uint32_t from, uint32_t to) {
    int64_t us = prng_range(&w->net, w->plan.net_min_us, w->plan.net_max_us);
    if (prng_chance(&w->net, 1, 100))
        us *= 8;
    return us + w->slow_us[from] + w->slow_us[to];
}

/* Schedules the arrival of the first item, unless it is kept back or already scheduled. */
static void kick(struct world *w, uint32_t pair, uint32_t dir) {
    struct sim_link *l = &w->links[pair];
    struct sim_pipe *p = &l->pipe[dir];
    if (!p->first || p->scheduled || w->blocked[sender(l, dir)][receiver(l, dir)] > 0)
        return;
    p->scheduled = true;
    int64_t at = p->first->at_us > w->now_us ? p->first->at_us : w->now_us;
    world_push(w, at, SE_LINK_PIPE, pair * 2 + dir, p->gen);
}

static void put(struct world *w, uint32_t pair, uint32_t dir, enum sim_item_type type,
                struct slice bytes) {
    struct sim_link *l = &w->links[pair];
    pipe_put(&l->pipe[dir], type, bytes, w->now_us,
             net_delay_us(w, sender(l, dir), receiver(l, dir)));
    kick(w, pair, dir);
}

static void queue_try(struct world *w, uint32_t pair, int64_t delay_us) {
    struct sim_link *l = &w->links[pair];
    if (l->try_queued)
        return;
    l->try_queued = true;
    world_push(w, w->now_us + delay_us, SE_LINK_TRY, pair, 0);
}

void links_of_started(struct sim_host *m) {
    struct world *w = m->w;
    for (uint32_t i = 0; i < w->host_count; i++)
        if (i != m->index)
            queue_try(w, pair_of(w, i, m->index), prng_range(&w->net, MS, 20 * MS));
}

/* A new generation, when both are there and hear each other. */
void link_try(struct world *w, uint32_t pair) {
    struct sim_link *l = &w->links[pair];
    l->try_queued = false;
    if (l->up || !w->hosts[l->a].member || !w->hosts[l->b].member)
        return;
    if (w->blocked[l->a][l->b] > 0 || w->blocked[l->b][l->a] > 0) {
        queue_try(w, pair, prng_range(&w->net, 40 * MS, 150 * MS));
        return;
    }
    l->up = true;
    for (uint32_t dir = 0; dir < 2; dir++) {
        l->fresh[dir] = false;
        pipe_clear(&l->pipe[dir]);
        put(w, pair, dir, ITEM_UP, SLICE_NULL);
    }
}

void link_send(struct sim_host *from, uint8_t peer, struct slice bytes) {
    struct world *w = from->w;
    struct sim_host *to = host_by_id(w, peer);
    if (!to || to == from) {
        world_fail(w, "server %u sends to server %u, that is none", from->id, peer);
        return;
    }
    uint32_t pair = pair_of(w, from->index, to->index);
    struct sim_link *l = &w->links[pair];
    uint32_t mine = toward(l, from->index);
    if (!l->up || !l->open[mine] || !l->fresh[mine])
        return; /* its end is on its way */
    put(w, pair, toward(l, to->index), ITEM_BYTES, bytes);
}

/* A part of what is under way still comes, then the end. */
static void end_direction(struct world *w, uint32_t pair, uint32_t dir, bool keep_all) {
    struct sim_pipe *p = &w->links[pair].pipe[dir];
    size_t n = pipe_count(p);
    if (n > 0 && !keep_all)
        pipe_lose_tail(p, prng_below(&w->net, n + 1));
    put(w, pair, dir, ITEM_DOWN, SLICE_NULL);
}

void link_drop(struct sim_host *m, uint8_t peer, struct slice why) {
    struct world *w = m->w;
    struct sim_host *to = host_by_id(w, peer);
    if (!to || to == m)
        return;
    uint32_t pair = pair_of(w, m->index, to->index);
    struct sim_link *l = &w->links[pair];
    uint32_t mine = toward(l, m->index);
    SAY(w, "%u drops its link to %u: %.*s", m->id, peer, why.len > 0 ? why.len : 0,
        (const char *)why.p);
    if (!l->open[mine])
        return;
    l->open[mine] = false;
    if (!l->up || !l->fresh[mine])
        return;
    l->up = false;
    pipe_clear(&l->pipe[mine]);
    end_direction(w, pair, 1 - mine, prng_chance(&w->net, 3, 4));
    queue_try(w, pair, prng_range(&w->net, MS, 60 * MS));
}

void link_break(struct world *w, uint32_t a, uint32_t b) {
    uint32_t pair = pair_of(w, a, b);
    struct sim_link *l = &w->links[pair];
    if (!l->up)
        return;
    l->up = false;
    SAY(w, "the link %u-%u breaks", l->a + 1u, l->b + 1u);
    for (uint32_t dir = 0; dir < 2; dir++)
        end_direction(w, pair, dir, false);
    queue_try(w, pair, prng_range(&w->net, MS, 60 * MS));
}

void link_sever(struct world *w, uint32_t host, uint32_t told) {
    uint32_t pair = pair_of(w, host, told);
    struct sim_link *l = &w->links[pair];
    if (!l->up)
        return;
    l->up = false;
    SAY(w, "the link %u-%u is severed", host + 1, told + 1);
    pipe_clear(&l->pipe[toward(l, host)]);
    end_direction(w, pair, toward(l, told), false);
    queue_try(w, pair, prng_range(&w->net, MS, 60 * MS));
}

void links_of_dead(struct sim_host *m, bool silent) {
    struct world *w = m->w;
    for (uint32_t i = 0; i < w->host_count; i++) {
        if (i == m->index)
            continue;
        uint32_t pair = pair_of(w, i, m->index);
        struct sim_link *l = &w->links[pair];
        uint32_t mine = toward(l, m->index);
        l->open[mine] = false;
        if (!l->up)
            continue;
        l->up = false;
        pipe_clear(&l->pipe[mine]);
        if (!silent)
            end_direction(w, pair, 1 - mine, prng_chance(&w->net, 1, 2));
    }
}

void link_block(struct world *w, uint32_t from, uint32_t to, bool block) {
    if (from == to)
        return;
    w->blocked[from][to] += block ? 1u : UINT32_MAX;
    uint32_t pair = pair_of(w, from, to);
    struct sim_link *l = &w->links[pair];
    uint32_t dir = toward(l, to);
    struct sim_pipe *p = &l->pipe[dir];
    if (block) { /* what is scheduled is kept back too */
        p->gen++;
        p->scheduled = false;
    } else {
        kick(w, pair, dir);
    }
}

static void deliver(struct sim_host *to, struct sim_host *from, struct sim_link *l, uint32_t dir,
                    const struct sim_item *item) {
    struct world *w = to->w;
    bool *open = &l->open[dir];
    switch (item->type) {
    case ITEM_UP:
        if (*open)
            member_peer_down(to->member, from->id);
        *open = l->fresh[dir] = true;
        if (!to->dying)
            member_peer_up(to->member, from->id);
        break;
    case ITEM_BYTES:
        if (!*open)
            return;
        SAY_MESSAGE(w, from->id, to->id, item);
        check_peer_message(to, from, item->sent_us);
        member_peer_message(to->member, from->id, (struct slice){item->bytes, item->len});
        break;
    case ITEM_DOWN:
        if (!*open)
            return;
        *open = false;
        SAY(w, "%u hears that its link to %u is gone", to->id, from->id);
        member_peer_down(to->member, from->id);
        break;
    }
}

void link_arrive(struct world *w, uint32_t direction, uint64_t gen) {
    struct sim_link *l = &w->links[direction / 2];
    uint32_t dir = direction % 2;
    struct sim_pipe *p = &l->pipe[dir];
    if (p->gen != gen)
        return;
    p->scheduled = false;
    if (!pipe_is_due(p, w->now_us)) {
        kick(w, direction / 2, dir);
        return;
    }
    struct sim_item *item = pipe_take(p);
    struct sim_host *to = &w->hosts[receiver(l, dir)];
    if (to->member) {
        world_trace(w, direction, (uint64_t)item->type);
        world_trace_bytes(w, item->bytes, (size_t)item->len);
        host_enter(to);
        deliver(to, &w->hosts[sender(l, dir)], l, dir, item);
        host_leave(to);
        host_wake(to);
    }
    mem_free(item);
    kick(w, direction / 2, dir);
}
