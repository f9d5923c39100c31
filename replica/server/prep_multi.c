#include "replica/server/prep.h"

#include "common/mem.h"
#include "replica/server/limits.h"

/* What an operation adds to the encoded transaction beside its bytes, generously. */
#define OP_OVERHEAD_BYTES 64u

/* In a multi of 3.8 the flag decides what is created, whatever the type of the request. OP_ERROR:
 * it has no TTL, which its flag asks for; Apache cannot read that. */
static int32_t create_type(int32_t type, int32_t flags) {
    if (flags == CREATE_CONTAINER)
        return OP_CREATE_CONTAINER;
    if (flags == CREATE_PERSISTENT_WITH_TTL || flags == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL)
        return type == OP_CREATE_TTL ? OP_CREATE_TTL : OP_ERROR;
    return OP_CREATE;
}

/* What an operation is; its record becomes that type's. */
static int32_t multi_type(int32_t type, union prep_record *record) {
    if (type == OP_CREATE || type == OP_CREATE2 || type == OP_CREATE_CONTAINER)
        return create_type(type, record->create.flags);
    if (type != OP_CREATE_TTL)
        return type;
    struct proto_create_ttl_request r = record->create_ttl;
    int32_t is = create_type(type, r.flags);
    if (is != OP_CREATE_TTL)
        record->create = (struct proto_create_request){r.path, r.data, r.acl, r.flags};
    return is;
}

/* The next operation of a multi: false at the end (*ret_done) and when it is malformed. */
static bool multi_next(struct cursor *c, int32_t *ret_type, union prep_record *ret_record,
                       bool *ret_done) {
    struct proto_multi_header h;
    *ret_done = false;
    if (!proto_decode(c, PROTO_multi_header, &h))
        return false;
    *ret_done = h.done;
    if (h.done)
        return false;
    const struct opcode_info *info = opcode_find(h.type);
    if (!info || !(info->flags & OPF_MULTI))
        return false;
    if (!prep_decode(c, h.type, ret_record))
        return false;
    *ret_type = multi_type(h.type, ret_record);
    return *ret_type != OP_ERROR;
}

/* How many operations there are; false when any is malformed: then none is tried. */
static bool multi_count(struct slice body, uint32_t *ret_count) {
    struct cursor c;
    union prep_record rec;
    int32_t type = OP_ERROR;
    bool done = false;
    uint32_t count = 0;
    cursor_init(&c, body.p, (size_t)body.len);
    while (multi_next(&c, &type, &rec, &done))
        count++;
    *ret_count = count;
    return done;
}

/* 3.8 answers create2 inside a multi as create, the path alone, and these with a Stat. */
static int32_t result_type(int32_t type) {
    return type == OP_CREATE_CONTAINER || type == OP_CREATE_TTL ? OP_CREATE2 : type;
}

static uint64_t op_bytes(const struct txn_op *op) {
    return OP_OVERHEAD_BYTES + (op->path ? op->path->len : 0) + (op->data ? op->data->len : 0) +
           (op->acl ? op->acl->len : 0);
}

static struct txn *multi_refused(struct prep *p, enum zk_err err, uint32_t index, uint32_t count) {
    pending_rollback(p->r->pending);
    struct txn *t = prep_error(err);
    t->multi = true;
    t->error_index = index;
    t->op_count = count;
    return t;
}

void prep_multi_types(struct slice body, int32_t **ret_types, uint32_t *ret_count) {
    *ret_types = NULL;
    *ret_count = 0;
    uint32_t count;
    if (!multi_count(body, &count) || count == 0)
        return;
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    int32_t *types = mem_alloc(count * sizeof *types);
    for (uint32_t i = 0; i < count; i++) {
        int32_t type = OP_ERROR;
        union prep_record rec;
        bool done;
        (void)multi_next(&c, &type, &rec, &done);
        types[i] = result_type(type);
    }
    *ret_types = types;
    *ret_count = count;
}

struct txn *prep_multi(struct prep *p, struct slice body) {
    uint32_t count;
    if (!multi_count(body, &count))
        return prep_error(ZK_MARSHALLINGERROR);
    struct txn *t = txn_new(TXN_OPS, count);
    t->multi = true;
    struct cursor c;
    cursor_init(&c, body.p, (size_t)body.len);
    enum zk_err err = ZK_OK;
    uint32_t failed = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; err == ZK_OK && i < count; i++) {
        int32_t type = OP_ERROR;
        union prep_record rec;
        bool done;
        (void)multi_next(&c, &type, &rec, &done);
        err = prep_op(p, type, &rec, &t->ops[i]);
        bytes += op_bytes(&t->ops[i]);
        /* What could not be logged is refused before all of it stands in memory. */
        if (err == ZK_OK && bytes > TXN_BYTES_MAX)
            err = ZK_MARSHALLINGERROR;
        failed = i;
    }
    if (err == ZK_OK)
        return t;
    txn_free(t);
    return multi_refused(p, err, failed, count);
}
