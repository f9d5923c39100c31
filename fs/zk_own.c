/* The zxids of this mount's own writes, so that no lost write takes another one's work for its own:
 * as long as a write is open that could; in the journal too, for those that the next worker looks
 * into. */
#include "fs/zk_impl.h"

#include <utlist.h>

struct zk_own {
    zxid_t zxid;
    uint64_t unique; /* of the FUSE request that it was for; 0: of none */
    uint32_t kept;   /* the journal's record; 0 none */
};

static void note_oldest(zxid_t *oldest, zxid_t before) {
    if (before < *oldest)
        *oldest = before;
}

/* Those that no write still open can be mistaken for are forgotten, when there are many. */
static void own_purge(struct zk *zk) {
    zxid_t oldest = INT64_MAX;
    struct zk_resent *r;
    for (struct zk_call *call = zk->calls; call; call = call->hh.next) {
        if (call->sends > 0 && zk_call_is_write(call))
            note_oldest(&oldest, call->kept != 0 ? call->kept_before : call->before);
    }
    DL_FOREACH(zk->resent, r) note_oldest(&oldest, r->sent.before);
    size_t left = 0;
    for (size_t i = 0; i < zk->own_count; i++) {
        if (zk->own[i].zxid > oldest)
            zk->own[left++] = zk->own[i];
        else
            journal_drop(zk->journal, &zk->own[i].kept);
    }
    zk->own_count = left;
}

bool zk_own_has(const struct zk *zk, const struct zk_call *call, zxid_t zxid) {
    for (size_t i = zk->own_count; i > 0; i--) {
        const struct zk_own *own = &zk->own[i - 1];
        if (own->zxid == zxid && (own->unique == 0 || own->unique != call->unique))
            return true;
    }
    return false;
}

static void push(struct zk *zk, struct zk_own own) {
    if (zk->own_count == zk->own_cap) {
        zk->own_cap = zk->own_cap ? zk->own_cap * 2 : 64;
        zk->own = mem_realloc(zk->own, zk->own_cap * sizeof(*zk->own));
    }
    zk->own[zk->own_count++] = own;
}

void zk_own_add(struct zk *zk, const struct zk_call *call, zxid_t zxid) {
    struct zk_own own = {.zxid = zxid, .unique = call->unique};
    if (zk->own_count >= zk->own_purge_at) {
        own_purge(zk);
        zk->own_purge_at = zk->own_count * 2 > 64 ? zk->own_count * 2 : 64;
    }
    journal_put(zk->journal, &own.kept, JOURNAL_OWN, (uint64_t)zxid, own.unique, NULL, 0);
    push(zk, own);
}

static void on_record(void *ctx, const struct journal_record *r) {
    push(ctx, (struct zk_own){.zxid = (zxid_t)r->key, .unique = r->word, .kept = r->ref});
}

void zk_own_load(struct zk *zk) { journal_each(zk->journal, JOURNAL_OWN, on_record, zk); }
