/* `.zk/ensemble`: the servers, asked one by one with the word `srvr` that every ZooKeeper server
 * answers. Who they are says /zookeeper/config; where that is empty, or does not say where clients
 * connect, or no server answers, it is those that the mount was given. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/member_list.h"
#include "fs/view_stream.h"

#define ANSWER_MS 1000
#define ANSWER_BYTES_MAX 4095

struct ensemble_stream {
    struct stream stream;
    uint64_t look;    /* the token; 0: not under way */
    uv_timer_t *wait; /* for its answer; NULL: none */
    struct member_list members;
    struct ask **asks; /* of each member; NULL once it is done */
    size_t waiting;
};

/* One server being asked, at one of its addresses behind the other. It goes when its handles are
 * closed and no name is looked up. */
struct ask {
    struct ensemble_stream *owner; /* NULL: nobody wants to know any more */
    size_t at;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_getaddrinfo_t dns;
    struct addrinfo *found;
    const struct addrinfo *next; /* of found; NULL: none is left */
    uv_connect_t connect;
    uv_write_t write;
    unsigned holds;
    size_t len;
    char answer[ANSWER_BYTES_MAX + 1];
};

static void ask_drop(struct ask *a) {
    if (--a->holds > 0)
        return;
    uv_freeaddrinfo(a->found);
    mem_free(a);
}

static void on_closed(uv_handle_t *handle) { ask_drop(handle->data); }

static void finish(struct ensemble_stream *es) {
    for (size_t i = 0; i < es->members.count; i++) {
        const struct member *m = &es->members.at[i];
        if (m->id >= 0)
            buf_printf(&es->stream.text, "server.%" PRId64, m->id);
        else
            buf_printf(&es->stream.text, "server");
        buf_printf(&es->stream.text, " %s %s %s\n", m->name, m->role, m->zxid);
    }
    es->stream.ended = true;
    stream_opened(&es->stream);
}

static void ask_close(struct ask *a) {
    a->owner = NULL;
    uv_cancel((uv_req_t *)&a->dns);
    if (!uv_is_closing((uv_handle_t *)&a->tcp))
        uv_close((uv_handle_t *)&a->tcp, on_closed);
    uv_close((uv_handle_t *)&a->timer, on_closed);
}

/* What has been answered so far is the answer. */
static void ask_done(struct ask *a) {
    struct ensemble_stream *es = a->owner;
    if (es == NULL)
        return;
    a->answer[a->len] = '\0';
    member_read_answer(&es->members.at[a->at], a->answer);
    es->asks[a->at] = NULL;
    ask_close(a);
    if (--es->waiting == 0)
        finish(es);
}

static void on_timer(uv_timer_t *timer) { ask_done(timer->data); }

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret) {
    struct ask *a = handle->data;
    (void)size;
    *ret = uv_buf_init(a->answer + a->len, (unsigned)(ANSWER_BYTES_MAX - a->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct ask *a = stream->data;
    (void)buf;
    if (n > 0)
        a->len += (size_t)n;
    if (n < 0 || a->len == ANSWER_BYTES_MAX)
        ask_done(a);
}

static void on_written(uv_write_t *req, int status) {
    if (status != 0)
        ask_done(req->data);
}

static void connect_next(struct ask *a);

/* Each address is tried with a socket of its own. */
static void on_tcp_closed(uv_handle_t *tcp) {
    struct ask *a = tcp->data;
    if (a->owner == NULL) {
        ask_drop(a);
        return;
    }
    uv_tcp_init(tcp->loop, &a->tcp);
    connect_next(a);
}

static void on_connected(uv_connect_t *req, int status) {
    struct ask *a = req->data;
    static char word[] = "srvr";
    uv_buf_t buf = uv_buf_init(word, 4);
    if (a->owner == NULL)
        return;
    if (status != 0) {
        uv_close((uv_handle_t *)&a->tcp, on_tcp_closed);
        return;
    }
    a->write.data = a;
    if (uv_write(&a->write, (uv_stream_t *)&a->tcp, &buf, 1, on_written) != 0 ||
        uv_read_start((uv_stream_t *)&a->tcp, on_alloc, on_read) != 0)
        ask_done(a);
}

static void connect_next(struct ask *a) {
    const struct addrinfo *to = a->next;
    if (to == NULL) {
        ask_done(a);
        return;
    }
    a->next = to->ai_next;
    a->connect.data = a;
    if (uv_tcp_connect(&a->connect, &a->tcp, to->ai_addr, on_connected) != 0)
        uv_close((uv_handle_t *)&a->tcp, on_tcp_closed);
}

static void on_address(uv_getaddrinfo_t *dns, int status, struct addrinfo *found) {
    struct ask *a = dns->data;
    a->found = status == 0 ? found : NULL;
    a->next = a->found;
    if (a->owner != NULL)
        connect_next(a);
    ask_drop(a);
}

static void ask_start(struct ensemble_stream *es, size_t at) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    uv_loop_t *loop = es->stream.fs->loop;
    const struct member *m = &es->members.at[at];
    struct ask *a = mem_zalloc(sizeof *a);
    a->owner = es;
    a->at = at;
    a->holds = 3;
    a->tcp.data = a->timer.data = a->dns.data = a;
    es->asks[at] = a;
    uv_tcp_init(loop, &a->tcp);
    uv_timer_init(loop, &a->timer);
    /* The timer tells of a failure too, for the stream must not end within its start. */
    uint64_t wait_ms = ANSWER_MS;
    if (uv_getaddrinfo(loop, &a->dns, on_address, m->host, m->port, &hints) != 0) {
        a->holds = 2;
        wait_ms = 0;
    }
    uv_timer_start(&a->timer, on_timer, wait_ms, 0);
}

/* The configuration is null when it could not be read. */
static void ask_all(struct ensemble_stream *es, struct slice config) {
    const struct zk *zk = es->stream.fs->zk;
    if (!member_list_read(&es->members, config))
        for (int32_t i = 0; i < zk_server_count(zk); i++)
            member_list_add(&es->members, -1, slice_from_str(zk_server_at(zk, i)));
    es->waiting = es->members.count;
    es->asks = mem_zalloc(sizeof *es->asks * (es->waiting + 1));
    for (size_t i = 0; i < es->members.count; i++)
        ask_start(es, i);
    if (es->waiting == 0)
        finish(es);
}

static void on_wait_closed(uv_handle_t *timer) { mem_free(timer); }

static void look_end(struct ensemble_stream *es) {
    if (es->look != 0)
        zk_cancel(es->stream.fs->zk, es->look);
    if (es->wait != NULL)
        uv_close((uv_handle_t *)es->wait, on_wait_closed);
    es->look = 0;
    es->wait = NULL;
}

static void on_config(void *ctx, const struct zk_result *res) {
    struct ensemble_stream *es = ctx;
    es->look = 0;
    look_end(es);
    ask_all(es, res->err == ZK_OK ? res->data : SLICE_NULL);
}

static void on_wait(uv_timer_t *timer) {
    struct ensemble_stream *es = timer->data;
    look_end(es);
    ask_all(es, SLICE_NULL);
}

static void ensemble_start(struct stream *s) {
    struct ensemble_stream *es = (struct ensemble_stream *)s;
    if (zk_state(s->fs->zk) != CLIENT_CONNECTED) {
        ask_all(es, SLICE_NULL);
        return;
    }
    es->look = zk_get(s->fs->zk, slice_from_str("/zookeeper/config"), on_config, es);
    es->wait = mem_zalloc(sizeof *es->wait);
    uv_timer_init(s->fs->loop, es->wait);
    es->wait->data = es;
    uv_timer_start(es->wait, on_wait, ANSWER_MS, 0);
}

static void ensemble_stop(struct stream *s) {
    struct ensemble_stream *es = (struct ensemble_stream *)s;
    look_end(es);
    for (size_t i = 0; es->asks != NULL && i < es->members.count; i++)
        if (es->asks[i] != NULL)
            ask_close(es->asks[i]);
    mem_free(es->asks);
    member_list_close(&es->members);
}

const struct stream_source view_ensemble_source = {
    .size = sizeof(struct ensemble_stream),
    .start = ensemble_start,
    .stop = ensemble_stop,
};
