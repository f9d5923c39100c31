#include "fs/journal.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/path.h"
#include "tests/lib/unit.h"

static int fd;
static struct journal *j;
static char found[4096]; /* what journal_each told, in order: KEY=BYTES/WORD and a space each */

static void start(void) {
    const char *why;
    fd = memfd_create("test", 0);
    j = journal_open(fd, &why);
    ck_assert_ptr_nonnull(j);
}

static void stop(void) {
    journal_close(j);
    close(fd);
}

/* As after a crash: nothing of the process is left but the file. */
static void again(void) {
    const char *why = NULL;
    journal_close(j);
    j = journal_open(fd, &why);
    ck_assert_msg(j != NULL, "%s", why);
}

static void note(void *ctx, const struct journal_record *r) {
    (void)ctx;
    size_t n = strlen(found);
    snprintf(found + n, sizeof found - n, "%llu=%.*s/%llu ", (unsigned long long)r->key,
             (int)r->bytes.len, (const char *)r->bytes.p, (unsigned long long)r->word);
}

static const char *all(enum journal_type type) {
    found[0] = '\0';
    journal_each(j, type, note, NULL);
    return found;
}

static uint32_t put(uint64_t key, const char *text) {
    uint32_t ref = 0;
    journal_put(j, &ref, JOURNAL_INODE, key, 0, text, strlen(text));
    return ref;
}

START_TEST(records_are_there_again_by_type_with_their_words_and_counters) {
    uint32_t a = put(1, "one"), b = 0;
    put(2, "");
    journal_put(j, &b, JOURNAL_HANDLE, 1, 5, "handle", 6);
    journal_set_word(j, a, 7);
    journal_set_counter(j, JOURNAL_NEXT_FH, 99);
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), "1=one/7 2=/0 ");
    ck_assert_str_eq(all(JOURNAL_HANDLE), "1=handle/5 ");
    ck_assert_uint_eq(journal_counter(j, JOURNAL_NEXT_FH), 99);
    ck_assert_uint_eq(journal_counter(j, JOURNAL_NEXT_NODEID), 0);
}
END_TEST

START_TEST(what_was_dropped_or_replaced_is_not) {
    uint32_t a = put(1, "one"), b = put(2, "two");
    journal_drop(j, &a);
    ck_assert_uint_eq(a, 0);
    journal_put(j, &b, JOURNAL_INODE, 2, 3, "second", 6);
    journal_drop(j, &a); /* no effect */
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), "2=second/3 ");
}
END_TEST

static uint32_t refs[3];
static size_t ref_count;
static void take_ref(void *ctx, const struct journal_record *r) {
    (void)ctx;
    refs[ref_count++] = r->ref;
}

START_TEST(the_refs_of_a_journal_opened_again_name_its_records) {
    put(1, "one");
    put(2, "two");
    again();
    ref_count = 0;
    journal_each(j, JOURNAL_INODE, take_ref, NULL);
    journal_drop(j, &refs[0]);
    journal_set_word(j, refs[1], 4);
    put(3, "three");
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), "2=two/4 3=three/0 ");
}
END_TEST

static uint8_t *map_file(size_t *ret_size) {
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    *ret_size = (size_t)st.st_size;
    uint8_t *p = mmap(NULL, *ret_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(p != MAP_FAILED);
    return p;
}

/* The header's first area: begin and end stand behind the magic and the number of the area. */
static uint64_t *area_end(uint8_t *p) { return (uint64_t *)(p + 24); }

START_TEST(a_record_that_was_not_finished_does_not_exist) {
    put(1, "one");
    size_t size;
    uint8_t *p = map_file(&size);
    uint64_t end = *area_end(p);
    put(2, "two");
    for (uint64_t at = end; at < end + 48; at += 8) { /* written in part, and `end` not moved */
        memset(p + at, 0xee, 8);
        *area_end(p) = end;
        again();
        ck_assert_str_eq(all(JOURNAL_INODE), "1=one/0 ");
    }
    put(3, "three");
    ck_assert_str_eq(all(JOURNAL_INODE), "1=one/0 3=three/0 ");
    munmap(p, size);
}
END_TEST

START_TEST(a_crash_between_the_two_halves_of_a_replacement_leaves_the_new_record) {
    put(1, "one");
    uint32_t b = put(2, "old");
    put(3, "three");
    size_t size;
    uint8_t *p = map_file(&size);
    uint8_t *copy = mem_dup(p, size);
    journal_put(j, &b, JOURNAL_INODE, 2, 0, "new", 3);
    /* The old one is marked last: as if that had not been done yet. */
    uint64_t end = *(uint64_t *)(copy + 24);
    memcpy(p + 4096, copy + 4096, end - 4096);
    mem_free(copy);
    munmap(p, size);
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), "1=one/0 3=three/0 2=new/0 ");
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), "1=one/0 3=three/0 2=new/0 ");
}
END_TEST

START_TEST(a_damaged_journal_is_refused) {
    put(1, "one");
    put(2, "two");
    size_t size;
    uint8_t *p = map_file(&size);
    uint64_t end = *area_end(p);
    const char *why;
    for (uint64_t at = 4096; at < end; at++) {
        /* The word may change, and the ref is made anew; `dead` set is a record less. */
        uint64_t in = (at - 4096) % 48;
        if ((in >= 14 && in < 24) || in >= 32 + 8 + 3)
            continue;
        if (in >= 32 && in < 40)
            continue;
        p[at] ^= 0x10;
        journal_close(j);
        j = journal_open(fd, &why);
        ck_assert_msg(j == NULL, "byte %d", (int)at);
        p[at] ^= 0x10;
    }
    p[0] ^= 1;
    ck_assert_ptr_null(journal_open(fd, &why));
    p[0] ^= 1;
    *area_end(p) = size + 8;
    ck_assert_ptr_null(journal_open(fd, &why));
    *area_end(p) = end;
    munmap(p, size);
    again();
}
END_TEST

START_TEST(records_that_come_and_go_do_not_make_the_file_grow) {
    static char big[100000];
    memset(big, 'x', sizeof big);
    uint32_t kept[200] = {0}, last = 0;
    char text[32];
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t *at = &kept[i * 7 % 200];
        snprintf(text, sizeof text, "record %d", (int)i);
        if (i % 3 == 0)
            journal_drop(j, at);
        else
            journal_put(j, at, JOURNAL_INODE, i * 7 % 200, i, text, strlen(text));
        if (i % 50 == 0)
            journal_put(j, &last, JOURNAL_WRITE, i, 0, big, sizeof big);
        if (i % 977 == 0) {
            char before[sizeof found];
            memcpy(before, all(JOURNAL_INODE), sizeof before);
            ck_assert_uint_lt(journal_size_bytes(j), 2 << 20);
            ck_assert_str_eq(all(JOURNAL_INODE), before);
        }
    }
    journal_drop(j, &last);
    char before[sizeof found];
    memcpy(before, all(JOURNAL_INODE), sizeof before);
    again();
    ck_assert_str_eq(all(JOURNAL_INODE), before);
    struct stat st;
    fstat(fd, &st);
    ck_assert_int_lt(st.st_blocks * 512, 2 << 20);
}
END_TEST

static size_t counted;
static void count_path(void *ctx, const struct journal_record *r) {
    char text[32];
    (void)ctx;
    snprintf(text, sizeof text, "/some/path/%d", (int)r->key);
    ck_assert_uint_eq(r->word, r->key);
    ck_assert(slice_equal_str(r->bytes, text));
    counted++;
}

START_TEST(many_living_records_are_all_kept) {
    uint32_t ref;
    char text[32];
    for (uint64_t i = 1; i <= 50000; i++) {
        ref = 0;
        snprintf(text, sizeof text, "/some/path/%d", (int)i);
        journal_put(j, &ref, i % 2 ? JOURNAL_INODE : JOURNAL_HANDLE, i, i, text, strlen(text));
        if (i % 1000 != 0)
            continue;
        uint32_t gone = ref;
        journal_drop(j, &gone);
    }
    again();
    counted = 0;
    journal_each(j, JOURNAL_INODE, count_path, NULL);
    ck_assert_uint_eq(counted, 25000);
    journal_each(j, JOURNAL_HANDLE, count_path, NULL);
    ck_assert_uint_eq(counted, 50000 - 50);
}
END_TEST

START_TEST(the_answer_under_way_is_told_and_ends) {
    ck_assert_uint_eq(journal_last_answer(j).unique, 0);
    journal_answering(j, &(struct journal_answer){.unique = 8, .nodeid = 3, .fh = 4, .told = 5});
    again();
    struct journal_answer a = journal_last_answer(j);
    ck_assert_uint_eq(a.unique, 8);
    ck_assert_uint_eq(a.nodeid, 3);
    ck_assert_uint_eq(a.fh, 4);
    ck_assert_uint_eq(a.told, 5);
    journal_answered(j);
    again();
    ck_assert_uint_eq(journal_last_answer(j).unique, 0);
}
END_TEST

START_TEST(without_a_journal_everything_does_nothing) {
    uint32_t ref = 0;
    journal_put(NULL, &ref, JOURNAL_INODE, 1, 0, "x", 1);
    journal_set_word(NULL, 0, 1);
    journal_drop(NULL, &ref);
    journal_each(NULL, JOURNAL_INODE, note, NULL);
    journal_set_counter(NULL, JOURNAL_NEXT_FH, 3);
    ck_assert_uint_eq(journal_counter(NULL, JOURNAL_NEXT_FH), 0);
    ck_assert_uint_eq(ref, 0);
    ck_assert_uint_eq(journal_last_answer(NULL).unique, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("journal");
    TCase *t = tcase_create("journal");
    tcase_add_checked_fixture(t, start, stop);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, records_are_there_again_by_type_with_their_words_and_counters);
    tcase_add_test(t, what_was_dropped_or_replaced_is_not);
    tcase_add_test(t, the_refs_of_a_journal_opened_again_name_its_records);
    tcase_add_test(t, a_record_that_was_not_finished_does_not_exist);
    tcase_add_test(t, a_crash_between_the_two_halves_of_a_replacement_leaves_the_new_record);
    tcase_add_test(t, a_damaged_journal_is_refused);
    tcase_add_test(t, records_that_come_and_go_do_not_make_the_file_grow);
    tcase_add_test(t, many_living_records_are_all_kept);
    tcase_add_test(t, the_answer_under_way_is_told_and_ends);
    tcase_add_test(t, without_a_journal_everything_does_nothing);
    suite_add_tcase(s, t);
    return s;
}
