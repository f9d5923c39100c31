/* ZooKeeper's rules for paths (PROTOCOL 1.6, Z-path) and taking them apart. Paths are slices. */
#ifndef ZKFS_COMMON_PATH_H
#define ZKFS_COMMON_PATH_H

#include "common/types.h"

/* Longest path accepted, in bytes. ZooKeeper has no limit of its own but the frame's; ours keeps
 * every path far below it. */
#define PATH_MAX_BYTES 65536

/* NULL when the path is valid, else why not (static text). With `sequential` the last component may
 * be empty, for a suffix will follow. Checks UTF-8 and the forbidden code points. */
const char *path_invalid_reason(struct slice path, bool sequential);
/* The parent of a valid path ("/" for "/a"); null for "/". Borrows from path. */
struct slice path_parent(struct slice path);
/* The last component of a valid path; empty for "/". Borrows from path. */
struct slice path_name(struct slice path);
/* Steps through the components: *pos starts at 0; false at the end. */
bool path_next(struct slice path, int32_t *pos, struct slice *ret_component);
struct slice slice_from_str(const char *s);       /* NULL becomes the null slice */
bool slice_equal(struct slice a, struct slice b); /* null equals null only */
bool slice_equal_str(struct slice a, const char *s);
/* True when path is prefix itself or below it. */
bool path_has_prefix(struct slice path, struct slice prefix);

#endif
