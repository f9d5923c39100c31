#include "replica/tree/htab.h"

#include "common/check.h"
#include "common/mem.h"

/* The table never gets smaller: small ones would split and merge all the time. */
#define BUCKETS_MIN 16u
/* So many buckets before one is divided, its entries are asked for. */
#define AHEAD 8u

static void add_segment(struct htab *h) {
    if (h->segment_count == h->segment_cap) {
        h->segment_cap = h->segment_cap ? 2 * h->segment_cap : 4;
        h->segments = mem_realloc(h->segments, h->segment_cap * sizeof *h->segments);
    }
    h->segments[h->segment_count++] = mem_zalloc(HTAB_SEGMENT * sizeof **h->segments);
}

void htab_init(struct htab *h) {
    *h = (struct htab){.buckets = BUCKETS_MIN, .level = BUCKETS_MIN};
    add_segment(h);
}

void htab_close(struct htab *h) {
    for (uint32_t i = 0; i < h->segment_count; i++)
        mem_free(h->segments[i]);
    mem_free(h->segments);
    *h = (struct htab){0};
}

void htab_drain(struct htab *h, void (*fn)(struct htab_link *link)) {
    for (uint32_t i = 0; i < h->buckets; i++) {
        struct htab_link *next;
        for (struct htab_link *l = *htab_bucket_at(h, i); l; l = next) {
            next = l->next;
            fn(l);
        }
    }
    htab_close(h);
}

/* The next insertions divide the next buckets: their entries are not to be waited for then. A chain
 * has one or two; the second one is known when the first one has come. */
static void prefetch_next(const struct htab *h) {
    uint32_t next = h->buckets - h->level;
    if (next + AHEAD >= h->level)
        return;
    __builtin_prefetch(*htab_bucket_at(h, next + AHEAD), 1);
    struct htab_link *first = *htab_bucket_at(h, next + AHEAD / 2);
    if (first)
        __builtin_prefetch(first->next, 1);
}

/* Divides the next bucket of this round between itself and a new one at the end. */
static void grow(struct htab *h) {
    if (h->buckets > INT32_MAX)
        return; /* 2^31 buckets: chains may get longer from here on */
    if (h->buckets / HTAB_SEGMENT == h->segment_count)
        add_segment(h);
    struct htab_link **low = htab_bucket_at(h, h->buckets - h->level);
    struct htab_link **high = htab_bucket_at(h, h->buckets);
    struct htab_link *chain = *low;
    *low = NULL;
    *high = NULL;
    while (chain) {
        struct htab_link *next = chain->next;
        struct htab_link **to = chain->hash & h->level ? high : low;
        chain->next = *to;
        *to = chain;
        chain = next;
    }
    h->buckets++;
    if (h->buckets == 2 * h->level)
        h->level *= 2;
    prefetch_next(h);
}

/* The reverse: the last bucket goes back into the one that it was divided from. */
static void shrink(struct htab *h) {
    if (h->buckets == h->level)
        h->level /= 2;
    h->buckets--;
    struct htab_link **high = htab_bucket_at(h, h->buckets);
    struct htab_link **end = htab_bucket_at(h, h->buckets - h->level);
    while (*end)
        end = &(*end)->next;
    *end = *high;
    *high = NULL;
    /* One spare segment stays, so that a count at the edge does not allocate and free each time. */
    uint32_t used = h->buckets / HTAB_SEGMENT + 1;
    if (h->segment_count > used + 1)
        mem_free(h->segments[--h->segment_count]);
}

void htab_reserve(struct htab *h, uint64_t count) {
    while (h->buckets < count && h->buckets <= INT32_MAX)
        grow(h);
}

void htab_insert(struct htab *h, struct htab_link *link) {
    struct htab_link **bucket = htab_bucket(h, link->hash);
    link->next = *bucket;
    *bucket = link;
    h->count++;
    if (h->count > h->buckets)
        grow(h);
}

void htab_remove(struct htab *h, struct htab_link *link) {
    struct htab_link **at = htab_bucket(h, link->hash);
    while (*at && *at != link)
        at = &(*at)->next;
    CHECK(*at);
    *at = link->next;
    link->next = NULL;
    h->count--;
    /* Not before half load, so that growing and shrinking never take turns; then two at a time, or
     * it would not keep up. */
    for (int i = 0; i < 2 && h->buckets > BUCKETS_MIN && h->count < h->buckets / 2; i++)
        shrink(h);
}
