#include "fs/rename_follow.h"

#include "common/mem.h"
#include "common/path.h"
#include "fs/handle.h"

void rename_follow_init(struct rename_follow *f, struct inode_table *inodes) {
    *f = (struct rename_follow){.inodes = inodes};
}

void rename_follow_add(struct rename_follow *f, const struct subtree_znode *old, struct slice path,
                       zxid_t czxid, int32_t version) {
    f->steps = mem_realloc(f->steps, (f->step_count + 1) * sizeof *f->steps);
    f->steps[f->step_count++] = (struct rename_step){old, path, czxid, version};
}

static void add_mover(struct rename_follow *f, struct inode *inode, size_t step) {
    f->movers = mem_realloc(f->movers, (f->mover_count + 1) * sizeof *f->movers);
    f->movers[f->mover_count++] = (struct rename_mover){inode_ref(inode), step};
}

/* Those in the tree by their keys, those seen through views one by one, for they are few. */
static void find_movers(struct rename_follow *f, size_t step) {
    const struct subtree_znode *old = f->steps[step].old;
    struct slice path = subtree_path(old);
    zxid_t czxid = old->stat.czxid;
    struct inode *inode;
    for (int kind = INODE_DIR; kind <= INODE_DATA; kind++)
        for (inode = inode_first(f->inodes, path, (enum inode_kind)kind, czxid); inode != NULL;
             inode = inode->same_next)
            add_mover(f, inode, step);
    for (inode = f->inodes->viewed; inode != NULL; inode = inode->view_next)
        if (inode->czxid == czxid && slice_equal(inode_path(inode), path))
            add_mover(f, inode, step);
}

/* A descriptor that had the version which was moved has the new znode's version now; another stays
 * out of date. Of the data nothing is known until GETATTR, or an open, has looked. */
static void move(struct inode_table *inodes, struct inode *inode, const struct rename_step *s) {
    const struct zstat *old = &s->old->stat;
    for (struct handle *h = inode->handles; h != NULL; h = h->next) {
        h->version = h->version == old->version ? s->version : INT32_MIN;
        handle_note(h);
    }
    inode_move(inodes, inode, s->path, s->czxid);
    struct zstat moved = *old;
    moved.czxid = s->czxid;
    inode_see(inode, &moved, DATA_UNKNOWN);
}

void rename_follow_done(struct rename_follow *f) {
    for (size_t i = 0; i < f->step_count; i++)
        find_movers(f, i);
    const struct rename_mover *end = f->movers + f->mover_count;
    for (const struct rename_mover *m = f->movers; m < end; m++)
        move(f->inodes, m->inode, &f->steps[m->step]);
    for (const struct rename_mover *m = f->movers; m < end; m++)
        inode_unref(f->inodes, m->inode);
    mem_free(f->movers);
    mem_free(f->steps);
    *f = (struct rename_follow){0};
}

static void move_unseen(struct inode_table *inodes, struct inode *inode, size_t from_len,
                        struct slice to, zxid_t czxid) {
    struct slice old = inode_path(inode);
    struct buf path = BUF_INIT;
    buf_put(&path, to.p, (size_t)to.len);
    buf_put(&path, old.p + from_len, (size_t)old.len - from_len);
    for (struct handle *h = inode->handles; h != NULL; h = h->next) {
        h->version = INT32_MIN;
        handle_note(h);
    }
    inode_move(inodes, inode, (struct slice){path.data, (int32_t)path.len}, czxid);
    buf_close(&path);
}

/* Of a znode that was deleted, and whose name another had later, the inode stays where it is. */
static bool is_newest(struct inode *const *found, size_t count, const struct inode *inode) {
    for (size_t i = 0; i < count; i++)
        if (found[i]->czxid > inode->czxid && slice_equal(inode_path(found[i]), inode_path(inode)))
            return false;
    return true;
}

void rename_follow_unseen(struct inode_table *inodes, struct slice from, struct slice to,
                          zxid_t czxid) {
    struct inode *inode, *next, **found = NULL;
    size_t count = 0, moving = 0;
    HASH_ITER(by_id, inodes->by_id, inode, next) {
        if (inode_is_view(inode) || !path_has_prefix(inode_path(inode), from))
            continue;
        found = mem_realloc(found, (count + 1) * sizeof *found);
        found[count++] = inode;
    }
    struct inode **movers = mem_alloc((count + 1) * sizeof(struct inode *));
    for (size_t i = 0; i < count; i++)
        if (is_newest(found, count, found[i]))
            movers[moving++] = found[i];
    for (size_t i = 0; i < moving; i++)
        move_unseen(inodes, movers[i], (size_t)from.len, to, czxid);
    mem_free(movers);
    mem_free(found);
}
