/* A descriptor that has got a lock sees the file as it is now, and not as it was at open: whoever
 * had the lock before may have written. The value is read when it is first needed. */
#ifndef ZKFS_FS_REFRESH_H
#define ZKFS_FS_REFRESH_H

#include "fs/handle.h"

struct refresh {
    struct call *call;
    struct handle *handle;
    void (*next)(struct call *c);
};

/* Calls next when the handle's value is as it should be: at once when it is. The call must have the
 * handle's lock; a failure ends it. refresh is part of the call's own struct. */
void refresh_start(struct refresh *refresh, struct call *c, struct handle *h,
                   void (*next)(struct call *c));

#endif
