#include "replica/io/client_listen.h"

#include "common/log.h"
#include "replica/io/loop_state.h"

#include <sys/resource.h>

/* Descriptors that clients never get, beside those of the peers: the log's segments and directory,
 * standard streams, libuv's own, /proc for the admin words, and room for what is to come. */
#define FDS_KEPT 32
/* Refused connections make at most one line in this time. */
#define REFUSED_LOG_MS 1000

static size_t conns_allowed(struct loop *l) {
    struct rlimit fds;
    size_t kept = FDS_KEPT + peers_descriptors(&l->peers);
    size_t limit = getrlimit(RLIMIT_NOFILE, &fds) == 0 ? fds.rlim_cur : 1024;
    size_t allowed = limit > 2 * kept ? limit - kept : limit / 2;
    if (l->config->max_conns > 0 && (size_t)l->config->max_conns < allowed)
        allowed = (size_t)l->config->max_conns;
    return allowed;
}

static void log_refused(struct client_listen *cl, const char *why) {
    int64_t now_ms = loop_mono_ms();
    cl->refused++;
    if (cl->refused_logged_ms != 0 && now_ms - cl->refused_logged_ms < REFUSED_LOG_MS)
        return;
    log_warn("refused client connections: %s count=%llu connections=%zu limit=%zu", why,
             (unsigned long long)cl->refused, cl->loop->clients.count, cl->max_conns);
    cl->refused_logged_ms = now_ms;
    cl->refused = 0;
}

static int accept_client(void *ctx, uv_stream_t *server) {
    struct client_listen *cl = ctx;
    bool full = cl->loop->clients.count >= cl->max_conns;
    int rc = clients_accept(&cl->loop->clients, server, full);
    if (full)
        log_refused(cl, "there are too many");
    return rc;
}

int client_listen_init(struct client_listen *cl, struct loop *l) {
    *cl = (struct client_listen){.loop = l};
    return tcp_listen_init(&cl->port, &l->uv, "clients", accept_client, cl);
}

int client_listen_open(struct client_listen *cl) {
    const struct loop_config *config = cl->loop->config;
    cl->max_conns = conns_allowed(cl->loop);
    int rc = tcp_listen_open(&cl->port, config->client_address, config->client_port,
                             config->listen_backlog);
    if (rc != 0)
        return rc;
    struct tcp_name name;
    log_info("listening for clients address=%s max_connections=%zu recovery_ms=%lld",
             tcp_name(&cl->port.address, &name), cl->max_conns, (long long)cl->loop->recovery_ms);
    return 0;
}

void client_listen_close(struct client_listen *cl) { tcp_listen_close(&cl->port); }
