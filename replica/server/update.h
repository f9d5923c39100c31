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
    UPD_SEND,       /* conn, bytes: write them (frames with their lengths, or a word's answer) */
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
    enum log_level level;
};

struct updates {
    const struct update *list;
    size_t count;
};

#endif
