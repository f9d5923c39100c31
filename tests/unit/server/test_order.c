#include "tests/unit/server/harness.h"

#include "common/mem.h"
#include "common/path.h"
#include "replica/server/limits.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

START_TEST(answers_leave_in_the_order_of_the_requests) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    h_send_path(h, c, 1, OP_EXISTS, "/", false);
    ck_assert_int_eq(h_err(h, c, 1), ZK_OK);
    h_send_create(h, c, 2, "/a", "v", 0);
    h_send_path(h, c, 3, OP_GET_DATA, "/a", false);
    h_send_set(h, c, 4, "/a", "w", 0);
    h_send(h, c, XID_PING, OP_PING, PROTO_empty, NULL);
    h_send_path(h, c, 5, OP_GET_DATA, "/a", false);
    h_send_delete(h, c, 6, "/a", 1);
    h_send_path(h, c, 7, OP_GET_DATA, "/a", false);
    h_expect_nothing(h, c);
    h_sync(h);
    ck_assert_int_eq(h_err(h, c, 2), ZK_OK);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 3);
    ck_assert(slice_equal_str(h_string(&reply), "v"));
    ck_assert_int_eq(h_err(h, c, 4), ZK_OK);
    ck_assert_int_eq(h_err(h, c, XID_PING), ZK_OK);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.xid, 5);
    ck_assert(slice_equal_str(h_string(&reply), "w"));
    ck_assert_int_eq(h_err(h, c, 6), ZK_OK);
    ck_assert_int_eq(h_err(h, c, 7), ZK_NONODE);
    h_free(h);
}
END_TEST

START_TEST(a_read_waits_only_for_writes_of_its_own_connection) {
    struct harness *h = h_started();
    conn_id_t writer = h_client(h), reader = h_client(h);
    h->hold_log = true;
    h_send_create(h, writer, 1, "/a", "", 0);
    h_send_path(h, reader, 1, OP_EXISTS, "/a", false);
    ck_assert_int_eq(h_err(h, reader, 1), ZK_NONODE);
    h_sync(h);
    h_send_path(h, reader, 2, OP_EXISTS, "/a", false);
    ck_assert_int_eq(h_err(h, reader, 2), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(nothing_is_answered_before_it_is_durable) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    h_send_create(h, a, 1, "/a", "", 0);
    zxid_t first = h->log[h->log_count - 1].zxid;
    h_send_create(h, b, 1, "/b", "", 0);
    h_expect_nothing(h, a);
    h_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = first});
    h->synced++;
    ck_assert_int_eq(h_err(h, a, 1), ZK_OK);
    h_expect_nothing(h, b);
    h_sync(h);
    ck_assert_int_eq(h_err(h, b, 1), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_sync_waits_for_the_proposals_of_everybody_before_it) {
    struct harness *h = h_started();
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    h_send_create(h, a, 1, "/a", "", 0);
    zxid_t first = h->log[h->log_count - 1].zxid;
    struct proto_path_request req = {.path = h_slice("/")};
    h_send(h, b, 1, OP_SYNC, PROTO_path_request, &req);
    h_send_path(h, b, 2, OP_EXISTS, "/a", false);
    h_send_create(h, a, 2, "/later", "", 0);
    h_expect_nothing(h, b);
    h_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = first});
    h->synced++;
    ck_assert_int_eq(h_err(h, b, 1), ZK_OK);
    ck_assert_int_eq(h_err(h, b, 2), ZK_OK);
    h_sync(h);
    h_free(h);
}
END_TEST

START_TEST(a_sync_behind_its_own_write_is_answered_behind_it) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    h->hold_log = true;
    struct proto_path_request req = {.path = h_slice("/")};
    h_send_create(h, c, 1, "/a", "", 0);
    h_send(h, c, 2, OP_SYNC, PROTO_path_request, &req);
    h_send_create(h, c, 3, "/b", "", 0);
    h_send(h, c, 4, OP_SYNC, PROTO_path_request, &req);
    h_sync(h);
    for (int xid = 1; xid <= 4; xid++)
        ck_assert_int_eq(h_err(h, c, xid), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(a_connection_that_goes_leaves_its_writes_to_be_done) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), other = h_client(h);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    struct proto_path_request req = {.path = h_slice("/")};
    h_send(h, c, 2, OP_SYNC, PROTO_path_request, &req);
    h_send_path(h, c, 3, OP_EXISTS, "/", false);
    h_close(h, c);
    h->hold_log = false;
    h_sync(h);
    ck_assert_int_eq(h_exists(h, other, "/a", NULL), ZK_OK);
    ck_assert_uint_eq(h->r->queued, 0);
    ck_assert_uint_eq(h->r->queued_bytes, 0);
    h_free(h);
}
END_TEST

static struct harness *with_outstanding(int32_t most) {
    struct replica_config config = h_config();
    config.max_outstanding = most;
    struct harness *h = h_new(&config);
    h_start(h);
    return h;
}

START_TEST(too_many_requests_pause_who_sends_them_until_they_are_answered) {
    struct harness *h = with_outstanding(10);
    conn_id_t a = h_client(h), b = h_client(h);
    h->hold_log = true;
    for (int i = 0; i < 11; i++) {
        ck_assert(!h->conns[a].paused);
        h_send_create(h, a, i, "/s", "", CREATE_PERSISTENT_SEQUENTIAL);
    }
    ck_assert(h->conns[a].paused);
    ck_assert(!h->conns[b].paused);
    h_send_path(h, b, 1, OP_EXISTS, "/", false); /* a reader with nothing queued goes on */
    ck_assert_int_eq(h_err(h, b, 1), ZK_OK);
    ck_assert(!h->conns[b].paused);
    h_send_create(h, b, 2, "/b", "", 0);
    ck_assert(h->conns[b].paused);
    h_sync(h);
    ck_assert(!h->conns[a].paused);
    ck_assert(!h->conns[b].paused);
    for (int i = 0; i < 11; i++)
        ck_assert_int_eq(h_err(h, a, i), ZK_OK);
    ck_assert_int_eq(h_err(h, b, 2), ZK_OK);
    h_free(h);
}
END_TEST

START_TEST(everybody_paused_is_resumed_when_one_of_them_leaves_or_is_answered) {
    struct harness *h = with_outstanding(4);
    conn_id_t c[8];
    for (int i = 0; i < 8; i++)
        c[i] = h_client(h);
    h->hold_log = true;
    for (int i = 0; i < 8; i++)
        h_send_create(h, c[i], 1, "/s", "", CREATE_PERSISTENT_SEQUENTIAL);
    int paused = 0;
    for (int i = 0; i < 8; i++)
        paused += h->conns[c[i]].paused;
    ck_assert_int_eq(paused, 4);
    for (int i = 0; i < 5; i++)
        h_close(h, c[i]);
    h_sync(h);
    for (int i = 5; i < 8; i++) {
        ck_assert(!h->conns[c[i]].paused);
        ck_assert_int_eq(h_err(h, c[i], 1), ZK_OK);
    }
    h_free(h);
}
END_TEST

START_TEST(who_has_nothing_queued_reads_on_however_loaded_the_others_are) {
    struct harness *h = with_outstanding(4);
    conn_id_t c[20];
    for (int i = 0; i < 20; i++)
        c[i] = h_client(h);
    h->hold_log = true;
    zxid_t sixth = 0;
    for (int i = 0; i < 20; i++) {
        h_send_create(h, c[i], 1, "/s", "", CREATE_PERSISTENT_SEQUENTIAL);
        if (i == 5)
            sixth = h->log[h->log_count - 1].zxid;
    }
    ck_assert(h->conns[c[5]].paused);
    h_step(h, (struct event){.type = EV_LOG_SYNCED, .zxid = sixth});
    h->synced += 6;
    ck_assert(!h->conns[c[5]].paused);
    ck_assert(h->conns[c[6]].paused);
    h_sync(h);
    h_free(h);
}
END_TEST

START_TEST(too_many_bytes_pause_as_too_many_requests_do) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    size_t n = 1000000;
    uint8_t *body = mem_zalloc(n);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    for (size_t sent = 0; sent <= QUEUED_BYTES_MAX && !h->conns[c].paused; sent += n)
        h_send_bytes(h, c, 2, OP_GET_DATA, body, n);
    ck_assert(h->conns[c].paused);
    h_sync(h);
    ck_assert(!h->conns[c].paused);
    mem_free(body);
    h_free(h);
}
END_TEST

START_TEST(many_large_answers_are_spread_over_steps_and_stay_in_order) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    size_t n = 1000000;
    char *data = mem_zalloc(n + 1);
    memset(data, 'x', n);
    ck_assert_int_eq(h_set(h, c, "/", data, -1), ZK_OK);
    h->hold_log = true;
    h_send_create(h, c, 1, "/a", "", 0);
    for (int i = 0; i < 40; i++)
        h_send_path(h, c, 100 + i, OP_GET_DATA, "/", false);
    h_send_create(h, c, 200, "/b", "", 0);
    h_send_path(h, c, 201, OP_EXISTS, "/b", false);
    h_sync(h);
    ck_assert(h->conns[c].in.len >= STEP_OUT_BYTES_MAX);
    ck_assert(h->conns[c].in.len < STEP_OUT_BYTES_MAX + 2 * n);
    h->hold_log = false;
    h_send_path(h, c, 202, OP_EXISTS, "/a", false);
    h_advance(h, 0);
    struct buf *in = &h->conns[c].in;
    int32_t want = 1;
    for (size_t at = 0; at < in->len;) {
        struct cursor cur;
        cursor_init(&cur, in->data + at, in->len - at);
        uint32_t len = cursor_u32be(&cur);
        ck_assert_int_eq(jute_read_int(&cur), want);
        want = want == 1 ? 100 : want == 139 ? 200 : want + 1;
        at += 4 + len;
    }
    ck_assert_int_eq(want, 203);
    mem_free(data);
    h_free(h);
}
END_TEST

/* A script with everything in it: three clients, writes, reads, watches, refusals, expiry, restart.
 */
static void play(struct harness *h) {
    h_start(h);
    conn_id_t a = h_client(h), b = h_client_timeout(h, 4000);
    for (int i = 0; i < 100; i++) {
        h->hold_log = i % 3 == 0;
        char path[32];
        (void)snprintf(path, sizeof path, "/n%d", i % 7);
        h_send_create(h, i % 2 ? a : b, i, path, "data", i % 4);
        h_send_path(h, a, 1000 + i, i % 2 ? OP_EXISTS : OP_GET_CHILDREN, i % 2 ? path : "/", true);
        h_send_set(h, a, 2000 + i, path, "x", i % 5 - 1);
        h_send_delete(h, b, 3000 + i, path, -1);
        h->hold_log = false;
        h_sync(h);
        h_advance(h, i % 10 * 37);
    }
    h_close(h, b);
    h_advance(h, 10000);
    h_restart(h);
    a = h_client(h);
    h_send_path(h, a, 1, OP_GET_CHILDREN2, "/", false);
    h_advance(h, 100000);
}

START_TEST(the_same_events_make_the_same_updates) {
    struct harness *one = h_new(NULL), *two = h_new(NULL);
    play(one);
    /* Other addresses for everything. */
    void *holes[64];
    for (size_t i = 0; i < 64; i++)
        holes[i] = mem_alloc(100 + i * 24);
    play(two);
    ck_assert_uint_eq(one->trace, two->trace);
    struct harness *other = h_new(NULL);
    other->random_byte = 3;
    play(other);
    ck_assert_uint_ne(one->trace, other->trace);
    for (size_t i = 0; i < 64; i++)
        mem_free(holes[i]);
    h_free(one);
    h_free(two);
    h_free(other);
}
END_TEST

H_SUITE("order", answers_leave_in_the_order_of_the_requests,
        a_read_waits_only_for_writes_of_its_own_connection,
        nothing_is_answered_before_it_is_durable,
        a_sync_waits_for_the_proposals_of_everybody_before_it,
        a_sync_behind_its_own_write_is_answered_behind_it,
        a_connection_that_goes_leaves_its_writes_to_be_done,
        too_many_requests_pause_who_sends_them_until_they_are_answered,
        everybody_paused_is_resumed_when_one_of_them_leaves_or_is_answered,
        who_has_nothing_queued_reads_on_however_loaded_the_others_are,
        too_many_bytes_pause_as_too_many_requests_do,
        many_large_answers_are_spread_over_steps_and_stay_in_order,
        the_same_events_make_the_same_updates)
