/* The oracles. They listen to what the cores are told and want (sim_hooks), to the bytes between
 * servers and clients, and never to the code that is being judged: who wrote what, who was told
 * what, and in which order. A violation ends the run (world_fail). */
#ifndef ZKFS_TESTS_SIM_CHECK_H
#define ZKFS_TESTS_SIM_CHECK_H

#include "replica/server/event.h"
#include "replica/server/update.h"
#include "replica/tree/txn.h"
#include "replica/zab/zab.h"
#include "tests/sim/sim_plan.h"

struct check;
struct sim_client;
struct sim_host;
struct sim_op;
struct sim_wire;
struct world;

/* A record as somebody has it. */
struct check_record {
    zxid_t zxid;
    uint64_t hash;
    int32_t bytes; /* of its payload */
};

/* A record that is new to the history, and applied by a start that may still fail: what it read
 * may be in no more than a cache. */
struct check_deferred {
    enum zab_record_kind kind;
    struct check_record record;
    struct blob *payload;
};

/* What it knows of its snapshots (check_disk.c). */
struct check_disk {
    zxid_t saved;     /* the newest one that is surely there, of this history */
    zxid_t found;     /* by the start; 0 none */
    zxid_t purged;    /* the log begins behind it */
    zxid_t digest_of; /* found, and its tree not compared yet */
    size_t largest;   /* snapshot so far, in bytes */
    uint64_t since;   /* records applied since the last checkpoint began, or since the start */
    bool checking;    /* a checkpoint is under way */
    bool late;        /* one was due at the end of the last step */
    bool not_due;     /* one failed: the next may take its time */
    bool was_full;    /* a purge may wait for the next one */
    bool older_told;
    bool gave; /* a piece of a snapshot, to another server */
};

/* What a start finds on a disk that was damaged: another history, perhaps, than it had. */
struct check_found {
    struct check_record *log;
    size_t count, cap;
    zxid_t base;
    uint32_t epoch;
};

/* What a server has appended, and how much of it it was told to be durable. */
struct check_host {
    struct check_record *log;
    size_t count, cap, durable;
    zxid_t base; /* the log begins behind this snapshot; 0: at the beginning */
    zxid_t lost; /* durable here before the disk was lost: acknowledgements may be under way */
    bool truncating, installing; /* asked for and not answered */
    zxid_t truncate_to, install_base;
    uint32_t epoch, epoch_asked;
    /* A start */
    bool recovering, epoch_seen, base_seen;
    bool damaged; /* the disk was: what follows is found on it */
    struct check_found found;
    bool lossy; /* it starts with the word that it may have acknowledged what it does not have */
    size_t recovered, durable_before;
    uint32_t epoch_before, asked_before;
    struct check_deferred *deferred; /* applied while it started, and new to the history */
    size_t deferred_count, deferred_cap;
    /* What it applied */
    size_t next;                    /* in the history */
    zxid_t applied;                 /* 0 nothing */
    zxid_t uptodate;                /* what its leader told it last to serve with */
    zxid_t exact_from;              /* before, a fuzzy snapshot makes the tree no exact one */
    zxid_t digest_due;              /* this was handed to the tree and not compared yet */
    zxid_t asked_base, asked_ended; /* ZAB_SNAP_END's */
    struct check_disk disk;
    /* Who was heard: the time of sending of the last message from each */
    int64_t heard_us[SIM_HOSTS_MAX];
    int64_t serving_us; /* since when it leads or follows and serves */
    uint32_t serving_epoch;
};

enum check_watch_kind { WATCHED_DATA = 1, WATCHED_ABSENT = 2, WATCHED_CHILDREN = 4 };

struct check_watch {
    uint32_t path; /* of the model */
    enum check_watch_kind kind;
    zxid_t since; /* the reply that set it */
};

/* How far a watch that stays has been heard: all before zxid, and so many changes of that. */
struct staying_heard {
    zxid_t zxid;
    uint32_t count;
    bool open; /* what was before the next may be missing */
};

struct check_staying {
    uint32_t path; /* of the model */
    bool recursive;
    zxid_t since;              /* the reply that added it */
    struct staying_heard wire; /* on this connection */
    struct staying_heard told; /* to the session code's caller */
};

struct check_client {
    zxid_t seen;    /* the greatest zxid of a reply, */
    zxid_t replied; /* and with the repeated answers to writes that were sent again */
    struct check_staying *staying;
    size_t staying_count, staying_cap;
    struct check_watch *watches;
    size_t watch_count, watch_cap;
};

/* What one operation of a write did, for its answer. */
struct check_result {
    uint32_t path;
    size_t version; /* of the model's path: right after the operation */
};

struct check *check_new(struct world *w);
void check_free(struct check *k);

/* check_log.c */
void check_host_init(struct check_host *h);
void check_host_close(struct check_host *h);
void check_host_starts(struct sim_host *m);
void check_host_started(struct sim_host *m);
void check_host_failed(struct sim_host *m); /* it could not start */
void check_host_dies(struct sim_host *m);
void check_host_wiped(struct sim_host *m);
void check_event(struct sim_host *m, const struct event *ev);    /* before the core's step */
void check_updates(struct sim_host *m, const struct updates *u); /* and behind it */
/* Whether it has this record durably, or a snapshot that stands for it. */
bool check_host_has(const struct check_host *h, const struct check_record *r);
/* The zxids of its log behind the base. */
size_t check_host_until(const struct check_host *h, zxid_t zxid);
zxid_t check_host_last(const struct check_host *h);
/* Whether a record with the first number may stand behind one with the second. */
bool check_follows(zxid_t zxid, zxid_t last);
bool check_host_blank(const struct check_host *h);
uint64_t check_hash(zxid_t zxid, struct slice payload);

/* check_repair.c: a start on a disk that was damaged, whether something was repaired or not */
void check_repair_starts(struct sim_host *m);
void check_repair_base(struct sim_host *m, zxid_t begun);
void check_repair_record(struct sim_host *m, const struct log_record *r);
void check_repair_found_all(struct sim_host *m);

/* check_disk.c */
void check_disk_starts(struct sim_host *m);
/* A start has read the snapshot to its end; false: that is no checkpoint of its. */
bool check_disk_found(struct sim_host *m, zxid_t begun, zxid_t ended);
void check_disk_found_all(struct sim_host *m);
void check_disk_event(struct sim_host *m, const struct event *ev);
void check_disk_update(struct sim_host *m, const struct update *u);
/* Behind each step, and when a run of the checkpoints has ended. */
void check_disk_stepped(struct sim_host *m);
void check_disk_ran(struct sim_host *m);
void check_snap_answer(struct sim_host *m, struct sim_wire *wire, struct slice bytes);

/* check_history.c */
void check_output(struct sim_host *m, const struct zab_output *o);
/* The tree has what was handed out last: called before the core goes on. */
void check_applied(struct sim_host *m);
/* The tree of a snapshot that a start has loaded is that of its zxid. */
void check_loaded(struct sim_host *m, zxid_t zxid);
/* The start is over: what it applied counts. */
void check_deferred_apply(struct sim_host *m);
zxid_t check_committed(const struct check *k); /* the last that anybody applied */
uint64_t check_commits(const struct check *k); /* how many */
/* NULL: nobody has committed it. */
struct check_entry;
const struct check_record *check_entry_at(const struct check *k, zxid_t zxid);
/* The operation that made it; NULL none of a client. *ret_err: how it was refused, 0 not. */
struct sim_op *check_entry_op(const struct check *k, zxid_t zxid, int32_t *ret_err);
/* The position behind a zxid. */
size_t check_next_of(const struct check *k, zxid_t zxid);
/* The whole tree of a running server against the model. */
void check_whole_tree(struct sim_host *m);

/* check_reply.c */
void check_server_sends(struct sim_host *m, struct sim_wire *wire, struct slice bytes);
void check_client_hears(struct sim_client *c, struct sim_wire *wire, struct slice bytes);
void check_client_answered(struct sim_client *c, struct sim_op *op);
void check_client_new_life(struct sim_client *c);
void check_client_close(struct sim_client *c);
/* The greatest zxid of a write that was acknowledged to any client. */
zxid_t check_acknowledged(const struct check *k);
/* At the end: what was surely not done is in no history. */
void check_refusals(struct world *w);

/* check_session.c */
void check_peer_message(struct sim_host *to, struct sim_host *from, int64_t sent_us);
void check_client_frame(struct sim_host *m, struct sim_wire *wire, struct slice frame);
void check_propose(struct sim_host *m, struct slice payload);
void check_intruder(struct world *w, struct sim_wire *wire, struct slice bytes);
void check_session_sent(struct sim_host *m, struct sim_wire *wire, session_id_t id,
                        int32_t timeout_ms);
void check_session_heard(struct sim_client *c, struct sim_wire *wire, session_id_t id,
                         int32_t timeout_ms);
void check_session_txn(struct world *w, const struct txn *t);
bool check_session_alive(const struct check *k, session_id_t id);
struct sim_client *check_session_client(struct world *w, session_id_t id);

/* check_watch.c */
void check_watch_set(struct sim_client *c, struct slice path, enum check_watch_kind kind,
                     zxid_t since);
void check_watch_event(struct sim_client *c, struct sim_wire *wire, int32_t type, struct slice path,
                       zxid_t zxid);
/* A reply shows zxid: nothing that is watched may have changed by then. */
void check_watch_reply(struct sim_client *c, zxid_t zxid);
/* The watches were armed again on a new connection, by a server at zxid. */
void check_watch_again(struct sim_client *c, zxid_t zxid);

/* check_staying.c */
/* False when op is neither addWatch nor removeWatches. */
bool check_staying_answered(struct sim_client *c, const struct sim_op *op, zxid_t zxid,
                            int32_t err);
/* An event on the wire: whether a watch that stays is for it. */
bool check_staying_event(struct sim_client *c, int32_t type, struct slice path, zxid_t zxid);
/* An event, or a gap, that the session code tells. */
void check_staying_told(struct sim_client *c, int32_t type, struct slice path, zxid_t zxid);
void check_staying_gap(struct sim_client *c);
void check_staying_reply(struct sim_client *c, zxid_t zxid);
/* A new connection begins; its setWatches2 is answered. */
void check_staying_again(struct sim_client *c);
void check_staying_set(struct sim_client *c, zxid_t zxid, int32_t err);

#endif
