#include "tests/lib/mem_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "tests/lib/mem_files_state.h"
#include "tests/lib/mem_path.h"

/* ---- names ---- */

static int name_get(struct mem_files *f, const char *path) {
    int at = name_find(f, path);
    if (at >= 0)
        return at;
    f->names = mem_realloc(f->names, (f->name_count + 1) * sizeof *f->names);
    f->names[f->name_count] = (struct name){.path = mem_strdup(path), .now = -1, .disk = -1};
    return (int)f->name_count++;
}

static int inode_of(const struct mem_files *f, const char *path) {
    int at = name_find(f, path);
    return at < 0 ? -1 : f->names[at].now;
}

static bool dir_there(const struct mem_files *f, const char *dir) {
    if (strcmp(dir, ".") == 0 || strcmp(dir, "/") == 0)
        return true;
    int at = name_find(f, dir);
    return at >= 0 && f->names[at].now >= 0 && f->names[at].dir;
}

static bool parent_there(const struct mem_files *f, const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return true;
    char *dir = mem_strndup(path, (size_t)(slash - path));
    bool there = dir_there(f, dir);
    mem_free(dir);
    return there;
}

static int inode_new(struct mem_files *f) {
    f->inodes = mem_realloc(f->inodes, (f->inode_count + 1) * sizeof *f->inodes);
    f->inodes[f->inode_count] = (struct mem_inode){.lock = -1};
    return (int)f->inode_count++;
}

static void change_name(struct mem_files *f, int name, int inode, uint64_t number) {
    f->names[name].now = inode;
    f->journal = mem_realloc(f->journal, (f->journal_count + 1) * sizeof *f->journal);
    f->journal[f->journal_count++] = (struct change){(size_t)name, inode, number};
}

/* Brings the changes that `keep` names to the disk and takes them out of the journal. */
static void journal_write(struct mem_files *f, const bool *keep) {
    size_t left = 0;
    for (size_t i = 0; i < f->journal_count; i++) {
        if (keep[i])
            f->names[f->journal[i].name].disk = f->journal[i].inode;
        else
            f->journal[left++] = f->journal[i];
    }
    f->journal_count = left;
}

static void journal_write_all(struct mem_files *f) {
    for (size_t i = 0; i < f->journal_count; i++)
        f->names[f->journal[i].name].disk = f->journal[i].inode;
    f->journal_count = 0;
}

/* Of each directory's changes a prefix reaches the disk; a rename does so as a whole. */
static void journal_tear(struct mem_files *f, uint64_t *seed) {
    bool *keep = mem_zalloc(f->journal_count + 1);
    for (size_t i = 0; i < f->journal_count; i++) {
        const struct change *c = &f->journal[i];
        keep[i] = mem_random(seed) % 4 > 0;
        for (size_t k = 0; k < i; k++) {
            bool together = f->journal[k].number == c->number;
            if (together)
                keep[i] = keep[k];
            else if (!keep[k] &&
                     mem_path_same_dir(f->names[f->journal[k].name].path, f->names[c->name].path))
                keep[i] = false;
        }
    }
    journal_write(f, keep);
    mem_free(keep);
}

/* A directory that the disk has lost takes along what is in it. */
static void drop_orphans(struct mem_files *f) {
    for (bool dropped = true; dropped;) {
        dropped = false;
        for (size_t i = 0; i < f->name_count; i++) {
            struct name *n = &f->names[i];
            if (n->now >= 0 && !parent_there(f, n->path)) {
                n->now = n->disk = -1;
                dropped = true;
            }
        }
    }
}

/* ---- faults ---- */

/* True when the call is not to happen: *ret_err is then its result. */
static bool call_refused(struct mem_files *f, int *ret_err) {
    if (f->off) {
        *ret_err = -EIO;
        return true;
    }
    f->calls++;
    if (f->fault_at != f->calls || f->fault == MEM_FAULT_CUT_AFTER)
        return false;
    f->fault_happened = true;
    f->off = f->fault == MEM_FAULT_CUT_BEFORE;
    *ret_err = f->off ? -EIO : f->fault_err;
    return true;
}

/* The result of a call that has done its work, or found that there is none. */
static int64_t call_done(struct mem_files *f, int64_t result) {
    if (f->fault_at != f->calls || f->fault != MEM_FAULT_CUT_AFTER)
        return result;
    f->fault_happened = true;
    f->off = true;
    return -EIO;
}

static struct mem_inode *handle_inode(struct mem_files *f, int fd) {
    if (fd < 0 || (size_t)fd >= f->handle_count || f->handles[fd] < 0)
        return NULL;
    return &f->inodes[f->handles[fd]];
}

/* ---- env_files ---- */

static int do_write(struct mem_files *f, struct mem_inode *ino, const void *p, size_t n,
                    size_t offset) {
    size_t takes = mem_room_write(&f->room, mem_files_used(f), ino->cache.size, n, offset);
    if (takes > 0)
        mem_inode_write(ino, p, takes, offset);
    return takes < n ? -ENOSPC : 0;
}

static int do_open(struct mem_files *f, const char *path, int flags) {
    int inode = inode_of(f, path);
    if (!parent_there(f, path) || (inode < 0 && (flags & O_CREAT) == 0))
        return -ENOENT;
    if (inode >= 0 && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0)
        return -EEXIST;
    if (inode >= 0 && f->names[name_find(f, path)].dir)
        return -EISDIR;
    if (inode < 0 && !mem_room_name(&f->room, mem_files_used(f)))
        return -ENOSPC;
    if (inode < 0) {
        inode = inode_new(f);
        int name = name_get(f, path);
        f->names[name].dir = false;
        change_name(f, name, inode, ++f->changes);
    }
    if ((flags & O_TRUNC) != 0) {
        mem_inode_mark_dirty(&f->inodes[inode], 0, f->inodes[inode].cache.size);
        mem_image_resize(&f->inodes[inode].cache, 0);
    }
    f->handles = mem_realloc(f->handles, (f->handle_count + 1) * sizeof *f->handles);
    f->handles[f->handle_count] = inode;
    return (int)f->handle_count++;
}

static int mem_open(void *ctx, const char *path, int flags, int mode) {
    struct mem_files *f = ctx;
    int err = 0;
    return call_refused(f, &err) ? err : (int)call_done(f, do_open(f, path, flags));
}

static int mem_close(void *ctx, int fd) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    if (ino == NULL)
        return -EBADF;
    if (ino->lock == fd)
        ino->lock = -1;
    f->handles[fd] = -1;
    return (int)call_done(f, 0);
}

static int64_t mem_pread(void *ctx, int fd, void *p, size_t n, int64_t offset) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    if (ino == NULL)
        return -EBADF;
    size_t left = (size_t)offset < ino->cache.size ? ino->cache.size - (size_t)offset : 0;
    size_t got = n < left ? n : left;
    if (got > 0)
        memcpy(p, ino->cache.bytes + offset, got);
    return call_done(f, (int64_t)got);
}

static int mem_pwrite(void *ctx, int fd, const void *p, size_t n, int64_t offset) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    if (ino == NULL)
        return -EBADF;
    return (int)call_done(f, do_write(f, ino, p, n, (size_t)offset));
}

static int mem_sync(void *ctx, int fd) {
    struct mem_files *f = ctx;
    int err = 0;
    bool refused = call_refused(f, &err);
    struct mem_inode *ino = handle_inode(f, fd);
    if (refused && !f->off && ino != NULL)
        mem_inode_clean(ino);
    if (refused)
        return err;
    if (ino == NULL)
        return -EBADF;
    mem_inode_sync(ino);
    return (int)call_done(f, 0);
}

static int mem_truncate(void *ctx, int fd, int64_t size) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    if (ino == NULL)
        return -EBADF;
    if ((size_t)size < ino->cache.size)
        mem_inode_mark_dirty(ino, (size_t)size, ino->cache.size);
    mem_image_resize(&ino->cache, (size_t)size);
    return (int)call_done(f, 0);
}

static int64_t mem_size(void *ctx, int fd) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    return ino == NULL ? -EBADF : call_done(f, (int64_t)ino->cache.size);
}

static int64_t mem_links(void *ctx, int fd) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    if (handle_inode(f, fd) == NULL)
        return -EBADF;
    int64_t count = 0;
    for (size_t i = 0; i < f->name_count; i++)
        count += f->names[i].now == f->handles[fd];
    return call_done(f, count);
}

static int mem_rename(void *ctx, const char *from, const char *to) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    int inode = inode_of(f, from);
    if (inode < 0 || !parent_there(f, to))
        return (int)call_done(f, -ENOENT);
    if (!mem_room_name(&f->room, 0))
        return (int)call_done(f, -ENOSPC);
    int to_name = name_get(f, to);
    int from_name = name_find(f, from);
    f->names[to_name].dir = f->names[from_name].dir;
    uint64_t number = ++f->changes;
    change_name(f, to_name, inode, number);
    change_name(f, from_name, -1, number);
    return (int)call_done(f, 0);
}

static int mem_unlink(void *ctx, const char *path) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    if (inode_of(f, path) < 0)
        return (int)call_done(f, -ENOENT);
    change_name(f, name_find(f, path), -1, ++f->changes);
    return (int)call_done(f, 0);
}

static int mem_mkdir(void *ctx, const char *path, int mode) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    if (dir_there(f, path) || inode_of(f, path) >= 0)
        return (int)call_done(f, -EEXIST);
    if (!parent_there(f, path))
        return (int)call_done(f, -ENOENT);
    int name = name_get(f, path);
    f->names[name].dir = true;
    change_name(f, name, inode_new(f), ++f->changes);
    return (int)call_done(f, 0);
}

static void inode_drop(struct mem_inode *ino) {
    mem_free(ino->cache.bytes);
    mem_free(ino->disk.bytes);
    mem_free(ino->dirty);
    *ino = (struct mem_inode){.lock = -1};
}

/* The bytes of files that no name and no handle leads to, and no power cut brings back: a long life
 * with many snapshots would keep them all. */
static void drop_lost(struct mem_files *f) {
    bool *used = mem_zalloc(f->inode_count + 1);
    for (size_t i = 0; i < f->name_count; i++) {
        if (f->names[i].now >= 0)
            used[f->names[i].now] = true;
        if (f->names[i].disk >= 0)
            used[f->names[i].disk] = true;
    }
    for (size_t i = 0; i < f->journal_count; i++)
        if (f->journal[i].inode >= 0)
            used[f->journal[i].inode] = true;
    for (size_t i = 0; i < f->handle_count; i++)
        if (f->handles[i] >= 0)
            used[f->handles[i]] = true;
    for (size_t i = 0; i < f->inode_count; i++)
        if (!used[i])
            inode_drop(&f->inodes[i]);
    mem_free(used);
}

static int mem_sync_dir(void *ctx, const char *path) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    if (!dir_there(f, path))
        return (int)call_done(f, -ENOENT);
    bool *keep = mem_zalloc(f->journal_count + 1);
    for (size_t i = 0; i < f->journal_count; i++) {
        const struct change *c = &f->journal[i];
        keep[i] = mem_path_in_dir(f->names[c->name].path, path);
        /* Both halves of a rename, in either directory. */
        if (keep[i] && i > 0 && f->journal[i - 1].number == c->number)
            keep[i - 1] = true;
        if (i > 0 && keep[i - 1] && f->journal[i - 1].number == c->number)
            keep[i] = true;
    }
    journal_write(f, keep);
    mem_free(keep);
    drop_lost(f);
    return (int)call_done(f, 0);
}

static int mem_list(void *ctx, const char *path, void (*fn)(void *arg, const char *name),
                    void *arg) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    if (!dir_there(f, path))
        return (int)call_done(f, -ENOENT);
    for (size_t i = 0; i < f->name_count; i++) {
        const char *slash = strrchr(f->names[i].path, '/');
        if (f->names[i].now >= 0 && mem_path_in_dir(f->names[i].path, path))
            fn(arg, slash == NULL ? f->names[i].path : slash + 1);
    }
    return (int)call_done(f, 0);
}

static int mem_lock(void *ctx, int fd) {
    struct mem_files *f = ctx;
    int err = 0;
    if (call_refused(f, &err))
        return err;
    struct mem_inode *ino = handle_inode(f, fd);
    if (ino == NULL)
        return -EBADF;
    if (ino->lock >= 0 && ino->lock != fd)
        return (int)call_done(f, -EAGAIN);
    ino->lock = fd;
    return (int)call_done(f, 0);
}

/* ---- the machine ---- */

struct mem_files *mem_files_new(void) {
    struct mem_files *f = mem_zalloc(sizeof *f);
    f->env = (struct env_files){
        .ctx = f,
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwrite = mem_pwrite,
        .datasync = mem_sync,
        .sync = mem_sync,
        .truncate = mem_truncate,
        .size = mem_size,
        .links = mem_links,
        .rename = mem_rename,
        .unlink = mem_unlink,
        .mkdir = mem_mkdir,
        .sync_dir = mem_sync_dir,
        .list = mem_list,
        .lock = mem_lock,
    };
    return f;
}

void mem_files_free(struct mem_files *f) {
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->inode_count; i++)
        inode_drop(&f->inodes[i]);
    for (size_t i = 0; i < f->name_count; i++)
        mem_free(f->names[i].path);
    mem_free(f->inodes);
    mem_free(f->names);
    mem_free(f->journal);
    mem_free(f->handles);
    mem_free(f);
}

struct mem_files *mem_files_clone(const struct mem_files *f) {
    struct mem_files *c = mem_files_new();
    for (size_t i = 0; i < f->inode_count; i++) {
        const struct mem_inode *from = &f->inodes[i];
        int at = inode_new(c);
        struct mem_inode *to = &c->inodes[at];
        mem_image_copy(&to->cache, &from->cache);
        mem_image_copy(&to->disk, &from->disk);
        to->dirty_cap = from->dirty_cap;
        if (from->dirty_cap > 0)
            to->dirty = mem_dup(from->dirty, from->dirty_cap * sizeof *from->dirty);
    }
    for (size_t i = 0; i < f->name_count; i++) {
        int at = name_get(c, f->names[i].path);
        char *path = c->names[at].path;
        c->names[at] = f->names[i];
        c->names[at].path = path;
    }
    if (f->journal_count > 0)
        c->journal = mem_dup(f->journal, f->journal_count * sizeof *f->journal);
    c->journal_count = f->journal_count;
    c->changes = f->changes;
    return c;
}

const struct env_files *mem_files_env(struct mem_files *f) { return &f->env; }

uint64_t mem_files_calls(const struct mem_files *f) { return f->calls; }

void mem_files_fault(struct mem_files *f, uint64_t nth, enum mem_fault fault, int err) {
    f->fault_at = nth == 0 ? 0 : f->calls + nth;
    f->fault = fault;
    f->fault_err = err;
    f->fault_happened = false;
}

bool mem_files_fault_happened(const struct mem_files *f) { return f->fault_happened; }

struct mem_room *mem_files_room(struct mem_files *f) {
    return &f->room;
}

uint64_t mem_files_used(const struct mem_files *f) {
    uint64_t used = 0;
    for (size_t i = 0; i < f->name_count; i++)
        if (f->names[i].now >= 0)
            used += f->inodes[f->names[i].now].cache.size;
    return used;
}

void mem_files_kill(struct mem_files *f) {
    for (size_t i = 0; i < f->inode_count; i++)
        f->inodes[i].lock = -1;
    f->handle_count = 0;
    f->off = false;
    f->fault_at = 0;
}

void mem_files_power_cut(struct mem_files *f, enum mem_cut cut, uint64_t seed) {
    mem_files_kill(f);
    if (cut == MEM_CUT_KEEP)
        journal_write_all(f);
    else if (cut == MEM_CUT_TEAR)
        journal_tear(f, &seed);
    f->journal_count = 0;
    for (size_t i = 0; i < f->name_count; i++)
        f->names[i].now = f->names[i].disk;
    drop_orphans(f);
    for (size_t i = 0; i < f->inode_count; i++) {
        if (cut == MEM_CUT_KEEP)
            mem_inode_sync(&f->inodes[i]);
        else if (cut == MEM_CUT_TEAR)
            mem_inode_tear(&f->inodes[i], &seed);
        mem_image_copy(&f->inodes[i].cache, &f->inodes[i].disk);
        mem_inode_clean(&f->inodes[i]);
    }
}

/* ---- looking and damaging ---- */

static struct mem_inode *must_find(const struct mem_files *f, const char *path) {
    int inode = inode_of(f, path);
    CHECK(inode >= 0);
    return &f->inodes[inode];
}

const uint8_t *mem_files_bytes(const struct mem_files *f, const char *path, size_t *ret_size) {
    int inode = inode_of(f, path);
    if (inode < 0)
        return NULL;
    *ret_size = f->inodes[inode].cache.size;
    static const uint8_t nothing;
    return *ret_size == 0 ? &nothing : f->inodes[inode].cache.bytes;
}

void mem_files_put(struct mem_files *f, const char *path, uint64_t offset, const void *p,
                   size_t n) {
    struct mem_inode *ino = must_find(f, path);
    mem_inode_write(ino, p, n, (size_t)offset);
    mem_inode_sync(ino);
}

void mem_files_flip_bit(struct mem_files *f, const char *path, uint64_t bit) {
    struct mem_inode *ino = must_find(f, path);
    CHECK(bit / 8 < ino->cache.size);
    uint8_t byte = ino->cache.bytes[bit / 8] ^ (uint8_t)(1u << (bit % 8));
    mem_files_put(f, path, bit / 8, &byte, 1);
}

void mem_files_cut(struct mem_files *f, const char *path, size_t size) {
    struct mem_inode *ino = must_find(f, path);
    mem_image_resize(&ino->cache, size);
    mem_inode_sync(ino);
}

static void set_name(struct mem_files *f, const char *path, int inode) {
    int name = name_get(f, path);
    f->names[name].now = inode;
    f->names[name].disk = inode;
}

void mem_files_remove(struct mem_files *f, const char *path) {
    journal_write_all(f);
    set_name(f, path, -1);
}

void mem_files_make(struct mem_files *f, const char *path, const void *p, size_t n) {
    journal_write_all(f);
    set_name(f, path, inode_new(f));
    mem_files_put(f, path, 0, p, n);
}

void mem_files_move(struct mem_files *f, const char *from, const char *to) {
    journal_write_all(f);
    set_name(f, to, inode_of(f, from));
    set_name(f, from, -1);
}

void mem_files_link(struct mem_files *f, const char *from, const char *to) {
    journal_write_all(f);
    set_name(f, to, inode_of(f, from));
}
