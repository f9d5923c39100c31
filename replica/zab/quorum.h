/* Quorums as pure functions: majorities, weights, groups (ZooKeeper's QuorumMaj,
 * QuorumHierarchical). Any two quorums share a voter. */
#ifndef ZKFS_REPLICA_ZAB_QUORUM_H
#define ZKFS_REPLICA_ZAB_QUORUM_H

#include "common/types.h"

/* One server of the ensemble. */
struct quorum_server {
    uint8_t id;
    bool voter;      /* else an observer */
    uint8_t group;   /* 0: none; hierarchical when any voter has one */
    uint32_t weight; /* 1 by default; 0 never leads and never counts */
};

#define QUORUM_SERVERS_MAX 255u

struct quorum_config {
    const struct quorum_server *servers;
    uint32_t count;
};

/* A set of servers by id. */
struct quorum_set {
    uint64_t bits[4];
};

static inline void quorum_add(struct quorum_set *s, uint8_t id) {
    s->bits[id >> 6] |= 1ULL << (id & 63);
}
static inline void quorum_remove(struct quorum_set *s, uint8_t id) {
    s->bits[id >> 6] &= ~(1ULL << (id & 63));
}
static inline bool quorum_has(const struct quorum_set *s, uint8_t id) {
    return (s->bits[id >> 6] >> (id & 63)) & 1;
}

/* NULL when the id is none of the ensemble's. */
const struct quorum_server *quorum_find(const struct quorum_config *q, uint8_t id);
bool quorum_may_lead(const struct quorum_config *q, uint8_t id); /* a voter with a weight */
/* Whether the set holds a quorum. Without groups: more than half of the voters' weight. With
 * groups: more than half of the weight in more than half of the groups that have any weight. */
bool quorum_holds(const struct quorum_config *q, const struct quorum_set *set);
/* Who votes for one, or promises it something, and what may be missing there. */
struct quorum_voters {
    struct quorum_set all;
    struct quorum_set blank; /* of them, those without any history: new, or all is lost (Z12) */
    struct quorum_set lossy; /* those that have lost an end of their history, or all of it */
};

static inline void quorum_voters_add(struct quorum_voters *v, uint8_t id, bool blank, bool lossy) {
    quorum_add(&v->all, id);
    if (blank)
        quorum_add(&v->blank, id);
    if (lossy)
        quorum_add(&v->lossy, id);
}

/* For elections and promises: whether they hold a quorum that overlooks nothing that was committed.
 * Those that may have lost something count when every voter is there (then nothing that exists
 * anywhere is overlooked); and the blank ones when all are blank, and none is known to have lost
 * anything (a new ensemble). */
bool quorum_elects(const struct quorum_config *q, const struct quorum_voters *v);
/* The greatest zxid that a quorum has acknowledged; acked[id] is a server's last, 0 for none.
 * Acknowledgements are given in order, so each covers all before it. */
zxid_t quorum_acked(const struct quorum_config *q, const zxid_t acked[256]);
/* NULL, or why this is no ensemble: no voter, an id twice, id 0 in an ensemble of more than one,
 * groups that leave a voter out, no weight at all (static text). */
const char *quorum_invalid_reason(const struct quorum_config *q);

#endif
