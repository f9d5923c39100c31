#include "replica/proto/txn_codec.h"

#include "common/check.h"
#include "common/mem.h"
#include "log.pb-c.h"
#include "replica/proto/arena.h"

#include <stdalign.h>

/* Enough for the messages of a transaction of a few operations with paths and ACLs of the usual
 * lengths; a longer one goes on on the heap. */
#define SCRATCH_BYTES 4096

/* What unpacking may take at most: data once, and for each operation (7 bytes and more in a record
 * that is right) its message, its place in the list and protobuf-c's own notes. */
#define UNPACK_BUDGET(len) (((size_t)64 << 10) + 32 * (size_t)(len))

static ProtobufCBinaryData bytes_of(const struct blob *b) {
    return (ProtobufCBinaryData){.len = b->len, .data = (uint8_t *)(uintptr_t)b->bytes};
}

static void op_to_message(const struct txn_op *op, Zkfs__Log__Op *m) {
    zkfs__log__op__init(m);
    m->type = (Zkfs__Log__OpType)op->type;
    m->path = bytes_of(op->path);
    bool has_data = op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_DATA;
    if (has_data && op->data) {
        m->data_present_case = ZKFS__LOG__OP__DATA_PRESENT_DATA;
        m->data = bytes_of(op->data);
    }
    if (op->type == TXN_OP_CREATE || op->type == TXN_OP_SET_ACL) {
        m->acl_present_case = ZKFS__LOG__OP__ACL_PRESENT_ACL;
        m->acl = bytes_of(op->acl);
    }
    if (op->type == TXN_OP_SET_DATA || op->type == TXN_OP_SET_ACL)
        m->version = op->version;
    if (op->type == TXN_OP_CREATE) {
        m->owner = op->owner;
        m->parent_creates = op->parent_creates;
    }
}

static void ops_to_message(const struct txn *t, struct arena *a, Zkfs__Log__Txn *m) {
    m->n_ops = t->op_count;
    m->ops = arena_take(a, t->op_count * sizeof *m->ops);
    Zkfs__Log__Op *ops = arena_take(a, t->op_count * sizeof *ops);
    for (uint32_t i = 0; i < t->op_count; i++) {
        op_to_message(&t->ops[i], &ops[i]);
        m->ops[i] = &ops[i];
    }
}

static void txn_to_message(const struct txn *t, struct arena *a, Zkfs__Log__Txn *m) {
    zkfs__log__txn__init(m);
    m->type = (Zkfs__Log__TxnType)t->type;
    m->session_id = t->session_id;
    m->cxid = t->cxid;
    m->time_ms = t->time_ms;
    m->multi = t->multi;
    if (t->type == TXN_CREATE_SESSION) {
        m->timeout_ms = t->timeout_ms;
        m->retries = t->retries;
    }
    if (t->type == TXN_ERROR) {
        m->err = t->err;
        m->error_index = t->error_index;
        m->op_count = t->op_count;
    }
    if (t->type == TXN_ENSEMBLE) {
        m->secret_present_case = ZKFS__LOG__TXN__SECRET_PRESENT_SECRET;
        m->secret = bytes_of(t->secret);
    }
    if (t->ops)
        ops_to_message(t, a, m);
}

struct blob *txn_encode(const struct txn *t) {
    CHECK(!txn_invalid_reason(t));
    alignas(max_align_t) uint8_t scratch[SCRATCH_BYTES];
    struct arena a;
    arena_init(&a, scratch, sizeof scratch, SIZE_MAX);
    Zkfs__Log__Txn m;
    txn_to_message(t, &a, &m);
    size_t size = zkfs__log__txn__get_packed_size(&m);
    CHECK(size <= INT32_MAX);
    struct blob *b = mem_alloc(sizeof *b + size);
    *b = (struct blob){.refs = 1, .len = (uint32_t)size};
    CHECK(zkfs__log__txn__pack(&m, b->bytes) == size);
    arena_close(&a);
    return b;
}

static struct blob *blob_of(ProtobufCBinaryData d) { return blob_new(d.data, d.len); }

/* False when a field is there that this kind of operation does not have: every transaction has one
 * form, and nothing that was meant is passed over. */
static bool op_fields_fit(const Zkfs__Log__Op *m) {
    bool create = m->type == ZKFS__LOG__OP_TYPE__OP_TYPE_CREATE;
    bool set_data = m->type == ZKFS__LOG__OP_TYPE__OP_TYPE_SET_DATA;
    bool set_acl = m->type == ZKFS__LOG__OP_TYPE__OP_TYPE_SET_ACL;
    if (m->base.n_unknown_fields > 0)
        return false;
    if (m->data_present_case && !create && !set_data)
        return false;
    if (m->acl_present_case && !create && !set_acl)
        return false;
    if (m->version && !set_data && !set_acl)
        return false;
    return create || (m->owner == 0 && m->parent_creates == 0);
}

static bool op_from_message(const Zkfs__Log__Op *m, struct txn_op *op) {
    if (!op_fields_fit(m))
        return false;
    *op = (struct txn_op){
        .type = (enum txn_op_type)m->type,
        .path = blob_of(m->path),
        .data = m->data_present_case ? blob_of(m->data) : NULL,
        .acl = m->acl_present_case ? blob_of(m->acl) : NULL,
        .version = m->version,
        .owner = m->owner,
        .parent_creates = m->parent_creates,
    };
    return true;
}

static bool txn_fields_fit(const Zkfs__Log__Txn *m) {
    if (m->base.n_unknown_fields > 0)
        return false;
    bool session = m->type == ZKFS__LOG__TXN_TYPE__TXN_TYPE_CREATE_SESSION;
    if (!session && (m->timeout_ms != 0 || m->retries))
        return false;
    if (m->secret_present_case && m->type != ZKFS__LOG__TXN_TYPE__TXN_TYPE_ENSEMBLE)
        return false;
    if (m->type == ZKFS__LOG__TXN_TYPE__TXN_TYPE_ERROR)
        return m->n_ops == 0;
    return m->err == 0 && m->error_index == 0 && m->op_count == 0;
}

static struct txn *txn_from_message(const Zkfs__Log__Txn *m, zxid_t zxid) {
    if (!txn_fields_fit(m) || m->n_ops > TXN_OPS_MAX)
        return NULL;
    bool error = m->type == ZKFS__LOG__TXN_TYPE__TXN_TYPE_ERROR;
    struct txn *t = txn_new((enum txn_type)m->type, error ? m->op_count : (uint32_t)m->n_ops);
    t->zxid = zxid;
    t->session_id = m->session_id;
    t->cxid = m->cxid;
    t->time_ms = m->time_ms;
    t->multi = m->multi;
    t->timeout_ms = m->timeout_ms;
    t->retries = m->retries;
    t->err = m->err;
    t->error_index = m->error_index;
    t->secret = m->secret_present_case ? blob_of(m->secret) : NULL;
    bool fine = true;
    for (size_t i = 0; i < m->n_ops && fine; i++)
        fine = op_from_message(m->ops[i], &t->ops[i]);
    if (!fine || txn_invalid_reason(t)) {
        txn_free(t);
        return NULL;
    }
    return t;
}

static void *unpack_alloc(void *arena, size_t n) { return arena_take(arena, n); }
static void unpack_free(void *arena, void *p) { (void)arena, (void)p; }

struct txn *txn_decode(struct slice bytes, zxid_t zxid) {
    if (bytes.len <= 0 || bytes.len > (int32_t)TXN_ENCODED_MAX)
        return NULL;
    alignas(max_align_t) uint8_t scratch[SCRATCH_BYTES];
    struct arena a;
    arena_init(&a, scratch, sizeof scratch, UNPACK_BUDGET(bytes.len));
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &a};
    Zkfs__Log__Txn *m = zkfs__log__txn__unpack(&allocator, (size_t)bytes.len, bytes.p);
    struct txn *t = m ? txn_from_message(m, zxid) : NULL;
    arena_close(&a);
    return t;
}
