/* The texts that users write: ACLs, paths, zoo.cfg and its meaning, names in the mount. The first
 * byte chooses. */
#include "common/acl.h"
#include "common/check.h"
#include "common/path.h"
#include "common/zoocfg.h"
#include "fs/name.h"
#include "replica/config.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* What parses prints, and what is printed parses to the same bytes. */
static void one_acl(struct slice text) {
    const char *why = NULL;
    struct blob *acl = acl_parse(text, &why);
    if (!acl) {
        CHECK(why);
        return;
    }
    struct jvec v = acl_view(acl);
    struct buf printed = BUF_INIT;
    acl_print(&printed, &v);
    struct blob *again = acl_parse((struct slice){printed.data, (int32_t)printed.len}, &why);
    CHECK(blob_equal(acl, again));
    blob_unref(again);
    buf_close(&printed);
    blob_unref(acl);
}

/* A valid path is the sum of its components, its parent is valid, and a valid path is valid for a
 * sequential create too. */
static void one_path(struct slice path) {
    const char *why = path_invalid_reason(path, false);
    const char *sequential = path_invalid_reason(path, true);
    if (why)
        return;
    CHECK(!sequential);
    struct buf joined = BUF_INIT;
    struct slice part = SLICE_NULL;
    for (int32_t pos = 0; path_next(path, &pos, &part);) {
        CHECK(part.len > 0);
        buf_put_u8(&joined, '/');
        buf_put(&joined, part.p, (size_t)part.len);
    }
    if (path.len == 1) {
        CHECK(joined.len == 0);
        CHECK(path_parent(path).len < 0);
    } else {
        CHECK(slice_equal(path, (struct slice){joined.data, (int32_t)joined.len}));
        CHECK(slice_equal(part, path_name(path)));
        CHECK(!path_invalid_reason(path_parent(path), false));
        CHECK(path_has_prefix(path, path_parent(path)));
        CHECK(!path_has_prefix(path_parent(path), path));
    }
    buf_close(&joined);
}

struct seen {
    int last_line;
    int keys;
};

static int see_key(void *ctx, int line, const char *key, const char *value) {
    struct seen *seen = ctx;
    CHECK(line > seen->last_line);
    CHECK(strlen(key) > 0);
    CHECK(strlen(value) + 1 > 0);
    seen->last_line = line;
    return ++seen->keys == 1000 ? -E2BIG : 0;
}

static void one_zoocfg(struct slice text) {
    struct seen seen = {0};
    int line = 0;
    int result = zoocfg_parse(text, see_key, &seen, &line);
    CHECK(result == 0 || result == -EINVAL || result == -E2BIG);
    CHECK((result == 0) == (line == 0));
    CHECK(result != -EINVAL || line > seen.last_line);
}

static int names_a_file(void *ctx, int line, const char *key, const char *value) {
    return strcasestr(key, "dynamic") ? -EPERM : 0;
}

static void hear(void *ctx, enum log_level level, const char *text) {
    CHECK(level == LOG_WARN || level == LOG_INFO);
    CHECK(strlen(text) > 0);
}

static void one_config(struct slice text) {
    struct config config;
    struct buf why = BUF_INIT;
    int line;
    /* The one key that would have a file read. */
    if (zoocfg_parse(text, names_a_file, NULL, &line) == -EPERM)
        return;
    int result = config_parse(text, "zoo.cfg", hear, NULL, &config, &why);
    CHECK(result <= 0);
    CHECK((result == 0) == (why.len == 0));
    if (result == 0) {
        CHECK(config.data_dir);
        CHECK(config.tick_ms > 0);
        CHECK(config.min_session_timeout_ms > 0);
        CHECK(config.min_session_timeout_ms <= config.max_session_timeout_ms);
        CHECK(config.segment_bytes > 0);
        config_close(&config);
    }
    buf_close(&why);
}

/* Every znode that is shown is found again by what is shown. */
static void one_name(struct slice name, bool at_root) {
    char shown[NAME_SHOWN_MAX + 1];
    struct slice read;
    if (!name_show(name, at_root, shown))
        return;
    CHECK(strlen(shown) > 0);
    enum name_kind kind = name_read(shown, at_root, &read);
    CHECK(kind == NAME_IS_ZNODE || kind == NAME_IS_WRONG);
    if (kind == NAME_IS_ZNODE)
        CHECK(slice_equal(read, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct slice text = {data + 1, (int32_t)(size - 1)};
    switch (data[0] % 6) {
    case 0:
        one_acl(text);
        break;
    case 1:
        one_path(text);
        break;
    case 2:
        one_zoocfg(text);
        break;
    case 3:
        one_config(text);
        break;
    default:
        one_name(text, data[0] & 1);
    }
    return 0;
}
