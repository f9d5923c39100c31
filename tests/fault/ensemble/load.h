/* ensemble_load: many sessions with an ensemble, driven by one thread that writes down what each
 * asked and was told, and when (tests/fault/lin/history.py says how a history is written). It
 * speaks raw frames, so that nothing of a client library is between the servers and the history: it
 * sends a request once, reconnects with the session's id, password and last zxid, and arms its
 * watches again with setWatches, as clients do. */
#ifndef ZKFS_TESTS_FAULT_ENSEMBLE_LOAD_H
#define ZKFS_TESTS_FAULT_ENSEMBLE_LOAD_H

#include "common/buf.h"
#include "common/prng.h"
#include "common/proto.h"

#include <netinet/in.h>
#include <stdio.h>

#define SERVERS_MAX 8
#define CLIENTS_MAX 256
#define KEYS_MAX 256
#define DEPTH 4 /* requests of a session under way; more than one, so that their order shows */
#define IN_BYTES 65536
#define NO_VERSION (-1)

enum op_kind { KIND_CREATE, KIND_SET, KIND_DELETE, KIND_GET, KIND_EXISTS, KIND_SGET, KIND_SEXISTS };

struct op {
    enum op_kind kind;
    int key;          /* -1: the session's own ephemeral */
    uint32_t n;       /* of the session, from 1 */
    int32_t xid;      /* of the operation itself */
    int32_t sync_xid; /* 0: none, or answered */
    bool sync_failed;
    bool watch;
    int32_t expect; /* NO_VERSION: any */
    int64_t invoked_ns;
};

/* What a session has last seen of a key. */
struct known {
    bool seen, present;
    int32_t version;
};

enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_GREETING, CONN_UP };

struct client {
    int slot;
    enum conn_state state;
    int fd, server;
    int32_t timeout_ms;
    bool reads_only;
    int64_t retry_ns, deadline_ns, heard_ns, sent_ns, next_op_ns;
    int session; /* number in the history; a new one after an expiry */
    session_id_t id;
    uint8_t passwd[PASSWD_BYTES];
    zxid_t seen;
    int32_t xid;
    uint32_t n;
    bool has_ephemeral; /* its creation was asked for */
    bool closing;       /* closeSession was sent */
    bool closed;
    struct op ops[DEPTH]; /* oldest first */
    int op_count;
    struct known known[KEYS_MAX];
    uint8_t watch[KEYS_MAX]; /* 0, WATCH_DATA, WATCH_EXIST */
    struct buf out;
    uint8_t in[IN_BYTES];
    size_t in_len;
};

enum { WATCH_DATA = 1, WATCH_EXIST = 2 };

struct load {
    const char *prefix;
    FILE *history;
    struct sockaddr_in servers[SERVERS_MAX];
    int server_count, client_count, key_count;
    int64_t interval_ns; /* between two operations of a client, on average */
    bool stopping;
    int epoll, sessions, expired;
    struct prng prng;
    struct client *clients;
    /* Counted for who drives this. */
    unsigned long long operations, acknowledged, lost;
    int64_t last_acknowledged_ns, gap_ns;
};

/* load_conn.c: the connection. */
void conn_lose(struct load *l, struct client *c, int64_t now_ns);
void conn_tick(struct load *l, struct client *c, int64_t now_ns);
void conn_event(struct load *l, struct client *c, uint32_t events);
void conn_flush(struct load *l, struct client *c);
/* Appends a request; returns its xid. */
int32_t conn_request(struct client *c, int32_t xid, int32_t type, enum proto_record record,
                     const void *request);
int32_t conn_next_xid(struct client *c);

/* load_ops.c: the operations. */
void ops_issue(struct load *l, struct client *c, int64_t now_ns);
/* An answer: takes all that is behind the reply header. False when it is none that was due. */
bool ops_reply(struct load *l, struct client *c, const struct proto_reply_header *h,
               struct cursor *body, int64_t now_ns);
void ops_event(struct load *l, struct client *c, zxid_t zxid, struct cursor *body, int64_t now_ns);
/* The answers of all operations under way will never come. */
void ops_lose(struct load *l, struct client *c);
void ops_arm_again(struct load *l, struct client *c);
void ops_new_session(struct load *l, struct client *c);
void ops_note(struct load *l, const struct client *c, int64_t now_ns, const char *what);

void load_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
