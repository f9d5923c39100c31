/* Zab (Junqueira, Reed, Serafini: DSN'11; docs/zab.md): election, discovery, synchronisation and
 * broadcast of one server of an ensemble, as a pure state machine. It knows payloads as bytes only.
 *
 * Inputs are calls, outputs are pulled with zab_next after each. What has to wait for the disk
 * comes out only after the disk's own input (zab_log_synced, ...). An ensemble of one takes the
 * same path.
 *
 *              zab_start
 *   (recover) ----------> LOOKING --- elected by a quorum ---> LEADING    (discovery, sync,
 * broadcast) ^  |                                   | |  +-- a leader is known -> FOLLOWING or
 * OBSERVING |                                      |
 *                          +-- no quorum heard, link or leader lost, protocol broken
 *
 * History. The log is one sequence of records; an epoch begins with a record of its own, (e,0),
 * that its leader appends before anything else. So two logs that both have (e,0) are equal up to
 * it, and the greatest common epoch and the lesser of its two last counters are the last common
 * record (R6). currentEpoch is the epoch of the last record. acceptedEpoch is kept apart
 * (ZAB_SAVE_EPOCH).
 *
 * Memory. What is not known to be committed is not applied: ZAB_COMMIT comes for records that are
 * committed and durable here, in order, each once. Every record tells how far was committed when it
 * was appended, so a restart knows it too; what lies behind is held, and what a leader truncates
 * was never applied. */
#ifndef ZKFS_REPLICA_ZAB_ZAB_H
#define ZKFS_REPLICA_ZAB_ZAB_H

#include "replica/zab/quorum.h"
#include "replica/zab/zab_msg.h"

/* Where an epoch ends although nothing failed: the counter must never carry into the epoch
 * (ZAB-BUGS S27). The leader begins its next epoch in place, when nothing is in flight: no client
 * and no learner is lost. */
#define ZAB_COUNTER_LIMIT 0xfffffff0u

struct zab_config {
    uint8_t self;
    struct quorum_config quorum; /* all servers, self included; copied */
    uint32_t counter_limit;      /* ZAB_COUNTER_LIMIT; tests take a small one */
    int32_t heartbeat_ms;        /* a leader's PING */
    int32_t silence_ms;    /* a link without a message for so long is dropped; a leader that has
                              not heard a quorum for so long steps down (Z6) */
    int32_t finalize_ms;   /* a quorum agrees, but a connected voter has not spoken: wait so long */
    int32_t init_ms;       /* elected, or following, and not established by then: look again */
    uint32_t window_bytes; /* sent to one learner and not acknowledged: at most about this */
    uint32_t recent_bytes; /* records kept in memory for learners that are a little behind */
    uint32_t inflight_max; /* proposals not committed: zab_ready is false beyond */
    uint32_t inflight_bytes_max;
};

void zab_config_defaults(struct zab_config *config); /* all but self and quorum */

enum zab_output_type {
    ZAB_SEND,       /* peer, msg */
    ZAB_DROP,       /* peer, text: close the link; no message of it may come any more (zab_peer_down
                       is not called for it). The shell connects again. */
    ZAB_SAVE_EPOCH, /* epoch: make acceptedEpoch durable, then zab_epoch_saved (R7) */
    ZAB_LOG_APPEND, /* kind, zxid, committed, payload: append; zab_log_synced when durable */
    ZAB_LOG_TRUNCATE, /* zxid: remove everything behind it durably, then zab_log_truncated. Nothing
                         is appended meanwhile. */
    ZAB_LOG_READ,  /* peer, zxid: records behind zxid, then zab_log_range; one under way per peer */
    ZAB_COMMIT,    /* kind, zxid, payload: apply */
    ZAB_ROLE,      /* role, peer (the leader; self when leading; 0 none), epoch: this server's role
                      changed. It does not serve, propose or answer markers before ZAB_SERVE. */
    ZAB_SERVE,     /* epoch. LEADING: a quorum has acknowledged NEWLEADER: propose and serve (Z4).
                      FOLLOWING, OBSERVING: up to date: serve. Comes after the commits it covers.
                      Again without a role change: the leader's epoch was rolled over. */
    ZAB_SNAP_SEND, /* leader: peer needs a snapshot: send pieces with zab_snap_send while
                      zab_snap_room says so, then zab_snap_sent */
    ZAB_SNAP_STOP, /* leader: peer is gone: stop that */
    ZAB_SNAP_BEGIN, /* learner: what follows is a snapshot that will replace everything */
    ZAB_SNAP_CHUNK, /* learner: payload: the next piece */
    ZAB_SNAP_END,   /* learner: zxid (where the walk began), ended: make it durable in place of the
                       whole log, load it, then zab_snap_installed. A zab_log_synced of the old log
                       may still come before that. */
    ZAB_SNAP_ABANDON, /* learner: the pieces so far are of no use (the leader is gone) */
    ZAB_APP,          /* peer, payload: the server room's message */
    ZAB_NOTE,         /* text, peer, zxid: worth a line of log */
    ZAB_WHOLE,        /* this server, that was lossy, has all that its leader had when it came,
                         durably: make durable that it is not lossy any more (no answer) */
    ZAB_FATAL,        /* text: history is damaged or foreign; the process must end (Z11) */
};

/* Borrowed until the next call of any zab function. */
struct zab_output {
    enum zab_output_type type;
    uint8_t peer;
    uint32_t epoch;
    enum zab_role role;
    enum zab_record_kind kind;
    zxid_t zxid;
    zxid_t committed;
    zxid_t ended;
    struct blob *payload;
    const struct zab_msg *msg;
    const char *text; /* static or z's */
};

struct zab;

struct zab *zab_new(const struct zab_config *config);
void zab_free(struct zab *z); /* NULL is fine */

/* Before zab_start, in this order: what the disk held. */
void zab_recover_epoch(struct zab *z, uint32_t accepted_epoch); /* 0: none was saved */
/* History begins behind a snapshot: `begun` and `ended` as ZAB_SNAP_END gave them. It counts as
 * committed and applied. */
void zab_recover_base(struct zab *z, zxid_t begun, zxid_t ended);
/* This server has lost the end of its log: it may have acknowledged what it does not have. As a
 * blank one (Z12) it counts in elections and promises only when every voter takes part, until it
 * has all that its leader had when it came (ZAB_WHOLE). */
void zab_recover_lossy(struct zab *z);
/* After zab_recover_base, before any zab_recover: the log reaches back to behind `base`, and can be
 * read there; `base` is 0 or a record that there was. `ends` are the last zxids of the epochs
 * between it and the snapshot (excluding the snapshot's own epoch), ascending. */
void zab_recover_older(struct zab *z, zxid_t base, const zxid_t *ends, size_t count);
/* A record of the log, in order; `committed` as it was appended with. False when it does not follow
 * the one before: the counter goes up by one, a new epoch begins with counter 0 (R5). Pull the
 * commits after each. In an ensemble of one every record of the log is committed. */
bool zab_recover(struct zab *z, enum zab_record_kind kind, zxid_t zxid, zxid_t committed,
                 struct slice payload);
void zab_start(struct zab *z);

/* The next output, until false: after every call above and below that takes an input. */
bool zab_next(struct zab *z, struct zab_output *ret_output);

/* The time: before every other input of a step. Runs what is due. */
void zab_clock(struct zab *z, int64_t mono_ms);
int64_t zab_deadline(const struct zab *z); /* zab_clock again by then; INT64_MAX: never */

/* Links. At most one per peer: up, messages, down (unless ZAB_DROP was said). */
void zab_peer_up(struct zab *z, uint8_t peer);
void zab_peer_down(struct zab *z, uint8_t peer);
void zab_receive(struct zab *z, uint8_t peer, const struct zab_msg *msg); /* anything may come */

/* The disk. */
void zab_log_synced(struct zab *z, zxid_t zxid); /* all appended up to zxid is durable */
void zab_log_truncated(struct zab *z);
void zab_epoch_saved(struct zab *z, uint32_t epoch);
struct zab_record {
    enum zab_record_kind kind;
    zxid_t zxid;
    struct slice payload;
};
/* Answer of ZAB_LOG_READ: the records behind `after`, as many as fit a read; count 0: the log does
 * not reach back so far (a snapshot is needed). A peer that is gone is ignored. */
void zab_log_range(struct zab *z, uint8_t peer, zxid_t after, const struct zab_record *records,
                   size_t count);

/* The log begins behind `base` now, a record that was applied: who ends before it needs a snapshot.
 */
void zab_purged(struct zab *z, zxid_t base);
/* The disk is full, or has room again (Z10). In an election, of the servers with the newest history
 * those with room come first; and as a leader of others this one steps down for one that has
 * everything and has room. Where no such one is there, it leads. */
void zab_full(struct zab *z, bool full);
/* Leading: some disk is full, and those who are up to date and have room are no quorum. What is
 * proposed now can only fill what the full ones have kept for themselves; and one whose last record
 * found no room cannot vote. */
bool zab_lacks_room(const struct zab *z);

/* Snapshots. */
bool zab_snap_room(const struct zab *z, uint8_t peer); /* another piece may be sent now */
void zab_snap_send(struct zab *z, uint8_t peer, struct blob *take_piece);
void zab_snap_sent(struct zab *z, uint8_t peer, zxid_t begun, zxid_t ended);
void zab_snap_installed(struct zab *z);

/* LEADING, after ZAB_SERVE. */
/* Whether zab_propose may be called: this server leads and there is room. When it turns true again,
 * the caller finds out by asking after each step. */
bool zab_ready(const struct zab *z);
zxid_t zab_next_zxid(const struct zab *z);                    /* what the next zab_propose gives */
zxid_t zab_propose(struct zab *z, struct blob *take_payload); /* zab_ready must hold (CHECK) */
/* A marker behind every proposal made so far. It is passed when those are committed and pulled, and
 * a quorum has confirmed by a round of heartbeats that began after the call that this server still
 * leads (Z6, S28; docs/decisions). A marker of an earlier leadership never passes. */
typedef uint64_t zab_marker;
zab_marker zab_sync(struct zab *z);
bool zab_sync_passed(const struct zab *z, zab_marker marker);

/* The server room's message to the leader, or from the leader to a learner that is up to date.
 * False when there is no such link: it is dropped. Arrives in order with the commits of the same
 * link. */
bool zab_send_app(struct zab *z, uint8_t peer, struct blob *take_payload);

enum zab_role zab_role(const struct zab *z);
bool zab_serving(const struct zab *z);   /* ZAB_SERVE was pulled, in this role */
uint8_t zab_leader(const struct zab *z); /* 0: none known */
uint32_t zab_epoch(const struct zab *z); /* currentEpoch: of the last record */
uint32_t zab_accepted_epoch(const struct zab *z);
zxid_t zab_last_zxid(const struct zab *z); /* last appended or proposed, epochs included */
zxid_t zab_durable_zxid(const struct zab *z);
zxid_t
zab_committed_zxid(const struct zab *z);     /* known to be committed; may be ahead of the pulled */
uint32_t zab_in_flight(const struct zab *z); /* proposals whose commit was not pulled */
bool zab_blank(const struct zab *z);
bool zab_lossy(const struct zab *z); /* until ZAB_WHOLE */
/* Whether this record is part of this server's history, or of what its snapshot stands for as far
 * as that is known: not before zab_base. */
bool zab_has(const struct zab *z, zxid_t zxid);
zxid_t zab_base(const struct zab *z); /* the history that is known begins with it */

/* For admin words: what the leader knows of its learners. */
struct zab_learner_info {
    uint8_t id;
    bool connected, observer, serving;
    zxid_t acked;
    int64_t heard_ms; /* mono */
};
/* The i-th server of the configuration other than self; false behind the last. */
bool zab_learner_info(const struct zab *z, size_t i, struct zab_learner_info *ret_info);

#endif
