/* The log cut and flipped: a start either gives the history, with nothing acknowledged missing, or
 * refuses with file and offset. */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "replica/store/wal_format.h"
#include "replica/store/wal_reader.h"
#include "tests/lib/unit.h"
#include "tests/unit/store/harness.h"

static struct world w;

/* A history of several epochs, batches and record sizes; 130 records, all acknowledged. */
static void write_history(void) {
    world_batch(&w, 1);
    for (size_t i = 0; i < 12; i++) {
        w.payload_bytes = i * i * 11;
        world_batch(&w, 1 + i % 5);
        if (i % 4 == 3) {
            world_append(&w, true);
            world_batch(&w, 2);
        }
    }
    w.payload_bytes = 300;
    world_batch(&w, 9);
}

static void setup(void) {
    world_init(&w);
    ck_assert_int_eq(world_open(&w), 0);
}

static void teardown(void) { world_close(&w); }

/* Every record's and mark's place in a segment. */
struct place {
    uint64_t at;
    uint64_t size_bytes;
    bool mark;
};

static size_t find_places(const char *path, struct place *ret_places, size_t max) {
    const struct env_files *e = mem_files_env(w.files);
    int fd = e->open(e->ctx, path, 0, 0);
    struct wal_reader r;
    struct wal_header h;
    ck_assert_int_eq(wal_reader_init(&r, e, fd), 0);
    ck_assert_int_eq(wal_header_decode(wal_reader_view(&r, 0, WAL_HEADER_BYTES), &h, &r.identity),
                     0);
    size_t n = 0;
    for (uint64_t at = WAL_HEADER_BYTES; n < max;) {
        struct wal_frame frame;
        ck_assert_int_eq(wal_reader_frame(&r, at, &frame), 0);
        if (frame.kind == WAL_FRAME_END)
            break;
        ck_assert_int_ne(frame.kind, WAL_FRAME_BAD);
        ret_places[n++] = (struct place){at, frame.size_bytes, frame.kind == WAL_FRAME_MARK};
        at += frame.size_bytes;
    }
    wal_reader_close(&r);
    e->close(e->ctx, fd);
    return n;
}

enum verdict { RECOVERED, REFUSED };

/* Starts on a damaged copy. Neither a wrong sequence nor a silent loss is allowed. */
static enum verdict start(struct world *c) {
    int err = world_open(c);
    if (err < 0) {
        ck_assert(err == -EBADMSG || err == -EPROTONOSUPPORT);
        ck_assert(world_named_place(c));
        return REFUSED;
    }
    world_check_history(c);
    return RECOVERED;
}

/* A start that recovered goes on, and the next one reads both. */
static void check_goes_on(struct world *c) {
    size_t read = c->read;
    world_continue(c);
    world_batch(c, 3);
    world_store_close(c);
    ck_assert_int_eq(world_open(c), 0);
    world_check_history(c);
    ck_assert_uint_eq(c->read, read + 4);
}

static enum verdict flip(uint64_t bit) {
    struct world c;
    world_clone(&w, &c);
    mem_files_flip_bit(c.files, world_segment(&c, 0), bit);
    enum verdict v = start(&c);
    if (v == RECOVERED)
        check_goes_on(&c);
    world_close(&c);
    return v;
}

START_TEST(a_bit_flipped_at_random_gives_the_history_or_a_refusal) {
    write_history();
    struct place places[512];
    world_store_close(&w);
    size_t n = find_places(world_segment(&w, 0), places, 512);
    uint64_t end = places[n - 1].at + places[n - 1].size_bytes;
    uint64_t seed = 12345;
    int refusals = 0;
    for (int i = 0; i < 300; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        refusals += flip((seed >> 16) % (end * 8)) == REFUSED ? 1 : 0;
    }
    /* Only the last mark can go without harm. */
    ck_assert_int_gt(refusals, 280);
}
END_TEST

START_TEST(a_bit_flipped_in_any_place_of_any_frame_is_found) {
    write_history();
    struct place places[512];
    world_store_close(&w);
    size_t n = find_places(world_segment(&w, 0), places, 512);
    for (size_t i = 0; i < n; i++) {
        const uint64_t spots[] = {0, 7, 8, 11, 12, 15, 16, places[i].size_bytes - 1};
        for (size_t k = 0; k < sizeof spots / sizeof spots[0]; k++) {
            enum verdict v = flip((places[i].at + spots[k]) * 8 + k);
            /* Behind the last batch nothing was acknowledged; everything else is damage. */
            ck_assert_int_eq(v, i == n - 1 ? RECOVERED : REFUSED);
        }
    }
}
END_TEST

START_TEST(a_bit_flipped_in_the_last_acknowledged_record_is_refused) {
    write_history();
    struct place places[512];
    world_store_close(&w);
    size_t n = find_places(world_segment(&w, 0), places, 512);
    struct place last = places[n - 2];
    for (uint64_t bit = 0; bit < last.size_bytes * 8; bit++)
        ck_assert_int_eq(flip(last.at * 8 + bit), REFUSED);
}
END_TEST

START_TEST(a_bit_flipped_in_the_header_is_refused) {
    write_history();
    world_store_close(&w);
    for (uint64_t bit = 0; bit < WAL_HEADER_BYTES * 8; bit++)
        ck_assert_int_eq(flip(bit), REFUSED);
}
END_TEST

START_TEST(a_bit_flipped_in_the_zero_tail_loses_nothing) {
    write_history();
    struct place places[512];
    world_store_close(&w);
    size_t size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(w.files, world_segment(&w, 0), &size));
    size_t n = find_places(world_segment(&w, 0), places, 512);
    uint64_t end = places[n - 1].at + places[n - 1].size_bytes;
    for (uint64_t at = end; at < size; at += 97)
        ck_assert_int_eq(flip(at * 8 + at % 8), RECOVERED);
    ck_assert_int_eq(flip(size * 8 - 1), RECOVERED);
}
END_TEST

START_TEST(a_refused_log_is_not_touched) {
    write_history();
    world_store_close(&w);
    const char *path = world_segment(&w, 0);
    mem_files_flip_bit(w.files, path, 8 * 200);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(w.files, path, &size);
    uint8_t *before = mem_dup(p, size);
    ck_assert_int_eq(world_open(&w), -EBADMSG);
    size_t size_after = 0;
    p = mem_files_bytes(w.files, path, &size_after);
    ck_assert_uint_eq(size_after, size);
    ck_assert_mem_eq(p, before, size);
    mem_free(before);
}
END_TEST

/* Cuts a copy's last segment to `size` bytes; with `zeros` the lost bytes read as zeros. */
static void cut(size_t size, bool zeros, size_t least_records, size_t most_records) {
    struct world c;
    world_clone(&w, &c);
    const char *path = world_segment(&c, 0);
    size_t old_size = 0;
    ck_assert_ptr_nonnull(mem_files_bytes(c.files, path, &old_size));
    mem_files_cut(c.files, path, size);
    if (zeros)
        mem_files_put(c.files, path, old_size - 1, "", 1);
    /* What was cut off counts as never acknowledged. */
    c.durable = least_records;
    ck_assert_int_eq(start(&c), RECOVERED);
    ck_assert_uint_ge(c.read, least_records);
    ck_assert_uint_le(c.read, most_records);
    check_goes_on(&c);
    world_close(&c);
}

START_TEST(a_log_cut_at_every_byte_of_its_last_batch_gives_what_is_before) {
    write_history();
    size_t before = w.appended - 9;
    struct place places[512];
    world_store_close(&w);
    size_t n = find_places(world_segment(&w, 0), places, 512);
    struct place mark = places[n - 1];
    ck_assert(mark.mark);
    for (int zeros = 0; zeros < 2; zeros++) {
        size_t whole = 0;
        for (size_t size = (size_t)places[n - 10].at; size <= mark.at + mark.size_bytes; size++) {
            while (whole < 9 && size >= places[n - 10 + whole + 1].at)
                whole++;
            /* Padding that was cut reads as the zeros that it was, so a little less will do. */
            cut(size, zeros != 0, before + whole, before + whole + 1);
        }
    }
}
END_TEST

START_TEST(what_was_cut_is_said) {
    world_batch(&w, 5);
    world_store_close(&w);
    struct place places[16];
    const char *path = world_segment(&w, 0);
    size_t n = find_places(path, places, 16);
    mem_files_cut(w.files, path, (size_t)places[n - 2].at + 20);
    w.durable = 4;
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.read, 4);
    ck_assert(world_named_place(&w));
    ck_assert_ptr_nonnull(memmem(w.why.data, w.why.len, "cut 20 bytes", 12));
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.why.len, 0);
}
END_TEST

START_TEST(intact_records_behind_which_the_mark_is_torn_are_kept) {
    world_batch(&w, 5);
    world_store_close(&w);
    struct place places[16];
    const char *path = world_segment(&w, 0);
    size_t n = find_places(path, places, 16);
    mem_files_cut(w.files, path, (size_t)places[n - 1].at + 8);
    ck_assert_int_eq(world_open(&w), 0);
    ck_assert_uint_eq(w.read, 5);
    check_goes_on(&w);
}
END_TEST

START_TEST(a_sector_that_reads_as_zeros_in_the_last_batch_is_torn_and_in_an_earlier_one_damage) {
    w.payload_bytes = 3000;
    world_batch(&w, 4);
    uint64_t in_first = WAL_HEADER_BYTES + 4 * 1024;
    world_batch(&w, 4);
    uint64_t in_last = in_first + 4 * 3072;
    uint8_t zeros[WAL_SECTOR_BYTES] = {0};
    struct world c;
    world_clone(&w, &c);
    world_store_close(&w);
    mem_files_put(c.files, world_segment(&c, 0), in_first / 512 * 512, zeros, sizeof zeros);
    ck_assert_int_eq(start(&c), REFUSED);
    world_close(&c);
    world_clone(&w, &c);
    mem_files_put(c.files, world_segment(&c, 0), in_last / 512 * 512, zeros, sizeof zeros);
    c.durable = 4;
    ck_assert_int_eq(start(&c), RECOVERED);
    ck_assert_uint_ge(c.read, 4);
    ck_assert_uint_lt(c.read, 8);
    check_goes_on(&c);
    world_close(&c);
}
END_TEST

START_TEST(a_torn_last_batch_does_not_hide_a_broken_mark_before_it) {
    world_batch(&w, 2);
    w.payload_bytes = 3000;
    world_batch(&w, 2);
    world_store_close(&w);
    struct place places[16];
    const char *path = world_segment(&w, 0);
    ck_assert_uint_eq(find_places(path, places, 16), 6);
    ck_assert(places[2].mark);
    uint8_t zeros[WAL_SECTOR_BYTES] = {0};
    mem_files_put(w.files, path, 4096, zeros, sizeof zeros);
    mem_files_flip_bit(w.files, path, (places[2].at + 20) * 8);
    w.durable = 2;
    ck_assert_int_eq(start(&w), REFUSED);
}
END_TEST

START_TEST(data_full_of_zeros_does_not_make_damage_look_torn) {
    struct log_record epoch = {.kind = LOG_EPOCH, .zxid = zxid_make(1, 0), .payload = SLICE_NULL};
    static const uint8_t zeros[8192];
    struct log_record txn = {.kind = LOG_TXN, .zxid = zxid_make(1, 1)};
    txn.payload = (struct slice){zeros, sizeof zeros};
    store_append(w.store, &epoch);
    store_append(w.store, &txn);
    store_sync_begin(w.store);
    ck_assert_int_eq(store_sync_run(w.store), 0);
    world_sync_end(&w);
    world_store_close(&w);
    for (uint64_t at = WAL_HEADER_BYTES; at < WAL_HEADER_BYTES + sizeof zeros; at += 61) {
        struct world c;
        world_clone(&w, &c);
        mem_files_flip_bit(c.files, world_segment(&c, 0), at * 8);
        ck_assert_int_eq(world_open(&c), -EBADMSG);
        world_close(&c);
    }
}
END_TEST

START_TEST(a_frame_in_another_place_is_no_frame) {
    world_batch(&w, 1);
    for (int i = 0; i < 6; i++)
        world_batch(&w, 2);
    world_store_close(&w);
    struct place places[64];
    const char *path = world_segment(&w, 0);
    size_t n = find_places(path, places, 64);
    size_t size = 0;
    const uint8_t *p = mem_files_bytes(w.files, path, &size);
    struct place from = places[n - 3], to = places[n - 6];
    ck_assert_uint_eq(from.size_bytes, to.size_bytes);
    uint8_t *copy = mem_dup(p + from.at, (size_t)from.size_bytes);
    mem_files_put(w.files, path, to.at, copy, (size_t)from.size_bytes);
    mem_free(copy);
    ck_assert_int_eq(world_open(&w), -EBADMSG);
    ck_assert(world_named_place(&w));
}
END_TEST

START_TEST(damage_in_any_segment_but_the_last_is_refused) {
    w.segment_bytes = 4096;
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    for (int i = 0; i < 60; i++)
        world_batch(&w, 4);
    world_store_close(&w);
    for (size_t s = 1; s < 4; s++) {
        struct place places[128];
        const char *path = world_segment(&w, s);
        size_t n = find_places(path, places, 128);
        for (size_t i = 0; i < n; i++) {
            struct world c;
            world_clone(&w, &c);
            mem_files_flip_bit(c.files, world_segment(&c, s), (places[i].at + i % 30) * 8 + 3);
            ck_assert_int_eq(start(&c), REFUSED);
            world_close(&c);
        }
        struct world c;
        world_clone(&w, &c);
        mem_files_cut(c.files, world_segment(&c, s), (size_t)places[n - 1].at);
        ck_assert_int_eq(start(&c), REFUSED);
        world_close(&c);
    }
}
END_TEST

START_TEST(a_torn_first_batch_needs_the_seal_before_it) {
    w.segment_bytes = 4096;
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    for (int i = 0; i < 30; i++)
        world_batch(&w, 4);
    w.payload_bytes = 5000;
    world_batch(&w, 1);
    size_t before = w.appended;
    world_batch(&w, 1);
    world_store_close(&w);
    mem_files_cut(w.files, world_segment(&w, 0), WAL_HEADER_BYTES + 1000);
    w.durable = before;
    struct world c;
    world_clone(&w, &c);
    struct place places[128];
    size_t n = find_places(world_segment(&w, 1), places, 128);
    mem_files_flip_bit(c.files, world_segment(&c, 1), (places[n - 1].at + 17) * 8);
    ck_assert_int_eq(start(&c), REFUSED);
    world_close(&c);
    ck_assert_int_eq(start(&w), RECOVERED);
    ck_assert_uint_eq(w.read, before);
    check_goes_on(&w);
}
END_TEST

START_TEST(a_lost_last_segment_is_missed_by_the_seal_before_it) {
    w.segment_bytes = 4096;
    world_store_close(&w);
    ck_assert_int_eq(world_open(&w), 0);
    for (int i = 0; i < 60; i++)
        world_batch(&w, 4);
    world_store_close(&w);
    char *path = mem_files_last(w.files, DIR, "log.", 0);
    mem_files_remove(w.files, path);
    ck_assert_int_eq(start(&w), REFUSED);
    ck_assert_ptr_nonnull(memmem(w.why.data, w.why.len, path, strlen(path)));
    mem_free(path);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("wal_damage");
    TCase *t = tcase_create("wal_damage");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_bit_flipped_at_random_gives_the_history_or_a_refusal);
    tcase_add_test(t, a_bit_flipped_in_any_place_of_any_frame_is_found);
    tcase_add_test(t, a_bit_flipped_in_the_last_acknowledged_record_is_refused);
    tcase_add_test(t, a_bit_flipped_in_the_header_is_refused);
    tcase_add_test(t, a_bit_flipped_in_the_zero_tail_loses_nothing);
    tcase_add_test(t, a_refused_log_is_not_touched);
    tcase_add_test(t, a_log_cut_at_every_byte_of_its_last_batch_gives_what_is_before);
    tcase_add_test(t, what_was_cut_is_said);
    tcase_add_test(t, intact_records_behind_which_the_mark_is_torn_are_kept);
    tcase_add_test(
        t, a_sector_that_reads_as_zeros_in_the_last_batch_is_torn_and_in_an_earlier_one_damage);
    tcase_add_test(t, a_torn_last_batch_does_not_hide_a_broken_mark_before_it);
    tcase_add_test(t, data_full_of_zeros_does_not_make_damage_look_torn);
    tcase_add_test(t, a_frame_in_another_place_is_no_frame);
    tcase_add_test(t, damage_in_any_segment_but_the_last_is_refused);
    tcase_add_test(t, a_torn_first_batch_needs_the_seal_before_it);
    tcase_add_test(t, a_lost_last_segment_is_missed_by_the_seal_before_it);
    suite_add_tcase(s, t);
    return s;
}
