#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"
#include "replica/config.h"
#include "replica/io/loop.h"
#include "replica/offline/offline.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Exit codes; loop.h has the others. */
#define EXIT_CONFIG 1

#define VERSION_TEXT "zkfs " ZKFS_VERSION

static const char help[] =
    "usage: zkreplica CONFIG\n"
    "       zkreplica --import APACHE_DIR [--log-dir APACHE_LOG_DIR] CONFIG\n"
    "       zkreplica --restore SNAPSHOT_FILE CONFIG\n"
    "       zkreplica --dump DIR|FILE [--from ZXID] [-v]\n"
    "       zkreplica --check DIR\n"
    "Serves the ZooKeeper client protocol as the configuration (zoo.cfg) says, alone or as one of "
    "an\n"
    "ensemble, in the foreground; logs to standard error. SIGTERM or SIGINT stop it in order.\n"
    "  --import   makes the data of a new ensemble out of Apache ZooKeeper's (3.5 to 3.9)\n"
    "  --restore  makes the data of a new ensemble out of one snapshot file\n"
    "  --dump     prints what stands in a log directory, or in one file of it\n"
    "  --check    verifies a log directory, and says what it holds\n"
    "  --help     this text\n"
    "  --version  the version\n"
    "Exit status: 0 stopped in order, or done, 1 wrong configuration or usage, 2 the log (or what "
    "is\n"
    "to be read) was refused, 3 stopped by a failure. The log says what and where.\n";

static void log_note(void *ctx, enum log_level level, const char *text) {
    log_line(level, "%s", text);
}

/* Clients are many and descriptors are cheap: what the operator allows is used. */
static void raise_descriptors(void) {
    struct rlimit fds;
    if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur == fds.rlim_max)
        return;
    fds.rlim_cur = fds.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &fds) < 0)
        log_warn("the limit of descriptors stays at %llu", (unsigned long long)fds.rlim_cur);
}

/* One arena, for the log's thread allocates next to nothing; memory beyond 256 KiB at the heap's
 * end goes back, and blocks of 256 KiB and more (large values, a big batch) come and go by mmap
 * alone. */
static void tune_memory(void) {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

/* A data directory of Apache ZooKeeper's looks like a fresh one to us. Starting empty where an
 * operator expects his data would be the worst of answers. */
static bool holds_apache_data(const struct config *config, const char *log_dir) {
    const char *dirs[] = {config->data_dir, config->data_log_dir};
    bool found = false;
    if (access(log_dir, F_OK) == 0)
        return false;
    for (size_t i = 0; i < 2; i++) {
        struct buf path = BUF_INIT;
        buf_printf(&path, "%s/version-2", dirs[i]);
        buf_put_u8(&path, 0);
        if (!found && access((const char *)path.data, F_OK) == 0) {
            bool one = strcmp(dirs[0], dirs[1]) == 0;
            log_error("%s holds data of Apache ZooKeeper; \"zkreplica --import %s%s%s CONFIG\" "
                      "makes data of zkreplica's out of it, and leaves it as it is",
                      (const char *)path.data, dirs[0], one ? "" : " --log-dir ",
                      one ? "" : dirs[1]);
            found = true;
        }
        buf_close(&path);
    }
    return found;
}

static int32_t init_ms(const struct config *c) {
    int64_t ms = (int64_t)c->init_ticks * c->tick_ms;
    return ms < INT32_MAX ? (int32_t)ms : INT32_MAX;
}

static struct replica_config replica_config_from(const struct config *c) {
    return (struct replica_config){
        .server_id = c->server_id,
        .ensemble = {.servers = c->quorum, .count = c->server_count},
        .heartbeat_ms = c->heartbeat_ms,
        .silence_ms = c->silence_ms,
        .init_ms = init_ms(c),
        .init_limit = c->init_ticks,
        .sync_limit = c->sync_ticks,
        .leader_serves = c->leader_serves,
        .read_only_mode = c->read_only_mode,
        .snap_count = c->snap_count,
        .snap_size_limit_bytes = c->snap_size_limit_bytes,
        .tick_ms = c->tick_ms,
        .min_session_timeout_ms = c->min_session_timeout_ms,
        .max_session_timeout_ms = c->max_session_timeout_ms,
        .max_frame_bytes = c->max_frame_bytes,
        .max_conns_per_ip = c->max_conns_per_ip,
        .max_outstanding = c->max_outstanding,
        .skip_acl = c->skip_acl,
        .extended_types = c->extended_types,
        .container_check_ms = c->container_check_ms,
        .containers_per_minute = c->containers_per_minute,
        .container_never_used_ms = c->container_never_used_ms,
        .super_digest = c->super_digest,
        .word_whitelist = c->word_whitelist,
        .version = VERSION_TEXT,
        .data_dir = c->data_dir,
        .data_log_dir = c->data_log_dir,
        .client_port = c->client_port,
        .listen_backlog = c->listen_backlog,
    };
}

/* The others of the ensemble go to `peers`, that has room for all; this server's own line says
 * where it listens. */
static void join_ensemble(struct loop_config *loop, const struct config *c,
                          struct loop_peer *peers) {
    loop->server_id = c->server_id;
    loop->peers = peers;
    for (uint32_t i = 0; i < c->server_count; i++) {
        const struct config_server *s = &c->servers[i];
        bool voter = c->quorum[i].voter;
        if (s->id != c->server_id) {
            peers[loop->peer_count++] = (struct loop_peer){
                .id = s->id, .host = s->host, .port = s->peer_port, .voter = voter};
            continue;
        }
        loop->voter = voter;
        loop->peer_address = c->listen_on_all_ips ? NULL : s->host;
        loop->peer_port = s->peer_port;
        loop->election_port = s->election_port;
        loop->member.replica.quorum_port = s->peer_port;
        loop->member.replica.election_port = s->election_port;
    }
}

/* The members as zoo.cfg has them, for the word conf. The caller closes `text`. */
static void put_membership(struct buf *text, const struct config *c) {
    for (uint32_t i = 0; i < c->server_count; i++) {
        const struct config_server *s = &c->servers[i];
        buf_printf(text, "server.%d=%s:%d:%d:%s\n", s->id, s->host, s->peer_port, s->election_port,
                   c->quorum[i].voter ? "participant" : "observer");
    }
    buf_put_u8(text, 0);
}

static void log_ensemble(const struct config *c) {
    struct buf text = BUF_INIT;
    for (uint32_t i = 0; i < c->server_count; i++)
        buf_printf(&text, " server.%d=%s:%d%s", c->servers[i].id, c->servers[i].host,
                   c->servers[i].peer_port, c->quorum[i].voter ? "" : "(observer)");
    log_info("one of an ensemble myid=%d heartbeat_ms=%d silence_ms=%d init_ms=%d%.*s",
             c->server_id, c->heartbeat_ms, c->silence_ms, init_ms(c), (int)text.len,
             (const char *)text.data);
    buf_close(&text);
}

static int serve(const struct config *c, const char *log_dir) {
    struct loop_config loop = {
        .member = {.replica = replica_config_from(c),
                   .wal = {.dir = log_dir,
                           .segment_bytes = c->segment_bytes,
                           .snap_retain = c->snap_retain,
                           .reserve_bytes = WAL_RESERVE_BYTES_DEFAULT,
                           .no_sync = !c->force_sync}},
        .client_address = c->client_address,
        .client_port = c->client_port,
        .listen_backlog = c->listen_backlog,
        .max_conns = c->max_conns,
        .max_frame_bytes = c->max_frame_bytes,
        .first_frame_ms = c->first_frame_ms,
        .keepalive = c->keepalive,
        .sync_warn_ms = c->sync_warn_ms,
        .data_dir = c->data_dir,
        .log_dir = log_dir,
    };
    struct loop_peer *peers = mem_zalloc((c->server_count + 1) * sizeof *peers);
    struct buf membership = BUF_INIT;
    if (c->server_count > 0) {
        put_membership(&membership, c);
        loop.member.replica.membership = (const char *)membership.data;
        join_ensemble(&loop, c, peers);
        log_ensemble(c);
    }
    int code = (int)loop_run(&loop);
    mem_free(peers);
    buf_close(&membership);
    return code;
}

static int run(const char *config_path) {
    struct config config;
    struct buf why = BUF_INIT;
    if (config_load(config_path, log_note, NULL, &config, &why) != 0) {
        log_error("%.*s", (int)why.len, (const char *)why.data);
        buf_close(&why);
        return EXIT_CONFIG;
    }
    buf_close(&why);
    struct buf log_dir = BUF_INIT;
    buf_printf(&log_dir, "%s/log", config.data_log_dir);
    buf_put_u8(&log_dir, 0);
    int code = LOOP_LOG_REFUSED;
    if (!holds_apache_data(&config, (const char *)log_dir.data)) {
        log_info("starting version=%s data_dir=%s log_dir=%s client_address=%s client_port=%d "
                 "pid=%d",
                 ZKFS_VERSION, config.data_dir, (const char *)log_dir.data,
                 config.client_address ? config.client_address : "*", config.client_port,
                 (int)getpid());
        code = serve(&config, (const char *)log_dir.data);
    }
    buf_close(&log_dir);
    config_close(&config);
    return code;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return puts("zkreplica (" VERSION_TEXT ")") < 0;
    if (offline_command(argc, argv))
        return offline_run(argc, argv);
    if (argc != 2 || argv[1][0] == '-') {
        fputs(help, stderr);
        return EXIT_CONFIG;
    }
    tune_memory();
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    return run(argv[1]);
}
