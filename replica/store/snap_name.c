#include "replica/store/snap_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replica/store/wal_format.h"

#define PREFIX "snapshot."

void snap_name_print(zxid_t zxid, char ret_name[SNAP_NAME_BYTES]) {
    (void)snprintf(ret_name, SNAP_NAME_BYTES, PREFIX "%016" PRIx64, (uint64_t)zxid);
}

bool snap_name_parse(const char *name, zxid_t *ret_zxid) {
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
           wal_zxid_parse(name + strlen(PREFIX), ret_zxid) && *ret_zxid >= 0;
}
