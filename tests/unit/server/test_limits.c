#include "tests/unit/server/harness.h"

#include "common/mem.h"
#include "common/path.h"
#include "replica/server/limits.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct h_reply reply;

/* `/` and a name of n - 1 letters, the last ones counting. */
static void long_path(char *out, size_t n, int number) {
    memset(out, 'x', n);
    out[0] = '/';
    (void)snprintf(out + n - 8, 9, "%08d", number);
}

START_TEST(a_path_has_its_greatest_length) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char *path = mem_alloc(PATH_MAX_BYTES + 2);
    long_path(path, PATH_MAX_BYTES, 1);
    h_send_create(h, c, 1, path, "", 0);
    struct buf *in = &h->conns[c].in;
    ck_assert_uint_eq(in->len, 4 + 16 + 4 + PATH_MAX_BYTES);
    buf_reset(in);
    long_path(path, PATH_MAX_BYTES + 1, 1);
    ck_assert_int_eq(h_create(h, c, path), ZK_BADARGUMENTS);
    ck_assert_int_eq(h_exists(h, c, path, NULL), ZK_NONODE);
    long_path(path, PATH_MAX_BYTES - 4, 1); /* too long with its suffix only */
    ck_assert_int_eq(h_create_mode(h, c, path, CREATE_PERSISTENT_SEQUENTIAL), ZK_BADARGUMENTS);
    mem_free(path);
    h_free(h);
}
END_TEST

START_TEST(a_session_owns_no_more_than_its_closing_can_delete) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h), other = h_client(h);
    size_t n = 60000;
    char *path = mem_alloc(n + 1);
    int made = 0;
    for (;;) {
        long_path(path, n, made);
        h_send_create(h, c, 1, path, NULL, CREATE_EPHEMERAL);
        struct buf *in = &h->conns[c].in;
        bool ok = in->len > 20;
        if (!ok)
            break;
        buf_reset(in);
        made++;
    }
    ck_assert_int_eq(h_err(h, c, 1), ZK_QUOTAEXCEEDED);
    ck_assert_uint_eq((uint64_t)made, CLOSE_SESSION_BYTES_MAX / (n + CLOSE_SESSION_OP_BYTES));
    /* Others may, persistent ones may, and after a deletion there is room again. */
    h_send_create(h, other, 1, path, NULL, CREATE_EPHEMERAL);
    ck_assert_uint_gt(h->conns[other].in.len, 20);
    buf_reset(&h->conns[other].in);
    long_path(path, n, 0);
    ck_assert_int_eq(h_delete(h, other, path, -1), ZK_OK);
    h_send_create(h, c, 1, path, NULL, CREATE_EPHEMERAL);
    ck_assert_uint_gt(h->conns[c].in.len, 20);
    /* The bound holds after a start, too. */
    h_restart(h);
    conn_id_t again = h_open(h);
    h_send_connect(h, again, 40000, h->conns[c].session, h->conns[c].passwd, 0);
    ck_assert(h_take_connect(h, again));
    ck_assert_int_eq(h_create_mode(h, again, "/y", CREATE_EPHEMERAL), ZK_OK);
    long_path(path, n, 99999);
    h_send_create(h, again, 2, path, NULL, CREATE_EPHEMERAL);
    ck_assert_int_eq(h_err(h, again, 2), ZK_QUOTAEXCEEDED);
    h_send(h, again, 3, OP_CLOSE_SESSION, PROTO_empty, NULL);
    ck_assert_int_eq(h_err(h, again, 3), ZK_OK);
    struct blob *last = h->log[h->log_count - 1].payload;
    ck_assert_uint_lt(last->len, TXN_BYTES_MAX);
    ck_assert_uint_gt(last->len, TXN_BYTES_MAX - (200u << 10));
    mem_free(path);
    h_free(h);
}
END_TEST

START_TEST(a_multi_that_would_not_fit_into_a_record_is_refused_whole) {
    struct replica_config config = h_config();
    config.max_frame_bytes = 64 << 20;
    struct harness *h = h_new(&config);
    h_start(h);
    conn_id_t c = h_client(h);
    char *data = mem_alloc(1000001);
    memset(data, 'd', 1000000);
    data[1000000] = '\0';
    struct buf b = BUF_INIT;
    h_multi_create(&b, "/a", 0);
    for (int i = 0; i < 18; i++)
        h_multi_set(&b, "/a", data, -1);
    h_multi_end(&b);
    h_send_bytes(h, c, 1, OP_MULTI, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(reply.err, ZK_OK); /* each operation has its error */
    ck_assert_int_eq(h_exists(h, c, "/a", NULL), ZK_NONODE);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    mem_free(data);
    h_free(h);
}
END_TEST

START_TEST(a_single_write_that_would_not_fit_into_a_record_is_refused) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    size_t n = TXN_BYTES_MAX;
    char *data = mem_alloc(n + 1);
    memset(data, 'd', n);
    data[n] = '\0';
    ck_assert_int_eq(h_create(h, c, "/a"), ZK_OK);
    ck_assert_int_eq(h_set(h, c, "/a", data, -1), ZK_MARSHALLINGERROR);
    ck_assert_uint_eq(pending_count(h->r->pending), 0);
    ck_assert_int_eq(h_set(h, c, "/a", "x", 0), ZK_OK);
    data[n - 4096] = '\0';
    ck_assert_int_eq(h_set(h, c, "/a", data, 1), ZK_OK);
    h_restart(h);
    c = h_client(h);
    struct zstat s;
    ck_assert_int_eq(h_exists(h, c, "/a", &s), ZK_OK);
    ck_assert_int_eq(s.data_length, (int32_t)n - 4096);
    mem_free(data);
    h_free(h);
}
END_TEST

START_TEST(an_acl_that_grows_by_the_clients_ids_cannot_make_a_record_too_large) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char auth[AUTH_BYTES_MAX + 1];
    memset(auth, 'u', sizeof auth - 1);
    auth[sizeof auth - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        auth[0] = (char)('a' + i);
        h_send_auth(h, c, "digest", auth);
        ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_OK);
    }
    struct blob *acl = acl_parse(h_slice("auth::cdrwa"), &(const char *){NULL});
    struct buf b = BUF_INIT;
    for (int i = 0; i < 1000; i++) {
        struct proto_create_request req = {
            .path = h_slice("/s"), .acl = acl_view(acl), .flags = CREATE_PERSISTENT_SEQUENTIAL};
        h_multi_op(&b, OP_CREATE, PROTO_create_request, &req);
    }
    blob_unref(acl);
    h_multi_end(&b);
    h_send_bytes(h, c, 1, OP_MULTI, b.data, b.len);
    buf_close(&b);
    ck_assert(h_take(h, c, &reply));
    ck_assert_int_eq(h_exists(h, c, "/s0000000000", NULL), ZK_NONODE);
    for (size_t i = 0; i < h->log_count; i++)
        ck_assert(!h->log[i].payload || h->log[i].payload->len <= TXN_BYTES_MAX);
    h_free(h);
}
END_TEST

START_TEST(a_name_that_is_too_long_for_an_identity_fails) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char auth[AUTH_BYTES_MAX + 2];
    memset(auth, 'u', sizeof auth - 1);
    auth[sizeof auth - 1] = '\0';
    h_send_auth(h, c, "digest", auth);
    ck_assert_int_eq(h_err(h, c, XID_AUTH), ZK_AUTHFAILED);
    h_free(h);
}
END_TEST

START_TEST(an_idle_core_keeps_no_large_buffer) {
    struct harness *h = h_started();
    conn_id_t c = h_client(h);
    char *data = mem_alloc(4000001);
    memset(data, 'd', 4000000);
    data[4000000] = '\0';
    ck_assert_int_eq(h_set(h, c, "/", data, -1), ZK_OK);
    h_send_path(h, c, 1, OP_GET_DATA, "/", false);
    ck_assert_uint_gt(h->r->out.bytes.cap, 4000000);
    h_step(h, (struct event){.type = EV_TICK});
    ck_assert_uint_le(h->r->out.bytes.cap, OUT_KEEP_BYTES);
    mem_free(data);
    h_free(h);
}
END_TEST

H_SUITE("limits", a_path_has_its_greatest_length,
        a_session_owns_no_more_than_its_closing_can_delete,
        a_multi_that_would_not_fit_into_a_record_is_refused_whole,
        a_single_write_that_would_not_fit_into_a_record_is_refused,
        an_acl_that_grows_by_the_clients_ids_cannot_make_a_record_too_large,
        a_name_that_is_too_long_for_an_identity_fails, an_idle_core_keeps_no_large_buffer)
