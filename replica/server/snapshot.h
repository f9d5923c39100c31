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
/* The log is replayed from behind here: the last record that was applied at the beginning; 0 where
 * none was. */
zxid_t snap_sender_begun(const struct snap_sender *s);
/* Up to here the pieces may be ahead of that. Known when snap_sender_piece has said false (CHECK).
 */
zxid_t snap_sender_ended(const struct snap_sender *s);

/* Takes pieces, in order; the replica is left alone until snap_loader_finish. */
struct snap_loader *snap_loader_new(void);
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

#endif
