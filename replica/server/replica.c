#include "replica/server/core.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/admin.h"
#include "replica/server/connect.h"
#include "replica/server/limits.h"
#include "replica/server/order.h"
#include "replica/server/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *dup_or_null(const char *s) { return s ? mem_strdup(s) : NULL; }

static void copy_config(struct replica_config *to, const struct replica_config *from) {
    *to = *from;
    to->super_digest = dup_or_null(from->super_digest);
    to->word_whitelist = dup_or_null(from->word_whitelist);
    to->version = dup_or_null(from->version);
    to->data_dir = dup_or_null(from->data_dir);
    to->data_log_dir = dup_or_null(from->data_log_dir);
}

static void free_config(struct replica_config *c) {
    mem_free((void *)c->super_digest);
    mem_free((void *)c->word_whitelist);
    mem_free((void *)c->version);
    mem_free((void *)c->data_dir);
    mem_free((void *)c->data_log_dir);
}

static struct zab *new_zab(const struct replica_config *config, uint32_t counter_limit) {
    const uint8_t voters[] = {config->server_id};
    return zab_new(&(struct zab_config){.self = config->server_id,
                                        .voters = voters,
                                        .voter_count = 1,
                                        .counter_limit = counter_limit});
}

void core_reset_stats(struct replica *r) {
    r->stats = (struct server_stats){.min_latency_ms = INT64_MAX,
                                     .last_reply_bytes = -1,
                                     .min_reply_bytes = -1,
                                     .max_reply_bytes = -1};
}

struct replica *core_new(const struct replica_config *config, uint32_t counter_limit) {
    CHECK(config->tick_ms > 0);
    CHECK(config->max_outstanding > 0);
    struct replica *r = mem_zalloc(sizeof *r);
    copy_config(&r->config, config);
    r->auth = (struct auth_config){config->skip_acl, r->config.super_digest};
    r->zab = new_zab(config, counter_limit);
    r->tree = tree_new();
    r->watches = watch_new();
    r->pending = pending_new(r->tree);
    sessions_init(&r->sessions, config->server_id, config->tick_ms);
    conns_init(&r->conns);
    out_init(&r->out);
    tree_changes_init(&r->changes);
    core_reset_stats(r);
    r->deadline_ms = INT64_MAX;
    return r;
}

struct replica *replica_new(const struct replica_config *config) {
    return core_new(config, ZAB_COUNTER_LIMIT);
}

static void free_inflight(struct replica *r) {
    while (r->inflight_first) {
        struct inflight *f = r->inflight_first;
        r->inflight_first = f->next;
        request_free(f->request);
        txn_free(f->txn);
        mem_free(f);
    }
}

void replica_free(struct replica *r) {
    if (!r)
        return;
    for (struct conn *c = r->conns.all; c; c = c->next)
        order_drop(r, c);
    free_inflight(r);
    conns_close(&r->conns);
    sessions_close(&r->sessions);
    pending_free(r->pending);
    watch_free(r->watches);
    tree_free(r->tree);
    zab_free(r->zab);
    tree_changes_close(&r->changes);
    out_close(&r->out);
    free_config(&r->config);
    mem_free(r);
}

void core_drop_conn(struct replica *r, struct conn *c) {
    order_drop(r, c);
    watch_drop(r->watches, c->id);
    if (c->session && c->session->conn == c)
        c->session->conn = NULL;
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

static void on_log_record(struct replica *r, const struct log_record *rec) {
    if (!zab_recover(r->zab, rec->zxid)) {
        core_stop(r, "the log does not go on where it stopped: zxid=0x%llx after=0x%llx",
                  (unsigned long long)rec->zxid, (unsigned long long)zab_last_zxid(r->zab));
        return;
    }
    bool epoch = zxid_counter(rec->zxid) == 0;
    if (epoch != (rec->kind == LOG_EPOCH)) {
        core_stop(r, "the log has a record of the wrong kind zxid=0x%llx",
                  (unsigned long long)rec->zxid);
        return;
    }
    if (epoch)
        return;
    struct txn *t = txn_decode(rec->payload, rec->zxid);
    if (!t || (t->type == TXN_ENSEMBLE && (!t->secret || t->secret->len > SESSION_SECRET_MAX))) {
        txn_free(t);
        core_stop(r, "the log has a record that is no transaction zxid=0x%llx",
                  (unsigned long long)rec->zxid);
        return;
    }
    (void)core_apply(r, t, NULL);
    txn_free(t);
}

static void on_start(struct replica *r, const uint8_t *random) {
    CHECK(!r->started);
    CHECK(random);
    r->started = true;
    r->started_ms = r->mono_ms;
    memcpy(r->random, random, sizeof r->random);
    zab_lead(r->zab);
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

static void on_log_synced(struct replica *r, zxid_t zxid) {
    zab_acked(r->zab, r->config.server_id, zxid);
}

static void dispatch(struct replica *r, const struct event *ev) {
    switch (ev->type) {
    case EV_LOG_RECORD:
        CHECK(!r->started);
        on_log_record(r, ev->record);
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
    case EV_LOG_SYNCED:
        on_log_synced(r, ev->zxid);
        break;
    case EV_DISK_FAILED:
        core_stop(r, "%.*s", ev->bytes.len > 0 ? ev->bytes.len : 0,
                  ev->bytes.p ? (const char *)ev->bytes.p : "");
        break;
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
    if (r->serving)
        connect_expire(r);
    order_run(r);
}

static void ask_for_deadline(struct replica *r) {
    int64_t next = INT64_MAX;
    /* What is overdue and cannot be proposed now is looked at when the log has answered. */
    if (r->serving && zab_ready(r->zab))
        next = expiry_deadline(&r->sessions);
    if (r->conns.handshakes && r->conns.handshakes->opened_ms + HANDSHAKE_TIMEOUT_MS < next)
        next = r->conns.handshakes->opened_ms + HANDSHAKE_TIMEOUT_MS;
    if (r->run_list)
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
    expiry_clock(&r->sessions, r->mono_ms, r->deadline_ms);
    dispatch(r, ev);
    if (r->started && !r->stopped) {
        core_pump(r);
        run_timers(r);
        core_pump(r);
        ask_for_deadline(r);
    }
    return out_finish(&r->out);
}
