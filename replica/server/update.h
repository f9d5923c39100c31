/* What the core wants done. Owned by the core until the next step. The shell carries them out in
 * order; it may do so at once. What has to wait for the disk is emitted by a later step, after
 * EV_LOG_SYNCED. */
#ifndef ZKFS_REPLICA_SERVER_UPDATE_H
#define ZKFS_REPLICA_SERVER_UPDATE_H

#include "common/log.h"
#include "common/types.h"
#include "replica/proto/txn_codec.h"

enum update_type {
    UPD_LOG_APPEND, /* record; answer with EV_LOG_SYNCED once durable (one answer may cover many) */
    UPD_LOG_TRUNCATE, /* zxid: remove every record behind it; EV_LOG_TRUNCATED. Nothing is appended
                         meanwhile */
    UPD_LOG_READ,     /* peer, zxid: durable records behind zxid; EV_LOG_RANGE, by a later step */
    UPD_SAVE_EPOCH,   /* epoch: make acceptedEpoch durable; EV_EPOCH_SAVED */
    UPD_SNAP_BEGIN,   /* what follows is written as a snapshot that will replace the whole log */
    UPD_SNAP_CHUNK,   /* bytes: its next piece */
    UPD_SNAP_END, /* zxid, ended: that was all; EV_SNAP_INSTALLED. Nothing is appended meanwhile */
    UPD_SNAP_ABANDON, /* it will never be ended */
    UPD_PEER_SEND,    /* peer, bytes: one message */
    UPD_PEER_DROP,    /* peer, bytes: close the link; why, for one log line. No event of it follows;
                         the shell connects again */
    UPD_SEND,         /* conn, bytes: write them (frames with their lengths, or a word's answer) */
    UPD_CLOSE,    /* conn: close after all that was sent is written; bytes: why, for one log line */
    UPD_PAUSE,    /* conn: read no more from it for now (back-pressure) */
    UPD_RESUME,   /* conn: read on */
    UPD_DEADLINE, /* mono_ms: EV_TICK not later than then (replaces the one before) */
    UPD_NOTE,     /* level, bytes: one log line */
    UPD_STOP,     /* bytes: why; end the process with an error */
};

struct update {
    enum update_type type;
    conn_id_t conn;
    struct slice bytes;
    struct log_record record;
    int64_t mono_ms;
    zxid_t zxid;
    zxid_t ended;
    uint32_t epoch;
    uint8_t peer;
    enum log_level level;
};

struct updates {
    const struct update *list;
    size_t count;
};

#endif
