#include "tests/unit/zab/ensemble_state.h"

#include "common/check.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void ensemble_broken(const struct ensemble *e, uint8_t id, const char *what) {
    fprintf(stderr, "seed %" PRIu64 ", server %u, at %" PRId64 " ms: %s\n", e->seed, id, e->now_ms,
            what);
    abort();
}

struct server *ensemble_server_at(struct ensemble *e, uint8_t id) {
    return &e->servers[id - 1];
}

struct zab *ensemble_zab(struct ensemble *e, uint8_t id) {
    return ensemble_server_at(e, id)->z;
}

/* ---- Entries ---- */

void ensemble_entries_push(struct entries *v, zxid_t zxid, uint64_t value) {
    if (v->count == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 64;
        v->list = mem_realloc(v->list, v->cap * sizeof *v->list);
    }
    v->list[v->count++] = (struct entry){zxid, value};
}

void ensemble_entries_copy(struct entries *to, const struct entries *from) {
    to->count = 0;
    for (size_t i = 0; i < from->count; i++)
        ensemble_entries_push(to, from->list[i].zxid, from->list[i].value);
}

void ensemble_entries_close(struct entries *v) {
    mem_free(v->list);
    *v = (struct entries){0};
}

static uint64_t value_of(const struct blob *payload) {
    uint64_t value = 0;
    if (payload && payload->len >= sizeof value)
        memcpy(&value, payload->bytes, sizeof value);
    return value;
}

/* What was applied anywhere is the one order of all. */
void ensemble_check_applied(struct ensemble *e, uint8_t id, size_t from) {
    const struct entries *v = &ensemble_server_at(e, id)->applied;
    for (size_t i = from; i < v->count; i++) {
        if (i == e->chosen.count) {
            ensemble_entries_push(&e->chosen, v->list[i].zxid, v->list[i].value);
            continue;
        }
        const struct entry *c = &e->chosen.list[i];
        if (c->zxid != v->list[i].zxid || c->value != v->list[i].value)
            ensemble_broken(e, id, "committed histories differ");
    }
    for (size_t i = from > 0 ? from : 1; i < v->count; i++)
        if (v->list[i].zxid <= v->list[i - 1].zxid)
            ensemble_broken(e, id, "zxids do not go up");
}

/* ---- Links ---- */

static struct link *link_of(struct ensemble *e, uint8_t from, uint8_t to) {
    return &e->links[from - 1][to - 1];
}

static void link_clear(struct link *l) {
    while (l->first) {
        struct message *m = l->first;
        l->first = m->next;
        blob_unref(m->msg.payload);
        mem_free(m);
    }
    l->end = &l->first;
    l->up = l->held = false;
}

static void link_send(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *msg) {
    struct link *l = link_of(e, from, to);
    if (!l->up)
        return;
    struct message *m = mem_zalloc(sizeof *m);
    m->msg = *msg;
    blob_ref(m->msg.payload);
    *l->end = m;
    l->end = &m->next;
    e->sent[msg->type]++;
    if (msg->type == ZM_SYNC)
        e->syncs[msg->mode]++;
    if (e->trace)
        fprintf(stderr, "%" PRId64 " %u>%u type %d epoch %u zxid %#" PRIx64 " role %d leader %u\n",
                e->now_ms, from, to, msg->type, msg->epoch, (uint64_t)msg->zxid, msg->vote.role,
                msg->vote.leader);
}

void ensemble_connect(struct ensemble *e, uint8_t a, uint8_t b) {
    if (!ensemble_zab(e, a) || !ensemble_zab(e, b) || link_of(e, a, b)->up)
        return;
    link_of(e, a, b)->up = link_of(e, b, a)->up = true;
    ensemble_clock(e, a);
    ensemble_clock(e, b);
    zab_peer_up(ensemble_zab(e, a), b);
    ensemble_pull(e, a);
    if (!link_of(e, a, b)->up)
        return;
    zab_peer_up(ensemble_zab(e, b), a);
    ensemble_pull(e, b);
}

static void lose_link(struct ensemble *e, uint8_t id, uint8_t peer) {
    struct server *s = ensemble_server_at(e, id);
    if (!s->z)
        return;
    ensemble_clock(e, id);
    zab_peer_down(s->z, peer);
    ensemble_pull(e, id);
}

void ensemble_disconnect(struct ensemble *e, uint8_t a, uint8_t b) {
    if (!link_of(e, a, b)->up)
        return;
    link_clear(link_of(e, a, b));
    link_clear(link_of(e, b, a));
    lose_link(e, a, b);
    lose_link(e, b, a);
}

bool ensemble_deliver(struct ensemble *e, uint8_t from, uint8_t to) {
    struct link *l = link_of(e, from, to);
    struct server *s = ensemble_server_at(e, to);
    if (!l->up || l->held || !l->first || !s->z)
        return false;
    struct message *m = l->first;
    l->first = m->next;
    if (!l->first)
        l->end = &l->first;
    ensemble_clock(e, to);
    zab_receive(s->z, from, &m->msg);
    blob_unref(m->msg.payload);
    mem_free(m);
    ensemble_pull(e, to);
    return true;
}

void ensemble_inject(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m) {
    e->lies = true;
    ensemble_clock(e, to);
    zab_receive(ensemble_zab(e, to), from, m);
    ensemble_pull(e, to);
}

/* ---- Outputs ---- */

/* Servers that say the truth never break the protocol. */
static void drop(struct ensemble *e, uint8_t id, uint8_t peer, const char *why) {
    if (!e->lies && !strstr(why, "nothing for too long") && !strstr(why, "sent a snapshot") &&
        !strstr(why, "was replaced"))
        ensemble_broken(e, id, why);
    if (!link_of(e, id, peer)->up)
        return;
    link_clear(link_of(e, id, peer));
    link_clear(link_of(e, peer, id));
    lose_link(e, peer, id);
}

static void commit(struct ensemble *e, uint8_t id, const struct zab_output *o) {
    struct server *s = ensemble_server_at(e, id);
    if (s->installing)
        ensemble_broken(e, id, "a commit while a snapshot is installed");
    if (o->zxid > zab_durable_zxid(s->z))
        ensemble_broken(e, id, "applied before it is durable");
    if (s->applied.count > 0 && o->zxid <= s->applied.list[s->applied.count - 1].zxid)
        ensemble_broken(e, id, "applied twice");
    ensemble_entries_push(&s->applied, o->zxid, value_of(o->payload));
    s->commits++;
    ensemble_check_applied(e, id, s->applied.count - 1);
}

static void serve(struct ensemble *e, uint8_t id, const struct zab_output *o) {
    struct server *s = ensemble_server_at(e, id);
    if (!zab_serving(s->z))
        ensemble_broken(e, id, "ZAB_SERVE, but it does not say so");
    if (zab_role(s->z) != ZAB_LEADING || o->epoch >= sizeof e->leaders)
        return;
    if (e->leaders[o->epoch] != 0 && e->leaders[o->epoch] != id)
        ensemble_broken(e, id, "two leaders of one epoch");
    e->leaders[o->epoch] = id;
    if (s->applied.count < e->chosen.count)
        ensemble_broken(e, id, "a leader serves without all that was committed");
}

static void take_piece(struct server *s, const struct blob *b) {
    struct entry one;
    for (size_t i = 0; i < b->len / sizeof one; i++) {
        memcpy(&one, b->bytes + i * sizeof one, sizeof one);
        ensemble_entries_push(&s->incoming, one.zxid, one.value);
    }
}

static void install(struct ensemble *e, uint8_t id, const struct zab_output *o) {
    struct server *s = ensemble_server_at(e, id);
    struct job *j = ensemble_job_push(s, JOB_SNAPSHOT);
    j->zxid = o->zxid;
    j->ended = o->ended;
    ensemble_entries_copy(&j->state, &s->incoming);
    s->installing = true;
    if (j->state.count > 0 && j->state.list[j->state.count - 1].zxid != o->zxid)
        ensemble_broken(e, id, "a snapshot that is not whole");
}

static void snap_send(struct server *s, uint8_t peer) {
    s->sending[peer] = true;
    ensemble_entries_copy(&s->sent_state[peer], &s->applied);
    s->sent_at[peer] = 0;
    s->sent_begun[peer] = s->applied.count > 0 ? s->applied.list[s->applied.count - 1].zxid : 0;
}

static void note(struct ensemble *e, uint8_t id, const char *text) {
    struct server *s = ensemble_server_at(e, id);
    s->notes++;
    s->last_note = text;
    if (e->trace)
        fprintf(stderr, "%" PRId64 " %u: %s\n", e->now_ms, id, text);
}

static void carry_out(struct ensemble *e, uint8_t id, const struct zab_output *o) {
    struct server *s = ensemble_server_at(e, id);
    struct job *j;
    switch (o->type) {
    case ZAB_SEND:
        link_send(e, id, o->peer, o->msg);
        break;
    case ZAB_DROP:
        drop(e, id, o->peer, o->text);
        break;
    case ZAB_SAVE_EPOCH:
        ensemble_job_push(s, JOB_EPOCH)->epoch = o->epoch;
        break;
    case ZAB_LOG_APPEND:
        j = ensemble_job_push(s, JOB_APPEND);
        j->record = (struct disk_record){o->zxid, o->committed, blob_ref(o->payload)};
        break;
    case ZAB_LOG_TRUNCATE:
        if (s->applied.count > 0 && o->zxid < s->applied.list[s->applied.count - 1].zxid)
            ensemble_broken(e, id, "truncates what was applied");
        ensemble_job_push(s, JOB_TRUNCATE)->zxid = o->zxid;
        break;
    case ZAB_LOG_READ:
        if (s->reading[o->peer])
            ensemble_broken(e, id, "two reads for one peer");
        s->reading[o->peer] = true;
        s->read_after[o->peer] = o->zxid;
        break;
    case ZAB_COMMIT:
        commit(e, id, o);
        break;
    case ZAB_SERVE:
        serve(e, id, o);
        break;
    case ZAB_SNAP_SEND:
        snap_send(s, o->peer);
        break;
    case ZAB_SNAP_STOP:
        s->sending[o->peer] = false;
        break;
    case ZAB_SNAP_BEGIN:
    case ZAB_SNAP_ABANDON:
        s->incoming.count = 0;
        break;
    case ZAB_SNAP_CHUNK:
        take_piece(s, o->payload);
        break;
    case ZAB_SNAP_END:
        install(e, id, o);
        break;
    case ZAB_APP:
        s->app_messages++;
        break;
    case ZAB_NOTE:
        note(e, id, o->text);
        break;
    case ZAB_WHOLE:
        s->disk.lossy = false;
        break;
    case ZAB_FATAL:
        s->fatal = o->text;
        break;
    case ZAB_ROLE:
        s->marker_count = 0;
        break;
    }
}

/* What is committed anywhere before a sync is asked for has been applied here when it is answered.
 */
static void check_markers(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    size_t kept = 0;
    for (size_t i = 0; i < s->marker_count; i++) {
        if (!zab_sync_passed(s->z, s->markers[i].marker)) {
            s->markers[kept++] = s->markers[i];
        } else if (s->applied.count < s->markers[i].seen) {
            ensemble_broken(e, id, "a sync passed that misses a commit");
        }
    }
    s->marker_count = kept;
}

void ensemble_pull(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    struct zab_output o;
    while (s->z && zab_next(s->z, &o))
        carry_out(e, id, &o);
    if (s->z)
        check_markers(e, id);
}

void ensemble_clock(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    if (!s->z)
        return;
    zab_clock(s->z, e->now_ms + s->skew_ms);
    ensemble_pull(e, id);
}

static bool read_range(struct ensemble *e, uint8_t id, uint8_t peer) {
    struct server *s = ensemble_server_at(e, id);
    if (!s->z || !s->reading[peer])
        return false;
    struct zab_record records[8];
    size_t n = 0;
    zxid_t after = s->read_after[peer];
    s->reading[peer] = false;
    for (size_t i = 0; after >= s->disk.base && i < s->disk.count && n < 8; i++) {
        const struct disk_record *r = &s->disk.records[i];
        if (r->zxid > after)
            records[n++] = (struct zab_record){zxid_counter(r->zxid) ? ZAB_TXN : ZAB_EPOCH, r->zxid,
                                               blob_slice(r->payload)};
    }
    ensemble_clock(e, id);
    zab_log_range(s->z, peer, after, records, n);
    ensemble_pull(e, id);
    return true;
}

#define PIECE_ENTRIES 16u

static bool send_piece(struct ensemble *e, uint8_t id, uint8_t peer) {
    struct server *s = ensemble_server_at(e, id);
    if (!s->z || !s->sending[peer] || !zab_snap_room(s->z, peer))
        return false;
    ensemble_clock(e, id);
    if (!s->z || !s->sending[peer])
        return false;
    const struct entries *v = &s->sent_state[peer];
    size_t n = v->count - s->sent_at[peer];
    if (n == 0) {
        s->sending[peer] = false;
        zxid_t ended = s->applied.count > 0 ? s->applied.list[s->applied.count - 1].zxid : 0;
        zab_snap_sent(s->z, peer, s->sent_begun[peer], ended);
    } else {
        n = n < PIECE_ENTRIES ? n : PIECE_ENTRIES;
        zab_snap_send(s->z, peer, blob_new(&v->list[s->sent_at[peer]], n * sizeof *v->list));
        s->sent_at[peer] += n;
    }
    ensemble_pull(e, id);
    return true;
}

bool ensemble_snapshots(struct ensemble *e, uint8_t id) {
    bool any = false;
    for (uint8_t peer = 1; peer <= e->count; peer++) {
        any |= send_piece(e, id, peer);
        any |= read_range(e, id, peer);
    }
    return any;
}

zxid_t ensemble_propose(struct ensemble *e, uint8_t id, uint32_t extra_bytes) {
    struct server *s = ensemble_server_at(e, id);
    ensemble_clock(e, id);
    if (!s->z || !zab_ready(s->z))
        return 0;
    uint8_t bytes[sizeof(uint64_t) + 1024] = {0};
    uint64_t value = ++e->next_value;
    memcpy(bytes, &value, sizeof value);
    CHECK(extra_bytes <= 1024);
    zxid_t next = zab_next_zxid(s->z);
    zxid_t zxid = zab_propose(s->z, blob_new(bytes, sizeof value + extra_bytes));
    if (zxid != next)
        ensemble_broken(e, id, "not the zxid that was foretold");
    ensemble_pull(e, id);
    return zxid;
}

void ensemble_sync(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    if (!s->z || s->marker_count == 64 || !zab_serving(s->z))
        return;
    s->markers[s->marker_count++] = (struct marker){zab_sync(s->z), e->chosen.count};
    ensemble_pull(e, id);
}

/* ---- Life ---- */

struct ensemble *ensemble_new(uint64_t seed, uint8_t voters, uint8_t observers) {
    struct ensemble *e = mem_zalloc(sizeof *e);
    CHECK(voters + observers <= SERVERS_MAX);
    e->seed = seed;
    e->count = (uint8_t)(voters + observers);
    prng_init(&e->prng, seed);
    zab_config_defaults(&e->config);
    for (uint32_t i = 0; i < e->count; i++) {
        e->members[i] =
            (struct quorum_server){.id = (uint8_t)(i + 1), .voter = i < voters, .weight = 1};
        e->servers[i].disk.jobs_end = &e->servers[i].disk.jobs;
        for (uint32_t k = 0; k < e->count; k++)
            e->links[i][k].end = &e->links[i][k].first;
    }
    e->config.quorum = (struct quorum_config){e->members, e->count};
    e->now_ms = 1000;
    return e;
}

static void server_stop(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    zab_free(s->z);
    s->z = NULL;
    while (s->disk.jobs)
        ensemble_job_free(ensemble_job_take(&s->disk));
    s->applied.count = 0;
    s->incoming.count = 0;
    s->installing = false;
    s->marker_count = 0;
    memset(s->sending, 0, sizeof s->sending);
    memset(s->reading, 0, sizeof s->reading);
}

void ensemble_crash(struct ensemble *e, uint8_t id, size_t keep) {
    struct server *s = ensemble_server_at(e, id);
    for (struct job *j = s->disk.jobs; j && keep > 0; j = j->next, keep--)
        ensemble_job_apply(&s->disk, j);
    server_stop(e, id);
    for (uint8_t peer = 1; peer <= e->count; peer++)
        if (peer != id)
            ensemble_disconnect(e, id, peer);
}

void ensemble_start(struct ensemble *e, uint8_t id) {
    struct server *s = ensemble_server_at(e, id);
    if (s->z)
        return;
    struct zab_config config = e->config;
    config.self = id;
    s->z = zab_new(&config);
    s->fatal = NULL;
    zab_clock(s->z, e->now_ms + s->skew_ms);
    zab_recover_epoch(s->z, s->disk.epoch);
    if (s->disk.lossy)
        zab_recover_lossy(s->z);
    if (s->disk.base > 0) {
        ensemble_entries_copy(&s->applied, &s->disk.base_state);
        zab_recover_base(s->z, s->disk.base, s->disk.ended);
    }
    for (size_t i = 0; i < s->disk.count; i++) {
        const struct disk_record *r = &s->disk.records[i];
        if (!zab_recover(s->z, zxid_counter(r->zxid) ? ZAB_TXN : ZAB_EPOCH, r->zxid, r->committed,
                         blob_slice(r->payload)))
            ensemble_broken(e, id, "its own log does not follow");
        ensemble_pull(e, id);
    }
    zab_start(s->z);
    ensemble_pull(e, id);
}

void ensemble_start_all(struct ensemble *e) {
    for (uint8_t id = 1; id <= e->count; id++)
        ensemble_start(e, id);
    for (uint8_t a = 1; a <= e->count; a++)
        for (uint8_t b = (uint8_t)(a + 1); b <= e->count; b++)
            ensemble_connect(e, a, b);
}

void ensemble_settle(struct ensemble *e) {
    for (bool any = true; any;) {
        any = false;
        for (uint8_t a = 1; a <= e->count; a++) {
            for (uint8_t b = 1; b <= e->count; b++)
                any |= a != b && ensemble_deliver(e, a, b);
            any |= ensemble_disk(e, a, SIZE_MAX);
            any |= ensemble_snapshots(e, a);
        }
    }
}

void ensemble_run(struct ensemble *e, int64_t ms) {
    int64_t end = e->now_ms + ms;
    for (uint8_t id = 1; id <= e->count; id++)
        ensemble_clock(e, id);
    for (;;) {
        ensemble_settle(e);
        int64_t due = INT64_MAX;
        uint8_t late = 0;
        for (uint8_t id = 1; id <= e->count; id++) {
            const struct server *s = ensemble_server_at(e, id);
            if (s->z && zab_deadline(s->z) != INT64_MAX && zab_deadline(s->z) - s->skew_ms < due) {
                due = zab_deadline(s->z) - s->skew_ms;
                late = id;
            }
        }
        if (due <= e->now_ms)
            ensemble_broken(e, late, "a deadline that does not move");
        if (due > end)
            break;
        e->now_ms = due;
        for (uint8_t id = 1; id <= e->count; id++)
            ensemble_clock(e, id);
    }
    e->now_ms = end;
}

uint8_t ensemble_leader(struct ensemble *e) {
    for (uint8_t id = 1; id <= e->count; id++) {
        const struct zab *z = ensemble_zab(e, id);
        if (z && zab_role(z) == ZAB_LEADING && zab_serving(z))
            return id;
    }
    return 0;
}

void ensemble_free(struct ensemble *e) {
    if (!e)
        return;
    for (uint8_t id = 1; id <= e->count; id++) {
        struct server *s = ensemble_server_at(e, id);
        server_stop(e, id);
        ensemble_disk_truncate(&s->disk, 0);
        mem_free(s->disk.records);
        ensemble_entries_close(&s->disk.base_state);
        ensemble_entries_close(&s->applied);
        ensemble_entries_close(&s->incoming);
        for (size_t i = 0; i < 256; i++)
            ensemble_entries_close(&s->sent_state[i]);
        for (uint8_t b = 1; b <= e->count; b++)
            link_clear(link_of(e, id, b));
    }
    ensemble_entries_close(&e->chosen);
    mem_free(e);
}
