#include "tests/unit/io/peer_play.h"

#include "common/mem.h"
#include "replica/io/peer_frame.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct member {
    const struct env *env;
    uint8_t id;
    bool sync_wanted, sync_active;
    uint8_t sync_for;
};

struct seen seen[SERVERS][256];
atomic_int syncs, sync_us;

int member_start(const struct member_config *config, const struct env *env,
                 struct member **ret_member, struct buf *ret_why) {
    *ret_member = mem_zalloc(sizeof **ret_member);
    **ret_member = (struct member){.env = env, .id = config->replica.server_id};
    return 0;
}

void member_free(struct member *m) { mem_free(m); }
struct store *member_store(struct member *m) {
    return NULL;
}
void member_client_open(struct member *m, conn_id_t conn, struct slice addr, uint16_t port) {}
void member_client_closed(struct member *m, conn_id_t conn) {}
void member_client_frame(struct member *m, conn_id_t conn, struct slice frame) {}
void member_tick(struct member *m) {}

/* A client's word `sendN` is no word of ZooKeeper's: four letters, the last says to which server.
 */
void member_client_word(struct member *m, conn_id_t conn, struct slice word) {
    static const uint8_t hello[] = "hello";
    m->env->peer_send(m->env->ctx, (uint8_t)(word.p[3] - 'a'),
                      (struct slice){hello, sizeof hello - 1});
    m->env->client_close(m->env->ctx, conn, SLICE_NULL);
}

void member_peer_up(struct member *m, uint8_t peer) {
    struct seen *s = &seen[m->id][peer];
    s->order_broken += s->linked != 0;
    s->linked = 1;
    s->up++;
}

void member_peer_down(struct member *m, uint8_t peer) {
    struct seen *s = &seen[m->id][peer];
    s->order_broken += s->linked != 1;
    s->linked = 0;
    s->down++;
}

static void send_big(struct member *m, uint8_t peer) {
    uint8_t *p = mem_zalloc(8 << 20);
    for (int i = 0; i < 10; i++)
        m->env->peer_send(m->env->ctx, peer, (struct slice){p, 8 << 20});
    mem_free(p);
}

void member_peer_message(struct member *m, uint8_t peer, struct slice message) {
    struct seen *s = &seen[m->id][peer];
    s->order_broken += s->linked != 1;
    s->last_byte = message.p[message.len - 1];
    s->messages++;
    switch (message.p[0]) {
    case 'e': {
        uint8_t *copy = mem_dup(message.p, (size_t)message.len);
        copy[0] = 'E';
        m->env->peer_send(m->env->ctx, peer, (struct slice){copy, message.len});
        mem_free(copy);
        break;
    }
    case 'd':
        s->linked = 0; /* no down comes for it */
        m->env->peer_drop(m->env->ctx, peer, (struct slice){(const uint8_t *)"test", 4});
        break;
    case 's':
        m->env->peer_send(m->env->ctx, peer, (struct slice){(const uint8_t *)"p", 1});
        m->sync_wanted = true;
        m->sync_for = peer;
        break;
    case 'f':
        send_big(m, peer);
        break;
    }
}

void member_flush(struct member *m) {
    if (m->sync_active || !m->sync_wanted)
        return;
    m->sync_wanted = false;
    m->sync_active = true;
    m->env->log_sync(m->env->ctx);
}

void store_checkpoint_run(struct store *s) {}

void member_checkpoint_ran(struct member *m) {}

int store_sync_run(struct store *s) {
    syncs++;
    if (sync_us > 0)
        usleep((unsigned)sync_us);
    return 0;
}

void member_log_synced(struct member *m, int result) {
    m->sync_active = false;
    m->env->peer_send(m->env->ctx, m->sync_for, (struct slice){(const uint8_t *)"k", 1});
    member_flush(m);
}

/* --- the servers --- */

struct server servers[SERVERS];

static void *run_loop(void *arg) {
    struct server *s = arg;
    s->result = loop_run(&s->config);
    return NULL;
}

void configure(uint8_t self, uint8_t count, uint8_t observer) {
    struct server *s = &servers[self];
    *s = (struct server){.config = {.client_port = PORT + 20 + self,
                                    .client_address = "127.0.0.1",
                                    .listen_backlog = 50,
                                    .max_frame_bytes = 4096,
                                    .first_frame_ms = 10000,
                                    .data_dir = "/nowhere",
                                    .log_dir = "/nowhere",
                                    .server_id = self,
                                    .voter = self != observer,
                                    .peers = s->peers,
                                    .peer_address = "127.0.0.1",
                                    .peer_port = PORT + self,
                                    .election_port = PORT + 10 + self}};
    s->config.member.replica.server_id = self;
    for (uint8_t id = 1; id <= count; id++) {
        if (id == self)
            continue;
        s->peers[s->config.peer_count++] = (struct loop_peer){
            .id = id, .host = "localhost", .port = PORT + id, .voter = id != observer};
    }
}

void launch(uint8_t self) {
    servers[self].running = true;
    ck_assert_int_eq(pthread_create(&servers[self].thread, NULL, run_loop, &servers[self]), 0);
}

void end_all(void) {
    kill(getpid(), SIGTERM);
    for (int i = 0; i < SERVERS; i++) {
        if (servers[i].running)
            pthread_join(servers[i].thread, NULL);
        servers[i].running = false;
    }
}

void play_setup(void) {
    memset(seen, 0, sizeof seen);
    memset(servers, 0, sizeof servers);
    syncs = sync_us = 0;
    /* Between two tests there may be no loop to take it. */
    signal(SIGTERM, SIG_IGN);
    alarm(60);
}

void wait_for(atomic_int *what, int at_least) {
    for (int i = 0; i < 10000 && *what < at_least; i++)
        usleep(1000);
    ck_assert_int_ge(*what, at_least);
}

int dial(int port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 2000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int one = 1;
        if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            return fd;
        }
        close(fd);
        usleep(5000);
    }
    ck_abort_msg("cannot connect: %s", strerror(errno));
    return -1;
}

int listen_as(uint8_t id) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(PORT + id))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

/* What the kernel's accept gives within five seconds. */
int take(int listener) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 5000), 1);
    return accept(listener, NULL, NULL);
}

void put(int fd, const void *p, size_t n) {
    ck_assert_int_eq(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

size_t get(int fd, void *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = recv(fd, (char *)p + done, n - done, 0);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

void put_preamble(const struct played *p) {
    struct buf out = BUF_INIT;
    peer_preamble_encode(&out, &(struct peer_preamble){.version = PEER_LINK_VERSION,
                                                       .from = p->from,
                                                       .to = p->to,
                                                       .generation = p->generation});
    put(p->fd, out.data, out.len);
    buf_close(&out);
}

void get_preamble(struct played *p) {
    uint8_t bytes[PEER_PREAMBLE_BYTES];
    struct peer_preamble theirs;
    ck_assert_uint_eq(get(p->fd, bytes, sizeof bytes), sizeof bytes);
    ck_assert_ptr_null(peer_preamble_decode(bytes, &theirs));
    ck_assert_int_eq(theirs.from, p->to);
    ck_assert_int_eq(theirs.to, p->from);
    p->theirs = theirs.generation;
}

/* Server `from` greets server `to` on this connection. */
struct played greet(int fd, uint8_t from, uint8_t to) {
    struct played p = {.fd = fd, .from = from, .to = to, .generation = 0x1122334455667788u};
    put_preamble(&p);
    get_preamble(&p);
    return p;
}

void frame(const struct played *p, struct buf *out, const char *text) {
    peer_frame_encode(out, peer_frame_seed(p->generation, p->theirs),
                      (struct slice){(const uint8_t *)text, (int32_t)strlen(text)});
}

void say(const struct played *p, const char *text) {
    struct buf out = BUF_INIT;
    frame(p, &out, text);
    put(p->fd, out.data, out.len);
    buf_close(&out);
}

void expect(const struct played *p, const char *text) {
    uint8_t bytes[256];
    size_t n = PEER_FRAME_HEADER_BYTES + strlen(text);
    struct slice body;
    ck_assert_uint_eq(get(p->fd, bytes, n), n);
    ck_assert_int_eq(peer_frame_decode(bytes, n, peer_frame_seed(p->theirs, p->generation), &body),
                     PEER_FRAME_WHOLE);
    ck_assert_int_eq(body.len, (int32_t)strlen(text));
    ck_assert_mem_eq(body.p, text, strlen(text));
}

void expect_end(int fd) {
    uint8_t byte;
    ck_assert_uint_eq(get(fd, &byte, 1), 0);
    close(fd);
}

void word(uint8_t server, char to) {
    char text[4] = {'s', 'e', 'n', to};
    int fd = dial(PORT + 20 + server);
    put(fd, text, 4);
    expect_end(fd);
}
