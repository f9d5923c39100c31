#include "common/log.h"
#include "replica/io/loop_state.h"
#include "replica/io/peer_state.h"

#include <stdio.h>

static uint64_t unsent(const struct peer_link *link) {
    size_t in_write =
        link->write_active ? uv_stream_get_write_queue_size((const uv_stream_t *)&link->tcp) : 0;
    return link->out.len + in_write;
}

void link_set_dirty(struct peer_link *link, bool dirty) {
    if (link->dirty == dirty)
        return;
    link->dirty = dirty;
    if (dirty)
        DL_APPEND2(link->peers->dirty, link, dirty_prev, dirty_next);
    else
        DL_DELETE2(link->peers->dirty, link, dirty_prev, dirty_next);
}

void peers_send(struct peers *ps, uint8_t id, struct slice bytes) {
    struct peer *p = peers_find(ps, id);
    /* A link that is to go for its bound takes nothing more. */
    if (!p || !p->up || p->up->overfull)
        return;
    peer_frame_encode(&p->up->out, p->up->seed_out, bytes);
    p->up->overfull = unsent(p->up) > PEER_OUTPUT_MAX;
    link_set_dirty(p->up, true);
}

static void write_failed(struct peer_link *link, int status) {
    if (link->state == LINK_GREETING && link->dialled)
        peer_dial_failed(link->peer, uv_strerror(status));
    link_close(link, uv_strerror(status), true);
}

static void on_written(uv_write_t *req, int status) {
    struct peer_link *link = req->data;
    link->write_active = false;
    buf_close(&link->writing);
    if (link->state == LINK_GONE)
        return;
    if (status != 0)
        write_failed(link, status);
    else
        link_set_dirty(link, true);
}

/* What the kernel does not take at once waits in libuv. */
static void write_rest(struct peer_link *link) {
    link->writing = link->out;
    buf_init(&link->out, 0);
    link->write.data = link;
    uv_buf_t piece = uv_buf_init((char *)link->writing.data, (unsigned)link->writing.len);
    link->write_active = true;
    int rc = uv_write(&link->write, (uv_stream_t *)&link->tcp, &piece, 1, on_written);
    if (rc == 0)
        return;
    link->write_active = false;
    write_failed(link, rc);
}

static void write_now(struct peer_link *link) {
    uv_buf_t piece = uv_buf_init((char *)link->out.data, (unsigned)link->out.len);
    int rc = uv_try_write((uv_stream_t *)&link->tcp, &piece, 1);
    if (rc < 0 && rc != UV_EAGAIN) {
        write_failed(link, rc);
        return;
    }
    if (rc > 0 && (size_t)rc == link->out.len) {
        if (link->out.cap > PEER_OUTPUT_KEEP)
            buf_close(&link->out);
        else
            buf_reset(&link->out);
        return;
    }
    if (rc > 0)
        buf_consume(&link->out, (size_t)rc);
    write_rest(link);
}

void peers_flush(struct peers *ps) {
    struct peer_link *link;
    while ((link = ps->dirty) != NULL) {
        link_set_dirty(link, false);
        if (link->overfull) {
            char why[96];
            snprintf(why, sizeof why, "it does not take its messages, %llu bytes wait",
                     (unsigned long long)unsent(link));
            link_close(link, why, true);
        } else if (!link->write_active && link->out.len > 0) {
            write_now(link);
        }
    }
}
