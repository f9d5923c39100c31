/* The loop around the pure client: its updates carried out, its events fed, callbacks called. */
#include "common/log.h"
#include "fs/zk_lost.h"

#include <inttypes.h>
#include <string.h>

static void feed(struct zk *zk, const struct client_event *ev);
static void flush(struct zk *zk);

int64_t zk_now_ms(const struct zk *zk) { return (int64_t)uv_now(zk->loop); }

/* The own zxids that no write still open can be mistaken for are forgotten, when there are many. */
static void own_purge(struct zk *zk) {
    zxid_t oldest = INT64_MAX;
    for (struct zk_call *call = zk->calls; call; call = call->hh.next) {
        if (call->sends > 0 && zk_call_is_write(call) && call->before < oldest)
            oldest = call->before;
    }
    size_t kept = 0;
    for (size_t i = 0; i < zk->own_count; i++) {
        if (zk->own[i] > oldest)
            zk->own[kept++] = zk->own[i];
    }
    zk->own_count = kept;
}

bool zk_own_has(const struct zk *zk, zxid_t zxid) {
    for (size_t i = zk->own_count; i > 0; i--) {
        if (zk->own[i - 1] == zxid)
            return true;
    }
    return false;
}

void zk_own_add(struct zk *zk, zxid_t zxid) {
    if (zk->own_count == zk->own_cap) {
        own_purge(zk);
        if (zk->own_count * 2 >= zk->own_cap) {
            zk->own_cap = zk->own_cap ? zk->own_cap * 2 : 64;
            zk->own = mem_realloc(zk->own, zk->own_cap * sizeof(*zk->own));
        }
    }
    zk->own[zk->own_count++] = zxid;
}

static void call_free(struct zk_call *call) {
    zk_lost_free(call->lost);
    buf_close(&call->request);
    mem_free(call);
}

void zk_call_finish(struct zk *zk, struct zk_call *call, const struct zk_result *res) {
    CHECK(zk->calls);
    HASH_DEL(zk->calls, call);
    call->cb(call->ctx, res);
    call_free(call);
}

void zk_call_fail(struct zk *zk, struct zk_call *call, int err) {
    struct zk_result res = {.err = err,
                            .data = SLICE_NULL,
                            .path = SLICE_NULL,
                            .children = {.count = -1},
                            .acl = {.count = -1}};
    zk_call_finish(zk, call, &res);
}

static void queue(struct zk *zk, struct zk_call *call) {
    call->is_queued = true;
    call->next = NULL;
    *zk->start_tail = call;
    zk->start_tail = &call->next;
}

void zk_call_send(struct zk *zk, struct zk_call *call) { queue(zk, call); }

void zk_call_ask(struct zk *zk, struct zk_call *call) { queue(zk, call); }

static void start_one(struct zk *zk, struct zk_call *call) {
    if (call->local_err != 0 || zk->is_closing) {
        int err = call->local_err != 0 ? call->local_err
                  : call->sends > 0    ? ZK_CONNECTIONLOSS
                                       : ZK_OPERATIONTIMEOUT;
        zk_call_fail(zk, call, err);
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
    feed(zk, &ev);
}

static bool may_retry(const struct zk *zk, const struct zk_call *call) {
    return !zk->is_closing && zk_call_is_write(call) && call->sends < ZK_SENDS_MAX &&
           (call->deadline_ms == 0 || zk_now_ms(zk) < call->deadline_ms);
}

static void on_reply(struct zk *zk, const struct client_update *u) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &u->token, sizeof(u->token), call);
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
        zk_call_send(zk, call); /* The server refused it before it was ordered: surely not done. */
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
}

static void on_timer(uv_timer_t *timer) {
    struct zk *zk = timer->data;
    struct client_event ev = {.type = CE_TICK};
    feed(zk, &ev);
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
        on_reply(zk, u);
        break;
    case CU_WATCH:
        break; /* None is armed: nobody waits for one. */
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
static void feed(struct zk *zk, const struct client_event *event) {
    struct client_event ev = *event;
    ev.mono_ms = zk_now_ms(zk);
    struct client_updates ups = client_step(zk->client, &ev);
    for (size_t i = 0; i < ups.count; i++)
        run_update(zk, &ups.list[i]);
}

static void flush_cancels(struct zk *zk) {
    for (size_t i = 0; i < zk->cancel_count; i++) {
        struct client_event ev = {.type = CE_CANCEL, .token = zk->cancels[i]};
        feed(zk, &ev);
    }
    zk->cancel_count = 0;
}

/* Hands what was queued to the client, and all that it sends to the kernel, in one system call. */
static void flush(struct zk *zk) {
    flush_cancels(zk);
    while (zk->start_head) {
        struct zk_call *call = zk->start_head;
        zk->start_head = call->next;
        if (!zk->start_head)
            zk->start_tail = &zk->start_head;
        call->is_queued = false;
        if (call->cb)
            start_one(zk, call);
        else
            call_free(call); /* cancelled meanwhile */
    }
    if (zk->close_wanted && !zk->is_closing) {
        struct client_event ev = {.type = CE_CLOSE};
        zk->is_closing = true;
        feed(zk, &ev);
    }
    if (zk->conn)
        conn_uv_flush(zk->conn);
}

void zk_cancel(struct zk *zk, uint64_t token) {
    struct zk_call *call;
    HASH_FIND(hh, zk->calls, &token, sizeof(token), call);
    if (!call)
        return;
    HASH_DEL(zk->calls, call);
    if (call->is_queued) {
        call->cb = NULL;
        return;
    }
    call_free(call);
    if (zk->cancel_count == zk->cancel_cap) {
        zk->cancel_cap = zk->cancel_cap ? zk->cancel_cap * 2 : 16;
        zk->cancels = mem_realloc(zk->cancels, zk->cancel_cap * sizeof(*zk->cancels));
    }
    zk->cancels[zk->cancel_count++] = token;
}

static void on_prepare(uv_prepare_t *handle) { flush(handle->data); }

static void on_check(uv_check_t *handle) { flush(handle->data); }

static void on_connected(void *ctx) {
    struct client_event ev = {.type = CE_CONNECTED};
    feed(ctx, &ev);
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
    feed(zk, &ev);
    zk->lost_why = NULL;
}

static void on_bytes(void *ctx, struct slice bytes) {
    struct client_event ev = {.type = CE_BYTES, .bytes = bytes};
    feed(ctx, &ev);
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
    blob_unref(zk->open_acl);
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
            call_free(call);
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
