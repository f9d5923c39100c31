/* Watches, as a client sees them: one event for each, and before anything that shows the change. */
#include "tests/sim/check_state.h"

#include "common/mem.h"
#include "tests/sim/sim_client.h"

void check_watch_set(struct sim_client *c, struct slice path, enum check_watch_kind kind,
                     zxid_t since) {
    struct check_client *k = &c->check;
    uint32_t at = model_intern(c->w->check->model, path);
    for (size_t i = 0; i < k->watch_count; i++)
        if (k->watches[i].path == at && k->watches[i].kind == kind) {
            k->watches[i].since = since;
            return;
        }
    if (k->watch_count == k->watch_cap) {
        k->watch_cap = k->watch_cap ? 2 * k->watch_cap : 16;
        k->watches = mem_realloc(k->watches, k->watch_cap * sizeof *k->watches);
    }
    k->watches[k->watch_count++] = (struct check_watch){at, kind, since};
}

static unsigned used_up_by(int32_t type) {
    switch (type) {
    case EVENT_NODE_CREATED:
    case EVENT_NODE_DATA_CHANGED:
        return WATCHED_DATA | WATCHED_ABSENT;
    case EVENT_NODE_DELETED:
        return WATCHED_DATA | WATCHED_ABSENT | WATCHED_CHILDREN;
    case EVENT_NODE_CHILDREN_CHANGED:
        return WATCHED_CHILDREN;
    default:
        return 0;
    }
}

/* Takes the watches that an event uses up. True when one of them had a reason to fire. */
static bool use_up(struct sim_client *c, uint32_t path, unsigned kinds, bool *ret_any) {
    struct check_client *k = &c->check;
    bool reason = false;
    *ret_any = false;
    for (size_t i = 0; i < k->watch_count;) {
        const struct check_watch *x = &k->watches[i];
        if (x->path != path || (x->kind & kinds) == 0) {
            i++;
            continue;
        }
        *ret_any = true;
        reason = reason || model_change(c->w->check->model, path, x->kind, x->since) != 0;
        k->watches[i] = k->watches[--k->watch_count];
    }
    return reason;
}

/* setWatches tells of a deletion for a znode's data and for its children: twice. */
void check_watch_event(struct sim_client *c, struct sim_wire *wire, int32_t type, struct slice path,
                       zxid_t zxid) {
    uint32_t at = model_find(c->w->check->model, path);
    bool any = false;
    bool reason = at != MODEL_NO_PATH && use_up(c, at, used_up_by(type), &any);
    bool stays = check_staying_event(c, type, path, zxid);
    if (!any && stays)
        return;
    if (!any && type == EVENT_NODE_DELETED && wire->set_watches)
        return;
    if (!any)
        world_fail(c->w, "client %u hears event %d of %.*s, which it does not watch", c->index,
                   type, path.len, (const char *)path.p);
    else if (!reason)
        world_fail(c->w, "client %u hears event %d of %.*s, which has not changed", c->index, type,
                   path.len, (const char *)path.p);
}

void check_watch_reply(struct sim_client *c, zxid_t zxid) {
    const struct model *m = c->w->check->model;
    for (size_t i = 0; i < c->check.watch_count; i++) {
        const struct check_watch *x = &c->check.watches[i];
        if (zxid <= x->since)
            continue;
        zxid_t change = model_change(m, x->path, x->kind, x->since);
        if (change != 0 && change <= zxid)
            world_fail(c->w, "client %u is shown %u.%u and has not heard that %s changed at %u.%u",
                       c->index, zxid_epoch(zxid), zxid_counter(zxid), model_path(m, x->path)->name,
                       zxid_epoch(change), zxid_counter(change));
    }
}

/* A znode that came and went while nobody was connected makes no event, as with ZooKeeper: the
 * watch goes on from here. */
void check_watch_again(struct sim_client *c, zxid_t zxid) {
    const struct model *m = c->w->check->model;
    for (size_t i = 0; i < c->check.watch_count; i++) {
        struct check_watch *x = &c->check.watches[i];
        if (x->kind == WATCHED_ABSENT && zxid > x->since && !model_at(m, x->path, zxid)->exists)
            x->since = zxid;
    }
}
