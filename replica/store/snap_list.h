/* The snapshots of a directory, by their names: snapshot.<16 hex digits of the zxid where the log
 * goes on>. The one of the format's first version, that had one only, is called `snapshot`. */
#ifndef ZKFS_REPLICA_STORE_SNAP_LIST_H
#define ZKFS_REPLICA_STORE_SNAP_LIST_H

#include "common/buf.h"
#include "replica/store/snap_file.h"
#include "replica/store/snap_name.h"

struct snap_entry {
    zxid_t begun; /* its name says so; 0: the one called `snapshot` */
    uint64_t size_bytes;
    bool served; /* somebody asked for a piece of it since the last purge */
};

struct snap_list {
    struct snap_entry *list; /* ascending */
    size_t count, cap;
};

void snap_list_close(struct snap_list *l);
/* What is there, by name; nothing is read. 0 or negative errno. */
int snap_list_read(struct snap_list *l, const struct store_dir *d);
void snap_list_add(struct snap_list *l, zxid_t begun, uint64_t size_bytes);
void snap_list_remove(struct snap_list *l, size_t i);
void snap_list_mark(struct snap_list *l, zxid_t begun); /* it is served, if it is there */
uint64_t snap_list_bytes(const struct snap_list *l);

void snap_name(zxid_t begun, char ret_name[SNAP_NAME_BYTES]); /* 0: `snapshot` */
/* Removes all that are there. 0 or negative errno; durable with the directory's next sync. */
int snap_list_remove_all(const struct store_dir *d);

#endif
