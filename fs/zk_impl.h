/* What the zk_*.c files share; nobody else includes it.
 *
 *   zk_call.c    starts operations: encodes the request
 *   zk.c         the loop: client_step, the socket, timers, callbacks
 *   zk_reply.c   decodes answers into zk_result
 *   zk_watch.c   who hears of what, once
 *   zk_stream.c  who hears of what until it leaves
 *   zk_resume.c  what the journal keeps for the next worker, and what that makes of it
 *   zk_own.c     which zxids are this mount's own
 *   zk_lost.c    writes whose connection broke: looks, and decides with zk_write_check.c
 */
#ifndef ZKFS_FS_ZK_IMPL_H
#define ZKFS_FS_ZK_IMPL_H

#include "common/buf.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/mem.h"
#include "fs/conn_uv.h"
#include "fs/zk.h"

#include <uv.h>

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
    CALL_ADD_WATCH,
    CALL_REMOVE_WATCHES,
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
    bool exclusive;  /* zk_exclusive; zk_op.exclusive of a create, or of any create in a multi */
    bool sequential; /* a create that gets its name from the server */
    bool is_queued;  /* in the list of those to be started */
    bool is_local;   /* answered with success instead of being sent */
    int local_err;   /* answered with it instead of being sent; 0 none */
    struct buf request;
    int64_t deadline_ms;
    zk_cb *cb;
    void *ctx;
    struct zk_watched *watched; /* a read that arms a watch: of this path; NULL: another call */
    struct zk_watcher *watcher; /* who is to hear; NULL: it left */
    struct zk_subscriber *subscriber; /* of an addWatch */
    int sends;
    struct zk_resent *resent; /* it was sent by an earlier worker: whose answer it waits for */
    uint32_t kept;            /* the journal's record of it; 0 none */
    uint64_t unique;          /* of the FUSE request that it is kept for; 0: it is not */
    zxid_t kept_before;       /* what that says of before */
    zxid_t before;            /* the last zxid seen when it was sent */
    struct lost *lost;        /* while it is looked into */
};

/* A write that an earlier worker sent, as the journal has it. */
struct zk_resent {
    struct zk_resent *prev, *next;
    struct zk_sent sent;
    uint64_t token;       /* the client's */
    uint32_t age;         /* how far its xid is behind the next one */
    struct zk_call *call; /* that has begun to repeat it; NULL: none yet */
    bool is_fed;          /* the client has it, or never will */
    bool is_answered;     /* before call could take it */
    struct client_update answer;
    struct buf bytes; /* of that */
};

struct zk {
    uv_loop_t *loop;
    struct client *client;
    struct journal *journal;
    uint32_t session_ref;
    session_id_t session_kept; /* the session that the journal has */
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
    struct zk_watched *watched;   /* by path */
    struct zk_stream *streams[2]; /* by path; of the recursive kind the second */
    uint64_t told;                /* numbers what subscribers are told */
    bool any_only; /* the server does not know how to remove persistent watches alone */
    struct zk_listener *listeners;
    struct zk_resent *resent; /* not given to their calls yet */
    bool resent_waits;        /* some are not fed */
    struct zk_own
        *own; /* zxids of this mount's own writes that a lost write could be mistaken for */
    size_t own_count, own_cap, own_purge_at;
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
/* Queues the call's own request, or the one in call->lost->record while it is looked into: it goes
 * to the client from the loop, never from within the step or the callback that wants it. */
void zk_call_queue(struct zk *zk, struct zk_call *call);
/* Calls back, once, and frees the call. */
void zk_call_finish(struct zk *zk, struct zk_call *call, const struct zk_result *res);
void zk_call_fail(struct zk *zk, struct zk_call *call, int err);
bool zk_call_is_write(const struct zk_call *call);
/* One step of the client, and what comes of it. */
void zk_feed(struct zk *zk, const struct client_event *event);
void zk_on_reply(struct zk *zk, const struct client_update *u);
void zk_cancel_in_client(struct zk *zk, uint64_t token);

/* zk_own.c */
/* Whether another answered write of this mount is known to have made this zxid; remembers that the
 * call did. A request that is sent again asks for what may have been answered to an earlier worker:
 * what was made for the same request is its own. */
bool zk_own_has(const struct zk *zk, const struct zk_call *call, zxid_t zxid);
void zk_own_add(struct zk *zk, const struct zk_call *call, zxid_t zxid);
/* What the journal has of them. */
void zk_own_load(struct zk *zk);

/* zk_call.c */
/* An addWatch for zk_add_watch; is_local: the server has this watch, and is not asked. */
uint64_t zk_add_watch_call(struct zk *zk, struct slice path, bool recursive, bool is_local,
                           struct zk_subscriber *s, zk_cb *cb, void *ctx);
/* Asks the server to forget its watches of this type, sooner or later; nobody waits for it. The
 * result comes to zk_stream_removed. */
void zk_send_remove(struct zk *zk, struct slice path, enum watcher_type type);

/* zk_watch.c */
/* A read that arms a watch begins. */
void zk_watch_begin(struct zk *zk, struct zk_call *call, struct slice path, struct zk_watcher *w);
/* It has been answered. Where nobody will hear the answer: ZK_CONNECTIONLOSS, or
 * ZK_OPERATIONTIMEOUT when it was not sent. */
void zk_watch_answered(struct zk *zk, struct zk_call *call, int err);
/* Whether somebody waits for an event of this path, or is about to. */
bool zk_watch_has(struct zk *zk, struct slice path);
void zk_watch_event(struct zk *zk, const struct client_update *u);
void zk_watch_close(struct zk *zk);

/* zk_resume.c */
void zk_journal_load(struct zk *zk, struct client_resume *ret);
void zk_journal_note(struct zk *zk);
/* The call's request is at the client: its record says with which xid. */
void zk_call_kept_xid(struct zk *zk, struct zk_call *call);
/* Those not fed yet go to the client, in the order of their xids. */
void zk_resent_flush(struct zk *zk);
/* The call gets its answer, now or later. */
void zk_resent_take(struct zk *zk, struct zk_call *call);
/* An answer of none of the calls: of which one it is. NULL: of none yet, or of none any more. */
struct zk_call *zk_resent_answered(struct zk *zk, const struct client_update *u);
void zk_resent_drop(struct zk *zk, struct zk_resent *r);
void zk_resent_close(struct zk *zk);

/* zk_stream.c */
/* An addWatch has been answered; or nobody will hear that, as for zk_watch_answered. */
void zk_stream_answered(struct zk *zk, struct zk_call *call, int err);
/* A removeWatches has been answered. */
void zk_stream_removed(struct zk *zk, struct zk_call *call, int err);
bool zk_stream_has(const struct zk *zk, struct slice path);
void zk_stream_event(struct zk *zk, const struct client_update *u);
void zk_stream_gap(struct zk *zk);
void zk_stream_close(struct zk *zk);

/* zk_reply.c */
void zk_reply(struct zk *zk, struct zk_call *call, const struct client_update *u);

/* zk_lost.c: takes the call over until it is sent again or finished. */
void zk_lost_begin(struct zk *zk, struct zk_call *call);
void zk_lost_reply(struct zk *zk, struct zk_call *call, const struct client_update *u);
void zk_lost_free(struct lost *lost);

#endif
