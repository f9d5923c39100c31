/* user.zk.create goes straight to the service, so it is read as it was written; flags.c hears of it
 * by its watches, before the answer comes. */
#include "fs/op_flags.h"

#include <errno.h>
#include <sys/xattr.h>

#include "common/log.h"
#include "common/path.h"
#include "fs/flags.h"

enum flags_what { FLAGS_GET, FLAGS_SET, FLAGS_REMOVE, FLAGS_CLEAR };

struct flags_op {
    struct call call;
    enum flags_what what;
    int flags;
    size_t size;     /* GET: of the caller's buffer */
    struct buf path; /* of the znode that keeps them */
    struct buf words;
    struct blob *acl;
};

static void flags_end(struct call *c) {
    struct flags_op *op = (struct flags_op *)c;
    buf_close(&op->path);
    buf_close(&op->words);
    blob_unref(op->acl);
}

static void on_got(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    struct slice text = op_text(res->data);
    if (res->err == ZK_NONODE)
        call_err(&op->call, ENODATA);
    else if (res->err != ZK_OK)
        call_zk_err(&op->call, res->err);
    else
        call_xattr(&op->call, text.p, text.len > 0 ? (size_t)text.len : 0, op->size);
}

static void on_removed(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    if (res->err == ZK_NONODE)
        call_err(&op->call, op->what == FLAGS_REMOVE ? ENODATA : 0);
    else if (res->err != ZK_OK)
        call_zk_err(&op->call, res->err);
    else
        call_err(&op->call, 0);
}

/* Whoever may change what the mount makes may change these; everybody has to read them. */
static struct blob *readable(const struct blob *acl) {
    struct jvec given = acl_view(acl);
    struct acl_entry all = {PERM_READ, slice_from_str("world"), slice_from_str("anyone")};
    struct buf items = BUF_INIT;
    buf_put(&items, given.items.p, (size_t)given.items.len);
    acl_append(&items, &all);
    struct jvec both = {.count = given.count + 1, .items = op_slice(&items)};
    struct blob *blob = acl_blob(&both);
    buf_close(&items);
    return blob;
}

static void create(struct flags_op *op);
static void set(struct flags_op *op);

/* The folders above are made by the first who needs them, at the same time by others perhaps. */
static void on_dir_made(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    if (res->err == ZK_OK || res->err == ZK_NODEEXISTS)
        create(op);
    else
        call_zk_err(&op->call, res->err);
}

static void on_parent_made(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    struct zk_op dir = {
        .type = ZK_OP_CREATE, .path = slice_from_str(FLAGS_DIR), .data = SLICE_NULL};
    if (res->err == ZK_OK || res->err == ZK_NODEEXISTS)
        call_track(&op->call, zk_create(op->call.fs->zk, &dir, on_dir_made, op));
    else
        call_zk_err(&op->call, res->err);
}

static void on_created(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    struct zk_op dir = {
        .type = ZK_OP_CREATE, .path = slice_from_str(NAME_KEPT), .data = SLICE_NULL};
    if (res->err == ZK_OK)
        call_err(&op->call, 0);
    else if (res->err == ZK_NONODE)
        call_track(&op->call, zk_create(op->call.fs->zk, &dir, on_parent_made, op));
    else if (res->err == ZK_NODEEXISTS && (op->flags & XATTR_CREATE) == 0)
        set(op);
    else
        call_zk_err(&op->call, res->err);
}

static void create(struct flags_op *op) {
    struct zk_op znode = {.type = ZK_OP_CREATE,
                          .path = op_slice(&op->path),
                          .data = op_slice(&op->words),
                          .acl = op->acl};
    call_track(&op->call, zk_create(op->call.fs->zk, &znode, on_created, op));
}

static void on_set(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    if (res->err == ZK_OK)
        call_err(&op->call, 0);
    else if (res->err == ZK_NONODE && (op->flags & XATTR_REPLACE) != 0)
        call_err(&op->call, ENODATA);
    else if (res->err == ZK_NONODE)
        create(op);
    else
        call_zk_err(&op->call, res->err);
}

static void set(struct flags_op *op) {
    call_track(&op->call,
               zk_set(op->call.fs->zk, op_slice(&op->path), op_slice(&op->words), -1, on_set, op));
}

static void on_dir(void *ctx, const struct zk_result *res) {
    struct flags_op *op = ctx;
    struct call *c = &op->call;
    struct zk *zk = c->fs->zk;
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    if (res->stat.czxid != c->inode->czxid && c->inode != c->fs->inodes.root) {
        call_err(c, ESTALE); /* makes the kernel look the name up again */
        return;
    }
    if (!flags_path(&op->path, inode_path(c->inode), res->stat.czxid))
        call_err(c, op->what == FLAGS_SET ? ENAMETOOLONG : ENODATA);
    else if (op->what == FLAGS_GET)
        call_track(c, zk_get(zk, op_slice(&op->path), on_got, op));
    else if (op->what != FLAGS_SET)
        call_track(c, zk_delete(zk, op_slice(&op->path), -1, on_removed, op));
    else if ((op->flags & XATTR_CREATE) != 0)
        create(op);
    else
        set(op);
}

/* NULL when the request has been answered. */
static struct flags_op *flags_start(fuse_req_t req, struct inode *inode, const char *name,
                                    enum flags_what what) {
    struct fs *fs = op_fs(req);
    struct flags_op *op = call_new(fs, req, name, inode, sizeof *op, flags_end);
    if (op == NULL)
        return NULL;
    op->what = what;
    call_track(&op->call, zk_exists(fs->zk, inode_path(inode), on_dir, op));
    return op;
}

void op_flags_get(fuse_req_t req, struct inode *inode, size_t size) {
    if (inode->kind != INODE_DIR) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct flags_op *op = flags_start(req, inode, "getxattr", FLAGS_GET);
    if (op != NULL)
        op->size = size;
}

#define WORD_SHOWN_MAX 40

/* What a caller wrote, fit for a log line. */
static void log_bad_word(struct slice path, struct slice bad, const char *why) {
    char word[WORD_SHOWN_MAX + 1];
    int32_t n = bad.len < WORD_SHOWN_MAX ? bad.len : WORD_SHOWN_MAX;
    for (int32_t i = 0; i < n; i++)
        word[i] = bad.p[i] > ' ' && bad.p[i] < 0x7f ? (char)bad.p[i] : '?';
    word[n] = '\0';
    log_warn("create flags are not taken, a word is wrong: \"%s\" %s path=%.*s", word, why,
             (int)path.len, (const char *)path.p);
}

void op_flags_set(fuse_req_t req, struct inode *inode, struct slice text, int flags) {
    struct create_words words;
    struct slice bad;
    const char *why;
    if (inode->kind != INODE_DIR) {
        fuse_reply_err(req, ENOTDIR);
        return;
    }
    text = op_text(text);
    if (text.len == 0) {
        flags_start(req, inode, "setxattr", FLAGS_CLEAR);
        return;
    }
    if (!create_words_parse(text, &words, &bad, &why)) {
        log_bad_word(inode_path(inode), bad, why);
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct flags_op *op = flags_start(req, inode, "setxattr", FLAGS_SET);
    if (op == NULL)
        return;
    op->flags = flags;
    op->acl = readable(op->call.fs->opt->acl);
    create_words_print(&op->words, &words);
    buf_put_u8(&op->words, '\n');
}

void op_flags_remove(fuse_req_t req, struct inode *inode) {
    if (inode->kind != INODE_DIR)
        fuse_reply_err(req, ENODATA);
    else
        flags_start(req, inode, "removexattr", FLAGS_REMOVE);
}

int op_flags_words_errno(const struct inode *dir, const char *name) {
    struct create_words words;
    struct slice bad;
    const char *why;
    if (dir->modifier.kind != MODIFIER_CREATE ||
        create_words_parse(slice_from_str(name), &words, &bad, &why))
        return ENOENT;
    log_bad_word(slice_from_str(".zk/create"), bad, why);
    return EINVAL;
}
