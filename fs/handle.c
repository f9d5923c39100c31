#include "fs/handle.h"

#include <utlist.h>

#include "common/check.h"
#include "common/mem.h"

struct handle *handle_new(struct fs *fs, struct inode *inode) {
    struct handle *h = mem_zalloc(sizeof *h);
    h->fs = fs;
    h->inode = inode_ref(inode);
    DL_APPEND(inode->handles, h);
    return h;
}

void handle_close(struct handle *h) {
    CHECK(h->waiters == NULL);
    if (h->owner != NULL)
        h->owner->handle = NULL;
    handle_drop_held(h);
    DL_DELETE(h->inode->handles, h);
    blob_unref(h->value);
    buf_close(&h->list.names);
    mem_free(h->list.at);
    inode_unref(&h->fs->inodes, h->inode);
    mem_free(h);
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
}

void handle_drop_held(struct handle *h) {
    if (h->held)
        DL_DELETE2(h->fs->dirty, h, dirty_prev, dirty_next);
    h->held = false;
    h->held_append = false;
    h->held_bytes = 0;
    buf_close(&h->image);
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
    HASH_ITER(by_id, fs->inodes.by_id, inode, next) {
        inode_ref(inode); /* its last handle would take it along */
        while (inode->handles != NULL)
            handle_close(inode->handles);
        inode_unref(&fs->inodes, inode);
    }
}
