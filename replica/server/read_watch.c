/* Watches that are not set by a read: setWatches after a reconnect, and looking for or removing
 * one. */
#include "common/mutant.h"
#include "replica/server/read.h"

#include "replica/server/lookup.h"
#include "replica/server/reply.h"

/* ZooKeeper fails on a null list and on a null path. */
static bool list_is_whole(const struct jvec *v) {
    struct slice path;
    if (v->count < 0)
        return false;
    for (int32_t at = 0; jvec_next_string(v, &at, &path);) {
        if (path.len < 0)
            return false;
    }
    return true;
}

static void arm(struct read *rd, enum watch_kind kind, struct slice path) {
    if (lookup_has_shape(path) && !MUTANT(WATCH_FORGOTTEN))
        watch_add(rd->r->watches, kind, path, rd->conn->id);
}

static void event(struct read *rd, enum zk_event type, struct slice path) {
    reply_event(rd->r, rd->conn->id, type, path);
}

static void set_data_watches(struct read *rd, const struct jvec *paths, zxid_t since) {
    struct slice path;
    for (int32_t at = 0; jvec_next_string(paths, &at, &path);) {
        const struct znode *n = lookup_znode(rd->r->tree, path);
        struct zstat stat = {0};
        if (n)
            znode_stat(n, &stat);
        if (!n)
            event(rd, EVENT_NODE_DELETED, path);
        else if (stat.mzxid > since)
            event(rd, EVENT_NODE_DATA_CHANGED, path);
        else
            arm(rd, WATCH_DATA, path);
    }
}

static void set_exist_watches(struct read *rd, const struct jvec *paths) {
    struct slice path;
    for (int32_t at = 0; jvec_next_string(paths, &at, &path);) {
        if (lookup_znode(rd->r->tree, path))
            event(rd, EVENT_NODE_CREATED, path);
        else
            arm(rd, WATCH_DATA, path);
    }
}

static void set_child_watches(struct read *rd, const struct jvec *paths, zxid_t since) {
    struct slice path;
    for (int32_t at = 0; jvec_next_string(paths, &at, &path);) {
        const struct znode *n = lookup_znode(rd->r->tree, path);
        struct zstat stat = {0};
        if (n)
            znode_stat(n, &stat);
        if (!n)
            event(rd, EVENT_NODE_DELETED, path);
        else if (stat.pzxid > since)
            event(rd, EVENT_NODE_CHILDREN_CHANGED, path);
        else
            arm(rd, WATCH_CHILD, path);
    }
}

/* DataTree.setWatches: what changed since the client's zxid is told now, the rest is armed again.
 * The events come before the answer. */
static enum zk_err set_watches(struct read *rd, zxid_t since, const struct jvec *data,
                               const struct jvec *exist, const struct jvec *child) {
    if (!list_is_whole(data) || !list_is_whole(exist) || !list_is_whole(child))
        return ZK_MARSHALLINGERROR;
    set_data_watches(rd, data, since);
    set_exist_watches(rd, exist);
    set_child_watches(rd, child, since);
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

enum zk_err read_set_watches(struct read *rd) {
    struct proto_set_watches req;
    if (!proto_decode(&rd->body, PROTO_set_watches, &req))
        return ZK_MARSHALLINGERROR;
    return set_watches(rd, req.relative_zxid, &req.data_watches, &req.exist_watches,
                       &req.child_watches);
}

enum zk_err read_set_watches2(struct read *rd) {
    struct proto_set_watches2 req;
    if (!proto_decode(&rd->body, PROTO_set_watches2, &req))
        return ZK_MARSHALLINGERROR;
    if (req.persistent_watches.count < 0 || req.persistent_recursive_watches.count < 0)
        return ZK_MARSHALLINGERROR;
    if (req.persistent_watches.count > 0 || req.persistent_recursive_watches.count > 0)
        return ZK_UNIMPLEMENTED;
    return set_watches(rd, req.relative_zxid, &req.data_watches, &req.exist_watches,
                       &req.child_watches);
}

/* ZooKeeper's WatcherType. */
enum watcher_type { WATCHER_CHILDREN = 1, WATCHER_DATA = 2, WATCHER_ANY = 3 };

typedef bool each_fn(struct read *rd, enum watch_kind kind, struct slice path);

static bool each_exists(struct read *rd, enum watch_kind kind, struct slice path) {
    return watch_exists(rd->r->watches, kind, path, rd->conn->id);
}

static bool each_remove(struct read *rd, enum watch_kind kind, struct slice path) {
    return watch_remove(rd->r->watches, kind, path, rd->conn->id);
}

static enum zk_err watches_of_type(struct read *rd, each_fn *fn) {
    struct proto_remove_watches_request req;
    if (!proto_decode(&rd->body, PROTO_remove_watches_request, &req) || req.path.len < 0 ||
        req.type < WATCHER_CHILDREN || req.type > WATCHER_ANY)
        return ZK_MARSHALLINGERROR;
    bool found = false;
    if (req.type != WATCHER_CHILDREN)
        found = fn(rd, WATCH_DATA, req.path);
    if (req.type != WATCHER_DATA)
        found = fn(rd, WATCH_CHILD, req.path) || found;
    if (!found)
        return ZK_NOWATCHER;
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

enum zk_err read_check_watches(struct read *rd) { return watches_of_type(rd, each_exists); }

enum zk_err read_remove_watches(struct read *rd) { return watches_of_type(rd, each_remove); }
