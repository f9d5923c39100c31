/* One direction of a connection: items in order, each with its time of arrival. The owner schedules
 * the first one. */
#ifndef ZKFS_TESTS_SIM_PIPE_H
#define ZKFS_TESTS_SIM_PIPE_H

#include "common/types.h"

enum sim_item_type {
    ITEM_UP, /* the connection is there */
    ITEM_BYTES,
    ITEM_DOWN, /* and gone */
};

struct sim_item {
    struct sim_item *next;
    int64_t at_us, sent_us;
    enum sim_item_type type;
    int32_t len;
    uint8_t bytes[];
};

struct sim_pipe {
    struct sim_item *first, *last;
    uint64_t gen; /* goes up when it is emptied: what was scheduled is stale */
    bool scheduled;
    int64_t last_us; /* arrival of the last: nothing overtakes */
    size_t bytes;
};

void pipe_put(struct sim_pipe *p, enum sim_item_type type, struct slice bytes, int64_t now_us,
              int64_t delay_us);
struct sim_item *pipe_take(struct sim_pipe *p); /* the caller frees it (mem_free); NULL: empty */
/* Its first item arrives now; what was scheduled may have been lost since. */
bool pipe_is_due(const struct sim_pipe *p, int64_t now_us);
void pipe_clear(struct sim_pipe *p);
/* Loses all but the first `keep` items. */
void pipe_lose_tail(struct sim_pipe *p, size_t keep);
size_t pipe_count(const struct sim_pipe *p);

#endif
