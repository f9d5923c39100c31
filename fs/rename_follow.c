#include "fs/rename_follow.h"

#include "common/mem.h"
#include "common/path.h"
#include "fs/handle.h"

void rename_follow_init(struct rename_follow *f, struct inode_table *inodes, zxid_t zxid) {
    *f = (struct rename_follow){.inodes = inodes, .zxid = zxid};
}

static bool has_followed(const struct rename_follow *f, const struct inode *inode) {
    return f->zxid != 0 && inode->moved_by == f->zxid;
}

void rename_follow_add(struct rename_follow *f, const struct subtree_znode *old, struct slice path,
                       zxid_t czxid, int32_t version) {
    f->steps = mem_realloc(f->steps, (f->step_count + 1) * sizeof *f->steps);
    f->steps[f->step_count++] = (struct rename_step){old, path, czxid, version};
}

static void add_mover(struct rename_follow *f, struct inode *inode, size_t step) {
    if (has_followed(f, inode))
        return;
    f->movers = mem_realloc(f->movers, (f->mover_count + 1) * sizeof *f->movers);
    f->movers[f->mover_count++] = (struct rename_mover){inode_ref(inode), step};
}

/* Those in the tree by their keys, those seen through views one by one, for they are few. */
static void find_movers(struct rename_follow *f, size_t step) {
    const struct subtree_znode *old = f->steps[step].old;
    struct slice path = subtree_path(old);
    zxid_t czxid = old->stat.czxid;
    struct inode *inode;
    if (czxid == 0)
        return; /* recalled, and there is no inode of it */
    for (int kind = INODE_DIR; kind <= INODE_DATA; kind++)
        for (inode = inode_first(f->inodes, path, (enum inode_kind)kind, czxid); inode != NULL;
             inode = inode->same_next)
            add_mover(f, inode, step);
    for (inode = f->inodes->viewed; inode != NULL; inode = inode->view_next)
        if (inode->czxid == czxid && slice_equal(inode_path(inode), path))
            add_mover(f, inode, step);
}

/* A descriptor that had the version which was moved has the new znode's version now; another stays
 * out of date; a worker that died may have come as far as that. Of the data nothing is known until
 * GETATTR, or an open, has looked. */
static void move(struct rename_follow *f, struct inode *inode, const struct rename_step *s) {
    const struct zstat *old = &s->old->stat;
    for (struct handle *h = inode->handles; h != NULL; h = h->next) {
        if (f->zxid != 0 && h->moved_by == f->zxid)
            continue;
        h->version = h->version == old->version ? s->version : INT32_MIN;
        h->moved_by = f->zxid;
        if (h->kept != 0)
            handle_keep(h);
    }
    inode_move(f->inodes, inode, s->path, s->czxid, f->zxid);
    struct zstat moved = *old;
    moved.czxid = s->czxid;
    inode_see(inode, &moved, DATA_UNKNOWN);
}

void rename_follow_done(struct rename_follow *f) {
    for (size_t i = 0; i < f->step_count; i++)
        find_movers(f, i);
    const struct rename_mover *end = f->movers + f->mover_count;
    for (const struct rename_mover *m = f->movers; m < end; m++)
        move(f, m->inode, &f->steps[m->step]);
    for (const struct rename_mover *m = f->movers; m < end; m++)
        inode_unref(f->inodes, m->inode);
    mem_free(f->movers);
    mem_free(f->steps);
    *f = (struct rename_follow){0};
}

/* Of several znodes that had the name, one after the other, it is the newest. */
void rename_follow_recall(const struct rename_follow *f, struct subtree *st, struct slice root) {
    struct inode *inode, *next;
    HASH_ITER(by_id, f->inodes->by_id, inode, next) {
        struct slice path = inode_path(inode);
        if (has_followed(f, inode) || !path_has_prefix(path, root))
            continue;
        for (struct subtree_znode *z = st->at; z < st->at + st->count; z++)
            if (inode->czxid > z->stat.czxid && slice_equal(subtree_path(z), path))
                z->stat.czxid = inode->czxid;
    }
}
