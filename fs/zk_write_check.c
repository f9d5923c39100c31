#include "fs/zk_write_check.h"

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"

static struct wc_result verdict(enum wc_verdict v) { return (struct wc_result){.verdict = v}; }

static struct wc_result done_by(zxid_t zxid) {
    return (struct wc_result){.verdict = WC_DONE, .zxid = zxid};
}

int32_t write_check_next_version(int32_t v) {
    int32_t next = (int32_t)((uint32_t)v + 1);
    return next == -1 ? 0 : next;
}

/* The field also says what is a container or has a TTL (PROTOCOL 1.6), but Apache's servers show
 * 0 for these. */
static bool is_made_so(const struct wc_op *op, session_id_t session, session_id_t owner) {
    switch (op->mode) {
    case CREATE_EPHEMERAL:
    case CREATE_EPHEMERAL_SEQUENTIAL:
        return owner == session;
    case CREATE_CONTAINER:
        return owner == EPHEMERAL_OWNER_CONTAINER || owner == 0;
    case CREATE_PERSISTENT_WITH_TTL:
    case CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL:
        return owner == ephemeral_ttl_owner(op->ttl_ms) || owner == 0;
    default:
        return owner == 0;
    }
}

static struct wc_result check_create(const struct wc_op *op, zxid_t before, session_id_t session,
                                     const struct wc_look *look) {
    const struct zstat *st = &look->stat;
    if (!look->exists)
        return verdict(WC_MAYBE_AGAIN);
    if (st->czxid <= before || !is_made_so(op, session, st->ephemeral_owner))
        return verdict(WC_AGAIN);
    bool is_unchanged = st->mzxid == st->czxid;
    bool is_same = look->data_is_known && slice_equal(look->data, op->data);
    if (look->data_is_known && !is_same)
        return verdict(is_unchanged ? WC_AGAIN : WC_UNKNOWN);
    bool owner_tells = st->ephemeral_owner == session && session != 0;
    if (owner_tells || (is_same && !op->exclusive))
        return done_by(st->czxid);
    return verdict(WC_UNKNOWN);
}

static struct wc_result check_set(const struct wc_op *op, zxid_t before,
                                  const struct wc_look *look) {
    const struct zstat *st = &look->stat;
    if (!look->exists)
        return verdict(WC_MAYBE_AGAIN);
    if (st->mzxid <= before)
        return verdict(WC_AGAIN);
    bool is_same = look->data_is_known && slice_equal(look->data, op->data);
    if (op->version == -1)
        return is_same ? done_by(st->mzxid) : verdict(WC_MAYBE_AGAIN);
    if (st->version == op->version)
        return verdict(WC_AGAIN);
    if (st->version != write_check_next_version(op->version))
        return verdict(WC_UNKNOWN);
    if (is_same && !op->exclusive)
        return done_by(st->mzxid);
    return verdict(look->data_is_known && !is_same ? WC_AGAIN : WC_UNKNOWN);
}

static struct wc_result check_set_acl(const struct wc_op *op, const struct wc_look *look) {
    const struct zstat *st = &look->stat;
    if (!look->exists)
        return verdict(WC_MAYBE_AGAIN);
    bool is_same = op->acl.count == look->acl.count && slice_equal(op->acl.items, look->acl.items);
    if (op->version == -1)
        return is_same ? done_by(0) : verdict(WC_MAYBE_AGAIN);
    if (st->aversion == op->version)
        return verdict(WC_AGAIN);
    if (is_same && st->aversion == write_check_next_version(op->version))
        return done_by(0);
    return verdict(WC_UNKNOWN); /* The server may have rewritten our ACL (auth becomes digest). */
}

static struct wc_result check_delete(zxid_t before, const struct wc_look *look) {
    if (!look->exists || look->stat.czxid > before)
        return done_by(0);
    return verdict(WC_AGAIN);
}

struct wc_result write_check(const struct wc_op *op, zxid_t before, session_id_t session,
                             const struct wc_look *look) {
    switch (op->type) {
    case WC_CREATE:
        return check_create(op, before, session, look);
    case WC_SET:
        return check_set(op, before, look);
    case WC_DELETE:
        return check_delete(before, look);
    case WC_SET_ACL:
        return check_set_acl(op, look);
    case WC_CHECK:
        return verdict(WC_NOTHING);
    }
    return verdict(WC_UNKNOWN);
}

struct wc_result write_check_multi(const struct wc_result *results, size_t count) {
    size_t seen[WC_UNKNOWN + 1] = {0};
    zxid_t zxid = 0;
    bool is_one_txn = true;
    for (size_t i = 0; i < count; i++) {
        seen[results[i].verdict]++;
        if (results[i].zxid == 0)
            continue;
        if (zxid != 0 && zxid != results[i].zxid)
            is_one_txn = false;
        zxid = results[i].zxid;
    }
    if (seen[WC_AGAIN] > 0)
        return verdict(WC_AGAIN);
    if (seen[WC_UNKNOWN] > 0 || !is_one_txn)
        return verdict(WC_UNKNOWN);
    if (seen[WC_DONE] > 0 && seen[WC_MAYBE_AGAIN] > 0)
        return verdict(WC_UNKNOWN);
    return seen[WC_DONE] > 0 ? done_by(zxid) : verdict(WC_AGAIN);
}

static bool decode_op(struct cursor *in, int32_t opcode, bool exclusive, struct wc_op *ret) {
    *ret = (struct wc_op){.data = SLICE_NULL};
    switch (opcode) {
    case OP_CREATE2:
    case OP_CREATE_CONTAINER: {
        struct proto_create_request r;
        if (!proto_decode(in, PROTO_create_request, &r))
            return false;
        *ret = (struct wc_op){.type = WC_CREATE,
                              .path = r.path,
                              .data = r.data,
                              .mode = (enum create_mode)r.flags,
                              .exclusive = exclusive};
        return true;
    }
    case OP_CREATE_TTL: {
        struct proto_create_ttl_request r;
        if (!proto_decode(in, PROTO_create_ttl_request, &r))
            return false;
        *ret = (struct wc_op){.type = WC_CREATE,
                              .path = r.path,
                              .data = r.data,
                              .mode = (enum create_mode)r.flags,
                              .ttl_ms = r.ttl,
                              .exclusive = exclusive};
        return true;
    }
    case OP_SET_DATA: {
        struct proto_set_data_request r;
        if (!proto_decode(in, PROTO_set_data_request, &r))
            return false;
        *ret = (struct wc_op){.type = WC_SET,
                              .path = r.path,
                              .data = r.data,
                              .version = r.version,
                              .exclusive = exclusive};
        return true;
    }
    case OP_SET_ACL: {
        struct proto_set_acl_request r;
        if (!proto_decode(in, PROTO_set_acl_request, &r))
            return false;
        *ret =
            (struct wc_op){.type = WC_SET_ACL, .path = r.path, .acl = r.acl, .version = r.version};
        return true;
    }
    default: { /* OP_DELETE and OP_CHECK have the same fields */
        struct proto_delete_request r;
        if (!proto_decode(in, PROTO_delete_request, &r))
            return false;
        *ret = (struct wc_op){.type = opcode == OP_CHECK ? WC_CHECK : WC_DELETE,
                              .path = r.path,
                              .version = r.version};
        return true;
    }
    }
}

/* Nothing else has to be kept for the rare case that a write is lost. */
size_t wc_decode(int32_t opcode, struct slice request, bool exclusive, struct wc_op **ret_ops) {
    struct wc_op *ops = NULL;
    size_t count = 0;
    struct cursor in;
    cursor_init(&in, request.p, (size_t)request.len);
    bool is_multi = opcode == OP_MULTI;
    do {
        if (is_multi) {
            struct proto_multi_header h;
            CHECK(proto_decode(&in, PROTO_multi_header, &h));
            if (h.done)
                break;
            opcode = h.type;
        }
        ops = mem_realloc(ops, (count + 1) * sizeof *ops);
        CHECK(decode_op(&in, opcode, exclusive, &ops[count++]));
    } while (is_multi);
    *ret_ops = ops;
    return count;
}
