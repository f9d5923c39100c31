/* The names of snapshots: `snapshot.` and 16 hex digits of the zxid that they begin at. */
#ifndef ZKFS_REPLICA_STORE_SNAP_NAME_H
#define ZKFS_REPLICA_STORE_SNAP_NAME_H

#include "common/types.h"

#define SNAP_NAME_BYTES 26 /* and the NUL */

void snap_name_print(zxid_t zxid, char ret_name[SNAP_NAME_BYTES]);
/* False when the name is no snapshot's of this kind. */
bool snap_name_parse(const char *name, zxid_t *ret_zxid);

#endif
