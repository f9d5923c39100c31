/* An ensemble of struct zab in one process, driven by hand: links that hold what was sent until the
 * test delivers it, a disk per server whose jobs are durable only when the test says so, a virtual
 * clock, and above each server a small application. After every input the world checks what must
 * hold of any ensemble (world_check.c, docs/zab.md); what breaks it ends the test with the trace.
 *
 * Nothing happens by itself: world_settle carries out all that can happen without time going on,
 * world_advance lets time go on. Same calls, same trace. */
#ifndef ZKFS_TESTS_SPEC_ZAB_WORLD_H
#define ZKFS_TESTS_SPEC_ZAB_WORLD_H

#include "common/buf.h"
#include "replica/zab/zab.h"

#define WORLD_IDS 10u /* server ids are 1 to 9 */
#define WORLD_REGISTERS 4u
#define WORLD_BLOCKS 16u
#define WORLD_READS 4u
#define WORLD_KEEP_ALL SIZE_MAX
#define WORLD_LOSE_ALL ((size_t)0)

/* A log record; the payload of a transaction is `value` and padding up to `size` bytes. */
struct world_record {
    enum zab_record_kind kind;
    zxid_t zxid, committed;
    uint32_t value, size;
};

struct world_log {
    struct world_record *list;
    size_t count, cap;
};

/* What the application knows: transaction `value` writes register value % WORLD_REGISTERS. Writing
 * one twice leaves the same state (Z9), so a walk over the registers may go on while they change.
 */
struct world_state {
    struct {
        zxid_t zxid;
        uint32_t value;
    } registers[WORLD_REGISTERS];
};

struct world_snapshot {
    zxid_t begun, ended;
    struct world_state state;
    uint32_t pieces; /* how many came */
};

enum world_job_type { JOB_APPEND, JOB_TRUNCATE, JOB_INSTALL, JOB_EPOCH };

/* Asked of the disk and not durable yet. */
struct world_job {
    enum world_job_type type;
    struct world_record record;     /* APPEND */
    zxid_t zxid;                    /* TRUNCATE */
    uint32_t epoch;                 /* EPOCH */
    struct world_snapshot snapshot; /* INSTALL */
};

struct world_disk {
    uint32_t accepted_epoch;
    bool based; /* there is a snapshot: `base`, installed or a checkpoint */
    struct world_snapshot base;
    zxid_t begins;        /* what the log begins behind; before `base` when it reaches back */
    struct world_log log; /* durable */
    bool lossy;           /* it has lost its log's end, */
    zxid_t lost;          /* which was here */
    struct world_job *jobs;
    size_t job_count, job_cap;
};

struct world_message {
    struct zab_msg msg; /* payload is a reference of its own */
    struct world_message *next;
};

/* One direction of a link: what `from` said and `to` has not heard. */
struct world_link {
    bool up;     /* `from` believes that there is a link */
    bool cut;    /* nothing arrives, nothing is lost */
    bool closed; /* `from` has ended it; `to` finds out behind the last message */
    int64_t down_ms;
    struct world_message *first, *last;
    size_t count, bytes;
};

struct world_server {
    bool there;    /* configured */
    bool frozen;   /* neither hears nor acts nor has a clock; its links stay */
    struct zab *z; /* NULL: not running */
    struct world_disk disk;
    bool disk_held;  /* world_settle leaves the disk's jobs alone */
    bool snap_held;  /* world_settle sends no pieces of snapshots */
    bool reads_held; /* world_settle answers no ZAB_LOG_READ */
    bool full;       /* its disk has no room; by world_full */
    bool fatal_expected;
    char fatal[160]; /* ZAB_FATAL's text: it has stopped */

    /* The application. */
    struct world_state state;
    zxid_t applied, exact_from; /* the state is exact from `exact_from` on */
    size_t applied_count;       /* of the world's truth */
    struct world_snapshot incoming;
    bool incoming_open;
    bool loading; /* a snapshot is being installed */

    /* What it said. */
    enum zab_role role;
    uint8_t leader;
    uint32_t role_epoch, serve_epoch;
    uint32_t claimed_epoch; /* the newest that it told as a leader, in this role */
    zxid_t uptodate;        /* what UPTODATE said, in this role */
    bool serving;
    uint32_t serves, roles, drops, snaps_sent, apps, wholes;
    uint32_t last_app;  /* the value in the last ZAB_APP, */
    zxid_t app_applied; /* and what was applied when it came */

    struct {
        bool wanted;
        zxid_t begun;
        uint32_t next;
    } sending[WORLD_IDS];
    struct {
        size_t count; /* more than one when the link was made anew meanwhile */
        zxid_t after[WORLD_READS];
    } reading[WORLD_IDS];
};

/* What any server ever wrote under a zxid: its content and what stood before it. */
struct world_identity {
    zxid_t zxid, previous;
    enum zab_record_kind kind;
    uint32_t value;
};

struct world_truth {
    struct world_record record;
    struct world_state after;
};

struct world_config {
    uint32_t voters, observers; /* ids 1..voters, then the observers */
    uint32_t counter_limit, window_bytes, recent_bytes, inflight_max; /* 0: zab's defaults */
    uint8_t group[WORLD_IDS];
    uint32_t weight[WORLD_IDS]; /* 0: 1 ... */
    bool weightless[WORLD_IDS]; /* ... but for these */
    size_t read_max;            /* records in an answer to ZAB_LOG_READ; 0: 3 */
    bool quiet;                 /* keep no trace */
};

struct zab_world {
    struct world_config config;
    struct quorum_server quorum_servers[WORLD_IDS];
    struct quorum_config quorum;
    int64_t now_ms;
    struct world_server servers[WORLD_IDS];
    struct world_link links[WORLD_IDS][WORLD_IDS]; /* [from][to] */
    bool severed[WORLD_IDS][WORLD_IDS];            /* no link can be made */
    bool no_reconnect;                             /* links come only by world_connect */
    struct {
        uint8_t from, to; /* 0: any */
        int type;         /* 0: any */
    } blocks[WORLD_BLOCKS];
    size_t block_count;

    struct world_identity *known; /* open addressing by zxid */
    size_t known_count, known_cap;
    struct world_truth *truth; /* what was ever committed, in order */
    size_t truth_count, truth_cap;
    uint8_t epoch_leader[4096]; /* who began an epoch; who was established in one */
    uint8_t epoch_established[4096];
    uint32_t promised[WORLD_IDS]; /* the newest epoch for which a promise was counted */

    uint32_t next_value;
    struct buf trace;
    bool echo; /* the trace goes to stderr as well, line by line */
    /* What goes into the trace. */
    bool hide_messages, hide_votes, hide_disk, hide_events, show_pings;
    void (*on_broken)(struct zab_world *w, const char *why);
    void *on_broken_ctx;
    char broken[256];
};

/* --- the world --- */
struct zab_world *world_new(const struct world_config *config);
void world_free(struct zab_world *w);
void world_start_all(struct zab_world *w);
/* Ends the test (on_broken) with a sentence and the trace. */
void world_break(struct zab_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_say(struct zab_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- servers --- */
void world_start(struct zab_world *w, uint8_t id); /* from its disk */
/* kill -9 or a power cut: of the disk's jobs the first `keep` were durable; what it sent arrives.
 */
void world_crash(struct zab_world *w, uint8_t id, size_t keep);
/* The same, but of the jobs of the epoch's file (a file of its own) `keep_epochs` were durable. */
void world_crash_torn(struct zab_world *w, uint8_t id, size_t keep_log, size_t keep_epochs);
void world_wipe(struct zab_world *w, uint8_t id); /* a stopped server's disk is empty */
/* Puts a record into a stopped server's log, as if an earlier term had written it. */
void world_plant(struct zab_world *w, uint8_t id, enum zab_record_kind kind, zxid_t zxid,
                 zxid_t committed);

/* --- what goes wrong with disks, and checkpoints (world_losses.c) --- */
/* A stopped server's log has lost its last records, at most so many and none that its snapshot
 * stands for, and it knows that (zab_recover_lossy). */
void world_lose_end(struct zab_world *w, uint8_t id, size_t records);
/* Whether each of these records is on the disk of another voter. */
bool world_may_lose_end(const struct zab_world *w, uint8_t id, size_t records);
bool world_may_lose_all(const struct zab_world *w, uint8_t id); /* ... of all its records */
/* A snapshot of what it has applied stands beside the log. False when its state is not exact. */
bool world_checkpoint(struct zab_world *w, uint8_t id);
/* Removes the log up to zxid, a record of it that its snapshot stands for. */
void world_purge(struct zab_world *w, uint8_t id, zxid_t zxid);
void world_full(struct zab_world *w, uint8_t id, bool full);

/* --- the disk --- */
size_t world_disk(struct zab_world *w, uint8_t id); /* all jobs; how many */
size_t world_disk_some(struct zab_world *w, uint8_t id, size_t n);

/* --- links --- */
void world_connect(struct zab_world *w, uint8_t a, uint8_t b);
void world_disconnect(struct zab_world *w, uint8_t a, uint8_t b); /* both notice at once */
void world_sever(struct zab_world *w, uint8_t a, uint8_t b);      /* ... and no link can be made */
void world_mend(struct zab_world *w, uint8_t a, uint8_t b);
void world_isolate(struct zab_world *w, uint8_t id);           /* severed from everybody */
void world_cut(struct zab_world *w, uint8_t from, uint8_t to); /* one way; held, not lost */
void world_uncut(struct zab_world *w, uint8_t from, uint8_t to);
void world_heal(struct zab_world *w); /* no cuts, blocks, holds; links come with time */
/* One message; false when there is none that can arrive. */
bool world_deliver(struct zab_world *w, uint8_t from, uint8_t to);
void world_lose(struct zab_world *w, uint8_t from, uint8_t to); /* all that is under way */
/* Gives `to` a message that nobody sent. */
void world_forge(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *msg);
/* The first message under way, or NULL. */
const struct zab_msg *world_head(const struct zab_world *w, uint8_t from, uint8_t to);
/* The first one of that type under way, or NULL. */
const struct zab_msg *world_find(const struct zab_world *w, uint8_t from, uint8_t to,
                                 enum zab_msg_type type);
/* world_settle does not deliver such a message (nor what is behind it). 0: any. */
void world_block(struct zab_world *w, uint8_t from, uint8_t to, enum zab_msg_type type);
void world_unblock(struct zab_world *w); /* all */

/* --- going on --- */
void world_settle(struct zab_world *w);
bool world_step(struct zab_world *w); /* one round of settling; false: nothing can happen */
void world_advance(struct zab_world *w, int64_t ms); /* settles at every moment on the way */
/* Time goes on at once, and what is due is done; nothing is delivered and no disk works. */
void world_tick(struct zab_world *w, int64_t ms);
/* Until some server leads and serves; its id. Breaks the test when none does in `ms`. */
uint8_t world_await_leader(struct zab_world *w, int64_t ms);
uint8_t world_leader(const struct zab_world *w); /* the serving one of the newest epoch, or 0 */
/* Until the message stands at the head of its link, held there. Breaks the test when it does not
 * come. The block remains. */
const struct zab_msg *world_run_to(struct zab_world *w, uint8_t from, uint8_t to,
                                   enum zab_msg_type type);

/* --- the application --- */
zxid_t world_propose(struct zab_world *w, uint8_t id); /* zab_ready must hold */
zxid_t world_propose_sized(struct zab_world *w, uint8_t id, uint32_t size_bytes);
/* Proposes `count`, settles, and checks that all servers that follow the leader have applied them.
 * The last zxid. */
zxid_t world_commit(struct zab_world *w, uint8_t leader, uint32_t count);
bool world_send_app(struct zab_world *w, uint8_t from, uint8_t to, uint32_t value);
zab_marker world_sync(struct zab_world *w, uint8_t id);

/* --- looking --- */
zxid_t world_durable(const struct zab_world *w, uint8_t id); /* the log's last durable record */
zxid_t world_written(const struct zab_world *w, uint8_t id); /* with all jobs carried out */
bool world_has(const struct zab_world *w, uint8_t id,
               zxid_t zxid);                       /* durable, in the log or base */
zxid_t world_committed(const struct zab_world *w); /* the newest that was ever committed anywhere */
/* All running servers that can reach the leader serve, with equal histories and states. */
void world_expect_agreement(struct zab_world *w);
void world_message_text(const struct zab_msg *m, struct buf *out);
const char *world_role_text(enum zab_role role);

/* --- between the world's files --- */
struct blob *world_payload(const struct world_record *r);
bool world_payload_value(struct slice payload, uint32_t *ret_value); /* false: not one of ours */
void world_pump(struct zab_world *w, uint8_t id); /* pulls and carries out all outputs */
void world_clock(struct zab_world *w, uint8_t id);
void world_log_push(struct world_log *log, const struct world_record *r);
void world_disk_ask(struct zab_world *w, uint8_t id, const struct world_job *job);
/* The job's effect on the disk, without a word to anybody. */
void world_disk_carry_out(struct zab_world *w, uint8_t id, const struct world_job *job);
void world_disk_close(struct world_disk *d);
void world_recover_older(struct zab_world *w, uint8_t id);
void world_hear_whole(struct zab_world *w, uint8_t id);
bool world_disk_read(struct zab_world *w, uint8_t id, uint8_t peer); /* answers a ZAB_LOG_READ */
void world_link_send(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *msg);
void world_link_drop(struct zab_world *w, uint8_t from, uint8_t to); /* `from` ends it */
void world_link_clear(struct world_link *link);
void world_links_reconnect(struct zab_world *w);    /* those that are due */
int64_t world_links_due(const struct zab_world *w); /* INT64_MAX: none */
void world_app_load(struct zab_world *w, uint8_t id, const struct world_snapshot *snapshot);
void world_app_apply(struct zab_world *w, uint8_t id, const struct zab_output *o);
bool world_app_send_piece(struct zab_world *w, uint8_t id, uint8_t peer);
void world_app_take_piece(struct zab_world *w, uint8_t id, const struct blob *piece);
void world_check_output(struct zab_world *w, uint8_t id, const struct zab_output *o);
void world_check_message(struct zab_world *w, uint8_t from, uint8_t to, const struct zab_msg *m);
void world_check_server(struct zab_world *w, uint8_t id); /* after each input */
void world_check_disk(struct zab_world *w, uint8_t id);   /* after each change of it */
void world_check_append(struct zab_world *w, uint8_t id, const struct world_record *r);
void world_check_proposed(struct zab_world *w, uint8_t id, const struct world_record *r,
                          zxid_t previous);
void world_truth_push(struct zab_world *w, const struct world_record *r);
/* Extends what was ever committed, or breaks when it contradicts that. */
void world_check_committed(struct zab_world *w, size_t index, const struct world_record *r);

#endif
