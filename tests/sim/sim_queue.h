/* What will happen, in virtual time: a heap of small events. Those of one moment happen in the
 * order in which they were pushed. */
#ifndef ZKFS_TESTS_SIM_QUEUE_H
#define ZKFS_TESTS_SIM_QUEUE_H

#include "common/types.h"

struct sim_event {
    int64_t at_us;
    uint64_t order; /* sim_queue_push gives it */
    uint64_t gen;   /* of what it belongs to: one of an earlier life is skipped */
    uint32_t type;  /* enum sim_event_type */
    uint32_t who;
};

struct sim_queue {
    struct sim_event *heap;
    size_t count, cap;
    uint64_t orders;
};

void sim_queue_close(struct sim_queue *q);
void sim_queue_push(struct sim_queue *q, struct sim_event ev);
bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event); /* false: nothing is left */

#endif
