/* The directories of the views, and what views change about the tree below them. */
#include "fs/view.h"

#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/handle.h"
#include "fs/name.h"
#include "fs/op_flags.h"
#include "fs/ops.h"
#include "fs/probe.h"

static struct slice root_path(const struct fs *fs) { return inode_path(fs->inodes.root); }

void view_attr(const struct fs *fs, const struct inode *inode, struct stat *ret_attr) {
    bool dir = inode->kind == INODE_VIEW_DIR;
    *ret_attr = (struct stat){
        .st_ino = name_ino(inode_path(inode), 0, dir) + inode_view_salt(inode->modifier),
        .st_mode = dir ? S_IFDIR | 0555 : S_IFREG | 0444,
        .st_nlink = 1,
        .st_uid = fs->opt->uid,
        .st_gid = fs->opt->gid,
        .st_blksize = 4096,
        .st_mtim.tv_sec = fs->views.began_s,
        .st_ctim.tv_sec = fs->views.began_s,
        .st_atim.tv_sec = fs->views.began_s,
    };
}

/* Names that cannot be shown stand as they are. */
void view_put_path(struct buf *out, const struct fs *fs, struct slice path) {
    struct slice root = root_path(fs);
    int32_t at = root.len == 1 ? 0 : root.len;
    bool at_root = true;
    if (at >= path.len || path.len == 1)
        buf_put_u8(out, '/');
    while (at < path.len && path.len > 1) {
        const uint8_t *from = path.p + at + 1;
        const uint8_t *end = memchr(from, '/', (size_t)(path.len - at - 1));
        int32_t len = end != NULL ? (int32_t)(end - from) : path.len - at - 1;
        char shown[NAME_SHOWN_MAX + 1];
        buf_put_u8(out, '/');
        if (name_show((struct slice){from, len}, at_root, shown))
            buf_put(out, shown, strlen(shown));
        else
            buf_put(out, from, (size_t)len);
        at_root = false;
        at += 1 + len;
    }
}

static struct inode *view_inode(struct fs *fs, struct modifier m, struct slice path, bool dir) {
    static const struct zstat none;
    enum inode_kind kind = dir ? INODE_VIEW_DIR : INODE_VIEW_FILE;
    return inode_get_view(&fs->inodes, m, path, kind, &none, DATA_UNKNOWN);
}

static void reply_view(fuse_req_t req, struct modifier m, struct slice path, bool dir) {
    struct fs *fs = op_fs(req);
    struct inode *inode = view_inode(fs, m, path, dir);
    struct stat attr;
    view_attr(fs, inode, &attr);
    call_reply_entry(fs, req, inode, &attr);
}

void view_lookup_top(fuse_req_t req) {
    struct modifier top = {MODIFIER_TOP, 0};
    reply_view(req, top, root_path(op_fs(req)), true);
}

static void on_synced(void *ctx, const struct zk_result *res) {
    struct call *c = ctx;
    if (res->err != ZK_OK)
        call_zk_err(c, res->err);
    else
        c->on_fresh(c);
}

static void fresh(struct call *c, struct modifier m, struct slice path,
                  void (*next)(struct call *c)) {
    if (m.kind != MODIFIER_SYNC) {
        next(c);
        return;
    }
    c->on_fresh = next;
    call_track(c, zk_sync(c->fs->zk, path, on_synced, c));
}

struct look_op {
    struct call call;
    struct probe probe;
    struct buf path;
    struct modifier modifier;
    struct caller_ask *ask; /* NULL: none is under way */
};

static void look_end(struct call *c) {
    struct look_op *op = (struct look_op *)c;
    if (op->ask != NULL)
        caller_ask_drop(op->ask);
    probe_close(&op->probe);
    buf_close(&op->path);
}

/* The root of the tree as the modifier shows it. */
static void tree_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct look_op *op = (struct look_op *)c;
    struct stat attr;
    if (err != ZK_OK) {
        call_zk_err(c, err);
        return;
    }
    struct inode *inode =
        inode_get_view(&c->fs->inodes, op->modifier, op_slice(&op->path), INODE_DIR, stat, data);
    inode_attr(c->fs, op_slice(&op->path), INODE_DIR, stat, &attr);
    attr.st_ino += inode_view_salt(op->modifier);
    call_entry(c, inode, &attr);
}

static void answer_view(struct look_op *op, bool dir) {
    struct fs *fs = op->call.fs;
    struct inode *inode = view_inode(fs, op->modifier, op_slice(&op->path), dir);
    struct stat attr;
    view_attr(fs, inode, &attr);
    call_entry(&op->call, inode, &attr);
}

/* The caller does not show whether its path goes on. */
static void stream_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    (void)data;
    if (err != ZK_OK && err != ZK_NONODE)
        call_zk_err(c, err);
    else
        answer_view((struct look_op *)c, err == ZK_NONODE || stat->num_children > 0);
}

static void on_walks_on(void *ctx, enum caller_answer on) {
    struct look_op *op = ctx;
    op->ask = NULL;
    if (on == CALLER_UNKNOWN)
        probe_start(&op->probe, &op->call, op_slice(&op->path), stream_probed);
    else
        answer_view(op, on == CALLER_YES);
}

static struct look_op *look_new(fuse_req_t req, struct inode *dir, struct modifier m,
                                struct slice path) {
    struct look_op *op = call_new(op_fs(req), req, "lookup", dir, sizeof *op, look_end);
    if (op == NULL)
        return NULL;
    op->modifier = m;
    buf_put(&op->path, path.p, (size_t)path.len);
    return op;
}

/* The root of the tree, through `sync` behind one. */
static void look_at_tree(struct call *c) {
    struct look_op *op = (struct look_op *)c;
    probe_start(&op->probe, c, op_slice(&op->path), tree_probed);
}

static void lookup_tree(fuse_req_t req, struct inode *dir, struct modifier m) {
    struct look_op *op = look_new(req, dir, m, root_path(op_fs(req)));
    if (op != NULL)
        fresh(&op->call, m, op_slice(&op->path), look_at_tree);
}

/* What follows `.zk` in the caller's path, up to `name` in dir; names as they are shown. */
static void put_chain(struct buf *out, const struct fs *fs, const struct inode *dir,
                      const char *name) {
    modifier_put(out, dir->modifier);
    buf_put_u8(out, '/');
    view_put_path(out, fs, inode_path(dir));
    buf_printf(out, "/%s", name);
    buf_put_u8(out, '\0');
}

/* File or directory: as the caller's path shows, or else the znode. */
static void look_at_caller(fuse_req_t req, struct inode *dir, const char *name, struct slice path) {
    struct fs *fs = op_fs(req);
    struct buf chain = BUF_INIT;
    struct look_op *op = look_new(req, dir, dir->modifier, path);
    if (op == NULL)
        return;
    put_chain(&chain, fs, dir, name);
    op->ask = caller_ask(&fs->caller_asks, call_pid(&op->call), (const char *)chain.data,
                         on_walks_on, op);
    if (op->ask == NULL)
        on_walks_on(op, CALLER_UNKNOWN);
    buf_close(&chain);
}

static void lookup_stream(fuse_req_t req, struct inode *dir, const char *name) {
    struct fs *fs = op_fs(req);
    struct buf path = BUF_INIT;
    enum op_child child = op_child(fs, dir, name, &path);
    if (child == CHILD_DATA)
        reply_view(req, dir->modifier, op_slice(&path), false);
    else if (child != CHILD_ZNODE)
        fuse_reply_err(req, child == CHILD_TOO_LONG ? ENAMETOOLONG : ENOENT);
    else
        look_at_caller(req, dir, name, op_slice(&path));
    buf_close(&path);
}

void view_lookup(fuse_req_t req, struct inode *dir, const char *name) {
    struct modifier m;
    struct slice root = root_path(op_fs(req));
    if (modifier_type(dir->modifier) != MODIFIER_IS_GROUP)
        lookup_stream(req, dir, name);
    else if (!modifier_read(dir->modifier, name, &m))
        fuse_reply_err(req, op_flags_words_errno(dir, name));
    else if (modifier_type(m) == MODIFIER_IS_TREE)
        lookup_tree(req, dir, m);
    else
        reply_view(req, m, root, modifier_type(m) != MODIFIER_IS_REPORT);
}

void view_list(struct handle *h) {
    const char *name;
    h->unread = false;
    h->list.at = mem_alloc(sizeof *h->list.at * MODIFIER_COUNT);
    while ((name = modifier_listed(h->inode->modifier, h->list.count)) != NULL) {
        h->list.at[h->list.count++] = (uint32_t)h->list.names.len;
        buf_put(&h->list.names, name, strlen(name) + 1);
    }
}

void view_opendir(fuse_req_t req, struct inode *dir, struct fuse_file_info *fi) {
    struct fs *fs = op_fs(req);
    struct handle *h = handle_new(fs, dir);
    view_list(h);
    fi->fh = h->id;
    call_reply_open(fs, req, h, fi);
}

/* On condition of a version nothing can be made, for what is not there has none; and rename is a
 * change of two znodes. */
static int version_forbids(enum view_change change) {
    switch (change) {
    case CHANGE_CREATE:
        return ENOENT;
    case CHANGE_MAKE:
    case CHANGE_RENAME:
    case CHANGE_XATTR:
        return EPERM;
    case CHANGE_REMOVE:
    case CHANGE_WRITE:
    case CHANGE_MODE:
        break;
    }
    return 0;
}

int view_forbids(const struct inode *inode, enum view_change change) {
    if (inode_is_view(inode))
        return change == CHANGE_WRITE ? EACCES : EPERM;
    switch (inode->modifier.kind) {
    case MODIFIER_SYNC: /* is for reading */
        return EROFS;
    case MODIFIER_VERSION:
        return version_forbids(change);
    case MODIFIER_CREATE_AS: /* a rename is no creation */
        return change == CHANGE_RENAME ? EPERM : 0;
    default:
        return 0;
    }
}

bool view_refuses(fuse_req_t req, const struct inode *inode, enum view_change change) {
    int errnum = view_forbids(inode, change);
    if (errnum != 0)
        fuse_reply_err(req, errnum);
    return errnum != 0;
}

int32_t view_version(const struct inode *inode) {
    return inode->modifier.kind == MODIFIER_VERSION ? (int32_t)inode->modifier.arg : -1;
}

bool view_is_stale(const struct inode *inode, int32_t version) {
    return inode->modifier.kind == MODIFIER_VERSION && version != view_version(inode);
}

void view_fresh(struct call *c, void (*next)(struct call *c)) {
    fresh(c, c->inode->modifier, inode_path(c->inode), next);
}
