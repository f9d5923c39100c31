/* `.zk/session`, and what the views keep of the session's course. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>
#include <utlist.h>

#include "fs/view.h"
#include "fs/view_stream.h"

static int64_t wall_s(void) { return (int64_t)time(NULL); }

static void on_state(struct zk_listener *l, enum client_state state) {
    struct views *v = (struct views *)((char *)l - offsetof(struct views, listener));
    bool connected = state == CLIENT_CONNECTED;
    if (connected != v->connected)
        v->since_s = wall_s();
    v->connected = connected;
    v->expired += state == CLIENT_EXPIRED ? 1 : 0;
    struct stream *s, *next;
    DL_FOREACH_SAFE(v->streams, s, next) {
        if (s->source->on_state != NULL)
            s->source->on_state(s, state);
    }
}

void views_init(struct fs *fs) {
    fs->views.began_s = fs->views.since_s = wall_s();
    fs->views.listener.fn = on_state;
    zk_listen(fs->zk, &fs->views.listener);
}

void views_end(struct fs *fs) {
    for (struct stream *s = fs->views.streams; s != NULL; s = s->next) {
        s->errnum = EIO;
        stream_end(s);
    }
}

void views_close(struct fs *fs) {
    if (fs->views.listener.fn == NULL)
        return;
    zk_unlisten(fs->zk, &fs->views.listener);
    fs->views.listener.fn = NULL;
    while (fs->views.streams != NULL)
        stream_close(fs->views.streams);
}

static const char *state_word(const struct zk *zk) {
    if (zk_state(zk) != CLIENT_CONNECTED)
        return "disconnected";
    return zk_is_read_only(zk) ? "read_only" : "connected";
}

static void session_start(struct stream *s) {
    const struct fs *fs = s->fs;
    const struct zk *zk = fs->zk;
    const char *server = zk_server(zk);
    struct buf *b = &s->text;
    buf_printf(b, "session 0x%" PRIx64 "\n", (uint64_t)zk_session_id(zk));
    buf_printf(b, "timeout_ms %d\n", zk_timeout_ms(zk));
    buf_printf(b, "state %s\n", state_word(zk));
    buf_printf(b, "since %" PRId64 "\n", fs->views.since_s);
    buf_printf(b, "server %s\n", server != NULL ? server : "-");
    buf_printf(b, "last_zxid 0x%" PRIx64 "\n", (uint64_t)zk_last_zxid(zk));
    buf_printf(b, "expired %" PRIu64 "\n", fs->views.expired);
    buf_printf(b, "names_left_out %" PRIu64 "\n", fs->views.names_left_out);
    s->ended = true;
    stream_opened(s);
}

static void session_stop(struct stream *s) { (void)s; }

const struct stream_source view_session_source = {
    .size = sizeof(struct stream),
    .start = session_start,
    .stop = session_stop,
};
