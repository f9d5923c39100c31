/* The ensemble's part of zoo.cfg: server.N, myid, groups and weights, the failure detector. */
#include "replica/config.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREE                                                                                      \
    "server.1=a:2888:3888\nserver.2=b:2888:3888;10.0.0.2:2181\n"                                   \
    "server.3=c:2889:2889:participant\n"

static struct config config;
static struct buf notes, why;
static char dir[256], myid[300], base[300];

static void on_note(void *ctx, enum log_level level, const char *text) {
    buf_printf(&notes, "%s %s\n", level == LOG_WARN ? "WARN" : "INFO", text);
}

static void write_myid(const char *text) {
    FILE *f = fopen(myid, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void setup(void) {
    const char *tmp = getenv("TMPDIR");
    config = (struct config){0};
    buf_init(&notes, 0);
    buf_init(&why, 0);
    snprintf(dir, sizeof dir, "%s/zkfs-test-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(myid, sizeof myid, "%s/myid", dir);
    snprintf(base, sizeof base, "dataDir=%s\nclientPort=2181\n", dir);
    write_myid("2\n");
}

static void teardown(void) {
    config_close(&config);
    buf_close(&notes);
    buf_close(&why);
    unlink(myid);
    rmdir(dir);
}

static const char *string(struct buf *b) {
    buf_put_u8(b, 0);
    b->len--;
    return (const char *)b->data;
}

/* `text` follows two lines that every one needs. */
static int parse(const char *text) {
    struct buf all = BUF_INIT;
    buf_printf(&all, "%s%s", base, text);
    buf_reset(&why);
    int rc = config_parse((struct slice){all.data, (int32_t)all.len}, "zoo.cfg", on_note, NULL,
                          &config, &why);
    buf_close(&all);
    return rc;
}

static void accept_text(const char *text) {
    config_close(&config);
    buf_reset(&notes);
    int rc = parse(text);
    ck_assert_msg(rc == 0, "refused: %s", string(&why));
}

static void refuse(const char *text, const char *first, const char *second) {
    ck_assert_msg(parse(text) < 0, "accepted: %s", text);
    ck_assert_msg(strstr(string(&why), first) != NULL, "%s: no \"%s\" in: %s", text, first,
                  string(&why));
    ck_assert_msg(strstr(string(&why), second) != NULL, "%s: no \"%s\" in: %s", text, second,
                  string(&why));
}

START_TEST(an_ensemble_is_read_with_this_servers_place_in_it) {
    accept_text(THREE);
    ck_assert_int_eq(config.server_id, 2);
    ck_assert_uint_eq(config.server_count, 3);
    ck_assert_str_eq(config.servers[0].host, "a");
    ck_assert_int_eq(config.servers[0].peer_port, 2888);
    ck_assert_int_eq(config.servers[0].election_port, 3888);
    ck_assert_int_eq(config.servers[2].peer_port, 2889);
    ck_assert_int_eq(config.servers[2].election_port, 2889);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(config.servers[i].id, (int)i + 1);
        ck_assert_int_eq(config.quorum[i].id, (int)i + 1);
        ck_assert(config.quorum[i].voter);
        ck_assert_uint_eq(config.quorum[i].weight, 1);
        ck_assert_int_eq(config.quorum[i].group, 0);
    }
    ck_assert_uint_eq(notes.len, 0);
}
END_TEST

START_TEST(what_is_not_given_has_the_documented_defaults) {
    accept_text(THREE);
    ck_assert_int_eq(config.init_ticks, 10);
    ck_assert_int_eq(config.sync_ticks, 5);
    ck_assert_int_eq(config.heartbeat_ms, 100);
    ck_assert_int_eq(config.silence_ms, 1400);
    ck_assert(config.leader_serves);
    ck_assert(config.read_only_mode);
    ck_assert(!config.listen_on_all_ips);
}
END_TEST

START_TEST(every_key_of_the_ensemble_is_read) {
    accept_text(THREE "initLimit=7\nsyncLimit=3\npeer.heartbeatMs=50\npeer.silenceMs=900\n"
                      "leaderServes=no\nreadonlymode.enabled=false\nquorumListenOnAllIPs=true\n"
                      "electionAlg=3\n");
    ck_assert_int_eq(config.init_ticks, 7);
    ck_assert_int_eq(config.sync_ticks, 3);
    ck_assert_int_eq(config.heartbeat_ms, 50);
    ck_assert_int_eq(config.silence_ms, 900);
    ck_assert(!config.leader_serves);
    ck_assert(!config.read_only_mode);
    ck_assert(config.listen_on_all_ips);
}
END_TEST

START_TEST(the_client_port_may_stand_in_this_servers_line) {
    snprintf(base, sizeof base, "dataDir=%s\n# no clientPort\n", dir);
    accept_text(THREE);
    ck_assert_int_eq(config.client_port, 2181);
    ck_assert_str_eq(config.client_address, "10.0.0.2");
    write_myid("1");
    refuse(THREE, "clientPort is missing", "2181");
    snprintf(base, sizeof base, "dataDir=%s\nclientPort=2181\n", dir);
    write_myid("2");
    config_close(&config);
    refuse("server.1=a:1:2;2181\nserver.2=b:1:2;2182\n", "clientPort is 2181", "2182");
}
END_TEST

START_TEST(servers_come_in_the_order_of_their_ids) {
    accept_text("server.9=i:1:2\nserver.2=b:1:2:observer\nserver.5=e:1:2\n");
    ck_assert_int_eq(config.servers[0].id, 2);
    ck_assert_int_eq(config.servers[1].id, 5);
    ck_assert_int_eq(config.servers[2].id, 9);
    ck_assert_int_eq(config.quorum[0].id, 2);
    ck_assert(!config.quorum[0].voter);
    ck_assert(config.quorum[1].voter);
}
END_TEST

START_TEST(of_several_addresses_the_first_is_taken_with_a_warning) {
    accept_text("server.1=[::1]:1:2|b:3:4:observer\nserver.2=b:1:2\n");
    ck_assert_str_eq(config.servers[0].host, "::1");
    ck_assert_int_eq(config.servers[0].peer_port, 1);
    ck_assert(!config.quorum[0].voter);
    ck_assert_str_eq(string(&notes),
                     "WARN zoo.cfg:3: only the first address of server.1 is used\n");
}
END_TEST

START_TEST(a_server_line_that_is_wrong_is_an_error) {
    static const char *const wrong[] = {"",
                                        "a",
                                        "a:1",
                                        "a:1:2:3",
                                        ":1:2",
                                        "a:0:2",
                                        "a:1:65536",
                                        "a:1:2:leader",
                                        "[::1:1:2",
                                        "a:x:2",
                                        "a:1:2;",
                                        "a:1:2;x",
                                        "a:1:2;b:c:3",
                                        "a:1:2|",
                                        "a:1:2|b",
                                        "a:1:2:observer:5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "server.1=%s\nserver.2=b:1:2\n", wrong[i]);
        refuse(text, "zoo.cfg:3: wrong value for server.1", "peerPort");
    }
}
END_TEST

START_TEST(a_server_that_is_named_twice_is_an_error) {
    refuse(THREE "server.2=x:1:2\n", "zoo.cfg:6: server.2 is named twice", "zoo.cfg:4");
    refuse("server.1=A:1:2\nserver.2=a:1:3\n", "zoo.cfg:4", "same address");
}
END_TEST

START_TEST(a_missing_myid_is_an_error_that_says_what_is_right) {
    unlink(myid);
    refuse(THREE, myid, "is missing: which of the servers 1, 2, 3 is this one?");
}
END_TEST

START_TEST(a_myid_that_is_no_number_is_an_error) {
    static const char *const wrong[] = {"", "[]:1:2", "two", "2 3", "0", "256", "-1", "2x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_myid(wrong[i]);
        refuse(THREE, myid, "a number from 1 to 255 alone is right");
    }
    write_myid(" 2 \r\n\n");
    accept_text(THREE);
}
END_TEST

START_TEST(a_myid_that_is_none_of_the_servers_is_an_error) {
    write_myid("4");
    refuse(THREE, "there is no server.4 in zoo.cfg", "only 1, 2, 3");
}
END_TEST

START_TEST(a_single_server_stands_alone_and_needs_no_myid) {
    unlink(myid);
    accept_text("server.7=a:1:2\n");
    ck_assert_int_eq(config.server_id, 0);
    ck_assert_uint_eq(config.server_count, 0);
    refuse("standaloneEnabled=false\nserver.7=a:1:2\n", myid, "is missing");
    write_myid("7");
    accept_text("standaloneEnabled=false\nserver.7=a:1:2\n");
    ck_assert_int_eq(config.server_id, 7);
    ck_assert_uint_eq(config.server_count, 1);
    config_close(&config);
    refuse("server.7=a:1:2:observer\n", "no ensemble", "zoo.cfg");
    refuse("peerType=observer\n", "zoo.cfg:3: peerType=observer", "ensemble");
}
END_TEST

START_TEST(groups_and_weights_go_to_their_servers) {
    accept_text("group.1=1:2\ngroup.2=3\nweight.3=4\nweight.1=0\n" THREE);
    ck_assert_int_eq(config.quorum[0].group, 1);
    ck_assert_int_eq(config.quorum[1].group, 1);
    ck_assert_int_eq(config.quorum[2].group, 2);
    ck_assert_uint_eq(config.quorum[0].weight, 0);
    ck_assert_uint_eq(config.quorum[1].weight, 1);
    ck_assert_uint_eq(config.quorum[2].weight, 4);
}
END_TEST

START_TEST(groups_and_weights_that_are_wrong_are_errors) {
    refuse(THREE "group.1=1:2:4\n", "zoo.cfg:6", "no server.4 to give a group");
    refuse(THREE "weight.9=1\n", "zoo.cfg:6", "no server.9 to give a weight");
    refuse(THREE "group.1=1:2\ngroup.2=2:3\n", "zoo.cfg:7", "server 2 is in group 1 already");
    refuse(THREE "group.1=1:\n", "zoo.cfg:6", "separated by colons");
    refuse(THREE "group.0=1\n", "zoo.cfg:6", "N from 1 to 255");
    refuse(THREE "weight.x=1\n", "zoo.cfg:6", "N from 1 to 255");
    refuse(THREE "weight.1=-1\n", "zoo.cfg:6", "from 0 to");
    refuse(THREE "group.1=1:2\n", "zoo.cfg", "no ensemble");
    refuse(THREE "weight.1=0\nweight.2=0\nweight.3=0\n", "zoo.cfg", "no ensemble");
}
END_TEST

START_TEST(a_peer_type_that_differs_from_the_servers_line_is_a_warning) {
    accept_text(THREE "peerType=observer\n");
    ck_assert_ptr_nonnull(strstr(string(&notes), "WARN zoo.cfg:6: peerType differs"));
    accept_text(THREE "peerType=participant\n");
    ck_assert_uint_eq(notes.len, 0);
    config_close(&config);
    refuse(THREE "peerType=leader\n", "zoo.cfg:6", "participant or observer");
}
END_TEST

START_TEST(silence_is_never_above_what_sync_limit_allows) {
    accept_text(THREE "tickTime=100\nsyncLimit=5\n");
    ck_assert_int_eq(config.silence_ms, 500);
    ck_assert_int_eq(config.heartbeat_ms, 100);
    accept_text(THREE "tickTime=30\nsyncLimit=5\n");
    ck_assert_int_eq(config.silence_ms, 150);
    ck_assert_int_eq(config.heartbeat_ms, 50);
    config_close(&config);
    refuse(THREE "tickTime=100\nsyncLimit=5\npeer.silenceMs=501\n", "peer.silenceMs (501)", "500");
    refuse(THREE "peer.silenceMs=200\npeer.heartbeatMs=100\n", "peer.heartbeatMs (100)", "third");
    refuse(THREE "peer.heartbeatMs=0\n", "zoo.cfg:6", "from 5 to");
    refuse(THREE "initLimit=0\n", "zoo.cfg:6", "from 1 to");
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("config_ensemble");
    TCase *t = tcase_create("config_ensemble");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_ensemble_is_read_with_this_servers_place_in_it);
    tcase_add_test(t, what_is_not_given_has_the_documented_defaults);
    tcase_add_test(t, every_key_of_the_ensemble_is_read);
    tcase_add_test(t, the_client_port_may_stand_in_this_servers_line);
    tcase_add_test(t, servers_come_in_the_order_of_their_ids);
    tcase_add_test(t, of_several_addresses_the_first_is_taken_with_a_warning);
    tcase_add_test(t, a_server_line_that_is_wrong_is_an_error);
    tcase_add_test(t, a_server_that_is_named_twice_is_an_error);
    tcase_add_test(t, a_missing_myid_is_an_error_that_says_what_is_right);
    tcase_add_test(t, a_myid_that_is_no_number_is_an_error);
    tcase_add_test(t, a_myid_that_is_none_of_the_servers_is_an_error);
    tcase_add_test(t, a_single_server_stands_alone_and_needs_no_myid);
    tcase_add_test(t, groups_and_weights_go_to_their_servers);
    tcase_add_test(t, groups_and_weights_that_are_wrong_are_errors);
    tcase_add_test(t, a_peer_type_that_differs_from_the_servers_line_is_a_warning);
    tcase_add_test(t, silence_is_never_above_what_sync_limit_allows);
    suite_add_tcase(s, t);
    return s;
}
