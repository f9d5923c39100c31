#include "fs/inode.h"

#include <string.h>
#include <utlist.h>

#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/mem.h"
#include "fs/fs.h"
#include "fs/journal.h"
#include "fs/name.h"

/* The key's fixed part: kind, czxid, the modifier's kind and argument. */
#define KEY_HEAD 18u

static uint8_t *make_key(struct modifier modifier, struct slice path, enum inode_kind kind,
                         zxid_t czxid, uint32_t *ret_len) {
    uint8_t *key = mem_alloc(KEY_HEAD + (size_t)path.len);
    key[0] = (uint8_t)kind;
    memcpy(key + 1, &czxid, sizeof czxid);
    key[9] = (uint8_t)modifier.kind;
    memcpy(key + 10, &modifier.arg, sizeof modifier.arg);
    memcpy(key + KEY_HEAD, path.p, (size_t)path.len);
    *ret_len = KEY_HEAD + (uint32_t)path.len;
    return key;
}

static struct inode *find_key(const struct inode_table *t, const uint8_t *key, uint32_t len) {
    struct inode *found;
    HASH_FIND(by_key, t->by_key, key, len, found);
    return found;
}

static struct inode *find(const struct inode_table *t, struct modifier modifier, struct slice path,
                          enum inode_kind kind, zxid_t czxid) {
    uint32_t len;
    uint8_t *key = make_key(modifier, path, kind, czxid, &len);
    struct inode *found = find_key(t, key, len);
    mem_free(key);
    return found;
}

static void enter_key(struct inode_table *t, struct inode *inode) {
    struct inode *first = find_key(t, inode->key, inode->key_len);
    if (first == NULL)
        HASH_ADD_KEYPTR(by_key, t->by_key, inode->key, inode->key_len, inode);
    DL_APPEND2(first, inode, same_prev, same_next);
}

static void leave_key(struct inode_table *t, struct inode *inode) {
    struct inode *first = find_key(t, inode->key, inode->key_len);
    bool was_first = first == inode;
    if (was_first)
        HASH_DELETE(by_key, t->by_key, inode);
    DL_DELETE2(first, inode, same_prev, same_next);
    if (was_first && first != NULL)
        HASH_ADD_KEYPTR(by_key, t->by_key, first->key, first->key_len, first);
    mem_free(inode->key);
}

static bool is_viewed(const struct inode *inode) {
    return inode->modifier.kind != MODIFIER_NONE && !inode_is_view(inode);
}

static struct inode *add_as(struct inode_table *t, uint64_t nodeid, uint8_t *take_key,
                            uint32_t key_len) {
    struct inode *inode = mem_zalloc(sizeof *inode);
    inode->nodeid = nodeid;
    inode->kind = (enum inode_kind)take_key[0];
    memcpy(&inode->czxid, take_key + 1, sizeof inode->czxid);
    inode->modifier.kind = (enum modifier_kind)take_key[9];
    memcpy(&inode->modifier.arg, take_key + 10, sizeof inode->modifier.arg);
    inode->key = take_key;
    inode->key_len = key_len;
    enter_key(t, inode);
    HASH_ADD(by_id, t->by_id, nodeid, sizeof inode->nodeid, inode);
    if (is_viewed(inode))
        DL_APPEND2(t->viewed, inode, view_prev, view_next);
    return inode;
}

static struct inode *inode_add(struct inode_table *t, struct modifier modifier, struct slice path,
                               enum inode_kind kind, zxid_t czxid) {
    uint32_t len;
    uint8_t *key = make_key(modifier, path, kind, czxid, &len);
    struct inode *inode = add_as(t, t->next_id++, key, len);
    journal_set_counter(t->journal, JOURNAL_NEXT_NODEID, t->next_id);
    return inode;
}

/* The record: moved_by and the key; the lookups are its word. */
static void keep(struct inode_table *t, struct inode *inode) {
    if (t->journal == NULL)
        return;
    struct buf bytes = BUF_INIT;
    buf_put(&bytes, &inode->moved_by, sizeof inode->moved_by);
    buf_put(&bytes, inode->key, inode->key_len);
    journal_put(t->journal, &inode->kept, JOURNAL_INODE, inode->nodeid, inode->lookups, bytes.data,
                bytes.len);
    buf_close(&bytes);
}

static void on_record(void *ctx, const struct journal_record *r) {
    struct inode_table *t = ctx;
    struct inode *inode = t->root;
    const size_t head = sizeof inode->moved_by;
    if (r->bytes.len < (int32_t)(head + KEY_HEAD))
        return;
    size_t key_len = (size_t)r->bytes.len - head;
    if (r->key != FUSE_ROOT_ID)
        inode = add_as(t, r->key, mem_dup(r->bytes.p + head, key_len), (uint32_t)key_len);
    memcpy(&inode->moved_by, r->bytes.p, head);
    inode->lookups = r->word;
    inode->kept = r->ref;
}

void inode_table_resume(struct inode_table *t, struct journal *journal) {
    journal_each(journal, JOURNAL_INODE, on_record, t);
    if (journal_counter(journal, JOURNAL_NEXT_NODEID) > t->next_id)
        t->next_id = journal_counter(journal, JOURNAL_NEXT_NODEID);
    t->journal = journal;
}

static void inode_free(struct inode_table *t, struct inode *inode) {
    journal_drop(t->journal, &inode->kept);
    leave_key(t, inode);
    HASH_DELETE(by_id, t->by_id, inode);
    if (is_viewed(inode))
        DL_DELETE2(t->viewed, inode, view_prev, view_next);
    mem_free(inode);
}

static void free_unused(struct inode_table *t, struct inode *inode) {
    if (inode != t->root && inode->lookups == 0 && inode->refs == 0)
        inode_free(t, inode);
}

void inode_table_init(struct inode_table *t, struct slice root_path) {
    *t = (struct inode_table){.next_id = FUSE_ROOT_ID};
    t->root = inode_add(t, MODIFIER_OF_TREE, root_path, INODE_DIR, 0);
}

void inode_table_close(struct inode_table *t) {
    t->journal = NULL; /* what the kernel knows does not change by this */
    while (t->by_id != NULL)
        inode_free(t, t->by_id);
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

struct inode *inode_get_view(struct inode_table *t, struct modifier modifier, struct slice path,
                             enum inode_kind kind, const struct zstat *stat, enum nullness data) {
    struct inode *inode = find(t, modifier, path, kind, stat->czxid);
    if (inode == NULL)
        inode = inode_add(t, modifier, path, kind, stat->czxid);
    inode_see(inode, stat, data);
    return inode;
}

struct inode *inode_get(struct inode_table *t, struct slice path, enum inode_kind kind,
                        const struct zstat *stat, enum nullness data) {
    return inode_get_view(t, MODIFIER_OF_TREE, path, kind, stat, data);
}

struct inode *inode_first(const struct inode_table *t, struct slice path, enum inode_kind kind,
                          zxid_t czxid) {
    return find(t, MODIFIER_OF_TREE, path, kind, czxid);
}

enum nullness inode_recall(const struct inode_table *t, struct slice path,
                           const struct zstat *stat) {
    for (int kind = INODE_DIR; kind <= INODE_DATA; kind++) {
        const struct inode *inode = inode_first(t, path, (enum inode_kind)kind, stat->czxid);
        if (inode != NULL && inode->data != DATA_UNKNOWN && same_version(&inode->stat, stat))
            return inode->data;
    }
    return DATA_UNKNOWN;
}

bool inode_is_open(const struct inode_table *t, struct slice path, enum inode_kind kind,
                   zxid_t czxid) {
    const struct inode *inode = inode_first(t, path, kind, czxid);
    return inode != NULL && inode->handles != NULL;
}

void inode_looked_up(struct inode_table *t, struct inode *inode) {
    inode->lookups++;
    if (inode->kept == 0)
        keep(t, inode);
    else
        journal_set_word(t->journal, inode->kept, inode->lookups);
}

void inode_forget(struct inode_table *t, struct inode *inode, uint64_t count) {
    inode->lookups -= count < inode->lookups ? count : inode->lookups;
    journal_set_word(t->journal, inode->kept, inode->lookups);
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

void inode_move(struct inode_table *t, struct inode *inode, struct slice path, zxid_t czxid,
                zxid_t zxid) {
    uint32_t len;
    uint8_t *key = make_key(inode->modifier, path, inode->kind, czxid,
                            &len); /* first: path may lie in the old key */
    leave_key(t, inode);
    inode->key = key;
    inode->key_len = len;
    inode->czxid = czxid;
    inode->moves++;
    inode->moved_by = zxid;
    enter_key(t, inode);
    if (inode->kept != 0)
        keep(t, inode);
}

struct slice inode_path(const struct inode *inode) {
    return (struct slice){inode->key + KEY_HEAD, (int32_t)(inode->key_len - KEY_HEAD)};
}

uint64_t inode_view_salt(struct modifier modifier) {
    if (modifier.kind == MODIFIER_NONE)
        return 0;
    uint8_t kind = (uint8_t)modifier.kind;
    return name_ino((struct slice){&kind, 1}, modifier.arg, false);
}

enum inode_kind inode_kind_of(const struct zstat *stat, enum nullness data) {
    bool may_be_null = data == DATA_UNKNOWN && stat->data_length == 0;
    return stat->num_children > 0 || data == DATA_NULL || may_be_null ? INODE_DIR : INODE_FILE;
}

/* A time in milliseconds with the zxid's low digits below them, so that two versions of one
 * millisecond differ too (FUSE.md, rule 5). */
static struct timespec time_of(int64_t ms, zxid_t zxid) {
    int64_t below = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
    return (struct timespec){.tv_sec = (ms - below) / 1000,
                             .tv_nsec = below * 1000000 + (long)((uint64_t)zxid % 1000000u)};
}

void inode_attr(const struct fs *fs, struct slice path, enum inode_kind kind,
                const struct zstat *stat, struct stat *ret_attr) {
    bool dir = kind == INODE_DIR;
    mode_t mode = dir ? S_IFDIR | 0777 : S_IFREG | 0666;
    if (ephemeral_type(stat->ephemeral_owner) == EPHEMERAL_NORMAL && kind != INODE_DATA)
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
