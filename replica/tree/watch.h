/* Who hears of changes of a path. Watchers are connections. One-shot watches as in ZooKeeper's
 * DataTree: data watches (getData, exists, also of a znode that is not there yet) and child watches
 * (getChildren). And those that stay: persistent ones hear of everything that happens to a path,
 * recursive ones of every creation, deletion and setData of it and of all below it, and never of a
 * list of children. All kinds of one path and watcher go side by side, as since ZooKeeper 3.9:
 * in 3.8 the one that came last is all there is (ZOOKEEPER-4466). */
#ifndef ZKFS_REPLICA_TREE_WATCH_H
#define ZKFS_REPLICA_TREE_WATCH_H

#include "common/proto.h"
#include "common/types.h"

enum watch_kind { WATCH_DATA, WATCH_CHILD, WATCH_PERSISTENT, WATCH_RECURSIVE };

struct watch_table;

struct watch_table *watch_new(void);
void watch_free(struct watch_table *w); /* NULL is fine */
/* Again is a no-op. */
void watch_add(struct watch_table *w, enum watch_kind kind, struct slice path, conn_id_t watcher);
/* Finds who hears of `event` at `path`, takes the one-shot watches among these away, and calls fn
 * once for each watcher: first those of the path, in the order in which they were added, then the
 * recursive ones of its parent, and so on up to the root. fn must not call back into the table.
 * What is watched elsewhere costs nothing. */
typedef void watch_fn(void *ctx, conn_id_t watcher, enum zk_event event, struct slice path);
void watch_fire(struct watch_table *w, enum zk_event event, struct slice path, watch_fn *fn,
                void *ctx);
/* removeWatches: false when there was none. */
bool watch_remove(struct watch_table *w, enum watch_kind kind, struct slice path,
                  conn_id_t watcher);
bool watch_exists(const struct watch_table *w, enum watch_kind kind, struct slice path,
                  conn_id_t watcher);
/* The connection is gone: all that it watched is forgotten. */
void watch_drop(struct watch_table *w, conn_id_t watcher);
uint64_t watch_count(const struct watch_table *w);      /* (kind, path, watcher) */
uint64_t watch_path_count(const struct watch_table *w); /* paths */
uint64_t watch_watcher_count(const struct watch_table *w);

#endif
