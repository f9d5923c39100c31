#include "replica/tree/znode.h"
#include "tests/unit/server/harness.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

START_TEST(a_new_ensemble_logs_its_epoch_then_its_secret_and_then_serves) {
    struct harness *h = h_new(NULL);
    h->hold_log = true;
    h_start(h);
    ck_assert_uint_eq(h->log_count, 1);
    ck_assert_int_eq(h->log[0].kind, LOG_EPOCH);
    ck_assert_int_eq(h->log[0].zxid, zxid_make(1, 0));
    h->synced = 1;
    h_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = zxid_make(1, 0)});
    ck_assert_uint_eq(h->log_count, 2);
    struct txn *t = txn_decode(blob_slice(h->log[1].payload), h->log[1].zxid);
    ck_assert_int_eq(t->type, TXN_ENSEMBLE);
    ck_assert_uint_eq(t->secret->len, SESSION_SECRET_BYTES);
    txn_free(t);
    ck_assert(!h->r->serving);
    h_sync(h);
    ck_assert(h->r->serving);
    h_free(h);
}
END_TEST

START_TEST(who_comes_before_the_epoch_is_durable_is_turned_away) {
    struct harness *h = h_new(NULL);
    h->hold_log = true;
    h_start(h);
    conn_id_t c = h_open(h);
    h_send_connect(h, c, 10000, 0, NULL, 0);
    ck_assert(h->conns[c].closed);
    ck_assert_ptr_nonnull(strstr(h->conns[c].why, "does not serve"));
    h_expect_nothing(h, c);
    h_free(h);
}
END_TEST

START_TEST(each_start_begins_a_new_epoch_and_keeps_the_secret) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    uint8_t passwd[PASSWD_BYTES];
    memcpy(passwd, h->conns[c].passwd, sizeof passwd);
    session_id_t session = h->conns[c].session;
    zxid_t last = core_last_zxid(h->r);
    h_restart(h);
    ck_assert_int_eq(h->log[h->log_count - 1].kind, LOG_EPOCH);
    ck_assert_int_eq(h->log[h->log_count - 1].zxid, zxid_make(2, 0));
    ck_assert_int_eq(core_last_zxid(h->r), zxid_make(2, 0));
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 40000, session, passwd, last);
    ck_assert(h_take_connect(h, again));
    ck_assert_int_eq(h_exists(h, again, "/a", NULL), ZK_OK);
    ck_assert_int_eq(h_create(h, again, "/b"), ZK_OK);
    ck_assert_int_eq(core_last_zxid(h->r), zxid_make(2, 2)); /* behind the session's coming back */
    h_free(h);
}
END_TEST

START_TEST(everything_is_there_again_after_a_start_from_the_log) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char data[64];
    int32_t len;
    struct zstat before, after;
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, c, "/a/s-", CREATE_PERSISTENT_SEQUENTIAL), ZK_OK);
    ck_assert_int_eq(h_create_mode(h, c, "/e", CREATE_EPHEMERAL), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", "value", -1), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", NULL, 9), ZK_BADVERSION);
    ck_assert_int_eq(h_create(h, c, "/gone"), ZK_OK);
    ck_assert_int_eq(h_delete(h, c, "/gone", -1), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/a", &before), ZK_OK);
    h_restart(h);
    c = h_client(h);
    ck_assert_int_eq(h_exists(h, c, "/a", &after), ZK_OK);
    ck_assert_mem_eq(&before, &after, sizeof before);
    ck_assert_int_eq(h_get(h, c, "/a", data, &len), ZK_OK);
    ck_assert_str_eq(data, "value");
    ck_assert_int_eq(h_exists(h, c, "/a/s-0000000000", NULL), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/e", &after), ZK_OK);
    ck_assert(after.ephemeral_owner != 0);
    ck_assert_int_eq(h_exists(h, c, "/gone", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(what_was_not_durable_is_not_there_and_was_not_answered) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    h_expect_nothing(h, c);
    h->hold_log = false;
    h_restart(h);
    c = h_client(h);
    ck_assert_int_eq(h_exists(h, c, "/a", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

static void feed(struct harness *h, enum log_kind kind, zxid_t zxid, struct slice payload) {
    struct log_record rec = {.kind = kind, .zxid = zxid, .payload = payload};
    h_step(h, (struct event){.type = EV_LOG_RECORD, .record = &rec});
}

START_TEST(a_log_with_a_gap_stops_the_process) {
    struct harness *h = h_new(NULL);
    struct txn *t = txn_new(TXN_ERROR, 0);
    t->err = ZK_NONODE;
    struct blob *b = txn_encode(t);
    feed(h, LOG_EPOCH, zxid_make(1, 0), SLICE_NULL);
    feed(h, LOG_TXN, zxid_make(1, 1), blob_slice(b));
    ck_assert(!h->stopped);
    feed(h, LOG_TXN, zxid_make(1, 3), blob_slice(b));
    ck_assert(h->stopped);
    ck_assert_ptr_nonnull(strstr(h->stop_why, "0x100000003"));
    blob_unref(b);
    txn_free(t);
    h_free(h);
}
END_TEST

START_TEST(a_transaction_that_does_not_fit_the_tree_stops_the_process) {
    struct harness *h = h_new(NULL);
    struct txn *t = txn_new(TXN_OPS, 1);
    t->ops[0].type = TXN_OP_DELETE;
    t->ops[0].path = blob_new("/gone", 5);
    struct blob *b = txn_encode(t);
    feed(h, LOG_EPOCH, zxid_make(1, 0), SLICE_NULL);
    feed(h, LOG_TXN, zxid_make(1, 1), blob_slice(b));
    ck_assert(h->stopped);
    ck_assert_ptr_nonnull(strstr(h->stop_why, "0x100000001"));
    blob_unref(b);
    txn_free(t);
    h_free(h);
}
END_TEST

static struct harness *with_limit(uint32_t limit) {
    struct harness *h = h_new(NULL);
    replica_free(h->r);
    h->counter_limit = limit;
    h->r = core_new(&h->config, limit);
    h_start(h);
    return h;
}

START_TEST(a_commit_that_does_not_fit_the_tree_is_not_answered_and_stops_the_process) {
    struct harness *h = with_limit(4);
    conn_id_t c = h_client(h);
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_create(h, c, "/b"), ZK_OK);
    zxid_t last = core_last_zxid(h->r);
    h->hold_log = true;
    h_send_delete(h, c, 1, "/a", -1);
    /* Behind the core's back. */
    struct txn *t = txn_new(TXN_OPS, 1);
    t->zxid = last + 1;
    t->ops[0].type = TXN_OP_DELETE;
    t->ops[0].path = blob_new("/a", 2);
    tree_apply(h->r->tree, t, NULL);
    h->r->tree->last_zxid = last;
    txn_free(t);
    h_sync(h);
    ck_assert(h->stopped);
    h_expect_nothing(h, c);
    h_free(h);
}
END_TEST

START_TEST(a_record_that_is_no_transaction_stops_the_process) {
    struct harness *h = h_new(NULL);
    feed(h, LOG_EPOCH, zxid_make(1, 0), SLICE_NULL);
    feed(h, LOG_TXN, zxid_make(1, 1), h_slice("\xff\xff\xff"));
    ck_assert(h->stopped);
    h_free(h);
}
END_TEST

START_TEST(a_record_of_the_wrong_kind_stops_the_process) {
    struct harness *h = h_new(NULL);
    feed(h, LOG_TXN, zxid_make(1, 0), h_slice(""));
    ck_assert(h->stopped);
    h_free(h);
}
END_TEST

START_TEST(a_disk_that_failed_stops_the_process_and_nothing_follows) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    h_step(h, (struct event){.type = EV_DISK_FAILED, .bytes = h_slice("the disk is gone")});
    ck_assert(h->stopped);
    ck_assert_str_eq(h->stop_why, "the disk is gone");
    h_send_path(h, c, 2, OP_EXISTS, "/", false);
    ck_assert_uint_eq(h->updates, 0);
    h_expect_nothing(h, c);
    h_free(h);
}
END_TEST

START_TEST(clients_go_on_over_the_end_of_an_epoch) {
    struct harness *h = with_limit(10);
    conn_id_t c = h_client(h);
    char path[32];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(path, sizeof path, "/n%d", i);
        ck_assert_int_eq(h_create(h, c, path), ZK_OK);
    }
    ck_assert(zxid_epoch(core_last_zxid(h->r)) >= 5);
    ck_assert(!h->conns[c].closed);
    h_restart(h);
    c = h_client(h);
    ck_assert_int_eq(h_exists(h, c, "/n49", NULL), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(requests_between_two_epochs_are_held_and_answered_in_order) {
    struct harness *h = with_limit(4);
    conn_id_t c = h_client(h); /* 2 of 4 zxids are used: the secret, the session */
    h->hold_log = true;
    for (int i = 0; i < 5; i++) {
        char path[16];
        (void)snprintf(path, sizeof path, "/n%d", i);
        h_send_create(h, c, 10 + i, path, "", 0);
    }
    h_send_path(h, c, 20, OP_EXISTS, "/n4", false);
    conn_id_t other = h_open(h);
    h_send_connect(h, other, 10000, 0, NULL, 0);
    h_expect_nothing(h, c);
    h->hold_log = false;
    h_sync(h);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(h_err(h, c, 10 + i), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 20), ZK_OK);
    ck_assert(h_take_connect(h, other));
    h_free(h);
}
END_TEST

START_TEST(a_client_that_leaves_between_two_epochs_takes_its_held_requests_along) {
    struct harness *h = with_limit(3);
    conn_id_t c = h_client(h);
    h->hold_log = true;
    for (int i = 0; i < 4; i++)
        h_send_create(h, c, 10 + i, "/n", "", CREATE_PERSISTENT_SEQUENTIAL);
    h_close(h, c);
    h->hold_log = false;
    h_sync(h);
    c = h_client(h);
    ck_assert_int_eq(h_exists(h, c, "/n0000000000", NULL), ZK_OK);
    ck_assert_int_eq(h_exists(h, c, "/n0000000001", NULL), ZK_NONODE);
    h_free(h);
}
END_TEST

H_SUITE("start", a_new_ensemble_logs_its_epoch_then_its_secret_and_then_serves,
        who_comes_before_the_epoch_is_durable_is_turned_away,
        each_start_begins_a_new_epoch_and_keeps_the_secret,
        everything_is_there_again_after_a_start_from_the_log,
        what_was_not_durable_is_not_there_and_was_not_answered, a_log_with_a_gap_stops_the_process,
        a_transaction_that_does_not_fit_the_tree_stops_the_process,
        a_commit_that_does_not_fit_the_tree_is_not_answered_and_stops_the_process,
        a_record_that_is_no_transaction_stops_the_process,
        a_record_of_the_wrong_kind_stops_the_process,
        a_disk_that_failed_stops_the_process_and_nothing_follows,
        clients_go_on_over_the_end_of_an_epoch,
        requests_between_two_epochs_are_held_and_answered_in_order,
        a_client_that_leaves_between_two_epochs_takes_its_held_requests_along)
