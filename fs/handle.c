#include "fs/handle.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "common/check.h"
#include "common/mem.h"
#include "fs/journal.h"
#include "fs/lock.h"
#include "fs/owner.h"
#include "fs/view_stream.h"

/* A value up to this long is in the journal, so that its readers notice nothing of a restart. A
 * longer one is fetched again. */
#define KEPT_VALUE_MAX 4096

/* In the record's word, above the version. */
enum {
    KEPT_WRITABLE = 1,
    KEPT_REPLACE = 2,
    KEPT_TRUNCATE = 4,
    KEPT_HELD = 8,
    KEPT_DEAD = 16,
    KEPT_LOST_EIO = 32,
    KEPT_LOST_ESTALE = 64,
    KEPT_REFRESH = 128,
};

/* In front of the value. */
struct record {
    uint64_t nodeid;
    session_id_t ephemeral_owner; /* of the znode: it can be lost (lost.h) */
    uint64_t poll;
    zxid_t moved_by;
    int32_t value_len; /* -1: null data; -2: it is not here */
    int32_t unused;
};
#define VALUE_ELSEWHERE (-2)

static void enter(struct handle *h, struct fs *fs, struct inode *inode, uint64_t id) {
    h->fs = fs;
    h->inode = inode_ref(inode);
    h->id = id;
    HASH_ADD(by_id, fs->handles, id, sizeof h->id, h);
    DL_APPEND(inode->handles, h);
}

struct handle *handle_new(struct fs *fs, struct inode *inode) {
    struct handle *h = mem_zalloc(sizeof *h);
    enter(h, fs, inode, ++fs->last_fh);
    journal_set_counter(fs->journal, JOURNAL_NEXT_FH, fs->last_fh);
    return h;
}

struct handle *handle_find(struct fs *fs, const struct fuse_file_info *fi) {
    struct handle *h;
    HASH_FIND(by_id, fs->handles, &fi->fh, sizeof fi->fh, h);
    return h;
}

void handle_close(struct handle *h) {
    CHECK(h->waiters == NULL);
    if (h->owner != NULL)
        h->owner->handle = NULL;
    handle_drop_held(h);
    HASH_DELETE(by_id, h->fs->handles, h);
    if (h->stream != NULL)
        stream_close(h->stream);
    owned_end(h->owned);
    lock_handle_closed(h);
    journal_drop(h->fs->journal, &h->kept); /* last: it is closed again after a crash in between */
    DL_DELETE(h->inode->handles, h);
    blob_unref(h->value);
    buf_close(&h->list.names);
    mem_free(h->list.at);
    inode_unref(&h->fs->inodes, h->inode);
    mem_free(h);
}

static uint64_t word_of(const struct handle *h) {
    unsigned flags = (h->writable ? KEPT_WRITABLE : 0u) | (h->replace ? KEPT_REPLACE : 0u) |
                     (h->truncate ? KEPT_TRUNCATE : 0u) |
                     (h->held_told || h->errnum != 0 ? KEPT_HELD : 0u) |
                     (h->dead ? KEPT_DEAD : 0u) | (h->lost == EIO ? KEPT_LOST_EIO : 0u) |
                     (h->lost == ESTALE ? KEPT_LOST_ESTALE : 0u) | (h->refresh ? KEPT_REFRESH : 0u);
    return (uint64_t)flags << 32 | (uint32_t)h->version;
}

void handle_note(struct handle *h) {
    if (h->kept != 0)
        journal_set_word(h->fs->journal, h->kept, word_of(h));
}

static int32_t kept_len(const struct handle *h) {
    if (h->unread || inode_is_dir(h->inode) || inode_is_view(h->inode))
        return VALUE_ELSEWHERE;
    if (h->value == NULL)
        return -1;
    return h->value->len <= KEPT_VALUE_MAX ? (int32_t)h->value->len : VALUE_ELSEWHERE;
}

void handle_keep(struct handle *h) {
    if (h->fs->journal == NULL)
        return;
    uint8_t bytes[sizeof(struct record) + KEPT_VALUE_MAX];
    struct record r = {.nodeid = h->inode->nodeid,
                       .ephemeral_owner = h->inode->stat.ephemeral_owner,
                       .poll = h->poll,
                       .moved_by = h->moved_by,
                       .value_len = kept_len(h)};
    size_t n = sizeof r;
    memcpy(bytes, &r, sizeof r);
    if (r.value_len > 0) {
        memcpy(bytes + n, h->value->bytes, (size_t)r.value_len);
        n += (size_t)r.value_len;
    }
    journal_put(h->fs->journal, &h->kept, JOURNAL_HANDLE, h->id, word_of(h), bytes, n);
}

static void resume_one(void *ctx, const struct journal_record *rec) {
    struct fs *fs = ctx;
    struct record r;
    if (rec->bytes.len < (int32_t)sizeof r)
        return;
    memcpy(&r, rec->bytes.p, sizeof r);
    struct inode *inode = inode_find(&fs->inodes, r.nodeid);
    if (inode == NULL) { /* killed before it was kept: the kernel knows of neither */
        uint32_t ref = rec->ref;
        journal_drop(fs->journal, &ref);
        return;
    }
    struct handle *h = mem_zalloc(sizeof *h);
    enter(h, fs, inode, rec->key);
    unsigned flags = (unsigned)(rec->word >> 32);
    h->kept = rec->ref;
    inode->stat.ephemeral_owner = r.ephemeral_owner;
    h->poll = r.poll;
    h->moved_by = r.moved_by;
    h->version = (int32_t)(uint32_t)rec->word;
    h->writable = (flags & KEPT_WRITABLE) != 0;
    h->replace = (flags & KEPT_REPLACE) != 0;
    h->dead = (flags & KEPT_DEAD) != 0;
    h->held_told = (flags & KEPT_HELD) != 0;
    h->truncate = (flags & KEPT_TRUNCATE) != 0 && !h->held_told; /* as behind a failed commit */
    h->lost = (flags & KEPT_LOST_EIO) != 0 ? EIO : (flags & KEPT_LOST_ESTALE) != 0 ? ESTALE : 0;
    h->refresh = (flags & KEPT_REFRESH) != 0;
    h->errnum = h->held_told ? EIO : 0; /* pieces went with the worker, or could not be written */
    h->unread = r.value_len == VALUE_ELSEWHERE;
    if (r.value_len >= 0)
        h->value = blob_new(rec->bytes.p + sizeof r, (size_t)r.value_len);
}

void handles_resume(struct fs *fs) {
    fs->last_fh = journal_counter(fs->journal, JOURNAL_NEXT_FH);
    journal_each(fs->journal, JOURNAL_HANDLE, resume_one, fs);
}

void handle_lock(struct call *c, struct handle *h, void (*next)(struct call *c)) {
    CHECK(c->handle == NULL);
    c->handle = h;
    if (h->owner == NULL) {
        h->owner = c;
        next(c);
        return;
    }
    c->on_lock = next;
    DL_APPEND2(h->waiters, c, waiter_prev, waiter_next);
}

void handle_unlock(struct call *c) {
    struct handle *h = c->handle;
    if (h == NULL)
        return;
    c->handle = NULL;
    if (h->owner != c) {
        DL_DELETE2(h->waiters, c, waiter_prev, waiter_next);
        return;
    }
    h->owner = h->waiters;
    if (h->owner != NULL) {
        DL_DELETE2(h->waiters, h->owner, waiter_prev, waiter_next);
        h->owner->on_lock(h->owner);
    }
}

struct slice handle_view(const struct handle *h) {
    if (h->held)
        return (struct slice){h->image.data, (int32_t)h->image.len};
    if (h->replace || h->value == NULL)
        return (struct slice){NULL, 0};
    return blob_slice(h->value);
}

void handle_set_value(struct handle *h, struct blob *take_value, int32_t version) {
    blob_unref(h->value);
    h->value = take_value;
    h->version = version;
    h->unread = false;
    if (h->kept != 0)
        handle_keep(h);
}

void handle_drop_held(struct handle *h) {
    if (h->held)
        DL_DELETE2(h->fs->dirty, h, dirty_prev, dirty_next);
    h->held = false;
    h->held_append = false;
    h->held_bytes = 0;
    h->held_told = false;
    buf_close(&h->image);
}

void handle_told_held(struct handle *h) {
    h->held_told = true;
    handle_note(h);
}

void handle_hold(struct handle *h) {
    if (h->held)
        return;
    h->held = true;
    h->held_since_ms = (int64_t)uv_now(h->fs->loop);
    DL_APPEND2(h->fs->dirty, h, dirty_prev, dirty_next);
}

void handles_close(struct fs *fs) {
    struct inode *inode, *next;
    fs->journal = NULL; /* nothing is written any more that a later worker could go by */
    HASH_ITER(by_id, fs->inodes.by_id, inode, next) {
        inode_ref(inode); /* its last handle would take it along */
        while (inode->handles != NULL)
            handle_close(inode->handles);
        inode_unref(&fs->inodes, inode);
    }
}
