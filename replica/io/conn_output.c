#include "common/log.h"
#include "replica/io/conn_state.h"
#include "replica/io/loop_state.h"

#include <string.h>

uint64_t conn_unsent(const struct client_conn *c) {
    size_t in_write =
        c->write_active ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0;
    return c->out.len + in_write;
}

void conn_check_output(struct client_conn *c) {
    uint64_t unsent = conn_unsent(c);
    if (!c->choked && unsent > CONN_OUTPUT_HIGH) {
        c->choked = true;
        conn_update_reading(c);
    } else if (c->choked && unsent <= CONN_OUTPUT_HIGH / 2) {
        c->choked = false;
        conn_unblock(c);
    }
}

static void on_shutdown(uv_shutdown_t *req, int status) {
    struct client_conn *c = req->data;
    if (status != 0 && c->state != CONN_GONE)
        conn_drop(c);
}

/* All is written: our FIN, then theirs is waited for. */
static void linger(struct client_conn *c) {
    c->state = CONN_LINGERING;
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        conn_drop(c);
        return;
    }
    conn_wait(c, WAIT_LINGER);
    conn_update_reading(c);
}

static void write_failed(struct client_conn *c, int status) {
    struct client_name name;
    log_debug("client connection ended peer=%s reason=%s", conn_name(c, &name),
              uv_strerror(status));
    conn_drop(c);
}

static void on_written(uv_write_t *req, int status) {
    struct client_conn *c = req->data;
    c->write_active = false;
    buf_close(&c->writing);
    if (c->state == CONN_GONE)
        return;
    if (status != 0) {
        write_failed(c, status);
        return;
    }
    conn_wait(c, WAIT_NONE);
    conn_set_dirty(c, true);
}

/* What the kernel does not take at once waits in libuv, and the client's time to read it begins. */
static void write_rest(struct client_conn *c) {
    c->writing = c->out;
    buf_init(&c->out, 0);
    c->write.data = c;
    uv_buf_t piece = uv_buf_init((char *)c->writing.data, (unsigned)c->writing.len);
    c->write_active = true;
    int rc = uv_write(&c->write, (uv_stream_t *)&c->tcp, &piece, 1, on_written);
    if (rc != 0) {
        c->write_active = false;
        write_failed(c, rc);
        return;
    }
    c->stall_mark = c->queued_bytes - conn_unsent(c);
    conn_wait(c, WAIT_STALL);
}

static void write_now(struct client_conn *c) {
    uv_buf_t piece = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
    int rc = uv_try_write((uv_stream_t *)&c->tcp, &piece, 1);
    if (rc < 0 && rc != UV_EAGAIN) {
        write_failed(c, rc);
        return;
    }
    if (rc > 0 && (size_t)rc == c->out.len) {
        if (c->out.cap > CONN_OUTPUT_KEEP)
            buf_close(&c->out);
        else
            buf_reset(&c->out);
        return;
    }
    if (rc > 0)
        buf_consume(&c->out, (size_t)rc);
    write_rest(c);
}

static void flush_one(struct client_conn *c) {
    if (c->overfull) {
        struct client_name name;
        log_warn("closed a client connection: too much output that it does not read peer=%s "
                 "unread_bytes=%llu limit=%u",
                 conn_name(c, &name), (unsigned long long)conn_unsent(c), CONN_OUTPUT_MAX);
        conn_drop(c);
        return;
    }
    if (!c->write_active && c->out.len > 0)
        write_now(c);
    if (c->state == CONN_FLUSHING && !c->write_active)
        linger(c);
    else if (c->state == CONN_OPEN)
        conn_check_output(c);
}

void clients_flush(struct clients *cs) {
    struct client_conn *c;
    while ((c = cs->dirty) != NULL) {
        conn_set_dirty(c, false);
        flush_one(c);
    }
}
