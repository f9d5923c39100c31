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

/* A record is its zxid and a number that no other record ever has: what was cut away and comes back
 * under the same zxid is found out. */
struct model_record {
    zxid_t zxid;
    uint32_t id;
};

struct model_state {
    uint32_t epoch;
    uint32_t snap; /* its number, 0: none */
    zxid_t begun, ended;
    size_t count;
    struct model_record records[MODEL_RECORDS_MAX];
};

struct model {
    struct mem_files *files; /* owned */
    struct store *store;     /* NULL while none is open */
    uint64_t salt;
    int64_t segment_bytes;
    struct model_state states[MODEL_STATES_MAX]; /* as each job leaves it; [0] is acknowledged */
    size_t count;
    size_t handed; /* of them, those that the sync under way covers */
    uint32_t ids;
    uint32_t writing; /* the number of the snapshot that is being written, 0 none */
    size_t pieces;    /* of it so far */
    bool cut_pending;
    bool refuse_piece, refuse_snap; /* a start says that it cannot load that */
    struct store_done done;         /* of the last sync */
    /* What a start read. */
    struct model_state read;
    size_t read_pieces;
    bool wrong; /* bytes that nobody wrote */
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

int model_sync_end(struct model *m, int result); /* the result, and the states that it leaves */
int model_sync(struct model *m);
/* store_read; the records must be those of the acknowledged history. */
int model_read(struct model *m, zxid_t after, size_t max_bytes);

#endif
