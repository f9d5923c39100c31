#include "replica/io/tcp_listen.h"

#include "common/log.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

/* After accepting failed for want of descriptors or memory, the port stays shut so long. */
#define AGAIN_MS 1000

static int listen_at(struct tcp_listen *tl);

static void on_again(uv_timer_t *timer) {
    struct tcp_listen *tl = timer->data;
    if (tl->wanted && !tl->open && listen_at(tl) != 0)
        uv_timer_start(&tl->again, on_again, AGAIN_MS, 0);
}

static void on_server_closed(uv_handle_t *handle) {
    struct tcp_listen *tl = handle->data;
    tl->open = false;
    if (tl->wanted)
        uv_timer_start(&tl->again, on_again, AGAIN_MS, 0);
}

/* The socket is still readable after a failed accept, so that the loop would come back here at once
 * and for ever: the port is shut for a while instead. */
static void accept_failed(struct tcp_listen *tl, int rc) {
    log_error("cannot accept %s, the port is shut for %d ms error=%s", tl->who, AGAIN_MS,
              uv_strerror(rc));
    if (!uv_is_closing((uv_handle_t *)&tl->server))
        uv_close((uv_handle_t *)&tl->server, on_server_closed);
}

static void on_connection(uv_stream_t *server, int status) {
    struct tcp_listen *tl = server->data;
    int rc = status != 0 ? status : tl->accept(tl->ctx, server);
    if (rc != 0)
        accept_failed(tl, rc);
}

static int listen_at(struct tcp_listen *tl) {
    int rc = uv_tcp_init_ex(tl->uv, &tl->server, tl->address.ss_family);
    if (rc != 0)
        return rc;
    tl->server.data = tl;
    tl->open = true;
    rc = uv_tcp_bind(&tl->server, (const struct sockaddr *)&tl->address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&tl->server, tl->backlog, on_connection);
    if (rc != 0)
        uv_close((uv_handle_t *)&tl->server, on_server_closed);
    return rc;
}

/* A name with several addresses is bound at the first. */
static int listen_named(struct tcp_listen *tl, const char *host, int port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    uv_getaddrinfo_t req; /* without a callback it is done within the call, in this thread */
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    int rc = uv_getaddrinfo(tl->uv, &req, NULL, host, service, &hints);
    if (rc != 0)
        return rc;
    memcpy(&tl->address, req.addrinfo->ai_addr, req.addrinfo->ai_addrlen);
    uv_freeaddrinfo(req.addrinfo);
    return listen_at(tl);
}

/* Both families with one socket where there is IPv6. */
static int listen_anywhere(struct tcp_listen *tl, int port) {
    uv_ip6_addr("::", port, (struct sockaddr_in6 *)(void *)&tl->address);
    int rc = listen_at(tl);
    if (rc != UV_EAFNOSUPPORT && rc != UV_EADDRNOTAVAIL)
        return rc;
    if (tl->open)
        return rc;
    uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *)(void *)&tl->address);
    return listen_at(tl);
}

int tcp_listen_init(struct tcp_listen *tl, uv_loop_t *uv, const char *who, tcp_accept_fn *accept,
                    void *ctx) {
    *tl = (struct tcp_listen){.uv = uv, .who = who, .accept = accept, .ctx = ctx};
    tl->again.data = tl;
    return uv_timer_init(uv, &tl->again);
}

int tcp_listen_open(struct tcp_listen *tl, const char *host, int port, int backlog) {
    tl->backlog = backlog;
    int rc = host ? listen_named(tl, host, port) : listen_anywhere(tl, port);
    if (rc != 0) {
        log_error("cannot listen for %s address=%s port=%d error=%s", tl->who, host ? host : "*",
                  port, uv_strerror(rc));
        return rc;
    }
    tl->wanted = true;
    return 0;
}

void tcp_listen_close(struct tcp_listen *tl) {
    tl->wanted = false;
    if (tl->open && !uv_is_closing((uv_handle_t *)&tl->server))
        uv_close((uv_handle_t *)&tl->server, on_server_closed);
}

const char *tcp_name(const struct sockaddr_storage *address, struct tcp_name *ret_name) {
    char host[INET6_ADDRSTRLEN] = "?";
    bool six = address->ss_family == AF_INET6;
    uv_ip_name((const struct sockaddr *)address, host, sizeof host);
    int port = ntohs(six ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                         : ((const struct sockaddr_in *)(const void *)address)->sin_port);
    snprintf(ret_name->text, sizeof ret_name->text, six ? "[%s]:%d" : "%s:%d", host, port);
    return ret_name->text;
}
