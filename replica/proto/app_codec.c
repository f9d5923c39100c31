/* App of peer.proto by hand (wire.h). */
#include "common/check.h"
#include "common/mem.h"
#include "replica/proto/peer_codec.h"
#include "replica/proto/wire.h"

#define TAG_TYPE WIRE_VARINT(1)
#define TAG_TAG WIRE_VARINT(2)
#define TAG_SESSION WIRE_FIXED64(3)
#define TAG_CXID WIRE_VARINT(4)
#define TAG_OPCODE WIRE_VARINT(5)
#define TAG_TIMEOUT WIRE_VARINT(6)
#define TAG_RETRIES WIRE_VARINT(7)
#define TAG_OK WIRE_VARINT(8)
#define TAG_BODY WIRE_BYTES(9)
#define TAG_AUTH_ID WIRE_BYTES(10)
#define TAG_TOUCH WIRE_BYTES(11)
#define TAG_ZXID WIRE_FIXED64(12)
#define TAG_DIGEST WIRE_FIXED64(13)
#define TAG_DISTRUST WIRE_VARINT(14)

#define TAG_AUTH_SCHEME WIRE_BYTES(1)
#define TAG_AUTH_NAME WIRE_BYTES(2)
#define TAG_TOUCH_SESSION WIRE_FIXED64(1)
#define TAG_TOUCH_TIMEOUT WIRE_VARINT(2)

/* What the tags and numbers of a message take at most, and those of one element. */
#define HEAD_BYTES 64u
#define ELEMENT_BYTES 24u

static bool has_timeout(enum app_type type) {
    return type == APP_REQUEST || type == APP_REVALIDATE || type == APP_REVALIDATED;
}

static bool has_retries(enum app_type type) {
    return type == APP_REQUEST || type == APP_REVALIDATED;
}

static bool has_zxid(enum app_type type) { return type == APP_DIGEST || type == APP_QUARANTINE; }

static void put_auth_id(struct buf *b, const struct app_auth_id *a) {
    uint32_t scheme = a->scheme.len > 0 ? (uint32_t)a->scheme.len : 0;
    uint32_t id = a->id.len > 0 ? (uint32_t)a->id.len : 0;
    wire_put_varint(b, TAG_AUTH_ID);
    wire_put_varint(b, 2 + wire_varint_len(scheme) + scheme + wire_varint_len(id) + id);
    wire_put_varint(b, TAG_AUTH_SCHEME);
    wire_put_bytes(b, a->scheme);
    wire_put_varint(b, TAG_AUTH_NAME);
    wire_put_bytes(b, a->id);
}

static void put_touch(struct buf *b, const struct app_touch *t) {
    uint32_t timeout = wire_zigzag(t->timeout_ms);
    wire_put_varint(b, TAG_TOUCH);
    buf_put_u8(b,
               (uint8_t)((t->session_id ? 9 : 0) + (timeout ? 1 + wire_varint_len(timeout) : 0)));
    wire_put_zxid(b, TAG_TOUCH_SESSION, t->session_id);
    wire_put_number(b, TAG_TOUCH_TIMEOUT, timeout);
}

static void put_request(struct buf *b, const struct app_msg *m) {
    if (m->body.len >= 0) {
        wire_put_varint(b, TAG_BODY);
        wire_put_bytes(b, m->body);
    }
    for (size_t i = 0; i < m->auth_count; i++)
        put_auth_id(b, &m->auth_ids[i]);
}

static void put_digest(struct buf *b, const struct app_msg *m) {
    CHECK(m->zxid > 0);
    wire_put_zxid(b, TAG_ZXID, m->zxid);
    if (m->has_digest) {
        wire_put_varint(b, TAG_DIGEST);
        wire_put_fixed64(b, m->digest);
    }
    if (m->type == APP_QUARANTINE) {
        CHECK(m->has_digest);
        wire_put_number(b, TAG_DISTRUST, m->distrust);
    }
}

static size_t size_bound(const struct app_msg *m) {
    size_t n = HEAD_BYTES + (m->body.len > 0 ? (size_t)m->body.len : 0);
    n += (m->touch_count + m->auth_count) * ELEMENT_BYTES;
    for (size_t i = 0; i < m->auth_count; i++) {
        n += m->auth_ids[i].scheme.len > 0 ? (size_t)m->auth_ids[i].scheme.len : 0;
        n += m->auth_ids[i].id.len > 0 ? (size_t)m->auth_ids[i].id.len : 0;
    }
    return n;
}

struct blob *app_encode(const struct app_msg *m) {
    CHECK(m->type >= APP_REQUEST);
    CHECK(m->type < APP_TYPE_END);
    /* The blob is written in place: its body may be a megabyte. */
    struct buf b = BUF_INIT;
    buf_extend(&b, sizeof(struct blob) + size_bound(m));
    b.len = sizeof(struct blob);
    wire_put_number(&b, TAG_TYPE, m->type);
    wire_put_number(&b, TAG_TAG, m->tag);
    wire_put_zxid(&b, TAG_SESSION, m->session_id);
    if (m->type == APP_REQUEST) {
        wire_put_number(&b, TAG_CXID, wire_zigzag(m->cxid));
        wire_put_number(&b, TAG_OPCODE, wire_zigzag(m->opcode));
    }
    if (has_timeout(m->type))
        wire_put_number(&b, TAG_TIMEOUT, wire_zigzag(m->timeout_ms));
    if (has_retries(m->type))
        wire_put_number(&b, TAG_RETRIES, m->retries);
    if (m->type == APP_REVALIDATED)
        wire_put_number(&b, TAG_OK, m->ok);
    if (m->type == APP_REQUEST)
        put_request(&b, m);
    for (size_t i = 0; m->type == APP_TOUCH && i < m->touch_count; i++)
        put_touch(&b, &m->touches[i]);
    if (has_zxid(m->type))
        put_digest(&b, m);
    CHECK(b.len - sizeof(struct blob) <= INT32_MAX);
    struct blob *blob = (struct blob *)(void *)b.data;
    *blob = (struct blob){.refs = 1, .len = (uint32_t)(b.len - sizeof *blob)};
    return blob;
}

/* How many elements with this tag come next, each in its own bytes: so there are never more than
 * the bytes allow. The cursor stays. */
static size_t count_elements(const struct cursor *from, uint32_t tag) {
    struct cursor c = *from;
    size_t count = 0;
    for (; wire_next(&c, tag); count++)
        wire_read_bytes(&c, INT32_MAX);
    return c.bad ? 0 : count;
}

/* The bytes of the next element, as a cursor. */
static struct cursor next_element(struct cursor *c, uint32_t tag) {
    struct cursor part;
    struct slice s = wire_next(c, tag) ? wire_read_bytes(c, INT32_MAX) : SLICE_NULL;
    c->bad |= s.len < 0;
    cursor_init(&part, s.p, s.len > 0 ? (size_t)s.len : 0);
    return part;
}

/* The memory of a message is one array, for no message has two; its type has no members. */
static void read_auth_ids(struct cursor *c, struct app_msg *m, struct app_memory **ret) {
    size_t count = count_elements(c, TAG_AUTH_ID);
    if (count == 0)
        return;
    struct app_auth_id *list = mem_alloc(count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        struct cursor part = next_element(c, TAG_AUTH_ID);
        struct app_auth_id *a = &list[i];
        part.bad |= !wire_next(&part, TAG_AUTH_SCHEME);
        a->scheme = wire_read_bytes(&part, INT32_MAX);
        part.bad |= !wire_next(&part, TAG_AUTH_NAME);
        a->id = wire_read_bytes(&part, INT32_MAX);
        c->bad |= part.bad || cursor_left(&part) > 0;
    }
    m->auth_ids = list;
    m->auth_count = count;
    *ret = (struct app_memory *)(void *)list;
}

static void read_touches(struct cursor *c, struct app_msg *m, struct app_memory **ret) {
    size_t count = count_elements(c, TAG_TOUCH);
    if (count == 0)
        return;
    struct app_touch *list = mem_alloc(count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        struct cursor part = next_element(c, TAG_TOUCH);
        struct app_touch *t = &list[i];
        t->session_id = wire_read_zxid(&part, TAG_TOUCH_SESSION);
        t->timeout_ms = wire_read_sint32(&part, TAG_TOUCH_TIMEOUT);
        c->bad |= part.bad || cursor_left(&part) > 0;
    }
    m->touches = list;
    m->touch_count = count;
    *ret = (struct app_memory *)(void *)list;
}

static void read_request(struct cursor *c, struct app_msg *m, struct app_memory **ret_memory) {
    if (wire_next(c, TAG_BODY))
        m->body = wire_read_bytes(c, INT32_MAX);
    read_auth_ids(c, m, ret_memory);
}

static void read_digest(struct cursor *c, struct app_msg *m) {
    m->zxid = wire_read_zxid(c, TAG_ZXID);
    m->has_digest = wire_next(c, TAG_DIGEST);
    if (m->has_digest)
        m->digest = wire_read_fixed64(c);
    if (m->type == APP_QUARANTINE)
        m->distrust = wire_read_number(c, TAG_DISTRUST, 1) != 0;
    c->bad |= m->zxid <= 0 || (m->type == APP_QUARANTINE && !m->has_digest);
}

bool app_decode(struct slice bytes, struct app_msg *ret_msg, struct app_memory **ret_memory) {
    if (bytes.len <= 0 || bytes.len > (int32_t)PEER_MESSAGE_MAX)
        return false;
    struct cursor c;
    cursor_init(&c, bytes.p, (size_t)bytes.len);
    struct app_memory *memory = NULL;
    struct app_msg m = {.body = SLICE_NULL};
    m.type = (enum app_type)wire_read_number(&c, TAG_TYPE, APP_TYPE_END - 1);
    if (m.type == 0)
        return false;
    m.tag = wire_read_number(&c, TAG_TAG, UINT64_MAX);
    m.session_id = wire_read_zxid(&c, TAG_SESSION);
    if (m.type == APP_REQUEST) {
        m.cxid = wire_read_sint32(&c, TAG_CXID);
        m.opcode = wire_read_sint32(&c, TAG_OPCODE);
    }
    if (has_timeout(m.type))
        m.timeout_ms = wire_read_sint32(&c, TAG_TIMEOUT);
    if (has_retries(m.type))
        m.retries = wire_read_number(&c, TAG_RETRIES, 1) != 0;
    if (m.type == APP_REVALIDATED)
        m.ok = wire_read_number(&c, TAG_OK, 1) != 0;
    if (m.type == APP_REQUEST)
        read_request(&c, &m, &memory);
    if (m.type == APP_TOUCH)
        read_touches(&c, &m, &memory);
    if (has_zxid(m.type))
        read_digest(&c, &m);
    if (c.bad || cursor_left(&c) > 0) {
        app_close(memory);
        return false;
    }
    *ret_msg = m;
    *ret_memory = memory;
    return true;
}

void app_close(struct app_memory *m) { mem_free(m); }
