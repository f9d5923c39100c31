#include "tests/unit/tree/txn_make.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct txn *make_typed(enum txn_type type, zxid_t zxid, session_id_t session_id, uint32_t n) {
    struct txn *t = txn_new(type, n);
    t->zxid = zxid;
    t->session_id = session_id;
    t->time_ms = 1000 * zxid;
    return t;
}

struct txn *make_txn(zxid_t zxid, uint32_t n) {
    return make_typed(TXN_OPS, zxid, 0, n);
}

struct blob *text_blob(const char *text) {
    return blob_from_slice(slice_from_str(text));
}

static struct blob *acl_of(const char *text) {
    const char *why = NULL;
    struct blob *acl = acl_parse(slice_from_str(text), &why);
    ck_assert_msg(acl != NULL, "%s", why);
    return acl;
}

void op_create(struct txn_op *op, const char *path, const char *data, session_id_t owner,
               int32_t parent_creates) {
    *op = (struct txn_op){.type = TXN_OP_CREATE,
                          .path = text_blob(path),
                          .data = text_blob(data),
                          .acl = acl_of(OPEN_ACL),
                          .owner = owner,
                          .parent_creates = parent_creates};
}

void op_delete(struct txn_op *op, const char *path) {
    *op = (struct txn_op){.type = TXN_OP_DELETE, .path = text_blob(path)};
}

void op_set_data(struct txn_op *op, const char *path, const char *data, int32_t version) {
    *op = (struct txn_op){.type = TXN_OP_SET_DATA,
                          .path = text_blob(path),
                          .data = text_blob(data),
                          .version = version};
}

void op_set_acl(struct txn_op *op, const char *path, const char *acl, int32_t version) {
    *op = (struct txn_op){
        .type = TXN_OP_SET_ACL, .path = text_blob(path), .acl = acl_of(acl), .version = version};
}

void op_check(struct txn_op *op, const char *path) {
    *op = (struct txn_op){.type = TXN_OP_CHECK, .path = text_blob(path)};
}

const struct znode *find(const struct tree *t, const char *path) {
    return tree_find(t, slice_from_str(path));
}

struct zstat stat_of(const struct tree *t, const char *path) {
    const struct znode *n = find(t, path);
    ck_assert_msg(n != NULL, "%s", path);
    struct zstat s;
    znode_stat(n, &s);
    return s;
}

const char *do_txn(struct tree *t, struct txn *txn) {
    tree_apply(t, txn, NULL);
    txn_free(txn);
    return tree_broken(t);
}

static void do_one(struct tree *t, struct txn *txn) {
    const char *why = do_txn(t, txn);
    ck_assert_msg(why == NULL, "%s", why);
}

void do_create_owned(struct tree *t, zxid_t zxid, const char *path, session_id_t owner) {
    const struct znode *parent = tree_find(t, path_parent(slice_from_str(path)));
    struct txn *txn = make_txn(zxid, 1);
    op_create(txn->ops, path, "", owner, znode_creates(parent) + 1);
    do_one(t, txn);
}

void do_create(struct tree *t, zxid_t zxid, const char *path, const char *data) {
    const struct znode *parent = tree_find(t, path_parent(slice_from_str(path)));
    struct txn *txn = make_txn(zxid, 1);
    op_create(txn->ops, path, data, 0, znode_creates(parent) + 1);
    do_one(t, txn);
}

void do_delete(struct tree *t, zxid_t zxid, const char *path) {
    struct txn *txn = make_txn(zxid, 1);
    op_delete(txn->ops, path);
    do_one(t, txn);
}

void do_set_data(struct tree *t, zxid_t zxid, const char *path, const char *data) {
    struct txn *txn = make_txn(zxid, 1);
    op_set_data(txn->ops, path, data, stat_of(t, path).version + 1);
    do_one(t, txn);
}

void do_set_acl(struct tree *t, zxid_t zxid, const char *path, const char *acl) {
    struct txn *txn = make_txn(zxid, 1);
    op_set_acl(txn->ops, path, acl, stat_of(t, path).aversion + 1);
    do_one(t, txn);
}

const char *children_of(const struct tree *t, const char *path) {
    static char text[4096];
    size_t len = 0;
    for (const struct znode *n = znode_first_child(find(t, path)); n; n = znode_next_sibling(n)) {
        struct slice name = znode_name(n);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", len ? "," : "", name.len,
                                (const char *)name.p);
        ck_assert_uint_lt(len, sizeof text);
    }
    text[len] = '\0';
    return text;
}

static int64_t czxid_of(const struct znode *n) {
    struct zstat s;
    znode_stat(n, &s);
    return s.czxid;
}

static int by_czxid_and_name(const void *a, const void *b) {
    const struct znode *x = *(const struct znode *const *)a;
    const struct znode *y = *(const struct znode *const *)b;
    if (czxid_of(x) != czxid_of(y))
        return czxid_of(x) < czxid_of(y) ? -1 : 1;
    struct slice p = znode_name(x), q = znode_name(y);
    int order = memcmp(p.p, q.p, (size_t)(p.len < q.len ? p.len : q.len));
    return order ? order : p.len - q.len;
}

static void print_znode(const struct znode *n, struct buf *out) {
    struct zstat s;
    znode_stat(n, &s);
    struct blob *path = znode_path(n);
    buf_printf(out, "%.*s ", (int)path->len, (const char *)path->bytes);
    blob_unref(path);
    struct slice data = blob_slice(znode_data(n));
    buf_printf(out, "data=%d:%.*s ", data.len, data.len > 0 ? data.len : 0, (const char *)data.p);
    struct jvec acl = acl_view(znode_acl(n));
    buf_printf(out, "acl=");
    acl_print(out, &acl);
    buf_printf(out, " c=%" PRIx64 " m=%" PRIx64 " p=%" PRIx64 " ct=%" PRId64 " mt=%" PRId64,
               (uint64_t)s.czxid, (uint64_t)s.mzxid, (uint64_t)s.pzxid, s.ctime_ms, s.mtime_ms);
    buf_printf(out, " v=%d cv=%d av=%d owner=%" PRId64 " children=%d creates=%d\n", s.version,
               s.cversion, s.aversion, s.ephemeral_owner, s.num_children, znode_creates(n));
}

static void print_below(const struct tree *t, const struct znode *n, struct buf *out) {
    print_znode(n, out);
    uint32_t count = znode_child_count(n);
    const struct znode **list = mem_alloc(count * sizeof *list);
    uint32_t i = 0;
    for (const struct znode *c = znode_first_child(n); c; c = znode_next_sibling(c)) {
        ck_assert_uint_lt(i, count);
        ck_assert_ptr_eq(znode_parent(c), n);
        ck_assert_ptr_eq(tree_child(t, n, znode_name(c)), c);
        if (i > 0)
            ck_assert_int_le(czxid_of(list[i - 1]), czxid_of(c));
        list[i++] = c;
    }
    ck_assert_uint_eq(i, count);
    if (count > 0)
        qsort(list, count, sizeof *list, by_czxid_and_name);
    for (i = 0; i < count; i++)
        print_below(t, list[i], out);
    mem_free(list);
}

char *tree_picture(const struct tree *t) {
    struct buf out = BUF_INIT;
    print_below(t, find(t, "/"), &out);
    buf_printf(&out, "znodes=%" PRIu64 " bytes=%" PRIu64 " ephemerals=%" PRIu64 " owners=%" PRIu64,
               tree_znode_count(t), tree_data_bytes(t), tree_ephemeral_count(t),
               tree_owner_count(t));
    char *text = mem_strndup((const char *)out.data, out.len);
    buf_close(&out);
    return text;
}
