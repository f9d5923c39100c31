/* What a start does with the log's segments: reads them all, decides whether the end is torn or the
 * log is damaged, and only when everything is clear repairs the end. */
#ifndef ZKFS_REPLICA_STORE_WAL_RECOVER_H
#define ZKFS_REPLICA_STORE_WAL_RECOVER_H

#include "common/buf.h"
#include "replica/store/store.h"
#include "replica/store/wal_index.h"
#include "replica/store/wal_reader.h"
#include "replica/store/wal_state.h"
#include "replica/store/wal_truncate.h"

/* The end that was read so far. */
struct wal_end {
    int fd; /* the segment that is read, open for writing; -1 none */
    uint64_t identity;
    zxid_t first_zxid;    /* of the segment */
    uint64_t tail;        /* where the next frame goes */
    uint64_t batch_start; /* where the last batch begins */
    uint64_t size_bytes;  /* of the segment's file */
    zxid_t last_zxid;     /* of the last record, or the base */
};

struct wal_recovery {
    const struct store_dir *dir;     /* borrowed, as the four below */
    const struct store_reader *sink; /* NULL: nobody wants to know */
    struct wal_index *index;         /* NULL likewise */
    struct buf *why;
    struct wal_cut cut; /* with has_cut: was decided on before */
    bool has_cut;
    zxid_t *names; /* first zxids of the segments, ascending */
    size_t count;
    size_t cap;
    size_t doomed; /* of them, so many behind the others are to be removed by the cut */
    zxid_t empty;  /* with has_empty: a last segment that holds nothing and is dropped */
    bool has_empty;
    bool empty_torn;              /* it has the torn beginning of a batch */
    bool empty_headless;          /* its header is not whole */
    struct wal_segments segments; /* those that were read */
    struct wal_reader reader;
    struct wal_end end;
    zxid_t reach;       /* the log has records up to here, or begins with a snapshot of here */
    bool base_replaces; /* nothing but the log's first segment stands behind the base */
    bool base_beside;   /* a checkpoint is the base: there is a log, or it was lost */
    bool had_log;       /* and so it is where the promise says so */
    zxid_t base;        /* records behind it are given to the reader */
    uint64_t base_seal; /* what a first segment continues that begins there */
    zxid_t log_base;    /* what the log begins behind */
    zxid_t *epoch_ends; /* of epochs that ended behind it, up to `base` */
    size_t epoch_end_count, epoch_end_cap;
    bool older_told;
    uint64_t seal;      /* checksum of the current segment's seal; 0: not sealed */
    uint64_t seal_at;   /* its offset */
    zxid_t next_zxid;   /* what it says comes next */
    uint64_t mark_end;  /* behind the current segment's last mark */
    uint64_t cut_bytes; /* of an unfinished write, 0: none */
    uint64_t cut_at;    /* its offset */
    zxid_t cut_zxid;    /* and segment */
};

/* With `cut` the log is read as if that were carried out; NULL: there is none. */
void wal_recovery_init(struct wal_recovery *rec, const struct store_dir *d,
                       const struct wal_cut *cut, struct buf *ret_why);
void wal_recovery_close(struct wal_recovery *rec);
/* Reads the log, all of it, and changes nothing. It begins at or before `base`, a snapshot's zxid
 * or 0; what is behind that is given to the reader. `base_seal` is what the next segment has to
 * continue where there is none. 0; -EBADMSG corruption or doubt; -EPROTONOSUPPORT a newer format;
 * or the system's; why has a sentence then. */
int wal_recovery_read(struct wal_recovery *rec, zxid_t base, uint64_t base_seal,
                      const struct store_reader *sink, struct wal_index *index);
/* After that: carries out the cut, cuts an unfinished write off, and makes durable what was read.
 * 0 or negative errno; why says what was cut, or what failed. */
int wal_recovery_repair(struct wal_recovery *rec);
/* After that: w goes on where the log ends. */
void wal_recovery_take(struct wal_recovery *rec, struct wal *w);
/* Instead of reading: removes every segment that is there, and a cut. 0 or negative errno. */
int wal_recovery_remove_all(struct wal_recovery *rec);

/* For both halves: "DIR/log.X: WHAT: the error's name" in why; returns err. */
int wal_recovery_failed(struct wal_recovery *rec, zxid_t first_zxid, const char *what, int err);
/* Puts "DIR/log.X: offset N: " into why and returns err. The caller appends what is wrong. */
int wal_recovery_refuse(struct wal_recovery *rec, zxid_t first_zxid, uint64_t offset, int err);
void wal_recovery_close_segment(struct wal_recovery *rec);

#endif
