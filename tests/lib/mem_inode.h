/* A file of tests/lib/mem_files: its bytes in the cache and on the disk, and which sectors of the
 * cache the disk does not have. */
#ifndef ZKFS_TESTS_LIB_MEM_INODE_H
#define ZKFS_TESTS_LIB_MEM_INODE_H

#include "common/types.h"

struct mem_image {
    uint8_t *bytes;
    size_t size;
    size_t cap; /* bytes between size and cap are zero */
};

struct mem_inode {
    struct mem_image cache;
    struct mem_image disk;
    bool *dirty; /* per sector of the cache */
    size_t dirty_cap;
    int lock; /* the handle that has it, -1 none */
};

/* The next number of a sequence that *seed alone decides. */
uint64_t mem_random(uint64_t *seed);

void mem_image_resize(struct mem_image *im, size_t size);
void mem_image_copy(struct mem_image *to, const struct mem_image *from);

/* Sectors that have a byte in [from, to) are not on the disk. */
void mem_inode_mark_dirty(struct mem_inode *ino, size_t from, size_t to);
void mem_inode_clean(struct mem_inode *ino); /* nothing is dirty, whatever the disk has */
void mem_inode_write(struct mem_inode *ino, const void *p, size_t n, size_t offset);
void mem_inode_sync(struct mem_inode *ino);
/* Brings some of the dirty sectors to the disk, and some size between the old one and the new. */
void mem_inode_tear(struct mem_inode *ino, uint64_t *seed);

#endif
