/* Watches that are not set by a read: addWatch, setWatches after a reconnect, and looking for or
 * removing one.
 *
 * What a client missed while it had no connection: of one-shot watches the state of the znodes
 * tells, as in ZooKeeper. Of persistent ones it cannot: there the changes themselves are told
 * again, from recent.h, as if the client had been there; its one-shot watches of the same request
 * take part in that, so that it hears of each change once and in order. */
#include "common/mutant.h"
#include "replica/server/read.h"

#include "common/path.h"
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

static void arm_list(struct read *rd, enum watch_kind kind, const struct jvec *paths) {
    struct slice path;
    for (int32_t at = 0; jvec_next_string(paths, &at, &path);)
        arm(rd, kind, path);
}

/* No permission is asked for, as in ZooKeeper: a path is no secret there. */
enum zk_err read_add_watch(struct read *rd) {
    struct proto_add_watch_request req;
    if (!proto_decode(&rd->body, PROTO_add_watch_request, &req) || req.path.len < 0 ||
        (req.mode != ADD_WATCH_PERSISTENT && req.mode != ADD_WATCH_RECURSIVE))
        return ZK_MARSHALLINGERROR;
    if (lookup_has_shape(req.path))
        watch_add(rd->r->watches,
                  req.mode == ADD_WATCH_RECURSIVE ? WATCH_RECURSIVE : WATCH_PERSISTENT, req.path,
                  rd->conn->id);
    jute_write_int(read_begin(rd), ZK_OK);
    read_end(rd);
    return ZK_OK;
}

/* One setWatches or setWatches2. */
struct again {
    struct read *rd;
    zxid_t since;
    const struct jvec *data, *exist, *child;
    struct watch_table *missed; /* what the recent changes left of its watches; NULL: not asked */
    bool hides_zxids;           /* of what the state of the znodes tells */
};

/* A client with persistent watches takes a zxid for a change that they hear, and for all changes
 * before it. That is so of what is replayed; what the state of the znodes tells goes without:
 * behind a gap, and in the requests that have only its one-shot watches. */
static void event(const struct again *a, zxid_t zxid, enum zk_event type, struct slice path) {
    reply_event(a->rd->r, a->rd->conn->id, a->hides_zxids ? -1 : zxid, type, path);
}

/* A one-shot watch that the recent changes have used up. */
static bool is_used_up(const struct again *a, enum watch_kind kind, struct slice path) {
    return a->missed && lookup_has_shape(path) &&
           !watch_exists(a->missed, kind, path, a->rd->conn->id);
}

static const struct znode *find(const struct again *a, struct slice path, struct zstat *ret_stat) {
    const struct znode *n = lookup_znode(a->rd->r->tree, path);
    *ret_stat = (struct zstat){0};
    if (n)
        znode_stat(n, ret_stat);
    return n;
}

static void set_data_watches(const struct again *a) {
    struct slice path;
    struct zstat stat;
    for (int32_t at = 0; jvec_next_string(a->data, &at, &path);) {
        if (is_used_up(a, WATCH_DATA, path))
            continue;
        if (!find(a, path, &stat))
            event(a, -1, EVENT_NODE_DELETED, path);
        else if (stat.mzxid > a->since)
            event(a, stat.mzxid, EVENT_NODE_DATA_CHANGED, path);
        else
            arm(a->rd, WATCH_DATA, path);
    }
}

static void set_exist_watches(const struct again *a) {
    struct slice path;
    struct zstat stat;
    for (int32_t at = 0; jvec_next_string(a->exist, &at, &path);) {
        if (is_used_up(a, WATCH_DATA, path))
            continue;
        if (find(a, path, &stat))
            event(a, stat.czxid, EVENT_NODE_CREATED, path);
        else
            arm(a->rd, WATCH_DATA, path);
    }
}

static void set_child_watches(const struct again *a) {
    struct slice path;
    struct zstat stat;
    for (int32_t at = 0; jvec_next_string(a->child, &at, &path);) {
        if (is_used_up(a, WATCH_CHILD, path))
            continue;
        if (!find(a, path, &stat))
            event(a, -1, EVENT_NODE_DELETED, path);
        else if (stat.pzxid > a->since)
            event(a, stat.pzxid, EVENT_NODE_CHILDREN_CHANGED, path);
        else
            arm(a->rd, WATCH_CHILD, path);
    }
}

/* DataTree.setWatches: what changed since the client's zxid is told now, the rest is armed again.
 * The events come before the answer. */
static void set_one_shot(const struct again *a) {
    set_data_watches(a);
    set_exist_watches(a);
    set_child_watches(a);
}

static bool lists_are_whole(const struct again *a) {
    return list_is_whole(a->data) && list_is_whole(a->exist) && list_is_whole(a->child);
}

enum zk_err read_set_watches(struct read *rd) {
    struct proto_set_watches req;
    if (!proto_decode(&rd->body, PROTO_set_watches, &req))
        return ZK_MARSHALLINGERROR;
    struct again a = {
        rd,   req.relative_zxid, &req.data_watches, &req.exist_watches, &req.child_watches, NULL,
        false};
    if (!lists_are_whole(&a))
        return ZK_MARSHALLINGERROR;
    set_one_shot(&a);
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

static void add_list(struct again *a, enum watch_kind kind, const struct jvec *paths) {
    struct slice path;
    for (int32_t at = 0; jvec_next_string(paths, &at, &path);)
        if (lookup_has_shape(path))
            watch_add(a->missed, kind, path, a->rd->conn->id);
}

/* A change of the past, told as event() does. */
struct told {
    const struct again *a;
    zxid_t zxid;
};

static void tell(void *ctx, conn_id_t watcher, enum zk_event type, struct slice path) {
    const struct told *t = ctx;
    event(t->a, t->zxid, type, path);
}

/* What happened behind `since`, in its order, to the watches in a->missed. */
static void tell_missed(const struct again *a) {
    const struct recent *recent = &a->rd->r->recent;
    for (uint32_t i = recent_behind(recent, a->since); i < recent->count; i++) {
        const struct recent_change *c = recent_at(recent, i);
        struct told t = {a, c->zxid};
        watch_fire(a->missed, c->event, blob_slice(c->path), tell, &t);
        if (c->event != EVENT_NODE_DATA_CHANGED)
            watch_fire(a->missed, EVENT_NODE_CHILDREN_CHANGED, path_parent(blob_slice(c->path)),
                       tell, &t);
    }
}

/* False when some of it is not known any more: then only the state tells. */
static bool replay(struct again *a, const struct proto_set_watches2 *req) {
    if (MUTANT(WATCH_NOT_REPLAYED))
        return true;
    if (!recent_reaches(&a->rd->r->recent, a->since))
        return false;
    a->missed = watch_new();
    add_list(a, WATCH_DATA, a->data);
    add_list(a, WATCH_DATA, a->exist);
    add_list(a, WATCH_CHILD, a->child);
    add_list(a, WATCH_PERSISTENT, &req->persistent_watches);
    add_list(a, WATCH_RECURSIVE, &req->persistent_recursive_watches);
    tell_missed(a);
    return true;
}

/* A gap is told to clients of our own kind, as the answer's error; what they asked for is done all
 * the same. ZooKeeper's own clients ignore the error; others may not. */
enum zk_err read_set_watches2(struct read *rd) {
    struct proto_set_watches2 req;
    if (!proto_decode(&rd->body, PROTO_set_watches2, &req))
        return ZK_MARSHALLINGERROR;
    struct again a = {
        rd,   req.relative_zxid, &req.data_watches, &req.exist_watches, &req.child_watches, NULL,
        false};
    if (!lists_are_whole(&a) || !list_is_whole(&req.persistent_watches) ||
        !list_is_whole(&req.persistent_recursive_watches))
        return ZK_MARSHALLINGERROR;
    bool stays = req.persistent_watches.count > 0 || req.persistent_recursive_watches.count > 0;
    bool gap = stays && !replay(&a, &req);
    a.hides_zxids = gap || !stays;
    set_one_shot(&a);
    watch_free(a.missed);
    arm_list(rd, WATCH_PERSISTENT, &req.persistent_watches);
    arm_list(rd, WATCH_RECURSIVE, &req.persistent_recursive_watches);
    if (gap && rd->conn->ours)
        return ZK_WATCHGAP;
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

typedef bool each_fn(struct read *rd, enum watch_kind kind, struct slice path);

static bool each_exists(struct read *rd, enum watch_kind kind, struct slice path) {
    return watch_exists(rd->r->watches, kind, path, rd->conn->id);
}

static bool each_remove(struct read *rd, enum watch_kind kind, struct slice path) {
    return watch_remove(rd->r->watches, kind, path, rd->conn->id);
}

/* As in 3.9: in 3.8 the types of one-shot watches stand for half a persistent one as well, and it
 * has no types of its own. */
static bool type_has(int32_t type, enum watch_kind kind) {
    static const int32_t type_of[] = {[WATCH_DATA] = WATCHER_DATA,
                                      [WATCH_CHILD] = WATCHER_CHILDREN,
                                      [WATCH_PERSISTENT] = WATCHER_PERSISTENT,
                                      [WATCH_RECURSIVE] = WATCHER_RECURSIVE};
    return type == WATCHER_ANY || type == type_of[kind];
}

static enum zk_err watches_of_type(struct read *rd, each_fn *fn) {
    struct proto_remove_watches_request req;
    if (!proto_decode(&rd->body, PROTO_remove_watches_request, &req) || req.path.len < 0 ||
        req.type < WATCHER_CHILDREN || req.type > WATCHER_RECURSIVE)
        return ZK_MARSHALLINGERROR;
    bool found = false;
    for (enum watch_kind kind = WATCH_DATA; kind <= WATCH_RECURSIVE; kind++)
        if (type_has(req.type, kind) && fn(rd, kind, req.path))
            found = true;
    if (!found)
        return ZK_NOWATCHER;
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

enum zk_err read_check_watches(struct read *rd) { return watches_of_type(rd, each_exists); }

enum zk_err read_remove_watches(struct read *rd) { return watches_of_type(rd, each_remove); }
