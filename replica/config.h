/* zoo.cfg as one struct. The syntax is common/zoocfg's; here is the meaning of the keys: names,
 * defaults and units are ZooKeeper's (QuorumPeerConfig and zookeeperAdmin.md; PROTOCOL 2). */
#ifndef ZKFS_REPLICA_CONFIG_H
#define ZKFS_REPLICA_CONFIG_H

#include "common/buf.h"
#include "common/log.h"
#include "common/types.h"
#include "replica/zab/quorum.h"

/* A server.N line. */
struct config_server {
    uint8_t id;
    char *host; /* name or address */
    int32_t peer_port, election_port;
    char *client_host;   /* behind the `;`; NULL: not given */
    int32_t client_port; /* 0: not given */
};

struct config {
    char *data_dir;
    char *data_log_dir;   /* dataDir where dataLogDir is not given */
    char *client_address; /* clientPortAddress; NULL: every address of the host */
    char *super_digest;   /* NULL: nobody is super */
    char *word_whitelist; /* NULL: the default (srvr) */
    int32_t tick_ms;
    int32_t client_port;
    int32_t listen_backlog;
    int32_t max_conns_per_ip; /* maxClientCnxns; 0: no limit */
    int32_t max_conns;        /* maxCnxns; 0: no limit but the descriptors' */
    int32_t min_session_timeout_ms;
    int32_t max_session_timeout_ms;
    int32_t max_frame_bytes; /* jute.maxbuffer */
    int32_t max_outstanding; /* globalOutstandingLimit */
    int32_t
        first_frame_ms;    /* nio.sessionlessCnxnTimeout: how long a new connection may be silent */
    int64_t segment_bytes; /* preAllocSize, or txnLogSizeLimitInKb where that is given */
    int32_t snap_count;    /* snapCount: transactions from one snapshot to the next */
    int64_t snap_size_limit_bytes; /* snapSizeLimitInKb: of log, likewise; 0 or less: no limit */
    int32_t snap_retain;           /* autopurge.snapRetainCount */
    int32_t sync_warn_ms;          /* fsync.warningthresholdms */
    /* znode.container.checkIntervalMs, maxPerMinute, maxNeverUsedIntervalMs */
    int32_t container_check_ms, containers_per_minute, container_never_used_ms;
    bool extended_types; /* extendedTypesEnabled */
    bool force_sync;
    bool skip_acl;
    bool keepalive; /* clientTcpKeepAlive */
    /* The ensemble: server_id 0 and no servers for a replica that stands alone. The two tables are
     * in the order of ids and say the same servers. */
    uint8_t server_id; /* of the file myid in dataDir */
    struct config_server *servers;
    struct quorum_server *quorum;
    uint32_t server_count;
    int32_t init_ticks, sync_ticks;   /* initLimit, syncLimit */
    int32_t heartbeat_ms, silence_ms; /* peer.heartbeatMs, peer.silenceMs: the failure detector */
    bool leader_serves;               /* leaderServes */
    bool read_only_mode;              /* readonlymode.enabled */
    bool listen_on_all_ips;           /* quorumListenOnAllIPs */
    bool standalone;                  /* standaloneEnabled: a single server.N is no ensemble */
};

/* Hears of warnings and notes, one sentence each, while a configuration is read. */
typedef void config_note_fn(void *ctx, enum log_level level, const char *text);

/* Reads zoo.cfg at `path` (and the file that its dynamicConfigFile names). 0 and a config that
 * config_close frees, or a negative errno with one sentence in ret_why that says file, line, what
 * is wrong and what would be right; *ret_config is untouched then. */
int config_load(const char *path, config_note_fn *note, void *ctx, struct config *ret_config,
                struct buf *ret_why);
/* The same for a text in memory; `name` stands for the file in messages. */
int config_parse(struct slice text, const char *name, config_note_fn *note, void *ctx,
                 struct config *ret_config, struct buf *ret_why);
void config_close(struct config *c);

#endif
