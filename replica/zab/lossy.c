/* A server that has lost the end of its log: it may have acknowledged what it does not have. In
 * elections and promises it is as a blank one (Z12), in all else as any other, until it has
 * everything that its leader had when it came (docs/zab.md, "Lossy servers"). */
#include "common/check.h"
#include "common/mutant.h"
#include "replica/zab/zab_state.h"

void zab_recover_lossy(struct zab *z) {
    CHECK(!z->started);
    z->lossy = true;
}

void lossy_forget(struct zab *z) { z->whole_at = 0; }

void lossy_synced(struct zab *z, zxid_t ended) {
    z->whole_at = MUTANT(WHOLE_TOO_EARLY) ? z->history.last : ended;
    lossy_settle(z);
}

/* A leader has nobody to bring it anything: it was elected by everyone, or by a quorum that has
 * lost nothing, so its history is what they had; with (e,0) they all stand behind that. */
static bool is_whole(const struct zab *z) {
    if (z->role == ZAB_LEADING)
        return z->epoch_start != 0 && z->history.committed >= z->epoch_start &&
               z->history.durable >= z->epoch_start;
    return z->whole_at != 0 && z->history.durable >= z->whole_at;
}

/* What a leader sent goes on becoming durable when it is not followed any more. */
void lossy_settle(struct zab *z) {
    if (!z->lossy || z->installing || z->truncating || !is_whole(z))
        return;
    z->lossy = false;
    out_push(z, ZAB_WHOLE);
}
