/* What the client makes of the journal of a worker that crashed: the session, and writes that were
 * under way. */
#include "common/zkerr.h"
#include "tests/lib/unit.h"
#include "tests/unit/fs/zk_harness.h"

#include "common/log.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int fd;
static struct journal *journal;
static struct zk_sent sent[4]; /* as the journal has them, when there is another worker */
static size_t sent_count;
static bool is_closed;

static void on_write(void *ctx, const struct journal_record *r) {
    ck_assert(zk_sent_read(r, &sent[sent_count++]));
}

static void open_worker(void) {
    const char *why;
    journal = journal_open(fd, &why);
    ck_assert_ptr_nonnull(journal);
    struct zk_config config = {.session_timeout_ms = 3000, .journal = journal};
    open_zk(&config);
    sent_count = 0;
    journal_each(journal, JOURNAL_WRITE, on_write, NULL);
    memset(&got, 0, sizeof got);
}

static void on_closed(void *ctx) { is_closed = true; }

static void close_worker(void) {
    is_closed = false;
    zk_close(zk, on_closed, NULL);
    while (!is_closed)
        uv_run(&loop, UV_RUN_ONCE);
    journal_close(journal);
    for (size_t i = 0; i < sent_count; i++)
        buf_close(&sent[i].request);
}

static void start(void) {
    log_set_level(LOG_ERROR);
    uv_loop_init(&loop);
    fake_start(&fake, &loop);
    fd = memfd_create("test", 0);
    open_worker();
}

static void stop(void) {
    close_worker();
    fake_stop(&fake);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    close(fd);
}

/* The server does not take the end of the session for one. */
static void crash(void) {
    close_worker();
    fake.deaf = fake.refuse = false;
    fake.lose = FAKE_KEEP;
    open_worker();
}

static struct zk_op op_of(const char *path, enum create_mode mode) {
    struct zk_op op = create_op(path, "v");
    op.mode = mode;
    return op;
}

/* For the FUSE request `unique`. */
static void create_kept(const char *path, enum create_mode mode, uint64_t unique) {
    struct zk_op op = op_of(path, mode);
    uint32_t ref = 0;
    zk_keep(zk, zk_create(zk, &op, on_result, NULL), unique, &ref);
}

static const struct zk_sent *of(uint64_t unique) {
    for (size_t i = 0; i < sent_count; i++)
        if (sent[i].unique == unique)
            return &sent[i];
    ck_abort_msg("no record");
}

static uint64_t repeat(const char *path, enum create_mode mode, uint64_t unique) {
    struct zk_op op = op_of(path, mode);
    uint64_t token = zk_create(zk, &op, on_result, NULL);
    ck_assert(zk_repeat(zk, token, of(unique)));
    return token;
}

static void resend_all(void) {
    for (size_t i = sent_count; i > 0; i--)
        zk_resend(zk, &sent[i - 1]);
}

static void run_until(const int *count, int least) {
    while (*count < least)
        uv_run(&loop, UV_RUN_ONCE);
}

static zxid_t czxid(const char *path) { return fake_find(&fake, path)->stat.czxid; }

/* Two creations that the server has, and a worker that dies before their answers. */
static void die_with_two(void) {
    fake.ours = true;
    connect_zk();
    fake.deaf = true;
    create_kept("/a", CREATE_PERSISTENT, 1);
    create_kept("/b", CREATE_PERSISTENT, 2);
    run_until(&fake.requests[OP_CREATE2], 2);
    crash();
    resend_all();
}

START_TEST(writes_go_again_in_their_order_and_before_new_ones) {
    die_with_two();
    create("/c", "v");
    repeat("/b", CREATE_PERSISTENT, 2);
    repeat("/a", CREATE_PERSISTENT, 1);
    wait_calls(3);
    ck_assert_int_lt(czxid("/a"), czxid("/b"));
    ck_assert_int_lt(czxid("/b"), czxid("/c"));
    ck_assert_int_eq(fake.requests[OP_CREATE2], 5);
}
END_TEST

START_TEST(an_answer_waits_for_its_request) {
    die_with_two();
    create("/c", "v");
    wait_result(ZK_OK);
    repeat("/a", CREATE_PERSISTENT, 1);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/a");
    ck_assert_int_eq(got.stat.czxid, czxid("/a"));
    ck_assert_int_eq(fake.requests[OP_CREATE2], 5);
}
END_TEST

START_TEST(nobody_may_ask_for_an_answer_any_more) {
    die_with_two();
    zk_forget(zk, of(1));
    uint64_t token = repeat("/b", CREATE_PERSISTENT, 2);
    ck_assert(zk_was_sent(zk, token));
    create("/c", "v");
    run_until(&fake.requests[OP_CREATE2], 4);
    zk_cancel(zk, token);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/c");
    ck_assert_ptr_null(fake_find(&fake, "/a"));
}
END_TEST

START_TEST(a_write_that_never_left_is_new) {
    connect_zk();
    fake.deaf = true;
    create_kept("/a", CREATE_PERSISTENT, 1);
    run_until(&fake.requests[OP_CREATE2], 1);
    crash();
    ck_assert_int_gt(sent[0].xid, 0);
    sent[0].xid = 0; /* as it was before the loop ran */
    resend_all();
    repeat("/a", CREATE_PERSISTENT, 1);
    wait_result(ZK_OK);
    ck_assert_int_eq(fake.requests[OP_SYNC], 0);
}
END_TEST

static void go_away(struct fake_zk *f) { f->refuse = true; }

START_TEST(a_lost_sequential_create_is_not_taken_for_one_that_was_answered_before_the_crash) {
    connect_zk();
    lose_next(FAKE_LOSE_UNDONE);
    fake.keep_first = 1;
    fake.after_loss = go_away;
    create_kept("/n-", CREATE_EPHEMERAL_SEQUENTIAL, 1);
    create_kept("/n-", CREATE_EPHEMERAL_SEQUENTIAL, 2);
    wait_calls(1);
    ck_assert_str_eq(got.path, "/n-0000000000");
    for (int i = 0; i < 2; i++) {
        crash();
        zk_resend(zk, of(2));
    }
    repeat("/n-", CREATE_EPHEMERAL_SEQUENTIAL, 2);
    wait_result(ZK_OK);
    ck_assert_str_eq(got.path, "/n-0000000001");
}
END_TEST

/* The request itself was not answered any more. */
START_TEST(a_write_that_was_answered_before_the_crash_is_its_own) {
    connect_zk();
    create_kept("/n-", CREATE_EPHEMERAL_SEQUENTIAL, 1);
    create_kept("/a", CREATE_PERSISTENT, 2);
    wait_calls(2);
    for (int i = 0; i < 2; i++) {
        crash();
        resend_all();
        repeat("/a", CREATE_PERSISTENT, 2);
        wait_result(ZK_OK);
        repeat("/n-", CREATE_EPHEMERAL_SEQUENTIAL, 1);
        wait_result(ZK_OK);
        ck_assert_str_eq(got.path, "/n-0000000000");
    }
    ck_assert_ptr_null(fake_find(&fake, "/n-0000000001"));
}
END_TEST

static void count(void *ctx, const struct journal_record *r) { ++*(int *)ctx; }

START_TEST(zxids_that_no_write_can_be_mistaken_for_are_forgotten) {
    connect_zk();
    create("/a", "v");
    wait_result(ZK_OK);
    for (int i = 0; i < 500; i++) {
        zk_set(zk, S("/a"), S("w"), -1, on_result, NULL);
        wait_result(ZK_OK);
    }
    int own = 0;
    journal_each(journal, JOURNAL_OWN, count, &own);
    ck_assert_int_le(own, 64);
    ck_assert_int_gt(own, 0);
}
END_TEST

static session_id_t kept_session;

static void on_session(void *ctx, const struct journal_record *r) {
    memcpy(&kept_session, r->bytes.p, sizeof kept_session);
}

static void on_state(struct zk_listener *l, enum client_state state) {
    if (state == CLIENT_EXPIRED)
        journal_each(journal, JOURNAL_SESSION, on_session, NULL);
}

START_TEST(that_a_session_expired_is_told_before_it_is_kept) {
    struct zk_listener l = {.fn = on_state};
    zk_listen(zk, &l);
    connect_zk();
    session_id_t before = zk_session_id(zk);
    fake.session = 0x999;
    fake_drop(&fake);
    connect_zk();
    ck_assert_int_eq(kept_session, before);
    ck_assert_int_ne(zk_session_id(zk), before);
    crash();
    ck_assert_int_ne(zk_session_id(zk), before);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("zk_resume");
    TCase *t = tcase_create("zk_resume");
    tcase_add_checked_fixture(t, start, stop);
    tcase_add_test(t, writes_go_again_in_their_order_and_before_new_ones);
    tcase_add_test(t, an_answer_waits_for_its_request);
    tcase_add_test(t, nobody_may_ask_for_an_answer_any_more);
    tcase_add_test(t, a_write_that_never_left_is_new);
    tcase_add_test(
        t, a_lost_sequential_create_is_not_taken_for_one_that_was_answered_before_the_crash);
    tcase_add_test(t, a_write_that_was_answered_before_the_crash_is_its_own);
    tcase_add_test(t, zxids_that_no_write_can_be_mistaken_for_are_forgotten);
    tcase_add_test(t, that_a_session_expired_is_told_before_it_is_kept);
    suite_add_tcase(s, t);
    return s;
}
