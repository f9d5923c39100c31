/* Making things: directories (null data), files (empty data), and what cannot be made here. How a
 * znode is made is for the create flags of its directory to say (flags.h). */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "fs/flags.h"
#include "fs/name.h"
#include "fs/ops.h"
#include "fs/owner.h"
#include "fs/probe.h"
#include "fs/view.h"

struct make_op {
    struct call call;
    struct probe probe;
    struct buf path;
    enum inode_kind kind;
    bool open; /* CREATE: with a handle */
    bool sequential;
    struct flags_ask ask;
    struct owned *owned; /* while it is made; NULL: it lasts as long as the session, or for ever */
    bool ends_with_handle;
    struct fuse_file_info fi;
};

/* What the server puts behind a sequential name: %010d (PROTOCOL 1.6). */
#define SEQUENCE_DIGITS 10

static void make_end(struct call *c) {
    struct make_op *op = (struct make_op *)c;
    if (op->owned != NULL)
        owned_leave(op->owned);
    flags_ask_close(&op->ask);
    probe_close(&op->probe);
    buf_close(&op->path);
}

static void reply_made(struct make_op *op, enum inode_kind kind, const struct zstat *stat,
                       enum nullness data, struct blob *take_value, struct owned *owned) {
    struct call *c = &op->call;
    struct slice path = op_slice(&op->path);
    struct stat attr;
    struct modifier view = c->inode->modifier;
    struct inode *inode = inode_get_view(&c->fs->inodes, view, path, kind, stat, data);
    inode_attr(c->fs, path, kind, stat, &attr);
    attr.st_ino += inode_view_salt(view);
    if (!op->open) {
        inode->maker = kind == INODE_DIR ? call_pid(c) : 0;
        blob_unref(take_value);
        call_entry(c, inode, &attr);
        return;
    }
    struct handle *h = op_file_handle(c->fs, inode, &op->fi);
    handle_set_value(h, take_value, stat->version);
    h->owned = owned;
    if (owned != NULL)
        owned_opened(owned, h->id);
    call_created(c, inode, &attr, h, &op->fi);
}

static void make_send(struct make_op *op);

/* Somebody made it since the kernel looked: open(2) without O_EXCL opens that. */
static void on_there(void *ctx, const struct zk_result *res) {
    struct make_op *op = ctx;
    struct call *c = &op->call;
    enum nullness data = res->data.len < 0 ? DATA_NULL : DATA_THERE;
    if (res->err == ZK_NONODE)
        make_send(op); /* and it is gone again */
    else if (res->err != ZK_OK)
        call_zk_err(c, res->err);
    else if (op_shape(c, op_slice(&op->path), &res->stat, data) == INODE_DIR)
        call_err(c, EISDIR);
    else
        reply_made(op, INODE_FILE, &res->stat, data, blob_from_slice(res->data), NULL);
}

static void on_created(void *ctx, const struct zk_result *res) {
    struct make_op *op = ctx;
    struct call *c = &op->call;
    struct owned *owned = op->owned;
    op->owned = NULL;
    if (owned != NULL && res->err == ZK_OK)
        owned_give_write(owned, &c->kept_write); /* until the request is answered */
    if (res->err == ZK_NONODE && op_child_moved(c, &op->path)) {
        make_send(op);
        return;
    }
    if (res->err == ZK_NODEEXISTS && op->open && (op->fi.flags & O_EXCL) == 0 && !op->sequential) {
        call_track(c, zk_get(c->fs->zk, op_slice(&op->path), on_there, op));
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    if (op->sequential) {
        buf_reset(&op->path);
        buf_put(&op->path, res->path.p, (size_t)res->path.len);
    }
    bool dir = op->kind == INODE_DIR;
    if (op->open)
        op->fi.flags |= O_TRUNC; /* the first write replaces the emptiness, whatever came between */
    reply_made(op, op->kind, &res->stat, dir ? DATA_NULL : DATA_THERE,
               dir ? NULL : blob_new(NULL, 0), op->ends_with_handle ? owned : NULL);
}

/* What these flags cannot make: 0 or a positive errno. */
static int words_errno(const struct make_op *op, const struct create_words *words) {
    struct slice name = path_name(op_slice(&op->path));
    if (words->sequential && name.len + SEQUENCE_DIGITS > NAME_SHOWN_MAX)
        return ENAMETOOLONG;
    if (words->life != LIFE_EPHEMERAL || words->owner != OWNER_OPEN || op->open)
        return 0;
    log_warn("%s makes no descriptor, with which an ephemeral znode of owner=open could end; make "
             "it by open(2) path=%.*s",
             op->call.what, (int)op->path.len, (const char *)op->path.data);
    return EPERM;
}

static void make_owned(struct make_op *op, const struct zk_op *create, enum owner_kind kind) {
    struct call *c = &op->call;
    int err = owned_create(c->fs->owners, create, kind, call_pid(c), call_unique(c), on_created, op,
                           &op->owned);
    op->ends_with_handle = kind == OWNER_OPEN;
    if (err == 0) {
        call_keep(c, owned_token(op->owned));
        owned_take_write(op->owned, &c->kept_write);
        return;
    }
    log_warn(
        "an ephemeral znode was not made, for the process that is to own it cannot be watched: "
        "%s pid=%d path=%.*s",
        strerror(-err), (int)call_pid(c), (int)op->path.len, (const char *)op->path.data);
    call_err(c, -err);
}

static void make_as(struct call *c, const struct create_words *words) {
    static const struct create_words plain = {0};
    struct make_op *op = (struct make_op *)c;
    if (words == NULL)
        words = &plain;
    int errnum = words_errno(op, words);
    if (errnum != 0) {
        call_err(c, errnum);
        return;
    }
    op->sequential = words->sequential;
    struct zk_op create = {.type = ZK_OP_CREATE,
                           .path = op_slice(&op->path),
                           .data = op->kind == INODE_DIR ? SLICE_NULL : (struct slice){NULL, 0},
                           .mode = create_words_mode(words),
                           .ttl_ms = words->ttl_ms,
                           .acl = c->fs->opt->acl,
                           .exclusive = !op->open || (op->fi.flags & O_EXCL) != 0};
    if (words->life == LIFE_EPHEMERAL && words->owner != OWNER_MOUNT)
        make_owned(op, &create, words->owner);
    else
        call_track(c, zk_create(c->fs->zk, &create, on_created, op));
}

static void make_send(struct make_op *op) {
    const struct inode *dir = op->call.inode;
    if (dir->modifier.kind == MODIFIER_CREATE_AS) {
        struct create_words words = modifier_create_words(dir->modifier);
        make_as(&op->call, &words);
    } else {
        flags_ask_close(&op->ask);
        op->ask = (struct flags_ask){0};
        flags_ask(&op->ask, &op->call, path_parent(op_slice(&op->path)), make_as);
    }
}

/* `.data`: with O_EXCL it is made only where there is no data, and the first write is on condition
 * that there still is none. */
static void data_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct make_op *op = (struct make_op *)c;
    if (err != ZK_OK) {
        call_zk_err(c, err);
        return;
    }
    bool exclusive = !op->open || (op->fi.flags & O_EXCL) != 0;
    if (exclusive && stat->data_length > 0) {
        call_err(c, EEXIST);
        return;
    }
    mark_clear(&c->fs->marks, MARK_UNLINKED, op_slice(&op->path), call_pid(c));
    c->inode->maker = 0;
    if (exclusive)
        op->fi.flags &= ~O_TRUNC;
    else
        op->fi.flags |= O_TRUNC;
    reply_made(op, INODE_DATA, stat, data, NULL, NULL);
}

static void make_start(fuse_req_t req, fuse_ino_t parent, const char *name, const char *what,
                       enum inode_kind kind, const struct fuse_file_info *fi) {
    struct inode *dir = op_inode(req, parent);
    if (dir == NULL || view_refuses(req, dir, fi != NULL ? CHANGE_CREATE : CHANGE_MAKE))
        return;
    struct fs *fs = op_fs(req);
    struct buf path = BUF_INIT;
    enum op_child child = op_child(fs, dir, name, &path);
    int errnum = op_child_errno(child);
    if (child == CHILD_DATA && kind == INODE_DIR)
        errnum = EEXIST;
    else if (child == CHILD_ZNODE && kind == INODE_FILE && fs->opt->layout_dirs)
        errnum = fi != NULL ? EISDIR : EPERM; /* it would be a directory */
    struct make_op *op = NULL;
    if (errnum != 0)
        fuse_reply_err(req, errnum);
    else
        op = call_new(fs, req, what, dir, sizeof *op, make_end);
    if (op == NULL) {
        buf_close(&path);
        return;
    }
    op->path = path;
    op->kind = kind;
    op->open = fi != NULL;
    if (fi != NULL)
        op->fi = *fi;
    if (child == CHILD_DATA) {
        probe_start(&op->probe, &op->call, op_slice(&op->path), data_probed);
    } else {
        make_send(op);
    }
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    (void)mode;
    make_start(req, parent, name, "mkdir", INODE_DIR, NULL);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev) {
    (void)rdev;
    if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0)
        fuse_reply_err(req, EPERM);
    else
        make_start(req, parent, name, "mknod", INODE_FILE, NULL);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi) {
    (void)mode;
    make_start(req, parent, name, "create", INODE_FILE, fi);
}
