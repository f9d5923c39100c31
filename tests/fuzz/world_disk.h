/* The disk of a fuzzed replica: jobs in the order in which they were asked for, each carried out
 * when the world says so; and what stands there then, for a restart to read. */
#ifndef ZKFS_TESTS_FUZZ_WORLD_DISK_H
#define ZKFS_TESTS_FUZZ_WORLD_DISK_H

#include "replica/server/replica.h"

#define DISK_RECORDS 512
#define DISK_PIECES 1024
#define DISK_JOBS 1024

struct disk_record {
    enum log_kind kind;
    zxid_t zxid, committed;
    struct blob *payload;
};

struct disk_snapshot {
    struct blob *pieces[DISK_PIECES];
    size_t count;
    zxid_t begun, ended;
    bool whole;
};

struct disk_job {
    enum update_type type;
    zxid_t zxid, ended;
    uint32_t epoch;
    uint8_t peer;
};

struct world_disk {
    struct disk_record log[DISK_RECORDS];
    size_t count;   /* appended */
    size_t durable; /* of them */
    uint32_t epoch; /* 0: none was saved */
    struct disk_snapshot base, staged;
    struct disk_job jobs[DISK_JOBS];
    size_t job_count;
    size_t changing; /* truncations and installations that wait: nothing is appended meanwhile */
};

void disk_close(struct world_disk *d);
/* Takes a job, when the update is one. False: it is none of the disk's. */
bool disk_update(struct world_disk *d, const struct update *u);
/* Carries out the next job, or several appends that follow each other, and gives the answer, whose
 * records are good until the next call. False when nothing waits, and for what has no answer. */
bool disk_next(struct world_disk *d, struct event *ret_answer);
bool disk_idle(const struct world_disk *d);

/* What is durable on `from`, on a new disk. */
void disk_copy(struct world_disk *d, const struct world_disk *from);
/* What a start reads, by calling back with each event; only what is durable. */
void disk_read(const struct world_disk *d, void (*fn)(void *ctx, const struct event *ev),
               void *ctx);

#endif
