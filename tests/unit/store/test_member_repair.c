/* Ensembles whose disks are damaged: what one has lost the others have, and all come back whole. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/prng.h"
#include "replica/member_state.h"
#include "replica/store/epoch_file.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/members.h"

static struct members ms;

/* Three members with some history of a few epochs in several segments. */
static void write_history(void) {
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
    for (int round = 0; round < 3; round++) {
        members_write_many(&ms, members_leader(&ms), 25);
        members_kill(&ms, members_leader(&ms));
        members_run_until_serving(&ms, ms.count - 1);
        members_write_many(&ms, members_leader(&ms), 5);
        members_start_all(&ms);
        members_run_until_serving(&ms, ms.count);
    }
    members_write_many(&ms, members_leader(&ms), 10);
    members_run(&ms, 1000);
    members_check_equal(&ms);
}

static void setup(void) {
    members_init(&ms, 3);
    write_history();
}

static void teardown(void) { members_close(&ms); }

static void flip(size_t i, size_t from_last, uint64_t byte) {
    char *path = members_segment(&ms, i, from_last);
    mem_files_flip_bit(ms.hosts[i].files, path, byte * 8 + 2);
    mem_free(path);
}

static void remove_segment(size_t i, size_t from_last) {
    char *path = members_segment(&ms, i, from_last);
    mem_files_remove(ms.hosts[i].files, path);
    mem_free(path);
}

static bool lossy(size_t i) {
    struct store_dir d = {.files = mem_files_env(ms.hosts[i].files), .path = (char *)MEMBERS_DIR};
    struct epoch_file e;
    struct buf why = BUF_INIT;
    ck_assert_int_eq(epoch_file_read(&d, &e, &why), 0);
    return (e.flags & EPOCH_LOSSY) != 0;
}

/* All are started, and are whole and equal. */
static void come_back(void) {
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
    members_run(&ms, 2000);
    members_check_equal(&ms);
    members_write_many(&ms, members_leader(&ms), 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    /* And from their disks once more. */
    members_kill_all(&ms);
    for (size_t i = 0; i < ms.count; i++)
        buf_reset(&ms.hosts[i].notes);
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
    members_run(&ms, 2000);
    members_check_equal(&ms);
    for (size_t i = 0; i < ms.count; i++)
        ck_assert(!members_noted(&ms, i, "damaged"));
}

START_TEST(a_record_that_one_lost_comes_from_another) {
    members_kill(&ms, 0);
    flip(0, 2, 300);
    ck_assert_int_eq(members_start(&ms, 0), 0);
    ck_assert(members_repairing(&ms, 0));
    members_run_until_serving(&ms, ms.count);
    /* No tree was found to be wrong. */
    ck_assert_uint_eq(ms.hosts[0].member->config.replica.start_overs, 0);
    come_back();
    ck_assert(!lossy(0));
}
END_TEST

START_TEST(what_is_needed_by_nobody_is_dropped_at_once) {
    zxid_t zxid = members_checkpoint(&ms, 1);
    ck_assert_int_gt(zxid, 0);
    members_write_many(&ms, members_leader(&ms), 5);
    members_run(&ms, 1000);
    members_kill(&ms, 1);
    flip(1, 3, 300);
    remove_segment(1, 2);
    ck_assert_int_eq(members_start(&ms, 1), 0);
    ck_assert(!members_repairing(&ms, 1));
    come_back();
    ck_assert(!lossy(1));
}
END_TEST

START_TEST(a_broken_mark_needs_nobody) {
    members_kill_all(&ms);
    /* The seal of a segment is its last frame: the 40 bytes of its body are the last ones. */
    char *path = members_segment(&ms, 0, 1);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(ms.hosts[0].files, path, &size);
    while (p[size - 1] == 0 && p[size - 2] == 0)
        size--;
    mem_files_flip_bit(ms.hosts[0].files, path, (size - 12) * 8);
    mem_free(path);
    ck_assert_int_eq(members_start(&ms, 0), 0);
    ck_assert(!members_repairing(&ms, 0));
    come_back();
}
END_TEST

START_TEST(each_has_lost_something_else_and_all_come_back) {
    members_kill_all(&ms);
    static const uint8_t zeros[512];
    flip(0, 1, 300);
    flip(0, 4, 200);
    remove_segment(1, 2);
    char *path = members_segment(&ms, 2, 3);
    mem_files_put(ms.hosts[2].files, path, 0, zeros, sizeof zeros);
    mem_free(path);
    flip(2, 5, 700);
    members_start_all(&ms);
    for (size_t i = 0; i < ms.count; i++)
        ck_assert(members_repairing(&ms, i));
    come_back();
    for (size_t i = 0; i < ms.count; i++)
        ck_assert(!lossy(i));
}
END_TEST

START_TEST(the_last_acknowledged_record_comes_back_too) {
    members_kill_all(&ms);
    char *path = members_segment(&ms, 0, 0);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(ms.hosts[0].files, path, &size);
    while (size > 0 && p[size - 1] == 0)
        size--;
    /* Before the last mark of 56 bytes. */
    mem_files_flip_bit(ms.hosts[0].files, path, (size - 90) * 8);
    mem_free(path);
    ck_assert_int_eq(members_start(&ms, 0), 0);
    ck_assert(members_repairing(&ms, 0));
    come_back();
    ck_assert(!lossy(0));
}
END_TEST

/* Each has one checkpoint, and no log that reaches back to the beginning. */
static void purge_all(void) {
    ms.snap_retain = 1;
    members_kill_all(&ms);
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
    for (size_t i = 0; i < ms.count; i++) {
        char *first = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "log.0000000100000000", 0);
        mem_free(first);
        ck_assert_ptr_nonnull(first);
        members_checkpoint(&ms, i);
        members_write_many(&ms, members_leader(&ms), 5);
        members_run(&ms, 1000);
        first = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "log.0000000100000000", 0);
        ck_assert_ptr_null(first);
    }
}

START_TEST(a_lost_base_comes_from_another) {
    purge_all();
    members_write_many(&ms, members_leader(&ms), 25);
    members_run(&ms, 1000);
    members_kill_all(&ms);
    char *path = mem_files_last(ms.hosts[1].files, MEMBERS_DIR, "snapshot.", 0);
    mem_files_flip_bit(ms.hosts[1].files, path, 999);
    mem_free(path);
    flip(2, 1, 300);
    members_start_all(&ms);
    ck_assert(members_repairing(&ms, 1));
    members_run_until_serving(&ms, ms.count);
    ck_assert(members_noted(&ms, 1, "a snapshot of another server is what the history begins"));
    come_back();
    ck_assert(!lossy(1));
    path = mem_files_last(ms.hosts[1].files, MEMBERS_DIR, "snapshot.", 0);
    ck_assert_ptr_nonnull(path);
    mem_free(path);
}
END_TEST

START_TEST(all_but_one_have_lost_their_base_and_everyone_a_part_of_the_log) {
    purge_all();
    members_write_many(&ms, members_leader(&ms), 60);
    members_run(&ms, 1000);
    members_kill_all(&ms);
    for (size_t i = 0; i < 2; i++) {
        char *path = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "snapshot.", 0);
        mem_files_remove(ms.hosts[i].files, path);
        mem_free(path);
    }
    flip(0, 1, 300);
    flip(1, 2, 300);
    flip(2, 3, 300);
    come_back();
}
END_TEST

START_TEST(a_lost_end_makes_lossy) {
    members_kill(&ms, 2);
    remove_segment(2, 0);
    ck_assert_int_eq(members_start(&ms, 2), 0);
    ck_assert(!members_repairing(&ms, 2)); /* nobody can tell how much there was */
    ck_assert(lossy(2));
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert(!lossy(2));
}
END_TEST

/* What is there of host i's log goes, but for so many segments from the beginning. */
static void lose_log(size_t i, size_t but) {
    for (char *path = NULL;
         (path = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "log.", but)) != NULL;) {
        mem_free(path);
        remove_segment(i, 0);
    }
}

/* It comes back lossy, as often as it starts before a leader told it all. */
static void comes_back_lossy(size_t i) {
    ms.hosts[i].cut = true;
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(members_start(&ms, i), 0);
        ck_assert(!members_repairing(&ms, i));
        ck_assert(lossy(i));
        ck_assert_int_eq(members_noted(&ms, i, "the history is written anew"), k == 0);
        buf_reset(&ms.hosts[i].notes);
        members_run(&ms, 1000);
        members_kill(&ms, i);
    }
    ms.hosts[i].cut = false;
    ck_assert_int_eq(members_start(&ms, i), 0);
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert(!lossy(i));
    /* Whole it stays, with and without anything behind the snapshot. */
    members_kill(&ms, i);
    ck_assert_int_eq(members_start(&ms, i), 0);
    ck_assert(!lossy(i));
    come_back();
}

START_TEST(a_checkpoint_without_its_log_makes_lossy) {
    members_checkpoint(&ms, 2);
    members_kill(&ms, 2);
    lose_log(2, 0);
    comes_back_lossy(2);
}
END_TEST

START_TEST(a_log_that_ends_before_a_damaged_checkpoint_makes_lossy) {
    members_checkpoint(&ms, 2);
    members_write_many(&ms, members_leader(&ms), 50);
    members_run(&ms, 1000);
    members_checkpoint(&ms, 2);
    members_kill(&ms, 2);
    char *path = mem_files_last(ms.hosts[2].files, MEMBERS_DIR, "snapshot.", 0);
    mem_files_flip_bit(ms.hosts[2].files, path, 999);
    mem_free(path);
    remove_segment(2, 0);
    /* The seal that names it goes as well, so that the log looks whole. */
    path = members_segment(&ms, 2, 0);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(ms.hosts[2].files, path, &size);
    while (size > 0 && p[size - 1] == 0)
        size--;
    mem_files_cut(ms.hosts[2].files, path, size / 512 * 512);
    mem_free(path);
    comes_back_lossy(2);
}
END_TEST

START_TEST(a_lost_promise_makes_lossy) {
    members_kill(&ms, 1);
    mem_files_flip_bit(ms.hosts[1].files, MEMBERS_DIR "/epoch.1", 99);
    mem_files_remove(ms.hosts[1].files, MEMBERS_DIR "/epoch.2");
    ck_assert_int_eq(members_start(&ms, 1), 0);
    ck_assert(lossy(1));
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert(!lossy(1));
}
END_TEST

START_TEST(what_was_never_committed_is_given_up) {
    size_t leader = members_leader(&ms);
    /* It alone has these. */
    ck_assert(members_write(&ms, leader));
    ms.hosts[leader].cut = true;
    for (size_t k = 0; k < ms.count; k++)
        if (k != leader)
            ms.hosts[leader].linked[k + 1] = ms.hosts[k].linked[leader + 1] = false;
    for (int k = 0; k < 6; k++)
        members_ask_write(&ms, leader);
    members_kill(&ms, leader);
    members_kill_all(&ms);
    char *path = members_segment(&ms, leader, 0);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(ms.hosts[leader].files, path, &size);
    while (size > 0 && p[size - 1] == 0)
        size--;
    mem_files_flip_bit(ms.hosts[leader].files, path, (size - 500) * 8);
    mem_free(path);
    for (size_t k = 0; k < ms.count; k++)
        if (k != leader)
            ck_assert_int_eq(members_start(&ms, k), 0);
    members_run_until_serving(&ms, 2);
    members_write_many(&ms, members_leader(&ms), 5);
    ms.hosts[leader].cut = false;
    ck_assert_int_eq(members_start(&ms, leader), 0);
    ck_assert(members_repairing(&ms, leader));
    members_run_until_serving(&ms, 3);
    ck_assert(members_noted(&ms, leader, "never committed"));
    ck_assert(members_noted(&ms, leader, "counts only where every voter takes part"));
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert(!lossy(leader)); /* a leader has told it all */
}
END_TEST

START_TEST(what_nobody_has_is_waited_for) {
    members_kill_all(&ms);
    for (size_t i = 0; i < ms.count; i++)
        flip(i, 2, 300);
    members_start_all(&ms);
    members_run(&ms, 20000);
    for (size_t i = 0; i < ms.count; i++) {
        ck_assert(members_repairing(&ms, i));
        ck_assert(members_noted(&ms, i, "nobody who is there has what is missing"));
    }
    members_word(&ms, 1, "srvr");
    ck_assert_ptr_nonnull(strstr((char *)ms.hosts[1].inbox.data, "not currently serving"));
    ck_assert_ptr_nonnull(strstr((char *)ms.hosts[1].inbox.data, "1 part is missing"));
    ck_assert(!ms.hosts[1].open);
    members_word(&ms, 1, "ruok");
    ck_assert_str_eq((char *)ms.hosts[1].inbox.data, "imok");
    members_word(&ms, 1, "wchs");
    ck_assert_ptr_nonnull(strstr((char *)ms.hosts[1].inbox.data, "not in the whitelist"));
    ck_assert(!members_write(&ms, 1)); /* a client is turned away */
    ck_assert(!ms.hosts[1].open);
    /* A disk that was away comes back. */
    members_kill(&ms, 2);
    flip(2, 2, 300);
    come_back();
}
END_TEST

START_TEST(those_that_are_whole_serve_meanwhile) {
    members_kill(&ms, 0);
    members_run_until_serving(&ms, 2);
    flip(0, 2, 300);
    ms.hosts[0].cut = true;
    ck_assert_int_eq(members_start(&ms, 0), 0);
    members_run(&ms, 5000);
    ck_assert(members_repairing(&ms, 0));
    members_write_many(&ms, members_leader(&ms), 10);
    ms.hosts[0].cut = false;
    come_back();
}
END_TEST

START_TEST(a_crash_at_any_call_of_a_repair_costs_nothing) {
    members_kill_all(&ms);
    flip(0, 1, 300);
    flip(0, 4, 300);
    for (size_t i = 1; i < ms.count; i++)
        ck_assert_int_eq(members_start(&ms, i), 0);
    members_run_until_serving(&ms, 2);
    bool happened = true;
    for (uint64_t nth = 1; happened; nth += 7) {
        struct members_host *h = &ms.hosts[0];
        struct mem_files *whole = mem_files_clone(h->files);
        struct mem_files *damaged = h->files;
        h->files = whole;
        h->env.files = mem_files_env(whole);
        mem_files_fault(whole, nth, MEM_FAULT_CUT_BEFORE, 0);
        if (members_start(&ms, 0) == 0)
            members_run(&ms, 1000);
        happened = mem_files_fault_happened(whole);
        members_kill(&ms, 0);
        mem_files_fault(whole, 0, MEM_FAULT_ERROR, 0);
        mem_files_power_cut(whole, (enum mem_cut)(nth % 3), nth);
        ck_assert_int_eq(members_start(&ms, 0), 0);
        members_run_until_serving(&ms, 3);
        members_run(&ms, 1000);
        members_check_equal(&ms);
        members_kill(&ms, 0);
        mem_files_free(whole);
        h->files = damaged;
        h->env.files = mem_files_env(damaged);
        members_run_until_serving(&ms, 2);
    }
}
END_TEST

/* ---- one alone ---- */

START_TEST(one_alone_does_without_what_its_snapshot_has) {
    static struct members alone;
    members_init(&alone, 1);
    members_start_all(&alone);
    members_run_until_serving(&alone, 1);
    members_write_many(&alone, 0, 60);
    (void)members_checkpoint(&alone, 0);
    members_write_many(&alone, 0, 30);
    members_kill(&alone, 0);
    char *path = mem_files_last(alone.hosts[0].files, MEMBERS_DIR, "log.", 4);
    mem_files_flip_bit(alone.hosts[0].files, path, 300 * 8);
    mem_free(path);
    ck_assert_int_eq(members_start(&alone, 0), 0);
    ck_assert(members_noted(&alone, 0, "a frame is broken"));
    ck_assert(members_noted(&alone, 0, "nothing is missing"));
    members_run_until_serving(&alone, 1);
    members_check_equal(&alone);
    /* What stands behind it nobody else has. */
    members_kill(&alone, 0);
    path = members_segment(&alone, 0, 1);
    mem_files_flip_bit(alone.hosts[0].files, path, 300 * 8);
    mem_free(path);
    ck_assert_int_eq(members_start(&alone, 0), -EBADMSG);
    ck_assert(members_noted(&alone, 0, "a frame is broken; the log is left as it was"));
    members_close(&alone);
}
END_TEST

/* ---- starting over ---- */

static void start_over(size_t i, bool distrust) {
    struct member *m = ms.hosts[i].member;
    static const char why[] = "its tree is not the others'";
    struct update u = {.type = UPD_START_OVER,
                       .distrust = distrust,
                       .bytes = {(const uint8_t *)why, sizeof why - 1}};
    member_carry_out(m, &u);
    member_go_over(m);
}

START_TEST(one_starts_over_in_the_same_process) {
    for (size_t i = 0; i < ms.count; i++) {
        members_write_many(&ms, i, 3);
        start_over(i, false);
        ck_assert(!ms.hosts[i].open);
        ck_assert(members_noted(&ms, i, "its tree is not the others'"));
        members_run_until_serving(&ms, 3);
        members_run(&ms, 1000);
        members_check_equal(&ms);
        ck_assert(!lossy(i));
    }
}
END_TEST

START_TEST(one_whose_history_counts_as_lost_comes_back_through_the_others) {
    size_t i = (members_leader(&ms) + 1) % ms.count;
    start_over(i, true);
    ck_assert(lossy(i));
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
    ck_assert(!lossy(i));
}
END_TEST

START_TEST(one_that_writes_starts_over_behind_that) {
    size_t i = members_leader(&ms);
    struct members_host *h = &ms.hosts[i];
    members_write_many(&ms, i, 1);
    h->member->syncing = true; /* as if one were under way */
    store_sync_begin(h->member->store);
    ck_assert_int_eq(store_sync_run(h->member->store), 0);
    start_over(i, false);
    struct replica *old = h->member->replica;
    member_peer_up(h->member, 2);
    member_client_open(h->member, 99, (struct slice){(const uint8_t *)"\x7f\0\0\1", 4}, 1);
    member_tick(h->member);
    ck_assert_ptr_eq(h->member->replica, old);
    member_log_synced(h->member, 0);
    ck_assert(!h->member->over);
    members_run_until_serving(&ms, 3);
    members_run(&ms, 1000);
    members_check_equal(&ms);
}
END_TEST

/* ---- at random ---- */

static void damage(struct prng *r, size_t i, size_t last_too) {
    static const uint8_t zeros[512];
    struct mem_files *f = ms.hosts[i].files;
    char *path = mem_files_last(f, MEMBERS_DIR, "log.", 1 - last_too + (size_t)prng_below(r, 6));
    size_t size = 0;
    if (path == NULL)
        return;
    (void)mem_files_bytes(f, path, &size);
    uint64_t sector = prng_below(r, size / 512 + 1) * 512;
    switch (prng_below(r, 4)) {
    case 0:
        mem_files_put(f, path, sector + 512 <= size ? sector : 0, zeros, sizeof zeros);
        break;
    case 1:
        if (prng_below(r, 3) == 0)
            mem_files_remove(f, path);
        break;
    default:
        mem_files_flip_bit(f, path, prng_below(r, size * 8));
        break;
    }
    mem_free(path);
}

START_TEST(one_of_three_damaged_at_random_loses_nothing) {
    struct prng r;
    prng_init(&r, 7);
    for (int round = 0; round < 40; round++) {
        size_t i = (size_t)prng_below(&r, ms.count);
        members_kill(&ms, i);
        for (uint64_t k = 0; k <= prng_below(&r, 4); k++)
            damage(&r, i, 1);
        ck_assert_int_eq(members_start(&ms, i), 0);
        members_run_until_serving(&ms, 3);
        members_write_many(&ms, members_leader(&ms), 2);
        members_run(&ms, 1000);
        members_check_equal(&ms);
    }
}
END_TEST

START_TEST(two_of_three_damaged_at_random_lose_nothing) {
    struct prng r;
    prng_init(&r, 8);
    for (int round = 0; round < 30; round++) {
        size_t whole = (size_t)prng_below(&r, ms.count);
        members_kill_all(&ms);
        for (size_t i = 0; i < ms.count; i++)
            for (uint64_t k = 0; i != whole && k <= prng_below(&r, 4); k++)
                damage(&r, i, 0);
        members_start_all(&ms);
        members_run_until_serving(&ms, 3);
        members_write_many(&ms, members_leader(&ms), 8);
        members_run(&ms, 1000);
        members_check_equal(&ms);
    }
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_repair");
    TCase *t = tcase_create("member_repair");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 200);
    tcase_add_test(t, a_record_that_one_lost_comes_from_another);
    tcase_add_test(t, what_is_needed_by_nobody_is_dropped_at_once);
    tcase_add_test(t, a_broken_mark_needs_nobody);
    tcase_add_test(t, each_has_lost_something_else_and_all_come_back);
    tcase_add_test(t, the_last_acknowledged_record_comes_back_too);
    tcase_add_test(t, a_lost_base_comes_from_another);
    tcase_add_test(t, all_but_one_have_lost_their_base_and_everyone_a_part_of_the_log);
    tcase_add_test(t, a_lost_end_makes_lossy);
    tcase_add_test(t, a_checkpoint_without_its_log_makes_lossy);
    tcase_add_test(t, a_log_that_ends_before_a_damaged_checkpoint_makes_lossy);
    tcase_add_test(t, a_lost_promise_makes_lossy);
    tcase_add_test(t, what_was_never_committed_is_given_up);
    tcase_add_test(t, what_nobody_has_is_waited_for);
    tcase_add_test(t, those_that_are_whole_serve_meanwhile);
    tcase_add_test(t, a_crash_at_any_call_of_a_repair_costs_nothing);
    tcase_add_test(t, one_alone_does_without_what_its_snapshot_has);
    tcase_add_test(t, one_starts_over_in_the_same_process);
    tcase_add_test(t, one_whose_history_counts_as_lost_comes_back_through_the_others);
    tcase_add_test(t, one_that_writes_starts_over_behind_that);
    tcase_add_test(t, one_of_three_damaged_at_random_loses_nothing);
    tcase_add_test(t, two_of_three_damaged_at_random_lose_nothing);
    suite_add_tcase(s, t);
    return s;
}
