/* What must hold after every step, whatever came. */
#include "common/check.h"
#include "replica/zab/zab_state.h"

#ifndef NDEBUG
#define CHECK_ALL_EVERY 1024u
#endif

static void check_history(const struct zab *z) {
    const struct history *h = &z->history;
    CHECK(h->base <= h->applied);
    CHECK(h->applied <= h->durable);
    CHECK(h->durable <= h->last);
    CHECK(h->applied <= h->committed);
    CHECK(h->before <= h->applied);
    CHECK(zxid_epoch(h->last) <= z->accepted); /* R7 */
}

static void check_learners(const struct zab *z) {
    for (uint32_t i = 0; i < z->peer_count; i++) {
        const struct learner *l = &z->peers[i];
        if (l->state == LEARNER_NONE)
            continue;
        CHECK(l->up);
        CHECK(z->role == ZAB_LEADING);
        if (l->state != LEARNER_STREAM)
            continue;
        CHECK(l->acked <= l->sent);
        CHECK(l->sent <= z->history.last);
        CHECK(!l->observer || l->sent <= z->history.committed || l->sent == l->common);
    }
}

void zab_check(struct zab *z) {
    if (z->dead)
        return;
    z->checks++;
    check_history(z);
    check_learners(z);
    CHECK(z->role != ZAB_LOOKING || !z->serving);
    CHECK(z->role != ZAB_LEADING || z->leader == z->config.self);
    CHECK(z->role == ZAB_LOOKING || !z->voting);
    CHECK(z->role != ZAB_LEADING || z->epoch_start == 0 || z->epoch_start <= z->history.last);
#ifndef NDEBUG
    /* All of the memory now and then only: it may be long. */
    if (z->checks % CHECK_ALL_EVERY == 0)
        history_check(&z->history);
#endif
}
