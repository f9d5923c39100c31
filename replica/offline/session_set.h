/* The ids of the sessions that a snapshot and a log know of. */
#ifndef ZKFS_REPLICA_OFFLINE_SESSION_SET_H
#define ZKFS_REPLICA_OFFLINE_SESSION_SET_H

#include "common/types.h"

struct session_set_entry;

struct session_set {
    struct session_set_entry *all; /* NULL: none */
};

/* One that is there already stays, and one that is not is no error to forget. */
void session_set_add(struct session_set *set, session_id_t id);
void session_set_forget(struct session_set *set, session_id_t id);
uint64_t session_set_count(const struct session_set *set);
void session_set_close(struct session_set *set);

#endif
