/* A watch stands in three places: in its path's list of that kind and in its watcher's list (both
 * in order of addition, both left in constant time), and in a hash table, to find it again. Firing
 * walks only the watches that fire, a dropped connection only its own. Recursive watches are found
 * from the changed path upwards. A watch takes 80 bytes, a path 48 and its name, the tables 8 for
 * each. */
#include "replica/tree/watch.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "common/path.h"
#include "replica/tree/htab.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define KINDS 4

struct watched;
struct watcher;

struct watch {
    struct htab_link link; /* in watch_table.watches; aux: the kind */
    struct watched *watched;
    struct watcher *watcher;
    struct watch *path_next, *path_prev;
    struct watch *own_next, *own_prev;
    uint64_t added; /* when, counted in watches: orders the kinds of a path among each other */
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
    uint64_t heard; /* the last firing that it was told of */
};

struct watch_table {
    struct htab watches;
    struct htab paths;
    struct htab watchers;
    uint64_t added;
    uint64_t firing;    /* numbers them */
    uint64_t recursive; /* how many of that kind there are */
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
    uint64_t key[2] = {conn, (uint64_t)p->link.hash << 2 | (uint64_t)kind};
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
    w->recursive += kind == WATCH_RECURSIVE;
    link_watch(x, &p->first[kind], &o->first);
    htab_insert(&w->watches, &x->link);
}

/* Takes the watch away, and its watcher when it has no other. The path stays: its own end is the
 * caller's to see to. */
static void take_away(struct watch_table *w, struct watch *x) {
    struct watcher *o = x->watcher;
    w->recursive -= x->link.aux == WATCH_RECURSIVE;
    unlink_watch(x, &x->watched->first[x->link.aux], &o->first);
    htab_remove(&w->watches, &x->link);
    mem_free(x);
    if (!o->first) {
        htab_remove(&w->watchers, &o->link);
        mem_free(o);
    }
}

static void forget_path_if_unwatched(struct watch_table *w, struct watched *p) {
    for (int i = 0; i < KINDS; i++)
        if (p->first[i])
            return;
    htab_remove(&w->paths, &p->link);
    mem_free(p);
}

static bool fires(enum zk_event event, enum watch_kind kind) {
    switch (event) {
    case EVENT_NODE_CREATED:
    case EVENT_NODE_DATA_CHANGED:
        return kind != WATCH_CHILD;
    case EVENT_NODE_CHILDREN_CHANGED:
        return kind == WATCH_CHILD || kind == WATCH_PERSISTENT;
    case EVENT_NODE_DELETED:
        return true;
    case EVENT_NONE:
        return false;
    }
    return false;
}

static bool stays(enum watch_kind kind) {
    return kind == WATCH_PERSISTENT || kind == WATCH_RECURSIVE || MUTANT(WATCH_STAYS);
}

/* One change on its way to those who hear of it. */
struct firing {
    struct watch_table *w;
    enum zk_event event;
    struct slice path;
    watch_fn *fn;
    void *ctx;
};

/* Once for each watcher, whatever it has of the path and above. */
static void tell(const struct firing *f, struct watcher *o) {
    if (o->heard == f->w->firing)
        return;
    o->heard = f->w->firing;
    f->fn(f->ctx, o->conn, f->event, f->path);
}

static void fire_one(const struct firing *f, struct watch *x) {
    tell(f, x->watcher);
    if (!stays((enum watch_kind)x->link.aux))
        take_away(f->w, x);
}

static struct watch *after(const struct watch *x, const struct watch *last) {
    return x == last ? NULL : x->path_next;
}

/* The watches of the path itself, the oldest first. */
static void fire_path(const struct firing *f, struct watched *p) {
    struct watch *next[KINDS] = {NULL}, *last[KINDS] = {NULL};
    for (int i = 0; i < KINDS; i++)
        if (p->first[i] && fires(f->event, (enum watch_kind)i)) {
            next[i] = p->first[i];
            last[i] = p->first[i]->path_prev;
        }
    for (;;) {
        int oldest = -1;
        for (int i = 0; i < KINDS; i++)
            if (next[i] && (oldest < 0 || next[i]->added < next[oldest]->added))
                oldest = i;
        if (oldest < 0)
            break;
        struct watch *x = next[oldest];
        next[oldest] = after(x, last[oldest]);
        fire_one(f, x);
    }
    forget_path_if_unwatched(f->w, p);
}

static void fire_above(const struct firing *f) {
    struct slice at = f->path;
    while (at.len > 1) {
        at = path_parent(at);
        const struct watched *p = find_path(f->w, at);
        struct watch *x = p ? p->first[WATCH_RECURSIVE] : NULL;
        const struct watch *last = x ? x->path_prev : NULL;
        for (; x; x = after(x, last))
            tell(f, x->watcher);
    }
}

void watch_fire(struct watch_table *w, enum zk_event event, struct slice path, watch_fn *fn,
                void *ctx) {
    struct firing f = {w, event, path, fn, ctx};
    w->firing++;
    struct watched *p = find_path(w, path);
    if (p)
        fire_path(&f, p);
    if (w->recursive > 0 && fires(event, WATCH_RECURSIVE))
        fire_above(&f);
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
