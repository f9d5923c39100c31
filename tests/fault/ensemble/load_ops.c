/* What the sessions do, and the lines of the history. */
#include "tests/bench/sample.h"
#include "tests/fault/ensemble/load.h"

#include <inttypes.h>
#include <string.h>

static const char *const kind_names[] = {"create", "set",  "delete", "get",
                                         "exists", "sget", "sexists"};

static bool is_write(enum op_kind kind) { return kind <= KIND_DELETE; }
static bool is_synced(enum op_kind kind) { return kind >= KIND_SGET; }
static bool is_get(enum op_kind kind) { return kind == KIND_GET || kind == KIND_SGET; }
static bool has_value(enum op_kind kind) { return kind == KIND_CREATE || kind == KIND_SET; }

static struct slice text(const char *s) {
    return (struct slice){.p = (const uint8_t *)s, .len = (int32_t)strlen(s)};
}

void ops_note(struct load *l, const struct client *c, int64_t now_ns, const char *what) {
    fprintf(l->history, "c %d %" PRId64 " %s\n", c->session, now_ns, what);
}

static const char *key_name(const struct client *c, int key, char *name, size_t size) {
    if (key < 0)
        snprintf(name, size, "e%d", c->session);
    else
        snprintf(name, size, "k%d", key);
    return name;
}

static const char *key_path(const struct load *l, const struct client *c, int key, char *path,
                            size_t size) {
    char name[32];
    snprintf(path, size, "%s/%s", l->prefix, key_name(c, key, name, sizeof name));
    return path;
}

/* Each write has a value of its own, and behind it as many underscores as its number says: a value
 * that is torn or mixed is noticed. */
static size_t pad_bytes(uint32_t n) { return n * 37 % 400; }

static void put_value(struct buf *b, int session, uint32_t n) {
    buf_printf(b, "%d.%u", session, n);
    for (size_t i = pad_bytes(n); i > 0; i--)
        buf_put_u8(b, '_');
}

/* The value's name, or `torn`. */
static const char *read_value(struct slice data, char *name, size_t size) {
    struct buf want = BUF_INIT;
    int session;
    unsigned n;
    snprintf(name, size, "%.*s",
             data.len < 0    ? 0
             : data.len < 40 ? data.len
                             : 40,
             data.len > 0 ? (const char *)data.p : "");
    bool fine = sscanf(name, "%d.%u", &session, &n) == 2;
    if (fine) {
        put_value(&want, session, n);
        fine = want.len == (size_t)data.len && memcmp(want.data, data.p, want.len) == 0;
    }
    buf_close(&want);
    if (fine)
        snprintf(name, size, "%d.%u", session, n);
    else
        snprintf(name, size, "torn");
    return name;
}

/* What an answer told; a version below 0 and an empty value are nothing. */
struct told {
    bool known;
    int32_t err, version;
    zxid_t mzxid, zxid;
    char value[64];
};

static void put_number(FILE *f, bool there, int64_t number) {
    if (there)
        fprintf(f, " %" PRId64, number);
    else
        fputs(" -", f);
}

static void write_line(struct load *l, const struct client *c, const struct op *op,
                       const struct told *t, int64_t now_ns) {
    char key[32];
    FILE *f = l->history;
    fprintf(f, "o %d %u %s %s", c->session, op->n, kind_names[op->kind],
            key_name(c, op->key, key, sizeof key));
    put_number(f, op->expect != NO_VERSION, op->expect);
    if (has_value(op->kind))
        fprintf(f, " %d.%u", c->session, op->n);
    else
        fputs(" -", f);
    fprintf(f, " %" PRId64, op->invoked_ns);
    put_number(f, t->known, now_ns);
    if (t->known)
        fprintf(f, " %d", t->err);
    else
        fputs(" ?", f);
    bool done = t->known && t->err == 0;
    put_number(f, done && t->version >= 0, t->version);
    fprintf(f, " %s", done && t->value[0] != '\0' ? t->value : "-");
    put_number(f, done && t->mzxid > 0, t->mzxid);
    put_number(f, t->known && t->zxid > 0, t->zxid);
    fputs(op->watch ? " w\n" : "\n", f);
    l->operations++;
}

static void drop_first(struct client *c) {
    c->op_count--;
    memmove(c->ops, c->ops + 1, (size_t)c->op_count * sizeof c->ops[0]);
}

void ops_lose(struct load *l, struct client *c) {
    struct told nothing = {0};
    while (c->op_count > 0) {
        if (c->ops[0].key >= 0)
            c->known[c->ops[0].key].seen = false;
        write_line(l, c, &c->ops[0], &nothing, 0);
        l->lost += is_write(c->ops[0].kind);
        drop_first(c);
    }
}

void ops_new_session(struct load *l, struct client *c) {
    c->session = ++l->sessions;
    c->id = 0;
    memset(c->passwd, 0, sizeof c->passwd);
    c->seen = 0;
    c->xid = 0;
    c->n = 0;
    c->has_ephemeral = c->closing = false;
    memset(c->watch, 0, sizeof c->watch);
    memset(c->known, 0, sizeof c->known);
}

static void put_paths(struct load *l, const struct client *c, uint8_t kind, struct buf *items,
                      struct jvec *ret_vec) {
    char path[128];
    int32_t count = 0;
    for (int key = 0; key < l->key_count; key++) {
        if (c->watch[key] == kind) {
            jute_write_slice(items, text(key_path(l, c, key, path, sizeof path)));
            count++;
        }
    }
    *ret_vec =
        (struct jvec){.count = count, .items = {.p = items->data, .len = (int32_t)items->len}};
}

void ops_arm_again(struct load *l, struct client *c) {
    struct buf data = BUF_INIT, exist = BUF_INIT;
    struct proto_set_watches r = {.relative_zxid = c->seen};
    put_paths(l, c, WATCH_DATA, &data, &r.data_watches);
    put_paths(l, c, WATCH_EXIST, &exist, &r.exist_watches);
    if (r.data_watches.count + r.exist_watches.count > 0)
        conn_request(c, XID_SET_WATCHES, OP_SET_WATCHES, PROTO_set_watches, &r);
    buf_close(&data);
    buf_close(&exist);
}

static enum op_kind any_read(struct prng *p) {
    uint64_t x = prng_below(p, 100);
    return x < 50 ? KIND_SGET : x < 62 ? KIND_SEXISTS : x < 90 ? KIND_GET : KIND_EXISTS;
}

/* Keys with odd numbers live for ever once they are made; the others are made and deleted. */
static enum op_kind choose_kind(struct load *l, const struct client *c, int key) {
    const struct known *k = &c->known[key];
    uint64_t x = prng_below(&l->prng, 100);
    if (x >= 55 || c->reads_only)
        return any_read(&l->prng);
    if (k->seen && !k->present)
        return KIND_CREATE;
    if (key % 2 == 0 && x < 20)
        return x < 10 ? KIND_CREATE : KIND_DELETE;
    return k->seen || x < 30 ? KIND_SET : KIND_CREATE;
}

/* Half of all operations go to a few keys, so that clients meet. */
static int choose_key(struct load *l) {
    int few = l->key_count < 4 ? l->key_count : 4;
    bool hot = prng_chance(&l->prng, 1, 2);
    return (int)prng_below(&l->prng, (uint64_t)(hot ? few : l->key_count));
}

static struct op choose(struct load *l, struct client *c) {
    struct op op = {.key = -1, .n = ++c->n, .expect = NO_VERSION};
    if (!c->has_ephemeral) {
        c->has_ephemeral = true;
        op.kind = KIND_CREATE;
        return op;
    }
    if (prng_chance(&l->prng, 1, 40)) {
        op.kind = KIND_SEXISTS;
        return op;
    }
    op.key = choose_key(l);
    op.kind = choose_kind(l, c, op.key);
    const struct known *k = &c->known[op.key];
    if ((op.kind == KIND_SET || op.kind == KIND_DELETE) && k->seen && k->present &&
        prng_chance(&l->prng, 1, 2))
        op.expect = k->version;
    op.watch = (op.kind == KIND_GET || op.kind == KIND_EXISTS || op.kind == KIND_SGET) &&
               prng_chance(&l->prng, 1, 4);
    return op;
}

/* world:anyone with all permissions, as it stands on the wire. */
static struct jvec open_acl(void) {
    static const uint8_t item[] = "\0\0\0\x1f\0\0\0\x05world\0\0\0\x06"
                                  "anyone";
    return (struct jvec){.count = 1, .items = {.p = item, .len = sizeof item - 1}};
}

static void put_op(struct client *c, const struct op *op, struct slice path) {
    struct buf value = BUF_INIT;
    put_value(&value, c->session, op->n);
    struct slice data = {.p = value.data, .len = (int32_t)value.len};
    if (op->kind == KIND_CREATE) {
        struct proto_create_request r = {.path = path,
                                         .data = data,
                                         .acl = open_acl(),
                                         .flags =
                                             op->key < 0 ? CREATE_EPHEMERAL : CREATE_PERSISTENT};
        conn_request(c, op->xid, OP_CREATE2, PROTO_create_request, &r);
    } else if (op->kind == KIND_SET) {
        struct proto_set_data_request r = {.path = path, .data = data, .version = op->expect};
        conn_request(c, op->xid, OP_SET_DATA, PROTO_set_data_request, &r);
    } else if (op->kind == KIND_DELETE) {
        struct proto_delete_request r = {.path = path, .version = op->expect};
        conn_request(c, op->xid, OP_DELETE, PROTO_delete_request, &r);
    } else {
        struct proto_path_watch_request r = {.path = path, .watch = op->watch};
        conn_request(c, op->xid, is_get(op->kind) ? OP_GET_DATA : OP_EXISTS,
                     PROTO_path_watch_request, &r);
    }
    buf_close(&value);
}

void ops_issue(struct load *l, struct client *c, int64_t now_ns) {
    char path[128];
    struct op *op = &c->ops[c->op_count++];
    *op = choose(l, c);
    op->invoked_ns = now_ns;
    struct slice p = text(key_path(l, c, op->key, path, sizeof path));
    if (is_synced(op->kind)) {
        struct proto_path_request r = {.path = p};
        op->sync_xid = conn_request(c, conn_next_xid(c), OP_SYNC, PROTO_path_request, &r);
    }
    op->xid = conn_next_xid(c);
    put_op(c, op, p);
}

static bool read_body(const struct op *op, struct cursor *body, struct told *t) {
    if (op->kind == KIND_DELETE)
        return true;
    struct zstat stat;
    if (is_get(op->kind)) {
        struct proto_get_data_response r;
        if (!proto_decode(body, PROTO_get_data_response, &r))
            return false;
        read_value(r.data, t->value, sizeof t->value);
        stat = r.stat;
    } else if (op->kind == KIND_CREATE) {
        struct proto_create2_response r;
        if (!proto_decode(body, PROTO_create2_response, &r))
            return false;
        stat = r.stat;
    } else {
        struct proto_stat_response r;
        if (!proto_decode(body, PROTO_stat_response, &r))
            return false;
        stat = r.stat;
    }
    t->version = stat.version;
    t->mzxid = stat.mzxid;
    return true;
}

static void learn(struct client *c, const struct op *op, const struct told *t) {
    if (op->key < 0)
        return;
    struct known *k = &c->known[op->key];
    if (t->err == 0)
        *k = (struct known){true, op->kind != KIND_DELETE, t->version};
    else if (t->err == -101)
        *k = (struct known){.seen = true};
    else
        k->seen = false;
    bool exists = op->kind == KIND_EXISTS || op->kind == KIND_SEXISTS;
    if (op->watch && c->watch[op->key] == 0 && (t->err == 0 || (exists && t->err == -101)))
        c->watch[op->key] = t->err == 0 ? WATCH_DATA : WATCH_EXIST;
}

/* Whether an error says what became of the operation: anything else may mean that it was done. */
static bool tells(int32_t err) {
    return err == 0 || err == -101 || err == -103 || err == -110 || err == -112 || err == -118;
}

bool ops_reply(struct load *l, struct client *c, const struct proto_reply_header *h,
               struct cursor *body, int64_t now_ns) {
    if (c->closing && c->op_count == 0) {
        c->closed = h->err == 0;
        ops_note(l, c, now_ns, "ended");
        return true;
    }
    if (c->op_count == 0)
        return false;
    struct op *op = &c->ops[0];
    if (h->zxid > c->seen)
        c->seen = h->zxid;
    if (op->sync_xid != 0) {
        op->sync_failed = h->err != 0;
        bool due = h->xid == op->sync_xid;
        op->sync_xid = 0;
        return due;
    }
    if (h->xid != op->xid)
        return false;
    struct told t = {
        .known = tells(h->err) && !op->sync_failed, .err = h->err, .version = -1, .zxid = h->zxid};
    if (h->err == 0 && !read_body(op, body, &t))
        load_die("a bad answer to %s", kind_names[op->kind]);
    learn(c, op, &t);
    write_line(l, c, op, &t, now_ns);
    if (is_write(op->kind) && h->err == 0) {
        l->acknowledged++;
        if (now_ns - l->last_acknowledged_ns > l->gap_ns)
            l->gap_ns = now_ns - l->last_acknowledged_ns;
        l->last_acknowledged_ns = now_ns;
    }
    drop_first(c);
    return true;
}

void ops_event(struct load *l, struct client *c, zxid_t zxid, struct cursor *body, int64_t now_ns) {
    struct proto_watcher_event e;
    char path[128];
    if (!proto_decode(body, PROTO_watcher_event, &e))
        load_die("a bad event");
    int len = e.path.len < (int)sizeof path - 1 ? e.path.len : (int)sizeof path - 1;
    snprintf(path, sizeof path, "%.*s", len < 0 ? 0 : len, (const char *)e.path.p);
    size_t prefix = strlen(l->prefix);
    int key = -1;
    if (strncmp(path, l->prefix, prefix) != 0 || sscanf(path + prefix, "/k%d", &key) != 1 ||
        key < 0 || key >= l->key_count)
        load_die("an event of %s, which nobody watches", path);
    fprintf(l->history, "e %d %" PRId64 " %d k%d %" PRId64 "\n", c->session, now_ns, e.type, key,
            zxid);
    c->watch[key] = 0;
}
