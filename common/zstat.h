/* ZooKeeper's Stat, in wire order (PROTOCOL 1.6): 68 bytes. cversion is what clients see. */
#ifndef ZKFS_COMMON_ZSTAT_H
#define ZKFS_COMMON_ZSTAT_H

#include "common/types.h"

struct zstat {
    zxid_t czxid;
    zxid_t mzxid;
    int64_t ctime_ms;
    int64_t mtime_ms;
    int32_t version;
    int32_t cversion;
    int32_t aversion;
    session_id_t ephemeral_owner;
    int32_t data_length;
    int32_t num_children;
    zxid_t pzxid;
};

#endif
