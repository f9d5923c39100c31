/* Who has a lock and who waits, from one listing of a lock directory. Pure: every mount comes to
 * the same answer about the same listing.
 *
 * The rule is first come, first served: an entry is granted when no earlier one of another owner
 * conflicts with it. With one exception, for an owner that asks for more while it has something
 * (fcntl(2) only): it does not wait for those who wait for itself, as they cannot go on before it
 * does. It then takes its place in front of them, that of the lock they wait for. */
#ifndef ZKFS_FS_LOCK_QUEUE_H
#define ZKFS_FS_LOCK_QUEUE_H

#include "fs/lock_name.h"

enum lock_verdict {
    LOCK_GRANTED,
    LOCK_WAITS,
    LOCK_DEADLOCK, /* it waits for somebody who waits for its owner already */
};

struct lock_decision {
    enum lock_verdict verdict;
    int32_t order;  /* GRANTED: the place that it has to take, its own or an earlier one */
    size_t blocker; /* else: the conflicting entry nearest in front of it */
};

/* `held` must be set in those entries of list[mine]'s owner that it has, and in all other owners'.
 */
struct lock_decision lock_queue_decide(const struct lock_entry *list, size_t count, size_t mine);
/* The entry that keeps `want`, which is not in the list, from being granted at once: a held one
 * where there is one, of these the one that begins first. False when there is none. For F_GETLK. */
bool lock_queue_conflict(const struct lock_entry *list, size_t count, const struct lock_entry *want,
                         size_t *ret_at);

#endif
