/* `.zk/events/PATH`: every change of PATH and all below it, by a persistent recursive watch. */
#include "fs/view.h"
#include "fs/view_stream.h"

struct events_stream {
    struct stream stream;
    struct zk_subscriber subscriber;
    uint64_t adding; /* the token of the request that joins; 0: done */
    bool down;       /* `- disconnected` was told, and `- connected` was not */
};

static struct events_stream *of_subscriber(struct zk_subscriber *sub) {
    return (struct events_stream *)((char *)sub - offsetof(struct events_stream, subscriber));
}

static void on_event(struct zk_subscriber *sub, enum zk_event event, struct slice path,
                     zxid_t zxid) {
    stream_event(&of_subscriber(sub)->stream, zxid, view_event_name(event), path);
}

static void on_gap(struct zk_subscriber *sub) { stream_gap(&of_subscriber(sub)->stream); }

static void events_start(struct stream *s);

static void on_added(void *ctx, const struct zk_result *res) {
    struct events_stream *es = ctx;
    bool retry = res->err == ZK_OPERATIONTIMEOUT || res->err == ZK_CONNECTIONLOSS;
    es->adding = 0;
    if (retry && es->stream.handle != NULL)
        events_start(&es->stream); /* open since before a restart: its reader waits on */
    else if (res->err != ZK_OK)
        stream_fail(&es->stream, res->err);
    else
        stream_opened(&es->stream);
}

static void events_start(struct stream *s) {
    struct events_stream *es = (struct events_stream *)s;
    es->subscriber.fn = on_event;
    es->subscriber.gap = on_gap;
    es->adding = zk_add_watch(s->fs->zk, inode_path(s->inode), true, &es->subscriber, on_added, es);
}

static void events_stop(struct stream *s) {
    struct events_stream *es = (struct events_stream *)s;
    if (es->adding != 0)
        zk_cancel(s->fs->zk, es->adding);
    zk_remove_watch(s->fs->zk, &es->subscriber);
}

static void events_state(struct stream *s, enum client_state state) {
    struct events_stream *es = (struct events_stream *)s;
    if (s->opening != NULL)
        return; /* it begins with the answer */
    if (state == CLIENT_CONNECTED && es->down) {
        es->down = false;
        stream_line(s, "- connected");
    } else if (state == CLIENT_CONNECTING && !es->down) {
        es->down = true;
        stream_line(s, "- disconnected");
    } else if (state == CLIENT_EXPIRED) {
        stream_line(s, "- expired");
    }
}

const struct stream_source view_events_source = {
    .size = sizeof(struct events_stream),
    .start = events_start,
    .stop = events_stop,
    .on_state = events_state,
};
