#include "fs/lock_name.h"

#include <inttypes.h>
#include <string.h>

#include "common/path.h"

/* SEQUENCE as the server prints it: %010d. */
#define DIGITS_MIN 10

bool lock_name_dir(struct buf *out, struct slice path, zxid_t czxid) {
    buf_printf(out, LOCKS_DIR "/%016" PRIx64, (uint64_t)czxid);
    for (int32_t i = 0; i < path.len; i++) {
        if (path.p[i] == '/')
            buf_put_u8(out, ':');
        else if (path.p[i] == ':' || path.p[i] == '%')
            buf_printf(out, "%%%02X", path.p[i]);
        else
            buf_put_u8(out, path.p[i]);
    }
    return out->len + 256 <= PATH_MAX_BYTES; /* with a child's name behind it */
}

void lock_name_print(struct buf *out, const struct lock_entry *e) {
    buf_printf(out, "%s-%" PRIx64 ".%" PRIx64 ".%" PRIx64 "-", e->write ? "write" : "read",
               e->mount, e->owner, e->child);
    if (e->range)
        buf_printf(out, "%" PRIx64 "-%" PRIx64 "-", (uint64_t)e->start, (uint64_t)e->end);
    if (e->has_order)
        buf_printf(out, "%" PRIx32 "-", (uint32_t)e->order);
}

static bool skip(struct slice *in, const char *text) {
    int32_t len = (int32_t)strlen(text);
    if (in->len < len || memcmp(in->p, text, (size_t)len) != 0)
        return false;
    in->p += len;
    in->len -= len;
    return true;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* A number and the character behind it. */
static bool take_hex(struct slice *in, uint8_t behind, uint64_t *ret) {
    uint64_t v = 0;
    int32_t i = 0;
    for (; i < in->len && i <= 16 && name_hex_digit(in->p[i]) >= 0; i++)
        v = v << 4 | (uint64_t)name_hex_digit(in->p[i]);
    if (i == 0 || i > 16 || i == in->len || in->p[i] != behind)
        return false;
    in->p += i + 1;
    in->len -= i + 1;
    *ret = v;
    return true;
}

/* Takes SEQUENCE off the end. Behind 2^31 - 1 the server goes on with negative numbers. */
static bool take_sequence(struct slice *in, int32_t *ret) {
    int32_t at = in->len;
    int64_t v = 0, unit = 1;
    while (at > 0 && is_digit(in->p[at - 1]) && in->len - at < DIGITS_MIN) {
        v += unit * (in->p[--at] - '0');
        unit *= 10;
    }
    if (in->len - at != DIGITS_MIN)
        return false;
    if (at > 0 && in->p[at - 1] == '-' && (at == 1 || in->p[at - 2] == '-')) {
        v = -v;
        at--;
    }
    if (v < INT32_MIN || v > INT32_MAX)
        return false;
    in->len = at;
    *ret = (int32_t)v;
    return true;
}

static bool take_range(struct slice *in, struct lock_entry *e) {
    uint64_t start, end, order;
    if (!take_hex(in, '-', &start) || !take_hex(in, '-', &end) || start > end || end > INT64_MAX)
        return false;
    e->range = true;
    e->start = (int64_t)start;
    e->end = (int64_t)end;
    if (in->len == 0)
        return true;
    if (!take_hex(in, '-', &order) || order > UINT32_MAX || in->len != 0)
        return false;
    e->has_order = true;
    e->order = (int32_t)(uint32_t)order;
    return true;
}

bool lock_name_parse(struct slice name, struct lock_entry *ret) {
    struct lock_entry e = {.name = name, .end = LOCK_END};
    struct slice in = name;
    if (skip(&in, "write-"))
        e.write = true;
    else if (!skip(&in, "read-"))
        return false;
    if (!take_sequence(&in, &e.order))
        return false;
    if (in.len != 0) {
        if (!take_hex(&in, '.', &e.mount) || !take_hex(&in, '.', &e.owner) ||
            !take_hex(&in, '-', &e.child) || e.mount == 0)
            return false;
        if (in.len != 0 && !take_range(&in, &e))
            return false;
    }
    *ret = e;
    return true;
}
