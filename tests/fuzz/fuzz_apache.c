/* Apache ZooKeeper's files that anybody may have made: the input is a snapshot's zxid, the snapshot
 * without its seal (none when it is empty), and a list of transactions, each with its length before
 * it. The checksums are made right here, or nothing would get past them. What comes out of it is
 * written and read as a snapshot of ours, and has to be the same tree. */
#include "common/buf.h"
#include "common/check.h"
#include "replica/offline/apache_log.h"
#include "replica/offline/apache_snapshot.h"
#include "replica/proto/snap_codec.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"
#include "tests/fuzz/fuzz.h"

#include <zlib.h>

static bool load_znode(void *ctx, const struct znode_image *image) {
    CHECK(!tree_load(ctx, image));
    return true;
}

static void check_written(struct tree *t) {
    struct tree *again = tree_new();
    struct tree_walk *walk = tree_walk_new(t);
    struct snap_reader reader = {.ctx = again, .znode = load_znode};
    struct znode_image image;
    struct buf piece = BUF_INIT;
    while (tree_walk_next(walk, &image)) {
        buf_reset(&piece);
        snap_put_znode(&piece, &image);
        CHECK(snap_read_piece((struct slice){piece.data, (int32_t)piece.len}, &reader));
    }
    CHECK(!tree_load_end(again, tree_last_zxid(t), tree_last_zxid(t)));
    CHECK(tree_digest(t) == tree_digest(again));
    CHECK(tree_znode_count(t) == tree_znode_count(again));
    tree_walk_free(walk);
    tree_free(again);
    buf_close(&piece);
}

static bool read_snapshot(struct apache_tree *t, zxid_t zxid, struct slice body) {
    struct buf b = BUF_INIT, why = BUF_INIT;
    buf_put(&b, body.p, (size_t)body.len);
    buf_put_u64be(&b, adler32_z(1, b.data, b.len));
    buf_put_u32be(&b, 1);
    buf_put_u8(&b, '/');
    bool fine = apache_snapshot_read(b.data, b.len, t, &why) == 0;
    CHECK(fine == (why.len == 0));
    buf_close(&b);
    buf_close(&why);
    return fine && !apache_tree_loaded(t, zxid);
}

static void put_record(struct buf *log, struct slice txn) {
    buf_put_u64be(log, adler32_z(1, txn.p, (size_t)txn.len));
    buf_put_u32be(log, (uint32_t)txn.len);
    buf_put(log, txn.p, (size_t)txn.len);
    buf_put_u8(log, 0x42);
}

/* False when the tree is of no use any more. */
static bool replay(struct apache_tree *t, const struct buf *bytes) {
    struct apache_log log;
    struct slice payload;
    CHECK(!apache_log_open(&log, bytes->data, bytes->len));
    while (apache_log_next(&log, &payload) == APACHE_LOG_RECORD) {
        struct apache_txn txn;
        if (apache_txn_decode(payload, &txn))
            continue;
        const char *broken = txn.zxid > apache_tree_last(t) ? apache_tree_apply(t, &txn) : NULL;
        apache_txn_close(&txn);
        if (broken)
            return false;
    }
    return true;
}

static void finish(struct apache_tree *t) {
    struct apache_result r = {0};
    struct buf why = BUF_INIT;
    if (apache_tree_check(t, &why) == 0) {
        apache_tree_digest(t);
        if (apache_tree_end_sessions(t, &r, &why) == 0) {
            CHECK(tree_exact(apache_tree_tree(t)));
            CHECK(tree_ephemeral_count(apache_tree_tree(t)) == 0);
            check_written(apache_tree_tree(t));
        }
    }
    buf_close(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct apache_tree *t = apache_tree_new();
    struct buf log = BUF_INIT;
    struct cursor c;
    cursor_init(&c, data, size);
    zxid_t zxid = cursor_u8(&c);
    struct slice body = fuzz_piece(&c);
    bool fine = body.len > 0 ? read_snapshot(t, zxid, body) : true;
    if (body.len == 0)
        CHECK(!apache_tree_loaded(t, 0));
    buf_put(&log, "ZKLG\0\0\0\2\0\0\0\0\0\0\0\0", 16);
    while (cursor_left(&c) > 0)
        put_record(&log, fuzz_piece(&c));
    if (fine && replay(t, &log))
        finish(t);
    buf_close(&log);
    apache_tree_free(t);
    return 0;
}
