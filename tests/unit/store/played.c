#include "tests/unit/store/played.h"

#include <errno.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "replica/server/repair.h"
#include "tests/lib/unit.h"

struct played played;

/* ---- the core: answers each event with what the test laid out for its type ---- */

struct replica {
    int dummy;
};

struct replica *replica_new(const struct replica_config *config) {
    played.replica_alive = true;
    return mem_zalloc(sizeof(struct replica));
}

void replica_free(struct replica *r) {
    played.replica_alive = false;
    mem_free(r);
}

struct updates replica_leave(struct replica *r) {
    static struct update out[2];
    out[0] = (struct update){.type = UPD_CLOSE, .conn = 5, .bytes = SLICE_NULL};
    out[1] = (struct update){.type = UPD_PEER_DROP, .peer = 2, .bytes = SLICE_NULL};
    return (struct updates){out, 2};
}

/* No disk that these tests damage is repaired: the ensemble has no others. */
struct repair *repair_new(const struct replica_config *config, const struct repair_lack *lack) {
    return NULL;
}

void repair_free(struct repair *r) {}

struct updates repair_step(struct repair *r, const struct event *ev) {
    return (struct updates){NULL, 0};
}

struct updates repair_leave(struct repair *r) {
    return (struct updates){NULL, 0};
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
        [EV_DISK_FULL] = "full",
        [EV_DISK_ROOM] = "room",
    };
    return names[type];
}

static void trace_range(const struct event *ev) {
    buf_printf(&played.trace, ">%llx", (unsigned long long)ev->zxid);
    for (size_t i = 0; i < ev->record_count; i++) {
        const struct log_record *r = &ev->records[i];
        buf_printf(&played.trace, ",%llx", (unsigned long long)r->zxid);
        if (r->payload.len > 0)
            buf_printf(&played.trace, "(%.*s)", r->payload.len, (const char *)r->payload.p);
    }
}

static void trace_event(const struct event *ev) {
    buf_printf(&played.trace, "%s", event_name(ev->type));
    if (ev->type == EV_LOG_RECORD)
        buf_printf(&played.trace, ":%llx", (unsigned long long)ev->record->zxid);
    if (ev->type == EV_LOG_SYNCED)
        buf_printf(&played.trace, ":%llx", (unsigned long long)ev->zxid);
    if (ev->type == EV_EPOCH || ev->type == EV_EPOCH_SAVED)
        buf_printf(&played.trace, ":%u", ev->epoch);
    if (ev->type == EV_SNAP_END)
        buf_printf(&played.trace, ":%llx-%llx", (unsigned long long)ev->zxid,
                   (unsigned long long)ev->ended);
    if (ev->peer != 0)
        buf_printf(&played.trace, "#%u", ev->peer);
    if (ev->type == EV_LOG_RANGE)
        trace_range(ev);
    if (ev->bytes.len > 0)
        buf_printf(&played.trace, "(%.*s)", ev->bytes.len, (const char *)ev->bytes.p);
    if (ev->process != NULL)
        buf_printf(&played.trace, "[fds %d]", (int)ev->process->open_fds);
    if (ev->addr.len > 0)
        buf_printf(&played.trace, "@%u.%u:%u", ev->addr.p[0], ev->addr.p[ev->addr.len - 1],
                   ev->port);
    buf_put_u8(&played.trace, ' ');
}

struct updates replica_step(struct replica *r, const struct event *ev) {
    ck_assert(!played.in_step);
    ck_assert(ev->mono_ms == 77);
    ck_assert(ev->wall_ms == 99);
    ck_assert(ev->type != EV_START || ev->random[0] == 'r');
    trace_event(ev);
    struct script *s = &played.scripts[ev->type];
    static struct update out[PLAYED_UPDATES_MAX];
    if (s->count == 0)
        return (struct updates){NULL, 0};
    memcpy(out, s->updates, sizeof out);
    struct updates updates = {out, s->count};
    for (size_t i = 0; i < s->count; i++) {
        struct log_record *rec = &out[i].record;
        if (out[i].type != UPD_LOG_APPEND)
            continue;
        rec->zxid = rec->kind == LOG_EPOCH ? zxid_make(zxid_epoch(played.next_zxid) + 1, 0)
                                           : played.next_zxid;
        played.next_zxid = rec->zxid + 1;
    }
    if (s->times > 0 && --s->times == 0)
        s->count = 0;
    return updates;
}

struct update *played_answer(enum event_type type, enum update_type update) {
    struct script *s = &played.scripts[type];
    CHECK(s->count < PLAYED_UPDATES_MAX);
    struct update *u = &s->updates[s->count++];
    *u = (struct update){.type = update, .bytes = SLICE_NULL};
    return u;
}

void played_answer_append(enum event_type type, enum log_kind kind) {
    struct update *u = played_answer(type, UPD_LOG_APPEND);
    u->record.kind = kind;
    u->record.payload = kind == LOG_TXN ? (struct slice){(const uint8_t *)"t", 1} : SLICE_NULL;
}

void played_answer_text(enum event_type type, enum update_type update, const char *text) {
    struct update *u = played_answer(type, update);
    u->conn = 5;
    u->bytes = (struct slice){(const uint8_t *)text, (int32_t)strlen(text)};
}

/* ---- the env ---- */

static int64_t env_mono(void *ctx) { return 77; }
static int64_t env_wall(void *ctx) { return 99; }

static int env_random(void *ctx, void *p, size_t n) {
    memset(p, 'r', n);
    return played.random_err;
}

static void env_process(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){.open_fds = 12};
}

static void env_send(void *ctx, conn_id_t conn, struct slice bytes) {
    buf_printf(&played.trace, "send:%d(%.*s) ", (int)conn, bytes.len, (const char *)bytes.p);
    if (played.call_back) {
        played.call_back = false;
        uint8_t addr[] = {127, 0, 0, 9};
        char frame[] = "nested";
        member_client_open(played.m, 6, (struct slice){addr, 4}, 1234);
        member_client_frame(played.m, 6, (struct slice){(uint8_t *)frame, 6});
        memset(frame, 'x', sizeof frame);
        memset(addr, 0, sizeof addr);
    }
}

static void env_close(void *ctx, conn_id_t conn, struct slice text) {
    buf_printf(&played.trace, "close:%d(%.*s) ", (int)conn, text.len, (const char *)text.p);
}

static void env_pause(void *ctx, conn_id_t conn, bool pause) {
    buf_printf(&played.trace, "%s:%d ", pause ? "pause" : "resume", (int)conn);
}

static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {
    buf_printf(&played.trace, "tell#%u(%.*s) ", peer, bytes.len, (const char *)bytes.p);
    if (played.call_back) {
        played.call_back = false;
        char message[] = "nested";
        member_peer_message(played.m, 3, (struct slice){(uint8_t *)message, 6});
        member_peer_down(played.m, 3);
        memset(message, 'x', sizeof message);
    }
}

static void env_peer_drop(void *ctx, uint8_t peer, struct slice text) {
    buf_printf(&played.trace, "drop#%u(%.*s) ", peer, text.len, (const char *)text.p);
}

static void env_timer(void *ctx, int64_t mono_ms) {
    buf_printf(&played.trace, "timer:%d ", (int)mono_ms);
}

static void env_log_sync(void *ctx) {
    buf_printf(&played.trace, "sync ");
    if (played.sync_inline)
        member_log_synced(played.m, store_sync_run(member_store(played.m)));
}

static void env_note(void *ctx, enum log_level level, struct slice text) {
    buf_printf(&played.trace, "note:%d(%.*s) ", (int)level, text.len, (const char *)text.p);
}

static void env_stop(void *ctx, struct slice text) {
    buf_printf(&played.trace, "stop(%.*s) ", text.len, (const char *)text.p);
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

int played_start(void) {
    struct member_config config = {.wal = {.dir = "/log"}};
    env.files = mem_files_env(played.files);
    return member_start(&config, &env, &played.m, &played.why);
}

void played_setup(void) {
    memset(played.scripts, 0, sizeof played.scripts);
    played.files = mem_files_new();
    played.m = NULL;
    played.sync_inline = false;
    played.call_back = false;
    played.random_err = 0;
    played.next_zxid = 0;
    played_answer(EV_START, UPD_SAVE_EPOCH)->epoch = 1;
    played_answer_append(EV_START, LOG_EPOCH);
}

void played_teardown(void) {
    member_free(played.m);
    mem_files_free(played.files);
    buf_close(&played.trace);
    buf_close(&played.why);
}

void played_expect(const char *text) {
    buf_put_u8(&played.trace, 0);
    ck_assert_str_eq((const char *)played.trace.data, text);
    buf_reset(&played.trace);
}

void played_sync(void) { member_log_synced(played.m, store_sync_run(member_store(played.m))); }

void played_frame(const char *text) {
    member_client_frame(played.m, 5, (struct slice){(const uint8_t *)text, (int32_t)strlen(text)});
}

/* Starts, with the epoch's record synced. */
void played_started(void) {
    ck_assert_int_eq(played_start(), 0);
    member_flush(played.m);
    played_sync();
    buf_reset(&played.trace);
}

void played_stop(void) {
    member_free(played.m);
    played.m = NULL;
    mem_files_kill(played.files);
    buf_reset(&played.trace);
}
