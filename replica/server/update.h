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
    UPD_SNAP_REFUSED,       /* at a start: the snapshot that is read is damaged; bytes: how */
    UPD_SNAP_ABANDON,       /* it will never be ended */
    UPD_CHECKPOINT_BEGIN,   /* what follows is written as a checkpoint, beside the log */
    UPD_CHECKPOINT_CHUNK,   /* bytes: its next piece; EV_CHECKPOINT_WRITTEN (one may cover many) */
    UPD_CHECKPOINT_END,     /* zxid: it is exact there; EV_CHECKPOINT_SAVED */
    UPD_CHECKPOINT_ABANDON, /* it will never be ended; no event of it follows */
    UPD_LOG_RETRY,          /* the disk was full: try again; EV_DISK_ROOM when all went through */
    UPD_SAVE_WHOLE,         /* this server is not lossy any more: make that durable (no answer) */
    UPD_START_OVER, /* bytes: why, for the log; distrust: leave the ensemble, discard all memory and
                       start anew from the disk; with `distrust` the disk's history counts as lost.
                       The core is gone then */
    UPD_PEER_SEND,  /* peer, bytes: one message */
    UPD_PEER_DROP,  /* peer, bytes: close the link; why, for one log line. No event of it follows;
                       the shell connects again */
    UPD_SEND,       /* conn, bytes: write them (frames with their lengths, or a word's answer) */
    UPD_CLOSE,    /* conn: close after all that was sent is written; bytes: why, for one log line */
    UPD_PAUSE,    /* conn: read no more from it for now (back-pressure) */
    UPD_RESUME,   /* conn: read on */
    UPD_DEADLINE, /* mono_ms: EV_TICK not later than then (replaces the one before) */
    UPD_NOTE,     /* level, bytes: one log line */
    UPD_STOP,     /* bytes: why; end the process with an error */
    /* For one that is being repaired (repair.h). */
    UPD_REPAIR_READ, /* peer, zxid, ended: durable records behind zxid, up to `ended`;
                        EV_REPAIR_RANGE, by a later step */
    UPD_SNAP_READ, /* peer, zxid (0: the newest), offset: the bytes of a snapshot's file from there
                      on; EV_SNAP_RANGE, by a later step */
    /* Of one that is being repaired. UPD_SNAP_BEGIN, _CHUNK and _END stand for the file of another
     * server's snapshot there, which EV_SNAP_INSTALLED or EV_SNAP_RESET answers; UPD_LOG_APPEND for
     * a record of another server's, which nothing answers. */
    UPD_REBUILD_BEGIN, /* zxid: the history is written anew, behind this server's own snapshot of
                          that zxid (0: from the beginning, or behind one that comes) */
    UPD_REBUILD_COPY,  /* zxid, ended: what this server's own log has behind zxid, up to `ended`;
                          first: which record that is, where only the others can know; 0: it knows
                          itself. EV_REBUILD_COPIED, by a later step: of a part of it, or of nothing
                        */
    UPD_REBUILD_END,   /* lossy: that is the history. Start over from the disk */
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
    bool distrust, lossy;
    uint64_t offset;
    zxid_t first;
    enum log_level level;
};

struct updates {
    const struct update *list;
    size_t count;
};

#endif
