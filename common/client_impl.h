/* What client.c, client_io.c and client_watch.c share; nobody else includes it. */
#ifndef ZKFS_COMMON_CLIENT_IMPL_H
#define ZKFS_COMMON_CLIENT_IMPL_H

#include "common/check.h"
#include "common/client.h"
#include "common/hash.h"
#include "common/mem.h"

/* Unanswered requests at most: far more than callers of one mount, yet a bound on memory. */
#define CLIENT_REQUESTS_MAX 65536
/* A read that was lost this often is what breaks the connection, and would break it for ever. */
#define CLIENT_SENDS_MAX 5
/* One setWatches frame: far below jute.maxbuffer, as ZooKeeper's own client splits them. */
#define CLIENT_WATCH_FRAME_BYTES (120 * 1024)
/* How long CE_CLOSE waits for the server's answer. */
#define CLIENT_CLOSE_WAIT_MS 1000
/* The pause after a whole round of failed servers, doubled by each further round. */
#define CLIENT_BACKOFF_MIN_MS 25
#define CLIENT_BACKOFF_MAX_MS 1000
/* A socket that is not up after this time is tried anew, even when there is no other server: the
 * kernel itself asks ever more seldom, and would find a host that is back late. */
#define CLIENT_CONNECT_MAX_MS 3000
/* A server has as long to answer the handshake, however short the session's timeout is. */
#define CLIENT_ANSWER_MIN_MS 1000
/* How long a read-only server will do before another one is looked for; doubled each time
 * (ZooKeeper's ClientCnxn has 100 ms to 60 s). Each look interrupts the reads. */
#define CLIENT_LOOK_MIN_MS 500
#define CLIENT_LOOK_MAX_MS 30000
/* A connection that lived this long, or answered a request, was a good one: the next attempt need
 * not wait. */
#define CLIENT_GOOD_CONNECTION_MS 1000

enum creq_watch {
    CREQ_WATCH_NONE,
    CREQ_WATCH_DATA,
    CREQ_WATCH_EXISTS,
    CREQ_WATCH_CHILD,
    CREQ_WATCH_ADD,    /* addWatch */
    CREQ_WATCH_REMOVE, /* removeWatches */
};

/* One request, from CE_REQUEST to its answer. Owned by the table when it still has a caller; by the
 * sent list alone when the caller was answered already (deadline, cancel), for the server's answer
 * has to be counted. */
struct creq {
    UT_hash_handle hh; /* by token, while the caller waits */
    struct creq *next; /* in the waiting or the sent list */
    uint64_t token;
    int64_t deadline_ms; /* 0: never */
    uint8_t *record;     /* encoded; freed once a write was sent */
    uint32_t record_len;
    int32_t opcode;
    int32_t xid;
    uint8_t sends;
    bool is_write;
    bool on_wire;   /* in the sent list, else in the waiting one */
    bool abandoned; /* nobody waits for the answer any more */
    enum creq_watch watch;
};

struct creq_list {
    struct creq *head;
    struct creq **tail;
};

struct cwatch {
    UT_hash_handle hh;
    unsigned kinds; /* of enum cwatch_kind */
    uint32_t path_len;
    uint8_t path[];
};

/* The zxid of the last event, and all events of that zxid: a server tells them in the order of the
 * zxids, so all that were before have been heard as well. */
struct cheard {
    zxid_t zxid;       /* 0: not known */
    struct buf events; /* type, path, for each; the type 0: left out */
};

struct cauth {
    struct cauth *next;
    char *scheme;
    uint8_t *auth;
    int32_t auth_len;
};

struct client {
    struct client_config config;
    enum client_state state;
    bool started;
    bool has_socket; /* between CU_CONNECT and CU_DISCONNECT, CE_LOST */
    bool closing;    /* CE_CLOSE came */
    bool close_sent;
    int32_t close_xid;
    int64_t close_deadline_ms;
    int32_t server; /* in use or tried now */
    int32_t next_server;
    int32_t attempts; /* since the last good connection */
    int64_t now_ms;
    int64_t connect_at_ms;     /* when there is no socket: when to make one */
    int64_t phase_deadline_ms; /* CONNECTING with a socket, HANDSHAKE: give up */
    int64_t connected_at_ms;
    bool has_answered; /* a request, on this connection */
    int64_t last_recv_ms;
    int64_t last_send_ms;
    int64_t armed_ms; /* the last CU_DEADLINE; INT64_MAX none */

    session_id_t session_id;
    uint8_t passwd[PASSWD_BYTES];
    int32_t timeout_ms;
    int32_t next_xid;
    bool retries;         /* granted to this session */
    bool read_only;       /* connected to a server without a quorum */
    int64_t look_at_ms;   /* read_only: when to look for a better one */
    int64_t look_wait_ms; /* and how long to wait the next time */
    zxid_t seen_zxid;     /* highest, events included: no server behind it will do */
    zxid_t reply_zxid;    /* highest of the replies: every event up to it has arrived */

    struct creq *by_token;
    struct creq_list waiting;    /* not sent on this connection, in order */
    struct creq_list sent;       /* on the wire, in order */
    int64_t request_deadline_ms; /* no request's deadline is earlier; INT64_MAX none */

    struct cwatch *watches;
    size_t staying;        /* how many of them have kinds of CWATCH_STAYS */
    struct cheard heard;   /* while some stay, from servers that show zxids */
    struct cheard again;   /* as that was before this connection: it may be told anew */
    uint32_t again_frames; /* setWatches that are not answered on it */
    bool again_split; /* those that stay did not fit into one: what is told again is in no order */
    struct cauth *auths;
    bool auth_is_new; /* one was added since they were last sent */

    struct buf rx;  /* bytes of an unfinished frame */
    size_t rx_used; /* what updates of the last step may still point into */
    struct buf tx;  /* what this step sends */
    struct client_update *updates;
    size_t update_count;
    size_t update_cap;
};

/* client.c */
struct client_update *client_emit(struct client *c, enum client_update_type type);
void client_set_state(struct client *c, enum client_state state);
/* The socket is unusable: drops it, settles what was sent, and plans the next attempt. */
void client_lose(struct client *c, bool drop_socket);
void client_finish_close(struct client *c);
/* The connect response has come; false when it is not one. */
bool client_on_connect_response(struct client *c, struct slice frame);

/* client_request.c */
void creq_list_init(struct creq_list *l);
struct creq *creq_list_pop(struct creq_list *l);
void client_request(struct client *c, const struct client_event *ev);
void client_cancel(struct client *c, uint64_t token);
/* Answers the caller; the record may be null. The request is no longer in the table, but still
 * whole. */
void client_answer(struct client *c, struct creq *r, int32_t err, zxid_t zxid, struct slice record);
void client_free_request(struct creq *r);
void client_send_waiting(struct client *c);
/* What may be sent again goes back in front of the waiting ones, the rest is answered. */
void client_settle_sent(struct client *c);
/* Writes that wait to be sent again cannot be: their session is gone, or grants no retries. */
void client_fail_retries(struct client *c);
void client_expire_requests(struct client *c);
/* Everything unanswered gets an answer: `sent_err` and `waiting_err`. */
void client_fail_all(struct client *c, int32_t sent_err, int32_t waiting_err);

/* client_io.c */
void client_on_bytes(struct client *c, struct slice bytes);
int32_t client_take_xid(struct client *c);
void client_send_connect(struct client *c);
void client_send_ping(struct client *c);
void client_send_close(struct client *c);
void client_send_auths(struct client *c);
/* Numbers the request, puts it on the wire and at the end of the sent list. */
void client_send_request(struct client *c, struct creq *r, struct slice record);
/* Starts a frame in tx; client_frame_end writes its length. */
size_t client_frame_begin(struct client *c, int32_t xid, int32_t opcode);
void client_frame_end(struct client *c, size_t at);

/* client_watch.c */
/* What the request would watch, were its answer to allow it. */
enum creq_watch client_watch_of(int32_t opcode, struct slice record);
void client_watch_answered(struct client *c, const struct creq *r, int32_t err);
/* True when a one-shot watch was used up. */
bool client_watch_fired(struct client *c, int32_t event_type, struct slice path);
/* Whether this event was told on an earlier connection; else it is noted. */
bool client_watch_repeated(struct client *c, zxid_t zxid, int32_t event_type, struct slice path);
/* Arms them all again on a new connection; tells of a gap where the server cannot close it. */
void client_send_watches(struct client *c);
/* The answer to one of these requests. */
void client_watches_set(struct client *c, int32_t err);
void client_watch_close(struct client *c);

#endif
