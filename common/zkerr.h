/* The service's errors (kind two of three, docs/style.md). Only fs/errmap.c makes errno of them. */
#ifndef ZKFS_COMMON_ZKERR_H
#define ZKFS_COMMON_ZKERR_H

#include <stdbool.h>

enum zk_err {
#define ZK_ERR(name, code, text) ZK_##name = (code),
#include "common/zkerr.def"
#undef ZK_ERR
};

/* "no such znode" …; for a number not in the table "unknown error". Static storage. */
const char *zkerr_text(int code);
/* Whether another try may end otherwise: no server, the wrong one, a server without a quorum, too
 * many requests. */
bool zkerr_is_passing(int code);

#endif
