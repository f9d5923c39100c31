/* tree_apply against a model that is as plain as can be: a list of znodes by path. Random
 * transactions, always such as a leader could make, go to both; pictures, events and Stats must
 * agree. Meanwhile a walk takes a fuzzy snapshot of the model, a few znodes at a time; loaded and
 * replayed, it must give the same tree. */
#include "common/acl.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_scrub.h"
#include "replica/tree/tree_walk.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_LEN 32
#define MODEL_MAX 256
#define SESSIONS 3
#define TXNS 400
#define COPIES 4 /* walks over the tree, many of them at once */

static const char *const acls[] = {OPEN_ACL, "world:anyone:r", "digest:u:h:cdrwa",
                                   "ip:10.0.0.1:rw"};
#define ACLS (sizeof acls / sizeof *acls)
static const char *const values[] = {NULL, "", "1", "twenty-two", "a longer value, with blanks"};
#define VALUES (sizeof values / sizeof *values)

struct plain {
    char path[PATH_LEN];
    const char *data;
    const char *acl;
    zxid_t czxid, mzxid, pzxid;
    int32_t version, aversion, creates;
    session_id_t owner;
};

struct model {
    struct plain list[MODEL_MAX]; /* in order of creation */
    size_t count;
    session_id_t sessions[SESSIONS]; /* those that live now; an id is never used again */
    session_id_t last_session;
};

static struct plain *model_find(struct model *m, const char *path) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->list[i].path, path) == 0)
            return &m->list[i];
    return NULL;
}

static struct plain *model_add(struct model *m, const char *path) {
    ck_assert_uint_lt(m->count, MODEL_MAX);
    struct plain *p = &m->list[m->count++];
    *p = (struct plain){.data = "", .acl = OPEN_ACL};
    strcpy(p->path, path);
    return p;
}

static void model_init(struct model *m) {
    *m = (struct model){.sessions = {1, 2, 3}, .last_session = 3};
    model_add(m, "/");
    model_add(m, "/zookeeper");
    model_add(m, "/zookeeper/quota");
    struct plain *config = model_add(m, "/zookeeper/config");
    config->acl = "world:anyone:r";
    config->aversion = -1;
}

static void parent_path(const char *path, char *ret) {
    strcpy(ret, path);
    char *slash = strrchr(ret, '/');
    slash[slash == ret ? 1 : 0] = '\0';
}

static struct plain *model_parent(struct model *m, const char *path) {
    char parent[PATH_LEN];
    parent_path(path, parent);
    return model_find(m, parent);
}

static bool is_child(const char *path, const char *parent) {
    char of[PATH_LEN];
    if (strcmp(path, "/") == 0)
        return false;
    parent_path(path, of);
    return strcmp(of, parent) == 0;
}

static int32_t model_children(const struct model *m, const char *path) {
    int32_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += is_child(m->list[i].path, path);
    return n;
}

static void model_remove(struct model *m, struct plain *p) {
    size_t i = (size_t)(p - m->list);
    memmove(p, p + 1, (m->count - i - 1) * sizeof *p);
    m->count--;
}

static struct zstat model_stat(const struct model *m, const struct plain *p) {
    int32_t children = model_children(m, p->path);
    return (struct zstat){.czxid = p->czxid,
                          .mzxid = p->mzxid,
                          .ctime_ms = 1000 * p->czxid,
                          .mtime_ms = 1000 * p->mzxid,
                          .version = p->version,
                          .cversion = 2 * p->creates - children,
                          .aversion = p->aversion,
                          .ephemeral_owner = p->owner,
                          .data_length = p->data ? (int32_t)strlen(p->data) : 0,
                          .num_children = children,
                          .pzxid = p->pzxid};
}

/* The same text as tree_picture's. */
static void model_print(const struct model *m, const struct plain *p, struct buf *out) {
    struct zstat s = model_stat(m, p);
    buf_printf(out, "%s data=%d:%s acl=%s", p->path, p->data ? (int)strlen(p->data) : -1,
               p->data ? p->data : "", p->acl);
    buf_printf(out, " c=%" PRIx64 " m=%" PRIx64 " p=%" PRIx64 " ct=%" PRId64 " mt=%" PRId64,
               (uint64_t)s.czxid, (uint64_t)s.mzxid, (uint64_t)s.pzxid, s.ctime_ms, s.mtime_ms);
    buf_printf(out, " v=%d cv=%d av=%d owner=%" PRId64 " children=%d creates=%d\n", s.version,
               s.cversion, s.aversion, s.ephemeral_owner, s.num_children, p->creates);
    const struct plain *last = NULL;
    for (int32_t i = 0; i < s.num_children; i++) {
        const struct plain *next = NULL;
        for (size_t j = 0; j < m->count; j++) {
            const struct plain *c = &m->list[j];
            if (!is_child(c->path, p->path))
                continue;
            bool after = !last || c->czxid > last->czxid ||
                         (c->czxid == last->czxid && strcmp(c->path, last->path) > 0);
            bool before = !next || c->czxid < next->czxid ||
                          (c->czxid == next->czxid && strcmp(c->path, next->path) < 0);
            if (after && before)
                next = c;
        }
        ck_assert_ptr_nonnull(next);
        model_print(m, next, out);
        last = next;
    }
}

static char *model_picture(struct model *m) {
    struct buf out = BUF_INIT;
    model_print(m, model_find(m, "/"), &out);
    uint64_t bytes = 0, ephemerals = 0, owners = 0;
    bool owns[SESSIONS + TXNS] = {false};
    for (size_t i = 0; i < m->count; i++) {
        const struct plain *p = &m->list[i];
        bytes += strlen(p->path) + (p->data ? strlen(p->data) : 0);
        ephemerals += p->owner != 0;
        owners += p->owner != 0 && !owns[p->owner];
        owns[p->owner] = true;
    }
    buf_printf(&out, "znodes=%zu bytes=%" PRIu64 " ephemerals=%" PRIu64 " owners=%" PRIu64,
               m->count, bytes, ephemerals, owners);
    char *text = mem_strndup((const char *)out.data, out.len);
    buf_close(&out);
    return text;
}

/* What is expected of one transaction. */
struct expect {
    struct buf events;
    struct buf stats;
};

static void print_stat(struct buf *out, const struct zstat *s) { jute_write_stat(out, s); }

static void expect_event(struct expect *e, enum zk_event type, const char *path) {
    buf_printf(&e->events, "%d %s\n", (int)type, path);
}

static void expect_change(struct expect *e, enum zk_event type, const char *path) {
    char parent[PATH_LEN];
    parent_path(path, parent);
    expect_event(e, type, path);
    expect_event(e, EVENT_NODE_CHILDREN_CHANGED, parent);
}

static void random_path(struct prng *r, char *ret) {
    static const char *const fixed[] = {"/", "/zookeeper", "/zookeeper/config"};
    if (prng_below(r, 40) == 0) {
        strcpy(ret, fixed[prng_below(r, 3)]);
        return;
    }
    size_t len = 0;
    for (uint32_t depth = 1 + (uint32_t)prng_below(r, 3); depth > 0; depth--) {
        ret[len++] = '/';
        ret[len++] = (char)('a' + prng_below(r, 3));
    }
    ret[len] = '\0';
}

/* Each of these tries one random operation, on the model and into *op; false when it is not legal.
 */
static bool try_create(struct model *m, struct prng *r, zxid_t zxid, struct txn_op *op,
                       struct expect *e) {
    char path[PATH_LEN];
    random_path(r, path);
    struct plain *parent = model_parent(m, path);
    if (!parent || parent->owner || model_find(m, path) || strcmp(path, "/") == 0)
        return false;
    parent->creates++;
    parent->pzxid = zxid;
    int32_t creates = parent->creates;
    struct plain *p = model_add(m, path);
    p->czxid = p->mzxid = p->pzxid = zxid;
    p->data = values[prng_below(r, VALUES)];
    p->owner = prng_below(r, 3) == 0 ? m->sessions[prng_below(r, SESSIONS)] : 0;
    op_create(op, path, p->data, p->owner, creates);
    if (prng_below(r, 4) == 0) {
        struct txn_op acl;
        p->acl = acls[prng_below(r, ACLS)];
        op_set_acl(&acl, path, p->acl, 0);
        blob_unref(op->acl);
        op->acl = blob_ref(acl.acl);
        blob_unref(acl.acl);
        blob_unref(acl.path);
    }
    expect_change(e, EVENT_NODE_CREATED, path);
    struct zstat s = model_stat(m, p);
    print_stat(&e->stats, &s);
    return true;
}

static void model_delete(struct model *m, struct plain *p, zxid_t zxid, struct txn_op *op,
                         struct expect *e) {
    model_parent(m, p->path)->pzxid = zxid;
    op_delete(op, p->path);
    expect_change(e, EVENT_NODE_DELETED, p->path);
    print_stat(&e->stats, &(struct zstat){0});
    model_remove(m, p);
}

static bool try_delete(struct model *m, struct prng *r, zxid_t zxid, struct txn_op *op,
                       struct expect *e) {
    char path[PATH_LEN];
    random_path(r, path);
    struct plain *p = model_find(m, path);
    if (!p || model_children(m, path) > 0 || p->czxid == 0)
        return false;
    model_delete(m, p, zxid, op, e);
    return true;
}

static bool try_set(struct model *m, struct prng *r, zxid_t zxid, struct txn_op *op,
                    struct expect *e) {
    char path[PATH_LEN];
    random_path(r, path);
    struct plain *p = model_find(m, path);
    if (!p)
        return false;
    switch (prng_below(r, 3)) {
    case 0:
        p->data = values[prng_below(r, VALUES)];
        p->mzxid = zxid;
        op_set_data(op, path, p->data, ++p->version);
        expect_event(e, EVENT_NODE_DATA_CHANGED, path);
        break;
    case 1:
        p->acl = acls[prng_below(r, ACLS)];
        op_set_acl(op, path, p->acl, ++p->aversion);
        break;
    default:
        op_check(op, path);
        print_stat(&e->stats, &(struct zstat){0});
        return true;
    }
    struct zstat s = model_stat(m, p);
    print_stat(&e->stats, &s);
    return true;
}

static void random_op(struct model *m, struct prng *r, zxid_t zxid, struct txn_op *op,
                      struct expect *e) {
    for (;;) {
        uint32_t kind = (uint32_t)prng_below(r, 10);
        bool done = kind < 4   ? try_create(m, r, zxid, op, e)
                    : kind < 7 ? try_delete(m, r, zxid, op, e)
                               : try_set(m, r, zxid, op, e);
        if (done)
            return;
    }
}

static struct txn *close_session(struct model *m, struct prng *r, zxid_t zxid, struct expect *e) {
    uint32_t which = (uint32_t)prng_below(r, SESSIONS);
    session_id_t session = m->sessions[which];
    m->sessions[which] = ++m->last_session;
    uint32_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += m->list[i].owner == session;
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, zxid, session, n);
    for (uint32_t i = 0; i < n; i++) {
        struct plain *p = m->list;
        while (p->owner != session)
            p++;
        model_delete(m, p, zxid, &txn->ops[i], e);
    }
    return txn;
}

static struct txn *random_txn(struct model *m, struct prng *r, zxid_t zxid, struct expect *e) {
    buf_reset(&e->events);
    buf_reset(&e->stats);
    uint32_t kind = (uint32_t)prng_below(r, 20);
    if (kind == 0) {
        struct txn *txn = make_typed(TXN_ERROR, zxid, 1, 1);
        txn->err = -101;
        return txn;
    }
    if (kind == 1)
        return close_session(m, r, zxid, e);
    uint32_t n = kind < 12 ? 1 : 1 + prng_below(r, 6);
    struct txn *txn = make_txn(zxid, n);
    for (uint32_t i = 0; i < n; i++)
        random_op(m, r, zxid, &txn->ops[i], e);
    return txn;
}

static void assert_changes(const struct tree_changes *c, const struct expect *e) {
    struct expect got = {BUF_INIT, BUF_INIT};
    for (size_t i = 0; i < c->event_count; i++)
        buf_printf(&got.events, "%d %.*s\n", (int)c->events[i].type, (int)c->events[i].path->len,
                   (const char *)c->events[i].path->bytes);
    for (size_t i = 0; i < c->stat_count; i++)
        print_stat(&got.stats, &c->stats[i]);
    ck_assert_uint_eq(got.events.len, e->events.len);
    ck_assert(got.events.len == 0 || memcmp(got.events.data, e->events.data, got.events.len) == 0);
    ck_assert_uint_eq(got.stats.len, e->stats.len);
    ck_assert(got.stats.len == 0 || memcmp(got.stats.data, e->stats.data, got.stats.len) == 0);
    buf_close(&got.events);
    buf_close(&got.stats);
}

/* A session's ephemerals by czxid. Those of one multi may stand in another order after a snapshot,
 * that does not hold it (tree_load.h). */
static void assert_ephemerals(const struct tree *t, struct model *m, session_id_t session,
                              bool loaded) {
    void *at = NULL;
    for (size_t i = 0; i < m->count; i++) {
        struct plain *p = &m->list[i];
        if (p->owner != session)
            continue;
        const struct znode *n = tree_next_ephemeral(t, session, &at);
        ck_assert_ptr_nonnull(n);
        struct zstat s;
        znode_stat(n, &s);
        ck_assert_int_eq(s.czxid, p->czxid);
        if (!loaded)
            ck_assert_ptr_eq(n, find(t, p->path));
    }
    ck_assert_ptr_null(tree_next_ephemeral(t, session, &at));
}

static void assert_same(const struct tree *t, struct model *m, bool loaded) {
    char *have = tree_picture(t);
    char *want = model_picture(m);
    ck_assert_str_eq(have, want);
    mem_free(have);
    mem_free(want);
    for (session_id_t session = 1; session <= m->last_session; session++)
        assert_ephemerals(t, m, session, loaded);
}

/* A fuzzy snapshot being taken: znodes by path (which is pre-order), each as it is when its turn
 * comes. */
struct walk {
    struct plain seen[MODEL_MAX];
    size_t count;
    zxid_t begun, ended;
    bool over;
};

static void walk_step(struct walk *w, struct model *m, zxid_t now) {
    const struct plain *next = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const struct plain *p = &m->list[i];
        bool later = w->count == 0 || strcmp(p->path, w->seen[w->count - 1].path) > 0;
        if (later && (!next || strcmp(p->path, next->path) < 0))
            next = p;
    }
    w->over = !next;
    w->ended = now;
    if (next)
        w->seen[w->count++] = *next;
}

static struct tree *load(const struct walk *w) {
    struct tree *t = tree_new();
    for (size_t i = 0; i < w->count; i++) {
        const struct plain *p = &w->seen[i];
        struct txn_op acl;
        op_set_acl(&acl, p->path, p->acl, 0);
        struct blob *data = text_blob(p->data);
        struct model none = {.count = 0};
        struct znode_image image = {.path = slice_from_str(p->path),
                                    .data = data,
                                    .acl = acl.acl,
                                    .stat = model_stat(&none, p),
                                    .creates = p->creates};
        const char *why = tree_load(t, &image);
        ck_assert_msg(why == NULL, "%s: %s", p->path, why);
        blob_unref(data);
        blob_unref(acl.acl);
        blob_unref(acl.path);
    }
    ck_assert_ptr_null(tree_load_end(t, w->begun, w->ended));
    return t;
}

/* What the tree's own walk saw goes into another tree at once. */
struct tree_copy {
    struct tree_walk *walk; /* NULL: not begun, or over */
    struct tree *to;
    zxid_t begun, ended;
};

static void copy_begin(struct tree_copy *c, struct tree *t) {
    c->walk = tree_walk_new(t);
    ck_assert_int_eq(tree_walk_begun(c->walk), c->begun);
    c->to = tree_new();
}

static void copy_step(struct tree_copy *c, zxid_t now) {
    struct znode_image image;
    if (!c->walk)
        return;
    c->ended = now;
    if (tree_walk_next(c->walk, &image)) {
        const char *why = tree_load(c->to, &image);
        ck_assert_msg(why == NULL, "%.*s: %s", image.path.len, (const char *)image.path.p, why);
        return;
    }
    tree_walk_free(c->walk);
    c->walk = NULL;
    ck_assert_ptr_null(tree_load_end(c->to, c->begun, c->ended));
}

/* Replays from where the walk began, and compares with the model and with the tree it went over. */
static void replay_and_compare(struct tree *t, zxid_t begun, struct txn *const *txns,
                               struct model *m, uint64_t digest) {
    ck_assert_int_eq(tree_last_zxid(t), begun);
    for (size_t i = 0; i < TXNS; i++) {
        if (txns[i]->zxid <= begun)
            continue;
        tree_apply(t, txns[i], NULL);
        ck_assert_msg(!tree_broken(t), "at %" PRId64 " behind %" PRId64 ": %s", txns[i]->zxid,
                      begun, tree_broken(t));
    }
    ck_assert(tree_exact(t));
    assert_same(t, m, true);
    ck_assert_uint_eq(tree_digest(t), digest);
    ck_assert_msg(tree_scrub(t, MODEL_MAX + 4), "%s", tree_altered(t));
    tree_free(t);
}

static void run(uint64_t seed) {
    static struct model m;
    static struct walk w;
    static struct txn *txns[TXNS];
    struct prng r;
    prng_init(&r, seed);
    struct expect e = {BUF_INIT, BUF_INIT};
    struct tree_changes changes;
    struct tree *t = tree_new();
    tree_changes_init(&changes);
    model_init(&m);
    w = (struct walk){.begun = 1 + (zxid_t)prng_below(&r, TXNS / 2)};
    struct tree_copy copies[COPIES];
    for (size_t i = 0; i < COPIES; i++)
        copies[i] = (struct tree_copy){.begun = (zxid_t)prng_below(&r, TXNS)};
    /* Now and then nothing is walked before everything has happened: the log is applied twice. */
    uint32_t pace = (uint32_t)prng_below(&r, 5);
    for (size_t i = 0; i < TXNS; i++) {
        zxid_t zxid = 1 + (zxid_t)i;
        txns[i] = random_txn(&m, &r, zxid, &e);
        for (size_t k = 0; k < COPIES; k++)
            if (copies[k].begun == zxid - 1)
                copy_begin(&copies[k], t);
        tree_apply(t, txns[i], &changes);
        ck_assert_msg(!tree_broken(t), "%s", tree_broken(t));
        assert_changes(&changes, &e);
        ck_assert_msg(tree_scrub(t, 1 + pace), "%s", tree_altered(t));
        if (i % 32 == 0)
            assert_same(t, &m, false);
        for (size_t k = 0; k < COPIES; k++) {
            for (uint32_t step = (uint32_t)prng_below(&r, pace + 1); step > 0; step--)
                copy_step(&copies[k], zxid);
        }
        for (uint32_t step = (uint32_t)prng_below(&r, pace + 1);
             zxid >= w.begun && !w.over && step > 0; step--)
            walk_step(&w, &m, zxid);
    }
    while (!w.over)
        walk_step(&w, &m, TXNS);
    assert_same(t, &m, false);
    uint64_t digest = tree_digest(t);
    replay_and_compare(load(&w), w.begun, txns, &m, digest);
    for (size_t k = 0; k < COPIES; k++) {
        while (copies[k].walk)
            copy_step(&copies[k], TXNS);
        replay_and_compare(copies[k].to, copies[k].begun, txns, &m, digest);
    }
    for (size_t i = 0; i < TXNS; i++)
        txn_free(txns[i]);
    tree_free(t);
    tree_changes_close(&changes);
    buf_close(&e.events);
    buf_close(&e.stats);
}

START_TEST(random_transactions_agree_with_the_model_and_replay_over_a_fuzzy_snapshot) {
    for (uint64_t i = 0; i < 10; i++)
        run((uint64_t)_i * 10 + i);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("apply_model");
    TCase *c = tcase_create("model");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(
        c, random_transactions_agree_with_the_model_and_replay_over_a_fuzzy_snapshot, 0, 8);
    suite_add_tcase(s, c);
    return s;
}
