/* What is left of a damaged directory (docs/recovery.md, "Holes"). Nothing is changed by looking.
 *
 * The log is read on behind damage: frames are keyed to their segment and place, so the next whole
 * one is found. Whole records that stand behind each other are a run; runs of which one is known to
 * follow directly behind the other are an island. What lies between islands is a hole. */
#ifndef ZKFS_REPLICA_STORE_SURVEY_H
#define ZKFS_REPLICA_STORE_SURVEY_H

#include "common/buf.h"
#include "replica/store/snap_file.h"
#include "replica/store/wal.h"

/* Where it is not known which record stands before a run. */
#define SURVEY_UNKNOWN ((zxid_t)-1)
#define SURVEY_NAME_BYTES 32
/* Reads that go on where another one ended: as many askers as an ensemble has, and the copying. */
#define SURVEY_RECENT 8

/* Whole records in one segment, one behind the other, with nothing but marks between them. */
struct survey_run {
    zxid_t before; /* the record before the first, or SURVEY_UNKNOWN; 0: history begins here */
    zxid_t first, last;
    zxid_t segment; /* its name */
    uint64_t identity;
    uint64_t offset; /* of the first record's frame */
    uint64_t end;    /* behind the last one's */
};

struct survey_island {
    zxid_t before, first, last; /* as a run's */
};

enum survey_promise {
    SURVEY_PROMISE_NONE, /* no copy is whole */
    SURVEY_PROMISE_WHOLE /* one is, at least */
};

struct survey_place {
    zxid_t after;
    size_t run; /* + 1; 0: none */
    uint64_t offset;
};

struct survey {
    const struct store_dir *dir; /* borrowed */
    /* The newest whole snapshot: what lies before it is not needed. */
    bool has_base;
    char base_name[SURVEY_NAME_BYTES];
    struct snap_base base;
    size_t snapshots_lost; /* newer ones, that are damaged */
    zxid_t reach;          /* of the newest, whole or not: the log had records up to there */
    /* Those behind the base, and the one that it lies in. Ascending. */
    struct survey_run *runs;
    size_t run_count, run_cap;
    /* The last record that this log is known to have had; 0: none. It may be behind all runs. */
    zxid_t known_end;
    /* There may have been more behind known_end that was acknowledged. */
    bool tail_lost;
    enum survey_promise promise;
    uint32_t epoch;    /* the promise; 0: none */
    bool promised_log; /* it says that the log has records */
    bool lossy;
    /* For the log: what is wrong, the first few findings. */
    struct buf said;
    size_t findings;
    struct survey_place recent[SURVEY_RECENT];
    size_t recent_next;
};

/* Reads all of it. Snapshots whose `begun` is in `refused` do not count: they are whole and could
 * not be loaded. 0; -EPROTONOSUPPORT something is of a newer format; or the system's; ret_why has a
 * sentence then. `d` is borrowed until survey_close. */
int survey_take(struct survey *sv, const struct store_dir *d, const zxid_t *refused,
                size_t refused_count, struct buf *ret_why);
void survey_close(struct survey *sv);

/* The i-th island behind `behind` or around it, ascending; false behind the last. */
bool survey_island(const struct survey *sv, zxid_t behind, size_t i,
                   struct survey_island *ret_island);

/* Calls fn for the records behind `after` that are known to follow it, up to `until`, in order: one
 * at least, then while their payloads are no more than max_bytes together. The count; 0: nothing
 * whole is known to follow it; -EBADMSG: it was whole and is not any more; or the system's. */
int survey_read(struct survey *sv, zxid_t after, zxid_t until, size_t max_bytes, wal_record_fn *fn,
                void *ctx);
/* Others know that `first`, the first record of a run, stands directly behind `before`. */
void survey_adopt(struct survey *sv, zxid_t first, zxid_t before);
/* survey_read as an answer to another server, whose history has both: within one epoch the numbers
 * tell that this is what follows; across epochs only a history that has `until` knows. */
int survey_answer(struct survey *sv, zxid_t after, zxid_t until, size_t max_bytes,
                  wal_record_fn *fn, void *ctx);
/* Whether a record with this zxid is in a run: 1, 0 or a negative errno. */
int survey_has(struct survey *sv, zxid_t zxid);

/* For the halves of the survey (survey_log.c): reads the log into runs, known_end and tail_lost. */
int survey_log(struct survey *sv, struct buf *ret_why);
/* One more finding: "DIR/NAME: offset N: WHAT". */
void survey_say(struct survey *sv, const char *name, uint64_t offset, const char *what);

#endif
