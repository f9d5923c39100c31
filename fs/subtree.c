#include "fs/subtree.h"

#include <string.h>

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "fs/name.h"

static void znode_close(struct subtree_znode *z) {
    buf_close(&z->path);
    buf_close(&z->new_path);
    blob_unref(z->value);
    blob_unref(z->acl);
}

static void drop_looks(struct subtree *st) {
    for (size_t i = 0; i < st->look_count; i++)
        zk_cancel(st->call->fs->zk, st->looks[i].token);
    mem_free(st->looks);
    st->looks = NULL;
    st->look_count = 0;
}

void subtree_close(struct subtree *st) {
    drop_looks(st);
    for (size_t i = 0; i < st->known; i++)
        znode_close(&st->at[i]);
    mem_free(st->at);
    *st = (struct subtree){0};
}

static struct subtree_znode *append(struct subtree *st) {
    st->at = mem_realloc(st->at, (st->known + 1) * sizeof *st->at);
    struct subtree_znode *z = &st->at[st->known++];
    *z = (struct subtree_znode){0};
    return z;
}

static void finish(struct subtree *st, enum subtree_result result) {
    st->result = result;
    st->done(st->call);
}

static void read_next(struct subtree *st);

/* A digest's hash shows as "x" to those who may not change the ACL (ZooKeeper since 3.5): such a
 * list would lock everybody out of the new znode. */
static bool is_masked(const struct jvec *acl) {
    struct acl_entry e;
    for (int32_t at = 0; acl_next(acl, &at, &e);)
        if (slice_equal_str(e.scheme, "digest") && e.id.len >= 2 &&
            memcmp(e.id.p + e.id.len - 2, ":x", 2) == 0)
            return true;
    return false;
}

/* False when there are too many, or one whose path is too long for the mount. */
static bool add_children(struct subtree *st, const struct jvec *children) {
    struct slice name;
    for (int32_t at = 0; jvec_next_string(children, &at, &name);) {
        if (st->known == SUBTREE_MAX)
            return false;
        struct subtree_znode *child = append(st);
        if (!name_path(&child->path, subtree_path(&st->at[st->count - 1]), name))
            return false;
    }
    return true;
}

static void on_children(void *ctx, const struct zk_result *res) {
    struct subtree *st = ctx;
    if (res->err != ZK_OK && res->err != ZK_NONODE) {
        st->err = res->err;
        finish(st, SUBTREE_FAILED);
    } else if (res->err == ZK_NONODE || res->stat.version != st->at[st->count - 1].stat.version) {
        finish(st, SUBTREE_CHANGED);
    } else if (!add_children(st, &res->children)) {
        finish(st, SUBTREE_TOO_BIG);
    } else {
        st->at[st->count - 1].stat = res->stat; /* of the list */
        read_next(st);
    }
}

static void on_look(void *ctx, const struct zk_result *res) {
    const struct subtree_look *look = ctx;
    struct subtree *st = look->st;
    const struct zstat *read = &st->at[look->at].stat;
    if (res->err != ZK_OK && res->err != ZK_NONODE)
        st->read_err = res->err;
    else if (res->err != ZK_OK || res->stat.czxid != read->czxid || res->stat.pzxid != read->pzxid)
        st->differs = true;
    if (--st->waiting > 0)
        return;
    st->err = st->read_err;
    if (st->err != ZK_OK)
        finish(st, SUBTREE_FAILED);
    else
        finish(st, st->differs ? SUBTREE_CHANGED : SUBTREE_READ);
}

/* Both answers for a znode are there. */
static void one_read(struct subtree *st) {
    struct subtree_znode *z = &st->at[st->count];
    if (st->read_err != ZK_OK) {
        st->err = st->read_err;
        bool child_gone = st->read_err == ZK_NONODE && st->count > 0;
        finish(st, child_gone ? SUBTREE_CHANGED : SUBTREE_FAILED);
        return;
    }
    st->count++;
    st->bytes +=
        z->path.len + (z->value != NULL ? z->value->len : 0) + (z->acl != NULL ? z->acl->len : 0);
    bool more = st->depth == SUBTREE_WHOLE && z->stat.num_children > 0;
    bool too_many = more && (size_t)z->stat.num_children > SUBTREE_MAX - st->known;
    if (too_many || st->bytes > (size_t)st->call->fs->opt->max_frame_bytes)
        finish(st, SUBTREE_TOO_BIG);
    else if (more)
        call_track(st->call, zk_children(st->call->fs->zk, subtree_path(z), on_children, st));
    else
        read_next(st);
}

static void on_get(void *ctx, const struct zk_result *res) {
    struct subtree *st = ctx;
    struct subtree_znode *z = &st->at[st->count];
    if (res->err != ZK_OK) {
        st->read_err = res->err;
    } else {
        z->stat = res->stat;
        z->value = blob_from_slice(res->data);
    }
    if (--st->waiting == 0)
        one_read(st);
}

static void on_acl(void *ctx, const struct zk_result *res) {
    struct subtree *st = ctx;
    struct subtree_znode *z = &st->at[st->count];
    if (res->err == ZK_OK)
        z->acl = is_masked(&res->acl) ? NULL : acl_blob(&res->acl);
    else if (res->err != ZK_NOAUTH && st->read_err == ZK_OK)
        st->read_err = res->err;
    if (--st->waiting == 0)
        one_read(st);
}

static void read_next(struct subtree *st) {
    if (st->count == st->known || (st->depth == SUBTREE_ROOT && st->count > 0)) {
        finish(st, SUBTREE_READ);
        return;
    }
    struct call *c = st->call;
    struct slice path = subtree_path(&st->at[st->count]);
    st->read_err = ZK_OK;
    st->waiting = st->depth == SUBTREE_WHOLE ? 2 : 1;
    call_track(c, zk_get(c->fs->zk, path, on_get, st));
    if (st->depth == SUBTREE_WHOLE)
        call_track(c, zk_get_acl(c->fs->zk, path, on_acl, st));
}

void subtree_read(struct subtree *st, struct call *c, struct slice path, enum subtree_depth depth,
                  void (*done)(struct call *c)) {
    struct buf own = BUF_INIT; /* first: path may lie in the subtree itself */
    buf_put(&own, path.p, (size_t)path.len);
    subtree_close(st);
    *st = (struct subtree){.call = c, .done = done, .depth = depth};
    append(st)->path = own;
    read_next(st);
}

void subtree_recall(struct subtree *st, struct slice path, int32_t version) {
    struct subtree_znode *z = append(st);
    buf_put(&z->path, path.p, (size_t)path.len);
    z->stat.version = version;
    st->count = st->known;
}

void subtree_look_again(struct subtree *st, void (*done)(struct call *c)) {
    drop_looks(st);
    st->done = done;
    st->looks = mem_alloc(st->count * sizeof *st->looks);
    for (size_t i = 0; i < st->count; i++)
        if (i == 0 || st->at[i].stat.num_children > 0)
            st->looks[st->look_count++] = (struct subtree_look){.st = st, .at = i};
    st->waiting = (unsigned)st->look_count;
    st->read_err = ZK_OK;
    st->differs = false;
    for (struct subtree_look *look = st->looks; look < st->looks + st->look_count; look++)
        look->token = zk_exists(st->call->fs->zk, subtree_path(&st->at[look->at]), on_look, look);
}
