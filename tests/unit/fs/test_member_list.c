#include "common/path.h"
#include "fs/member_list.h"
#include "tests/lib/unit.h"

static struct member_list list;

static void clear(void) { member_list_close(&list); }

static bool read_config(const char *text) { return member_list_read(&list, slice_from_str(text)); }

static void assert_member(size_t i, int64_t id, const char *host, const char *port,
                          const char *name) {
    ck_assert_uint_lt(i, list.count);
    ck_assert_int_eq(list.at[i].id, id);
    ck_assert_str_eq(list.at[i].host, host);
    ck_assert_str_eq(list.at[i].port, port);
    ck_assert_str_eq(list.at[i].name, name);
}

START_TEST(the_lines_of_the_configuration_are_members) {
    ck_assert(read_config("server.1=zk1:2888:3888:participant;2181\n"
                          "server.2=zk2:2888:3888:observer;0.0.0.0:2182\n"
                          "server.13=[fd00::3]:2888:3888:participant;[::]:2183\n"
                          "server.4=zk4:2888:3888;10.0.0.4:2184\n"
                          "version=100000000"));
    ck_assert_uint_eq(list.count, 4);
    assert_member(0, 1, "zk1", "2181", "zk1:2181");
    assert_member(1, 2, "zk2", "2182", "zk2:2182");
    assert_member(2, 13, "fd00::3", "2183", "[fd00::3]:2183");
    assert_member(3, 4, "10.0.0.4", "2184", "10.0.0.4:2184");
}
END_TEST

START_TEST(a_configuration_without_members_or_without_their_ports_is_none) {
    static const char *const none[] = {"",
                                       "\n\n",
                                       "version=0",
                                       "server.",
                                       "server.=x;1",
                                       "=;",
                                       "server.1=zk1:2888:3888:participant",
                                       "server.1=zk1:2888:3888;2181\nserver.2=zk2:2888:3888"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        ck_assert_msg(!read_config(none[i]), "%s", none[i]);
        ck_assert_uint_eq(list.count, 0);
    }
    ck_assert(!member_list_read(&list, SLICE_NULL));
}
END_TEST

START_TEST(strange_text_is_survived) {
    static const char *const strange[] = {
        "server.1=;",   "server.1=[;1",   "server.1=[]:;[:", "server.x=a;b",
        "server.1=;;;", "server.1=:::;:", "server.1=a;[::]"};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        read_config(strange[i]);
        clear();
    }
}
END_TEST

START_TEST(an_address_may_have_no_port) {
    member_list_add(&list, -1, slice_from_str("zk1"));
    member_list_add(&list, -1, slice_from_str("[::1]:99"));
    assert_member(0, -1, "zk1", "2181", "zk1:2181");
    assert_member(1, -1, "::1", "99", "[::1]:99");
}
END_TEST

START_TEST(an_answer_tells_role_and_zxid) {
    member_list_add(&list, -1, slice_from_str("zk1:1"));
    struct member *m = &list.at[0];
    member_read_answer(m, "");
    ck_assert_str_eq(m->role, "unreachable");
    ck_assert_str_eq(m->zxid, "-");
    member_read_answer(
        m, "Zookeeper version: 3\nLatency: 0\nZxid: 0x10f\nMode: follower\nNode count: 5\n");
    ck_assert_str_eq(m->role, "follower");
    ck_assert_str_eq(m->zxid, "0x10f");
    member_read_answer(m, "This ZooKeeper instance is not currently serving requests\n");
    ck_assert_str_eq(m->role, "not_serving");
    ck_assert_str_eq(m->zxid, "-");
    member_read_answer(m, "Mode: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ck_assert_str_eq(m->role, "aaaaaaaaaaaaaaa");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member_list");
    TCase *tc = tcase_create("member_list");
    tcase_add_checked_fixture(tc, NULL, clear);
    tcase_add_test(tc, the_lines_of_the_configuration_are_members);
    tcase_add_test(tc, a_configuration_without_members_or_without_their_ports_is_none);
    tcase_add_test(tc, strange_text_is_survived);
    tcase_add_test(tc, an_address_may_have_no_port);
    tcase_add_test(tc, an_answer_tells_role_and_zxid);
    suite_add_tcase(s, tc);
    return s;
}
