#include "replica/zab/quorum.h"

#include "common/mutant.h"
const struct quorum_server *quorum_find(const struct quorum_config *q, uint8_t id) {
    for (uint32_t i = 0; i < q->count; i++)
        if (q->servers[i].id == id)
            return &q->servers[i];
    return NULL;
}

bool quorum_may_lead(const struct quorum_config *q, uint8_t id) {
    const struct quorum_server *s = quorum_find(q, id);
    return s && s->voter && s->weight > 0;
}

static bool is_hierarchical(const struct quorum_config *q) {
    for (uint32_t i = 0; i < q->count; i++)
        if (q->servers[i].voter && q->servers[i].group != 0)
            return true;
    return false;
}

/* Whether the set has more than half of the weight of those voters that `group` names; any: -1.
 * A group without weight is no group: *ret_weight tells. */
static bool group_holds(const struct quorum_config *q, const struct quorum_set *set, int group,
                        bool *ret_weight) {
    uint64_t all = 0, held = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_server *s = &q->servers[i];
        if (!s->voter || (group >= 0 && s->group != group))
            continue;
        all += s->weight;
        if (quorum_has(set, s->id))
            held += s->weight;
    }
    *ret_weight = all > 0;
    return held > all / 2;
}

/* Whether servers[i] is the first voter of its group: each group is asked once. */
static bool begins_group(const struct quorum_config *q, uint32_t i) {
    if (!q->servers[i].voter)
        return false;
    for (uint32_t k = 0; k < i; k++)
        if (q->servers[k].voter && q->servers[k].group == q->servers[i].group)
            return false;
    return true;
}

bool quorum_holds(const struct quorum_config *q, const struct quorum_set *set) {
    bool weight;
    if (!is_hierarchical(q))
        return group_holds(q, set, -1, &weight);
    uint32_t groups = 0, held = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        if (!begins_group(q, i))
            continue;
        bool holds = group_holds(q, set, q->servers[i].group, &weight);
        groups += weight;
        held += weight && holds;
    }
    return held > groups / 2;
}

bool quorum_elects(const struct quorum_config *q, const struct quorum_voters *v) {
    struct quorum_set whole = {{0}};
    bool everyone = true, newborn = true;
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_server *s = &q->servers[i];
        if (!s->voter || s->weight == 0)
            continue;
        if (!quorum_has(&v->all, s->id)) {
            everyone = false;
            continue;
        }
        bool blank = quorum_has(&v->blank, s->id);
        bool lossy = quorum_has(&v->lossy, s->id) && !MUTANT(COUNT_LOSSY_VOTERS);
        newborn &= blank && !lossy;
        if (!blank && !lossy)
            quorum_add(&whole, s->id);
    }
    if (MUTANT(COUNT_BLANK_VOTERS))
        newborn = true;
    return quorum_holds(q, everyone || newborn ? &v->all : &whole);
}

zxid_t quorum_acked(const struct quorum_config *q, const zxid_t acked[256]) {
    /* The answer is one of the values given: the greatest that enough voters have reached.
     * Ensembles are small, so asking for each beats sorting a copy. */
    zxid_t best = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_server *s = &q->servers[i];
        if (!s->voter || acked[s->id] <= best)
            continue;
        struct quorum_set set = {{0}};
        for (uint32_t k = 0; k < q->count; k++)
            if (q->servers[k].voter && acked[q->servers[k].id] >= acked[s->id])
                quorum_add(&set, q->servers[k].id);
        if (quorum_holds(q, &set))
            best = acked[s->id];
    }
    return best;
}

const char *quorum_invalid_reason(const struct quorum_config *q) {
    struct quorum_set seen = {{0}};
    uint32_t voters = 0;
    uint64_t weight = 0;
    if (q->count > QUORUM_SERVERS_MAX)
        return "more than 255 servers";
    bool hierarchical = is_hierarchical(q);
    for (uint32_t i = 0; i < q->count; i++) {
        const struct quorum_server *s = &q->servers[i];
        if (quorum_has(&seen, s->id))
            return "two servers have the same id";
        quorum_add(&seen, s->id);
        if (s->id == 0 && q->count > 1)
            return "a server of an ensemble has the id 0";
        if (!s->voter)
            continue;
        voters++;
        weight += s->weight;
        if (hierarchical && s->group == 0)
            return "a voter is in no group although others are";
    }
    if (voters == 0)
        return "no server votes";
    return weight == 0 ? "no voter has a weight" : NULL;
}
