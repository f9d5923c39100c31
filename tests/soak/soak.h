/* The parts of soak: its world and its client (soak_world.c), and what is checked (soak.c). */
#ifndef ZKFS_TESTS_SOAK_SOAK_H
#define ZKFS_TESTS_SOAK_SOAK_H

#include "common/buf.h"
#include "common/cursor.h"
#include "common/prng.h"
#include "replica/member.h"
#include "tests/soak/plain_files.h"

#define DIR "/soak/log"
#define PARENTS 16
#define KEYS 2048
#define VALUE_MAX 256
/* A record of the longest path and value in the log, with its share of the rest. */
#define RECORD_BYTES 448
#define SEGMENT_BYTES (256 << 10)
/* What the directory holds beside snapshots and log: the reserve, and small files. */
#define BESIDE_BYTES ((1 << 20) + 4096)
#define BATCH 64
/* A millisecond goes by with so many writes: a day of them takes hours of its clock. */
#define WRITES_PER_MS 6
#define RESTART_MIN 25000
#define RESTART_MAX 75000
#define EPOCHS_MAX 100000
#define TELL_EVERY 1000000
/* Restarts until memory is what it will be. */
#define WARM_RESTARTS 8
/* Of a record that zab keeps in memory, on average: as measured. */
#define KEPT_RECORD_BYTES 226
#define HEAP_SLACK_BYTES (512 << 10)
/* Of a member that serves: the 65,536 records that zab keeps for learners, and the rest. */
#define HEAP_SERVING_BYTES (20 << 20)
/* Batches within which what a snapshot made superfluous is gone. */
#define PURGE_BATCHES 16
#define LOGS_MAX 256

struct key {
    bool there;
    int32_t version;
    uint32_t stamp; /* what its value is made of */
};

struct soak {
    uint64_t writes, snap_count, retain;
    struct plain_files *files;
    struct env env;
    struct member *member;
    struct prng prng;
    int64_t now_ms, deadline_ms;
    bool checkpoint_wanted; /* and not run */
    /* The client. */
    conn_id_t conn;
    int32_t xid, answered;
    struct buf frame, inbox;
    struct blob *acl;
    struct key keys[KEYS];
    uint32_t stamp;
    uint64_t done; /* writes */
    zxid_t last_zxid;
    /* Records before each epoch's first, so that they can be counted across epochs. */
    uint64_t records_before[EPOCHS_MAX];
    uint32_t epoch;
    /* What was seen. */
    zxid_t newest;              /* snapshot */
    uint64_t begun_at, longest; /* records: when the one under way began; most during one */
    uint64_t snap_max_bytes, snaps, restarts, replayed_max, dir_max_bytes, bound_bytes;
    int late;          /* batches since there was something superfluous */
    size_t heap_bytes; /* of a warm member behind a start */
    double start_ms;   /* the last ones, on average */
};

/* End the process with a line of TAP. */
_Noreturn void soak_not_ok(struct soak *s, const char *what, uint64_t got, uint64_t most);
_Noreturn void soak_wrong(struct soak *s, const char *what);

/* The world: files, and env; the options and the seed are set. */
void soak_world_init(struct soak *s);
void soak_world_close(struct soak *s);
/* Ticks that are due, and the checkpoints' runner, some time after it was asked for. */
void soak_run_timers(struct soak *s);
/* The checkpoints' runner, if it was asked for. */
void soak_run_checkpoint(struct soak *s);

/* The number of a record in all that were ever written; of the newest that a reply told of. */
uint64_t soak_record_number(struct soak *s, zxid_t zxid);
uint64_t soak_records(struct soak *s);

/* The client. Requests are handed over at once, and are answered by soak_take_replies at the
 * latest. */
void soak_connect(struct soak *s);
void soak_put_create(struct soak *s, struct slice path, struct slice data);
void soak_put_get(struct soak *s, struct slice path);
/* A write of the script, and what the model then says. */
void soak_put_write(struct soak *s);
void soak_take_replies(struct soak *s);
/* The next reply in `all`, which the inbox is: its record; its header is looked at here. */
struct cursor soak_next_reply(struct soak *s, struct cursor *all);
/* The value that belongs to a stamp; the path of a key. */
struct slice soak_value(uint32_t stamp, uint8_t bytes[VALUE_MAX]);
struct slice soak_path(uint32_t key, char path[32]);

#endif
