/* Apache replays a log over a snapshot by ignoring what does not fit (a znode that exists already,
 * one that does not), and repairs the parent's counters; in some of the cases only (the type
 * create, not its later siblings; a deletion leaves children of a later life behind). tree_apply's
 * way with fuzzy snapshots repairs all of them, so what comes out is what the server had in memory,
 * which a restart of Apache's does not always have. */
#include "replica/offline/apache_tree.h"

#include "common/acl.h"
#include "common/check.h"
#include "common/ephemeral_type.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/offline/end_sessions.h"
#include "replica/offline/session_set.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#define ACL_OPEN (-1)

/* Apache's own list of its servers: they are others now. */
#define CONFIG_PATH "/zookeeper/config"
/* What Apache's digest leaves out. */
#define SYSTEM_PREFIX "/zookeeper/"

struct known_acl {
    int64_t number;
    struct blob *acl;
    UT_hash_handle hh;
};

struct apache_tree {
    struct tree *tree;
    struct session_set sessions;
    struct known_acl *acls;
    struct blob *missing; /* stands for an ACL whose number the snapshot does not explain */
    bool has_missing;
    zxid_t newest; /* of any znode of the snapshot */
};

static struct blob *missing_acl(void) {
    const char *why = NULL;
    struct blob *acl = acl_parse(slice_from_str("missing:missing:a"), &why);
    CHECK(acl);
    return acl;
}

struct apache_tree *apache_tree_new(void) {
    struct apache_tree *t = mem_zalloc(sizeof *t);
    t->tree = tree_new();
    t->missing = missing_acl();
    return t;
}

void apache_tree_free(struct apache_tree *t) {
    if (!t)
        return;
    session_set_close(&t->sessions);
    struct known_acl *a, *next_a;
    HASH_ITER(hh, t->acls, a, next_a) {
        HASH_DEL(t->acls, a);
        blob_unref(a->acl);
        mem_free(a);
    }
    blob_unref(t->missing);
    tree_free(t->tree);
    mem_free(t);
}

void apache_tree_session(struct apache_tree *t, session_id_t id) {
    session_set_add(&t->sessions, id);
}

/* Apache takes a list that is null for the open one. */
static struct blob *acl_from(const struct jvec *acl) {
    return acl->count < 0 ? acl_open_unsafe() : acl_blob(acl);
}

const char *apache_tree_acl(struct apache_tree *t, int64_t number, const struct jvec *acl) {
    struct known_acl *a = NULL;
    HASH_FIND(hh, t->acls, &number, sizeof number, a);
    if (a)
        return "the number of an ACL comes twice";
    a = mem_zalloc(sizeof *a);
    a->number = number;
    a->acl = acl_from(acl);
    HASH_ADD(hh, t->acls, number, sizeof a->number, a);
    return NULL;
}

/* A new reference. The snapshot has its ACLs first and its znodes behind: one that got its ACL in
 * between has a number that is not there, and the transaction that gave it is still to come. */
static struct blob *acl_numbered(struct apache_tree *t, int64_t number) {
    if (number == ACL_OPEN)
        return acl_open_unsafe();
    struct known_acl *a = NULL;
    HASH_FIND(hh, t->acls, &number, sizeof number, a);
    if (a)
        return blob_ref(a->acl);
    t->has_missing = true;
    return blob_ref(t->missing);
}

static int64_t at_least(int64_t v, int64_t least) { return v < least ? least : v; }

const char *apache_tree_znode(struct apache_tree *t, const struct apache_znode *z) {
    struct znode_image image = {.path = z->path, .stat = z->stat, .creates = z->stat.cversion};
    if (z->path.len == 0)
        image.path = slice_from_str("/");
    if (path_invalid_reason(image.path, false))
        return "a znode's path is none";
    if (slice_equal_str(image.path, CONFIG_PATH))
        return NULL;
    if (z->stat.czxid < 0)
        return "a znode's zxid is none";
    /* Old releases let these fall behind; here nothing happens to a znode before it is there. */
    image.stat.mzxid = at_least(z->stat.mzxid, z->stat.czxid);
    image.stat.pzxid = at_least(z->stat.pzxid, z->stat.czxid);
    t->newest = at_least(at_least(t->newest, image.stat.mzxid), image.stat.pzxid);
    image.data = blob_from_slice(z->data);
    image.acl = acl_numbered(t, z->acl);
    const char *why = tree_load(t->tree, &image);
    blob_unref(image.data);
    blob_unref(image.acl);
    return why;
}

const char *apache_tree_loaded(struct apache_tree *t, zxid_t zxid) {
    return tree_load_end(t->tree, zxid, INT64_MAX);
}

/* ---- the log ---- */

static int32_t creates_after(const struct apache_tree *t, const struct apache_op *op) {
    if (op->version != -1)
        return op->version;
    const struct znode *parent = tree_find(t->tree, path_parent(op->path));
    return parent ? (int32_t)((uint32_t)znode_creates(parent) + 1u) : 1;
}

static struct txn_op *next_op(struct txn *txn, enum txn_op_type type, struct slice path) {
    struct txn_op *op = &txn->ops[txn->op_count++];
    op->type = type;
    op->path = blob_from_slice(path);
    return op;
}

/* A znode that the snapshot has already, with an ACL that this creation explains. */
static void add_missing_acl(struct apache_tree *t, struct txn *txn, const struct apache_op *op) {
    const struct znode *n = t->has_missing ? tree_find(t->tree, op->path) : NULL;
    if (!n || !blob_equal(znode_acl(n), t->missing))
        return;
    struct zstat stat;
    znode_stat(n, &stat);
    if (stat.czxid != txn->zxid)
        return;
    struct txn_op *to = next_op(txn, TXN_OP_SET_ACL, op->path);
    to->acl = acl_from(&op->acl);
    to->version = stat.aversion;
}

static void add_create(struct apache_tree *t, struct txn *txn, const struct apache_op *op) {
    struct txn_op *to = next_op(txn, TXN_OP_CREATE, op->path);
    to->data = blob_from_slice(op->data);
    to->acl = acl_from(&op->acl);
    to->parent_creates = creates_after(t, op);
    to->owner = op->owner;
    add_missing_acl(t, txn, op);
}

static void add_op(struct apache_tree *t, struct txn *txn, const struct apache_op *op) {
    struct txn_op *to;
    if (slice_equal_str(op->path, CONFIG_PATH))
        return;
    switch (op->type) {
    case APACHE_OP_CREATE:
        add_create(t, txn, op);
        return;
    case APACHE_OP_DELETE:
        next_op(txn, TXN_OP_DELETE, op->path);
        return;
    case APACHE_OP_SET_DATA:
        to = next_op(txn, TXN_OP_SET_DATA, op->path);
        to->data = blob_from_slice(op->data);
        to->version = op->version;
        return;
    case APACHE_OP_SET_ACL:
        to = next_op(txn, TXN_OP_SET_ACL, op->path);
        to->acl = acl_from(&op->acl);
        to->version = op->version;
        return;
    }
}

/* What a session that ends still owns. Those that its transaction named are there, too: a second
 * deletion finds nothing, and nothing comes of it. */
static uint32_t owned_count(const struct apache_tree *t, const struct apache_txn *txn) {
    uint32_t count = 0;
    void *at = NULL;
    while (txn->type == APACHE_TXN_CLOSE && tree_next_ephemeral(t->tree, txn->session_id, &at))
        count++;
    return count;
}

static void add_owned(struct apache_tree *t, struct txn *txn) {
    void *at = NULL;
    const struct znode *n;
    while ((n = tree_next_ephemeral(t->tree, txn->session_id, &at))) {
        struct txn_op *op = &txn->ops[txn->op_count++];
        op->type = TXN_OP_DELETE;
        op->path = znode_path(n);
    }
}

const char *apache_tree_apply(struct apache_tree *t, const struct apache_txn *txn) {
    CHECK(txn->zxid > tree_last_zxid(t->tree));
    if (txn->type == APACHE_TXN_SESSION)
        apache_tree_session(t, txn->session_id);
    if (txn->type == APACHE_TXN_CLOSE)
        session_set_forget(&t->sessions, txn->session_id);
    /* A creation may need a second operation, for its ACL. */
    struct txn *ours = txn_new(TXN_OPS, 2 * txn->op_count + owned_count(t, txn));
    ours->zxid = txn->zxid;
    ours->time_ms = txn->time_ms;
    ours->session_id = txn->session_id;
    ours->op_count = 0;
    for (uint32_t i = 0; i < txn->op_count; i++)
        add_op(t, ours, &txn->ops[i]);
    if (txn->type == APACHE_TXN_CLOSE)
        add_owned(t, ours);
    tree_apply(t->tree, ours, NULL);
    txn_free(ours);
    return tree_broken(t->tree);
}

zxid_t apache_tree_last(const struct apache_tree *t) { return tree_last_zxid(t->tree); }

struct tree *apache_tree_tree(struct apache_tree *t) {
    return t->tree;
}

/* ---- the end ---- */

/* DigestCalculator: the CRC-32 of path, data and 60 bytes of its Stat. */
static uint64_t znode_digest(const struct znode_image *image) {
    const struct zstat *s = &image->stat;
    struct slice path = image->path;
    struct buf b = BUF_INIT;
    if (path.len > 1)
        buf_put(&b, path.p, (size_t)path.len);
    if (image->data)
        buf_put(&b, image->data->bytes, image->data->len);
    jute_write_long(&b, s->czxid);
    jute_write_long(&b, s->mzxid);
    jute_write_long(&b, s->pzxid);
    jute_write_long(&b, s->ctime_ms);
    jute_write_long(&b, s->mtime_ms);
    jute_write_int(&b, s->version);
    jute_write_int(&b, image->creates);
    jute_write_int(&b, s->aversion);
    jute_write_long(&b, s->ephemeral_owner);
    uint64_t digest = crc32_z(0, b.data, b.len);
    buf_close(&b);
    return digest;
}

int64_t apache_tree_digest(struct apache_tree *t) {
    struct slice system = slice_from_str(SYSTEM_PREFIX);
    struct tree_walk *walk = tree_walk_new(t->tree);
    struct znode_image image;
    uint64_t sum = 0;
    while (tree_walk_next(walk, &image)) {
        if (image.path.len < system.len || memcmp(image.path.p, system.p, (size_t)system.len) != 0)
            sum += znode_digest(&image);
    }
    tree_walk_free(walk);
    return (int64_t)sum;
}

static int find_missing_acl(struct apache_tree *t, struct buf *why) {
    struct tree_walk *walk = tree_walk_new(t->tree);
    struct znode_image image;
    int err = 0;
    while (err == 0 && tree_walk_next(walk, &image)) {
        if (!blob_equal(image.acl, t->missing))
            continue;
        buf_printf(why, "the ACL of %.*s is neither in the snapshot nor in the log behind it",
                   (int)image.path.len, (const char *)image.path.p);
        err = -EBADMSG;
    }
    tree_walk_free(walk);
    return err;
}

static void count_extended(struct apache_tree *t, struct apache_result *result) {
    tree_begin_extended(t->tree);
    for (const struct znode *n; (n = tree_next_extended(t->tree));)
        *(ephemeral_type(znode_owner(n)) == EPHEMERAL_TTL ? &result->ttls : &result->containers) +=
            1;
}

int apache_tree_check(struct apache_tree *t, struct buf *ret_why) {
    zxid_t last = tree_last_zxid(t->tree);
    if (t->newest > last) {
        buf_printf(ret_why,
                   "the snapshot is ahead of the log: it has a change of zxid 0x%" PRIx64
                   ", and the log ends at 0x%" PRIx64,
                   t->newest, last);
        return -EBADMSG;
    }
    int err = t->has_missing ? find_missing_acl(t, ret_why) : 0;
    if (err == 0)
        CHECK(!tree_load_end(t->tree, last, last)); /* nothing was loaded since the first one */
    return err;
}

int apache_tree_end_sessions(struct apache_tree *t, struct apache_result *ret_result,
                             struct buf *ret_why) {
    struct apache_result result = {.sessions = session_set_count(&t->sessions)};
    int err = end_sessions_drop(t->tree, &result.ephemerals);
    if (err < 0) {
        buf_printf(ret_why, "there is an ephemeral that has children");
        return err;
    }
    count_extended(t, &result);
    *ret_result = result;
    return 0;
}
