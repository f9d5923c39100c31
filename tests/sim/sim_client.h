/* A client: the real session code, and somebody who has it do one thing after another on a small
 * set of paths. It keeps every operation that it ever issued, for the oracles. */
#ifndef ZKFS_TESTS_SIM_SIM_CLIENT_H
#define ZKFS_TESTS_SIM_SIM_CLIENT_H

#include "common/client.h"
#include "common/proto.h"
#include "tests/sim/sim.h"

#define SIM_INTRUDER UINT32_MAX       /* tries passwords; has no session code */
#define SIM_OPERATOR (UINT32_MAX - 1) /* asks by the word snap */

struct sim_op {
    uint64_t token; /* its number, from 1 */
    int32_t opcode;
    struct buf record; /* as sent, without header */
    bool watch;
    int32_t xid;               /* the last it was sent with; 0: it waits */
    session_id_t sent_session; /* of a write: in which it was sent, once, */
    int32_t sent_xid;          /* and with which number */
    uint32_t life;             /* of the client */
    uint32_t sends;
    int64_t issued_us;
    zxid_t floor; /* acknowledged to anybody before it was issued */
    bool done;    /* answered to its caller */
    int32_t err;
    bool seen;                    /* a reply of a server was checked */
    zxid_t committed;             /* a write: where it stands in the history; 0 nowhere yet */
    struct check_result *results; /* of a write that did something; one per operation of it */
    uint32_t result_count;
    bool demanded; /* in the second phase: it has to be answered well */
};

struct sim_client {
    struct world *w;
    uint32_t index;
    struct client *client; /* NULL between two sessions of its life */
    uint32_t lives;
    conn_id_t wire; /* 0: none */
    int64_t timer_us, timer_armed_us;
    uint64_t gen;
    struct sim_op **ops;
    size_t op_count, op_cap;
    size_t first_open; /* all before it are done */
    uint32_t open_count;
    struct sim_op **by_xid; /* of this life */
    size_t xid_cap;
    int32_t last_xid;
    bool watches_for_good; /* adds watches that stay: it is shown the zxid of each event */
    bool closing, closed;
    int32_t close_xid;
    bool has_quit; /* second phase: its work is done */
    uint32_t demands_left;
    bool demanding;
    struct check_client check;
};

void clients_init(struct world *w);
void clients_close(struct world *w);
/* Something from the connection that it has. */
void client_hear(struct sim_client *c, struct sim_wire *wire, const struct sim_item *item);
void client_timer(struct sim_client *c, uint64_t gen);
void client_work(struct sim_client *c);   /* SE_CLIENT_OP */
void client_demand(struct sim_client *c); /* the second phase begins */
bool client_is_content(const struct sim_client *c);
struct sim_op *client_op_of_xid(struct sim_client *c, int32_t xid);
/* The write that was sent so; NULL: none. */
struct sim_op *client_op_of_cxid(struct sim_client *c, session_id_t session, int32_t cxid);

/* sim_work.c: draws the next operation into op. */
void work_draw(struct sim_client *c, struct sim_op *op);
void work_draw_demand(struct sim_client *c, struct sim_op *op);

#endif
