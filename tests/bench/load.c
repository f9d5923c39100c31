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
#include "common/proto.h"
#include "tests/bench/conn.h"
#include "tests/bench/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define DEPTH_MAX 256
#define PORTS_MAX 16

enum what { GET, SET, CREATE, MIXED, SYNCGET };
static const char *const what_names[] = {"get", "set", "create", "mixed", "syncget"};

struct client {
    struct conn conn;
    int number;
    int32_t answered;           /* xid of the reply read last */
    int32_t ready;              /* xid before those that are measured */
    uint32_t made;              /* operations */
    int64_t sent_ns[DEPTH_MAX]; /* by xid modulo DEPTH_MAX */
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
    struct client *all;
};

/* Notes when the request that was made last is sent. */
static void stamp(struct client *c) {
    c->sent_ns[(uint32_t)c->conn.xid % DEPTH_MAX] = sample_now_ns();
}

static void put_request(struct load *l, struct client *c) {
    char path[256];
    snprintf(path, sizeof path, "%s/k%d", l->parent, c->number);
    struct slice value = {.p = l->value, .len = (int32_t)l->value_bytes};
    uint32_t made = c->made++;
    if (l->what == SYNCGET) {
        size_t at = conn_begin(&c->conn, OP_SYNC);
        struct proto_path_request r = {.path = {(const uint8_t *)path, (int32_t)strlen(path)}};
        proto_encode(&c->conn.out, PROTO_path_request, &r);
        conn_end(&c->conn, at);
        stamp(c);
    }
    if (l->what == CREATE) {
        snprintf(path, sizeof path, "%s/c%d-%u", l->parent, c->number, made);
        conn_put_create(&c->conn, path, value);
    } else if (l->what == SET || (l->what == MIXED && made % 10 == 9)) {
        conn_put_set(&c->conn, path, value);
    } else {
        conn_put_get(&c->conn, path);
    }
    stamp(c);
    l->sent++;
}

static void connect_one(struct load *l, struct client *c, int number) {
    char path[256];
    *c = (struct client){.number = number};
    conn_open(&c->conn, l->ports[number % l->port_count]);
    if (number == 0) {
        conn_put_create(&c->conn, l->parent, (struct slice){.p = l->value, .len = 0});
        conn_flush(&c->conn);
        conn_wait(&c->conn);
    }
    if (l->what != CREATE) {
        snprintf(path, sizeof path, "%s/k%d", l->parent, number);
        conn_put_create(&c->conn, path,
                        (struct slice){.p = l->value, .len = (int32_t)l->value_bytes});
        conn_flush(&c->conn);
        conn_wait(&c->conn);
    }
    c->answered = c->ready = c->conn.xid;
}

/* Takes the replies that are there; returns how many operations they end. */
static int take_replies(struct load *l, struct client *c) {
    struct cursor body;
    size_t bytes, done = 0;
    int n = 0;
    int64_t now = sample_now_ns();
    for (; conn_frame(&c->conn, done, &body, &bytes); done += bytes) {
        struct proto_reply_header h;
        if (!proto_decode(&body, PROTO_reply_header, &h) || h.xid != c->answered + 1) {
            errno = EPROTO;
            conn_die("reply");
        }
        c->answered = h.xid;
        l->errors += h.err != 0;
        if (l->what == SYNCGET && (h.xid - c->ready) % 2 == 1)
            continue; /* the sync alone */
        sample_add(&l->sample, now - c->sent_ns[(uint32_t)h.xid % DEPTH_MAX]);
        n++;
    }
    conn_drop(&c->conn, done);
    return n;
}

static bool over(const struct load *l) {
    return sample_now_ns() >= l->end_ns || (l->limit > 0 && l->sent >= l->limit);
}

static void run(struct load *l) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0)
        conn_die("epoll_create1");
    int flying = 0;
    for (int i = 0; i < l->clients; i++) {
        struct client *c = &l->all[i];
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, c->conn.fd, &ev) != 0)
            conn_die("epoll_ctl");
        for (int k = 0; k < l->depth; k++, flying++)
            put_request(l, c);
        conn_flush(&c->conn);
    }
    while (flying > 0) {
        struct epoll_event evs[64];
        int n = epoll_wait(ep, evs, 64, 20000);
        if (n <= 0 && errno != EINTR)
            conn_die("no reply within 20 s");
        for (int i = 0; i < n; i++) {
            struct client *c = evs[i].data.ptr;
            conn_fill(&c->conn);
            int got = take_replies(l, c);
            flying -= got;
            for (; got > 0 && !over(l); got--, flying++)
                put_request(l, c);
            conn_flush(&c->conn);
        }
    }
    close(ep);
}

/* Ends every session, so that none of them expires while something else is measured. */
static void close_all(struct load *l) {
    for (int i = 0; i < l->clients; i++)
        conn_close(&l->all[i].conn);
    free(l->all);
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
    l.all = calloc((size_t)l.clients, sizeof *l.all);
    if (l.value == NULL || l.all == NULL)
        conn_die("memory");
    memset(l.value, 'v', l.value_bytes);
    for (int i = 0; i < l.clients; i++)
        connect_one(&l, &l.all[i], i);
    l.sent = 0;
    int64_t begun = sample_now_ns();
    l.end_ns = begun + sample_number(argv[5]) * 1000000;
    run(&l);
    int64_t took = sample_now_ns() - begun;
    close_all(&l);
    sample_print(&l.sample, took, l.errors);
    return 0;
}
