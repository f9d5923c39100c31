/* The client connections: who is there, by id, by address, and how long they may be without a
 * session. */
#ifndef ZKFS_REPLICA_SERVER_CONN_H
#define ZKFS_REPLICA_SERVER_CONN_H

#include "replica/server/auth.h"
#include "replica/tree/htab.h"

struct request;
struct session;

enum conn_state {
    CONN_NEW,        /* nothing came yet */
    CONN_CONNECTING, /* its ConnectRequest waits for the answer */
    CONN_LIVE,       /* has its session */
};

struct conn_stats {
    uint64_t received, sent;
    int64_t min_latency_ms, max_latency_ms, total_latency_ms, count;
    const char *last_op; /* ZooKeeper's four letters; static */
    int64_t last_cxid;
    zxid_t last_zxid;
    int64_t last_response_ms, last_latency_ms;
};

struct conn {
    struct htab_link by_id;
    conn_id_t id;
    enum conn_state state;
    struct session *session; /* NULL before, and once the session is gone */
    bool no_read_only; /* its ConnectRequest had no read_only byte: the answer has none either */
    bool ours;         /* its client is of our own kind: it asked for exactly-once retries */
    bool ending;       /* sent closeSession: what comes after is ignored */
    session_id_t asked_session; /* what its ConnectRequest asked for */
    bool read_only;             /* taken without a quorum (read_only.h) */
    bool read_only_own;         /* its session is its own affair */
    session_id_t read_only_session;
    bool paused;
    bool in_run_list;
    uint8_t addr[16];
    int32_t addr_len;
    uint16_t port;
    int64_t opened_ms; /* mono */
    int64_t opened_wall_ms;
    struct auth_ids ids;
    struct request *first, *last; /* waiting to be answered, in order */
    uint32_t queued;              /* how many */
    uint32_t syncs;               /* of them: sent, and not passed yet */
    bool behind_sync;             /* something waits for these */
    uint32_t queued_bytes;
    struct conn_stats stats;
    struct conn *prev, *next;                     /* all, in order of opening */
    struct conn *handshake_prev, *handshake_next; /* CONN_NEW and CONN_CONNECTING, likewise */
    struct conn *paused_prev, *paused_next;       /* in order of pausing */
    struct conn *run_prev, *run_next;             /* has answers that did not fit into a step */
};

/* Connections per address, for maxClientCnxns. */
struct conn_addr;

struct conns {
    struct htab by_id, by_addr;
    struct conn *all, *handshakes;
    uint64_t count;
};

void conns_init(struct conns *cs);
void conns_close(struct conns *cs); /* frees all; their queues are empty (CHECK) */
struct conn *conn_find(const struct conns *cs, conn_id_t id);
/* How many connections the address has. */
int32_t conn_count_of(const struct conns *cs, const uint8_t *addr, int32_t addr_len);
struct conn *conn_add(struct conns *cs, conn_id_t id, const uint8_t *addr, int32_t addr_len,
                      uint16_t port);
/* The handshake is over: it is not in a hurry any more. */
void conn_established(struct conns *cs, struct conn *c);
/* Its queue is empty and it is in no other list (CHECK). */
void conn_remove(struct conns *cs, struct conn *c);

/* The session that it was told, 0 for none. */
session_id_t conn_session_id(const struct conn *c);

void conn_stats_reset(struct conn_stats *s);

#endif
