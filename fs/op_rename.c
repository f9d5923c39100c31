/* rename(2) as one multi transaction: of a file, of a small subtree, and the exchange of two. What
 * is moved is read first; each deletion is on condition of the version that was read, and a child
 * that came meanwhile keeps its parent from being deleted: so nothing that others changed is lost,
 * and they never see both places or none. What does not fit gets EXDEV, and mv copies.
 *
 * The deletions come first, parents last, then the creations, parents first: in this order a
 * directory can also take the place of an empty one, or two change places. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/handle.h"
#include "fs/ops.h"
#include "fs/rename_follow.h"
#include "fs/subtree.h"
#include "fs/view.h"
#include "fs/zk_write_check.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif
/* Others change what is read before the transaction gets there: so often it is tried. A file's two
 * requests will find a moment; a tree that is written all the time may have none. */
#define TRIES_FILE 1000
#define TRIES_TREE 8

struct rename_op {
    struct call call; /* its inode is the old parent */
    struct buf from_path, to_path;
    struct subtree from, to; /* `to`: whole for an exchange, else its root, if there is one */
    bool to_data;            /* over a directory's `.data`, as rsync does */
    bool no_replace;
    bool exchange;
    unsigned waiting; /* of from and to */
    unsigned tries;
    pid_t pid;
    struct zk_op *ops;
    size_t op_count;
    bool by_set;   /* values are set at what is there, no znode is created */
    bool recalled; /* `from` and `to` are what a worker that died had read */
};

static void rename_end(struct call *c) {
    struct rename_op *op = (struct rename_op *)c;
    buf_close(&op->from_path);
    buf_close(&op->to_path);
    subtree_close(&op->from);
    subtree_close(&op->to);
    mem_free(op->ops);
}

static void read_both(struct rename_op *op);

static struct subtree_znode *from_root(const struct rename_op *op) { return &op->from.at[0]; }

/* NULL when there is nothing. */
static struct subtree_znode *to_root(const struct rename_op *op) {
    return op->to.count > 0 ? &op->to.at[0] : NULL;
}

static enum inode_kind shape(struct rename_op *op, const struct subtree_znode *z) {
    enum nullness data = z->value == NULL ? DATA_NULL : DATA_THERE;
    return op_shape(&op->call, subtree_path(z), &z->stat, data);
}

static void add(struct rename_op *op, struct zk_op zk_op) {
    op->ops = mem_realloc(op->ops, (op->op_count + 1) * sizeof *op->ops);
    op->ops[op->op_count++] = zk_op;
}

static void add_set(struct rename_op *op, const struct subtree_znode *at,
                    const struct subtree_znode *value, int32_t version) {
    add(op, (struct zk_op){.type = ZK_OP_SET,
                           .path = subtree_path(at),
                           .data = blob_slice(value->value),
                           .version = version});
}

static void add_deletes(struct rename_op *op, const struct subtree *st) {
    for (size_t i = st->count; i > 0; i--)
        add(op, (struct zk_op){.type = ZK_OP_DELETE,
                               .path = subtree_path(&st->at[i - 1]),
                               .version = st->at[i - 1].stat.version});
}

/* Where all of what is at and below `from` is going. */
static void set_new_paths(struct subtree *st, const struct buf *from, const struct buf *to) {
    for (struct subtree_znode *z = st->at; z < st->at + st->count; z++) {
        buf_reset(&z->new_path);
        buf_put(&z->new_path, to->data, to->len);
        buf_put(&z->new_path, z->path.data + from->len, z->path.len - from->len);
    }
}

/* 0 or the errno. */
static int add_creates(struct rename_op *op, struct subtree *st, const struct buf *from,
                       const struct buf *to) {
    set_new_paths(st, from, to);
    for (size_t i = 0; i < st->count; i++) {
        struct subtree_znode *z = &st->at[i];
        if (z->acl == NULL)
            return EACCES; /* a rename changes no rights, and these are not known */
        if (z->new_path.len > PATH_MAX_BYTES)
            return ENAMETOOLONG;
        add(op, (struct zk_op){.type = ZK_OP_CREATE,
                               .path = op_slice(&z->new_path),
                               .data = blob_slice(z->value),
                               .mode = CREATE_PERSISTENT,
                               .acl = z->acl,
                               .exclusive = op->no_replace});
    }
    return 0;
}

/* Two leaves with the same ACL stay where they are, and their values change places. */
static int build_exchange(struct rename_op *op) {
    struct subtree_znode *a = from_root(op), *b = to_root(op);
    if (a->acl == NULL || b->acl == NULL)
        return EACCES;
    op->by_set = op->from.count == 1 && op->to.count == 1 && blob_equal(a->acl, b->acl);
    if (op->by_set) {
        add_set(op, a, b, a->stat.version);
        add_set(op, b, a, b->stat.version);
        return 0;
    }
    add_deletes(op, &op->from);
    add_deletes(op, &op->to);
    int errnum = add_creates(op, &op->from, &op->from_path, &op->to_path);
    return errnum != 0 ? errnum : add_creates(op, &op->to, &op->to_path, &op->from_path);
}

static int build(struct rename_op *op) {
    struct subtree_znode *there = to_root(op);
    op->op_count = 0;
    if (op->exchange)
        return build_exchange(op);
    op->by_set = op->to_data || (there != NULL && shape(op, there) == INODE_FILE);
    if (op->by_set) {
        add_set(op, there, from_root(op), -1);
        add_deletes(op, &op->from);
        return 0;
    }
    if (there != NULL)
        add_deletes(op, &op->to);
    add_deletes(op, &op->from);
    return add_creates(op, &op->from, &op->from_path, &op->to_path);
}

/* What open descriptors and working directories are of has another path now. */
static void follow(struct rename_op *op, const struct zk_result *res) {
    struct rename_follow f;
    rename_follow_init(&f, &op->call.fs->inodes, res->zxid);
    if (op->recalled) {
        rename_follow_recall(&f, &op->from, op_slice(&op->from_path));
        rename_follow_recall(&f, &op->to, op_slice(&op->to_path));
    }
    if (!op->by_set) {
        for (size_t i = 0; i < op->from.count; i++)
            rename_follow_add(&f, &op->from.at[i], op_slice(&op->from.at[i].new_path), res->zxid,
                              0);
        for (size_t i = 0; op->exchange && i < op->to.count; i++)
            rename_follow_add(&f, &op->to.at[i], op_slice(&op->to.at[i].new_path), res->zxid, 0);
    } else if (op->exchange && res->op_count == 2) {
        const struct subtree_znode *a = from_root(op), *b = to_root(op);
        const struct zstat *at_a = &res->ops[0].stat, *at_b = &res->ops[1].stat;
        rename_follow_add(&f, a, subtree_path(b), at_b->czxid, at_b->version);
        rename_follow_add(&f, b, subtree_path(a), at_a->czxid, at_a->version);
    } else if (!op->to_data && res->op_count > 0) {
        const struct zstat *at = &res->ops[0].stat;
        rename_follow_add(&f, from_root(op), op_slice(&op->to_path), at->czxid, at->version);
    }
    rename_follow_done(&f);
}

/* The first operation that failed; NULL when the answer does not tell. */
static const struct zk_op *failed_op(const struct rename_op *op, const struct zk_result *res) {
    for (size_t i = 0; i < res->op_count && i < op->op_count; i++)
        if (res->ops[i].err == res->err)
            return &op->ops[i];
    return NULL;
}

/* Whether it failed because something changed since it was read. */
static bool is_outdated(const struct rename_op *op, const struct zk_result *res) {
    const struct zk_op *failed = failed_op(op, res);
    switch (res->err) {
    case ZK_BADVERSION:
    case ZK_NOTEMPTY:
        return true;
    case ZK_NODEEXISTS:
        return !op->no_replace;
    case ZK_NONODE: /* of a creation: the new parent is not there */
        return failed != NULL && failed->type != ZK_OP_CREATE;
    default:
        return false;
    }
}

static void again(struct rename_op *op) {
    unsigned most = op->from.count > 1 || op->to.count > 1 ? TRIES_TREE : TRIES_FILE;
    if (++op->tries >= most)
        call_err(&op->call, EBUSY);
    else
        read_both(op);
}

static void done(struct rename_op *op, const struct zk_result *res) {
    struct call *c = &op->call;
    struct fs *fs = c->fs;
    int64_t now = (int64_t)uv_now(fs->loop);
    if (!op->exchange)
        mark_set(&fs->marks, MARK_EMPTIED, inode_path(c->inode), op->pid, now);
    if (op->to_data)
        mark_set(&fs->marks, MARK_FILLED, op_slice(&op->to_path), 0, now);
    follow(op, res);
    call_err(c, 0);
}

static void on_multi(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    struct call *c = &op->call;
    if (is_outdated(op, res)) {
        again(op);
        return;
    }
    if (res->err == ZK_MARSHALLINGERROR) {
        call_err(c, EXDEV); /* longer than a request may be */
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    done(op, res);
}

/* Ephemerals would change their owner. */
static bool has_owner(const struct subtree *st) {
    for (size_t i = 0; i < st->count; i++)
        if (st->at[i].stat.ephemeral_owner != 0)
            return true;
    return false;
}

/* 0 when `from` can be renamed to `to`, else the errno. */
static int why_not(struct rename_op *op) {
    const struct subtree_znode *to = to_root(op);
    if (has_owner(&op->from) || (op->exchange && has_owner(&op->to)))
        return EPERM;
    bool from_dir = shape(op, from_root(op)) == INODE_DIR;
    if (to == NULL)
        return op->exchange || op->to_data ? ENOENT : 0;
    if (op->no_replace)
        return EEXIST;
    if (op->exchange)
        return 0;
    if (op->to_data)
        return from_dir ? EXDEV : 0;
    bool to_dir = shape(op, to) == INODE_DIR;
    if (from_dir && !to_dir)
        return ENOTDIR;
    if (!from_dir && to_dir)
        return EISDIR;
    if (to_dir && (to->stat.num_children > 0 || to->stat.data_length > 0))
        return ENOTEMPTY;
    return 0;
}

static bool failed(const struct subtree *st) { return st->result == SUBTREE_FAILED; }

static void send_multi(struct rename_op *op) {
    struct call *c = &op->call;
    call_track(c, zk_multi(c->fs->zk, op->ops, op->op_count, on_multi, op));
}

static void looked_again(struct call *c) {
    struct rename_op *op = (struct rename_op *)c;
    if (--op->waiting > 0)
        return;
    if (failed(&op->from) || failed(&op->to))
        call_zk_err(c, failed(&op->from) ? op->from.err : op->to.err);
    else if (op->from.result == SUBTREE_CHANGED || op->to.result == SUBTREE_CHANGED)
        again(op);
    else
        send_multi(op);
}

/* What was read by one request of each end, sent together, needs no second look. */
static void look_again(struct rename_op *op) {
    bool there = op->to.count > 0;
    op->waiting = there ? 2 : 1;
    op->to.result = SUBTREE_READ; /* nothing, where nothing is there */
    subtree_look_again(&op->from, looked_again);
    if (there)
        subtree_look_again(&op->to, looked_again);
}

static void decide(struct rename_op *op) {
    struct call *c = &op->call;
    if (failed(&op->from)) {
        call_zk_err(c, op->from.err);
        return;
    }
    if (failed(&op->to) && (op->to.err != ZK_NONODE || op->to.count > 0)) {
        call_zk_err(c, op->to.err);
        return;
    }
    if (op->from.result == SUBTREE_CHANGED || op->to.result == SUBTREE_CHANGED) {
        again(op);
        return;
    }
    int errnum = why_not(op);
    if (errnum == 0 &&
        (op->from.result == SUBTREE_TOO_BIG || (op->exchange && op->to.result == SUBTREE_TOO_BIG)))
        errnum = EXDEV;
    if (errnum == 0)
        errnum = build(op);
    if (errnum != 0)
        call_err(c, errnum);
    else if (op->from.count > 1 || op->exchange)
        look_again(op);
    else
        send_multi(op);
}

static void one_read(struct call *c) {
    struct rename_op *op = (struct rename_op *)c;
    if (--op->waiting == 0)
        decide(op);
}

static void exchange_from_read(struct call *c) {
    struct rename_op *op = (struct rename_op *)c;
    op->waiting = 1;
    subtree_read(&op->to, c, op_slice(&op->to_path), SUBTREE_WHOLE, one_read);
}

static void read_both(struct rename_op *op) {
    struct call *c = &op->call;
    struct slice from = op_slice(&op->from_path);
    op->recalled = false;
    if (op->exchange) {
        subtree_read(&op->from, c, from, SUBTREE_WHOLE, exchange_from_read);
        return;
    }
    op->waiting = 2;
    subtree_read(&op->from, c, from, SUBTREE_WHOLE, one_read);
    subtree_read(&op->to, c, op_slice(&op->to_path), SUBTREE_ROOT, one_read);
}

/* The worker before sent the multi: what it had read, as far as the request's bytes tell. */
static void recall(struct rename_op *op) {
    const struct buf *request = &op->call.sent->request;
    struct slice from = op_slice(&op->from_path);
    struct wc_op *ops;
    size_t count = wc_decode(op->call.sent->opcode, op_slice(request), op->no_replace, &ops);
    for (const struct wc_op *o = ops; o < ops + count; o++) {
        bool is_set = o->type == WC_SET;
        op->by_set = op->by_set || is_set;
        if (is_set ? !op->exchange : o->type != WC_DELETE)
            continue;
        if (path_has_prefix(o->path, from))
            subtree_recall(&op->from, o->path, o->version);
        else if (op->exchange)
            subtree_recall(&op->to, o->path, o->version);
    }
    mem_free(ops);
    op->recalled = true;
    set_new_paths(&op->from, &op->from_path, &op->to_path);
    set_new_paths(&op->to, &op->to_path, &op->from_path);
}

/* Where it was refused this is a rename like others. */
static void on_again(void *ctx, const struct zk_result *res) {
    struct rename_op *op = ctx;
    if (zkerr_is_passing(res->err))
        call_zk_err(&op->call, res->err);
    else if (res->err != ZK_OK)
        read_both(op);
    else if (op->from.count == 0 || (op->exchange && op->to.count == 0))
        call_zk_err(&op->call, ZK_CONNECTIONLOSS); /* it was not this rename's */
    else
        done(op, res);
}

static void send_again(struct rename_op *op) {
    recall(op);
    call_again(&op->call, op->no_replace, on_again, op);
}

static void rename_start(fuse_req_t req, struct inode *dir, struct buf *take_from,
                         struct buf *take_to, bool to_data, unsigned flags) {
    struct rename_op *op = call_new(op_fs(req), req, "rename", dir, sizeof *op, rename_end);
    if (op == NULL) {
        buf_close(take_from);
        buf_close(take_to);
        return;
    }
    op->from_path = *take_from;
    op->to_path = *take_to;
    op->to_data = to_data;
    op->no_replace = (flags & RENAME_NOREPLACE) != 0;
    op->exchange = (flags & RENAME_EXCHANGE) != 0;
    op->pid = call_pid(&op->call);
    struct slice from = op_slice(take_from), to = op_slice(take_to);
    if (slice_equal(from, to))
        call_err(&op->call, to_data ? EXDEV : 0);
    else if ((path_has_prefix(to, from) && !to_data) || (op->exchange && path_has_prefix(from, to)))
        call_err(&op->call, EINVAL); /* into itself */
    else if (call_was_sent(&op->call, OP_MULTI))
        send_again(op);
    else
        read_both(op);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags) {
    struct inode *from_dir = op_inode(req, parent);
    if (from_dir == NULL)
        return;
    struct inode *to_dir = op_inode(req, new_parent);
    if (to_dir == NULL || view_refuses(req, from_dir, CHANGE_RENAME) ||
        view_refuses(req, to_dir, CHANGE_RENAME))
        return;
    if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) {
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
    if (errnum == 0 && to_child == CHILD_DATA && flags == RENAME_EXCHANGE)
        errnum = EXDEV; /* as the other way round */
    if (errnum == 0) {
        rename_start(req, from_dir, &from, &to, to_child == CHILD_DATA, flags);
        return;
    }
    buf_close(&from);
    buf_close(&to);
    fuse_reply_err(req, errnum);
}
