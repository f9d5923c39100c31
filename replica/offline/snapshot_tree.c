#include "replica/offline/snapshot_tree.h"

#include "common/mem.h"
#include "replica/offline/session_set.h"
#include "replica/proto/snap_codec.h"
#include "replica/store/snap_file.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"

#include <errno.h>

struct reading {
    struct snapshot_tree *c;
    struct session_set sessions;
    bool has_head, has_root, has_walk, has_digest;
    struct snap_digest digest;
    zxid_t newest;
    const char *why; /* static text */
};

static bool refuse(struct reading *r, const char *why) {
    if (!r->why)
        r->why = why;
    return false;
}

static bool take_head(void *ctx, const struct snap_head *h) {
    struct reading *r = ctx;
    if (r->has_head)
        return refuse(r, "it has two heads");
    r->has_head = true;
    return true;
}

static bool take_znode(void *ctx, const struct znode_image *image) {
    struct reading *r = ctx;
    const char *why = tree_load(r->c->tree, image);
    const struct zstat *s = &image->stat;
    zxid_t newest = s->mzxid > s->pzxid ? s->mzxid : s->pzxid;
    r->newest = newest > r->newest ? newest : r->newest;
    r->has_root |= image->path.len == 1;
    return !why || refuse(r, why);
}

static bool take_session(void *ctx, const struct snap_session *s) {
    struct reading *r = ctx;
    session_set_add(&r->sessions, s->id);
    return true;
}

/* Of a checkpoint: what was walked over goes on with the records of that time. */
static bool take_walk(void *ctx, const struct snap_walk *w) {
    struct reading *r = ctx;
    if (r->has_walk || w->begun < 0 || w->begun > w->ended)
        return refuse(r, "its walk is none");
    if (r->newest > w->ended)
        return refuse(r, "it is ahead of its end");
    r->has_walk = true;
    const char *why = tree_load_end(r->c->tree, w->begun, w->ended);
    return !why || refuse(r, why);
}

static bool take_record(void *ctx, const struct log_record *record) {
    struct reading *r = ctx;
    struct tree *tree = r->c->tree;
    if (!r->has_walk || record->zxid <= tree_last_zxid(tree))
        return refuse(r, "a record is where it cannot be");
    if (record->kind == LOG_EPOCH) {
        tree_pass_epoch(tree, record->zxid);
        return true;
    }
    struct txn *txn = txn_decode(record->payload, record->zxid);
    if (!txn)
        return refuse(r, "a record is no transaction");
    tree_apply(tree, txn, NULL);
    if (txn->type == TXN_CREATE_SESSION)
        session_set_add(&r->sessions, txn->session_id);
    else if (txn->type == TXN_CLOSE_SESSION)
        session_set_forget(&r->sessions, txn->session_id);
    txn_free(txn);
    const char *broken = tree_broken(tree);
    return !broken || refuse(r, broken);
}

static bool take_digest(void *ctx, const struct snap_digest *d) {
    struct reading *r = ctx;
    if (r->has_digest)
        return refuse(r, "it has two digests");
    r->has_digest = true;
    r->digest = *d;
    return true;
}

static bool take_piece(void *ctx, struct slice piece) {
    struct reading *r = ctx;
    struct snap_reader reader = {r,         take_head,   take_znode, take_session,
                                 take_walk, take_record, take_digest};
    return snap_read_piece(piece, &reader);
}

/* What the pieces together have to be. */
static const char *wrong(const struct reading *r) {
    if (!r->has_head || !r->has_root)
        return "there is no tree in it";
    if (r->c->begun < 0 || r->c->begun > r->c->ended)
        return "it ends before it begins";
    if (r->newest > r->c->ended)
        return "it is ahead of its end";
    if (r->has_walk && (tree_last_zxid(r->c->tree) != r->c->ended || !tree_exact(r->c->tree)))
        return "its records end before it does";
    return NULL;
}

/* The digest is of the exact tree: of a snapshot that needs the log behind it nobody can tell here.
 */
static const char *wrong_tree(const struct reading *r) {
    if (!r->has_digest || !tree_exact(r->c->tree))
        return NULL;
    if (r->digest.zxid != r->c->ended || r->digest.digest != tree_digest(r->c->tree))
        return "its tree is not the one that it was made of, by its digest";
    return NULL;
}

int snapshot_tree_read(struct snapshot_tree *c, const struct env_files *files, const char *dir,
                       const char *name, struct buf *ret_why) {
    struct store_dir d = {.files = files, .path = (char *)(uintptr_t)dir};
    struct reading r = {.c = c};
    struct snap_base base = {0};
    *c = (struct snapshot_tree){.tree = tree_new()};
    int err = snap_file_read(&d, name, take_piece, &r, &base, ret_why);
    if (err == -ENOENT)
        buf_printf(ret_why, "%s/%s: is not there", dir, name);
    if (err == -EBADMSG && r.why)
        buf_printf(ret_why, " (%s)", r.why);
    c->sessions = session_set_count(&r.sessions);
    session_set_close(&r.sessions);
    if (err < 0)
        return err;
    c->begun = base.begun;
    c->ended = base.ended;
    c->checksum = base.checksum;
    c->size_bytes = base.size_bytes;
    c->beside = base.kind == SNAP_BESIDE;
    const char *why = wrong(&r);
    if (!why && !r.has_walk)
        why = tree_load_end(c->tree, c->begun, c->ended);
    if (!why)
        why = wrong_tree(&r);
    if (why) {
        buf_printf(ret_why, "%s/%s: the snapshot is whole and cannot be loaded: %s", dir, name,
                   why);
        return -EBADMSG;
    }
    return 0;
}

void snapshot_tree_close(struct snapshot_tree *c) {
    tree_free(c->tree);
    c->tree = NULL;
}
