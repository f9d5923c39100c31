#include "replica/offline/apache_snapshot.h"

#include "common/mem.h"
#include "common/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAGIC "ZKSN"
#define VERSION 2
#define DBID_BYTES 8
#define SESSION_BYTES 12
#define ACL_BYTES_MIN 12 /* a number and an empty list */

/* Where a znode stands in the file. */
struct place {
    zxid_t czxid;
    size_t at;
};

struct reading {
    const uint8_t *bytes;
    size_t len;
    struct cursor c;
    struct apache_tree *tree;
    struct place *places;
    size_t count, cap;
    const char *why;
};

static size_t offset(const struct reading *r) { return (size_t)(r->c.p - r->bytes); }

static bool refuse(struct reading *r, const char *why) {
    if (!r->why)
        r->why = why;
    return false;
}

static bool fine(struct reading *r) { return !r->c.bad || refuse(r, "it ends too early"); }

static bool read_header(struct reading *r) {
    const uint8_t *magic = cursor_bytes(&r->c, strlen(MAGIC));
    if (!magic || memcmp(magic, MAGIC, strlen(MAGIC)) != 0)
        return refuse(r, "it does not begin as a snapshot");
    if (jute_read_int(&r->c) != VERSION)
        return refuse(r, "it is of a version that is not known");
    cursor_bytes(&r->c, DBID_BYTES);
    return fine(r);
}

/* A count of elements that take `least` bytes each. */
static bool read_count(struct reading *r, size_t least, int32_t *ret_count) {
    *ret_count = jute_read_int(&r->c);
    if (!fine(r))
        return false;
    if (*ret_count < 0 || (size_t)*ret_count > cursor_left(&r->c) / least)
        return refuse(r, "a count cannot be right");
    return true;
}

static bool read_sessions(struct reading *r) {
    int32_t count = 0;
    if (!read_count(r, SESSION_BYTES, &count))
        return false;
    for (int32_t i = 0; i < count; i++) {
        apache_tree_session(r->tree, jute_read_long(&r->c));
        jute_read_int(&r->c);
    }
    return fine(r);
}

static bool read_acls(struct reading *r) {
    int32_t count = 0;
    if (!read_count(r, ACL_BYTES_MIN, &count))
        return false;
    for (int32_t i = 0; i < count; i++) {
        int64_t number = jute_read_long(&r->c);
        struct jvec acl = jute_read_acls(&r->c);
        if (!fine(r))
            return false;
        const char *why =
            acl.count < 0 ? "a list of ACLs is missing" : apache_tree_acl(r->tree, number, &acl);
        if (why)
            return refuse(r, why);
    }
    return true;
}

/* The path was read. */
static void read_znode(struct cursor *c, struct apache_znode *z) {
    struct zstat *s = &z->stat;
    z->data = jute_read_slice(c);
    z->acl = jute_read_long(c);
    s->czxid = jute_read_long(c);
    s->mzxid = jute_read_long(c);
    s->ctime_ms = jute_read_long(c);
    s->mtime_ms = jute_read_long(c);
    s->version = jute_read_int(c);
    s->cversion = jute_read_int(c);
    s->aversion = jute_read_int(c);
    s->ephemeral_owner = jute_read_long(c);
    s->pzxid = jute_read_long(c);
}

static void add_place(struct reading *r, size_t at, zxid_t czxid) {
    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 1024;
        r->places = mem_realloc(r->places, r->cap * sizeof *r->places);
    }
    r->places[r->count++] = (struct place){czxid, at};
}

/* Up to the path "/", that ends them; the root's own is empty. */
static bool find_znodes(struct reading *r) {
    for (;;) {
        size_t at = offset(r);
        struct apache_znode z = {.path = jute_read_slice(&r->c)};
        if (!fine(r))
            return false;
        if (z.path.len < 0)
            return refuse(r, "a znode has no path");
        if (slice_equal_str(z.path, "/"))
            return true;
        read_znode(&r->c, &z);
        if (!fine(r))
            return false;
        add_place(r, at, z.stat.czxid);
    }
}

/* The sum is of everything before it, and stands in 8 bytes; then the path "/" once more. */
static bool check_seal(struct reading *r) {
    uint64_t sum = adler32_z(1, r->bytes, offset(r));
    uint64_t said = cursor_u64be(&r->c);
    jute_read_slice(&r->c);
    return fine(r) && (sum == said || refuse(r, "its checksum is wrong"));
}

static struct slice path_at(const struct reading *r, size_t at) {
    struct cursor c;
    cursor_init(&c, r->bytes + at, r->len - at);
    return jute_read_slice(&c);
}

static int compare(const void *a, const void *b, void *reading) {
    const struct place *x = a, *y = b;
    if (x->czxid != y->czxid)
        return x->czxid < y->czxid ? -1 : 1;
    struct slice p = path_at(reading, x->at), q = path_at(reading, y->at);
    int32_t both = p.len < q.len ? p.len : q.len;
    int order = both > 0 ? memcmp(p.p, q.p, (size_t)both) : 0;
    return order != 0 ? order : (p.len > q.len) - (p.len < q.len);
}

/* By czxid: parents are older than their children, or shorter where one transaction made both; and
 * siblings come in the order in which the tree keeps them, for Apache writes them as they hash. */
static bool load_znodes(struct reading *r) {
    if (r->count > 0)
        qsort_r(r->places, r->count, sizeof *r->places, compare, r);
    for (size_t i = 0; i < r->count; i++) {
        cursor_init(&r->c, r->bytes + r->places[i].at, r->len - r->places[i].at);
        struct apache_znode z = {.path = jute_read_slice(&r->c)};
        read_znode(&r->c, &z);
        const char *why = apache_tree_znode(r->tree, &z);
        if (why)
            return refuse(r, why);
    }
    return true;
}

int apache_snapshot_read(const uint8_t *bytes, size_t len, struct apache_tree *t,
                         struct buf *ret_why) {
    struct reading r = {.bytes = bytes, .len = len, .tree = t};
    cursor_init(&r.c, bytes, len);
    /* What stands behind the seal says nothing of the tree; an unfinished digest is none. */
    bool whole = read_header(&r) && read_sessions(&r) && read_acls(&r) && find_znodes(&r) &&
                 check_seal(&r) && load_znodes(&r);
    if (!whole)
        buf_printf(ret_why, "offset %zu: %s", offset(&r), r.why);
    mem_free(r.places);
    return whole ? 0 : -EBADMSG;
}
