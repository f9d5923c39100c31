#include "replica/server/core.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/admin.h"
#include "replica/server/checkpoint.h"
#include "replica/server/connect.h"
#include "replica/server/container.h"
#include "replica/server/digest.h"
#include "replica/server/forward.h"
#include "replica/server/full.h"
#include "replica/server/learners.h"
#include "replica/server/limits.h"
#include "replica/server/order.h"
#include "replica/server/peer.h"
#include "replica/server/repair_answer.h"
#include "replica/server/request.h"
#include "replica/server/role.h"
#include "replica/server/snap_flow.h"
#include "replica/server/touch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *dup_or_null(const char *s) { return s ? mem_strdup(s) : NULL; }

/* One server that is told of no others is its own ensemble. */
static void copy_ensemble(struct quorum_config *to, const struct replica_config *from) {
    uint32_t count = from->ensemble.count > 0 ? from->ensemble.count : 1;
    struct quorum_server *servers = mem_zalloc(count * sizeof *servers);
    if (from->ensemble.count > 0)
        memcpy(servers, from->ensemble.servers, count * sizeof *servers);
    else
        servers[0] = (struct quorum_server){.id = from->server_id, .voter = true, .weight = 1};
    *to = (struct quorum_config){servers, count};
}

static void copy_config(struct replica_config *to, const struct replica_config *from) {
    *to = *from;
    to->super_digest = dup_or_null(from->super_digest);
    to->word_whitelist = dup_or_null(from->word_whitelist);
    to->version = dup_or_null(from->version);
    to->data_dir = dup_or_null(from->data_dir);
    to->data_log_dir = dup_or_null(from->data_log_dir);
    to->membership = dup_or_null(from->membership);
    copy_ensemble(&to->ensemble, from);
}

static void free_config(struct replica_config *c) {
    mem_free((void *)c->super_digest);
    mem_free((void *)c->word_whitelist);
    mem_free((void *)c->version);
    mem_free((void *)c->data_dir);
    mem_free((void *)c->data_log_dir);
    mem_free((void *)c->membership);
    mem_free((void *)c->ensemble.servers);
}

static struct zab *new_zab(const struct replica_config *config, uint32_t counter_limit) {
    struct zab_config z;
    zab_config_defaults(&z);
    z.self = config->server_id;
    z.quorum = config->ensemble;
    z.counter_limit = counter_limit;
    if (config->heartbeat_ms > 0)
        z.heartbeat_ms = config->heartbeat_ms;
    if (config->silence_ms > 0)
        z.silence_ms = config->silence_ms;
    if (config->init_ms > 0)
        z.init_ms = config->init_ms;
    return zab_new(&z);
}

void core_reset_stats(struct replica *r) {
    r->stats = (struct server_stats){.min_latency_ms = INT64_MAX,
                                     .last_reply_bytes = -1,
                                     .min_reply_bytes = -1,
                                     .max_reply_bytes = -1,
                                     .last_proposal_bytes = -1,
                                     .min_proposal_bytes = -1,
                                     .max_proposal_bytes = -1};
}

struct replica *core_new(const struct replica_config *config, uint32_t counter_limit) {
    CHECK(config->tick_ms > 0);
    CHECK(config->max_outstanding > 0);
    CHECK(config->container_check_ms == 0 || config->containers_per_minute > 0);
    struct replica *r = mem_zalloc(sizeof *r);
    copy_config(&r->config, config);
    r->auth = (struct auth_config){config->skip_acl, r->config.super_digest};
    r->zab = new_zab(&r->config, counter_limit);
    r->tree = tree_new();
    r->watches = watch_new();
    r->pending = pending_new(r->tree);
    sessions_init(&r->sessions, config->server_id, config->tick_ms);
    conns_init(&r->conns);
    out_init(&r->out);
    tree_changes_init(&r->changes);
    r->checkpoint = checkpoint_new();
    core_reset_stats(r);
    peer_init(r);
    digest_init(r);
    r->deadline_ms = INT64_MAX;
    r->touch_ms = INT64_MAX;
    return r;
}

struct replica *replica_new(const struct replica_config *config) {
    return core_new(config, ZAB_COUNTER_LIMIT);
}

void replica_free(struct replica *r) {
    if (!r)
        return;
    for (struct conn *c = r->conns.all; c; c = c->next)
        order_drop(r, c);
    core_forget_inflight(r);
    learners_forget_all(r);
    digest_close(r);
    snap_flow_close(r);
    checkpoint_free(r->checkpoint);
    conns_close(&r->conns);
    sessions_close(&r->sessions);
    pending_free(r->pending);
    watch_free(r->watches);
    recent_close(&r->recent);
    tree_free(r->tree);
    zab_free(r->zab);
    tree_changes_close(&r->changes);
    out_destroy(&r->out);
    free_config(&r->config);
    mem_free(r);
}

void core_drop_conn(struct replica *r, struct conn *c) {
    order_drop(r, c);
    watch_drop(r->watches, c->id);
    connect_left(r, c);
    conn_remove(&r->conns, c);
}

void core_close_conn(struct replica *r, struct conn *c, const char *fmt, ...) {
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    conn_id_t id = c->id;
    core_drop_conn(r, c);
    out_text(&r->out, UPD_CLOSE, id, LOG_INFO, "%s", why);
}

void core_hang_up(struct replica *r, struct conn *c) {
    conn_id_t id = c->id;
    core_drop_conn(r, c);
    out_text(&r->out, UPD_CLOSE, id, LOG_DEBUG, "%s", "");
}

void core_stop(struct replica *r, const char *fmt, ...) {
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    out_text(&r->out, UPD_STOP, 0, LOG_ERROR, "%s", why);
    r->stopped = true;
}

void core_start_over(struct replica *r, bool distrust, const char *fmt, ...) {
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    out_start_over(&r->out, distrust, why);
    r->stopped = true;
}

static void on_log_record(struct replica *r, const struct log_record *rec) {
    bool epoch = rec->kind == LOG_EPOCH;
    if (epoch != (zxid_counter(rec->zxid) == 0)) {
        core_stop(r, "the log has a record of the wrong kind zxid=0x%llx",
                  (unsigned long long)rec->zxid);
        return;
    }
    if (!zab_recover(r->zab, epoch ? ZAB_EPOCH : ZAB_TXN, rec->zxid, rec->committed, rec->payload))
        core_stop(r, "the log does not go on where it stopped: zxid=0x%llx after=0x%llx",
                  (unsigned long long)rec->zxid, (unsigned long long)zab_last_zxid(r->zab));
}

static void on_start(struct replica *r, const uint8_t *random) {
    CHECK(!r->started);
    CHECK(random);
    r->started = true;
    r->started_ms = r->down_ms = r->mono_ms;
    memcpy(r->random, random, sizeof r->random);
    sessions_begin_ids(&r->sessions, r->wall_ms);
    checkpoint_start(r);
    zab_start(r->zab);
}

static void on_log_range(struct replica *r, const struct event *ev) {
    if (ev->peer == 0) {
        checkpoint_range(r, ev);
        return;
    }
    struct zab_record *records =
        mem_alloc((ev->record_count ? ev->record_count : 1) * sizeof *records);
    for (size_t i = 0; i < ev->record_count; i++) {
        const struct log_record *rec = &ev->records[i];
        records[i] = (struct zab_record){rec->kind == LOG_EPOCH ? ZAB_EPOCH : ZAB_TXN, rec->zxid,
                                         rec->payload};
    }
    zab_log_range(r->zab, ev->peer, ev->zxid, records, ev->record_count);
    mem_free(records);
}

static void on_client_open(struct replica *r, const struct event *ev) {
    int32_t most = r->config.max_conns_per_ip;
    if (most > 0 && conn_count_of(&r->conns, ev->addr.p, ev->addr.len) >= most) {
        char addr[ADDR_TEXT_MAX];
        auth_addr_text(ev->addr.p, ev->addr.len, addr);
        out_text(&r->out, UPD_CLOSE, ev->conn, LOG_WARN,
                 "too many connections from one address address=%s maxClientCnxns=%d", addr, most);
        return;
    }
    struct conn *c = conn_add(&r->conns, ev->conn, ev->addr.p, ev->addr.len, ev->port);
    c->opened_ms = r->mono_ms;
    c->opened_wall_ms = r->wall_ms;
}

static void on_client_event(struct replica *r, const struct event *ev) {
    /* One that was closed here may still have something on its way. */
    struct conn *c = conn_find(&r->conns, ev->conn);
    if (!c)
        return;
    if (ev->type == EV_CLIENT_FRAME)
        request_frame(r, c, ev->bytes);
    else if (ev->type == EV_CLIENT_WORD)
        admin_word(r, c, ev->bytes, ev->process);
    else
        core_drop_conn(r, c);
}

/* Before EV_START: what the disk held. */
static void on_recovered(struct replica *r, const struct event *ev) {
    CHECK(!r->started);
    switch (ev->type) {
    case EV_EPOCH:
        zab_recover_epoch(r->zab, ev->epoch);
        break;
    case EV_LOSSY:
        r->lossy = true;
        zab_recover_lossy(r->zab);
        break;
    case EV_SNAP_CHUNK:
        snap_flow_recover(r, ev->bytes);
        break;
    case EV_SNAP_RESET:
        snap_flow_reset(r);
        break;
    case EV_LOG_OLDER:
        zab_recover_older(r->zab, ev->zxid, ev->epoch_ends, ev->epoch_end_count);
        break;
    case EV_SNAP_END:
        snap_flow_recovered(r, ev->zxid, ev->ended);
        break;
    default:
        on_log_record(r, ev->record);
        break;
    }
}

static void on_disk_event(struct replica *r, const struct event *ev) {
    switch (ev->type) {
    case EV_LOG_SYNCED:
        zab_log_synced(r->zab, ev->zxid);
        break;
    case EV_LOG_TRUNCATED:
        zab_log_truncated(r->zab);
        break;
    case EV_LOG_RANGE:
        on_log_range(r, ev);
        break;
    case EV_EPOCH_SAVED:
        zab_epoch_saved(r->zab, ev->epoch);
        break;
    case EV_SNAP_INSTALLED:
        snap_flow_installed(r);
        break;
    case EV_DISK_FULL:
        full_begin(r);
        break;
    case EV_DISK_ROOM:
        full_end(r);
        break;
    case EV_CHECKPOINT_WRITTEN:
        checkpoint_written(r, ev->count);
        break;
    case EV_CHECKPOINT_SAVED:
        checkpoint_saved(r, ev->zxid, ev->size_bytes);
        break;
    case EV_CHECKPOINT_FAILED:
        checkpoint_failed(r, ev->bytes);
        break;
    case EV_LOG_PURGED:
        zab_purged(r->zab, ev->zxid);
        break;
    case EV_REPAIR_RANGE:
        repair_answer_range(r, ev);
        break;
    case EV_SNAP_RANGE:
        repair_answer_snapshot(r, ev);
        break;
    default:
        core_stop(r, "%.*s", ev->bytes.len > 0 ? ev->bytes.len : 0,
                  ev->bytes.p ? (const char *)ev->bytes.p : "");
        break;
    }
}

static void dispatch(struct replica *r, const struct event *ev) {
    switch (ev->type) {
    case EV_EPOCH:
    case EV_LOSSY:
    case EV_SNAP_CHUNK:
    case EV_SNAP_RESET:
    case EV_SNAP_END:
    case EV_LOG_OLDER:
    case EV_LOG_RECORD:
        on_recovered(r, ev);
        break;
    case EV_START:
        on_start(r, ev->random);
        break;
    case EV_TICK:
        r->deadline_ms = INT64_MAX; /* used up: the next one is asked for again */
        break;
    case EV_CLIENT_OPEN:
        on_client_open(r, ev);
        break;
    case EV_CLIENT_FRAME:
    case EV_CLIENT_WORD:
    case EV_CLIENT_CLOSED:
        on_client_event(r, ev);
        break;
    case EV_PEER_UP:
        peer_up(r, ev->peer);
        break;
    case EV_PEER_MESSAGE:
        peer_message(r, ev->peer, ev->bytes);
        break;
    case EV_PEER_DOWN:
        peer_down(r, ev->peer);
        break;
    case EV_LOG_SYNCED:
    case EV_LOG_TRUNCATED:
    case EV_LOG_RANGE:
    case EV_EPOCH_SAVED:
    case EV_SNAP_INSTALLED:
    case EV_DISK_FAILED:
    case EV_DISK_FULL:
    case EV_DISK_ROOM:
    case EV_CHECKPOINT_WRITTEN:
    case EV_CHECKPOINT_SAVED:
    case EV_CHECKPOINT_FAILED:
    case EV_LOG_PURGED:
    case EV_REPAIR_RANGE:
    case EV_SNAP_RANGE:
        on_disk_event(r, ev);
        break;
    case EV_REBUILD_COPIED:
        break; /* of no core */
    }
}

static void close_late_handshakes(struct replica *r) {
    struct conn *c;
    while ((c = r->conns.handshakes) && c->opened_ms + HANDSHAKE_TIMEOUT_MS <= r->mono_ms)
        core_close_conn(r, c, "no session within %d ms", HANDSHAKE_TIMEOUT_MS);
}

/* What is due by now, whatever woke the core: an event that brings news of a session comes first.
 */
static void run_timers(struct replica *r) {
    close_late_handshakes(r);
    role_timers(r);
    if (connect_deadline(r) <= r->mono_ms)
        connect_waiting(r);
    if (r->leading)
        connect_expire(r);
    touch_run(r);
    full_run(r);
    forward_release(r);
    container_run(r);
    snap_flow_run(r);
    checkpoint_run(r);
    order_run(r);
    digest_run(r);
}

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

static void ask_for_deadline(struct replica *r) {
    int64_t next = zab_deadline(r->zab);
    /* What is overdue and cannot be proposed now is looked at when the log has answered. */
    if (r->leading && zab_ready(r->zab))
        next = sooner(next, expiry_deadline(&r->sessions));
    if (r->conns.handshakes)
        next = sooner(next, r->conns.handshakes->opened_ms + HANDSHAKE_TIMEOUT_MS);
    next = sooner(next, role_deadline(r));
    next = sooner(next, connect_deadline(r));
    next = sooner(next, checkpoint_deadline(r));
    next = sooner(next, full_deadline(r));
    next = sooner(next, container_deadline(r));
    next = sooner(next, digest_deadline(r));
    if (r->serving && !r->leading)
        next = sooner(next, r->touch_ms);
    if (r->run_list || snap_flow_more(r))
        next = r->mono_ms;
    if (next != r->deadline_ms && next != INT64_MAX)
        out_deadline(&r->out, next);
    r->deadline_ms = next;
}

struct updates replica_step(struct replica *r, const struct event *ev) {
    out_begin(&r->out);
    if (r->stopped)
        return out_finish(&r->out);
    if (ev->mono_ms > r->mono_ms)
        r->mono_ms = ev->mono_ms;
    r->wall_ms = ev->wall_ms;
    /* A leader that was replaced while it stood still finds that out before it answers anybody. */
    zab_clock(r->zab, r->mono_ms);
    core_pump(r);
    expiry_clock(&r->sessions, r->mono_ms, r->deadline_ms);
    if (!r->stopped)
        dispatch(r, ev);
    core_pump(r);
    if (r->started && !r->stopped) {
        run_timers(r);
        core_pump(r);
        if (!r->stopped)
            ask_for_deadline(r);
    }
    return out_finish(&r->out);
}

struct updates replica_leave(struct replica *r) {
    static const char why[] = "this server starts over";
    out_begin(&r->out);
    for (struct conn *c = r->conns.all; c; c = c->next)
        out_text(&r->out, UPD_CLOSE, c->id, LOG_INFO, "%s", why);
    for (unsigned i = 0; i < 256; i++)
        if (r->peers[i].up)
            out_peer_drop(&r->out, (uint8_t)i, why);
    r->stopped = true;
    return out_finish(&r->out);
}
