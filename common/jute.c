#include "common/jute.h"

#include "common/check.h"

/* The least that an element takes: a string is its length, an ACL is the perms and two strings. */
#define STRING_MIN_BYTES 4
#define ACL_MIN_BYTES 12
#define USER_MIN_BYTES 8

int32_t jute_read_int(struct cursor *c) { return (int32_t)cursor_u32be(c); }

int64_t jute_read_long(struct cursor *c) { return (int64_t)cursor_u64be(c); }

bool jute_read_bool(struct cursor *c) { return cursor_u8(c) != 0; }

struct slice jute_read_slice(struct cursor *c) {
    int32_t len = jute_read_int(c);
    if (len == -1)
        return SLICE_NULL;
    if (len < 0) {
        c->bad = true;
        return SLICE_NULL;
    }
    const uint8_t *p = cursor_bytes(c, (size_t)len);
    return c->bad ? SLICE_NULL : (struct slice){p, len};
}

void jute_read_stat(struct cursor *c, struct zstat *ret_stat) {
    ret_stat->czxid = jute_read_long(c);
    ret_stat->mzxid = jute_read_long(c);
    ret_stat->ctime_ms = jute_read_long(c);
    ret_stat->mtime_ms = jute_read_long(c);
    ret_stat->version = jute_read_int(c);
    ret_stat->cversion = jute_read_int(c);
    ret_stat->aversion = jute_read_int(c);
    ret_stat->ephemeral_owner = jute_read_long(c);
    ret_stat->data_length = jute_read_int(c);
    ret_stat->num_children = jute_read_int(c);
    ret_stat->pzxid = jute_read_long(c);
}

void jute_write_int(struct buf *b, int32_t v) { buf_put_u32be(b, (uint32_t)v); }

void jute_write_long(struct buf *b, int64_t v) { buf_put_u64be(b, (uint64_t)v); }

void jute_write_bool(struct buf *b, bool v) { buf_put_u8(b, v ? 1 : 0); }

void jute_write_slice(struct buf *b, struct slice s) {
    if (s.len < 0) {
        jute_write_int(b, -1);
        return;
    }
    jute_write_int(b, s.len);
    buf_put(b, s.p, (size_t)s.len);
}

void jute_write_stat(struct buf *b, const struct zstat *s) {
    jute_write_long(b, s->czxid);
    jute_write_long(b, s->mzxid);
    jute_write_long(b, s->ctime_ms);
    jute_write_long(b, s->mtime_ms);
    jute_write_int(b, s->version);
    jute_write_int(b, s->cversion);
    jute_write_int(b, s->aversion);
    jute_write_long(b, s->ephemeral_owner);
    jute_write_int(b, s->data_length);
    jute_write_int(b, s->num_children);
    jute_write_long(b, s->pzxid);
}

static void skip_string(struct cursor *c) { (void)jute_read_slice(c); }

static void skip_acl(struct cursor *c) {
    (void)jute_read_int(c);
    skip_string(c);
    skip_string(c);
}

static void skip_user(struct cursor *c) {
    skip_string(c);
    skip_string(c);
}

static struct jvec read_vector(struct cursor *c, size_t min_bytes, void (*skip)(struct cursor *c)) {
    const struct jvec null_vector = {-1, SLICE_NULL};
    int32_t count = jute_read_int(c);
    if (c->bad || count == -1)
        return null_vector;
    /* A slice cannot say more than INT32_MAX bytes; no frame comes near it. */
    if (count < 0 || (size_t)count > cursor_left(c) / min_bytes || cursor_left(c) > INT32_MAX) {
        c->bad = true;
        return null_vector;
    }
    const uint8_t *start = c->p;
    for (int32_t i = 0; i < count && !c->bad; i++)
        skip(c);
    if (c->bad)
        return null_vector;
    return (struct jvec){count, {start, (int32_t)(c->p - start)}};
}

struct jvec jute_read_strings(struct cursor *c) {
    return read_vector(c, STRING_MIN_BYTES, skip_string);
}

struct jvec jute_read_acls(struct cursor *c) {
    return read_vector(c, ACL_MIN_BYTES, skip_acl);
}

struct jvec jute_read_users(struct cursor *c) {
    return read_vector(c, USER_MIN_BYTES, skip_user);
}

void jute_write_jvec(struct buf *b, struct jvec v) {
    if (v.count < 0) {
        jute_write_int(b, -1);
        return;
    }
    jute_write_int(b, v.count);
    if (v.items.len > 0)
        buf_put(b, v.items.p, (size_t)v.items.len);
}

bool jvec_next_string(const struct jvec *v, int32_t *at, struct slice *ret_string) {
    if (*at >= v->items.len)
        return false;
    struct cursor c;
    cursor_init(&c, v->items.p + *at, (size_t)(v->items.len - *at));
    struct slice s = jute_read_slice(&c);
    /* The vector was checked when it was read: what fails here is a caller's own work. */
    CHECK(!c.bad);
    *at = (int32_t)(c.p - v->items.p);
    *ret_string = s;
    return true;
}
