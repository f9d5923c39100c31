/* What a disk's files are, and what is done to them. */
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/snap_name.h"
#include "replica/store/wal_format.h"
#include "tests/rot/rot.h"

#define SECTOR 512u
#define PAGE 4096u

const char *const rot_kind_names[ROT_KINDS] = {
    [ROT_LOG_LAST] = "log, the last segment",
    [ROT_LOG_NEEDED] = "log, behind the snapshot",
    [ROT_LOG_OLD] = "log, before the snapshot",
    [ROT_SNAP_NEWEST] = "snapshot, the newest",
    [ROT_SNAP_OLDER] = "snapshot, an older one",
    [ROT_EPOCH] = "epoch.1, epoch.2",
    [ROT_CUT] = "cut",
    [ROT_SNAP_NEXT] = "snapshot.next",
    [ROT_REBUILD] = "rebuild",
    [ROT_NEW] = "new.*",
    [ROT_UNFINISHED] = "unfinished files",
    [ROT_RESERVE] = "reserve",
    [ROT_LOCK] = "lock",
    [ROT_WHOLE] = "the whole directory",
};

const char *const rot_fault_names[ROT_FAULTS] = {
    [ROT_BIT] = "a bit",
    [ROT_BYTE] = "a byte",
    [ROT_SECTOR] = "512 zeros",
    [ROT_PAGE] = "4096 zeros",
    [ROT_MISPLACED] = "a sector misplaced",
    [ROT_LOST] = "lost",
    [ROT_ZEROED] = "all zeros",
    [ROT_SHORTER] = "truncated",
    [ROT_OLDER] = "an older copy",
    [ROT_BACK] = "removed, is back",
};

/* ---- which files there are ---- */

static void path_of(const char *name, char out[64]) {
    (void)snprintf(out, 64, "%s/%.*s", MEMBERS_DIR, ROT_NAME_BYTES, name);
}

static enum rot_kind kind_of(const char *name, zxid_t *ret_zxid) {
    static const char *const unfinished[] = {"snapshot.tmp", "snapshot.new", "cut.new",
                                             "epoch.1.new",  "epoch.2.new",  "rebuild.new"};
    *ret_zxid = 0;
    if (strncmp(name, "new.", 4) == 0)
        return ROT_NEW;
    for (size_t i = 0; i < sizeof unfinished / sizeof unfinished[0]; i++)
        if (strcmp(name, unfinished[i]) == 0)
            return ROT_UNFINISHED;
    if (strcmp(name, "snapshot.next") == 0)
        return ROT_SNAP_NEXT;
    if (wal_segment_parse(name, ret_zxid))
        return ROT_LOG_NEEDED;
    if (snap_name_parse(name, ret_zxid))
        return ROT_SNAP_OLDER;
    if (strcmp(name, "epoch.1") == 0 || strcmp(name, "epoch.2") == 0)
        return ROT_EPOCH;
    if (strcmp(name, "cut") == 0)
        return ROT_CUT;
    if (strcmp(name, "rebuild") == 0)
        return ROT_REBUILD;
    if (strcmp(name, "reserve") == 0)
        return ROT_RESERVE;
    CHECK(strcmp(name, "lock") == 0);
    return ROT_LOCK;
}

/* What the others of its kind make of it: the list is descending by name. */
static void tell_apart(struct rot_file *list, size_t count) {
    zxid_t newest = 0, next = 0;
    for (size_t i = 0; i < count; i++) {
        struct rot_file *f = &list[i];
        if (f->kind == ROT_SNAP_NEXT)
            newest = INT64_MAX; /* it takes the place of everything */
        if (f->kind == ROT_SNAP_OLDER && newest == 0) {
            f->kind = ROT_SNAP_NEWEST;
            newest = f->first;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct rot_file *f = &list[i];
        if (f->kind != ROT_LOG_NEEDED)
            continue;
        if (next == 0)
            f->kind = ROT_LOG_LAST;
        else if (next - 1 <= newest)
            f->kind = ROT_LOG_OLD;
        f->until = next;
        next = f->first;
    }
}

/* A segment that was begun, and nothing was written behind its header. */
static bool holds_nothing(const struct mem_files *f, const char *path) {
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(f, path, &size);
    return size <= WAL_HEADER_BYTES || wal_all_zero(p + WAL_HEADER_BYTES, size - WAL_HEADER_BYTES);
}

size_t rot_files(const struct mem_files *f, struct rot_file out[ROT_FILES_MAX]) {
    size_t n = 0;
    for (;; n++) {
        char *path = mem_files_last(f, MEMBERS_DIR, "", n);
        if (path == NULL)
            break;
        CHECK(n < ROT_FILES_MAX);
        out[n] = (struct rot_file){0};
        (void)mem_files_bytes(f, path, &out[n].size);
        (void)snprintf(out[n].name, sizeof out[n].name, "%s", strrchr(path, '/') + 1);
        out[n].kind = kind_of(out[n].name, &out[n].first);
        if (out[n].kind == ROT_LOG_NEEDED && holds_nothing(f, path))
            out[n].kind = ROT_UNFINISHED;
        mem_free(path);
    }
    tell_apart(out, n);
    return n;
}

bool rot_older_differs(const struct rot_base *b, size_t host, size_t moment, const char *name) {
    char path[64];
    size_t old_size = 0, size = 0;
    path_of(name, path);
    const uint8_t *old = mem_files_bytes(b->older[host][moment], path, &old_size);
    const uint8_t *now = mem_files_bytes(b->disks[host], path, &size);
    if (old == NULL || now == NULL)
        return old != NULL;
    return old_size != size || memcmp(old, now, size) != 0;
}

/* ---- what is done to them ---- */

static void put(struct mem_files *f, const char *path, struct rot_damage *d, uint64_t at,
                const uint8_t *p, size_t n) {
    d->at = at;
    d->n = n;
    mem_files_put(f, path, at, p, n);
}

/* Where something stands, rather than among the zeros behind it, mostly. */
static uint64_t draw_place(const uint8_t *p, size_t size, struct prng *r) {
    size_t content = size;
    while (content > 0 && p[content - 1] == 0)
        content--;
    if (content == 0 || prng_chance(r, 1, 12))
        content = size;
    return prng_below(r, content);
}

/* Of this file, or of another one of the same disk. */
static void misplace(struct mem_files *f, const char *path, struct rot_damage *d, uint64_t at,
                     size_t size, struct prng *r) {
    uint8_t sector[SECTOR] = {0};
    size_t from_size = size, n = size - at < SECTOR ? size - (size_t)at : SECTOR;
    char *other = mem_files_last(f, MEMBERS_DIR, prng_chance(r, 3, 4) ? "log." : "snapshot.",
                                 (size_t)prng_below(r, 6));
    const uint8_t *p =
        mem_files_bytes(f, other != NULL && prng_chance(r, 1, 2) ? other : path, &from_size);
    uint64_t from = from_size == 0 ? 0 : prng_below(r, from_size) / SECTOR * SECTOR;
    if (from_size > from)
        memcpy(sector, p + from, from_size - from < SECTOR ? from_size - (size_t)from : SECTOR);
    mem_free(other);
    put(f, path, d, at, sector, n);
}

static void damage_place(struct mem_files *f, const char *path, struct rot_damage *d,
                         struct prng *r) {
    static const uint8_t zeros[PAGE];
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(f, path, &size);
    uint64_t at = draw_place(p, size, r);
    size_t unit = d->fault == ROT_PAGE ? PAGE : SECTOR;
    uint64_t first = at / SECTOR * SECTOR;
    uint8_t byte = p[at];
    switch (d->fault) {
    case ROT_BIT:
        byte ^= (uint8_t)(1u << prng_below(r, 8));
        put(f, path, d, at, &byte, 1);
        break;
    case ROT_BYTE:
        byte = (uint8_t)prng_next(r);
        put(f, path, d, at, &byte, 1);
        break;
    case ROT_SECTOR:
    case ROT_PAGE:
        put(f, path, d, first, zeros, size - first < unit ? size - (size_t)first : unit);
        break;
    default:
        misplace(f, path, d, first, size, r);
        break;
    }
}

static void put_older(struct mem_files *f, const char *path, const struct rot_base *b,
                      struct rot_damage *d) {
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(b->older[d->host][d->older], path, &size);
    CHECK(p != NULL);
    mem_files_make(f, path, p, size);
    d->n = size;
}

static void zero_all(struct mem_files *f, const char *path, struct rot_damage *d) {
    size_t size = 0;
    (void)mem_files_bytes(f, path, &size);
    uint8_t *zeros = mem_zalloc(size + 1);
    if (size > 0)
        put(f, path, d, 0, zeros, size);
    mem_free(zeros);
}

/* Another machine's disk, or this one's of an earlier day. */
static void replace_all(struct mem_files *f, const struct rot_base *b, struct rot_damage *d) {
    struct rot_file files[ROT_FILES_MAX];
    char path[64];
    size_t n = rot_files(f, files), size = 0;
    for (size_t i = 0; i < n; i++) {
        path_of(files[i].name, path);
        mem_files_remove(f, path);
    }
    if (d->fault != ROT_OLDER)
        return;
    n = rot_files(b->older[d->host][d->older], files);
    for (size_t i = 0; i < n; i++) {
        path_of(files[i].name, path);
        const uint8_t *p = mem_files_bytes(b->older[d->host][d->older], path, &size);
        mem_files_make(f, path, p, size);
    }
}

static void apply(struct mem_files *f, const char *path, const struct rot_base *b,
                  struct rot_damage *d) {
    struct prng r;
    prng_init(&r, d->draw);
    switch (d->fault) {
    case ROT_LOST:
        mem_files_remove(f, path);
        break;
    case ROT_ZEROED:
        zero_all(f, path, d);
        break;
    case ROT_SHORTER: {
        size_t size = 0;
        const uint8_t *p = mem_files_bytes(f, path, &size);
        if (size == 0)
            break;
        d->at = draw_place(p, size, &r);
        d->n = size - d->at;
        mem_files_cut(f, path, (size_t)d->at);
        break;
    }
    case ROT_OLDER:
    case ROT_BACK:
        put_older(f, path, b, d);
        break;
    default:
        damage_place(f, path, d, &r);
        break;
    }
}

bool rot_apply(struct mem_files *f, const struct rot_base *b, struct rot_damage *d) {
    char path[64];
    (void)snprintf(d->what, sizeof d->what, "%s of %u: %s", d->file.name, d->host + 1u,
                   rot_fault_names[d->fault]);
    if (d->file.kind == ROT_WHOLE) {
        replace_all(f, b, d);
        return true;
    }
    size_t before_size = 0, size = 0;
    path_of(d->file.name, path);
    const uint8_t *p = mem_files_bytes(f, path, &before_size);
    uint8_t *before = p == NULL || before_size == 0 ? NULL : mem_dup(p, before_size);
    bool was = p != NULL;
    if (p != NULL ? before_size > 0 || d->fault >= ROT_LOST : d->fault == ROT_BACK)
        apply(f, path, b, d);
    p = mem_files_bytes(f, path, &size);
    bool same =
        was == (p != NULL) && before_size == size && (size == 0 || memcmp(before, p, size) == 0);
    mem_free(before);
    (void)snprintf(d->what, sizeof d->what, "%s of %u: %s, offset %llu, %llu bytes", d->file.name,
                   d->host + 1u, rot_fault_names[d->fault], (unsigned long long)d->at,
                   (unsigned long long)d->n);
    return !same;
}

/* ---- what one disk cannot tell ---- */

/* Where the last mark of a whole segment stands, and where its batch begins. */
static void find_last_mark(const uint8_t *p, size_t size, uint64_t *ret_mark, uint64_t *ret_batch) {
    uint64_t at = WAL_HEADER_BYTES;
    *ret_mark = *ret_batch = at;
    while (at + WAL_FRAME_BYTES <= size) {
        struct wal_frame_head head = wal_frame_head(p + at);
        size_t frame = wal_frame_size(head.body_bytes);
        if (head.magic != WAL_MAGIC_MARK && head.magic != WAL_MAGIC_RECORD)
            return;
        if (head.magic == WAL_MAGIC_MARK) {
            *ret_mark = at;
            *ret_batch = 0;
            for (size_t i = 0; i < 8; i++)
                *ret_batch = *ret_batch << 8 | p[at + WAL_FRAME_BYTES + 8 + i];
        }
        at += frame;
    }
}

bool rot_looks_unwritten(const struct mem_files *before, const struct rot_damage *d) {
    char path[64];
    size_t size = 0;
    uint64_t mark = 0, batch = 0;
    if (d->file.kind == ROT_WHOLE)
        return d->fault == ROT_OLDER;
    if (d->file.kind != ROT_LOG_LAST)
        return false;
    path_of(d->file.name, path);
    const uint8_t *p = mem_files_bytes(before, path, &size);
    find_last_mark(p, size, &mark, &batch);
    switch (d->fault) {
    case ROT_SHORTER:
    case ROT_OLDER:
        return true;
    case ROT_SECTOR:
    case ROT_PAGE:
        return d->at + d->n > batch;
    case ROT_MISPLACED:
        return d->at + d->n > mark;
    default:
        return false;
    }
}
