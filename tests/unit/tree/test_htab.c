#include "replica/tree/htab.h"

#include "common/mem.h"
#include "tests/lib/unit.h"
#include "tests/unit/tree/txn_make.h"

struct item {
    struct htab_link link;
    uint32_t key;
};

static struct item *find_key(const struct htab *h, uint32_t key, uint32_t hash) {
    for (struct htab_link *l = htab_chain(h, hash); l; l = l->next) {
        struct item *i = HTAB_ENTRY(l, struct item, link);
        if (i->key == key)
            return i;
    }
    return NULL;
}

static struct item *item_new(uint32_t key, uint32_t hash) {
    struct item *i = mem_zalloc(sizeof *i);
    i->key = key;
    i->link.hash = hash;
    return i;
}

static uint32_t mix(uint32_t key) {
    struct prng p;
    prng_init(&p, key);
    return (uint32_t)prng_next(&p);
}

static void free_item(struct htab_link *l) { mem_free(HTAB_ENTRY(l, struct item, link)); }

START_TEST(every_entry_is_found_while_the_table_grows_and_shrinks) {
    enum { N = 20000 };
    struct htab h;
    htab_init(&h);
    for (uint32_t k = 0; k < N; k++) {
        htab_insert(&h, &item_new(k, mix(k))->link);
        /* The one just put in, and one of long ago. */
        ck_assert_ptr_nonnull(find_key(&h, k, mix(k)));
        ck_assert_ptr_nonnull(find_key(&h, k / 2, mix(k / 2)));
        ck_assert_ptr_null(find_key(&h, k + 1, mix(k + 1)));
    }
    ck_assert_uint_eq(h.count, N);
    ck_assert_uint_ge(h.segment_count, N / HTAB_SEGMENT);
    for (uint32_t k = 0; k < N; k++) {
        struct item *i = find_key(&h, k, mix(k));
        ck_assert_ptr_nonnull(i);
        htab_remove(&h, &i->link);
        mem_free(i);
        ck_assert_ptr_null(find_key(&h, k, mix(k)));
        if (k + 1 < N)
            ck_assert_ptr_nonnull(find_key(&h, N - 1, mix(N - 1)));
    }
    ck_assert_uint_eq(h.count, 0);
    htab_close(&h);
}
END_TEST

START_TEST(an_emptied_table_gives_its_memory_back) {
    struct htab h;
    htab_init(&h);
    enum { N = 8 * HTAB_SEGMENT };
    for (uint32_t k = 0; k < N; k++)
        htab_insert(&h, &item_new(k, mix(k))->link);
    for (uint32_t k = 0; k < N; k++) {
        struct item *i = find_key(&h, k, mix(k));
        htab_remove(&h, &i->link);
        mem_free(i);
    }
    ck_assert_uint_le(h.segment_count, 2);
    ck_assert_uint_eq(h.buckets, 16);
    htab_close(&h);
}
END_TEST

START_TEST(entries_with_the_same_hash_live_side_by_side) {
    struct htab h;
    htab_init(&h);
    for (uint32_t k = 0; k < 100; k++)
        htab_insert(&h, &item_new(k, 7)->link);
    for (uint32_t k = 0; k < 100; k++)
        ck_assert_uint_eq(find_key(&h, k, 7)->key, k);
    struct item *middle = find_key(&h, 50, 7);
    htab_remove(&h, &middle->link);
    mem_free(middle);
    ck_assert_ptr_null(find_key(&h, 50, 7));
    ck_assert_ptr_nonnull(find_key(&h, 49, 7));
    ck_assert_ptr_nonnull(find_key(&h, 51, 7));
    htab_drain(&h, free_item);
}
END_TEST

START_TEST(random_insertions_and_removals_agree_with_a_plain_array) {
    enum { KEYS = 3000 };
    static struct item *have[KEYS];
    struct htab h;
    htab_init(&h);
    struct prng p;
    prng_init(&p, 1);
    uint64_t count = 0;
    for (int step = 0; step < 200000; step++) {
        uint32_t k = (uint32_t)prng_below(&p, KEYS);
        ck_assert_ptr_eq(find_key(&h, k, mix(k)), have[k]);
        if (have[k]) {
            htab_remove(&h, &have[k]->link);
            mem_free(have[k]);
            have[k] = NULL;
            count--;
        } else if (prng_below(&p, 100) < (step % 50000 < 25000 ? 90u : 10u)) {
            have[k] = item_new(k, mix(k));
            htab_insert(&h, &have[k]->link);
            count++;
        }
        ck_assert_uint_eq(h.count, count);
    }
    htab_drain(&h, free_item);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("htab");
    TCase *c = tcase_create("htab");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_entry_is_found_while_the_table_grows_and_shrinks);
    tcase_add_test(c, an_emptied_table_gives_its_memory_back);
    tcase_add_test(c, entries_with_the_same_hash_live_side_by_side);
    tcase_add_test(c, random_insertions_and_removals_agree_with_a_plain_array);
    suite_add_tcase(s, c);
    return s;
}
