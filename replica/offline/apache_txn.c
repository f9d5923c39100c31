#include "replica/offline/apache_txn.h"

#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"

#define DIGEST_BYTES 12 /* version, digest */
#define DIGEST_VERSION 2
#define MULTI_ITEM_BYTES 8 /* the least: a type and a length */

/* One transaction on its way. */
struct decoding {
    struct apache_txn txn;
    uint32_t cap;
    const char *why;
};

static bool refuse(struct decoding *d, const char *why) {
    if (!d->why)
        d->why = why;
    return false;
}

static struct apache_op *add_op(struct decoding *d, enum apache_op_type type) {
    if (d->txn.op_count == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 1;
        d->txn.ops = mem_realloc(d->txn.ops, d->cap * sizeof *d->txn.ops);
    }
    struct apache_op *op = &d->txn.ops[d->txn.op_count++];
    *op = (struct apache_op){.type = type, .data = SLICE_NULL, .acl = {.count = -1}};
    return op;
}

static bool path_fine(struct decoding *d, const struct apache_op *op) {
    bool makes = op->type == APACHE_OP_CREATE || op->type == APACHE_OP_DELETE;
    if (path_invalid_reason(op->path, false) || (makes && op->path.len == 1))
        return refuse(d, "a path that is none");
    return true;
}

/* CreateTxn, CreateContainerTxn and CreateTTLTxn begin alike; in the oldest form of the first
 * (CreateTxnV0) the parent's count is missing. */
static bool read_create(struct decoding *d, int32_t type, struct cursor *c) {
    struct apache_op *op = add_op(d, APACHE_OP_CREATE);
    op->path = jute_read_slice(c);
    op->data = jute_read_slice(c);
    op->acl = jute_read_acls(c);
    bool ephemeral = type == OP_CREATE || type == OP_CREATE2 ? jute_read_bool(c) : false;
    op->owner = ephemeral ? d->txn.session_id : 0;
    bool oldest = type == OP_CREATE && !c->bad && cursor_left(c) == 0;
    op->version = oldest ? -1 : jute_read_int(c);
    if (type == OP_CREATE_CONTAINER)
        op->owner = EPHEMERAL_OWNER_CONTAINER;
    if (type == OP_CREATE_TTL)
        op->owner = ephemeral_ttl_owner(jute_read_long(c) & EPHEMERAL_TTL_MAX_MS);
    return c->bad ? refuse(d, "a creation that is cut off") : path_fine(d, op);
}

static bool read_delete(struct decoding *d, struct cursor *c) {
    struct apache_op *op = add_op(d, APACHE_OP_DELETE);
    op->path = jute_read_slice(c);
    return c->bad ? refuse(d, "a deletion that is cut off") : path_fine(d, op);
}

static bool read_set_data(struct decoding *d, struct cursor *c) {
    struct apache_op *op = add_op(d, APACHE_OP_SET_DATA);
    op->path = jute_read_slice(c);
    op->data = jute_read_slice(c);
    op->version = jute_read_int(c);
    return c->bad ? refuse(d, "a setData that is cut off") : path_fine(d, op);
}

static bool read_set_acl(struct decoding *d, struct cursor *c) {
    struct apache_op *op = add_op(d, APACHE_OP_SET_ACL);
    op->path = jute_read_slice(c);
    op->acl = jute_read_acls(c);
    op->version = jute_read_int(c);
    return c->bad ? refuse(d, "a setACL that is cut off") : path_fine(d, op);
}

/* An operation by itself, or as a part of a multi. */
static bool read_op(struct decoding *d, int32_t type, struct cursor *c) {
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return read_create(d, type, c);
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        return read_delete(d, c);
    case OP_SET_DATA:
    case OP_RECONFIG: /* the configuration's znode gets its new text */
        return read_set_data(d, c);
    case OP_SET_ACL:
        return read_set_acl(d, c);
    case OP_CHECK:
        jute_read_slice(c);
        jute_read_int(c);
        return !c->bad || refuse(d, "a check that is cut off");
    case OP_ERROR:
        jute_read_int(c);
        return !c->bad || refuse(d, "an error that is cut off");
    default:
        return refuse(d, "a transaction of a type that is not known");
    }
}

/* A multi with an error in it changed nothing, whatever stands beside that. */
static bool read_multi(struct decoding *d, struct cursor *c) {
    int32_t count = jute_read_int(c);
    bool failed = false;
    if (c->bad || count < 0 || (size_t)count > cursor_left(c) / MULTI_ITEM_BYTES)
        return refuse(d, "a multi that is cut off");
    for (int32_t i = 0; i < count; i++) {
        int32_t type = jute_read_int(c);
        struct slice item = jute_read_slice(c);
        struct cursor part;
        cursor_init(&part, item.p, item.len > 0 ? (size_t)item.len : 0);
        if (c->bad)
            return refuse(d, "a multi that is cut off");
        failed |= type == OP_ERROR;
        if (!read_op(d, type, &part))
            return false;
        if (cursor_left(&part) > 0)
            return refuse(d, "a multi's operation with something behind it");
    }
    if (failed)
        d->txn.op_count = 0;
    return true;
}

static bool at_end(const struct cursor *c) {
    return !c->bad && (cursor_left(c) == 0 || cursor_left(c) == DIGEST_BYTES);
}

/* Since 3.6 the ephemerals that go are named; before (and with a setting) there is nothing. */
static bool read_close(struct decoding *d, struct cursor *c) {
    struct cursor named = *c;
    struct jvec paths = jute_read_strings(&named);
    d->txn.type = APACHE_TXN_CLOSE;
    if (at_end(c) && !at_end(&named))
        return true;
    *c = named;
    struct slice path;
    for (int32_t at = 0; !c->bad && jvec_next_string(&paths, &at, &path);) {
        struct apache_op *op = add_op(d, APACHE_OP_DELETE);
        op->path = path;
        if (!path_fine(d, op))
            return false;
    }
    return !c->bad || refuse(d, "the end of a session that is cut off");
}

static bool read_body(struct decoding *d, int32_t type, struct cursor *c) {
    switch (type) {
    case OP_CREATE_SESSION:
        d->txn.type = APACHE_TXN_SESSION;
        jute_read_int(c);
        return !c->bad || refuse(d, "the beginning of a session that is cut off");
    case OP_CLOSE_SESSION:
        return read_close(d, c);
    case OP_MULTI:
        return read_multi(d, c);
    default:
        return read_op(d, type, c);
    }
}

static void read_digest(struct decoding *d, struct cursor *c) {
    if (cursor_left(c) != DIGEST_BYTES)
        return;
    d->txn.has_digest = jute_read_int(c) == DIGEST_VERSION;
    d->txn.digest = jute_read_long(c);
}

const char *apache_txn_decode(struct slice bytes, struct apache_txn *ret_txn) {
    struct decoding d = {0};
    struct cursor c;
    cursor_init(&c, bytes.p, bytes.len > 0 ? (size_t)bytes.len : 0);
    d.txn.session_id = jute_read_long(&c);
    d.txn.cxid = jute_read_int(&c);
    d.txn.zxid = jute_read_long(&c);
    d.txn.time_ms = jute_read_long(&c);
    int32_t type = jute_read_int(&c);
    bool fine = !c.bad || refuse(&d, "a transaction without a header");
    if (fine && d.txn.zxid <= 0)
        fine = refuse(&d, "a transaction whose zxid is none");
    fine = fine && read_body(&d, type, &c);
    if (fine && !at_end(&c))
        fine = refuse(&d, "a transaction with something behind it");
    if (fine)
        read_digest(&d, &c);
    if (fine)
        *ret_txn = d.txn;
    else
        apache_txn_close(&d.txn);
    return d.why;
}

void apache_txn_close(struct apache_txn *t) {
    mem_free(t->ops);
    t->ops = NULL;
    t->op_count = 0;
}
