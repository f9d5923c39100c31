#include "replica/server/snapshot.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"
#include "replica/proto/snap_codec.h"
#include "replica/server/core.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_walk.h"

/* What is sent, in this order. Sessions come last, when every znode was seen: the results that they
 * keep are then of transactions that the pieces before have whole, and a replay behind them gives
 * the same results again. */
enum sender_stage { SEND_HEAD, SEND_ZNODES, SEND_SESSIONS, SEND_DIGEST, SEND_NOTHING };

struct snap_sender {
    struct replica *r;
    struct tree_walk *walk;
    enum sender_stage stage;
    session_id_t *session_ids; /* those that were there when the walk ended */
    uint64_t session_count, session_at;
    struct buf item; /* made, but did not fit the piece before */
    zxid_t ended;
    uint64_t digest; /* of the tree, there */
    bool has_digest;
    bool leaves_digest;
    size_t piece_bytes; /* a piece is closed when it has grown beyond this */
};

struct snap_sender *snap_sender_new(struct replica *r) {
    struct snap_sender *s = mem_alloc(sizeof *s);
    *s = (struct snap_sender){
        .r = r, .walk = tree_walk_new(r->tree), .piece_bytes = SNAP_PIECE_BYTES};
    return s;
}

void snap_sender_free(struct snap_sender *s) {
    if (!s)
        return;
    tree_walk_free(s->walk);
    mem_free(s->session_ids);
    buf_close(&s->item);
    mem_free(s);
}

static void put_head(struct snap_sender *s) {
    const struct sessions *ss = &s->r->sessions;
    struct snap_head h = {.secret = SLICE_NULL};
    session_id_t given[SNAP_GIVEN_MAX];
    if (ss->has_secret)
        h.secret = (struct slice){ss->secret, (int32_t)ss->secret_len};
    for (size_t i = 0; i < SNAP_GIVEN_MAX; i++)
        if (ss->given[i] != 0)
            given[h.given_count++] = ss->given[i];
    h.given = given;
    snap_put_head(&s->item, &h);
}

/* Sessions come and go while they are sent: their ids are noted once. Who comes later is created
 * again by the log, who has gone is passed over. */
static void note_sessions(struct snap_sender *s) {
    const struct sessions *ss = &s->r->sessions;
    s->session_ids = mem_alloc(ss->count * sizeof *s->session_ids);
    for (const struct session *at = ss->all; at; at = at->next)
        s->session_ids[s->session_count++] = at->id;
    if (MUTANT(SNAPSHOT_WITHOUT_SESSIONS))
        s->session_count = 0;
}

static void put_session(struct snap_sender *s, const struct session *session) {
    struct snap_result results[RETRY_RESULTS_MAX];
    struct snap_session image = {.id = session->id,
                                 .timeout_ms = session->timeout_ms,
                                 .retries = session->retries,
                                 .results = results};
    CHECK(session->results.count <= RETRY_RESULTS_MAX);
    for (; session->retries && image.result_count < session->results.count; image.result_count++) {
        const struct retry_result *from = retry_at(&session->results, (uint32_t)image.result_count);
        results[image.result_count] =
            (struct snap_result){from->cxid, from->zxid, blob_slice(from->bytes)};
    }
    snap_put_session(&s->item, &image);
}

/* False when there is none any more. Those that are not committed are not there yet. */
static bool put_next_session(struct snap_sender *s) {
    while (s->session_at < s->session_count) {
        const struct session *session =
            session_find(&s->r->sessions, s->session_ids[s->session_at++]);
        if (!session || !session->committed)
            continue;
        put_session(s, session);
        return true;
    }
    return false;
}

/* The tree itself may still be on its way out of a fuzzy snapshot: then it is ahead of its log in
 * places up to there, and so are the pieces. */
static void finish_walk(struct snap_sender *s) {
    s->ended = tree_last_zxid(s->r->tree);
    s->has_digest = s->ended >= tree_fuzzy_until(s->r->tree);
    if (s->has_digest)
        s->digest = tree_digest(s->r->tree);
    else
        s->ended = tree_fuzzy_until(s->r->tree);
    s->stage = s->has_digest && !s->leaves_digest ? SEND_DIGEST : SEND_NOTHING;
}

/* Makes the next item; none is left when there is no more. */
static void make_item(struct snap_sender *s) {
    struct znode_image image;
    if (s->stage == SEND_HEAD) {
        put_head(s);
        s->stage = SEND_ZNODES;
        return;
    }
    if (s->stage == SEND_ZNODES) {
        if (tree_walk_next(s->walk, &image)) {
            snap_put_znode(&s->item, &image);
            return;
        }
        note_sessions(s);
        s->stage = SEND_SESSIONS;
    }
    if (s->stage == SEND_SESSIONS && !put_next_session(s))
        finish_walk(s);
    if (s->stage == SEND_DIGEST) {
        snap_put_digest(&s->item, &(struct snap_digest){s->ended, s->digest});
        s->stage = SEND_NOTHING;
    }
}

bool snap_sender_piece(struct snap_sender *s, struct buf *piece) {
    buf_reset(piece);
    while (piece->len < s->piece_bytes) {
        if (s->item.len == 0)
            make_item(s);
        if (s->item.len == 0)
            break;
        /* A large one has a piece of its own, so that no piece is longer than a message may be. */
        if (piece->len > 0 && piece->len + s->item.len > s->piece_bytes)
            break;
        buf_put(piece, s->item.data, s->item.len);
        buf_reset(&s->item);
    }
    return piece->len > 0;
}

bool snap_sender_over(const struct snap_sender *s) {
    return s->stage == SEND_NOTHING && s->item.len == 0;
}

zxid_t snap_sender_begun(const struct snap_sender *s) { return tree_walk_begun(s->walk); }

zxid_t snap_sender_ended(const struct snap_sender *s) {
    CHECK(snap_sender_over(s));
    return s->ended;
}

void snap_sender_for_checkpoint(struct snap_sender *s, size_t piece_bytes) {
    s->leaves_digest = true;
    s->piece_bytes = piece_bytes;
}

bool snap_sender_digest(const struct snap_sender *s, uint64_t *ret_digest) {
    CHECK(s->stage == SEND_NOTHING);
    *ret_digest = s->digest;
    return s->has_digest;
}

struct snap_loader {
    struct tree *tree;
    struct sessions sessions; /* a list of them; nobody watches it */
    struct blob *secret;      /* NULL: the ensemble had none */
    bool has_head, has_root;
    zxid_t newest; /* the greatest zxid in it */
    struct snap_sink sink;
    bool has_walk, has_digest;
    struct snap_digest digest;
    const char *why; /* it is refused */
};

struct snap_loader *snap_loader_new(void) {
    struct snap_loader *l = mem_zalloc(sizeof *l);
    l->tree = tree_new();
    sessions_init(&l->sessions, 0, 1);
    return l;
}

void snap_loader_free(struct snap_loader *l) {
    if (!l)
        return;
    tree_free(l->tree);
    sessions_close(&l->sessions);
    blob_unref(l->secret);
    mem_free(l);
}

static bool refuse(struct snap_loader *l, const char *why) {
    l->why = why;
    return false;
}

static void note_zxid(struct snap_loader *l, zxid_t zxid) {
    if (l->newest < zxid)
        l->newest = zxid;
}

static bool load_head(void *ctx, const struct snap_head *h) {
    struct snap_loader *l = ctx;
    if (l->has_head)
        return refuse(l, "a snapshot with two heads");
    if (h->secret.len > SESSION_SECRET_MAX)
        return refuse(l, "the snapshot's secret is too long");
    l->has_head = true;
    for (size_t i = 0; i < h->given_count; i++)
        sessions_note_given(&l->sessions, h->given[i]);
    l->secret = blob_from_slice(h->secret);
    return true;
}

static bool load_znode(void *ctx, const struct znode_image *image) {
    struct snap_loader *l = ctx;
    if (!l->has_head || l->has_walk || l->has_digest)
        return refuse(l, "a snapshot whose parts are out of order");
    if (l->sessions.count > 0)
        return refuse(l, "a znode behind the snapshot's sessions");
    const char *why = tree_load(l->tree, image);
    if (why)
        return refuse(l, why);
    l->has_root |= image->path.len == 1;
    note_zxid(l, image->stat.mzxid); /* czxid is no greater */
    note_zxid(l, image->stat.pzxid);
    return true;
}

static bool load_session(void *ctx, const struct snap_session *s) {
    struct snap_loader *l = ctx;
    if (!l->has_head || l->has_walk || l->has_digest)
        return refuse(l, "a snapshot whose parts are out of order");
    if (session_find(&l->sessions, s->id))
        return refuse(l, "a session twice");
    struct session *session = session_add(&l->sessions, s->id, s->timeout_ms);
    session->retries = s->retries;
    if (s->result_count > RETRY_RESULTS_MAX)
        return refuse(l, "a session with more results than are kept");
    for (size_t i = 0; i < s->result_count; i++) {
        const struct snap_result *r = &s->results[i];
        if (!retry_load(&session->results, r->cxid, r->zxid, r->bytes))
            return refuse(l, "a session with a malformed result");
        note_zxid(l, r->zxid);
    }
    return true;
}

static bool load_walk(void *ctx, const struct snap_walk *w) {
    struct snap_loader *l = ctx;
    if (!l->sink.walk || l->has_walk || l->has_digest)
        return refuse(l, "a walk's end where there may be none");
    l->has_walk = true;
    const char *why = l->sink.walk(l->sink.ctx, w->begun, w->ended);
    return !why || refuse(l, why);
}

static bool load_record(void *ctx, const struct log_record *r) {
    struct snap_loader *l = ctx;
    if (!l->has_walk || l->has_digest)
        return refuse(l, "a record where there may be none");
    const char *why = l->sink.record(l->sink.ctx, r);
    return !why || refuse(l, why);
}

static bool load_digest(void *ctx, const struct snap_digest *d) {
    struct snap_loader *l = ctx;
    if (!l->has_head || l->has_digest)
        return refuse(l, "a digest where there may be none");
    l->has_digest = true;
    l->digest = *d;
    return true;
}

void snap_loader_set_sink(struct snap_loader *l, const struct snap_sink *sink) { l->sink = *sink; }

bool snap_loader_walk(const struct snap_loader *l) { return l->has_walk; }

bool snap_loader_digest(const struct snap_loader *l, struct snap_digest *ret_digest) {
    if (l->has_digest)
        *ret_digest = l->digest;
    return l->has_digest;
}

const char *snap_loader_piece(struct snap_loader *l, struct slice piece) {
    struct snap_reader reader = {l,         load_head,   load_znode, load_session,
                                 load_walk, load_record, load_digest};
    if (!l->why && !snap_read_piece(piece, &reader) && !l->why)
        l->why = "a malformed piece of a snapshot";
    return l->why;
}

static const char *whole(const struct snap_loader *l, zxid_t begun, zxid_t ended) {
    if (l->why)
        return l->why;
    if (!l->has_head || !l->has_root)
        return "an incomplete snapshot";
    if (begun < 0 || begun > ended)
        return "a snapshot that ends before it begins";
    if (l->newest > ended)
        return "a snapshot that is ahead of its end";
    return NULL;
}

/* By what session.h offers, so that all that it knows beside its list stays as it is. */
static void replace_sessions(struct sessions *ss, struct sessions *from) {
    while (ss->all) {
        CHECK(!ss->all->conn);
        session_remove(ss, ss->all);
    }
    for (struct session *old = from->all; old; old = old->next) {
        struct session *s = session_add(ss, old->id, old->timeout_ms);
        s->committed = true;
        s->retries = old->retries;
        s->results = old->results;
        old->results = (struct retry_window){0};
    }
}

static void replace(struct snap_loader *l, struct replica *r) {
    tree_free(r->tree);
    r->tree = l->tree;
    l->tree = NULL;
    recent_reset(&r->recent, tree_last_zxid(r->tree));
    replace_sessions(&r->sessions, &l->sessions);
    for (size_t i = 0; i < SNAP_GIVEN_MAX; i++)
        if (l->sessions.given[i] != 0)
            sessions_note_given(&r->sessions, l->sessions.given[i]);
    r->sessions.has_secret = false;
    if (l->secret)
        sessions_set_secret(&r->sessions, l->secret);
}

const char *snap_loader_finish(struct snap_loader *l, struct replica *r, zxid_t begun,
                               zxid_t ended) {
    const char *why = whole(l, begun, ended);
    if (why)
        return why;
    l->why = tree_load_end(l->tree, begun, ended);
    if (l->why)
        return l->why;
    replace(l, r);
    if (!l->has_walk)
        l->why = "the snapshot was loaded before";
    return NULL;
}

void snap_loader_empty(struct snap_loader *l, struct replica *r) { replace(l, r); }
