/* A port that is listened on: bound, accepting, and shut for a moment when accepting fails for want
 * of descriptors or memory. */
#ifndef ZKFS_REPLICA_IO_TCP_LISTEN_H
#define ZKFS_REPLICA_IO_TCP_LISTEN_H

#include "common/types.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>

/* Takes the connection that waits at `server`. 0, or a negative errno: none can be taken now. */
typedef int tcp_accept_fn(void *ctx, uv_stream_t *server);

struct tcp_listen {
    uv_loop_t *uv;
    const char *who; /* for log lines: "clients", "peers" */
    tcp_accept_fn *accept;
    void *ctx;
    uv_tcp_t server;
    uv_timer_t again; /* opens the port again after accepting failed for want of resources */
    bool open;        /* `server` is a live handle */
    bool wanted;      /* false before it is opened and once the replica is going */
    int backlog;
    struct sockaddr_storage address;
};

struct tcp_name {
    char text[INET6_ADDRSTRLEN + 10];
};

/* The two texts and ctx are borrowed. 0 or negative errno. */
int tcp_listen_init(struct tcp_listen *tl, uv_loop_t *uv, const char *who, tcp_accept_fn *accept,
                    void *ctx);
/* Binds and listens; host NULL: every address of this machine. A name with several addresses is
 * bound at its first. 0, or negative errno with the cause logged. */
int tcp_listen_open(struct tcp_listen *tl, const char *host, int port, int backlog);
void tcp_listen_close(struct tcp_listen *tl); /* accepts no more */

/* `1.2.3.4:5` or `[1::2]:5`, for log lines. Returns ret_name->text. */
const char *tcp_name(const struct sockaddr_storage *address, struct tcp_name *ret_name);

#endif
