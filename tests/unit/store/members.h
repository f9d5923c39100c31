/* A few members in one process: real cores and stores over disks in memory, with links, clients and
 * a clock that are played here. Nothing is at random: the same test is the same run. */
#ifndef ZKFS_TESTS_UNIT_STORE_MEMBERS_H
#define ZKFS_TESTS_UNIT_STORE_MEMBERS_H

#include "common/buf.h"
#include "replica/member.h"
#include "tests/lib/mem_files.h"

#define MEMBERS_MAX 5
#define MEMBERS_DIR "/data/log"

struct members;

struct members_message {
    struct members_message *next;
    uint8_t from;
    bool up, down; /* not a message, but the link's beginning or end */
    struct buf bytes;
};

struct members_host {
    struct members *all;
    uint8_t id;
    struct mem_files *files; /* owned */
    struct env env;
    struct member *member; /* NULL while it is down */
    bool cut;              /* nobody is linked with it */
    bool stopped;
    int64_t timer_ms;
    bool sync_due;
    bool checkpoint_due; /* its runner was asked for: it runs when time goes on */
    uint64_t randoms;
    bool linked[MEMBERS_MAX + 1];
    bool told[MEMBERS_MAX + 1];            /* of that link */
    struct members_message *first, **last; /* what is on its way to it */
    /* Its one client. */
    conn_id_t conn; /* 0: none */
    bool open;
    int32_t xid;
    struct buf inbox;
    size_t taken;     /* of it, by the last answer */
    struct buf notes; /* every log line, and why it stopped */
};

struct members {
    struct members_host hosts[MEMBERS_MAX]; /* ids from 1 */
    size_t count;
    struct quorum_server servers[MEMBERS_MAX];
    int64_t segment_bytes;
    int32_t snap_retain; /* how many checkpoints stay; 0: the default */
    int64_t snap_count;  /* 0: no checkpoints but members_checkpoint's */
    int64_t reserve_bytes;
    bool say; /* each log line goes to stdout, too */
    int64_t now_ms;
    conn_id_t last_conn;
    size_t written; /* znodes /w0, /w1 ... that were acknowledged */
};

void members_init(struct members *ms, size_t count);
void members_close(struct members *ms);
/* Another disk for host i, which is down. */
void members_take_disk(struct members *ms, size_t i, struct mem_files *take_files);

/* 0 or the error of member_start, whose sentence is in the notes. */
int members_start(struct members *ms, size_t i);
void members_start_all(struct members *ms);
/* The process ends; the disk has all that it wrote. */
void members_kill(struct members *ms, size_t i);
void members_kill_all(struct members *ms);

/* Everything that happens within so much time. */
void members_run(struct members *ms, int64_t for_ms);
/* Until that many of those that run serve; CHECKs that it comes within a minute. */
void members_run_until_serving(struct members *ms, size_t count);
bool members_serves(const struct members *ms, size_t i);
/* The index of the leader that serves; MEMBERS_MAX: there is none. */
size_t members_leader(const struct members *ms);
bool members_repairing(const struct members *ms, size_t i);
/* The core of host i; NULL while it does not run or is being repaired. */
struct replica *members_core(const struct members *ms, size_t i);

/* Host i's client has a session: false when it gets none. */
bool members_open(struct members *ms, size_t i);
/* Sends a request without waiting, and nothing happens yet. */
void members_send(struct members *ms, size_t i, const struct buf *frame);
/* Waits for one more answer: its bytes, borrowed until the next one. False: there comes none. */
bool members_answer(struct members *ms, size_t i, struct slice *ret_frame);
/* One more znode through host i: true when it was acknowledged. */
bool members_write(struct members *ms, size_t i);
void members_write_many(struct members *ms, size_t i, size_t count); /* CHECKs */
/* Asks without waiting. */
void members_ask_write(struct members *ms, size_t i);
/* A word's answer, in the host's inbox. */
void members_word(struct members *ms, size_t i, const char *word);

/* CHECKs that all run, serve, have the same tree, and in it all that was acknowledged. */
void members_check_equal(struct members *ms);
/* Whether a log line of host i has this text. */
bool members_noted(const struct members *ms, size_t i, const char *text);

/* Host i makes a checkpoint of all that it has applied, and purges what it may then. Its zxid. */
zxid_t members_checkpoint(struct members *ms, size_t i);
/* A path of host i's segment: 0 the last, 1 the one before ...; the caller frees it. */
char *members_segment(const struct members *ms, size_t i, size_t from_last);

#endif
