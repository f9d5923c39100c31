/* ensemble_load: see load.h. Usage:
 *
 *   ensemble_load HISTORY ADDRESS:PORT,... CLIENTS KEYS RATE TIMEOUT_MS PREFIX SEED
 *
 * RATE is operations a second of all clients together, PREFIX the parent of the keys, which has to
 * be there. Commands on standard input, a line each: `mark` begins to measure the longest gap
 * between acknowledged writes, `count` answers with it and with what was done, `stop` lets what is
 * under way end, closes the sessions and ends the program with the same line. It ends with its
 * input too. */
#include "tests/fault/ensemble/load.h"
#include "tests/bench/sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Every fifth client only reads (but for its ephemeral): at a server that is cut off it goes on,
 * while others wait for the answer to a write. */
#define READERS 5
/* Every third client waits this much longer for an answer: it stays with a server that is silent,
 * and is there when that one wakes up. */
#define PATIENCE 5
#define TICK_MS 1
#define STOP_NS 20000000000LL

void load_die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("ensemble_load: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void read_servers(struct load *l, char *list) {
    for (char *at = strtok(list, ","); at != NULL; at = strtok(NULL, ",")) {
        char *colon = strchr(at, ':');
        if (colon == NULL || l->server_count == SERVERS_MAX)
            load_die("servers: ADDRESS:PORT,... (at most %d)", SERVERS_MAX);
        *colon = '\0';
        struct sockaddr_in *s = &l->servers[l->server_count++];
        s->sin_family = AF_INET;
        s->sin_port = htons((uint16_t)sample_number(colon + 1));
        if (inet_pton(AF_INET, at, &s->sin_addr) != 1)
            load_die("%s is no address", at);
    }
}

static void count(struct load *l) {
    int64_t now = sample_now_ns();
    int up = 0;
    for (int i = 0; i < l->client_count; i++)
        up += l->clients[i].state == CONN_UP;
    /* A gap that has not ended yet counts too. */
    int64_t gap = now - l->last_acknowledged_ns;
    printf("operations=%llu acknowledged=%llu lost=%llu sessions=%d expired=%d up=%d gap_ms=%.1f\n",
           l->operations, l->acknowledged, l->lost, l->sessions, l->expired, up,
           (double)(gap > l->gap_ns ? gap : l->gap_ns) / 1e6);
    fflush(stdout);
}

static void command(struct load *l, const char *line) {
    if (strcmp(line, "stop") == 0) {
        l->stopping = true;
    } else if (strcmp(line, "count") == 0) {
        count(l);
    } else if (strcmp(line, "mark") == 0) {
        l->gap_ns = 0;
        l->last_acknowledged_ns = sample_now_ns();
        puts("ok");
        fflush(stdout);
    } else {
        load_die("%s: unknown command", line);
    }
}

static void read_commands(struct load *l) {
    static char text[256];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (got <= 0)
        exit(1);
    len += (size_t)got;
    text[len] = '\0';
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        *end = '\0';
        command(l, text);
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len + 1);
    }
}

static bool all_closed(const struct load *l) {
    for (int i = 0; i < l->client_count; i++)
        if (!l->clients[i].closed)
            return false;
    return true;
}

static void run(struct load *l) {
    struct epoll_event evs[64] = {{.events = EPOLLIN, .data.ptr = NULL}};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &evs[0]) != 0)
        load_die("epoll_ctl: %s", strerror(errno));
    int64_t stop_by = 0;
    while (!l->stopping || !all_closed(l)) {
        int n = epoll_wait(l->epoll, evs, 64, TICK_MS);
        if (n < 0 && errno != EINTR)
            load_die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            if (evs[i].data.ptr == NULL)
                read_commands(l);
            else
                conn_event(l, evs[i].data.ptr, evs[i].events);
        }
        int64_t now = sample_now_ns();
        for (int i = 0; i < l->client_count; i++)
            conn_tick(l, &l->clients[i], now);
        if (l->stopping && stop_by == 0)
            stop_by = now + STOP_NS;
        if (stop_by != 0 && now > stop_by)
            load_die("the sessions could not be closed within %lld s", STOP_NS / 1000000000);
    }
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr,
                "usage: ensemble_load HISTORY ADDRESS:PORT,... CLIENTS KEYS RATE TIMEOUT_MS "
                "PREFIX SEED\n");
        return 2;
    }
    static struct load l;
    read_servers(&l, argv[2]);
    l.client_count = (int)sample_number(argv[3]);
    l.key_count = (int)sample_number(argv[4]);
    int64_t rate = sample_number(argv[5]);
    int32_t timeout_ms = (int32_t)sample_number(argv[6]);
    l.prefix = argv[7];
    if (l.client_count < 1 || l.client_count > CLIENTS_MAX || l.key_count < 1 ||
        l.key_count > KEYS_MAX || rate < 1)
        load_die("clients, keys or rate out of range");
    l.interval_ns = 1000000000LL * l.client_count / rate;
    prng_init(&l.prng, (uint64_t)sample_number(argv[8]));
    l.history = fopen(argv[1], "we");
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.clients = calloc((size_t)l.client_count, sizeof *l.clients);
    if (l.history == NULL || l.epoll < 0 || l.clients == NULL)
        load_die("%s: %s", argv[1], strerror(errno));
    for (int i = 0; i < l.client_count; i++) {
        struct client *c = &l.clients[i];
        c->slot = i;
        c->fd = -1;
        c->server = i % l.server_count;
        c->reads_only = i % READERS == 3;
        c->timeout_ms = i / l.server_count % 3 == 2 ? PATIENCE * timeout_ms : timeout_ms;
        ops_new_session(&l, c);
    }
    l.last_acknowledged_ns = sample_now_ns();
    run(&l);
    count(&l);
    for (int i = 0; i < l.client_count; i++) {
        if (l.clients[i].fd >= 0)
            close(l.clients[i].fd);
        buf_close(&l.clients[i].out);
    }
    free(l.clients);
    if (fclose(l.history) != 0)
        load_die("%s: %s", argv[1], strerror(errno));
    return 0;
}
