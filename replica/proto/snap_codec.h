/* The pieces of a snapshot (snapshot.proto): a head, then znodes in the order of a walk, then
 * sessions; each piece is a list of items and stands for itself. The same bytes go over a link and
 * into a file. */
#ifndef ZKFS_REPLICA_PROTO_SNAP_CODEC_H
#define ZKFS_REPLICA_PROTO_SNAP_CODEC_H

#include "common/buf.h"
#include "replica/tree/tree_load.h"

/* A piece is closed when it has grown beyond this; one large znode may make it longer. */
#define SNAP_PIECE_BYTES (256u << 10)

/* The ensemble, once, first. */
struct snap_head {
    struct slice secret; /* keys the sessions' passwords */
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

void snap_put_head(struct buf *piece, const struct snap_head *h);
void snap_put_znode(struct buf *piece, const struct znode_image *image);
void snap_put_session(struct buf *piece, const struct snap_session *s);

/* Calls back for each item of a piece, in order; everything is borrowed for the call. A callback
 * says false to refuse. False when malformed or refused. */
struct snap_reader {
    void *ctx;
    bool (*head)(void *ctx, const struct snap_head *h);
    bool (*znode)(void *ctx, const struct znode_image *image);
    bool (*session)(void *ctx, const struct snap_session *s);
};
bool snap_read_piece(struct slice piece, const struct snap_reader *reader);

#endif
