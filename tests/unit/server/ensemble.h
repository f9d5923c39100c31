/* Several cores in one process: a harness each, links as queues of bytes, disks in memory. After
 * every step all that is on its way arrives, unless it is held: so the harness's functions work on
 * any server as they do on one alone. Time goes on only by e_advance and e_until. */
#ifndef ZKFS_TESTS_UNIT_SERVER_ENSEMBLE_H
#define ZKFS_TESTS_UNIT_SERVER_ENSEMBLE_H

#include "tests/unit/server/harness.h"

#define E_MAX 5

struct e_message {
    struct e_message *next;
    struct blob *bytes;
};

/* One way of a link. */
struct e_way {
    struct e_message *first, *last;
    bool held; /* nothing arrives */
};

struct e_disk {
    struct blob **pieces; /* of the snapshot that the log begins behind */
    size_t piece_count;
    struct blob **coming; /* of the one that is being received */
    size_t coming_count;
    zxid_t begun, ended;
    bool has_snapshot;
    struct event answers[64]; /* still to be given */
    size_t answer_count;
};

struct ensemble {
    size_t count;
    struct quorum_server servers[E_MAX];
    struct harness *h[E_MAX]; /* [i] has the id i + 1 */
    struct e_disk disk[E_MAX];
    bool dead[E_MAX];
    bool frozen[E_MAX];    /* gets no event */
    bool over[E_MAX];      /* said UPD_START_OVER: dead until e_revive, or the next e_advance */
    bool distrusts[E_MAX]; /* and does not trust its disk */
    uint32_t start_overs[E_MAX];
    bool stay_over; /* e_advance revives nobody */
    struct e_way way[E_MAX][E_MAX];
    bool linked[E_MAX][E_MAX]; /* [a][b] and [b][a] alike */
    bool down[E_MAX][E_MAX];   /* [a] has not heard yet that its link to [b] is gone */
    bool cut[E_MAX][E_MAX];    /* likewise: not to be linked */
    bool settling;
    size_t turn;
    bool held;                                        /* nothing settles by itself */
    void (*configure)(struct replica_config *config); /* or NULL */
    uint32_t counter_limit;                           /* 0: the ordinary one */
};

/* Servers 1 to count, the last `observers` of them observers. Not started. */
struct ensemble *e_new(size_t count, size_t observers);
void e_free(struct ensemble *e);
/* All start, and a leader serves. */
void e_start(struct ensemble *e);
struct ensemble *e_started(size_t count, size_t observers);

/* Everything that is on its way arrives, until nothing is. */
void e_settle(struct ensemble *e);
/* One thing of that: what a disk or a shell has to say, or a message; in turn. False: nothing. */
bool e_settle_one(struct ensemble *e);
void e_advance(struct ensemble *e, int64_t ms);
/* Time goes on until one leads and every living, connected server serves: within 10 s, or the test
 * fails. */
void e_until_served(struct ensemble *e);
struct harness *e_leader(struct ensemble *e);   /* the newest one; NULL: none */
struct harness *e_follower(struct ensemble *e); /* one that serves and does not lead (asserts) */
size_t e_index(const struct ensemble *e, const struct harness *h);

/* No log of any server becomes durable; or all of them do, and what follows is settled. */
void e_hold_disks(struct ensemble *e, bool hold);
void e_kill(struct ensemble *e, size_t i); /* what is not durable is lost */
/* Who started over does so once more, without its disk where it does not trust that. */
void e_revive(struct ensemble *e, size_t i);
/* The link breaks, and what is on it is lost. */
void e_cut(struct ensemble *e, size_t a, size_t b);
void e_join(struct ensemble *e, size_t a, size_t b);
void e_isolate(struct ensemble *e, size_t i);
void e_rejoin(struct ensemble *e, size_t i);
/* A dead server's disk is empty again. */
void e_wipe(struct ensemble *e, size_t i);
/* As if a change had gone wrong in memory, of which the disk knows nothing; and as if it had gone
 * wrong on this server's disk: its log says `wrong`, of the same length, where it said `right`. */
void e_spoil(struct harness *h);
void e_spoil_log(struct harness *h, const char *right, const char *wrong);
uint32_t e_start_overs(const struct ensemble *e); /* of all servers together */
/* All living servers have the same tree and the same sessions. */
void e_assert_equal(struct ensemble *e);
/* A message of another server, as it might come from a broken one, too. */
void e_send_app(struct harness *to, uint8_t from, const struct app_msg *m);

#endif
