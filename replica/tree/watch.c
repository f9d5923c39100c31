/* A watch stands in three places: in its path's list of that kind and in its watcher's list (both
 * in order of addition, both left in constant time), and in a hash table, to find it again. Firing
 * walks only the watches that fire, a dropped connection only its own. A watch takes 80 bytes, a
 * path 32 and its name, the tables 8 for each. */
#include "replica/tree/watch.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/tree/htab.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define KINDS 2

struct watched;
struct watcher;

struct watch {
    struct htab_link link; /* in watch_table.watches; aux: the kind */
    struct watched *watched;
    struct watcher *watcher;
    struct watch *path_next, *path_prev;
    struct watch *own_next, *own_prev;
    uint64_t added; /* when, counted in watches: orders the two kinds of a path among each other */
};

/* A path that somebody watches. The lists are rings without an end: first->path_prev is the last.
 */
struct watched {
    struct htab_link link; /* in watch_table.paths; aux: the path's length */
    struct watch *first[KINDS];
    uint8_t path[];
};

/* A connection that watches something. */
struct watcher {
    struct htab_link link; /* in watch_table.watchers */
    conn_id_t conn;
    struct watch *first;
};

struct watch_table {
    struct htab watches;
    struct htab paths;
    struct htab watchers;
    uint64_t added;
};

struct watch_table *watch_new(void) {
    struct watch_table *w = mem_zalloc(sizeof *w);
    htab_init(&w->watches);
    htab_init(&w->paths);
    htab_init(&w->watchers);
    return w;
}

static uint32_t hash_of_path(struct slice path) {
    return (uint32_t)XXH3_64bits(path.p, (size_t)path.len);
}

static uint32_t hash_of_conn(conn_id_t conn) { return (uint32_t)XXH3_64bits(&conn, sizeof conn); }

/* The kind and the watcher's own number; the path comes in by its hash, not by its address. */
static uint32_t hash_of_watch(const struct watched *p, enum watch_kind kind, conn_id_t conn) {
    uint64_t key[2] = {conn, (uint64_t)p->link.hash << 1 | (uint64_t)kind};
    return (uint32_t)XXH3_64bits(key, sizeof key);
}

static struct watched *find_path(const struct watch_table *w, struct slice path) {
    uint32_t hash = hash_of_path(path);
    for (struct htab_link *l = htab_chain(&w->paths, hash); l; l = l->next) {
        struct watched *p = HTAB_ENTRY(l, struct watched, link);
        if (l->hash == hash && l->aux == (uint32_t)path.len &&
            memcmp(p->path, path.p, (size_t)path.len) == 0)
            return p;
    }
    return NULL;
}

static struct watcher *find_watcher(const struct watch_table *w, conn_id_t conn) {
    for (struct htab_link *l = htab_chain(&w->watchers, hash_of_conn(conn)); l; l = l->next) {
        struct watcher *o = HTAB_ENTRY(l, struct watcher, link);
        if (o->conn == conn)
            return o;
    }
    return NULL;
}

static struct watch *find_watch(const struct watch_table *w, const struct watched *p,
                                enum watch_kind kind, conn_id_t conn) {
    uint32_t hash = hash_of_watch(p, kind, conn);
    for (struct htab_link *l = htab_chain(&w->watches, hash); l; l = l->next) {
        struct watch *x = HTAB_ENTRY(l, struct watch, link);
        if (l->hash == hash && l->aux == (uint32_t)kind && x->watched == p &&
            x->watcher->conn == conn)
            return x;
    }
    return NULL;
}

static struct watched *path_new(struct watch_table *w, struct slice path) {
    struct watched *p = mem_alloc(sizeof *p + (size_t)path.len);
    *p = (struct watched){.link = {.hash = hash_of_path(path), .aux = (uint32_t)path.len}};
    memcpy(p->path, path.p, (size_t)path.len);
    htab_insert(&w->paths, &p->link);
    return p;
}

static struct watcher *watcher_new(struct watch_table *w, conn_id_t conn) {
    struct watcher *o = mem_alloc(sizeof *o);
    *o = (struct watcher){.link = {.hash = hash_of_conn(conn)}, .conn = conn};
    htab_insert(&w->watchers, &o->link);
    return o;
}

/* At the ends of both rings. */
static void link_watch(struct watch *x, struct watch **path_first, struct watch **own_first) {
    x->path_next = *path_first ? *path_first : x;
    x->path_prev = *path_first ? (*path_first)->path_prev : x;
    x->path_prev->path_next = x;
    x->path_next->path_prev = x;
    if (!*path_first)
        *path_first = x;
    x->own_next = *own_first ? *own_first : x;
    x->own_prev = *own_first ? (*own_first)->own_prev : x;
    x->own_prev->own_next = x;
    x->own_next->own_prev = x;
    if (!*own_first)
        *own_first = x;
}

static void unlink_watch(struct watch *x, struct watch **path_first, struct watch **own_first) {
    x->path_prev->path_next = x->path_next;
    x->path_next->path_prev = x->path_prev;
    if (*path_first == x)
        *path_first = x->path_next == x ? NULL : x->path_next;
    x->own_prev->own_next = x->own_next;
    x->own_next->own_prev = x->own_prev;
    if (*own_first == x)
        *own_first = x->own_next == x ? NULL : x->own_next;
}

void watch_add(struct watch_table *w, enum watch_kind kind, struct slice path, conn_id_t watcher) {
    struct watched *p = find_path(w, path);
    if (!p)
        p = path_new(w, path);
    else if (find_watch(w, p, kind, watcher))
        return;
    struct watcher *o = find_watcher(w, watcher);
    if (!o)
        o = watcher_new(w, watcher);
    struct watch *x = mem_alloc(sizeof *x);
    *x = (struct watch){.link = {.hash = hash_of_watch(p, kind, watcher), .aux = (uint32_t)kind},
                        .watched = p,
                        .watcher = o,
                        .added = w->added++};
    link_watch(x, &p->first[kind], &o->first);
    htab_insert(&w->watches, &x->link);
}

/* Takes the watch away, and its watcher when it has no other. The path stays: its own end is the
 * caller's to see to. */
static void take_away(struct watch_table *w, struct watch *x) {
    struct watcher *o = x->watcher;
    unlink_watch(x, &x->watched->first[x->link.aux], &o->first);
    htab_remove(&w->watches, &x->link);
    mem_free(x);
    if (!o->first) {
        htab_remove(&w->watchers, &o->link);
        mem_free(o);
    }
}

static void forget_path_if_unwatched(struct watch_table *w, struct watched *p) {
    if (p->first[WATCH_DATA] || p->first[WATCH_CHILD])
        return;
    htab_remove(&w->paths, &p->link);
    mem_free(p);
}

static bool fires(enum zk_event event, enum watch_kind kind) {
    switch (event) {
    case EVENT_NODE_CREATED:
    case EVENT_NODE_DATA_CHANGED:
        return kind == WATCH_DATA;
    case EVENT_NODE_CHILDREN_CHANGED:
        return kind == WATCH_CHILD;
    case EVENT_NODE_DELETED:
        return true;
    case EVENT_NONE:
        return false;
    }
    return false;
}

/* The oldest watch of the path that this event fires. */
static struct watch *next_to_fire(const struct watched *p, enum zk_event event) {
    struct watch *data = fires(event, WATCH_DATA) ? p->first[WATCH_DATA] : NULL;
    struct watch *child = fires(event, WATCH_CHILD) ? p->first[WATCH_CHILD] : NULL;
    if (!data || !child)
        return data ? data : child;
    return data->added < child->added ? data : child;
}

void watch_fire(struct watch_table *w, enum zk_event event, struct slice path, watch_fn *fn,
                void *ctx) {
    struct watched *p = find_path(w, path);
    if (!p)
        return;
    struct watch *x;
    while ((x = next_to_fire(p, event))) {
        conn_id_t conn = x->watcher->conn;
        enum watch_kind other = x->link.aux == WATCH_DATA ? WATCH_CHILD : WATCH_DATA;
        if (MUTANT(WATCH_STAYS)) {
            fn(ctx, conn, event, path);
            break;
        }
        take_away(w, x);
        if (fires(event, other)) {
            /* The same watcher's other watch has been heard with this one. */
            struct watch *twin = find_watch(w, p, other, conn);
            if (twin)
                take_away(w, twin);
        }
        fn(ctx, conn, event, path);
    }
    forget_path_if_unwatched(w, p);
}

bool watch_remove(struct watch_table *w, enum watch_kind kind, struct slice path,
                  conn_id_t watcher) {
    struct watched *p = find_path(w, path);
    struct watch *x = p ? find_watch(w, p, kind, watcher) : NULL;
    if (!x)
        return false;
    take_away(w, x);
    forget_path_if_unwatched(w, p);
    return true;
}

bool watch_exists(const struct watch_table *w, enum watch_kind kind, struct slice path,
                  conn_id_t watcher) {
    struct watched *p = find_path(w, path);
    return p && find_watch(w, p, kind, watcher);
}

void watch_drop(struct watch_table *w, conn_id_t watcher) {
    struct watcher *o = find_watcher(w, watcher);
    bool more = o != NULL;
    while (more) {
        struct watch *x = o->first;
        struct watched *p = x->watched;
        more = x->own_next != x; /* the watcher goes with its last watch */
        take_away(w, x);
        forget_path_if_unwatched(w, p);
    }
}

static void free_watch(struct htab_link *l) { mem_free(HTAB_ENTRY(l, struct watch, link)); }
static void free_path(struct htab_link *l) { mem_free(HTAB_ENTRY(l, struct watched, link)); }
static void free_watcher(struct htab_link *l) { mem_free(HTAB_ENTRY(l, struct watcher, link)); }

void watch_free(struct watch_table *w) {
    if (!w)
        return;
    htab_drain(&w->watches, free_watch);
    htab_drain(&w->paths, free_path);
    htab_drain(&w->watchers, free_watcher);
    mem_free(w);
}

uint64_t watch_count(const struct watch_table *w) { return w->watches.count; }
uint64_t watch_path_count(const struct watch_table *w) { return w->paths.count; }
uint64_t watch_watcher_count(const struct watch_table *w) { return w->watchers.count; }
