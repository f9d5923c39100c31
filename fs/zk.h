/* ZooKeeper's operations for the mount, asynchronous, on libuv: paths in (full server paths),
 * results out through one callback each, exactly once, never from within the call that started it.
 *
 * Waiting: while no server answers, an operation waits up to `timeo_ms`, then its result is
 * ZK_OPERATIONTIMEOUT (surely not done) or ZK_CONNECTIONLOSS (perhaps done); both are EIO.
 * Writes that were under way when the connection broke are looked into after the reconnect, and
 * their result is the true one wherever it can be known (zk_write_check.c and
 * docs/client-retries.md say how). A request or an answer that is too long for the protocol is
 * ZK_MARSHALLINGERROR (EFBIG). */
#ifndef ZKFS_FS_ZK_H
#define ZKFS_FS_ZK_H

#include "common/acl.h"
#include "common/client.h"
#include "common/proto.h"
#include "common/types.h"
#include "common/zkerr.h"
#include "fs/journal.h"

struct uv_loop_s;

struct zk_config {
    const char *servers; /* HOST:PORT[,HOST:PORT…], [v6]:PORT too, without the root; port 2181 */
    int32_t session_timeout_ms;
    int32_t timeo_ms;        /* 0: the session timeout */
    bool hard;               /* wait for ever */
    bool read_only_ok;       /* a server without a quorum will do: it only reads */
    int32_t max_frame_bytes; /* the servers' jute.maxbuffer: longer requests are refused here, for a
                                server would close the connection; 0: its default, 1,048,575; never
                                below 1,024 */
    struct journal *journal; /* keeps the session; one that is in it already goes on. NULL: none */
};

struct zk_result {
    int err; /* enum zk_err; of a multi that failed: the error of the operation that did */
    zxid_t zxid;
    struct zstat stat;    /* get, exists, children, set, create (from create2), get_acl, set_acl */
    struct slice data;    /* get */
    struct jvec children; /* children */
    struct slice path;    /* create: the final path */
    struct jvec acl;      /* get_acl */
    const struct zk_op_result *ops; /* multi: one for each op */
    size_t op_count;
}; /* all borrowed for the call */

struct zk_op_result {
    int err;
    struct zstat stat; /* set; create2 */
    struct slice path; /* create */
};

enum zk_op_type { ZK_OP_CREATE, ZK_OP_SET, ZK_OP_DELETE, ZK_OP_CHECK };

struct zk_op {
    enum zk_op_type type;
    struct slice path;
    struct slice data;
    int32_t version;       /* set, delete, check; -1 any */
    enum create_mode mode; /* create */
    int64_t ttl_ms;        /* create, of the modes with a TTL */
    bool exclusive; /* create: the caller relies on being the one that made it (mkdir, O_EXCL): when
                       the answer is lost, a znode that another client may have made in just the
                       same way is not taken for ours; the result is ZK_CONNECTIONLOSS */
    const struct blob *acl; /* create; NULL: everybody may do everything */
};

typedef void zk_cb(void *ctx, const struct zk_result *res);
/* Whether the session's state changed; `state` as in client.h. For .zk/session and log lines. */
typedef void zk_state_cb(void *ctx, enum client_state state);

struct zk;

/* Who wants to hear of the next change of one znode; part of its owner's struct, zeroed before its
 * first use. One that was given to a zk_watch_… is called once, by the first event of its path
 * behind the answer (none comes when the answer is an error, but for exists' ZK_NONODE), or never
 * after zk_unwatch. Events come before the answers that show what they tell; none is lost with a
 * connection, a server or the session. */
struct zk_watcher {
    void (*fn)(struct zk_watcher *w, enum zk_event event, zxid_t zxid);
    struct zk_watched *on; /* what it waits for; NULL nothing */
    struct zk_watcher *prev, *next;
    unsigned kinds;
    uint32_t reads; /* under way that may arm one */
};

/* Who hears of every change of one znode (event: created, deleted, changed, children), or of it and
 * all below it (recursive: created, deleted, changed), until it leaves: a persistent watch. Part of
 * its owner's struct; zeroed, but for the two functions, before its first use. `fn` is called
 * before the answers that show the change; the path is borrowed; zxid is -1 where the server does
 * not tell (before 3.9). `gap`, which may be NULL: events may have been lost here, at a reconnect
 * to a server that cannot tell what was missed. Either may make this or other subscribers leave,
 * and join. */
struct zk_subscriber {
    void (*fn)(struct zk_subscriber *s, enum zk_event event, struct slice path, zxid_t zxid);
    void (*gap)(struct zk_subscriber *s);
    struct zk_stream *on; /* what it belongs to; NULL nothing */
    struct zk_subscriber *prev, *next;
    uint64_t token; /* of the request that waits for an answer; 0: it hears */
    uint64_t heard; /* the last event or gap that it was told */
};

/* Who hears of every change of the session's state, in order. */
struct zk_listener {
    void (*fn)(struct zk_listener *l, enum client_state state);
    struct zk_listener *prev, *next;
};

/* Starts connecting; servers are resolved now. NULL and *ret_why (static or owned by the zk module
 * until the next call) when an address cannot be understood. */
struct zk *zk_new(struct uv_loop_s *loop, const struct zk_config *config, zk_state_cb *on_state,
                  void *ctx, const char **ret_why);
/* Ends the session (waits for the answer at most 1 s), then calls done; zk is freed. Watchers and
 * subscribers that have not left by then are there as long. */
void zk_close(struct zk *zk, void (*done)(void *ctx), void *ctx);

/* Each returns a token for zk_cancel. Paths and data are copied. */
uint64_t zk_get(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_exists(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_children(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
/* The same, and w hears of the next change: of data or deletion (get); creation too (exists);
 * of the list of children, or deletion (children). w may wait for several kinds at a time, of one
 * path: the first event ends all of it. */
uint64_t zk_watch_get(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb, void *ctx);
uint64_t zk_watch_exists(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb,
                         void *ctx);
uint64_t zk_watch_children(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb,
                           void *ctx);
/* It hears nothing any more, also of reads that are under way. With the last of a path the server
 * forgets its watch. */
void zk_unwatch(struct zk *zk, struct zk_watcher *w);
/* s, which belongs to nothing, hears from the answer on; it belongs to nothing again where that is
 * an error. The path need not exist. Subscribers of one path, of one kind, share one watch of the
 * server's. zk_cancel of the token makes it leave. */
uint64_t zk_add_watch(struct zk *zk, struct slice path, bool recursive, struct zk_subscriber *s,
                      zk_cb *cb, void *ctx);
/* It hears nothing any more, and a zk_add_watch of it that is under way does not call back. With
 * the last one the server forgets the watch. Nothing happens when s belongs to nothing. */
void zk_remove_watch(struct zk *zk, struct zk_subscriber *s);
void zk_listen(struct zk *zk, struct zk_listener *l);
void zk_unlisten(struct zk *zk, struct zk_listener *l);

uint64_t zk_create(struct zk *zk, const struct zk_op *op, zk_cb *cb, void *ctx);
uint64_t zk_set(struct zk *zk, struct slice path, struct slice data, int32_t version, zk_cb *cb,
                void *ctx);
uint64_t zk_delete(struct zk *zk, struct slice path, int32_t version, zk_cb *cb, void *ctx);
uint64_t zk_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_cb *cb, void *ctx);
uint64_t zk_get_acl(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_set_acl(struct zk *zk, struct slice path, const struct blob *acl, int32_t version,
                    zk_cb *cb, void *ctx);
uint64_t zk_sync(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
/* The operation just started waits for ever, whatever the mount's timeo is: for what has to be done
 * once, however late. */
void zk_wait_on(struct zk *zk, uint64_t token);
/* The conditional set just started is somebody's who relies on having been the one that did it, as
 * zk_op.exclusive has it for a create. */
void zk_exclusive(struct zk *zk, uint64_t token);
/* Whether the operation may have reached a server; false: it surely has not been done. */
bool zk_was_sent(const struct zk *zk, uint64_t token);
/* The caller was interrupted: cb will not be called any more (a write may still happen). Unknown
 * tokens are ignored. */
void zk_cancel(struct zk *zk, uint64_t token);

/* A write as the journal has it (JOURNAL_WRITE), of a FUSE request that was not answered. */
struct zk_sent {
    uint32_t ref;
    uint64_t unique;
    session_id_t session_id; /* in which it was sent; xid counts in it */
    zxid_t before;
    int32_t xid; /* 0: not sent yet */
    int32_t opcode;
    struct buf request; /* the caller's */
};

/* A write just started, on behalf of the FUSE request `unique`, is kept in the journal, until the
 * caller drops *ref; no effect for reads. */
void zk_keep(struct zk *zk, uint64_t token, uint64_t unique, uint32_t *ref);
/* False when the record is none. Copies the request. */
bool zk_sent_read(const struct journal_record *r, struct zk_sent *ret);
/* The request comes again: its write goes to the server before all that is new, as it was sent, and
 * its result waits for zk_repeat. Before the loop runs; no effect for one that had not been sent.
 */
void zk_resend(struct zk *zk, const struct zk_sent *sent);
/* Nobody will ask for it any more; no effect behind zk_repeat. */
void zk_forget(struct zk *zk, const struct zk_sent *sent);
/* Starts the same write once more, a multi or a delete, from its bytes alone; exclusive as in
 * zk_op. zk_repeat has to follow. */
uint64_t zk_again(struct zk *zk, const struct zk_sent *sent, bool exclusive, zk_cb *cb, void *ctx);
/* The operation just started is on behalf of a request that is sent again. If it is the same write,
 * its result is looked for, as after a lost connection. If it is another write its result is
 * ZK_CONNECTIONLOSS: what became of the first one cannot be known. False, and no effect, for reads.
 */
bool zk_repeat(struct zk *zk, uint64_t token, const struct zk_sent *sent);

/* Puts `scheme:auth` on this and every later connection (client_add_auth); call it right after
 * zk_new, so that no operation goes out before it. Copied. */
void zk_add_auth(struct zk *zk, const char *scheme, struct slice auth);

session_id_t zk_session_id(const struct zk *zk);
int32_t zk_timeout_ms(const struct zk *zk); /* of the session, as negotiated */
zxid_t zk_last_zxid(const struct zk *zk);   /* the highest that was seen */
bool zk_is_read_only(const struct zk *zk);  /* connected to a server without a quorum */
/* The server connected to, as it was given; NULL: none. Borrowed. */
const char *zk_server(const struct zk *zk);
/* All that were given. */
int32_t zk_server_count(const struct zk *zk);
const char *zk_server_at(const struct zk *zk, int32_t server);
enum client_state zk_state(const struct zk *zk);

#endif
