/* Finding out what a znode is: its Stat, and whether its data is null. exists tells the Stat
 * without carrying the data and needs no permission; only for a childless znode without data it
 * leaves open whether the data is null (a directory) or empty (a file), and a getData follows,
 * unless this very version was seen before. */
#ifndef ZKFS_FS_PROBE_H
#define ZKFS_FS_PROBE_H

#include "common/buf.h"
#include "fs/call.h"

/* err is a zk_err; the others are valid when it is ZK_OK. `data` is DATA_UNKNOWN only for a znode
 * with children, and where the ACL forbids to read a childless one without data. */
typedef void probe_cb(struct call *c, int err, const struct zstat *stat, enum nullness data);

struct probe {
    struct call *call;
    probe_cb *cb;
    struct buf path;
    struct zstat stat;
};

/* probe is part of the call's own struct; path is copied. */
void probe_start(struct probe *probe, struct call *c, struct slice path, probe_cb *cb);
void probe_close(struct probe *probe);

#endif
