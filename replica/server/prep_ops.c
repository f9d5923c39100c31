#include "replica/server/prep.h"

#include "common/ephemeral_type.h"
#include "common/mutant.h"
#include "common/path.h"
#include "replica/server/limits.h"

#include <stdio.h>
#include <string.h>

bool prep_decode(struct cursor *c, int32_t opcode, union prep_record *ret_record) {
    switch (opcode) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
        return proto_decode(c, PROTO_create_request, &ret_record->create);
    case OP_CREATE_TTL:
        return proto_decode(c, PROTO_create_ttl_request, &ret_record->create_ttl);
    case OP_DELETE:
        return proto_decode(c, PROTO_delete_request, &ret_record->delete);
    case OP_SET_DATA:
        return proto_decode(c, PROTO_set_data_request, &ret_record->set_data);
    case OP_SET_ACL:
        return proto_decode(c, PROTO_set_acl_request, &ret_record->set_acl);
    case OP_CHECK:
        return proto_decode(c, PROTO_check_version_request, &ret_record->check);
    default:
        return false;
    }
}

static enum zk_err prep_allowed(const struct prep *p, const struct blob *acl, int32_t perm) {
    return auth_allows(p->ids, p->auth_count, &p->r->auth, acl, perm) ? ZK_OK : ZK_NOAUTH;
}

/* What ZooKeeper checks before it looks for the parent: a slash somewhere, no NUL. */
static bool parent_of(struct slice path, struct slice *ret_parent) {
    int32_t slash = -1;
    for (int32_t i = 0; i < path.len; i++) {
        if (path.p[i] == '\0')
            return false;
        if (path.p[i] == '/')
            slash = i;
    }
    *ret_parent = (struct slice){path.p, slash};
    return slash >= 0;
}

/* -1 as a version means "any", so the count skips it when it comes around (ZOOKEEPER-4743). */
static int32_t next_version(int32_t version) {
    int32_t next = (int32_t)((uint32_t)version + 1);
    return next == -1 ? 0 : next;
}

static bool version_fits(int32_t expected, int32_t version) {
    return expected == -1 || expected == version;
}

/* The final name: the parent's counter behind the given one. */
static struct blob *create_path(struct slice path, bool sequential, int32_t creates) {
    char suffix[16] = "";
    int n = sequential ? snprintf(suffix, sizeof suffix, "%010d", creates) : 0;
    struct buf b = BUF_INIT;
    buf_put(&b, path.p, (size_t)path.len);
    buf_put(&b, suffix, (size_t)n);
    struct blob *final = blob_new(b.data, b.len);
    buf_close(&b);
    return final;
}

static bool is_sequential(int32_t flags) {
    return flags == CREATE_PERSISTENT_SEQUENTIAL || flags == CREATE_EPHEMERAL_SEQUENTIAL ||
           flags == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL;
}

static bool has_ttl(int32_t flags) {
    return flags == CREATE_PERSISTENT_WITH_TTL || flags == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL;
}

/* What is checked before the path, as validateCreateRequest does. ttl_ms is -1 where the request
 * has none. Without a TTL's flag Apache takes a createTTL with one below 0, and fails to apply it.
 */
static enum zk_err check_flags(const struct prep *p, int32_t opcode, int32_t flags,
                               int64_t ttl_ms) {
    if (flags < CREATE_PERSISTENT || flags > CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL)
        return ZK_BADARGUMENTS;
    if (!has_ttl(flags))
        return opcode == OP_CREATE_TTL ? ZK_BADARGUMENTS : ZK_OK;
    if (!p->r->config.extended_types)
        return ZK_UNIMPLEMENTED;
    return ephemeral_ttl_valid(ttl_ms) ? ZK_OK : ZK_BADARGUMENTS;
}

/* The request's type decides between containers and others, the flag does not: createContainer
 * makes a container whatever its flags are, and create with a container's flag a persistent znode.
 */
static session_id_t owner_of(const struct prep *p, int32_t opcode, int32_t flags, int64_t ttl_ms) {
    if (opcode == OP_CREATE_CONTAINER)
        return EPHEMERAL_OWNER_CONTAINER;
    if (opcode == OP_CREATE_TTL)
        return ephemeral_ttl_owner(ttl_ms);
    bool ephemeral = flags == CREATE_EPHEMERAL || flags == CREATE_EPHEMERAL_SEQUENTIAL;
    return ephemeral ? p->session->id : 0;
}

/* The znode with its final path below an existing parent; op->owner is set. */
static enum zk_err create_under(struct prep *p, const struct proto_create_request *req,
                                struct slice parent_path, struct pending_state *parent,
                                struct txn_op *op) {
    bool ephemeral = ephemeral_type(op->owner) == EPHEMERAL_NORMAL;
    op->path = create_path(req->path, is_sequential(req->flags), parent->creates);
    struct slice path = blob_slice(op->path);
    if (path_invalid_reason(path, false))
        return ZK_BADARGUMENTS;
    struct pending_state state;
    pending_get(p->r->pending, path, &state);
    if (state.exists)
        return ZK_NODEEXISTS;
    if (ephemeral_type(parent->owner) == EPHEMERAL_NORMAL)
        return ZK_NOCHILDRENFOREPHEMERALS;
    if (ephemeral && pending_owner_bytes(p->r->pending, p->session->id) + pending_owner_cost(path) >
                         CLOSE_SESSION_BYTES_MAX)
        return ZK_QUOTAEXCEEDED;

    op->type = TXN_OP_CREATE;
    op->data = blob_from_slice(req->data);
    op->parent_creates = (int32_t)((uint32_t)parent->creates + 1);
    parent->creates = op->parent_creates;
    parent->children++;
    parent->zxid = p->zxid;
    pending_put(p->r->pending, parent_path, parent);
    state =
        (struct pending_state){.exists = true, .acl = op->acl, .owner = op->owner, .zxid = p->zxid};
    pending_put(p->r->pending, path, &state);
    return ZK_OK;
}

static enum zk_err prep_create(struct prep *p, int32_t opcode,
                               const struct proto_create_request *req, int64_t ttl_ms,
                               struct txn_op *op) {
    enum zk_err err = check_flags(p, opcode, req->flags, ttl_ms);
    if (err != ZK_OK)
        return err;
    if (req->path.len < 0)
        return ZK_MARSHALLINGERROR;
    struct slice parent_path;
    if (!parent_of(req->path, &parent_path))
        return ZK_BADARGUMENTS;
    op->owner = owner_of(p, opcode, req->flags, ttl_ms);
    err = auth_fix_acl(p->ids, p->auth_count, &req->acl, &op->acl);
    if (err != ZK_OK)
        return err;
    struct pending_state parent;
    pending_get(p->r->pending, parent_path, &parent);
    if (!parent.exists)
        return ZK_NONODE;
    err = prep_allowed(p, parent.acl, PERM_CREATE);
    if (err != ZK_OK)
        return err;
    return create_under(p, req, parent_path, &parent, op);
}

static enum zk_err prep_create_ttl(struct prep *p, const struct proto_create_ttl_request *req,
                                   struct txn_op *op) {
    struct proto_create_request create = {req->path, req->data, req->acl, req->flags};
    return prep_create(p, OP_CREATE_TTL, &create, req->ttl, op);
}

/* The znodes that make the service itself. */
static bool path_is_special(struct slice path) {
    return slice_equal_str(path, "/") || slice_equal_str(path, "/zookeeper") ||
           slice_equal_str(path, "/zookeeper/quota") || slice_equal_str(path, "/zookeeper/config");
}

static enum zk_err prep_delete(struct prep *p, const struct proto_delete_request *req,
                               struct txn_op *op) {
    if (req->path.len < 0)
        return ZK_MARSHALLINGERROR;
    struct slice parent_path;
    if (!parent_of(req->path, &parent_path) || path_is_special(req->path))
        return ZK_BADARGUMENTS;
    struct pending_state parent, state;
    pending_get(p->r->pending, parent_path, &parent);
    if (!parent.exists)
        return ZK_NONODE;
    enum zk_err err = prep_allowed(p, parent.acl, PERM_DELETE);
    if (err != ZK_OK)
        return err;
    pending_get(p->r->pending, req->path, &state);
    if (!state.exists)
        return ZK_NONODE;
    if (!version_fits(req->version, state.version))
        return ZK_BADVERSION;
    if (state.children > 0)
        return ZK_NOTEMPTY;
    op->type = TXN_OP_DELETE;
    op->path = blob_from_slice(req->path);
    pending_delete(p->r->pending, req->path, p->zxid);
    return ZK_OK;
}

bool prep_delete_extended(struct replica *r, struct slice path) {
    struct pending_state state;
    pending_get(r->pending, path, &state);
    if ((state.zxid != 0 || state.children > 0) && !MUTANT(CONTAINER_IN_FLIGHT))
        return false;
    struct txn *t = txn_new(TXN_OPS, 1);
    t->ops[0].type = TXN_OP_DELETE;
    t->ops[0].path = blob_from_slice(path);
    pending_begin(r->pending);
    pending_delete(r->pending, path, zab_next_zxid(r->zab));
    core_propose(r, t);
    return true;
}

/* A valid path whose znode exists: setData, setACL and check begin so. */
static enum zk_err prep_find(const struct prep *p, struct slice path,
                             struct pending_state *ret_state) {
    if (path_invalid_reason(path, false))
        return ZK_BADARGUMENTS;
    pending_get(p->r->pending, path, ret_state);
    return ret_state->exists ? ZK_OK : ZK_NONODE;
}

static enum zk_err prep_set_data(struct prep *p, const struct proto_set_data_request *req,
                                 struct txn_op *op) {
    struct pending_state state;
    enum zk_err err = prep_find(p, req->path, &state);
    if (err == ZK_OK)
        err = prep_allowed(p, state.acl, PERM_WRITE);
    if (err != ZK_OK)
        return err;
    if (!version_fits(req->version, state.version) && !MUTANT(VERSION_IGNORED))
        return ZK_BADVERSION;
    op->type = TXN_OP_SET_DATA;
    op->path = blob_from_slice(req->path);
    op->data = blob_from_slice(req->data);
    op->version = next_version(state.version);
    state.version = op->version;
    state.zxid = p->zxid;
    pending_put(p->r->pending, req->path, &state);
    return ZK_OK;
}

static enum zk_err prep_set_acl(struct prep *p, const struct proto_set_acl_request *req,
                                struct txn_op *op) {
    if (path_invalid_reason(req->path, false))
        return ZK_BADARGUMENTS;
    enum zk_err err = auth_fix_acl(p->ids, p->auth_count, &req->acl, &op->acl);
    if (err != ZK_OK)
        return err;
    struct pending_state state;
    err = prep_find(p, req->path, &state);
    if (err == ZK_OK)
        err = prep_allowed(p, state.acl, PERM_ADMIN);
    if (err != ZK_OK)
        return err;
    if (!version_fits(req->version, state.aversion))
        return ZK_BADVERSION;
    op->type = TXN_OP_SET_ACL;
    op->path = blob_from_slice(req->path);
    op->version = next_version(state.aversion);
    state.aversion = op->version;
    state.acl = op->acl;
    state.zxid = p->zxid;
    pending_put(p->r->pending, req->path, &state);
    return ZK_OK;
}

static enum zk_err prep_check(struct prep *p, const struct proto_check_version_request *req,
                              struct txn_op *op) {
    struct pending_state state;
    enum zk_err err = prep_find(p, req->path, &state);
    if (err == ZK_OK)
        err = prep_allowed(p, state.acl, PERM_READ);
    if (err != ZK_OK)
        return err;
    if (!version_fits(req->version, state.version))
        return ZK_BADVERSION;
    op->type = TXN_OP_CHECK;
    op->path = blob_from_slice(req->path);
    return ZK_OK;
}

enum zk_err prep_op(struct prep *p, int32_t opcode, const union prep_record *rec,
                    struct txn_op *op) {
    switch (opcode) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
        return prep_create(p, opcode, &rec->create, -1, op);
    case OP_CREATE_TTL:
        return prep_create_ttl(p, &rec->create_ttl, op);
    case OP_DELETE:
        return prep_delete(p, &rec->delete, op);
    case OP_SET_DATA:
        return prep_set_data(p, &rec->set_data, op);
    case OP_SET_ACL:
        return prep_set_acl(p, &rec->set_acl, op);
    case OP_CHECK:
        return prep_check(p, &rec->check, op);
    default:
        return ZK_UNIMPLEMENTED;
    }
}
