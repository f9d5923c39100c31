#include "tests/sim/check_model.h"

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/proto.h"
#include "common/zkerr.h"
#include "tests/sim/sim_client.h"

#include <stdio.h>
#include <string.h>

#define BUCKETS 256u

struct model {
    struct model_path *paths;
    uint32_t count, cap;
    uint32_t buckets[BUCKETS];
    uint64_t stamps;
    /* The versions that the transaction at hand has made, to take them back. */
    uint32_t *journal;
    size_t journal_count, journal_cap;
};

struct model *model_new(void) {
    struct model *m = mem_zalloc(sizeof *m);
    for (uint32_t i = 0; i < BUCKETS; i++)
        m->buckets[i] = MODEL_NO_PATH;
    uint32_t root = model_intern(m, slice_from_str("/"));
    struct model_path *p = model_path(m, root);
    p->versions = mem_zalloc(sizeof *p->versions);
    p->versions[0] = (struct model_version){.exists = true};
    p->count = p->cap = 1;
    return m;
}

void model_free(struct model *m) {
    if (!m)
        return;
    for (uint32_t i = 0; i < m->count; i++) {
        mem_free(m->paths[i].name);
        mem_free(m->paths[i].versions);
    }
    mem_free(m->paths);
    mem_free(m->journal);
    mem_free(m);
}

static uint32_t bucket_of(struct slice path) {
    uint32_t h = 2166136261u;
    for (int32_t i = 0; i < path.len; i++)
        h = (h ^ path.p[i]) * 16777619u;
    return h % BUCKETS;
}

uint32_t model_find(const struct model *m, struct slice path) {
    for (uint32_t i = m->buckets[bucket_of(path)]; i != MODEL_NO_PATH;
         i = m->paths[i].next_in_bucket)
        if (slice_equal_str(path, m->paths[i].name))
            return i;
    return MODEL_NO_PATH;
}

uint32_t model_intern(struct model *m, struct slice path) {
    uint32_t found = model_find(m, path);
    if (found != MODEL_NO_PATH)
        return found;
    struct slice up = path_parent(path);
    uint32_t parent = up.len > 0 ? model_intern(m, up) : MODEL_NO_PATH;
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->paths = mem_realloc(m->paths, m->cap * sizeof *m->paths);
    }
    uint32_t at = m->count++;
    uint32_t bucket = bucket_of(path);
    m->paths[at] = (struct model_path){.name = mem_strndup((const char *)path.p, (size_t)path.len),
                                       .parent = parent,
                                       .first_child = MODEL_NO_PATH,
                                       .next_sibling = MODEL_NO_PATH,
                                       .next_in_bucket = m->buckets[bucket]};
    m->buckets[bucket] = at;
    if (parent != MODEL_NO_PATH) {
        m->paths[at].next_sibling = m->paths[parent].first_child;
        m->paths[parent].first_child = at;
    }
    return at;
}

struct model_path *model_path(const struct model *m, uint32_t path) {
    CHECK(path < m->count);
    return &m->paths[path];
}

uint32_t model_path_count(const struct model *m) { return m->count; }

uint64_t model_stamp(struct model *m) { return ++m->stamps; }

static const struct model_version nothing;

static const struct model_version *latest(const struct model *m, uint32_t path) {
    const struct model_path *p = model_path(m, path);
    return p->count > 0 ? &p->versions[p->count - 1] : &nothing;
}

/* How many versions are not behind zxid. */
static size_t versions_until(const struct model_path *p, zxid_t zxid) {
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (p->versions[mid].at <= zxid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct model_version *model_at(const struct model *m, uint32_t path, zxid_t zxid) {
    if (path == MODEL_NO_PATH)
        return &nothing;
    const struct model_path *p = model_path(m, path);
    size_t n = versions_until(p, zxid);
    return n > 0 ? &p->versions[n - 1] : &nothing;
}

void model_stat(const struct model_version *v, struct zstat *ret_stat) {
    *ret_stat = (struct zstat){.czxid = v->czxid,
                               .mzxid = v->mzxid,
                               .ctime_ms = v->ctime_ms,
                               .mtime_ms = v->mtime_ms,
                               .version = v->version,
                               .cversion = 2 * v->creates - v->children,
                               .aversion = v->aversion,
                               .ephemeral_owner = ephemeral_is_extended(v->owner) ? 0 : v->owner,
                               .data_length = v->data.len > 0 ? v->data.len : 0,
                               .num_children = v->children,
                               .pzxid = v->pzxid};
}

uint32_t model_owned(const struct model *m, session_id_t owner, zxid_t zxid) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_version *v = model_at(m, i, zxid);
        count += v->exists && owner != 0 && v->owner == owner;
    }
    return count;
}

zxid_t model_change(const struct model *m, uint32_t path, enum check_watch_kind kind,
                    zxid_t since) {
    const struct model_path *p = model_path(m, path);
    for (size_t i = versions_until(p, since); i < p->count; i++) {
        const struct model_version *now = &p->versions[i];
        const struct model_version *was = i > 0 ? &p->versions[i - 1] : &nothing;
        bool changed = now->exists != was->exists;
        if (kind == WATCHED_ABSENT)
            changed = now->exists;
        else if (kind == WATCHED_DATA)
            changed = changed || now->mzxid != was->mzxid;
        else
            changed = changed || now->pzxid != was->pzxid;
        if (changed)
            return now->at;
    }
    return 0;
}

/* ---- changes ---- */

static struct model_version *push(struct model *m, uint32_t path, zxid_t zxid) {
    struct model_version v = *latest(m, path);
    struct model_path *p = model_path(m, path);
    if (p->count == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 4;
        p->versions = mem_realloc(p->versions, p->cap * sizeof *p->versions);
    }
    if (m->journal_count == m->journal_cap) {
        m->journal_cap = m->journal_cap ? 2 * m->journal_cap : 16;
        m->journal = mem_realloc(m->journal, m->journal_cap * sizeof *m->journal);
    }
    m->journal[m->journal_count++] = path;
    v.at = zxid;
    p->versions[p->count] = v;
    return &p->versions[p->count++];
}

static void take_back(struct model *m) {
    while (m->journal_count > 0)
        m->paths[m->journal[--m->journal_count]].count--;
}

static void note(struct model *m, struct check_result *r, uint32_t path) {
    *r = (struct check_result){path, m->paths[path].count - 1};
}

static void child_came_or_went(struct model *m, uint32_t parent, int32_t by, zxid_t zxid) {
    struct model_version *v = push(m, parent, zxid);
    v->children += by;
    if (by > 0)
        v->creates++;
    v->pzxid = zxid;
}

static bool is_sequential(int32_t flags) {
    return flags == CREATE_PERSISTENT_SEQUENTIAL || flags == CREATE_EPHEMERAL_SEQUENTIAL ||
           flags == CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL;
}

static int32_t do_create(struct model *m, const struct proto_create_request *req,
                         session_id_t owner, const struct model_change_of *by,
                         struct check_result *r) {
    uint32_t parent = model_intern(m, path_parent(req->path));
    const struct model_version *up = latest(m, parent);
    if (!up->exists)
        return ZK_NONODE;
    char name[256];
    if (is_sequential(req->flags))
        snprintf(name, sizeof name, "%.*s%010d", req->path.len, (const char *)req->path.p,
                 up->creates);
    else
        snprintf(name, sizeof name, "%.*s", req->path.len, (const char *)req->path.p);
    bool up_is_ephemeral = ephemeral_type(up->owner) == EPHEMERAL_NORMAL;
    uint32_t path = model_intern(m, slice_from_str(name));
    if (latest(m, path)->exists)
        return ZK_NODEEXISTS;
    if (up_is_ephemeral)
        return ZK_NOCHILDRENFOREPHEMERALS;
    child_came_or_went(m, parent, 1, by->zxid);
    *push(m, path, by->zxid) = (struct model_version){.at = by->zxid,
                                                      .exists = true,
                                                      .data = req->data,
                                                      .czxid = by->zxid,
                                                      .mzxid = by->zxid,
                                                      .pzxid = by->zxid,
                                                      .ctime_ms = by->time_ms,
                                                      .mtime_ms = by->time_ms,
                                                      .owner = owner};
    note(m, r, path);
    return ZK_OK;
}

static void remove_path(struct model *m, uint32_t path, zxid_t zxid) {
    child_came_or_went(m, m->paths[path].parent, -1, zxid);
    *push(m, path, zxid) = (struct model_version){.at = zxid};
}

static int32_t do_delete(struct model *m, const struct proto_delete_request *req,
                         const struct model_change_of *by, struct check_result *r) {
    uint32_t path = model_intern(m, req->path);
    const struct model_version *v = latest(m, path);
    if (!v->exists)
        return ZK_NONODE;
    if (req->version != -1 && req->version != v->version)
        return ZK_BADVERSION;
    if (v->children > 0)
        return ZK_NOTEMPTY;
    remove_path(m, path, by->zxid);
    note(m, r, path);
    return ZK_OK;
}

static int32_t find_at_version(struct model *m, struct slice name, int32_t version,
                               uint32_t *ret_path) {
    *ret_path = model_intern(m, name);
    const struct model_version *v = latest(m, *ret_path);
    if (!v->exists)
        return ZK_NONODE;
    return version != -1 && version != v->version ? ZK_BADVERSION : ZK_OK;
}

static int32_t do_set(struct model *m, const struct proto_set_data_request *req,
                      const struct model_change_of *by, struct check_result *r) {
    uint32_t path;
    int32_t err = find_at_version(m, req->path, req->version, &path);
    if (err != ZK_OK)
        return err;
    struct model_version *v = push(m, path, by->zxid);
    v->data = req->data;
    v->version++;
    v->mzxid = by->zxid;
    v->mtime_ms = by->time_ms;
    note(m, r, path);
    return ZK_OK;
}

static int32_t do_set_acl(struct model *m, const struct proto_set_acl_request *req,
                          const struct model_change_of *by, struct check_result *r) {
    uint32_t path = model_intern(m, req->path);
    const struct model_version *v = latest(m, path);
    if (!v->exists)
        return ZK_NONODE;
    if (req->version != -1 && req->version != v->aversion)
        return ZK_BADVERSION;
    push(m, path, by->zxid)->aversion++;
    note(m, r, path);
    return ZK_OK;
}

static int32_t do_check(struct model *m, const struct proto_check_version_request *req,
                        struct check_result *r) {
    uint32_t path;
    int32_t err = find_at_version(m, req->path, req->version, &path);
    if (err == ZK_OK)
        *r = (struct check_result){path, 0};
    return err;
}

/* The opcode tells a container, in a multi the flag does. */
static int32_t do_create_record(struct model *m, int32_t opcode, bool multi, struct cursor *in,
                                const struct model_change_of *by, struct check_result *r) {
    struct proto_create_request req;
    CHECK(proto_decode(in, PROTO_create_request, &req));
    bool container = multi ? req.flags == CREATE_CONTAINER : opcode == OP_CREATE_CONTAINER;
    bool ephemeral = req.flags == CREATE_EPHEMERAL || req.flags == CREATE_EPHEMERAL_SEQUENTIAL;
    session_id_t owner = container ? EPHEMERAL_OWNER_CONTAINER : ephemeral ? by->session : 0;
    return do_create(m, &req, owner, by, r);
}

static int32_t do_create_ttl(struct model *m, struct cursor *in, const struct model_change_of *by,
                             struct check_result *r) {
    struct proto_create_ttl_request req;
    CHECK(proto_decode(in, PROTO_create_ttl_request, &req));
    struct proto_create_request create = {req.path, req.data, req.acl, req.flags};
    return do_create(m, &create, ephemeral_ttl_owner(req.ttl), by, r);
}

/* Decodes one operation and does it. */
static int32_t do_one(struct model *m, int32_t opcode, bool multi, struct cursor *in,
                      const struct model_change_of *by, struct check_result *r) {
    struct proto_delete_request delete;
    struct proto_set_data_request set;
    struct proto_set_acl_request acl;
    struct proto_check_version_request check;
    switch (opcode) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
        return do_create_record(m, opcode, multi, in, by, r);
    case OP_CREATE_TTL:
        return do_create_ttl(m, in, by, r);
    case OP_DELETE:
        CHECK(proto_decode(in, PROTO_delete_request, &delete));
        return do_delete(m, &delete, by, r);
    case OP_SET_DATA:
        CHECK(proto_decode(in, PROTO_set_data_request, &set));
        return do_set(m, &set, by, r);
    case OP_SET_ACL:
        CHECK(proto_decode(in, PROTO_set_acl_request, &acl));
        return do_set_acl(m, &acl, by, r);
    default:
        CHECK(opcode == OP_CHECK);
        CHECK(proto_decode(in, PROTO_check_version_request, &check));
        return do_check(m, &check, r);
    }
}

int32_t model_do(struct model *m, struct sim_op *op, const struct model_change_of *by,
                 uint32_t *ret_failed) {
    struct cursor in;
    cursor_init(&in, op->record.data, op->record.len);
    m->journal_count = 0;
    *ret_failed = 0;
    struct check_result results[16];
    uint32_t count = 0;
    int32_t err = ZK_OK;
    if (op->opcode != OP_MULTI) {
        err = do_one(m, op->opcode, false, &in, by, &results[count++]);
    } else {
        struct proto_multi_header h;
        while (err == ZK_OK && proto_decode(&in, PROTO_multi_header, &h) && !h.done) {
            *ret_failed = count;
            err = do_one(m, h.type, true, &in, by, &results[count++]);
            CHECK(count < 16);
        }
    }
    if (err != ZK_OK) {
        take_back(m);
        return err;
    }
    op->results = mem_dup(results, (count + 1) * sizeof results[0]);
    op->result_count = count;
    return ZK_OK;
}

bool model_close_session(struct model *m, const struct txn *t) {
    uint32_t count = 0;
    m->journal_count = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_version *v = latest(m, i);
        if (!v->exists || v->owner != t->session_id)
            continue;
        bool named = false;
        for (uint32_t k = 0; k < t->op_count && !named; k++)
            named = slice_equal_str(blob_slice(t->ops[k].path), m->paths[i].name);
        if (!named)
            return false;
        count++;
        remove_path(m, i, t->zxid);
    }
    return count == t->op_count;
}

bool model_is_due(const struct model_version *v, int64_t wall_ms, int64_t never_used_ms) {
    int64_t age_ms = wall_ms - v->mtime_ms;
    if (!v->exists || v->children > 0)
        return false;
    switch (ephemeral_type(v->owner)) {
    case EPHEMERAL_CONTAINER:
        return v->creates > 0 || (never_used_ms > 0 && age_ms > never_used_ms);
    case EPHEMERAL_TTL:
        return age_ms > ephemeral_ttl_ms(v->owner);
    default:
        return false;
    }
}

uint32_t model_first_due(const struct model *m, int64_t wall_ms, int64_t never_used_ms) {
    for (uint32_t i = 0; i < m->count; i++)
        if (model_is_due(latest(m, i), wall_ms, never_used_ms))
            return i;
    return MODEL_NO_PATH;
}

bool model_delete_extended(struct model *m, const struct txn *t, int64_t never_used_ms) {
    if (t->type != TXN_OPS || t->multi || t->op_count != 1 || t->ops[0].type != TXN_OP_DELETE)
        return false;
    uint32_t path = model_find(m, blob_slice(t->ops[0].path));
    if (path == MODEL_NO_PATH || !model_is_due(latest(m, path), t->time_ms, never_used_ms))
        return false;
    m->journal_count = 0;
    remove_path(m, path, t->zxid);
    return true;
}
