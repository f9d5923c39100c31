#include "replica/server/retry.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/cursor.h"
#include "common/jute.h"
#include "common/mem.h"
#include "common/zkerr.h"

#include <string.h>

#define CAP_MIN 8u

/* xids are positive and begin again behind the greatest: on that circle, how far b is behind a. */
static int32_t xid_distance(int32_t a, int32_t b) {
    return (int32_t)(((uint32_t)a - (uint32_t)b) & 0x7fffffffu);
}

const struct retry_result *retry_at(const struct retry_window *w, uint32_t i) {
    CHECK(i < w->count);
    return &w->results[(w->first + i) & (w->cap - 1)];
}

static uint32_t bytes_of(const struct retry_result *r) { return r->bytes ? r->bytes->len : 0; }

static void drop_oldest(struct retry_window *w) {
    struct retry_result *r = &w->results[w->first];
    w->bytes -= bytes_of(r);
    blob_unref(r->bytes);
    w->first = (w->first + 1) & (w->cap - 1);
    w->count--;
}

void retry_close(struct retry_window *w) {
    while (w->count > 0)
        drop_oldest(w);
    mem_free(w->results);
    *w = (struct retry_window){0};
}

static void grow(struct retry_window *w) {
    uint32_t cap = w->cap ? w->cap * 2 : CAP_MIN;
    struct retry_result *results = mem_alloc(cap * sizeof *results);
    for (uint32_t i = 0; i < w->count; i++)
        results[i] = *retry_at(w, i);
    mem_free(w->results);
    w->results = results;
    w->cap = cap;
    w->first = 0;
}

/* take_bytes may be NULL. */
static void push(struct retry_window *w, int32_t cxid, zxid_t zxid, struct blob *take_bytes) {
    struct retry_result r = {cxid, zxid, take_bytes};
    while (w->count > 0 &&
           (w->count >= RETRY_RESULTS_MAX || w->bytes + bytes_of(&r) > RETRY_BYTES_MAX))
        drop_oldest(w);
    if (w->count == w->cap)
        grow(w);
    w->results[(w->first + w->count) & (w->cap - 1)] = r;
    w->count++;
    w->bytes += bytes_of(&r);
}

static bool has_stat(enum txn_op_type type) {
    return type == TXN_OP_CREATE || type == TXN_OP_SET_DATA || type == TXN_OP_SET_ACL;
}

/* err, multi, error_index, count, then of each operation that was done: type, [path], [Stat]. */
static struct blob *encode(const struct txn *txn, const struct tree_changes *changes) {
    struct buf b;
    buf_init(&b, RETRY_BYTES_MAX);
    bool done = txn->type == TXN_OPS;
    jute_write_int(&b, done ? 0 : txn->err);
    jute_write_bool(&b, txn->multi);
    jute_write_int(&b, (int32_t)txn->error_index);
    jute_write_int(&b, (int32_t)txn->op_count);
    for (uint32_t i = 0; done && i < txn->op_count && !b.overflow; i++) {
        const struct txn_op *op = &txn->ops[i];
        jute_write_int(&b, op->type);
        if (op->type == TXN_OP_CREATE)
            jute_write_slice(&b, blob_slice(op->path));
        if (has_stat(op->type))
            jute_write_stat(&b, &changes->stats[i]);
    }
    struct blob *bytes = b.overflow ? NULL : blob_new(b.data, b.len);
    buf_close(&b);
    return bytes;
}

/* These refuse the connection, not the request: sent again elsewhere, it may be done. */
static bool says_nothing(const struct txn *txn) {
    return txn->type == TXN_ERROR && (txn->err == ZK_SESSIONMOVED || txn->err == ZK_SESSIONEXPIRED);
}

static bool is_behind(const struct retry_window *w, zxid_t zxid) {
    return w->count == 0 || zxid > retry_at(w, w->count - 1)->zxid;
}

void retry_record(struct retry_window *w, const struct txn *txn,
                  const struct tree_changes *changes) {
    if ((txn->type != TXN_OPS && txn->type != TXN_ERROR) || says_nothing(txn) ||
        !is_behind(w, txn->zxid))
        return;
    push(w, txn->cxid, txn->zxid, encode(txn, changes));
}

enum retry_answer retry_find(const struct retry_window *w, int32_t cxid,
                             const struct retry_result **ret_result) {
    if (w->count == 0)
        return RETRY_NEW;
    /* Writes of a session are done in their order, so what is ahead of the newest was never seen.
     */
    int32_t newest = retry_at(w, w->count - 1)->cxid;
    if (xid_distance(newest, cxid) > INT32_MAX / 2)
        return RETRY_NEW;
    for (uint32_t i = w->count; i-- > 0;) {
        const struct retry_result *r = retry_at(w, i);
        if (r->cxid != cxid)
            continue;
        *ret_result = r;
        return r->bytes ? RETRY_KNOWN : RETRY_FORGOTTEN;
    }
    return RETRY_FORGOTTEN;
}

static bool decode_op(struct cursor *c, struct txn_op *op, struct zstat *ret_stat) {
    op->type = (enum txn_op_type)jute_read_int(c);
    if (c->bad || op->type < TXN_OP_CREATE || op->type > TXN_OP_CHECK)
        return false;
    if (op->type == TXN_OP_CREATE) {
        struct slice path = jute_read_slice(c);
        if (c->bad || path.len < 0)
            return false;
        op->path = blob_from_slice(path);
    }
    if (has_stat(op->type))
        jute_read_stat(c, ret_stat);
    return !c->bad;
}

struct txn *retry_decode(const struct retry_result *result, struct tree_changes *ret_changes) {
    struct cursor c;
    cursor_init(&c, result->bytes->bytes, result->bytes->len);
    int32_t err = jute_read_int(&c);
    bool multi = jute_read_bool(&c);
    int32_t error_index = jute_read_int(&c);
    int32_t count = jute_read_int(&c);
    /* Each operation that was done takes four bytes at least. */
    if (c.bad || count < 0 || error_index < 0 ||
        (err == 0 && (uint32_t)count > cursor_left(&c) / 4))
        return NULL;
    bool done = err == 0;
    struct txn *txn = txn_new(done ? TXN_OPS : TXN_ERROR, done ? (uint32_t)count : 0);
    txn->zxid = result->zxid;
    txn->cxid = result->cxid;
    txn->err = err;
    txn->multi = multi;
    txn->error_index = (uint32_t)error_index;
    txn->op_count = (uint32_t)count;
    tree_changes_init(ret_changes);
    ret_changes->stats = mem_zalloc(((size_t)(done ? count : 0) + 1) * sizeof *ret_changes->stats);
    ret_changes->stat_count = done ? (size_t)count : 0;
    ret_changes->stat_cap = ret_changes->stat_count + 1;
    bool ok = true;
    for (int32_t i = 0; done && ok && i < count; i++)
        ok = decode_op(&c, &txn->ops[i], &ret_changes->stats[i]);
    if (ok && !cursor_left(&c))
        return txn;
    txn_free(txn);
    tree_changes_close(ret_changes);
    return NULL;
}

bool retry_load(struct retry_window *w, int32_t cxid, zxid_t zxid, struct slice bytes) {
    if (!is_behind(w, zxid) || bytes.len > (int32_t)RETRY_BYTES_MAX)
        return false;
    if (bytes.len < 0) {
        push(w, cxid, zxid, NULL);
        return true;
    }
    struct retry_result r = {cxid, zxid, blob_from_slice(bytes)};
    struct tree_changes changes;
    struct txn *txn = retry_decode(&r, &changes);
    if (!txn) {
        blob_unref(r.bytes);
        return false;
    }
    txn_free(txn);
    tree_changes_close(&changes);
    push(w, cxid, zxid, r.bytes);
    return true;
}
