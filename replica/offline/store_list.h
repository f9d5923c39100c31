/* What is in a log directory, by its names. */
#ifndef ZKFS_REPLICA_OFFLINE_STORE_LIST_H
#define ZKFS_REPLICA_OFFLINE_STORE_LIST_H

#include "common/buf.h"
#include "replica/env.h"

enum store_part { STORE_SNAPSHOT, STORE_SEGMENT, STORE_OTHER };

struct store_name {
    enum store_part part;
    zxid_t zxid; /* of a segment: the first in it */
    char *name;
};

/* Snapshots first, then segments in their order, then the others. */
struct store_list {
    struct store_name *list;
    size_t count, cap;
};

/* 0 or negative errno; -ENOTDIR when it is a file. */
int store_list_read(struct store_list *l, const struct env_files *files, const char *dir);
void store_list_close(struct store_list *l);

#endif
