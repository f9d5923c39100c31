/* Watches that stay, as a client hears of them: every change once, in order, over reconnects, and
 * before anything that shows it. On the wire a new connection begins behind the last reply that the
 * client got; what its session code tells its caller goes on without a seam, but where it says that
 * there may be a gap. */
#include "tests/sim/check_state.h"

#include "common/mem.h"
#include "common/path.h"
#include "tests/sim/sim_client.h"

static int32_t event_of(const struct model_version *was, const struct model_version *now) {
    if (was->exists != now->exists)
        return now->exists ? EVENT_NODE_CREATED : EVENT_NODE_DELETED;
    if (was->version != now->version)
        return EVENT_NODE_DATA_CHANGED;
    if (was->creates != now->creates || was->children != now->children)
        return EVENT_NODE_CHILDREN_CHANGED;
    return EVENT_NONE;
}

static bool hears(const struct check_staying *x, const struct model *m, uint32_t path,
                  int32_t type) {
    if (type == EVENT_NONE)
        return false;
    if (!x->recursive)
        return path == x->path;
    return type != EVENT_NODE_CHILDREN_CHANGED &&
           path_has_prefix(slice_from_str(model_path(m, path)->name),
                           slice_from_str(model_path(m, x->path)->name));
}

/* What happened to a path behind `after` and up to `until` that x hears of: how often, and when
 * first. */
static uint32_t changes_of(const struct check_staying *x, const struct model *m, uint32_t path,
                           zxid_t after, zxid_t until, zxid_t *ret_first) {
    static const struct model_version none;
    const struct model_path *p = model_path(m, path);
    uint32_t count = 0;
    for (size_t i = p->count; i-- > 0 && p->versions[i].at > after;) {
        const struct model_version *was = i > 0 ? &p->versions[i - 1] : &none;
        if (p->versions[i].at > until || !hears(x, m, path, event_of(was, &p->versions[i])))
            continue;
        count++;
        *ret_first = p->versions[i].at;
    }
    return count;
}

static uint32_t changes(const struct check_staying *x, const struct model *m, zxid_t after,
                        zxid_t until, zxid_t *ret_first) {
    uint32_t count = 0;
    *ret_first = 0;
    for (uint32_t i = 0; i < model_path_count(m); i++) {
        zxid_t first = 0;
        if (!x->recursive && i != x->path)
            continue;
        count += changes_of(x, m, i, after, until, &first);
        if (first != 0 && (*ret_first == 0 || first < *ret_first))
            *ret_first = first;
    }
    return count;
}

static uint32_t changes_at(const struct check_staying *x, const struct model *m, zxid_t zxid) {
    zxid_t first;
    return changes(x, m, zxid - 1, zxid, &first);
}

static struct staying_heard all_of(const struct check_staying *x, const struct model *m,
                                   zxid_t zxid) {
    return (struct staying_heard){.zxid = zxid, .count = changes_at(x, m, zxid)};
}

static void wrong(struct sim_client *c, const struct check_staying *x, const char *what,
                  zxid_t zxid) {
    world_fail(c->w, "client %u, which watches %s%s for good, %s %u.%u", c->index,
               model_path(c->w->check->model, x->path)->name, x->recursive ? " and below" : "",
               what, zxid_epoch(zxid), zxid_counter(zxid));
}

/* Nothing up to zxid, itself left out, is missing behind what was heard. */
static void demand_whole(struct sim_client *c, const struct check_staying *x,
                         const struct staying_heard *h, zxid_t zxid) {
    const struct model *m = c->w->check->model;
    zxid_t first;
    if (h->open)
        return;
    if (h->zxid < zxid && h->count < changes_at(x, m, h->zxid))
        wrong(c, x, "has not heard all of", h->zxid);
    else if (changes(x, m, h->zxid, zxid - 1, &first) > 0)
        wrong(c, x, "has not heard of", first);
}

static void advance(struct sim_client *c, const struct check_staying *x, struct staying_heard *h,
                    zxid_t zxid) {
    const struct model *m = c->w->check->model;
    if (zxid < h->zxid) {
        wrong(c, x, "hears too late of", zxid);
        return;
    }
    if (zxid > h->zxid) {
        demand_whole(c, x, h, zxid);
        *h = (struct staying_heard){.zxid = zxid};
    }
    if (++h->count > changes_at(x, m, zxid))
        wrong(c, x, "hears once too often of", zxid);
}

static bool happened(const struct model *m, uint32_t path, int32_t type, zxid_t zxid) {
    static const struct model_version none;
    const struct model_path *p = model_path(m, path);
    for (size_t i = p->count; i-- > 0 && p->versions[i].at >= zxid;)
        if (p->versions[i].at == zxid &&
            event_of(i > 0 ? &p->versions[i - 1] : &none, &p->versions[i]) == type)
            return true;
    return false;
}

static size_t find(const struct check_client *k, uint32_t path, bool recursive) {
    size_t i = 0;
    while (i < k->staying_count &&
           (k->staying[i].path != path || k->staying[i].recursive != recursive))
        i++;
    return i;
}

static void answered_add(struct sim_client *c, struct cursor *record, zxid_t zxid) {
    struct check_client *k = &c->check;
    struct proto_add_watch_request req;
    if (!proto_decode(record, PROTO_add_watch_request, &req))
        return;
    struct check_staying x = {.path = model_intern(c->w->check->model, req.path),
                              .recursive = req.mode == ADD_WATCH_RECURSIVE,
                              .since = zxid};
    if (find(k, x.path, x.recursive) < k->staying_count)
        return; /* and what it heard stays heard */
    x.wire = x.told = all_of(&x, c->w->check->model, zxid);
    if (k->staying_count == k->staying_cap) {
        k->staying_cap = k->staying_cap ? 2 * k->staying_cap : 8;
        k->staying = mem_realloc(k->staying, k->staying_cap * sizeof *k->staying);
    }
    k->staying[k->staying_count++] = x;
}

static void answered_remove(struct sim_client *c, struct cursor *record, int32_t err) {
    struct check_client *k = &c->check;
    struct proto_remove_watches_request req;
    if (!proto_decode(record, PROTO_remove_watches_request, &req))
        return;
    size_t i = find(k, model_intern(c->w->check->model, req.path), req.type == WATCHER_RECURSIVE);
    bool there = i < k->staying_count;
    if (err != (there ? ZK_OK : ZK_NOWATCHER))
        world_fail(c->w, "client %u removes a watch of %.*s: %d", c->index, req.path.len,
                   (const char *)req.path.p, err);
    if (there)
        k->staying[i] = k->staying[--k->staying_count];
}

bool check_staying_answered(struct sim_client *c, const struct sim_op *op, zxid_t zxid,
                            int32_t err) {
    struct cursor record;
    cursor_init(&record, op->record.data, op->record.len);
    if (op->opcode == OP_REMOVE_WATCHES)
        answered_remove(c, &record, err);
    else if (op->opcode == OP_ADD_WATCH && err == ZK_OK)
        answered_add(c, &record, zxid);
    else if (op->opcode == OP_ADD_WATCH)
        world_fail(c->w, "client %u cannot add a watch: %d", c->index, err);
    else
        return false;
    return true;
}

bool check_staying_event(struct sim_client *c, int32_t type, struct slice path, zxid_t zxid) {
    const struct model *m = c->w->check->model;
    uint32_t at = model_find(m, path);
    bool any = false;
    if (zxid < 0)
        return false; /* a one-shot watch's, told by the state of its znode */
    for (size_t i = 0; at != MODEL_NO_PATH && i < c->check.staying_count; i++) {
        struct check_staying *x = &c->check.staying[i];
        if (!hears(x, m, at, type))
            continue;
        any = true;
        advance(c, x, &x->wire, zxid);
    }
    if (any && !happened(m, at, type, zxid))
        world_fail(c->w, "client %u hears event %d of %.*s at %u.%u, where there was none",
                   c->index, type, path.len, (const char *)path.p, zxid_epoch(zxid),
                   zxid_counter(zxid));
    return any;
}

void check_staying_told(struct sim_client *c, int32_t type, struct slice path, zxid_t zxid) {
    const struct model *m = c->w->check->model;
    uint32_t at = model_find(m, path);
    for (size_t i = 0; at != MODEL_NO_PATH && i < c->check.staying_count; i++) {
        struct check_staying *x = &c->check.staying[i];
        if (hears(x, m, at, type) && zxid > x->since)
            advance(c, x, &x->told, zxid);
    }
}

void check_staying_gap(struct sim_client *c) {
    for (size_t i = 0; i < c->check.staying_count; i++)
        c->check.staying[i].told.open = true;
}

void check_staying_reply(struct sim_client *c, zxid_t zxid) {
    for (size_t i = 0; i < c->check.staying_count && !c->w->failed; i++) {
        struct check_staying *x = &c->check.staying[i];
        demand_whole(c, x, &x->wire, zxid + 1);
    }
}

void check_staying_again(struct sim_client *c) {
    for (size_t i = 0; i < c->check.staying_count; i++) {
        struct check_staying *x = &c->check.staying[i];
        zxid_t from = c->check.replied > x->since ? c->check.replied : x->since;
        x->wire = all_of(x, c->w->check->model, from);
    }
}

void check_staying_set(struct sim_client *c, zxid_t zxid, int32_t err) {
    for (size_t i = 0; i < c->check.staying_count && err == ZK_WATCHGAP; i++) {
        struct check_staying *x = &c->check.staying[i];
        x->wire = all_of(x, c->w->check->model, zxid);
    }
    if (err != ZK_OK && err != ZK_WATCHGAP)
        world_fail(c->w, "client %u cannot set its watches again: %d", c->index, err);
}
