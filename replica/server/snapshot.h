/* Snapshots of a replica: its tree by a resumable walk, then its sessions, while writes go on (Z9);
 * and what becomes of the pieces at a learner or at a start. snap_codec.h has the bytes.
 *
 *   leader, ZAB_SNAP_SEND:  snap_sender_new; while zab_snap_room: snap_sender_piece ->
 * zab_snap_send; at its end zab_snap_sent(begun, ended), snap_sender_free learner, ZAB_SNAP_*:
 * BEGIN: snap_loader_new; CHUNK: snap_loader_piece; ABANDON: free; END: the pieces are durable
 * first (EV_SNAP_INSTALLED), then snap_loader_finish. A start likewise: EV_SNAP_CHUNK...,
 * EV_SNAP_END. */
#ifndef ZKFS_REPLICA_SERVER_SNAPSHOT_H
#define ZKFS_REPLICA_SERVER_SNAPSHOT_H

#include "common/buf.h"
#include "common/types.h"
#include "replica/proto/snap_codec.h"

struct replica;
struct snap_sender;
struct snap_loader;

/* Begins at what is applied now. It stays within r->tree: to be freed before that is replaced or
 * freed. Any number may be under way; transactions are applied meanwhile. */
struct snap_sender *snap_sender_new(struct replica *r);
void snap_sender_free(struct snap_sender *s); /* NULL is fine */
/* Writes the next piece into `piece` (which is reset first): about SNAP_PIECE_BYTES, so that a step
 * stays short. False, and nothing written, behind the last one. */
bool snap_sender_piece(struct snap_sender *s, struct buf *piece);
/* Whether that was the last one: snap_sender_piece would say false. */
bool snap_sender_over(const struct snap_sender *s);
/* The log is replayed from behind here: the last record that was applied at the beginning; 0 where
 * none was. */
zxid_t snap_sender_begun(const struct snap_sender *s);
/* Up to here the pieces may be ahead of that. Known when snap_sender_over (CHECK). */
zxid_t snap_sender_ended(const struct snap_sender *s);
/* A checkpoint's sender makes pieces of about that size, and leaves the digest to its caller, who
 * puts it behind the records. */
void snap_sender_for_checkpoint(struct snap_sender *s, size_t piece_bytes);
/* The tree's digest at snap_sender_ended; false when it is not known, for the tree was on its way
 * out of a fuzzy snapshot itself. */
bool snap_sender_digest(const struct snap_sender *s, uint64_t *ret_digest);

/* Takes pieces, in order; the replica is left alone until snap_loader_finish. */
struct snap_loader *snap_loader_new(void);
/* Who loads a checkpoint hears of what stands behind its sessions; each says NULL or why it is
 * refused. Without a sink these items are refused. */
struct snap_sink {
    void *ctx;
    const char *(*walk)(void *ctx, zxid_t begun, zxid_t ended);
    const char *(*record)(void *ctx, const struct log_record *r);
};
void snap_loader_set_sink(struct snap_loader *l, const struct snap_sink *sink);
/* Whether the pieces had a walk; and the digest that they ended with. */
bool snap_loader_walk(const struct snap_loader *l);
bool snap_loader_digest(const struct snap_loader *l, struct snap_digest *ret_digest);
void snap_loader_free(struct snap_loader *l); /* NULL is fine */
/* NULL, or why the piece is refused (static text): it comes from a disk or a peer. Every later one
 * is refused as well. */
const char *snap_loader_piece(struct snap_loader *l, struct slice piece);
/* Puts the whole into r in place of its tree, sessions and secret; what was given out before
 * (session ids) stays known. tree_last_zxid is `begun` then, and the log is replayed from behind
 * it, as at a start. NULL, or why it is refused, and r is as it was. r has no senders, no
 * connection with a session and no request under way any more (CHECK of the former). */
const char *snap_loader_finish(struct snap_loader *l, struct replica *r, zxid_t begun,
                               zxid_t ended);

/* Puts what a new replica has in place of r's tree, sessions and secret. */
void snap_loader_empty(struct snap_loader *l, struct replica *r);

#endif
