/* A core that starts from a checkpoint has what the one before had, whatever went on while it was
 * made; and refuses one that does not add up, in favour of an older one or of the log. */
#include "tests/unit/server/checkpoint_play.h"

#include "common/mem.h"
#include "common/path.h"
#include "common/prng.h"
#include "replica/proto/snap_codec.h"
#include "replica/tree/tree_digest.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

/* ---- what a core has ---- */

static conn_id_t retrying_client(struct harness *h) {
    static const uint8_t zeros[PASSWD_BYTES];
    struct proto_connect_request req = {.protocol_version = PROTOCOL_VERSION_RETRIES,
                                        .timeout_ms = 20000,
                                        .passwd = {zeros, PASSWD_BYTES},
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t c = h_open(h);
    h_frame(h, c, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take_connect(h, c));
    return c;
}

/* Tree, sessions, and the results that those keep, in one number each. */
struct state {
    zxid_t last;
    uint64_t tree, sessions, session_count;
};

static uint64_t mix(uint64_t h, const void *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3ULL;
    return h;
}

static struct state state_of(const struct harness *h) {
    const struct sessions *ss = &h->r->sessions;
    struct state s = {.last = tree_last_zxid(h->r->tree),
                      .tree = tree_digest(h->r->tree),
                      .sessions = mix(1, ss->secret, ss->secret_len)};
    for (const struct session *at = ss->all; at; at = at->next) {
        s.session_count++;
        s.sessions = mix(s.sessions, &at->id, sizeof at->id);
        s.sessions = mix(s.sessions, &at->timeout_ms, sizeof at->timeout_ms);
        for (uint32_t i = 0; i < at->results.count; i++) {
            const struct retry_result *r = retry_at(&at->results, i);
            s.sessions = mix(s.sessions, &r->cxid, sizeof r->cxid);
            s.sessions = mix(s.sessions, &r->zxid, sizeof r->zxid);
            if (r->bytes)
                s.sessions = mix(s.sessions, r->bytes->bytes, r->bytes->len);
        }
    }
    return s;
}

static void assert_state(const struct harness *h, const struct state *was) {
    struct state s = state_of(h);
    ck_assert_int_eq(s.last, was->last);
    ck_assert_uint_eq(s.tree, was->tree);
    ck_assert_uint_eq(s.session_count, was->session_count);
    ck_assert_uint_eq(s.sessions, was->sessions);
}

/* The recent changes, from behind `since` on. */
static uint64_t recent_state(const struct harness *h, zxid_t since, uint32_t *ret_count) {
    const struct recent *r = &h->r->recent;
    uint64_t sum = 1;
    uint32_t from = recent_behind(r, since);
    for (uint32_t i = from; i < r->count; i++) {
        const struct recent_change *c = recent_at(r, i);
        sum = mix(sum, &c->zxid, sizeof c->zxid);
        sum = mix(sum, &c->event, sizeof c->event);
        sum = mix(sum, c->path->bytes, c->path->len);
    }
    *ret_count = r->count - from;
    return sum;
}

/* The core as it is before its start, from play.saved and the log behind it. */
static void recover(struct harness *h) {
    h->hold_log = true; /* the new epoch stays out of it */
    play_restart(h);
    ck_assert(!h->stopped);
}

/* ---- what goes on meanwhile ---- */

struct world {
    struct harness *h;
    struct prng p;
    conn_id_t clients[4];
    int32_t xid;
};

static void world_init(struct world *w, uint64_t seed) {
    *w = (struct world){.h = play_started(0)};
    prng_init(&w->p, seed);
    for (int i = 0; i < 4; i++)
        w->clients[i] = i % 2 == 0 ? retrying_client(w->h) : h_client(w->h);
}

static const char *any_path(struct world *w) {
    static char path[32];
    uint64_t i = prng_below(&w->p, 30);
    if (i < 6)
        (void)snprintf(path, sizeof path, "/d%d", (int)i);
    else
        (void)snprintf(path, sizeof path, "/d%d/z%d", (int)(i % 6), (int)(i / 6));
    return path;
}

static void multi(struct world *w, conn_id_t c) {
    struct buf b = BUF_INIT;
    h_multi_create(&b, any_path(w), CREATE_PERSISTENT);
    h_multi_set(&b, any_path(w), "m", -1);
    h_multi_delete(&b, any_path(w), -1);
    h_multi_end(&b);
    h_send_bytes(w->h, c, w->xid, OP_MULTI, b.data, b.len);
    buf_close(&b);
}

static void new_session(struct world *w, int i) {
    h_send(w->h, w->clients[i], w->xid, OP_CLOSE_SESSION, PROTO_path_watch_request, NULL);
    w->clients[i] = prng_chance(&w->p, 1, 2) ? retrying_client(w->h) : h_client(w->h);
}

static void write_one(struct world *w) {
    static const int32_t modes[] = {CREATE_PERSISTENT, CREATE_PERSISTENT, CREATE_EPHEMERAL,
                                    CREATE_PERSISTENT_SEQUENTIAL};
    static struct h_reply reply;
    int i = (int)prng_below(&w->p, 4);
    conn_id_t c = w->clients[i];
    w->xid++;
    switch (prng_below(&w->p, 10)) {
    case 0:
    case 1:
    case 2:
        h_send_create(w->h, c, w->xid, any_path(w), "data", modes[prng_below(&w->p, 4)]);
        break;
    case 3:
    case 4:
        h_send_delete(w->h, c, w->xid, any_path(w), -1);
        break;
    case 5:
        multi(w, c);
        break;
    case 6:
        h_send_set_acl(w->h, c, w->xid, any_path(w), "world:anyone:rwcda", -1);
        break;
    case 7:
        if (prng_chance(&w->p, 1, 3)) {
            new_session(w, i);
            return;
        }
        break;
    default:
        h_send_set(w->h, c, w->xid, any_path(w), "other", -1);
        break;
    }
    while (h_take(w->h, c, &reply))
        ;
}

static void write_some(struct world *w, uint64_t most) {
    for (uint64_t n = prng_below(&w->p, most + 1); n > 0; n--)
        write_one(w);
}

static void ask(struct harness *h) {
    conn_id_t word = h_open(h);
    h_word(h, word, "snap");
    ck_assert(play.under_way);
}

/* One, from its beginning to its end, with writes between all its steps. */
static void make_one(struct world *w, uint64_t writes) {
    uint32_t ended = play.ended;
    ask(w->h);
    play.read_max = prng_below(&w->p, 4);
    while (play.ended == ended) {
        write_some(w, writes);
        ck_assert(play.under_way);
        if (play.read_asked && prng_chance(&w->p, 1, 2))
            play_range(w->h);
        if (prng_chance(&w->p, 1, 2))
            play_written(w->h);
        h_advance(w->h, 1);
    }
    write_some(w, writes);
    play_saved(w->h);
}

/* Small pieces, so that there are many: the znodes' data is what the limit is about. */
static void grow(struct world *w) {
    static char data[30001];
    char path[16];
    memset(data, 'x', sizeof data - 1);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(path, sizeof path, "/g%d", i);
        h_send_create(w->h, w->clients[0], ++w->xid, path, data, 0);
        ck_assert_int_eq(h_err(w->h, w->clients[0], w->xid), ZK_OK);
    }
}

START_TEST(a_start_from_a_checkpoint_and_the_log_behind_it_is_the_core_that_was) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        world_init(&w, seed);
        grow(&w);
        write_some(&w, 60);
        make_one(&w, 6);
        write_some(&w, 20);
        struct state was = state_of(w.h);
        zxid_t saved = play.saved.zxid;
        ck_assert_uint_gt(play.saved.count, 6);
        recover(w.h);
        ck_assert_int_eq(play.start_from->zxid, saved);
        assert_state(w.h, &was);
        play_free(w.h);
    }
}
END_TEST

START_TEST(it_knows_the_changes_since_the_walk_of_the_checkpoint_and_that_it_knows_no_more) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        world_init(&w, seed);
        grow(&w);
        write_some(&w, 60);
        zxid_t begun = core_last_zxid(w.h->r);
        make_one(&w, 6);
        write_some(&w, 20);
        uint32_t count[2];
        uint64_t was = recent_state(w.h, begun, &count[0]);
        recover(w.h);
        const struct recent *r = &w.h->r->recent;
        ck_assert(recent_reaches(r, begun));
        ck_assert(!recent_reaches(r, begun - 1));
        ck_assert_uint_eq(recent_behind(r, begun), 0);
        ck_assert_uint_eq(recent_state(w.h, begun, &count[1]), was);
        ck_assert_uint_eq(count[1], count[0]);
        ck_assert_uint_gt(count[0], 0);
        play_free(w.h);
    }
}
END_TEST

START_TEST(it_is_exact_without_any_log_behind_it) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_init(&w, seed);
        grow(&w);
        write_some(&w, 60);
        make_one(&w, 6);
        /* What the log alone gives, up to there. */
        play_snapshot_clear(&play.coming);
        struct play_snapshot saved = play.saved;
        size_t all = w.h->synced;
        while (w.h->log[w.h->synced - 1].zxid > saved.zxid)
            w.h->synced--;
        ck_assert_uint_le(w.h->synced, all);
        w.h->recover = NULL;
        w.h->recover_after = 0;
        w.h->hold_log = true;
        h_recover(w.h);
        struct state by_log = state_of(w.h);
        if (by_log.last < saved.zxid) { /* its last records do not know that they are committed */
            play_free(w.h);
            continue;
        }
        recover(w.h);
        assert_state(w.h, &by_log);
        play_free(w.h);
    }
}
END_TEST

START_TEST(a_core_that_came_from_a_checkpoint_makes_the_next_one) {
    struct world w;
    world_init(&w, 5);
    for (int i = 0; i < 4; i++) {
        write_some(&w, 60);
        make_one(&w, 6);
        struct state was = state_of(w.h);
        recover(w.h);
        assert_state(w.h, &was);
        w.h->hold_log = false;
        h_sync(w.h);
        ck_assert(w.h->r->serving);
        for (int k = 0; k < 4; k++)
            w.clients[k] = k % 2 == 0 ? retrying_client(w.h) : h_client(w.h);
    }
    play_free(w.h);
}
END_TEST

START_TEST(a_write_that_is_sent_again_has_its_answer_from_a_checkpoint) {
    struct harness *h = play_started(0);
    conn_id_t c = retrying_client(h);
    static struct h_reply first, second;
    h_send_create(h, c, 5, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert(h_take(h, c, &first));
    ask(h);
    ck_assert(play_to_end(h));
    struct h_conn was = h->conns[c];
    play_restart(h);
    ck_assert_ptr_nonnull(play.start_from);
    struct proto_connect_request req = {.protocol_version = PROTOCOL_VERSION_RETRIES,
                                        .timeout_ms = 20000,
                                        .session_id = was.session,
                                        .passwd = {was.passwd, PASSWD_BYTES},
                                        .has_read_only = true};
    struct buf b = BUF_INIT;
    proto_encode(&b, PROTO_connect_request, &req);
    conn_id_t again = h_open(h);
    h_frame(h, again, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take_connect(h, again));
    h_send_create(h, again, 5, "/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    ck_assert(h_take(h, again, &second));
    ck_assert_int_eq(second.err, ZK_OK);
    ck_assert(slice_equal(h_string(&first), h_string(&second)));
    ck_assert_int_eq(h_exists(h, again, "/s-0000000001", NULL), ZK_NONODE);
    play_free(h);
}
END_TEST

START_TEST(ids_of_sessions_that_ended_are_not_given_again_whatever_the_clock_does) {
    struct harness *h = play_started(0);
    session_id_t greatest = 0;
    for (int i = 0; i < 3; i++) {
        conn_id_t c = h_client(h);
        greatest = h->conns[c].session;
        h_send(h, c, 1, OP_CLOSE_SESSION, PROTO_path_watch_request, NULL);
    }
    ck_assert_uint_eq(h->r->sessions.count, 0);
    ask(h);
    ck_assert(play_to_end(h));
    h->wall_ms -= 3600 * 1000;
    play_restart(h);
    ck_assert_ptr_nonnull(play.start_from);
    conn_id_t c = h_client(h);
    ck_assert_int_gt(h->conns[c].session, greatest);
    play_free(h);
}
END_TEST

/* ---- what does not add up ---- */

/* The pieces of `from` with one item put between or behind them: where the tail begins, which is
 * the piece with the walk. */
static void spoil(struct play_snapshot *to, const struct play_snapshot *from, size_t drop,
                  size_t at, const struct buf *extra) {
    to->zxid = from->zxid;
    for (size_t i = 0; i < from->count; i++) {
        if (i == at && extra)
            play_snapshot_add(to, extra);
        if (i == drop)
            continue;
        struct buf b = BUF_INIT;
        buf_put(&b, from->pieces[i]->bytes, from->pieces[i]->len);
        play_snapshot_add(to, &b);
        buf_close(&b);
    }
    if (at == from->count && extra)
        play_snapshot_add(to, extra);
}

/* One of a tree that takes some pieces, and a tail: the walk, records in pieces of one each, the
 * digest. */
struct tail {
    struct state state;
    size_t walk, records; /* the walk's piece, and how many records stand behind it */
};

static struct harness *with_tail(struct tail *ret_tail) {
    struct world w;
    world_init(&w, 3);
    grow(&w);
    zxid_t begun = core_last_zxid(w.h->r);
    ask(w.h);
    for (int i = 0; i < 5; i++) {
        h_send_set(w.h, w.clients[0], ++w.xid, "/g3", "other", -1);
        ck_assert_int_eq(h_err(w.h, w.clients[0], w.xid), ZK_OK);
        play_written(w.h);
        h_advance(w.h, 1);
    }
    play.read_max = 1;
    ck_assert(play_to_end(w.h));
    ret_tail->state = state_of(w.h);
    ck_assert_int_eq(play.saved.zxid, ret_tail->state.last);
    ret_tail->records = (size_t)(play.saved.zxid - begun);
    ret_tail->walk = play.saved.count - 2 - ret_tail->records;
    ck_assert_uint_ge(ret_tail->records, 4);
    return w.h;
}

/* `spoiled` is refused with this, and what is left is read instead: nothing but the log. */
static void refused(struct harness *h, struct play_snapshot *spoiled, const char *why,
                    const struct state *state) {
    struct play_snapshot whole = play.saved;
    play.saved = *spoiled;
    recover(h);
    ck_assert_ptr_null(play.start_from);
    ck_assert_ptr_nonnull(strstr(play.refused_why, why));
    assert_state(h, state);
    play_snapshot_clear(&play.saved);
    play.saved = whole;
    recover(h);
    ck_assert_ptr_nonnull(play.start_from);
    assert_state(h, state);
}

START_TEST(a_digest_that_differs_is_refused) {
    struct tail t;
    struct harness *h = with_tail(&t);
    struct play_snapshot bad = {.count = 0};
    struct buf b = BUF_INIT;
    snap_put_digest(&b, &(struct snap_digest){play.saved.zxid, t.state.tree ^ 1});
    spoil(&bad, &play.saved, play.saved.count - 1, play.saved.count, &b);
    refused(h, &bad, "does not have the digest", &t.state);
    buf_close(&b);
    play_free(h);
}
END_TEST

START_TEST(records_that_do_not_follow_are_refused) {
    struct tail t;
    struct harness *h = with_tail(&t);
    for (size_t i = 0; i < t.records; i++) {
        struct play_snapshot bad = {.count = 0};
        spoil(&bad, &play.saved, t.walk + 1 + i, SIZE_MAX, NULL);
        refused(h, &bad, i + 1 < t.records ? "does not follow" : "do not end where", &t.state);
    }
    play_free(h);
}
END_TEST

START_TEST(records_beyond_the_end_are_refused) {
    struct tail t;
    struct harness *h = with_tail(&t);
    struct play_snapshot bad = {.count = 0};
    struct buf b = BUF_INIT;
    struct txn *txn = txn_new(TXN_ERROR, 0);
    txn->err = ZK_NONODE;
    struct blob *payload = txn_encode(txn);
    struct log_record r = {
        .kind = LOG_TXN, .zxid = play.saved.zxid + 1, .payload = blob_slice(payload)};
    snap_put_record(&b, &r);
    spoil(&bad, &play.saved, SIZE_MAX, play.saved.count - 1, &b);
    refused(h, &bad, "does not follow", &t.state);
    blob_unref(payload);
    txn_free(txn);
    buf_close(&b);
    play_free(h);
}
END_TEST

START_TEST(a_record_that_does_not_fit_the_tree_is_refused_and_stops_nothing) {
    struct tail t;
    struct harness *h = with_tail(&t);
    struct play_snapshot bad = {.count = 0};
    struct buf b = BUF_INIT;
    struct txn *txn = txn_new(TXN_OPS, 1);
    txn->ops[0].type = TXN_OP_DELETE;
    txn->ops[0].path = blob_new("/gone", 5);
    struct blob *payload = txn_encode(txn);
    struct log_record r = {.kind = LOG_TXN,
                           .zxid = play.saved.zxid - (zxid_t)t.records + 1,
                           .payload = blob_slice(payload)};
    snap_put_record(&b, &r);
    struct play_snapshot head = play.saved;
    head.count = t.walk + 1;
    spoil(&bad, &head, SIZE_MAX, head.count, &b);
    bad.zxid = play.saved.zxid;
    refused(h, &bad, "", &t.state);
    blob_unref(payload);
    txn_free(txn);
    buf_close(&b);
    play_free(h);
}
END_TEST

/* That the pieces before the walk are all there is said by the file. */
START_TEST(a_checkpoint_whose_tail_was_cut_short_is_refused) {
    struct tail t;
    struct harness *h = with_tail(&t);
    for (size_t n = t.walk + 1; n + 1 < play.saved.count; n++) {
        struct play_snapshot bad = {.count = 0}, head = play.saved;
        head.count = n;
        spoil(&bad, &head, SIZE_MAX, SIZE_MAX, NULL);
        refused(h, &bad, "", &t.state);
    }
    play_free(h);
}
END_TEST

START_TEST(behind_one_that_proved_damaged_an_older_one_is_loaded) {
    struct tail t;
    struct harness *h = with_tail(&t);
    struct buf b = BUF_INIT;
    snap_put_digest(&b, &(struct snap_digest){play.saved.zxid, t.state.tree ^ 1});
    play_snapshot_clear(&play.coming);
    spoil(&play.coming, &play.saved, play.saved.count - 1, play.saved.count, &b);
    play.reset_first = play.saved.zxid;
    recover(h);
    ck_assert_ptr_nonnull(play.start_from);
    assert_state(h, &t.state);
    h->hold_log = false;
    h_sync(h);
    ck_assert(h->r->serving);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/behind"), ZK_OK);
    buf_close(&b);
    play_free(h);
}
END_TEST

H_SUITE("checkpoint_load", a_start_from_a_checkpoint_and_the_log_behind_it_is_the_core_that_was,
        it_knows_the_changes_since_the_walk_of_the_checkpoint_and_that_it_knows_no_more,
        it_is_exact_without_any_log_behind_it,
        a_core_that_came_from_a_checkpoint_makes_the_next_one,
        a_write_that_is_sent_again_has_its_answer_from_a_checkpoint,
        ids_of_sessions_that_ended_are_not_given_again_whatever_the_clock_does,
        a_digest_that_differs_is_refused, records_that_do_not_follow_are_refused,
        records_beyond_the_end_are_refused,
        a_record_that_does_not_fit_the_tree_is_refused_and_stops_nothing,
        a_checkpoint_whose_tail_was_cut_short_is_refused,
        behind_one_that_proved_damaged_an_older_one_is_loaded)
