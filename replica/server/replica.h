/* The deterministic core of a replica: znode tree, sessions, watches, broadcast. Event in, updates
 * out; no clock, no disk, no socket, no thread, no randomness of its own (DESIGN 3, HOUSE 4). A
 * step does not fail: bad bytes close the connection that sent them, a broken invariant is a CHECK
 * or UPD_STOP. */
#ifndef ZKFS_REPLICA_SERVER_REPLICA_H
#define ZKFS_REPLICA_SERVER_REPLICA_H

#include "common/types.h"
#include "replica/server/event.h"
#include "replica/server/update.h"
#include "replica/zab/quorum.h"

struct replica_config {
    uint8_t server_id;             /* myid; 0 standalone */
    struct quorum_config ensemble; /* all servers, self included; copied. Empty: standalone */
    int32_t heartbeat_ms, silence_ms, init_ms; /* as zab_config; 0: its defaults */
    bool leader_serves;                        /* leaderServes: a leader takes clients, too */
    bool read_only_mode; /* readonlymode.enabled: without a quorum, clients that ask for it read */
    int32_t tick_ms;
    int32_t min_session_timeout_ms, max_session_timeout_ms;
    int32_t max_frame_bytes;       /* jute.maxbuffer */
    int32_t max_conns_per_ip;      /* maxClientCnxns; 0: no limit */
    int32_t max_outstanding;       /* globalOutstandingLimit */
    int64_t snap_count;            /* snapCount: transactions; 0: no checkpoints by it */
    int64_t snap_size_limit_bytes; /* snapSizeLimitInKb; 0 or less: none by it */
    bool skip_acl;                 /* skipACL=yes */
    bool extended_types;           /* extendedTypesEnabled: TTL znodes may be created */
    /* znode.container.checkIntervalMs (0: containers and TTL znodes stay), maxPerMinute (at least
     * 1), maxNeverUsedIntervalMs (0: a container that never had a child stays). */
    int32_t container_check_ms, containers_per_minute, container_never_used_ms;
    uint32_t start_overs; /* cores of this process before this one that ended in UPD_START_OVER */
    const char *super_digest; /* DigestAuthenticationProvider.superDigest, `super:hash`; or NULL */
    const char
        *word_whitelist; /* 4lw.commands.whitelist: names and commas, `*`; NULL: the default */
    const char *version; /* for srvr and mntr */
    /* For conf: shown, not used. */
    const char *data_dir, *data_log_dir;
    int32_t client_port;
    int32_t listen_backlog;
    int32_t init_limit, sync_limit; /* ticks */
    int32_t quorum_port, election_port;
    const char
        *membership; /* the server.N lines as zoo.cfg has them, each with its newline; NULL */
};

struct replica;

struct replica *replica_new(const struct replica_config *config); /* strings are copied */
void replica_free(struct replica *r);
struct updates replica_step(struct replica *r, const struct event *ev);
/* Closes what is open, for whoever is next: every client and every link. No step may follow. */
struct updates replica_leave(struct replica *r);

#endif
