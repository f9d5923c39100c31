/* Extended attributes. `user.zk.*` answers getxattr and is not listed, so that `cp -a` has nothing
 * to copy and stays quiet; `user.zk.acl` and `user.zk.create` can be set. Every other name is
 * absent (ENODATA), and setting one is refused with EOPNOTSUPP, as on a filesystem without extended
 * attributes: tools that copy them along (cp -a, rsync -X, tar --xattrs) know that answer. */
#include <errno.h>
#include <string.h>

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "fs/lock.h"
#include "fs/op_flags.h"
#include "fs/ops.h"
#include "fs/view.h"

#define PREFIX "user.zk."
#define CREATE PREFIX "create"

/* The fields of Stat, by the names that ZooKeeper's shell gives them, and their derived ones. */
struct field {
    const char *name;
    bool hex;
    bool in_stat; /* a line of user.zk.stat */
    int64_t (*get)(const struct zstat *s);
};

#define FIELD_GET(member)                                                                          \
    static int64_t get_##member(const struct zstat *s) { return s->member; }
FIELD_GET(czxid)
FIELD_GET(mzxid)
FIELD_GET(pzxid)
FIELD_GET(ctime_ms)
FIELD_GET(mtime_ms)
FIELD_GET(version)
FIELD_GET(cversion)
FIELD_GET(aversion)
FIELD_GET(ephemeral_owner)
FIELD_GET(data_length)
FIELD_GET(num_children)

static const struct field fields[] = {
    {"czxid", true, true, get_czxid},
    {"mzxid", true, true, get_mzxid},
    {"ctime", false, true, get_ctime_ms},
    {"mtime", false, true, get_mtime_ms},
    {"version", false, true, get_version},
    {"cversion", false, true, get_cversion},
    {"aversion", false, true, get_aversion},
    {"ephemeralOwner", true, true, get_ephemeral_owner},
    {"dataLength", false, true, get_data_length},
    {"numChildren", false, true, get_num_children},
    {"pzxid", true, true, get_pzxid},
    /* A fencing token: greater for each later holder of the name, or of an exclusive lock while
     * this mount has one (lock_fence). Decimal, to be compared. */
    {"fence", false, false, get_czxid},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static void print_field(struct buf *out, const struct field *f, const struct zstat *stat) {
    if (f->hex)
        buf_printf(out, "0x%llx", (unsigned long long)f->get(stat));
    else
        buf_printf(out, "%lld", (long long)f->get(stat));
}

static void print_stat(struct buf *out, const struct zstat *stat) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!fields[i].in_stat)
            continue;
        buf_printf(out, "%s ", fields[i].name);
        print_field(out, &fields[i], stat);
        buf_printf(out, "\n");
    }
}

static const struct field *find_field(const char *name) {
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

struct xattr_op {
    struct call call;
    const struct field *field; /* NULL: all of Stat */
    bool fence;
    size_t size; /* of the caller's buffer */
};

static void reply(struct xattr_op *op, struct buf *out) {
    call_xattr(&op->call, out->data, out->len, op->size);
    buf_close(out);
}

static void on_stat(void *ctx, const struct zk_result *res) {
    struct xattr_op *op = ctx;
    if (res->err != ZK_OK) {
        call_zk_err(&op->call, res->err);
        return;
    }
    struct buf out = BUF_INIT;
    zxid_t fence = op->fence ? lock_fence(op->call.fs, op->call.inode) : 0;
    if (fence != 0)
        buf_printf(&out, "%lld", (long long)fence);
    else if (op->field != NULL)
        print_field(&out, op->field, &res->stat);
    else
        print_stat(&out, &res->stat);
    reply(op, &out);
}

static void on_acl(void *ctx, const struct zk_result *res) {
    struct xattr_op *op = ctx;
    if (res->err != ZK_OK) {
        call_zk_err(&op->call, res->err);
        return;
    }
    struct buf out = BUF_INIT;
    acl_print(&out, &res->acl);
    reply(op, &out);
}

static void reply_now(fuse_req_t req, struct slice value, size_t size) {
    if (size == 0)
        fuse_reply_xattr(req, (size_t)value.len);
    else if ((size_t)value.len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, (const char *)value.p, (size_t)value.len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    bool ours = strncmp(name, PREFIX, strlen(PREFIX)) == 0;
    const char *key = name + strlen(PREFIX);
    struct slice path = inode_path(inode);
    const struct field *field = ours ? find_field(key) : NULL;
    bool acl = ours && strcmp(key, "acl") == 0;
    if (strcmp(name, CREATE) == 0) {
        op_flags_get(req, inode, size);
        return;
    }
    if (ours && strcmp(key, "path") == 0) {
        reply_now(req, path, size);
        return;
    }
    if (ours && strcmp(key, "name") == 0) {
        reply_now(req, path_name(path), size);
        return;
    }
    if (field == NULL && !acl && !(ours && strcmp(key, "stat") == 0)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct xattr_op *op = call_new(op_fs(req), req, "getxattr", inode, sizeof *op, NULL);
    if (op == NULL)
        return;
    op->field = field;
    op->fence = field != NULL && strcmp(field->name, "fence") == 0;
    op->size = size;
    struct zk *zk = op_fs(req)->zk;
    call_track(&op->call,
               acl ? zk_get_acl(zk, path, on_acl, op) : zk_exists(zk, path, on_stat, op));
}

static void set_acl(fuse_req_t req, struct inode *inode, struct slice text) {
    const char *why;
    struct blob *acl = acl_parse(op_text(text), &why);
    if (acl == NULL) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct call *c = call_new(op_fs(req), req, "setxattr", inode, sizeof *c, NULL);
    if (c != NULL)
        call_track(c, zk_set_acl(op_fs(req)->zk, inode_path(inode), acl, -1, call_zk_done, c));
    blob_unref(acl);
}

/* XATTR_CREATE on an attribute that is always there fails, as setxattr(2) says. */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags) {
    struct inode *inode = op_inode(req, ino);
    bool ours = strncmp(name, PREFIX, strlen(PREFIX)) == 0;
    if (inode == NULL || (ours && view_refuses(req, inode, CHANGE_XATTR)))
        return;
    struct slice text = {(const uint8_t *)value, (int32_t)size};
    if (strcmp(name, CREATE) == 0)
        op_flags_set(req, inode, text, flags);
    else if (strcmp(name, PREFIX "acl") == 0 && (flags & 1) != 0)
        fuse_reply_err(req, EEXIST);
    else if (strcmp(name, PREFIX "acl") == 0)
        set_acl(req, inode, text);
    else
        fuse_reply_err(req, ours ? EPERM : EOPNOTSUPP);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
    if (op_inode(req, ino) != NULL)
        reply_now(req, (struct slice){NULL, 0}, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name) {
    struct inode *inode = op_inode(req, ino);
    bool ours = strncmp(name, PREFIX, strlen(PREFIX)) == 0;
    if (inode == NULL || (ours && view_refuses(req, inode, CHANGE_XATTR)))
        return;
    if (strcmp(name, CREATE) == 0)
        op_flags_remove(req, inode);
    else
        fuse_reply_err(req, ours ? EPERM : ENODATA);
}
