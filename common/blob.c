#include "common/blob.h"

#include "common/check.h"
#include "common/mem.h"

#include <string.h>

struct blob *blob_new(const void *p, size_t n) {
    /* A slice must be able to say the length. */
    CHECK(n <= INT32_MAX);
    struct blob *b = mem_alloc(sizeof *b + n);
    b->refs = 1;
    b->len = (uint32_t)n;
    if (n > 0)
        memcpy(b->bytes, p, n);
    return b;
}

struct blob *blob_from_slice(struct slice s) {
    return s.len < 0 ? NULL : blob_new(s.p, (size_t)s.len);
}

struct blob *blob_ref(struct blob *b) {
    if (b) {
        CHECK(b->refs > 0);
        CHECK(b->refs < UINT32_MAX);
        b->refs++;
    }
    return b;
}

void blob_unref(struct blob *b) {
    if (!b)
        return;
    CHECK(b->refs > 0);
    b->refs--;
    if (b->refs == 0)
        mem_free(b);
}

struct slice blob_slice(const struct blob *b) {
    return b ? (struct slice){b->bytes, (int32_t)b->len} : SLICE_NULL;
}

bool blob_equal(const struct blob *a, const struct blob *b) {
    if (a == b)
        return true;
    if (!a || !b)
        return false;
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
