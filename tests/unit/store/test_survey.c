/* A directory damaged in every way that the rules know: the survey finds all that is whole, and
 * nothing else, and knows what is missing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/prng.h"
#include "replica/store/snap_name.h"
#include "replica/store/survey.h"
#include "replica/store/wal_reader.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

#define FRAMES_MAX 512

static const uint8_t zeros[1 << 16];
static struct world w;
static struct survey sv;
static struct store_dir dir;
static bool held[4096]; /* the records of the history that the survey has */

/* 5 epochs in several segments: batches of one to five records of all sizes. */
static void write_history_of(struct world *c) {
    c->segment_bytes = 2048;
    ck_assert_int_eq(world_open(c), 0);
    world_batch(c, 1);
    for (size_t i = 0; i < 16; i++) {
        c->payload_bytes = i % 5 * 90;
        world_batch(c, 1 + i % 5);
        if (i % 4 == 3) {
            world_append(c, true);
            world_batch(c, 2);
        }
    }
    world_store_close(c);
}

static void write_history(void) { write_history_of(&w); }

static void setup(void) { world_init(&w); }

static void teardown(void) {
    survey_close(&sv);
    world_close(&w);
}

static void hold(void *ctx, const struct log_record *r) {
    size_t i = 0;
    ck_assert(world_is_record(&w, r, &i));
    ck_assert(!held[i]);
    held[i] = true;
    *(zxid_t *)ctx = r->zxid;
}

/* Reads all islands, piece by piece, into `held`. */
static void read_islands(void) {
    struct survey_island island;
    memset(held, 0, sizeof held);
    for (size_t i = 0; survey_island(&sv, 0, i, &island); i++) {
        zxid_t at = island.before;
        if (at == SURVEY_UNKNOWN) {
            /* The first of them is read by its place alone: the machine gets it from others. */
            struct log_record first = {.zxid = island.first};
            size_t k = 0;
            (void)world_is_record(&w, &first, &k);
            held[k] = true;
            at = island.first;
        }
        while (at < island.last)
            ck_assert_int_gt(survey_read(&sv, at, INT64_MAX, 300, hold, &at), 0);
        ck_assert_int_eq(at, island.last);
    }
}

static void take_survey(struct world *c) {
    survey_close(&sv);
    dir = (struct store_dir){.files = mem_files_env(c->files), .path = (char *)DIR};
    buf_reset(&c->why);
    ck_assert_int_eq(survey_take(&sv, &dir, NULL, 0, &c->why), 0);
    read_islands();
}

/* How many of the first n records of the history are not held. */
static size_t missing(size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += held[i] ? 0 : 1;
    return count;
}

static zxid_t last_zxid(void) { return w.zxids[w.appended - 1]; }

static size_t index_of(zxid_t zxid) {
    size_t i = 0;
    while (w.zxids[i] != zxid)
        i++;
    return i;
}

static zxid_t segment_zxid(size_t from_last) {
    zxid_t zxid = 0;
    const char *path = world_segment(&w, from_last);
    ck_assert(wal_segment_parse(strrchr(path, '/') + 1, &zxid));
    return zxid;
}

struct frame {
    uint64_t at, size_bytes;
    bool mark;
    zxid_t zxid;
};

static size_t find_frames(const char *path, struct frame *ret_frames) {
    const struct env_files *e = mem_files_env(w.files);
    int fd = e->open(e->ctx, path, 0, 0);
    struct wal_reader r;
    struct wal_header h;
    ck_assert_int_eq(wal_reader_init(&r, e, fd), 0);
    ck_assert_int_eq(wal_header_decode(wal_reader_view(&r, 0, WAL_HEADER_BYTES), &h, &r.identity),
                     0);
    size_t n = 0;
    for (uint64_t at = WAL_HEADER_BYTES;; n++) {
        struct wal_frame frame;
        ck_assert_int_eq(wal_reader_frame(&r, at, &frame), 0);
        if (frame.kind == WAL_FRAME_END)
            break;
        struct log_record record = {0};
        ck_assert(frame.kind == WAL_FRAME_MARK || log_record_decode(frame.body, &record));
        ret_frames[n] =
            (struct frame){at, frame.size_bytes, frame.kind == WAL_FRAME_MARK, record.zxid};
        at += frame.size_bytes;
    }
    wal_reader_close(&r);
    e->close(e->ctx, fd);
    return n;
}

/* ---- whole ---- */

START_TEST(a_whole_log_is_one_island) {
    write_history();
    take_survey(&w);
    struct survey_island island;
    ck_assert(survey_island(&sv, 0, 0, &island));
    ck_assert(!survey_island(&sv, 0, 1, &island));
    ck_assert_int_eq(island.before, 0);
    ck_assert_int_eq(island.last, last_zxid());
    ck_assert_uint_eq(missing(w.appended), 0);
    ck_assert_int_eq(sv.known_end, last_zxid());
    ck_assert(!sv.tail_lost);
    ck_assert_int_eq(sv.promise, SURVEY_PROMISE_WHOLE);
    ck_assert_uint_eq(sv.epoch, 5);
    ck_assert_uint_eq(sv.findings, 0);
}
END_TEST

START_TEST(reading_goes_up_to_where_it_is_asked_to) {
    write_history();
    take_survey(&w);
    zxid_t at = w.zxids[3];
    memset(held, 0, sizeof held);
    ck_assert_int_eq(survey_read(&sv, at, w.zxids[5], SIZE_MAX, hold, &at), 2);
    ck_assert_int_eq(at, w.zxids[5]);
    ck_assert_int_eq(survey_read(&sv, at, at, SIZE_MAX, hold, &at), 0);
    ck_assert_int_eq(survey_read(&sv, last_zxid(), INT64_MAX, SIZE_MAX, hold, &at), 0);
    /* A number that no record of this history has. */
    zxid_t never = zxid_make(1, 1000000);
    ck_assert_int_eq(survey_read(&sv, never, INT64_MAX, SIZE_MAX, hold, &at), 0);
    ck_assert_int_eq(survey_has(&sv, never), 0);
    for (size_t i = 0; i < w.appended; i++)
        ck_assert_int_eq(survey_has(&sv, w.zxids[i]), 1);
}
END_TEST

/* ---- frames ---- */

START_TEST(a_broken_record_is_all_that_is_missing) {
    write_history();
    struct frame frames[FRAMES_MAX];
    for (size_t from_last = 0; from_last < 4; from_last++) {
        size_t n = find_frames(world_segment(&w, from_last), frames);
        for (size_t i = 0; i < n; i++) {
            struct world c;
            world_clone(&w, &c);
            mem_files_flip_bit(c.files, world_segment(&w, from_last), 8 * (frames[i].at + 17) + 3);
            take_survey(&c);
            ck_assert_uint_eq(missing(w.appended), frames[i].mark ? 0 : 1);
            ck_assert(frames[i].mark || !held[index_of(frames[i].zxid)]);
            ck_assert_int_eq(sv.known_end, last_zxid());
            ck_assert(!sv.tail_lost);
            world_close(&c);
        }
    }
}
END_TEST

START_TEST(what_a_wrong_length_hides_is_found) {
    write_history();
    struct frame frames[FRAMES_MAX];
    (void)find_frames(world_segment(&w, 1), frames);
    mem_files_put(w.files, world_segment(&w, 1), frames[0].at + 12, "\0\xff\xff\xff", 4);
    take_survey(&w);
    ck_assert_uint_eq(missing(w.appended), 1);
}
END_TEST

START_TEST(zeroed_sectors_hide_what_stands_in_them_and_no_more) {
    write_history();
    struct frame frames[FRAMES_MAX];
    const char *path = world_segment(&w, 2);
    size_t n = find_frames(path, frames);
    uint64_t end = frames[n - 1].at + frames[n - 1].size_bytes;
    for (uint64_t sector = 512; sector + 512 < end; sector += 512) {
        struct world c;
        world_clone(&w, &c);
        mem_files_put(c.files, path, sector, zeros, 512);
        take_survey(&c);
        size_t hit = 0;
        for (size_t i = 0; i < n; i++)
            hit += !frames[i].mark && frames[i].at < sector + 512 &&
                           frames[i].at + frames[i].size_bytes > sector
                       ? 1
                       : 0;
        ck_assert_uint_eq(missing(w.appended), hit);
        ck_assert(!sv.tail_lost);
        world_close(&c);
    }
}
END_TEST

START_TEST(a_sector_of_another_place_is_no_frame) {
    write_history();
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(w.files, world_segment(&w, 2), &size);
    uint8_t *sector = mem_dup(p + 512, 512);
    mem_files_put(w.files, world_segment(&w, 2), 1024, sector, 512);
    mem_files_put(w.files, world_segment(&w, 1), 512, sector, 512);
    mem_free(sector);
    take_survey(&w);
    ck_assert_uint_gt(missing(w.appended), 1);
    ck_assert_int_eq(sv.known_end, last_zxid());
}
END_TEST

/* ---- the end ---- */

START_TEST(a_torn_end_is_no_loss) {
    write_history();
    ck_assert_int_eq(world_open(&w), 0);
    w.payload_bytes = 3000;
    world_append(&w, false);
    world_append(&w, false);
    store_sync_begin(w.store);
    mem_files_fault(w.files, 2, MEM_FAULT_CUT_BEFORE, 0);
    (void)store_sync_run(w.store);
    (void)world_sync_end(&w);
    world_store_close(&w);
    mem_files_power_cut(w.files, MEM_CUT_TEAR, 3);
    take_survey(&w);
    ck_assert_uint_eq(missing(w.durable), 0);
    ck_assert(!sv.tail_lost);
}
END_TEST

START_TEST(a_last_segment_that_is_missing_is_a_lost_end) {
    write_history();
    mem_files_remove(w.files, world_segment(&w, 0));
    take_survey(&w);
    ck_assert(sv.tail_lost);
    ck_assert_int_lt(sv.known_end, last_zxid());
}
END_TEST

START_TEST(a_last_segment_of_zeros_is_a_lost_end) {
    write_history();
    size_t size = 0;
    (void)mem_files_bytes(w.files, world_segment(&w, 0), &size);
    mem_files_put(w.files, world_segment(&w, 0), 0, zeros, size);
    take_survey(&w);
    ck_assert(sv.tail_lost);
    ck_assert_int_lt(sv.known_end, last_zxid());
}
END_TEST

START_TEST(a_log_that_is_missing_is_a_lost_end) {
    write_history();
    for (char *p = NULL; (p = mem_files_last(w.files, DIR, "log.", 0)) != NULL; mem_free(p))
        mem_files_remove(w.files, p);
    take_survey(&w);
    ck_assert(sv.tail_lost);
    ck_assert_int_eq(sv.known_end, 0);
}
END_TEST

START_TEST(a_log_of_which_a_header_is_left_is_a_lost_end) {
    write_history();
    for (char *p = NULL; (p = mem_files_last(w.files, DIR, "log.", 2)) != NULL; mem_free(p))
        mem_files_remove(w.files, world_segment(&w, 0));
    mem_files_cut(w.files, world_segment(&w, 1), WAL_HEADER_BYTES + 20);
    mem_files_cut(w.files, world_segment(&w, 0), 0);
    take_survey(&w);
    ck_assert_uint_eq(sv.run_count, 0);
    ck_assert(sv.tail_lost);
}
END_TEST

START_TEST(a_segment_in_the_middle_that_is_missing_is_a_hole) {
    write_history();
    zxid_t gone = segment_zxid(2), next = segment_zxid(1);
    mem_files_remove(w.files, world_segment(&w, 2));
    take_survey(&w);
    struct survey_island island;
    ck_assert(survey_island(&sv, 0, 1, &island));
    ck_assert_int_eq(island.first, next);
    ck_assert_int_eq(island.before, w.zxids[index_of(next) - 1]);
    ck_assert(!held[index_of(gone)]);
    ck_assert_uint_eq(missing(w.appended), index_of(next) - index_of(gone));
    ck_assert(!sv.tail_lost);
}
END_TEST

/* ---- headers ---- */

START_TEST(a_bit_of_a_header_hides_nothing) {
    write_history();
    for (uint64_t bit = 0; bit < WAL_HEADER_BYTES * 8; bit += 5) {
        for (size_t from_last = 0; from_last < 2; from_last++) {
            struct world c;
            world_clone(&w, &c);
            mem_files_flip_bit(c.files, world_segment(&w, from_last), bit);
            take_survey(&c);
            ck_assert_uint_eq(missing(w.appended), 0);
            ck_assert(!sv.tail_lost);
            world_close(&c);
        }
    }
}
END_TEST

/* Makes one of another version of a segment; the checksum of its last frame. */
static uint64_t set_version(const char *path, uint32_t version, uint64_t prev_seal) {
    struct frame frames[FRAMES_MAX];
    size_t n = find_frames(path, frames), size = 0;
    const uint8_t *old = mem_files_bytes(w.files, path, &size);
    uint8_t *p = mem_dup(old, size);
    struct wal_header h;
    uint64_t identity = 0, seal = 0;
    ck_assert_int_eq(wal_header_decode(p, &h, &identity), 0);
    h.version = version;
    h.prev_seal = prev_seal;
    identity = wal_header_encode(&h, p);
    for (size_t i = 0; i < n; i++)
        seal = wal_frame_stamp(p + frames[i].at, frames[i].size_bytes, identity, frames[i].at);
    mem_files_put(w.files, path, 0, p, size);
    mem_free(p);
    return seal;
}

START_TEST(a_header_that_is_zeroed_is_known_by_its_neighbour) {
    write_history();
    uint64_t seal = 0;
    size_t n = 0;
    for (char *p = NULL; (p = mem_files_last(w.files, DIR, "log.", n)) != NULL; n++)
        mem_free(p);
    while (n-- > 0)
        seal = set_version(world_segment(&w, n), (uint32_t)_i, seal);
    mem_files_put(w.files, world_segment(&w, 1), 0, zeros, WAL_HEADER_BYTES);
    take_survey(&w);
    ck_assert_uint_eq(missing(w.appended), 0);
}
END_TEST

START_TEST(a_segment_without_header_and_neighbour_is_a_hole) {
    write_history();
    uint8_t noise[WAL_HEADER_BYTES];
    memset(noise, 0xa5, sizeof noise);
    zxid_t next = segment_zxid(0);
    mem_files_put(w.files, world_segment(&w, 2), 0, noise, sizeof noise);
    mem_files_put(w.files, world_segment(&w, 1), 0, noise, sizeof noise);
    /* The seal that names the second goes with the first's header. */
    mem_files_flip_bit(w.files, world_segment(&w, 3), 3);
    struct frame frames[FRAMES_MAX];
    struct world c;
    world_clone(&w, &c);
    mem_files_flip_bit(w.files, world_segment(&w, 3), 3);
    size_t n = find_frames(world_segment(&w, 3), frames);
    mem_files_flip_bit(c.files, world_segment(&w, 3), 8 * frames[n - 1].at);
    take_survey(&c);
    ck_assert(!held[index_of(next) - 1]);
    ck_assert(held[index_of(next)]);
    ck_assert(!sv.tail_lost);
    /* The last one likewise: nobody knows what it had. */
    mem_files_put(c.files, world_segment(&w, 0), 0, noise, sizeof noise);
    take_survey(&c);
    ck_assert(sv.tail_lost);
    world_close(&c);
}
END_TEST

/* ---- the files beside the log ---- */

START_TEST(a_cut_is_taken_as_carried_out) {
    write_history();
    ck_assert_int_eq(world_open(&w), 0);
    store_truncate(w.store, w.zxids[20]);
    store_sync_begin(w.store);
    /* Behind the rename of the file `cut` and the sync of its name. */
    mem_files_fault(w.files, 12, MEM_FAULT_CUT_AFTER, 0);
    ck_assert_int_lt(store_sync_run(w.store), 0);
    struct store_done done;
    store_sync_end(w.store, &done);
    world_store_close(&w);
    mem_files_power_cut(w.files, MEM_CUT_LOSE, 0);
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(w.files, DIR "/cut", &size));
    take_survey(&w);
    ck_assert_uint_eq(missing(21), 0);
    ck_assert_uint_eq(missing(w.appended), w.appended - 21);
    ck_assert_int_eq(sv.known_end, w.zxids[20]);
    ck_assert(!sv.tail_lost);
    mem_files_flip_bit(w.files, DIR "/cut", 99);
    take_survey(&w);
    ck_assert(sv.tail_lost);
}
END_TEST

START_TEST(the_promise_is_known_from_any_whole_copy) {
    write_history();
    mem_files_flip_bit(w.files, DIR "/epoch.1", 99);
    take_survey(&w);
    ck_assert_int_eq(sv.promise, SURVEY_PROMISE_WHOLE);
    ck_assert_uint_eq(sv.epoch, 5);
    mem_files_remove(w.files, DIR "/epoch.2");
    take_survey(&w);
    ck_assert_int_eq(sv.promise, SURVEY_PROMISE_NONE);
    ck_assert_uint_eq(sv.epoch, 0);
}
END_TEST

static zxid_t installed(void) {
    write_history();
    ck_assert_int_eq(world_open(&w), 0);
    zxid_t zxid = last_zxid();
    store_snap_begin(w.store);
    store_snap_chunk(w.store, (struct slice){(const uint8_t *)"piece", 5});
    store_snap_end(w.store, zxid, zxid);
    store_sync_begin(w.store);
    ck_assert_int_eq(store_sync_run(w.store), 0);
    (void)world_sync_end(&w);
    world_batch(&w, 3);
    world_store_close(&w);
    return zxid;
}

START_TEST(the_newest_whole_snapshot_is_the_base) {
    zxid_t zxid = installed();
    take_survey(&w);
    ck_assert(sv.has_base);
    ck_assert_int_eq(sv.base.begun, zxid);
    ck_assert_int_eq(sv.known_end, last_zxid());
    ck_assert(!sv.tail_lost);
    /* One that could not be loaded does not count. */
    survey_close(&sv);
    ck_assert_int_eq(survey_take(&sv, &dir, &zxid, 1, &w.why), 0);
    ck_assert(!sv.has_base);
    char *path = mem_files_last(w.files, DIR, "snapshot.", 0);
    mem_files_flip_bit(w.files, path, 700);
    mem_free(path);
    take_survey(&w);
    ck_assert(!sv.has_base);
    ck_assert_uint_eq(sv.snapshots_lost, 1);
}
END_TEST

START_TEST(a_log_that_ends_before_the_snapshot_has_lost_its_end) {
    installed();
    mem_files_remove(w.files, world_segment(&w, 0));
    take_survey(&w);
    ck_assert(sv.tail_lost);
}
END_TEST

START_TEST(a_damaged_snapshot_still_says_how_long_the_log_was) {
    char name[SNAP_NAME_BYTES], path[64];
    write_history();
    snap_name_print(last_zxid(), name);
    (void)snprintf(path, sizeof path, "%s/%.28s", DIR, name);
    mem_files_make(w.files, path, "not a snapshot", 14);
    take_survey(&w);
    ck_assert_uint_eq(sv.snapshots_lost, 1);
    ck_assert(!sv.tail_lost);
    /* The end of the log looks as if it had never been written. */
    mem_files_cut(w.files, world_segment(&w, 0), WAL_HEADER_BYTES);
    take_survey(&w);
    ck_assert(sv.tail_lost);
}
END_TEST

/* ---- at random ---- */

static void damage(struct prng *r, struct world *c) {
    size_t size = 0;
    const char *path = world_segment(c, (size_t)prng_below(r, 6));
    ck_assert_ptr_nonnull(mem_files_bytes(c->files, path, &size));
    uint64_t sector = prng_below(r, size / 512 + 1) * 512;
    if (sector >= size)
        return;
    switch (prng_below(r, 4)) {
    case 0:
        mem_files_flip_bit(c->files, path, prng_below(r, size * 8));
        break;
    case 1:
        mem_files_put(c->files, path, sector, zeros, 512);
        break;
    case 2:
        for (uint64_t i = 0; i < 40; i++)
            mem_files_flip_bit(c->files, path, (sector * 8 + prng_below(r, 4096)) % (size * 8));
        break;
    default:
        if (prng_below(r, 4) == 0)
            mem_files_cut(c->files, path, (size_t)sector);
        break;
    }
}

START_TEST(damage_at_random_yields_no_wrong_record) {
    write_history();
    struct prng r;
    prng_init(&r, 99);
    size_t found = 0;
    for (int i = 0; i < 400; i++) {
        struct world c;
        world_clone(&w, &c);
        for (uint64_t k = 0; k <= prng_below(&r, 5); k++)
            damage(&r, &c);
        take_survey(&c); /* checks each record */
        found += w.appended - missing(w.appended);
        ck_assert_int_le(sv.known_end, last_zxid());
        world_close(&c);
    }
    ck_assert_uint_gt(found, 400 * w.appended / 2);
}
END_TEST

/* It has the right name and the right numbers, and somebody copied it here. */
START_TEST(a_segment_of_another_log_is_none_of_ours) {
    struct world other;
    world_init(&other);
    other.salt = 8000;
    write_history();
    write_history_of(&other);
    size_t first = index_of(segment_zxid(2)), behind = index_of(segment_zxid(1)), size = 0;
    const char *path = world_segment(&w, 2);
    const uint8_t *p = mem_files_bytes(other.files, path, &size);
    ck_assert_ptr_nonnull(p);
    mem_files_make(w.files, path, p, size);
    world_close(&other);
    take_survey(&w);
    ck_assert_uint_eq(missing(w.appended), behind - first);
    for (size_t i = first; i < behind; i++)
        ck_assert(!held[i]);
    ck_assert(!sv.tail_lost);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("survey");
    TCase *t = tcase_create("survey");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_whole_log_is_one_island);
    tcase_add_test(t, reading_goes_up_to_where_it_is_asked_to);
    tcase_add_test(t, a_broken_record_is_all_that_is_missing);
    tcase_add_test(t, what_a_wrong_length_hides_is_found);
    tcase_add_test(t, zeroed_sectors_hide_what_stands_in_them_and_no_more);
    tcase_add_test(t, a_sector_of_another_place_is_no_frame);
    tcase_add_test(t, a_torn_end_is_no_loss);
    tcase_add_test(t, a_last_segment_that_is_missing_is_a_lost_end);
    tcase_add_test(t, a_last_segment_of_zeros_is_a_lost_end);
    tcase_add_test(t, a_log_that_is_missing_is_a_lost_end);
    tcase_add_test(t, a_log_of_which_a_header_is_left_is_a_lost_end);
    tcase_add_test(t, a_segment_in_the_middle_that_is_missing_is_a_hole);
    tcase_add_test(t, a_bit_of_a_header_hides_nothing);
    tcase_add_loop_test(t, a_header_that_is_zeroed_is_known_by_its_neighbour, WAL_VERSION_MIN,
                        WAL_VERSION + 1);
    tcase_add_test(t, a_segment_without_header_and_neighbour_is_a_hole);
    tcase_add_test(t, a_cut_is_taken_as_carried_out);
    tcase_add_test(t, the_promise_is_known_from_any_whole_copy);
    tcase_add_test(t, the_newest_whole_snapshot_is_the_base);
    tcase_add_test(t, a_log_that_ends_before_the_snapshot_has_lost_its_end);
    tcase_add_test(t, a_damaged_snapshot_still_says_how_long_the_log_was);
    tcase_add_test(t, damage_at_random_yields_no_wrong_record);
    tcase_add_test(t, a_segment_of_another_log_is_none_of_ours);
    suite_add_tcase(s, t);
    return s;
}
