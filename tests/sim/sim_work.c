/* What clients do: every kind of operation, on few paths, so that they meet. */
#include "tests/sim/sim_client.h"

#include "common/acl.h"
#include "common/path.h"

#include <stdio.h>
#include <string.h>

#define PATH_BYTES 64

/* Directories d0, d1 below the root, and names below them. Those with t in front are for ephemerals
 * as well as for others. */
static void draw_path(struct sim_client *c, char path[PATH_BYTES]) {
    struct prng *p = &c->w->work;
    uint64_t n = prng_below(p, c->w->plan.paths);
    if (prng_chance(p, 1, 6))
        snprintf(path, PATH_BYTES, "/d%d", (int)prng_below(p, 2));
    else
        snprintf(path, PATH_BYTES, "/d%d/%c%d", (int)prng_below(p, 2), "xyz"[n % 3], (int)(n / 3));
}

static struct slice text(const char *s) { return slice_from_str(s); }

static void draw_value(struct sim_client *c, struct buf *b) {
    struct prng *p = &c->w->work;
    uint64_t n = prng_below(p, 20);
    uint32_t most = c->w->plan.value_bytes;
    if (most > 10000 && prng_chance(p, 1, 2))
        n = most / 2 + prng_below(p, most / 2);
    else if (prng_chance(p, 1, 3))
        n = prng_below(p, most < 600 ? most + 1 : 600);
    if (n < 8)
        n = 8;
    uint8_t *to = buf_extend(b, n);
    memset(to, (int)(prng_next(p) & 0xff), n);
    uint64_t mark = prng_next(p); /* two values are never the same */
    memcpy(to, &mark, sizeof mark);
}

static int32_t draw_version(struct sim_client *c, int32_t often) {
    struct prng *p = &c->w->work;
    return prng_chance(p, 1, (uint32_t)often) ? (int32_t)prng_below(p, 3) : -1;
}

static struct jvec open_acl(void) {
    static struct blob *acl;
    if (!acl)
        acl = acl_open_unsafe();
    return acl_view(acl);
}

static void put_create(struct sim_client *c, struct buf *b, const char *path, int32_t flags) {
    struct buf value = BUF_INIT;
    bool null = prng_chance(&c->w->work, 1, 4);
    if (!null)
        draw_value(c, &value);
    struct proto_create_request req = {.path = text(path),
                                       .data = {value.data, null ? -1 : (int32_t)value.len},
                                       .acl = open_acl(),
                                       .flags = flags};
    proto_encode(b, PROTO_create_request, &req);
    buf_close(&value);
}

static void put_ttl(struct sim_client *c, struct buf *b, const char *path, int32_t flags) {
    struct buf value = BUF_INIT;
    draw_value(c, &value);
    struct proto_create_ttl_request req = {.path = text(path),
                                           .data = {value.data, (int32_t)value.len},
                                           .acl = open_acl(),
                                           .flags = flags,
                                           .ttl = prng_range(&c->w->work, 1, 400)};
    proto_encode(b, PROTO_create_ttl_request, &req);
    buf_close(&value);
}

static void put_delete(struct sim_client *c, struct buf *b, const char *path) {
    struct proto_delete_request req = {.path = text(path), .version = draw_version(c, 3)};
    proto_encode(b, PROTO_delete_request, &req);
}

static void put_set(struct sim_client *c, struct buf *b, const char *path) {
    struct buf value = BUF_INIT;
    draw_value(c, &value);
    struct proto_set_data_request req = {.path = text(path),
                                         .data = {value.data, (int32_t)value.len},
                                         .version = draw_version(c, 3)};
    proto_encode(b, PROTO_set_data_request, &req);
    buf_close(&value);
}

static void put_check(struct sim_client *c, struct buf *b, const char *path) {
    struct proto_check_version_request req = {.path = text(path), .version = draw_version(c, 2)};
    proto_encode(b, PROTO_check_version_request, &req);
}

/* Containers and TTL znodes in a multi: there the flag decides. */
static void put_extended(struct sim_client *c, struct buf *b, const char *path) {
    bool ttl = prng_chance(&c->w->work, 1, 2);
    struct proto_multi_header h = {.type = ttl ? OP_CREATE_TTL : OP_CREATE, .err = -1};
    proto_encode(b, PROTO_multi_header, &h);
    if (ttl)
        put_ttl(c, b, path, CREATE_PERSISTENT_WITH_TTL);
    else
        put_create(c, b, path, CREATE_CONTAINER);
}

static void draw_multi(struct sim_client *c, struct sim_op *op) {
    struct prng *p = &c->w->work;
    int n = (int)prng_range(p, 1, 4);
    for (int i = 0; i < n; i++) {
        char path[PATH_BYTES];
        draw_path(c, path);
        if (c->w->plan.extended && prng_chance(p, 1, 4)) {
            put_extended(c, &op->record, path);
            continue;
        }
        static const int32_t types[] = {OP_CREATE, OP_CREATE, OP_DELETE, OP_SET_DATA, OP_CHECK};
        int32_t type = types[prng_below(p, 5)];
        struct proto_multi_header h = {.type = type, .done = false, .err = -1};
        proto_encode(&op->record, PROTO_multi_header, &h);
        if (type == OP_CREATE)
            put_create(c, &op->record, path, (int32_t)prng_below(p, 4));
        else if (type == OP_DELETE)
            put_delete(c, &op->record, path);
        else if (type == OP_SET_DATA)
            put_set(c, &op->record, path);
        else
            put_check(c, &op->record, path);
    }
    struct proto_multi_header end = {.type = -1, .done = true, .err = -1};
    proto_encode(&op->record, PROTO_multi_header, &end);
}

/* In place of a read that would watch once. */
static void draw_staying(struct sim_client *c, struct sim_op *op, const char *path) {
    struct prng *p = &c->w->work;
    bool recursive = prng_chance(p, 1, 2);
    static const char *const tops[] = {"/", "/d0", "/d1"};
    if (recursive && prng_chance(p, 2, 3))
        path = tops[prng_below(p, 3)];
    bool adds = !prng_chance(p, 1, 4);
    int32_t type = recursive ? WATCHER_RECURSIVE : WATCHER_PERSISTENT;
    struct proto_add_watch_request req = {.path = text(path),
                                          .mode = !adds       ? type
                                                  : recursive ? ADD_WATCH_RECURSIVE
                                                              : ADD_WATCH_PERSISTENT};
    buf_reset(&op->record);
    op->opcode = adds ? OP_ADD_WATCH : OP_REMOVE_WATCHES;
    proto_encode(&op->record, PROTO_add_watch_request, &req);
}

static void draw_read(struct sim_client *c, struct sim_op *op, int32_t opcode, const char *path) {
    op->opcode = opcode;
    op->watch = prng_chance(&c->w->work, 1, 2);
    struct proto_path_watch_request req = {.path = text(path), .watch = op->watch};
    proto_encode(&op->record, PROTO_path_watch_request, &req);
    if (op->watch && c->watches_for_good && !c->w->healing && prng_chance(&c->w->work, 1, 2))
        draw_staying(c, op, path);
}

static void draw_sync(struct sim_op *op, const char *path) {
    op->opcode = OP_SYNC;
    struct proto_path_request req = {.path = text(path)};
    proto_encode(&op->record, PROTO_path_request, &req);
}

/* The directories too, so that containers get children and lose them. */
static void draw_extended(struct sim_client *c, struct sim_op *op, const char *path) {
    struct prng *p = &c->w->work;
    bool sequential = prng_chance(p, 1, 6);
    char name[PATH_BYTES];
    snprintf(name, sizeof name, sequential ? "%.3s/q-" : "%s", path);
    if (prng_chance(p, 1, 2)) {
        op->opcode = OP_CREATE_CONTAINER;
        put_create(c, &op->record, name,
                   sequential ? CREATE_PERSISTENT_SEQUENTIAL : CREATE_CONTAINER);
        return;
    }
    op->opcode = OP_CREATE_TTL;
    put_ttl(c, &op->record, name,
            sequential ? CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL : CREATE_PERSISTENT_WITH_TTL);
}

static void draw_create(struct sim_client *c, struct sim_op *op, const char *path) {
    struct prng *p = &c->w->work;
    char name[PATH_BYTES];
    static const int32_t modes[] = {CREATE_PERSISTENT,
                                    CREATE_PERSISTENT,
                                    CREATE_EPHEMERAL,
                                    CREATE_EPHEMERAL,
                                    CREATE_PERSISTENT_SEQUENTIAL,
                                    CREATE_EPHEMERAL_SEQUENTIAL};
    int32_t mode = modes[prng_below(p, 6)];
    snprintf(name, sizeof name, "%s", path);
    bool dir = strchr(path + 1, '/') == NULL;
    if (dir && mode != CREATE_PERSISTENT)
        snprintf(name, sizeof name, "/d%d/q-", (int)prng_below(p, 2));
    op->opcode = prng_chance(p, 1, 2) ? OP_CREATE : OP_CREATE2;
    put_create(c, &op->record, name, mode);
}

static void draw_set_acl(struct sim_client *c, struct sim_op *op, const char *path) {
    op->opcode = OP_SET_ACL;
    struct proto_set_acl_request req = {
        .path = text(path), .acl = open_acl(), .version = draw_version(c, 3)};
    proto_encode(&op->record, PROTO_set_acl_request, &req);
}

static void draw_ephemerals(struct sim_op *op) {
    op->opcode = OP_GET_EPHEMERALS;
    struct proto_path_request req = {.path = text("/")};
    proto_encode(&op->record, PROTO_path_request, &req);
}

void work_draw(struct sim_client *c, struct sim_op *op) {
    struct prng *p = &c->w->work;
    char path[PATH_BYTES];
    draw_path(c, path);
    uint64_t r = prng_below(p, 100);
    if (c->w->plan.sync_often && prng_chance(p, 1, 3))
        r = 62;
    if (r < 28 && c->w->plan.extended && prng_chance(p, 1, 2)) {
        draw_extended(c, op, path);
    } else if (r < 28) {
        draw_create(c, op, path);
    } else if (r < 40) {
        op->opcode = OP_DELETE;
        put_delete(c, &op->record, path);
    } else if (r < 56) {
        op->opcode = OP_SET_DATA;
        put_set(c, &op->record, path);
    } else if (r < 62) {
        op->opcode = OP_MULTI;
        draw_multi(c, op);
    } else if (r < 70) {
        draw_sync(op, path);
    } else if (r < 73) {
        draw_set_acl(c, op, path);
    } else if (r < 75) {
        draw_ephemerals(op);
    } else if (r < 84) {
        draw_read(c, op, OP_GET_DATA, path);
    } else if (r < 90) {
        draw_read(c, op, OP_EXISTS, path);
    } else {
        draw_read(c, op, prng_chance(p, 1, 2) ? OP_GET_CHILDREN : OP_GET_CHILDREN2,
                  path[3] == '\0' ? path : (path[3] = '\0', path));
    }
}

/* A write, a sync and a read, that have to be answered well. */
void work_draw_demand(struct sim_client *c, struct sim_op *op) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/end-%u-%llu", c->index, (unsigned long long)op->token);
    if (c->demands_left == 2) {
        op->opcode = OP_CREATE;
        put_create(c, &op->record, path, CREATE_PERSISTENT);
    } else if (c->demands_left == 1) {
        draw_sync(op, "/");
    } else {
        draw_read(c, op, OP_GET_CHILDREN2, "/d0");
    }
}
