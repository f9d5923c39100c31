/* One snapshot file, read wholly into a tree. */
#ifndef ZKFS_REPLICA_OFFLINE_SNAPSHOT_TREE_H
#define ZKFS_REPLICA_OFFLINE_SNAPSHOT_TREE_H

#include "common/buf.h"
#include "replica/env.h"
#include "replica/tree/tree.h"

struct snapshot_tree {
    struct tree *tree; /* exact where begun == ended */
    zxid_t begun, ended;
    uint64_t checksum; /* of its end: an installed one's is named by the log's first segment */
    uint64_t size_bytes;
    uint64_t sessions;
    bool beside; /* a checkpoint: the log has the record of its zxid, or was lost */
};

/* Reads DIR/NAME. 0; -ENOENT; -EBADMSG when it is damaged, or its tree is not the one that it says;
 * -EPROTONOSUPPORT or the system's; ret_why has the sentence. Closed by snapshot_tree_close. */
int snapshot_tree_read(struct snapshot_tree *c, const struct env_files *files, const char *dir,
                       const char *name, struct buf *ret_why);
void snapshot_tree_close(struct snapshot_tree *c);

#endif
