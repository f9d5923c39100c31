/* What the oracles know together. */
#ifndef ZKFS_TESTS_SIM_CHECK_STATE_H
#define ZKFS_TESTS_SIM_CHECK_STATE_H

#include "tests/sim/check_model.h"
#include "tests/sim/sim.h"

struct check_entry {
    struct check_record record;
    uint64_t digest;
    bool has_digest;
    struct sim_op *op; /* whose write it is; NULL: of no client */
    int32_t err;       /* how that was refused */
};

#define CONTACTS 8u

struct check_session {
    session_id_t id;
    int32_t timeout_ms;
    uint32_t client, life; /* SIM_CLIENTS_MAX: not known yet */
    bool closed, close_proposed, client_closes;
    int32_t last_cxid; /* of what is committed */
    struct {
        int64_t at_us;
        uint32_t host;
        int64_t serving_us; /* since when that host served without a break */
    } contacts[CONTACTS];   /* a ring */
    uint32_t contact_count;
};

struct check {
    struct world *w;
    struct model *model;
    struct check_entry *history;
    size_t count, cap;
    uint8_t *leaders; /* by epoch */
    uint32_t leader_cap;
    struct check_session *sessions;
    size_t session_count, session_cap;
    zxid_t acknowledged;
};

struct check_session *check_session_find(const struct check *k, session_id_t id);
/* Within a session the writes stand in the order in which they were sent. */
void check_session_order(struct world *w, const struct txn *t);

#endif
