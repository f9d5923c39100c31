#include "common/prng.h"
#include "replica/zab/quorum.h"
#include "tests/lib/unit.h"

#include <string.h>

#define MEMBERS_MAX 9u

static struct quorum_server member(uint8_t id, uint8_t group, uint32_t weight) {
    return (struct quorum_server){.id = id, .voter = true, .group = group, .weight = weight};
}

static struct quorum_set set_of(const char *ids) {
    struct quorum_set s = {{0}};
    for (; *ids; ids++)
        quorum_add(&s, (uint8_t)(*ids - '0'));
    return s;
}

static bool holds(const struct quorum_config *q, const char *ids) {
    struct quorum_set s = set_of(ids);
    return quorum_holds(q, &s);
}

static bool elects(const struct quorum_config *q, const char *ids, const char *blanks,
                   const char *lossy) {
    struct quorum_voters v = {set_of(ids), set_of(blanks), set_of(lossy)};
    return quorum_elects(q, &v);
}

static bool holds_with_blanks(const struct quorum_config *q, const char *ids, const char *blanks) {
    return elects(q, ids, blanks, "");
}

static struct quorum_server three[] = {
    {.id = 1, .voter = true, .weight = 1},
    {.id = 2, .voter = true, .weight = 1},
    {.id = 3, .voter = true, .weight = 1},
    {.id = 4, .voter = false, .weight = 1},
};
static const struct quorum_config majority = {three, 4};

START_TEST(a_set_has_the_servers_that_were_added) {
    struct quorum_set s = {{0}};
    for (int id = 0; id < 256; id += 17)
        quorum_add(&s, (uint8_t)id);
    for (int id = 0; id < 256; id++)
        ck_assert_int_eq(quorum_has(&s, (uint8_t)id), id % 17 == 0);
    quorum_remove(&s, 17);
    ck_assert(!quorum_has(&s, 17));
    ck_assert(quorum_has(&s, 34));
}
END_TEST

START_TEST(more_than_half_is_a_quorum) {
    ck_assert(!holds(&majority, ""));
    ck_assert(!holds(&majority, "1"));
    ck_assert(holds(&majority, "12"));
    ck_assert(holds(&majority, "123"));
    struct quorum_config two = {three, 2};
    ck_assert(!holds(&two, "1"));
    ck_assert(holds(&two, "12"));
    struct quorum_config one = {three, 1};
    ck_assert(holds(&one, "1"));
}
END_TEST

START_TEST(observers_and_strangers_count_nowhere) {
    ck_assert(!holds(&majority, "14"));
    ck_assert(!holds(&majority, "1567"));
}
END_TEST

START_TEST(weights_are_added_up) {
    struct quorum_server m[] = {member(1, 0, 3), member(2, 0, 1), member(3, 0, 1)};
    struct quorum_config q = {m, 3};
    ck_assert(holds(&q, "1"));
    ck_assert(!holds(&q, "23"));
}
END_TEST

START_TEST(half_of_the_weight_is_no_quorum) {
    struct quorum_server m[] = {member(1, 0, 2), member(2, 0, 1), member(3, 0, 1)};
    struct quorum_config q = {m, 3};
    ck_assert(!holds(&q, "1"));
    ck_assert(!holds(&q, "23"));
    ck_assert(holds(&q, "12"));
}
END_TEST

START_TEST(groups_need_a_majority_of_groups) {
    struct quorum_server m[] = {member(1, 1, 1), member(2, 1, 1), member(3, 1, 1),
                                member(4, 2, 1), member(5, 2, 1), member(6, 2, 1),
                                member(7, 3, 1), member(8, 3, 1), member(9, 3, 1)};
    struct quorum_config q = {m, 9};
    ck_assert(holds(&q, "1245"));  /* two of three in two of three groups */
    ck_assert(!holds(&q, "1237")); /* one whole group and one of another */
    ck_assert(!holds(&q, "147"));  /* one of each */
}
END_TEST

START_TEST(a_group_without_weight_is_no_group) {
    struct quorum_server m[] = {member(1, 1, 1), member(2, 2, 1), member(3, 3, 0), member(4, 4, 0)};
    struct quorum_config q = {m, 4};
    ck_assert(!holds(&q, "1"));
    ck_assert(!holds(&q, "134"));
    ck_assert(holds(&q, "12"));
}
END_TEST

START_TEST(blank_voters_count_among_themselves_only) {
    ck_assert(holds_with_blanks(&majority, "12", "12"));
    ck_assert(!holds_with_blanks(&majority, "12", "2"));
    ck_assert(!holds_with_blanks(&majority, "14", "14"));
    ck_assert(holds_with_blanks(&majority, "12", "3"));
}
END_TEST

START_TEST(blank_voters_count_when_every_voter_takes_part) {
    ck_assert(holds_with_blanks(&majority, "123", "23"));
    ck_assert(holds_with_blanks(&majority, "123", "3"));
    ck_assert(holds_with_blanks(&majority, "1234", "23"));
}
END_TEST

START_TEST(lossy_voters_count_only_when_every_voter_takes_part) {
    ck_assert(!elects(&majority, "12", "", "2"));
    ck_assert(!elects(&majority, "12", "", "12"));
    ck_assert(!elects(&majority, "124", "", "2"));
    ck_assert(elects(&majority, "12", "", "3"));
    ck_assert(elects(&majority, "123", "", "2")); /* 1 and 3 by themselves */
    ck_assert(elects(&majority, "123", "", "12"));
    ck_assert(elects(&majority, "123", "", "123"));
}
END_TEST

/* One that has lost something is no part of a new ensemble, not even when it has lost everything.
 */
START_TEST(blank_and_lossy_voters_are_no_quorum_among_themselves) {
    struct quorum_server m[] = {member(1, 0, 1), member(2, 0, 1), member(3, 0, 1), member(4, 0, 1),
                                member(5, 0, 1)};
    struct quorum_config five = {m, 5};
    ck_assert(elects(&five, "1234", "1234", ""));
    ck_assert(!elects(&five, "1234", "1234", "4"));
    ck_assert(!elects(&five, "1234", "123", "4"));
    ck_assert(!elects(&five, "1234", "1", "2"));
    ck_assert(elects(&five, "12345", "1", "2"));
    ck_assert(elects(&five, "12345", "1234", "4"));
    ck_assert(elects(&majority, "123", "12", "3"));
}
END_TEST

START_TEST(a_voter_without_weight_is_not_waited_for) {
    struct quorum_server m[] = {member(1, 0, 1), member(2, 0, 1), member(3, 0, 0)};
    struct quorum_config q = {m, 3};
    ck_assert(holds_with_blanks(&q, "12", "2"));
    ck_assert(!quorum_may_lead(&q, 3));
    ck_assert(quorum_may_lead(&q, 1));
}
END_TEST

START_TEST(observers_and_strangers_may_not_lead) {
    ck_assert(!quorum_may_lead(&majority, 4));
    ck_assert(!quorum_may_lead(&majority, 9));
    ck_assert_ptr_null(quorum_find(&majority, 9));
    ck_assert_ptr_eq(quorum_find(&majority, 4), &three[3]);
}
END_TEST

START_TEST(acked_is_what_a_quorum_has_reached) {
    zxid_t acked[256] = {[1] = 10, [2] = 7, [3] = 3, [4] = 99, [9] = 99};
    ck_assert_int_eq(quorum_acked(&majority, acked), 7);
    acked[3] = 12;
    ck_assert_int_eq(quorum_acked(&majority, acked), 10);
    acked[1] = acked[2] = 0;
    ck_assert_int_eq(quorum_acked(&majority, acked), 0);
}
END_TEST

START_TEST(what_is_no_ensemble_is_said) {
    struct quorum_server m[] = {member(1, 0, 1), member(2, 0, 1)};
    ck_assert_ptr_null(quorum_invalid_reason(&(struct quorum_config){m, 2}));
    ck_assert_ptr_nonnull(quorum_invalid_reason(&(struct quorum_config){m, 0}));
    m[1].id = 1;
    ck_assert_str_eq(quorum_invalid_reason(&(struct quorum_config){m, 2}),
                     "two servers have the same id");
    m[1] = member(0, 0, 1);
    ck_assert_ptr_nonnull(quorum_invalid_reason(&(struct quorum_config){m, 2}));
    m[0].id = 0;
    ck_assert_ptr_null(quorum_invalid_reason(&(struct quorum_config){m, 1}));
    m[0] = member(1, 1, 1);
    m[1] = member(2, 0, 1);
    ck_assert_ptr_nonnull(quorum_invalid_reason(&(struct quorum_config){m, 2}));
    m[0] = member(1, 0, 0);
    m[1] = member(2, 0, 0);
    ck_assert_str_eq(quorum_invalid_reason(&(struct quorum_config){m, 2}), "no voter has a weight");
    m[0].voter = m[1].voter = false;
    ck_assert_str_eq(quorum_invalid_reason(&(struct quorum_config){m, 2}), "no server votes");
}
END_TEST

/* ---- Properties of any configuration ---- */

static struct quorum_config any_config(struct prng *p, struct quorum_server m[MEMBERS_MAX]) {
    struct quorum_config q = {m, 0};
    do {
        uint32_t groups = (uint32_t)prng_below(p, 4);
        q.count = (uint32_t)prng_range(p, 1, MEMBERS_MAX);
        for (uint32_t i = 0; i < q.count; i++) {
            m[i] = member((uint8_t)(i + 1), groups ? (uint8_t)prng_range(p, 1, groups) : 0,
                          (uint32_t)prng_below(p, 4));
            m[i].voter = !prng_chance(p, 1, 6);
        }
    } while (quorum_invalid_reason(&q));
    return q;
}

static struct quorum_set set_of_bits(uint32_t bits) {
    return (struct quorum_set){{(uint64_t)bits << 1}};
}

START_TEST(any_two_quorums_share_a_voter) {
    struct prng p;
    prng_init(&p, 1);
    for (int round = 0; round < 300; round++) {
        struct quorum_server m[MEMBERS_MAX];
        struct quorum_config q = any_config(&p, m);
        for (uint32_t bits = 0; bits < 1u << q.count; bits++) {
            struct quorum_set a = set_of_bits(bits);
            struct quorum_set rest = set_of_bits(~bits & ((1u << q.count) - 1));
            ck_assert(!quorum_holds(&q, &a) || !quorum_holds(&q, &rest));
        }
    }
}
END_TEST

START_TEST(all_voters_are_a_quorum_and_more_never_hurts) {
    struct prng p;
    prng_init(&p, 2);
    for (int round = 0; round < 300; round++) {
        struct quorum_server m[MEMBERS_MAX];
        struct quorum_config q = any_config(&p, m);
        uint32_t all = (1u << q.count) - 1;
        struct quorum_set everyone = set_of_bits(all);
        ck_assert(quorum_holds(&q, &everyone));
        uint32_t bits = (uint32_t)prng_below(&p, all + 1);
        struct quorum_set some = set_of_bits(bits);
        struct quorum_set more = set_of_bits(bits | (1u << prng_below(&p, q.count)));
        ck_assert(!quorum_holds(&q, &some) || quorum_holds(&q, &more));
    }
}
END_TEST

START_TEST(blanks_never_make_a_quorum_of_what_is_none) {
    struct prng p;
    prng_init(&p, 3);
    for (int round = 0; round < 3000; round++) {
        struct quorum_server m[MEMBERS_MAX];
        struct quorum_config q = any_config(&p, m);
        struct quorum_set set = set_of_bits((uint32_t)prng_below(&p, 1u << q.count));
        struct quorum_set blank = set_of_bits((uint32_t)prng_below(&p, 1u << q.count));
        struct quorum_set lossy = set_of_bits((uint32_t)prng_below(&p, 1u << q.count));
        if (quorum_elects(&q, &(struct quorum_voters){.all = set, .blank = blank}))
            ck_assert(quorum_holds(&q, &set));
        if (quorum_elects(&q, &(struct quorum_voters){.all = set, .lossy = lossy}))
            ck_assert(quorum_holds(&q, &set));
        if (quorum_holds(&q, &set))
            ck_assert(quorum_elects(&q, &(struct quorum_voters){.all = set}));
    }
}
END_TEST

/* What any quorum has acknowledged is not overlooked: one that has lost nothing is in both, or each
 * voter is in the one that elects. */
START_TEST(those_that_elect_overlook_nothing) {
    struct prng p;
    prng_init(&p, 5);
    for (int round = 0; round < 20000; round++) {
        struct quorum_server m[MEMBERS_MAX];
        struct quorum_config q = any_config(&p, m);
        uint32_t all = (1u << q.count) - 1, set = (uint32_t)prng_below(&p, all + 1);
        uint32_t lossy = (uint32_t)prng_below(&p, all + 1);
        uint32_t acked = (uint32_t)prng_below(&p, all + 1);
        struct quorum_set acks = set_of_bits(acked);
        struct quorum_voters v = {.all = set_of_bits(set), .lossy = set_of_bits(lossy)};
        if (!quorum_holds(&q, &acks) || !quorum_elects(&q, &v))
            continue;
        bool everyone = true, whole = false;
        for (uint32_t i = 0; i < q.count; i++) {
            if (!m[i].voter || m[i].weight == 0)
                continue;
            everyone &= quorum_has(&v.all, m[i].id);
            whole |= quorum_has(&v.all, m[i].id) && quorum_has(&acks, m[i].id) &&
                     !quorum_has(&v.lossy, m[i].id);
        }
        ck_assert(everyone || whole);
    }
}
END_TEST

START_TEST(acked_is_the_greatest_that_holds) {
    struct prng p;
    prng_init(&p, 4);
    for (int round = 0; round < 2000; round++) {
        struct quorum_server m[MEMBERS_MAX];
        struct quorum_config q = any_config(&p, m);
        zxid_t acked[256] = {0};
        for (uint32_t i = 0; i < q.count; i++)
            acked[m[i].id] = (zxid_t)prng_below(&p, 6);
        zxid_t answer = quorum_acked(&q, acked);
        for (zxid_t z = 1; z <= 6; z++) {
            struct quorum_set reached = {{0}};
            for (uint32_t i = 0; i < q.count; i++)
                if (acked[m[i].id] >= z)
                    quorum_add(&reached, m[i].id);
            ck_assert_int_eq(quorum_holds(&q, &reached), z <= answer);
        }
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab_quorum");
    TCase *t = tcase_create("quorum");
    tcase_add_test(t, a_set_has_the_servers_that_were_added);
    tcase_add_test(t, more_than_half_is_a_quorum);
    tcase_add_test(t, observers_and_strangers_count_nowhere);
    tcase_add_test(t, weights_are_added_up);
    tcase_add_test(t, half_of_the_weight_is_no_quorum);
    tcase_add_test(t, groups_need_a_majority_of_groups);
    tcase_add_test(t, a_group_without_weight_is_no_group);
    tcase_add_test(t, blank_voters_count_among_themselves_only);
    tcase_add_test(t, blank_voters_count_when_every_voter_takes_part);
    tcase_add_test(t, lossy_voters_count_only_when_every_voter_takes_part);
    tcase_add_test(t, blank_and_lossy_voters_are_no_quorum_among_themselves);
    tcase_add_test(t, a_voter_without_weight_is_not_waited_for);
    tcase_add_test(t, observers_and_strangers_may_not_lead);
    tcase_add_test(t, acked_is_what_a_quorum_has_reached);
    tcase_add_test(t, what_is_no_ensemble_is_said);
    tcase_add_test(t, any_two_quorums_share_a_voter);
    tcase_add_test(t, all_voters_are_a_quorum_and_more_never_hurts);
    tcase_add_test(t, blanks_never_make_a_quorum_of_what_is_none);
    tcase_add_test(t, those_that_elect_overlook_nothing);
    tcase_add_test(t, acked_is_the_greatest_that_holds);
    suite_add_tcase(s, t);
    return s;
}
