#include "replica/io/client_conn.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "replica/io/conn_state.h"
#include "replica/io/loop_state.h"

#include <ctype.h>
#include <netinet/in.h>
#include <string.h>

static void conn_gone(uv_handle_t *handle) {
    struct client_conn *c = handle->data;
    buf_close(&c->in);
    buf_close(&c->out);
    buf_close(&c->writing);
    mem_free(c);
}

/* Closes the socket and forgets the connection; the member hears of it unless it closed it itself.
 */
void conn_drop(struct client_conn *c) {
    struct clients *cs = c->clients;
    if (c->state == CONN_GONE)
        return;
    bool tell = c->known;
    conn_forget(c);
    c->state = CONN_GONE;
    conn_wait(c, WAIT_NONE);
    conn_set_dirty(c, false);
    conn_set_ready(c, false);
    DL_DELETE2(cs->all, c, all_prev, all_next);
    cs->count--;
    uv_close((uv_handle_t *)&c->tcp, conn_gone);
    if (tell)
        member_client_closed(cs->loop->member, c->id);
}

static bool conn_blocked(const struct client_conn *c) {
    return c->paused || c->choked || c->state != CONN_OPEN || c->clients->loop->stopping;
}

/* A connection's first bytes may be one of the four-letter words. As a length they would be beyond
 * every limit, so nothing is taken from the clients (PROTOCOL 1.1). */
static bool is_word(const uint8_t *p) {
    return islower(p[0]) && islower(p[1]) && islower(p[2]) && islower(p[3]);
}

static void feed_word(struct client_conn *c, const uint8_t *p) {
    c->spoke = true;
    c->word = true;
    conn_wait(c, WAIT_FIRST);
    member_client_word(c->clients->loop->member, c->id, (struct slice){p, 4});
}

static void refuse_length(struct client_conn *c, int32_t length) {
    struct client_name name;
    log_warn("closed a client connection: the frame's length is out of range peer=%s length=%d "
             "limit=%d",
             conn_name(c, &name), length, c->clients->loop->config->max_frame_bytes);
    conn_drop(c);
}

/* Feeds whole frames to the member until there is no more, or the connection must not be read on
 * for now. Returns the bytes used. */
static size_t feed_frames(struct client_conn *c, const uint8_t *p, size_t n) {
    struct loop *l = c->clients->loop;
    size_t used = 0;
    while (!conn_blocked(c) && n - used >= 4) {
        const uint8_t *at = p + used;
        uint32_t raw = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        int32_t length = (int32_t)raw;
        if (c->word)
            return n; /* what follows a word is not looked at, as in ZooKeeper */
        if (!c->spoke && is_word(at)) {
            feed_word(c, at);
            return n;
        }
        if (length < 0 || length > l->config->max_frame_bytes) {
            refuse_length(c, length);
            return n;
        }
        if (n - used - 4 < raw)
            break;
        if (!c->spoke) {
            c->spoke = true;
            conn_wait(c, WAIT_NONE);
        }
        used += 4 + raw;
        member_client_frame(l->member, c->id, (struct slice){at + 4, length});
        conn_check_output(c);
    }
    return c->state == CONN_OPEN ? used : n;
}

/* Input that is all used gives its memory back: an idle connection holds none. Nobody else frees
 * it, for a connection can be closed while one of its frames is being handled. */
static void feed_buffered(struct client_conn *c) {
    size_t used = feed_frames(c, c->in.data, c->in.len);
    if (used == c->in.len)
        buf_close(&c->in);
    else
        buf_consume(&c->in, used);
}

static void feed_read(struct client_conn *c, const uint8_t *p, size_t n) {
    if (c->in.len > 0) {
        buf_put(&c->in, p, n);
        feed_buffered(c);
        return;
    }
    size_t used = feed_frames(c, p, n);
    if (used < n && c->state != CONN_GONE)
        buf_put(&c->in, p + used, n - used);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf) {
    struct client_conn *c = handle->data;
    *ret_buf = uv_buf_init((char *)c->clients->read_buffer, CONN_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct client_conn *c = stream->data;
    if (n == 0)
        return;
    if (n < 0) {
        struct client_name name;
        log_debug("client connection ended peer=%s reason=%s", conn_name(c, &name),
                  uv_strerror((int)n));
        conn_drop(c);
        return;
    }
    if (c->state != CONN_OPEN)
        return; /* flushing or lingering: read and dropped */
    feed_read(c, (const uint8_t *)buf->base, (size_t)n);
    conn_update_reading(c);
}

/* Reads while it may: the buffered frames are fed first, and then the socket is read on. When the
 * connection is on its way out what comes is dropped. */
void conn_update_reading(struct client_conn *c) {
    if (c->state == CONN_GONE)
        return;
    bool want = c->state != CONN_OPEN || (!conn_blocked(c) && !c->ready);
    if (want == c->reading)
        return;
    c->reading = want;
    if (want)
        CHECK(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* Something that blocked the connection has gone. */
void conn_unblock(struct client_conn *c) {
    if (conn_blocked(c))
        return;
    if (c->in.len > 0) {
        conn_set_ready(c, true);
        loop_hurry(c->clients->loop);
    }
    conn_update_reading(c);
}

bool clients_feed_ready(struct clients *cs) {
    struct client_conn *c;
    int count;
    DL_COUNT2(cs->ready, c, count, ready_next);
    bool any = count > 0;
    /* Those that become ready meanwhile wait for the next round; any of them may also go meanwhile.
     */
    while (count-- > 0 && (c = cs->ready) != NULL) {
        conn_set_ready(c, false);
        feed_buffered(c);
        conn_update_reading(c);
    }
    return any;
}

static struct client_conn *find(struct clients *cs, conn_id_t id) {
    struct client_conn *c;
    HASH_FIND(hh, cs->by_id, &id, sizeof id, c);
    return c;
}

void clients_send(struct clients *cs, conn_id_t id, struct slice bytes) {
    struct client_conn *c = find(cs, id);
    /* A connection that is to go for its bound takes nothing more. */
    if (!c || c->overfull || bytes.len <= 0)
        return;
    buf_put(&c->out, bytes.p, (size_t)bytes.len);
    c->queued_bytes += (uint64_t)bytes.len;
    if (conn_unsent(c) > CONN_OUTPUT_MAX)
        c->overfull = true;
    conn_set_dirty(c, true);
}

void clients_pause(struct clients *cs, conn_id_t id, bool pause) {
    struct client_conn *c = find(cs, id);
    if (!c || c->paused == pause)
        return;
    c->paused = pause;
    if (pause)
        conn_update_reading(c);
    else
        conn_unblock(c);
}

void clients_close_one(struct clients *cs, conn_id_t id, struct slice why) {
    struct client_conn *c = find(cs, id);
    if (!c)
        return;
    if (why.len > 0) {
        struct client_name name;
        log_info("closing a client connection: %.*s peer=%s", (int)why.len, (const char *)why.p,
                 conn_name(c, &name));
    }
    conn_forget(c);
    c->state = CONN_FLUSHING;
    conn_wait(c, c->write_active ? WAIT_STALL : WAIT_NONE);
    conn_update_reading(c);
    conn_set_dirty(c, true);
}

static int conn_start(struct client_conn *c, uv_stream_t *server) {
    int rc = uv_accept(server, (uv_stream_t *)&c->tcp);
    if (rc != 0)
        return rc;
    struct sockaddr_storage sa;
    int len = sizeof sa;
    rc = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len);
    if (rc != 0)
        return rc;
    conn_set_address(c, &sa);
    uv_tcp_nodelay(&c->tcp, 1);
    if (c->clients->loop->config->keepalive)
        uv_tcp_keepalive(&c->tcp, 1, 60);
    return 0;
}

int clients_accept(struct clients *cs, uv_stream_t *server, bool refuse) {
    struct client_conn *c = mem_zalloc(sizeof *c);
    c->clients = cs;
    c->wait = WAIT_NONE;
    int rc = uv_tcp_init(&cs->loop->uv, &c->tcp);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    c->tcp.data = c;
    c->id = ++cs->last_id;
    DL_APPEND2(cs->all, c, all_prev, all_next);
    cs->count++;
    rc = conn_start(c, server);
    if (rc != 0 || refuse) {
        conn_drop(c);
        /* A client that went away before it was accepted is no trouble of the listener's. */
        return rc == UV_ENOTCONN || rc == UV_EINVAL ? 0 : rc;
    }
    HASH_ADD(hh, cs->by_id, id, sizeof c->id, c);
    c->known = true;
    conn_wait(c, WAIT_FIRST);
    conn_update_reading(c);
    member_client_open(cs->loop->member, c->id, (struct slice){c->addr, c->addr_len}, c->port);
    return 0;
}

void clients_stop_reading(struct clients *cs) {
    struct client_conn *c;
    DL_FOREACH2(cs->all, c, all_next) { conn_update_reading(c); }
}

void clients_drop_all(struct clients *cs) {
    struct client_conn *c, *next;
    DL_FOREACH_SAFE2(cs->all, c, next, all_next) {
        conn_forget(c);
        conn_drop(c);
    }
}
