#include "replica/zab/quorum.h"
#include "replica/zab/zab.h"
#include "tests/lib/unit.h"

static struct zab *new_zab(const uint8_t *voters, uint32_t n, uint32_t limit) {
    return zab_new(&(struct zab_config){
        .self = voters[0], .voters = voters, .voter_count = n, .counter_limit = limit});
}

static const uint8_t one[] = {0};
static const uint8_t three[] = {1, 2, 3};

static void expect(struct zab *z, enum zab_output_type type, zxid_t zxid) {
    struct zab_output o;
    ck_assert(zab_next(z, &o));
    ck_assert_int_eq(o.type, type);
    ck_assert_int_eq(o.zxid, zxid);
}

static void expect_none(struct zab *z) {
    struct zab_output o;
    ck_assert(!zab_next(z, &o));
}

/* An ensemble that leads epoch 1. */
static struct zab *leading(const uint8_t *voters, uint32_t n, uint32_t limit) {
    struct zab *z = new_zab(voters, n, limit);
    zab_lead(z);
    expect(z, ZAB_LOG_EPOCH, zxid_make(1, 0));
    for (uint32_t i = 0; i < n; i++)
        zab_acked(z, voters[i], zxid_make(1, 0));
    expect(z, ZAB_ESTABLISHED, zxid_make(1, 0));
    expect_none(z);
    return z;
}

static struct blob *payload(void) { return blob_new("p", 1); }

START_TEST(a_quorum_is_more_than_half) {
    static const uint32_t sizes[][2] = {{1, 1}, {2, 2}, {3, 2}, {4, 3}, {5, 3}, {7, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        ck_assert_uint_eq(quorum_size(sizes[i][0]), sizes[i][1]);
}
END_TEST

START_TEST(what_a_quorum_acknowledged_is_the_greatest_that_enough_have_reached) {
    ck_assert_int_eq(quorum_acked((zxid_t[]){7}, 1), 7);
    ck_assert_int_eq(quorum_acked((zxid_t[]){7, 9}, 2), 7);
    ck_assert_int_eq(quorum_acked((zxid_t[]){7, 9, 0}, 3), 7);
    ck_assert_int_eq(quorum_acked((zxid_t[]){9, 9, 0}, 3), 9);
    ck_assert_int_eq(quorum_acked((zxid_t[]){1, 2, 3, 4, 5}, 5), 3);
    ck_assert_int_eq(quorum_acked((zxid_t[]){0, 0, 0}, 3), 0);
    ck_assert_int_eq(quorum_acked(NULL, 0), 0);
}
END_TEST

START_TEST(nothing_is_proposed_before_the_epoch_is_established) {
    struct zab *z = new_zab(one, 1, ZAB_COUNTER_LIMIT);
    ck_assert(!zab_ready(z));
    zab_lead(z);
    ck_assert(!zab_ready(z));
    expect(z, ZAB_LOG_EPOCH, zxid_make(1, 0));
    ck_assert(!zab_ready(z));
    zab_acked(z, 0, zxid_make(1, 0));
    ck_assert(!zab_ready(z));
    expect(z, ZAB_ESTABLISHED, zxid_make(1, 0));
    ck_assert(zab_ready(z));
    zab_free(z);
}
END_TEST

START_TEST(a_proposal_is_committed_when_its_own_disk_and_a_quorum_have_it) {
    struct zab *z = leading(three, 3, ZAB_COUNTER_LIMIT);
    zxid_t zxid = zab_propose(z, payload());
    ck_assert_int_eq(zxid, zxid_make(1, 1));
    expect(z, ZAB_LOG_PROPOSAL, zxid);
    expect_none(z);
    zab_acked(z, 2, zxid);
    expect_none(z);
    zab_acked(z, 2, zxid); /* again says nothing new */
    zab_acked(z, 9, zxid); /* nor does a server that has no vote */
    expect_none(z);
    zab_acked(z, 1, zxid);
    expect(z, ZAB_COMMIT, zxid);
    expect_none(z);
    ck_assert_int_eq(zab_committed_zxid(z), zxid);
    zab_free(z);
}
END_TEST

START_TEST(commits_come_in_order_and_one_acknowledgement_covers_all_before_it) {
    struct zab *z = leading(one, 1, ZAB_COUNTER_LIMIT);
    for (uint32_t i = 1; i <= 200; i++)
        ck_assert_int_eq(zab_propose(z, payload()), zxid_make(1, i));
    for (uint32_t i = 1; i <= 200; i++)
        expect(z, ZAB_LOG_PROPOSAL, zxid_make(1, i));
    zab_acked(z, 0, zxid_make(1, 150));
    for (uint32_t i = 1; i <= 150; i++)
        expect(z, ZAB_COMMIT, zxid_make(1, i));
    expect_none(z);
    ck_assert_uint_eq(zab_in_flight(z), 50);
    zab_free(z);
}
END_TEST

START_TEST(a_marker_is_passed_when_all_before_it_is_committed) {
    struct zab *z = leading(one, 1, ZAB_COUNTER_LIMIT);
    ck_assert(zab_sync_passed(z, zab_sync(z)));
    zxid_t zxid = zab_propose(z, payload());
    zab_marker m = zab_sync(z);
    zab_propose(z, payload());
    expect(z, ZAB_LOG_PROPOSAL, zxid);
    expect(z, ZAB_LOG_PROPOSAL, zxid + 1);
    ck_assert(!zab_sync_passed(z, m));
    zab_acked(z, 0, zxid);
    expect(z, ZAB_COMMIT, zxid);
    ck_assert(zab_sync_passed(z, m));
    zab_free(z);
}
END_TEST

START_TEST(the_log_of_before_must_have_no_gap) {
    struct zab *z = new_zab(one, 1, ZAB_COUNTER_LIMIT);
    ck_assert(!zab_recover(z, zxid_make(1, 1))); /* no epoch was begun */
    ck_assert(zab_recover(z, zxid_make(1, 0)));
    ck_assert(zab_recover(z, zxid_make(1, 1)));
    ck_assert(!zab_recover(z, zxid_make(1, 1)));
    ck_assert(!zab_recover(z, zxid_make(1, 3)));
    ck_assert(!zab_recover(z, zxid_make(2, 1)));
    ck_assert(!zab_recover(z, zxid_make(1, 0)));
    ck_assert(zab_recover(z, zxid_make(3, 0)));
    ck_assert(zab_recover(z, zxid_make(3, 1)));
    zab_lead(z);
    expect(z, ZAB_LOG_EPOCH, zxid_make(4, 0));
    zab_free(z);
}
END_TEST

START_TEST(an_epoch_ends_before_its_counter_does_and_the_next_one_goes_on) {
    struct zab *z = leading(one, 1, 3);
    for (uint32_t i = 1; i <= 3; i++)
        zab_propose(z, payload());
    ck_assert(!zab_ready(z));
    for (uint32_t i = 1; i <= 3; i++)
        expect(z, ZAB_LOG_PROPOSAL, zxid_make(1, i));
    zab_acked(z, 0, zxid_make(1, 2));
    expect(z, ZAB_COMMIT, zxid_make(1, 1));
    expect(z, ZAB_COMMIT, zxid_make(1, 2));
    expect_none(z); /* the last of the old epoch comes first */
    zab_acked(z, 0, zxid_make(1, 3));
    expect(z, ZAB_COMMIT, zxid_make(1, 3));
    expect(z, ZAB_LOG_EPOCH, zxid_make(2, 0));
    ck_assert(!zab_ready(z));
    zab_acked(z, 0, zxid_make(2, 0));
    expect(z, ZAB_ESTABLISHED, zxid_make(2, 0));
    ck_assert_int_eq(zab_propose(z, payload()), zxid_make(2, 1));
    zab_free(z);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zab");
    TCase *t = tcase_create("zab");
    tcase_add_test(t, a_quorum_is_more_than_half);
    tcase_add_test(t, what_a_quorum_acknowledged_is_the_greatest_that_enough_have_reached);
    tcase_add_test(t, nothing_is_proposed_before_the_epoch_is_established);
    tcase_add_test(t, a_proposal_is_committed_when_its_own_disk_and_a_quorum_have_it);
    tcase_add_test(t, commits_come_in_order_and_one_acknowledgement_covers_all_before_it);
    tcase_add_test(t, a_marker_is_passed_when_all_before_it_is_committed);
    tcase_add_test(t, the_log_of_before_must_have_no_gap);
    tcase_add_test(t, an_epoch_ends_before_its_counter_does_and_the_next_one_goes_on);
    suite_add_tcase(s, t);
    return s;
}
