/* What the parts of the core share. Private to this room: the contract is replica.h. */
#ifndef ZKFS_REPLICA_SERVER_CORE_H
#define ZKFS_REPLICA_SERVER_CORE_H

#include "common/proto.h"
#include "common/zkerr.h"
#include "replica/server/conn.h"
#include "replica/server/out.h"
#include "replica/server/pending.h"
#include "replica/server/replica.h"
#include "replica/server/session.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/watch.h"
#include "replica/zab/zab.h"

enum request_kind {
    REQUEST_READ,      /* and ping, setWatches: answered from what is applied */
    REQUEST_WRITE,     /* becomes a transaction; answered at its commit */
    REQUEST_SYNC,      /* a read behind every proposal that was made before it came */
    REQUEST_CONNECT,   /* a new session: a transaction */
    REQUEST_RECONNECT, /* like a sync, behind the session's own proposals */
};

enum request_state {
    REQUEST_WAITING,  /* a read behind something; a sync or reconnect behind its marker */
    REQUEST_HELD,     /* a write that came while nothing may be proposed */
    REQUEST_PROPOSED, /* a write in flight */
    REQUEST_DONE,     /* a write whose answer is in `reply` and waits for its turn */
};

/* What waits in a connection's queue. Owned by the queue; `conn` is NULL once the connection went
 * while the transaction is in flight, then the inflight list owns it. */
struct request {
    struct conn *conn;
    struct request *next; /* in its connection's queue */
    struct request *held_prev,
        *held_next; /* in core's list of held requests or of waiting markers */
    enum request_kind kind;
    enum request_state state;
    int32_t xid, opcode;
    int64_t arrived_ms;
    uint32_t auth_count;     /* the identities that the connection had when it came */
    zab_marker marker;       /* REQUEST_SYNC, REQUEST_RECONNECT */
    struct session *session; /* REQUEST_RECONNECT: looked up again by session_id when it is due */
    session_id_t session_id;
    int32_t timeout_ms;   /* REQUEST_CONNECT, REQUEST_RECONNECT: negotiated */
    uint32_t cost_bytes;  /* what it adds to the queued bytes */
    struct blob *reply;   /* REQUEST_DONE: the frame, with its length */
    int32_t *multi_types; /* of a multi: each operation's opcode, for the answer */
    uint32_t multi_count;
    uint32_t body_len;
    uint8_t body[]; /* the record after the header: of a read that waits, a write that is held */
};

/* A transaction that was proposed and not committed yet, in order. */
struct inflight {
    struct txn *txn;
    struct request
        *request; /* NULL: nobody waits (expiry, a lost connection's is kept as orphan) */
    struct inflight *next;
};

struct server_stats {
    uint64_t received, sent;
    int64_t min_latency_ms, max_latency_ms, total_latency_ms, latency_count;
    uint64_t auth_failed;
    int64_t last_reply_bytes, min_reply_bytes, max_reply_bytes;
};

struct replica {
    struct replica_config config; /* its strings are owned */
    struct auth_config auth;
    struct zab *zab;
    struct tree *tree;
    struct watch_table *watches;
    struct pending *pending;
    struct sessions sessions;
    struct conns conns;
    struct out out;
    struct tree_changes changes;
    struct inflight *inflight_first, *inflight_last;
    uint32_t inflight_count;
    struct request *held;    /* writes that wait until the next epoch is established */
    struct request *markers; /* syncs and reconnects, in the order of their markers */
    struct conn *paused;     /* in order of pausing */
    struct conn *run_list;   /* connections with answers left over by the last step */
    uint64_t queued;         /* requests in all queues */
    uint64_t queued_bytes;
    struct server_stats stats;
    bool started, serving, stopped;
    uint8_t random[RANDOM_BYTES];
    int64_t deadline_ms; /* asked for; INT64_MAX none */
    int64_t started_ms;  /* mono */
    /* The event at hand. */
    int64_t mono_ms, wall_ms;
};

/* apply.c: proposing and committing. */
/* Proposes take_txn for request (or NULL); zab_ready must hold. */
void core_propose(struct replica *r, struct txn *take_txn, struct request *request);
/* Carries out what zab wants done, until it wants nothing. */
void core_pump(struct replica *r);
/* The last zxid that is applied: what replies show. */
zxid_t core_last_zxid(const struct replica *r);
/* A transaction of the log or a committed one goes into the tree and the sessions. False when it
 * does not fit the tree (tree_broken): then the process is told to stop, and nobody may be
 * answered. */
bool core_apply(struct replica *r, const struct txn *txn, struct tree_changes *ret_changes);

/* replica.c */
/* As replica_new, with an end of epochs that a test can reach. */
struct replica *core_new(const struct replica_config *config, uint32_t counter_limit);
void core_reset_stats(struct replica *r);
/* Closes a connection of ours and forgets it; why goes into one log line. */
void core_close_conn(struct replica *r, struct conn *c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Likewise where that is the ordinary end, of which no log speaks. */
void core_hang_up(struct replica *r, struct conn *c);
/* Forgets a connection that is gone already. */
void core_drop_conn(struct replica *r, struct conn *c);
/* Stops the process: a broken disk or log. */
void core_stop(struct replica *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
