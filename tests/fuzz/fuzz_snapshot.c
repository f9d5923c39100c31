/* Snapshots that anybody may have made: the input is a list of pieces, each with its length before
 * it, and then where the walk began and ended. What is accepted is sent on, and has to arrive as
 * the same. */
#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/snap_codec.h"
#include "replica/server/core.h"
#include "replica/server/snapshot.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* As much of a replica as a snapshot touches. */
static struct replica *replica_make(void) {
    struct replica *r = mem_zalloc(sizeof *r);
    r->tree = tree_new();
    sessions_init(&r->sessions, 1, 1000);
    return r;
}

static void replica_drop(struct replica *r) {
    tree_free(r->tree);
    sessions_close(&r->sessions);
    mem_free(r);
}

static void assert_results_equal(const struct session *a, const struct session *b) {
    CHECK(a->retries == b->retries);
    CHECK(a->results.count == b->results.count);
    for (uint32_t i = 0; i < a->results.count; i++) {
        const struct retry_result *x = retry_at(&a->results, i), *y = retry_at(&b->results, i);
        CHECK(x->cxid == y->cxid);
        CHECK(x->zxid == y->zxid);
        CHECK(blob_equal(x->bytes, y->bytes));
    }
}

static void assert_same(struct replica *a, struct replica *b) {
    CHECK(tree_digest(a->tree) == tree_digest(b->tree));
    CHECK(tree_znode_count(a->tree) == tree_znode_count(b->tree));
    CHECK(tree_data_bytes(a->tree) == tree_data_bytes(b->tree));
    CHECK(tree_ephemeral_count(a->tree) == tree_ephemeral_count(b->tree));
    CHECK(a->sessions.count == b->sessions.count);
    const struct session *x = a->sessions.all, *y = b->sessions.all;
    for (; x; x = x->next, y = y->next) {
        CHECK(x->id == y->id);
        CHECK(x->timeout_ms == y->timeout_ms);
        assert_results_equal(x, y);
    }
    CHECK(a->sessions.has_secret == b->sessions.has_secret);
    CHECK(a->sessions.secret_len == b->sessions.secret_len);
    CHECK(memcmp(a->sessions.secret, b->sessions.secret, a->sessions.secret_len) == 0);
}

/* Only of a tree that is exact: in one that is not, the walk leaves out what its log makes again.
 */
static void send_on(struct replica *from) {
    struct replica *to = replica_make();
    struct snap_sender *sender = snap_sender_new(from);
    struct snap_loader *loader = snap_loader_new();
    struct buf piece = BUF_INIT;
    while (snap_sender_piece(sender, &piece))
        CHECK(!snap_loader_piece(loader, (struct slice){piece.data, (int32_t)piece.len}));
    CHECK(!snap_loader_finish(loader, to, snap_sender_begun(sender), snap_sender_ended(sender)));
    snap_loader_free(loader);
    snap_sender_free(sender);
    buf_close(&piece);
    assert_same(from, to);
    replica_drop(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct replica *r = replica_make();
    struct snap_loader *loader = snap_loader_new();
    struct cursor c;
    cursor_init(&c, data, size);
    zxid_t begun = cursor_u8(&c), ended = begun;
    if (begun >= 0x80) {
        begun = (zxid_t)cursor_u64be(&c);
        ended = (zxid_t)cursor_u64be(&c);
    }
    const char *refused = NULL;
    while (cursor_left(&c) > 0) {
        const char *why = snap_loader_piece(loader, fuzz_piece(&c));
        CHECK(!refused || why); /* for good */
        refused = why;
    }
    const char *why = snap_loader_finish(loader, r, begun, ended);
    CHECK(!refused || why);
    if (!why) {
        CHECK(tree_last_zxid(r->tree) == begun);
        CHECK(tree_exact(r->tree) == (begun == ended));
        if (tree_exact(r->tree))
            send_on(r);
    }
    snap_loader_free(loader);
    replica_drop(r);
    return 0;
}
