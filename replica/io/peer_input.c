#include "common/log.h"
#include "replica/io/loop_state.h"
#include "replica/io/peer_state.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

int link_greet(struct peer_link *link) {
    struct peers *ps = link->peers;
    int rc = ps->loop->env.random(ps->loop, &link->generation, sizeof link->generation);
    if (rc != 0)
        return rc;
    peer_preamble_encode(&link->out, &(struct peer_preamble){.version = PEER_LINK_VERSION,
                                                             .from = ps->loop->config->server_id,
                                                             .to = link->peer->config->id,
                                                             .generation = link->generation});
    link_set_dirty(link, true);
    return 0;
}

/* Small messages go at once, and the kernel tells of a peer that is gone without a word, though the
 * core does that sooner. */
static void set_options(struct peer_link *link) {
    int32_t silence_ms = link->peers->loop->config->member.replica.silence_ms;
    unsigned dead_ms = PEER_DEAD_MIN_MS;
    int fd;
    if (silence_ms > PEER_DEAD_MIN_MS / 4)
        dead_ms = 4 * (unsigned)silence_ms;
    uv_tcp_nodelay(&link->tcp, 1);
    uv_tcp_keepalive(&link->tcp, 1, 10);
    if (uv_fileno((uv_handle_t *)&link->tcp, &fd) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms) < 0)
        log_debug("TCP_USER_TIMEOUT cannot be set error=%s", strerror(errno));
}

static void refuse(struct peer_link *link, const char *why) {
    if (link->dialled)
        peer_dial_failed(link->peer, why);
    else
        peers_log_refused(link->peers, link, why);
    link_close(link, NULL, false);
}

/* NULL, or why a stranger is not let in. */
static const char *stranger_fault(struct peers *ps, const struct peer_link *link,
                                  const struct peer_preamble *theirs, struct peer **ret_peer) {
    struct peer *p = peers_find(ps, theirs->from);
    if (theirs->from == ps->loop->config->server_id)
        return "it says that it is this server itself: is a myid used twice?";
    if (!p)
        return "its id is none of the configuration";
    if (!p->expected)
        return "it is dialled from here: are the configurations the same?";
    if (p->up && p->up->number > link->number)
        return "there is a newer link";
    *ret_peer = p;
    return NULL;
}

static void greet_stranger(struct peer_link *link, const struct peer_preamble *theirs) {
    struct peers *ps = link->peers;
    struct peer *p = NULL;
    char text[160];
    const char *fault = theirs->to != ps->loop->config->server_id
                            ? "it looks for another server"
                            : stranger_fault(ps, link, theirs, &p);
    if (fault) {
        snprintf(text, sizeof text, "%s from=%d to=%d", fault, theirs->from, theirs->to);
        refuse(link, text);
        return;
    }
    link->peer = p;
    ps->strangers--;
    int rc = link_greet(link);
    if (rc != 0) {
        link_close(link, strerror(-rc), false);
        return;
    }
    link->seed_in = peer_frame_seed(theirs->generation, link->generation);
    link->seed_out = peer_frame_seed(link->generation, theirs->generation);
    link_up(link);
}

static void greeted(struct peer_link *link, const struct peer_preamble *theirs) {
    struct peer *p = link->peer;
    if (theirs->from != p->config->id || theirs->to != link->peers->loop->config->server_id) {
        char text[80];
        snprintf(text, sizeof text, "another server answers there from=%d to=%d", theirs->from,
                 theirs->to);
        refuse(link, text);
        return;
    }
    link->seed_in = peer_frame_seed(theirs->generation, link->generation);
    link->seed_out = peer_frame_seed(link->generation, theirs->generation);
    link_up(link);
}

static void take_preamble(struct peer_link *link, const uint8_t *bytes) {
    struct peer_preamble theirs;
    const char *fault = peer_preamble_decode(bytes, &theirs);
    if (fault)
        refuse(link, fault);
    else if (link->dialled)
        greeted(link, &theirs);
    else
        greet_stranger(link, &theirs);
}

/* Feeds whole frames; returns the bytes used. The link may go while one is handled. */
static size_t feed_frames(struct peer_link *link, const uint8_t *p, size_t n) {
    struct loop *l = link->peers->loop;
    size_t used = 0;
    while (link->state == LINK_UP && !l->failed) {
        struct slice body;
        switch (peer_frame_decode(p + used, n - used, link->seed_in, &body)) {
        case PEER_FRAME_PARTIAL:
            return used;
        case PEER_FRAME_LENGTH:
            link_close(link, "a length out of range came on it", true);
            return n;
        case PEER_FRAME_DAMAGED:
            link_close(link, "a damaged message came on it", true);
            return n;
        case PEER_FRAME_WHOLE:
            used += PEER_FRAME_HEADER_BYTES + (size_t)body.len;
            member_peer_message(l->member, link->peer->config->id, body);
            break;
        }
    }
    return n;
}

/* What begins the bytes: the preamble first, frames then. */
static size_t feed(struct peer_link *link, const uint8_t *p, size_t n) {
    size_t used = 0;
    if (link->state == LINK_GREETING) {
        if (n < PEER_PREAMBLE_BYTES)
            return 0;
        used = PEER_PREAMBLE_BYTES;
        take_preamble(link, p);
    }
    return used + feed_frames(link, p + used, n - used);
}

/* Input that is all used gives its memory back; nobody else frees it, for the link can be closed
 * while one of its messages is being handled. */
static void feed_read(struct peer_link *link, const uint8_t *p, size_t n) {
    if (link->in.len == 0) {
        size_t used = feed(link, p, n);
        if (used < n && link->state != LINK_GONE)
            buf_put(&link->in, p + used, n - used);
        return;
    }
    buf_put(&link->in, p, n);
    size_t used = feed(link, link->in.data, link->in.len);
    if (used == link->in.len)
        buf_close(&link->in);
    else
        buf_consume(&link->in, used);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf) {
    struct peer_link *link = handle->data;
    *ret_buf = uv_buf_init((char *)link->peers->read_buffer, PEER_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct peer_link *link = stream->data;
    if (n == 0 || link->state == LINK_GONE)
        return;
    if (n > 0) {
        feed_read(link, (const uint8_t *)buf->base, (size_t)n);
        return;
    }
    const char *why = n == UV_EOF ? "it closed it" : uv_strerror((int)n);
    if (link->state == LINK_UP)
        link_close(link, why, true);
    else
        refuse(link, why);
}

int link_read(struct peer_link *link) {
    set_options(link);
    return uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
}
