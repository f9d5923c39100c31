/* A replica's core with its shell played by the test: events in, updates sorted to where they
 * belong. The log is kept, so that a core can be started again from it. Everything is checked with
 * check's own asserts: a harness function that cannot do what it says fails the test. */
#ifndef ZKFS_TESTS_UNIT_SERVER_HARNESS_H
#define ZKFS_TESTS_UNIT_SERVER_HARNESS_H

#include "common/proto.h"
#include "common/zkerr.h"
#include "replica/server/core.h"

#include <check.h>

#define H_CONNS_MAX 2048

struct h_conn {
    bool open, closed, paused;
    struct buf in; /* bytes sent to this client and not looked at yet */
    char why[256]; /* UPD_CLOSE's reason */
    session_id_t session;
    int32_t timeout_ms;
    uint8_t passwd[PASSWD_BYTES];
};

struct h_record {
    enum log_kind kind;
    zxid_t zxid, committed;
    struct blob *payload;
};

struct harness {
    struct replica_config config;
    uint32_t counter_limit;
    struct replica *r;
    int64_t mono_ms, wall_ms;
    bool hold_log; /* appended records are not acknowledged until h_sync */
    struct h_record *log;
    size_t log_count, log_cap, synced;
    uint32_t log_retries; /* UPD_LOG_RETRY so far */
    uint32_t epoch;       /* the acceptedEpoch that was saved */
    bool epoch_asked;     /* and not answered yet */
    struct h_conn conns[H_CONNS_MAX];
    conn_id_t last_conn;
    int64_t deadline_ms; /* 0: none asked for */
    bool stopped;
    char stop_why[256];
    char last_note[512];
    size_t updates;      /* of the last step */
    uint64_t trace;      /* hash over every update so far */
    uint8_t random_byte; /* what EV_START's randomness is filled with */
    /* Of an ensemble (ensemble.h): what one server alone has no use for, and what follows a step.
     */
    void *world;
    void (*other)(struct harness *h, const struct update *u);
    void (*settle)(struct harness *h);
    void (*recover)(struct harness *h); /* what the disk has before the log's records */
    zxid_t recover_after;               /* and only records behind it, where it says so */
};

/* tick 2000 ms, timeouts 4..40 s, 1000 outstanding, 60 connections per address. */
struct replica_config h_config(void);
struct harness *h_new(const struct replica_config *config); /* NULL: h_config. Not started. */
struct harness *h_started(void);                            /* h_new, EV_START, synced: serves */
void h_free(struct harness *h);
void h_start(struct harness *h);
/* The core from what is durable, without its start: connections are gone. */
void h_recover(struct harness *h);
/* A new core from what is durable of the log; connections are gone. */
void h_restart(struct harness *h);

/* One event and nothing else. */
void h_event(struct harness *h, struct event ev);
/* Any event; time fields are filled in. */
void h_step(struct harness *h, struct event ev);
/* Puts a transaction behind the durable log, as if it had been proposed: h_restart will read it. */
void h_append_record(struct harness *h, struct blob *take_payload);
/* Acknowledges all that is appended. */
void h_sync(struct harness *h);
/* Time goes on, with ticks whenever one was asked for. */
void h_advance(struct harness *h, int64_t ms);

conn_id_t h_open(struct harness *h);
conn_id_t h_open_from(struct harness *h, const uint8_t *addr, int32_t len);
void h_close(struct harness *h, conn_id_t conn); /* the client goes */
void h_frame(struct harness *h, conn_id_t conn, const void *p, size_t n);
/* A ConnectRequest; session 0 and passwd NULL for a new one. */
void h_send_connect(struct harness *h, conn_id_t conn, int32_t timeout_ms, session_id_t session,
                    const uint8_t *passwd, zxid_t seen);
/* Takes the ConnectResponse; true when a session was given, which the h_conn then knows. */
bool h_take_connect(struct harness *h, conn_id_t conn);
/* Opens and gets a session, with the greatest timeout. */
conn_id_t h_client(struct harness *h);
conn_id_t h_client_timeout(struct harness *h, int32_t timeout_ms);

/* A request with a record of proto.def (NULL: none). */
void h_send(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode,
            enum proto_record record, const void *rec);
void h_send_path(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode, const char *path,
                 bool watch);
void h_send_create(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                   const char *data, int32_t flags); /* data NULL: null data */
void h_send_create_acl(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                       const char *acl);
void h_send_delete(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                   int32_t version);
void h_send_set(struct harness *h, conn_id_t conn, int32_t xid, const char *path, const char *data,
                int32_t version);
void h_send_set_acl(struct harness *h, conn_id_t conn, int32_t xid, const char *path,
                    const char *acl, int32_t version);
void h_send_auth(struct harness *h, conn_id_t conn, const char *scheme, const char *auth);
void h_word(struct harness *h, conn_id_t conn, const char *word);

/* An answer or a watch event, taken out of what the client was sent. */
struct h_reply {
    int32_t xid, err;
    zxid_t zxid;
    struct cursor body; /* behind the header; good until the next h_take */
    uint8_t bytes[1 << 16];
    size_t len;
};
/* False when there is none. */
bool h_take(struct harness *h, conn_id_t conn, struct h_reply *ret_reply);
/* Takes the next, which must have this xid; returns its err. */
int h_err(struct harness *h, conn_id_t conn, int32_t xid);
struct slice h_string(struct h_reply *reply);
struct zstat h_stat(struct h_reply *reply);
/* Takes a watch event, that must be this. */
void h_expect_event(struct harness *h, conn_id_t conn, enum zk_event type, const char *path);
void h_expect_nothing(struct harness *h, conn_id_t conn);
/* All bytes as text, for words. */
const char *h_text(struct harness *h, conn_id_t conn);

/* One operation to its end; returns the err. */
int h_create(struct harness *h, conn_id_t conn, const char *path);
int h_create_mode(struct harness *h, conn_id_t conn, const char *path, int32_t flags);
int h_delete(struct harness *h, conn_id_t conn, const char *path, int32_t version);
int h_set(struct harness *h, conn_id_t conn, const char *path, const char *data, int32_t version);
int h_exists(struct harness *h, conn_id_t conn, const char *path, struct zstat *ret_stat);
/* getData with its data in `out` (terminated); -2 as length says null. */
int h_get(struct harness *h, conn_id_t conn, const char *path, char *out, int32_t *ret_len);

/* Multi bodies: begin, ops, end. */
void h_multi_op(struct buf *b, int32_t type, enum proto_record record, const void *rec);
void h_multi_create(struct buf *b, const char *path, int32_t flags);
void h_multi_delete(struct buf *b, const char *path, int32_t version);
void h_multi_set(struct buf *b, const char *path, const char *data, int32_t version);
void h_multi_check(struct buf *b, const char *path, int32_t version);
void h_multi_end(struct buf *b);
void h_send_bytes(struct harness *h, conn_id_t conn, int32_t xid, int32_t opcode, const void *body,
                  size_t n);

struct slice h_slice(const char *s); /* NULL is null */

/* A suite of plain tests. */
#define H_SUITE(name, ...)                                                                         \
    Suite *unit_suite(void) {                                                                      \
        Suite *s = suite_create(name);                                                             \
        TCase *t = tcase_create(name);                                                             \
        tcase_set_timeout(t, 60);                                                                  \
        const TTest *tests[] = {__VA_ARGS__};                                                      \
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)                                \
            tcase_add_test(t, tests[i]);                                                           \
        suite_add_tcase(s, t);                                                                     \
        return s;                                                                                  \
    }

#endif
