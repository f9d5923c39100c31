/* Listing directories: the names as they were at open, so that a long listing is of one moment. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "fs/name.h"
#include "fs/ops.h"
#include "fs/view.h"

/* readdir knows no inode numbers, for a child's number depends on its Stat. Zero would hide the
 * entry. */
#define INO_UNKNOWN 0xffffffffu

/* The offsets of a listing: 1 is behind ".", 2 behind "..", 2 + n behind the nth name; `.data` is
 * the last, so that what is copied in this order has the children first, without which a znode with
 * data would be a file. */
#define OFF_NAMES 2

static void list_close(struct dir_list *list) {
    buf_close(&list->names);
    mem_free(list->at);
    *list = (struct dir_list){0};
}

/* Names that do not fit into a directory entry are left out; returns how many. */
static uint64_t list_fill(struct dir_list *list, const struct jvec *children, bool at_root,
                          bool has_data) {
    list_close(list);
    buf_init(&list->names, 0);
    list->has_data = has_data;
    size_t most = children->count > 0 ? (size_t)children->count : 1;
    list->at = mem_alloc(sizeof *list->at * most);
    struct slice child;
    uint64_t left_out = 0;
    char shown[NAME_SHOWN_MAX + 1];
    for (int32_t at = 0; jvec_next_string(children, &at, &child);) {
        if (!name_show(child, at_root, shown)) {
            left_out++;
            continue;
        }
        list->at[list->count++] = (uint32_t)list->names.len;
        buf_put(&list->names, shown, strlen(shown) + 1);
    }
    return left_out;
}

struct opendir_op {
    struct call call;
    struct fuse_file_info fi;
    struct handle *handle;  /* NULL until the listing is there */
    struct handle *rewound; /* a listing again, for this one */
    size_t size;
    off_t off;
};

static void reply_part(fuse_req_t req, struct handle *h, size_t size, off_t off);

static void on_children(void *ctx, const struct zk_result *res) {
    struct opendir_op *op = ctx;
    struct call *c = &op->call;
    if (res->err == ZK_NONODE && call_moved(c)) {
        call_track(c, zk_children(c->fs->zk, inode_path(c->inode), on_children, op));
        return;
    }
    if (res->err != ZK_OK) {
        call_zk_err(c, res->err);
        return;
    }
    bool at_root = slice_equal(inode_path(c->inode), inode_path(c->fs->inodes.root));
    bool has_data = c->fs->opt->layout_dirs || res->stat.data_length > 0;
    uint64_t *left_out = &c->fs->views.names_left_out;
    if (op->rewound != NULL) {
        *left_out += list_fill(&op->rewound->list, &res->children, at_root, has_data);
        fuse_req_interrupt_func(c->req, NULL, NULL);
        op->rewound->unread = false;
        reply_part(c->req, op->rewound, op->size, op->off);
        c->req = NULL;
        call_err(c, 0);
        return;
    }
    struct handle *h = handle_new(c->fs, c->inode);
    *left_out += list_fill(&h->list, &res->children, at_root, has_data);
    op->fi.fh = h->id;
    call_open(c, h, &op->fi);
}

static void list_read(struct call *c) {
    call_track(c, zk_children(c->fs->zk, inode_path(c->inode), on_children, c));
}

static struct opendir_op *list_start(fuse_req_t req, struct inode *inode, struct handle *rewound) {
    struct opendir_op *op = call_new(op_fs(req), req, "opendir", inode, sizeof *op, NULL);
    if (op == NULL)
        return NULL;
    op->rewound = rewound;
    return op;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    if (inode_is_view(inode)) {
        view_opendir(req, inode, fi);
        return;
    }
    struct opendir_op *op = list_start(req, inode, NULL);
    if (op == NULL)
        return;
    op->fi = *fi;
    view_fresh(&op->call, list_read);
}

/* Adds an entry; false when the buffer is full. */
static bool add(fuse_req_t req, char *p, size_t size, size_t *used, const char *name, mode_t mode,
                off_t next) {
    struct stat st = {.st_ino = INO_UNKNOWN, .st_mode = mode};
    size_t n = fuse_add_direntry(req, p + *used, size - *used, name, &st, next);
    if (n > size - *used)
        return false;
    *used += n;
    return true;
}

static void reply_part(fuse_req_t req, struct handle *h, size_t size, off_t off) {
    static const char *const dots[] = {".", ".."};
    const struct dir_list *list = &h->list;
    char *p = mem_alloc(size);
    size_t used = 0;
    bool room = true;
    for (; room && off < OFF_NAMES; off++)
        room = add(req, p, size, &used, dots[off], S_IFDIR, off + 1);
    off_t end = OFF_NAMES + (off_t)list->count;
    for (; room && off < end; off++) {
        const char *name = (const char *)list->names.data + list->at[off - OFF_NAMES];
        room = add(req, p, size, &used, name, 0, off + 1);
    }
    if (room && off == end && list->has_data)
        add(req, p, size, &used, NAME_DATA, S_IFREG, off + 1);
    h->list.read = true;
    fuse_reply_buf(req, p, used);
    mem_free(p);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    struct handle *h = op_handle(req, fi);
    if (h == NULL)
        return;
    if (off < 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    if (h->unread && inode_is_view(inode))
        view_list(h);
    if (!h->unread && (off > 0 || !h->list.read || inode_is_view(inode))) {
        reply_part(req, h, size, off);
        return;
    }
    /* rewinddir: as if opened again; and after a restart, where the listing went with the worker */
    struct opendir_op *op = list_start(req, inode, h);
    if (op == NULL)
        return;
    op->size = size;
    op->off = off;
    view_fresh(&op->call, list_read);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void)ino;
    struct handle *h = handle_find(op_fs(req), fi);
    if (h != NULL) /* else an earlier worker closed it, and could not say so */
        handle_close(h);
    fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    (void)datasync;
    (void)fi;
    struct inode *inode = op_inode(req, ino);
    if (inode == NULL)
        return;
    if (inode_is_view(inode)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct call *c = call_new(op_fs(req), req, "fsyncdir", inode, sizeof *c, NULL);
    if (c != NULL)
        call_track(c, zk_sync(op_fs(req)->zk, inode_path(inode), call_zk_done, c));
}
