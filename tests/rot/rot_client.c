/* What the clients of the ensemble do: every kind of write, on few paths, so that they meet; some
 * are refused, which is a record of the log as well. */
#include <stdio.h>
#include <string.h>

#include "common/acl.h"
#include "common/check.h"
#include "common/path.h"
#include "tests/rot/rot.h"

#define PATHS 60
#define DATA_MAX 220

static void put_header(struct members *ms, size_t i, struct buf *b, int32_t opcode) {
    struct proto_request_header header = {.xid = ++ms->hosts[i].xid, .type = opcode};
    proto_encode(b, PROTO_request_header, &header);
}

static void put_create(struct rot_client *c, struct buf *b, const char *path, int32_t flags) {
    uint8_t data[DATA_MAX];
    size_t n = (size_t)prng_below(&c->prng, DATA_MAX);
    memset(data, 'a' + (int)(c->made++ % 26), n);
    struct blob *acl = acl_open_unsafe();
    struct proto_create_request req = {.path = slice_from_str(path),
                                       .data = {data, prng_chance(&c->prng, 1, 9) ? -1 : (int)n},
                                       .acl = acl_view(acl),
                                       .flags = flags};
    proto_encode(b, PROTO_create_request, &req);
    blob_unref(acl);
}

static void put_set(struct rot_client *c, struct buf *b, const char *path) {
    uint8_t data[DATA_MAX];
    size_t n = (size_t)prng_below(&c->prng, DATA_MAX);
    memset(data, 'A' + (int)(c->made++ % 26), n);
    struct proto_set_data_request req = {
        .path = slice_from_str(path), .data = {data, (int32_t)n}, .version = -1};
    proto_encode(b, PROTO_set_data_request, &req);
}

static void put_delete(struct buf *b, const char *path) {
    struct proto_delete_request req = {.path = slice_from_str(path), .version = -1};
    proto_encode(b, PROTO_delete_request, &req);
}

static void put_acl(struct rot_client *c, struct buf *b, const char *path) {
    static const char *const texts[] = {"world:anyone:cdrwa", "world:anyone:cdrwa,ip:10.0.0.1:r",
                                        "ip:127.0.0.1:cdrwa"};
    const char *why = NULL;
    struct blob *acl = acl_parse(slice_from_str(texts[prng_below(&c->prng, 3)]), &why);
    CHECK(acl != NULL);
    struct proto_set_acl_request req = {
        .path = slice_from_str(path), .acl = acl_view(acl), .version = -1};
    proto_encode(b, PROTO_set_acl_request, &req);
    blob_unref(acl);
}

static void put_multi(struct rot_client *c, struct buf *b, const char *path) {
    static const int32_t types[] = {OP_CREATE, OP_SET_DATA, OP_DELETE};
    char other[32];
    for (size_t k = 0; k < 3; k++) {
        struct proto_multi_header h = {.type = types[k], .done = false, .err = -1};
        proto_encode(b, PROTO_multi_header, &h);
        (void)snprintf(other, sizeof other, "/m%zu", c->made + (k == 2 ? 0 : 1));
        if (k == 0)
            put_create(c, b, other, CREATE_PERSISTENT);
        else if (k == 1)
            put_set(c, b, path);
        else
            put_delete(b, prng_chance(&c->prng, 1, 4) ? "/nothing" : other);
    }
    struct proto_multi_header end = {.type = -1, .done = true, .err = -1};
    proto_encode(b, PROTO_multi_header, &end);
}

static int32_t draw_write(struct rot_client *c, struct buf *body) {
    char path[32];
    (void)snprintf(path, sizeof path, "/p%u", (unsigned)prng_below(&c->prng, PATHS));
    uint64_t kind = prng_below(&c->prng, 8);
    c->kinds[kind]++;
    switch (kind) {
    case 0:
        put_create(c, body, "/s-", CREATE_PERSISTENT_SEQUENTIAL);
        return OP_CREATE;
    case 1:
        put_create(c, body, "/e-", CREATE_EPHEMERAL_SEQUENTIAL);
        return OP_CREATE;
    case 2:
    case 3:
        put_set(c, body, path);
        return OP_SET_DATA;
    case 4:
        put_delete(body, path);
        return OP_DELETE;
    case 5:
        put_acl(c, body, path);
        return OP_SET_ACL;
    case 6:
        put_multi(c, body, path);
        return OP_MULTI;
    default:
        put_create(c, body, path, CREATE_PERSISTENT);
        return OP_CREATE;
    }
}

static bool send_and_wait(struct members *ms, size_t i, int32_t opcode, const struct buf *body) {
    struct buf b = BUF_INIT;
    struct slice answer;
    put_header(ms, i, &b, opcode);
    buf_put(&b, body->data, body->len);
    members_send(ms, i, &b);
    buf_close(&b);
    return members_answer(ms, i, &answer);
}

bool rot_write(struct members *ms, size_t i, struct rot_client *c) {
    struct buf body = BUF_INIT;
    if (!members_open(ms, i))
        return false;
    int32_t opcode = draw_write(c, &body);
    bool done = send_and_wait(ms, i, opcode, &body);
    buf_close(&body);
    return done;
}

bool rot_create(struct members *ms, size_t i, const char *path) {
    struct rot_client c = {0};
    struct buf body = BUF_INIT;
    struct slice answer;
    struct cursor at;
    struct proto_reply_header reply;
    if (!members_open(ms, i))
        return false;
    prng_init(&c.prng, i);
    put_create(&c, &body, path, CREATE_PERSISTENT);
    struct buf b = BUF_INIT;
    put_header(ms, i, &b, OP_CREATE);
    buf_put(&b, body.data, body.len);
    members_send(ms, i, &b);
    buf_close(&b);
    buf_close(&body);
    if (!members_answer(ms, i, &answer))
        return false;
    cursor_init(&at, answer.p, (size_t)answer.len);
    return proto_decode(&at, PROTO_reply_header, &reply) && reply.err == 0;
}

size_t rot_write_burst(struct members *ms, size_t i, struct rot_client *c, size_t count) {
    char path[32];
    size_t answered = 0;
    struct slice answer;
    if (!members_open(ms, i))
        return 0;
    for (size_t k = 0; k < count; k++) {
        struct buf b = BUF_INIT;
        (void)snprintf(path, sizeof path, "/b%zu", c->made);
        put_header(ms, i, &b, OP_CREATE);
        put_create(c, &b, path, CREATE_PERSISTENT);
        members_send(ms, i, &b);
        buf_close(&b);
    }
    while (answered < count && members_answer(ms, i, &answer))
        answered++;
    return answered;
}
