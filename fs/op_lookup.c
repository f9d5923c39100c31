/* Names, attributes, and what else is asked of an inode without opening it. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/caller.h"
#include "fs/name.h"
#include "fs/ops.h"
#include "fs/probe.h"
#include "fs/view.h"

struct fs *op_fs(fuse_req_t req) {
    return fuse_req_userdata(req);
}

struct inode *op_inode(fuse_req_t req, fuse_ino_t ino) {
    struct inode *inode = inode_find(&op_fs(req)->inodes, ino);
    if (inode == NULL)
        fuse_reply_err(req, ESTALE);
    return inode;
}

struct handle *op_handle(fuse_req_t req, const struct fuse_file_info *fi) {
    struct handle *h = handle_find(op_fs(req), fi);
    if (h == NULL)
        fuse_reply_err(req, EBADF);
    return h;
}

enum inode_kind op_shape(struct call *c, struct slice path, const struct zstat *stat,
                         enum nullness data) {
    struct fs *fs = c->fs;
    int64_t now = (int64_t)uv_now(fs->loop);
    if (fs->opt->layout_dirs || inode_kind_of(stat, data) == INODE_DIR)
        return INODE_DIR;
    if (fs->opt->empty_dir && stat->data_length == 0 &&
        !inode_is_open(&fs->inodes, path, INODE_FILE, stat->czxid))
        return INODE_DIR; /* but not what a program makes just now, before its first write */
    if (slice_equal(path, inode_path(fs->inodes.root)))
        return INODE_DIR; /* a mount's root is one, whatever its data is */
    if (mark_holds(&fs->marks, MARK_FILLED, path, 0, now))
        return INODE_DIR;
    if (mark_holds(&fs->marks, MARK_EMPTIED, path, call_pid(c), now))
        return INODE_DIR;
    return INODE_FILE;
}

bool op_data_is_new(struct call *c, const struct zstat *stat) {
    pid_t pid = call_pid(c);
    if (stat->data_length > 0)
        return false;
    enum caller_answer anew = caller_creates_anew(pid);
    if (anew != CALLER_UNKNOWN)
        return anew == CALLER_YES;
    return c->inode->maker == pid || mark_holds(&c->fs->marks, MARK_UNLINKED, inode_path(c->inode),
                                                pid, (int64_t)uv_now(c->fs->loop));
}

void op_reply_entry(struct call *c, struct slice path, enum inode_kind kind,
                    const struct zstat *stat, enum nullness data) {
    struct stat attr;
    struct modifier view = c->inode->modifier;
    struct inode *inode = inode_get_view(&c->fs->inodes, view, path, kind, stat, data);
    inode_attr(c->fs, path, kind, stat, &attr);
    attr.st_ino += inode_view_salt(view);
    call_entry(c, inode, &attr);
}

struct lookup_op {
    struct call call;
    struct probe probe;
    struct buf path;
    bool own_data; /* `.data` is asked for */
};

static void lookup_end(struct call *c) {
    struct lookup_op *op = (struct lookup_op *)c;
    probe_close(&op->probe);
    buf_close(&op->path);
}

static void lookup_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct lookup_op *op = (struct lookup_op *)c;
    struct slice path = op_slice(&op->path);
    if (err == ZK_NONODE && !op->own_data && op_child_moved(c, &op->path))
        probe_start(&op->probe, c, op_slice(&op->path), lookup_probed);
    else if (err != ZK_OK)
        call_zk_err(c, err);
    else if (!op->own_data)
        op_reply_entry(c, path, op_shape(c, path, stat, data), stat, data);
    else if (op_data_is_new(c, stat))
        call_err(c, ENOENT);
    else
        op_reply_entry(c, path, INODE_DATA, stat, data);
}

static void lookup_start(struct call *c) {
    struct lookup_op *op = (struct lookup_op *)c;
    probe_start(&op->probe, c, op_slice(&op->path), lookup_probed);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct inode *dir = op_inode(req, parent);
    if (dir == NULL)
        return;
    if (inode_is_view(dir)) {
        view_lookup(req, dir, name);
        return;
    }
    struct buf path = BUF_INIT;
    enum op_child child = op_child(op_fs(req), dir, name, &path);
    if (child == CHILD_VIEW && dir == op_fs(req)->inodes.root) {
        view_lookup_top(req);
        return;
    }
    if (child != CHILD_ZNODE && child != CHILD_DATA) {
        buf_close(&path);
        fuse_reply_err(req, child == CHILD_TOO_LONG ? ENAMETOOLONG : ENOENT);
        return;
    }
    struct lookup_op *op = call_new(op_fs(req), req, "lookup", dir, sizeof *op, lookup_end);
    if (op == NULL) {
        buf_close(&path);
        return;
    }
    op->path = path;
    op->own_data = child == CHILD_DATA;
    view_fresh(&op->call, lookup_start);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
    struct inode_table *t = &op_fs(req)->inodes;
    struct inode *inode = inode_find(t, ino);
    if (inode != NULL)
        inode_forget(t, inode, count);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
    struct inode_table *t = &op_fs(req)->inodes;
    for (size_t i = 0; i < count; i++) {
        struct inode *inode = inode_find(t, forgets[i].ino);
        if (inode != NULL)
            inode_forget(t, inode, forgets[i].nlookup);
    }
    fuse_reply_none(req);
}

struct attr_op {
    struct call call;
    struct probe probe;
};

static void attr_end(struct call *c) { probe_close(&((struct attr_op *)c)->probe); }

/* The size that descriptors of this mount have made and not committed yet. */
static void add_held_size(const struct inode *inode, struct stat *attr) {
    for (const struct handle *h = inode->handles; h != NULL; h = h->next)
        if (h->held || h->truncate) {
            attr->st_size = handle_view(h).len;
            attr->st_blocks = (attr->st_size + 511) / 512;
        }
}

/* The znode is gone, or another has its name. Open descriptors go on with what they have. */
static void attr_gone(struct call *c, int errnum) {
    struct inode *inode = c->inode;
    if (inode->handles == NULL) {
        call_err(c, errnum);
        return;
    }
    struct stat attr;
    inode_attr(c->fs, inode_path(inode), inode->kind, &inode->stat, &attr);
    attr.st_ino += inode_view_salt(inode->modifier);
    attr.st_nlink = 0;
    add_held_size(inode, &attr);
    call_attr(c, &attr);
}

static void attr_probed(struct call *c, int err, const struct zstat *stat, enum nullness data) {
    struct inode *inode = c->inode;
    if (err == ZK_NONODE && call_moved(c)) {
        probe_start(&((struct attr_op *)c)->probe, c, inode_path(inode), attr_probed);
        return;
    }
    if (err == ZK_NONODE) {
        attr_gone(c, ENOENT);
        return;
    }
    if (err != ZK_OK) {
        call_zk_err(c, err);
        return;
    }
    if (inode->czxid != stat->czxid && inode != c->fs->inodes.root) {
        attr_gone(c, ESTALE); /* makes the kernel look the name up again */
        return;
    }
    inode_see(inode, stat, data);
    struct stat attr;
    inode_attr(c->fs, inode_path(inode), inode->kind, stat, &attr);
    attr.st_ino += inode_view_salt(inode->modifier);
    add_held_size(inode, &attr);
    call_attr(c, &attr);
}

struct call *op_reply_attr(fuse_req_t req, struct inode *inode) {
    if (inode_is_view(inode)) {
        struct stat attr;
        view_attr(op_fs(req), inode, &attr);
        fuse_reply_attr(req, &attr, 0);
        return NULL;
    }
    struct attr_op *op = call_new(op_fs(req), req, "getattr", inode, sizeof *op, attr_end);
    if (op == NULL)
        return NULL;
    probe_start(&op->probe, &op->call, inode_path(inode), attr_probed);
    return &op->call;
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void)fi;
    struct inode *inode = op_inode(req, ino);
    if (inode != NULL)
        op_reply_attr(req, inode);
}

/* Modes protect nothing here, the ACL does, and only the server knows it. But a file without x bits
 * is no program, for root neither. */
void op_access(fuse_req_t req, fuse_ino_t ino, int mask) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    if ((mask & W_OK) != 0 && op_fs(req)->opt->ro)
        fuse_reply_err(req, EROFS);
    else if ((mask & W_OK) != 0 && view_forbids(inode, CHANGE_WRITE) != 0)
        fuse_reply_err(req, view_forbids(inode, CHANGE_WRITE));
    else
        fuse_reply_err(req, (mask & X_OK) != 0 && !inode_is_dir(inode) ? EACCES : 0);
}

/* The server tells no sizes. These are numbers with which installers and file managers find room
 * for any value; f_namelen has to be true (they refuse a rename otherwise). */
void op_statfs(fuse_req_t req, fuse_ino_t ino) {
    (void)ino;
    struct statvfs st = {
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = 1 << 20,
        .f_bfree = 1 << 20,
        .f_bavail = 1 << 20,
        .f_files = 1 << 24,
        .f_ffree = 1 << 24,
        .f_favail = 1 << 24,
        .f_namemax = 255,
    };
    fuse_reply_statfs(req, &st);
}
