#include "fs/lock_state.h"

#include <errno.h>
#include <utlist.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/zkerr.h"
#include "fs/lost.h"
#include "fs/ops.h"

#define RETRY_MS 200

void lock_turn_take(struct lock_owner *owner, struct lock_turn *turn) {
    CHECK(!turn->queued);
    turn->queued = true;
    DL_APPEND(owner->turns, turn);
    if (owner->turns == turn)
        turn->fn(turn);
}

void lock_turn_leave(struct lock_owner *owner, struct lock_turn *turn) {
    if (!turn->queued)
        return;
    bool had_it = owner->turns == turn;
    turn->queued = false;
    DL_DELETE(owner->turns, turn);
    if (had_it && owner->turns != NULL && !owner->file->locks->stopped)
        owner->turns->fn(owner->turns);
}

void lock_turn_pass(struct lock_owner *owner, struct lock_turn *from, struct lock_turn *to) {
    CHECK(owner->turns == from);
    DL_DELETE(owner->turns, from);
    from->queued = false;
    to->queued = true;
    DL_PREPEND(owner->turns, to);
}

static void on_retry(uv_timer_t *timer) {
    struct locks *locks = timer->data;
    while (locks->retries != NULL && !locks->stopped) {
        struct lock_retry *retry = locks->retries;
        lock_retry_drop(locks, retry);
        retry->fn(retry);
    }
}

void lock_retry_later(struct locks *locks, struct lock_retry *retry) {
    if (retry->is_postponed)
        return;
    retry->is_postponed = true;
    DL_APPEND(locks->retries, retry);
    if (!uv_is_active((uv_handle_t *)&locks->retry_timer))
        uv_timer_start(&locks->retry_timer, on_retry, RETRY_MS, 0);
}

void lock_retry_drop(struct locks *locks, struct lock_retry *retry) {
    if (retry->is_postponed)
        DL_DELETE(locks->retries, retry);
    retry->is_postponed = false;
}

bool lock_is_undone(int zk_err) {
    return zk_err == ZK_OPERATIONTIMEOUT || zk_err == ZK_NOTREADONLY || zk_err == ZK_THROTTLEDOP;
}

void lock_path(struct buf *out, const struct lock_file *file, struct slice name) {
    buf_reset(out);
    buf_put(out, file->dir.data, file->dir.len);
    buf_put_u8(out, '/');
    buf_put(out, name.p, (size_t)name.len);
}

static struct lock_file *file_at(const struct locks *locks, struct slice dir) {
    struct lock_file *file;
    HASH_FIND(hh, locks->files, dir.p, (unsigned)dir.len, file);
    return file;
}

static struct lock_file *file_find(const struct fs *fs, const struct inode *inode) {
    struct lock_file *file = NULL;
    struct buf dir = BUF_INIT;
    if (fs->locks->files != NULL && lock_name_dir(&dir, inode_path(inode), inode->czxid))
        file = file_at(fs->locks, op_slice(&dir));
    buf_close(&dir);
    return file;
}

/* The handle keeps its file, also when a rename(2) gives the znode another name. */
static struct lock_file *file_of(const struct handle *h) {
    return h->lock_file != NULL ? h->lock_file : file_find(h->fs, h->inode);
}

struct lock_file *lock_file_at(struct locks *locks, struct slice dir) {
    struct lock_file *file = file_at(locks, dir);
    if (file != NULL)
        return file;
    file = mem_zalloc(sizeof *file);
    file->locks = locks;
    buf_put(&file->dir, dir.p, (size_t)dir.len);
    HASH_ADD_KEYPTR(hh, locks->files, file->dir.data, (unsigned)file->dir.len, file);
    return file;
}

/* NULL when the path is too long. */
static struct lock_file *file_take(struct handle *h) {
    if (h->lock_file != NULL)
        return h->lock_file;
    struct buf dir = BUF_INIT;
    if (lock_name_dir(&dir, inode_path(h->inode), h->inode->czxid)) {
        h->lock_file = lock_file_at(h->fs->locks, op_slice(&dir));
        h->lock_file->refs++;
    }
    buf_close(&dir);
    return h->lock_file;
}

static void on_dir_deleted(void *ctx, const struct zk_result *res) { (void)ctx, (void)res; }

static void file_unref(struct lock_file *file) {
    if (--file->refs > 0)
        return;
    struct locks *locks = file->locks;
    if (locks->no_containers && !locks->stopped) /* fails where others have locks, and rightly so */
        zk_delete(locks->fs->zk, op_slice(&file->dir), -1, on_dir_deleted, NULL);
    HASH_DELETE(hh, locks->files, file);
    buf_close(&file->dir);
    mem_free(file);
}

static struct lock_owner *owner_find(const struct lock_file *file, enum lock_class class,
                                     uint64_t id) {
    struct lock_owner *owner;
    DL_FOREACH(file->owners, owner)
    if (owner->class == class && owner->id == id)
        return owner;
    return NULL;
}

struct lock_owner *lock_owner_take(struct lock_file *file, enum lock_class class, uint64_t id) {
    struct lock_owner *owner = owner_find(file, class, id);
    if (owner == NULL) {
        owner = mem_zalloc(sizeof *owner);
        owner->file = file;
        owner->class = class;
        owner->id = id;
        owner->number = ++file->locks->last_owner;
        journal_set_counter(file->locks->fs->journal, JOURNAL_LAST_LOCK_OWNER, owner->number);
        file->refs++;
        DL_APPEND(file->owners, owner);
    }
    return lock_owner_ref(owner);
}

/* POSIX locks are the process's: it may have got them through another descriptor of the file. */
static struct lock_owner *owner_of(const struct handle *h, enum lock_class class, uint64_t id) {
    struct lock_owner *owner = NULL;
    if (h->lock_file != NULL)
        owner = owner_find(h->lock_file, class, id);
    const struct handle *other = h->fs->locks->files != NULL ? h->inode->handles : NULL;
    for (; owner == NULL && other != NULL; other = other->next)
        if (other->lock_file != NULL)
            owner = owner_find(other->lock_file, class, id);
    return owner;
}

struct lock_owner *lock_owner_ref(struct lock_owner *owner) {
    owner->refs++;
    return owner;
}

void lock_owner_unref(struct lock_owner *owner) {
    if (--owner->refs > 0)
        return;
    CHECK(owner->turns == NULL);
    DL_DELETE(owner->file->owners, owner);
    file_unref(owner->file);
    mem_free(owner->handles);
    mem_free(owner);
}

bool lock_owner_add_handle(struct lock_owner *owner, struct handle *h) {
    for (size_t i = 0; i < owner->handle_count; i++)
        if (owner->handles[i] == h)
            return false;
    owner->handles =
        mem_realloc(owner->handles, (owner->handle_count + 1) * sizeof(struct handle *));
    owner->handles[owner->handle_count++] = h;
    return true;
}

bool lock_owner_covers(const struct lock_owner *owner, bool write, bool either, int64_t start,
                       int64_t end) {
    int64_t at = start; /* each byte in front of it is covered */
    const struct lock_child *child = owner->children;
    while (child != NULL) {
        bool fits = child->state == LOCK_HELD && (either || child->entry.write == write) &&
                    child->entry.start <= at && child->entry.end >= at;
        if (fits && child->entry.end >= end)
            return true;
        if (fits)
            at = child->entry.end + 1;
        child = fits ? owner->children : child->next;
    }
    return false;
}

static void tell(struct lock_done *done, int errnum) {
    if (done != NULL)
        done->fn(done, errnum);
}

static void acquire_new(struct lock_owner *owner, struct handle *h, const struct lock_want *want,
                        struct lock_done *done) {
    struct lock_entry like = {.write = want->write,
                              .range = owner->class == LOCK_RANGE,
                              .start = want->start,
                              .end = want->end};
    struct lock_child *left = lock_child_left(owner, want);
    struct lock_child *child = left != NULL ? left : lock_child_new(owner, &like);
    child->handle = h;
    child->wait = want->wait;
    child->pid = want->pid;
    child->done = done;
    done->child = child;
    if (left != NULL)
        lock_child_adopt(child);
    else
        lock_child_make(child);
}

static void acquire_flock(struct lock_owner *owner, struct handle *h, const struct lock_want *want,
                          struct lock_done *done) {
    struct lock_child *child, *next;
    DL_FOREACH_SAFE(owner->children, child, next) {
        if (child->state != LOCK_HELD)
            continue;
        if (child->entry.write == want->write) {
            tell(done, 0);
            return;
        }
        lock_child_drop(child); /* flock(2): a conversion lets go first */
    }
    acquire_new(owner, h, want, done);
}

static void acquire_range(struct lock_owner *owner, struct handle *h, const struct lock_want *want,
                          struct lock_done *done) {
    int64_t start = want->start, end = want->end;
    bool settled = owner->turns == NULL; /* nothing is about to change */
    bool has = settled && lock_owner_covers(owner, want->write, false, start, end);
    bool has_more =
        !has && settled && !want->write && lock_owner_covers(owner, false, true, start, end);
    if ((has || has_more) && lock_owner_add_handle(owner, h))
        lock_owner_keep(owner);
    if (has)
        tell(done, 0);
    else if (has_more)
        lock_change_start(owner, true, start, end, done);
    else
        acquire_new(owner, h, want, done);
}

void lock_acquire(struct handle *h, enum lock_class class, uint64_t id,
                  const struct lock_want *want, struct lock_done *done) {
    struct lock_file *file = NULL;
    if (h->lost != 0 || (file = file_take(h)) == NULL) {
        tell(done, h->lost != 0 ? ESTALE : ENOLCK);
        return;
    }
    struct lock_owner *owner = lock_owner_take(file, class, id);
    if (class == LOCK_FLOCK)
        acquire_flock(owner, h, want, done);
    else
        acquire_range(owner, h, want, done);
    lock_owner_unref(owner);
}

static void release_flock(struct lock_owner *owner, struct lock_done *done) {
    struct lock_child *child, *next;
    DL_FOREACH_SAFE(owner->children, child, next) {
        bool is_going = child->state == LOCK_DROPPING && child->is_left && child->done == NULL;
        if (child->state != LOCK_HELD && !is_going)
            continue;
        child->done = done;
        child->errnum = 0;
        if (done != NULL)
            done->child = child;
        done = NULL; /* there is but one */
        if (!is_going)
            lock_child_drop(child);
        return;
    }
    tell(done, 0);
}

void lock_release(struct handle *h, enum lock_class class, uint64_t id, int64_t start, int64_t end,
                  struct lock_done *done) {
    struct lock_owner *owner = owner_of(h, class, id);
    bool is_lost = h->lost != 0;
    if (owner == NULL) {
        tell(done, is_lost ? ESTALE : 0);
        return;
    }
    struct lock_done *waiter = is_lost ? NULL : done;
    lock_owner_ref(owner);
    if (class == LOCK_FLOCK)
        release_flock(owner, waiter);
    else
        lock_change_start(owner, false, start, end, waiter);
    lock_owner_unref(owner);
    if (is_lost) /* what the owner has got since, through other handles, is let go all the same */
        tell(done, ESTALE);
}

void lock_leave(struct lock_done *done) {
    if (done->child != NULL)
        lock_child_leave(done->child);
    if (done->change != NULL)
        lock_change_leave(done->change);
    done->child = NULL;
    done->change = NULL;
}

bool lock_owner_has(struct handle *h, uint64_t id) { return owner_of(h, LOCK_RANGE, id) != NULL; }

/* Nobody waits for a lock through a handle that is closed, for a caller in flock(2) or fcntl(2)
 * keeps the file open. */
static void owner_forget_handle(struct lock_owner *owner, struct handle *h) {
    struct lock_child *child, *next;
    bool has = false;
    for (size_t i = 0; i < owner->handle_count; i++)
        if (owner->handles[i] == h)
            owner->handles[i] = owner->handles[--owner->handle_count];
    DL_FOREACH_SAFE(owner->children, child, next) {
        if (child->handle != h)
            continue;
        child->handle = NULL;
        has = true;
        if (owner->class == LOCK_FLOCK && child->state == LOCK_HELD && !owner->file->locks->stopped)
            lock_child_drop(child);
    }
    if (has && owner->class == LOCK_RANGE && !owner->file->locks->stopped)
        lock_change_start(owner, false, 0, LOCK_END, NULL);
}

void lock_handle_closed(struct handle *h) {
    if (h->lock_file == NULL)
        return;
    struct lock_owner *owner = h->lock_file->owners;
    while (owner != NULL) {
        lock_owner_ref(owner);
        owner_forget_handle(owner, h);
        struct lock_owner *next = owner->next;
        lock_owner_unref(owner);
        owner = next;
    }
    file_unref(h->lock_file);
    h->lock_file = NULL;
}

void lock_owner_lost(struct lock_owner *owner) {
    for (size_t i = 0; i < owner->handle_count; i++)
        handle_lose(owner->handles[i], EIO, "a lock was");
}

static bool is_stale(const struct lock_child *child, bool held) {
    if (child->session == child->owner->file->locks->session)
        return false;
    return held ? child->state == LOCK_HELD
                : child->state == LOCK_QUEUED || child->state == LOCK_ASKING ||
                      child->state == LOCK_WAITING;
}

static struct lock_child *find_stale(const struct locks *locks, bool held) {
    for (struct lock_file *file = locks->files; file != NULL; file = file->hh.next) {
        struct lock_owner *owner;
        DL_FOREACH(file->owners, owner) {
            struct lock_child *child;
            DL_FOREACH(owner->children, child)
            if (is_stale(child, held))
                return child;
        }
    }
    return NULL;
}

static void on_state(struct zk_listener *l, enum client_state state) {
    struct locks *locks = (struct locks *)((char *)l - offsetof(struct locks, listener));
    if (state != CLIENT_EXPIRED || locks->stopped)
        return;
    locks->session++;
    struct lock_child *child;
    while ((child = find_stale(locks, true)) != NULL)
        lock_child_expired(child);
    lost_end_calls(locks->fs);
    while ((child = find_stale(locks, false)) != NULL)
        lock_child_expired(child);
}

void locks_init(struct fs *fs) {
    struct locks *locks = mem_zalloc(sizeof *locks);
    locks->fs = fs;
    locks->listener.fn = on_state;
    locks->mount = journal_counter(fs->journal, JOURNAL_LOCK_MOUNT);
    if (locks->mount == 0)
        CHECK(uv_random(NULL, NULL, &locks->mount, sizeof locks->mount, 0, NULL) == 0);
    locks->mount |= 1; /* 0 is no mount */
    journal_set_counter(fs->journal, JOURNAL_LOCK_MOUNT, locks->mount);
    locks->last_owner = journal_counter(fs->journal, JOURNAL_LAST_LOCK_OWNER);
    locks->last_child = journal_counter(fs->journal, JOURNAL_LAST_LOCK);
    locks->no_containers = journal_counter(fs->journal, JOURNAL_PLAIN_LOCK_DIRS) != 0;
    CHECK(uv_timer_init(fs->loop, &locks->retry_timer) == 0);
    locks->retry_timer.data = locks;
    fs->locks = locks;
    zk_listen(fs->zk, &locks->listener);
}

void locks_stop(struct fs *fs) {
    if (fs->locks == NULL)
        return;
    fs->locks->stopped = true;
    uv_timer_stop(&fs->locks->retry_timer);
}

void locks_close(struct fs *fs) {
    struct locks *locks = fs->locks;
    while (locks != NULL && locks->files != NULL) {
        struct lock_file *file = locks->files;
        file->refs++;
        while (file->owners != NULL) {
            struct lock_owner *owner = lock_owner_ref(file->owners);
            lock_changes_free(owner);
            owner->turns = NULL;
            while (owner->children != NULL)
                lock_child_free(owner->children);
            owner->refs = 1;
            lock_owner_unref(owner);
        }
        file->refs = 1;
        file_unref(file);
    }
    mem_free(locks);
    fs->locks = NULL;
}

zxid_t lock_fence(struct fs *fs, const struct inode *inode) {
    zxid_t fence = 0;
    struct lock_file *file = file_find(fs, inode);
    struct lock_owner *owner;
    DL_FOREACH(file != NULL ? file->owners : NULL, owner) {
        struct lock_child *child;
        DL_FOREACH(owner->children, child)
        if (child->state == LOCK_HELD && child->entry.write && child->fence > fence)
            fence = child->fence;
    }
    return fence;
}

bool lock_list_path(struct handle *h, struct buf *out) {
    struct lock_file *file = file_of(h);
    if (file == NULL)
        return lock_name_dir(out, inode_path(h->inode), h->inode->czxid);
    buf_put(out, file->dir.data, file->dir.len);
    return true;
}

/* Only of this mount's own locks is it known whose they are. */
static pid_t pid_of(const struct lock_file *file, const struct lock_entry *e) {
    struct lock_owner *owner;
    DL_FOREACH(file->owners, owner) {
        struct lock_child *child;
        DL_FOREACH(owner->children, child)
        if (file->locks->mount == e->mount && child->entry.child == e->child)
            return child->pid;
    }
    return 0;
}

void lock_list_conflict(struct handle *h, uint64_t id, const struct lock_want *want,
                        const struct jvec *names, struct flock *ret_lock) {
    struct lock_file *file = file_of(h);
    struct lock_owner *owner = file != NULL ? owner_find(file, LOCK_RANGE, id) : NULL;
    struct lock_entry mine = {.write = want->write,
                              .range = true,
                              .mount = h->fs->locks->mount,
                              .owner = owner != NULL ? owner->number : 0,
                              .start = want->start,
                              .end = want->end};
    struct lock_entry *list;
    size_t count = lock_read_list(NULL, names, &list), at;
    *ret_lock = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (lock_queue_conflict(list, count, &mine, &at)) {
        const struct lock_entry *e = &list[at];
        ret_lock->l_type = e->write ? F_WRLCK : F_RDLCK;
        ret_lock->l_start = e->start;
        ret_lock->l_len = e->end == LOCK_END ? 0 : e->end - e->start + 1;
        ret_lock->l_pid = file != NULL ? pid_of(file, e) : 0;
    }
    mem_free(list);
}
