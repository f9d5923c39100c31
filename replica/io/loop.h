/* The replica's process around its member: a libuv loop with the client port, the links to the
 * other servers, the timer, the signals and the disk. libuv's types stay in this folder. */
#ifndef ZKFS_REPLICA_IO_LOOP_H
#define ZKFS_REPLICA_IO_LOOP_H

#include "common/types.h"
#include "replica/io/peer_conn.h"
#include "replica/member.h"

struct loop_config {
    struct member_config member;
    const char *client_address; /* host name or address; NULL: all of this host's */
    int32_t client_port;
    int32_t listen_backlog;
    int32_t max_conns;       /* 0: what the limit of descriptors allows */
    int32_t max_frame_bytes; /* longer frames close their connection */
    int32_t first_frame_ms;  /* a connection that has not sent a whole frame by then is closed */
    bool keepalive;          /* SO_KEEPALIVE on client connections */
    int32_t sync_warn_ms;    /* a sync of the log that takes longer is worth a warning */
    const char *data_dir, *log_dir; /* for the sizes in admin words */
    /* The ensemble; all of it 0 for a replica that stands alone. */
    uint8_t server_id;
    bool voter;
    const struct loop_peer *peers; /* the others */
    size_t peer_count;
    const char *peer_address; /* to listen at; NULL: all of this host's */
    int32_t peer_port,
        election_port; /* the same port, or both listen: each serves for everything */
};

enum loop_exit {
    LOOP_ORDERLY = 0,     /* a signal asked for it */
    LOOP_LOG_REFUSED = 2, /* recovery found doubt, or the log is in use */
    LOOP_FAILED = 3,      /* the disk, the port or an invariant failed */
};

/* Recovers, serves until a signal or a failure, and cleans up. Everything is logged. */
enum loop_exit loop_run(const struct loop_config *config);

#endif
