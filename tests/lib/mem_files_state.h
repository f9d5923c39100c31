/* The inside of a disk in memory, for its own files. */
#ifndef ZKFS_TESTS_LIB_MEM_FILES_STATE_H
#define ZKFS_TESTS_LIB_MEM_FILES_STATE_H

#include <string.h>

#include "tests/lib/mem_files.h"
#include "tests/lib/mem_inode.h"

struct name {
    char *path;
    int now; /* inode, or -1: not there */
    int disk;
    bool dir;
};

/* A change of a name that is not on the disk. Those with the same number are there together or not.
 */
struct change {
    size_t name;
    int inode;
    uint64_t number;
};

struct mem_files {
    struct env_files env;
    struct mem_inode *inodes;
    size_t inode_count;
    struct name *names;
    size_t name_count;
    struct change *journal;
    size_t journal_count;
    uint64_t changes; /* numbers given so far */
    int *handles;     /* inode of each, -1 closed */
    size_t handle_count;
    uint64_t calls;
    uint64_t fault_at; /* the number of the call, 0 none */
    enum mem_fault fault;
    int fault_err;
    bool fault_happened;
    bool off;
    struct mem_room room;
};

/* The index of the name, or -1. */
static inline int name_find(const struct mem_files *f, const char *path) {
    for (size_t i = 0; i < f->name_count; i++)
        if (strcmp(f->names[i].path, path) == 0)
            return (int)i;
    return -1;
}

#endif
