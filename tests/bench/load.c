/* bench_load: drives a ZooKeeper server over its client protocol from one thread, with many
 * connections and a fixed number of unanswered requests on each, and prints rate and exact
 * percentiles.
 *
 *   bench_load PORT[,PORT...] OPERATION CLIENTS DEPTH MILLISECONDS VALUE_BYTES PARENT [COUNT]
 *
 * OPERATION is get, set, create, mixed (nine get to one set) or syncget (a sync and a get behind it
 * count as one). All but create use one znode per client, PARENT/k0 and on; create makes
 * PARENT/cCLIENT-0 and on. Clients are spread over the ports. With COUNT it ends after that many
 * operations (and MILLISECONDS is a limit only). */
#include "common/buf.h"
#include "common/cursor.h"
#include "common/proto.h"
#include "tests/bench/sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define DEPTH_MAX 256
#define IN_BYTES 65536
#define PORTS_MAX 16

enum what { GET, SET, CREATE, MIXED, SYNCGET };
static const char *const what_names[] = {"get", "set", "create", "mixed", "syncget"};

struct conn {
    int fd;
    int number;
    int32_t xid;                /* of the request sent last */
    int32_t answered;           /* xid of the reply read last */
    int32_t ready;              /* xid before those that are measured */
    uint32_t made;              /* operations */
    int64_t sent_ns[DEPTH_MAX]; /* by xid modulo DEPTH_MAX */
    struct buf out;
    uint8_t in[IN_BYTES];
    size_t in_len;
};

struct load {
    int ports[PORTS_MAX];
    int port_count, clients, depth;
    enum what what;
    int64_t end_ns;
    uint64_t limit, sent, errors; /* operations */
    const char *parent;
    uint8_t *value;
    size_t value_bytes;
    struct sample sample;
    struct conn *conns;
};

static void die(const char *what) {
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
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

/* Begins a frame and returns where its length stands. */
static size_t frame_begin(struct conn *c, int32_t op) {
    size_t at = c->out.len;
    buf_put_u32be(&c->out, 0);
    struct proto_request_header h = {.xid = ++c->xid, .type = op};
    proto_encode(&c->out, PROTO_request_header, &h);
    return at;
}

static void frame_end(struct conn *c, size_t at) {
    buf_patch_u32be(&c->out, at, (uint32_t)(c->out.len - at - 4));
    c->sent_ns[(uint32_t)c->xid % DEPTH_MAX] = sample_now_ns();
}

static void put_create(struct load *l, struct conn *c, const char *path, size_t value_bytes) {
    size_t at = frame_begin(c, OP_CREATE);
    struct proto_create_request r = {.path = text(path),
                                     .data = {.p = l->value, .len = (int32_t)value_bytes},
                                     .acl = open_acl()};
    proto_encode(&c->out, PROTO_create_request, &r);
    frame_end(c, at);
}

static void put_request(struct load *l, struct conn *c) {
    char path[256];
    snprintf(path, sizeof path, "%s/k%d", l->parent, c->number);
    uint32_t made = c->made++;
    if (l->what == SYNCGET) {
        size_t at = frame_begin(c, OP_SYNC);
        struct proto_path_request r = {.path = text(path)};
        proto_encode(&c->out, PROTO_path_request, &r);
        frame_end(c, at);
    }
    if (l->what == CREATE) {
        snprintf(path, sizeof path, "%s/c%d-%u", l->parent, c->number, made);
        put_create(l, c, path, l->value_bytes);
    } else if (l->what == SET || (l->what == MIXED && made % 10 == 9)) {
        size_t at = frame_begin(c, OP_SET_DATA);
        struct proto_set_data_request r = {.path = text(path),
                                           .data = {.p = l->value, .len = (int32_t)l->value_bytes},
                                           .version = -1};
        proto_encode(&c->out, PROTO_set_data_request, &r);
        frame_end(c, at);
    } else {
        size_t at = frame_begin(c, OP_GET_DATA);
        struct proto_path_watch_request r = {.path = text(path)};
        proto_encode(&c->out, PROTO_path_watch_request, &r);
        frame_end(c, at);
    }
    l->sent++;
}

/* Sends what stands in `out`; what the socket does not take stays. */
static void flush(struct conn *c) {
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            die("send");
        buf_consume(&c->out, (size_t)n);
    }
}

/* Reads what is there. */
static void fill(struct conn *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        die("recv");
    c->in_len += (size_t)n;
}

/* Takes one whole frame from the front, or returns false. */
static bool next_frame(struct conn *c, struct cursor *ret_body, size_t *ret_bytes) {
    if (c->in_len < 4)
        return false;
    struct cursor head;
    cursor_init(&head, c->in, 4);
    size_t n = cursor_u32be(&head);
    if (n > sizeof c->in - 4) {
        errno = EMSGSIZE;
        die("frame");
    }
    if (c->in_len < 4 + n)
        return false;
    cursor_init(ret_body, c->in + 4, n);
    *ret_bytes = 4 + n;
    return true;
}

static void drop(struct conn *c, size_t bytes) {
    memmove(c->in, c->in + bytes, c->in_len - bytes);
    c->in_len -= bytes;
}

/* Waits for one frame and returns the error of its reply header (connect responses have none: 0).
 */
static int32_t wait_reply(struct conn *c, bool header) {
    struct cursor body;
    size_t bytes;
    while (!next_frame(c, &body, &bytes)) {
        fill(c);
        usleep(100);
    }
    struct proto_reply_header h = {0};
    if (header && !proto_decode(&body, PROTO_reply_header, &h))
        h.err = -5;
    drop(c, bytes);
    return h.err;
}

static void connect_one(struct load *l, struct conn *c, int number) {
    *c = (struct conn){.number = number};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)l->ports[number % l->port_count])};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    static const uint8_t zeros[PASSWD_BYTES];
    buf_init(&c->out, 0);
    buf_put_u32be(&c->out, 0);
    struct proto_connect_request r = {
        .timeout_ms = 40000, .passwd = {.p = zeros, .len = PASSWD_BYTES}, .has_read_only = true};
    proto_encode(&c->out, PROTO_connect_request, &r);
    buf_patch_u32be(&c->out, 0, (uint32_t)(c->out.len - 4));
    flush(c);
    wait_reply(c, false);
    char path[256];
    if (number == 0) {
        put_create(l, c, l->parent, 0);
        flush(c);
        wait_reply(c, true);
    }
    if (l->what != CREATE) {
        snprintf(path, sizeof path, "%s/k%d", l->parent, number);
        put_create(l, c, path, l->value_bytes);
        flush(c);
        wait_reply(c, true);
    }
    c->answered = c->ready = c->xid;
}

/* Takes the replies that are there; returns how many operations they end. */
static int take_replies(struct load *l, struct conn *c) {
    struct cursor body;
    size_t bytes, done = 0;
    int n = 0;
    size_t whole = c->in_len;
    int64_t now = sample_now_ns();
    while (done < whole) {
        if (whole - done < 4)
            break;
        struct cursor head;
        cursor_init(&head, c->in + done, whole - done);
        bytes = cursor_u32be(&head);
        if (cursor_left(&head) < bytes)
            break;
        cursor_init(&body, c->in + done + 4, bytes);
        struct proto_reply_header h;
        if (!proto_decode(&body, PROTO_reply_header, &h) || h.xid != c->answered + 1) {
            errno = EPROTO;
            die("reply");
        }
        c->answered = h.xid;
        l->errors += h.err != 0;
        done += 4 + bytes;
        if (l->what == SYNCGET && (h.xid - c->ready) % 2 == 1)
            continue; /* the sync alone */
        sample_add(&l->sample, now - c->sent_ns[(uint32_t)h.xid % DEPTH_MAX]);
        n++;
    }
    drop(c, done);
    return n;
}

static bool over(const struct load *l) {
    return sample_now_ns() >= l->end_ns || (l->limit > 0 && l->sent >= l->limit);
}

static void run(struct load *l) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0)
        die("epoll_create1");
    int flying = 0;
    for (int i = 0; i < l->clients; i++) {
        struct conn *c = &l->conns[i];
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) != 0)
            die("epoll_ctl");
        for (int k = 0; k < l->depth; k++, flying++)
            put_request(l, c);
        flush(c);
    }
    while (flying > 0) {
        struct epoll_event evs[64];
        int n = epoll_wait(ep, evs, 64, 20000);
        if (n <= 0 && errno != EINTR)
            die("no reply within 20 s");
        for (int i = 0; i < n; i++) {
            struct conn *c = evs[i].data.ptr;
            fill(c);
            int got = take_replies(l, c);
            flying -= got;
            for (; got > 0 && !over(l); got--, flying++)
                put_request(l, c);
            flush(c);
        }
    }
    close(ep);
}

/* Ends every session, so that none of them expires while something else is measured. */
static void close_all(struct load *l) {
    for (int i = 0; i < l->clients; i++) {
        struct conn *c = &l->conns[i];
        frame_end(c, frame_begin(c, OP_CLOSE_SESSION));
        flush(c);
        wait_reply(c, true);
        close(c->fd);
        buf_close(&c->out);
    }
    free(l->conns);
    free(l->value);
}

/* Index of the operation of that name, or -1. */
static int what_of(const char *name) {
    for (int i = 0; i < (int)(sizeof what_names / sizeof what_names[0]); i++)
        if (strcmp(name, what_names[i]) == 0)
            return i;
    return -1;
}

static void read_ports(struct load *l, char *list) {
    for (char *at = strtok(list, ","); at != NULL && l->port_count < PORTS_MAX;
         at = strtok(NULL, ","))
        l->ports[l->port_count++] = (int)sample_number(at);
}

int main(int argc, char **argv) {
    if (argc < 8 || what_of(argv[2]) < 0) {
        fprintf(stderr,
                "usage: bench_load PORT[,PORT...] get|set|create|mixed|syncget CLIENTS DEPTH "
                "MILLISECONDS VALUE_BYTES PARENT [COUNT]\n");
        return 2;
    }
    struct load l = {.what = (enum what)what_of(argv[2]),
                     .clients = (int)sample_number(argv[3]),
                     .depth = (int)sample_number(argv[4]),
                     .value_bytes = (size_t)sample_number(argv[6]),
                     .parent = argv[7],
                     .limit = argc > 8 ? (uint64_t)sample_number(argv[8]) : 0};
    read_ports(&l, argv[1]);
    /* A sync and a get are two requests. */
    if (l.port_count < 1 || l.clients < 1 || l.clients > CLIENTS_MAX || l.depth < 1 ||
        l.depth > DEPTH_MAX / 2 || l.value_bytes > 4096) {
        fprintf(stderr, "bench_load: clients, depth or value out of range\n");
        return 2;
    }
    l.value = malloc(l.value_bytes + 1);
    l.conns = calloc((size_t)l.clients, sizeof *l.conns);
    if (l.value == NULL || l.conns == NULL)
        die("memory");
    memset(l.value, 'v', l.value_bytes);
    for (int i = 0; i < l.clients; i++)
        connect_one(&l, &l.conns[i], i);
    l.sent = 0;
    int64_t begun = sample_now_ns();
    l.end_ns = begun + sample_number(argv[5]) * 1000000;
    run(&l);
    int64_t took = sample_now_ns() - begun;
    close_all(&l);
    sample_print(&l.sample, took, l.errors);
    return 0;
}
