/* The store as its own files see it. */
#ifndef ZKFS_REPLICA_STORE_STORE_STATE_H
#define ZKFS_REPLICA_STORE_STORE_STATE_H

#include "replica/store/epoch_file.h"
#include "replica/store/snap_file.h"
#include "replica/store/store.h"
#include "replica/store/wal_index.h"
#include "replica/store/wal_state.h"

enum job_type {
    JOB_APPEND, /* batch */
    JOB_TRUNCATE,
    JOB_SAVE_EPOCH,
    JOB_SNAP_BEGIN,
    JOB_SNAP_CHUNK, /* bytes */
    JOB_SNAP_END,
    JOB_SNAP_ABANDON,
};

struct job {
    struct job *next;
    enum job_type type;
    struct wal_batch batch;
    struct buf bytes;
    zxid_t zxid;
    zxid_t ended;
    uint32_t epoch;
    bool dropped; /* JOB_TRUNCATE, carried out: the snapshot, too, and so everything */
};

struct job_queue {
    struct job *first;
    struct job *last;
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
    size_t cuts; /* jobs that take records away and have not ended */
    uint64_t shown_bytes;
    bool snap_begun; /* and not ended or abandoned */
    bool stopped;    /* an ended sync had failed */
    /* Handed over by begin, the runner's until end. */
    struct job_queue running;
    struct wal wal;
    struct epoch_file epoch;
    struct snap_writer snap;
    struct snap_base base;
    int dead; /* the first error, negative */
};

/* Reads what is there, and repairs what a crash left (store_open.c). The directory is there and
 * locked. */
int store_recover(struct store *s, const struct store_reader *reader, struct buf *ret_why);

#endif
