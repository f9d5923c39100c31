#include "replica/server/read.h"

#include "common/path.h"
#include "replica/server/lookup.h"
#include "replica/server/read_only.h"
#include "replica/server/reply.h"

#include <string.h>

struct buf *read_begin(struct read *rd) {
    return reply_begin(rd->r, rd->conn, rd->xid, core_last_zxid(rd->r), ZK_OK);
}

void read_end(struct read *rd) { reply_end(rd->r, rd->conn); }

enum zk_err read_find(struct read *rd, struct slice path, int32_t perms,
                      const struct znode **ret_znode) {
    if (path.len < 0)
        return ZK_MARSHALLINGERROR; /* ZooKeeper fails on a null path */
    const struct znode *n = lookup_znode(rd->r->tree, path);
    if (!n)
        return ZK_NONODE;
    if (!auth_allows(&rd->conn->ids, rd->auth_count, &rd->r->auth, znode_acl(n), perms))
        return ZK_NOAUTH;
    *ret_znode = n;
    return ZK_OK;
}

static void read_watch(struct read *rd, enum watch_kind kind, struct slice path) {
    if (lookup_has_shape(path))
        watch_add(rd->r->watches, kind, path, rd->conn->id);
}

static enum zk_err read_ping(struct read *rd) {
    rd->xid = XID_PING;
    (void)read_begin(rd);
    read_end(rd);
    return ZK_OK;
}

static enum zk_err read_sync(struct read *rd) {
    struct proto_path_request req;
    if (!proto_decode(&rd->body, PROTO_path_request, &req))
        return ZK_MARSHALLINGERROR;
    jute_write_slice(read_begin(rd), req.path);
    read_end(rd);
    return ZK_OK;
}

static void write_znode_stat(struct buf *b, const struct znode *n) {
    struct zstat stat;
    znode_stat(n, &stat);
    jute_write_stat(b, &stat);
}

/* ZooKeeper asks no permission for exists. */
static enum zk_err read_exists(struct read *rd) {
    struct proto_path_watch_request req;
    if (!proto_decode(&rd->body, PROTO_path_watch_request, &req) || req.path.len < 0)
        return ZK_MARSHALLINGERROR;
    if (memchr(req.path.p ? (const void *)req.path.p : "", '\0', (size_t)req.path.len))
        return ZK_BADARGUMENTS;
    if (req.watch)
        read_watch(rd, WATCH_DATA, req.path);
    const struct znode *n = lookup_znode(rd->r->tree, req.path);
    if (!n)
        return ZK_NONODE;
    write_znode_stat(read_begin(rd), n);
    read_end(rd);
    return ZK_OK;
}

static enum zk_err read_get_data(struct read *rd) {
    struct proto_path_watch_request req;
    const struct znode *n = NULL;
    if (!proto_decode(&rd->body, PROTO_path_watch_request, &req))
        return ZK_MARSHALLINGERROR;
    enum zk_err err = read_find(rd, req.path, PERM_READ, &n);
    if (err != ZK_OK)
        return err;
    if (req.watch)
        read_watch(rd, WATCH_DATA, req.path);
    struct buf *b = read_begin(rd);
    jute_write_slice(b, blob_slice(znode_data(n)));
    write_znode_stat(b, n);
    read_end(rd);
    return ZK_OK;
}

void read_write_children(struct buf *b, const struct znode *n) {
    jute_write_int(b, (int32_t)znode_child_count(n));
    for (const struct znode *k = znode_first_child(n); k; k = znode_next_sibling(k))
        jute_write_slice(b, znode_name(k));
}

static enum zk_err read_children(struct read *rd, bool with_stat) {
    struct proto_path_watch_request req;
    const struct znode *n = NULL;
    if (!proto_decode(&rd->body, PROTO_path_watch_request, &req))
        return ZK_MARSHALLINGERROR;
    enum zk_err err = read_find(rd, req.path, PERM_READ, &n);
    if (err != ZK_OK)
        return err;
    if (req.watch)
        read_watch(rd, WATCH_CHILD, req.path);
    struct buf *b = read_begin(rd);
    read_write_children(b, n);
    if (with_stat)
        write_znode_stat(b, n);
    read_end(rd);
    return ZK_OK;
}

static enum zk_err read_get_children(struct read *rd) { return read_children(rd, false); }

static enum zk_err read_get_children2(struct read *rd) { return read_children(rd, true); }

static enum zk_err read_get_acl(struct read *rd) {
    struct proto_path_request req;
    const struct znode *n = NULL;
    if (!proto_decode(&rd->body, PROTO_path_request, &req))
        return ZK_MARSHALLINGERROR;
    enum zk_err err = read_find(rd, req.path, PERM_READ | PERM_ADMIN, &n);
    if (err != ZK_OK)
        return err;
    bool admin =
        auth_allows(&rd->conn->ids, rd->auth_count, &rd->r->auth, znode_acl(n), PERM_ADMIN);
    struct buf *b = read_begin(rd);
    auth_write_acl(b, znode_acl(n), !admin);
    write_znode_stat(b, n);
    read_end(rd);
    return ZK_OK;
}

/* String.startsWith, not by components; nothing, blanks and "/" mean all. */
static bool has_prefix(struct slice path, struct slice prefix) {
    int32_t blank = 0;
    while (blank < prefix.len && prefix.p[blank] <= ' ')
        blank++;
    struct slice trimmed = {prefix.p + (prefix.len > 0 ? blank : 0), prefix.len - blank};
    while (trimmed.len > 0 && trimmed.p[trimmed.len - 1] <= ' ')
        trimmed.len--;
    if (trimmed.len <= 0 || slice_equal_str(trimmed, "/"))
        return true;
    return prefix.len <= path.len && memcmp(path.p, prefix.p, (size_t)prefix.len) == 0;
}

static enum zk_err read_get_ephemerals(struct read *rd) {
    struct proto_path_request req;
    if (!proto_decode(&rd->body, PROTO_path_request, &req))
        return ZK_MARSHALLINGERROR;
    struct buf *b = read_begin(rd);
    size_t count_at = b->len;
    jute_write_int(b, 0);
    uint32_t count = 0;
    void *at = NULL;
    session_id_t id = conn_session_id(rd->conn);
    for (const struct znode *n; (n = tree_next_ephemeral(rd->r->tree, id, &at));) {
        struct blob *path = znode_path(n);
        if (has_prefix(blob_slice(path), req.path)) {
            jute_write_slice(b, blob_slice(path));
            count++;
        }
        blob_unref(path);
    }
    buf_patch_u32be(b, count_at, count);
    read_end(rd);
    return ZK_OK;
}

/* The next znode below `top` in preorder, NULL at the end. */
static const struct znode *next_below(const struct znode *top, const struct znode *n) {
    if (znode_first_child(n))
        return znode_first_child(n);
    while (n != top && !znode_next_sibling(n))
        n = znode_parent(n);
    return n == top ? NULL : znode_next_sibling(n);
}

static enum zk_err read_get_all_children_number(struct read *rd) {
    struct proto_path_request req;
    const struct znode *top = NULL;
    if (!proto_decode(&rd->body, PROTO_path_request, &req))
        return ZK_MARSHALLINGERROR;
    enum zk_err err = read_find(rd, req.path, PERM_READ, &top);
    if (err != ZK_OK)
        return err;
    int32_t total = 0;
    for (const struct znode *n = next_below(top, top); n; n = next_below(top, n))
        total++;
    jute_write_int(read_begin(rd), total);
    read_end(rd);
    return ZK_OK;
}

static enum zk_err read_who_am_i(struct read *rd) {
    struct buf *b = read_begin(rd);
    jute_write_int(b, (int32_t)rd->auth_count);
    for (uint32_t i = 0; i < rd->auth_count; i++) {
        jute_write_slice(b, slice_from_str(rd->conn->ids.list[i].scheme));
        jute_write_slice(b, auth_user(&rd->conn->ids.list[i]));
    }
    read_end(rd);
    return ZK_OK;
}

static const struct {
    int32_t opcode;
    read_fn *fn;
} readers[] = {
    {OP_GET_DATA, read_get_data},
    {OP_EXISTS, read_exists},
    {OP_GET_CHILDREN2, read_get_children2},
    {OP_GET_CHILDREN, read_get_children},
    {OP_PING, read_ping},
    {OP_SYNC, read_sync},
    {OP_GET_ACL, read_get_acl},
    {OP_SET_WATCHES, read_set_watches},
    {OP_SET_WATCHES2, read_set_watches2},
    {OP_CHECK_WATCHES, read_check_watches},
    {OP_REMOVE_WATCHES, read_remove_watches},
    {OP_MULTI_READ, read_multi},
    {OP_GET_EPHEMERALS, read_get_ephemerals},
    {OP_GET_ALL_CHILDREN_NUMBER, read_get_all_children_number},
    {OP_WHO_AM_I, read_who_am_i},
    {OP_ADD_WATCH, read_add_watch},
};

void read_auth(struct replica *r, struct conn *c, int32_t xid, bool ok) {
    reply_header(r, c, xid, 0, ok ? ZK_OK : ZK_AUTHFAILED);
    if (ok)
        return;
    r->stats.auth_failed++;
    core_close_conn(
        r, c,
        "authentication failed: the scheme is unknown, the name is missing or too long, "
        "or there are too many");
}

void read_request(struct replica *r, struct conn *c, int32_t xid, int32_t opcode,
                  uint32_t auth_count, int64_t arrived_ms, struct slice body) {
    if (opcode == OP_AUTH) {
        read_auth(r, c, xid, body.len == 1 && body.p[0]);
        return;
    }
    if (c->read_only && read_only_answer(r, c, xid, opcode))
        return;
    read_fn *fn = NULL;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0] && !fn; i++) {
        if (readers[i].opcode == opcode)
            fn = readers[i].fn;
    }
    if (!fn) {
        /* As UnimplementedRequestProcessor has it, the zxid of nothing included. */
        reply_header(r, c, xid, -1, ZK_UNIMPLEMENTED);
        core_close_conn(r, c, "a request of an unknown type type=%d", opcode);
        return;
    }
    struct read rd = {.r = r, .conn = c, .xid = xid, .auth_count = auth_count};
    cursor_init(&rd.body, body.p, body.len > 0 ? (size_t)body.len : 0);
    enum zk_err err = fn(&rd);
    if (err != ZK_OK)
        reply_header(r, c, xid, core_last_zxid(r), err);
    reply_count(r, c, xid, opcode, arrived_ms);
}
