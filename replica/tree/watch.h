/* One-shot watches: who hears of the next change of a path. Watchers are connections. Two tables,
 * as in ZooKeeper's DataTree: data watches (getData, exists, also of a znode that is not there yet)
 * and child watches (getChildren). */
#ifndef ZKFS_REPLICA_TREE_WATCH_H
#define ZKFS_REPLICA_TREE_WATCH_H

#include "common/proto.h"
#include "common/types.h"

enum watch_kind { WATCH_DATA, WATCH_CHILD };

struct watch_table;

struct watch_table *watch_new(void);
void watch_free(struct watch_table *w); /* NULL is fine */
/* Again is a no-op. */
void watch_add(struct watch_table *w, enum watch_kind kind, struct slice path, conn_id_t watcher);
/* Finds who hears of `event` at `path`, takes these watches away, and calls fn once for each
 * watcher, in the order in which they were added (a deletion reaches data and child watchers, each
 * watcher once). fn must not call back into the table. */
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
uint64_t watch_count(const struct watch_table *w);      /* (path, watcher) pairs of both kinds */
uint64_t watch_path_count(const struct watch_table *w); /* paths */
uint64_t watch_watcher_count(const struct watch_table *w);

#endif
