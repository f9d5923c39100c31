#include "tests/unit/server/ensemble.h"

#include "common/mem.h"
#include "replica/proto/peer_codec.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/znode.h"

#include <string.h>

static struct ensemble *world_of(struct harness *h) { return h->world; }

size_t e_index(const struct ensemble *e, const struct harness *h) {
    for (size_t i = 0; i < e->count; i++) {
        if (e->h[i] == h)
            return i;
    }
    ck_abort_msg("none of the ensemble's");
    return 0;
}

static void way_clear(struct e_way *w) {
    while (w->first) {
        struct e_message *m = w->first;
        w->first = m->next;
        blob_unref(m->bytes);
        mem_free(m);
    }
    w->last = NULL;
}

static void way_put(struct e_way *w, struct slice bytes) {
    struct e_message *m = mem_alloc(sizeof *m);
    *m = (struct e_message){NULL, blob_from_slice(bytes)};
    if (w->last)
        w->last->next = m;
    else
        w->first = m;
    w->last = m;
}

static struct blob *way_take(struct e_way *w) {
    struct e_message *m = w->first;
    struct blob *bytes = m->bytes;
    w->first = m->next;
    if (!m->next)
        w->last = NULL;
    mem_free(m);
    return bytes;
}

static void pieces_clear(struct blob ***pieces, size_t *count) {
    for (size_t i = 0; i < *count; i++)
        blob_unref((*pieces)[i]);
    mem_free(*pieces);
    *pieces = NULL;
    *count = 0;
}

static void answer_later(struct e_disk *d, struct event ev) {
    ck_assert(d->answer_count < sizeof d->answers / sizeof d->answers[0]);
    d->answers[d->answer_count++] = ev;
}

static void log_truncate(struct harness *h, size_t count) {
    while (h->log_count > count)
        blob_unref(h->log[--h->log_count].payload);
    if (h->synced > h->log_count)
        h->synced = h->log_count;
}

static size_t log_find(const struct harness *h, zxid_t behind) {
    size_t i = 0;
    while (i < h->log_count && h->log[i].zxid <= behind)
        i++;
    return i;
}

static void snap_install(struct harness *h, struct e_disk *d, const struct update *u) {
    pieces_clear(&d->pieces, &d->piece_count);
    d->pieces = d->coming;
    d->piece_count = d->coming_count;
    d->coming = NULL;
    d->coming_count = 0;
    d->begun = u->zxid;
    d->ended = u->ended;
    d->has_snapshot = true;
    log_truncate(h, 0);
    answer_later(d, (struct event){.type = EV_SNAP_INSTALLED});
}

/* Updates that one server alone has no use for. */
static void carry_out(struct harness *h, const struct update *u) {
    struct ensemble *e = world_of(h);
    size_t i = e_index(e, h);
    struct e_disk *d = &e->disk[i];
    size_t peer = u->peer ? (size_t)u->peer - 1 : 0;
    switch (u->type) {
    case UPD_PEER_SEND:
        ck_assert_msg(e->linked[i][peer] || e->down[i][peer], "sent over a link that is down");
        if (e->linked[i][peer])
            way_put(&e->way[i][peer], u->bytes);
        break;
    case UPD_PEER_DROP:
        answer_later(d, (struct event){.type = EV_PEER_DOWN, .peer = u->peer});
        break;
    case UPD_LOG_TRUNCATE:
        log_truncate(h, log_find(h, u->zxid));
        answer_later(d, (struct event){.type = EV_LOG_TRUNCATED, .zxid = u->zxid});
        break;
    case UPD_LOG_READ:
        answer_later(d, (struct event){.type = EV_LOG_RANGE, .peer = u->peer, .zxid = u->zxid});
        break;
    case UPD_REPAIR_READ:
        answer_later(
            d, (struct event){
                   .type = EV_REPAIR_RANGE, .peer = u->peer, .zxid = u->zxid, .ended = u->ended});
        break;
    case UPD_SNAP_READ:
        answer_later(
            d, (struct event){
                   .type = EV_SNAP_RANGE, .peer = u->peer, .zxid = u->zxid, .bytes = SLICE_NULL});
        break;
    case UPD_SNAP_BEGIN:
    case UPD_SNAP_ABANDON:
        pieces_clear(&d->coming, &d->coming_count);
        break;
    case UPD_SNAP_CHUNK:
        d->coming = mem_realloc(d->coming, (d->coming_count + 1) * sizeof *d->coming);
        d->coming[d->coming_count++] = blob_from_slice(u->bytes);
        break;
    case UPD_SNAP_END:
        snap_install(h, d, u);
        break;
    case UPD_START_OVER:
        e->over[i] = e->dead[i] = true;
        e->distrusts[i] = u->distrust;
        e->start_overs[i]++;
        answer_later(d, (struct event){.type = EV_PEER_DOWN});
        break;
    default:
        ck_abort_msg("update %d", u->type);
    }
}

static void settle_after(struct harness *h) {
    struct ensemble *e = world_of(h);
    if (!e->held)
        e_settle(e);
}

struct ensemble *e_new(size_t count, size_t observers) {
    struct ensemble *e = mem_zalloc(sizeof *e);
    e->count = count;
    for (size_t i = 0; i < count; i++)
        e->servers[i] = (struct quorum_server){
            .id = (uint8_t)(i + 1), .voter = i + observers < count, .weight = 1};
    return e;
}

static void recover_snapshot(struct harness *h) {
    struct ensemble *e = world_of(h);
    struct e_disk *d = &e->disk[e_index(e, h)];
    for (size_t i = 0; i < d->piece_count; i++)
        h_event(h, (struct event){.type = EV_SNAP_CHUNK, .bytes = blob_slice(d->pieces[i])});
    if (d->has_snapshot)
        h_event(h, (struct event){.type = EV_SNAP_END, .zxid = d->begun, .ended = d->ended});
}

static void make(struct ensemble *e, size_t i) {
    struct replica_config config = h_config();
    config.server_id = (uint8_t)(i + 1);
    config.ensemble = (struct quorum_config){e->servers, (uint32_t)e->count};
    config.leader_serves = true;
    if (e->configure)
        e->configure(&config);
    struct harness *h = h_new(&config);
    if (e->counter_limit > 0) {
        h->counter_limit = e->counter_limit;
        replica_free(h->r);
        h->r = core_new(&h->config, h->counter_limit);
    }
    h->random_byte = (uint8_t)(i + 1);
    h->world = e;
    h->other = carry_out;
    h->settle = settle_after;
    h->recover = recover_snapshot;
    e->h[i] = h;
}

void e_free(struct ensemble *e) {
    for (size_t i = 0; i < e->count; i++) {
        h_free(e->h[i]);
        pieces_clear(&e->disk[i].pieces, &e->disk[i].piece_count);
        pieces_clear(&e->disk[i].coming, &e->disk[i].coming_count);
        for (size_t k = 0; k < e->count; k++)
            way_clear(&e->way[i][k]);
    }
    mem_free(e);
}

static bool alive(const struct ensemble *e, size_t i) { return !e->dead[i] && !e->h[i]->stopped; }

static void unlink_ways(struct ensemble *e, size_t a, size_t b) {
    e->linked[a][b] = e->linked[b][a] = false;
    way_clear(&e->way[a][b]);
    way_clear(&e->way[b][a]);
}

static void event(struct ensemble *e, size_t i, struct event ev) {
    if (alive(e, i))
        h_event(e->h[i], ev);
}

/* The other end of i's link to k is gone: i hears of it now, or when it wakes up. */
static void down(struct ensemble *e, size_t i, size_t k) {
    e->down[i][k] = true;
    if (e->frozen[i])
        return;
    event(e, i, (struct event){.type = EV_PEER_DOWN, .peer = (uint8_t)(k + 1)});
    e->down[i][k] = false;
}

/* Links between those that are there, as the shells would make them. */
static void link_up(struct ensemble *e) {
    for (size_t a = 0; a < e->count; a++) {
        for (size_t b = a + 1; b < e->count; b++) {
            if (e->linked[a][b] || e->cut[a][b] || !alive(e, a) || !alive(e, b) || e->frozen[a] ||
                e->frozen[b])
                continue;
            e->linked[a][b] = e->linked[b][a] = true;
            event(e, a, (struct event){.type = EV_PEER_UP, .peer = (uint8_t)(b + 1)});
            event(e, b, (struct event){.type = EV_PEER_UP, .peer = (uint8_t)(a + 1)});
        }
    }
}

static void log_range(struct ensemble *e, size_t i, struct event ev) {
    struct harness *h = e->h[i];
    static struct log_record records[4096];
    size_t at = log_find(h, ev.zxid), count = 0;
    bool base = e->disk[i].has_snapshot ? ev.zxid == e->disk[i].begun : ev.zxid == 0;
    bool known = base || (at > 0 && h->log[at - 1].zxid == ev.zxid);
    for (; known && at < h->synced && count < 4096; at++)
        records[count++] = (struct log_record){
            h->log[at].kind, h->log[at].zxid, h->log[at].committed, blob_slice(h->log[at].payload)};
    ev.records = records;
    ev.record_count = count;
    event(e, i, ev);
}

static void peer_dropped(struct ensemble *e, size_t i, uint8_t peer) {
    size_t other = (size_t)peer - 1;
    bool was = e->linked[i][other];
    unlink_ways(e, i, other);
    if (was)
        down(e, other, i);
}

/* Who has said that it starts over is gone. */
static bool end_life(struct ensemble *e, size_t i) {
    if (!e->over[i] || e->disk[i].answer_count == 0)
        return false;
    e_kill(e, i);
    return true;
}

/* What the disk and the shell of server i have to say. */
static bool answer(struct ensemble *e, size_t i) {
    struct e_disk *d = &e->disk[i];
    struct harness *h = e->h[i];
    if (end_life(e, i))
        return true;
    if (!alive(e, i) || e->frozen[i])
        return false;
    bool any = d->answer_count > 0;
    for (size_t k = 0; k < e->count; k++) {
        any = any || e->down[i][k];
        if (e->down[i][k])
            down(e, i, k);
    }
    while (d->answer_count > 0 && !e->over[i]) {
        struct event ev = d->answers[0];
        memmove(d->answers, d->answers + 1, --d->answer_count * sizeof *d->answers);
        if (ev.type == EV_PEER_DOWN)
            peer_dropped(e, i, ev.peer);
        else if (ev.type == EV_LOG_RANGE || ev.type == EV_REPAIR_RANGE)
            log_range(e, i, ev);
        else
            event(e, i, ev);
    }
    if (h->epoch_asked) {
        h->epoch_asked = false;
        event(e, i, (struct event){.type = EV_EPOCH_SAVED, .epoch = h->epoch});
        any = true;
    }
    if (!h->hold_log && h->synced < h->log_count) {
        h_sync(h);
        any = true;
    }
    return any;
}

static bool deliver(struct ensemble *e, size_t from, size_t to) {
    struct e_way *w = &e->way[from][to];
    if (!w->first || w->held || !alive(e, to) || e->frozen[to])
        return false;
    struct blob *bytes = way_take(w);
    event(e, to,
          (struct event){
              .type = EV_PEER_MESSAGE, .peer = (uint8_t)(from + 1), .bytes = blob_slice(bytes)});
    blob_unref(bytes);
    return true;
}

/* A tick that is asked for at once. */
static bool tick(struct ensemble *e, size_t i) {
    struct harness *h = e->h[i];
    if (!alive(e, i) || e->frozen[i] || h->deadline_ms == 0 || h->deadline_ms > h->mono_ms)
        return false;
    h->deadline_ms = 0;
    event(e, i, (struct event){.type = EV_TICK});
    return true;
}

void e_settle(struct ensemble *e) {
    if (e->settling)
        return;
    e->settling = true;
    bool any = true;
    for (int rounds = 0; any; rounds++) {
        ck_assert_msg(rounds < 100000, "the ensemble does not come to rest");
        any = false;
        for (size_t i = 0; i < e->count; i++) {
            while (answer(e, i))
                any = true;
            if (tick(e, i))
                any = true;
            for (size_t k = 0; k < e->count; k++) {
                if (deliver(e, i, k))
                    any = true;
            }
        }
    }
    e->settling = false;
}

static void settle_unless_held(struct ensemble *e) {
    if (!e->held)
        e_settle(e);
}

void e_advance(struct ensemble *e, int64_t ms) {
    settle_unless_held(e);
    for (size_t i = 0; i < e->count && !e->stay_over; i++) {
        if (e->over[i] && e->disk[i].answer_count == 0)
            e_revive(e, i);
    }
    for (int64_t end = e->h[0]->mono_ms + ms; e->h[0]->mono_ms < end;) {
        int64_t next = end;
        for (size_t i = 0; i < e->count; i++) {
            int64_t due = e->h[i]->deadline_ms;
            if (alive(e, i) && !e->frozen[i] && due > e->h[i]->mono_ms && due < next)
                next = due;
        }
        for (size_t i = 0; i < e->count; i++) {
            e->h[i]->wall_ms += next - e->h[i]->mono_ms;
            e->h[i]->mono_ms = next;
        }
        settle_unless_held(e); /* what is gone is heard of before it is there again */
        link_up(e);
        settle_unless_held(e);
    }
}

bool e_settle_one(struct ensemble *e) {
    for (size_t tries = 0; tries < e->count * (e->count + 1); tries++) {
        size_t turn = e->turn++ % (e->count * (e->count + 1));
        size_t i = turn / (e->count + 1), k = turn % (e->count + 1);
        if (k == e->count ? answer(e, i) || tick(e, i) : deliver(e, i, k))
            return true;
    }
    return false;
}

struct harness *e_leader(struct ensemble *e) {
    struct harness *found = NULL;
    for (size_t i = 0; i < e->count; i++) {
        if (!alive(e, i) || e->frozen[i] || !e->h[i]->r->leading)
            continue;
        /* One that was replaced may not know it yet. */
        if (!found || zab_epoch(e->h[i]->r->zab) > zab_epoch(found->r->zab))
            found = e->h[i];
    }
    return found;
}

struct harness *e_follower(struct ensemble *e) {
    for (size_t i = 0; i < e->count; i++) {
        if (alive(e, i) && e->h[i]->r->serving && !e->h[i]->r->leading)
            return e->h[i];
    }
    ck_abort_msg("no follower serves");
    return NULL;
}

/* A server with a link to the one that leads. */
static bool has_to_serve(const struct ensemble *e, size_t i, size_t leader) {
    return alive(e, i) && !e->frozen[i] && i != leader && !e->cut[i][leader];
}

static bool served(struct ensemble *e) {
    struct harness *leader = e_leader(e);
    if (!leader)
        return false;
    for (size_t i = 0; i < e->count; i++) {
        if (has_to_serve(e, i, e_index(e, leader)) && !e->h[i]->r->serving)
            return false;
    }
    return true;
}

void e_until_served(struct ensemble *e) {
    for (int64_t ms = 0; !served(e); ms += 10) {
        ck_assert_msg(ms < 10000, "no leader serves within 10 s");
        e_advance(e, 10);
    }
}

static void start_one(struct ensemble *e, size_t i) {
    uint8_t random[RANDOM_BYTES];
    memset(random, e->h[i]->random_byte++, sizeof random);
    event(e, i, (struct event){.type = EV_START, .random = random});
}

void e_start(struct ensemble *e) {
    for (size_t i = 0; i < e->count; i++)
        make(e, i);
    for (size_t i = 0; i < e->count; i++)
        start_one(e, i);
    e_until_served(e);
}

struct ensemble *e_started(size_t count, size_t observers) {
    struct ensemble *e = e_new(count, observers);
    e_start(e);
    return e;
}

void e_cut(struct ensemble *e, size_t a, size_t b) {
    e->cut[a][b] = e->cut[b][a] = true;
    if (!e->linked[a][b])
        return;
    unlink_ways(e, a, b);
    down(e, a, b);
    down(e, b, a);
}

void e_join(struct ensemble *e, size_t a, size_t b) { e->cut[a][b] = e->cut[b][a] = false; }

void e_isolate(struct ensemble *e, size_t i) {
    for (size_t k = 0; k < e->count; k++) {
        if (k != i)
            e_cut(e, i, k);
    }
}

void e_rejoin(struct ensemble *e, size_t i) {
    for (size_t k = 0; k < e->count; k++)
        e_join(e, i, k);
}

void e_hold_disks(struct ensemble *e, bool hold) {
    for (size_t i = 0; i < e->count; i++)
        e->h[i]->hold_log = hold;
    e_settle(e);
}

void e_kill(struct ensemble *e, size_t i) {
    e->dead[i] = true;
    e->disk[i].answer_count = 0;
    for (size_t k = 0; k < e->count; k++) {
        if (k == i || !e->linked[i][k])
            continue;
        unlink_ways(e, i, k);
        down(e, k, i);
    }
}

void e_revive(struct ensemble *e, size_t i) {
    struct harness *h = e->h[i];
    struct e_disk *d = &e->disk[i];
    e->dead[i] = false;
    if (e->over[i] && e->distrusts[i])
        e_wipe(e, i);
    e->over[i] = false;
    h->config.start_overs = e->start_overs[i];
    pieces_clear(&d->coming, &d->coming_count);
    h_recover(h);
    start_one(e, i);
}

void e_wipe(struct ensemble *e, size_t i) {
    log_truncate(e->h[i], 0);
    pieces_clear(&e->disk[i].pieces, &e->disk[i].piece_count);
    e->disk[i].has_snapshot = false;
    e->h[i]->epoch = 0;
}

void e_spoil(struct harness *h) { h->r->tree->digest ^= 1; }

void e_spoil_log(struct harness *h, const char *right, const char *wrong) {
    for (size_t i = 0; i < h->log_count; i++) {
        struct blob *p = h->log[i].payload;
        uint8_t *at = p ? memmem(p->bytes, p->len, right, strlen(right)) : NULL;
        if (at)
            memcpy(at, wrong, strlen(wrong));
    }
}

uint32_t e_start_overs(const struct ensemble *e) {
    uint32_t sum = 0;
    for (size_t i = 0; i < e->count; i++)
        sum += e->start_overs[i];
    return sum;
}

void e_assert_equal(struct ensemble *e) {
    const struct replica *first = NULL;
    for (size_t i = 0; i < e->count; i++) {
        if (!alive(e, i))
            continue;
        const struct replica *r = e->h[i]->r;
        if (!first)
            first = r;
        ck_assert_int_eq(tree_last_zxid(r->tree), tree_last_zxid(first->tree));
        ck_assert_uint_eq(tree_digest(r->tree), tree_digest(first->tree));
        ck_assert_uint_eq(r->sessions.count, first->sessions.count);
    }
}

void e_send_app(struct harness *to, uint8_t from, const struct app_msg *m) {
    struct buf b = BUF_INIT;
    struct blob *p = app_encode(m);
    struct zab_msg z = {.type = ZM_APP, .payload = p};
    peer_zab_encode(&b, &z);
    h_step(to, (struct event){
                   .type = EV_PEER_MESSAGE, .peer = from, .bytes = {b.data, (int32_t)b.len}});
    blob_unref(p);
    buf_close(&b);
}
