/* The loop around the pure client: its updates carried out, its events fed, callbacks called. */
#include "common/log.h"
#include "fs/zk_lost.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

static void flush(struct zk *zk);

int64_t zk_now_ms(const struct zk *zk) { return (int64_t)uv_now(zk->loop); }

static void call_free(struct zk *zk, struct zk_call *call) {
    if (call->resent)
        zk_resent_drop(zk, call->resent);
    zk_lost_free(call->lost);
    buf_close(&call->request);
    mem_free(call);
}

static void tell_watches(struct zk *zk, struct zk_call *call, int err) {
    if (call->watched)
        zk_watch_answered(zk, call, err);
    if (call->kind == CALL_ADD_WATCH)
        zk_stream_answered(zk, call, err);
    if (call->kind == CALL_REMOVE_WATCHES)
        zk_stream_removed(zk, call, err);
}

void zk_call_finish(struct zk *zk, struct zk_call *call, const struct zk_result *res) {
    CHECK(zk->calls);
    HASH_DEL(zk->calls, call);
    tell_watches(zk, call, res->err);
    call->cb(call->ctx, res);
    call_free(zk, call);
}

static struct zk_result no_result(int err) {
    return (struct zk_result){.err = err,
                              .data = SLICE_NULL,
                              .path = SLICE_NULL,
                              .children = {.count = -1},
                              .acl = {.count = -1}};
}

void zk_call_fail(struct zk *zk, struct zk_call *call, int err) {
    struct zk_result res = no_result(err);
    zk_call_finish(zk, call, &res);
}

void zk_call_queue(struct zk *zk, struct zk_call *call) {
    call->is_queued = true;
    call->next = NULL;
    *zk->start_tail = call;
    zk->start_tail = &call->next;
}

static void finish_local(struct zk *zk, struct zk_call *call) {
    struct zk_result res = no_result(ZK_OK);
    res.zxid = client_last_zxid(zk->client);
    zk_call_finish(zk, call, &res);
}

static void start_one(struct zk *zk, struct zk_call *call) {
    if (call->is_local && !zk->is_closing) {
        finish_local(zk, call);
        return;
    }
    if (call->local_err != 0 || zk->is_closing) {
        int err = call->local_err != 0 ? call->local_err
                  : call->sends > 0    ? ZK_CONNECTIONLOSS
                                       : ZK_OPERATIONTIMEOUT;
        zk_call_fail(zk, call, err);
        return;
    }
    if (call->resent) {
        zk_resent_take(zk, call);
        return;
    }
    const struct buf *record = call->lost ? &call->lost->record : &call->request;
    if (!call->lost) {
        call->sends++;
        call->before = client_last_zxid(zk->client);
    }
    struct client_event ev = {
        .type = CE_REQUEST,
        .bytes = {.p = record->data, .len = (int32_t)record->len},
        .token = call->token,
        .opcode = call->lost ? call->lost->asked : call->opcode,
        .deadline_ms = call->deadline_ms,
    };
    uint64_t token = call->token;
    bool is_kept = call->kept != 0 && !call->lost;
    zk_feed(zk, &ev);
    if (is_kept) {
        HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
        if (call)
            zk_call_kept_xid(zk, call);
    }
}

static bool may_retry(const struct zk *zk, const struct zk_call *call) {
    return !zk->is_closing && zk_call_is_write(call) && call->sends < ZK_SENDS_MAX &&
           (call->deadline_ms == 0 || zk_now_ms(zk) < call->deadline_ms);
}

void zk_on_reply(struct zk *zk, const struct client_update *u) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &u->token, sizeof(u->token), call);
    if (!call)
        call = zk_resent_answered(zk, u);
    if (!call)
        return;
    bool is_lost = u->err == ZK_CONNECTIONLOSS;
    if (call->lost && (is_lost || u->err == ZK_OPERATIONTIMEOUT || zk->is_closing))
        zk_call_fail(zk, call, ZK_CONNECTIONLOSS); /* The doubt outlasted the call. */
    else if (call->lost)
        zk_lost_reply(zk, call, u);
    else if (is_lost && may_retry(zk, call))
        zk_lost_begin(zk, call);
    else if ((u->err == ZK_SESSIONEXPIRED || u->err == ZK_SESSIONMOVED) && may_retry(zk, call))
        zk_call_queue(zk, call); /* The server refused it before it was ordered: surely not done. */
    else
        zk_reply(zk, call, u);
}

static const char *server_name(const struct zk *zk, int32_t server) {
    return server >= 0 ? conn_uv_server_name(zk->conn, server) : "-";
}

static void on_state(struct zk *zk, enum client_state state) {
    uint64_t session = (uint64_t)client_session_id(zk->client);
    if (state == CLIENT_CONNECTED) {
        zk->server = server_name(zk, client_server(zk->client));
        zk->failure_told = false;
        log_info("connected to a server server=%s session=0x%" PRIx64 " timeout_ms=%d", zk->server,
                 session, client_timeout_ms(zk->client));
    } else if (state == CLIENT_EXPIRED) {
        log_warn("the session has expired: its ephemeral znodes are gone; asking for a new one");
    } else if (state == CLIENT_CONNECTING && zk->server) {
        log_warn("the connection is lost, operations wait for another server=%s why=\"%s\"",
                 zk->server, zk->lost_why ? zk->lost_why : "no answer in time");
        zk->server = NULL;
    }
    if (zk->on_state)
        zk->on_state(zk->ctx, state);
    struct zk_listener *l, *next;
    DL_FOREACH_SAFE(zk->listeners, l, next) l->fn(l, state);
}

static void on_timer(uv_timer_t *timer) {
    struct zk *zk = timer->data;
    struct client_event ev = {.type = CE_TICK};
    zk_feed(zk, &ev);
}

static void set_timer(struct zk *zk, int64_t at_ms) {
    int64_t wait = at_ms == INT64_MAX ? INT32_MAX : at_ms - zk_now_ms(zk);
    uv_timer_start(&zk->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void on_client_closed(struct zk *zk);

static void run_update(struct zk *zk, const struct client_update *u) {
    switch (u->type) {
    case CU_CONNECT:
        conn_uv_connect(zk->conn, u->server);
        break;
    case CU_DISCONNECT:
        conn_uv_drop(zk->conn);
        break;
    case CU_SEND:
        conn_uv_send(zk->conn, u->bytes);
        break;
    case CU_REPLY:
        zk_on_reply(zk, u);
        break;
    case CU_WATCH:
        zk_watch_event(zk, u);
        zk_stream_event(zk, u);
        break;
    case CU_GAP:
        zk_stream_gap(zk);
        break;
    case CU_STATE:
        on_state(zk, u->state);
        break;
    case CU_DEADLINE:
        set_timer(zk, u->mono_ms);
        break;
    case CU_CLOSED:
        on_client_closed(zk);
        break;
    }
}

/* Callbacks run in here may start and cancel operations, for those only queue. */
void zk_feed(struct zk *zk, const struct client_event *event) {
    struct client_event ev = *event;
    ev.mono_ms = zk_now_ms(zk);
    struct client_updates ups = client_step(zk->client, &ev);
    zk_journal_note(zk);
    for (size_t i = 0; i < ups.count; i++)
        run_update(zk, &ups.list[i]);
}

static void flush_cancels(struct zk *zk) {
    for (size_t i = 0; i < zk->cancel_count; i++) {
        struct client_event ev = {.type = CE_CANCEL, .token = zk->cancels[i]};
        zk_feed(zk, &ev);
    }
    zk->cancel_count = 0;
}

/* Hands what was queued to the client, and all that it sends to the kernel, in one system call. */
static void flush(struct zk *zk) {
    flush_cancels(zk);
    zk_resent_flush(zk);
    while (zk->start_head) {
        struct zk_call *call = zk->start_head;
        zk->start_head = call->next;
        if (!zk->start_head)
            zk->start_tail = &zk->start_head;
        call->is_queued = false;
        if (call->cb)
            start_one(zk, call);
        else
            call_free(zk, call); /* cancelled meanwhile */
    }
    if (zk->close_wanted && !zk->is_closing) {
        struct client_event ev = {.type = CE_CLOSE};
        zk->is_closing = true;
        zk_feed(zk, &ev);
    }
    if (zk->conn)
        conn_uv_flush(zk->conn);
}

void zk_cancel_in_client(struct zk *zk, uint64_t token) {
    if (zk->cancel_count == zk->cancel_cap) {
        zk->cancel_cap = zk->cancel_cap ? zk->cancel_cap * 2 : 16;
        zk->cancels = mem_realloc(zk->cancels, zk->cancel_cap * sizeof(*zk->cancels));
    }
    zk->cancels[zk->cancel_count++] = token;
}

void zk_cancel(struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    if (!call)
        return;
    int err = zk_was_sent(zk, token) ? ZK_CONNECTIONLOSS : ZK_OPERATIONTIMEOUT;
    HASH_DEL(zk->calls, call);
    if (call->is_queued)
        call->cb = NULL;
    else
        zk_cancel_in_client(zk, token);
    /* What this sends goes out behind the call, where that was sent at all. */
    tell_watches(zk, call, err);
    if (!call->is_queued)
        call_free(zk, call);
}

void zk_wait_on(struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    CHECK(call && call->is_queued);
    call->deadline_ms = 0;
}

void zk_exclusive(struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    CHECK(call && call->is_queued && call->opcode == OP_SET_DATA);
    call->exclusive = true;
}

bool zk_was_sent(const struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    return call && (call->lost || call->sends > 1 || client_was_sent(zk->client, token));
}

static void on_prepare(uv_prepare_t *handle) { flush(handle->data); }

static void on_check(uv_check_t *handle) { flush(handle->data); }

static void on_connected(void *ctx) {
    struct client_event ev = {.type = CE_CONNECTED};
    zk_feed(ctx, &ev);
}

/* The log tells it once per connection that had worked (on_state). The attempts that follow may be
 * many; the first that fails says why, until one succeeds. */
static void on_lost(void *ctx, const char *why) {
    struct zk *zk = ctx;
    struct client_event ev = {.type = CE_LOST};
    if (!zk->server && !zk->failure_told) {
        log_warn("cannot connect to a server, trying on server=%s why=\"%s\"",
                 server_name(zk, client_server(zk->client)), why);
        zk->failure_told = true;
    }
    zk->lost_why = why;
    zk_feed(zk, &ev);
    zk->lost_why = NULL;
}

static void on_bytes(void *ctx, struct slice bytes) {
    struct client_event ev = {.type = CE_BYTES, .bytes = bytes};
    zk_feed(ctx, &ev);
}

static void start_handles(struct zk *zk) {
    CHECK(uv_timer_init(zk->loop, &zk->timer) == 0);
    CHECK(uv_prepare_init(zk->loop, &zk->prepare) == 0);
    CHECK(uv_check_init(zk->loop, &zk->check) == 0);
    zk->timer.data = zk->prepare.data = zk->check.data = zk;
    CHECK(uv_prepare_start(&zk->prepare, on_prepare) == 0);
    CHECK(uv_check_start(&zk->check, on_check) == 0);
    uv_timer_start(&zk->timer, on_timer, 0, 0);
    zk->open_handles = 4; /* these, and the connection */
}

static int32_t random_server(int32_t count) {
    uint32_t r = 0;
    int err = uv_random(NULL, NULL, &r, sizeof(r), 0, NULL);
    return err == 0 ? (int32_t)(r % (uint32_t)count) : 0;
}

struct zk *zk_new(struct uv_loop_s *loop, const struct zk_config *config, zk_state_cb *state_cb,
                  void *ctx, const char **ret_why) {
    struct zk *zk = mem_zalloc(sizeof(*zk));
    static const struct conn_uv_events events = {on_connected, on_lost, on_bytes};
    zk->conn = conn_uv_new(loop, config->servers, &events, zk, ret_why);
    if (!zk->conn) {
        mem_free(zk);
        return NULL;
    }
    int32_t count = conn_uv_server_count(zk->conn);
    struct client_config cc = {
        .server_count = count,
        .first_server = random_server(count),
        .timeout_ms = config->session_timeout_ms,
        .max_frame_bytes = ZK_REPLY_BYTES_MAX,
        .retries = true,
        .read_only_ok = config->read_only_ok,
    };
    zk->journal = config->journal;
    zk_journal_load(zk, &cc.resume);
    zk_own_load(zk);
    zk->client = client_new(&cc);
    zk->loop = loop;
    zk->on_state = state_cb;
    zk->ctx = ctx;
    zk->open_acl = acl_open_unsafe();
    zk->max_frame_bytes =
        config->max_frame_bytes > 0 ? (size_t)config->max_frame_bytes : JUTE_MAXBUFFER_DEFAULT;
    CHECK(zk->max_frame_bytes >= 1024);
    zk->start_tail = &zk->start_head;
    if (!config->hard)
        zk->timeo_ms = config->timeo_ms > 0 ? config->timeo_ms : config->session_timeout_ms;
    start_handles(zk);
    return zk;
}

static void handle_gone(void *ctx) {
    struct zk *zk = ctx;
    if (--zk->open_handles > 0)
        return;
    void (*done)(void *) = zk->done;
    void *done_ctx = zk->done_ctx;
    client_free(zk->client);
    zk_watch_close(zk);
    zk_stream_close(zk);
    blob_unref(zk->open_acl);
    zk_resent_close(zk);
    mem_free(zk->cancels);
    mem_free(zk->own);
    mem_free(zk);
    if (done)
        done(done_ctx);
}

static void on_handle_closed(uv_handle_t *handle) { handle_gone(handle->data); }

/* The client has answered all that it had; what is still queued is answered here. */
static void on_client_closed(struct zk *zk) {
    struct conn_uv *conn = zk->conn;
    while (zk->start_head) {
        struct zk_call *call = zk->start_head;
        zk->start_head = call->next;
        call->is_queued = false;
        if (call->cb)
            zk_call_fail(zk, call, call->sends > 0 ? ZK_CONNECTIONLOSS : ZK_OPERATIONTIMEOUT);
        else
            call_free(zk, call);
    }
    zk->start_tail = &zk->start_head;
    zk->conn = NULL;
    uv_prepare_stop(&zk->prepare);
    uv_check_stop(&zk->check);
    uv_timer_stop(&zk->timer);
    uv_close((uv_handle_t *)&zk->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&zk->check, on_handle_closed);
    uv_close((uv_handle_t *)&zk->timer, on_handle_closed);
    conn_uv_close(conn, handle_gone, zk);
}

void zk_close(struct zk *zk, void (*done)(void *ctx), void *ctx) {
    CHECK(!zk->close_wanted);
    zk->close_wanted = true;
    zk->done = done;
    zk->done_ctx = ctx;
}

void zk_add_auth(struct zk *zk, const char *scheme, struct slice auth) {
    client_add_auth(zk->client, scheme, auth);
}

session_id_t zk_session_id(const struct zk *zk) { return client_session_id(zk->client); }

enum client_state zk_state(const struct zk *zk) { return client_state(zk->client); }

int32_t zk_timeout_ms(const struct zk *zk) { return client_timeout_ms(zk->client); }

zxid_t zk_last_zxid(const struct zk *zk) { return client_last_zxid(zk->client); }

bool zk_is_read_only(const struct zk *zk) { return client_is_read_only(zk->client); }

const char *zk_server(const struct zk *zk) { return zk->server; }

int32_t zk_server_count(const struct zk *zk) { return conn_uv_server_count(zk->conn); }

const char *zk_server_at(const struct zk *zk, int32_t server) {
    return conn_uv_server_name(zk->conn, server);
}
