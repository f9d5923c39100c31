/* What a store should hold after each of its jobs, to hold a start against: the states in which a
 * crash may have left it are those from the last acknowledged job to the last one asked for, and
 * nothing between. */
#ifndef ZKFS_TESTS_UNIT_STORE_MODEL_H
#define ZKFS_TESTS_UNIT_STORE_MODEL_H

#include "common/buf.h"
#include "replica/store/store.h"
#include "tests/lib/mem_files.h"

#define MODEL_DIR "/d"
#define MODEL_RECORDS_MAX 200
#define MODEL_STATES_MAX 120
#define MODEL_CHECKPOINTS_MAX 64

/* A record is its zxid and a number that no other record ever has: what was cut away and comes back
 * under the same zxid is found out. */
struct model_record {
    zxid_t zxid;
    uint32_t id;
};

struct model_state {
    uint32_t epoch;
    uint32_t history; /* another one since a snapshot took its place, or everything was cut away */
    uint32_t snap;    /* its number, 0: none */
    zxid_t begun, ended;
    size_t count;
    struct model_record records[MODEL_RECORDS_MAX];
};

/* One that was ended: a start may find it, and must find none that is older than a sure one. */
struct model_checkpoint {
    zxid_t zxid;
    uint32_t id, history;
    bool sure; /* it was said to be durable */
};

struct model {
    struct mem_files *files; /* owned */
    struct store *store;     /* NULL while none is open */
    uint64_t salt;
    int64_t segment_bytes;
    int64_t reserve_bytes;
    int32_t snap_retain;
    struct model_state states[MODEL_STATES_MAX]; /* as each job leaves it; [0] is acknowledged */
    size_t count;
    size_t handed; /* of them, those that the sync under way covers */
    uint32_t ids;
    uint32_t writing; /* the number of the snapshot that is being written, 0 none */
    size_t pieces;    /* of it so far */
    bool cut_pending;
    /* model_checkpoint.c */
    struct model_checkpoint checkpoints[MODEL_CHECKPOINTS_MAX];
    size_t checkpoint_count;
    uint32_t histories;
    uint32_t checkpoint_writing; /* its number, 0 none */
    size_t checkpoint_pieces;    /* of it so far */
    zxid_t log_base;             /* what the log begins behind, of this history: */
    uint32_t log_history;
    struct store_checkpoint_done checkpoint_done; /* of the last run */
    bool refuse_piece, refuse_snap;               /* a start says that it cannot load that */
    struct store_done done;                       /* of the last sync */
    /* What a start read. */
    struct model_state read;
    size_t read_pieces;
    zxid_t read_base; /* what the log begins behind */
    size_t
        read_ends; /* epochs that ended behind that and before the snapshot; the last one's end: */
    zxid_t read_end;
    size_t resets;  /* snapshots that were passed over */
    bool may_reset; /* the test has damaged some */
    bool wrong;     /* bytes that nobody wrote */
    struct buf why;
};

void model_init(struct model *m);
void model_close(struct model *m);
/* m's disk and states with no store open; to be closed as well. */
struct model *model_clone(const struct model *m);
void model_free(struct model *m); /* of model_clone */

/* store_open. */
int model_open(struct model *m);
void model_store_close(struct model *m);
/* Whether the last start found one of the allowed states; it counts as acknowledged then. Says what
 * is wrong on stderr. */
bool model_accept(struct model *m);

struct model_state *model_newest(struct model *m);
zxid_t model_last_zxid(const struct model_state *s);
/* Whether zxid is in the history; *ret_next is the number of records up to it. */
bool model_holds(const struct model_state *s, zxid_t zxid, size_t *ret_next);

void model_save_epoch(struct model *m, uint32_t epoch);
/* The next record; an epoch's is that of the promise, which must be new. */
void model_append(struct model *m, bool epoch);
void model_truncate(struct model *m, zxid_t zxid);
void model_snap_begin(struct model *m);
bool model_snap_chunk(struct model *m); /* false when it has all its pieces */
void model_snap_end(struct model *m, zxid_t begun, zxid_t ended);
void model_snap_abandon(struct model *m);
/* A whole one of n pieces. */
void model_snapshot(struct model *m, size_t pieces, zxid_t begun, zxid_t ended);

/* The pieces of snapshot or checkpoint `id`. */
size_t model_piece_count(uint32_t id);
void model_piece(struct buf *b, uint32_t id, size_t i);

/* ---- checkpoints: model_checkpoint.c ---- */

void model_checkpoint_begin(struct model *m);
bool model_checkpoint_chunk(struct model *m); /* false when it has all its pieces */
/* Of a record, or the base, of the acknowledged history. */
void model_checkpoint_end(struct model *m, zxid_t zxid);
void model_checkpoint_abandon(struct model *m);
void model_checkpoint_whole(struct model *m, zxid_t zxid); /* all of these but the last */
/* The next snapshot or checkpoint has two short pieces. */
void model_next_is_short(struct model *m);
/* What store_checkpoint_run has done. The error. */
int model_checkpoint_ran(struct model *m);
/* A whole one in a run of its own, and the purge behind it in another. 0 or the error. */
int model_checkpoint(struct model *m, zxid_t zxid);
/* Plans a purge; it must leave what the newest ones need. True when there is one. */
bool model_purge(struct model *m);
/* No truncation goes before it: what a checkpoint has is committed. */
zxid_t model_newest_checkpoint(const struct model *m);
/* model.c: whether what was read is the state, where a start found one of these. */
bool model_found_checkpoint(const struct model *m, const struct model_state *s, size_t *ret_next);
bool model_misses_checkpoint(const struct model *m, const struct model_state *s);
void model_checkpoints_accepted(struct model *m);
void model_checkpoints_synced(struct model *m);
void model_checkpoints_say(const struct model *m); /* on stderr */

int model_sync_end(struct model *m, int result); /* the result, and the states that it leaves */
/* With STORE_FULL nothing counts as acknowledged yet, and the next sync covers it as well. */
int model_sync(struct model *m);
/* store_read; the records must be those of the acknowledged history. */
int model_read(struct model *m, zxid_t after, size_t max_bytes);

#endif
