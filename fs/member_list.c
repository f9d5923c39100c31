#include "fs/member_list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/server_list.h"

static char *copy(struct slice s) { return mem_strndup((const char *)s.p, (size_t)s.len); }

static struct slice behind(struct slice s, int32_t n) { return (struct slice){s.p + n, s.len - n}; }

static int32_t index_of(struct slice s, char c) {
    const uint8_t *found = s.len > 0 ? memchr(s.p, c, (size_t)s.len) : NULL;
    return found != NULL ? (int32_t)(found - s.p) : -1;
}

static void add(struct member_list *l, int64_t id, struct slice host, struct slice port) {
    if (l->count == MEMBERS_MAX)
        return;
    l->at = mem_realloc(l->at, sizeof *l->at * (l->count + 1));
    struct member *m = &l->at[l->count++];
    *m = (struct member){.id = id, .role = "unreachable", .zxid = "-"};
    m->host = copy(host);
    m->port = port.len > 0 ? copy(port) : mem_strdup(SERVER_PORT);
    size_t size = strlen(m->host) + strlen(m->port) + 4;
    m->name = mem_alloc(size);
    bool v6 = strchr(m->host, ':') != NULL;
    snprintf(m->name, size, "%s%s%s:%s", v6 ? "[" : "", m->host, v6 ? "]" : "", m->port);
}

void member_list_add(struct member_list *l, int64_t id, struct slice address) {
    struct slice host, port;
    if (server_list_split(address, &host, &port) == NULL)
        add(l, id, host, port);
}

static bool is_any(struct slice host) {
    return host.len == 0 || slice_equal_str(host, "0.0.0.0") || slice_equal_str(host, "::") ||
           slice_equal_str(host, "0:0:0:0:0:0:0:0");
}

/* The value of server.N. */
static bool read_server(struct member_list *l, int64_t id, struct slice value) {
    struct slice host, own, port, rest;
    int32_t semicolon = index_of(value, ';');
    if (semicolon < 0 ||
        server_list_split((struct slice){value.p, semicolon}, &host, &rest) != NULL)
        return false;
    struct slice client = behind(value, semicolon + 1);
    if (server_list_split(client, &own, &port) != NULL)
        return false;
    if (port.len < 0) {
        port = client;
        own = host;
    }
    add(l, id, is_any(own) ? host : own, port);
    return true;
}

static bool read_line(struct member_list *l, struct slice line) {
    static const char key[] = "server.";
    int32_t equals = index_of(line, '=');
    if (equals < (int32_t)sizeof key || memcmp(line.p, key, sizeof key - 1) != 0)
        return true; /* version=, and what there may be */
    char number[12] = "";
    size_t digits = (size_t)equals - (sizeof key - 1);
    if (digits >= sizeof number)
        return true;
    memcpy(number, line.p + sizeof key - 1, digits);
    return read_server(l, strtol(number, NULL, 10), behind(line, equals + 1));
}

bool member_list_read(struct member_list *l, struct slice config) {
    bool all = true;
    while (config.len > 0 && all) {
        int32_t end = index_of(config, '\n');
        int32_t len = end >= 0 ? end : config.len;
        all = read_line(l, (struct slice){config.p, len});
        config = behind(config, end >= 0 ? len + 1 : len);
    }
    if (!all)
        member_list_close(l);
    return l->count > 0;
}

/* The word behind `key` at the start of a line. */
static bool find_word(const char *text, const char *key, char *ret, size_t size) {
    size_t len = strlen(key), n = 0;
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n' ? 1 : 0;
        if (strncmp(at, key, len) != 0)
            continue;
        for (at += len; n + 1 < size && isgraph((unsigned char)at[n]); n++)
            ret[n] = at[n];
        ret[n] = '\0';
        return n > 0;
    }
    return false;
}

void member_read_answer(struct member *m, const char *answer) {
    if (answer[0] == '\0')
        return;
    if (!find_word(answer, "Mode: ", m->role, sizeof m->role))
        snprintf(m->role, sizeof m->role, "not_serving");
    if (!find_word(answer, "Zxid: ", m->zxid, sizeof m->zxid))
        snprintf(m->zxid, sizeof m->zxid, "-");
}

void member_list_close(struct member_list *l) {
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->at[i].name);
        mem_free(l->at[i].host);
        mem_free(l->at[i].port);
    }
    mem_free(l->at);
    *l = (struct member_list){0};
}
