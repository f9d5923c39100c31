/* Snapshots of a replica, sent while transactions go on and replayed over: what comes out has to be
 * the very state of who sent it. A replica here is a tree and its sessions. */
#include "replica/server/snapshot.h"

#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "common/prng.h"
#include "replica/proto/peer_codec.h"
#include "replica/proto/snap_codec.h"
#include "replica/server/core.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct replica *replica_make(uint8_t id) {
    struct replica *r = mem_zalloc(sizeof *r);
    r->tree = tree_new();
    sessions_init(&r->sessions, id, 1000);
    tree_changes_init(&r->changes);
    return r;
}

static void replica_drop(struct replica *r) {
    tree_free(r->tree);
    sessions_close(&r->sessions);
    tree_changes_close(&r->changes);
    mem_free(r);
}

/* As the core does it. */
static void apply(struct replica *r, const struct txn *txn) {
    struct session *s = session_find(&r->sessions, txn->session_id);
    if (txn->type == TXN_CREATE_SESSION) {
        if (!s)
            s = session_add(&r->sessions, txn->session_id, txn->timeout_ms);
        s->committed = true;
        s->retries = txn->retries;
    }
    if (txn->type == TXN_CLOSE_SESSION && s) {
        session_remove(&r->sessions, s);
        s = NULL;
    }
    if (txn->type == TXN_ENSEMBLE)
        sessions_set_secret(&r->sessions, txn->secret);
    tree_apply(r->tree, txn, &r->changes);
    ck_assert_msg(!tree_broken(r->tree), "%s", tree_broken(r->tree));
    if (s && s->retries)
        retry_record(&s->results, txn, &r->changes);
}

/* Transactions such as a leader makes, against a replica that has all before them. */
struct history {
    struct prng r;
    struct replica *at;
    struct txn **txns;
    size_t count, cap;
    session_id_t last_session;
    uint32_t data_max;
};

static struct txn *history_add(struct history *h, struct txn *txn) {
    txn->zxid = zxid_make(1, (uint32_t)h->count + 1);
    txn->time_ms = 1795200000000 + (int64_t)h->count;
    txn->cxid = (int32_t)h->count;
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->txns = mem_realloc(h->txns, h->cap * sizeof *h->txns);
    }
    h->txns[h->count++] = txn;
    apply(h->at, txn);
    return txn;
}

static session_id_t some_session(struct history *h) {
    if (h->at->sessions.count == 0)
        return 0;
    struct session *s = h->at->sessions.all;
    for (uint64_t i = prng_below(&h->r, h->at->sessions.count); i > 0; i--)
        s = s->next;
    return s->id;
}

static struct txn *create_session(struct history *h) {
    struct txn *txn = txn_new(TXN_CREATE_SESSION, 0);
    txn->session_id = ++h->last_session;
    txn->timeout_ms = 1000 + (int32_t)prng_below(&h->r, 9000);
    txn->retries = prng_chance(&h->r, 2, 3);
    return txn;
}

static struct txn *close_session(struct history *h, session_id_t id) {
    const struct znode *n;
    uint32_t count = 0;
    for (void *at = NULL; tree_next_ephemeral(h->at->tree, id, &at);)
        count++;
    struct txn *txn = txn_new(TXN_CLOSE_SESSION, count);
    txn->session_id = id;
    count = 0;
    for (void *at = NULL; (n = tree_next_ephemeral(h->at->tree, id, &at)); count++)
        txn->ops[count] = (struct txn_op){.type = TXN_OP_DELETE, .path = znode_path(n)};
    return txn;
}

static struct blob *some_data(struct history *h) {
    uint64_t len = prng_chance(&h->r, 1, 3) ? prng_below(&h->r, h->data_max) : prng_below(&h->r, 9);
    if (prng_chance(&h->r, 1, 9))
        return NULL;
    uint8_t *bytes = mem_alloc(len);
    memset(bytes, (int)prng_below(&h->r, 256), len);
    struct blob *b = blob_new(bytes, len);
    mem_free(bytes);
    return b;
}

static struct txn *change(struct history *h) {
    char path[16];
    int len = snprintf(path, sizeof path, "/%c", (int)('a' + prng_below(&h->r, 6)));
    if (prng_chance(&h->r, 2, 3))
        snprintf(path + len, sizeof path - (size_t)len, "/%c", (int)('a' + prng_below(&h->r, 9)));
    const struct znode *n = tree_find(h->at->tree, slice_from_str(path));
    const struct znode *parent = tree_find(h->at->tree, path_parent(slice_from_str(path)));
    session_id_t session = some_session(h);
    struct txn *txn = txn_new(TXN_OPS, 1);
    struct txn_op *op = txn->ops;
    struct zstat s;
    txn->session_id = session;
    op->path = blob_new(path, strlen(path));
    if (!n && parent && znode_owner(parent) == 0) {
        op->type = TXN_OP_CREATE;
        op->data = some_data(h);
        op->acl = acl_open_unsafe();
        op->owner = prng_chance(&h->r, 1, 2) ? session : 0;
        op->parent_creates = znode_creates(parent) + 1;
        return txn;
    }
    if (n && znode_child_count(n) == 0 && prng_chance(&h->r, 2, 3)) {
        op->type = TXN_OP_DELETE;
        return txn;
    }
    if (n) {
        znode_stat(n, &s);
        op->type = TXN_OP_SET_DATA;
        op->data = some_data(h);
        op->version = s.version + 1;
        return txn;
    }
    txn_free(txn);
    txn = txn_new(TXN_ERROR, 1);
    txn->session_id = session;
    txn->err = ZK_NONODE;
    return txn;
}

static void history_step(struct history *h) {
    uint64_t what = prng_below(&h->r, 30);
    if (h->count == 0) {
        struct txn *txn = txn_new(TXN_ENSEMBLE, 0);
        txn->secret = blob_new("0123456789abcdef0123456789abcdef", 32);
        history_add(h, txn);
    } else if (what < 3) {
        history_add(h, create_session(h));
    } else if (what == 3 && h->at->sessions.count > 2) {
        history_add(h, close_session(h, some_session(h)));
    } else {
        history_add(h, change(h));
    }
}

static void history_init(struct history *h, uint64_t seed, uint32_t data_max) {
    *h = (struct history){.at = replica_make(1), .data_max = data_max};
    prng_init(&h->r, seed);
}

static void history_close(struct history *h) {
    for (size_t i = 0; i < h->count; i++)
        txn_free(h->txns[i]);
    mem_free(h->txns);
    replica_drop(h->at);
}

static void history_replay(const struct history *h, struct replica *to) {
    zxid_t behind = tree_last_zxid(to->tree);
    for (size_t i = 0; i < h->count; i++)
        if (h->txns[i]->zxid > behind)
            apply(to, h->txns[i]);
}

static void assert_results_equal(const struct session *a, const struct session *b) {
    ck_assert_uint_eq(a->results.count, b->results.count);
    for (uint32_t i = 0; i < a->results.count; i++) {
        const struct retry_result *x = retry_at(&a->results, i), *y = retry_at(&b->results, i);
        ck_assert_int_eq(x->cxid, y->cxid);
        ck_assert_int_eq(x->zxid, y->zxid);
        ck_assert(blob_equal(x->bytes, y->bytes));
    }
}

static void assert_same(struct replica *a, struct replica *b) {
    ck_assert_int_eq(tree_last_zxid(a->tree), tree_last_zxid(b->tree));
    ck_assert(tree_exact(a->tree));
    ck_assert(tree_exact(b->tree));
    ck_assert_uint_eq(tree_digest(a->tree), tree_digest(b->tree));
    ck_assert_uint_eq(tree_ephemeral_count(a->tree), tree_ephemeral_count(b->tree));
    ck_assert_uint_eq(tree_data_bytes(a->tree), tree_data_bytes(b->tree));
    ck_assert_uint_eq(a->sessions.count, b->sessions.count);
    const struct session *x = a->sessions.all, *y = b->sessions.all;
    for (; x; x = x->next, y = y->next) {
        ck_assert_int_eq(x->id, y->id);
        ck_assert_int_eq(x->timeout_ms, y->timeout_ms);
        ck_assert_int_eq(x->retries, y->retries);
        ck_assert(y->committed);
        assert_results_equal(x, y);
    }
    ck_assert_int_eq(a->sessions.has_secret, b->sessions.has_secret);
    ck_assert_uint_eq(a->sessions.secret_len, b->sessions.secret_len);
    ck_assert_int_eq(memcmp(a->sessions.secret, b->sessions.secret, a->sessions.secret_len), 0);
}

/* A snapshot on its way. */
struct sending {
    struct snap_sender *sender;
    struct snap_loader *loader;
    zxid_t begun, ended;
    int pieces;
};

static void sending_begin(struct sending *s, struct replica *from) {
    *s = (struct sending){.sender = snap_sender_new(from), .loader = snap_loader_new()};
    s->begun = snap_sender_begun(s->sender);
    ck_assert_int_eq(s->begun, tree_last_zxid(from->tree));
}

/* False at the end. */
static bool sending_step(struct sending *s) {
    struct buf piece = BUF_INIT;
    if (!s->sender)
        return false;
    bool more = snap_sender_piece(s->sender, &piece);
    ck_assert_int_eq(more, piece.len > 0);
    if (more) {
        struct slice bytes = {piece.data, (int32_t)piece.len};
        const char *why = snap_loader_piece(s->loader, bytes);
        ck_assert_msg(!why, "%s", why);
        s->pieces++;
    } else {
        s->ended = snap_sender_ended(s->sender);
        ck_assert(!snap_sender_piece(s->sender, &piece));
        snap_sender_free(s->sender);
        s->sender = NULL;
    }
    buf_close(&piece);
    return more;
}

static void sending_install(struct sending *s, struct replica *to) {
    while (sending_step(s)) {
    }
    const char *why = snap_loader_finish(s->loader, to, s->begun, s->ended);
    ck_assert_msg(!why, "%s", why);
    ck_assert_int_eq(tree_last_zxid(to->tree), s->begun);
    ck_assert_int_eq(tree_exact(to->tree), s->begun == s->ended);
    snap_loader_free(s->loader);
}

START_TEST(what_is_installed_at_rest_is_the_same_at_once) {
    struct history h;
    struct sending s;
    history_init(&h, 1, 100);
    for (int i = 0; i < 300; i++)
        history_step(&h);
    sending_begin(&s, h.at);
    struct replica *to = replica_make(2);
    sending_install(&s, to);
    ck_assert_int_eq(s.begun, s.ended);
    assert_same(h.at, to);
    replica_drop(to);
    history_close(&h);
}
END_TEST

START_TEST(the_state_before_is_replaced) {
    struct history h, other;
    struct sending s;
    history_init(&h, 2, 100);
    history_init(&other, 3, 100);
    for (int i = 0; i < 200; i++) {
        history_step(&h);
        history_step(&other);
    }
    session_id_t given_out = (session_id_t)7 << 56 | 99,
                 given_out_there = (session_id_t)8 << 56 | 5;
    sessions_note_given(&other.at->sessions, given_out);
    sessions_note_given(&h.at->sessions, given_out_there);
    sessions_note_given(&h.at->sessions, given_out - 1);
    sending_begin(&s, h.at);
    sending_install(&s, other.at);
    assert_same(h.at, other.at);
    /* Ids that were given out are not given out again. */
    ck_assert_int_eq(other.at->sessions.given[7], given_out);
    ck_assert_int_eq(other.at->sessions.given[8], given_out_there);
    history_close(&h);
    history_close(&other);
}
END_TEST

START_TEST(a_snapshot_of_nothing_is_one) {
    struct replica *from = replica_make(1), *to = replica_make(2);
    struct sending s;
    sending_begin(&s, from);
    sending_install(&s, to);
    ck_assert_int_eq(s.ended, 0);
    assert_same(from, to);
    ck_assert(!to->sessions.has_secret);
    replica_drop(from);
    replica_drop(to);
}
END_TEST

/* Two learners, the second of which gets its snapshot from the first one, that is still on its way
 * out of its own. */
static void run(uint64_t seed) {
    struct history h;
    struct sending first, second;
    history_init(&h, seed, 150000);
    uint64_t before = prng_below(&h.r, 150);
    for (uint64_t i = 0; i < before; i++)
        history_step(&h);
    sending_begin(&first, h.at);
    do {
        for (uint64_t i = prng_below(&h.r, 12); i > 0; i--)
            history_step(&h);
    } while (sending_step(&first));
    for (uint64_t i = prng_below(&h.r, 30); i > 0; i--)
        history_step(&h);
    struct replica *b = replica_make(2), *c = replica_make(3);
    sending_install(&first, b);
    uint64_t ahead = prng_below(&h.r, 20);
    for (size_t i = 0; i < h.count && ahead > 0; i++) {
        if (h.txns[i]->zxid > tree_last_zxid(b->tree)) {
            apply(b, h.txns[i]);
            ahead--;
        }
    }
    sending_begin(&second, b);
    size_t at = 0;
    do {
        for (uint64_t i = prng_below(&h.r, 9); i > 0 && at < h.count; at++) {
            if (h.txns[at]->zxid <= tree_last_zxid(b->tree))
                continue;
            apply(b, h.txns[at]);
            i--;
        }
    } while (sending_step(&second));
    sending_install(&second, c);
    history_replay(&h, b);
    history_replay(&h, c);
    assert_same(h.at, b);
    assert_same(h.at, c);
    replica_drop(b);
    replica_drop(c);
    history_close(&h);
}

START_TEST(a_replay_over_what_was_sent_meanwhile_gives_the_same) {
    for (uint64_t i = 0; i < 8; i++)
        run((uint64_t)_i * 100 + i);
}
END_TEST

static struct replica *from, *to;

static void set_up(void) {
    from = replica_make(1);
    to = replica_make(2);
}

static void tear_down(void) {
    replica_drop(from);
    replica_drop(to);
}

static void do_create(struct replica *r, zxid_t zxid, const char *path, size_t data_len) {
    struct txn *txn = txn_new(TXN_OPS, 1);
    uint8_t *zeros = mem_zalloc(data_len);
    txn->zxid = zxid;
    struct slice parent = path_parent(slice_from_str(path));
    txn->ops[0] = (struct txn_op){.type = TXN_OP_CREATE,
                                  .path = blob_new(path, strlen(path)),
                                  .data = blob_new(zeros, data_len),
                                  .acl = acl_open_unsafe(),
                                  .parent_creates = znode_creates(tree_find(r->tree, parent)) + 1};
    apply(r, txn);
    txn_free(txn);
    mem_free(zeros);
}

START_TEST(pieces_are_short_and_a_large_znode_has_its_own) {
    char path[16];
    struct buf piece = BUF_INIT;
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        do_create(from, i + 1, path, i == 10 ? (12u << 20) : 60000);
    }
    struct snap_sender *s = snap_sender_new(from);
    int large = 0, pieces = 0;
    for (; snap_sender_piece(s, &piece); pieces++) {
        ck_assert_uint_le(piece.len, PEER_MESSAGE_MAX - 32);
        if (piece.len <= SNAP_PIECE_BYTES)
            continue;
        large++;
        ck_assert_uint_lt(piece.len, (12u << 20) + 100);
    }
    ck_assert_int_eq(large, 1);
    ck_assert_int_ge(pieces, 6);
    ck_assert_int_le(pieces, 8);
    snap_sender_free(s);
    buf_close(&piece);
}
END_TEST

START_TEST(a_session_that_is_not_committed_is_not_sent) {
    struct sending s;
    session_add(&from->sessions, 5, 1000)->committed = true;
    session_add(&from->sessions, 6, 1000);
    sending_begin(&s, from);
    sending_install(&s, to);
    ck_assert_uint_eq(to->sessions.count, 1);
    ck_assert_ptr_nonnull(session_find(&to->sessions, 5));
}
END_TEST

START_TEST(sessions_that_fill_many_pieces_may_go_meanwhile) {
    struct sending s;
    uint8_t *bytes = mem_zalloc(RETRY_BYTES_MAX);
    for (session_id_t id = 1; id <= 40; id++) {
        struct session *session = session_add(&from->sessions, id, 1000);
        session->committed = true;
        session->retries = true;
        /* A result: no error, no multi, no operations; many of them. */
        for (int i = 1; i <= 200; i++)
            ck_assert(retry_load(&session->results, i, i, (struct slice){bytes, 13}));
    }
    sending_begin(&s, from);
    do_create(from, 300, "/since", 3);
    int removed = 0;
    while (sending_step(&s)) {
        for (session_id_t id = 39; id <= 40 && s.pieces == 1; id++, removed++)
            session_remove(&from->sessions, session_find(&from->sessions, id));
    }
    if (s.pieces > 1)
        ck_assert_int_eq(removed, 2);
    sending_install(&s, to);
    ck_assert_int_eq(s.ended, 300);
    ck_assert_uint_eq(to->sessions.count, s.pieces > 1 ? 38 : 40);
    ck_assert_uint_eq(session_find(&to->sessions, 7)->results.count, 200);
    mem_free(bytes);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("snapshot");
    TCase *c = tcase_create("whole");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, what_is_installed_at_rest_is_the_same_at_once);
    tcase_add_test(c, the_state_before_is_replaced);
    tcase_add_test(c, a_snapshot_of_nothing_is_one);
    tcase_add_loop_test(c, a_replay_over_what_was_sent_meanwhile_gives_the_same, 0, 8);
    suite_add_tcase(s, c);
    c = tcase_create("parts");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, pieces_are_short_and_a_large_znode_has_its_own);
    tcase_add_test(c, a_session_that_is_not_committed_is_not_sent);
    tcase_add_test(c, sessions_that_fill_many_pieces_may_go_meanwhile);
    suite_add_tcase(s, c);
    return s;
}
