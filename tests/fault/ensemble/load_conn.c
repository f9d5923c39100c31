/* A session's connection: connecting, the greeting, frames, time limits, moving to another server.
 */
#include "tests/bench/sample.h"
#include "tests/fault/ensemble/load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS 1000000LL

static void watch_fd(struct load *l, struct client *c, uint32_t events, int how) {
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->epoll, how, c->fd, &ev) != 0)
        load_die("epoll_ctl: %s", strerror(errno));
}

void conn_lose(struct load *l, struct client *c, int64_t now_ns) {
    if (c->state == CONN_UP)
        ops_note(l, c, now_ns, "lost");
    ops_lose(l, c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CONN_DOWN;
    c->in_len = 0;
    buf_reset(&c->out);
    c->retry_ns = now_ns + prng_range(&l->prng, 5, 40) * MS;
    if (l->server_count > 1)
        c->server = (c->server + 1 + (int)prng_below(&l->prng, (uint64_t)l->server_count - 1)) %
                    l->server_count;
}

static void begin(struct load *l, struct client *c, int64_t now_ns) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        load_die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    const struct sockaddr_in *to = &l->servers[c->server];
    if (connect(c->fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
        conn_lose(l, c, now_ns);
        return;
    }
    c->state = CONN_CONNECTING;
    c->deadline_ns = now_ns + c->timeout_ms * MS / 3;
    watch_fd(l, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void greet(struct load *l, struct client *c, int64_t now_ns) {
    watch_fd(l, c, EPOLLIN, EPOLL_CTL_MOD);
    struct proto_connect_request r = {.last_zxid_seen = c->seen,
                                      .timeout_ms = c->timeout_ms,
                                      .session_id = c->id,
                                      .passwd = {.p = c->passwd, .len = PASSWD_BYTES},
                                      .has_read_only = true};
    buf_put_u32be(&c->out, 0);
    proto_encode(&c->out, PROTO_connect_request, &r);
    buf_patch_u32be(&c->out, 0, (uint32_t)(c->out.len - 4));
    c->state = CONN_GREETING;
    c->deadline_ns = now_ns + c->timeout_ms * MS * 2 / 3;
    conn_flush(l, c);
}

/* The session is gone: the next connection begins a new one. */
static void expire(struct load *l, struct client *c, int64_t now_ns) {
    ops_note(l, c, now_ns, "ended");
    l->expired += !c->closing;
    c->closed = c->closing || l->stopping;
    conn_lose(l, c, now_ns);
    ops_new_session(l, c);
}

static void take_greeting(struct load *l, struct client *c, struct cursor *body, int64_t now_ns) {
    struct proto_connect_response r;
    if (!proto_decode(body, PROTO_connect_response, &r) || r.passwd.len != PASSWD_BYTES)
        load_die("a bad connect response");
    if (r.timeout_ms <= 0) {
        expire(l, c, now_ns);
        return;
    }
    if (c->id != 0 && r.session_id != c->id)
        load_die("session %llx came back as %llx", (unsigned long long)c->id,
                 (unsigned long long)r.session_id);
    c->id = r.session_id;
    memcpy(c->passwd, r.passwd.p, PASSWD_BYTES);
    c->state = CONN_UP;
    c->heard_ns = c->sent_ns = now_ns;
    ops_note(l, c, now_ns, "connected");
    ops_arm_again(l, c);
}

static void take_frame(struct load *l, struct client *c, struct cursor *body, int64_t now_ns) {
    c->heard_ns = now_ns;
    if (c->state == CONN_GREETING) {
        take_greeting(l, c, body, now_ns);
        return;
    }
    struct proto_reply_header h;
    if (!proto_decode(body, PROTO_reply_header, &h))
        load_die("a bad reply header");
    if (h.xid == XID_NOTIFICATION) {
        ops_event(l, c, h.zxid, body, now_ns);
    } else if (h.xid == XID_PING || h.xid == XID_SET_WATCHES) {
        if (h.err != 0)
            load_die("error %d of xid %d", h.err, h.xid);
    } else if (!ops_reply(l, c, &h, body, now_ns)) {
        load_die("session %d: an answer to xid %d, which is not due", c->session, h.xid);
    }
}

/* Takes the whole frames that are there. Taking one may lose the connection. */
static void take_frames(struct load *l, struct client *c, int64_t now_ns) {
    size_t done = 0;
    while (c->state >= CONN_GREETING && c->in_len - done >= 4) {
        struct cursor head, body;
        cursor_init(&head, c->in + done, 4);
        size_t n = cursor_u32be(&head);
        if (n > IN_BYTES - 4)
            load_die("a frame of %zu bytes", n);
        if (c->in_len - done < 4 + n)
            break;
        cursor_init(&body, c->in + done + 4, n);
        done += 4 + n;
        take_frame(l, c, &body, now_ns);
    }
    if (c->state == CONN_DOWN)
        return;
    memmove(c->in, c->in + done, c->in_len - done);
    c->in_len -= done;
}

void conn_flush(struct load *l, struct client *c) {
    while (c->state != CONN_DOWN && c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return; /* few bytes are under way: the next tick tries again */
        if (n < 0) {
            conn_lose(l, c, sample_now_ns());
            return;
        }
        buf_consume(&c->out, (size_t)n);
        c->sent_ns = sample_now_ns();
    }
}

void conn_event(struct load *l, struct client *c, uint32_t events) {
    int64_t now = sample_now_ns();
    if (c->state == CONN_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0 || (events & (EPOLLHUP | EPOLLERR)))
            conn_lose(l, c, now);
        else
            greet(l, c, now);
        return;
    }
    if (c->state == CONN_DOWN)
        return;
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        c->in_len += (size_t)n;
        take_frames(l, c, now);
        return;
    }
    if (c->closing) {
        /* Whether closeSession was done is told by its answer or by the session's absence later. */
        c->closed = true;
    }
    conn_lose(l, c, now);
}

int32_t conn_next_xid(struct client *c) { return ++c->xid; }

int32_t conn_request(struct client *c, int32_t xid, int32_t type, enum proto_record record,
                     const void *request) {
    size_t at = c->out.len;
    buf_put_u32be(&c->out, 0);
    struct proto_request_header h = {.xid = xid, .type = type};
    proto_encode(&c->out, PROTO_request_header, &h);
    proto_encode(&c->out, record, request);
    buf_patch_u32be(&c->out, at, (uint32_t)(c->out.len - at - 4));
    return xid;
}

static void tick_up(struct load *l, struct client *c, int64_t now_ns) {
    int64_t timeout_ns = c->timeout_ms * MS;
    if (now_ns - c->heard_ns > timeout_ns * 2 / 3) {
        conn_lose(l, c, now_ns);
        return;
    }
    if (l->stopping) {
        if (c->op_count == 0 && !c->closing) {
            c->closing = true;
            conn_request(c, conn_next_xid(c), OP_CLOSE_SESSION, PROTO_empty, NULL);
        }
    } else if (now_ns >= c->next_op_ns && c->op_count < DEPTH) {
        if (prng_chance(&l->prng, 1, 500)) {
            conn_lose(l, c, now_ns); /* a client that moves, without a fault */
            return;
        }
        ops_issue(l, c, now_ns);
        c->next_op_ns = now_ns + prng_range(&l->prng, 0, 2 * l->interval_ns);
    }
    if (now_ns - c->sent_ns > timeout_ns / 3 || now_ns - c->heard_ns > timeout_ns / 3) {
        if (c->out.len == 0 && now_ns - c->sent_ns > timeout_ns / 10)
            conn_request(c, XID_PING, OP_PING, PROTO_empty, NULL);
    }
    conn_flush(l, c);
}

void conn_tick(struct load *l, struct client *c, int64_t now_ns) {
    if (c->closed)
        return;
    if (c->state == CONN_DOWN) {
        if (now_ns >= c->retry_ns)
            begin(l, c, now_ns);
    } else if (c->state == CONN_UP) {
        tick_up(l, c, now_ns);
    } else if (now_ns > c->deadline_ns) {
        conn_lose(l, c, now_ns);
    }
}
