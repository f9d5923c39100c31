#include "tests/soak/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/acl.h"
#include "common/check.h"
#include "common/proto.h"

_Noreturn void soak_not_ok(struct soak *s, const char *what, uint64_t got, uint64_t most) {
    printf("not ok - %s: %" PRIu64 ", at most %" PRIu64 " (after %" PRIu64 " writes, %" PRIu64
           " restarts)\n",
           what, got, most, s->done, s->restarts);
    exit(1);
}

_Noreturn void soak_wrong(struct soak *s, const char *what) {
    printf("not ok - %s (after %" PRIu64 " writes, %" PRIu64 " restarts)\n", what, s->done,
           s->restarts);
    exit(1);
}

/* The number of a record in all that were ever written. */
uint64_t soak_record_number(struct soak *s, zxid_t zxid) {
    CHECK(zxid_epoch(zxid) <= s->epoch);
    return s->records_before[zxid_epoch(zxid)] + zxid_counter(zxid);
}

uint64_t soak_records(struct soak *s) {
    return s->last_zxid == 0 ? 0 : soak_record_number(s, s->last_zxid);
}

/* A reply tells of the newest record; a new epoch begins behind all of the one before. */
static void note_zxid(struct soak *s, zxid_t zxid) {
    if (zxid <= s->last_zxid)
        return;
    uint64_t before = soak_records(s);
    while (s->epoch < zxid_epoch(zxid)) {
        CHECK(s->epoch + 1 < EPOCHS_MAX);
        s->records_before[++s->epoch] = before + 1;
    }
    s->last_zxid = zxid;
}

/* ---- the world ---- */

static void on_file(void *ctx, const char *from, const char *path, uint64_t size_bytes) {
    struct soak *s = ctx;
    const char *snapshot = strstr(path, "/snapshot.");
    if (snapshot == NULL)
        return;
    if (from == NULL) {
        s->begun_at = soak_records(s);
        return;
    }
    char *end;
    s->newest = (zxid_t)strtoull(snapshot + strlen("/snapshot."), &end, 16);
    CHECK(*end == '\0');
    s->snaps++;
    if (s->snap_max_bytes < size_bytes)
        s->snap_max_bytes = size_bytes;
    /* Those under way then count as well: nothing of them was answered. */
    uint64_t during = soak_records(s) + BATCH - s->begun_at;
    if (s->longest < during)
        s->longest = during;
}

static int64_t env_mono(void *ctx) { return ((struct soak *)ctx)->now_ms; }
static int64_t env_wall(void *ctx) { return 1700000000000 + ((struct soak *)ctx)->now_ms; }

static int env_random(void *ctx, void *p, size_t n) {
    struct soak *s = ctx;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)prng_next(&s->prng);
    return 0;
}

static void env_process(void *ctx, struct process_info *ret_info) {
    *ret_info = (struct process_info){0};
}

static void env_send(void *ctx, conn_id_t conn, struct slice bytes) {
    struct soak *s = ctx;
    buf_put(&s->inbox, bytes.p, (size_t)bytes.len);
}

static void env_close(void *ctx, conn_id_t conn, struct slice why) {
    struct soak *s = ctx;
    printf("# closed: %.*s\n", why.len, (const char *)why.p);
    if (conn == s->conn)
        soak_wrong(s, "the client is served");
}

static void env_pause(void *ctx, conn_id_t conn, bool pause) {}
static void env_peer_send(void *ctx, uint8_t peer, struct slice bytes) {}
static void env_peer_drop(void *ctx, uint8_t peer, struct slice why) {}
static void env_timer(void *ctx, int64_t mono_ms) { ((struct soak *)ctx)->deadline_ms = mono_ms; }

static void env_log_sync(void *ctx) {
    struct soak *s = ctx;
    member_log_synced(s->member, store_sync_run(member_store(s->member)));
}

/* It runs a little later, as in a thread. */
static void env_checkpoint(void *ctx) { ((struct soak *)ctx)->checkpoint_wanted = true; }

static void env_note(void *ctx, enum log_level level, struct slice text) {
    if (level != LOG_ERROR && level != LOG_WARN)
        return;
    printf("# %.*s\n", text.len, (const char *)text.p);
    soak_wrong(ctx, "nothing is worth a warning");
}

static void env_stop(void *ctx, struct slice why) {
    printf("# stopped: %.*s\n", why.len, (const char *)why.p);
    soak_wrong(ctx, "the replica goes on");
}

void soak_run_checkpoint(struct soak *s) {
    if (!s->checkpoint_wanted)
        return;
    s->checkpoint_wanted = false;
    store_checkpoint_run(member_store(s->member));
    member_checkpoint_ran(s->member);
}

/* What is due by now. */
void soak_run_timers(struct soak *s) {
    while (s->deadline_ms <= s->now_ms) {
        s->deadline_ms = INT64_MAX;
        member_tick(s->member);
    }
    member_flush(s->member);
    if (prng_chance(&s->prng, 1, 2))
        soak_run_checkpoint(s);
}

void soak_world_init(struct soak *s) {
    s->files = plain_files_new(on_file, s);
    s->acl = acl_open_unsafe();
    s->now_ms = 1000;
    s->env = (struct env){
        .ctx = s,
        .files = plain_files_env(s->files),
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
        .checkpoint_run = env_checkpoint,
        .note = env_note,
        .stop = env_stop,
    };
}

void soak_world_close(struct soak *s) {
    plain_files_free(s->files);
    blob_unref(s->acl);
    buf_close(&s->frame);
    buf_close(&s->inbox);
}

/* ---- the client ---- */

static void hand_over(struct soak *s) {
    member_client_frame(s->member, s->conn, (struct slice){s->frame.data, (int32_t)s->frame.len});
}

static void put_request(struct soak *s, enum opcode op, enum proto_record record, const void *req) {
    struct proto_request_header header = {.xid = ++s->xid, .type = op};
    buf_reset(&s->frame);
    proto_encode(&s->frame, PROTO_request_header, &header);
    proto_encode(&s->frame, record, req);
    hand_over(s);
}

/* The next reply's record: its header is looked at here. */
struct cursor soak_next_reply(struct soak *s, struct cursor *all) {
    uint32_t len = cursor_u32be(all);
    struct cursor one;
    cursor_init(&one, cursor_bytes(all, len), len);
    struct proto_reply_header reply;
    if (all->bad || !proto_decode(&one, PROTO_reply_header, &reply) || reply.xid != s->answered + 1)
        soak_wrong(s, "replies come in order");
    if (reply.err != 0)
        soak_wrong(s, "each request does what the model says");
    s->answered = reply.xid;
    note_zxid(s, reply.zxid);
    return one;
}

/* Lets everything that was sent be answered. */
void soak_take_replies(struct soak *s) {
    member_flush(s->member);
    struct cursor all;
    cursor_init(&all, s->inbox.data, s->inbox.len);
    while (cursor_left(&all) > 0)
        (void)soak_next_reply(s, &all);
    buf_reset(&s->inbox);
    if (s->answered != s->xid)
        soak_wrong(s, "each request is answered");
}

void soak_connect(struct soak *s) {
    uint8_t addr[4] = {127, 0, 0, 1}, passwd[PASSWD_BYTES] = {0};
    struct proto_connect_request req = {.timeout_ms = 20000, .passwd = {passwd, PASSWD_BYTES}};
    s->conn++;
    s->xid = s->answered = 0;
    buf_reset(&s->inbox);
    buf_reset(&s->frame);
    proto_encode(&s->frame, PROTO_connect_request, &req);
    member_client_open(s->member, s->conn, (struct slice){addr, 4}, 4000);
    hand_over(s);
    member_flush(s->member);
    struct cursor c;
    struct proto_connect_response response;
    cursor_init(&c, s->inbox.data, s->inbox.len);
    (void)cursor_u32be(&c);
    if (!proto_decode(&c, PROTO_connect_response, &response) || response.session_id == 0)
        soak_wrong(s, "the client gets a session");
    buf_reset(&s->inbox);
}

/* The value that belongs to a stamp. */
struct slice soak_value(uint32_t stamp, uint8_t bytes[VALUE_MAX]) {
    size_t len = stamp % (VALUE_MAX + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(stamp >> 8 * (i % 4));
    return (struct slice){bytes, (int32_t)len};
}

struct slice soak_path(uint32_t key, char path[32]) {
    int n = snprintf(path, 32, "/p%u/k%u", key % PARENTS, key);
    return (struct slice){(const uint8_t *)path, n};
}

void soak_put_create(struct soak *s, struct slice path, struct slice data) {
    struct proto_create_request req = {.path = path, .data = data, .acl = acl_view(s->acl)};
    put_request(s, OP_CREATE, PROTO_create_request, &req);
}

void soak_put_get(struct soak *s, struct slice path) {
    struct proto_path_watch_request req = {.path = path};
    put_request(s, OP_GET_DATA, PROTO_path_watch_request, &req);
}

/* Half of the keys are there: what is not is created, what is gets another value or is deleted. */
void soak_put_write(struct soak *s) {
    uint32_t n = (uint32_t)prng_below(&s->prng, KEYS);
    struct key *key = &s->keys[n];
    uint8_t bytes[VALUE_MAX];
    char text[32];
    struct slice path = soak_path(n, text);
    if (key->there && prng_chance(&s->prng, 1, 3)) {
        struct proto_delete_request req = {.path = path, .version = key->version};
        put_request(s, OP_DELETE, PROTO_delete_request, &req);
        key->there = false;
        return;
    }
    s->stamp = s->stamp * 1664525u + 1013904223u;
    struct slice value = soak_value(s->stamp, bytes);
    key->stamp = s->stamp;
    if (key->there) {
        struct proto_set_data_request req = {
            .path = path, .data = value, .version = key->version++};
        put_request(s, OP_SET_DATA, PROTO_set_data_request, &req);
        return;
    }
    soak_put_create(s, path, value);
    *key = (struct key){.there = true, .stamp = s->stamp};
}
