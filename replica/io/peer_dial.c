#include "common/log.h"
#include "replica/io/loop_state.h"
#include "replica/io/peer_state.h"

#include <errno.h>
#include <netinet/tcp.h>

static void dial(struct peer *p);

static void on_redial(uv_timer_t *timer) { dial(timer->data); }

static bool dialling(const struct peer *p) {
    return p->up || p->dial || p->lookup || uv_is_active((const uv_handle_t *)&p->redial);
}

void peer_dial_soon(struct peer *p) {
    if (!p->dials || p->peers->stopping || dialling(p))
        return;
    int64_t wait_ms = p->backoff_ms;
    p->backoff_ms = wait_ms == 0 ? PEER_BACKOFF_MIN_MS : 2 * wait_ms;
    if (p->backoff_ms > PEER_BACKOFF_MAX_MS)
        p->backoff_ms = PEER_BACKOFF_MAX_MS;
    uv_update_time(
        &p->peers->loop->uv); /* it is as old as this wake-up, and the timer counts from it */
    uv_timer_start(&p->redial, on_redial, (uint64_t)wait_ms, 0);
}

/* A server that is down is one line, not one for each dial. */
void peer_dial_failed(struct peer *p, const char *why) {
    log_line(p->failing ? LOG_DEBUG : LOG_INFO,
             "cannot reach server %d, trying on host=%s port=%d "
             "reason=\"%s\"",
             p->config->id, p->config->host, p->config->port, why);
    p->failing = true;
}

static void dial_over(struct peer_link *link, const char *why) {
    if (link->state == LINK_GONE)
        return;
    peer_dial_failed(link->peer, why);
    link_close(link, NULL, false);
}

static void on_deadline(uv_timer_t *timer) {
    struct peer_link *link = timer->data;
    dial_over(link,
              link->state == LINK_CONNECTING ? "it does not answer" : "it does not say who it is");
}

static void on_connected(uv_connect_t *req, int status) {
    struct peer_link *link = req->data;
    if (link->state == LINK_GONE)
        return;
    if (status == 0 && link->peers->stopping)
        status = UV_ECANCELED;
    link->state = LINK_GREETING;
    if (status == 0)
        status = link_greet(link);
    if (status == 0)
        status = link_read(link);
    if (status != 0)
        dial_over(link, uv_strerror(status));
}

static void dial_address(struct peer *p, const struct sockaddr_storage *address) {
    struct peer_link *link = link_new(p->peers);
    link->dialled = true;
    link->state = LINK_CONNECTING;
    link->peer = p;
    link->address = *address;
    link->connect.data = link;
    p->dial = link;
    uv_timer_start(&link->deadline, on_deadline, PEER_GREETING_MS, 0);
    int rc =
        uv_tcp_connect(&link->connect, &link->tcp, (const struct sockaddr *)address, on_connected);
    if (rc != 0)
        dial_over(link, uv_strerror(rc));
}

static void on_resolved(void *ctx, const struct resolve_result *result) {
    struct peer *p = ctx;
    p->lookup = NULL;
    if (p->peers->stopping)
        return;
    if (result->error) {
        peer_dial_failed(p, result->error);
        peer_dial_soon(p);
        return;
    }
    dial_address(p, &result->addresses[p->dials_done++ % result->count]);
}

/* The name is looked up for each dial: a container comes back with another address. */
static void dial(struct peer *p) {
    struct sockaddr_storage address;
    if (resolve_numeric(p->config->host, p->config->port, &address)) {
        dial_address(p, &address);
        return;
    }
    p->lookup =
        resolve_start(&p->peers->resolver, p->config->host, p->config->port, on_resolved, p);
    if (!p->lookup) {
        peer_dial_failed(p, "no thread to look its name up");
        peer_dial_soon(p);
    }
}
