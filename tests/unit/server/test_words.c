#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static const char *ask(struct harness *h, const char *word) {
    conn_id_t c = h_open(h);
    h_word(h, c, word);
    ck_assert(h->conns[c].closed);
    return h_text(h, c);
}

static struct harness *with_whitelist(const char *list) {
    struct replica_config config = h_config();
    config.word_whitelist = list;
    struct harness *h = h_new(&config);
    h_start(h);
    return h;
}

START_TEST(ruok_and_isro_are_one_word) {
    struct harness *h = h_started();
    ck_assert_str_eq(ask(h, "ruok"), "imok");
    ck_assert_str_eq(ask(h, "isro"), "rw");
    h_free(h);
}
END_TEST

START_TEST(srvr_has_the_lines_that_tools_parse) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_str_eq(ask(h, "srvr"), "Zookeeper version: 3.8.0-test\n"
                                     "Latency min/avg/max: 0/0.0/0\n"
                                     "Received: 3\n"
                                     "Sent: 2\n"
                                     "Connections: 2\n"
                                     "Outstanding: 0\n"
                                     "Zxid: 0x100000003\n"
                                     "Mode: standalone\n"
                                     "Node count: 6\n");
    h_free(h);
}
END_TEST

START_TEST(latencies_are_measured_from_request_to_answer) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    h->mono_ms += 7;
    h_sync(h);
    h->hold_log = false;
    ck_assert_ptr_nonnull(strstr(ask(h, "srvr"), "Latency min/avg/max: 0/3.5/7\n"));
    h_free(h);
}
END_TEST

START_TEST(stat_lists_the_clients) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    (void)c;
    const char *text = ask(h, "stat");
    ck_assert_ptr_nonnull(strstr(text, "Zookeeper version: 3.8.0-test\nClients:\n"
                                       " /10.0.0.1:40001[1](queued=0,recved=1,sent=1)\n"
                                       " /10.0.0.1:40002[0](queued=0,recved=1,sent=0)\n"
                                       "\nLatency min/avg/max: "));
    ck_assert_ptr_nonnull(strstr(text, "Node count: 5\n"));
    h_free(h);
}
END_TEST

START_TEST(an_ipv6_client_stands_in_brackets) {
    struct harness *h = h_started();
    static const uint8_t addr[16] = {[15] = 1};
    (void)h_open_from(h, addr, 16);
    ck_assert_ptr_nonnull(strstr(ask(h, "stat"), " /[0:0:0:0:0:0:0:1]:40001["));
    h_free(h);
}
END_TEST

START_TEST(mntr_has_a_tab_between_name_and_value) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_send_path(h, c, 1, OP_EXISTS, "/e", true);
    const char *text = ask(h, "mntr");
    static const char *const lines[] = {"zk_version\t3.8.0-test\n",
                                        "\nzk_server_state\tstandalone\n",
                                        "\nzk_avg_latency\t0.0\n",
                                        "\nzk_znode_count\t6\n",
                                        "\nzk_watch_count\t1\n",
                                        "\nzk_recent_change_count\t1\n",
                                        "\nzk_recent_change_bytes\t10\n",
                                        "\nzk_ephemerals_count\t1\n",
                                        "\nzk_num_alive_connections\t2\n",
                                        "\nzk_outstanding_requests\t0\n",
                                        "\nzk_open_file_descriptor_count\t11\n",
                                        "\nzk_max_file_descriptor_count\t22\n",
                                        "\nzk_global_sessions\t1\n",
                                        "\nzk_avg_fsynctime\t0.7083\n",
                                        "\nzk_max_fsynctime\t12\n",
                                        "\nzk_cnt_fsynctime\t24\n",
                                        "\nzk_sum_fsynctime\t17\n",
                                        "\nzk_disk_full\t0\n",
                                        "\nzk_packets_received\t4\n",
                                        "\nzk_packets_sent\t3\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_msg(strstr(text, lines[i]) != NULL, "%s", lines[i]);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        ck_assert(strncmp(line, "zk_", 3) == 0);
    h_free(h);
}
END_TEST

START_TEST(conf_shows_the_configuration) {
    struct harness *h = h_started();
    ck_assert_str_eq(ask(h, "conf"),
                     "clientPort=2181\nsecureClientPort=-1\ndataDir=/d\ndataDirSize=33\n"
                     "dataLogDir=/l\ndataLogSize=44\ntickTime=2000\nmaxClientCnxns=60\n"
                     "minSessionTimeout=4000\nmaxSessionTimeout=40000\n"
                     "clientPortListenBacklog=50\nserverId=0\n");
    h_free(h);
}
END_TEST

START_TEST(words_outside_the_whitelist_say_so) {
    struct harness *h = h_started();
    static const char *const off[] = {"cons", "crst", "srst", "dirs", "envi", "wchs",
                                      "dump", "wchc", "wchp", "hash", "gtmk", "stmk"};
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        char want[80];
        (void)snprintf(want, sizeof want, "%s is not executed because it is not in the whitelist.",
                       off[i]);
        ck_assert_str_eq(ask(h, off[i]), want);
    }
    h_free(h);
    h = with_whitelist("srvr, cons");
    ck_assert_str_eq(ask(h, "ruok"), "ruok is not executed because it is not in the whitelist.");
    ck_assert_ptr_nonnull(strstr(ask(h, "cons"), "recved="));
    h_free(h);
}
END_TEST

START_TEST(an_unknown_word_closes_the_connection) {
    struct harness *h = h_started();
    ck_assert_str_eq(ask(h, "nope"), "");
    h_free(h);
}
END_TEST

START_TEST(cons_tells_of_each_session) {
    struct harness *h = with_whitelist("*");
    conn_id_t c = h_client_timeout(h, 9000);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    char want[256];
    (void)snprintf(want, sizeof want,
                   " /10.0.0.1:40001[1](queued=0,recved=2,sent=2,sid=0x%llx,lop=CREA,est=%lld,"
                   "to=9000,lcxid=0x2329,lzxid=0x100000003,lresp=%lld,llat=0,minlat=0,avglat=0,"
                   "maxlat=0)\n",
                   (unsigned long long)h->conns[c].session, (long long)h->wall_ms,
                   (long long)h->mono_ms);
    ck_assert_ptr_nonnull(strstr(ask(h, "cons"), want));
    ck_assert_str_eq(ask(h, "crst"), "Connection stats reset.\n");
    ck_assert_ptr_nonnull(strstr(ask(h, "cons"), "(queued=0,recved=0,sent=0,sid="));
    ck_assert_str_eq(ask(h, "srst"), "Server stats reset.\n");
    ck_assert_ptr_nonnull(strstr(ask(h, "srvr"), "Received: 1\n"));
    h_free(h);
}
END_TEST

START_TEST(dirs_wchs_envi_and_dump_have_their_shapes) {
    struct harness *h = with_whitelist("*");
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    h_send_path(h, c, 1, OP_EXISTS, "/e", true);
    ck_assert_str_eq(ask(h, "dirs"), "datadir_size: 33\nlogdir_size: 44\n");
    ck_assert_str_eq(ask(h, "wchs"), "1 connections watching 1 paths\nTotal watches:1\n");
    ck_assert_ptr_nonnull(strstr(ask(h, "envi"), "Environment:\nzookeeper.version="));
    const char *dump = ask(h, "dump");
    char want[128];
    (void)snprintf(want, sizeof want, "Sessions with Ephemerals (1):\n0x%llx:\n\t/e\n",
                   (unsigned long long)h->conns[c].session);
    ck_assert_ptr_nonnull(strstr(dump, want));
    ck_assert_ptr_nonnull(strstr(dump, "SessionTracker dump:\nSession Sets ("));
    ck_assert_ptr_nonnull(strstr(dump, "Connections dump:\nConnections Sets ("));
    h_free(h);
}
END_TEST

START_TEST(before_it_serves_a_replica_says_so) {
    struct harness *h = h_new(NULL);
    h->hold_log = true;
    h_start(h);
    static const char *const words[] = {"srvr", "stat", "mntr", "conf"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        ck_assert_str_eq(ask(h, words[i]),
                         "This ZooKeeper instance is not currently serving requests\n");
    ck_assert_str_eq(ask(h, "ruok"), "imok");
    ck_assert_str_eq(ask(h, "isro"), "null");
    h_free(h);
}
END_TEST

H_SUITE("words", ruok_and_isro_are_one_word, srvr_has_the_lines_that_tools_parse,
        latencies_are_measured_from_request_to_answer, stat_lists_the_clients,
        an_ipv6_client_stands_in_brackets, mntr_has_a_tab_between_name_and_value,
        conf_shows_the_configuration, words_outside_the_whitelist_say_so,
        an_unknown_word_closes_the_connection, cons_tells_of_each_session,
        dirs_wchs_envi_and_dump_have_their_shapes, before_it_serves_a_replica_says_so)
