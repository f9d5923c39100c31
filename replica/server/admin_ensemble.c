#include "replica/server/admin_ensemble.h"

#include "replica/server/read_only.h"

static bool is_standalone(const struct replica *r) { return r->config.ensemble.count == 1; }

bool admin_serves(const struct replica *r) {
    return r->leading || r->serving || read_only_active(r);
}

const char *admin_mode(const struct replica *r) {
    if (is_standalone(r))
        return "standalone";
    if (!r->leading && !r->serving)
        return "read-only";
    switch (r->role) {
    case ZAB_LEADING:
        return "leader";
    case ZAB_OBSERVING:
        return "observer";
    case ZAB_FOLLOWING:
    case ZAB_LOOKING:
        break;
    }
    return "follower";
}

void admin_proposal_sizes(const struct replica *r, struct buf *out) {
    const struct server_stats *s = &r->stats;
    if (!is_standalone(r) && r->leading)
        buf_printf(out, "Proposal sizes last/min/max: %lld/%lld/%lld\n",
                   (long long)s->last_proposal_bytes, (long long)s->min_proposal_bytes,
                   (long long)s->max_proposal_bytes);
}

void admin_conf(const struct replica *r, struct buf *out) {
    const struct replica_config *c = &r->config;
    if (is_standalone(r))
        return;
    const struct quorum_server *self = quorum_find(&c->ensemble, c->server_id);
    buf_printf(out, "initLimit=%d\nsyncLimit=%d\nelectionAlg=3\n", c->init_limit, c->sync_limit);
    buf_printf(out, "electionPort=%d\nquorumPort=%d\npeerType=%d\n", c->election_port,
               c->quorum_port, self && self->voter ? 0 : 1);
    /* The ensemble's configuration never changes, so its version is the first. */
    buf_printf(out, "membership: \n%sversion=0", c->membership ? c->membership : "");
}

static void gauge(struct buf *out, const char *name, int64_t value) {
    buf_printf(out, "zk_%s\t%lld\n", name, (long long)value);
}

static int64_t voters(const struct replica *r) {
    int64_t count = 0;
    for (uint32_t i = 0; i < r->config.ensemble.count; i++)
        count += r->config.ensemble.servers[i].voter;
    return count;
}

static int64_t pending_syncs(const struct replica *r) {
    int64_t count = 0;
    for (const struct request *q = r->markers; q; q = q->list_next)
        count++;
    return count;
}

static void leader_gauges(const struct replica *r, struct buf *out) {
    struct zab_learner_info info;
    int64_t learners = 0, followers = 0, synced = 0, observers = 0;
    for (size_t i = 0; zab_learner_info(r->zab, i, &info); i++) {
        learners += info.connected;
        followers += info.connected && !info.observer;
        synced += info.connected && info.serving && !info.observer;
        observers += info.connected && info.serving && info.observer;
    }
    gauge(out, "learners", learners);
    gauge(out, "followers", followers);
    gauge(out, "synced_followers", synced);
    gauge(out, "synced_non_voting_followers", 0);
    gauge(out, "synced_observers", observers);
    gauge(out, "pending_syncs", pending_syncs(r));
    gauge(out, "leader_uptime", r->mono_ms - r->led_ms);
    gauge(out, "last_proposal_size", r->stats.last_proposal_bytes);
    gauge(out, "min_proposal_size", r->stats.min_proposal_bytes);
    gauge(out, "max_proposal_size", r->stats.max_proposal_bytes);
}

void admin_gauges(const struct replica *r, struct buf *out) {
    if (is_standalone(r))
        return;
    gauge(out, "quorum_size", voters(r));
    if (r->leading)
        leader_gauges(r, out);
}
