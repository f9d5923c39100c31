/* A history written anew beside a damaged one: a crash at any call leaves the one or the other. */
#include "replica/store/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/epoch_file.h"
#include "replica/store/snap_name.h"
#include "replica/store/survey.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

static struct world w;     /* whole */
static struct world other; /* of the same history, damaged */

static struct store_dir dir_of(struct world *c) {
    return (struct store_dir){.files = mem_files_env(c->files), .path = (char *)DIR};
}

static void setup(void) {
    world_init(&w);
    w.segment_bytes = 2048;
    ck_assert_int_eq(world_open(&w), 0);
    for (size_t i = 0; i < 10; i++) {
        world_batch(&w, 4);
        if (i % 4 == 3)
            world_append(&w, true);
    }
    world_promise(&w, 9);
    world_store_close(&w);
    world_clone(&w, &other);
    mem_files_remove(other.files, world_segment(&other, 1));
}

static void teardown(void) {
    world_close(&other);
    world_close(&w);
}

struct copying {
    struct rebuild *b;
    zxid_t at;
    int err;
};

static void copy(void *ctx, const struct log_record *r) {
    struct copying *c = ctx;
    c->at = r->zxid;
    if (c->err == 0)
        c->err = rebuild_append(c->b, r);
}

/* Writes what `from` has behind `after` into b. */
static int copy_history(struct world *from, zxid_t after, struct rebuild *b) {
    struct survey sv;
    struct store_dir d = dir_of(from);
    struct buf why = BUF_INIT;
    ck_assert_int_eq(survey_take(&sv, &d, NULL, 0, &why), 0);
    struct copying c = {.b = b, .at = after};
    while (c.err == 0 && survey_read(&sv, c.at, INT64_MAX, 1000, copy, &c) > 0)
        ;
    survey_close(&sv);
    return c.err;
}

/* Gives `to` the whole history of w. */
static int rebuild_all(struct world *to) {
    struct store_dir d = dir_of(to);
    struct rebuild *b = NULL;
    int err = rebuild_begin(&d, 1500, 77, &b);
    if (err == 0)
        err = copy_history(&w, 0, b);
    if (err == 0)
        err = rebuild_commit(b, 0, true);
    rebuild_free(b);
    return err;
}

static bool lossy(struct world *c) {
    struct store_dir d = dir_of(c);
    struct epoch_file e;
    struct buf why = BUF_INIT;
    ck_assert_int_eq(epoch_file_read(&d, &e, &why), 0);
    return (e.flags & EPOCH_LOSSY) != 0;
}

static void check_whole(struct world *c) {
    ck_assert_int_eq(world_open(c), 0);
    world_check_history(c);
    ck_assert_uint_eq(c->read, c->appended);
}

static void check_goes_on(struct world *c) {
    world_continue(c);
    world_batch(c, 3);
    world_store_close(c);
    check_whole(c);
    world_store_close(c);
}

static bool any(const struct world *c, const char *prefix) {
    char *found = mem_files_last(c->files, DIR, prefix, 0);
    mem_free(found);
    return found != NULL;
}

START_TEST(a_history_that_was_written_anew_takes_the_place_of_the_damaged_one) {
    ck_assert_int_eq(world_open(&other), -EBADMSG);
    ck_assert_int_eq(rebuild_all(&other), 0);
    ck_assert(!any(&other, "new."));
    ck_assert(!any(&other, REBUILD_NAME));
    check_whole(&other);
    ck_assert_uint_eq(other.epoch, 9);
    ck_assert(lossy(&other));
    check_goes_on(&other);
}
END_TEST

START_TEST(a_crash_at_any_call_leaves_the_old_history_or_the_new_one) {
    size_t old = 0, new = 0;
    bool happened = true;
    for (uint64_t nth = 1; happened; nth++) {
        for (int k = 0; k < 6; k++) {
            struct world c;
            world_clone(&other, &c);
            mem_files_fault(c.files, nth, k % 2 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER, 0);
            (void)rebuild_all(&c);
            happened = mem_files_fault_happened(c.files);
            mem_files_fault(c.files, 0, MEM_FAULT_ERROR, 0);
            mem_files_power_cut(c.files, (enum mem_cut)(k / 2), nth);
            int err = world_open(&c);
            ck_assert(err == 0 || err == -EBADMSG);
            if (err == 0) {
                new ++;
                world_check_history(&c);
                ck_assert_uint_eq(c.read, c.appended);
                ck_assert(lossy(&c));
                ck_assert(!any(&c, "new."));
                check_goes_on(&c);
            } else {
                old++;
                ck_assert_int_eq(rebuild_all(&c), 0);
                check_whole(&c);
            }
            world_close(&c);
        }
    }
    ck_assert_uint_gt(old, 100);
    ck_assert_uint_gt(new, 50);
}
END_TEST

START_TEST(a_crash_while_a_start_ends_it_changes_nothing) {
    /* The last call before the decision counts is found by trying. */
    for (uint64_t nth = 1; nth < 400; nth++) {
        struct world c;
        world_clone(&other, &c);
        mem_files_fault(c.files, nth, MEM_FAULT_CUT_AFTER, 0);
        (void)rebuild_all(&c);
        mem_files_fault(c.files, 0, MEM_FAULT_ERROR, 0);
        mem_files_power_cut(c.files, MEM_CUT_KEEP, nth);
        size_t size = 0;
        bool decided = mem_files_bytes(c.files, DIR "/" REBUILD_NAME, &size) != NULL;
        for (uint64_t call = 1; decided && call < 60; call++) {
            struct world again;
            world_clone(&c, &again);
            mem_files_fault(again.files, call, MEM_FAULT_CUT_BEFORE, 0);
            (void)world_open(&again);
            world_store_close(&again);
            mem_files_power_cut(again.files, call % 2 ? MEM_CUT_LOSE : MEM_CUT_TEAR, call);
            check_whole(&again);
            world_close(&again);
        }
        world_close(&c);
    }
}
END_TEST

START_TEST(a_call_that_fails_is_told_and_leaves_the_old_history_or_the_new_one) {
    bool happened = true;
    for (uint64_t nth = 1; happened; nth++) {
        struct world c;
        world_clone(&other, &c);
        mem_files_fault(c.files, nth, MEM_FAULT_ERROR, nth % 2 ? -EIO : -ENOSPC);
        int err = rebuild_all(&c);
        happened = mem_files_fault_happened(c.files);
        /* But for a close that nobody needs. */
        ck_assert(!happened || err < 0 || world_open(&c) == 0);
        world_store_close(&c);
        mem_files_power_cut(c.files, MEM_CUT_LOSE, nth);
        err = world_open(&c);
        ck_assert(err == 0 || err == -EBADMSG);
        if (err == 0)
            world_check_history(&c);
        world_close(&c);
    }
}
END_TEST

/* ---- bases ---- */

static void put_file(struct world *c, const char *path) {
    const struct env_files *e = mem_files_env(c->files);
    int fd = e->open(e->ctx, path, O_RDWR | O_CREAT, 0640);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(e->pwrite(e->ctx, fd, "something", 9, 0), 0);
    e->close(e->ctx, fd);
}

static zxid_t install(struct world *c) {
    zxid_t zxid = c->zxids[c->appended - 1];
    ck_assert_int_eq(world_open(c), 0);
    store_snap_begin(c->store);
    store_snap_chunk(c->store, (struct slice){(const uint8_t *)"piece", 5});
    store_snap_end(c->store, zxid, zxid);
    store_sync_begin(c->store);
    ck_assert_int_eq(store_sync_run(c->store), 0);
    (void)world_sync_end(c);
    world_batch(c, 5);
    world_store_close(c);
    return zxid;
}

static char *numbered(zxid_t zxid) {
    char name[SNAP_NAME_BYTES];
    snap_name_print(zxid, name);
    return store_file_path(DIR, name);
}

static const uint8_t *snapshot_bytes(struct world *c, zxid_t zxid, size_t *ret_size) {
    char *path = numbered(zxid);
    const uint8_t *p = mem_files_bytes(c->files, path, ret_size);
    mem_free(path);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* Rebuilds c behind its own snapshot of that name. */
static void rebuild_behind(struct world *c, const char *name, zxid_t zxid) {
    struct survey sv;
    struct store_dir d = dir_of(c);
    struct buf why = BUF_INIT;
    ck_assert_int_eq(survey_take(&sv, &d, NULL, 0, &why), 0);
    ck_assert_str_eq(sv.base_name, name);
    struct rebuild *b = NULL;
    ck_assert_int_eq(rebuild_begin(&d, 0, 5, &b), 0);
    rebuild_base(b, name, &sv.base);
    ck_assert_int_eq(copy_history(c, zxid, b), 0);
    ck_assert_int_eq(rebuild_commit(b, sv.epoch, false), 0);
    rebuild_free(b);
    survey_close(&sv);
}

static void check_behind(struct world *c, size_t count) {
    struct survey sv;
    struct store_dir d = dir_of(c);
    ck_assert_int_eq(world_open(c), 0);
    world_store_close(c);
    ck_assert_int_eq(survey_take(&sv, &d, NULL, 0, &c->why), 0);
    ck_assert(sv.has_base);
    ck_assert(!sv.tail_lost);
    ck_assert_int_eq(sv.base.begun, c->zxids[c->appended - 1 - count]);
    ck_assert_int_eq(sv.known_end, c->zxids[c->appended - 1]);
    struct survey_island island;
    ck_assert(survey_island(&sv, sv.base.begun, 0, &island));
    ck_assert_int_eq(island.before, sv.base.begun);
    ck_assert_int_eq(island.last, sv.known_end);
    survey_close(&sv);
}

START_TEST(a_snapshot_of_its_own_stays_and_gets_its_number) {
    zxid_t zxid = install(&w);
    char *path = numbered(zxid);
    size_t size = 0;
    /* As the version before called it. */
    mem_files_move(w.files, path, DIR "/" SNAP_FILE_NAME);
    put_file(&w, DIR "/snapshot.0000000000000001");
    rebuild_behind(&w, SNAP_FILE_NAME, zxid);
    check_behind(&w, 5);
    ck_assert_ptr_nonnull(mem_files_bytes(w.files, path, &size));
    ck_assert_ptr_null(mem_files_bytes(w.files, DIR "/snapshot", &size));
    ck_assert_ptr_null(mem_files_bytes(w.files, DIR "/snapshot.0000000000000001", &size));
    /* Once more, now that it has one. */
    rebuild_behind(&w, strrchr(path, '/') + 1, zxid);
    check_behind(&w, 5);
    mem_free(path);
}
END_TEST

static void receive(struct world *c, const uint8_t *p, size_t size, int expected) {
    struct store_dir d = dir_of(c);
    struct rebuild *b = NULL;
    struct snap_base base = {0};
    ck_assert_int_eq(rebuild_begin(&d, 0, 5, &b), 0);
    ck_assert_int_eq(rebuild_snapshot_begin(b), 0);
    for (size_t at = 0; at < size; at += 50)
        ck_assert_int_eq(rebuild_snapshot_put(
                             b, (struct slice){p + at, size - at < 50 ? (int32_t)(size - at) : 50}),
                         0);
    ck_assert_int_eq(rebuild_snapshot_end(b, &base), expected);
    if (expected == 0) {
        ck_assert_int_eq(copy_history(&w, base.begun, b), 0);
        ck_assert_int_eq(rebuild_commit(b, 9, false), 0);
    }
    rebuild_free(b);
}

START_TEST(a_snapshot_that_was_received_becomes_the_base) {
    size_t size = 0;
    const uint8_t *p = snapshot_bytes(&w, install(&w), &size);
    memcpy(other.zxids, w.zxids, sizeof w.zxids);
    other.appended = w.appended;
    receive(&other, p, size, 0);
    check_behind(&other, 5);
    ck_assert(!lossy(&other));
}
END_TEST

START_TEST(a_snapshot_that_is_not_whole_becomes_nothing) {
    size_t size = 0;
    const uint8_t *p = snapshot_bytes(&w, install(&w), &size);
    uint8_t *broken = mem_dup(p, size);
    broken[size / 2] ^= 4;
    receive(&other, broken, size, -EBADMSG);
    receive(&other, p, size - 1, -EBADMSG);
    ck_assert_int_eq(world_open(&other), -EBADMSG);
    ck_assert(!any(&other, "new."));
    mem_free(broken);
}
END_TEST

/* A checkpoint of the last record. */
static zxid_t checkpoint(struct world *c) {
    struct store_checkpoint_done done;
    zxid_t zxid = c->zxids[c->appended - 1];
    ck_assert_int_eq(world_open(c), 0);
    store_checkpoint_begin(c->store);
    store_checkpoint_chunk(c->store, (struct slice){(const uint8_t *)"piece", 5});
    store_checkpoint_end(c->store, zxid);
    store_checkpoint_start(c->store);
    store_checkpoint_run(c->store);
    store_checkpoint_end_run(c->store, &done);
    ck_assert_int_eq(done.saved_zxid, zxid);
    world_store_close(c);
    return zxid;
}

static void lose_log(struct world *c) {
    for (char *p = NULL; (p = mem_files_last(c->files, DIR, "log.", 0)) != NULL; mem_free(p))
        mem_files_remove(c->files, p);
}

static int rebuild_from_base(struct world *c, const struct survey *sv) {
    struct store_dir d = dir_of(c);
    struct rebuild *b = NULL;
    int err = rebuild_begin(&d, 0, 5, &b);
    if (err == 0) {
        rebuild_base(b, sv->base_name, &sv->base);
        err = rebuild_commit(b, sv->epoch, true);
    }
    rebuild_free(b);
    return err;
}

START_TEST(a_checkpoint_with_nothing_behind_it_is_the_history_from_then_on) {
    zxid_t zxid = checkpoint(&w);
    lose_log(&w);
    struct survey sv;
    struct store_dir d = dir_of(&w);
    ck_assert_int_eq(survey_take(&sv, &d, NULL, 0, &w.why), 0);
    ck_assert_int_eq(sv.base.begun, zxid);
    ck_assert_int_eq(sv.base.kind, SNAP_BESIDE);
    ck_assert(sv.tail_lost);
    bool happened = true;
    for (uint64_t nth = 1; happened; nth++) {
        struct world c;
        world_clone(&w, &c);
        mem_files_fault(c.files, nth, nth % 2 ? MEM_FAULT_CUT_BEFORE : MEM_FAULT_CUT_AFTER, 0);
        int err = rebuild_from_base(&c, &sv);
        happened = mem_files_fault_happened(c.files);
        ck_assert(happened || err == 0);
        mem_files_fault(c.files, 0, MEM_FAULT_ERROR, 0);
        mem_files_power_cut(c.files, (enum mem_cut)(nth % 3), nth);
        err = world_open(&c);
        ck_assert(err == 0 || err == -EBADMSG);
        world_store_close(&c);
        if (err < 0)
            ck_assert_int_eq(rebuild_from_base(&c, &sv), 0);
        ck_assert_int_eq(world_open(&c), 0);
        ck_assert(lossy(&c));
        ck_assert(!any(&c, "new."));
        world_close(&c);
    }
    survey_close(&sv);
}
END_TEST

START_TEST(a_received_checkpoint_with_nothing_behind_it_is_the_history) {
    size_t size = 0;
    const uint8_t *p = snapshot_bytes(&w, checkpoint(&w), &size);
    /* w has no record behind it. */
    receive(&other, p, size, 0);
    ck_assert(!any(&other, "log."));
    ck_assert_int_eq(world_open(&other), 0);
    ck_assert(!any(&other, "new."));
}
END_TEST

/* ---- the promise ---- */

START_TEST(a_lost_promise_becomes_the_last_records_epoch) {
    mem_files_flip_bit(other.files, DIR "/epoch.1", 77);
    mem_files_remove(other.files, DIR "/epoch.2");
    other.promised = other.asked = zxid_epoch(w.zxids[w.appended - 1]);
    ck_assert_int_eq(rebuild_all(&other), 0);
    check_whole(&other);
    ck_assert_uint_eq(other.epoch, other.asked);
    ck_assert(lossy(&other));
}
END_TEST

START_TEST(a_history_that_counts_as_lost_leaves_the_promise) {
    struct store_dir d = dir_of(&w);
    struct rebuild *b = NULL;
    ck_assert_int_eq(rebuild_begin(&d, 0, 5, &b), 0);
    ck_assert_int_eq(rebuild_commit(b, 0, true), 0);
    rebuild_free(b);
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.read, 0);
    ck_assert_uint_eq(w.epoch, 9);
    ck_assert(lossy(&w));
    ck_assert(!any(&w, "log."));
    /* It is said with every later promise, until it is taken back. */
    w.appended = w.durable = 0;
    world_promise(&w, 12);
    ck_assert(lossy(&w));
    world_store_close(&w);
    struct epoch_file e;
    ck_assert_int_eq(epoch_file_read(&d, &e, &w.why), 0);
    ck_assert_int_eq(epoch_file_clear(&e, &d, EPOCH_LOSSY), 0);
    ck_assert(!lossy(&w));
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.epoch, 12);
}
END_TEST

START_TEST(one_copy_is_enough_to_be_lossy) {
    struct store_dir d = dir_of(&w);
    for (int i = 0; i < 2; i++) {
        struct epoch_file e;
        ck_assert_int_eq(epoch_file_read(&d, &e, &w.why), 0);
        ck_assert_int_eq(epoch_file_clear(&e, &d, EPOCH_LOSSY), 0);
        ck_assert(!lossy(&w));
        /* The power goes between the copies. */
        mem_files_fault(w.files, 4, MEM_FAULT_CUT_AFTER, 0);
        (void)epoch_file_set(&e, &d, EPOCH_LOSSY);
        mem_files_power_cut(w.files, MEM_CUT_LOSE, 0);
        ck_assert(lossy(&w));
        ck_assert_int_eq(world_open(&w), 0);
        world_store_close(&w);
        ck_assert(lossy(&w));
    }
}
END_TEST

/* ---- what is left ---- */

START_TEST(what_an_unfinished_one_left_is_removed_by_a_start) {
    put_file(&w, DIR "/new.log.0000000100000000");
    put_file(&w, DIR "/new.snapshot.0000000100000000");
    put_file(&w, DIR "/new.snapshot");
    put_file(&w, DIR "/rebuild.new");
    put_file(&w, DIR "/new.kernel");
    check_whole(&w);
    ck_assert(!any(&w, "new.log"));
    ck_assert(!any(&w, "new.snapshot"));
    ck_assert(!any(&w, REBUILD_NAME));
    ck_assert(any(&w, "new.kernel"));
}
END_TEST

START_TEST(a_damaged_decision_is_refused) {
    put_file(&w, DIR "/rebuild");
    ck_assert_int_eq(world_open(&w), -EBADMSG);
    ck_assert_ptr_nonnull(memmem(w.why.data, w.why.len, DIR "/rebuild", strlen(DIR "/rebuild")));
    struct survey sv;
    struct store_dir d = dir_of(&w);
    ck_assert_int_eq(survey_take(&sv, &d, NULL, 0, &w.why), 0);
    ck_assert(sv.tail_lost);
    survey_close(&sv);
    /* It is mended like anything else. */
    ck_assert_int_eq(rebuild_all(&w), 0);
    check_whole(&w);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("rebuild");
    TCase *t = tcase_create("rebuild");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_history_that_was_written_anew_takes_the_place_of_the_damaged_one);
    tcase_add_test(t, a_crash_at_any_call_leaves_the_old_history_or_the_new_one);
    tcase_add_test(t, a_crash_while_a_start_ends_it_changes_nothing);
    tcase_add_test(t, a_call_that_fails_is_told_and_leaves_the_old_history_or_the_new_one);
    tcase_add_test(t, a_snapshot_of_its_own_stays_and_gets_its_number);
    tcase_add_test(t, a_snapshot_that_was_received_becomes_the_base);
    tcase_add_test(t, a_snapshot_that_is_not_whole_becomes_nothing);
    tcase_add_test(t, a_checkpoint_with_nothing_behind_it_is_the_history_from_then_on);
    tcase_add_test(t, a_received_checkpoint_with_nothing_behind_it_is_the_history);
    tcase_add_test(t, a_lost_promise_becomes_the_last_records_epoch);
    tcase_add_test(t, a_history_that_counts_as_lost_leaves_the_promise);
    tcase_add_test(t, one_copy_is_enough_to_be_lossy);
    tcase_add_test(t, what_an_unfinished_one_left_is_removed_by_a_start);
    tcase_add_test(t, a_damaged_decision_is_refused);
    suite_add_tcase(s, t);
    return s;
}
