/* What the tests of links share: servers of ours that run in threads with a member that is played,
 * and a plain socket that plays another server where bytes matter.
 *
 * The played member: the first byte of a message says what to do. e: send it back to that peer with
 * an E. d: drop the link. s: want a sync, and send `k` back when it is done; `p` at once. f: send
 * back 80 MiB. Others are only counted. A client's word `sen` and a letter sends a message to that
 * server, counted from `a`. */
#ifndef ZKFS_TESTS_UNIT_IO_PEER_PLAY_H
#define ZKFS_TESTS_UNIT_IO_PEER_PLAY_H

#include "common/buf.h"
#include "replica/io/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* Server i listens for peers at PORT + i, for votes at PORT + 10 + i, for clients at PORT + 20 + i.
 */
#define PORT 25100
#define SERVERS 4

/* What the member of one server heard of another. */
struct seen {
    atomic_int up, down, messages, order_broken;
    atomic_int last_byte;
    atomic_int linked; /* up and not down */
};
extern struct seen seen[SERVERS][256];
extern atomic_int syncs, sync_us;

struct server {
    struct loop_config config;
    struct loop_peer peers[SERVERS];
    pthread_t thread;
    bool running;
    enum loop_exit result;
};
extern struct server servers[SERVERS];

void play_setup(void); /* before each test */
/* Server `self` of those with an id from 1 to `count`; `observer` is one, or 0. */
void configure(uint8_t self, uint8_t count, uint8_t observer);
void launch(uint8_t self);
void end_all(void); /* as an operator does it */
void wait_for(atomic_int *what, int at_least);

int dial(int port);
int listen_as(uint8_t id);
int take(int listener); /* accepts within five seconds */
void put(int fd, const void *p, size_t n);
size_t get(int fd, void *p, size_t n);
void expect_end(int fd); /* closes it, too */
void word(uint8_t server, char to);

/* A peer that is played with a socket. */
struct played {
    int fd;
    uint8_t from, to;
    uint64_t generation, theirs;
};
void put_preamble(const struct played *p);
void get_preamble(struct played *p);
struct played greet(int fd, uint8_t from, uint8_t to); /* both, as the one that dials */
void frame(const struct played *p, struct buf *out, const char *text);
void say(const struct played *p, const char *text);
void expect(const struct played *p, const char *text);

#endif
