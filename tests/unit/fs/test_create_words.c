#include "common/path.h"
#include "fs/create_words.h"
#include "tests/lib/unit.h"

static struct create_words good(const char *text) {
    struct create_words words;
    struct slice bad;
    const char *why = "";
    ck_assert_msg(create_words_parse(slice_from_str(text), &words, &bad, &why), "<%s>: %s", text,
                  why);
    return words;
}

static void assert_bad(const char *text, const char *word) {
    struct create_words words;
    struct slice bad;
    const char *why = NULL;
    ck_assert_msg(!create_words_parse(slice_from_str(text), &words, &bad, &why), "<%s>", text);
    ck_assert_msg(slice_equal_str(bad, word), "<%s>: the bad word is <%.*s>", text, (int)bad.len,
                  (const char *)bad.p);
    ck_assert_ptr_nonnull(why);
}

static void assert_printed(const char *text, const char *expected) {
    struct create_words words = good(text);
    struct buf b = BUF_INIT;
    create_words_print(&b, &words);
    struct slice printed = {b.data, (int32_t)b.len};
    ck_assert_msg(slice_equal_str(printed, expected), "<%.*s>", (int)printed.len,
                  (const char *)printed.p);
    struct create_words again;
    struct slice bad;
    const char *why;
    ck_assert(create_words_parse(printed, &again, &bad, &why));
    ck_assert_mem_eq(&again, &words, sizeof words);
    int64_t packed = create_words_pack(&words);
    ck_assert_int_lt(packed, INT64_C(1) << 36);
    again = create_words_unpack(packed);
    ck_assert_int_eq(again.life, words.life);
    ck_assert_int_eq(again.sequential, words.sequential);
    ck_assert_int_eq(again.owner, words.owner);
    ck_assert_int_eq(again.ttl_ms, words.ttl_ms);
    buf_close(&b);
}

START_TEST(each_word_makes_its_mode) {
    static const struct {
        const char *text;
        enum create_mode mode;
    } modes[] = {
        {"persistent", CREATE_PERSISTENT},
        {"ephemeral", CREATE_EPHEMERAL},
        {"sequential", CREATE_PERSISTENT_SEQUENTIAL},
        {"persistent sequential", CREATE_PERSISTENT_SEQUENTIAL},
        {"sequential ephemeral", CREATE_EPHEMERAL_SEQUENTIAL},
        {"container", CREATE_CONTAINER},
        {"ttl=5", CREATE_PERSISTENT_WITH_TTL},
        {"ttl=5 sequential", CREATE_PERSISTENT_SEQUENTIAL_WITH_TTL},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct create_words words = good(modes[i].text);
        ck_assert_int_eq(create_words_mode(&words), modes[i].mode);
    }
}
END_TEST

START_TEST(words_are_separated_by_spaces_or_commas) {
    struct create_words a = good("ephemeral sequential owner=open");
    struct create_words b = good(",ephemeral,sequential,,owner=open");
    struct create_words c = good(" \towner=open  ephemeral, sequential\n");
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_mem_eq(&a, &c, sizeof a);
}
END_TEST

START_TEST(the_owner_is_the_mount_unless_another_is_named) {
    ck_assert_int_eq(good("ephemeral").owner, OWNER_MOUNT);
    ck_assert_int_eq(good("ephemeral owner=mount").owner, OWNER_MOUNT);
    ck_assert_int_eq(good("ephemeral owner=open").owner, OWNER_OPEN);
    ck_assert_int_eq(good("ephemeral owner=caller").owner, OWNER_CALLER);
    ck_assert_int_eq(good("ephemeral owner=parent").owner, OWNER_PARENT);
}
END_TEST

START_TEST(a_ttl_is_in_whole_seconds_up_to_what_the_protocol_takes) {
    ck_assert_int_eq(good("ttl=1").ttl_ms, 1000);
    ck_assert_int_eq(good("ttl=1099511627").ttl_ms, INT64_C(1099511627000));
    assert_bad("ttl=1099511628", "ttl=1099511628");
    assert_bad("ttl=99999999999999999999999", "ttl=99999999999999999999999");
    assert_bad("ttl=0", "ttl=0");
    assert_bad("ttl=", "ttl=");
    assert_bad("ttl", "ttl");
    assert_bad("ttl=1.5", "ttl=1.5");
    assert_bad("ttl=-1", "ttl=-1");
}
END_TEST

START_TEST(a_bad_word_is_named) {
    assert_bad("ephemeral sequentail", "sequentail");
    assert_bad("Ephemeral", "Ephemeral");
    assert_bad("owner=me ephemeral", "owner=me");
    assert_bad("ephemeral;sequential", "ephemeral;sequential");
    assert_bad("", "");
    assert_bad(" , ", "");
}
END_TEST

START_TEST(words_that_contradict_each_other_are_refused) {
    assert_bad("persistent ephemeral", "ephemeral");
    assert_bad("ephemeral container", "container");
    assert_bad("container persistent", "persistent");
    assert_bad("ephemeral ttl=5", "ttl=5");
    assert_bad("ttl=5 container", "container");
    assert_bad("container sequential", "sequential");
    assert_bad("sequential container", "container");
    assert_bad("ephemeral ephemeral", "ephemeral");
    assert_bad("ttl=5 ttl=6", "ttl=6");
    assert_bad("ephemeral owner=open owner=mount", "owner=mount");
    assert_bad("owner=open sequential", "owner=open");
    assert_bad("owner=mount", "owner=mount");
}
END_TEST

START_TEST(what_is_printed_means_the_same) {
    assert_printed("persistent", "persistent");
    assert_printed("sequential", "persistent sequential");
    assert_printed("owner=caller,ephemeral", "ephemeral owner=caller");
    assert_printed("sequential ephemeral", "ephemeral sequential owner=mount");
    assert_printed("container", "container");
    assert_printed("persistent,ttl=60,sequential", "ttl=60 sequential");
    assert_printed("ttl=1099511627", "ttl=1099511627");
    assert_printed("ephemeral owner=parent sequential", "ephemeral sequential owner=parent");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("create_words");
    TCase *t = tcase_create("create_words");
    tcase_add_test(t, each_word_makes_its_mode);
    tcase_add_test(t, words_are_separated_by_spaces_or_commas);
    tcase_add_test(t, the_owner_is_the_mount_unless_another_is_named);
    tcase_add_test(t, a_ttl_is_in_whole_seconds_up_to_what_the_protocol_takes);
    tcase_add_test(t, a_bad_word_is_named);
    tcase_add_test(t, words_that_contradict_each_other_are_refused);
    tcase_add_test(t, what_is_printed_means_the_same);
    suite_add_tcase(s, t);
    return s;
}
