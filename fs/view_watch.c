/* `.zk/watch/PATH` and `.zk/wait/…/PATH`: a line when it happens, or when it is so, and the end.
 *
 * Looking and watching is one operation of the server, so nothing can happen between the two. What
 * is watched stays watched over reconnects and with another session (zk.h). */
#include <string.h>

#include "common/check.h"
#include "fs/view.h"
#include "fs/view_stream.h"

struct watch_stream {
    struct stream stream;
    struct zk_watcher watcher;
    uint64_t looks[2]; /* tokens of what is under way; 0 none */
    zxid_t czxid;      /* wait/newer: of the znode that was there at first; 0 none yet */
};

static struct watch_stream *of_watcher(struct zk_watcher *w) {
    return (struct watch_stream *)((char *)w - offsetof(struct watch_stream, watcher));
}

static struct slice path_of(const struct watch_stream *ws) { return inode_path(ws->stream.inode); }

static void let_go(struct watch_stream *ws) {
    struct zk *zk = ws->stream.fs->zk;
    for (size_t i = 0; i < sizeof ws->looks / sizeof ws->looks[0]; i++) {
        if (ws->looks[i] != 0)
            zk_cancel(zk, ws->looks[i]);
        ws->looks[i] = 0;
    }
    zk_unwatch(zk, &ws->watcher);
}

static void stop(struct stream *s) { let_go((struct watch_stream *)s); }

/* The one line, and the end. */
static void tell(struct watch_stream *ws, zxid_t zxid, const char *event) {
    let_go(ws);
    stream_event(&ws->stream, zxid, event, path_of(ws));
    stream_end(&ws->stream);
    stream_opened(&ws->stream);
}

static void fail(struct watch_stream *ws, int err) {
    let_go(ws);
    stream_fail(&ws->stream, err);
}

/* watch: data and existence by one watch, the list of children by another. */

static void on_watch_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    tell(of_watcher(w), zxid, view_event_name(event));
}

static void watch_answered(struct watch_stream *ws, unsigned look, int err) {
    ws->looks[look] = 0;
    if (err != ZK_OK && err != ZK_NONODE)
        fail(ws, err);
    else if (ws->looks[0] == 0 && ws->looks[1] == 0)
        stream_opened(&ws->stream);
}

static void on_exists(void *ctx, const struct zk_result *res) { watch_answered(ctx, 0, res->err); }

static void on_children(void *ctx, const struct zk_result *res) {
    watch_answered(ctx, 1, res->err);
}

static void watch_start(struct stream *s) {
    struct watch_stream *ws = (struct watch_stream *)s;
    struct zk *zk = s->fs->zk;
    ws->watcher.fn = on_watch_event;
    ws->looks[0] = zk_watch_exists(zk, path_of(ws), &ws->watcher, on_exists, ws);
    ws->looks[1] = zk_watch_children(zk, path_of(ws), &ws->watcher, on_children, ws);
}

/* Who watches for an ephemeral of this mount's session has to know that it is over. */
static void watch_state(struct stream *s, enum client_state state) {
    if (state != CLIENT_EXPIRED || s->ended)
        return;
    let_go((struct watch_stream *)s);
    stream_line(s, "- expired");
    stream_end(s);
    stream_opened(s);
}

const struct stream_source view_watch_source = {
    .size = sizeof(struct watch_stream),
    .start = watch_start,
    .stop = stop,
    .on_state = watch_state,
};

/* wait: looks again after every event, until it is so. */

static void wait_look(struct watch_stream *ws);

/* What it is that is so; NULL: it is not. The zxid is the one that made it so, or of the moment. */
static const char *judge(const struct watch_stream *ws, const struct zk_result *res,
                         zxid_t *ret_zxid) {
    struct modifier m = ws->stream.inode->modifier;
    bool there = res->err == ZK_OK;
    *ret_zxid = res->zxid;
    if (m.kind == MODIFIER_ABSENT)
        return there ? NULL : "absent";
    if (m.kind == MODIFIER_PRESENT) {
        *ret_zxid = res->stat.czxid;
        return there ? "present" : NULL;
    }
    if (!there || (ws->czxid != 0 && res->stat.czxid != ws->czxid))
        return "absent"; /* or made again since: it is not the one that was waited for */
    /* Versions go round at 2^31. */
    if ((int32_t)((uint32_t)res->stat.version - (uint32_t)m.arg) <= 0)
        return NULL;
    *ret_zxid = res->stat.mzxid;
    return "newer";
}

static void on_look(void *ctx, const struct zk_result *res) {
    struct watch_stream *ws = ctx;
    bool answered = res->err == ZK_OK || res->err == ZK_NONODE;
    bool retry = res->err == ZK_OPERATIONTIMEOUT || res->err == ZK_CONNECTIONLOSS;
    zxid_t zxid = -1;
    ws->looks[0] = 0;
    if (!answered && (!retry || ws->stream.opening != NULL)) {
        fail(ws, res->err);
        return;
    }
    if (!answered) {
        wait_look(ws); /* which waits for a server as long as operations do */
        return;
    }
    const char *state = judge(ws, res, &zxid);
    if (state != NULL) {
        tell(ws, zxid, state);
        return;
    }
    ws->czxid = res->stat.czxid;
    stream_opened(&ws->stream);
}

/* The event itself says it, for it can be otherwise again already. */
static void on_wait_event(struct zk_watcher *w, enum zk_event event, zxid_t zxid) {
    struct watch_stream *ws = of_watcher(w);
    enum modifier_kind kind = ws->stream.inode->modifier.kind;
    if (event == EVENT_NODE_CREATED && kind == MODIFIER_PRESENT)
        tell(ws, zxid, "present");
    else if (event == EVENT_NODE_DELETED && kind != MODIFIER_PRESENT)
        tell(ws, zxid, "absent");
    else
        wait_look(ws);
}

static void wait_look(struct watch_stream *ws) {
    if (ws->looks[0] == 0)
        ws->looks[0] = zk_watch_exists(ws->stream.fs->zk, path_of(ws), &ws->watcher, on_look, ws);
}

static void wait_start(struct stream *s) {
    struct watch_stream *ws = (struct watch_stream *)s;
    ws->watcher.fn = on_wait_event;
    wait_look(ws);
}

const struct stream_source view_wait_source = {
    .size = sizeof(struct watch_stream),
    .start = wait_start,
    .stop = stop,
};
