/* What can happen to a replica's core. Everything in an event is borrowed for the call. */
#ifndef ZKFS_REPLICA_SERVER_EVENT_H
#define ZKFS_REPLICA_SERVER_EVENT_H

#include "common/types.h"
#include "replica/proto/txn_codec.h"

enum event_type {
    /* Before EV_START: what the disk held, in this order. */
    EV_EPOCH,          /* epoch: acceptedEpoch; not sent when none was saved */
    EV_LOSSY,          /* this server may have acknowledged what it does not have any more */
    EV_SNAP_CHUNK,     /* bytes: the next piece of the newest snapshot */
    EV_SNAP_RESET,     /* that snapshot is damaged: what came of it is void; another may follow */
    EV_SNAP_END,       /* zxid: where its walk began; ended */
    EV_LOG_OLDER,      /* zxid: the log begins behind it, before the snapshot; epoch_ends: the last
                          zxid of each epoch in between, ascending */
    EV_LOG_RECORD,     /* one record of the recovered log behind the snapshot, in order */
    EV_START,          /* all is read; `random` has fresh randomness */
    EV_TICK,           /* UPD_DEADLINE's time has come */
    EV_CLIENT_OPEN,    /* conn, addr: accepted */
    EV_CLIENT_FRAME,   /* conn, bytes: one whole frame without its length */
    EV_CLIENT_WORD,    /* conn, bytes: the four letters; the connection has sent nothing else */
    EV_CLIENT_CLOSED,  /* conn: gone (not after an UPD_CLOSE of ours) */
    EV_PEER_UP,        /* peer: a link is there; nothing was said on it yet */
    EV_PEER_MESSAGE,   /* peer, bytes: one whole message */
    EV_PEER_DOWN,      /* peer: the link is gone (not after an UPD_PEER_DROP of ours) */
    EV_LOG_SYNCED,     /* zxid: everything appended up to it is durable */
    EV_LOG_TRUNCATED,  /* as UPD_LOG_TRUNCATE asked, durably */
    EV_LOG_RANGE,      /* peer, zxid, records, record_count: as UPD_LOG_READ asked */
    EV_EPOCH_SAVED,    /* epoch */
    EV_SNAP_INSTALLED, /* the snapshot is durable in place of the whole log */
    EV_DISK_FAILED,    /* bytes: what failed; the core answers with UPD_STOP (Z7) */
    EV_DISK_FULL, /* what was to be written waits for room (Z10): UPD_LOG_RETRY, now and then */
    EV_DISK_ROOM, /* there is room again, and all that waited goes on */
    EV_CHECKPOINT_WRITTEN, /* count: so many more pieces of the checkpoint are written */
    EV_CHECKPOINT_SAVED,   /* zxid, size_bytes: the checkpoint is durable */
    EV_CHECKPOINT_FAILED,  /* bytes: why it is abandoned; the replica goes on */
    EV_LOG_PURGED,         /* zxid: the log begins behind it now */
    EV_REPAIR_RANGE,   /* peer, zxid, ended, records, record_count: as UPD_REPAIR_READ asked; none:
                          nothing durable is behind zxid, or (count 1) the log does not reach back */
    EV_SNAP_RANGE,     /* peer, zxid, ended, size_bytes, offset, bytes: as UPD_SNAP_READ asked; no
                          bytes: there is no such snapshot */
    EV_REBUILD_COPIED, /* zxid: as UPD_REBUILD_COPY asked, up to there; record: the first of it */
};

/* What only the shell knows of the process, for the admin words. */
struct process_info {
    int64_t open_fds, max_fds;
    int64_t data_dir_bytes, log_dir_bytes;
    int64_t sync_count, sync_total_us, sync_max_us; /* of the log */
};

struct event {
    enum event_type type;
    int64_t mono_ms; /* monotonic: timeouts, latencies */
    int64_t wall_ms; /* since 1970: ctime, mtime */
    conn_id_t conn;
    struct slice bytes;
    const struct log_record *record;
    const struct log_record *records; /* EV_LOG_RANGE: those behind zxid; none: the log does not
                                         reach back so far */
    size_t record_count;
    const zxid_t *epoch_ends; /* EV_LOG_OLDER */
    size_t epoch_end_count;
    uint64_t count, size_bytes, offset;
    zxid_t zxid;
    zxid_t ended;
    uint32_t epoch;
    uint8_t peer;
    const uint8_t *random; /* EV_START: RANDOM_BYTES of them */
    struct slice addr;     /* EV_CLIENT_OPEN: 4 or 16 bytes, network order (v4-mapped comes as 4) */
    uint16_t port;         /* EV_CLIENT_OPEN: the client's, host order */
    const struct process_info *process; /* EV_CLIENT_WORD */
};

#define RANDOM_BYTES 32

#endif
