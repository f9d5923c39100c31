#include "common/client_impl.h"

#include <string.h>

struct client *client_new(const struct client_config *config) {
    CHECK(config->server_count > 0);
    CHECK(config->first_server >= 0);
    CHECK(config->first_server < config->server_count);
    CHECK(config->timeout_ms > 0);
    CHECK(config->max_frame_bytes > 0);
    struct client *c = mem_zalloc(sizeof(*c));
    c->config = *config;
    c->state = CLIENT_CONNECTING;
    c->server = -1;
    c->next_server = config->first_server;
    c->timeout_ms = config->timeout_ms;
    c->session_id = config->resume.session_id;
    memcpy(c->passwd, config->resume.passwd, PASSWD_BYTES);
    c->seen_zxid = c->reply_zxid = config->resume.last_zxid;
    c->next_xid = config->resume.next_xid > 0 ? config->resume.next_xid : 1;
    c->armed_ms = INT64_MAX;
    c->request_deadline_ms = INT64_MAX;
    creq_list_init(&c->waiting);
    creq_list_init(&c->sent);
    buf_init(&c->rx, 0);
    buf_init(&c->tx, 0);
    return c;
}

void client_free(struct client *c) {
    if (!c)
        return;
    HASH_CLEAR(hh, c->by_token);
    struct creq *r;
    while ((r = creq_list_pop(&c->waiting)))
        client_free_request(r);
    while ((r = creq_list_pop(&c->sent)))
        client_free_request(r);
    client_watch_close(c);
    while (c->auths) {
        struct cauth *a = c->auths;
        c->auths = a->next;
        mem_free(a->scheme);
        mem_free(a->auth);
        mem_free(a);
    }
    buf_close(&c->rx);
    buf_close(&c->tx);
    mem_free(c->updates);
    mem_free(c);
}

struct client_update *client_emit(struct client *c, enum client_update_type type) {
    if (c->update_count == c->update_cap) {
        c->update_cap = c->update_cap ? c->update_cap * 2 : 16;
        c->updates = mem_realloc(c->updates, c->update_cap * sizeof(*c->updates));
    }
    struct client_update *u = &c->updates[c->update_count++];
    *u = (struct client_update){
        .type = type, .state = c->state, .server = c->server, .bytes = SLICE_NULL};
    return u;
}

void client_set_state(struct client *c, enum client_state state) {
    if (c->state == state)
        return;
    c->state = state;
    client_emit(c, CU_STATE);
}

static int64_t min_ms(int64_t a, int64_t b) { return a < b ? a : b; }

/* An attempt at one server gets an equal share of the timeout, so that a session lives through a
 * whole round (as ZooKeeper's clients do it). */
static int64_t attempt_ms(const struct client *c) {
    int64_t share = c->timeout_ms / c->config.server_count;
    return share > 0 ? share : 1;
}

/* Also the only server gets no more than a third to answer: one that has just started may take a
 * connection and never answer it (Apache's does at times), and a session has to live through that.
 */
static int64_t answer_ms(const struct client *c) {
    int64_t most = c->timeout_ms / 3;
    if (most < CLIENT_ANSWER_MIN_MS)
        most = CLIENT_ANSWER_MIN_MS;
    return min_ms(attempt_ms(c), most);
}

static void connect_next(struct client *c) {
    c->server = c->next_server;
    c->next_server = (c->server + 1) % c->config.server_count;
    if (c->attempts < INT32_MAX)
        c->attempts++;
    c->has_socket = true;
    c->phase_deadline_ms = c->now_ms + min_ms(attempt_ms(c), CLIENT_CONNECT_MAX_MS);
    client_emit(c, CU_CONNECT);
}

/* The first round goes without pauses; after each round they double. */
static int64_t backoff_ms(const struct client *c) {
    if (c->attempts == 0 || c->attempts % c->config.server_count != 0)
        return 0;
    int32_t round = c->attempts / c->config.server_count;
    if (round > 6)
        return CLIENT_BACKOFF_MAX_MS;
    int64_t pause = (int64_t)CLIENT_BACKOFF_MIN_MS << (round - 1);
    return pause < CLIENT_BACKOFF_MAX_MS ? pause : CLIENT_BACKOFF_MAX_MS;
}

void client_lose(struct client *c, bool drop_socket) {
    bool was_up = c->state == CLIENT_CONNECTED;
    if (was_up && (c->has_answered || c->now_ms - c->connected_at_ms >= CLIENT_GOOD_CONNECTION_MS))
        c->attempts = 0;
    if (drop_socket && c->has_socket)
        client_emit(c, CU_DISCONNECT);
    c->has_socket = false;
    c->read_only = false;
    c->server = -1;
    c->again_frames = 0;
    buf_reset(&c->tx);
    if (c->close_sent) { /* The server has most likely ended the session; nothing is left to wait
                            for. */
        client_finish_close(c);
        return;
    }
    client_settle_sent(c);
    c->connect_at_ms = c->now_ms + backoff_ms(c);
    client_set_state(c, CLIENT_CONNECTING);
}

void client_finish_close(struct client *c) {
    client_fail_all(c, ZK_CONNECTIONLOSS, ZK_OPERATIONTIMEOUT);
    if (c->has_socket)
        client_emit(c, CU_DISCONNECT);
    c->has_socket = false;
    c->server = -1;
    buf_reset(&c->tx);
    client_set_state(c, CLIENT_CLOSED);
    client_emit(c, CU_CLOSED);
}

/* The server does not know the session (any more): tell, and ask the same server for a new one. The
 * watches stay: setWatches relative to the last zxid seen loses no event in a new session either.
 */
static void session_expired(struct client *c) {
    bool had_session = c->session_id != 0;
    client_fail_retries(c);
    c->retries = false;
    c->session_id = 0;
    memset(c->passwd, 0, sizeof(c->passwd));
    c->timeout_ms = c->config.timeout_ms;
    if (had_session) {
        c->next_server = c->server;
        client_set_state(c, CLIENT_EXPIRED);
        if (c->closing) {
            client_finish_close(c);
            return;
        }
        c->attempts = 0;
    }
    client_lose(c, true);
}

static void take_session(struct client *c, const struct proto_connect_response *res) {
    c->session_id = res->session_id;
    memcpy(c->passwd, res->passwd.p, PASSWD_BYTES);
    c->look_wait_ms = 0;
    c->retries = c->config.retries && res->protocol_version == PROTOCOL_VERSION_RETRIES;
    if (!c->retries)
        client_fail_retries(c);
}

/* The server has no quorum: it gave a session of its own, or let us in with ours. */
static void plan_look(struct client *c) {
    int64_t wait = c->look_wait_ms * 2;
    if (wait < CLIENT_LOOK_MIN_MS)
        wait = CLIENT_LOOK_MIN_MS;
    if (wait > CLIENT_LOOK_MAX_MS)
        wait = CLIENT_LOOK_MAX_MS;
    c->look_wait_ms = wait;
    c->look_at_ms = c->now_ms + wait;
}

bool client_on_connect_response(struct client *c, struct slice frame) {
    struct cursor in;
    cursor_init(&in, frame.p, (size_t)frame.len);
    struct proto_connect_response res;
    if (!proto_decode(&in, PROTO_connect_response, &res))
        return false;
    if (res.timeout_ms <= 0 || res.session_id == 0) {
        session_expired(c);
        return true;
    }
    if (res.passwd.len != PASSWD_BYTES)
        return false;
    c->read_only = res.read_only;
    if (c->read_only)
        plan_look(c);
    else
        take_session(c, &res);
    c->timeout_ms = res.timeout_ms;
    c->connected_at_ms = c->now_ms;
    c->has_answered = false;
    client_set_state(c, CLIENT_CONNECTED);
    if (c->closing) {
        client_send_close(c);
        return true;
    }
    client_send_auths(c);
    client_send_watches(c);
    client_send_waiting(c);
    return true;
}

static void on_connected(struct client *c) {
    if (!c->has_socket || c->state != CLIENT_CONNECTING)
        return;
    client_set_state(c, CLIENT_HANDSHAKE);
    buf_reset(&c->rx);
    c->phase_deadline_ms = c->now_ms + answer_ms(c);
    c->last_recv_ms = c->now_ms;
    c->last_send_ms = c->now_ms;
    client_send_connect(c);
}

static void on_close(struct client *c) {
    if (c->closing)
        return;
    c->closing = true;
    c->close_deadline_ms = c->now_ms + CLIENT_CLOSE_WAIT_MS;
    if (c->session_id == 0)
        client_finish_close(c);
    else if (c->state == CLIENT_CONNECTED)
        client_send_close(c);
}

static void run_event(struct client *c, const struct client_event *ev) {
    switch (ev->type) {
    case CE_TICK:
        c->armed_ms = INT64_MAX; /* The shell's timer is used up, even if it was early. */
        break;
    case CE_CONNECTED:
        on_connected(c);
        break;
    case CE_LOST:
        if (c->has_socket) {
            c->has_socket = false;
            client_lose(c, false);
        }
        break;
    case CE_BYTES:
        if (c->has_socket && c->state != CLIENT_CONNECTING)
            client_on_bytes(c, ev->bytes);
        break;
    case CE_REQUEST:
        client_request(c, ev);
        break;
    case CE_CANCEL:
        client_cancel(c, ev->token);
        break;
    case CE_CLOSE:
        on_close(c);
        break;
    }
}

/* What the clock alone brings about, in any state but CLOSED. */
static void run_clock(struct client *c) {
    if (c->now_ms >= c->request_deadline_ms)
        client_expire_requests(c);
    if (c->closing && c->now_ms >= c->close_deadline_ms) {
        client_finish_close(c);
        return;
    }
    if (c->state == CLIENT_CONNECTED) {
        bool look = c->read_only && c->now_ms >= c->look_at_ms;
        if (look || c->now_ms - c->last_recv_ms >= (int64_t)c->timeout_ms * 2 / 3)
            client_lose(c, true);
        else if (c->now_ms - c->last_send_ms >= c->timeout_ms / 3)
            client_send_ping(c);
    } else if (c->has_socket && c->now_ms >= c->phase_deadline_ms) {
        client_lose(c, true);
    }
    if (!c->has_socket && c->now_ms >= c->connect_at_ms)
        connect_next(c);
}

static int64_t next_deadline(const struct client *c) {
    int64_t at = c->request_deadline_ms;
    if (c->closing)
        at = min_ms(at, c->close_deadline_ms);
    if (!c->has_socket)
        return min_ms(at, c->connect_at_ms);
    if (c->state != CLIENT_CONNECTED)
        return min_ms(at, c->phase_deadline_ms);
    if (c->read_only)
        at = min_ms(at, c->look_at_ms);
    at = min_ms(at, c->last_recv_ms + (int64_t)c->timeout_ms * 2 / 3);
    return min_ms(at, c->last_send_ms + c->timeout_ms / 3);
}

/* A deadline that moved later is not told: the tick that comes too early finds the right one. So a
 * busy connection does not set its timer anew with every frame. */
static void emit_deadline(struct client *c) {
    int64_t at = next_deadline(c);
    if (at >= c->armed_ms)
        return;
    c->armed_ms = at;
    client_emit(c, CU_DEADLINE)->mono_ms = at;
}

/* All that this step sends goes in one piece: one system call of the shell for many requests. */
static void emit_send(struct client *c) {
    if (c->tx.len == 0)
        return;
    c->last_send_ms = c->now_ms;
    client_emit(c, CU_SEND)->bytes = (struct slice){.p = c->tx.data, .len = (int32_t)c->tx.len};
}

struct client_updates client_step(struct client *c, const struct client_event *ev) {
    c->update_count = 0;
    buf_reset(&c->tx);
    if (c->rx_used > 0) {
        buf_consume(&c->rx, c->rx_used);
        c->rx_used = 0;
    }
    if (ev->mono_ms > c->now_ms)
        c->now_ms = ev->mono_ms;
    if (!c->started) {
        c->started = true;
        c->connect_at_ms = c->now_ms;
    }
    if (c->auth_is_new && c->state == CLIENT_CONNECTED)
        client_send_auths(c);
    if (c->state != CLIENT_CLOSED || ev->type == CE_REQUEST)
        run_event(c, ev);
    if (c->state != CLIENT_CLOSED)
        run_clock(c);
    if (c->state != CLIENT_CLOSED) {
        emit_send(c);
        emit_deadline(c);
    }
    return (struct client_updates){.list = c->updates, .count = c->update_count};
}

enum client_state client_state(const struct client *c) { return c->state; }

session_id_t client_session_id(const struct client *c) { return c->session_id; }

void client_get_resume(const struct client *c, struct client_resume *ret) {
    ret->session_id = c->session_id;
    memcpy(ret->passwd, c->passwd, PASSWD_BYTES);
    ret->last_zxid = c->seen_zxid;
    ret->next_xid = c->next_xid;
}

int32_t client_timeout_ms(const struct client *c) { return c->timeout_ms; }

zxid_t client_last_zxid(const struct client *c) { return c->seen_zxid; }

bool client_has_retries(const struct client *c) { return c->retries; }

bool client_is_read_only(const struct client *c) { return c->read_only; }

int32_t client_server(const struct client *c) { return c->server; }

void client_add_auth(struct client *c, const char *scheme, struct slice auth) {
    struct cauth *a = mem_zalloc(sizeof(*a));
    a->scheme = mem_strdup(scheme);
    a->auth_len = auth.len;
    if (auth.len > 0)
        a->auth = mem_dup(auth.p, (size_t)auth.len);
    struct cauth **at = &c->auths;
    while (*at)
        at = &(*at)->next;
    *at = a;
    c->auth_is_new = true;
}
