/* The member between a core and an env that are both played here: what it feeds, in which order it
 * carries out, and how syncs are grouped. */
#include "replica/member.h"

#include <errno.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "tests/lib/mem_files.h"
#include "tests/lib/unit.h"

/* ---- the core: answers each event with what the test laid out for its type ---- */

#define MAX_UPDATES 8

struct script {
    struct update updates[MAX_UPDATES];
    size_t count;
    int times; /* how often it answers so; 0: always */
};

struct replica {
    int dummy;
};

static struct script scripts[EV_DISK_FAILED + 1];
static struct buf trace; /* what happened, in words */
static zxid_t next_zxid;
static bool in_step;
static bool replica_alive;

struct replica *replica_new(const struct replica_config *config) {
    replica_alive = true;
    return mem_zalloc(sizeof(struct replica));
}

void replica_free(struct replica *r) {
    replica_alive = false;
    mem_free(r);
}

static const char *event_name(enum event_type type) {
    static const char *const names[] = {
        [EV_EPOCH] = "epoch",
        [EV_SNAP_CHUNK] = "piece",
        [EV_SNAP_END] = "snap",
        [EV_LOG_RECORD] = "record",
        [EV_START] = "start",
        [EV_TICK] = "tick",
        [EV_CLIENT_OPEN] = "open",
        [EV_CLIENT_FRAME] = "frame",
        [EV_CLIENT_WORD] = "word",
        [EV_CLIENT_CLOSED] = "closed",
        [EV_PEER_UP] = "up",
        [EV_PEER_MESSAGE] = "message",
        [EV_PEER_DOWN] = "down",
        [EV_LOG_SYNCED] = "synced",
        [EV_LOG_TRUNCATED] = "truncated",
        [EV_LOG_RANGE] = "range",
        [EV_EPOCH_SAVED] = "saved",
        [EV_SNAP_INSTALLED] = "installed",
        [EV_DISK_FAILED] = "disk-failed",
    };
    return names[type];
}

static void trace_range(const struct event *ev) {
    buf_printf(&trace, ">%llx", (unsigned long long)ev->zxid);
    for (size_t i = 0; i < ev->record_count; i++) {
        const struct log_record *r = &ev->records[i];
        buf_printf(&trace, ",%llx", (unsigned long long)r->zxid);
        if (r->payload.len > 0)
            buf_printf(&trace, "(%.*s)", r->payload.len, (const char *)r->payload.p);
    }
}

static void trace_event(const struct event *ev) {
    buf_printf(&trace, "%s", event_name(ev->type));
    if (ev->type == EV_LOG_RECORD)
        buf_printf(&trace, ":%llx", (unsigned long long)ev->record->zxid);
    if (ev->type == EV_LOG_SYNCED)
        buf_printf(&trace, ":%llx", (unsigned long long)ev->zxid);
    if (ev->type == EV_EPOCH || ev->type == EV_EPOCH_SAVED)
        buf_printf(&trace, ":%u", ev->epoch);
    if (ev->type == EV_SNAP_END)
        buf_printf(&trace, ":%llx-%llx", (unsigned long long)ev->zxid,
                   (unsigned long long)ev->ended);
    if (ev->peer != 0)
        buf_printf(&trace, "#%u", ev->peer);
    if (ev->type == EV_LOG_RANGE)
        trace_range(ev);
    if (ev->bytes.len > 0)
        buf_printf(&trace, "(%.*s)", ev->bytes.len, (const char *)ev->bytes.p);
    if (ev->process != NULL)
        buf_printf(&trace, "[fds %d]", (int)ev->process->open_fds);
    if (ev->addr.len > 0)
        buf_printf(&trace, "@%u.%u:%u", ev->addr.p[0], ev->addr.p[ev->addr.len - 1], ev->port);
    buf_put_u8(&trace, ' ');
}

struct updates replica_step(struct replica *r, const struct event *ev) {
    ck_assert(!in_step);
    ck_assert(ev->mono_ms == 77);
    ck_assert(ev->wall_ms == 99);
    ck_assert(ev->type != EV_START || ev->random[0] == 'r');
    trace_event(ev);
    struct script *s = &scripts[ev->type];
    static struct update out[MAX_UPDATES];
    if (s->count == 0)
        return (struct updates){NULL, 0};
    memcpy(out, s->updates, sizeof out);
    struct updates updates = {out, s->count};
    for (size_t i = 0; i < s->count; i++) {
        struct log_record *rec = &out[i].record;
        if (out[i].type != UPD_LOG_APPEND)
            continue;
        rec->zxid = rec->kind == LOG_EPOCH ? zxid_make(zxid_epoch(next_zxid) + 1, 0) : next_zxid;
        next_zxid = rec->zxid + 1;
    }
    if (s->times > 0 && --s->times == 0)
        s->count = 0;
    return updates;
}

static struct update *answer(enum event_type type, enum update_type update) {
    struct script *s = &scripts[type];
    CHECK(s->count < MAX_UPDATES);
    struct update *u = &s->updates[s->count++];
    *u = (struct update){.type = update, .bytes = SLICE_NULL};
    return u;
}

static void answer_append(enum event_type type, enum log_kind kind) {
    struct update *u = answer(type, UPD_LOG_APPEND);
    u->record.kind = kind;
    u->record.payload = kind == LOG_TXN ? (struct slice){(const uint8_t *)"t", 1} : SLICE_NULL;
}

static void answer_text(enum event_type type, enum update_type update, const char *text) {
    struct update *u = answer(type, update);
    u->conn = 5;
    u->bytes = (struct slice){(const uint8_t *)text, (int32_t)strlen(text)};
}

/* ---- the env ---- */

static struct mem_files *files;
static struct member *m;
static bool sync_inline; /* env.log_sync runs and reports at once */
static bool call_back;   /* env.client_send calls into the member */
static int random_err;
static struct buf why;

static int64_t env_mono(void *ctx) { return 77; }
static int64_t env_wall(void *ctx) { return 99; }

static int env_random(void *ctx, void *p, size_t n) {
    memset(p, 'r', n);
    return random_err;
}

static void env_process(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){.open_fds = 12};
}

static void env_send(void *ctx, conn_id_t conn, struct slice bytes) {
    buf_printf(&trace, "send:%d(%.*s) ", (int)conn, bytes.len, (const char *)bytes.p);
    if (call_back) {
        call_back = false;
        uint8_t addr[] = {127, 0, 0, 9};
        char frame[] = "nested";
        member_client_open(m, 6, (struct slice){addr, 4}, 1234);
        member_client_frame(m, 6, (struct slice){(uint8_t *)frame, 6});
        memset(frame, 'x', sizeof frame);
        memset(addr, 0, sizeof addr);
    }
}

static void env_close(void *ctx, conn_id_t conn, struct slice text) {
    buf_printf(&trace, "close:%d(%.*s) ", (int)conn, text.len, (const char *)text.p);
}

static void env_pause(void *ctx, conn_id_t conn, bool pause) {
    buf_printf(&trace, "%s:%d ", pause ? "pause" : "resume", (int)conn);
}

static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {
    buf_printf(&trace, "tell#%u(%.*s) ", peer, bytes.len, (const char *)bytes.p);
    if (call_back) {
        call_back = false;
        char message[] = "nested";
        member_peer_message(m, 3, (struct slice){(uint8_t *)message, 6});
        member_peer_down(m, 3);
        memset(message, 'x', sizeof message);
    }
}

static void env_peer_drop(void *ctx, uint8_t peer, struct slice text) {
    buf_printf(&trace, "drop#%u(%.*s) ", peer, text.len, (const char *)text.p);
}

static void env_timer(void *ctx, int64_t mono_ms) { buf_printf(&trace, "timer:%d ", (int)mono_ms); }

static void env_log_sync(void *ctx) {
    buf_printf(&trace, "sync ");
    if (sync_inline)
        member_log_synced(m, store_sync_run(member_store(m)));
}

static void env_note(void *ctx, enum log_level level, struct slice text) {
    buf_printf(&trace, "note:%d(%.*s) ", (int)level, text.len, (const char *)text.p);
}

static void env_stop(void *ctx, struct slice text) {
    buf_printf(&trace, "stop(%.*s) ", text.len, (const char *)text.p);
}

static struct env env = {
    .mono_ms = env_mono,
    .wall_ms = env_wall,
    .random = env_random,
    .process_info = env_process,
    .client_send = env_send,
    .client_close = env_close,
    .client_pause = env_pause,
    .peer_send = env_peer_send,
    .peer_drop = env_peer_drop,
    .set_timer = env_timer,
    .log_sync = env_log_sync,
    .note = env_note,
    .stop = env_stop,
};

static int start(void) {
    struct member_config config = {.wal = {.dir = "/log"}};
    env.files = mem_files_env(files);
    return member_start(&config, &env, &m, &why);
}

static void setup(void) {
    memset(scripts, 0, sizeof scripts);
    files = mem_files_new();
    m = NULL;
    sync_inline = false;
    call_back = false;
    random_err = 0;
    next_zxid = 0;
    answer(EV_START, UPD_SAVE_EPOCH)->epoch = 1;
    answer_append(EV_START, LOG_EPOCH);
}

static void teardown(void) {
    member_free(m);
    mem_files_free(files);
    buf_close(&trace);
    buf_close(&why);
}

static void expect(const char *text) {
    buf_put_u8(&trace, 0);
    ck_assert_str_eq((const char *)trace.data, text);
    buf_reset(&trace);
}

static void sync_now(void) { member_log_synced(m, store_sync_run(member_store(m))); }

static void frame(const char *text) {
    member_client_frame(m, 5, (struct slice){(const uint8_t *)text, (int32_t)strlen(text)});
}

/* Starts, with the epoch's record synced. */
static void started(void) {
    ck_assert_int_eq(start(), 0);
    member_flush(m);
    sync_now();
    buf_reset(&trace);
}

START_TEST(a_start_begins_an_epoch_and_syncs_with_the_first_flush) {
    ck_assert_int_eq(start(), 0);
    expect("start ");
    member_flush(m);
    expect("sync ");
    sync_now();
    expect("saved:1 synced:100000000 ");
    member_flush(m);
    expect("");
}
END_TEST

START_TEST(a_second_start_reads_the_log_before_it_begins) {
    started();
    answer_append(EV_CLIENT_FRAME, LOG_TXN);
    frame("a");
    frame("b");
    member_flush(m);
    sync_now();
    member_free(m);
    m = NULL;
    buf_reset(&trace);
    ck_assert_int_eq(start(), 0);
    expect("epoch:1 record:100000000 record:100000001 record:100000002 start ");
}
END_TEST

START_TEST(everything_of_one_wake_up_shares_a_sync) {
    started();
    answer_append(EV_CLIENT_FRAME, LOG_TXN);
    answer_text(EV_LOG_SYNCED, UPD_SEND, "done");
    frame("a");
    frame("b");
    frame("c");
    member_flush(m);
    expect("frame(a) frame(b) frame(c) sync ");
    sync_now();
    expect("synced:100000003 send:5(done) ");
}
END_TEST

START_TEST(what_comes_during_a_sync_shares_the_next) {
    started();
    answer_append(EV_CLIENT_FRAME, LOG_TXN);
    frame("a");
    member_flush(m);
    frame("b");
    member_flush(m);
    frame("c");
    member_flush(m);
    expect("frame(a) sync frame(b) frame(c) ");
    sync_now();
    expect("synced:100000001 sync ");
    sync_now();
    expect("synced:100000003 ");
}
END_TEST

START_TEST(a_sync_may_end_within_the_call_that_begins_it) {
    sync_inline = true;
    ck_assert_int_eq(start(), 0);
    answer_append(EV_LOG_SYNCED, LOG_TXN);
    scripts[EV_LOG_SYNCED].times = 3;
    member_flush(m);
    expect("start sync saved:1 synced:100000000 sync synced:100000001 sync synced:100000002 sync "
           "synced:100000003 ");
}
END_TEST

START_TEST(updates_are_carried_out_in_order) {
    started();
    answer_text(EV_TICK, UPD_NOTE, "n");
    answer_text(EV_TICK, UPD_SEND, "s");
    answer(EV_TICK, UPD_PAUSE)->conn = 5;
    answer(EV_TICK, UPD_RESUME)->conn = 5;
    answer(EV_TICK, UPD_DEADLINE)->mono_ms = 123;
    answer_text(EV_TICK, UPD_CLOSE, "bye");
    member_tick(m);
    expect("tick note:0(n) send:5(s) pause:5 resume:5 timer:123 close:5(bye) ");
}
END_TEST

START_TEST(every_kind_of_client_event_is_fed) {
    started();
    uint8_t addr[] = {10, 1, 2, 3};
    member_client_open(m, 5, (struct slice){addr, 4}, 40000);
    frame("f");
    member_client_word(m, 5, (struct slice){(const uint8_t *)"ruok", 4});
    member_client_closed(m, 5);
    expect("open@10.3:40000 frame(f) word(ruok)[fds 12] closed ");
}
END_TEST

START_TEST(events_that_come_within_a_step_wait_for_its_end) {
    started();
    answer_text(EV_TICK, UPD_SEND, "one");
    answer_text(EV_TICK, UPD_SEND, "two");
    call_back = true;
    member_tick(m);
    expect("tick send:5(one) send:5(two) open@127.9:1234 frame(nested) ");
}
END_TEST

START_TEST(a_failed_sync_is_told_and_the_stop_is_final) {
    started();
    answer_append(EV_CLIENT_FRAME, LOG_TXN);
    answer_text(EV_DISK_FAILED, UPD_STOP, "the disk");
    answer_text(EV_DISK_FAILED, UPD_SEND, "never");
    frame("a");
    member_flush(m);
    buf_reset(&trace);
    mem_files_fault(files, 1, MEM_FAULT_ERROR, -EIO);
    frame("b");
    sync_now();
    expect("frame(b) disk-failed(the log cannot be written: Input/output error) stop(the disk) ");
    frame("c");
    member_tick(m);
    member_flush(m);
    expect("");
}
END_TEST

START_TEST(a_torn_tail_is_noted) {
    started();
    answer_append(EV_CLIENT_FRAME, LOG_TXN);
    frame("a");
    member_flush(m);
    sync_now();
    member_free(m);
    m = NULL;
    buf_reset(&trace);
    mem_files_cut(files, "/log/log.0000000100000000", 200);
    ck_assert_int_eq(start(), 0);
    buf_put_u8(&trace, 0);
    ck_assert_ptr_nonnull(strstr((const char *)trace.data, "note:1(/log/log.0000000100000000: "));
    ck_assert_ptr_nonnull(strstr((const char *)trace.data, "cut "));
}
END_TEST

START_TEST(a_damaged_log_is_refused_with_its_reason) {
    started();
    member_free(m);
    m = NULL;
    mem_files_flip_bit(files, "/log/log.0000000100000000", 70 * 8);
    buf_reset(&trace);
    ck_assert_int_eq(start(), -EBADMSG);
    ck_assert_ptr_null(m);
    ck_assert(!replica_alive);
    buf_put_u8(&why, 0);
    ck_assert_ptr_nonnull(strstr((const char *)why.data, "log.0000000100000000: offset 64"));
    expect("epoch:1 ");
}
END_TEST

START_TEST(a_log_that_the_core_cannot_apply_is_refused) {
    started();
    member_free(m);
    m = NULL;
    answer_text(EV_LOG_RECORD, UPD_STOP, "no such txn");
    buf_reset(&trace);
    ck_assert_int_eq(start(), -EBADMSG);
    ck_assert_ptr_null(m);
    buf_put_u8(&why, 0);
    ck_assert_ptr_nonnull(strstr((const char *)why.data, "no such txn"));
    expect("epoch:1 record:100000000 ");
}
END_TEST

START_TEST(without_randomness_there_is_no_start) {
    random_err = -EIO;
    ck_assert_int_eq(start(), -EIO);
    ck_assert_ptr_null(m);
    ck_assert_uint_gt(why.len, 0);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("member");
    TCase *t = tcase_create("member");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_start_begins_an_epoch_and_syncs_with_the_first_flush);
    tcase_add_test(t, a_second_start_reads_the_log_before_it_begins);
    tcase_add_test(t, everything_of_one_wake_up_shares_a_sync);
    tcase_add_test(t, what_comes_during_a_sync_shares_the_next);
    tcase_add_test(t, a_sync_may_end_within_the_call_that_begins_it);
    tcase_add_test(t, updates_are_carried_out_in_order);
    tcase_add_test(t, every_kind_of_client_event_is_fed);
    tcase_add_test(t, events_that_come_within_a_step_wait_for_its_end);
    tcase_add_test(t, a_failed_sync_is_told_and_the_stop_is_final);
    tcase_add_test(t, a_torn_tail_is_noted);
    tcase_add_test(t, a_damaged_log_is_refused_with_its_reason);
    tcase_add_test(t, a_log_that_the_core_cannot_apply_is_refused);
    tcase_add_test(t, without_randomness_there_is_no_start);
    suite_add_tcase(s, t);
    return s;
}
