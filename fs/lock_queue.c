#include "fs/lock_queue.h"

#include "common/mem.h"

/* Whether a comes before b in the queue: sequence numbers wrap around. */
static bool is_before(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b) < 0; }

static bool same_owner(const struct lock_entry *a, const struct lock_entry *b) {
    return a == b || (a->mount != 0 && a->mount == b->mount && a->owner == b->owner);
}

/* Both in one queue (flock or fcntl), overlapping, and one of them writes. */
static bool in_conflict(const struct lock_entry *a, const struct lock_entry *b) {
    return a->range == b->range && (a->write || b->write) && a->start <= b->end &&
           b->start <= a->end;
}

/* Whether b keeps a waiting, the exception apart. */
static bool is_behind(const struct lock_entry *a, const struct lock_entry *b) {
    return !same_owner(a, b) && in_conflict(a, b) && is_before(b->order, a->order);
}

/* Whether b waits for something that a's owner has; *order becomes the place of that, if earlier.
 */
static bool waits_for_owner_of(const struct lock_entry *list, size_t count,
                               const struct lock_entry *a, const struct lock_entry *b,
                               int32_t *order) {
    bool found = false;
    for (size_t i = 0; a->range && i < count; i++) {
        const struct lock_entry *h = &list[i];
        if (h == a || !h->held || !same_owner(h, a) || !is_behind(b, h))
            continue;
        found = true;
        if (is_before(h->order, *order))
            *order = h->order;
    }
    return found;
}

static bool blocks(const struct lock_entry *list, size_t count, const struct lock_entry *a,
                   const struct lock_entry *b) {
    int32_t order = a->order;
    return is_behind(a, b) && !waits_for_owner_of(list, count, a, b, &order);
}

/* Follows who waits for whom from `mine` on. Only waits that were there before mine count: of
 * several who close a circle, the last one is told. */
static bool is_deadlock(const struct lock_entry *list, size_t count, size_t mine) {
    const struct lock_entry *me = &list[mine];
    bool *seen = mem_zalloc(count * sizeof *seen);
    size_t *todo = mem_alloc(count * sizeof *todo);
    size_t todo_count = 0;
    bool found = false;
    todo[todo_count++] = mine;
    seen[mine] = true;
    while (todo_count > 0 && !found) {
        const struct lock_entry *waiter = &list[todo[--todo_count]];
        for (size_t i = 0; i < count && !found; i++) {
            if (!blocks(list, count, waiter, &list[i]))
                continue;
            found = list[i].held && same_owner(&list[i], me);
            for (size_t k = 0; k < count; k++) {
                if (seen[k] || !same_owner(&list[k], &list[i]) ||
                    !is_before(list[k].order, me->order))
                    continue;
                seen[k] = true;
                todo[todo_count++] = k;
            }
        }
    }
    mem_free(todo);
    mem_free(seen);
    return found;
}

struct lock_decision lock_queue_decide(const struct lock_entry *list, size_t count, size_t mine) {
    const struct lock_entry *me = &list[mine];
    struct lock_decision d = {.verdict = LOCK_GRANTED, .order = me->order};
    for (size_t i = 0; i < count; i++) {
        const struct lock_entry *e = &list[i];
        if (!is_behind(me, e) || waits_for_owner_of(list, count, me, e, &d.order))
            continue;
        if (d.verdict == LOCK_GRANTED || is_before(list[d.blocker].order, e->order))
            d.blocker = i;
        d.verdict = LOCK_WAITS;
    }
    if (d.verdict == LOCK_WAITS && me->range && is_deadlock(list, count, mine))
        d.verdict = LOCK_DEADLOCK;
    return d;
}

static bool waits(const struct lock_entry *list, size_t count, const struct lock_entry *a) {
    for (size_t i = 0; i < count; i++)
        if (blocks(list, count, a, &list[i]))
            return true;
    return false;
}

bool lock_queue_conflict(const struct lock_entry *list, size_t count, const struct lock_entry *want,
                         size_t *ret_at) {
    bool found = false, held = false;
    for (size_t i = 0; i < count; i++) {
        if (same_owner(&list[i], want) || !in_conflict(&list[i], want))
            continue;
        bool is_held = !waits(list, count, &list[i]);
        if (found && (is_held != held ? held : list[i].start >= list[*ret_at].start))
            continue;
        *ret_at = i;
        held = is_held;
        found = true;
    }
    return found;
}
