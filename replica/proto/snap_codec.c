/* Piece of snapshot.proto by hand (wire.h). */
#include "replica/proto/snap_codec.h"

#include "common/jute.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/proto/wire.h"

#include <string.h>

#define TAG_HEAD WIRE_BYTES(1)
#define TAG_ZNODE WIRE_BYTES(2)
#define TAG_SESSION WIRE_BYTES(3)
#define TAG_WALK WIRE_BYTES(4)
#define TAG_RECORD WIRE_BYTES(5)
#define TAG_DIGEST WIRE_BYTES(6)

#define TAG_HEAD_SECRET WIRE_BYTES(1)
#define TAG_HEAD_GIVEN WIRE_BYTES(2)

#define TAG_ZNODE_PATH WIRE_BYTES(1)
#define TAG_ZNODE_DATA WIRE_BYTES(2)
#define TAG_ZNODE_ACL WIRE_BYTES(3)
#define TAG_ZNODE_CZXID WIRE_FIXED64(4)
#define TAG_ZNODE_MZXID WIRE_VARINT(5)
#define TAG_ZNODE_PZXID WIRE_VARINT(6)
#define TAG_ZNODE_CTIME WIRE_FIXED64(7)
#define TAG_ZNODE_MTIME WIRE_VARINT(8)
#define TAG_ZNODE_VERSION WIRE_VARINT(9)
#define TAG_ZNODE_AVERSION WIRE_VARINT(10)
#define TAG_ZNODE_OWNER WIRE_FIXED64(11)
#define TAG_ZNODE_CREATES WIRE_VARINT(12)

#define TAG_SESSION_ID WIRE_FIXED64(1)
#define TAG_SESSION_TIMEOUT WIRE_VARINT(2)
#define TAG_SESSION_RETRIES WIRE_VARINT(3)
#define TAG_SESSION_RESULT WIRE_BYTES(4)

#define TAG_RESULT_CXID WIRE_VARINT(1)
#define TAG_RESULT_ZXID WIRE_FIXED64(2)
#define TAG_RESULT_BYTES WIRE_BYTES(3)

#define TAG_WALK_BEGUN WIRE_FIXED64(1)
#define TAG_WALK_ENDED WIRE_FIXED64(2)

#define TAG_DIGEST_ZXID WIRE_FIXED64(1)
#define TAG_DIGEST_DIGEST WIRE_FIXED64(2)

/* world:anyone:cdrwa, as it stands in a blob: most znodes of most trees have it. */
static const uint8_t open_acl[] = {0,   0,   0,   1, 0, 0, 0, 31,  0,   0,   0,   5,   'w', 'o',
                                   'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};

static bool is_open(struct slice acl) {
    return acl.len == sizeof open_acl && memcmp(acl.p, open_acl, sizeof open_acl) == 0;
}

/* The difference of two numbers that may be anything: it wraps around. */
static int64_t since(int64_t later, int64_t earlier) {
    return (int64_t)((uint64_t)later - (uint64_t)earlier);
}
static int64_t after(int64_t earlier, int64_t difference) {
    return (int64_t)((uint64_t)earlier + (uint64_t)difference);
}

/* Absent for null. */
static void put_optional(struct buf *b, uint32_t tag, struct slice s) {
    if (s.len < 0)
        return;
    wire_put_varint(b, tag);
    wire_put_bytes(b, s);
}

static size_t optional_len(struct slice s) {
    return s.len < 0 ? 0 : 1 + wire_varint_len((uint64_t)s.len) + (size_t)s.len;
}

static void put_sint(struct buf *b, uint32_t tag, int64_t v) {
    wire_put_number(b, tag, wire_zigzag64(v));
}

/* An item is written behind room for its length, and moved back by what that did not need. */
#define LENGTH_ROOM 5u

static size_t open_item(struct buf *b, uint32_t tag) {
    wire_put_varint(b, tag);
    buf_extend(b, LENGTH_ROOM);
    return b->len;
}

static void close_item(struct buf *b, size_t at) {
    if (b->overflow)
        return;
    size_t len = b->len - at;
    size_t need = wire_varint_len(len);
    memmove(b->data + at - LENGTH_ROOM + need, b->data + at, len);
    b->len = at - LENGTH_ROOM;
    wire_put_varint(b, len);
    b->len += len;
}

void snap_put_head(struct buf *piece, const struct snap_head *h) {
    size_t at = open_item(piece, TAG_HEAD);
    put_optional(piece, TAG_HEAD_SECRET, h->secret);
    if (h->given_count > 0) {
        wire_put_varint(piece, TAG_HEAD_GIVEN);
        wire_put_varint(piece, h->given_count * 8);
    }
    for (size_t i = 0; i < h->given_count; i++)
        wire_put_fixed64(piece, (uint64_t)h->given[i]);
    close_item(piece, at);
}

void snap_put_znode(struct buf *piece, const struct znode_image *image) {
    const struct zstat *s = &image->stat;
    struct slice acl = blob_slice(image->acl);
    size_t at = open_item(piece, TAG_ZNODE);
    put_optional(piece, TAG_ZNODE_PATH, image->path);
    put_optional(piece, TAG_ZNODE_DATA, blob_slice(image->data));
    if (!is_open(acl))
        put_optional(piece, TAG_ZNODE_ACL, acl);
    wire_put_zxid(piece, TAG_ZNODE_CZXID, s->czxid);
    put_sint(piece, TAG_ZNODE_MZXID, since(s->mzxid, s->czxid));
    put_sint(piece, TAG_ZNODE_PZXID, since(s->pzxid, s->czxid));
    wire_put_zxid(piece, TAG_ZNODE_CTIME, s->ctime_ms);
    put_sint(piece, TAG_ZNODE_MTIME, since(s->mtime_ms, s->ctime_ms));
    put_sint(piece, TAG_ZNODE_VERSION, s->version);
    put_sint(piece, TAG_ZNODE_AVERSION, s->aversion);
    wire_put_zxid(piece, TAG_ZNODE_OWNER, s->ephemeral_owner);
    put_sint(piece, TAG_ZNODE_CREATES, image->creates);
    close_item(piece, at);
}

static void put_result(struct buf *piece, const struct snap_result *r) {
    uint32_t cxid = wire_zigzag(r->cxid);
    wire_put_varint(piece, TAG_SESSION_RESULT);
    wire_put_varint(piece, (cxid ? 1 + wire_varint_len(cxid) : 0) + (r->zxid ? 9 : 0) +
                               optional_len(r->bytes));
    wire_put_number(piece, TAG_RESULT_CXID, cxid);
    wire_put_zxid(piece, TAG_RESULT_ZXID, r->zxid);
    put_optional(piece, TAG_RESULT_BYTES, r->bytes);
}

void snap_put_session(struct buf *piece, const struct snap_session *s) {
    size_t at = open_item(piece, TAG_SESSION);
    wire_put_zxid(piece, TAG_SESSION_ID, s->id);
    put_sint(piece, TAG_SESSION_TIMEOUT, s->timeout_ms);
    wire_put_number(piece, TAG_SESSION_RETRIES, s->retries);
    for (size_t i = 0; i < s->result_count; i++)
        put_result(piece, &s->results[i]);
    close_item(piece, at);
}

void snap_put_walk(struct buf *piece, const struct snap_walk *w) {
    size_t at = open_item(piece, TAG_WALK);
    wire_put_zxid(piece, TAG_WALK_BEGUN, w->begun);
    wire_put_zxid(piece, TAG_WALK_ENDED, w->ended);
    close_item(piece, at);
}

void snap_put_record(struct buf *piece, const struct log_record *r) {
    size_t at = open_item(piece, TAG_RECORD);
    log_record_encode(piece, r);
    close_item(piece, at);
}

void snap_put_digest(struct buf *piece, const struct snap_digest *d) {
    size_t at = open_item(piece, TAG_DIGEST);
    wire_put_zxid(piece, TAG_DIGEST_ZXID, d->zxid);
    wire_put_zxid(piece, TAG_DIGEST_DIGEST, (int64_t)d->digest);
    close_item(piece, at);
}

/* What is known of one piece while it is read. */
struct reading {
    const struct snap_reader *reader;
    struct blob *open; /* the ACL of znodes that have none of their own; made when it is needed */
};

static struct slice read_optional(struct cursor *c, uint32_t tag) {
    return wire_next(c, tag) ? wire_read_bytes(c, INT32_MAX) : SLICE_NULL;
}

/* One of each server at most, in the order of their numbers. */
static bool read_given(struct cursor *c, session_id_t given[SNAP_GIVEN_MAX], size_t *ret_count) {
    struct slice s = read_optional(c, TAG_HEAD_GIVEN);
    struct cursor ids;
    *ret_count = 0;
    if (s.len < 0)
        return !c->bad;
    if (s.len == 0 || s.len % 8 != 0 || (size_t)s.len / 8 > SNAP_GIVEN_MAX)
        return false;
    cursor_init(&ids, s.p, (size_t)s.len);
    for (uint64_t before = 0; cursor_left(&ids) > 0;) {
        uint64_t id = wire_read_fixed64(&ids);
        if (id == 0 || (*ret_count > 0 && id >> 56 <= before >> 56))
            return false;
        given[(*ret_count)++] = (session_id_t)id;
        before = id;
    }
    return true;
}

static bool read_head(struct reading *r, struct cursor *c) {
    session_id_t given[SNAP_GIVEN_MAX];
    struct snap_head h = {.secret = read_optional(c, TAG_HEAD_SECRET), .given = given};
    if (!read_given(c, given, &h.given_count) || c->bad || cursor_left(c) > 0)
        return false;
    return r->reader->head(r->reader->ctx, &h);
}

static void read_stat(struct cursor *c, struct znode_image *image) {
    struct zstat *s = &image->stat;
    s->czxid = wire_read_zxid(c, TAG_ZNODE_CZXID);
    s->mzxid = after(s->czxid, wire_read_sint64(c, TAG_ZNODE_MZXID));
    s->pzxid = after(s->czxid, wire_read_sint64(c, TAG_ZNODE_PZXID));
    s->ctime_ms = wire_read_zxid(c, TAG_ZNODE_CTIME);
    s->mtime_ms = after(s->ctime_ms, wire_read_sint64(c, TAG_ZNODE_MTIME));
    s->version = wire_read_sint32(c, TAG_ZNODE_VERSION);
    s->aversion = wire_read_sint32(c, TAG_ZNODE_AVERSION);
    s->ephemeral_owner = wire_read_zxid(c, TAG_ZNODE_OWNER);
    image->creates = wire_read_sint32(c, TAG_ZNODE_CREATES);
    /* No transaction has a zxid below 0, nor is a znode changed before it is there. */
    c->bad |= s->czxid < 0 || s->mzxid < s->czxid || s->pzxid < s->czxid;
}

static bool acl_fine(struct slice acl) {
    struct cursor c;
    cursor_init(&c, acl.p, (size_t)acl.len);
    struct jvec v = jute_read_acls(&c);
    return !c.bad && v.count >= 0 && cursor_left(&c) == 0;
}

static bool read_znode(struct reading *r, struct cursor *c) {
    struct znode_image image = {.path = read_optional(c, TAG_ZNODE_PATH)};
    struct slice data = read_optional(c, TAG_ZNODE_DATA);
    struct slice acl = read_optional(c, TAG_ZNODE_ACL);
    read_stat(c, &image);
    if (c->bad || cursor_left(c) > 0 || path_invalid_reason(image.path, false))
        return false;
    if (acl.len >= 0 && (is_open(acl) || !acl_fine(acl)))
        return false;
    if (acl.len < 0 && !r->open)
        r->open = blob_new(open_acl, sizeof open_acl);
    image.stat.data_length = data.len > 0 ? data.len : 0;
    image.data = blob_from_slice(data);
    image.acl = acl.len >= 0 ? blob_from_slice(acl) : blob_ref(r->open);
    bool fine = r->reader->znode(r->reader->ctx, &image);
    blob_unref(image.data);
    blob_unref(image.acl);
    return fine;
}

static bool read_result(struct cursor *c, struct snap_result *ret) {
    struct cursor part;
    struct slice s = wire_read_bytes(c, INT32_MAX);
    cursor_init(&part, s.p, s.len > 0 ? (size_t)s.len : 0);
    ret->cxid = wire_read_sint32(&part, TAG_RESULT_CXID);
    ret->zxid = wire_read_zxid(&part, TAG_RESULT_ZXID);
    ret->bytes = read_optional(&part, TAG_RESULT_BYTES);
    return s.len >= 0 && !part.bad && cursor_left(&part) == 0;
}

/* A result takes two bytes at least, so there are never more than the bytes allow. */
static size_t count_results(const struct cursor *from) {
    struct cursor c = *from;
    size_t count = 0;
    for (; wire_next(&c, TAG_SESSION_RESULT); count++)
        wire_read_bytes(&c, INT32_MAX);
    return c.bad || cursor_left(&c) > 0 ? 0 : count;
}

static bool read_session(struct reading *r, struct cursor *c) {
    struct snap_session s = {.id = wire_read_zxid(c, TAG_SESSION_ID)};
    s.timeout_ms = wire_read_sint32(c, TAG_SESSION_TIMEOUT);
    s.retries = wire_read_number(c, TAG_SESSION_RETRIES, 1) != 0;
    if (c->bad || s.id == 0 || s.timeout_ms < 0)
        return false;
    size_t count = count_results(c);
    if (count > 0 && !s.retries)
        return false;
    struct snap_result *results = count > 0 ? mem_alloc(count * sizeof *results) : NULL;
    bool fine = true;
    for (; s.result_count < count && fine; s.result_count++)
        fine = wire_next(c, TAG_SESSION_RESULT) && read_result(c, &results[s.result_count]);
    s.results = results;
    fine = fine && !c->bad && cursor_left(c) == 0 && r->reader->session(r->reader->ctx, &s);
    mem_free(results);
    return fine;
}

static bool read_walk(struct reading *r, struct cursor *c) {
    struct snap_walk w = {.begun = wire_read_zxid(c, TAG_WALK_BEGUN)};
    w.ended = wire_read_zxid(c, TAG_WALK_ENDED);
    return !c->bad && cursor_left(c) == 0 && w.begun > 0 && w.ended >= w.begun &&
           r->reader->walk(r->reader->ctx, &w);
}

static bool read_record(struct reading *r, struct slice bytes) {
    struct log_record record;
    return log_record_decode(bytes, &record) && r->reader->record(r->reader->ctx, &record);
}

static bool read_digest(struct reading *r, struct cursor *c) {
    struct snap_digest d = {.zxid = wire_read_zxid(c, TAG_DIGEST_ZXID)};
    d.digest = (uint64_t)wire_read_zxid(c, TAG_DIGEST_DIGEST);
    return !c->bad && cursor_left(c) == 0 && d.zxid >= 0 && r->reader->digest(r->reader->ctx, &d);
}

static bool read_item(struct reading *r, uint32_t tag, struct slice bytes, struct cursor *c) {
    switch (tag) {
    case TAG_HEAD:
        return read_head(r, c);
    case TAG_ZNODE:
        return read_znode(r, c);
    case TAG_SESSION:
        return read_session(r, c);
    case TAG_WALK:
        return read_walk(r, c);
    case TAG_RECORD:
        return read_record(r, bytes);
    default:
        return read_digest(r, c);
    }
}

bool snap_read_piece(struct slice piece, const struct snap_reader *reader) {
    struct reading r = {.reader = reader};
    struct cursor c;
    if (piece.len <= 0)
        return false;
    cursor_init(&c, piece.p, (size_t)piece.len);
    bool fine = true;
    static const uint32_t tags[] = {TAG_HEAD, TAG_ZNODE,  TAG_SESSION,
                                    TAG_WALK, TAG_RECORD, TAG_DIGEST};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        while (fine && wire_next(&c, tags[i])) {
            struct slice s = wire_read_bytes(&c, INT32_MAX);
            struct cursor item;
            cursor_init(&item, s.p, s.len > 0 ? (size_t)s.len : 0);
            fine = s.len >= 0 && read_item(&r, tags[i], s, &item);
        }
    }
    blob_unref(r.open);
    return fine && !c.bad && cursor_left(&c) == 0;
}
