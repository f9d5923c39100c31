/* Atomic broadcast: gives each proposal its zxid, keeps the proposals in flight, and commits them
 * in order once a quorum has them on disk (Zab, DSN'11). It knows payloads as bytes only.
 *
 * Inputs are calls, outputs are pulled with zab_next after each: what has to be logged, what is
 * committed, since when this server leads. The quorum is one server now, whose acknowledgements
 * come from its own disk; peers add their acknowledgements and messages to the same inputs and
 * outputs.
 *
 *              zab_lead                  epoch record acknowledged by a quorum
 *   RECOVERING ---------> ESTABLISHING ---------------------------------------> LEADING
 *                              ^                                                   |
 *                              +---- counter used up and nothing in flight --------+
 */
#ifndef ZKFS_REPLICA_ZAB_ZAB_H
#define ZKFS_REPLICA_ZAB_ZAB_H

#include "common/blob.h"
#include "common/types.h"

/* Where an epoch ends although nothing failed: the counter must never carry into the epoch
 * (ZAB-BUGS S27). The margin is for records that a later version may have to add at an epoch's end.
 */
#define ZAB_COUNTER_LIMIT 0xfffffff0u

struct zab_config {
    uint8_t self;          /* this server's id, one of the voters */
    const uint8_t *voters; /* copied */
    uint32_t voter_count;
    uint32_t counter_limit; /* ZAB_COUNTER_LIMIT; tests take a small one */
};

enum zab_state { ZAB_RECOVERING, ZAB_ESTABLISHING, ZAB_LEADING };

enum zab_output_type {
    ZAB_LOG_EPOCH,    /* append the start of an epoch: zxid, its counter is 0 */
    ZAB_LOG_PROPOSAL, /* append this proposal: zxid, payload */
    ZAB_ESTABLISHED,  /* a quorum has the epoch's start on disk: propose, serve (DESIGN Z4) */
    ZAB_COMMIT,       /* zxid is committed; commits come in order, none is left out */
};

struct zab_output {
    enum zab_output_type type;
    zxid_t zxid;
    struct blob *payload; /* ZAB_LOG_PROPOSAL: borrowed, good until its commit was pulled */
};

struct zab;

struct zab *zab_new(const struct zab_config *config);
void zab_free(struct zab *z); /* NULL is fine */

/* A record of this server's own log, in order, before zab_lead. False when it does not follow the
 * one before: the counter goes up by one, and a new epoch begins with counter 0 (ZAB-BUGS R5). */
bool zab_recover(struct zab *z, zxid_t zxid);
/* Begins the epoch after every epoch of the log. */
void zab_lead(struct zab *z);
enum zab_state zab_state(const struct zab *z);
/* Whether zab_propose may be called: this server leads and the epoch has zxids left. When it turns
 * false while leading, an ZAB_ESTABLISHED follows once what is in flight is committed. */
bool zab_ready(const struct zab *z);
/* The zxid that the next zab_propose gives. */
zxid_t zab_next_zxid(const struct zab *z);
/* Proposes take_payload (its reference passes to z). zab_ready must hold (CHECK). */
zxid_t zab_propose(struct zab *z, struct blob *take_payload);
/* Voter `server` has everything up to zxid on disk. An unknown server is ignored, an older zxid
 * than before as well; beyond the last that was proposed is a broken invariant (CHECK). */
void zab_acked(struct zab *z, uint8_t server, zxid_t zxid);
/* The next thing to do; false when there is none. */
bool zab_next(struct zab *z, struct zab_output *ret_output);

/* A marker behind every proposal made so far: it is passed when zab_sync_passed says so, after the
 * commits before it were pulled. With peers a marker also proves that this server still leads. */
typedef uint64_t zab_marker;
zab_marker zab_sync(struct zab *z);
bool zab_sync_passed(const struct zab *z, zab_marker marker);

zxid_t zab_last_zxid(const struct zab *z); /* last logged or proposed, epochs included */
zxid_t
zab_committed_zxid(const struct zab *z); /* last whose ZAB_COMMIT was pulled; 0 none since start */
uint32_t zab_in_flight(const struct zab *z); /* proposals whose commit was not pulled */

#endif
