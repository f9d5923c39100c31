#include "replica/store/wal_index.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/store/wal_format.h"

void wal_index_close(struct wal_index *x) {
    mem_free(x->points);
    *x = (struct wal_index){0};
}

void wal_index_offer(struct wal_index *x, const struct wal_point *p) {
    const struct wal_point *last = x->count > 0 ? &x->points[x->count - 1] : NULL;
    if (last != NULL && last->segment == p->segment &&
        p->offset < last->offset + WAL_INDEX_STEP_BYTES)
        return;
    if (x->count == x->cap) {
        x->cap = x->cap == 0 ? 16 : x->cap * 2;
        x->points = mem_realloc(x->points, x->cap * sizeof *x->points);
    }
    CHECK(x->points);
    x->points[x->count++] = *p;
}

/* Whether what lies behind the point may go when everything behind zxid does. */
static bool is_cut(const struct wal_point *p, zxid_t zxid) {
    return p->after >= zxid || p->segment > zxid;
}

void wal_index_cut(struct wal_index *x, zxid_t zxid) {
    while (x->count > 0 && is_cut(&x->points[x->count - 1], zxid))
        x->count--;
    for (size_t i = 0; i < WAL_INDEX_RECENT; i++)
        if (is_cut(&x->recent[i], zxid))
            x->recent[i] = (struct wal_point){0};
}

void wal_index_forget(struct wal_index *x, zxid_t first_segment) {
    size_t gone = 0;
    while (gone < x->count && x->points[gone].segment < first_segment)
        gone++;
    x->count -= gone;
    if (gone > 0)
        memmove(x->points, x->points + gone, x->count * sizeof *x->points);
    for (size_t i = 0; i < WAL_INDEX_RECENT; i++)
        if (x->recent[i].segment < first_segment)
            x->recent[i] = (struct wal_point){0};
}

void wal_index_remember(struct wal_index *x, const struct wal_point *p) {
    x->recent[x->recent_next] = *p;
    x->recent_next = (x->recent_next + 1) % WAL_INDEX_RECENT;
}

/* The number of points that are not behind `after`. */
static size_t count_up_to(const struct wal_index *x, zxid_t after) {
    size_t low = 0;
    for (size_t high = x->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (x->points[middle].after <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool wal_index_find(const struct wal_index *x, zxid_t after, struct wal_point *ret_point) {
    for (size_t i = 0; i < WAL_INDEX_RECENT; i++) {
        if (x->recent[i].segment != 0 && x->recent[i].after == after) {
            *ret_point = x->recent[i];
            return true;
        }
    }
    size_t n = count_up_to(x, after);
    if (n == 0)
        return false;
    *ret_point = x->points[n - 1];
    return true;
}

bool wal_index_find_segment(const struct wal_index *x, zxid_t after, struct wal_point *ret_point) {
    size_t n = count_up_to(x, after);
    if (n == 0 || x->points[n - 1].after != after || x->points[n - 1].offset != WAL_HEADER_BYTES)
        return false;
    *ret_point = x->points[n - 1];
    return true;
}
