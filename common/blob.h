/* Counted immutable bytes: a znode's data, an ACL, an encoded transaction. A NULL blob is null
 * data; a blob of length 0 is empty data. The count is not atomic: blobs stay in their thread. */
#ifndef ZKFS_COMMON_BLOB_H
#define ZKFS_COMMON_BLOB_H

#include "common/types.h"

struct blob {
    uint32_t refs;
    uint32_t len;
    uint8_t bytes[];
};

struct blob *blob_new(const void *p, size_t n);
/* From a slice: NULL where the slice is null. */
struct blob *blob_from_slice(struct slice s);
struct blob *blob_ref(struct blob *b); /* NULL is fine, here and below */
void blob_unref(struct blob *b);
struct slice blob_slice(const struct blob *b);
bool blob_equal(const struct blob *a, const struct blob *b);

#endif
