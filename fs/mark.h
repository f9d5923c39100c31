/* Short memories that let tools finish what they are in the middle of. What a znode is shown as
 * follows from its data alone, so it can change between two calls of one tool:
 *  - `rm -r d` removes the last child of a znode whose data is not null, which is a file from then
 *    on, and goes on with d/.data (rsync --delete takes it last) and rmdir (MARK_EMPTIED: the
 * process that did it still sees a directory);
 *  - `cp -a` writes `d/.data` before the first child of d, and a childless znode with data is a
 * file (MARK_FILLED: this mount still sees a directory, for rsync writes from several processes);
 *  - `tar x` unlinks `d/.data`, which is always there, to create it with O_EXCL (MARK_UNLINKED: the
 *    process that did it sees it gone, where it cannot be told how it asks).
 * A mark holds for MARK_MS. */
#ifndef ZKFS_FS_MARK_H
#define ZKFS_FS_MARK_H

#include <sys/types.h>

#include "common/types.h"

#define MARK_MS 10000
/* So many tools at once can be in such a moment; older marks give way. */
#define MARK_COUNT 64

enum mark_kind { MARK_NONE, MARK_EMPTIED, MARK_FILLED, MARK_UNLINKED };

struct mark {
    enum mark_kind kind;
    pid_t pid; /* 0: any */
    uint64_t path_hash;
    int64_t until_ms;
};

struct mark_ring {
    struct mark at[MARK_COUNT];
    unsigned next;
};

void mark_set(struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid,
              int64_t now_ms);
bool mark_holds(const struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid,
                int64_t now_ms);
void mark_clear(struct mark_ring *ring, enum mark_kind kind, struct slice path, pid_t pid);

#endif
