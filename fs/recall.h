/* The value of a descriptor that was open before a restart, where the journal has not got it: read
 * again when it is needed. It has to be the version that the descriptor had, for what a descriptor
 * shows is of one moment; when it is not, or gone, the descriptor is dead. */
#ifndef ZKFS_FS_RECALL_H
#define ZKFS_FS_RECALL_H

#include "fs/handle.h"

struct recall {
    struct call *call;
    struct handle *handle;
    void (*next)(struct call *c);
    int dead_errnum;
    bool any_version;
};

/* Whether recall_start would not call `next` at once. */
bool recall_is_due(const struct handle *h);
/* Calls next when h has its value, at once when it is there; else ends the call: with dead_errnum
 * once the descriptor is dead. any_version: a newer one will do, as for bytes that are appended.
 * The struct is part of the call's own. */
void recall_start(struct recall *r, struct call *c, struct handle *h, int dead_errnum,
                  bool any_version, void (*next)(struct call *c));

#endif
