/* Apache ZooKeeper's files, made by hand: what its server writes, in the order in which a test says
 * it. */
#ifndef ZKFS_TESTS_UNIT_OFFLINE_APACHE_MAKE_H
#define ZKFS_TESTS_UNIT_OFFLINE_APACHE_MAKE_H

#include "common/buf.h"
#include "common/jute.h"

#define CONTAINER INT64_MIN
#define TTL_OWNER ((int64_t)0xff00000000000064)

/* ---- a snapshot ---- */

void make_snapshot_begin(struct buf *b, const int64_t *sessions, int32_t session_count);
/* One ACL list, world:anyone with these permissions, of this number. `count` of them follow. */
void make_acl_count(struct buf *b, int32_t count);
void make_acl(struct buf *b, int64_t number, int32_t perms);
struct made_znode {
    const char *path; /* the root's is "" */
    const char *data; /* NULL: null */
    int64_t acl;      /* -1: open */
    int64_t czxid, mzxid, pzxid;
    int32_t version, creates, aversion;
    int64_t owner;
};
void make_znode(struct buf *b, const struct made_znode *z);
/* "/", and the seal. */
void make_snapshot_end(struct buf *b);
/* A sound one: /, /zookeeper and /a (czxid 1), as of zxid 1. */
void make_small_snapshot(struct buf *b);

/* ---- transactions: a header, the body by jute, and into a log with make_record ---- */

void make_header(struct buf *b, int64_t session, int64_t zxid, int32_t type);
void make_create(struct buf *b, const char *path, const char *data, bool ephemeral,
                 int32_t parent_creates);
void make_open_acl(struct buf *b, int32_t perms);
void make_string(struct buf *b, const char *s);

void make_log_begin(struct buf *b);
void make_record(struct buf *log, const struct buf *txn);

#endif
