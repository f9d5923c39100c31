#include "fs/conn_uv.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/mem.h"
#include "fs/server_list.h"

#include <string.h>
#include <uv.h>

#define READ_BYTES (256 * 1024)
/* How long one address may hold up the others of the same server. */
#define ADDRESS_WAIT_MS 1000

/* One socket. It outlives its time in use until libuv has closed it; then `owner` is NULL. */
struct sock {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct buf writing; /* under way in `write` */
    struct conn_uv *owner;
    struct conn_uv *counted; /* for the count of open handles */
};

struct lookup {
    uv_getaddrinfo_t req;
    struct conn_uv *conn;
    int32_t server;
};

struct conn_uv {
    uv_loop_t *loop;
    struct conn_uv_events events;
    void *ctx;
    struct server_list *servers;
    int32_t server;     /* being connected to, or connected; -1 none */
    int32_t tries_left; /* addresses not tried in this attempt */
    bool is_up;
    bool is_looking_up; /* waits for a name server */
    int fail_errno;     /* told by the timer: failures never come from within a call */
    struct sock *sock;
    struct lookup *lookup;
    uv_timer_t timer; /* the address's time, or a failure to be told */
    struct buf out;
    int open_handles;
    void (*done)(void *ctx);
    void *done_ctx;
    uint8_t read_buf[READ_BYTES];
};

static void try_address(struct conn_uv *c);
static void on_timer(uv_timer_t *timer);

/* The last of the handles to go takes the connection with it. */
static void handle_gone(struct conn_uv *c) {
    if (--c->open_handles > 0)
        return;
    void (*done)(void *) = c->done;
    void *ctx = c->done_ctx;
    server_list_free(c->servers);
    buf_close(&c->out);
    mem_free(c);
    if (done)
        done(ctx);
}

static void on_sock_closed(uv_handle_t *handle) {
    struct sock *s = handle->data;
    struct conn_uv *c = s->counted;
    buf_close(&s->writing);
    mem_free(s);
    handle_gone(c);
}

static void drop_sock(struct conn_uv *c) {
    c->is_up = false;
    buf_reset(&c->out);
    if (!c->sock)
        return;
    c->sock->owner = NULL;
    uv_close((uv_handle_t *)&c->sock->tcp, on_sock_closed);
    c->sock = NULL;
}

static void tell_lost(struct conn_uv *c, int uv_err) {
    drop_sock(c);
    uv_timer_stop(&c->timer);
    c->server = -1;
    c->events.lost(c->ctx, uv_err == UV_EOF ? "closed by the server" : uv_strerror(uv_err));
}

/* From within a call: the timer tells it from the loop. */
static void fail_later(struct conn_uv *c, int uv_err) {
    c->fail_errno = uv_err;
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

static void address_failed(struct conn_uv *c, int uv_err) {
    drop_sock(c);
    if (c->tries_left > 0)
        try_address(c);
    else {
        server_list_forget(c->servers, c->server);
        fail_later(c, uv_err);
    }
}

static void on_timer(uv_timer_t *timer) {
    struct conn_uv *c = timer->data;
    if (c->fail_errno != 0) {
        int err = c->fail_errno;
        c->fail_errno = 0;
        tell_lost(c, err);
    } else if (c->server >= 0 && !c->is_up && c->tries_left > 0) {
        address_failed(c, UV_ETIMEDOUT);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf) {
    struct sock *s = handle->data;
    if (s->owner)
        *ret_buf = uv_buf_init((char *)s->owner->read_buf, READ_BYTES);
    else
        *ret_buf = uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct sock *s = stream->data;
    struct conn_uv *c = s->owner;
    if (!c || n == 0)
        return;
    if (n < 0) {
        tell_lost(c, (int)n);
        return;
    }
    c->events.bytes(c->ctx, (struct slice){.p = c->read_buf, .len = (int32_t)n});
}

static void on_connect(uv_connect_t *req, int status) {
    struct sock *s = req->data;
    struct conn_uv *c = s->owner;
    if (!c)
        return;
    if (status == 0)
        status = uv_tcp_nodelay(&s->tcp, 1);
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (status < 0) {
        address_failed(c, status);
        return;
    }
    uv_timer_stop(&c->timer);
    server_list_works(c->servers, c->server);
    c->is_up = true;
    c->events.connected(c->ctx);
}

static void try_address(struct conn_uv *c) {
    const struct sockaddr *addr = server_list_next_address(c->servers, c->server);
    c->tries_left--;
    struct sock *s = mem_zalloc(sizeof(*s));
    s->owner = s->counted = c;
    s->tcp.data = s;
    s->connect.data = s;
    s->write.data = s;
    CHECK(uv_tcp_init(c->loop, &s->tcp) == 0);
    c->open_handles++;
    c->sock = s;
    int err = uv_tcp_connect(&s->connect, &s->tcp, addr, on_connect);
    if (err < 0) {
        drop_sock(c);
        fail_later(c, err);
        return;
    }
    if (c->tries_left > 0)
        uv_timer_start(&c->timer, on_timer, ADDRESS_WAIT_MS, 0);
    else
        uv_timer_stop(&c->timer);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct lookup *l = (struct lookup *)req;
    struct conn_uv *c = l->conn;
    int32_t server = l->server;
    c->lookup = NULL;
    mem_free(l);
    if (status == 0 && c->servers)
        server_list_set_addresses(c->servers, server, found);
    uv_freeaddrinfo(found);
    bool wanted = c->is_looking_up && c->server >= 0;
    if (wanted && c->server != server && server_list_address_count(c->servers, c->server) == 0) {
        /* A lookup that was still under way for another server; now the one that is wanted. */
        c->is_looking_up = false;
        conn_uv_connect(c, c->server);
    } else if (wanted) {
        c->is_looking_up = false;
        c->tries_left = server_list_address_count(c->servers, c->server);
        if (c->tries_left > 0)
            try_address(c);
        else
            tell_lost(c, status < 0 ? status : UV_EAI_NONAME);
    }
    handle_gone(c);
}

static void look_up(struct conn_uv *c) {
    c->is_looking_up = true;
    if (c->lookup)
        return; /* One at a time; its end begins this one. */
    struct lookup *l = mem_zalloc(sizeof(*l));
    l->conn = c;
    l->server = c->server;
    struct addrinfo hints;
    const char *host, *port;
    server_list_lookup_args(c->servers, c->server, &host, &port, &hints);
    int err = uv_getaddrinfo(c->loop, &l->req, on_lookup, host, port, &hints);
    if (err < 0) {
        mem_free(l);
        c->is_looking_up = false;
        fail_later(c, err);
        return;
    }
    c->lookup = l;
    c->open_handles++;
}

void conn_uv_connect(struct conn_uv *c, int32_t server) {
    conn_uv_drop(c);
    c->server = server;
    c->tries_left = server_list_address_count(c->servers, server);
    if (c->tries_left > 0)
        try_address(c);
    else
        look_up(c);
}

void conn_uv_drop(struct conn_uv *c) {
    drop_sock(c);
    uv_timer_stop(&c->timer);
    c->fail_errno = 0;
    c->is_looking_up = false;
    c->server = -1;
}

void conn_uv_send(struct conn_uv *c, struct slice bytes) {
    if (c->is_up && bytes.len > 0)
        buf_put(&c->out, bytes.p, (size_t)bytes.len);
}

static void on_written(uv_write_t *req, int status) {
    struct sock *s = req->data;
    struct conn_uv *c = s->owner;
    buf_reset(&s->writing);
    if (!c)
        return;
    if (status < 0)
        tell_lost(c, status);
}

/* Most writes fit into the socket's buffer and need no callback; the rest waits in `writing`. */
void conn_uv_flush(struct conn_uv *c) {
    if (!c->is_up || c->out.len == 0 || c->sock->writing.len > 0)
        return;
    struct sock *s = c->sock;
    uv_buf_t piece = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
    int n = uv_try_write((uv_stream_t *)&s->tcp, &piece, 1);
    if (n < 0 && n != UV_EAGAIN) {
        drop_sock(c);
        fail_later(c, n);
        return;
    }
    if (n > 0)
        buf_consume(&c->out, (size_t)n);
    if (c->out.len == 0)
        return;
    struct buf spare = s->writing;
    s->writing = c->out;
    c->out = spare;
    piece = uv_buf_init((char *)s->writing.data, (unsigned)s->writing.len);
    int err = uv_write(&s->write, (uv_stream_t *)&s->tcp, &piece, 1, on_written);
    if (err < 0) {
        drop_sock(c);
        fail_later(c, err);
    }
}

struct conn_uv *conn_uv_new(struct uv_loop_s *loop, const char *servers,
                            const struct conn_uv_events *events, void *ctx, const char **ret_why) {
    struct server_list *list = server_list_new(servers, ret_why);
    if (!list)
        return NULL;
    struct conn_uv *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->events = *events;
    c->ctx = ctx;
    c->servers = list;
    c->server = -1;
    buf_init(&c->out, 0);
    CHECK(uv_timer_init(loop, &c->timer) == 0);
    c->timer.data = c;
    c->open_handles = 1;
    return c;
}

int32_t conn_uv_server_count(const struct conn_uv *c) { return server_list_count(c->servers); }

const char *conn_uv_server_name(const struct conn_uv *c, int32_t server) {
    return server_list_name(c->servers, server);
}

static void on_timer_closed(uv_handle_t *handle) { handle_gone(handle->data); }

void conn_uv_close(struct conn_uv *c, void (*done)(void *ctx), void *ctx) {
    conn_uv_drop(c);
    c->done = done;
    c->done_ctx = ctx;
    if (c->lookup)
        uv_cancel((uv_req_t *)&c->lookup->req);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
