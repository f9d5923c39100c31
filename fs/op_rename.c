/* rename(2): of a file, or of an empty directory, as one multi transaction: create at the new path
 * (or set what is there), delete the old on condition of the version that was read. Others never
 * see both or none. What does not fit into that gets EXDEV, and mv copies. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/handle.h"
#include "fs/ops.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
/* What a multi needs besides the data and the paths: headers of three operations, ACL aside. */
#define MULTI_OVERHEAD 128

struct end {
    struct buf path;
    int err; /* of the read */
    struct zstat stat;
    struct blob *value; /* NULL: null data */
};

struct rename_op {
    struct call call; /* its inode is the old parent */
    struct end from, to;
    bool to_data; /* over a directory's `.data`, as rsync does */
    bool no_replace;
    struct blob *acl;
    int acl_err;
    unsigned waiting; /* reads under way */
    pid_t pid;
};

static void rename_end(struct call *c) {
    struct rename_op *op = (struct rename_op *)c;
    buf_close(&op->from.path);
    buf_close(&op->to.path);
    blob_unref(op->from.value);
    blob_unref(op->to.value);
    blob_unref(op->acl);
}

static void read_both(struct rename_op *op);
static void decide(struct rename_op *op);

static enum nullness nullness_of(const struct end *e) {
    return e->value == NULL ? DATA_NULL : DATA_THERE;
}

/* The kernel moves its inode of the old name to the new one; so do we, with the open descriptors.
 * One that had the version which was moved has the new znode's version now; another stays out of
 * date. */
static void follow(struct rename_op *op, zxid_t czxid, int32_t version) {
    struct inode_table *t = &op->call.fs->inodes;
    struct zstat *stat = &op->from.stat;
    struct slice from = op_slice(&op->from.path);
    enum nullness data = nullness_of(&op->from);
    struct inode *inode = inode_get(t, from, inode_kind_of(stat, data), stat, data);
    inode_ref(inode);
    for (struct handle *h = inode->handles; h != NULL; h = h->next)
        h->version = h->version == stat->version ? version : INT32_MIN;
    inode_move(t, inode, op_slice(&op->to.path), czxid);
    struct zstat moved = *stat; /* what GETATTR will make true; until then no version is known */
    moved.czxid = czxid;
    inode_see(inode, &moved, DATA_UNKNOWN);
    inode_unref(t, inode);
}

static void on_multi(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    struct call *c = &op->call;
    struct fs *fs = c->fs;
    int64_t now = (int64_t)uv_now(fs->loop);
    bool again = res->err == ZK_BADVERSION || (res->err == ZK_NODEEXISTS && !op->no_replace) ||
                 (res->err == ZK_NONODE && op->to.err == ZK_OK);
    if (again) {
        read_both(op); /* something changed since it was read: look again */
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    mark_set(&fs->marks, MARK_EMPTIED, inode_path(c->inode), op->pid, now);
    if (op->to_data)
        mark_set(&fs->marks, MARK_FILLED, op_slice(&op->to.path), 0, now);
    else if (op->to.err == ZK_NONODE)
        follow(op, res->zxid, 0);
    else if (op->from.value != NULL && res->op_count > 0)
        follow(op, op->to.stat.czxid, res->ops[0].stat.version);
    call_err(c, 0);
}

static void send_multi(struct rename_op *op) {
    struct fs *fs = op->call.fs;
    struct slice from = op_slice(&op->from.path), to = op_slice(&op->to.path);
    struct zk_op ops[2] = {
        {.path = to, .data = blob_slice(op->from.value), .version = -1},
        {.type = ZK_OP_DELETE, .path = from, .version = op->from.stat.version},
    };
    if (op->to.err == ZK_NONODE) {
        ops[0].type = ZK_OP_CREATE;
        ops[0].mode = CREATE_PERSISTENT;
        ops[0].acl = op->acl;
        ops[0].exclusive = op->no_replace;
    } else if (op->from.value == NULL && !op->to_data) {
        ops[0].type = ZK_OP_CHECK; /* one empty directory over another: that one stays */
        ops[0].version = op->to.stat.version;
    } else {
        ops[0].type = ZK_OP_SET;
    }
    call_track(&op->call, zk_multi(fs->zk, ops, 2, on_multi, op));
}

/* 0 when `from` can be renamed to `to`, else the errno. */
static int why_not(const struct rename_op *op) {
    const struct end *from = &op->from, *to = &op->to;
    bool from_dir = inode_kind_of(&from->stat, nullness_of(from)) == INODE_DIR;
    if (from->stat.ephemeral_owner != 0)
        return EPERM; /* its owner would change, or its lifetime */
    if (from_dir && (from->stat.num_children > 0 || from->value != NULL || op->to_data))
        return EXDEV;
    if (from->value != NULL && from->value->len + from->path.len + to->path.len + MULTI_OVERHEAD +
                                       (op->acl != NULL ? op->acl->len : 0) >
                                   fs_value_max(op->call.fs, 0))
        return EXDEV;
    if (to->err == ZK_NONODE)
        return op->acl_err != ZK_OK ? EACCES : 0;
    if (op->no_replace)
        return EEXIST;
    if (op->to_data)
        return 0;
    bool to_dir = inode_kind_of(&to->stat, nullness_of(to)) == INODE_DIR;
    if (from_dir && !to_dir)
        return ENOTDIR;
    if (!from_dir && to_dir)
        return EISDIR;
    if (to_dir && (to->stat.num_children > 0 || to->value != NULL))
        return ENOTEMPTY;
    return 0;
}

static void decide(struct rename_op *op) {
    struct call *c = &op->call;
    if (op->from.err != ZK_OK) {
        call_zk_err(c, op->from.err);
        return;
    }
    if (op->to.err != ZK_OK && op->to.err != ZK_NONODE) {
        call_zk_err(c, op->to.err);
        return;
    }
    if (op->to_data && op->to.err != ZK_OK) {
        call_err(c, ENOENT);
        return;
    }
    int errnum = why_not(op);
    if (errnum != 0)
        call_err(c, errnum);
    else
        send_multi(op);
}

static void one_read(struct rename_op *op) {
    if (--op->waiting == 0)
        decide(op);
}

static void take_read(struct end *e, const struct zk_result *res) {
    e->err = res->err;
    blob_unref(e->value);
    e->value = NULL;
    if (res->err != ZK_OK)
        return;
    e->stat = res->stat;
    e->value = blob_from_slice(res->data);
}

static void on_from(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    take_read(&op->from, res);
    one_read(op);
}

static void on_to(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    take_read(&op->to, res);
    one_read(op);
}

/* A digest's hash shows as "x" to those who may not change the ACL (ZooKeeper since 3.5): such a
 * list would lock everybody out of the new znode. */
static bool is_masked(const struct jvec *acl) {
    struct acl_entry e;
    for (int32_t at = 0; acl_next(acl, &at, &e);)
        if (slice_equal_str(e.scheme, "digest") && e.id.len >= 2 &&
            memcmp(e.id.p + e.id.len - 2, ":x", 2) == 0)
            return true;
    return false;
}

/* The new znode gets the ACL of the old: a rename changes no rights. */
static void on_acl(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    op->acl_err = res->err;
    if (res->err == ZK_OK && is_masked(&res->acl))
        op->acl_err = ZK_NOAUTH;
    blob_unref(op->acl);
    op->acl = op->acl_err == ZK_OK ? acl_blob(&res->acl) : NULL;
    one_read(op);
}

static void read_both(struct rename_op *op) {
    struct call *c = &op->call;
    struct zk *zk = c->fs->zk;
    op->waiting = 3;
    call_track(c, zk_get(zk, op_slice(&op->from.path), on_from, op));
    call_track(c, zk_get(zk, op_slice(&op->to.path), on_to, op));
    call_track(c, zk_get_acl(zk, op_slice(&op->from.path), on_acl, op));
}

static void rename_start(fuse_req_t req, struct inode *dir, struct buf *take_from,
                         struct buf *take_to, bool to_data, unsigned flags) {
    struct rename_op *op = call_new(op_fs(req), req, "rename", dir, sizeof *op, rename_end);
    if (op == NULL) {
        buf_close(take_from);
        buf_close(take_to);
        return;
    }
    op->from.path = *take_from;
    op->to.path = *take_to;
    op->to_data = to_data;
    op->no_replace = (flags & RENAME_NOREPLACE) != 0;
    op->pid = call_pid(&op->call);
    if (slice_equal(op_slice(take_from), op_slice(take_to)))
        call_err(&op->call, to_data ? EXDEV : 0);
    else
        read_both(op);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags) {
    struct inode *from_dir = op_inode(req, parent);
    if (from_dir == NULL)
        return;
    struct inode *to_dir = op_inode(req, new_parent);
    if (to_dir == NULL)
        return;
    if ((flags & ~(unsigned)RENAME_NOREPLACE) != 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct buf from = BUF_INIT, to = BUF_INIT;
    enum op_child from_child = op_child(op_fs(req), from_dir, name, &from);
    enum op_child to_child = op_child(op_fs(req), to_dir, new_name, &to);
    int errnum = op_child_errno(from_child);
    if (errnum == EINVAL)
        errnum = ENOENT;
    if (errnum == 0 && from_child == CHILD_DATA)
        errnum = EXDEV; /* mv copies it, and unlinks, which makes it null */
    if (errnum == 0)
        errnum = op_child_errno(to_child);
    if (errnum == 0) {
        rename_start(req, from_dir, &from, &to, to_child == CHILD_DATA, flags);
        return;
    }
    buf_close(&from);
    buf_close(&to);
    fuse_reply_err(req, errnum);
}
