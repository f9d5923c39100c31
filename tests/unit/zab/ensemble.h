/* An ensemble of struct zab on virtual links, disks and clocks, for tests: by hand, or driven at
 * random. After every step it aborts (with the seed) when committed histories do not agree. */
#ifndef ZKFS_TESTS_UNIT_ZAB_ENSEMBLE_H
#define ZKFS_TESTS_UNIT_ZAB_ENSEMBLE_H

#include "common/prng.h"
#include "replica/zab/zab.h"

#define SERVERS_MAX 8u

/* A committed transaction as applied: which value a zxid carries. */
struct entry {
    zxid_t zxid;
    uint64_t value;
};

struct entries {
    struct entry *list;
    size_t count, cap;
};

struct disk_record {
    zxid_t zxid, committed;
    struct blob *payload;
};

enum job_type { JOB_APPEND, JOB_TRUNCATE, JOB_EPOCH, JOB_SNAPSHOT };

struct job {
    enum job_type type;
    struct disk_record record;
    zxid_t zxid, ended; /* TRUNCATE; SNAPSHOT: begun, ended */
    uint32_t epoch;
    struct entries state; /* SNAPSHOT */
    struct job *next;
};

/* What survives a crash, and the jobs that may not. */
struct disk {
    struct disk_record *records;
    size_t count, cap;
    zxid_t base, ended;
    struct entries base_state;
    uint32_t epoch;
    bool lossy; /* it has lost its end */
    struct job *jobs, **jobs_end;
};

struct message {
    struct zab_msg msg;
    struct message *next;
};

struct link { /* one direction */
    bool up, held;
    struct message *first, **end;
};

struct marker {
    zab_marker marker;
    size_t seen; /* entries committed anywhere when it was asked for */
};

struct server {
    struct zab *z; /* NULL: crashed */
    struct disk disk;
    struct entries applied;
    struct entries incoming; /* pieces of a snapshot */
    bool installing;
    bool sending[256]; /* a snapshot to that peer */
    struct entries sent_state[256];
    zxid_t sent_begun[256];
    size_t sent_at[256];
    bool reading[256];
    zxid_t read_after[256];
    struct marker markers[64];
    size_t marker_count;
    int64_t skew_ms;
    uint64_t commits, app_messages, notes;
    const char *fatal, *last_note;
};

struct ensemble {
    uint64_t seed;
    struct prng prng;
    struct zab_config config;
    struct quorum_server members[SERVERS_MAX];
    uint8_t count;
    struct server servers[SERVERS_MAX]; /* id is the index + 1 */
    struct link links[SERVERS_MAX][SERVERS_MAX];
    int64_t now_ms;
    uint64_t next_value;
    struct entries chosen; /* all that was ever applied anywhere */
    uint8_t leaders[4096]; /* by epoch: who was established */
    uint64_t sent[ZM_TYPE_END];
    uint64_t syncs[4]; /* by mode */
    bool lies;         /* messages are made up: a dropped link is no surprise */
    bool trace;
};

struct ensemble *ensemble_new(uint64_t seed, uint8_t voters, uint8_t observers);
void ensemble_free(struct ensemble *e);
void ensemble_start(struct ensemble *e, uint8_t id); /* from its disk */
/* The first `keep` jobs of its disk have happened, the others never do. */
void ensemble_crash(struct ensemble *e, uint8_t id, size_t keep);
void ensemble_connect(struct ensemble *e, uint8_t a, uint8_t b);
void ensemble_disconnect(struct ensemble *e, uint8_t a, uint8_t b);
bool ensemble_deliver(struct ensemble *e, uint8_t from, uint8_t to); /* one; false: none */
bool ensemble_disk(struct ensemble *e, uint8_t id, size_t jobs);     /* so many; false: none */
/* The disk of one that is down loses its last records, at most so many, as far as another voter has
 * each of them, and it knows that. */
void ensemble_lose_end(struct ensemble *e, uint8_t id, size_t records);
size_t ensemble_jobs(const struct ensemble *e, uint8_t id);
bool ensemble_snapshots(struct ensemble *e, uint8_t id); /* a piece to each that gets one */
void ensemble_clock(struct ensemble *e, uint8_t id);
zxid_t ensemble_propose(struct ensemble *e, uint8_t id, uint32_t extra_bytes); /* 0: not ready */
void ensemble_sync(struct ensemble *e, uint8_t id);
void ensemble_pull(struct ensemble *e, uint8_t id);
struct zab *ensemble_zab(struct ensemble *e, uint8_t id);
/* All messages and disk jobs, until nothing moves. */
void ensemble_settle(struct ensemble *e);
/* Settles, and lets time pass, from deadline to deadline. */
void ensemble_run(struct ensemble *e, int64_t ms);
void ensemble_start_all(struct ensemble *e); /* and connects them */
uint8_t ensemble_leader(struct ensemble *e); /* who serves as one; 0: none */
/* A message as if `from` had sent it. */
void ensemble_inject(struct ensemble *e, uint8_t from, uint8_t to, const struct zab_msg *m);

#endif
