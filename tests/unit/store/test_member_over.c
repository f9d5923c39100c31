/* Members that start over, or are mended, and what may go wrong meanwhile. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/path.h"
#include "replica/member_state.h"
#include "replica/server/core.h"
#include "replica/store/store_state.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/members.h"

static struct members ms;

/* Three members with a history in several segments. */
static void setup(void) {
    members_init(&ms, 3);
    members_start_all(&ms);
    members_run_until_serving(&ms, ms.count);
    members_write_many(&ms, members_leader(&ms), 60);
    members_run(&ms, 1000);
}

static void teardown(void) { members_close(&ms); }

static size_t follower(void) { return (members_leader(&ms) + 1) % ms.count; }

static void want_over(size_t i, bool distrust) {
    static const char why[] = "its tree is not the others'";
    struct update u = {.type = UPD_START_OVER,
                       .distrust = distrust,
                       .bytes = {(const uint8_t *)why, sizeof why - 1}};
    member_carry_out(ms.hosts[i].member, &u);
}

static void all_is_well(void) {
    members_run_until_serving(&ms, ms.count);
    members_run(&ms, 2000);
    members_check_equal(&ms);
}

static void no_room(size_t i, bool none) {
    *mem_files_room(ms.hosts[i].files) = (struct mem_room){.none = none ? UINT64_MAX : 0};
}

static bool there(size_t i, const char *prefix) {
    char *path = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, prefix, 0);
    mem_free(path);
    return path != NULL;
}

/* ---- a disk that fails meanwhile ---- */

START_TEST(a_failed_snapshot_ends_one_that_waits_for_it_to_start_over) {
    for (int full = 1; full >= 0; full--) {
        struct members_host *h = &ms.hosts[follower()];
        struct member *m = h->member;
        store_checkpoint_begin(m->store);
        m->checkpointing = true; /* as if its runner were at it */
        store_checkpoint_start(m->store);
        mem_files_fault(h->files, 1, MEM_FAULT_ERROR, full ? -ENOSPC : -EIO);
        store_checkpoint_run(m->store);
        want_over(h->id - 1u, false);
        member_go_over(m);
        member_checkpoint_ran(m);
        ck_assert_int_eq(m->stopped, !full);
        ck_assert_int_eq(h->stopped, !full);
        if (full)
            all_is_well();
    }
}
END_TEST

START_TEST(behind_a_stop_nothing_starts_over) {
    struct members_host *h = &ms.hosts[follower()];
    struct member *m = h->member;
    m->syncing = m->checkpointing = true; /* as if both were under way */
    store_sync_begin(m->store);
    store_checkpoint_begin(m->store);
    store_checkpoint_start(m->store);
    store_checkpoint_run(m->store);
    want_over(h->id - 1u, false);
    member_go_over(m);
    member_log_synced(m, -EIO);
    ck_assert(h->stopped);
    uint64_t lives = m->lives;
    member_checkpoint_ran(m);
    ck_assert(m->stopped);
    ck_assert_uint_eq(m->lives, lives);
}
END_TEST

/* ---- a disk that is full ---- */

START_TEST(starting_over_waits_for_room) {
    for (int distrust = 0; distrust < 2; distrust++) {
        size_t i = follower();
        struct members_host *h = &ms.hosts[i];
        members_kill(&ms, i);
        /* Without a reserve, and with something to write. */
        ck_assert_int_eq(members_start(&ms, i), 0);
        members_run_until_serving(&ms, ms.count);
        buf_reset(&h->notes);
        no_room(i, true);
        if (!distrust)
            mem_files_cut(h->files, MEMBERS_DIR "/epoch.1", 10);
        mem_files_remove(h->files, MEMBERS_DIR "/lock");
        want_over(i, distrust);
        member_go_over(h->member);
        members_run(&ms, 5500);
        ck_assert(!h->stopped);
        ck_assert(h->member->waits_for_room);
        ck_assert_ptr_null(members_core(&ms, i));
        ck_assert(members_noted(&ms, i, "the disk is full, and starting over needs room"));
        members_write_many(&ms, members_leader(&ms), 3); /* the others go on */
        no_room(i, false);
        members_run(&ms, 2000);
        ck_assert(!h->member->waits_for_room);
        all_is_well();
    }
}
END_TEST

static void flip(size_t i, size_t from_last, uint64_t byte) {
    char *path = members_segment(&ms, i, from_last);
    mem_files_flip_bit(ms.hosts[i].files, path, byte * 8 + 2);
    mem_free(path);
}

START_TEST(a_repair_waits_for_room_and_leaves_nothing_behind) {
    size_t i = follower();
    struct members_host *h = &ms.hosts[i];
    ms.reserve_bytes = 4096;
    members_kill(&ms, i);
    ck_assert_int_eq(members_start(&ms, i), 0);
    members_run_until_serving(&ms, ms.count);
    ck_assert(there(i, "reserve"));
    members_kill(&ms, i);
    flip(i, 2, 300);
    h->cut = true;
    ck_assert_int_eq(members_start(&ms, i), 0);
    ck_assert(members_repairing(&ms, i));
    no_room(i, true);
    h->cut = false;
    members_run(&ms, 5500);
    ck_assert(!h->stopped);
    ck_assert(h->member->waits_for_room);
    ck_assert(!there(i, "new."));
    ck_assert(!there(i, "reserve"));
    no_room(i, false);
    all_is_well();
    ck_assert(there(i, "reserve"));
}
END_TEST

START_TEST(a_first_start_that_cannot_mend_for_want_of_room_says_so) {
    size_t i = follower();
    members_kill(&ms, i);
    /* Only the end of a segment that is not the last: nobody is needed. */
    char *path = members_segment(&ms, i, 1);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(ms.hosts[i].files, path, &size);
    while (p[size - 1] == 0 && p[size - 2] == 0)
        size--;
    mem_files_flip_bit(ms.hosts[i].files, path, (size - 12) * 8);
    mem_free(path);
    no_room(i, true);
    ck_assert_int_eq(members_start(&ms, i), -ENOSPC);
    no_room(i, false);
    ck_assert_int_eq(members_start(&ms, i), 0);
    all_is_well();
}
END_TEST

/* ---- a snapshot that cannot be loaded ---- */

/* In the place of host i's newest snapshot one that is whole, and of no use. */
static void spoil_snapshot(size_t i) {
    struct store_dir d = {.files = mem_files_env(ms.hosts[i].files), .path = (char *)MEMBERS_DIR};
    struct snap_writer w = {.fd = -1};
    struct snap_base base;
    char *path = mem_files_last(ms.hosts[i].files, MEMBERS_DIR, "snapshot.", 0);
    const char *name = strrchr(path, '/') + 1;
    zxid_t begun = snap_file_begun(&d, name);
    ck_assert_int_gt(begun, 0);
    ck_assert_int_eq(snap_writer_begin(&w, &d, SNAP_FILE_TMP, 9, SNAP_BESIDE), 0);
    ck_assert_int_eq(snap_writer_chunk(&w, &d, slice_from_str("\xff\xff nothing")), 0);
    ck_assert_int_eq(snap_writer_end(&w, &d, name, begun, begun, &base), 0);
    mem_free(path);
}

START_TEST(a_snapshot_with_a_piece_that_cannot_be_loaded_is_done_without) {
    size_t i = follower();
    ms.snap_retain = 1;
    members_kill(&ms, i);
    ck_assert_int_eq(members_start(&ms, i), 0);
    members_run_until_serving(&ms, ms.count);
    (void)members_checkpoint(&ms, i);
    members_write_many(&ms, members_leader(&ms), 5);
    members_run(&ms, 1000);
    members_kill(&ms, i);
    ck_assert(!there(i, "log.0000000100000000"));
    spoil_snapshot(i);
    ck_assert_int_eq(members_start(&ms, i), 0);
    ck_assert(members_repairing(&ms, i));
    all_is_well();
}
END_TEST

START_TEST(one_alone_that_cannot_load_its_snapshot_leaves_everything_as_it_was) {
    members_close(&ms);
    members_init(&ms, 1);
    ms.snap_retain = 1;
    members_start_all(&ms);
    members_run_until_serving(&ms, 1);
    members_write_many(&ms, 0, 60);
    (void)members_checkpoint(&ms, 0);
    members_kill(&ms, 0);
    spoil_snapshot(0);
    ck_assert_int_eq(members_start(&ms, 0), -EBADMSG);
    ck_assert(members_noted(&ms, 0, "; the log is left as it was"));
    ck_assert(!members_noted(&ms, 0, "the history is written anew"));
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_over");
    TCase *t = tcase_create("member_over");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_failed_snapshot_ends_one_that_waits_for_it_to_start_over);
    tcase_add_test(t, behind_a_stop_nothing_starts_over);
    tcase_add_test(t, starting_over_waits_for_room);
    tcase_add_test(t, a_repair_waits_for_room_and_leaves_nothing_behind);
    tcase_add_test(t, a_first_start_that_cannot_mend_for_want_of_room_says_so);
    tcase_add_test(t, a_snapshot_with_a_piece_that_cannot_be_loaded_is_done_without);
    tcase_add_test(t, one_alone_that_cannot_load_its_snapshot_leaves_everything_as_it_was);
    suite_add_tcase(s, t);
    return s;
}
