/* Starting operations: a request is encoded at once and handed to the client before the loop sleeps
 * again, so that no callback comes from within the start and requests of one round travel together.
 */
#include "fs/zk_impl.h"

/* The xid and the opcode, which stand in front of the record. */
#define REQUEST_HEADER_BYTES 8

static struct zk_call *call_new(struct zk *zk, enum call_kind kind, int32_t opcode, zk_cb *cb,
                                void *ctx) {
    CHECK(!zk->close_wanted);
    struct zk_call *call = mem_zalloc(sizeof(*call));
    call->token = ++zk->last_token;
    call->kind = kind;
    call->opcode = opcode;
    call->cb = cb;
    call->ctx = ctx;
    if (zk->timeo_ms > 0)
        call->deadline_ms = zk_now_ms(zk) + zk->timeo_ms;
    /* A longer frame would make the server close the connection, for all operations of the mount.
     */
    buf_init(&call->request, zk->max_frame_bytes - REQUEST_HEADER_BYTES);
    HASH_ADD(hh, zk->calls, token, sizeof(call->token), call);
    return call;
}

static uint64_t call_start(struct zk *zk, struct zk_call *call) {
    if (call->request.overflow)
        call->local_err = ZK_MARSHALLINGERROR;
    zk_call_queue(zk, call);
    return call->token;
}

static uint64_t start(struct zk *zk, enum call_kind kind, int32_t opcode, enum proto_record record,
                      const void *req, zk_cb *cb, void *ctx) {
    struct zk_call *call = call_new(zk, kind, opcode, cb, ctx);
    proto_encode(&call->request, record, req);
    return call_start(zk, call);
}

uint64_t zk_again(struct zk *zk, const struct zk_sent *sent, bool exclusive, zk_cb *cb, void *ctx) {
    CHECK(sent->opcode == OP_MULTI || sent->opcode == OP_DELETE);
    enum call_kind kind = sent->opcode == OP_MULTI ? CALL_MULTI : CALL_DELETE;
    struct zk_call *call = call_new(zk, kind, sent->opcode, cb, ctx);
    call->exclusive = exclusive;
    buf_put(&call->request, sent->request.data, sent->request.len);
    return call_start(zk, call);
}

uint64_t zk_get(struct zk *zk, struct slice path, zk_cb *cb, void *ctx) {
    struct proto_path_watch_request req = {.path = path};
    return start(zk, CALL_GET, OP_GET_DATA, PROTO_path_watch_request, &req, cb, ctx);
}

uint64_t zk_exists(struct zk *zk, struct slice path, zk_cb *cb, void *ctx) {
    struct proto_path_watch_request req = {.path = path};
    return start(zk, CALL_EXISTS, OP_EXISTS, PROTO_path_watch_request, &req, cb, ctx);
}

uint64_t zk_children(struct zk *zk, struct slice path, zk_cb *cb, void *ctx) {
    struct proto_path_watch_request req = {.path = path};
    return start(zk, CALL_CHILDREN, OP_GET_CHILDREN2, PROTO_path_watch_request, &req, cb, ctx);
}

/* A read that arms a watch. */
static uint64_t start_watch(struct zk *zk, enum call_kind kind, int32_t opcode, struct slice path,
                            struct zk_watcher *w, zk_cb *cb, void *ctx) {
    struct proto_path_watch_request req = {.path = path, .watch = true};
    struct zk_call *call = call_new(zk, kind, opcode, cb, ctx);
    zk_watch_begin(zk, call, path, w);
    proto_encode(&call->request, PROTO_path_watch_request, &req);
    return call_start(zk, call);
}

uint64_t zk_watch_get(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb,
                      void *ctx) {
    return start_watch(zk, CALL_GET, OP_GET_DATA, path, w, cb, ctx);
}

uint64_t zk_watch_exists(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb,
                         void *ctx) {
    return start_watch(zk, CALL_EXISTS, OP_EXISTS, path, w, cb, ctx);
}

uint64_t zk_watch_children(struct zk *zk, struct slice path, struct zk_watcher *w, zk_cb *cb,
                           void *ctx) {
    return start_watch(zk, CALL_CHILDREN, OP_GET_CHILDREN2, path, w, cb, ctx);
}

uint64_t zk_add_watch_call(struct zk *zk, struct slice path, bool recursive, bool is_local,
                           struct zk_subscriber *s, zk_cb *cb, void *ctx) {
    struct proto_add_watch_request req = {
        .path = path, .mode = recursive ? ADD_WATCH_RECURSIVE : ADD_WATCH_PERSISTENT};
    struct zk_call *call = call_new(zk, CALL_ADD_WATCH, OP_ADD_WATCH, cb, ctx);
    call->subscriber = s;
    call->is_local = is_local;
    proto_encode(&call->request, PROTO_add_watch_request, &req);
    return call_start(zk, call);
}

static void ignore(void *ctx, const struct zk_result *res) {}

void zk_send_remove(struct zk *zk, struct slice path, enum watcher_type type) {
    if (zk->close_wanted)
        return;
    struct proto_remove_watches_request req = {.path = path, .type = (int32_t)type};
    struct zk_call *call = call_new(zk, CALL_REMOVE_WATCHES, OP_REMOVE_WATCHES, ignore, NULL);
    call->deadline_ms = 0;
    proto_encode(&call->request, PROTO_remove_watches_request, &req);
    call_start(zk, call);
}

uint64_t zk_get_acl(struct zk *zk, struct slice path, zk_cb *cb, void *ctx) {
    struct proto_path_request req = {.path = path};
    return start(zk, CALL_GET_ACL, OP_GET_ACL, PROTO_path_request, &req, cb, ctx);
}

uint64_t zk_sync(struct zk *zk, struct slice path, zk_cb *cb, void *ctx) {
    struct proto_path_request req = {.path = path};
    return start(zk, CALL_SYNC, OP_SYNC, PROTO_path_request, &req, cb, ctx);
}

uint64_t zk_set(struct zk *zk, struct slice path, struct slice data, int32_t version, zk_cb *cb,
                void *ctx) {
    struct proto_set_data_request req = {.path = path, .data = data, .version = version};
    return start(zk, CALL_SET, OP_SET_DATA, PROTO_set_data_request, &req, cb, ctx);
}

uint64_t zk_delete(struct zk *zk, struct slice path, int32_t version, zk_cb *cb, void *ctx) {
    struct proto_delete_request req = {.path = path, .version = version};
    return start(zk, CALL_DELETE, OP_DELETE, PROTO_delete_request, &req, cb, ctx);
}

uint64_t zk_set_acl(struct zk *zk, struct slice path, const struct blob *acl, int32_t version,
                    zk_cb *cb, void *ctx) {
    struct proto_set_acl_request req = {.path = path, .acl = acl_view(acl), .version = version};
    return start(zk, CALL_SET_ACL, OP_SET_ACL, PROTO_set_acl_request, &req, cb, ctx);
}

static int32_t create_opcode(enum create_mode mode) {
    if (mode == CREATE_PERSISTENT_WITH_TTL || mode == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL)
        return OP_CREATE_TTL;
    return mode == CREATE_CONTAINER ? OP_CREATE_CONTAINER : OP_CREATE2;
}

static bool mode_is_sequential(enum create_mode mode) {
    return mode == CREATE_PERSISTENT_SEQUENTIAL || mode == CREATE_EPHEMERAL_SEQUENTIAL ||
           mode == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL;
}

static void encode_create(const struct zk *zk, struct zk_call *call, const struct zk_op *op) {
    struct jvec acl = acl_view(op->acl ? op->acl : zk->open_acl);
    int32_t flags = (int32_t)op->mode;
    if (create_opcode(op->mode) == OP_CREATE_TTL) {
        struct proto_create_ttl_request req = {op->path, op->data, acl, flags, op->ttl_ms};
        proto_encode(&call->request, PROTO_create_ttl_request, &req);
    } else {
        struct proto_create_request req = {op->path, op->data, acl, flags};
        proto_encode(&call->request, PROTO_create_request, &req);
    }
    call->exclusive |= op->exclusive;
    call->sequential |= mode_is_sequential(op->mode);
}

uint64_t zk_create(struct zk *zk, const struct zk_op *op, zk_cb *cb, void *ctx) {
    CHECK(op->type == ZK_OP_CREATE);
    struct zk_call *call = call_new(zk, CALL_CREATE, create_opcode(op->mode), cb, ctx);
    encode_create(zk, call, op);
    return call_start(zk, call);
}

static void encode_multi_header(struct zk_call *call, int32_t opcode, bool done) {
    struct proto_multi_header h = {.type = opcode, .done = done, .err = -1};
    proto_encode(&call->request, PROTO_multi_header, &h);
}

static void encode_op(const struct zk *zk, struct zk_call *call, const struct zk_op *op) {
    switch (op->type) {
    case ZK_OP_CREATE:
        encode_multi_header(call, create_opcode(op->mode), false);
        encode_create(zk, call, op);
        break;
    case ZK_OP_SET: {
        struct proto_set_data_request req = {op->path, op->data, op->version};
        encode_multi_header(call, OP_SET_DATA, false);
        proto_encode(&call->request, PROTO_set_data_request, &req);
        break;
    }
    case ZK_OP_DELETE: {
        struct proto_delete_request req = {op->path, op->version};
        encode_multi_header(call, OP_DELETE, false);
        proto_encode(&call->request, PROTO_delete_request, &req);
        break;
    }
    case ZK_OP_CHECK: {
        struct proto_check_version_request req = {op->path, op->version};
        encode_multi_header(call, OP_CHECK, false);
        proto_encode(&call->request, PROTO_check_version_request, &req);
        break;
    }
    }
}

uint64_t zk_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_cb *cb, void *ctx) {
    struct zk_call *call = call_new(zk, CALL_MULTI, OP_MULTI, cb, ctx);
    for (size_t i = 0; i < count; i++)
        encode_op(zk, call, &ops[i]);
    encode_multi_header(call, -1, true);
    return call_start(zk, call);
}

bool zk_call_is_write(const struct zk_call *call) {
    const struct opcode_info *info = opcode_find(call->opcode);
    return info && (info->flags & OPF_WRITE) != 0;
}
