/* An intrusive hash table that never pauses: linear hashing (Litwin, VLDB'80). It grows by one
 * bucket per insertion and shrinks by two per removal, so there is no rehash of everything: the
 * worst insertion moves the entries of one bucket (one on average) and allocates one segment of
 * buckets (HTAB_SEGMENT pointers, 32 KiB, cleared) with now and then a longer list of segments, 8
 * bytes for every 4,096 entries. Lookups read one bucket and, on average, one or two entries.
 * Iterating over it is not offered on purpose: what is seen outside must not depend on hashes
 * (HOUSE 4). */
#ifndef ZKFS_REPLICA_TREE_HTAB_H
#define ZKFS_REPLICA_TREE_HTAB_H

#include <stddef.h>
#include <stdint.h>

/* Buckets in a segment; a power of two. */
#define HTAB_SEGMENT 4096u

/* Stands in the entry, which the table only borrows. */
struct htab_link {
    struct htab_link *next;
    uint32_t hash;
    uint32_t aux; /* the entry's own: these four bytes would be lost to padding */
};

struct htab {
    struct htab_link ***segments;
    uint32_t segment_count; /* allocated */
    uint32_t segment_cap;
    uint32_t buckets; /* in use: level + how many of this round's are split */
    uint32_t level;   /* a power of two <= buckets < 2 * level */
    uint64_t count;
};

/* The entry that a link is inside of. */
#define HTAB_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

void htab_init(struct htab *h);
/* Frees the table's own memory; the entries are their owner's. */
void htab_close(struct htab *h);
/* The same, after calling fn for every entry, in no order, to free it. */
void htab_drain(struct htab *h, void (*fn)(struct htab_link *link));
/* Grows at once for `count` entries in all, which is quick while there are few. Who inserts them
 * all together saves that each of them is moved now and then meanwhile. */
void htab_reserve(struct htab *h, uint64_t count);
/* link->hash is set by the caller; the same key must not be in the table. */
void htab_insert(struct htab *h, struct htab_link *link);
/* The entry must be in the table (CHECK). */
void htab_remove(struct htab *h, struct htab_link *link);

static inline struct htab_link **htab_bucket_at(const struct htab *h, uint32_t index) {
    return &h->segments[index / HTAB_SEGMENT][index % HTAB_SEGMENT];
}

/* The first `buckets - level` buckets are divided already in this round: there one bit more counts.
 */
static inline struct htab_link **htab_bucket(const struct htab *h, uint32_t hash) {
    uint32_t index = hash & (2 * h->level - 1);
    if (index >= h->buckets)
        index -= h->level;
    return htab_bucket_at(h, index);
}

/* The chain that holds whatever has this hash, NULL when empty: the caller walks it by `next` and
 * compares hash and key. */
static inline struct htab_link *htab_chain(const struct htab *h, uint32_t hash) {
    return *htab_bucket(h, hash);
}

/* Who knows what he will look for can have it brought near: first the bucket, and when that has
 * come, its first entry. Nothing else happens. */
static inline void htab_prefetch_bucket(const struct htab *h, uint32_t hash) {
    __builtin_prefetch(htab_bucket(h, hash), 1);
}
static inline void htab_prefetch_entry(const struct htab *h, uint32_t hash) {
    __builtin_prefetch(htab_chain(h, hash));
}

#endif
