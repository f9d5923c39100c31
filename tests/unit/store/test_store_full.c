/* A disk without room (Z10): at every call of every job that needs some, what was to be done waits,
 * whole; a crash meanwhile leaves what was before or what it makes; with room everything goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/store_state.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/model.h"

#define RESERVE 4096
#define TORN_SEEDS 3

static struct model m;

static void setup(void) { model_init(&m); }

static void teardown(void) { model_close(&m); }

static void open_now(void) { ck_assert_int_eq(model_open(&m), 0); }

static void no_room(uint64_t nth, uint64_t times, bool half) {
    *mem_files_room(m.files) = (struct mem_room){.before = nth - 1, .none = times, .half = half};
}

static void capacity(uint64_t more) {
    *mem_files_room(m.files) = (struct mem_room){.capacity = mem_files_used(m.files) + more};
}

static void room(void) { *mem_files_room(m.files) = (struct mem_room){0}; }

/* Bytes of the file beside the log; SIZE_MAX: it is not there. */
static size_t size_of(const char *name) {
    size_t size = 0;
    char *path = store_file_path(MODEL_DIR, name);
    const uint8_t *bytes = mem_files_bytes(m.files, path, &size);
    mem_free(path);
    return bytes == NULL ? SIZE_MAX : size;
}

/* Closes the store, and takes away what is allocated behind the tail of its first segment. */
static void close_without_space_ahead(void) {
    uint64_t tail = m.store->wal.tail;
    model_store_close(&m);
    mem_files_cut(m.files, "/d/log.0000000100000000", tail);
}

/* ---- every call of every job ---- */

static void restart(struct model *c) {
    int err = model_open(c);
    if (err < 0)
        fprintf(stderr, "# %.*s\n", (int)c->why.len, (const char *)c->why.data);
    ck_assert_int_eq(err, 0);
    ck_assert(model_accept(c));
}

/* What came of it takes records again, and keeps them. */
static void check_goes_on(struct model *c) {
    uint32_t e = model_newest(c)->epoch + 1;
    model_save_epoch(c, e);
    model_append(c, true);
    ck_assert_int_eq(model_sync(c), 0);
    model_append(c, false);
    model_truncate(c, zxid_make(e, 0));
    model_append(c, false);
    ck_assert_int_eq(model_sync(c), 0);
    model_store_close(c);
    mem_files_power_cut(c->files, MEM_CUT_LOSE, 0);
    restart(c);
}

/* The process or the machine ends while the jobs wait. */
static void check_crash(enum mem_cut cut, bool kill, uint64_t seed) {
    struct model *c = model_clone(&m);
    if (kill)
        mem_files_kill(c->files);
    else
        mem_files_power_cut(c->files, cut, seed);
    restart(c);
    check_goes_on(c);
    model_free(c);
}

/* Ends what was asked for, whatever it takes. */
static void sync_through(void) {
    int result = model_sync(&m);
    bool waited = result == STORE_FULL;
    while (result == STORE_FULL) {
        ck_assert(store_full(m.store));
        ck_assert(store_held_up(m.store));
        ck_assert(!store_pending(m.store));
        check_crash(MEM_CUT_KEEP, true, 0);
        check_crash(MEM_CUT_KEEP, false, 0);
        check_crash(MEM_CUT_LOSE, false, 0);
        for (uint64_t seed = 0; seed < TORN_SEEDS; seed++)
            check_crash(MEM_CUT_TEAR, false, mem_files_calls(m.files) * TORN_SEEDS + seed);
        struct mem_room *r = mem_files_room(m.files);
        bool again = r->none == UINT64_MAX && r->before == 0;
        r->none = again ? 1 : 0; /* once more in vain, or with room */
        store_retry(m.store);
        ck_assert(store_pending(m.store));
        result = model_sync(&m);
    }
    ck_assert_int_eq(result, 0);
    if (waited)
        check_crash(MEM_CUT_LOSE, false, 0);
}

static void batch(size_t n) {
    for (size_t i = 0; i < n; i++)
        model_append(&m, false);
    sync_through();
}

static void epoch(uint32_t e) {
    model_save_epoch(&m, e);
    model_append(&m, true);
    sync_through();
}

static void cut(zxid_t zxid) {
    model_truncate(&m, zxid);
    sync_through();
}

static void install(size_t pieces, zxid_t begun, zxid_t ended) {
    model_snapshot(&m, pieces, begun, ended);
    sync_through();
}

/* Promises, segments, cuts within a batch, over segments and down to nothing, snapshots over a log
 * and over another one, one that is abandoned. */
static void script(void) {
    m.segment_bytes = 700;
    open_now();
    epoch(1);
    batch(5);
    batch(9);
    cut(zxid_make(1, 12));
    batch(6);
    batch(7);
    cut(zxid_make(1, 3));
    epoch(2);
    install(4, zxid_make(2, 3), zxid_make(2, 6));
    batch(3);
    model_snap_begin(&m);
    (void)model_snap_chunk(&m);
    model_snap_abandon(&m);
    batch(8);
    install(2, zxid_make(2, 30), zxid_make(2, 30));
    batch(2);
    cut(zxid_make(2, 7));
    epoch(3);
    batch(2);
}

/* With no room from the nth call that needs some on. False when the script did not come there. */
static bool script_without_room(uint64_t nth, uint64_t times, bool half) {
    model_close(&m);
    model_init(&m);
    no_room(nth, times, half);
    script();
    bool refused = mem_files_room(m.files)->refused;
    model_store_close(&m);
    room();
    mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
    restart(&m);
    return refused;
}

static void everywhere(uint64_t times, bool half) {
    uint64_t n = 2; /* behind the start's own: the lock */
    while (script_without_room(n, times, half))
        n++;
    ck_assert_uint_gt(n, 60);
}

START_TEST(without_room_at_any_call_everything_waits_and_nothing_is_lost) {
    everywhere(UINT64_MAX, false);
}
END_TEST

START_TEST(a_part_of_a_write_that_found_no_room_is_written_over) { everywhere(UINT64_MAX, true); }
END_TEST

START_TEST(without_room_for_a_moment_everything_goes_on) { everywhere(1, true); }
END_TEST

/* ---- what is said of it ---- */

START_TEST(what_was_done_before_in_the_same_sync_is_said) {
    open_now();
    model_save_epoch(&m, 1);
    model_append(&m, true);
    no_room(7, UINT64_MAX, false); /* behind the promise's copies: a file, its bytes, its name */
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    ck_assert_uint_eq(m.done.epoch, 1);
    ck_assert(!m.done.appended);
    room();
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert_uint_eq(m.done.epoch, 0);
    ck_assert(m.done.appended);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(1, 0));
}
END_TEST

START_TEST(what_comes_while_jobs_wait_is_behind_them) {
    open_now();
    epoch(1);
    no_room(1, UINT64_MAX, false);
    model_append(&m, false);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    model_append(&m, false);
    model_save_epoch(&m, 2);
    model_append(&m, true);
    ck_assert(!store_pending(m.store));
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(1, 0));
    room();
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert_int_eq(m.done.log_zxid, zxid_make(2, 0));
    ck_assert_uint_eq(m.done.epoch, 2);
    ck_assert(!store_full(m.store));
    ck_assert_int_eq(model_read(&m, 0, 1 << 20), 4);
}
END_TEST

static size_t waiting(void) {
    size_t count = 0;
    for (const struct job *j = m.store->waiting.first; j != NULL; j = j->next)
        count++;
    return count;
}

static void break_off_a_snapshot(void) {
    model_snap_begin(&m);
    while (model_snap_chunk(&m))
        ;
    model_snap_abandon(&m);
}

START_TEST(snapshots_that_break_off_do_not_pile_up_while_jobs_wait) {
    open_now();
    epoch(1);
    no_room(1, UINT64_MAX, false);
    model_append(&m, false);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    for (int i = 0; i < 5; i++)
        break_off_a_snapshot();
    ck_assert_uint_eq(waiting(), 1);
    model_append(&m, false);
    break_off_a_snapshot();
    ck_assert_uint_eq(waiting(), 3);
    model_snapshot(&m, 3, zxid_make(1, 9), zxid_make(1, 9));
    size_t whole = waiting();
    break_off_a_snapshot();
    ck_assert_uint_eq(waiting(), whole + 1);
    room();
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert(m.done.installed);
    batch(3);
    check_crash(MEM_CUT_LOSE, false, 0);
}
END_TEST

START_TEST(what_is_durable_is_read_while_the_disk_is_full) {
    open_now();
    epoch(1);
    batch(3);
    no_room(1, UINT64_MAX, false);
    model_append(&m, false);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 1), 1 << 20), 2);
    ck_assert_int_eq(model_read(&m, zxid_make(1, 3), 1 << 20), 0);
}
END_TEST

START_TEST(a_sync_or_a_close_that_says_no_room_is_final) {
    for (uint64_t nth = 2; nth <= 4; nth++) {
        model_close(&m);
        model_init(&m);
        open_now();
        epoch(1);
        model_save_epoch(&m, 2); /* of each copy: open, write, datasync, close */
        mem_files_fault(m.files, nth + 1, MEM_FAULT_ERROR, nth % 2 == 0 ? -ENOSPC : -EDQUOT);
        ck_assert_int_eq(model_sync(&m), nth == 2 ? -EIO : nth == 3 ? -EIO : STORE_FULL);
    }
}
END_TEST

START_TEST(a_quota_that_is_used_up_is_a_full_disk) {
    open_now();
    epoch(1);
    model_append(&m, false);
    mem_files_fault(m.files, 1, MEM_FAULT_ERROR, -EDQUOT);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
}
END_TEST

START_TEST(space_ahead_is_as_much_as_there_is) {
    open_now();
    epoch(1);
    model_append(&m, false);
    size_t record = size_of("log.0000000100000000");
    batch(1);
    ck_assert_uint_eq(size_of("log.0000000100000000"), record);
    for (uint64_t more = 0; more < 200; more += 40) {
        model_close(&m);
        model_init(&m);
        open_now();
        model_save_epoch(&m, 1);
        ck_assert_int_eq(model_sync(&m), 0);
        capacity(64 + 80 + 56 + more); /* the header, the record, its mark */
        model_append(&m, true);
        ck_assert_int_eq(model_sync(&m), 0);
        ck_assert(!store_full(m.store));
    }
}
END_TEST

/* ---- the reserve ---- */

START_TEST(the_reserve_is_there_from_the_first_start_on) {
    m.reserve_bytes = RESERVE;
    open_now();
    ck_assert_uint_eq(size_of(RESERVE_NAME), RESERVE);
    ck_assert(!store_full(m.store));
    model_store_close(&m);
    mem_files_power_cut(m.files, MEM_CUT_LOSE, 0);
    ck_assert_uint_eq(size_of(RESERVE_NAME), RESERVE);
    uint64_t used = mem_files_used(m.files);
    open_now();
    ck_assert_uint_eq(mem_files_used(m.files), used);
}
END_TEST

START_TEST(where_no_room_is_the_reserve_is_given_up_and_the_job_goes_through) {
    m.reserve_bytes = RESERVE;
    open_now();
    epoch(1);
    capacity(0);
    while (!store_full(m.store))
        batch(1);
    ck_assert(!store_held_up(m.store));
    ck_assert_uint_eq(size_of(RESERVE_NAME), SIZE_MAX);
    batch(1);
    ck_assert(store_full(m.store)); /* until it could be made again */
    store_retry(m.store);
    ck_assert(store_pending(m.store));
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert(store_full(m.store));
    ck_assert_uint_eq(size_of(RESERVE_NAME), SIZE_MAX);
    ck_assert(!store_pending(m.store));
    capacity(RESERVE);
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert(!store_full(m.store));
    ck_assert_uint_eq(size_of(RESERVE_NAME), RESERVE);
}
END_TEST

START_TEST(nothing_is_allocated_ahead_of_the_reserve) {
    m.reserve_bytes = 64 << 10;
    m.segment_bytes = 1 << 20;
    open_now();
    epoch(1);
    uint64_t before = mem_files_used(m.files);
    capacity(0);
    while (!store_full(m.store))
        batch(1);
    ck_assert_uint_lt(mem_files_used(m.files), before - (33 << 10));
}
END_TEST

START_TEST(a_start_on_a_full_disk_writes_its_epoch_into_the_reserve) {
    m.reserve_bytes = RESERVE;
    open_now();
    epoch(1);
    batch(3);
    close_without_space_ahead();
    capacity(0);
    restart(&m);
    ck_assert(!store_full(m.store));
    epoch(2);
    ck_assert(store_full(m.store));
    ck_assert(!store_held_up(m.store));
}
END_TEST

START_TEST(a_start_without_room_or_reserve_is_full_and_waits) {
    open_now();
    epoch(1);
    batch(3);
    close_without_space_ahead();
    m.reserve_bytes = RESERVE;
    capacity(1000);
    restart(&m);
    ck_assert(store_full(m.store));
    ck_assert_uint_eq(size_of(RESERVE_NAME), SIZE_MAX);
    capacity(0);
    model_save_epoch(&m, 2);
    model_append(&m, true);
    ck_assert_int_eq(model_sync(&m), STORE_FULL);
    ck_assert_uint_eq(m.done.epoch, 2); /* in place */
    room();
    store_retry(m.store);
    ck_assert_int_eq(model_sync(&m), 0);
    ck_assert(!store_full(m.store));
}
END_TEST

/* The power goes at the nth call of a cut. False when the cut came to its end before. */
static bool cut_without_power(uint64_t nth) {
    model_close(&m);
    model_init(&m);
    m.reserve_bytes = RESERVE;
    open_now();
    epoch(1);
    batch(9);
    mem_files_fault(m.files, nth, MEM_FAULT_CUT_BEFORE, 0);
    model_truncate(&m, zxid_make(1, 4));
    int result = model_sync(&m);
    model_store_close(&m);
    mem_files_power_cut(m.files, MEM_CUT_KEEP, 0);
    return result < 0;
}

START_TEST(a_start_that_has_a_cut_to_finish_gives_the_reserve_up) {
    size_t finished = 0;
    for (uint64_t n = 1; cut_without_power(n); n++) {
        bool decided = size_of("cut") == 64;
        no_room(1, 1, true);
        restart(&m);
        ck_assert(store_full(m.store));
        ck_assert_uint_eq(size_of(RESERVE_NAME), SIZE_MAX);
        ck_assert_uint_eq(size_of("cut"), SIZE_MAX);
        if (!decided)
            continue;
        ck_assert_int_eq(model_last_zxid(model_newest(&m)), zxid_make(1, 4));
        finished++;
    }
    ck_assert_uint_gt(finished, 3);
}
END_TEST

START_TEST(a_copy_of_the_promise_that_finds_no_room_at_a_start_is_written_later) {
    open_now();
    epoch(1);
    model_store_close(&m);
    mem_files_remove(m.files, "/d/epoch.2");
    no_room(2, 1, true); /* behind the last batch, that a start writes again */
    restart(&m);
    ck_assert_uint_eq(size_of("epoch.2"), SIZE_MAX);
    ck_assert(memmem(m.why.data, m.why.len, "cannot be written", 17) != NULL);
    epoch(2);
    ck_assert_uint_eq(size_of("epoch.2"), 64);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("store_full");
    TCase *t = tcase_create("store_full");
    tcase_set_timeout(t, 240);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, without_room_at_any_call_everything_waits_and_nothing_is_lost);
    tcase_add_test(t, a_part_of_a_write_that_found_no_room_is_written_over);
    tcase_add_test(t, without_room_for_a_moment_everything_goes_on);
    tcase_add_test(t, what_was_done_before_in_the_same_sync_is_said);
    tcase_add_test(t, what_comes_while_jobs_wait_is_behind_them);
    tcase_add_test(t, snapshots_that_break_off_do_not_pile_up_while_jobs_wait);
    tcase_add_test(t, what_is_durable_is_read_while_the_disk_is_full);
    tcase_add_test(t, a_sync_or_a_close_that_says_no_room_is_final);
    tcase_add_test(t, a_quota_that_is_used_up_is_a_full_disk);
    tcase_add_test(t, space_ahead_is_as_much_as_there_is);
    tcase_add_test(t, the_reserve_is_there_from_the_first_start_on);
    tcase_add_test(t, where_no_room_is_the_reserve_is_given_up_and_the_job_goes_through);
    tcase_add_test(t, nothing_is_allocated_ahead_of_the_reserve);
    tcase_add_test(t, a_start_on_a_full_disk_writes_its_epoch_into_the_reserve);
    tcase_add_test(t, a_start_without_room_or_reserve_is_full_and_waits);
    tcase_add_test(t, a_start_that_has_a_cut_to_finish_gives_the_reserve_up);
    tcase_add_test(t, a_copy_of_the_promise_that_finds_no_room_at_a_start_is_written_later);
    suite_add_tcase(s, t);
    return s;
}
