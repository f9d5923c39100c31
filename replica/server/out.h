/* The updates of one step as they grow. Bytes of all updates stand in one buffer; frames to the
 * same connection that follow each other become one UPD_SEND. */
#ifndef ZKFS_REPLICA_SERVER_OUT_H
#define ZKFS_REPLICA_SERVER_OUT_H

#include "common/buf.h"
#include "replica/server/update.h"

struct out {
    struct buf bytes;
    struct update *list;
    size_t *at; /* where each update's bytes start; list[i].bytes.p is set at the end */
    size_t count, cap;
    size_t frame_at; /* of the frame being written */
    conn_id_t frame_conn;
    size_t peer_at; /* of the message being written */
    uint8_t peer;
};

void out_init(struct out *o);
void out_destroy(struct out *o);
/* Forgets the last step's updates. */
void out_begin(struct out *o);
/* The step's updates; good until the next out_begin. */
struct updates out_finish(struct out *o);

/* Begins a frame for conn, with room for its length; the caller writes its body into what this
 * returns and then calls out_frame_end. */
struct buf *out_frame(struct out *o, conn_id_t conn);
void out_frame_end(struct out *o);
/* Sets the length of the frame without sending it: it is going to be copied and dropped. */
void out_frame_seal(struct out *o);
/* Takes back the frame that was begun. */
void out_frame_drop(struct out *o);
/* Bytes as they are: a word's answer, or a frame that was rendered before (with its length). */
void out_bytes(struct out *o, conn_id_t conn, const void *p, size_t n);

/* Begins a message to another server; the caller encodes it into what this returns. */
struct buf *out_peer(struct out *o, uint8_t peer);
void out_peer_end(struct out *o);
void out_peer_drop(struct out *o, uint8_t peer, const char *why);
/* UPD_SNAP_CHUNK or UPD_CHECKPOINT_CHUNK; copied. */
void out_chunk(struct out *o, enum update_type type, struct slice piece);
void out_start_over(struct out *o, bool distrust, const char *why);
/* An update that has no bytes. */
void out_job(struct out *o, struct update u);
void out_log_append(struct out *o, const struct log_record *record); /* payload is borrowed */
void out_pause(struct out *o, conn_id_t conn, bool pause);
void out_deadline(struct out *o, int64_t mono_ms);
/* conn may be 0 where the type has none. */
void out_text(struct out *o, enum update_type type, conn_id_t conn, enum log_level level,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
