/* The store as its own files see it. */
#ifndef ZKFS_REPLICA_STORE_STORE_STATE_H
#define ZKFS_REPLICA_STORE_STORE_STATE_H

#include "replica/store/epoch_file.h"
#include "replica/store/reserve.h"
#include "replica/store/snap_list.h"
#include "replica/store/store.h"
#include "replica/store/wal_index.h"
#include "replica/store/wal_state.h"

enum job_type {
    JOB_APPEND, /* batch */
    JOB_TRUNCATE,
    JOB_SAVE_EPOCH,
    JOB_SAVE_WHOLE,
    JOB_SNAP_BEGIN,
    JOB_SNAP_CHUNK, /* bytes */
    JOB_SNAP_END,
    JOB_SNAP_ABANDON,
    /* The checkpoints' runner's. */
    JOB_CHECKPOINT_BEGIN,
    JOB_CHECKPOINT_CHUNK, /* bytes */
    JOB_CHECKPOINT_END,
    JOB_CHECKPOINT_ABANDON,
    JOB_PURGE, /* bytes: names, each with its NUL */
};

struct job {
    struct job *next;
    enum job_type type;
    struct wal_batch batch;
    struct buf bytes;
    zxid_t zxid;
    zxid_t ended;
    struct snap_base base; /* JOB_SNAP_END, as far as it came */
    uint32_t epoch;
    uint64_t size_bytes; /* JOB_CHECKPOINT_END, carried out */
    uint64_t kept_bytes; /* likewise: the snapshot that is there stays, and is so long; 0: none */
    int err;             /* of a job of the checkpoints', carried out */
    bool ignored;        /* likewise: it belongs to one that was abandoned */
    bool written;        /* JOB_APPEND: the batch is in the log */
    bool dropped;        /* JOB_TRUNCATE, carried out: the snapshot, too, and so everything */
};

struct job_queue {
    struct job *first;
    struct job *last;
};

/* The first block is the loop's, the second is handed over as the log's is. */
struct checkpoint_state {
    struct job_queue waiting;
    size_t retain;       /* so many snapshots stay */
    bool begun;          /* and not ended or abandoned */
    bool ignore_running; /* what runs was abandoned */
    bool purge_due;
    struct buf left; /* names that are to be purged before any other */

    struct job_queue running;
    struct snap_writer writer;
    uint64_t salt; /* of the next snapshot */
    int err;       /* of the one that is written: the rest of it is skipped */
};

struct store {
    struct store_dir dir;
    int lock_fd;
    /* The loop's. */
    struct job_queue waiting;
    struct job *spare; /* an append's, for its memory */
    struct wal_index index;
    zxid_t base_zxid;    /* what the log begins behind */
    zxid_t durable_zxid; /* of the log */
    struct wal_point durable_end;
    size_t cuts;            /* jobs that take records away and have not ended */
    uint64_t log_bytes;     /* of the log's files, when the last sync ended */
    struct snap_list snaps; /* whole ones, ascending */
    struct checkpoint_state checkpoint;
    bool snap_begun; /* and not ended or abandoned */
    bool stopped;    /* an ended sync had failed */
    bool shown_full; /* as of the last sync that has ended */
    bool held_up;    /* that sync left jobs in `running`, for want of room */
    bool syncing;    /* between store_sync_begin and store_sync_end */
    bool retry;      /* the next sync tries them again, and to have the reserve again */
    /* Handed over by begin, the runner's until end. */
    struct job_queue running;
    struct wal wal;
    struct epoch_file epoch;
    struct snap_writer snap;
    struct snap_base base;
    struct reserve reserve;
    bool full;         /* there was no room for something, and the reserve is not held since */
    bool retrying;     /* this sync is a retry */
    struct job *stuck; /* the first of `running` that there is no room for */
    int dead;          /* the first error, negative */
};

void store_checkpoint_close(struct store *s);
/* What a full disk would not let go is tried again. */
void store_checkpoint_retry(struct store *s);
/* An installed snapshot has taken the place of the history. What was there went with it; but a
 * checkpoint that came to its end meanwhile may have been late for that. */
void store_checkpoint_replaced(struct store *s);

/* Reads what is there, and repairs what a crash left (store_open.c). The directory is there and
 * locked. */
int store_recover(struct store *s, const struct store_reader *reader, struct buf *ret_why);

#endif
