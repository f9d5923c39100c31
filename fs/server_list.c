#include "fs/server_list.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"

#include <stdio.h>
#include <string.h>

#define ADDRESSES_MAX 16 /* of one name: beyond them more are not tried */
#define SERVERS_MAX 255  /* ZooKeeper's server ids are a byte */

struct server {
    char *name; /* as given, for log lines */
    char *host;
    char *port;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    int32_t count;
    int32_t next;
};

struct server_list {
    struct server *servers;
    int32_t count;
};

static bool port_is_valid(struct slice s) {
    if (s.len == 0 || s.len > 5)
        return false;
    int port = 0;
    for (int32_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        port = port * 10 + (s.p[i] - '0');
    }
    return port > 0 && port <= 65535;
}

static const uint8_t *find(struct slice s, char c) {
    return s.len > 0 ? memchr(s.p, c, (size_t)s.len) : NULL;
}

static struct slice between(const uint8_t *from, const uint8_t *end) {
    return (struct slice){from, (int32_t)(end - from)};
}

static char *copy(struct slice s) { return mem_strndup((const char *)s.p, (size_t)s.len); }

const char *server_list_split(struct slice text, struct slice *ret_host, struct slice *ret_rest) {
    const uint8_t *end = text.p + text.len, *colon = find(text, ':');
    if (text.len > 0 && text.p[0] == '[') {
        const uint8_t *close = find(text, ']');
        if (!close)
            return "a server address lacks the closing bracket";
        if (close + 1 < end && close[1] != ':')
            return "a server's port must be a number from 1 to 65535";
        colon = close + 1 < end ? close + 1 : NULL;
        *ret_host = between(text.p + 1, close);
    } else {
        *ret_host = between(text.p, colon ? colon : end);
    }
    *ret_rest = colon ? between(colon + 1, end) : SLICE_NULL;
    return NULL;
}

/* One `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`; NULL, or why it is not. */
static const char *parse_server(struct slice text, struct server *ret) {
    struct slice host, port;
    const char *why = server_list_split(text, &host, &port);
    if (why)
        return why;
    if (text.p[0] != '[' && find(port, ':'))
        return "an IPv6 address must stand in brackets, as in [::1]:2181";
    if (host.len == 0)
        return "a server address lacks the host";
    if (find(host, ' '))
        return "a server address contains a space";
    if (port.len >= 0 && !port_is_valid(port))
        return "a server's port must be a number from 1 to 65535";
    ret->name = copy(text);
    ret->host = copy(host);
    ret->port = port.len > 0 ? copy(port) : mem_strdup(SERVER_PORT);
    return NULL;
}

struct server_list *server_list_parse(const char *text, const char **ret_why) {
    struct server_list *l = mem_zalloc(sizeof(*l));
    const char *why = NULL;
    for (const char *p = text; p && !why;) {
        const char *comma = strchr(p, ',');
        struct slice one = slice_from_str(p);
        if (comma)
            one.len = (int32_t)(comma - p);
        struct server s = {0};
        why = l->count == SERVERS_MAX ? "there are too many servers" : parse_server(one, &s);
        if (!why) {
            l->servers = mem_realloc(l->servers, (size_t)(l->count + 1) * sizeof(s));
            l->servers[l->count++] = s;
        }
        p = comma ? comma + 1 : NULL;
    }
    if (!why)
        return l;
    server_list_free(l);
    *ret_why = why;
    return NULL;
}

static int look_up_now(struct server_list *l, int32_t server) {
    struct addrinfo hints, *found = NULL;
    const char *host, *port;
    server_list_lookup_args(l, server, &host, &port, &hints);
    int err = getaddrinfo(host, port, &hints, &found);
    if (err == 0) {
        server_list_set_addresses(l, server, found);
        freeaddrinfo(found);
    }
    return err;
}

struct server_list *server_list_new(const char *text, const char **ret_why) {
    static char why[320];
    struct server_list *l = server_list_parse(text, ret_why);
    if (!l)
        return NULL;
    bool any_may_exist = false;
    for (int32_t i = 0; i < l->count; i++) {
        int err = look_up_now(l, i);
        if (err != EAI_NONAME && err != EAI_NODATA)
            any_may_exist = true;
    }
    if (any_may_exist)
        return l;
    snprintf(why, sizeof(why), "there is no host named %.255s", l->servers[0].host);
    server_list_free(l);
    *ret_why = why;
    return NULL;
}

void server_list_free(struct server_list *l) {
    if (!l)
        return;
    for (int32_t i = 0; i < l->count; i++) {
        mem_free(l->servers[i].name);
        mem_free(l->servers[i].host);
        mem_free(l->servers[i].port);
    }
    mem_free(l->servers);
    mem_free(l);
}

static struct server *server_at(const struct server_list *l, int32_t server) {
    CHECK(server >= 0);
    CHECK(server < l->count);
    return &l->servers[server];
}

int32_t server_list_count(const struct server_list *l) { return l->count; }

const char *server_list_name(const struct server_list *l, int32_t server) {
    return server_at(l, server)->name;
}

int32_t server_list_address_count(const struct server_list *l, int32_t server) {
    return server_at(l, server)->count;
}

const struct sockaddr *server_list_next_address(struct server_list *l, int32_t server) {
    struct server *s = server_at(l, server);
    CHECK(s->count > 0);
    const struct sockaddr_storage *a = &s->addresses[s->next];
    s->next = (s->next + 1) % s->count;
    return (const struct sockaddr *)a;
}

void server_list_works(struct server_list *l, int32_t server) {
    struct server *s = server_at(l, server);
    s->next = (s->next + s->count - 1) % s->count;
}

void server_list_forget(struct server_list *l, int32_t server) {
    struct server *s = server_at(l, server);
    s->count = s->next = 0;
}

void server_list_set_addresses(struct server_list *l, int32_t server,
                               const struct addrinfo *found) {
    struct server *s = server_at(l, server);
    s->count = s->next = 0;
    for (const struct addrinfo *a = found; a && s->count < ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_addrlen <= sizeof(s->addresses[0]))
            memcpy(&s->addresses[s->count++], a->ai_addr, a->ai_addrlen);
    }
}

void server_list_lookup_args(const struct server_list *l, int32_t server, const char **ret_host,
                             const char **ret_port, struct addrinfo *ret_hints) {
    const struct server *s = server_at(l, server);
    *ret_host = s->host;
    *ret_port = s->port;
    /* Both families, without asking which of them this host has: loopback counts as none. */
    *ret_hints = (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
}
