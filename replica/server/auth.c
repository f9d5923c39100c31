#include "replica/server/auth.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/path.h"
#include "replica/server/limits.h"

#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>

static const char scheme_ip[] = "ip";
static const char scheme_digest[] = "digest";
static const char scheme_super[] = "super";

void auth_addr_text(const uint8_t *addr, int32_t addr_len, char *out) {
    if (addr_len == 4) {
        (void)snprintf(out, ADDR_TEXT_MAX, "%u.%u.%u.%u", addr[0], addr[1], addr[2], addr[3]);
        return;
    }
    size_t at = 0;
    for (int32_t i = 0; i + 1 < addr_len && i < 16; i += 2) {
        int n = snprintf(out + at, ADDR_TEXT_MAX - at, "%s%x", i ? ":" : "",
                         (unsigned)(addr[i] << 8 | addr[i + 1]));
        CHECK(n > 0);
        at += (size_t)n;
    }
    out[at] = '\0';
}

static bool auth_has(const struct auth_ids *ids, const char *scheme, const struct blob *id) {
    for (uint32_t i = 0; i < ids->count; i++) {
        if (ids->list[i].scheme == scheme && blob_equal(ids->list[i].id, id))
            return true;
    }
    return false;
}

static void auth_push(struct auth_ids *ids, const char *scheme, struct blob *take_id) {
    if (auth_has(ids, scheme, take_id)) {
        blob_unref(take_id);
        return;
    }
    ids->list = mem_realloc(ids->list, (ids->count + 1) * sizeof *ids->list);
    ids->list[ids->count++] = (struct auth_id){scheme, take_id};
}

void auth_init(struct auth_ids *ids, const uint8_t *addr, int32_t addr_len) {
    char text[ADDR_TEXT_MAX];
    auth_addr_text(addr, addr_len, text);
    *ids = (struct auth_ids){0};
    auth_push(ids, scheme_ip, blob_from_slice(slice_from_str(text)));
}

void auth_close(struct auth_ids *ids) {
    for (uint32_t i = 0; i < ids->count; i++)
        blob_unref(ids->list[i].id);
    mem_free(ids->list);
    *ids = (struct auth_ids){0};
}

/* `user:` and the base64 of the SHA-1 of the whole `user:password`
 * (DigestAuthenticationProvider.generateDigest). */
static struct blob *digest_id(struct slice auth) {
    struct sha1_ctx sha;
    uint8_t hash[SHA1_DIGEST_SIZE];
    sha1_init(&sha);
    sha1_update(&sha, (size_t)auth.len, auth.p);
    sha1_digest(&sha, sizeof hash, hash);
    char text[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE)];
    base64_encode_raw(text, sizeof hash, hash);

    const uint8_t *colon = auth.len > 0 ? memchr(auth.p, ':', (size_t)auth.len) : NULL;
    size_t user = colon ? (size_t)(colon - auth.p) : (size_t)auth.len;
    struct buf b = BUF_INIT;
    buf_put(&b, auth.p, user);
    buf_put_u8(&b, ':');
    buf_put(&b, text, sizeof text);
    struct blob *id = blob_new(b.data, b.len);
    buf_close(&b);
    return id;
}

bool auth_add(struct auth_ids *ids, const struct auth_config *config, struct slice scheme,
              struct slice auth) {
    if (slice_equal_str(scheme, scheme_ip))
        return true; /* the connection has that from its beginning */
    if (!slice_equal_str(scheme, scheme_digest) || auth.len < 0 || auth.len > AUTH_BYTES_MAX)
        return false;
    if (ids->count >= AUTH_IDS_MAX)
        return false;
    struct blob *id = digest_id(auth);
    if (config->super_digest && slice_equal_str(blob_slice(id), config->super_digest))
        auth_push(ids, scheme_super, blob_new("", 0));
    auth_push(ids, scheme_digest, id);
    return true;
}

bool auth_take(struct auth_ids *ids, struct slice scheme, struct slice id) {
    static const char *const schemes[] = {scheme_ip, scheme_digest, scheme_super};
    for (size_t i = 0; id.len >= 0 && i < sizeof schemes / sizeof schemes[0]; i++) {
        if (!slice_equal_str(scheme, schemes[i]))
            continue;
        auth_push(ids, schemes[i], blob_from_slice(id));
        return true;
    }
    return false;
}

/* A decimal number as Java's Integer.parseInt takes it, within 0..max. */
static bool parse_number(const char *p, size_t n, int max, int *ret_value) {
    bool negative = false;
    if (n > 0 && (p[0] == '+' || p[0] == '-')) {
        negative = p[0] == '-';
        p++;
        n--;
    }
    if (n == 0)
        return false;
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || value > 100000)
            return false;
        value = value * 10 + (p[i] - '0');
    }
    if (negative)
        value = -value;
    if (value < 0 || value > max)
        return false;
    *ret_value = value;
    return true;
}

/* `a.b.c.d` or `a.b.c.d/bits`. ZooKeeper 3.8 has no ACLs for IPv6 addresses. */
static bool parse_ip(const char *p, size_t n, uint32_t *ret_addr, int *ret_bits) {
    const char *slash = n > 0 ? memchr(p, '/', n) : NULL;
    const char *end = slash ? slash : p + n;
    int bits = 32;
    if (slash && !parse_number(slash + 1, (size_t)(p + n - slash - 1), 32, &bits))
        return false;
    uint32_t addr = 0;
    for (int i = 0; i < 4; i++) {
        const char *dot = i < 3 ? memchr(p, '.', (size_t)(end - p)) : end;
        int part;
        if (!dot || !parse_number(p, (size_t)(dot - p), 255, &part))
            return false;
        addr = addr << 8 | (uint32_t)part;
        p = i < 3 ? dot + 1 : dot;
    }
    *ret_addr = addr;
    *ret_bits = bits;
    return true;
}

static bool ip_matches(const struct blob *id, struct slice expr) {
    uint32_t have, want;
    int have_bits, bits;
    if (!parse_ip((const char *)expr.p, (size_t)expr.len, &want, &bits) ||
        !parse_ip((const char *)id->bytes, id->len, &have, &have_bits))
        return false;
    uint32_t mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
    return (have & mask) == (want & mask);
}

static bool entry_is_world(const struct acl_entry *e) {
    return slice_equal_str(e->scheme, "world") && slice_equal_str(e->id, "anyone");
}

static bool entry_matches(const struct acl_entry *e, const struct auth_id *who) {
    if (e->id.len < 0 || !slice_equal_str(e->scheme, who->scheme))
        return false;
    if (who->scheme == scheme_ip)
        return ip_matches(who->id, e->id);
    return who->scheme == scheme_digest && slice_equal(e->id, blob_slice(who->id));
}

bool auth_allows(const struct auth_ids *ids, uint32_t count, const struct auth_config *config,
                 const struct blob *acl, int32_t perms) {
    if (config->skip_acl || !acl)
        return true;
    struct jvec v = acl_view(acl);
    if (v.count <= 0)
        return true;
    struct acl_entry e;
    for (int32_t at = 0; acl_next(&v, &at, &e);) {
        if (!(e.perms & perms))
            continue;
        if (entry_is_world(&e))
            return true;
        for (uint32_t i = 0; i < count; i++) {
            if (entry_matches(&e, &ids->list[i]))
                return true;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ids->list[i].scheme == scheme_super)
            return true;
    }
    return false;
}

/* `user:hash`: Java's split(":") gives two parts, empty ones at the end not counted. */
static bool digest_valid(struct slice id) {
    int32_t len = id.len;
    while (len > 0 && id.p[len - 1] == ':')
        len--;
    int colons = 0;
    for (int32_t i = 0; i < len; i++)
        colons += id.p[i] == ':';
    return colons == 1;
}

static bool acl_has(const struct buf *items, int32_t count, const struct acl_entry *e) {
    struct jvec v = {count, {items->data, (int32_t)items->len}};
    struct acl_entry have;
    for (int32_t at = 0; acl_next(&v, &at, &have);) {
        if (have.perms == e->perms && slice_equal(have.scheme, e->scheme) &&
            slice_equal(have.id, e->id))
            return true;
    }
    return false;
}

static enum zk_err fix_auth_entry(const struct auth_ids *ids, uint32_t count, int32_t perms,
                                  struct buf *items, int32_t *item_count) {
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        if (ids->list[i].scheme != scheme_digest)
            continue; /* an address proves nothing, and `super` has no provider */
        struct acl_entry e = {perms, slice_from_str(scheme_digest), blob_slice(ids->list[i].id)};
        acl_append(items, &e);
        (*item_count)++;
        found = true;
    }
    return found ? ZK_OK : ZK_INVALIDACL;
}

static enum zk_err fix_entry(const struct auth_ids *ids, uint32_t count, const struct acl_entry *e,
                             struct buf *items, int32_t *item_count) {
    if (e->scheme.len < 0)
        return ZK_INVALIDACL;
    if (slice_equal_str(e->scheme, "auth"))
        return fix_auth_entry(ids, count, e->perms, items, item_count);
    bool digest = slice_equal_str(e->scheme, scheme_digest);
    bool ip = slice_equal_str(e->scheme, scheme_ip);
    if (e->id.len < 0 && (digest || ip || slice_equal_str(e->scheme, "world")))
        return ZK_MARSHALLINGERROR;
    uint32_t addr;
    int bits;
    bool valid = entry_is_world(e) || (digest && digest_valid(e->id)) ||
                 (ip && parse_ip((const char *)e->id.p, (size_t)e->id.len, &addr, &bits));
    if (!valid)
        return ZK_INVALIDACL;
    acl_append(items, e);
    (*item_count)++;
    return ZK_OK;
}

/* Appends what is not there yet of `acl` to `unique`: duplicates are dropped before anything else.
 */
static int32_t unique_entries(const struct jvec *acl, struct buf *unique) {
    int32_t count = 0;
    struct acl_entry e;
    for (int32_t at = 0; acl_next(acl, &at, &e);) {
        if (acl_has(unique, count, &e))
            continue;
        acl_append(unique, &e);
        count++;
    }
    return count;
}

enum zk_err auth_fix_acl(const struct auth_ids *ids, uint32_t count, const struct jvec *acl,
                         struct blob **ret_acl) {
    if (acl->count <= 0 || acl->count > ACL_ENTRIES_MAX)
        return ZK_INVALIDACL;
    struct buf unique = BUF_INIT, items = BUF_INIT;
    int32_t unique_count = unique_entries(acl, &unique);
    struct jvec v = {unique_count, {unique.data, (int32_t)unique.len}};
    int32_t item_count = 0;
    enum zk_err err = ZK_OK;
    struct acl_entry e;
    for (int32_t at = 0; err == ZK_OK && acl_next(&v, &at, &e);)
        err = fix_entry(ids, count, &e, &items, &item_count);
    if (err == ZK_OK) {
        struct jvec fixed = {item_count, {items.data, (int32_t)items.len}};
        *ret_acl = acl_blob(&fixed);
    }
    buf_close(&unique);
    buf_close(&items);
    return err;
}

void auth_write_acl(struct buf *out, const struct blob *acl, bool hide) {
    struct jvec v = acl_view(acl);
    if (!hide) {
        buf_put(out, acl->bytes, acl->len);
        return;
    }
    jute_write_int(out, v.count);
    struct acl_entry e;
    for (int32_t at = 0; acl_next(&v, &at, &e);) {
        const uint8_t *colon = NULL;
        if (slice_equal_str(e.scheme, scheme_digest) && e.id.len > 0)
            colon = memchr(e.id.p, ':', (size_t)e.id.len);
        if (!colon) {
            acl_append(out, &e);
            continue;
        }
        jute_write_int(out, e.perms);
        jute_write_slice(out, e.scheme);
        jute_write_int(out, (int32_t)(colon - e.id.p) + 2);
        buf_put(out, e.id.p, (size_t)(colon - e.id.p));
        buf_put(out, ":x", 2);
    }
}

struct slice auth_user(const struct auth_id *id) {
    struct slice user = blob_slice(id->id);
    if (id->scheme == scheme_super)
        user.len = 0;
    const uint8_t *colon =
        id->scheme == scheme_digest ? memchr(user.p, ':', (size_t)user.len) : NULL;
    if (colon)
        user.len = (int32_t)(colon - user.p);
    return user;
}
