/* The second phase: what a healed ensemble owes. */
#include "tests/sim/check_state.h"
#include "tests/sim/sim_client.h"

#include "common/path.h"
#include "replica/server/core.h"
#include "replica/tree/tree_digest.h"

#include <stdio.h>

static bool expected_up(const struct sim_host *m) { return !m->held_down && !m->refused; }

/* One leader, everybody serves, and has the same. */
static bool servers_agree(struct world *w, const char **ret_why) {
    uint32_t leaders = 0;
    const struct sim_host *first = NULL;
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct sim_host *m = &w->hosts[i];
        if (!expected_up(m))
            continue;
        *ret_why = "a server is down";
        if (!m->member)
            return false;
        *ret_why = "a server does not serve";
        if (!m->serving)
            return false;
        leaders += m->role == ZAB_LEADING;
        if (!first)
            first = m;
        *ret_why = "the servers are at different zxids";
        if (m->check.applied != first->check.applied ||
            m->check.applied != check_committed(w->check))
            return false;
    }
    *ret_why = "there is not one leader";
    return leaders == 1;
}

/* By the clock of who leads; when that was set back, what it keeps is not due. */
static bool nothing_due(struct world *w, const char **ret_why) {
    const struct model *model = w->check->model;
    *ret_why = "a container or TTL znode stays that is due";
    for (uint32_t i = 0; i < w->host_count && w->plan.extended; i++) {
        const struct sim_host *m = &w->hosts[i];
        if (m->member && m->serving && m->role == ZAB_LEADING &&
            model_first_due(model, host_wall_ms(m), w->plan.container_never_used_ms) !=
                MODEL_NO_PATH)
            return false;
    }
    return true;
}

static bool all_done(struct world *w, const char **ret_why) {
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        *ret_why = "a client waits";
        if (!client_is_content(w->clients[i]))
            return false;
    }
    return servers_agree(w, ret_why) && nothing_due(w, ret_why);
}

bool end_reached(struct world *w) {
    const char *why;
    return all_done(w, &why);
}

void end_describe(struct world *w, char *text, size_t n) {
    const char *why = "";
    if (all_done(w, &why))
        why = "nothing";
    int at = snprintf(text, n, "%s;", why);
    for (uint32_t i = 0; i < w->host_count && at > 0 && (size_t)at < n; i++) {
        const struct sim_host *m = &w->hosts[i];
        at += snprintf(text + at, n - (size_t)at, " %u:%s%s%u.%u", m->id,
                       m->held_down ? "held down "
                       : m->refused ? "refused "
                                    : "",
                       !m->member               ? "down "
                       : m->role == ZAB_LOOKING ? "looking "
                       : m->serving             ? "serving "
                       : m->role == ZAB_LEADING ? "leading "
                                                : "following ",
                       zxid_epoch(m->check.applied), zxid_counter(m->check.applied));
    }
    for (uint32_t i = 0; i < w->plan.clients && at > 0 && (size_t)at < n; i++) {
        const struct sim_client *c = w->clients[i];
        if (!client_is_content(c))
            at += snprintf(text + at, n - (size_t)at, " client %u: %u open, %u to do", i,
                           c->open_count, c->demands_left);
    }
}

/* ---- the tree and the model ---- */

static bool same_znode(const struct znode *n, const struct model_version *v) {
    struct zstat have, want;
    znode_stat(n, &have);
    model_stat(v, &want);
    return slice_equal(blob_slice(znode_data(n)), v->data) && have.version == want.version &&
           have.czxid == want.czxid && have.mzxid == want.mzxid && have.pzxid == want.pzxid &&
           have.cversion == want.cversion && have.aversion == want.aversion &&
           have.ephemeral_owner == want.ephemeral_owner && znode_owner(n) == v->owner &&
           have.num_children == want.num_children && have.ctime_ms == want.ctime_ms &&
           have.mtime_ms == want.mtime_ms;
}

void check_whole_tree(struct sim_host *m) {
    struct world *w = m->w;
    const struct model *model = w->check->model;
    if (!m->core || m->check.applied < m->check.exact_from)
        return;
    uint64_t count = 4; /* the root, /zookeeper, its quota and config */
    for (uint32_t i = 1; i < model_path_count(model) && !w->failed; i++) {
        const struct model_path *p = model_path(model, i);
        const struct model_version *v = model_at(model, i, m->check.applied);
        const struct znode *n = tree_find(m->core->tree, slice_from_str(p->name));
        count += v->exists;
        if (v->exists ? !n || !same_znode(n, v) : n != NULL)
            world_fail(w, "server %u has another %s than the model at %u.%u", m->id, p->name,
                       zxid_epoch(m->check.applied), zxid_counter(m->check.applied));
    }
    if (!w->failed && tree_znode_count(m->core->tree) != count)
        world_fail(w, "server %u has %llu znodes, the model %llu", m->id,
                   (unsigned long long)tree_znode_count(m->core->tree), (unsigned long long)count);
    if (m->check.applied < check_committed(w->check))
        return; /* it need not know yet who has ended */
    for (const struct session *s = m->core->sessions.all; s && !w->failed; s = s->next)
        if (s->committed && !check_session_alive(w->check, s->id))
            world_fail(w, "server %u has session %llx, which is closed", m->id,
                       (unsigned long long)s->id);
}
