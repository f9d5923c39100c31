/* Links between servers: loops with a member that is played here in threads of this process, and a
 * plain socket that plays the other server where bytes matter. */
#include "common/mem.h"
#include "replica/io/loop.h"
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

/* Server i listens for peers at PORT + i, for votes at PORT + 10 + i, for clients at PORT + 20 + i.
 */
#define PORT 25100
#define SERVERS 4
#define BIG_BYTES (3u << 20)

/* --- the member that is played ---
 * The first byte of a message says what to do: e: send it back to that peer with an E. d: drop the
 * link. s: want a sync, and send `k` back when it is done; `p` at once. f: send back 80 MiB. Others
 * are only counted. */
struct member {
    const struct env *env;
    uint8_t id;
    bool sync_wanted, sync_active;
    uint8_t sync_for;
};

struct seen {
    atomic_int up, down, messages, order_broken;
    atomic_int last_byte, big_right;
    atomic_int linked; /* up and not down */
};
static struct seen seen[SERVERS][256];
static atomic_int syncs, sync_us;

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

struct server {
    struct loop_config config;
    struct loop_peer peers[SERVERS];
    pthread_t thread;
    bool running;
    enum loop_exit result;
};
static struct server servers[SERVERS];

static void *run_loop(void *arg) {
    struct server *s = arg;
    s->result = loop_run(&s->config);
    return NULL;
}

/* Server `self` of those with an id from 1 to `count`; `observer` is one, or 0. */
static void configure(uint8_t self, uint8_t count, uint8_t observer) {
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

static void launch(uint8_t self) {
    servers[self].running = true;
    ck_assert_int_eq(pthread_create(&servers[self].thread, NULL, run_loop, &servers[self]), 0);
}

static void end_all(void) {
    kill(getpid(), SIGTERM);
    for (int i = 0; i < SERVERS; i++) {
        if (servers[i].running)
            pthread_join(servers[i].thread, NULL);
        servers[i].running = false;
    }
}

static void setup(void) {
    memset(seen, 0, sizeof seen);
    memset(servers, 0, sizeof servers);
    syncs = sync_us = 0;
    /* Between two tests there may be no loop to take it. */
    signal(SIGTERM, SIG_IGN);
    alarm(60);
}

static void wait_for(atomic_int *what, int at_least) {
    for (int i = 0; i < 10000 && *what < at_least; i++)
        usleep(1000);
    ck_assert_int_ge(*what, at_least);
}

static int dial(int port) {
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

static int listen_as(uint8_t id) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(PORT + id))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

/* What the kernel's accept gives within five seconds. */
static int take(int listener) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 5000), 1);
    return accept(listener, NULL, NULL);
}

/* A peer that is played with a socket. */
struct played {
    int fd;
    uint8_t from, to;
    uint64_t generation, theirs;
};

static void put(int fd, const void *p, size_t n) {
    ck_assert_int_eq(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static size_t get(int fd, void *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = recv(fd, (char *)p + done, n - done, 0);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

static void put_preamble(const struct played *p) {
    struct buf out = BUF_INIT;
    peer_preamble_encode(&out, &(struct peer_preamble){.version = PEER_LINK_VERSION,
                                                       .from = p->from,
                                                       .to = p->to,
                                                       .generation = p->generation});
    put(p->fd, out.data, out.len);
    buf_close(&out);
}

static void get_preamble(struct played *p) {
    uint8_t bytes[PEER_PREAMBLE_BYTES];
    struct peer_preamble theirs;
    ck_assert_uint_eq(get(p->fd, bytes, sizeof bytes), sizeof bytes);
    ck_assert_ptr_null(peer_preamble_decode(bytes, &theirs));
    ck_assert_int_eq(theirs.from, p->to);
    ck_assert_int_eq(theirs.to, p->from);
    p->theirs = theirs.generation;
}

/* Server `from` greets server `to` on this connection. */
static struct played greet(int fd, uint8_t from, uint8_t to) {
    struct played p = {.fd = fd, .from = from, .to = to, .generation = 0x1122334455667788u};
    put_preamble(&p);
    get_preamble(&p);
    return p;
}

static void frame(const struct played *p, struct buf *out, const char *text) {
    peer_frame_encode(out, peer_frame_seed(p->generation, p->theirs),
                      (struct slice){(const uint8_t *)text, (int32_t)strlen(text)});
}

static void say(const struct played *p, const char *text) {
    struct buf out = BUF_INIT;
    frame(p, &out, text);
    put(p->fd, out.data, out.len);
    buf_close(&out);
}

static void expect(const struct played *p, const char *text) {
    uint8_t bytes[256];
    size_t n = PEER_FRAME_HEADER_BYTES + strlen(text);
    struct slice body;
    ck_assert_uint_eq(get(p->fd, bytes, n), n);
    ck_assert_int_eq(peer_frame_decode(bytes, n, peer_frame_seed(p->theirs, p->generation), &body),
                     PEER_FRAME_WHOLE);
    ck_assert_int_eq(body.len, (int32_t)strlen(text));
    ck_assert_mem_eq(body.p, text, strlen(text));
}

static void expect_end(int fd) {
    uint8_t byte;
    ck_assert_uint_eq(get(fd, &byte, 1), 0);
    close(fd);
}

static void word(uint8_t server, char to) {
    char text[4] = {'s', 'e', 'n', to};
    int fd = dial(PORT + 20 + server);
    put(fd, text, 4);
    expect_end(fd);
}

/* --- two and more of ours --- */

START_TEST(two_servers_have_one_link_whoever_is_first) {
    for (uint8_t first = 1; first <= 2; first++) {
        configure(1, 2, 0);
        configure(2, 2, 0);
        launch(first);
        usleep(30000);
        launch(3 - first);
        wait_for(&seen[1][2].up, first);
        wait_for(&seen[2][1].up, first);
        word(1, 'c');
        wait_for(&seen[2][1].messages, first);
        word(2, 'b');
        wait_for(&seen[1][2].messages, first);
        end_all();
        ck_assert_int_eq(servers[1].result, LOOP_ORDERLY);
        ck_assert_int_eq(servers[2].result, LOOP_ORDERLY);
        memset(&seen[1][2].linked, 0, sizeof(atomic_int));
        memset(&seen[2][1].linked, 0, sizeof(atomic_int));
    }
    ck_assert_int_eq(seen[1][2].up, 2);
    ck_assert_int_eq(seen[2][1].up, 2);
}
END_TEST

START_TEST(an_observer_dials_a_voter_with_a_greater_id) {
    for (uint8_t id = 1; id <= 3; id++)
        configure(id, 3, 1);
    for (uint8_t id = 1; id <= 3; id++)
        launch(id);
    for (uint8_t id = 1; id <= 3; id++) {
        for (uint8_t other = 1; other <= 3; other++) {
            if (id != other)
                wait_for(&seen[id][other].up, 1);
        }
    }
    end_all();
}
END_TEST

/* --- one of ours, and a played one --- */

START_TEST(messages_go_both_ways_in_order_and_in_pieces) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    struct buf out = BUF_INIT;
    frame(&p, &out, "e1");
    frame(&p, &out, "e2");
    frame(&p, &out, "e3");
    for (size_t i = 0; i < out.len; i++) {
        put(p.fd, out.data + i, 1);
        if (i % 7 == 0)
            usleep(1000);
    }
    put(p.fd, out.data, out.len);
    const char *answers[] = {"E1", "E2", "E3", "E1", "E2", "E3"};
    for (size_t i = 0; i < 6; i++)
        expect(&p, answers[i]);
    buf_close(&out);
    close(p.fd);
    wait_for(&seen[1][2].down, 1);
    end_all();
}
END_TEST

START_TEST(either_port_serves) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 11), 2, 1);
    say(&p, "e1");
    expect(&p, "E1");
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_great_message_arrives_whole) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    char *text = malloc(BIG_BYTES + 1);
    memset(text, 'x', BIG_BYTES);
    text[BIG_BYTES - 1] = 'y';
    text[BIG_BYTES] = 0;
    say(&p, text);
    wait_for(&seen[1][2].messages, 1);
    ck_assert_int_eq(seen[1][2].last_byte, 'y');
    free(text);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(the_newer_of_two_links_wins_and_the_older_is_reported_down_first) {
    configure(1, 2, 0);
    launch(1);
    struct played old = greet(dial(PORT + 1), 2, 1);
    struct played new = greet(dial(PORT + 1), 2, 1);
    expect_end(old.fd);
    say(&new, "e1");
    expect(&new, "E1");
    ck_assert_int_eq(seen[1][2].up, 2);
    ck_assert_int_eq(seen[1][2].down, 1);
    ck_assert_int_eq(seen[1][2].order_broken, 0);
    close(new.fd);
    end_all();
}
END_TEST

START_TEST(an_older_connection_that_greets_late_does_not_win) {
    configure(1, 2, 0);
    launch(1);
    int fd = dial(PORT + 1);
    struct played new = greet(dial(PORT + 1), 2, 1);
    struct played old = {.fd = fd, .from = 2, .to = 1, .generation = 1};
    put_preamble(&old);
    expect_end(fd);
    say(&new, "e1");
    expect(&new, "E1");
    ck_assert_int_eq(seen[1][2].up, 1);
    close(new.fd);
    end_all();
}
END_TEST

START_TEST(who_is_no_peer_that_dials_is_not_let_in) {
    static const struct { uint8_t from, to; } wrong[] = {{9, 2}, {0, 2}, {2, 2}, {3, 1}, {1, 2}};
    configure(2, 3, 0); /* 3 dials it; 1 is dialled by it */
    launch(2);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct played p = {.fd = dial(PORT + 2), .from = wrong[i].from, .to = wrong[i].to};
        put_preamble(&p);
        expect_end(p.fd);
    }
    ck_assert_int_eq(seen[2][3].up, 0);
    end_all();
}
END_TEST

START_TEST(a_preamble_that_differs_in_any_byte_is_refused) {
    configure(1, 2, 0);
    launch(1);
    struct buf out = BUF_INIT;
    peer_preamble_encode(&out,
                         &(struct peer_preamble){.version = PEER_LINK_VERSION, .from = 2, .to = 1});
    for (size_t i = 0; i < out.len; i++) {
        int fd = dial(PORT + 1);
        out.data[i] ^= 1;
        put(fd, out.data, out.len);
        expect_end(fd);
        out.data[i] ^= 1;
    }
    ck_assert_int_eq(seen[1][2].up, 0);
    buf_close(&out);
    end_all();
}
END_TEST

START_TEST(a_damaged_or_foreign_frame_ends_the_link) {
    configure(1, 2, 0);
    launch(1);
    for (int kind = 0; kind < 4; kind++) {
        struct played p = greet(dial(PORT + 1), 2, 1);
        struct buf out = BUF_INIT;
        if (kind == 3)
            p.generation++; /* a frame of another link */
        frame(&p, &out, "e1");
        if (kind == 0)
            out.data[out.len - 1] ^= 1;
        if (kind == 1)
            buf_patch_u32be(&out, 0, 0);
        if (kind == 2)
            buf_patch_u32be(&out, 0, PEER_MESSAGE_MAX + 1);
        put(p.fd, out.data, out.len);
        expect_end(p.fd);
        wait_for(&seen[1][2].down, kind + 1);
        buf_close(&out);
    }
    ck_assert_int_eq(seen[1][2].messages, 0);
    end_all();
}
END_TEST

START_TEST(who_does_not_say_who_it_is_is_closed_after_two_seconds) {
    configure(1, 2, 0);
    launch(1);
    int fd = dial(PORT + 1);
    put(fd, "ZK", 2);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 1500), 0);
    ck_assert_int_eq(poll(&p, 1, 1500), 1);
    expect_end(fd);
    end_all();
}
END_TEST

START_TEST(a_crowd_of_strangers_keeps_no_peer_out) {
    int fds[60];
    configure(1, 2, 0);
    launch(1);
    for (size_t i = 0; i < 60; i++)
        fds[i] = dial(PORT + 1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "e1");
    expect(&p, "E1");
    /* The oldest had to go. */
    expect_end(fds[0]);
    for (size_t i = 1; i < 60; i++)
        close(fds[i]);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_link_that_the_core_drops_is_not_reported_and_is_dialled_again) {
    int listener = listen_as(1);
    configure(2, 2, 0);
    launch(2);
    for (int i = 0; i < 3; i++) {
        struct played p = {.fd = take(listener), .from = 1, .to = 2, .generation = 5};
        get_preamble(&p);
        put_preamble(&p);
        say(&p, "d");
        expect_end(p.fd);
    }
    ck_assert_int_eq(seen[2][1].down, 0);
    ck_assert_int_eq(seen[2][1].up, 3);
    ck_assert_int_eq(seen[2][1].order_broken, 0);
    close(listener);
    end_all();
}
END_TEST

START_TEST(another_server_at_the_address_is_not_taken_for_the_peer) {
    int listener = listen_as(1);
    configure(2, 3, 0);
    launch(2);
    struct played p = {.fd = take(listener), .from = 1, .to = 2};
    get_preamble(&p);
    p.from = 3;
    put_preamble(&p);
    expect_end(p.fd);
    ck_assert_int_eq(seen[2][1].up + seen[2][3].up, 0);
    close(listener);
    end_all();
}
END_TEST

START_TEST(a_link_that_was_of_use_is_dialled_again_at_once) {
    int listener = listen_as(1);
    configure(2, 2, 0);
    launch(2);
    struct played p = {.fd = take(listener), .from = 1, .to = 2};
    get_preamble(&p);
    put_preamble(&p);
    wait_for(&seen[2][1].up, 1);
    usleep(400000);
    close(p.fd);
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 15), 1);
    close(accept(listener, NULL, NULL));
    close(listener);
    end_all();
}
END_TEST

START_TEST(a_peer_that_takes_nothing_is_dropped_at_the_bound) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "f");
    wait_for(&seen[1][2].down, 1);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(what_the_core_lets_out_before_a_sync_is_sent_before_it) {
    sync_us = 400000;
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "s");
    wait_for(&syncs, 1);
    struct pollfd wait = {.fd = p.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 200), 1);
    expect(&p, "p");
    ck_assert_int_eq(poll(&wait, 1, 0), 0);
    expect(&p, "k");
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(an_orderly_stop_finishes_the_sync_and_closes_the_links) {
    sync_us = 200000;
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    say(&p, "s");
    wait_for(&syncs, 1);
    end_all();
    ck_assert_int_eq(servers[1].result, LOOP_ORDERLY);
    expect(&p, "p");
    expect(&p, "k");
    expect_end(p.fd);
}
END_TEST

static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

START_TEST(links_that_come_and_go_leave_no_descriptor) {
    configure(1, 2, 0);
    launch(1);
    struct played p = greet(dial(PORT + 1), 2, 1);
    int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        close(dial(PORT + 1));
        struct played next = greet(dial(PORT + 1), 2, 1);
        close(p.fd);
        p = next;
    }
    say(&p, "e1");
    expect(&p, "E1");
    for (int i = 0; i < 1000 && open_descriptors() > before; i++)
        usleep(1000);
    ck_assert_int_le(open_descriptors(), before);
    ck_assert_int_eq(seen[1][2].order_broken, 0);
    close(p.fd);
    end_all();
}
END_TEST

START_TEST(a_name_that_is_not_found_is_tried_on_and_holds_up_no_end) {
    configure(2, 2, 0);
    servers[2].peers[0].host = "no.such.host.invalid";
    launch(2);
    usleep(100000);
    end_all();
    ck_assert_int_eq(servers[2].result, LOOP_ORDERLY);
}
END_TEST

START_TEST(a_peer_port_in_use_is_a_failure) {
    int listener = listen_as(1);
    configure(1, 2, 0);
    launch(1);
    pthread_join(servers[1].thread, NULL);
    servers[1].running = false;
    ck_assert_int_eq(servers[1].result, LOOP_FAILED);
    close(listener);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("peers");
    TCase *t = tcase_create("peers");
    tcase_set_timeout(t, 70);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, two_servers_have_one_link_whoever_is_first);
    tcase_add_test(t, an_observer_dials_a_voter_with_a_greater_id);
    tcase_add_test(t, messages_go_both_ways_in_order_and_in_pieces);
    tcase_add_test(t, either_port_serves);
    tcase_add_test(t, a_great_message_arrives_whole);
    tcase_add_test(t, the_newer_of_two_links_wins_and_the_older_is_reported_down_first);
    tcase_add_test(t, an_older_connection_that_greets_late_does_not_win);
    tcase_add_test(t, who_is_no_peer_that_dials_is_not_let_in);
    tcase_add_test(t, a_preamble_that_differs_in_any_byte_is_refused);
    tcase_add_test(t, a_damaged_or_foreign_frame_ends_the_link);
    tcase_add_test(t, who_does_not_say_who_it_is_is_closed_after_two_seconds);
    tcase_add_test(t, a_crowd_of_strangers_keeps_no_peer_out);
    tcase_add_test(t, a_link_that_the_core_drops_is_not_reported_and_is_dialled_again);
    tcase_add_test(t, another_server_at_the_address_is_not_taken_for_the_peer);
    tcase_add_test(t, a_link_that_was_of_use_is_dialled_again_at_once);
    tcase_add_test(t, a_peer_that_takes_nothing_is_dropped_at_the_bound);
    tcase_add_test(t, what_the_core_lets_out_before_a_sync_is_sent_before_it);
    tcase_add_test(t, an_orderly_stop_finishes_the_sync_and_closes_the_links);
    tcase_add_test(t, links_that_come_and_go_leave_no_descriptor);
    tcase_add_test(t, a_name_that_is_not_found_is_tried_on_and_holds_up_no_end);
    tcase_add_test(t, a_peer_port_in_use_is_a_failure);
    suite_add_tcase(s, t);
    return s;
}
