/* The pieces of a snapshot (snapshot.proto): a head, then znodes in the order of a walk, then
 * sessions; in a checkpoint then the records that were applied during the walk; and the digest of
 * it all. Each piece is a list of items and stands for itself. The same bytes go over a link and
 * into a file. */
#ifndef ZKFS_REPLICA_PROTO_SNAP_CODEC_H
#define ZKFS_REPLICA_PROTO_SNAP_CODEC_H

#include "common/buf.h"
#include "replica/proto/txn_codec.h"
#include "replica/tree/tree_load.h"

/* A piece is closed when it has grown beyond this; one large znode may make it longer. */
#define SNAP_PIECE_BYTES (256u << 10)

/* Servers have numbers of one byte. */
#define SNAP_GIVEN_MAX 256u

/* The ensemble, once, first. */
struct snap_head {
    struct slice secret; /* keys the sessions' passwords */
    /* The greatest session id that each server has given out, by their numbers, ascending: those of
     * sessions that have ended must not be given out again. */
    const session_id_t *given;
    size_t given_count; /* SNAP_GIVEN_MAX at most */
};

/* A result that a retried write may ask for again (docs/client-retries.md). */
struct snap_result {
    int32_t cxid;
    zxid_t zxid;
    struct slice bytes; /* the server room's */
};

struct snap_session {
    session_id_t id;
    int32_t timeout_ms;
    bool retries; /* exactly-once retries were asked for */
    const struct snap_result *results;
    size_t result_count;
};

/* Where the walk began and ended: records behind `begun` up to `ended` follow (a checkpoint). */
struct snap_walk {
    zxid_t begun, ended;
};

/* The tree's digest when everything up to zxid is applied. */
struct snap_digest {
    zxid_t zxid;
    uint64_t digest;
};

void snap_put_head(struct buf *piece, const struct snap_head *h);
void snap_put_znode(struct buf *piece, const struct znode_image *image);
void snap_put_session(struct buf *piece, const struct snap_session *s);
void snap_put_walk(struct buf *piece, const struct snap_walk *w);
void snap_put_record(struct buf *piece, const struct log_record *r);
void snap_put_digest(struct buf *piece, const struct snap_digest *d);

/* Calls back for each item of a piece, in order; everything is borrowed for the call. A callback
 * says false to refuse. False when malformed or refused. */
struct snap_reader {
    void *ctx;
    bool (*head)(void *ctx, const struct snap_head *h);
    bool (*znode)(void *ctx, const struct znode_image *image);
    bool (*session)(void *ctx, const struct snap_session *s);
    bool (*walk)(void *ctx, const struct snap_walk *w);
    bool (*record)(void *ctx, const struct log_record *r);
    bool (*digest)(void *ctx, const struct snap_digest *d);
};
bool snap_read_piece(struct slice piece, const struct snap_reader *reader);

#endif
