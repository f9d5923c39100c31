/* Answers of the server made into results. The slices in them point into the frame. */
#include "fs/zk_impl.h"

/* The server said something that is not the protocol. */
#define MALFORMED ZK_DATAINCONSISTENCY

static bool decode_stat(struct cursor *in, struct zk_result *res) {
    struct proto_stat_response rec;
    if (!proto_decode(in, PROTO_stat_response, &rec))
        return false;
    res->stat = rec.stat;
    return true;
}

static bool decode_get(struct cursor *in, struct zk_result *res) {
    struct proto_get_data_response rec;
    if (!proto_decode(in, PROTO_get_data_response, &rec))
        return false;
    res->data = rec.data;
    res->stat = rec.stat;
    return true;
}

static bool decode_children(struct cursor *in, struct zk_result *res) {
    struct proto_get_children2_response rec;
    if (!proto_decode(in, PROTO_get_children2_response, &rec))
        return false;
    res->children = rec.children;
    res->stat = rec.stat;
    return true;
}

static bool decode_create(struct cursor *in, struct zk_result *res) {
    struct proto_create2_response rec;
    if (!proto_decode(in, PROTO_create2_response, &rec))
        return false;
    res->path = rec.path;
    res->stat = rec.stat;
    return true;
}

static bool decode_acl(struct cursor *in, struct zk_result *res) {
    struct proto_get_acl_response rec;
    if (!proto_decode(in, PROTO_get_acl_response, &rec))
        return false;
    res->acl = rec.acl;
    res->stat = rec.stat;
    return true;
}

static bool decode_op_result(struct cursor *in, int32_t type, struct zk_op_result *ret) {
    struct zk_result one = {.path = SLICE_NULL};
    struct proto_error_response e;
    *ret = (struct zk_op_result){.path = SLICE_NULL};
    switch (type) {
    case OP_ERROR:
        if (!proto_decode(in, PROTO_error_response, &e))
            return false;
        ret->err = e.err;
        return true;
    case OP_CREATE: {
        struct proto_path_response rec;
        if (!proto_decode(in, PROTO_path_response, &rec))
            return false;
        ret->path = rec.path;
        return true;
    }
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        if (!decode_create(in, &one))
            return false;
        break;
    case OP_SET_DATA:
        if (!decode_stat(in, &one))
            return false;
        break;
    case OP_DELETE:
    case OP_CHECK:
        return true;
    default:
        return false;
    }
    ret->path = one.path;
    ret->stat = one.stat;
    return true;
}

/* The results stand one behind the other, each behind a header, until one that says `done`. The
 * caller frees *ret_ops. The result's own error is that of the operation that failed: those before
 * it say OK, those behind it RUNTIMEINCONSISTENCY (PROTOCOL 1.4). */
static bool decode_multi(struct cursor *in, struct zk_result *res, struct zk_op_result **ret_ops) {
    size_t count = 0, cap = 0;
    struct zk_op_result *ops = NULL;
    for (;;) {
        struct proto_multi_header h;
        if (!proto_decode(in, PROTO_multi_header, &h))
            goto malformed;
        if (h.done)
            break;
        if (count == cap) {
            cap = cap ? cap * 2 : 4;
            ops = mem_realloc(ops, cap * sizeof(*ops));
        }
        if (!decode_op_result(in, h.type, &ops[count]))
            goto malformed;
        int err = ops[count++].err;
        if (err != 0 && (res->err == 0 || res->err == ZK_RUNTIMEINCONSISTENCY))
            res->err = err;
    }
    res->ops = *ret_ops = ops;
    res->op_count = count;
    return true;
malformed:
    mem_free(ops);
    return false;
}

static bool decode(const struct zk_call *call, struct cursor *in, struct zk_result *res,
                   struct zk_op_result **ret_ops) {
    switch (call->kind) {
    case CALL_GET:
        return decode_get(in, res);
    case CALL_EXISTS:
    case CALL_SET:
    case CALL_SET_ACL:
        return decode_stat(in, res);
    case CALL_CHILDREN:
        return decode_children(in, res);
    case CALL_CREATE:
        return decode_create(in, res);
    case CALL_MULTI:
        return decode_multi(in, res, ret_ops);
    case CALL_GET_ACL:
        return decode_acl(in, res);
    case CALL_DELETE:
    case CALL_SYNC:
    case CALL_ADD_WATCH:
    case CALL_REMOVE_WATCHES:
        return true;
    }
    return false;
}

void zk_reply(struct zk *zk, struct zk_call *call, const struct client_update *u) {
    struct zk_result res = {.err = u->err,
                            .zxid = u->zxid,
                            .data = SLICE_NULL,
                            .path = SLICE_NULL,
                            .children = {.count = -1},
                            .acl = {.count = -1}};
    struct zk_op_result *ops = NULL;
    if (u->err == 0) {
        struct cursor in;
        cursor_init(&in, u->bytes.p, u->bytes.len > 0 ? (size_t)u->bytes.len : 0);
        if (!decode(call, &in, &res, &ops))
            res.err = MALFORMED;
    }
    if (res.err == 0 && zk_call_is_write(call))
        zk_own_add(zk, call, u->zxid);
    zk_call_finish(zk, call, &res);
    mem_free(ops);
}
