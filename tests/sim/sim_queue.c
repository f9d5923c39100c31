#include "tests/sim/sim_queue.h"

#include "common/mem.h"

void sim_queue_close(struct sim_queue *q) {
    mem_free(q->heap);
    *q = (struct sim_queue){0};
}

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_queue_push(struct sim_queue *q, struct sim_event ev) {
    if (q->count == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 256;
        q->heap = mem_realloc(q->heap, q->cap * sizeof *q->heap);
    }
    ev.order = q->orders++;
    size_t at = q->count++;
    while (at > 0 && before(&ev, &q->heap[(at - 1) / 2])) {
        q->heap[at] = q->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    q->heap[at] = ev;
}

bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event) {
    if (q->count == 0)
        return false;
    *ret_event = q->heap[0];
    struct sim_event last = q->heap[--q->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= q->count)
            break;
        if (child + 1 < q->count && before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!before(&q->heap[child], &last))
            break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    if (q->count > 0)
        q->heap[at] = last;
    return true;
}
