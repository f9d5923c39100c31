/* A log on a disk in memory, and a history to hold against what a start makes of it. Record i of a
 * history is always the same, so a recovered log is right when it is the history's first n records.
 */
#ifndef ZKFS_TESTS_UNIT_STORE_HARNESS_H
#define ZKFS_TESTS_UNIT_STORE_HARNESS_H

#include "common/buf.h"
#include "replica/store/store.h"
#include "tests/lib/mem_files.h"

#define DIR "/data/log"

struct world {
    struct mem_files *files;     /* owned */
    struct store *store;         /* NULL while none is open */
    const struct env_files *env; /* instead of files' own; NULL: that */
    int64_t segment_bytes;
    uint64_t salt;
    bool no_sync;
    size_t appended;      /* records of the history so far */
    size_t durable;       /* of them, those that a sync has acknowledged */
    size_t payload_bytes; /* about, of each record to come */
    zxid_t zxids[4096];
    size_t payloads[4096];
    uint32_t asked;    /* the greatest epoch that was to be promised */
    uint32_t promised; /* and was acknowledged */
    /* What the last start read. */
    size_t read;
    uint32_t epoch; /* the promise */
    bool wrong;     /* something else than the history */
    struct buf why;
};

void world_init(struct world *w);
void world_close(struct world *w);
/* w's disk and history with no log open; to be closed as well. */
void world_clone(const struct world *w, struct world *ret_clone);

/* store_open: reads into `read`, `epoch` and `wrong`. */
int world_open(struct world *w);
void world_store_close(struct world *w);
/* The next record of the history: an epoch's beginning, behind its promise, or a transaction. */
void world_append(struct world *w, bool epoch);
int world_sync(struct world *w);
/* store_sync_end; the log's last durable zxid. */
zxid_t world_sync_end(struct world *w);
/* Promises an epoch, and nothing else. CHECKs that it worked. */
void world_promise(struct world *w, uint32_t epoch);
/* A batch of n records and its sync. CHECKs that it worked. */
void world_batch(struct world *w, size_t n);
/* Forgets what the history has behind the records that the last start read, and opens an epoch. */
void world_continue(struct world *w);
/* CHECKs that the start gave a whole history: nothing wrong, nothing durable missing. */
void world_check_history(const struct world *w);
/* Whether the last start's message names a segment and an offset. */
bool world_named_place(const struct world *w);

/* Whether r is a record of the history, byte for byte; *ret_index is its place. */
bool world_is_record(const struct world *w, const struct log_record *r, size_t *ret_index);

/* A path of a segment: 0 the last, 1 the one before …; valid until the next call. */
const char *world_segment(const struct world *w, size_t from_last);

#endif
