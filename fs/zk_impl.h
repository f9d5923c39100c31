/* What the zk_*.c files share; nobody else includes it.
 *
 *   zk_call.c    starts operations: encodes the request
 *   zk.c         the loop: client_step, the socket, timers, callbacks
 *   zk_reply.c   decodes answers into zk_result
 *   zk_lost.c    writes whose connection broke: looks, and decides with zk_write_check.c
 */
#ifndef ZKFS_FS_ZK_IMPL_H
#define ZKFS_FS_ZK_IMPL_H

#include "common/buf.h"
#include "common/check.h"
#include "common/mem.h"
#include "fs/conn_uv.h"
#include "fs/zk.h"

#include <uv.h>

/* The keys are short; and the default function falls through its cases without saying so, which
 * clang warns of. */
#define HASH_FUNCTION HASH_FNV
#define uthash_malloc(size_bytes) mem_alloc(size_bytes)
#define uthash_free(p, size_bytes) mem_free(p)
#define uthash_fatal(msg) check_failed(__FILE__, __LINE__, msg)
#include <uthash.h>

/* A write that was lost this often is itself what ends the connections (too long for that server's
 * jute.maxbuffer, say); sending it for ever would disturb all others. */
#define ZK_SENDS_MAX 8
/* Replies up to this size are taken: the children of a directory with millions of entries. */
#define ZK_REPLY_BYTES_MAX (64 * 1024 * 1024)

enum call_kind {
    CALL_GET,
    CALL_EXISTS,
    CALL_CHILDREN,
    CALL_CREATE,
    CALL_SET,
    CALL_DELETE,
    CALL_MULTI,
    CALL_GET_ACL,
    CALL_SET_ACL,
    CALL_SYNC,
};

struct lost;

/* One operation, from its start to its callback. Its token is the client's too: each call has at
 * most one request in the client. */
struct zk_call {
    UT_hash_handle hh;
    struct zk_call *next; /* in the list of those to be started */
    uint64_t token;
    enum call_kind kind;
    int32_t opcode;
    bool exclusive;  /* zk_op.exclusive of a create, or of any create in a multi */
    bool sequential; /* a create that gets its name from the server */
    bool is_queued;  /* in the list of those to be started */
    int local_err;   /* answered with it instead of being sent; 0 none */
    struct buf request;
    int64_t deadline_ms;
    zk_cb *cb;
    void *ctx;
    int sends;
    zxid_t before;     /* the last zxid seen when it was sent */
    struct lost *lost; /* while it is looked into */
};

struct zk {
    uv_loop_t *loop;
    struct client *client;
    struct conn_uv *conn;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    struct blob *open_acl;
    int64_t timeo_ms;       /* 0: for ever */
    size_t max_frame_bytes; /* of requests */
    zk_state_cb *on_state;
    void *ctx;
    uint64_t last_token;
    struct zk_call *calls;
    struct zk_call *start_head, **start_tail;
    uint64_t *cancels;
    size_t cancel_count, cancel_cap;
    zxid_t *own; /* zxids of this mount's own writes that a lost write could be mistaken for */
    size_t own_count, own_cap;
    const char *server;   /* name of the one connected to; NULL none */
    const char *lost_why; /* while a loss is told to the client */
    bool failure_told;
    bool close_wanted, is_closing;
    int open_handles;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* zk.c */
int64_t zk_now_ms(const struct zk *zk);
/* Queues the call's own request: it goes to the client from the loop, never from within the step or
 * the callback that wants it. */
void zk_call_send(struct zk *zk, struct zk_call *call);
/* Queues the request in call->lost->record, while the call is looked into. */
void zk_call_ask(struct zk *zk, struct zk_call *call);
/* Calls back, once, and frees the call. */
void zk_call_finish(struct zk *zk, struct zk_call *call, const struct zk_result *res);
void zk_call_fail(struct zk *zk, struct zk_call *call, int err);
bool zk_call_is_write(const struct zk_call *call);
/* Whether an answered write of this mount is known to have made this zxid; remembers that it did.
 */
bool zk_own_has(const struct zk *zk, zxid_t zxid);
void zk_own_add(struct zk *zk, zxid_t zxid);

/* zk_reply.c */
void zk_reply(struct zk *zk, struct zk_call *call, const struct client_update *u);

/* zk_lost.c: takes the call over until it is sent again or finished. */
void zk_lost_begin(struct zk *zk, struct zk_call *call);
void zk_lost_reply(struct zk *zk, struct zk_call *call, const struct client_update *u);
void zk_lost_free(struct lost *lost);

#endif
