/* The inside of struct zab, for the files of this folder only. */
#ifndef ZKFS_REPLICA_ZAB_ZAB_STATE_H
#define ZKFS_REPLICA_ZAB_ZAB_STATE_H

#include "replica/zab/history.h"
#include "replica/zab/learner.h"
#include "replica/zab/zab.h"

/* What a leader does; rolled over in place it goes back to SAVING with `rolling`. */
enum lead_phase {
    LEAD_DISCOVERY, /* a quorum has to come with FOLLOWERINFO */
    LEAD_SAVING,    /* the new epoch becomes its own promise */
    LEAD_PROMISES,  /* a quorum has to promise it */
    LEAD_SYNC,      /* (e,0) is appended; a quorum has to acknowledge it */
    LEAD_BROADCAST, /* established */
};

/* Where a learner is with its leader. */
enum follow_phase {
    FOLLOW_JOINING,  /* FOLLOWERINFO was sent; what comes before its LEADERINFO is old */
    FOLLOW_PROMISED, /* SYNC is awaited */
    FOLLOW_TRUNCATING,
    FOLLOW_SNAPSHOT,   /* pieces come */
    FOLLOW_INSTALLING, /* they become the history */
    FOLLOW_STREAMING,  /* SYNCREADY was sent: records come */
};

/* An output that waits to be pulled; messages are made of it only then. */
struct zab_out {
    enum zab_output_type type;
    enum zab_msg_type msg;
    enum zab_role role; /* of ZAB_ROLE, or of a vote */
    enum zab_sync_mode mode;
    uint8_t peer, leader;
    bool counted, blank, leader_blank, answer, lossy;
    bool full; /* of a vote: whom it is for; else this server */
    uint32_t epoch;
    zxid_t zxid, committed, ended;
    uint64_t round;
    struct blob *payload; /* a reference */
    const char *text;
};

struct zab_out_queue {
    struct zab_out *ring;
    uint32_t cap, first, count;
};

/* A marker waits until `zxid` was applied and a quorum has answered `round`. Those that wait for
 * the same are one. */
struct zab_marker_wait {
    zab_marker marker;
    zxid_t zxid;
    uint64_t round;
};

/* A message of the leader's server room that waits for this server's own disk. */
struct zab_app_wait {
    struct blob *payload;
    zxid_t zxid;
    struct zab_app_wait *next;
};

struct zab {
    struct zab_config config;
    struct quorum_server *servers;  /* config.quorum's */
    bool observer, may_lead, alone; /* alone: this server is a quorum by itself */
    struct learner *peers;          /* all but self */
    uint32_t peer_count;
    uint8_t peer_index[256]; /* by id; NO_PEER: unknown */

    bool started, dead;
    bool clocked; /* zab_clock was called */
    int64_t now_ms;
    enum zab_role role;
    uint8_t leader;
    bool serving;
    int64_t role_ms;     /* since when */
    int64_t progress_ms; /* the last step towards serving: init_ms counts from here */

    struct history history;
    uint32_t accepted;  /* acceptedEpoch, durable */
    bool lossy;         /* it may have acknowledged what it does not have (lossy.c) */
    zxid_t whole_at;    /* ... until this is durable; 0: not known yet */
    bool full;          /* its disk has no room (handover.c) */
    int64_t full_ms;    /* since then */
    uint32_t handovers; /* how often it left its followers for that, and found nobody to follow */
    uint32_t saving;    /* ZAB_SAVE_EPOCH is under way; 0: none */
    bool truncating, installing;
    zxid_t truncate_to;
    zxid_t snap_begun, snap_ended;

    /* LOOKING */
    bool voting; /* the log is drained, the round has begun */
    uint64_t round;
    uint8_t candidate; /* my vote; 0 with no_candidate */
    bool no_candidate;
    zxid_t candidate_zxid;
    bool candidate_blank, candidate_full;
    bool agreed;
    int64_t agreed_ms, round_ms, vote_ms, looking_ms;
    bool electable; /* those who are connected could elect this server */

    /* LEADING */
    enum lead_phase lead_phase;
    bool rolling;
    bool needs_blanks;   /* without blank servers there was no quorum of promises */
    bool serve_due;      /* ZAB_SERVE has to come when (e,0) was applied */
    uint32_t lead_epoch; /* the epoch that is led or is going to be; also of the leader followed */
    zxid_t epoch_start;  /* (e,0) of the epoch that has been appended; 0: none in this leadership */
    zxid_t acked[256];
    int64_t heard[256];   /* attached ones: ms since role_ms, from 1; 0: never */
    int64_t heard_due_ms; /* at the earliest, a quorum has not been heard for silence_ms */
    int64_t ping_ms;      /* the last round of heartbeats */
    int64_t peer_due_ms;  /* at the earliest, a learner's link is silent */
    uint64_t ping_round, ping_all_round;
    zxid_t pongs[256]; /* rounds; of those that have promised this epoch */
    bool commit_dirty; /* learners have to hear of commits */
    bool snap_waits;   /* a learner's snapshot waits for commits */
    zxid_t floor; /* what the log cannot give any more: snapshots for those that end before it */
    struct zab_marker_wait *markers;
    uint32_t marker_first, marker_count, marker_cap;
    zab_marker marker_last, marker_passed, marker_floor;

    /* FOLLOWING, OBSERVING */
    enum follow_phase follow_phase;
    uint64_t attachment;
    uint32_t promise;                  /* the epoch that the leader wants promised; 0: none */
    bool promise_is_new;               /* it was not promised to anybody when the leader asked */
    zxid_t sync_committed, sync_ended; /* what the leader said when it began */
    bool uptodate;
    zxid_t uptodate_zxid;
    uint32_t uptodate_epoch; /* the leader's then: it may go on to the next before this is served */
    struct zab_app_wait *apps, **apps_end;

    uint32_t checks;
    struct zab_out_queue out;
    struct zab_msg msg; /* of the output pulled last */
    struct blob *spent; /* its payload */
};

#define NO_PEER 255u

/* The greatest epoch that leaves every zxid positive. */
#define EPOCH_MAX 0x7fffffffu

/* zab.c */
struct learner *zab_peer(const struct zab *z, uint8_t id); /* NULL: unknown, or self */
/* The one place where the role changes. `leader` is self for LEADING, 0 for LOOKING. */
void zab_enter(struct zab *z, enum zab_role role, uint8_t leader);
void zab_look(struct zab *z, const char *why); /* notes why, and looks again */
void zab_drop(struct zab *z, struct learner *l, const char *why);
void zab_fatal(struct zab *z, const char *why);
void zab_save_epoch(struct zab *z, uint32_t epoch);
void zab_append(struct zab *z, zxid_t zxid, struct blob *take_payload);
void zab_advance(struct zab *z); /* what follows from the state, at the end of each input */

/* output.c */
struct zab_out *out_push(struct zab *z, enum zab_output_type type); /* zeroed */
struct zab_out *out_send(struct zab *z, uint8_t peer, enum zab_msg_type type);
void out_note(struct zab *z, const char *text, uint8_t peer, zxid_t zxid);
void out_forget_peer(struct zab *z, uint8_t peer); /* its messages are for a link that is gone */
void out_free_all(struct zab *z);

/* election.c */
void election_leave(struct zab *z);
void election_advance(struct zab *z);
void election_vote(struct zab *z, struct learner *l, const struct zab_vote *v);
void election_peer_up(struct zab *z, struct learner *l);
void election_peer_lost(struct zab *z, struct learner *l);
void election_clock(struct zab *z);
void election_full(struct zab *z); /* this server's disk has become full, or has room again */
int64_t election_deadline(const struct zab *z);
void election_tell(struct zab *z, struct learner *l, bool answer);

/* discovery.c */
void discovery_lead(struct zab *z);
void discovery_info(struct zab *z, struct learner *l, const struct zab_msg *m);
void discovery_promised(struct zab *z, struct learner *l, const struct zab_msg *m);
void discovery_saved(struct zab *z); /* the leader's own promise is durable */
void discovery_left(struct zab *z);  /* a learner is gone */
void discovery_roll(struct zab *z);
void discovery_follow(struct zab *z);
void discovery_leader_info(struct zab *z, const struct zab_msg *m);
void discovery_promise(struct zab *z); /* the follower's */

/* sync_leader.c */
void sync_learner(struct zab *z, struct learner *l); /* DIFF, TRUNC or SNAP */
void sync_ready(struct zab *z, struct learner *l, zxid_t zxid);
void sync_pump(struct zab *z, struct learner *l); /* sends it what there is and fits */
void sync_detach(struct zab *z, struct learner *l);
void sync_snap_pong(struct zab *z, struct learner *l, uint64_t round);

/* sync_follower.c */
void sync_follow(struct zab *z, const struct zab_msg *m);
void sync_follow_chunk(struct zab *z, const struct zab_msg *m);
void sync_follow_end(struct zab *z, const struct zab_msg *m);
void sync_follow_record(struct zab *z, const struct zab_msg *m);
void sync_follow_commit(struct zab *z, const struct zab_msg *m);
void sync_follow_uptodate(struct zab *z, const struct zab_msg *m);
void sync_follow_app(struct zab *z, const struct zab_msg *m);
void sync_follow_broken(struct zab *z, const char *why);
void sync_follow_leave(struct zab *z);
bool sync_follow_settle(struct zab *z); /* something was queued */

/* broadcast.c */
void broadcast_ack(struct zab *z, struct learner *l, zxid_t zxid);
void broadcast_durable(struct zab *z, struct learner *l, zxid_t zxid);
void broadcast_acked(struct zab *z); /* recounts */
void broadcast_pong(struct zab *z, struct learner *l, uint64_t round);
void broadcast_ping(struct zab *z); /* a round to all */
void broadcast_ping_one(struct zab *z, struct learner *l);
void broadcast_flush_commits(struct zab *z);
void broadcast_begin(struct zab *z);
void broadcast_leave(struct zab *z);
void broadcast_clock(struct zab *z);
void broadcast_attach(struct zab *z, struct learner *l); /* INFO; it was heard */
void broadcast_heard(struct zab *z, struct learner *l);
int64_t broadcast_deadline(const struct zab *z);
bool broadcast_settle(struct zab *z); /* something was queued */
void broadcast_pulled(struct zab *z); /* a commit was */

/* lossy.c */
void lossy_forget(struct zab *z);               /* a new synchronisation, or a new role */
void lossy_synced(struct zab *z, zxid_t ended); /* its log is the leader's as far as it goes */
void lossy_settle(struct zab *z);               /* more is durable, or committed */

/* handover.c */
void handover_tell(struct zab *z);        /* the leader: whether this server's disk is full */
bool handover_settle(struct zab *z);      /* this server leads no longer */
bool handover_waits(const struct zab *z); /* for what is in flight: no proposals meanwhile */

/* zab_check.c */
void zab_check(struct zab *z);

static inline zxid_t zab_min(zxid_t a, zxid_t b) { return a < b ? a : b; }
static inline zxid_t zab_max(zxid_t a, zxid_t b) { return a > b ? a : b; }

/* An observer's records are committed, and so is all that a snapshot's walk saw: an epoch before
 * that is led by nobody any more. */
static inline uint32_t zab_observed_epoch(const struct zab *z) {
    return zxid_epoch(zab_max(z->history.last, z->history.committed));
}

#endif
