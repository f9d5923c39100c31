/* What the parts of the core share. Private to this room: the contract is replica.h. */
#ifndef ZKFS_REPLICA_SERVER_CORE_H
#define ZKFS_REPLICA_SERVER_CORE_H

#include "common/proto.h"
#include "common/zkerr.h"
#include "replica/server/conn.h"
#include "replica/server/out.h"
#include "replica/server/pending.h"
#include "replica/server/recent.h"
#include "replica/server/replica.h"
#include "replica/server/session.h"
#include "replica/tree/tree_apply.h"
#include "replica/tree/tree_load.h"
#include "replica/tree/watch.h"
#include "replica/zab/zab.h"

enum request_kind {
    REQUEST_READ,      /* and ping, setWatches: answered from what is applied */
    REQUEST_WRITE,     /* becomes a transaction; answered at its commit */
    REQUEST_SYNC,      /* a read behind every proposal that was made before it came */
    REQUEST_CONNECT,   /* a new session: a transaction */
    REQUEST_RECONNECT, /* a session that comes back: a transaction, for it may have moved */
    REQUEST_HANDSHAKE, /* a ConnectRequest that waits until this server serves or has caught up; it
                          becomes one of the two before */
};

/* What goes to the leader is HELD until it can go out, and becomes that again when the leader is
 * lost: until its transaction is applied, nobody knows whether it was done. */
enum request_state {
    REQUEST_WAITING, /* a read behind something; a handshake; what waits for its handshake */
    REQUEST_HELD,    /* in `held`, in order */
    REQUEST_SENT,    /* proposed, or on its way to the leader; a sync: its marker is set */
    REQUEST_DONE,    /* its turn is all that it waits for */
};

/* What waits in a connection's queue, which owns it. */
struct request {
    struct conn *conn;
    struct request *next; /* in its connection's queue */
    struct request *list_prev, *list_next;
    struct request **list; /* the list of the core's that it stands in, or NULL */
    enum request_kind kind;
    enum request_state state;
    bool was_sent;   /* once at least: a transaction may be its */
    bool refused;    /* REQUEST_RECONNECT, DONE: the session is gone */
    bool retries;    /* REQUEST_CONNECT: asks for exactly-once retries */
    bool is_barrier; /* REQUEST_SYNC: counted in its connection's `syncs` */
    int32_t xid, opcode;
    int64_t arrived_ms;
    uint32_t auth_count;  /* the identities that the connection had when it came */
    uint64_t ticket;      /* of a sync: at the leader a zab_marker, at a learner a tag */
    uint64_t arrival;     /* HELD: its place among all that waits for a proposal */
    int32_t timeout_ms;   /* REQUEST_CONNECT, REQUEST_RECONNECT: negotiated */
    uint32_t cost_bytes;  /* what it adds to the queued bytes */
    struct blob *reply;   /* REQUEST_DONE: the frame, with its length */
    int32_t *multi_types; /* of a multi: each operation's opcode, for the answer */
    uint32_t multi_count;
    uint32_t body_len;
    uint8_t body[]; /* the record after the header, where it may be needed again */
};

/* A transaction that this leader proposed and that is not committed yet, in order. */
struct inflight {
    struct txn *txn;
    struct inflight *next;
};

/* A link to another server. */
struct peer {
    bool up;             /* there is a link */
    bool known;          /* its HELLO came and fits: zab has it, unless it is being repaired */
    bool repairing;      /* it is, and takes no part */
    bool repair_reading; /* an answer to it is on its way: one at a time */
    bool warned;         /* of a different configuration */
    uint64_t history_id; /* the ensemble that its history belongs to; 0: it had none */
    uint64_t backlog_bytes;
};

struct server_stats {
    uint64_t received, sent;
    int64_t min_latency_ms, max_latency_ms, total_latency_ms, latency_count;
    uint64_t auth_failed;
    int64_t last_reply_bytes, min_reply_bytes, max_reply_bytes;
    int64_t last_proposal_bytes, min_proposal_bytes, max_proposal_bytes; /* -1: none yet */
};

struct replica {
    struct replica_config config; /* its strings are owned */
    struct auth_config auth;
    struct zab *zab;
    struct tree *tree;
    struct watch_table *watches;
    struct recent recent;
    struct pending *pending;
    struct sessions sessions;
    struct conns conns;
    struct out out;
    struct tree_changes changes;
    struct inflight *inflight_first, *inflight_last;
    struct request *held;    /* what waits until something can be proposed */
    struct request *markers; /* syncs that went out, and refusals that wait like these, in order */
    struct request *waiting; /* handshakes */
    struct conn *paused;     /* in order of pausing */
    struct conn *run_list;   /* connections with answers left over by the last step */
    uint64_t queued;         /* requests in all queues */
    uint64_t queued_bytes;
    uint64_t arrivals; /* numbers what is held */
    struct server_stats stats;
    bool started, stopped;
    bool lossy; /* it may have acknowledged what it does not have: it cannot say what never was */
    /* role.c */
    enum zab_role role;
    uint8_t leader;    /* 0: none, or this one in an ensemble of one */
    bool up;           /* zab said that this role serves */
    bool leading;      /* up as the leader, and the ensemble has its secret: prepares requests */
    bool serving;      /* takes clients */
    bool answering;    /* inside a commit: the reads behind the write that it answers are due */
    uint32_t up_epoch; /* since when it is up */
    int64_t led_ms;    /* mono: since when it leads */
    int64_t down_ms;   /* mono: since when it is not up */
    int64_t hold_until_ms;   /* connections are kept until then; 0: they are not */
    struct digests *digests; /* digest.c */
    struct judge *judge;     /* judge.c */
    /* As a learner. */
    uint64_t last_tag;
    uint64_t barrier; /* tag of the sync that everything held waits for; 0: none */
    int64_t
        touch_ms; /* mono: when the leader is told of the sessions; INT64_MAX: nothing to tell */
    struct snap_loader *loader;
    struct checkpoint *checkpoint;
    zxid_t loaded_begun, loaded_ended;
    zxid_t expected_zxid; /* there the tree has to have expected_digest; 0: nowhere */
    uint64_t expected_digest;
    bool replaying; /* a checkpoint's records are applied: what does not fit damages only that */
    /* As the leader. */
    struct backlog *backlog_first, *backlog_last;
    bool backlog_small; /* something in it has not been asked whether it has to wait for room */
    struct remote_marker *remote_first, *remote_last;
    struct snap_sending *sendings;
    struct peer peers[256];
    uint64_t history_id; /* of this server's ensemble; 0: it has no secret yet */
    uint64_t config_hash;
    uint8_t random[RANDOM_BYTES];
    int64_t deadline_ms;                           /* asked for; INT64_MAX none */
    int64_t started_ms;                            /* mono */
    int64_t container_round_ms, container_next_ms; /* container.c */
    uint64_t container_left;                       /* in this round; 0: there is none */
    /* full.c */
    bool full;          /* the disk is */
    bool full_ensemble; /* as a leader: no quorum has room */
    int64_t full_since_ms, full_retry_ms;
    uint32_t full_sessions; /* that began meanwhile */
    /* The event at hand. */
    int64_t mono_ms, wall_ms;
};

/* apply.c: proposing and committing. */
/* Proposes take_txn; zab_ready must hold. */
void core_propose(struct replica *r, struct txn *take_txn);
/* A start: applies a record that a checkpoint has. NULL, or why it cannot be applied. */
const char *core_replay(struct replica *r, const struct log_record *record);
/* Carries out what zab wants done, until it wants nothing. */
void core_pump(struct replica *r);
/* Forgets what was proposed: the leadership is gone. Commits that come all the same are decoded. */
void core_forget_inflight(struct replica *r);
/* The last zxid that is applied: what replies show. */
zxid_t core_last_zxid(const struct replica *r);

/* replica.c */
/* As replica_new, with an end of epochs that a test can reach. */
struct replica *core_new(const struct replica_config *config, uint32_t counter_limit);
void core_reset_stats(struct replica *r);
/* Closes a connection of ours and forgets it; why goes into one log line. */
void core_close_conn(struct replica *r, struct conn *c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Likewise where that is the ordinary end, of which no log speaks. */
void core_hang_up(struct replica *r, struct conn *c);
/* Forgets a connection that is gone already. */
void core_drop_conn(struct replica *r, struct conn *c);
/* Stops the process: a broken disk or log. */
void core_stop(struct replica *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Gives this core up: the shell starts over from the disk, or, with `distrust`, without it. */
void core_start_over(struct replica *r, bool distrust, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
