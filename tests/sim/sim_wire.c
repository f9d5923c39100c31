/* Connections of clients. The pipes carry whole frames, as the shell would cut them for the member;
 * the client gets its bytes in pieces of any size. */
#include "tests/sim/sim.h"

#include "common/check.h"
#include "common/mem.h"
#include "tests/sim/sim_client.h"

#define FRAME_HEADER_BYTES 4

struct sim_wire *wire_find(struct world *w, conn_id_t id) {
    return id >= 1 && id <= w->wire_count ? w->wires[id - 1] : NULL;
}

void wires_close(struct world *w) {
    for (size_t i = 0; i < w->wire_count; i++) {
        pipe_clear(&w->wires[i]->to);
        pipe_clear(&w->wires[i]->from);
        mem_free(w->wires[i]);
    }
    mem_free(w->wires);
}

static bool cut_off(const struct world *w, const struct sim_wire *c) {
    return c->client < SIM_CLIENTS_MAX && w->cut[c->client][c->member] > 0;
}

static void kick(struct world *w, struct sim_wire *c, bool to_member) {
    struct sim_pipe *p = to_member ? &c->to : &c->from;
    if (!p->first || p->scheduled || cut_off(w, c) || (to_member && c->paused))
        return;
    p->scheduled = true;
    int64_t at = p->first->at_us > w->now_us ? p->first->at_us : w->now_us;
    world_push(w, at, to_member ? SE_CONN_TO : SE_CONN_FROM, (uint32_t)(c->id - 1), p->gen);
}

static void hold(struct sim_pipe *p) {
    p->gen++;
    p->scheduled = false;
}

static void put(struct world *w, struct sim_wire *c, bool to_member, enum sim_item_type type,
                struct slice bytes) {
    int64_t delay_us = prng_range(&w->net, w->plan.net_min_us, w->plan.net_max_us);
    pipe_put(to_member ? &c->to : &c->from, type, bytes, w->now_us,
             delay_us + w->slow_us[c->member]);
    kick(w, c, to_member);
}

/* The answer of the other end's system: up, or refused where no process listens. */
conn_id_t wire_open(struct world *w, uint32_t client, uint32_t member) {
    if (w->wire_count == w->wire_cap) {
        w->wire_cap = w->wire_cap ? 2 * w->wire_cap : 32;
        w->wires = mem_realloc(w->wires, w->wire_cap * sizeof *w->wires);
    }
    struct sim_wire *c = mem_zalloc(sizeof *c);
    *c = (struct sim_wire){.client = client, .member = member, .client_open = true};
    w->wires[w->wire_count++] = c;
    c->id = w->wire_count;
    struct sim_host *m = &w->hosts[member];
    c->life = m->life;
    if (m->member) {
        put(w, c, true, ITEM_UP, SLICE_NULL);
        put(w, c, false, ITEM_UP, SLICE_NULL);
    } else {
        put(w, c, false, ITEM_DOWN, SLICE_NULL);
    }
    return c->id;
}

void wire_ask_snap(struct world *w, uint32_t member) {
    static const uint8_t word[] = {'s', 'n', 'a', 'p'};
    conn_id_t id = wire_open(w, SIM_OPERATOR, member);
    put(w, wire_find(w, id), true, ITEM_BYTES, (struct slice){word, sizeof word});
}

void wire_client_send(struct world *w, conn_id_t id, struct slice frames) {
    struct sim_wire *c = wire_find(w, id);
    if (!c->client_open)
        return;
    struct cursor in;
    cursor_init(&in, frames.p, (size_t)frames.len);
    while (cursor_left(&in) > 0) {
        uint32_t len = cursor_u32be(&in);
        const uint8_t *p = cursor_bytes(&in, len);
        CHECK(!in.bad);
        put(w, c, true, ITEM_BYTES, (struct slice){p, (int32_t)len});
    }
}

void wire_client_close(struct world *w, conn_id_t id) {
    struct sim_wire *c = wire_find(w, id);
    if (!c || !c->client_open)
        return;
    c->client_open = false;
    pipe_clear(&c->from);
    if (prng_chance(&w->net, 1, 4)) /* a reset throws away what the server has not read */
        pipe_lose_tail(&c->to, prng_below(&w->net, pipe_count(&c->to) + 1));
    put(w, c, true, ITEM_DOWN, SLICE_NULL);
}

void wire_server_send(struct sim_host *m, conn_id_t id, struct slice bytes) {
    struct sim_wire *c = wire_find(m->w, id);
    if (!c || c->member != m->index || c->life != m->life || !c->server_open) {
        world_fail(m->w, "server %u sends to connection %llu, that it does not have", m->id,
                   (unsigned long long)id);
        return;
    }
    if (c->client == SIM_OPERATOR)
        check_snap_answer(m, c, bytes);
    else
        check_server_sends(m, c, bytes);
    if (c->client_open)
        put(m->w, c, false, ITEM_BYTES, bytes);
}

void wire_server_close(struct sim_host *m, conn_id_t id) {
    struct sim_wire *c = wire_find(m->w, id);
    if (!c || c->life != m->life || !c->server_open)
        return;
    c->server_open = false;
    pipe_clear(&c->to);
    if (c->client_open)
        put(m->w, c, false, ITEM_DOWN, SLICE_NULL);
}

void wire_server_pause(struct sim_host *m, conn_id_t id, bool pause) {
    struct sim_wire *c = wire_find(m->w, id);
    if (!c || c->life != m->life)
        return;
    c->paused = pause;
    if (pause)
        hold(&c->to);
    else
        kick(m->w, c, true);
}

static void feed_member(struct sim_host *m, struct sim_wire *c, const struct sim_item *item) {
    static const uint8_t address[4] = {127, 0, 0, 1};
    switch (item->type) {
    case ITEM_UP:
        c->server_open = true;
        member_client_open(m->member, c->id, (struct slice){address, 4}, 1000);
        break;
    case ITEM_BYTES:
        if (!c->server_open)
            return;
        if (c->client == SIM_OPERATOR) {
            c->asked_zxid = m->check.applied;
            member_client_word(m->member, c->id, (struct slice){item->bytes, item->len});
            return;
        }
        check_client_frame(m, c, (struct slice){item->bytes, item->len});
        member_client_frame(m->member, c->id, (struct slice){item->bytes, item->len});
        break;
    case ITEM_DOWN:
        if (!c->server_open)
            return;
        c->server_open = false;
        member_client_closed(m->member, c->id);
        break;
    }
}

void wire_arrive_to(struct world *w, uint32_t index, uint64_t gen) {
    struct sim_wire *c = w->wires[index];
    if (c->to.gen != gen)
        return;
    c->to.scheduled = false;
    if (!pipe_is_due(&c->to, w->now_us)) {
        kick(w, c, true);
        return;
    }
    struct sim_item *item = pipe_take(&c->to);
    struct sim_host *m = &w->hosts[c->member];
    if (m->member && m->life == c->life) {
        world_trace(w, c->id, (uint64_t)item->type);
        world_trace_bytes(w, item->bytes, (size_t)item->len);
        host_enter(m);
        feed_member(m, c, item);
        host_leave(m);
        host_wake(m);
    }
    mem_free(item);
    kick(w, c, true);
}

void wire_arrive_from(struct world *w, uint32_t index, uint64_t gen) {
    struct sim_wire *c = w->wires[index];
    if (c->from.gen != gen)
        return;
    c->from.scheduled = false;
    if (!pipe_is_due(&c->from, w->now_us)) {
        kick(w, c, false);
        return;
    }
    struct sim_item *item = pipe_take(&c->from);
    world_trace(w, c->id, 16 + (uint64_t)item->type);
    world_trace_bytes(w, item->bytes, (size_t)item->len);
    if (c->client_open && c->client < SIM_CLIENTS_MAX)
        client_hear(w->clients[c->client], c, item);
    else if (c->client_open && c->client == SIM_INTRUDER && item->type == ITEM_BYTES)
        check_intruder(w, c, (struct slice){item->bytes, item->len});
    mem_free(item);
    if (c->client_open)
        kick(w, c, false);
}

/* A dead machine says nothing; a dead process's system says so. */
void wires_of_dead(struct sim_host *m, bool silent) {
    struct world *w = m->w;
    for (size_t i = 0; i < w->wire_count; i++) {
        struct sim_wire *c = w->wires[i];
        if (c->member != m->index || c->life > m->life)
            continue;
        pipe_clear(&c->to);
        if (!c->client_open || (!c->server_open && !c->from.first))
            continue;
        c->server_open = false;
        pipe_lose_tail(&c->from, prng_below(&w->net, pipe_count(&c->from) + 1));
        if (!silent)
            put(w, c, false, ITEM_DOWN, SLICE_NULL);
    }
}

void wire_break(struct world *w, conn_id_t id) {
    struct sim_wire *c = wire_find(w, id);
    if (!c || !c->client_open || !c->server_open)
        return;
    SAY(w, "connection %llu breaks", (unsigned long long)id);
    pipe_lose_tail(&c->to, prng_below(&w->net, pipe_count(&c->to) + 1));
    pipe_lose_tail(&c->from, prng_below(&w->net, pipe_count(&c->from) + 1));
    put(w, c, true, ITEM_DOWN, SLICE_NULL);
    put(w, c, false, ITEM_DOWN, SLICE_NULL);
}

void wires_cut(struct world *w, uint32_t client, uint32_t member, bool cut) {
    w->cut[client][member] += cut ? 1u : UINT32_MAX;
    for (size_t i = 0; i < w->wire_count; i++) {
        struct sim_wire *c = w->wires[i];
        if (c->client != client || c->member != member)
            continue;
        if (cut) {
            hold(&c->to);
            hold(&c->from);
        } else {
            kick(w, c, true);
            kick(w, c, false);
        }
    }
}
