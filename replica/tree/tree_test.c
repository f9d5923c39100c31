#include "replica/tree/tree_test.h"

#include "common/check.h"
#include "replica/tree/znode.h"

void tree_test_alter(struct tree *t, struct slice path) {
    struct znode *n = tree_find_mutable(t, path);
    CHECK(n);
    if (!n->data || n->data->len == 0) {
        n->mtime_ms ^= 0xff;
        return;
    }
    /* In a copy, for the blob may be somebody else's as well. */
    struct blob *data = blob_new(n->data->bytes, n->data->len);
    data->bytes[data->len - 1] ^= 0xff;
    tree_set_data(t, n, data);
    blob_unref(data);
}
