#include "replica/io/peer_conn.h"

#include "common/check.h"
#include "common/log.h"
#include "replica/io/loop_state.h"
#include "replica/io/peer_state.h"

#include <errno.h>
#include <string.h>

/* Refused links make at most one line in this time. */
#define REFUSED_LOG_MS 1000

struct peer *peers_find(struct peers *ps, uint8_t id) {
    for (size_t i = 0; i < ps->count; i++) {
        if (ps->list[i].config->id == id)
            return &ps->list[i];
    }
    return NULL;
}

void peers_log_refused(struct peers *ps, const struct peer_link *link, const char *why) {
    int64_t now_ms = loop_mono_ms();
    ps->refused++;
    if (ps->refused_logged_ms != 0 && now_ms - ps->refused_logged_ms < REFUSED_LOG_MS)
        return;
    struct tcp_name name;
    log_warn("refused a link: %s address=%s count=%llu", why, tcp_name(&link->address, &name),
             (unsigned long long)ps->refused);
    ps->refused_logged_ms = now_ms;
    ps->refused = 0;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct peer_link *link = handle->data;
    if (--link->handles > 0)
        return;
    buf_close(&link->in);
    buf_close(&link->out);
    buf_close(&link->writing);
    mem_free(link);
}

struct peer_link *link_new(struct peers *ps) {
    struct peer_link *link = mem_zalloc(sizeof *link);
    link->peers = ps;
    link->tcp.data = link->deadline.data = link;
    link->number = ++ps->last_number;
    link->handles = 2;
    CHECK(uv_timer_init(&ps->loop->uv, &link->deadline) == 0);
    CHECK(uv_tcp_init(&ps->loop->uv, &link->tcp) == 0);
    DL_APPEND(ps->links, link);
    return link;
}

/* Takes the link from whatever knows it. True when it was the peer's. */
static bool detach(struct peer_link *link) {
    struct peer *p = link->peer;
    if (!p) {
        link->peers->strangers -= !link->dialled;
        return false;
    }
    if (p->dial == link)
        p->dial = NULL;
    if (p->up != link)
        return false;
    p->up = NULL;
    bool steady = loop_mono_ms() - link->up_ms >= PEER_STEADY_MS;
    if (steady)
        p->backoff_ms = 0;
    return true;
}

void link_close(struct peer_link *link, const char *why, bool tell) {
    struct peers *ps = link->peers;
    struct peer *p = link->peer;
    if (link->state == LINK_GONE)
        return;
    bool was_up = detach(link);
    link->state = LINK_GONE;
    link_set_dirty(link, false);
    DL_DELETE(ps->links, link);
    uv_close((uv_handle_t *)&link->deadline, on_handle_closed);
    uv_close((uv_handle_t *)&link->tcp, on_handle_closed);
    if (was_up && why)
        log_info("lost the link to server %d reason=\"%s\"", p->config->id, why);
    if (was_up && tell)
        member_peer_down(ps->loop->member, p->config->id);
    if (p)
        peer_dial_soon(p);
}

void link_up(struct peer_link *link) {
    struct peer *p = link->peer;
    struct tcp_name name;
    /* Whoever opened the newer one does not believe in the older any more. */
    if (p->up)
        link_close(p->up, "there is a newer one", true);
    if (p->dial == link)
        p->dial = NULL;
    /* Of several addresses the one that works is the next to be dialled, too. */
    if (link->dialled)
        p->dials_done--;
    uv_timer_stop(&link->deadline);
    link->state = LINK_UP;
    link->up_ms = loop_mono_ms();
    p->up = link;
    p->failing = false;
    log_info("linked with server %d address=%s", p->config->id, tcp_name(&link->address, &name));
    member_peer_up(link->peers->loop->member, p->config->id);
}

void peers_drop(struct peers *ps, uint8_t id, struct slice why) {
    struct peer *p = peers_find(ps, id);
    if (!p || !p->up)
        return;
    log_info("dropping the link to server %d: %.*s", id, why.len > 0 ? (int)why.len : 0,
             (const char *)why.p);
    link_close(p->up, NULL, false);
}

static void peer_init(struct peer *p, struct peers *ps, const struct loop_peer *config) {
    const struct loop_config *own = ps->loop->config;
    *p = (struct peer){.peers = ps, .config = config};
    /* The observer is always the one that dials, and needs no other observer. */
    p->dials = config->voter && (!own->voter || own->server_id > config->id);
    p->expected = !p->dials && (config->voter || own->voter);
    p->redial.data = p;
    CHECK(uv_timer_init(&ps->loop->uv, &p->redial) == 0);
}

static int accept_peer(void *ctx, uv_stream_t *server) { return peers_accept(ctx, server); }

int peers_init(struct peers *ps, struct loop *l) {
    *ps = (struct peers){.loop = l, .count = l->config->peer_count};
    if (ps->count == 0)
        return 0;
    int rc = resolver_init(&ps->resolver, &l->uv);
    for (size_t i = 0; rc == 0 && i < 2; i++)
        rc = tcp_listen_init(&ps->ports[i], &l->uv, "peers", accept_peer, ps);
    ps->list = mem_zalloc(ps->count * sizeof *ps->list);
    ps->read_buffer = mem_alloc(PEER_READ_BYTES);
    for (size_t i = 0; i < ps->count; i++)
        peer_init(&ps->list[i], ps, &l->config->peers[i]);
    return rc;
}

static int listen_for_peers(struct peers *ps) {
    const struct loop_config *config = ps->loop->config;
    int32_t ports[2] = {config->peer_port, config->election_port};
    size_t count = ports[0] == ports[1] ? 1 : 2;
    for (size_t i = 0; i < count; i++) {
        struct tcp_name name;
        int rc =
            tcp_listen_open(&ps->ports[i], config->peer_address, ports[i], config->listen_backlog);
        if (rc == UV_EADDRNOTAVAIL)
            log_error("the address of this server's own server.%d line is none of this machine; "
                      "quorumListenOnAllIPs=true listens on all of them",
                      config->server_id);
        if (rc != 0)
            return rc;
        log_info("listening for peers address=%s", tcp_name(&ps->ports[i].address, &name));
    }
    return 0;
}

int peers_open(struct peers *ps) {
    if (ps->count == 0)
        return 0;
    int rc = listen_for_peers(ps);
    for (size_t i = 0; rc == 0 && i < ps->count; i++)
        peer_dial_soon(&ps->list[i]);
    return rc;
}

/* A full house of strangers is no reason to keep a peer out: the oldest has had its time. */
static void make_room(struct peers *ps) {
    struct peer_link *link;
    if (ps->strangers < PEER_STRANGERS_MAX)
        return;
    DL_FOREACH(ps->links, link) {
        if (!link->peer && !link->dialled)
            break;
    }
    CHECK(link != NULL);
    peers_log_refused(ps, link, "too many have not said who they are");
    link_close(link, NULL, false);
}

static void on_greeting_over(uv_timer_t *timer) {
    struct peer_link *link = timer->data;
    if (!link->peer)
        peers_log_refused(link->peers, link, "it did not say in time who it is");
    link_close(link, NULL, false);
}

int peers_accept(struct peers *ps, uv_stream_t *server) {
    make_room(ps);
    struct peer_link *link = link_new(ps);
    int size = sizeof link->address;
    ps->strangers++;
    link->state = LINK_GREETING;
    int rc = uv_accept(server, (uv_stream_t *)&link->tcp);
    if (rc != 0) {
        link_close(link, NULL, false);
        return rc;
    }
    rc = uv_tcp_getpeername(&link->tcp, (struct sockaddr *)&link->address, &size);
    if (rc == 0)
        rc = link_read(link);
    if (rc == 0)
        rc = uv_timer_start(&link->deadline, on_greeting_over, PEER_GREETING_MS, 0);
    /* One that went away before it was accepted is no trouble of the port's. */
    if (rc != 0)
        link_close(link, NULL, false);
    return 0;
}

void peers_stop(struct peers *ps) {
    struct peer_link *link;
    if (ps->count == 0)
        return;
    ps->stopping = true;
    for (size_t i = 0; i < 2; i++)
        tcp_listen_close(&ps->ports[i]);
    for (size_t i = 0; i < ps->count; i++)
        uv_timer_stop(&ps->list[i].redial);
    DL_FOREACH(ps->links, link) { uv_read_stop((uv_stream_t *)&link->tcp); }
}

void peers_drop_all(struct peers *ps) {
    struct peer_link *link, *next;
    peers_stop(ps);
    DL_FOREACH_SAFE(ps->links, link, next) { link_close(link, NULL, false); }
    if (ps->count > 0)
        resolver_close(&ps->resolver);
}

void peers_close(struct peers *ps) {
    mem_free(ps->list);
    mem_free(ps->read_buffer);
    ps->list = NULL;
    ps->read_buffer = NULL;
}

size_t peers_descriptors(const struct peers *ps) {
    /* An old and a new link of each, and the resolver's sockets beside the strangers. */
    return ps->count == 0 ? 0 : 2 + 3 * ps->count + PEER_STRANGERS_MAX;
}
