/* Peers and their links, for peer_conn (life), peer_dial, peer_input and peer_output. */
#ifndef ZKFS_REPLICA_IO_PEER_STATE_H
#define ZKFS_REPLICA_IO_PEER_STATE_H

#include "common/buf.h"
#include "common/mem.h"
#include "replica/io/peer_conn.h"
#include "replica/io/peer_frame.h"

#include <utlist.h>

/* From the begin of a dial, or from an accept, to the peer's whole preamble. */
#define PEER_GREETING_MS 2000
/* The first wait after a dial that failed, and the longest: it doubles. */
#define PEER_BACKOFF_MIN_MS 20
#define PEER_BACKOFF_MAX_MS 500
/* A link that lasted so long was of use: it is dialled again at once. One that is dropped as soon
 * as it is up is not, or two servers that do not get on would keep a processor busy. */
#define PEER_STEADY_MS 300
/* Output that a peer has not taken: zab's window is far below it, so this one is ill. */
#define PEER_OUTPUT_MAX (64u << 20)
/* Output memory that a link keeps between two wake-ups. */
#define PEER_OUTPUT_KEEP (64u << 10)
/* One read: a good part of a snapshot's piece, or some thousand acknowledgements. */
#define PEER_READ_BYTES (256u << 10)
/* Accepted connections that have not said yet who they are. With more of them the oldest goes. */
#define PEER_STRANGERS_MAX 32u
/* The peer's end has taken nothing for so long: the kernel gives up (TCP_USER_TIMEOUT). Well above
 * silence_ms, for that is how a silent peer is noticed. */
#define PEER_DEAD_MIN_MS 10000

enum link_state {
    LINK_CONNECTING,
    LINK_GREETING,
    LINK_UP,
    LINK_GONE, /* uv_close is under way */
};

struct peer_link {
    uv_tcp_t tcp;
    uv_timer_t deadline; /* of everything before UP */
    int handles;         /* of the two, not closed yet */
    struct peers *peers;
    struct peer *peer; /* NULL: a stranger */
    enum link_state state;
    bool dialled;
    uint64_t number; /* counts up; a newer link wins */
    struct sockaddr_storage address;
    uint64_t generation;        /* our own */
    uint64_t seed_in, seed_out; /* of the frames' checksums */
    int64_t up_ms;
    struct buf in;      /* the begin of a frame */
    struct buf out;     /* collected since the last flush */
    struct buf writing; /* under way in `write` */
    uv_connect_t connect;
    uv_write_t write;
    bool write_active;
    bool overfull; /* its output went beyond the bound: must go */
    bool dirty;
    struct peer_link *prev, *next;
    struct peer_link *dirty_prev, *dirty_next;
};

struct peer {
    struct peers *peers;
    const struct loop_peer *config;
    bool dials;             /* this server does, not the peer */
    bool expected;          /* the peer dials */
    struct peer_link *up;   /* the one that the member knows */
    struct peer_link *dial; /* under way */
    struct resolve_lookup *lookup;
    uv_timer_t redial;
    int64_t backoff_ms;  /* 0: the next dial is at once */
    unsigned dials_done; /* picks the next of several addresses */
    bool failing;        /* that it cannot be reached was logged */
};

/* peer_conn.c */
struct peer_link *link_new(struct peers *ps);
/* Closes the link, and tells the member when it was up and `tell`. `why`: for the log. */
void link_close(struct peer_link *link, const char *why, bool tell);
/* Both preambles are there: the link is the peer's from now on. */
void link_up(struct peer_link *link);
struct peer *peers_find(struct peers *ps, uint8_t id);
/* One line, and not more than one a second, about a link that is refused. */
void peers_log_refused(struct peers *ps, const struct peer_link *link, const char *why);

/* peer_dial.c */
/* Dials as soon as the back-off allows, where this server dials and nothing is there. */
void peer_dial_soon(struct peer *p);
void peer_dial_failed(struct peer *p, const char *why); /* logs once; the caller dials again */

/* peer_input.c */
int link_greet(struct peer_link *link); /* sends our preamble; 0 or negative errno */
int link_read(struct peer_link *link);  /* reads from now on */

/* peer_output.c */
void link_set_dirty(struct peer_link *link, bool dirty);

#endif
