/* How much room the disk of tests/lib/mem_files has: a number of bytes, or a number of calls. */
#ifndef ZKFS_TESTS_LIB_MEM_ROOM_H
#define ZKFS_TESTS_LIB_MEM_ROOM_H

#include "common/types.h"

struct mem_room {
    uint64_t capacity; /* bytes of all files; 0: no bound */
    uint64_t before;   /* calls that there is room for, before those that there is none for */
    uint64_t none;     /* that many then; 0: there is room */
    bool half;         /* a write that finds no room has done a part */
    bool refused;      /* one did not find it, since the last change of this */
};

/* Of a write of n bytes at `offset` to a file of `size` bytes, on a disk that holds `used`: how
 * many it takes. n: all is well. */
size_t mem_room_write(struct mem_room *r, uint64_t used, size_t size, size_t n, size_t offset);
/* Whether there is room for a name. */
bool mem_room_name(struct mem_room *r, uint64_t used);

#endif
