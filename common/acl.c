#include "common/acl.h"

#include "common/check.h"

#include <string.h>

static const struct {
    char letter;
    int32_t perm;
} perm_letters[] = {
    /* The order in which ZooKeeper's shell shows them. */
    {'c', PERM_CREATE}, {'d', PERM_DELETE}, {'r', PERM_READ}, {'w', PERM_WRITE}, {'a', PERM_ADMIN},
};

bool acl_next(const struct jvec *v, int32_t *at, struct acl_entry *ret_entry) {
    if (*at >= v->items.len)
        return false;
    struct cursor c;
    cursor_init(&c, v->items.p + *at, (size_t)(v->items.len - *at));
    struct acl_entry e = {.perms = jute_read_int(&c)};
    e.scheme = jute_read_slice(&c);
    e.id = jute_read_slice(&c);
    /* The vector was checked when it was read: what fails here is a caller's own work. */
    CHECK(!c.bad);
    *at = (int32_t)(c.p - v->items.p);
    *ret_entry = e;
    return true;
}

struct jvec acl_view(const struct blob *acl) {
    CHECK(acl);
    struct cursor c;
    cursor_init(&c, acl->bytes, acl->len);
    struct jvec v = jute_read_acls(&c);
    CHECK(!c.bad);
    CHECK(cursor_left(&c) == 0);
    return v;
}

struct blob *acl_blob(const struct jvec *v) {
    struct buf b = BUF_INIT;
    jute_write_jvec(&b, *v);
    struct blob *acl = blob_new(b.data, b.len);
    buf_close(&b);
    return acl;
}

void acl_append(struct buf *items, const struct acl_entry *e) {
    jute_write_int(items, e->perms);
    jute_write_slice(items, e->scheme);
    jute_write_slice(items, e->id);
}

struct blob *acl_open_unsafe(void) {
    const char *why;
    static const char text[] = "world:anyone:cdrwa";
    return acl_parse((struct slice){(const uint8_t *)text, sizeof text - 1}, &why);
}

/* A comma ends an entry and a backslash is the escape, so both get a backslash in front. */
static void print_escaped(struct buf *out, struct slice s) {
    for (int32_t i = 0; i < s.len; i++) {
        if (s.p[i] == ',' || s.p[i] == '\\')
            buf_put_u8(out, '\\');
        buf_put_u8(out, s.p[i]);
    }
}

void acl_print(struct buf *out, const struct jvec *v) {
    struct acl_entry e;
    bool first = true;
    for (int32_t at = 0; acl_next(v, &at, &e); first = false) {
        if (!first)
            buf_put_u8(out, ',');
        print_escaped(out, e.scheme);
        buf_put_u8(out, ':');
        print_escaped(out, e.id);
        buf_put_u8(out, ':');
        for (size_t i = 0; i < sizeof perm_letters / sizeof *perm_letters; i++)
            if (e.perms & perm_letters[i].perm)
                buf_put_u8(out, (uint8_t)perm_letters[i].letter);
    }
}

static int32_t perm_of(uint8_t letter) {
    for (size_t i = 0; i < sizeof perm_letters / sizeof *perm_letters; i++)
        if (perm_letters[i].letter == (char)letter)
            return perm_letters[i].perm;
    return 0;
}

/* Takes one entry without its escapes apart. NULL, or why not. */
static const char *parse_entry(struct slice text, struct acl_entry *ret_entry) {
    int32_t first = 0;
    while (first < text.len && text.p[first] != ':')
        first++;
    int32_t last = text.len;
    while (last > first && text.p[last - 1] != ':')
        last--;
    /* `last` is where the perms start, one behind the last colon. */
    if (last <= first + 1)
        return "an entry is scheme:id:perms";
    if (first == 0)
        return "the scheme is empty";
    struct acl_entry e = {.scheme = {text.p, first}, .id = {text.p + first + 1, last - first - 2}};
    for (int32_t i = last; i < text.len; i++) {
        int32_t perm = perm_of(text.p[i]);
        if (perm == 0)
            return "perms are letters of cdrwa";
        e.perms |= perm;
    }
    *ret_entry = e;
    return NULL;
}

/* Copies the entry at *at into entry, escapes resolved, and moves *at behind its comma. True when a
 * comma ended it, so that another entry has to follow. */
static bool cut_entry(struct slice text, int32_t *at, struct buf *entry) {
    buf_reset(entry);
    for (; *at < text.len; ++*at) {
        uint8_t c = text.p[*at];
        if (c == ',') {
            ++*at;
            return true;
        }
        if (c == '\\' && *at + 1 < text.len)
            c = text.p[++*at];
        buf_put_u8(entry, c);
    }
    return false;
}

struct blob *acl_parse(struct slice text, const char **ret_why) {
    struct buf out = BUF_INIT;
    struct buf entry = BUF_INIT;
    struct blob *acl = NULL;
    const char *why = NULL;
    uint32_t count = 0;
    bool more = true;
    jute_write_int(&out, 0);
    for (int32_t at = 0; more && !why;) {
        struct acl_entry e;
        more = cut_entry(text, &at, &entry);
        why = parse_entry((struct slice){entry.data, (int32_t)entry.len}, &e);
        if (!why) {
            acl_append(&out, &e);
            count++;
        }
    }
    if (why) {
        *ret_why = why;
    } else {
        buf_patch_u32be(&out, 0, count);
        acl = blob_new(out.data, out.len);
    }
    buf_close(&entry);
    buf_close(&out);
    return acl;
}
