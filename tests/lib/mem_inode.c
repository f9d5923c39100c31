#include "tests/lib/mem_inode.h"

#include <string.h>

#include "common/mem.h"

#define SECTOR_BYTES 512u

uint64_t mem_random(uint64_t *seed) {
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void mem_image_resize(struct mem_image *im, size_t size) {
    if (size > im->cap) {
        size_t cap = size > 2 * im->cap ? size : 2 * im->cap;
        im->bytes = mem_realloc(im->bytes, cap);
        memset(im->bytes + im->cap, 0, cap - im->cap);
        im->cap = cap;
    } else if (size < im->size) {
        memset(im->bytes + size, 0, im->size - size);
    }
    im->size = size;
}

void mem_image_copy(struct mem_image *to, const struct mem_image *from) {
    mem_image_resize(to, 0);
    mem_image_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->bytes, from->bytes, from->size);
}

static size_t sector_count(size_t size) { return (size + SECTOR_BYTES - 1) / SECTOR_BYTES; }

void mem_inode_mark_dirty(struct mem_inode *ino, size_t from, size_t to) {
    size_t need = sector_count(to);
    if (need > ino->dirty_cap) {
        size_t cap = need > 2 * ino->dirty_cap ? need : 2 * ino->dirty_cap;
        ino->dirty = mem_realloc(ino->dirty, cap * sizeof *ino->dirty);
        memset(ino->dirty + ino->dirty_cap, 0, (cap - ino->dirty_cap) * sizeof *ino->dirty);
        ino->dirty_cap = cap;
    }
    for (size_t s = from / SECTOR_BYTES; s < need; s++)
        ino->dirty[s] = true;
}

void mem_inode_clean(struct mem_inode *ino) {
    if (ino->dirty_cap > 0)
        memset(ino->dirty, 0, ino->dirty_cap * sizeof *ino->dirty);
}

/* Brings one sector of the cache to the disk, as far as the disk's file reaches. */
static void sector_to_disk(struct mem_inode *ino, size_t sector) {
    size_t at = sector * SECTOR_BYTES;
    for (size_t i = at; i < at + SECTOR_BYTES && i < ino->disk.size; i++)
        ino->disk.bytes[i] = i < ino->cache.size ? ino->cache.bytes[i] : 0;
}

void mem_inode_sync(struct mem_inode *ino) {
    mem_image_resize(&ino->disk, ino->cache.size);
    for (size_t s = 0; s < ino->dirty_cap; s++)
        if (ino->dirty[s])
            sector_to_disk(ino, s);
    mem_inode_clean(ino);
}

void mem_inode_tear(struct mem_inode *ino, uint64_t *seed) {
    size_t low = ino->disk.size < ino->cache.size ? ino->disk.size : ino->cache.size;
    size_t high = ino->disk.size < ino->cache.size ? ino->cache.size : ino->disk.size;
    uint64_t r = mem_random(seed) % 4;
    size_t size = r == 0   ? ino->disk.size
                  : r == 1 ? low + (size_t)(mem_random(seed) % (high - low + 1))
                           : ino->cache.size;
    mem_image_resize(&ino->disk, size);
    for (size_t s = 0; s < ino->dirty_cap; s++)
        if (ino->dirty[s] && mem_random(seed) % 2 == 0)
            sector_to_disk(ino, s);
}

void mem_inode_write(struct mem_inode *ino, const void *p, size_t n, size_t offset) {
    if (offset + n > ino->cache.size)
        mem_image_resize(&ino->cache, offset + n);
    if (n > 0)
        memcpy(ino->cache.bytes + offset, p, n);
    mem_inode_mark_dirty(ino, offset, offset + n);
}
