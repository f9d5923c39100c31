#include "common/path.h"
#include "replica/config.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What every accepted text here needs; two lines, so that what a test adds begins at line 3. */
#define BASE "dataDir=/d\nclientPort=2181\n"

static struct config config;
static struct buf notes, why;

static void on_note(void *ctx, enum log_level level, const char *text) {
    buf_printf(&notes, "%s %s\n", level == LOG_WARN ? "WARN" : "INFO", text);
}

static void setup(void) {
    config = (struct config){0};
    buf_init(&notes, 0);
    buf_init(&why, 0);
}

static void teardown(void) {
    config_close(&config);
    buf_close(&notes);
    buf_close(&why);
}

static const char *string(struct buf *b) {
    buf_put_u8(b, 0);
    b->len--;
    return (const char *)b->data;
}

static int parse(const char *text) {
    return config_parse(slice_from_str(text), "zoo.cfg", on_note, NULL, &config, &why);
}

static void accept_text(const char *text) {
    int rc = parse(text);
    ck_assert_msg(rc == 0, "refused: %s", string(&why));
    ck_assert_uint_eq(why.len, 0);
}

/* Refused as a whole, with all of the words in the one sentence. */
static void refuse(const char *text, const char *first, const char *second) {
    struct config before = config;
    buf_reset(&why);
    ck_assert_int_eq(parse(text), -EINVAL);
    ck_assert_msg(strstr(string(&why), first) != NULL, "%s: no \"%s\" in: %s", text, first,
                  string(&why));
    ck_assert_msg(strstr(string(&why), second) != NULL, "%s: no \"%s\" in: %s", text, second,
                  string(&why));
    ck_assert_mem_eq(&before, &config, sizeof config);
}

START_TEST(what_is_not_given_has_the_defaults_of_zookeeper) {
    accept_text(BASE);
    ck_assert_str_eq(config.data_dir, "/d");
    ck_assert_str_eq(config.data_log_dir, "/d");
    ck_assert_ptr_null(config.client_address);
    ck_assert_ptr_null(config.super_digest);
    ck_assert_ptr_null(config.word_whitelist);
    ck_assert_int_eq(config.client_port, 2181);
    ck_assert_int_eq(config.tick_ms, 3000);
    ck_assert_int_eq(config.min_session_timeout_ms, 6000);
    ck_assert_int_eq(config.max_session_timeout_ms, 60000);
    ck_assert_int_eq(config.listen_backlog, 50);
    ck_assert_int_eq(config.max_conns_per_ip, 60);
    ck_assert_int_eq(config.max_conns, 0);
    ck_assert_int_eq(config.max_frame_bytes, 1048575);
    ck_assert_int_eq(config.max_outstanding, 1000);
    ck_assert_int_eq(config.first_frame_ms, 10000);
    ck_assert_int_eq(config.segment_bytes, 64 << 20);
    ck_assert_int_eq(config.sync_warn_ms, 1000);
    ck_assert_int_eq(config.container_check_ms, 60000);
    ck_assert_int_eq(config.containers_per_minute, 10000);
    ck_assert_int_eq(config.container_never_used_ms, 0);
    ck_assert(config.extended_types); /* not ZooKeeper's: docs/decisions/0013 */
    ck_assert(config.force_sync);
    ck_assert(!config.skip_acl);
    ck_assert(!config.keepalive);
    ck_assert_uint_eq(notes.len, 0);
}
END_TEST

START_TEST(every_obeyed_key_is_read) {
    accept_text("dataDir=/data\ndataLogDir=/log\nclientPort=2182\nclientPortAddress=::1\n"
                "clientPortListenBacklog=7\ntickTime=500\nminSessionTimeout=700\n"
                "maxSessionTimeout=9000\nmaxClientCnxns=0\nmaxCnxns=99\njute.maxbuffer=0x9fffff\n"
                "globalOutstandingLimit=10\nnio.sessionlessCnxnTimeout=1234\n"
                "clientTcpKeepAlive=true\nforceSync=no\nskipACL=yes\n"
                "DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=\n"
                "4lw.commands.whitelist=srvr, ruok\npreAllocSize=1024\n"
                "zookeeper.fsync.warningthresholdms=250\nextendedTypesEnabled=false\n"
                "znode.container.checkIntervalMs=100\nznode.container.maxPerMinute=9\n"
                "zookeeper.znode.container.maxNeverUsedIntervalMs=7\n");
    ck_assert_str_eq(config.data_dir, "/data");
    ck_assert_str_eq(config.data_log_dir, "/log");
    ck_assert_int_eq(config.client_port, 2182);
    ck_assert_str_eq(config.client_address, "::1");
    ck_assert_int_eq(config.listen_backlog, 7);
    ck_assert_int_eq(config.tick_ms, 500);
    ck_assert_int_eq(config.min_session_timeout_ms, 700);
    ck_assert_int_eq(config.max_session_timeout_ms, 9000);
    ck_assert_int_eq(config.max_conns_per_ip, 0);
    ck_assert_int_eq(config.max_conns, 99);
    ck_assert_int_eq(config.max_frame_bytes, 0x9fffff);
    ck_assert_int_eq(config.max_outstanding, 10);
    ck_assert_int_eq(config.first_frame_ms, 1234);
    ck_assert(config.keepalive);
    ck_assert(!config.force_sync);
    ck_assert(config.skip_acl);
    ck_assert_str_eq(config.super_digest, "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
    ck_assert_str_eq(config.word_whitelist, "srvr, ruok");
    ck_assert_int_eq(config.segment_bytes, 1 << 20);
    ck_assert_int_eq(config.sync_warn_ms, 250);
    ck_assert(!config.extended_types);
    ck_assert_int_eq(config.container_check_ms, 100);
    ck_assert_int_eq(config.containers_per_minute, 9);
    ck_assert_int_eq(config.container_never_used_ms, 7);
    ck_assert_uint_eq(notes.len, 0);
}
END_TEST

START_TEST(timeouts_follow_the_tick_unless_given) {
    accept_text(BASE "tickTime=2000\nmaxSessionTimeout=-1\n");
    ck_assert_int_eq(config.min_session_timeout_ms, 4000);
    ck_assert_int_eq(config.max_session_timeout_ms, 40000);
}
END_TEST

START_TEST(the_log_size_limit_wins_over_the_preallocation) {
    accept_text(BASE "preAllocSize=1024\ntxnLogSizeLimitInKb=2048\n");
    ck_assert_int_eq(config.segment_bytes, 2 << 20);
    teardown();
    setup();
    accept_text(BASE "preAllocSize=1024\ntxnLogSizeLimitInKb=-1\n");
    ck_assert_int_eq(config.segment_bytes, 1 << 20);
}
END_TEST

START_TEST(a_key_may_have_javas_prefix) {
    accept_text(BASE "zookeeper.globalOutstandingLimit=5\nzookeeper.initLimit=5\n"
                     "zookeeper.cnxTimeout=5\n");
    ck_assert_int_eq(config.max_outstanding, 5);
    ck_assert_int_eq(config.init_ticks, 5);
    ck_assert_str_eq(string(&notes),
                     "INFO zoo.cfg: known keys without effect in this version: cnxTimeout\n");
}
END_TEST

START_TEST(the_last_of_two_equal_keys_wins) {
    accept_text(BASE "dataDir=/e\ntickTime=10\ntickTime=20\n");
    ck_assert_str_eq(config.data_dir, "/e");
    ck_assert_int_eq(config.tick_ms, 20);
}
END_TEST

START_TEST(known_keys_without_effect_make_one_line) {
    accept_text(BASE "cnxTimeout=5\nautopurge.purgeInterval=1\nadmin.serverPort=8080\n"
                     "ssl.keyStore.location=/k\nauthProvider.1=x\nmetricsProvider.httpPort=7000\n"
                     "leader.maxConcurrentSnapSyncs=1\n");
    ck_assert_str_eq(string(&notes),
                     "INFO zoo.cfg: known keys without effect in this version: cnxTimeout "
                     "autopurge.purgeInterval admin.serverPort ssl.keyStore.location "
                     "authProvider.1 metricsProvider.httpPort leader.maxConcurrentSnapSyncs\n");
}
END_TEST

START_TEST(both_spellings_of_a_key_are_known) {
    static const char *const pairs[][3] = {
        {"connectionMaxTokens", "connection_throttle_tokens", "1"},
        {"connectionTokenFillTime", "connection_throttle_fill_time", "1"},
        {"connectionTokenFillCount", "connection_throttle_fill_count", "1"},
        {"connectionFreezeTime", "connection_throttle_freeze_time", "-1"},
        {"connectionDropIncrease", "connection_throttle_drop_increase", "0.02"},
        {"connectionDropDecrease", "connection_throttle_drop_decrease", "0.002"},
        {"connectionDecreaseRatio", "connection_throttle_decrease_ratio", "0"},
        {"requestThrottleLimit", "request_throttle_max_requests", "0"},
        {"requestThrottleStallTime", "request_throttle_stall_time", "100"},
        {"requestThrottleDropStale", "request_throttle_drop_stale", "true"},
        {"requestStaleLatencyCheck", "request_stale_latency_check", "false"},
        {"requestStaleConnectionCheck", "request_stale_connection_check", "true"},
        {"advancedFlowControlEnabled", "netty.advancedFlowControl.enabled", "false"},
        {"maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs", "10"},
        {"maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs", "100"},
        {"outstandingHandshake.limit", "netty.server.outstandingHandshake.limit", "1"},
        {"throttledOpWaitTime", "throttled_op_wait_time", "0"},
        {"maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch", "-1"},
        {"syncEnabled", "observer.syncEnabled", "true"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        for (int k = 0; k < 2; k++) {
            char text[256];
            snprintf(text, sizeof text, BASE "%s=%s\n", pairs[i][k], pairs[i][2]);
            accept_text(text);
            ck_assert_msg(strstr(string(&notes), "WARN") == NULL, "%s", string(&notes));
            /* The value is checked under either name. */
            if (strcmp(pairs[i][2], "true") != 0)
                snprintf(text, sizeof text, BASE "%s=often\n", pairs[i][k]);
            else
                snprintf(text, sizeof text, BASE "%s=7\n", pairs[i][k]);
            config_close(&config);
            refuse(text, "zoo.cfg:3", "wrong value");
            buf_reset(&why);
        }
    }
}
END_TEST

START_TEST(an_unknown_key_is_a_warning_with_its_line) {
    accept_text(BASE "# a comment\ntickTim=2000\n");
    ck_assert_str_eq(string(&notes), "WARN zoo.cfg:4: unknown key tickTim, it is not used\n");
    ck_assert_int_eq(config.tick_ms, 3000);
}
END_TEST

START_TEST(a_wrong_value_is_an_error_with_its_line_and_what_is_right) {
    refuse(BASE "tickTime=fast\n", "zoo.cfg:3: wrong value for tickTime: \"fast\"",
           "a number from 1 to");
    refuse(BASE "tickTime=0\n", "zoo.cfg:3", "from 1 to");
    refuse(BASE "tickTime=-2000\n", "zoo.cfg:3", "from 1 to");
    refuse(BASE "tickTime=2000ms\n", "zoo.cfg:3", "from 1 to");
    refuse(BASE "tickTime=\n", "zoo.cfg:3", "from 1 to");
    refuse(BASE "tickTime=99999999999999999999\n", "zoo.cfg:3", "from 1 to");
    refuse("clientPort=65536\n", "zoo.cfg:1", "from 1 to 65535");
    refuse("clientPort=0\n", "zoo.cfg:1", "from 1 to 65535");
    refuse(BASE "\nskipACL=maybe\n", "zoo.cfg:4", "true, false, yes or no");
    refuse(BASE "jute.maxbuffer=1023\n", "zoo.cfg:3", "from 1024 to 268435456");
    refuse(BASE "jute.maxbuffer=4g\n", "zoo.cfg:3", "from 1024 to 268435456");
    refuse(BASE "maxClientCnxns=-1\n", "zoo.cfg:3", "from 0 to");
    refuse(BASE "preAllocSize=1\n", "zoo.cfg:3", "KiB");
    refuse(BASE "txnLogSizeLimitInKb=x\n", "zoo.cfg:3", "KiB");
    refuse(BASE "electionAlg=1\n", "zoo.cfg:3", "from 3 to 3");
    refuse(BASE "snapshotSizeFactor=third\n", "zoo.cfg:3", "such as 0.33");
}
END_TEST

START_TEST(a_line_without_an_equals_sign_is_an_error_with_its_line) {
    refuse(BASE "just words\n", "zoo.cfg:3", "key=value");
}
END_TEST

START_TEST(missing_keys_are_named) {
    refuse("clientPort=2181\n", "zoo.cfg", "dataDir is missing");
    refuse("dataDir=/d\n", "zoo.cfg", "clientPort is missing");
    refuse("dataDir=\nclientPort=2181\n", "zoo.cfg", "dataDir is missing");
    refuse("", "zoo.cfg", "dataDir is missing");
}
END_TEST

START_TEST(timeouts_that_contradict_each_other_are_an_error) {
    refuse(BASE "minSessionTimeout=5000\nmaxSessionTimeout=4000\n", "minSessionTimeout (5000)",
           "maxSessionTimeout (4000)");
    refuse(BASE "minSessionTimeout=0\n", "minSessionTimeout", "above 0");
}
END_TEST

START_TEST(one_server_line_is_accepted) {
    accept_text(BASE "server.1=host:2888:3888\n");
    ck_assert_int_eq(config.client_port, 2181);
    ck_assert_uint_eq(notes.len, 0);
}
END_TEST

START_TEST(a_server_line_may_have_the_client_port) {
    accept_text("dataDir=/d\nserver.1=host:2888:3888:participant;[::1]:2199\n");
    ck_assert_int_eq(config.client_port, 2199);
    ck_assert_str_eq(config.client_address, "::1");
    teardown();
    setup();
    accept_text("dataDir=/d\nserver.255=[::1]:2888:3888|[::2]:2888:3888;2198\n");
    ck_assert_int_eq(config.client_port, 2198);
    ck_assert_ptr_null(config.client_address);
    teardown();
    setup();
    accept_text("dataDir=/d\nclientPort=2198\nserver.1=h:2888:3888;2198\n");
}
END_TEST

START_TEST(a_server_line_that_is_wrong_is_an_error_with_its_line) {
    refuse(BASE "server.0=h:1:2\n", "zoo.cfg:3", "N from 1 to 255");
    refuse(BASE "server.256=h:1:2\n", "zoo.cfg:3", "N from 1 to 255");
    refuse(BASE "server.x=h:1:2\n", "zoo.cfg:3", "N from 1 to 255");
    refuse(BASE "server.1=h\n", "zoo.cfg:3", "peerPort");
    refuse(BASE "server.1=h:1:2;0\n", "zoo.cfg:3", "clientPort");
    refuse(BASE "server.1=h:1:2:leader\n", "zoo.cfg:3", "peerPort");
    refuse("dataDir=/d\nclientPort=2181\nserver.1=h:1:2;2182\n", "zoo.cfg:2", "2182");
}
END_TEST

static char dynamic_path[256], text_with_dynamic[512];

static void write_dynamic(const char *text) {
    const char *tmp = getenv("TMPDIR");
    snprintf(dynamic_path, sizeof dynamic_path, "%s/zkfs-test-dynamic-%d", tmp ? tmp : "/tmp",
             (int)getpid());
    snprintf(text_with_dynamic, sizeof text_with_dynamic, "dataDir=/d\ndynamicConfigFile=%s\n",
             dynamic_path);
    FILE *f = fopen(dynamic_path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(servers_are_read_from_the_dynamic_file_too) {
    write_dynamic("server.1=a:1:2;2177\nversion=100000000\n");
    accept_text(text_with_dynamic);
    ck_assert_int_eq(config.client_port, 2177);
    config_close(&config);
    write_dynamic("server.1=a:1:2;2177\nserver.2=a:1:2;2177\n");
    refuse(text_with_dynamic, dynamic_path, ":2: server.1 and server.2 have the same address");
    write_dynamic("dynamicConfigFile=/x\n");
    refuse(text_with_dynamic, dynamic_path, "only the first file");
    unlink(dynamic_path);
    buf_reset(&why);
    ck_assert_int_eq(parse(text_with_dynamic), -ENOENT);
    ck_assert_ptr_nonnull(strstr(string(&why), dynamic_path));
}
END_TEST

START_TEST(a_file_is_read_and_named_in_messages) {
    write_dynamic(BASE "tickTime=0\n");
    ck_assert_int_eq(config_load(dynamic_path, on_note, NULL, &config, &why), -EINVAL);
    ck_assert_ptr_nonnull(strstr(string(&why), dynamic_path));
    ck_assert_ptr_nonnull(strstr(string(&why), ":3: "));
    write_dynamic(BASE);
    ck_assert_int_eq(config_load(dynamic_path, on_note, NULL, &config, &why), 0);
    unlink(dynamic_path);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named) {
    ck_assert_int_eq(config_load("/nowhere/zoo.cfg", on_note, NULL, &config, &why), -ENOENT);
    ck_assert_str_eq(string(&why), "/nowhere/zoo.cfg: cannot be read: No such file or directory");
    buf_reset(&why);
    ck_assert_int_eq(config_load("/tmp", on_note, NULL, &config, &why), -EISDIR);
}
END_TEST

START_TEST(a_file_that_never_ends_is_refused) {
    ck_assert_int_eq(config_load("/dev/zero", on_note, NULL, &config, &why), -EFBIG);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_is_not_given_has_the_defaults_of_zookeeper);
    tcase_add_test(t, every_obeyed_key_is_read);
    tcase_add_test(t, timeouts_follow_the_tick_unless_given);
    tcase_add_test(t, the_log_size_limit_wins_over_the_preallocation);
    tcase_add_test(t, a_key_may_have_javas_prefix);
    tcase_add_test(t, the_last_of_two_equal_keys_wins);
    tcase_add_test(t, known_keys_without_effect_make_one_line);
    tcase_add_test(t, both_spellings_of_a_key_are_known);
    tcase_add_test(t, an_unknown_key_is_a_warning_with_its_line);
    tcase_add_test(t, a_wrong_value_is_an_error_with_its_line_and_what_is_right);
    tcase_add_test(t, a_line_without_an_equals_sign_is_an_error_with_its_line);
    tcase_add_test(t, missing_keys_are_named);
    tcase_add_test(t, timeouts_that_contradict_each_other_are_an_error);
    tcase_add_test(t, one_server_line_is_accepted);
    tcase_add_test(t, a_server_line_may_have_the_client_port);
    tcase_add_test(t, a_server_line_that_is_wrong_is_an_error_with_its_line);
    tcase_add_test(t, servers_are_read_from_the_dynamic_file_too);
    tcase_add_test(t, a_file_is_read_and_named_in_messages);
    tcase_add_test(t, a_file_that_cannot_be_read_is_named);
    tcase_add_test(t, a_file_that_never_ends_is_refused);
    suite_add_tcase(s, t);
    return s;
}
