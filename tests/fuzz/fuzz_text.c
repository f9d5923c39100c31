/* The texts that users write: ACLs, paths and zoo.cfg. The first byte chooses. */
#include "common/acl.h"
#include "common/check.h"
#include "common/path.h"
#include "common/zoocfg.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct slice text = {data + 1, (int32_t)(size - 1)};
    switch (data[0] % 3) {
    case 0:
        one_acl(text);
        break;
    case 1:
        one_path(text);
        break;
    default:
        one_zoocfg(text);
    }
    return 0;
}
