/* S24, S25, S26 and S30: a walk over the tree for a snapshot while transactions go on, and the
 * log replayed behind its beginning. Each script is played with the walk beginning at each of its
 * transactions and with one, two or three of them between two znodes; what is loaded and replayed
 * has to be the tree itself, by digest and znode by znode. */
#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/tree/tree_digest.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/tree_walk.h"
#include "tests/spec/spec.h"
#include "tests/unit/tree/txn_make.h"

#include <stdlib.h>
#include <string.h>

#define SCRIPT_MAX 64u
#define OPS_MAX 8u

/* A line is a transaction; `;` stands between the operations of a multi:
 *   create PATH [OWNER] · delete PATH · set PATH DATA · acl PATH ACL · close OWNER */
struct script {
    const char *const *lines;
    size_t count;
    struct txn *txns[SCRIPT_MAX];
};

#define SCRIPT(...)                                                                                \
    ((struct script){(const char *const[]){__VA_ARGS__},                                           \
                     sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),                  \
                     {NULL}})

/* --- making transactions as a leader does --- */

static struct slice parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == path)
        return (struct slice){(const uint8_t *)"/", 1};
    return (struct slice){(const uint8_t *)path, (int32_t)(slash - path)};
}

static bool op_is(const struct txn_op *op, enum txn_op_type type, struct slice path) {
    return op->type == type && op->path->len == (uint32_t)path.len &&
           memcmp(op->path->bytes, path.p, op->path->len) == 0;
}

static bool op_below(const struct txn_op *op, struct slice parent) {
    if (op->type != TXN_OP_CREATE)
        return false;
    char path[256];
    CHECK(op->path->len < sizeof path);
    memcpy(path, op->path->bytes, op->path->len);
    path[op->path->len] = 0;
    struct slice p = parent_of(path);
    return p.len == parent.len && memcmp(p.p, parent.p, (size_t)p.len) == 0;
}

/* The parent's count of creations behind `before` operations of the same multi. */
static int32_t creates_of(const struct tree *t, struct slice parent, const struct txn_op *ops,
                          size_t before) {
    const struct znode *n = tree_find(t, parent);
    int32_t creates = n ? znode_creates(n) : 0;
    for (size_t i = 0; i < before; i++) {
        if (op_is(&ops[i], TXN_OP_CREATE, parent))
            creates = 0;
        else if (op_below(&ops[i], parent))
            creates = ops[i].parent_creates;
    }
    return creates;
}

static int32_t version_of(const struct tree *t, const char *path, const struct txn_op *ops,
                          size_t before, bool acl) {
    struct slice p = slice_from_str(path);
    const struct znode *n = tree_find(t, p);
    struct zstat stat = {0};
    if (n)
        znode_stat(n, &stat);
    int32_t version = acl ? stat.aversion : stat.version;
    for (size_t i = 0; i < before; i++) {
        if (op_is(&ops[i], TXN_OP_CREATE, p))
            version = 0;
        else if (op_is(&ops[i], acl ? TXN_OP_SET_ACL : TXN_OP_SET_DATA, p))
            version = ops[i].version;
    }
    return version;
}

static struct txn *make_close(const struct tree *t, zxid_t zxid, session_id_t owner) {
    uint32_t n = 0;
    void *at = NULL;
    while (tree_next_ephemeral(t, owner, &at))
        n++;
    struct txn *txn = make_typed(TXN_CLOSE_SESSION, zxid, owner, n);
    at = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct blob *path = znode_path(tree_next_ephemeral(t, owner, &at));
        char *text = mem_strndup((const char *)path->bytes, path->len);
        op_delete(&txn->ops[i], text);
        mem_free(text);
        blob_unref(path);
    }
    return txn;
}

static void make_op(const struct tree *t, struct txn *txn, size_t i, char *text) {
    char *save = NULL;
    const char *word = strtok_r(text, " ", &save), *path = strtok_r(NULL, " ", &save);
    const char *rest = strtok_r(NULL, " ", &save);
    struct txn_op *op = &txn->ops[i];
    CHECK(path != NULL);
    if (strcmp(word, "create") == 0)
        op_create(op, path, "new", rest ? strtoll(rest, NULL, 10) : 0,
                  creates_of(t, parent_of(path), txn->ops, i) + 1);
    else if (strcmp(word, "delete") == 0)
        op_delete(op, path);
    else if (strcmp(word, "set") == 0)
        op_set_data(op, path, rest, version_of(t, path, txn->ops, i, false) + 1);
    else if (strcmp(word, "acl") == 0)
        op_set_acl(op, path, rest, version_of(t, path, txn->ops, i, true) + 1);
    else
        CHECK(!"a word of the script");
}

static struct txn *make_line(const struct tree *t, zxid_t zxid, const char *line) {
    if (strncmp(line, "close ", 6) == 0)
        return make_close(t, zxid, strtoll(line + 6, NULL, 10));
    char *text = mem_strdup(line), *save = NULL, *parts[OPS_MAX];
    uint32_t n = 0;
    for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        CHECK(n < OPS_MAX);
        parts[n++] = part;
    }
    struct txn *txn = make_txn(zxid, n);
    for (uint32_t i = 0; i < n; i++)
        make_op(t, txn, i, parts[i]);
    mem_free(text);
    return txn;
}

/* --- playing --- */

static void apply(struct tree *t, const struct txn *txn) {
    tree_apply(t, txn, NULL);
    const char *why = tree_broken(t);
    ck_assert_msg(why == NULL, "transaction %d: %s", (int)txn->zxid, why);
}

static void script_prepare(struct script *s) {
    struct tree *t = tree_new();
    CHECK(s->count <= SCRIPT_MAX);
    for (size_t i = 0; i < s->count; i++) {
        s->txns[i] = make_line(t, (zxid_t)i + 1, s->lines[i]);
        apply(t, s->txns[i]);
    }
    tree_free(t);
}

static void expect_same(struct tree *a, struct tree *b, size_t start, size_t every) {
    char *left = tree_picture(a), *right = tree_picture(b);
    ck_assert_msg(strcmp(left, right) == 0,
                  "walk from %zu, %zu at a time\n--- the tree\n%s\n--- loaded\n%s", start, every,
                  left, right);
    ck_assert_uint_eq(tree_digest(a), tree_digest(b));
    mem_free(left);
    mem_free(right);
}

/* The walk begins behind `start` transactions; after each znode `every` more of them come. */
static void play_once(const struct script *s, size_t start, size_t every) {
    struct tree *source = tree_new(), *copy = tree_new();
    size_t done = 0;
    while (done < start)
        apply(source, s->txns[done++]);
    struct tree_walk *walk = tree_walk_new(source);
    zxid_t begun = tree_walk_begun(walk);
    ck_assert_int_eq(begun, tree_last_zxid(source));
    struct znode_image image;
    while (tree_walk_next(walk, &image)) {
        const char *why = tree_load(copy, &image);
        ck_assert_msg(why == NULL, "walk from %zu, %zu at a time: %s", start, every, why);
        for (size_t i = 0; i < every && done < s->count; i++)
            apply(source, s->txns[done++]);
    }
    tree_walk_free(walk);
    ck_assert_ptr_null(tree_load_end(copy, begun, tree_last_zxid(source)));
    while (done < s->count)
        apply(source, s->txns[done++]);
    for (size_t i = (size_t)begun; i < s->count; i++)
        apply(copy, s->txns[i]);
    expect_same(source, copy, start, every);
    tree_free(source);
    tree_free(copy);
}

static void play(struct script s) {
    script_prepare(&s);
    for (size_t start = 0; start <= s.count; start++)
        for (size_t every = 0; every <= 3; every++)
            play_once(&s, start, every);
    for (size_t i = 0; i < s.count; i++)
        txn_free(s.txns[i]);
}

/* S24 (ZOOKEEPER-3127): the snapshot's zxid is taken from inside a multi, and the replay leaves the
 * rest of it out. Here a multi is one transaction, applied as a whole: the walk begins before or
 * behind it, and the replay repeats it as a whole. */
START_TEST(scenario_s24_a_multi_is_never_torn_by_a_snapshot) {
    play(SCRIPT("create /a", "create /a/x;create /a/y;set /a one", "create /b;create /b/x",
                "delete /a/x;create /a/z;set /a two;delete /b/x", "set /a/y three",
                "delete /a/y;delete /a/z;delete /a", "create /a;create /a/x;set /a/x four",
                "create /b/x;delete /b/x;create /b/x;set /b/x five", "delete /b/x;delete /b",
                "create /c;create /c/d;create /c/d/e;delete /c/d/e"));
}
END_TEST

/* S25 (ZOOKEEPER-3125 and others): sessions are closed and their znodes made again while the
 * snapshot is written: ephemerals are deleted twice or never, pzxid and cversion differ. Here
 * transactions carry paths and results, and are passed over where the snapshot has them already. */
START_TEST(scenario_s25_closed_sessions_around_a_snapshot_leave_the_same_tree) {
    play(SCRIPT("create /locks", "create /locks/a 1", "create /locks/b 2", "close 1",
                "create /locks/a 2", "create /locks/c 3", "close 2", "create /locks/a 3",
                "create /locks/b 3;delete /locks/c", "create /other;create /other/e 4", "close 3",
                "create /locks/a 4", "close 4", "delete /locks", "create /locks",
                "create /locks/a 5", "close 6"));
}
END_TEST

/* S26 (ZOOKEEPER-3306): a znode in the snapshot refers to an ACL that the table, written earlier,
 * does not have: it is loaded without one. Here each znode carries its ACL itself. */
START_TEST(scenario_s26_a_znode_keeps_its_acl_through_a_snapshot) {
    play(SCRIPT("create /a", "create /b", "acl /a world:anyone:r", "create /c",
                "acl /b world:anyone:w", "acl /c world:anyone:r", "acl /a world:anyone:cd",
                "create /d;acl /d world:anyone:a", "delete /c", "create /c",
                "acl /c world:anyone:rw", "acl /b world:anyone:r", "delete /b"));
}
END_TEST

/* S30 (read in the code of another implementation): replayed over a snapshot that has the znode
 * already, only one kind of creation repairs the parent's count; a sequential name is given twice.
 * Here there is one kind, whatever the client called it: persistent, ephemeral or in a multi. */
START_TEST(scenario_s30_every_kind_of_creation_counts_once_for_its_parent) {
    play(SCRIPT("create /q", "create /q/n-0000000000", "create /q/n-0000000001 7",
                "create /q/n-0000000002;set /q/n-0000000002 x", "delete /q/n-0000000000",
                "create /q/n-0000000003 8", "delete /q/n-0000000002", "create /q/n-0000000004",
                "close 7", "create /q/n-0000000005;delete /q/n-0000000004", "close 8",
                "create /q/n-0000000006", "delete /q/n-0000000005;delete /q/n-0000000006",
                "delete /q", "create /q", "create /q/n-0000000000"));
}
END_TEST

SPEC_SUITE("scenarios_tree", scenario_s24_a_multi_is_never_torn_by_a_snapshot,
           scenario_s25_closed_sessions_around_a_snapshot_leave_the_same_tree,
           scenario_s26_a_znode_keeps_its_acl_through_a_snapshot,
           scenario_s30_every_kind_of_creation_counts_once_for_its_parent)
