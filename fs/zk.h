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
    bool exclusive; /* create: the caller relies on being the one that made it (mkdir, O_EXCL): when
                       the answer is lost, a znode that another client may have made in just the
                       same way is not taken for ours; the result is ZK_CONNECTIONLOSS */
    const struct blob *acl; /* create; NULL: the default ACL of the mount */
};

typedef void zk_cb(void *ctx, const struct zk_result *res);
/* Whether the session's state changed; `state` as in client.h. For .zk/session and log lines. */
typedef void zk_state_cb(void *ctx, enum client_state state);
/* A watch event (none are armed in this issue). */
typedef void zk_watch_cb(void *ctx, enum zk_event type, struct slice path);

struct zk;

/* Starts connecting; servers are resolved now. NULL and *ret_why (static or owned by the zk module
 * until the next call) when an address cannot be understood. */
struct zk *zk_new(struct uv_loop_s *loop, const struct zk_config *config, zk_state_cb *on_state,
                  void *ctx, const char **ret_why);
/* Ends the session (waits for the answer at most 1 s), then calls done; zk is freed. */
void zk_close(struct zk *zk, void (*done)(void *ctx), void *ctx);

/* Each returns a token for zk_cancel. Paths and data are copied. */
uint64_t zk_get(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_exists(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_children(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_create(struct zk *zk, const struct zk_op *op, zk_cb *cb, void *ctx);
uint64_t zk_set(struct zk *zk, struct slice path, struct slice data, int32_t version, zk_cb *cb,
                void *ctx);
uint64_t zk_delete(struct zk *zk, struct slice path, int32_t version, zk_cb *cb, void *ctx);
uint64_t zk_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_cb *cb, void *ctx);
uint64_t zk_get_acl(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
uint64_t zk_set_acl(struct zk *zk, struct slice path, const struct blob *acl, int32_t version,
                    zk_cb *cb, void *ctx);
uint64_t zk_sync(struct zk *zk, struct slice path, zk_cb *cb, void *ctx);
/* The caller was interrupted: cb will not be called any more (a write may still happen). Unknown
 * tokens are ignored. */
void zk_cancel(struct zk *zk, uint64_t token);

/* Puts `scheme:auth` on this and every later connection (client_add_auth); call it right after
 * zk_new, so that no operation goes out before it. Copied. */
void zk_add_auth(struct zk *zk, const char *scheme, struct slice auth);

session_id_t zk_session_id(const struct zk *zk);
enum client_state zk_state(const struct zk *zk);

#endif
