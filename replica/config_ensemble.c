#include "common/mem.h"
#include "replica/config_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The failure detector's defaults: docs/zab.md, docs/operations.md. */
#define HEARTBEAT_MS_DEFAULT 100
#define SILENCE_MS_DEFAULT 1400
/* Fewer heartbeats than this in one silence, and one that is late would end a leadership. */
#define HEARTBEATS_MIN 3

static const char server_right[] =
    "address:peerPort:electionPort[:participant|observer][;[address:]clientPort] is right";

static bool parse_port(const char *text, int32_t *ret_port) {
    int64_t v;
    if (!config_parse_int(text, &v) || v < 1 || v > 65535)
        return false;
    *ret_port = (int32_t)v;
    return true;
}

/* Takes `[v6]` or what stands before the next colon off *text; NULL: there is none, or no colon
 * behind it. */
static char *take_host(char **text) {
    char *host = *text, *end;
    if (host[0] == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || end[1] != ':')
            return NULL;
        *end++ = 0;
    } else {
        end = strchr(host, ':');
    }
    if (!end || end == host || host[0] == 0)
        return NULL;
    *end = 0;
    *text = end + 1;
    return host;
}

/* address:peerPort:electionPort[:role], in pieces that stay in text. */
static bool parse_address(char *text, struct config_server *s, char **ret_host, bool *observer) {
    *ret_host = take_host(&text);
    if (!*ret_host)
        return false;
    char *peer_port = strsep(&text, ":");
    char *election_port = strsep(&text, ":");
    char *role = strsep(&text, ":");
    if (text || !peer_port || !election_port || !parse_port(peer_port, &s->peer_port) ||
        !parse_port(election_port, &s->election_port))
        return false;
    if (role && strcasecmp(role, "observer") == 0)
        *observer = true;
    else if (role && strcasecmp(role, "participant") != 0)
        return false;
    return true;
}

/* [addr:]port behind the `;`. */
static bool parse_client(char *text, struct config_server *s) {
    char *colon = strrchr(text, ':');
    if (!parse_port(colon ? colon + 1 : text, &s->client_port))
        return false;
    if (!colon)
        return true;
    char *host = take_host(&text);
    if (!host || strchr(text, ':'))
        return false;
    s->client_host = mem_strdup(host);
    return true;
}

/* Another address of the same server is for networks that this version does not switch between. */
static void warn_addresses(struct config_reader *r, int line, const char *key) {
    struct buf text = BUF_INIT;
    buf_printf(&text, "%s:%d: only the first address of %s is used", r->file, line, key);
    config_reader_note(r, LOG_WARN, &text);
}

static bool parse_server(struct config_reader *r, int line, const char *key, char *text,
                         struct config_server *s, bool *observer) {
    char *client = strchr(text, ';');
    if (client)
        *client++ = 0;
    char *first = strsep(&text, "|"), *host = NULL;
    if (!parse_address(first, s, &host, observer))
        return false;
    if (text)
        warn_addresses(r, line, key);
    while (text) {
        struct config_server other;
        char *other_host;
        if (!parse_address(strsep(&text, "|"), &other, &other_host, observer))
            return false;
    }
    if (client && !parse_client(client, s))
        return false;
    s->host = mem_strdup(host);
    return true;
}

/* The number behind the dot: 1 to 255. */
static bool parse_id(const char *text, uint8_t *ret_id) {
    int64_t id;
    if (!config_parse_int(text, &id) || id < 1 || id > 255)
        return false;
    *ret_id = (uint8_t)id;
    return true;
}

static void add_server(struct config_reader *r, const struct config_server *s, bool observer) {
    struct config *c = &r->config;
    size_t n = c->server_count + 1u;
    c->servers = mem_realloc(c->servers, n * sizeof *c->servers);
    c->quorum = mem_realloc(c->quorum, n * sizeof *c->quorum);
    c->servers[n - 1] = *s;
    c->quorum[n - 1] = (struct quorum_server){.id = s->id, .voter = !observer, .weight = 1};
    c->server_count++;
}

static int set_server(struct config_reader *r, int line, const char *key, const char *value) {
    struct config_server s = {0};
    bool observer = false;
    if (!parse_id(key + strlen("server."), &s.id))
        return config_wrong_value(r, line, "server.N", key, "N from 1 to 255 is right");
    struct config_place *place = &r->server_places[s.id];
    if (place->line != 0) {
        buf_printf(r->why, "%s:%d: server.%d is named twice, in %s:%d too", r->file, line, s.id,
                   place->file, place->line);
        return -EINVAL;
    }
    char *text = mem_strdup(value);
    bool right = parse_server(r, line, key, text, &s, &observer);
    mem_free(text);
    if (!right) {
        mem_free(s.client_host);
        return config_wrong_value(r, line, key, value, server_right);
    }
    *place = (struct config_place){r->file, line};
    add_server(r, &s, observer);
    return 0;
}

/* group.G=id:id:… */
static int set_group(struct config_reader *r, int line, const char *key, const char *value) {
    static const char right[] = "server ids separated by colons are right, as in group.1=1:2:3";
    uint8_t group;
    if (!parse_id(key + strlen("group."), &group))
        return config_wrong_value(r, line, "group.N", key, "N from 1 to 255 is right");
    char *copy = mem_strdup(value), *text = copy;
    int rc = 0;
    while (text && rc == 0) {
        uint8_t id;
        if (!parse_id(strsep(&text, ":"), &id)) {
            rc = config_wrong_value(r, line, key, value, right);
        } else if (r->group_places[id].line != 0 && r->groups[id] != group) {
            buf_printf(r->why, "%s:%d: server %d is in group %d already (line %d)", r->file, line,
                       id, r->groups[id], r->group_places[id].line);
            rc = -EINVAL;
        } else {
            r->groups[id] = group;
            r->group_places[id] = (struct config_place){r->file, line};
        }
    }
    mem_free(copy);
    return rc;
}

static int set_weight(struct config_reader *r, int line, const char *key, const char *value) {
    uint8_t id;
    int64_t weight;
    if (!parse_id(key + strlen("weight."), &id))
        return config_wrong_value(r, line, "weight.N", key, "N from 1 to 255 is right");
    if (!config_parse_int(value, &weight) || weight < 0 || weight > 1000000)
        return config_wrong_value(r, line, key, value, "a number from 0 to 1000000 is right");
    r->weights[id] = (uint32_t)weight;
    r->weight_places[id] = (struct config_place){r->file, line};
    return 0;
}

static int set_peer_type(struct config_reader *r, int line, const char *value) {
    r->peer_type_observer = strcasecmp(value, "observer") == 0;
    if (!r->peer_type_observer && strcasecmp(value, "participant") != 0)
        return config_wrong_value(r, line, "peerType", value, "participant or observer is right");
    r->peer_type_place = (struct config_place){r->file, line};
    return 0;
}

int config_ensemble_line(struct config_reader *r, int line, const char *key, const char *value) {
    if (strncmp(key, "server.", 7) == 0)
        return set_server(r, line, key, value);
    if (strncmp(key, "group.", 6) == 0)
        return set_group(r, line, key, value);
    if (strncmp(key, "weight.", 7) == 0)
        return set_weight(r, line, key, value);
    if (strcmp(key, "peerType") == 0)
        return set_peer_type(r, line, value);
    return 1;
}

static int by_id(const void *a, const void *b) {
    const struct config_server *x = a, *y = b;
    return x->id - y->id;
}

static int quorum_by_id(const void *a, const void *b) {
    const struct quorum_server *x = a, *y = b;
    return x->id - y->id;
}

/* What group.N and weight.N said goes to the servers, and must be about some. */
static int give_groups_and_weights(struct config_reader *r) {
    struct config *c = &r->config;
    for (uint32_t i = 0; i < c->server_count; i++) {
        struct quorum_server *q = &c->quorum[i];
        q->group = r->groups[q->id];
        if (r->weight_places[q->id].line != 0)
            q->weight = r->weights[q->id];
    }
    for (int id = 1; id <= 255; id++) {
        const struct config_place *group = &r->group_places[id], *weight = &r->weight_places[id];
        const struct config_place *place = group->line != 0 ? group : weight;
        if (place->line == 0 || r->server_places[id].line != 0)
            continue;
        buf_printf(r->why, "%s:%d: there is no server.%d to give a %s", place->file, place->line,
                   id, place == group ? "group" : "weight");
        return -EINVAL;
    }
    return 0;
}

static int check_addresses(struct config_reader *r) {
    const struct config *c = &r->config;
    for (uint32_t i = 0; i < c->server_count; i++) {
        for (uint32_t j = i + 1; j < c->server_count; j++) {
            const struct config_server *a = &c->servers[i], *b = &c->servers[j];
            if (strcasecmp(a->host, b->host) != 0 || a->peer_port != b->peer_port)
                continue;
            const struct config_place *place = &r->server_places[b->id];
            buf_printf(r->why, "%s:%d: server.%d and server.%d have the same address %s:%d",
                       place->file, place->line, a->id, b->id, a->host, a->peer_port);
            return -EINVAL;
        }
    }
    return 0;
}

static const struct config_server *find_server(const struct config *c, uint8_t id) {
    for (uint32_t i = 0; i < c->server_count; i++) {
        if (c->servers[i].id == id)
            return &c->servers[i];
    }
    return NULL;
}

static void list_ids(const struct config *c, struct buf *out) {
    for (uint32_t i = 0; i < c->server_count; i++)
        buf_printf(out, "%s%d", i == 0 ? "" : ", ", c->servers[i].id);
}

/* The one number of the file, with blanks around it. */
static bool myid_number(struct buf *text, uint8_t *ret_id) {
    buf_put_u8(text, 0);
    char *begin = (char *)text->data;
    size_t n = strlen(begin);
    while (n > 0 && isspace((unsigned char)begin[n - 1]))
        begin[--n] = 0;
    return parse_id(begin + strspn(begin, " \t\r\n"), ret_id);
}

/* Only in an ensemble is it asked who this server is. */
static int read_myid(struct config_reader *r) {
    struct config *c = &r->config;
    struct buf path = BUF_INIT, text = BUF_INIT, why = BUF_INIT;
    buf_printf(&path, "%s/myid", c->data_dir);
    buf_put_u8(&path, 0);
    const char *name = (const char *)path.data;
    int rc = config_file_read(name, &text, &why);
    if (rc == -ENOENT) {
        buf_printf(r->why, "%s is missing: which of the servers ", name);
        list_ids(c, r->why);
        buf_printf(r->why, " is this one? A file with that number alone is right");
    } else if (rc != 0) {
        buf_put(r->why, why.data, why.len);
    } else if (!myid_number(&text, &c->server_id)) {
        buf_printf(r->why, "%s: \"%.40s\" is wrong; a number from 1 to 255 alone is right", name,
                   (const char *)text.data);
        rc = -EINVAL;
    } else if (!find_server(c, c->server_id)) {
        buf_printf(r->why, "%s: there is no server.%d in %s, only ", name, c->server_id, r->file);
        list_ids(c, r->why);
        rc = -EINVAL;
    }
    buf_close(&path);
    buf_close(&text);
    buf_close(&why);
    return rc;
}

/* As ZooKeeper does: the list of servers counts, and the key that differs is worth a line. */
static void compare_peer_type(struct config_reader *r, const struct quorum_server *self) {
    if (r->peer_type_place.line == 0 || r->peer_type_observer == !self->voter)
        return;
    struct buf text = BUF_INIT;
    buf_printf(&text, "%s:%d: peerType differs from the line of server.%d, that counts: this is %s",
               r->peer_type_place.file, r->peer_type_place.line, self->id,
               self->voter ? "a participant" : "an observer");
    config_reader_note(r, LOG_WARN, &text);
}

/* The client port may stand in this server's line. */
static int take_client_port(struct config_reader *r, struct config_server *self) {
    struct config *c = &r->config;
    if (c->client_port != 0 && self->client_port != 0 && self->client_port != c->client_port) {
        buf_printf(r->why, "%s:%d: clientPort is %d here and %d in the server's line", r->file,
                   r->client_port_line, c->client_port, self->client_port);
        return -EINVAL;
    }
    if (c->client_port != 0)
        return 0;
    c->client_port = self->client_port;
    if (!c->client_address) {
        c->client_address = self->client_host;
        self->client_host = NULL;
    }
    return 0;
}

/* Times of the failure detector: never slower than what syncLimit promises. */
static int check_times(struct config_reader *r) {
    struct config *c = &r->config;
    int64_t limit_ms = (int64_t)c->sync_ticks * c->tick_ms;
    if (c->silence_ms == 0)
        c->silence_ms = limit_ms < SILENCE_MS_DEFAULT ? (int32_t)limit_ms : SILENCE_MS_DEFAULT;
    if (c->silence_ms > limit_ms) {
        buf_printf(r->why,
                   "%s: peer.silenceMs (%d) is above syncLimit times tickTime (%lld ms): a server "
                   "would be silent for longer than that allows",
                   r->file, c->silence_ms, (long long)limit_ms);
        return -EINVAL;
    }
    if (c->heartbeat_ms == 0) {
        c->heartbeat_ms = HEARTBEAT_MS_DEFAULT;
        if (c->heartbeat_ms > c->silence_ms / HEARTBEATS_MIN)
            c->heartbeat_ms = c->silence_ms / HEARTBEATS_MIN;
        if (c->heartbeat_ms < 1)
            c->heartbeat_ms = 1;
    }
    if ((int64_t)c->heartbeat_ms * HEARTBEATS_MIN > c->silence_ms &&
        c->silence_ms >= HEARTBEATS_MIN) {
        buf_printf(r->why,
                   "%s: peer.heartbeatMs (%d) is above a third of the silence that is allowed (%d "
                   "ms): one late heartbeat would end a leadership",
                   r->file, c->heartbeat_ms, c->silence_ms);
        return -EINVAL;
    }
    return 0;
}

/* A single server stands alone: there is nobody to talk to, and no myid is asked for. */
static int stand_alone(struct config_reader *r) {
    struct config *c = &r->config;
    if (r->peer_type_observer) {
        buf_printf(r->why, "%s:%d: peerType=observer needs an ensemble to observe: server.N lines",
                   r->peer_type_place.file, r->peer_type_place.line);
        return -EINVAL;
    }
    int rc = c->server_count > 0 ? take_client_port(r, &c->servers[0]) : 0;
    if (c->server_count > 0) {
        mem_free(c->servers[0].host);
        mem_free(c->servers[0].client_host);
    }
    c->server_count = 0;
    return rc;
}

static int be_member(struct config_reader *r) {
    struct config *c = &r->config;
    struct quorum_config quorum = {.servers = c->quorum, .count = c->server_count};
    const char *reason = quorum_invalid_reason(&quorum);
    if (reason) {
        buf_printf(r->why, "%s: the servers named here are no ensemble: %s", r->file, reason);
        return -EINVAL;
    }
    int rc = check_addresses(r);
    if (rc == 0)
        rc = read_myid(r);
    if (rc != 0)
        return rc;
    compare_peer_type(r, quorum_find(&quorum, c->server_id));
    for (uint32_t i = 0; i < c->server_count; i++) {
        if (c->servers[i].id == c->server_id)
            return take_client_port(r, &c->servers[i]);
    }
    return 0;
}

int config_ensemble_finish(struct config_reader *r) {
    struct config *c = &r->config;
    if (c->server_count > 0) {
        qsort(c->servers, c->server_count, sizeof *c->servers, by_id);
        qsort(c->quorum, c->server_count, sizeof *c->quorum, quorum_by_id);
    }
    int rc = give_groups_and_weights(r);
    if (rc == 0)
        rc = check_times(r);
    if (rc != 0)
        return rc;
    bool alone =
        c->server_count == 0 || (c->server_count == 1 && c->quorum[0].voter && c->standalone);
    return alone ? stand_alone(r) : be_member(r);
}
