/* Watchers: one-shot, several to a path, over the one watch that the server has of a path. What the
 * server is asked for again on another connection is the client's affair (common/client_watch.c).
 * What nobody waits for any more is removed there: behind every read that may have armed it. */
#include "fs/zk_impl.h"

#include <string.h>
#include <utlist.h>

struct zk_watched {
    UT_hash_handle hh;
    struct zk_watcher *watchers;
    unsigned kinds; /* of enum cwatch_kind: that the server may have */
    uint32_t reads; /* under way that may arm one */
    uint32_t path_len;
    uint8_t path[];
};

static struct zk_watched *find(struct zk *zk, struct slice path) {
    struct zk_watched *on = NULL;
    HASH_FIND(hh, zk->watched, path.p, (unsigned)path.len, on);
    return on;
}

static struct zk_watched *find_or_add(struct zk *zk, struct slice path) {
    struct zk_watched *on = find(zk, path);
    if (on)
        return on;
    on = mem_zalloc(sizeof(*on) + (size_t)path.len);
    on->path_len = (uint32_t)path.len;
    memcpy(on->path, path.p, (size_t)path.len);
    HASH_ADD_KEYPTR(hh, zk->watched, on->path, on->path_len, on);
    return on;
}

static struct slice path_of(const struct zk_watched *on) {
    return (struct slice){on->path, (int32_t)on->path_len};
}

/* Servers before 3.9 would take persistent watches of the path along. */
static bool may_remove(struct zk *zk, const struct zk_watched *on) {
    return client_has_retries(zk->client) || !zk_stream_has(zk, path_of(on));
}

/* The path is forgotten, here and by the server, when nobody waits and no read is under way that
 * might arm a watch behind our back. */
static void settle(struct zk *zk, struct zk_watched *on) {
    if (on->watchers || on->reads > 0)
        return;
    if (on->kinds != 0 && may_remove(zk, on)) {
        if (on->kinds & (CWATCH_DATA | CWATCH_EXIST))
            zk_send_remove(zk, path_of(on), WATCHER_DATA);
        if (on->kinds & CWATCH_CHILD)
            zk_send_remove(zk, path_of(on), WATCHER_CHILDREN);
    }
    HASH_DEL(zk->watched, on);
    mem_free(on);
}

static void leave(struct zk_watcher *w) {
    struct zk_watched *on = w->on;
    CHECK(on);
    DL_DELETE(on->watchers, w);
    w->on = NULL;
    w->kinds = 0;
}

void zk_watch_begin(struct zk *zk, struct zk_call *call, struct slice path, struct zk_watcher *w) {
    call->watcher = w;
    call->watched = find_or_add(zk, path);
    call->watched->reads++;
    w->reads++;
}

static unsigned kind_of(const struct zk_call *call, int err) {
    unsigned kind = call->kind == CALL_CHILDREN ? CWATCH_CHILD : CWATCH_DATA;
    if (err == ZK_OK || err == ZK_CONNECTIONLOSS)
        return kind;
    return err == ZK_NONODE && call->kind == CALL_EXISTS ? CWATCH_EXIST : 0;
}

void zk_watch_answered(struct zk *zk, struct zk_call *call, int err) {
    struct zk_watcher *w = call->watcher;
    struct zk_watched *on = call->watched;
    unsigned kind = kind_of(call, err);
    call->watched = NULL;
    on->reads--;
    if (w)
        w->reads--;
    on->kinds |= kind;
    if (w && kind != 0 && err != ZK_CONNECTIONLOSS) {
        if (!w->on) {
            w->on = on;
            DL_APPEND(on->watchers, w);
        }
        w->kinds |= kind;
    }
    settle(zk, on);
}

bool zk_watch_has(struct zk *zk, struct slice path) { return find(zk, path) != NULL; }

static struct zk_watcher *next_of(struct zk_watched *on, unsigned kinds) {
    for (struct zk_watcher *w = on->watchers; w; w = w->next)
        if (w->kinds & kinds)
            return w;
    return NULL;
}

/* Those that are there when it comes, in order: a callback may watch again, which is answered
 * later, and may make others leave. */
void zk_watch_event(struct zk *zk, const struct client_update *u) {
    struct zk_watched *on = u->bytes.len > 0 ? find(zk, u->bytes) : NULL;
    unsigned kinds = client_watch_used_up(u->err);
    if (!on || kinds == 0)
        return;
    on->kinds &= ~kinds;
    on->reads++; /* holds it until all have heard */
    for (struct zk_watcher *w; (w = next_of(on, kinds));) {
        leave(w);
        w->fn(w, (enum zk_event)u->err, u->zxid);
    }
    on->reads--;
    settle(zk, on);
}

void zk_unwatch(struct zk *zk, struct zk_watcher *w) {
    struct zk_watched *on = w->on;
    for (struct zk_call *call = zk->calls; call && w->reads > 0; call = call->hh.next) {
        if (!call->watched || call->watcher != w)
            continue;
        call->watcher = NULL;
        w->reads--;
    }
    if (!on)
        return;
    leave(w);
    settle(zk, on);
}

void zk_watch_close(struct zk *zk) {
    struct zk_watched *on, *next;
    HASH_ITER(hh, zk->watched, on, next) {
        while (on->watchers)
            leave(on->watchers);
        HASH_DEL(zk->watched, on);
        mem_free(on);
    }
}

void zk_listen(struct zk *zk, struct zk_listener *l) { DL_APPEND(zk->listeners, l); }

void zk_unlisten(struct zk *zk, struct zk_listener *l) { DL_DELETE(zk->listeners, l); }
