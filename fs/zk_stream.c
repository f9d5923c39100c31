/* Subscribers: they hear of everything, several to a path, over the one persistent watch that the
 * server has of it. */
#include "common/path.h"
#include "fs/zk_impl.h"

#include <string.h>
#include <utlist.h>

/* A path that somebody subscribed to, in one of the two ways. */
struct zk_stream {
    UT_hash_handle hh;
    struct zk_subscriber *subscribers; /* those that wait for their answer too */
    bool recursive;
    bool is_armed; /* the server has it */
    uint32_t path_len;
    uint8_t path[];
};

static struct zk_stream *find(const struct zk *zk, struct slice path, bool recursive) {
    struct zk_stream *on = NULL;
    HASH_FIND(hh, zk->streams[recursive], path.p, (unsigned)path.len, on);
    return on;
}

static struct zk_stream *find_or_add(struct zk *zk, struct slice path, bool recursive) {
    struct zk_stream *on = find(zk, path, recursive);
    if (on)
        return on;
    on = mem_zalloc(sizeof(*on) + (size_t)path.len);
    on->recursive = recursive;
    on->path_len = (uint32_t)path.len;
    memcpy(on->path, path.p, (size_t)path.len);
    HASH_ADD_KEYPTR(hh, zk->streams[recursive], on->path, on->path_len, on);
    return on;
}

/* Servers before 3.9 can only remove all watches of a path at once: where somebody else needs one,
 * it stays, and its events are heard by nobody. */
static void remove_any(struct zk *zk, struct slice path) {
    if (!zk_watch_has(zk, path) && !zk_stream_has(zk, path))
        zk_send_remove(zk, path, WATCHER_ANY);
}

/* With the last one of a stream this ends, here and at the server; which may have the watch though
 * no answer said so: that is lost then, or on its way. */
static void leave(struct zk *zk, struct zk_subscriber *s, bool is_asked) {
    struct zk_stream *on = s->on;
    DL_DELETE(on->subscribers, s);
    s->on = NULL;
    s->token = 0;
    if (on->subscribers)
        return;
    struct slice path = {on->path, (int32_t)on->path_len};
    HASH_DEL(zk->streams[on->recursive], on);
    if ((on->is_armed || is_asked) && zk->any_only)
        remove_any(zk, path);
    else if (on->is_armed || is_asked)
        zk_send_remove(zk, path, on->recursive ? WATCHER_RECURSIVE : WATCHER_PERSISTENT);
    mem_free(on);
}

uint64_t zk_add_watch(struct zk *zk, struct slice path, bool recursive, struct zk_subscriber *s,
                      zk_cb *cb, void *ctx) {
    CHECK(!s->on);
    s->on = find_or_add(zk, path, recursive);
    DL_APPEND(s->on->subscribers, s);
    s->token = zk_add_watch_call(zk, path, recursive, s->on->is_armed, s, cb, ctx);
    return s->token;
}

void zk_stream_answered(struct zk *zk, struct zk_call *call, int err) {
    struct zk_subscriber *s = call->subscriber;
    s->token = 0;
    if (err == ZK_OK)
        s->on->is_armed = true;
    else
        leave(zk, s, err == ZK_CONNECTIONLOSS);
}

void zk_remove_watch(struct zk *zk, struct zk_subscriber *s) {
    if (s->token != 0)
        zk_cancel(zk, s->token); /* and leaves with it */
    else if (s->on)
        leave(zk, s, false);
}

/* Before 3.9 the types of persistent watches are not known. */
void zk_stream_removed(struct zk *zk, struct zk_call *call, int err) {
    struct cursor in;
    struct proto_remove_watches_request req;
    cursor_init(&in, call->request.data, call->request.len);
    if (err != ZK_MARSHALLINGERROR || call->local_err != 0 ||
        !proto_decode(&in, PROTO_remove_watches_request, &req) || req.type <= WATCHER_ANY)
        return;
    zk->any_only = true;
    if (!zk->is_closing)
        remove_any(zk, req.path);
}

bool zk_stream_has(const struct zk *zk, struct slice path) {
    return find(zk, path, false) || find(zk, path, true);
}

static struct zk_subscriber *next_of(const struct zk *zk, const struct zk_stream *on) {
    for (struct zk_subscriber *s = on ? on->subscribers : NULL; s; s = s->next)
        if (s->token == 0 && s->heard != zk->told)
            return s;
    return NULL;
}

/* A callback may make any of them leave, and the stream with them: it is looked up anew. */
static void tell(struct zk *zk, struct slice watched, bool recursive,
                 const struct client_update *u) {
    for (struct zk_subscriber *s; (s = next_of(zk, find(zk, watched, recursive)));) {
        s->heard = zk->told;
        s->fn(s, (enum zk_event)u->err, u->bytes, u->zxid);
    }
}

void zk_stream_event(struct zk *zk, const struct client_update *u) {
    bool is_change = u->err >= EVENT_NODE_CREATED && u->err <= EVENT_NODE_CHILDREN_CHANGED;
    if (!is_change || u->bytes.len <= 0)
        return;
    /* Ours tells each change's zxid: without one it is a one-shot watch's, which the server tells
     * by the znode's state behind a reconnect, and no change of now. */
    if (u->zxid < 0 && client_has_retries(zk->client))
        return;
    zk->told++;
    tell(zk, u->bytes, false, u);
    if (u->err == EVENT_NODE_CHILDREN_CHANGED)
        return;
    for (struct slice at = u->bytes; at.len > 0 && zk->streams[true]; at = path_parent(at))
        tell(zk, at, true, u);
}

static struct zk_subscriber *next_of_all(const struct zk *zk) {
    struct zk_subscriber *s = NULL;
    for (int i = 0; i < 2; i++)
        for (const struct zk_stream *on = zk->streams[i]; on && !s; on = on->hh.next)
            s = next_of(zk, on);
    return s;
}

void zk_stream_gap(struct zk *zk) {
    zk->told++;
    for (struct zk_subscriber *s; (s = next_of_all(zk));) {
        s->heard = zk->told;
        if (s->gap)
            s->gap(s);
    }
}

void zk_stream_close(struct zk *zk) {
    for (int i = 0; i < 2; i++) {
        struct zk_stream *on, *next;
        HASH_ITER(hh, zk->streams[i], on, next) {
            for (struct zk_subscriber *s; (s = on->subscribers);) {
                DL_DELETE(on->subscribers, s);
                s->on = NULL;
            }
            HASH_DEL(zk->streams[i], on);
            mem_free(on);
        }
    }
}
