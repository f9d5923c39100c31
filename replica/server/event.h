/* What can happen to a replica's core. Everything in an event is borrowed for the call. */
#ifndef ZKFS_REPLICA_SERVER_EVENT_H
#define ZKFS_REPLICA_SERVER_EVENT_H

#include "common/types.h"
#include "replica/proto/txn_codec.h"

enum event_type {
    EV_LOG_RECORD,    /* before EV_START: one record of the recovered log, in order */
    EV_START,         /* the log is read; `random` has fresh randomness */
    EV_TICK,          /* UPD_DEADLINE's time has come */
    EV_CLIENT_OPEN,   /* conn, addr: accepted */
    EV_CLIENT_FRAME,  /* conn, bytes: one whole frame without its length */
    EV_CLIENT_WORD,   /* conn, bytes: the four letters; the connection has sent nothing else */
    EV_CLIENT_CLOSED, /* conn: gone (not after an UPD_CLOSE of ours) */
    EV_LOG_SYNCED,    /* zxid: everything up to it is durable */
    EV_DISK_FAILED,   /* bytes: what failed; the core answers with UPD_STOP (Z7) */
};

/* What only the shell knows of the process, for the admin words. */
struct process_info {
    int64_t open_fds, max_fds;
    int64_t data_dir_bytes, log_dir_bytes;
};

struct event {
    enum event_type type;
    int64_t mono_ms; /* monotonic: timeouts, latencies */
    int64_t wall_ms; /* since 1970: ctime, mtime */
    conn_id_t conn;
    struct slice bytes;
    const struct log_record *record;
    zxid_t zxid;
    const uint8_t *random; /* EV_START: RANDOM_BYTES of them */
    struct slice addr;     /* EV_CLIENT_OPEN: 4 or 16 bytes, network order (v4-mapped comes as 4) */
    uint16_t port;         /* EV_CLIENT_OPEN: the client's, host order */
    const struct process_info *process; /* EV_CLIENT_WORD */
};

#define RANDOM_BYTES 32

#endif
