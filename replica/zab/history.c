#include "replica/zab/history.h"

#include "common/check.h"
#include "common/mem.h"
#include "common/mutant.h"

#include <string.h>

#define RING_CAP_MIN 64u

void history_init(struct history *h, uint32_t recent_bytes_max) {
    *h = (struct history){.cap = RING_CAP_MIN, .recent_bytes_max = recent_bytes_max};
    h->ring = mem_alloc(h->cap * sizeof *h->ring);
}

static struct history_record *at(const struct history *h, uint32_t index) {
    return &h->ring[(h->first + index) & (h->cap - 1)];
}

static void ring_clear(struct history *h) {
    for (uint32_t i = 0; i < h->count; i++)
        blob_unref(at(h, i)->payload);
    h->first = h->count = h->applied_count = 0;
    h->applied_bytes = h->held_bytes = 0;
}

void history_close(struct history *h) {
    ring_clear(h);
    mem_free(h->ring);
    mem_free(h->epochs);
}

bool history_follows(const struct history *h, enum zab_record_kind kind, zxid_t zxid) {
    if (MUTANT(SKIP_BEHIND_DISK) && h->last != 0 && zxid > h->last)
        return true;
    if (kind == ZAB_EPOCH)
        return zxid_counter(zxid) == 0 && zxid > 0 && zxid_epoch(zxid) > zxid_epoch(h->last);
    return kind == ZAB_TXN && h->last != 0 && zxid_counter(zxid) != 0 && zxid == h->last + 1;
}

static void ring_grow(struct history *h) {
    struct history_record *ring = mem_alloc((size_t)h->cap * 2 * sizeof *ring);
    for (uint32_t i = 0; i < h->count; i++)
        ring[i] = *at(h, i);
    mem_free(h->ring);
    h->ring = ring;
    h->first = 0;
    h->cap *= 2;
}

static void epochs_push(struct history *h, zxid_t zxid) {
    if (h->epoch_count == h->epoch_cap) {
        h->epoch_cap = h->epoch_cap ? h->epoch_cap * 2 : 16;
        h->epochs = mem_realloc(h->epochs, h->epoch_cap * sizeof *h->epochs);
    }
    h->epochs[h->epoch_count++] = zxid;
}

void history_append(struct history *h, zxid_t zxid, struct blob *take_payload) {
    CHECK(history_follows(h, history_kind(zxid), zxid));
    if (h->count == h->cap)
        ring_grow(h);
    *at(h, h->count++) = (struct history_record){zxid, take_payload};
    h->held_bytes += history_cost(take_payload);
    h->last = zxid;
    if (zxid_counter(zxid) == 0)
        epochs_push(h, zxid);
    else
        h->epochs[h->epoch_count - 1] = zxid;
}

void history_truncate(struct history *h, zxid_t zxid) {
    CHECK(zxid >= h->applied);
    CHECK(zxid <= h->last);
    while (h->count > 0 && at(h, h->count - 1)->zxid > zxid) {
        struct history_record *r = at(h, --h->count);
        h->held_bytes -= history_cost(r->payload);
        blob_unref(r->payload);
    }
    while (h->epoch_count > 0 && zxid_epoch(h->epochs[h->epoch_count - 1]) > zxid_epoch(zxid))
        h->epoch_count--;
    if (h->epoch_count > 0)
        h->epochs[h->epoch_count - 1] = zxid;
    h->last = zxid;
    if (h->durable > zxid)
        h->durable = zxid;
}

void history_reset(struct history *h, zxid_t base) {
    ring_clear(h);
    h->epoch_count = 0;
    if (base > 0)
        epochs_push(h, base);
    h->before = h->base = h->last = h->durable = h->applied = base;
    if (h->committed < base)
        h->committed = base;
}

static bool ends_make_sense(const struct history *h, zxid_t base, const zxid_t *ends,
                            size_t count) {
    if (base < 0 || base > h->base || h->last != h->base)
        return false;
    for (size_t i = 0; i < count; i++) {
        bool follows = i == 0 ? ends[0] >= base : zxid_epoch(ends[i]) > zxid_epoch(ends[i - 1]);
        if (ends[i] <= 0 || !follows || zxid_epoch(ends[i]) >= zxid_epoch(h->base))
            return false;
    }
    return true;
}

bool history_reach_back(struct history *h, zxid_t base, const zxid_t *ends, size_t count) {
    if (!ends_make_sense(h, base, ends, count))
        return false;
    zxid_t snapshot = h->base;
    uint32_t next = count > 0 ? zxid_epoch(ends[0]) : zxid_epoch(snapshot);
    h->epoch_count = 0;
    if (base > 0 && zxid_epoch(base) < next)
        epochs_push(h, base); /* the last record of its epoch */
    for (size_t i = 0; i < count; i++)
        epochs_push(h, ends[i]);
    if (snapshot > 0)
        epochs_push(h, snapshot);
    h->base = base;
    return true;
}

void history_purge(struct history *h, zxid_t base) {
    uint32_t gone = 0;
    if (base > h->applied)
        base = h->applied;
    if (base <= h->base)
        return;
    h->base = base;
    while (h->epochs[gone] < base)
        gone++;
    h->epoch_count -= gone;
    memmove(h->epochs, h->epochs + gone, h->epoch_count * sizeof *h->epochs);
}

/* What was applied is kept only as far as the limits allow: it is in the log. */
static void ring_evict(struct history *h) {
    while (h->applied_count > 0 &&
           (h->applied_count > HISTORY_RECENT_MAX || h->applied_bytes > h->recent_bytes_max)) {
        struct history_record *r = at(h, 0);
        h->applied_bytes -= history_cost(r->payload);
        h->before = r->zxid;
        blob_unref(r->payload);
        h->first = (h->first + 1) & (h->cap - 1);
        h->count--;
        h->applied_count--;
    }
}

bool history_apply(struct history *h, struct history_record *ret_record) {
    if (h->applied_count == h->count)
        return false;
    struct history_record r = *at(h, h->applied_count);
    if (r.zxid > h->committed || (r.zxid > h->durable && !MUTANT(APPLY_BEFORE_DURABLE)))
        return false;
    blob_ref(r.payload);
    uint64_t cost = history_cost(r.payload);
    h->held_bytes -= cost;
    h->applied_bytes += cost;
    h->applied_count++;
    h->applied = r.zxid;
    ring_evict(h);
    *ret_record = r;
    return true;
}

bool history_after(const struct history *h, zxid_t zxid, uint32_t *ret_index) {
    if (zxid < h->before)
        return false;
    if (zxid >= h->last) { /* the usual case: this learner has everything */
        *ret_index = h->count;
        return true;
    }
    uint32_t low = 0, high = h->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (history_at(h, mid)->zxid > zxid)
            high = mid;
        else
            low = mid + 1;
    }
    *ret_index = low;
    return true;
}

bool history_has(const struct history *h, zxid_t zxid) {
    if (zxid == 0)
        return h->base == 0;
    for (uint32_t i = h->epoch_count; i > 0; i--)
        if (zxid_epoch(h->epochs[i - 1]) == zxid_epoch(zxid))
            return zxid <= h->epochs[i - 1] && zxid >= h->base;
    return false;
}

uint32_t history_epochs(const struct history *h, zxid_t ret_epochs[ZAB_EPOCHS_MAX]) {
    uint32_t n = h->epoch_count < ZAB_EPOCHS_MAX ? h->epoch_count : ZAB_EPOCHS_MAX;
    for (uint32_t i = 0; i < n; i++)
        ret_epochs[i] = h->epochs[h->epoch_count - 1 - i];
    return n;
}

zxid_t history_common(const struct history *h, const zxid_t *epochs, uint32_t count) {
    uint32_t mine = h->epoch_count, theirs = 0;
    while (mine > 0 && theirs < count) {
        zxid_t a = h->epochs[mine - 1], b = epochs[theirs];
        if (zxid_epoch(a) == zxid_epoch(b))
            return a < b ? a : b;
        if (a > b)
            mine--;
        else
            theirs++;
    }
    return 0;
}

zxid_t history_before_epoch(const struct history *h, uint32_t epoch) {
    for (uint32_t i = h->epoch_count; i > 0; i--)
        if (zxid_epoch(h->epochs[i - 1]) < epoch)
            return h->epochs[i - 1];
    return 0;
}

static bool is_next(zxid_t a, zxid_t b) {
    return zxid_counter(b) == 0 ? zxid_epoch(b) > zxid_epoch(a) : b == a + 1;
}

void history_check(const struct history *h) {
    uint64_t bytes = 0;
    zxid_t before = h->before;
    for (uint32_t i = 0; i < h->count; i++) {
        const struct history_record *r = history_at(h, i);
        CHECK(is_next(before, r->zxid));
        CHECK((r->zxid <= h->applied) == (i < h->applied_count));
        bytes += history_cost(r->payload);
        before = r->zxid;
    }
    CHECK(before == h->last);
    CHECK(bytes == h->applied_bytes + h->held_bytes);
    CHECK(h->epoch_count == 0 || h->epochs[0] >= h->base);
    for (uint32_t i = 1; i < h->epoch_count; i++)
        CHECK(zxid_epoch(h->epochs[i]) > zxid_epoch(h->epochs[i - 1]));
    CHECK(h->epoch_count == 0 ? h->last == 0 : h->epochs[h->epoch_count - 1] == h->last);
}
