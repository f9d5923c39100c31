#include "replica/io/client_listen.h"

#include "common/log.h"
#include "replica/io/loop_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Descriptors that clients never get: the log's segments and directory, standard streams, libuv's
 * own, /proc for the admin words, and room for what is to come. */
#define FDS_KEPT 32
/* After accepting failed for want of descriptors or memory, the port stays shut so long. */
#define AGAIN_MS 1000
/* Refused connections make at most one line in this time. */
#define REFUSED_LOG_MS 1000

static int listen_at(struct client_listen *cl);

static size_t conns_allowed(const struct loop_config *config) {
    struct rlimit fds;
    size_t allowed = 1024 - FDS_KEPT;
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
        allowed = fds.rlim_cur > 2 * FDS_KEPT ? fds.rlim_cur - FDS_KEPT : fds.rlim_cur / 2;
    if (config->max_conns > 0 && (size_t)config->max_conns < allowed)
        allowed = (size_t)config->max_conns;
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

static void on_again(uv_timer_t *timer) {
    struct client_listen *cl = timer->data;
    if (cl->wanted && !cl->open && listen_at(cl) != 0)
        uv_timer_start(&cl->again, on_again, AGAIN_MS, 0);
}

static void on_server_closed(uv_handle_t *handle) {
    struct client_listen *cl = handle->data;
    cl->open = false;
    if (cl->wanted)
        uv_timer_start(&cl->again, on_again, AGAIN_MS, 0);
}

/* The socket is still readable after a failed accept, so that the loop would come back here at once
 * and for ever: the port is shut for a while instead. */
static void accept_failed(struct client_listen *cl, int rc) {
    log_error("cannot accept clients, the port is shut for %d ms error=%s", AGAIN_MS,
              uv_strerror(rc));
    if (!uv_is_closing((uv_handle_t *)&cl->server))
        uv_close((uv_handle_t *)&cl->server, on_server_closed);
}

static void on_connection(uv_stream_t *server, int status) {
    struct client_listen *cl = server->data;
    if (status != 0) {
        accept_failed(cl, status);
        return;
    }
    bool full = cl->loop->clients.count >= cl->max_conns;
    int rc = clients_accept(&cl->loop->clients, server, full);
    if (full)
        log_refused(cl, "there are too many");
    if (rc != 0)
        accept_failed(cl, rc);
}

static int listen_at(struct client_listen *cl) {
    const struct loop_config *config = cl->loop->config;
    int rc = uv_tcp_init_ex(&cl->loop->uv, &cl->server, cl->address.ss_family);
    if (rc != 0)
        return rc;
    cl->server.data = cl;
    cl->open = true;
    rc = uv_tcp_bind(&cl->server, (const struct sockaddr *)&cl->address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&cl->server, config->listen_backlog, on_connection);
    if (rc != 0)
        uv_close((uv_handle_t *)&cl->server, on_server_closed);
    return rc;
}

static void log_serving(struct client_listen *cl) {
    char host[INET6_ADDRSTRLEN] = "?";
    uv_ip_name((const struct sockaddr *)&cl->address, host, sizeof host);
    bool six = cl->address.ss_family == AF_INET6;
    log_info("listening for clients address=%s%s%s:%d max_connections=%zu recovery_ms=%lld",
             six ? "[" : "", host, six ? "]" : "", cl->loop->config->client_port, cl->max_conns,
             (long long)cl->loop->recovery_ms);
}

/* A name with several addresses is bound at the first that works. */
static int listen_named(struct client_listen *cl) {
    const struct loop_config *config = cl->loop->config;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    uv_getaddrinfo_t req; /* without a callback it is done within the call, in this thread */
    char port[8];
    snprintf(port, sizeof port, "%d", config->client_port);
    int rc = uv_getaddrinfo(&cl->loop->uv, &req, NULL, config->client_address, port, &hints);
    if (rc != 0)
        return rc;
    memcpy(&cl->address, req.addrinfo->ai_addr, req.addrinfo->ai_addrlen);
    uv_freeaddrinfo(req.addrinfo);
    return listen_at(cl);
}

/* Both families with one socket where there is IPv6. */
static int listen_anywhere(struct client_listen *cl) {
    int port = cl->loop->config->client_port;
    uv_ip6_addr("::", port, (struct sockaddr_in6 *)(void *)&cl->address);
    int rc = listen_at(cl);
    if (rc != UV_EAFNOSUPPORT && rc != UV_EADDRNOTAVAIL)
        return rc;
    if (cl->open)
        return rc;
    uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *)(void *)&cl->address);
    return listen_at(cl);
}

int client_listen_init(struct client_listen *cl, struct loop *l) {
    *cl = (struct client_listen){.loop = l};
    cl->again.data = cl;
    return uv_timer_init(&l->uv, &cl->again);
}

int client_listen_open(struct client_listen *cl) {
    const struct loop_config *config = cl->loop->config;
    cl->max_conns = conns_allowed(config);
    int rc = config->client_address ? listen_named(cl) : listen_anywhere(cl);
    if (rc != 0) {
        log_error("cannot listen for clients address=%s port=%d error=%s",
                  config->client_address ? config->client_address : "*", config->client_port,
                  uv_strerror(rc));
        return rc;
    }
    cl->wanted = true;
    log_serving(cl);
    return 0;
}

void client_listen_close(struct client_listen *cl) {
    cl->wanted = false;
    if (cl->open && !uv_is_closing((uv_handle_t *)&cl->server))
        uv_close((uv_handle_t *)&cl->server, on_server_closed);
}
