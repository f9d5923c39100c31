#include "common/acl.h"
#include "common/path.h"
#include "tests/lib/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* From memory of exactly the text's size: the sanitizer sees a look behind the end. */
static struct blob *parse(const char *text, const char **why) {
    size_t n = strlen(text);
    uint8_t *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, text, n);
    *why = NULL;
    struct blob *acl = acl_parse((struct slice){copy, (int32_t)n}, why);
    free(copy);
    return acl;
}

/* Parses and prints again. */
static void assert_prints_as(const char *text, const char *expected) {
    const char *why;
    struct blob *acl = parse(text, &why);
    ck_assert_msg(acl, "%s: %s", text, why);
    struct jvec v = acl_view(acl);
    struct buf out = BUF_INIT;
    acl_print(&out, &v);
    buf_put_u8(&out, 0);
    ck_assert_str_eq((char *)out.data, expected);
    buf_close(&out);
    blob_unref(acl);
}

START_TEST(the_open_acl_is_world_anyone_with_everything) {
    static const uint8_t wire[] = {0,   0,   0,   1, 0, 0, 0, 31,  0,   0,   0,   5,   'w', 'o',
                                   'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};
    struct blob *acl = acl_open_unsafe();
    ck_assert_uint_eq(acl->len, sizeof wire);
    ck_assert_mem_eq(acl->bytes, wire, sizeof wire);
    blob_unref(acl);
}
END_TEST

START_TEST(the_text_form_goes_both_ways) {
    assert_prints_as("world:anyone:cdrwa", "world:anyone:cdrwa");
    assert_prints_as("world:anyone:r", "world:anyone:r");
    assert_prints_as("world:anyone:", "world:anyone:");
    assert_prints_as("auth::cdrwa", "auth::cdrwa");
    assert_prints_as("world:anyone:r,digest:bob:x/y+z=:cdrwa",
                     "world:anyone:r,digest:bob:x/y+z=:cdrwa");
}
END_TEST

START_TEST(perms_may_come_in_any_order) {
    assert_prints_as("world:anyone:awrdc", "world:anyone:cdrwa");
    assert_prints_as("world:anyone:rr", "world:anyone:r");
}
END_TEST

START_TEST(an_id_may_contain_colons) {
    const char *why;
    struct blob *acl = parse("ip:::1/64:rw,digest:u:h:a", &why);
    ck_assert_ptr_nonnull(acl);
    struct jvec v = acl_view(acl);
    struct acl_entry e;
    int32_t at = 0;
    ck_assert_int_eq(v.count, 2);
    ck_assert(acl_next(&v, &at, &e));
    ck_assert(slice_equal_str(e.scheme, "ip"));
    ck_assert(slice_equal_str(e.id, "::1/64"));
    ck_assert_int_eq(e.perms, PERM_READ | PERM_WRITE);
    ck_assert(acl_next(&v, &at, &e));
    ck_assert(slice_equal_str(e.scheme, "digest"));
    ck_assert(slice_equal_str(e.id, "u:h"));
    ck_assert_int_eq(e.perms, PERM_ADMIN);
    ck_assert(!acl_next(&v, &at, &e));
    blob_unref(acl);
}
END_TEST

START_TEST(commas_and_backslashes_in_an_id_are_escaped) {
    assert_prints_as("x509:CN=a\\,O=b\\\\c:r,world:anyone:r",
                     "x509:CN=a\\,O=b\\\\c:r,world:anyone:r");
    const char *why;
    struct blob *acl = parse("x509:CN=a\\,O=b\\\\c:r", &why);
    struct jvec v = acl_view(acl);
    struct acl_entry e;
    int32_t at = 0;
    ck_assert(acl_next(&v, &at, &e));
    ck_assert(slice_equal_str(e.id, "CN=a,O=b\\c"));
    blob_unref(acl);
}
END_TEST

START_TEST(wrong_texts_are_refused_with_a_reason) {
    static const struct {
        const char *text, *why;
    } wrong[] = {
        {"", "an entry is scheme:id:perms"},
        {"world", "an entry is scheme:id:perms"},
        {"world:anyone", "an entry is scheme:id:perms"},
        {":", "an entry is scheme:id:perms"},
        {"::r", "the scheme is empty"},
        {":anyone:r", "the scheme is empty"},
        {"world:anyone:r\\", "perms are letters of cdrwa"},
        {"world:anyone:rx", "perms are letters of cdrwa"},
        {"world:anyone:r ", "perms are letters of cdrwa"},
        {"world:anyone:R", "perms are letters of cdrwa"},
        {"world:anyone:r,", "an entry is scheme:id:perms"},
        {",world:anyone:r", "an entry is scheme:id:perms"},
        {"world:anyone:r,,world:anyone:r", "an entry is scheme:id:perms"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *why;
        ck_assert_ptr_null(parse(wrong[i].text, &why));
        ck_assert_str_eq(why, wrong[i].why);
    }
    const char *why = NULL;
    ck_assert_ptr_null(acl_parse(SLICE_NULL, &why));
    ck_assert_ptr_nonnull(why);
}
END_TEST

START_TEST(every_set_of_perms_goes_both_ways) {
    for (int32_t perms = 0; perms <= PERM_ALL; perms++) {
        struct buf items = BUF_INIT;
        struct buf text = BUF_INIT;
        struct acl_entry in = {perms, slice_from_str("world"), slice_from_str("anyone")};
        acl_append(&items, &in);
        struct jvec v = {1, {items.data, (int32_t)items.len}};
        struct blob *made = acl_blob(&v);
        acl_print(&text, &v);
        const char *why;
        struct blob *parsed = acl_parse((struct slice){text.data, (int32_t)text.len}, &why);
        ck_assert(blob_equal(made, parsed));
        blob_unref(made);
        blob_unref(parsed);
        buf_close(&items);
        buf_close(&text);
    }
}
END_TEST

START_TEST(null_and_empty_lists_stay_apart) {
    struct jvec null_list = {-1, SLICE_NULL};
    struct jvec empty_list = {0, {NULL, 0}};
    struct blob *a = acl_blob(&null_list);
    struct blob *b = acl_blob(&empty_list);
    ck_assert_int_eq(acl_view(a).count, -1);
    ck_assert_int_eq(acl_view(b).count, 0);
    struct acl_entry e;
    int32_t at = 0;
    ck_assert(!acl_next(&null_list, &at, &e));
    struct jvec v = acl_view(b);
    ck_assert(!acl_next(&v, &at, &e));
    blob_unref(a);
    blob_unref(b);
}
END_TEST

START_TEST(null_scheme_and_id_survive) {
    struct buf items = BUF_INIT;
    struct acl_entry in = {1, SLICE_NULL, SLICE_NULL};
    acl_append(&items, &in);
    struct jvec v = {1, {items.data, (int32_t)items.len}};
    struct blob *acl = acl_blob(&v);
    struct jvec seen = acl_view(acl);
    struct acl_entry e;
    int32_t at = 0;
    ck_assert(acl_next(&seen, &at, &e));
    ck_assert_int_eq(e.scheme.len, -1);
    ck_assert_int_eq(e.id.len, -1);
    blob_unref(acl);
    buf_close(&items);
}
END_TEST

START_TEST(viewing_what_is_no_acl_is_a_programming_error) {
    struct blob *b = blob_new("\0\0\0\1", 4);
    acl_view(b);
}
END_TEST

START_TEST(viewing_an_acl_with_a_tail_is_a_programming_error) {
    struct blob *b = blob_new("\0\0\0\0x", 5);
    acl_view(b);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("acl");
    TCase *tc = tcase_create("acl");
    tcase_add_test(tc, the_open_acl_is_world_anyone_with_everything);
    tcase_add_test(tc, the_text_form_goes_both_ways);
    tcase_add_test(tc, perms_may_come_in_any_order);
    tcase_add_test(tc, an_id_may_contain_colons);
    tcase_add_test(tc, commas_and_backslashes_in_an_id_are_escaped);
    tcase_add_test(tc, wrong_texts_are_refused_with_a_reason);
    tcase_add_test(tc, every_set_of_perms_goes_both_ways);
    tcase_add_test(tc, null_and_empty_lists_stay_apart);
    tcase_add_test(tc, null_scheme_and_id_survive);
    tcase_add_test_raise_signal(tc, viewing_what_is_no_acl_is_a_programming_error, SIGABRT);
    tcase_add_test_raise_signal(tc, viewing_an_acl_with_a_tail_is_a_programming_error, SIGABRT);
    suite_add_tcase(s, tc);
    return s;
}
