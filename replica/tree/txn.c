#include "replica/tree/txn.h"

#include "common/check.h"
#include "common/cursor.h"
#include "common/jute.h"
#include "common/mem.h"
#include "common/path.h"

struct txn *txn_new(enum txn_type type, uint32_t op_count) {
    size_t ops = type == TXN_ERROR ? 0 : op_count;
    struct txn *t = mem_zalloc(sizeof *t + ops * sizeof *t->ops);
    t->type = type;
    t->op_count = op_count;
    t->ops = ops > 0 ? (struct txn_op *)(void *)(t + 1) : NULL;
    return t;
}

void txn_free(struct txn *t) {
    if (!t)
        return;
    for (uint32_t i = 0; t->ops && i < t->op_count; i++) {
        blob_unref(t->ops[i].path);
        blob_unref(t->ops[i].data);
        blob_unref(t->ops[i].acl);
    }
    blob_unref(t->secret);
    mem_free(t);
}

static const char *acl_invalid_reason(const struct blob *acl) {
    struct cursor c;
    cursor_init(&c, acl->bytes, acl->len);
    struct jvec v = jute_read_acls(&c);
    if (c.bad || v.count < 0 || cursor_left(&c) > 0)
        return "the ACL is no vector<ACL>";
    return NULL;
}

static const char *op_invalid_reason(const struct txn_op *op) {
    if (!op->path)
        return "an operation has no path";
    struct slice path = blob_slice(op->path);
    const char *why = path_invalid_reason(path, false);
    if (why)
        return why;
    bool wants_acl = op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_ACL;
    if (wants_acl && !op->acl)
        return "an operation has no ACL";
    switch (op->type) {
    case TXN_OP_CREATE:
    case TXN_OP_DELETE:
        if (path.len == 1)
            return "the root is neither created nor deleted";
        break;
    case TXN_OP_SET_DATA:
    case TXN_OP_SET_ACL:
    case TXN_OP_CHECK:
        break;
    default:
        return "an operation of an unknown type";
    }
    return wants_acl ? acl_invalid_reason(op->acl) : NULL;
}

static const char *ops_invalid_reason(const struct txn *t) {
    for (uint32_t i = 0; i < t->op_count; i++) {
        const char *why = op_invalid_reason(&t->ops[i]);
        if (why)
            return why;
        if (t->type == TXN_CLOSE_SESSION && t->ops[i].type != TXN_OP_DELETE)
            return "a closed session does more than delete";
    }
    return NULL;
}

const char *txn_invalid_reason(const struct txn *t) {
    if (t->op_count > TXN_OPS_MAX)
        return "too many operations";
    if (t->error_index > 0 && (t->type != TXN_ERROR || t->error_index >= t->op_count))
        return "the refused operation is none of the transaction's";
    if (t->retries && t->type != TXN_CREATE_SESSION)
        return "only a new session asks for retries";
    switch (t->type) {
    case TXN_OPS:
    case TXN_CLOSE_SESSION:
        return ops_invalid_reason(t);
    case TXN_ERROR:
        return t->err < 0 ? NULL : "a refusal without an error";
    case TXN_CREATE_SESSION:
        return t->op_count > 0 || t->timeout_ms < 0 ? "a malformed session" : NULL;
    case TXN_ENSEMBLE:
        return t->op_count > 0 || !t->secret ? "a malformed ensemble" : NULL;
    }
    return "a transaction of an unknown type";
}
