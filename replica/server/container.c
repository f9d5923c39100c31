#include "replica/server/container.h"

#include "common/ephemeral_type.h"
#include "common/mutant.h"
#include "replica/server/full.h"
#include "replica/server/limits.h"
#include "replica/server/prep.h"

void container_begin(struct replica *r) {
    r->container_left = 0;
    r->container_round_ms = r->mono_ms + r->config.container_check_ms;
}

/* By the clock that gave it its mtime, more or less: it is another leader's, perhaps. */
static bool is_older(const struct replica *r, const struct zstat *s, int64_t ms) {
    return r->wall_ms - (MUTANT(TTL_FROM_CREATION) ? s->ctime_ms : s->mtime_ms) > ms;
}

static bool is_due(const struct replica *r, const struct znode *n) {
    struct zstat s;
    znode_stat(n, &s);
    if (s.num_children > 0 || MUTANT(CONTAINERS_STAY))
        return false;
    if (ephemeral_type(znode_owner(n)) == EPHEMERAL_TTL) {
        int64_t ttl_ms = ephemeral_ttl_ms(znode_owner(n));
        return ttl_ms > 0 && is_older(r, &s, ttl_ms);
    }
    int64_t most_ms = r->config.container_never_used_ms;
    return znode_creates(n) > 0 || (most_ms > 0 && is_older(r, &s, most_ms));
}

static bool try_delete(struct replica *r, const struct znode *n) {
    if (!is_due(r, n))
        return false;
    struct blob *path = znode_path(n);
    bool proposed = prep_delete_extended(r, blob_slice(path));
    blob_unref(path);
    return proposed;
}

/* At a fixed rate; what a long round has missed is left out. A round takes as many as there are
 * now, so that it ends whatever is made meanwhile. */
static void begin_round(struct replica *r) {
    tree_begin_extended(r->tree);
    r->container_left = tree_extended_count(r->tree);
    if (r->container_next_ms < r->mono_ms) /* else the last deletion's pause still runs */
        r->container_next_ms = r->mono_ms;
    r->container_round_ms += r->config.container_check_ms;
    if (r->container_round_ms <= r->mono_ms)
        r->container_round_ms = r->mono_ms + r->config.container_check_ms;
}

static bool is_active(const struct replica *r) {
    return r->leading && r->config.container_check_ms > 0 && zab_ready(r->zab) && !full_holds(r);
}

/* Rounded up: at most so many a minute. */
static int64_t pause_ms(const struct replica *r) {
    int64_t per_minute = r->config.containers_per_minute;
    return (60000 + per_minute - 1) / per_minute;
}

void container_run(struct replica *r) {
    if (!is_active(r))
        return;
    if (r->container_left == 0 && r->mono_ms >= r->container_round_ms)
        begin_round(r);
    for (uint32_t i = 0; i < CONTAINERS_PER_STEP; i++) {
        if (r->container_left == 0 || r->mono_ms < r->container_next_ms || !zab_ready(r->zab))
            return;
        const struct znode *n = tree_next_extended(r->tree);
        r->container_left = n ? r->container_left - 1 : 0;
        if (n && try_delete(r, n)) {
            r->container_next_ms = r->mono_ms + pause_ms(r);
            return;
        }
    }
    r->container_next_ms = r->mono_ms + 1;
}

int64_t container_deadline(const struct replica *r) {
    if (!is_active(r))
        return INT64_MAX;
    return r->container_left > 0 ? r->container_next_ms : r->container_round_ms;
}
