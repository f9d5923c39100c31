/* The world's links and its clock: what arrives when. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <inttypes.h>
#include <string.h>

#define RECONNECT_MS 10
#define SETTLE_ROUNDS_MAX 200000u

/* --- links --- */

static bool server_acts(const struct zab_world *w, uint8_t id) {
    return w->servers[id].z && !w->servers[id].frozen;
}

void world_link_clear(struct world_link *link) {
    while (link->first) {
        struct world_message *m = link->first;
        link->first = m->next;
        blob_unref(m->msg.payload);
        mem_free(m);
    }
    link->last = NULL;
    link->count = link->bytes = 0;
}

void world_link_send(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *msg) {
    struct world_link *link = &w->links[from][to];
    world_check_message(w, from, to, msg);
    if (!link->up)
        return;
    struct world_message *m = mem_zalloc(sizeof *m);
    m->msg = *msg;
    blob_ref(m->msg.payload);
    if (link->last)
        link->last->next = m;
    else
        link->first = m;
    link->last = m;
    link->count++;
    link->bytes += msg->payload ? msg->payload->len : 0;
}

void world_link_drop(struct zab_world *w, uint8_t from, uint8_t to) {
    struct world_link *mine = &w->links[from][to], *other = &w->links[to][from];
    mine->up = false;
    mine->down_ms = w->now_ms;
    /* What the other says is not read any more; what was said before still arrives there. */
    world_link_clear(other);
    if (other->up) {
        mine->closed = true;
    } else {
        world_link_clear(mine);
        other->closed = false;
    }
}

void world_connect(struct zab_world *w, uint8_t a, uint8_t b) {
    struct world_link *ab = &w->links[a][b], *ba = &w->links[b][a];
    if (ab->up || ba->up || w->severed[a][b] || !server_acts(w, a) || !server_acts(w, b))
        return;
    world_link_clear(ab);
    world_link_clear(ba);
    ab->closed = ba->closed = false;
    ab->up = ba->up = true;
    if (!w->hide_events)
        world_say(w, "%u and %u have a link", a < b ? a : b, a < b ? b : a);
    world_clock(w, a);
    zab_peer_up(w->servers[a].z, b);
    world_pump(w, a);
    if (!w->servers[b].z || !ba->up)
        return;
    world_clock(w, b);
    zab_peer_up(w->servers[b].z, a);
    world_pump(w, b);
}

/* `id` notices that its link to `peer` is gone. */
static void link_gone(struct zab_world *w, uint8_t id, uint8_t peer) {
    struct world_link *link = &w->links[id][peer];
    world_link_clear(link);
    link->closed = false;
    if (!link->up)
        return;
    link->up = false;
    link->down_ms = w->now_ms;
    if (!w->servers[id].z)
        return;
    world_clock(w, id);
    zab_peer_down(w->servers[id].z, peer);
    world_pump(w, id);
}

void world_disconnect(struct zab_world *w, uint8_t a, uint8_t b) {
    if (!w->hide_events && (w->links[a][b].up || w->links[b][a].up))
        world_say(w, "%u and %u lose their link", a < b ? a : b, a < b ? b : a);
    world_link_clear(&w->links[a][b]);
    world_link_clear(&w->links[b][a]);
    link_gone(w, a, b);
    link_gone(w, b, a);
}

void world_sever(struct zab_world *w, uint8_t a, uint8_t b) {
    w->severed[a][b] = w->severed[b][a] = true;
    world_disconnect(w, a, b);
}

void world_mend(struct zab_world *w, uint8_t a, uint8_t b) {
    w->severed[a][b] = w->severed[b][a] = false;
    world_connect(w, a, b);
}

void world_isolate(struct zab_world *w, uint8_t id) {
    for (uint8_t peer = 1; peer < WORLD_IDS; peer++)
        if (peer != id && w->servers[peer].there)
            world_sever(w, id, peer);
}

void world_cut(struct zab_world *w, uint8_t from, uint8_t to) { w->links[from][to].cut = true; }
void world_uncut(struct zab_world *w, uint8_t from, uint8_t to) { w->links[from][to].cut = false; }

void world_heal(struct zab_world *w) {
    world_unblock(w);
    memset(w->severed, 0, sizeof w->severed);
    w->no_reconnect = false;
    for (uint8_t a = 1; a < WORLD_IDS; a++) {
        w->servers[a].disk_held = w->servers[a].snap_held = w->servers[a].reads_held = false;
        w->servers[a].frozen = false;
        for (uint8_t b = 1; b < WORLD_IDS; b++)
            w->links[a][b].cut = false;
    }
}

const struct zab_msg *world_head(const struct zab_world *w, uint8_t from, uint8_t to) {
    return w->links[from][to].first ? &w->links[from][to].first->msg : NULL;
}

const struct zab_msg *world_find(const struct zab_world *w, uint8_t from, uint8_t to,
                                 enum zab_msg_type type) {
    for (const struct world_message *m = w->links[from][to].first; m; m = m->next)
        if (m->msg.type == type)
            return &m->msg;
    return NULL;
}

void world_forge(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *msg) {
    world_clock(w, to);
    zab_receive(w->servers[to].z, from, msg);
    world_pump(w, to);
}

void world_lose(struct zab_world *w, uint8_t from, uint8_t to) {
    world_link_clear(&w->links[from][to]);
}

static void deliver_message(struct zab_world *w, uint8_t from, uint8_t to) {
    struct world_link *link = &w->links[from][to];
    struct world_message *m = link->first;
    link->first = m->next;
    if (!link->first)
        link->last = NULL;
    link->count--;
    link->bytes -= m->msg.payload ? m->msg.payload->len : 0;
    bool ping = m->msg.type == ZM_PING || m->msg.type == ZM_PONG;
    bool hidden =
        w->hide_messages || (ping && !w->show_pings) || (m->msg.type == ZM_VOTE && w->hide_votes);
    if (!w->config.quiet && !hidden) {
        struct buf text = BUF_INIT;
        world_message_text(&m->msg, &text);
        world_say(w, "%u>%u %.*s", from, to, (int)text.len, (const char *)text.data);
        buf_close(&text);
    }
    if (m->msg.type == ZM_UPTODATE && w->servers[to].leader == from)
        w->servers[to].uptodate = m->msg.zxid;
    world_clock(w, to);
    zab_receive(w->servers[to].z, from, &m->msg);
    world_pump(w, to);
    blob_unref(m->msg.payload);
    mem_free(m);
}

bool world_deliver(struct zab_world *w, uint8_t from, uint8_t to) {
    struct world_link *link = &w->links[from][to];
    if (link->cut || !server_acts(w, to))
        return false;
    if (link->first && w->links[to][from].up) {
        deliver_message(w, from, to);
        return true;
    }
    if (!link->closed)
        return false;
    link->closed = false;
    link_gone(w, to, from);
    return true;
}

void world_block(struct zab_world *w, uint8_t from, uint8_t to, enum zab_msg_type type) {
    CHECK(w->block_count < WORLD_BLOCKS);
    w->blocks[w->block_count].from = from;
    w->blocks[w->block_count].to = to;
    w->blocks[w->block_count++].type = (int)type;
}

void world_unblock(struct zab_world *w) { w->block_count = 0; }

static bool is_blocked(const struct zab_world *w, uint8_t from, uint8_t to) {
    const struct world_message *m = w->links[from][to].first;
    for (size_t i = 0; i < w->block_count; i++) {
        bool here = (!w->blocks[i].from || w->blocks[i].from == from) &&
                    (!w->blocks[i].to || w->blocks[i].to == to);
        if (here && (!w->blocks[i].type || (m && (int)m->msg.type == w->blocks[i].type)))
            return true;
    }
    return false;
}

/* --- time --- */

static bool link_due(const struct zab_world *w, uint8_t a, uint8_t b) {
    return !w->no_reconnect && !w->severed[a][b] && server_acts(w, a) && server_acts(w, b) &&
           !w->links[a][b].up && !w->links[b][a].up;
}

static int64_t link_due_ms(const struct zab_world *w, uint8_t a, uint8_t b) {
    int64_t down = w->links[a][b].down_ms > w->links[b][a].down_ms ? w->links[a][b].down_ms
                                                                   : w->links[b][a].down_ms;
    return down + RECONNECT_MS;
}

int64_t world_links_due(const struct zab_world *w) {
    int64_t due = INT64_MAX;
    for (uint8_t a = 1; a < WORLD_IDS; a++)
        for (uint8_t b = 1; b < a; b++)
            if (link_due(w, a, b) && link_due_ms(w, a, b) < due)
                due = link_due_ms(w, a, b);
    return due;
}

void world_links_reconnect(struct zab_world *w) {
    for (uint8_t a = 1; a < WORLD_IDS; a++)
        for (uint8_t b = 1; b < a; b++)
            if (link_due(w, a, b) && link_due_ms(w, a, b) <= w->now_ms)
                world_connect(w, a, b);
}

bool world_step(struct zab_world *w) {
    bool any = false;
    for (uint8_t id = 1; id < WORLD_IDS && !w->broken[0]; id++) {
        struct world_server *s = &w->servers[id];
        if (!server_acts(w, id))
            continue;
        if (!s->disk_held && s->disk.job_count > 0)
            any |= world_disk_some(w, id, s->disk.job_count) > 0;
        for (uint8_t peer = 1; peer < WORLD_IDS; peer++) {
            if (!s->reads_held)
                any |= world_disk_read(w, id, peer);
            if (!s->snap_held)
                any |= world_app_send_piece(w, id, peer);
        }
    }
    for (uint8_t from = 1; from < WORLD_IDS; from++)
        for (uint8_t to = 1; to < WORLD_IDS && !w->broken[0]; to++)
            if (from != to && !is_blocked(w, from, to))
                any |= world_deliver(w, from, to);
    return any && !w->broken[0];
}

void world_settle(struct zab_world *w) {
    for (uint32_t i = 0; world_step(w); i++)
        if (i > SETTLE_ROUNDS_MAX)
            world_break(w, "the servers never come to rest");
}

static int64_t next_moment(const struct zab_world *w, int64_t until) {
    int64_t at = world_links_due(w);
    for (uint8_t id = 1; id < WORLD_IDS; id++)
        if (server_acts(w, id) && zab_deadline(w->servers[id].z) < at)
            at = zab_deadline(w->servers[id].z);
    return at < until ? at : until;
}

static void clocks_run(struct zab_world *w) {
    for (uint8_t id = 1; id < WORLD_IDS && !w->broken[0]; id++) {
        if (!server_acts(w, id) || zab_deadline(w->servers[id].z) > w->now_ms)
            continue;
        world_clock(w, id);
        world_pump(w, id);
        if (server_acts(w, id) && zab_deadline(w->servers[id].z) <= w->now_ms)
            world_break(w, "%u does not do what is due at %" PRId64, id, w->now_ms);
    }
}

void world_advance(struct zab_world *w, int64_t ms) {
    int64_t until = w->now_ms + ms;
    world_settle(w);
    while (w->now_ms < until && !w->broken[0]) {
        int64_t at = next_moment(w, until);
        if (at > w->now_ms)
            w->now_ms = at;
        clocks_run(w);
        world_links_reconnect(w);
        world_settle(w);
    }
}

void world_tick(struct zab_world *w, int64_t ms) {
    w->now_ms += ms;
    clocks_run(w);
    world_links_reconnect(w);
}

uint8_t world_leader(const struct zab_world *w) {
    uint8_t best = 0;
    for (uint8_t id = 1; id < WORLD_IDS; id++) {
        const struct world_server *s = &w->servers[id];
        if (s->z && s->serving && s->role == ZAB_LEADING &&
            (!best || s->serve_epoch > w->servers[best].serve_epoch))
            best = id;
    }
    return best;
}

uint8_t world_await_leader(struct zab_world *w, int64_t ms) {
    int64_t until = w->now_ms + ms;
    world_settle(w);
    while (!world_leader(w) && w->now_ms < until && !w->broken[0])
        world_advance(w, 10);
    if (!world_leader(w))
        world_break(w, "nobody leads after %" PRId64 " ms", ms);
    return world_leader(w);
}

const struct zab_msg *world_run_to(struct zab_world *w, uint8_t from, uint8_t to,
                                   enum zab_msg_type type) {
    world_block(w, from, to, type);
    int64_t until = w->now_ms + 20000;
    world_settle(w);
    for (;;) {
        const struct zab_msg *m = world_head(w, from, to);
        if (m && m->type == type)
            return m;
        if (w->now_ms >= until || w->broken[0])
            break;
        world_advance(w, 10);
    }
    world_break(w, "%u does not send %u what the test waits for", from, to);
    return NULL;
}
