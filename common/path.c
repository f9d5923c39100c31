#include "common/path.h"

#include <string.h>

/* Decodes the code point at p (n > 0 bytes left) as RFC 3629 has it: shortest form only, no
 * surrogates, nothing above U+10FFFF. Returns its length in bytes, 0 when it is none. */
static int32_t utf8_decode(const uint8_t *p, int32_t n, uint32_t *ret_code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int32_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || len > n || p[0] > 0xf4)
        return 0;
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (int32_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return len;
}

/* The characters that ZooKeeper's PathUtils refuses. It looks at UTF-16 units, so everything beyond
 * U+FFFF, that Java holds as two surrogates, is refused as well. */
static bool forbidden(uint32_t code) {
    return code <= 0x1f || (code >= 0x7f && code <= 0x9f) || (code >= 0xd800 && code <= 0xf8ff) ||
           code >= 0xfff0;
}

static const char *component_invalid_reason(const uint8_t *p, int32_t n, bool suffix_follows) {
    if (suffix_follows)
        return NULL; /* what is still to be appended makes any name a good one, "", "." and ".." too
                      */
    if (n == 0)
        return "the path has an empty component";
    if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
        return "the path has a relative component";
    return NULL;
}

const char *path_invalid_reason(struct slice path, bool sequential) {
    if (path.len < 0)
        return "the path is null";
    if (path.len == 0)
        return "the path is empty";
    if (path.len > PATH_MAX_BYTES)
        return "the path is too long";
    if (path.p[0] != '/')
        return "the path does not start with /";
    if (path.len == 1)
        return NULL;
    int32_t start = 1; /* of the component at hand */
    for (int32_t i = 1; i < path.len;) {
        uint8_t byte = path.p[i];
        if (byte > 0x1f && byte < 0x7f && byte != '/') {
            i++; /* most are plain */
            continue;
        }
        uint32_t code = 0;
        int32_t len = utf8_decode(path.p + i, path.len - i, &code);
        if (len == 0)
            return "the path is not UTF-8";
        if (forbidden(code))
            return "the path has a forbidden character";
        if (code == '/') {
            const char *why = component_invalid_reason(path.p + start, i - start, false);
            if (why)
                return why;
            start = i + 1;
        }
        i += len;
    }
    if (start == path.len && !sequential)
        return "the path ends with /";
    return component_invalid_reason(path.p + start, path.len - start, sequential);
}

/* Where the last component starts. */
static int32_t name_at(struct slice path) {
    int32_t at = path.len;
    while (at > 0 && path.p[at - 1] != '/')
        at--;
    return at;
}

struct slice path_parent(struct slice path) {
    if (path.len <= 1)
        return SLICE_NULL;
    int32_t at = name_at(path);
    return (struct slice){path.p, at > 1 ? at - 1 : 1};
}

struct slice path_name(struct slice path) {
    int32_t at = name_at(path);
    return (struct slice){path.p + at, path.len - at};
}

bool path_next(struct slice path, int32_t *pos, struct slice *ret_component) {
    int32_t start = *pos;
    if (start < path.len && path.p[start] == '/')
        start++;
    if (start >= path.len)
        return false;
    int32_t end = start;
    while (end < path.len && path.p[end] != '/')
        end++;
    *ret_component = (struct slice){path.p + start, end - start};
    *pos = end;
    return true;
}

struct slice slice_from_str(const char *s) {
    return s ? (struct slice){(const uint8_t *)s, (int32_t)strlen(s)} : SLICE_NULL;
}

bool slice_equal(struct slice a, struct slice b) {
    if (a.len < 0 || b.len < 0)
        return a.len < 0 && b.len < 0;
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, (size_t)a.len) == 0);
}

bool slice_equal_str(struct slice a, const char *s) { return slice_equal(a, slice_from_str(s)); }

bool path_has_prefix(struct slice path, struct slice prefix) {
    if (path.len < 0 || prefix.len < 0 || prefix.len > path.len)
        return false;
    if (prefix.len > 0 && memcmp(path.p, prefix.p, (size_t)prefix.len) != 0)
        return false;
    if (path.len == prefix.len || slice_equal_str(prefix, "/"))
        return true;
    return path.p[prefix.len] == '/';
}
