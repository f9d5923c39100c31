#include "fs/inode.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "fs/fs.h"
#include "fs/name.h"

/* The key's fixed part: kind and czxid. */
#define KEY_HEAD 9u

static uint8_t *make_key(struct slice path, enum inode_kind kind, zxid_t czxid, uint32_t *ret_len) {
    uint8_t *key = mem_alloc(KEY_HEAD + (size_t)path.len);
    key[0] = (uint8_t)kind;
    memcpy(key + 1, &czxid, sizeof czxid);
    memcpy(key + KEY_HEAD, path.p, (size_t)path.len);
    *ret_len = KEY_HEAD + (uint32_t)path.len;
    return key;
}

static struct inode *find_key(const struct inode_table *t, const uint8_t *key, uint32_t len) {
    struct inode *found;
    HASH_FIND(by_key, t->by_key, key, len, found);
    return found;
}

static struct inode *find(const struct inode_table *t, struct slice path, enum inode_kind kind,
                          zxid_t czxid) {
    uint32_t len;
    uint8_t *key = make_key(path, kind, czxid, &len);
    struct inode *found = find_key(t, key, len);
    mem_free(key);
    return found;
}

static void enter_key(struct inode_table *t, struct inode *inode) {
    inode->by_key_in = find_key(t, inode->key, inode->key_len) == NULL;
    if (inode->by_key_in)
        HASH_ADD_KEYPTR(by_key, t->by_key, inode->key, inode->key_len, inode);
}

static void leave_key(struct inode_table *t, struct inode *inode) {
    if (inode->by_key_in)
        HASH_DELETE(by_key, t->by_key, inode);
    inode->by_key_in = false;
    mem_free(inode->key);
}

static struct inode *inode_add(struct inode_table *t, struct slice path, enum inode_kind kind,
                               zxid_t czxid) {
    struct inode *inode = mem_zalloc(sizeof *inode);
    inode->nodeid = t->next_id++;
    inode->kind = kind;
    inode->czxid = czxid;
    inode->key = make_key(path, kind, czxid, &inode->key_len);
    enter_key(t, inode);
    HASH_ADD(by_id, t->by_id, nodeid, sizeof inode->nodeid, inode);
    return inode;
}

static void inode_free(struct inode_table *t, struct inode *inode) {
    leave_key(t, inode);
    HASH_DELETE(by_id, t->by_id, inode);
    mem_free(inode);
}

static void free_unused(struct inode_table *t, struct inode *inode) {
    if (inode != t->root && inode->lookups == 0 && inode->refs == 0)
        inode_free(t, inode);
}

void inode_table_init(struct inode_table *t, struct slice root_path) {
    *t = (struct inode_table){.next_id = FUSE_ROOT_ID};
    t->root = inode_add(t, root_path, INODE_DIR, 0);
}

void inode_table_close(struct inode_table *t) {
    struct inode *inode, *next;
    HASH_ITER(by_id, t->by_id, inode, next) inode_free(t, inode);
    *t = (struct inode_table){0};
}

size_t inode_count(const struct inode_table *t) { return HASH_CNT(by_id, t->by_id); }

struct inode *inode_find(struct inode_table *t, uint64_t nodeid) {
    struct inode *found;
    HASH_FIND(by_id, t->by_id, &nodeid, sizeof nodeid, found);
    return found;
}

/* The data of one version never changes: mzxid is the transaction that wrote it. */
static bool same_version(const struct zstat *a, const struct zstat *b) {
    return a->czxid == b->czxid && a->version == b->version && a->mzxid == b->mzxid;
}

void inode_see(struct inode *inode, const struct zstat *stat, enum nullness data) {
    if (data != DATA_UNKNOWN || !same_version(&inode->stat, stat))
        inode->data = data;
    inode->stat = *stat;
}

struct inode *inode_get(struct inode_table *t, struct slice path, enum inode_kind kind,
                        const struct zstat *stat, enum nullness data) {
    struct inode *inode = find(t, path, kind, stat->czxid);
    if (inode == NULL)
        inode = inode_add(t, path, kind, stat->czxid);
    inode_see(inode, stat, data);
    return inode;
}

enum nullness inode_recall(const struct inode_table *t, struct slice path,
                           const struct zstat *stat) {
    for (int kind = INODE_DIR; kind <= INODE_DATA; kind++) {
        const struct inode *inode = find(t, path, (enum inode_kind)kind, stat->czxid);
        if (inode != NULL && inode->data != DATA_UNKNOWN && same_version(&inode->stat, stat))
            return inode->data;
    }
    return DATA_UNKNOWN;
}

void inode_looked_up(struct inode *inode) { inode->lookups++; }

void inode_forget(struct inode_table *t, struct inode *inode, uint64_t count) {
    inode->lookups -= count < inode->lookups ? count : inode->lookups;
    free_unused(t, inode);
}

struct inode *inode_ref(struct inode *inode) {
    inode->refs++;
    return inode;
}

void inode_unref(struct inode_table *t, struct inode *inode) {
    if (inode == NULL)
        return;
    CHECK(inode->refs > 0);
    inode->refs--;
    free_unused(t, inode);
}

void inode_move(struct inode_table *t, struct inode *inode, struct slice path, zxid_t czxid) {
    uint32_t len;
    uint8_t *key =
        make_key(path, inode->kind, czxid, &len); /* first: path may lie in the old key */
    leave_key(t, inode);
    inode->key = key;
    inode->key_len = len;
    inode->czxid = czxid;
    enter_key(t, inode);
}

struct slice inode_path(const struct inode *inode) {
    return (struct slice){inode->key + KEY_HEAD, (int32_t)(inode->key_len - KEY_HEAD)};
}

enum inode_kind inode_kind_of(const struct zstat *stat, enum nullness data) {
    return stat->num_children > 0 || data == DATA_NULL ? INODE_DIR : INODE_FILE;
}

/* A time in milliseconds with the zxid's low digits below them, so that two versions of one
 * millisecond differ too (FUSE.md, rule 5). */
static struct timespec time_of(int64_t ms, zxid_t zxid) {
    int64_t below = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
    return (struct timespec){.tv_sec = (ms - below) / 1000,
                             .tv_nsec = below * 1000000 + (long)((uint64_t)zxid % 1000000u)};
}

/* Session ids are positive but for servers with an id above 127; containers have only the sign bit,
 * TTL znodes 0xff in the high byte (PROTOCOL 1.6). */
static bool is_ephemeral(session_id_t owner) {
    return owner != 0 && owner != INT64_MIN && ((uint64_t)owner >> 56) != 0xff;
}

void inode_attr(const struct fs *fs, struct slice path, enum inode_kind kind,
                const struct zstat *stat, struct stat *ret_attr) {
    bool dir = kind == INODE_DIR;
    mode_t mode = dir ? S_IFDIR | 0777 : S_IFREG | 0666;
    if (is_ephemeral(stat->ephemeral_owner) && kind != INODE_DATA)
        mode |= S_ISVTX;
    zxid_t changed = dir && stat->pzxid > stat->mzxid ? stat->pzxid : stat->mzxid;
    int64_t size = dir ? stat->num_children : stat->data_length;
    *ret_attr = (struct stat){
        .st_ino = name_ino(path, stat->czxid, kind == INODE_DATA),
        .st_mode = mode & ~fs->opt->umask,
        .st_nlink =
            1, /* for directories too: it tells find that the number of subdirectories is unknown */
        .st_uid = fs->opt->uid,
        .st_gid = fs->opt->gid,
        .st_size = size,
        .st_blocks = dir ? 0 : (size + 511) / 512,
        .st_blksize =
            1 << 20, /* so that cp and cat move a value in one request (FUSE.md, section 6) */
        .st_mtim = time_of(stat->mtime_ms, changed),
        .st_ctim = time_of(stat->ctime_ms, stat->czxid),
    };
    ret_attr->st_atim = ret_attr->st_mtim;
}
