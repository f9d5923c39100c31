/* The world's servers: starting, crashing, and carrying out what a struct zab wants done. */
#include "tests/spec/zab_world.h"

#include "common/check.h"
#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void break_default(struct zab_world *w, const char *why) {
    fprintf(stderr, "%.*s\nbroken: %s\n", (int)w->trace.len,
            w->trace.data ? (const char *)w->trace.data : "", why);
    abort();
}

void world_break(struct zab_world *w, const char *fmt, ...) {
    if (w->broken[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->broken, sizeof w->broken, fmt, ap);
    va_end(ap);
    w->on_broken(w, w->broken);
}

void world_say(struct zab_world *w, const char *fmt, ...) {
    if (w->config.quiet)
        return;
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    buf_printf(&w->trace, "%s\n", line);
    if (w->echo)
        fprintf(stderr, "%s\n", line);
}

struct zab_world *world_new(const struct world_config *config) {
    CHECK(config->voters >= 1);
    CHECK(config->voters + config->observers < WORLD_IDS);
    struct zab_world *w = mem_zalloc(sizeof *w);
    w->config = *config;
    if (w->config.read_max == 0)
        w->config.read_max = 3;
    w->on_broken = break_default;
    w->now_ms = 1000;
    w->next_value = 1;
    uint32_t count = config->voters + config->observers;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t id = (uint8_t)(i + 1);
        uint32_t weight = config->weight[id] ? config->weight[id] : 1;
        w->quorum_servers[i] =
            (struct quorum_server){.id = id,
                                   .voter = i < config->voters,
                                   .group = config->group[id],
                                   .weight = config->weightless[id] ? 0 : weight};
        w->servers[id].there = true;
    }
    w->quorum = (struct quorum_config){w->quorum_servers, count};
    return w;
}

void world_free(struct zab_world *w) {
    if (!w)
        return;
    for (uint8_t id = 1; id < WORLD_IDS; id++) {
        zab_free(w->servers[id].z);
        world_disk_close(&w->servers[id].disk);
        for (uint8_t to = 1; to < WORLD_IDS; to++)
            world_link_clear(&w->links[id][to]);
    }
    mem_free(w->known);
    mem_free(w->truth);
    buf_close(&w->trace);
    mem_free(w);
}

void world_start_all(struct zab_world *w) {
    for (uint8_t id = 1; id < WORLD_IDS; id++)
        if (w->servers[id].there && !w->servers[id].z)
            world_start(w, id);
    for (uint8_t a = 1; a < WORLD_IDS; a++)
        for (uint8_t b = 1; b < a; b++)
            if (w->servers[a].there && w->servers[b].there)
                world_connect(w, a, b);
}

/* --- starting and stopping --- */

static struct zab *server_zab(const struct zab_world *w, uint8_t id) {
    struct zab_config c;
    zab_config_defaults(&c);
    c.self = id;
    c.quorum = w->quorum;
    if (w->config.counter_limit)
        c.counter_limit = w->config.counter_limit;
    if (w->config.window_bytes)
        c.window_bytes = w->config.window_bytes;
    if (w->config.recent_bytes)
        c.recent_bytes = w->config.recent_bytes;
    if (w->config.inflight_max)
        c.inflight_max = w->config.inflight_max;
    return zab_new(&c);
}

static void server_forget(struct world_server *s) {
    s->state = (struct world_state){0};
    s->applied = s->exact_from = 0;
    s->applied_count = 0;
    s->incoming_open = s->loading = false;
    s->role = ZAB_LOOKING;
    s->leader = 0;
    s->serving = false;
    s->role_epoch = s->serve_epoch = s->claimed_epoch = 0;
    s->uptodate = 0;
    memset(s->sending, 0, sizeof s->sending);
    memset(s->reading, 0, sizeof s->reading);
}

void world_start(struct zab_world *w, uint8_t id) {
    struct world_server *s = &w->servers[id];
    CHECK(s->there);
    CHECK(!s->z);
    server_forget(s);
    s->frozen = false;
    s->fatal[0] = 0;
    s->z = server_zab(w, id);
    if (!w->hide_events)
        world_say(w, "%u starts with 0x%llx", id, (unsigned long long)world_durable(w, id));
    if (s->disk.accepted_epoch)
        zab_recover_epoch(s->z, s->disk.accepted_epoch);
    if (s->disk.lossy)
        zab_recover_lossy(s->z);
    if (s->disk.based) {
        world_app_load(w, id, &s->disk.base);
        zab_recover_base(s->z, s->disk.base.begun, s->disk.base.ended);
        world_recover_older(w, id);
        world_pump(w, id);
    }
    for (size_t i = 0; i < s->disk.log.count && s->z; i++) {
        const struct world_record *r = &s->disk.log.list[i];
        if (s->disk.based && r->zxid <= s->disk.base.begun)
            continue;
        struct blob *payload = world_payload(r);
        bool follows = zab_recover(s->z, r->kind, r->zxid, r->committed, blob_slice(payload));
        blob_unref(payload);
        if (!follows) {
            world_break(w, "%u cannot recover 0x%llx", id, (unsigned long long)r->zxid);
            return;
        }
        world_pump(w, id);
    }
    if (!s->z)
        return;
    world_clock(w, id);
    zab_start(s->z);
    zab_full(s->z, s->full);
    world_pump(w, id);
}

/* Of the jobs under way those are carried out that the disk had in time; nobody hears of it. */
static void crash_disk(struct zab_world *w, uint8_t id, size_t keep_log, size_t keep_epochs) {
    struct world_disk *d = &w->servers[id].disk;
    for (size_t i = 0; i < d->job_count; i++) {
        const struct world_job *job = &d->jobs[i];
        if (job->type == JOB_EPOCH) {
            if (keep_epochs > 0) {
                d->accepted_epoch = job->epoch;
                keep_epochs--;
            }
        } else if (keep_log > 0) {
            world_disk_carry_out(w, id, job);
            keep_log--;
        }
    }
    d->job_count = 0;
}

static void server_stop(struct zab_world *w, uint8_t id) {
    struct world_server *s = &w->servers[id];
    zab_free(s->z);
    s->z = NULL;
    s->role = ZAB_LOOKING;
    s->serving = false;
    for (uint8_t peer = 1; peer < WORLD_IDS; peer++)
        if (w->links[id][peer].up)
            world_link_drop(w, id, peer);
    if (!w->hide_events)
        world_say(w, "%u is down with 0x%llx", id, (unsigned long long)world_durable(w, id));
}

void world_crash_torn(struct zab_world *w, uint8_t id, size_t keep_log, size_t keep_epochs) {
    CHECK(w->servers[id].z);
    crash_disk(w, id, keep_log, keep_epochs);
    server_stop(w, id);
    world_check_disk(w, id);
}

void world_crash(struct zab_world *w, uint8_t id, size_t keep) {
    const struct world_disk *d = &w->servers[id].disk;
    size_t log = 0, epochs = 0;
    for (size_t i = 0; i < d->job_count && i < keep; i++)
        *(d->jobs[i].type == JOB_EPOCH ? &epochs : &log) += 1;
    world_crash_torn(w, id, log, epochs);
}

void world_wipe(struct zab_world *w, uint8_t id) {
    CHECK(!w->servers[id].z);
    world_disk_close(&w->servers[id].disk);
    /* Who lost everything does not know what it promised: docs/zab.md, blank servers. */
    w->promised[id] = 0;
}

void world_plant(struct zab_world *w, uint8_t id, enum zab_record_kind kind, zxid_t zxid,
                 zxid_t committed) {
    struct world_server *s = &w->servers[id];
    CHECK(!s->z);
    struct world_record r = {kind, zxid, committed, 0, 0};
    if (kind == ZAB_TXN)
        r = (struct world_record){kind, zxid, committed, w->next_value++, 8};
    world_check_proposed(w, id, &r, world_durable(w, id));
    world_log_push(&s->disk.log, &r);
    if (s->disk.accepted_epoch < zxid_epoch(zxid))
        s->disk.accepted_epoch = zxid_epoch(zxid);
}

void world_clock(struct zab_world *w, uint8_t id) { zab_clock(w->servers[id].z, w->now_ms); }

/* --- outputs --- */

static void ask_append(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_job job = {.type = JOB_APPEND};
    job.record = (struct world_record){.kind = o->kind, .zxid = o->zxid, .committed = o->committed};
    if (o->kind == ZAB_TXN) {
        job.record.size = o->payload ? o->payload->len : 0;
        if (!world_payload_value(blob_slice(o->payload), &job.record.value)) {
            world_break(w, "%u appends bytes that nobody proposed", id);
            return;
        }
    }
    world_check_append(w, id, &job.record);
    world_disk_ask(w, id, &job);
}

static void ask_install(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    if (!s->incoming_open) {
        world_break(w, "%u ends a snapshot that it did not begin", id);
        return;
    }
    s->incoming_open = false;
    s->incoming.begun = o->zxid;
    s->incoming.ended = o->ended;
    struct world_job job = {.type = JOB_INSTALL, .snapshot = s->incoming};
    world_disk_ask(w, id, &job);
}

static void hear_role(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    s->role = o->role;
    s->leader = o->peer;
    s->role_epoch = o->epoch;
    s->claimed_epoch = 0;
    s->uptodate = 0;
    s->serving = false;
    s->roles++;
    if (w->hide_events)
        return;
    if (o->role == ZAB_FOLLOWING || o->role == ZAB_OBSERVING)
        world_say(w, "%u is %s %u", id, world_role_text(o->role), o->peer);
    else
        world_say(w, "%u is %s", id, world_role_text(o->role));
}

static void hear_serve(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    s->serving = true;
    s->serve_epoch = o->epoch;
    s->serves++;
    if (!w->hide_events)
        world_say(w, "%u serves in epoch %u", id, o->epoch);
}

static void ask_read(struct zab_world *w, uint8_t id, uint8_t peer, zxid_t after) {
    struct world_server *s = &w->servers[id];
    if (s->reading[peer].count == WORLD_READS) {
        world_break(w, "%u reads its log again and again for %u", id, peer);
        return;
    }
    s->reading[peer].after[s->reading[peer].count++] = after;
}

static void carry_out_disk(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    if (o->type == ZAB_LOG_APPEND) {
        ask_append(w, id, o);
    } else if (o->type == ZAB_LOG_READ) {
        ask_read(w, id, o->peer, o->zxid);
    } else if (o->type == ZAB_LOG_TRUNCATE) {
        struct world_job job = {.type = JOB_TRUNCATE, .zxid = o->zxid};
        world_disk_ask(w, id, &job);
    } else {
        struct world_job job = {.type = JOB_EPOCH, .epoch = o->epoch};
        world_disk_ask(w, id, &job);
    }
}

static void carry_out_snapshot(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    switch (o->type) {
    case ZAB_SNAP_SEND:
        s->sending[o->peer].wanted = true;
        s->sending[o->peer].begun = s->applied;
        s->sending[o->peer].next = 0;
        break;
    case ZAB_SNAP_STOP:
        s->sending[o->peer].wanted = false;
        break;
    case ZAB_SNAP_BEGIN:
        s->incoming = (struct world_snapshot){0};
        s->incoming_open = true;
        break;
    case ZAB_SNAP_CHUNK:
        world_app_take_piece(w, id, o->payload);
        break;
    case ZAB_SNAP_END:
        ask_install(w, id, o);
        break;
    default:
        s->incoming_open = false;
        if (!w->hide_events)
            world_say(w, "%u abandons the snapshot", id);
        break;
    }
}

static void hear_fatal(struct zab_world *w, uint8_t id, const char *why) {
    struct world_server *s = &w->servers[id];
    world_say(w, "%u must end: %s", id, why);
    if (!s->fatal_expected)
        world_break(w, "%u must end: %s", id, why);
    snprintf(s->fatal, sizeof s->fatal, "%s", why && why[0] ? why : "for no reason");
}

static void carry_out(struct zab_world *w, uint8_t id, const struct zab_output *o) {
    struct world_server *s = &w->servers[id];
    switch (o->type) {
    case ZAB_SEND:
        world_link_send(w, id, o->peer, o->msg);
        break;
    case ZAB_DROP:
        s->drops++;
        if (!w->hide_events)
            world_say(w, "%u drops the link to %u: %s", id, o->peer, o->text ? o->text : "");
        if (w->links[id][o->peer].up)
            world_link_drop(w, id, o->peer);
        break;
    case ZAB_SAVE_EPOCH:
    case ZAB_LOG_APPEND:
    case ZAB_LOG_TRUNCATE:
    case ZAB_LOG_READ:
        carry_out_disk(w, id, o);
        break;
    case ZAB_COMMIT:
        world_app_apply(w, id, o);
        break;
    case ZAB_ROLE:
        hear_role(w, id, o);
        break;
    case ZAB_SERVE:
        hear_serve(w, id, o);
        break;
    case ZAB_APP:
        s->apps++;
        s->app_applied = s->applied;
        world_payload_value(blob_slice(o->payload), &s->last_app);
        break;
    case ZAB_NOTE:
        break;
    case ZAB_WHOLE:
        world_hear_whole(w, id);
        break;
    case ZAB_FATAL:
        hear_fatal(w, id, o->text);
        break;
    default:
        carry_out_snapshot(w, id, o);
        break;
    }
}

void world_pump(struct zab_world *w, uint8_t id) {
    struct world_server *s = &w->servers[id];
    struct zab_output o;
    while (s->z && !s->fatal[0] && !w->broken[0] && zab_next(s->z, &o)) {
        world_check_output(w, id, &o);
        carry_out(w, id, &o);
    }
    if (s->z && s->fatal[0])
        world_crash(w, id, WORLD_KEEP_ALL);
    if (s->z && !w->broken[0])
        world_check_server(w, id);
}
