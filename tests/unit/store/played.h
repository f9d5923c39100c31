/* A member between a core and an env that are both played here: the core answers each event with
 * what the test laid out for its type, and everything that happens is a word in `trace`. */
#ifndef ZKFS_TESTS_UNIT_STORE_PLAYED_H
#define ZKFS_TESTS_UNIT_STORE_PLAYED_H

#include "replica/member.h"
#include "tests/lib/mem_files.h"

#define PLAYED_UPDATES_MAX 8

struct script {
    struct update updates[PLAYED_UPDATES_MAX];
    size_t count;
    int times; /* how often it answers so; 0: always */
};

struct played {
    struct script scripts[EV_LOG_PURGED + 1];
    struct buf trace;
    zxid_t next_zxid; /* of what the core appends */
    bool in_step;
    bool replica_alive;
    struct mem_files *files;
    struct member *m;
    bool sync_inline; /* env.log_sync runs and reports at once */
    bool call_back;   /* env.client_send and env.peer_send call into the member */
    int random_err;
    struct buf why;
};

extern struct played played; /* of the test that runs */

void played_setup(void); /* a core that promises and begins epoch 1 at its start */
void played_teardown(void);
int played_start(void);
/* Starts, with the epoch's record synced, and forgets the trace. */
void played_started(void);
void played_stop(void); /* the process ends */

/* One more update in the answer to an event of this type. */
struct update *played_answer(enum event_type type, enum update_type update);
void played_answer_append(enum event_type type, enum log_kind kind);
void played_answer_text(enum event_type type, enum update_type update, const char *text);

/* The trace is this, and is forgotten. */
void played_expect(const char *text);
void played_sync(void); /* ends the sync under way */
void played_frame(const char *text);

#endif
