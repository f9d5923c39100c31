#include "replica/server/recent.h"

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/limits.h"

#define CAP_MIN 64u

const struct recent_change *recent_at(const struct recent *r, uint32_t i) {
    CHECK(i < r->count);
    return &r->changes[(r->first + i) & (r->cap - 1)];
}

static uint64_t bytes_of(const struct blob *path) { return sizeof *path + path->len; }

/* The rest of its transaction does not count as whole either. */
static void drop_oldest(struct recent *r) {
    struct recent_change *c = &r->changes[r->first];
    r->floor = c->zxid;
    r->bytes -= bytes_of(c->path);
    blob_unref(c->path);
    r->first = (r->first + 1) & (r->cap - 1);
    r->count--;
}

void recent_close(struct recent *r) {
    while (r->count > 0)
        drop_oldest(r);
    mem_free(r->changes);
    *r = (struct recent){0};
}

void recent_reset(struct recent *r, zxid_t zxid) {
    recent_close(r);
    r->floor = zxid;
}

static void grow(struct recent *r) {
    uint32_t cap = r->cap ? r->cap * 2 : CAP_MIN;
    struct recent_change *changes = mem_alloc(cap * sizeof *changes);
    for (uint32_t i = 0; i < r->count; i++)
        changes[i] = *recent_at(r, i);
    mem_free(r->changes);
    r->changes = changes;
    r->cap = cap;
    r->first = 0;
}

static void push(struct recent *r, zxid_t zxid, enum zk_event event, struct blob *path) {
    while (r->count > 0 &&
           (r->count >= RECENT_CHANGES_MAX || r->bytes + bytes_of(path) > RECENT_BYTES_MAX))
        drop_oldest(r);
    if (r->count == r->cap)
        grow(r);
    r->changes[(r->first + r->count) & (r->cap - 1)] =
        (struct recent_change){zxid, event, blob_ref(path)};
    r->count++;
    r->bytes += bytes_of(path);
}

static enum zk_event event_of(enum txn_op_type type) {
    switch (type) {
    case TXN_OP_CREATE:
        return EVENT_NODE_CREATED;
    case TXN_OP_DELETE:
        return EVENT_NODE_DELETED;
    case TXN_OP_SET_DATA:
        return EVENT_NODE_DATA_CHANGED;
    case TXN_OP_SET_ACL:
    case TXN_OP_CHECK:
        break;
    }
    return EVENT_NONE;
}

void recent_note(struct recent *r, const struct txn *txn) {
    if (txn->type != TXN_OPS && txn->type != TXN_CLOSE_SESSION)
        return;
    for (uint32_t i = 0; i < txn->op_count; i++) {
        enum zk_event event = event_of(txn->ops[i].type);
        if (event != EVENT_NONE)
            push(r, txn->zxid, event, txn->ops[i].path);
    }
}

bool recent_reaches(const struct recent *r, zxid_t since) { return since >= r->floor; }

uint32_t recent_behind(const struct recent *r, zxid_t since) {
    uint32_t low = 0, high = r->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (recent_at(r, mid)->zxid > since)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}
