#include "replica/server/lookup.h"

#include "common/path.h"

#include <string.h>

bool lookup_has_shape(struct slice path) {
    if (path.len <= 0 || path.len > PATH_MAX_BYTES || path.p[0] != '/')
        return false;
    if (path.len == 1)
        return true;
    if (path.p[path.len - 1] == '/')
        return false;
    return !memmem(path.p, (size_t)path.len, "//", 2);
}

const struct znode *lookup_znode(const struct tree *t, struct slice path) {
    if (path.len == 0)
        return tree_find(t, slice_from_str("/"));
    return lookup_has_shape(path) ? tree_find(t, path) : NULL;
}
