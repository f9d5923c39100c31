#include "tests/sim/sim_pipe.h"

#include "common/mem.h"

#include <string.h>

void pipe_put(struct sim_pipe *p, enum sim_item_type type, struct slice bytes, int64_t now_us,
              int64_t delay_us) {
    size_t n = bytes.len > 0 ? (size_t)bytes.len : 0;
    struct sim_item *i = mem_alloc(sizeof *i + n);
    *i = (struct sim_item){
        .at_us = now_us + delay_us, .sent_us = now_us, .type = type, .len = (int32_t)n};
    if (n > 0)
        memcpy(i->bytes, bytes.p, n);
    if (i->at_us < p->last_us)
        i->at_us = p->last_us;
    p->last_us = i->at_us;
    p->bytes += n;
    if (p->last)
        p->last->next = i;
    else
        p->first = i;
    p->last = i;
}

struct sim_item *pipe_take(struct sim_pipe *p) {
    struct sim_item *i = p->first;
    if (!i)
        return NULL;
    p->first = i->next;
    if (!p->first)
        p->last = NULL;
    p->bytes -= (size_t)i->len;
    return i;
}

void pipe_lose_tail(struct sim_pipe *p, size_t keep) {
    struct sim_item **at = &p->first;
    p->last = NULL;
    p->bytes = 0;
    for (; *at && keep > 0; keep--) {
        p->last = *at;
        p->bytes += (size_t)(*at)->len;
        at = &(*at)->next;
    }
    struct sim_item *lost = *at;
    *at = NULL;
    p->last_us = p->last ? p->last->at_us : 0;
    while (lost) {
        struct sim_item *next = lost->next;
        mem_free(lost);
        lost = next;
    }
}

void pipe_clear(struct sim_pipe *p) {
    pipe_lose_tail(p, 0);
    p->gen++;
    p->scheduled = false;
}

bool pipe_is_due(const struct sim_pipe *p, int64_t now_us) {
    return p->first && p->first->at_us <= now_us;
}

size_t pipe_count(const struct sim_pipe *p) {
    size_t n = 0;
    for (const struct sim_item *i = p->first; i; i = i->next)
        n++;
    return n;
}
