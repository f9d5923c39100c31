/* The client port: listens, accepts, and keeps descriptors back for the log and the peers. */
#ifndef ZKFS_REPLICA_IO_CLIENT_LISTEN_H
#define ZKFS_REPLICA_IO_CLIENT_LISTEN_H

#include "replica/io/tcp_listen.h"

struct loop;

struct client_listen {
    struct loop *loop;
    struct tcp_listen port;
    size_t max_conns;
    int64_t refused_logged_ms; /* when the last line about refused connections was written */
    uint64_t refused;          /* since then */
};

int client_listen_init(struct client_listen *cl, struct loop *l); /* 0 or negative errno */
/* Binds and listens. 0, or negative errno with the cause logged. */
int client_listen_open(struct client_listen *cl);
void client_listen_close(struct client_listen *cl); /* accepts no more */

#endif
