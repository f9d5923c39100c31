/* The sockets of the ZooKeeper client, on libuv: one connection at a time to one of several
 * servers. Callbacks come from the loop, never from within a call of this module. Libuv's errors
 * stay in here: a lost connection is told with a text for the log. */
#ifndef ZKFS_FS_CONN_UV_H
#define ZKFS_FS_CONN_UV_H

#include "common/types.h"

struct uv_loop_s;
struct conn_uv;

struct conn_uv_events {
    void (*connected)(void *ctx);
    void (*lost)(void *ctx, const char *why);     /* the text lasts for the call */
    void (*bytes)(void *ctx, struct slice bytes); /* they last until the callback returns */
};

/* Reads `HOST[:PORT][,HOST[:PORT]…]` ([v6]:PORT; port 2181) and looks the names up (this may
 * block). NULL and *ret_why (static text, or owned by this module until the next call) when the
 * text is wrong, or when no name of it exists; a name server that does not answer now is asked
 * again later. `events` is copied. */
struct conn_uv *conn_uv_new(struct uv_loop_s *loop, const char *servers,
                            const struct conn_uv_events *events, void *ctx, const char **ret_why);
int32_t conn_uv_server_count(const struct conn_uv *c);
/* `host:port` as it was given. Owned by c. */
const char *conn_uv_server_name(const struct conn_uv *c, int32_t server);
/* Drops the socket there is and connects to `server`, one of its addresses after the other. Then
 * `connected`, or `lost` when none of them answers. How long it may take is the caller's business:
 * conn_uv_drop ends it, and the next attempt begins with another address. */
void conn_uv_connect(struct conn_uv *c, int32_t server);
/* No callback comes for the socket any more. */
void conn_uv_drop(struct conn_uv *c);
/* Copies the bytes behind what is to be sent; conn_uv_flush, called in
 * every round of the loop, hands all of it to the kernel at once.
 * Without a connection the bytes are dropped, as the lost connection would have dropped them. */
void conn_uv_send(struct conn_uv *c, struct slice bytes);
void conn_uv_flush(struct conn_uv *c);
/* Ends everything; `done` comes from the loop, c is freed before it. */
void conn_uv_close(struct conn_uv *c, void (*done)(void *ctx), void *ctx);

#endif
