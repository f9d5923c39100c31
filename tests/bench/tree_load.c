/* What a tree costs: a snapshot's pieces loaded into one, its memory, transactions applied to it,
 * a round of its scrub, and freeing it. Two shapes of a million znodes of 100 bytes: all below one
 * parent, and below a hundred. Not a test: it prints figures.
 *
 *   bench_tree_load [ZNODES [load]]     load: no transactions */
#include "common/acl.h"
#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/snap_codec.h"
#include "replica/server/core.h"
#include "replica/server/snapshot.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/tree_scrub.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DATA_BYTES 100
#define NAME_MAX_BYTES 64
#define PIECES_MAX 4096

struct bench {
    size_t znodes, parents; /* parents 0: all below one */
    uint8_t *bytes;         /* of all pieces, one behind the other */
    size_t len, cap;
    struct slice pieces[PIECES_MAX];
    size_t piece_count;
    struct buf piece;
    struct blob *data, *acl;
    zxid_t zxid;
};

/* Of this thread's processor: others build on the same machine. */
static double now_s(void) {
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Resident memory that is the process's own. */
static double rss_mb(void) {
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f);
    CHECK(fscanf(f, "%llu %llu", &size, &resident) == 2);
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void path_of(const struct bench *b, size_t i, char *path) {
    if (b->parents == 0)
        snprintf(path, NAME_MAX_BYTES, "/all/z%07zu", i);
    else
        snprintf(path, NAME_MAX_BYTES, "/parent%03zu/z%07zu", i / (b->znodes / b->parents), i);
}

static void close_piece(struct bench *b) {
    CHECK(b->len + b->piece.len <= b->cap);
    CHECK(b->piece_count < PIECES_MAX);
    memcpy(b->bytes + b->len, b->piece.data, b->piece.len);
    b->pieces[b->piece_count++] = (struct slice){b->bytes + b->len, (int32_t)b->piece.len};
    b->len += b->piece.len;
    buf_reset(&b->piece);
}

static void put(struct bench *b, const char *path, struct blob *data, int32_t creates) {
    zxid_t zxid = path[1] ? ++b->zxid : 0;
    struct znode_image image = {.path = {(const uint8_t *)path, (int32_t)strlen(path)},
                                .data = data,
                                .acl = b->acl,
                                .stat = {.czxid = zxid,
                                         .mzxid = zxid,
                                         .pzxid = creates > 0 ? (zxid_t)b->znodes * 2 : zxid,
                                         .ctime_ms = 1700000000000 + zxid,
                                         .mtime_ms = 1700000000000 + zxid},
                                .creates = creates};
    snap_put_znode(&b->piece, &image);
    if (b->piece.len >= SNAP_PIECE_BYTES)
        close_piece(b);
}

static void make_pieces(struct bench *b) {
    char path[NAME_MAX_BYTES];
    b->cap = b->znodes * (DATA_BYTES + NAME_MAX_BYTES + 64) + (1u << 20);
    b->bytes = mmap(NULL, b->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(b->bytes != MAP_FAILED);
    snap_put_head(&b->piece, &(struct snap_head){.secret = SLICE_NULL});
    put(b, "/", b->data, (int32_t)b->parents + 1);
    if (b->parents == 0)
        put(b, "/all", b->data, (int32_t)b->znodes);
    for (size_t i = 0; i < b->znodes; i++) {
        size_t each = b->parents ? b->znodes / b->parents : 0;
        if (b->parents && i % each == 0) {
            snprintf(path, sizeof path, "/parent%03zu", i / each);
            put(b, path, b->data, (int32_t)each);
        }
        path_of(b, i, path);
        put(b, path, b->data, 0);
    }
    close_piece(b);
}

static void load_and_free(struct bench *b, const char *name) {
    /* As much of a replica as a snapshot touches. */
    static struct replica r;
    r.tree = tree_new();
    sessions_init(&r.sessions, 1, 1000);
    malloc_trim(0);
    double before_mb = rss_mb();
    double begun = now_s();
    struct snap_loader *l = snap_loader_new();
    for (size_t i = 0; i < b->piece_count; i++) {
        const char *why = snap_loader_piece(l, b->pieces[i]);
        CHECK(!why);
    }
    CHECK(!snap_loader_finish(l, &r, (zxid_t)b->znodes * 2, (zxid_t)b->znodes * 2));
    double loaded = now_s();
    double after_mb = rss_mb();
    snap_loader_free(l);
    tree_free(r.tree);
    double freed = now_s();
    sessions_close(&r.sessions);
    printf("%-12s load %.3f s, %.1f MB, free %.3f s\n", name, loaded - begun, after_mb - before_mb,
           freed - loaded);
}

static void run(size_t znodes, size_t parents, const char *name) {
    struct bench *b = mem_zalloc(sizeof *b);
    char data[DATA_BYTES];
    memset(data, 'x', sizeof data);
    *b = (struct bench){.znodes = znodes, .parents = parents};
    b->data = blob_new(data, sizeof data);
    b->acl = acl_open_unsafe();
    make_pieces(b);
    for (int i = 0; i < 3; i++)
        load_and_free(b, name);
    munmap(b->bytes, b->cap);
    buf_close(&b->piece);
    blob_unref(b->data);
    blob_unref(b->acl);
    mem_free(b);
}

/* One transaction again and again, with another path each time. */
struct script {
    struct tree *t;
    struct txn *txn;
    struct tree_changes changes;
    struct blob **paths;
    size_t count;
    struct blob *acl;
};

static double apply_all(struct script *s, enum txn_op_type type, struct blob *data) {
    double begun = now_s();
    struct txn_op *op = s->txn->ops;
    for (size_t i = 0; i < s->count; i++) {
        *op = (struct txn_op){.type = type, .path = s->paths[i], .data = data};
        if (type == TXN_OP_CREATE) {
            op->acl = s->acl;
            op->parent_creates = (int32_t)i + 1;
        }
        s->txn->zxid++;
        s->txn->time_ms++;
        tree_apply(s->t, s->txn, &s->changes);
    }
    CHECK(!tree_broken(s->t));
    *op = (struct txn_op){.type = TXN_OP_CHECK};
    return (now_s() - begun) * 1e9 / (double)s->count;
}

static struct blob *text_blob(const char *text) { return blob_new(text, strlen(text)); }

static void apply(size_t count) {
    struct script s = {
        .t = tree_new(), .txn = txn_new(TXN_OPS, 1), .count = count, .acl = acl_open_unsafe()};
    char text[DATA_BYTES];
    tree_changes_init(&s.changes);
    memset(text, 'x', sizeof text);
    struct blob *data = blob_new(text, sizeof text);
    struct blob *other = blob_new(text, sizeof text - 1);
    s.paths = mem_alloc(count * sizeof *s.paths);
    s.paths[0] = text_blob("/all");
    s.count = 1;
    apply_all(&s, TXN_OP_CREATE, data);
    blob_unref(s.paths[0]);
    s.count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "/all/z%07zu", i);
        s.paths[i] = text_blob(text);
    }
    double create = apply_all(&s, TXN_OP_CREATE, data);
    double set = apply_all(&s, TXN_OP_SET_DATA, other);
    double begun = now_s();
    while (tree_scrub_rounds(s.t) < 1)
        CHECK(tree_scrub(s.t, 1000));
    double scrub = (now_s() - begun) * 1e9 / (double)count;
    double remove = apply_all(&s, TXN_OP_DELETE, NULL);
    printf("%zu znodes: create %.0f ns, setData %.0f ns, delete %.0f ns, scrub %.0f ns\n", count,
           create, set, remove, scrub);
    for (size_t i = 0; i < count; i++)
        blob_unref(s.paths[i]);
    mem_free(s.paths);
    blob_unref(data);
    blob_unref(other);
    blob_unref(s.acl);
    txn_free(s.txn);
    tree_changes_close(&s.changes);
    tree_free(s.t);
}

int main(int argc, char **argv) {
    size_t znodes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    /* As replica/main.c has it. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
    CHECK(znodes >= 1000);
    if (argc < 3) {
        for (int i = 0; i < 3; i++)
            apply(1000);
        apply(znodes);
    }
    run(znodes, 0, "one parent");
    run(znodes, 100, "100 parents");
    return 0;
}
