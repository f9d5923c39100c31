/* Host names to addresses, without blocking the loop. Each lookup has a short-lived thread of its
 * own: a name server that does not answer holds up neither another lookup nor the process's end
 * (libuv's pool would be waited for at exit). */
#ifndef ZKFS_REPLICA_IO_RESOLVE_H
#define ZKFS_REPLICA_IO_RESOLVE_H

#include "common/types.h"

#include <sys/socket.h>
#include <uv.h>

#define RESOLVE_ADDRESSES_MAX 16u

struct resolve_result {
    const char *error; /* NULL, or why there are no addresses (static text) */
    size_t count;
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX]; /* with the port */
};

/* Called once in the loop's thread, never from within resolve_start. The result is borrowed. */
typedef void resolve_fn(void *ctx, const struct resolve_result *result);

struct resolve_shared;

struct resolver {
    uv_async_t done;
    struct resolve_shared *shared;
};

int resolver_init(struct resolver *r, uv_loop_t *uv); /* 0 or negative errno */
/* No callback comes any more. The loop closes `done` itself. */
void resolver_close(struct resolver *r);

struct resolve_lookup;

/* An address as text is one, without asking anybody. False: it is a name. */
bool resolve_numeric(const char *host, int port, struct sockaddr_storage *ret_address);
/* NULL when no thread can be had. The lookup is the resolver's, and valid until its callback. */
struct resolve_lookup *resolve_start(struct resolver *r, const char *host, int port, resolve_fn *fn,
                                     void *ctx);

#endif
