/* Was a write done, whose answer was lost with the connection? Decided by what the znode looks like
 * afterwards. Pure; the looking itself is zk_lost.c.
 *
 * Every look follows a `sync` on the new connection, so it shows whatever the old one can still
 * have brought about. `before` is the last zxid seen before the write was sent: what is not newer
 * was there already, and cannot be ours.
 *
 *   write           what is there now                                   verdict
 *   create          nothing                                             MAYBE_AGAIN
 *                   made at or before `before`                          AGAIN (NODEEXISTS)
 *                   another owner, or other data and never changed      AGAIN (NODEEXISTS)
 *                   newer, ours by owner (ephemeral), same data         DONE
 *                   newer, same data, not exclusive                     DONE
 *                   newer, same data, exclusive                         UNKNOWN
 *                   newer, other data, changed since                    UNKNOWN
 *   set version v   nothing                                             MAYBE_AGAIN (NONODE)
 *                   not changed since `before`                          AGAIN
 *                   version v                                           AGAIN
 *                   version v + 1, other data                           AGAIN (BADVERSION)
 *                   version v + 1, same data, not exclusive             DONE
 *                   version v + 1, same data, exclusive                 UNKNOWN
 *                   any other version                                   UNKNOWN
 *   set, any        nothing                                             MAYBE_AGAIN (NONODE)
 *                   not changed since `before`                          AGAIN
 *                   same data                                           DONE
 *                   other data                                          MAYBE_AGAIN
 *   delete          nothing                                             DONE
 *                   made after `before`: another in its place           DONE
 *                   the same znode still                                AGAIN
 *   set ACL         as set, by aversion and ACL (it leaves no zxid)
 *   check           says nothing
 *
 * A multi is all or nothing: one AGAIN settles it; all DONE, in one and the same transaction, is
 * done; all MAYBE_AGAIN is sent again; any other mixture is UNKNOWN. Of several operations on one
 * path the last one counts. Two lost writes of this mount never take the same transaction for
 * theirs (zk_own_has). */
#ifndef ZKFS_FS_ZK_WRITE_CHECK_H
#define ZKFS_FS_ZK_WRITE_CHECK_H

#include "common/proto.h"

enum wc_op_type { WC_CREATE, WC_SET, WC_DELETE, WC_SET_ACL, WC_CHECK };

struct wc_op {
    enum wc_op_type type;
    struct slice path;
    struct slice data;
    int32_t version;
    enum create_mode mode;
    int64_t ttl_ms;
    bool exclusive;
    struct jvec acl;
};

/* What was found at the path. */
struct wc_look {
    bool exists;
    bool data_is_known; /* false when the ACL did not let us read it */
    struct zstat stat;
    struct slice data;
    struct jvec acl; /* WC_SET_ACL */
};

enum wc_verdict {
    WC_NOTHING,     /* it does not tell */
    WC_DONE,        /* done: the stat found is the result */
    WC_AGAIN,       /* surely not done: sending it again is right, and its answer the true one */
    WC_MAYBE_AGAIN, /* no trace of it: it is sent again, unless other operations left theirs */
    WC_UNKNOWN,     /* cannot be known */
};

struct wc_result {
    enum wc_verdict verdict;
    zxid_t zxid; /* DONE: the transaction that did it; 0 when that cannot be told */
};

struct wc_result write_check(const struct wc_op *op, zxid_t before, session_id_t session,
                             const struct wc_look *look);
/* The verdict on a multi whose operations have these results. */
struct wc_result write_check_multi(const struct wc_result *results, size_t count);
/* The operations of a write that this program has encoded: of a multi those in it. Their slices
 * point into the request; the caller frees *ret_ops. */
size_t wc_decode(int32_t opcode, struct slice request, bool exclusive, struct wc_op **ret_ops);
/* The version after v: -1 is skipped, for it means any (ZOOKEEPER-4743). */
int32_t write_check_next_version(int32_t v);

#endif
