/* The pure client session: what a ZooKeeper client does between its caller and a socket. No clock,
 * no socket, no thread: events in, updates out. fs/ drives it with libuv, the simulator with a
 * virtual network.
 *
 *            CE_CONNECTED         connect response
 *   CONNECTING ------> HANDSHAKE ----------------> CONNECTED
 *       ^  ^                | closed, or none in time  | lost, or silent for 2/3 of the timeout
 *       |  +----------------+--------------------------+
 *       | a new session is asked for at once
 *   EXPIRED <- the server does not know the session any more
 *
 * Requests are numbered (xid) and answered in order. While not connected they wait. A request that
 * was sent and not answered when the connection went is: sent again after the reconnect when it
 * only reads (and sync); answered ZK_CONNECTIONLOSS when it writes, for only the caller can find
 * out whether it was done. A request that is older than its deadline is answered
 * ZK_OPERATIONTIMEOUT when it was never sent (surely not done) and ZK_CONNECTIONLOSS when it was.
 *
 * With exactly-once retries, where the session's server grants them, a write that was sent and not
 * answered is sent again as well, in the same session and with the same xid: the server answers it
 * with its first result. Only what can no longer be had that way (the session expired, the result
 * is not kept any more, the deadline) is answered ZK_CONNECTIONLOSS.
 *
 * With read_only_ok a server that has no quorum will do: it reads, and answers writes with
 * ZK_NOTREADONLY. Lost writes are not sent to it again; they wait. The session that it gives a new
 * client is its own and is forgotten; one that there was before stays ours. From time to time such
 * a connection is given up to look for a server with a quorum.
 *
 * The servers are tried in order from a given start, with a back-off that grows to 1 s after each
 * whole round. A server that is behind what this client has seen closes the connection without an
 * answer, as does one that is no server: the next one is tried.
 *
 * When the session expires, CU_STATE EXPIRED comes first, and a new session is asked for at once:
 * requests that were never sent, and lost reads, go over to it; sent writes were answered
 * ZK_CONNECTIONLOSS when their connection went. Watches go over too (setWatches, relative to what
 * was seen), and the zxid, so that the new session does not read backwards either.
 *
 * Persistent watches (addWatch) stay until removeWatches; they are armed again by setWatches2,
 * which is sent only where there are some. A server that grants exactly-once retries then tells
 * first what they missed, in order; CU_WATCH tells nothing of that twice. Where it cannot look back
 * so far, and always where the server is another kind or reads only, CU_GAP says so.
 *
 * A read that was lost with five connections is answered ZK_CONNECTIONLOSS, one whose reply is
 * longer than max_frame_bytes ZK_MARSHALLINGERROR: they would break every connection. A refused
 * addauth answers all ZK_AUTHFAILED. A reply SESSIONEXPIRED or SESSIONMOVED ends the connection:
 * reads are sent again, a write gets this answer and was surely not done. Beyond 65,536 unanswered
 * requests more are answered ZK_THROTTLEDOP.
 */
#ifndef ZKFS_COMMON_CLIENT_H
#define ZKFS_COMMON_CLIENT_H

#include "common/buf.h"
#include "common/proto.h"
#include "common/types.h"
#include "common/zkerr.h"

/* A session of an earlier client, which ended without closing it, to be gone on with. All zeros:
 * none. Its watches are not known here: the caller arms them again. */
struct client_resume {
    session_id_t session_id;
    uint8_t passwd[PASSWD_BYTES];
    zxid_t last_zxid; /* no server behind it will do */
    int32_t next_xid; /* above all that it used: with retries a server knows writes by their xid */
};

struct client_config {
    int32_t server_count;    /* addresses stay with the shell, which knows them by index */
    int32_t first_server;    /* where to begin: the shell's random choice */
    int32_t timeout_ms;      /* session timeout asked for */
    int32_t max_frame_bytes; /* greatest reply accepted */
    bool retries;            /* ask for exactly-once retries */
    bool read_only_ok;       /* take a server without a quorum, that only reads */
    struct client_resume resume;
};

struct client;

enum client_event_type {
    CE_TICK,      /* the time has come that CU_DEADLINE asked for (early or late is fine) */
    CE_CONNECTED, /* the socket that CU_CONNECT asked for is up */
    CE_LOST,      /* it is gone, or could not be made. Not sent for one that was to be dropped. */
    CE_BYTES,   /* bytes from it: any cut. They must stay until the updates of the step are used. */
    CE_REQUEST, /* the caller wants an operation done */
    CE_CANCEL,  /* the caller no longer waits for `token`; its answer will be dropped. A request not
                   yet sent is not sent any more. */
    CE_CLOSE, /* end the session (closeSession), then CU_CLOSED, within 1 s. What is unanswered then
                 is answered before it. */
};

struct client_event {
    enum client_event_type type;
    int64_t mono_ms;
    struct slice bytes;  /* CE_BYTES; CE_REQUEST: the encoded request record, without header */
    uint64_t token;      /* CE_REQUEST, CE_CANCEL: the caller's, unique among the unanswered */
    int32_t opcode;      /* CE_REQUEST */
    int64_t deadline_ms; /* CE_REQUEST: mono_ms at the latest; 0 is never (-o hard) */
    int32_t xid; /* CE_REQUEST: of a write that an earlier client sent in this session, and nobody
                    knows with what result: it is sent again with exactly-once retries or answered
                    ZK_CONNECTIONLOSS. 0 otherwise */
};

enum client_update_type {
    CU_CONNECT,    /* drop any socket there is and connect to `server` */
    CU_DISCONNECT, /* drop the socket */
    CU_SEND,       /* write these bytes to the socket */
    CU_REPLY,      /* answer of `token`: err, zxid, and the reply record when err is 0 */
    CU_WATCH, /* a watch event: zk_event type in `err`, path in `bytes`, `zxid` (-1 when the server
                 does not say) */
    CU_GAP,   /* events of persistent watches may have been lost here */
    CU_STATE, /* `state` changed */
    CU_DEADLINE, /* call with CE_TICK at this mono_ms (replaces the one before) */
    CU_CLOSED,   /* the session is closed; nothing follows */
};

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_HANDSHAKE,
    CLIENT_CONNECTED,
    CLIENT_EXPIRED, /* passes at once into CLIENT_CONNECTING with a new session */
    CLIENT_CLOSED,
};

struct client_update {
    enum client_update_type type;
    enum client_state state;
    int32_t server;
    uint64_t token;
    int32_t err;
    zxid_t zxid;
    int64_t mono_ms;
    struct slice bytes; /* borrowed until the next step */
};

/* The updates of one step, in order; owned by the client until the next step. */
struct client_updates {
    const struct client_update *list;
    size_t count;
};

struct client *client_new(const struct client_config *config); /* starts with the first CE_TICK */
void client_free(struct client *c);
struct client_updates client_step(struct client *c, const struct client_event *ev);

/* Watches that must be armed again after a reconnect (setWatches, relative to the last zxid seen).
 * One-shot watches: the client keeps what was asked for with `watch` true in getData, exists and
 * getChildren and forgets it when the event came. Persistent ones it keeps from the answer to their
 * addWatch on. Both are forgotten with the answer to removeWatches. */
enum cwatch_kind {
    CWATCH_DATA = 1,
    CWATCH_EXIST = 2,
    CWATCH_CHILD = 4,
    CWATCH_PERSISTENT = 8,
    CWATCH_RECURSIVE = 16,
    CWATCH_STAYS = CWATCH_PERSISTENT | CWATCH_RECURSIVE,
};
/* The one-shot kinds that an event (enum zk_event) uses up. */
unsigned client_watch_used_up(int32_t event_type);

enum client_state client_state(const struct client *c);
/* Whether an unanswered request has ever been on a wire. */
bool client_was_sent(const struct client *c, uint64_t token);
session_id_t client_session_id(const struct client *c); /* 0 before the first */
int32_t client_timeout_ms(const struct client *c);      /* as negotiated */
/* What the next client needs to go on with this session, once this one is no more. */
void client_get_resume(const struct client *c, struct client_resume *ret);
/* With what xid a write is sent or is going to be; 0 for reads and what is unknown. */
int32_t client_xid_of(const struct client *c, uint64_t token);
zxid_t client_last_zxid(const struct client *c); /* highest seen, kept over reconnects */
/* Whether the server grants this session exactly-once retries: then it is one of ours, and tells
 * after a reconnect what persistent watches have missed. */
bool client_has_retries(const struct client *c);
bool client_is_read_only(const struct client *c); /* connected to a server without quorum */
int32_t client_server(const struct client *c);    /* index of the server in use, -1 none */
/* Puts `scheme:auth` on this connection, with the next step, and on every later one (addauth).
 * Copied. */
void client_add_auth(struct client *c, const char *scheme, struct slice auth);

#endif
