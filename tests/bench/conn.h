/* A session's connection to a ZooKeeper server, as the load generators drive it: requests are
 * collected in `out`, whole frames are taken from `in`. What goes wrong ends the process, saying
 * so: a measurement with holes is none. */
#ifndef ZKFS_TESTS_BENCH_CONN_H
#define ZKFS_TESTS_BENCH_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/cursor.h"

#define CONN_IN_BYTES 65536

struct conn {
    int fd;
    int32_t xid; /* of the request made last */
    struct buf out;
    uint8_t in[CONN_IN_BYTES];
    size_t in_len;
};

/* Says what failed, with errno's text, and ends the process. */
_Noreturn void conn_die(const char *what);

/* Connects to that port of this machine, and waits for a session. */
void conn_open(struct conn *c, int port);
/* Ends the session, waits for the answer, and closes. No other request may be unanswered. */
void conn_close(struct conn *c);

/* Begins a request in `out` and returns where its length stands; its record goes behind. */
size_t conn_begin(struct conn *c, int32_t op);
void conn_end(struct conn *c, size_t at);
/* Whole requests: the znode is open to everyone. */
void conn_put_create(struct conn *c, const char *path, struct slice value);
void conn_put_set(struct conn *c, const char *path, struct slice value);
void conn_put_get(struct conn *c, const char *path);

/* Sends what stands in `out`; what the socket does not take stays. */
void conn_flush(struct conn *c);
/* Reads what is there. */
void conn_fill(struct conn *c);
/* The whole frame that stands `at` bytes into `in`: its body, and its length with the head; false
 * when it is not there yet. */
bool conn_frame(struct conn *c, size_t at, struct cursor *ret_body, size_t *ret_bytes);
/* Takes that many bytes from the front of `in`. */
void conn_drop(struct conn *c, size_t bytes);
/* Waits for one reply and returns the error in its header. */
int32_t conn_wait(struct conn *c);

#endif
