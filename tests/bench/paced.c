/* bench_paced: a server with many znodes, under a load of a fixed rate.
 *
 *   bench_paced PORT create COUNT VALUE_BYTES
 *   bench_paced PORT set COUNT VALUE_BYTES RATE MILLISECONDS FILE
 *
 * `create` makes /bench, /bench/p0 and on, and COUNT znodes /bench/pP/kI below them, FAMILY to
 * each, with many requests under way, and prints how long it took. `set` sets the data of these in
 * no order, RATE times a second whether answers come or not (an open loop: a server that stands
 * still meets what piled up meanwhile), and writes for each a pair of numbers of 8 bytes into FILE:
 * when it was to be sent (CLOCK_MONOTONIC, ns), and how long after that the answer came. What is
 * sent too late counts from when it was to be sent. */
#include "common/proto.h"
#include "tests/bench/conn.h"
#include "tests/bench/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

#define CLIENTS 32
#define FAMILY 1000
#define CREATES_UNDER_WAY 64 /* of each client */
/* Unanswered requests of a client: more than a standstill of ten seconds brings. */
#define RING (1u << 16)
/* Spreads the numbers from 0 on over all of them: a prime, greater than any count. */
#define STRIDE 2147483647u
#define WAIT_MS 60000

struct client {
    struct conn conn;
    int32_t answered; /* xid of the reply read last */
    uint32_t *ops;    /* by xid modulo RING: which one */
};

struct result {
    int64_t intended_ns, took_ns;
};

struct paced {
    struct client clients[CLIENTS];
    int ep;
    uint64_t count, answers, errors;
    struct slice value;
    struct result *results; /* `set`: by operation */
};

static void path_of(uint64_t i, char *ret_path, size_t size) {
    snprintf(ret_path, size, "/bench/p%llu/k%llu", (unsigned long long)(i / FAMILY),
             (unsigned long long)i);
}

static void take_replies(struct paced *p, struct client *c) {
    struct cursor body;
    size_t bytes, done = 0;
    int64_t now = sample_now_ns();
    for (; conn_frame(&c->conn, done, &body, &bytes); done += bytes) {
        struct proto_reply_header h;
        if (!proto_decode(&body, PROTO_reply_header, &h) || h.xid != c->answered + 1) {
            errno = EPROTO;
            conn_die("reply");
        }
        c->answered = h.xid;
        p->answers++;
        p->errors += h.err != 0;
        if (p->results != NULL) {
            struct result *r = &p->results[c->ops[(uint32_t)h.xid % RING]];
            r->took_ns = now - r->intended_ns;
        }
    }
    conn_drop(&c->conn, done);
}

/* Takes what comes until then, but at least what is there. False when nothing came. */
static bool take_until(struct paced *p, int64_t until_ns) {
    struct epoll_event evs[CLIENTS];
    int64_t left_ns = until_ns - sample_now_ns();
    left_ns = left_ns > 0 ? left_ns : 0;
    struct timespec wait = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    int n = epoll_pwait2(p->ep, evs, CLIENTS, &wait, NULL);
    if (n < 0 && errno != EINTR)
        conn_die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
        struct client *c = evs[i].data.ptr;
        conn_fill(&c->conn);
        take_replies(p, c);
        conn_flush(&c->conn);
    }
    return n > 0;
}

static void take_all(struct paced *p, uint64_t sent) {
    while (p->answers < sent) {
        uint64_t before = p->answers;
        if (!take_until(p, sample_now_ns() + WAIT_MS * INT64_C(1000000)) && p->answers == before) {
            errno = ETIMEDOUT;
            conn_die("answers");
        }
    }
}

static void open_all(struct paced *p, int port) {
    p->ep = epoll_create1(EPOLL_CLOEXEC);
    if (p->ep < 0)
        conn_die("epoll_create1");
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &p->clients[i];
        conn_open(&c->conn, port);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(p->ep, EPOLL_CTL_ADD, c->conn.fd, &ev) != 0)
            conn_die("epoll_ctl");
        c->ops = malloc(RING * sizeof *c->ops);
        if (c->ops == NULL)
            conn_die("memory");
    }
}

static void create_parents(struct paced *p) {
    struct client *c = &p->clients[0];
    char path[64];
    conn_put_create(&c->conn, "/bench", (struct slice){p->value.p, 0});
    uint64_t sent = 1;
    for (uint64_t i = 0; i * FAMILY < p->count; i++, sent++) {
        snprintf(path, sizeof path, "/bench/p%llu", (unsigned long long)i);
        conn_put_create(&c->conn, path, (struct slice){p->value.p, 0});
        conn_flush(&c->conn);
        take_until(p, 0);
    }
    conn_flush(&c->conn);
    take_all(p, sent);
    p->answers = 0;
}

static void create_all(struct paced *p) {
    create_parents(p);
    int64_t begun = sample_now_ns();
    char path[64];
    uint64_t sent = 0;
    while (p->answers < p->count) {
        for (int i = 0; i < CLIENTS; i++) {
            struct client *c = &p->clients[i];
            while (sent < p->count && c->conn.xid - c->answered < CREATES_UNDER_WAY) {
                path_of(sent++, path, sizeof path);
                conn_put_create(&c->conn, path, p->value);
            }
            conn_flush(&c->conn);
        }
        uint64_t before = p->answers;
        if (!take_until(p, sample_now_ns() + WAIT_MS * INT64_C(1000000)) && p->answers == before) {
            errno = ETIMEDOUT;
            conn_die("answers");
        }
    }
    double seconds = (double)(sample_now_ns() - begun) / 1e9;
    printf("ops=%llu seconds=%.3f rate=%.0f errors=%llu\n", (unsigned long long)p->count, seconds,
           (double)p->count / seconds, (unsigned long long)p->errors);
}

static void send_set(struct paced *p, uint64_t op) {
    char path[64];
    struct client *c = &p->clients[op % CLIENTS];
    if ((uint32_t)(c->conn.xid - c->answered) >= RING - 1) {
        errno = EOVERFLOW;
        conn_die("the server answers nothing");
    }
    path_of(op * STRIDE % p->count, path, sizeof path);
    conn_put_set(&c->conn, path, p->value);
    c->ops[(uint32_t)c->conn.xid % RING] = (uint32_t)op;
    conn_flush(&c->conn);
}

static void set_paced(struct paced *p, uint64_t rate, uint64_t ms, const char *file) {
    uint64_t ops = rate * ms / 1000;
    p->results = calloc(ops, sizeof *p->results);
    if (p->results == NULL)
        conn_die("memory");
    int64_t begun = sample_now_ns();
    for (uint64_t op = 0; op < ops; op++)
        p->results[op].intended_ns = begun + (int64_t)(op * 1000000000 / rate);
    for (uint64_t op = 0; op < ops;) {
        while (op < ops && p->results[op].intended_ns <= sample_now_ns())
            send_set(p, op++);
        take_until(p, op < ops ? p->results[op].intended_ns : 0);
    }
    take_all(p, ops);
    FILE *out = fopen(file, "wb");
    if (out == NULL || fwrite(p->results, sizeof *p->results, ops, out) != ops || fclose(out) != 0)
        conn_die(file);
    double seconds = (double)(sample_now_ns() - begun) / 1e9;
    printf("ops=%llu seconds=%.3f rate=%.0f errors=%llu\n", (unsigned long long)ops, seconds,
           (double)ops / seconds, (unsigned long long)p->errors);
}

int main(int argc, char **argv) {
    bool creates = argc == 5 && strcmp(argv[2], "create") == 0;
    if (!creates && !(argc == 8 && strcmp(argv[2], "set") == 0)) {
        fprintf(stderr, "usage: bench_paced PORT create COUNT VALUE_BYTES\n"
                        "       bench_paced PORT set COUNT VALUE_BYTES RATE MILLISECONDS FILE\n");
        return 2;
    }
    static struct paced p;
    size_t value_bytes = (size_t)sample_number(argv[4]);
    uint8_t *value = malloc(value_bytes + 1);
    if (value == NULL)
        conn_die("memory");
    memset(value, 'v', value_bytes);
    p.value = (struct slice){value, (int32_t)value_bytes};
    p.count = (uint64_t)sample_number(argv[3]);
    if (p.count == 0 || p.count >= STRIDE) {
        fprintf(stderr, "bench_paced: the count is out of range\n");
        return 2;
    }
    /* Else each wait lasts 50 us longer than was asked for. */
    prctl(PR_SET_TIMERSLACK, 1);
    open_all(&p, (int)sample_number(argv[1]));
    if (creates)
        create_all(&p);
    else
        set_paced(&p, (uint64_t)sample_number(argv[5]), (uint64_t)sample_number(argv[6]), argv[7]);
    for (int i = 0; i < CLIENTS; i++)
        conn_close(&p.clients[i].conn);
    return 0;
}
