#include "tests/lib/mem_room.h"

/* False for a call that is to find no room. */
static bool counts(struct mem_room *r) {
    if (r->none == 0)
        return true;
    if (r->before > 0) {
        r->before--;
        return true;
    }
    if (r->none != UINT64_MAX)
        r->none--;
    r->refused = true;
    return false;
}

size_t mem_room_write(struct mem_room *r, uint64_t used, size_t size, size_t n, size_t offset) {
    if (!counts(r))
        return r->half && n > 0 ? (n - 1) / 2 : 0;
    size_t beyond = offset + n > size ? offset + n - size : 0;
    size_t growth = beyond < n ? beyond : n;
    if (r->capacity == 0 || growth == 0 || used + growth <= r->capacity)
        return n;
    r->refused = true;
    uint64_t left = used < r->capacity ? r->capacity - used : 0;
    return r->half ? n - growth + (size_t)left : 0;
}

bool mem_room_name(struct mem_room *r, uint64_t used) {
    bool there = counts(r) && (r->capacity == 0 || used < r->capacity);
    r->refused = r->refused || !there;
    return there;
}
