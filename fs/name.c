#include "fs/name.h"

#include "common/path.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* True for `word` with one dot or more in front, whatever their number. */
static bool is_dotted(struct slice name, const char *word) {
    int32_t dots = 0;
    while (dots < name.len && name.p[dots] == '.')
        dots++;
    struct slice rest = {.p = name.p + dots, .len = name.len - dots};
    return dots > 0 && slice_equal_str(rest, word);
}

static bool is_escaped(struct slice name, bool at_root) {
    return is_dotted(name, "data") || (at_root && is_dotted(name, "zk"));
}

static bool is_directory_entry(struct slice name) {
    if (name.len <= 0 || slice_equal_str(name, ".") || slice_equal_str(name, ".."))
        return false;
    return !memchr(name.p, '/', (size_t)name.len) && !memchr(name.p, '\0', (size_t)name.len);
}

bool name_show(struct slice name, bool at_root, char *ret_shown) {
    if (!is_directory_entry(name))
        return false;
    bool escaped = is_escaped(name, at_root);
    if (name.len > NAME_SHOWN_MAX - (escaped ? 1 : 0))
        return false;
    if (escaped)
        *ret_shown++ = '.';
    memcpy(ret_shown, name.p, (size_t)name.len);
    ret_shown[name.len] = '\0';
    return true;
}

static bool can_exist(struct slice name) {
    char path[1 + NAME_SHOWN_MAX] = "/";
    memcpy(path + 1, name.p, (size_t)name.len);
    struct slice whole = {.p = (const uint8_t *)path, .len = name.len + 1};
    return path_invalid_reason(whole, false) == NULL;
}

enum name_kind name_read(const char *shown, bool at_root, struct slice *ret_name) {
    size_t len = strnlen(shown, NAME_SHOWN_MAX + 1);
    if (len > NAME_SHOWN_MAX)
        return NAME_IS_TOO_LONG;
    struct slice name = {.p = (const uint8_t *)shown, .len = (int32_t)len};
    if (slice_equal_str(name, NAME_DATA))
        return NAME_IS_DATA;
    if (at_root && slice_equal_str(name, NAME_VIEWS))
        return NAME_IS_VIEWS;
    if (is_escaped(name, at_root)) {
        name.p++;
        name.len--;
    }
    if (!can_exist(name))
        return NAME_IS_WRONG;
    *ret_name = name;
    return NAME_IS_ZNODE;
}

bool name_path(struct buf *out, struct slice dir, struct slice name) {
    bool is_root = dir.len == 1;
    if ((size_t)dir.len + 1 + (size_t)name.len > PATH_MAX_BYTES)
        return false;
    if (!is_root)
        buf_put(out, dir.p, (size_t)dir.len);
    buf_put_u8(out, '/');
    buf_put(out, name.p, (size_t)name.len);
    return true;
}

uint64_t name_ino(struct slice path, zxid_t czxid, bool is_data) {
    XXH64_hash_t seed = XXH3_64bits_withSeed(&czxid, sizeof(czxid), is_data ? 1 : 0);
    uint64_t ino = XXH3_64bits_withSeed(path.p, (size_t)path.len, seed);
    return ino > 1 ? ino : ino + 2;
}

int name_hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
