#include "replica/io/resolve.h"

#include "common/mem.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <utlist.h>

/* getaddrinfo and the modules that it loads need more than the log's thread. */
#define THREAD_STACK_BYTES (512u << 10)

/* Outlives the resolver while threads are under way. */
struct resolve_shared {
    pthread_mutex_t mutex;
    uv_async_t *async; /* NULL: the resolver is closed */
    struct resolve_lookup *done;
    size_t refs;
};

struct resolve_lookup {
    struct resolve_shared *shared;
    resolve_fn *fn;
    void *ctx;
    char *host;
    char service[8];
    struct resolve_result result;
    struct resolve_lookup *next;
};

static void lookup_free(struct resolve_lookup *lookup) {
    mem_free(lookup->host);
    mem_free(lookup);
}

static void shared_unref(struct resolve_shared *s) {
    pthread_mutex_lock(&s->mutex);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}

static void look_up(struct resolve_lookup *lookup) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    struct resolve_result *result = &lookup->result;
    int rc = getaddrinfo(lookup->host, lookup->service, &hints, &list);
    if (rc != 0) {
        result->error = gai_strerror(rc);
        return;
    }
    for (struct addrinfo *a = list; a && result->count < RESOLVE_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_addrlen <= sizeof result->addresses[0])
            memcpy(&result->addresses[result->count++], a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(list);
    if (result->count == 0)
        result->error = "the name has no address";
}

static void *thread_main(void *arg) {
    struct resolve_lookup *lookup = arg;
    struct resolve_shared *s = lookup->shared;
    look_up(lookup);
    pthread_mutex_lock(&s->mutex);
    bool closed = !s->async;
    if (!closed) {
        LL_APPEND(s->done, lookup);
        uv_async_send(s->async);
    }
    pthread_mutex_unlock(&s->mutex);
    if (closed)
        lookup_free(lookup);
    shared_unref(s);
    return NULL;
}

static void on_done(uv_async_t *async) {
    struct resolver *r = async->data;
    if (!r->shared)
        return;
    pthread_mutex_lock(&r->shared->mutex);
    struct resolve_lookup *list = r->shared->done;
    r->shared->done = NULL;
    pthread_mutex_unlock(&r->shared->mutex);
    while (list) {
        struct resolve_lookup *lookup = list;
        LL_DELETE(list, lookup);
        lookup->fn(lookup->ctx, &lookup->result);
        lookup_free(lookup);
    }
}

int resolver_init(struct resolver *r, uv_loop_t *uv) {
    *r = (struct resolver){.shared = NULL};
    r->done.data = r;
    int rc = uv_async_init(uv, &r->done, on_done);
    if (rc != 0)
        return rc;
    r->shared = mem_zalloc(sizeof *r->shared);
    pthread_mutex_init(&r->shared->mutex, NULL);
    r->shared->async = &r->done;
    r->shared->refs = 1;
    return 0;
}

void resolver_close(struct resolver *r) {
    struct resolve_shared *s = r->shared;
    if (!s)
        return;
    r->shared = NULL;
    pthread_mutex_lock(&s->mutex);
    s->async = NULL;
    struct resolve_lookup *list = s->done;
    s->done = NULL;
    pthread_mutex_unlock(&s->mutex);
    while (list) {
        struct resolve_lookup *lookup = list;
        LL_DELETE(list, lookup);
        lookup_free(lookup);
    }
    shared_unref(s);
}

bool resolve_numeric(const char *host, int port, struct sockaddr_storage *ret_address) {
    return uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)ret_address) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)ret_address) == 0;
}

/* Signals belong to the loop's thread. */
static int thread_start(struct resolve_lookup *lookup) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, thread_main, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

struct resolve_lookup *resolve_start(struct resolver *r, const char *host, int port, resolve_fn *fn,
                                     void *ctx) {
    struct resolve_lookup *lookup = mem_zalloc(sizeof *lookup);
    *lookup = (struct resolve_lookup){.shared = r->shared, .fn = fn, .ctx = ctx};
    lookup->host = mem_strdup(host);
    snprintf(lookup->service, sizeof lookup->service, "%d", port);
    pthread_mutex_lock(&r->shared->mutex);
    r->shared->refs++;
    pthread_mutex_unlock(&r->shared->mutex);
    if (thread_start(lookup) == 0)
        return lookup;
    shared_unref(r->shared);
    lookup_free(lookup);
    return NULL;
}
