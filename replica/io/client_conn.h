/* Client connections: frames in, coalesced output out, and the bounds that keep one client from
 * costing the others.
 *
 *   OPEN ---- UPD_CLOSE ----> FLUSHING -- all written --> LINGERING -- their FIN, or time --> gone
 *    |                            |                            |
 *    +-- their FIN, an error, a bound ---------------------------> gone
 *
 * Lingering: our FIN is sent and what still comes is read and dropped, for closing a socket with
 * unread bytes sends a reset, that can overtake the answer before it (`echo ruok | nc` sends a line
 * feed more than the four letters). */
#ifndef ZKFS_REPLICA_IO_CLIENT_CONN_H
#define ZKFS_REPLICA_IO_CLIENT_CONN_H

#include "common/types.h"

#include <uv.h>

struct loop;
struct client_conn;

/* Why a connection stands in a waiting line: each line has one length of time, so it is in the
 * order of its deadlines. */
enum conn_wait {
    WAIT_FIRST,  /* for its first whole frame */
    WAIT_STALL,  /* for the client to take its output */
    WAIT_LINGER, /* for the client's end of the connection to close */
    WAIT_COUNT,
    WAIT_NONE = WAIT_COUNT,
};

struct clients {
    struct loop *loop;
    struct client_conn *by_id; /* uthash: those that the member knows of */
    struct client_conn *all;
    struct client_conn *dirty; /* have output to write, or must go */
    struct client_conn *ready; /* have whole frames buffered and may be fed again */
    struct client_conn *waiting[WAIT_COUNT];
    uv_timer_t timer;
    int64_t timer_at_ms; /* INT64_MAX: not set */
    bool deadline_due;
    size_t count;
    conn_id_t last_id;
    uint8_t *read_buffer; /* one for all: what is not a whole frame is copied out of it at once */
};

int clients_init(struct clients *cs, struct loop *l); /* 0 or negative errno */
/* Takes the connection that waits at `server` and tells the member; with `refuse` it is closed at
 * once. 0 or negative errno. */
int clients_accept(struct clients *cs, uv_stream_t *server, bool refuse);
/* env.client_send, client_close and client_pause. */
void clients_send(struct clients *cs, conn_id_t id, struct slice bytes);
void clients_close_one(struct clients *cs, conn_id_t id, struct slice why);
void clients_pause(struct clients *cs, conn_id_t id, bool pause);
/* Closes connections whose time is over. Called after the sockets were read. */
void clients_expire(struct clients *cs);
/* Feeds what was buffered while paused. True when there was something. */
bool clients_feed_ready(struct clients *cs);
/* Writes what was collected, each connection's output in one piece. */
void clients_flush(struct clients *cs);
/* The loop is stopping: no request is read any more, or a stream of them would keep the disk busy
 * for ever. */
void clients_stop_reading(struct clients *cs);
/* The end: drops every connection without telling the member. */
void clients_drop_all(struct clients *cs);
void clients_close(struct clients *cs); /* after the loop has closed all handles */

#endif
