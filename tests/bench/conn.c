#include "tests/bench/conn.h"

#include "common/proto.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void conn_die(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct slice text(const char *s) {
    return (struct slice){.p = (const uint8_t *)s, .len = (int32_t)strlen(s)};
}

/* world:anyone with all permissions, as it stands on the wire. */
static struct jvec open_acl(void) {
    static const uint8_t item[] = "\0\0\0\x1f\0\0\0\x05world\0\0\0\x06"
                                  "anyone";
    return (struct jvec){.count = 1, .items = {.p = item, .len = sizeof item - 1}};
}

size_t conn_begin(struct conn *c, int32_t op) {
    size_t at = c->out.len;
    buf_put_u32be(&c->out, 0);
    struct proto_request_header h = {.xid = ++c->xid, .type = op};
    proto_encode(&c->out, PROTO_request_header, &h);
    return at;
}

void conn_end(struct conn *c, size_t at) {
    buf_patch_u32be(&c->out, at, (uint32_t)(c->out.len - at - 4));
}

void conn_put_create(struct conn *c, const char *path, struct slice value) {
    size_t at = conn_begin(c, OP_CREATE);
    struct proto_create_request r = {.path = text(path), .data = value, .acl = open_acl()};
    proto_encode(&c->out, PROTO_create_request, &r);
    conn_end(c, at);
}

void conn_put_set(struct conn *c, const char *path, struct slice value) {
    size_t at = conn_begin(c, OP_SET_DATA);
    struct proto_set_data_request r = {.path = text(path), .data = value, .version = -1};
    proto_encode(&c->out, PROTO_set_data_request, &r);
    conn_end(c, at);
}

void conn_put_get(struct conn *c, const char *path) {
    size_t at = conn_begin(c, OP_GET_DATA);
    struct proto_path_watch_request r = {.path = text(path)};
    proto_encode(&c->out, PROTO_path_watch_request, &r);
    conn_end(c, at);
}

void conn_flush(struct conn *c) {
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            conn_die("send");
        buf_consume(&c->out, (size_t)n);
    }
}

void conn_fill(struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        conn_die("recv");
    c->in_len += (size_t)n;
}

bool conn_frame(struct conn *c, size_t at, struct cursor *ret_body, size_t *ret_bytes) {
    if (c->in_len - at < 4)
        return false;
    struct cursor head;
    cursor_init(&head, c->in + at, 4);
    size_t n = cursor_u32be(&head);
    if (n > sizeof c->in - 4) {
        errno = EMSGSIZE;
        conn_die("frame");
    }
    if (c->in_len - at < 4 + n)
        return false;
    cursor_init(ret_body, c->in + at + 4, n);
    *ret_bytes = 4 + n;
    return true;
}

void conn_drop(struct conn *c, size_t bytes) {
    memmove(c->in, c->in + bytes, c->in_len - bytes);
    c->in_len -= bytes;
}

/* Waits for one frame; connect responses have no header: 0. */
static int32_t wait_frame(struct conn *c, bool header) {
    struct cursor body;
    size_t bytes;
    while (!conn_frame(c, 0, &body, &bytes)) {
        conn_fill(c);
        usleep(100);
    }
    struct proto_reply_header h = {0};
    if (header && !proto_decode(&body, PROTO_reply_header, &h))
        h.err = -5;
    conn_drop(c, bytes);
    return h.err;
}

int32_t conn_wait(struct conn *c) { return wait_frame(c, true); }

void conn_open(struct conn *c, int port) {
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        conn_die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    static const uint8_t zeros[PASSWD_BYTES];
    buf_init(&c->out, 0);
    buf_put_u32be(&c->out, 0);
    struct proto_connect_request r = {
        .timeout_ms = 40000, .passwd = {.p = zeros, .len = PASSWD_BYTES}, .has_read_only = true};
    proto_encode(&c->out, PROTO_connect_request, &r);
    buf_patch_u32be(&c->out, 0, (uint32_t)(c->out.len - 4));
    conn_flush(c);
    wait_frame(c, false);
}

void conn_close(struct conn *c) {
    conn_end(c, conn_begin(c, OP_CLOSE_SESSION));
    conn_flush(c);
    conn_wait(c);
    close(c->fd);
    buf_close(&c->out);
}
