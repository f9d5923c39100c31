/* What of the locks outlives a crash of the worker: each lock_child has a record, from before its
 * znode is asked for until that is known to be gone. The next worker makes them again:
 *
 *   HELD                    is held, by the same owner and handle
 *   HELD or PLANNED, and a  the tree is asked whether it was done, else it is done
 *   change was at the server
 *   QUEUED, ASKING, WAITING keeps its place in the queue until the request that asked for it has
 *                           been sent again, and takes it over; else it is removed
 *   MAKING, FINDING         likewise, once it has been looked whether the znode is there
 *   DROPPING                is removed
 *
 * The mount's number in the names stays the same, so that the tree's lists say what is ours. */
#include <string.h>
#include <utlist.h>

#include "common/mem.h"
#include "fs/lock_state.h"
#include "fs/ops.h"

/* In the record's word `going` is above the state. */
#define GOING_SHIFT 8

/* In front of the owner's handles, the directory's path and the znode's. */
struct record {
    uint64_t fh;
    uint64_t owner_id, owner_number;
    int64_t start, end;
    zxid_t fence;
    int32_t order;
    int32_t pid;
    uint32_t dir_len;
    uint32_t fh_count; /* of the owner, which are told of a loss */
    uint8_t class;
    bool write, has_order, unused;
    uint32_t unused2;
};

static struct journal *journal_of(const struct lock_child *child) {
    return child->owner->file->locks->fs->journal;
}

static uint64_t word_of(const struct lock_child *child) {
    return (uint64_t)child->state | (uint64_t)child->going << GOING_SHIFT;
}

void lock_child_set(struct lock_child *child, enum lock_state state) {
    child->state = state;
    if (child->kept != 0)
        journal_set_word(journal_of(child), child->kept, word_of(child));
}

void lock_child_keep(struct lock_child *child) {
    struct journal *journal = journal_of(child);
    const struct lock_owner *owner = child->owner;
    const struct lock_entry *e = &child->entry;
    if (journal == NULL)
        return;
    struct record r;
    memset(&r, 0, sizeof r);
    r.fh = child->handle != NULL ? child->handle->id : 0;
    r.owner_id = owner->id;
    r.owner_number = owner->number;
    r.start = e->start;
    r.end = e->end;
    r.fence = child->fence;
    r.order = e->order;
    r.pid = child->pid;
    r.dir_len = (uint32_t)owner->file->dir.len;
    r.fh_count = (uint32_t)owner->handle_count;
    r.class = (uint8_t)owner->class;
    r.write = e->write;
    r.has_order = e->has_order;
    struct buf bytes = BUF_INIT;
    buf_put(&bytes, &r, sizeof r);
    for (size_t i = 0; i < owner->handle_count; i++)
        buf_put(&bytes, &owner->handles[i]->id, sizeof owner->handles[i]->id);
    buf_put(&bytes, owner->file->dir.data, owner->file->dir.len);
    buf_put(&bytes, child->path.data, child->path.len);
    journal_put(journal, &child->kept, JOURNAL_LOCK, e->child, word_of(child), bytes.data,
                bytes.len);
    buf_close(&bytes);
}

void lock_owner_keep(struct lock_owner *owner) {
    struct lock_child *child;
    DL_FOREACH(owner->children, child)
    if (child->kept != 0)
        lock_child_keep(child);
}

/* NULL: it was closed. */
static struct handle *handle_of(struct lock_file *file, uint64_t fh) {
    struct fuse_file_info fi = {.fh = fh};
    struct handle *h = fh != 0 ? handle_find(file->locks->fs, &fi) : NULL;
    if (h != NULL && h->lock_file == NULL) {
        h->lock_file = file;
        file->refs++;
    }
    return h;
}

static void add_handles(struct lock_owner *owner, const uint8_t *fhs, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t fh;
        memcpy(&fh, fhs + i * sizeof fh, sizeof fh);
        struct handle *h = handle_of(owner->file, fh);
        if (h != NULL)
            lock_owner_add_handle(owner, h);
    }
}

static void on_record(void *ctx, const struct journal_record *rec) {
    struct fs *fs = ctx;
    struct record r;
    if (rec->bytes.len < (int32_t)sizeof r)
        return;
    memcpy(&r, rec->bytes.p, sizeof r);
    const uint8_t *fhs = rec->bytes.p + sizeof r;
    size_t before = sizeof r + r.fh_count * sizeof r.fh;
    struct slice dir = {rec->bytes.p + before, (int32_t)r.dir_len};
    struct lock_file *file = lock_file_at(fs->locks, dir);
    struct lock_owner *owner = lock_owner_take(file, (enum lock_class)r.class, r.owner_id);
    owner->number = r.owner_number;
    struct handle *h = handle_of(file, r.fh);
    add_handles(owner, fhs, r.fh_count);
    struct lock_entry like = {.write = r.write,
                              .range = r.class == LOCK_RANGE,
                              .has_order = r.has_order,
                              .child = rec->key,
                              .start = r.start,
                              .end = r.end,
                              .order = r.order};
    struct lock_child *child = lock_child_bare(owner, &like);
    child->kept = rec->ref;
    child->state = (enum lock_state)(rec->word & 0xff);
    child->going = (uint32_t)(rec->word >> GOING_SHIFT);
    child->is_left = true;
    child->rounds = 1; /* made again, it gets another name */
    child->fence = r.fence;
    child->pid = r.pid;
    child->handle = h;
    buf_put(&child->path, dir.p + dir.len, (size_t)rec->bytes.len - before - r.dir_len);
    if (h != NULL && child->state == LOCK_HELD)
        lock_owner_add_handle(owner, h);
    lock_owner_unref(owner);
}

static void go_on(struct lock_child *child) {
    switch (child->state) {
    case LOCK_MAKING:
    case LOCK_FINDING:
        lock_child_find(child);
        break;
    case LOCK_QUEUED:
    case LOCK_ASKING:
    case LOCK_WAITING:
        lock_child_set(child, LOCK_QUEUED);
        break;
    case LOCK_DROPPING:
        lock_child_drop(child);
        break;
    case LOCK_HELD:
    case LOCK_PLANNED:
        break;
    }
}

static bool has_change(const struct lock_owner *owner) {
    const struct lock_child *child;
    DL_FOREACH(owner->children, child)
    if ((child->state == LOCK_HELD && child->going != 0) || child->state == LOCK_PLANNED)
        return true;
    return false;
}

/* The handle of such a lock was closed, and it was about to be let go (lock_handle_closed). */
static bool is_closed(const struct lock_child *child) {
    return child->state == LOCK_HELD && child->handle == NULL;
}

static void let_go_closed(struct lock_owner *owner) {
    struct lock_child *child, *next;
    bool has = false;
    DL_FOREACH_SAFE(owner->children, child, next) {
        has |= is_closed(child);
        if (is_closed(child) && owner->class == LOCK_FLOCK)
            lock_child_drop(child);
    }
    if (has && owner->class == LOCK_RANGE)
        lock_change_start(owner, false, 0, LOCK_END, NULL);
}

static void each_owner(struct fs *fs, void (*fn)(struct lock_owner *owner)) {
    struct lock_file *file, *next_file;
    HASH_ITER(hh, fs->locks->files, file, next_file) {
        struct lock_owner *owner = file->owners;
        if (owner != NULL)
            lock_owner_ref(owner);
        while (owner != NULL) {
            fn(owner);
            struct lock_owner *next = owner->next;
            if (next != NULL)
                lock_owner_ref(next);
            lock_owner_unref(owner); /* the last one takes its file along */
            owner = next;
        }
    }
}

static void resume_owner(struct lock_owner *owner) {
    struct lock_child *child, *next;
    if (has_change(owner))
        lock_change_resume(owner);
    DL_FOREACH_SAFE(owner->children, child, next) go_on(child);
    let_go_closed(owner);
}

void locks_resume(struct fs *fs) {
    if (fs->locks == NULL)
        return; /* unit tests */
    journal_each(fs->journal, JOURNAL_LOCK, on_record, fs);
    each_owner(fs, resume_owner);
}

struct lock_child *lock_child_left(struct lock_owner *owner, const struct lock_want *want) {
    struct lock_child *child;
    DL_FOREACH(owner->children, child) {
        bool waits = child->state == LOCK_QUEUED || child->state == LOCK_FINDING;
        const struct lock_entry *e = &child->entry;
        bool same_range =
            owner->class == LOCK_FLOCK || (e->start == want->start && e->end == want->end);
        if (child->is_left && waits && child->done == NULL && e->write == want->write && same_range)
            return child;
    }
    return NULL;
}

static void settle_owner(struct lock_owner *owner) {
    struct lock_child *child, *next;
    DL_FOREACH_SAFE(owner->children, child, next)
    if (child->is_left && child->state == LOCK_QUEUED)
        lock_child_drop(child);
}

void locks_settle(struct fs *fs) {
    if (fs->locks != NULL)
        each_owner(fs, settle_owner);
}
