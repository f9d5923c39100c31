/* What a core and a repair want of the outside alike. */
#ifndef ZKFS_REPLICA_OUTSIDE_H
#define ZKFS_REPLICA_OUTSIDE_H

#include "replica/env.h"
#include "replica/server/event.h"
#include "replica/server/update.h"
#include "replica/store/snap_file.h"

/* Carries out what goes to peers, clients, the clock and the log file. False when the update is of
 * another kind. */
bool outside_carry_out(const struct env *env, const struct update *u);
/* The answer to a question for a part of a snapshot: `bytes` of `base`, borrowed; NULL: there are
 * none. */
struct event outside_snap_range(uint8_t peer, uint64_t offset, const struct snap_base *base,
                                struct slice bytes);

#endif
